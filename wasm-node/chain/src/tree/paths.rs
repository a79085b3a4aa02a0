//! Ways through the tree: to the branch worth fetching, to what it lacks, and to what a peer shares with it.

use alloc::vec::Vec;

use super::{
    BlockInfo, MAX_LOCATOR, Tree,
    node::{Body, GENESIS, Slot},
};
use crate::{hash::BlockHash, header::Header};

impl Tree {
    /// The best leaf that outweighs (or ties and beats) the best tip by headers alone, is not held back and that `skip` lets
    /// pass.
    pub fn heaviest_leaf(&self, skip: impl Fn(&BlockHash) -> bool) -> Option<BlockInfo> {
        let tip = self.node(self.tip_slot()).rank();
        let passes = |slot: &Slot| {
            let node = self.node(*slot);
            !node.held_back && !skip(&node.hash)
        };
        let settled = self
            .leaves
            .iter()
            .rev()
            .take_while(|(rank, _)| **rank > tip)
            .map(|(rank, &slot)| (*rank, slot))
            .find(|(_, slot)| passes(slot));
        let grown = self
            .grown
            .map(|slot| (self.node(slot).rank(), slot))
            .filter(|(rank, slot)| *rank > tip && passes(slot));
        settled.max(grown).map(|(_, slot)| self.info(slot))
    }

    /// Blocks without a body on the way from the best branch to `leaf`, lowest first, at most `limit`.
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

    /// Readings of blocks off the best branch on the way to `leaf`, as far as every body from the fork on is here.
    #[must_use]
    pub fn ready_readings(&self, leaf: &BlockHash) -> usize {
        let Some(&slot) = self.by_hash.get(leaf) else {
            return 0;
        };
        let path = self.path_to_best(slot);
        path.iter()
            .map_while(|&slot| match &self.node(slot).body {
                Body::Loose(entries) => Some(entries.len()),
                Body::Missing | Body::Linked(_) => None,
            })
            .sum()
    }

    /// Whether `leaf` is `ancestor` or stands on it; `false` where either is not in the tree.
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

    /// Hashes by which a peer finds what it shares with the branch that ends in `from`:
    /// newest first, in doubling steps, genesis last.
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

    /// Headers of the best branch above the first hash of `locator` that is on it, at most `limit`.
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

    /// The ancestor `steps` below, genesis at the lowest.
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
