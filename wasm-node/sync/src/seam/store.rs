//! What a machine wants stored, and in which transactions. Knows no store.

use alloc::vec::Vec;

use chain::{block::Block, bpm::Bpm, hash::BlockHash, time::UnixMillis};

/// What is written in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// In order.
    pub operations: Vec<StoreOperation>,
    /// Answer only when the disk has it: `durability: "strict"`.
    pub strict: bool,
}

/// One change of what is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOperation {
    /// Keep a block whose body was checked.
    PutBlock(BlockHash, Block),
    /// Forget a block: it is condemned, or far off the best branch and nothing of it is missing there.
    DeleteBlock(BlockHash),
    /// This is the best tip now.
    PutTip(BlockHash),
    /// An entry of the journal of one's own readings, by its position.
    PutJournal(u64, JournalEntry),
    /// This key signs from now on: its Ed25519 seed, and the position of the first journal entry that it signs.
    /// Earlier keys are kept: what they signed may have to be offered again.
    PutKey([u8; 32], u64),
    /// The readings of this block, which was left, have yet to return to the mempool.
    PutRescue(BlockHash),
    /// They have returned.
    DeleteRescue(BlockHash),
}

/// What a person recorded here, kept for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// When, by this computer's clock; unique in the journal.
    pub time: UnixMillis,
    /// The heart rate.
    pub bpm: Bpm,
}
