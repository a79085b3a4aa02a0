//! What the tree tells of its blocks and of its changes. Changes nothing itself.

use alloc::vec::Vec;

use crate::{
    hash::{BlockHash, ReadingId, RoomId},
    key::Author,
    reading::Reading,
    time::UnixMillis,
    validate::HeaderError,
    work::Work,
};

/// One reading's place on a branch, as the tree remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who.
    pub author: Author,
    /// Its place in the author's count.
    pub seq: u64,
    /// The first bytes of its id: enough to tell a known reading from a second one with the same place.
    pub prefix: IdPrefix,
}

impl Entry {
    /// What the tree remembers of a reading of this room.
    #[must_use]
    pub fn new(room: RoomId, reading: &Reading) -> Self {
        Self {
            author: reading.author,
            seq: reading.seq,
            prefix: IdPrefix::from(&reading.id(room)),
        }
    }
}

/// The first four bytes of a [`ReadingId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdPrefix(u32);

impl IdPrefix {
    /// The bytes as the number that [`IdPrefix::from_bits`] takes.
    #[must_use]
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// What [`IdPrefix::to_bits`] gave.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

impl From<&ReadingId> for IdPrefix {
    fn from(id: &ReadingId) -> Self {
        let [a, b, c, d, ..] = *id.as_bytes();
        Self(u32::from_le_bytes([a, b, c, d]))
    }
}

/// What a peer may say of a block without its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// The block's hash.
    pub hash: BlockHash,
    /// Its height.
    pub index: u64,
    /// Its time.
    pub time: UnixMillis,
    /// Work of its branch up to and with it.
    pub total_work: Work,
    /// Whether its body was checked and is kept.
    pub has_body: bool,
    /// Whether it is on the best branch.
    pub on_best: bool,
}

/// What [`Tree::insert_header`](super::Tree::insert_header) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inserted {
    /// The header's hash.
    pub hash: BlockHash,
    /// `false`: it was there already.
    pub new: bool,
}

/// Why a header was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InsertError {
    /// Its parent is not in the tree: condemns nothing.
    #[error("parent {parent} is not known")]
    UnknownParent {
        /// The hash it names.
        parent: BlockHash,
    },
    /// It, or a block below it, was condemned before.
    #[error("block {hash} is on a condemned branch")]
    Condemned {
        /// The header's hash.
        hash: BlockHash,
    },
    /// It stands on a block that is ahead of the clock, and so has to wait as that one does.
    #[error("block {hash} stands on a block whose time has yet to come")]
    HeldBack {
        /// The header's hash.
        hash: BlockHash,
    },
    /// It breaks a rule.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

/// A reading in a block is not the next of its author on that branch (rule 7): condemns the block and its descendants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {hash}: reading of {author} has seq {found}, its next on this branch is {expected}")]
pub struct SequenceError {
    /// The block.
    pub hash: BlockHash,
    /// Whose reading.
    pub author: Author,
    /// The author's next on that branch.
    pub expected: u64,
    /// What the block holds.
    pub found: u64,
}

/// A change of the best branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The highest block that both branches share.
    pub fork_index: u64,
    /// Blocks left, the old tip first.
    pub left: Vec<Moved>,
    /// Blocks joined, the lowest first.
    pub joined: Vec<Moved>,
}

/// A block that left or joined the best branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The block.
    pub hash: BlockHash,
    /// Its readings, in block order.
    pub entries: Vec<Entry>,
}

/// Blocks that are not in the tree any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// All of them.
    pub hashes: Vec<BlockHash>,
    /// Those whose body was kept.
    pub with_body: Vec<BlockHash>,
}

/// A branch that proved invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalidated {
    /// The rule that its first block breaks.
    pub error: SequenceError,
    /// That block, and all that stood on it.
    pub removed: Removed,
}

/// What [`Tree::advance`](super::Tree::advance) found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advance {
    /// Branches that proved invalid on the way.
    pub condemned: Vec<Invalidated>,
    /// The change of the best branch, if there was one.
    pub switch: Option<Switch>,
}
