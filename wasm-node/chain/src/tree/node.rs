//! What the tree keeps of a block, and how its nodes name one another. Knows no rule.

use alloc::boxed::Box;
use core::cmp::Reverse;

use super::IdPrefix;
use crate::{
    hash::{BlockHash, ReadingsRoot},
    time::UnixMillis,
    work::{CompactTarget, Work},
};

/// Where a node is in the arena.
pub(super) type Slot = u32;
pub(super) const NONE: Slot = Slot::MAX;
pub(super) const GENESIS: Slot = 0;

/// Greater is better: more work, then the lower hash.
pub(super) type Rank = (Work, Reverse<BlockHash>);

#[derive(Clone, Copy, Debug)]
pub(super) struct LooseEntry {
    pub(super) author: u32,
    pub(super) prefix: IdPrefix,
    pub(super) seq: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct LinkedEntry {
    pub(super) author: u32,
    pub(super) prefix: IdPrefix,
}

/// What is known of a block's body.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// Nothing yet.
    Missing,
    /// Checked by itself; its place in the authors' counts is not.
    Loose(Box<[LooseEntry]>),
    /// On the best branch: the counts follow from the branch.
    Linked(Box<[LinkedEntry]>),
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
    /// This body and all below it down to the best branch are here, and none of these blocks is ahead of the clock.
    pub(super) ready: bool,
    pub(super) on_best: bool,
    /// This block, or one below it, is ahead of the clock.
    pub(super) held_back: bool,
    pub(super) body: Body,
}

impl Node {
    pub(super) fn rank(&self) -> Rank {
        (self.total_work, Reverse(self.hash))
    }
}
