//! What is shown of the tree: side branches, where an author's readings stand, the rules on any block. Changes nothing.

use alloc::vec::Vec;

use super::{
    Tree,
    node::{Body, Slot},
};
use crate::{difficulty::Window, hash::BlockHash, header::Header, key::Author};

/// A branch beside the best one, all of whose bodies are here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideBranch {
    /// Its last block.
    pub tip: BlockHash,
    /// That one's height.
    pub index: u64,
    /// The height of the last block that it shares with the best branch.
    pub fork_index: u64,
    /// Its newest blocks, the newest first; none of them is on the best branch.
    pub blocks: Vec<(BlockHash, Header)>,
}

impl Tree {
    /// The heaviest side branches, at most `limit`, each with at most `blocks` of its blocks.
    #[must_use]
    pub fn side_branches(&self, limit: usize, blocks: usize) -> Vec<SideBranch> {
        self.leaves
            .values()
            .rev()
            .filter(|&&slot| self.node(slot).ready)
            .take(limit)
            .map(|&slot| self.side_branch(slot, blocks))
            .collect()
    }

    /// The heights at which the best branch has the author's readings, in the order of its count. Looks at the whole
    /// branch.
    #[must_use]
    pub fn heights_of(&self, author: &Author) -> Vec<u64> {
        let Some(number) = self.authors.number(author) else {
            return Vec::new();
        };
        let mut heights = Vec::new();
        for &slot in &self.best {
            let node = self.node(slot);
            if let Body::Linked(entries) = &node.body {
                let own = entries.iter().filter(|entry| entry.author == number);
                heights.extend(own.map(|_| node.index));
            }
        }
        heights
    }

    /// Blocks on the way from the best branch to this one, lowest first; none if it is on the best branch or unknown.
    #[must_use]
    pub fn beside_best(&self, hash: &BlockHash) -> Vec<BlockHash> {
        let path = self
            .by_hash
            .get(hash)
            .map(|&slot| self.path_to_best(slot))
            .unwrap_or_default();
        path.into_iter().map(|slot| self.node(slot).hash).collect()
    }

    /// How many readings a block's body has, if it is here.
    #[must_use]
    pub fn body_len(&self, hash: &BlockHash) -> Option<usize> {
        match &self.node(*self.by_hash.get(hash)?).body {
            Body::Linked(entries) => Some(entries.len()),
            Body::Loose(entries) => Some(entries.len()),
            Body::Missing => None,
        }
    }

    /// Blocks off the best branch whose bodies are here, the lowest first.
    #[must_use]
    pub fn side_bodies(&self) -> Vec<BlockHash> {
        let mut found: Vec<(u64, BlockHash)> = self
            .by_hash
            .values()
            .map(|&slot| self.node(slot))
            .filter(|node| matches!(node.body, Body::Loose(_)))
            .map(|node| (node.index, node.hash))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, hash)| hash).collect()
    }

    /// What the difficulty rule needs to judge a block on this one.
    #[must_use]
    pub fn window_on(&self, parent: &BlockHash) -> Option<Window> {
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
