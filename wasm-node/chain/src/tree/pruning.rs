//! Removing side blocks: those too deep below the tip, those with the least work when there are too many, and headers
//! whose bodies no peer has. The methods return the removed blocks that had a body, so the caller can delete the
//! bodies.

use alloc::vec::Vec;

use super::{
    node::{Body, NONE, Slot},
    state::Tree,
};
use crate::hash::BlockHash;

/// A side block is kept while its height is within this many blocks of the best tip.
pub const MAX_SIDE_DEPTH: u64 = 1_000;
/// Maximum number of side blocks. Those with the least total work are removed first. This bounds headers to 1 MB.
pub const MAX_SIDE_BLOCKS: usize = 4_096;
/// Maximum number of indexed readings in side blocks: 16 bytes each, 4 MB in total.
pub const MAX_SIDE_READINGS: usize = 262_144;

impl Tree {
    /// Removes side blocks that are too deep, and those with the least work when there are too many. Branches that end
    /// in one of `growing` are still being received, so they stay. Returns the removed blocks that had a body.
    pub fn prune(&mut self, growing: &[BlockHash]) -> Vec<BlockHash> {
        self.flush_newest_leaf();
        let growing: Vec<Slot> = growing
            .iter()
            .filter_map(|hash| self.by_hash.get(hash).copied())
            .collect();
        let tip = self.info(self.tip_slot());
        let deep: Vec<Slot> = self
            .leaf_slots()
            .filter(|slot| !growing.contains(slot))
            .filter(|&slot| self.node(slot).index + MAX_SIDE_DEPTH < tip.index)
            .collect();
        let mut removed = Vec::new();
        for leaf in deep {
            let mut slot = leaf;
            while self.is_removable_leaf(slot) && self.node(slot).index + MAX_SIDE_DEPTH < tip.index
            {
                slot = self.remove_leaf(slot, &mut removed);
            }
        }
        while self.side_blocks() > MAX_SIDE_BLOCKS || self.side_readings() > MAX_SIDE_READINGS {
            let lightest = self
                .leaf_slots()
                .find(|slot| !growing.contains(slot) && !self.is_pinned(*slot));
            let Some(slot) = lightest.filter(|&slot| self.is_removable_leaf(slot)) else {
                break;
            };
            self.remove_leaf(slot, &mut removed);
        }
        removed
    }

    /// Removes the side block with the least work if there are [`MAX_SIDE_BLOCKS`]. Returns it if it had a body.
    pub fn evict_lightest(&mut self, growing: &[BlockHash]) -> Vec<BlockHash> {
        let mut removed = Vec::new();
        if self.side_blocks() < MAX_SIDE_BLOCKS {
            return removed;
        }
        self.flush_newest_leaf();
        let growing: Vec<Slot> = growing
            .iter()
            .filter_map(|hash| self.by_hash.get(hash).copied())
            .collect();
        let lightest = self
            .leaf_slots()
            .filter(|slot| !growing.contains(slot))
            .find(|slot| self.is_removable_leaf(*slot));
        if let Some(slot) = lightest {
            self.remove_leaf(slot, &mut removed);
        }
        removed
    }

    /// Removes every side block that can be removed, except branches that end in one of `growing`. Returns the removed
    /// blocks that had a body.
    pub fn prune_all(&mut self, growing: &[BlockHash]) -> Vec<BlockHash> {
        self.flush_newest_leaf();
        let growing: Vec<Slot> = growing
            .iter()
            .filter_map(|hash| self.by_hash.get(hash).copied())
            .collect();
        let mut removed = Vec::new();
        let leaves: Vec<Slot> = self.leaf_slots().collect();
        for leaf in leaves {
            let mut slot = leaf;
            while !growing.contains(&slot) && self.is_removable_leaf(slot) {
                slot = self.remove_leaf(slot, &mut removed);
            }
        }
        removed
    }

    /// Removes the headers without a body from `leaf` downwards, up to the first block that has a body or on which
    /// another branch builds. Returns their hashes, highest first.
    pub fn remove_bodiless(&mut self, leaf: &BlockHash) -> Vec<BlockHash> {
        self.flush_newest_leaf();
        let mut forgotten = Vec::new();
        let Some(&(mut slot)) = self.by_hash.get(leaf) else {
            return forgotten;
        };
        loop {
            let node = self.node(slot);
            let is_removable =
                !node.on_best && node.first_child == NONE && matches!(node.body, Body::Missing);
            if !is_removable {
                return forgotten;
            }
            forgotten.push(node.hash);
            slot = self.remove_leaf(slot, &mut Vec::new());
        }
    }

    /// Whether the node is a leaf off the best branch, is not pinned and does not have more work than the best branch.
    pub(super) fn is_removable_leaf(&self, slot: Slot) -> bool {
        let node = self.node(slot);
        !node.on_best
            && node.first_child == NONE
            && !self.is_pinned(slot)
            && node.rank() < self.node(self.tip_slot()).rank()
    }

    /// Removes a node that has no children and is off the best branch, and returns its parent.
    pub(super) fn remove_leaf(&mut self, slot: Slot, with_body: &mut Vec<BlockHash>) -> Slot {
        self.unpin(slot);
        self.forget_early(slot);
        let node = self.node(slot);
        let (hash, rank, parent, sibling) =
            (node.hash, node.rank(), node.parent, node.next_sibling);
        if let Body::Side(entries) =
            core::mem::replace(&mut self.node_mut(slot).body, Body::Missing)
        {
            with_body.push(hash);
            self.side_readings -= entries.len();
            for entry in &entries {
                self.authors.release(entry.author);
            }
        } else {
            self.bodiless -= 1;
        }
        self.by_hash.remove(&hash);
        self.leaves.remove(&(rank, slot));
        self.ready.remove(&(rank, slot));
        self.windows.retain(|(cached, _)| *cached != slot);
        self.side_blocks -= 1;
        self.detach_from_parent(slot, parent, sibling);
        self.free.push(slot);
        let parent_node = self.node(parent);
        if !parent_node.on_best && parent_node.first_child == NONE {
            let rank = parent_node.rank();
            self.leaves.insert((rank, parent));
        }
        parent
    }

    pub(super) fn detach_from_parent(&mut self, slot: Slot, parent: Slot, sibling: Slot) {
        if self.node(parent).first_child == slot {
            self.node_mut(parent).first_child = sibling;
            return;
        }
        let mut before = self.node(parent).first_child;
        while before != NONE {
            let after = self.node(before).next_sibling;
            if after == slot {
                self.node_mut(before).next_sibling = sibling;
                return;
            }
            before = after;
        }
    }
}
