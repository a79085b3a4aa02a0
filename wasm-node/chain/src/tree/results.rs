//! Types that the methods of the tree return: block summaries, changes of the best branch, and errors.

use alloc::vec::Vec;

use crate::{
    hash::{BlockHash, IdPrefix, RoomId},
    key::Author,
    reading::Reading,
    time::UnixMillis,
    validate::HeaderError,
    work::Work,
};

/// What the tree stores of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The author of the reading.
    pub author: Author,
    /// Sequence number among the author's readings.
    pub seq: u64,
    /// The first bytes of the reading's id, enough to tell apart two readings with the same author and `seq`.
    pub prefix: IdPrefix,
}

impl Entry {
    /// The entry of a reading in this room.
    #[must_use]
    pub fn new(room: RoomId, reading: &Reading) -> Self {
        Self {
            author: reading.author,
            seq: reading.seq,
            prefix: IdPrefix::from(&reading.id(room)),
        }
    }
}

/// A summary of a block without its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Hash of the block's header.
    pub hash: BlockHash,
    /// Height of the block.
    pub index: u64,
    /// Time in the header, by the miner's clock.
    pub time: UnixMillis,
    /// Total work of the branch that ends with this block.
    pub total_work: Work,
    /// Whether the body was checked and is stored.
    pub has_body: bool,
    /// Whether the block is on the best branch.
    pub on_best: bool,
}

/// The result of [`Tree::insert_header`](super::Tree::insert_header).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inserted {
    /// Hash of the inserted header.
    pub hash: BlockHash,
    /// `false` if the header was in the tree already.
    pub new: bool,
}

/// Why a header was rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the field names say it")]
pub enum InsertError {
    /// The parent is not in the tree. This invalidates nothing.
    #[error("parent {parent} is unknown")]
    UnknownParent { parent: BlockHash },
    /// The block or its parent is remembered as invalid.
    #[error("block {hash} is on an invalid branch")]
    Invalid { hash: BlockHash },
    /// An ancestor is ahead of the clock, so this block has to wait, too.
    #[error("block {hash} builds on a block that is ahead of the clock")]
    HeldBack { hash: BlockHash },
    /// The header breaks one of rules 1 to 5.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

/// A reading in a block is not its author's next on the branch (rule 7). This invalidates the block and its
/// descendants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {hash}: reading of {author} has seq {found}, its next on this branch is {expected}")]
pub struct SequenceError {
    /// The block that contains the reading.
    pub hash: BlockHash,
    /// The author of the reading.
    pub author: Author,
    /// The author's next `seq` on the branch.
    pub expected: u64,
    /// The `seq` in the block.
    pub found: u64,
}

/// A change of the best branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// Height of the last block that both branches share.
    pub fork_index: u64,
    /// Blocks that left the best branch, highest first.
    pub disconnected: Vec<MovedBlock>,
    /// Blocks that joined the best branch, lowest first.
    pub connected: Vec<MovedBlock>,
}

/// A block that left or joined the best branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedBlock {
    /// Hash of the moved block.
    pub hash: BlockHash,
    /// The readings of the block, in block order.
    pub entries: Vec<Entry>,
}

/// Blocks that were removed from the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// All removed blocks, descendants first.
    pub hashes: Vec<BlockHash>,
    /// The removed blocks that had a body, which the caller can delete now.
    pub with_body: Vec<BlockHash>,
}

/// A branch that turned out to be invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalidated {
    /// The error in its first block.
    pub error: SequenceError,
    /// That block and its descendants.
    pub removed: Removed,
}

/// The result of [`Tree::advance`](super::Tree::advance).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advance {
    /// Branches that turned out to be invalid.
    pub invalid: Vec<Invalidated>,
    /// The change of the best branch, if there was one.
    pub switch: Option<Switch>,
}
