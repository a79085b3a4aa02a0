//! The node that the tree stores for a block. Nodes are in an arena and refer to each other by slot.

use alloc::boxed::Box;
use core::cmp::Reverse;

use crate::{
    hash::{BlockHash, IdPrefix, ReadingsRoot},
    time::UnixMillis,
    work::{CompactTarget, Work},
};

/// Index of a node in the arena.
pub(super) type Slot = u32;
pub(super) const NONE: Slot = Slot::MAX;
pub(super) const GENESIS: Slot = 0;

/// Fork choice order, greatest is best: more work first, then the lower hash.
pub(super) type Rank = (Work, Reverse<BlockHash>);

#[derive(Clone, Copy, Debug)]
pub(super) struct SideEntry {
    pub(super) author: u32,
    pub(super) prefix: IdPrefix,
    pub(super) seq: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectedEntry {
    pub(super) author: u32,
    pub(super) prefix: IdPrefix,
}

/// The state of a block's body.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// The body is not here.
    Missing,
    /// Off the best branch: checked, except for whether each reading is its author's next.
    Side(Box<[SideEntry]>),
    /// On the best branch: the `seq` of each reading follows from the branch, so it is not stored.
    Connected(Box<[ConnectedEntry]>),
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) hash: BlockHash,
    pub(super) readings_root: ReadingsRoot,
    pub(super) total_work: Work,
    pub(super) index: u64,
    pub(super) time: UnixMillis,
    pub(super) nonce: u64,
    pub(super) bits: CompactTarget,
    pub(super) parent: Slot,
    pub(super) first_child: Slot,
    pub(super) next_sibling: Slot,
    /// The bodies of this block and of its ancestors off the best branch are here, and none of these blocks is ahead of
    /// the clock.
    pub(super) ready: bool,
    pub(super) on_best: bool,
    /// This block or one of its ancestors is ahead of the clock.
    pub(super) held_back: bool,
    pub(super) body: Body,
}

impl Node {
    pub(super) fn rank(&self) -> Rank {
        (self.total_work, Reverse(self.hash))
    }
}
