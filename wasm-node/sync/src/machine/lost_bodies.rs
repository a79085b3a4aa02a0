//! Blocks of the tree whose bodies the disk lost.

use hashbrown::HashMap;
use heartchain_chain::{hash::BlockHash, ordered::OrderedSet};

use crate::config::MAX_MISSING_BODIES;

/// The bodies to fetch again. Their blocks stay on their branches: what consensus needs of the readings is in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct LostBodies {
    /// Ordered by height, lowest first.
    ordered: OrderedSet<(u64, BlockHash)>,
    /// The same blocks by hash.
    heights: HashMap<BlockHash, u64>,
}

impl LostBodies {
    /// Adds a body. Returns `false` if there is no room: it is found and reported again at the next start.
    pub(super) fn insert(&mut self, index: u64, hash: BlockHash) -> bool {
        if self.heights.len() >= MAX_MISSING_BODIES {
            return false;
        }
        self.ordered.insert((index, hash));
        self.heights.insert(hash, index);
        true
    }

    /// Removes a body that is back or no longer wanted. Returns whether it was missing.
    pub(super) fn remove(&mut self, hash: &BlockHash) -> bool {
        let Some(index) = self.heights.remove(hash) else {
            return false;
        };
        self.ordered.remove(&(index, *hash));
        true
    }

    pub(super) fn contains(&self, hash: &BlockHash) -> bool {
        self.heights.contains_key(hash)
    }

    pub(crate) fn len(&self) -> usize {
        self.heights.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.heights.is_empty()
    }

    /// Heights and hashes, lowest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, BlockHash)> {
        self.ordered.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_bodies_are_bounded() {
        let mut lost = LostBodies::default();
        for index in 0..=MAX_MISSING_BODIES as u64 {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&index.to_le_bytes());
            lost.insert(index, BlockHash::new(hash));
        }
        assert_eq!(
            (lost.len(), lost.ordered.len()),
            (MAX_MISSING_BODIES, MAX_MISSING_BODIES)
        );
    }
}
