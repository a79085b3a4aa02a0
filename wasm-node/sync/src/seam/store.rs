//! What a machine wants stored, and in which transactions. Knows no store.

use alloc::vec::Vec;

use chain::{
    block::Block,
    bpm::Bpm,
    hash::{BlockHash, ReadingId},
    reading::Reading,
    time::UnixMillis,
};

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
    /// Forget a block: it is invalid, or far off the best branch and not protected by [`PutRescue`](Self::PutRescue).
    DeleteBlock(BlockHash),
    /// This is the best tip now.
    PutTip(BlockHash),
    /// The best branch up to and with this block is confirmed: none of its readings may ever be lost.
    PutConfirmed(BlockHash),
    /// An entry of the journal of one's own readings, by its position.
    PutJournal(u64, JournalEntry),
    /// This key signs from now on: its Ed25519 seed, and the position of the first journal entry that it signs.
    /// Earlier keys are kept: what they signed may have to be offered again.
    PutKey([u8; 32], u64),
    /// Keep this block whatever else goes: it is not on the best branch any more, and the confirmed part of that branch
    /// lacks some of its readings.
    PutRescue(BlockHash),
    /// Its readings are confirmed again, or can never be: it needs no protection.
    DeleteRescue(BlockHash),
    /// Keep a reading that another, closed tab of this computer signed.
    PutAdopted(ReadingId, Reading),
    /// It is confirmed, or can never be.
    DeleteAdopted(ReadingId),
}

/// What a person recorded here, kept for good. It is known by its position in the journal: two may have the same time, and
/// a later one may have an earlier time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// This computer's wall clock when it was recorded.
    pub time: UnixMillis,
    /// The heart rate.
    pub bpm: Bpm,
    /// The position of the earlier entry that stands here again, because another reading took that one's place in its
    /// key's count. `None`: it was recorded here.
    pub resigns: Option<u64>,
}
