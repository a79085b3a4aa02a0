//! What the machine stores, and in which transactions. Independent of any storage engine.

use alloc::vec::Vec;

use heartchain_chain::{
    block::Block,
    bpm::Bpm,
    hash::{BlockHash, IdPrefix, ReadingId},
    key::Author,
    profile::Profile,
    reading::Reading,
    time::UnixMillis,
};

/// Changes that are written in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The changes, to be applied in this order.
    pub operations: Vec<StoreOperation>,
    /// Whether to answer only once the data is on disk (`durability: "strict"` in IndexedDB).
    pub strict: bool,
}

/// One change to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOperation {
    /// Store a block whose body was verified.
    PutBlock(BlockHash, Block),
    /// Delete a block: it is invalid, or too far from the best branch and not protected by
    /// [`PutRecovery`](Self::PutRecovery).
    DeleteBlock(BlockHash),
    /// Record the new best tip.
    PutTip(BlockHash),
    /// Record that the best branch is confirmed up to and including this block. From now on none of its
    /// readings may be lost.
    PutConfirmed(BlockHash),
    /// Store an entry of the local journal at its position.
    PutJournal(u64, JournalEntry),
    /// Store a key that signs from now on: its Ed25519 seed, and the position of the first journal entry that
    /// it signs. Earlier keys are kept, because their readings may have to be offered again.
    PutKey([u8; 32], u64),
    /// Protect a block from deletion. It left the best branch, whose confirmed part lacks some of its readings.
    PutRecovery(BlockHash),
    /// End a block's protection: its readings are confirmed again, or can never be.
    DeleteRecovery(BlockHash),
    /// Store a reading that another, closed tab of this computer signed.
    PutAdopted(ReadingId, Reading),
    /// Delete an adopted reading: it is confirmed, or can never be.
    DeleteAdopted(ReadingId),
    /// Store the name of an author, in place of an earlier one. An erased name is stored as well, so that an older one
    /// cannot return.
    PutProfile(Profile),
    /// Delete the profile of an author: there is no room for it.
    DeleteProfile(Author),
}

/// A reading that a person recorded here, kept forever. Its position in the journal identifies it: two entries
/// may have the same time, and a later entry may have an earlier time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    /// The time on this computer's wall clock when it was recorded.
    pub time: UnixMillis,
    /// The heart rate in beats per minute.
    pub bpm: Bpm,
    /// The position of the earlier entry that this one replaces. The entry was signed again because another
    /// reading has its sequence number. `None` for an entry that was recorded here.
    pub replaces: Option<u64>,
    /// The prefix of the reading's ID, in a private room: to compute it again, the reading would have to be sealed again.
    /// `None` in an open room, and where it is not known.
    pub prefix: Option<IdPrefix>,
}
