//! Bodies that were kept, and that the disk garbled: fetched again, one range at a time.
//!
//! Nothing is cut off for them. Their headers stand, and what the rules need of them (who recorded what) is remembered;
//! only who asks for their readings has to wait. A body that comes is judged like any other, by rules 1, 6 and 7.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::fmt::Debug;

use chain::hash::BlockHash;

use super::{Machine, requests::Asked};
use crate::{
    config::{BODY_RANGE, MAX_LOST, MAX_OPEN_BODY_REQUESTS, MAX_STALLS},
    message::Request,
};

/// Blocks whose bodies are to be fetched again.
#[derive(Clone, Debug, Default)]
pub(super) struct Lost {
    /// By height, lowest first.
    wanted: BTreeSet<(u64, BlockHash)>,
    /// The same, to be found.
    heights: BTreeMap<BlockHash, u64>,
    /// Those that somebody was asked for.
    asked: Vec<BlockHash>,
}

impl Lost {
    pub(super) fn contains(&self, hash: &BlockHash) -> bool {
        self.heights.contains_key(hash)
    }

    pub(super) fn len(&self) -> usize {
        self.heights.len()
    }

    /// Those beyond the bound are found, and told, again at the next start.
    fn want(&mut self, index: u64, hash: BlockHash) {
        if self.heights.len() < MAX_LOST {
            self.wanted.insert((index, hash));
            self.heights.insert(hash, index);
        }
    }

    /// It is here again, or not wanted any more; returns whether it was.
    pub(super) fn forget(&mut self, hash: &BlockHash) -> bool {
        let Some(index) = self.heights.remove(hash) else {
            return false;
        };
        self.wanted.remove(&(index, *hash));
        true
    }

    /// These are not on their way any more.
    pub(super) fn answered(&mut self, hashes: &[BlockHash]) {
        if self.asked == hashes {
            self.asked.clear();
        }
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Notes that these bodies are not on disk any more.
    pub(super) fn lost(&mut self, hashes: &[BlockHash]) {
        for hash in hashes {
            let known = self.tree.block(hash).filter(|info| info.has_body);
            if let Some(info) = known {
                self.lost.want(info.index, *hash);
            }
        }
    }

    /// Asks somebody who may have them, one at a time: better branches come first.
    pub(super) fn settle_lost(&mut self) {
        if self.lost.len() == 0 || !self.lost.asked.is_empty() || self.unwritten.is_full() {
            return;
        }
        let tree = &self.tree;
        let wanted = self.lost.wanted.iter();
        let gone: Vec<BlockHash> = wanted
            .take(BODY_RANGE)
            .map(|(_, hash)| *hash)
            .filter(|hash| tree.block(hash).is_none())
            .collect();
        for hash in &gone {
            self.lost.forget(hash);
        }
        let hashes: Vec<BlockHash> = self
            .lost
            .wanted
            .iter()
            .map(|(_, hash)| *hash)
            .take(BODY_RANGE)
            .collect();
        let Some(first) = hashes.first() else {
            return;
        };
        let askable = self.peers.iter().filter(|(_, known)| {
            known.status.is_some()
                && known.may_be_asked()
                && known.open_body_requests < MAX_OPEN_BODY_REQUESTS
                && known.stalls < MAX_STALLS
                && !known.lacking.contains(first)
        });
        let best =
            askable.min_by_key(|(peer, known)| (known.stalls, known.open_body_requests, **peer));
        let Some(peer) = best.map(|(peer, _)| *peer) else {
            return;
        };
        self.lost.asked.clone_from(&hashes);
        let request = Request::Bodies {
            hashes: hashes.clone(),
        };
        self.ask(peer, &request, Asked::Bodies(hashes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_bodies_are_bounded() {
        let mut lost = Lost::default();
        for index in 0..=MAX_LOST as u64 {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&index.to_le_bytes());
            lost.want(index, BlockHash::new(hash));
        }
        assert_eq!((lost.len(), lost.wanted.len()), (MAX_LOST, MAX_LOST));
    }
}
