//! Paths through the tree that synchronization needs: the branch to fetch, its missing bodies, and locators, by which
//! two peers find their last common block.

use alloc::vec::Vec;

use super::{
    node::{Body, GENESIS, Slot},
    results::BlockInfo,
    state::Tree,
};
use crate::{hash::BlockHash, header::Header};

/// Maximum number of hashes in a locator. With doubling steps, fewer reach genesis from any height below 2^50.
pub const MAX_LOCATOR: usize = 64;

impl Tree {
    /// The best leaf by headers alone, if it ranks above the best tip. Leaves that are held back and those for which
    /// `skip` returns `true` are ignored.
    pub fn heaviest_leaf(&self, skip: impl Fn(&BlockHash) -> bool) -> Option<BlockInfo> {
        let tip = self.node(self.tip_slot()).rank();
        let passes = |slot: &Slot| {
            let node = self.node(*slot);
            !node.held_back && !skip(&node.hash)
        };
        let in_leaves = self
            .leaves
            .iter()
            .rev()
            .take_while(|(rank, _)| *rank > tip)
            .find(|(_, slot)| passes(slot));
        let newest = self
            .newest_leaf
            .map(|slot| (self.node(slot).rank(), slot))
            .filter(|(rank, slot)| *rank > tip && passes(slot));
        in_leaves.max(newest).map(|(_, slot)| self.info(slot))
    }

    /// Blocks on the path from the best branch to `leaf` whose body is missing, lowest first, at most `limit`.
    #[must_use]
    pub fn missing_bodies(&self, leaf: &BlockHash, limit: usize) -> Vec<BlockHash> {
        let Some(&slot) = self.by_hash.get(leaf) else {
            return Vec::new();
        };
        let path = self.path_to_best(slot);
        path.iter()
            .map(|&slot| self.node(slot))
            .filter(|node| matches!(node.body, Body::Missing))
            .take(limit)
            .map(|node| node.hash)
            .collect()
    }

    /// Number of readings in the blocks from the fork to `leaf`, up to the first missing body.
    #[must_use]
    pub fn ready_readings(&self, leaf: &BlockHash) -> usize {
        let Some(&slot) = self.by_hash.get(leaf) else {
            return 0;
        };
        let path = self.path_to_best(slot);
        path.iter()
            .map_while(|&slot| match &self.node(slot).body {
                Body::Side(entries) => Some(entries.len()),
                Body::Missing | Body::Connected(_) => None,
            })
            .sum()
    }

    /// Whether `leaf` is `ancestor` or descends from it. Returns `false` if either is not in the tree.
    #[must_use]
    pub fn is_descendant(&self, leaf: &BlockHash, ancestor: &BlockHash) -> bool {
        let (Some(&leaf), Some(&ancestor)) = (self.by_hash.get(leaf), self.by_hash.get(ancestor))
        else {
            return false;
        };
        let height = self.node(ancestor).index;
        let mut slot = leaf;
        while self.node(slot).index > height {
            if self.node(slot).on_best {
                return self.node(ancestor).on_best;
            }
            slot = self.node(slot).parent;
        }
        slot == ancestor
    }

    /// The block locator of the branch that ends in `from`, by which a peer finds the last block that it shares with
    /// the branch: hashes, newest first, in doubling steps, genesis last.
    #[must_use]
    pub fn locator(&self, from: &BlockHash) -> Vec<BlockHash> {
        let mut slot = self
            .by_hash
            .get(from)
            .copied()
            .unwrap_or_else(|| self.tip_slot());
        let mut hashes = Vec::new();
        let mut step = 1_u64;
        while slot != GENESIS && hashes.len() + 1 < MAX_LOCATOR {
            hashes.push(self.node(slot).hash);
            slot = self.ancestor(slot, step);
            if hashes.len() >= 8 {
                step = step.saturating_mul(2);
            }
        }
        hashes.push(self.node(GENESIS).hash);
        hashes
    }

    /// Headers of the best branch after the first hash of `locator` that is on it, at most `limit`.
    #[must_use]
    pub fn headers_after(&self, locator: &[BlockHash], limit: usize) -> Vec<Header> {
        let shared = locator
            .iter()
            .filter_map(|hash| self.by_hash.get(hash))
            .find(|&&slot| self.node(slot).on_best);
        let Some(&shared) = shared else {
            return Vec::new();
        };
        let next = usize::try_from(self.node(shared).index + 1).unwrap_or(usize::MAX);
        self.best
            .iter()
            .skip(next)
            .take(limit)
            .map(|&slot| self.header_at(slot))
            .collect()
    }

    /// The ancestor `steps` below, but at least genesis.
    pub(super) fn ancestor(&self, mut slot: Slot, steps: u64) -> Slot {
        let height = self.node(slot).index.saturating_sub(steps);
        while self.node(slot).index > height {
            if self.node(slot).on_best {
                let at = usize::try_from(height).unwrap_or(usize::MAX);
                return self.best.get(at).copied().unwrap_or(GENESIS);
            }
            slot = self.node(slot).parent;
        }
        slot
    }

    /// Nodes off the best branch from the fork to `slot`, lowest first.
    pub(super) fn path_to_best(&self, mut slot: Slot) -> Vec<Slot> {
        let mut path = Vec::new();
        while !self.node(slot).on_best {
            path.push(slot);
            slot = self.node(slot).parent;
        }
        path.reverse();
        path
    }
}
