//! Read-only queries: side branches, the heights of an author's readings, and the difficulty window on any block.

use alloc::vec::Vec;

use super::{
    node::{Body, Slot},
    state::Tree,
};
use crate::{compact_sort, difficulty::Window, hash::BlockHash, header::Header, key::Author};

/// A branch off the best one whose bodies are all here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideBranch {
    /// Hash of the last block.
    pub tip: BlockHash,
    /// Height of the last block.
    pub index: u64,
    /// Height of the last block that the branch shares with the best branch.
    pub fork_index: u64,
    /// The newest blocks of the branch, newest first, without those on the best branch.
    pub blocks: Vec<(BlockHash, Header)>,
}

impl Tree {
    /// The side branches with the most work, at most `limit`, each with at most `blocks` of its newest blocks.
    #[must_use]
    pub fn side_branches(&self, limit: usize, blocks: usize) -> Vec<SideBranch> {
        self.leaf_slots()
            .rev()
            .filter(|&slot| self.node(slot).ready)
            .take(limit)
            .map(|slot| self.side_branch(slot, blocks))
            .collect()
    }

    /// The height of each of the author's readings on the best branch, in the order of `seq`. Visits the whole branch.
    #[must_use]
    pub fn heights_of(&self, author: &Author) -> Vec<u64> {
        let Some(number) = self.authors.number(author) else {
            return Vec::new();
        };
        let mut heights = Vec::new();
        for &slot in &self.best {
            let node = self.node(slot);
            if let Body::Connected(entries) = &node.body {
                let own = entries.iter().filter(|entry| entry.author == number);
                heights.extend(own.map(|_| node.index));
            }
        }
        heights
    }

    /// Blocks on the path from the best branch to this one, lowest first. Empty if it is on the best branch or unknown.
    #[must_use]
    pub fn path_from_best(&self, hash: &BlockHash) -> Vec<BlockHash> {
        let path = self
            .by_hash
            .get(hash)
            .map(|&slot| self.path_to_best(slot))
            .unwrap_or_default();
        path.into_iter().map(|slot| self.node(slot).hash).collect()
    }

    /// Number of readings in a block's body, if the body is here.
    #[must_use]
    pub fn body_len(&self, hash: &BlockHash) -> Option<usize> {
        match &self.node(*self.by_hash.get(hash)?).body {
            Body::Connected(entries) => Some(entries.len()),
            Body::Side(entries) => Some(entries.len()),
            Body::Missing => None,
        }
    }

    /// Blocks off the best branch whose bodies are here, lowest first.
    #[must_use]
    pub fn side_bodies(&self) -> Vec<BlockHash> {
        let mut found: Vec<(u64, BlockHash)> = self
            .by_hash
            .values()
            .map(|&slot| self.node(slot))
            .filter(|node| matches!(node.body, Body::Side(_)))
            .map(|node| (node.index, node.hash))
            .collect();
        compact_sort::sort(&mut found);
        found.into_iter().map(|(_, hash)| hash).collect()
    }

    /// The difficulty window for a block on this one, computed from headers.
    #[must_use]
    pub fn header_window(&self, parent: &BlockHash) -> Option<Window> {
        let slot = *self.by_hash.get(parent)?;
        Some(self.rebuild_window(slot))
    }

    fn side_branch(&self, leaf: Slot, blocks: usize) -> SideBranch {
        let mut shown = Vec::new();
        let mut slot = leaf;
        while !self.node(slot).on_best {
            if shown.len() < blocks {
                shown.push((self.node(slot).hash, self.header_at(slot)));
            }
            slot = self.node(slot).parent;
        }
        SideBranch {
            tip: self.node(leaf).hash,
            index: self.node(leaf).index,
            fork_index: self.node(slot).index,
            blocks: shown,
        }
    }
}
