//! Which branch is being fetched, and which of its bodies are still to be asked for. Asks nobody.
//!
//! What to fetch follows from the tree: the bodies missing on the way to the heaviest leaf.

use alloc::collections::VecDeque;

use chain::{
    hash::BlockHash,
    time::MonotonicMillis,
    tree::{BlockInfo, MAX_SIDE_READINGS, Tree},
};
use hashbrown::HashSet;
use litemap::LiteMap;

use crate::config::{CATCH_UP_PATIENCE, DOWNLOAD_WINDOW, MAX_UNAVAILABLE, UNAVAILABLE_PATIENCE};

/// The branch that is being fetched.
#[derive(Clone, Debug)]
pub(super) struct Download {
    pub(super) target: Option<BlockInfo>,
    /// Bodies to ask for, lowest first.
    pub(super) queue: VecDeque<BlockHash>,
    /// Bodies asked for.
    pub(super) asked: HashSet<BlockHash>,
    /// Branches whose bodies nobody has, and until when they are left aside.
    unavailable: LiteMap<BlockHash, MonotonicMillis>,
    /// When late answers are looked for next.
    pub(super) late_look_at: MonotonicMillis,
    /// Whether the plan may be out of date.
    stale: bool,
    /// Readings of the branch's bodies that are here, from the fork on without a gap.
    pub(super) ready_readings: usize,
    /// When the first headers or other bodies of a better branch last came.
    pub(super) progress_at: MonotonicMillis,
    /// When bodies last came.
    pub(super) bodies_at: Option<MonotonicMillis>,
}

impl Download {
    pub(super) fn new() -> Self {
        Self {
            target: None,
            queue: VecDeque::new(),
            asked: HashSet::new(),
            unavailable: LiteMap::new(),
            late_look_at: MonotonicMillis::new(0),
            stale: false,
            ready_readings: 0,
            progress_at: MonotonicMillis::new(0),
            bodies_at: None,
        }
    }

    /// The height of the branch that is being fetched.
    pub(super) fn target_index(&self) -> Option<u64> {
        self.target.map(|target| target.index)
    }

    /// New headers: the heaviest leaf may be another. Only the first ones of a branch are progress by themselves, or
    /// whoever gives them one by one and no bodies could stop the room's mining.
    pub(super) fn headers_came(&mut self, now: MonotonicMillis) {
        self.stale = true;
        if self.target.is_none() {
            self.progress_at = now;
        }
    }

    /// A peer came, went or has news: there may be somebody else to ask. What was left aside stays so for its time,
    /// or its maker could have it asked for without end.
    pub(super) fn peers_changed(&mut self) {
        // A branch that is being fetched is handed out to new peers as it is planned: what a Status costs must not grow with
        // that branch.
        self.stale |= self.target.is_none();
    }

    /// The tree changed otherwise: bodies came, a branch was condemned.
    pub(super) fn tree_changed(&mut self) {
        self.stale = true;
    }

    /// These are not on their way any more; those that did not come are planned anew.
    pub(super) fn give_back(&mut self, hashes: &[BlockHash]) {
        self.answered(hashes);
        self.queue.clear();
    }

    /// These came.
    pub(super) fn answered(&mut self, hashes: &[BlockHash]) {
        for hash in hashes {
            self.asked.remove(hash);
        }
        self.stale = true;
    }

    /// Until when it is worth waiting for the bodies of the better branch.
    pub(super) fn patience_ends(&self) -> MonotonicMillis {
        self.progress_at.saturating_add(CATCH_UP_PATIENCE)
    }

    pub(super) fn next_due(&self, now: MonotonicMillis) -> Option<MonotonicMillis> {
        let patience = self.target.map(|_| self.patience_ends());
        let late = (!self.asked.is_empty()).then_some(self.late_look_at);
        [self.unavailable.values().min().copied(), patience, late]
            .into_iter()
            .flatten()
            .filter(|at| *at > now)
            .min()
    }

    /// Chooses what to fetch anew, if anything changed: the heaviest branch, or else a part of one that is `promised`
    /// to outweigh ours once all its headers are here.
    pub(super) fn plan(&mut self, tree: &Tree, promised: Option<BlockHash>, now: MonotonicMillis) {
        let remembered = self.unavailable.len();
        self.unavailable.retain(|_, until| *until > now);
        if !self.stale && remembered == self.unavailable.len() {
            return;
        }
        self.stale = false;
        let target = tree
            .heaviest_leaf(|leaf| self.is_left_aside(tree, leaf))
            .or_else(|| tree.block(&promised.filter(|leaf| !self.is_left_aside(tree, leaf))?));
        let same_branch = match (&self.target, &target) {
            (Some(before), Some(after)) => tree.is_descendant(&after.hash, &before.hash),
            _ => false,
        };
        self.target = target;
        // To count them takes a walk along the branch, so they are counted only where it matters.
        let many = tree.side_readings() > MAX_SIDE_READINGS / 4;
        self.ready_readings = target
            .filter(|_| many)
            .map_or(0, |target| tree.ready_readings(&target.hash));
        let Some(target) = target else {
            self.queue.clear();
            return;
        };
        if !same_branch || self.queue.is_empty() {
            self.queue = tree
                .missing_bodies(&target.hash, DOWNLOAD_WINDOW)
                .into_iter()
                .filter(|hash| !self.asked.contains(hash))
                .collect();
        }
    }

    /// Whether this branch was left aside, as far as it had come then.
    fn is_left_aside(&self, tree: &Tree, leaf: &BlockHash) -> bool {
        self.unavailable
            .keys()
            .any(|aside| tree.is_descendant(leaf, aside))
    }

    /// Nobody has what the branch needs.
    pub(super) fn leave_aside(&mut self, leaf: BlockHash, now: MonotonicMillis) {
        if self.unavailable.len() < MAX_UNAVAILABLE {
            self.unavailable
                .insert(leaf, now.saturating_add(UNAVAILABLE_PATIENCE));
        }
        self.target = None;
        self.ready_readings = 0;
        self.queue.clear();
        self.stale = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_left_aside_are_bounded() {
        let mut download = Download::new();
        let now = MonotonicMillis::new(0);
        for number in 0..=MAX_UNAVAILABLE as u64 {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_le_bytes());
            download.leave_aside(BlockHash::new(hash), now);
        }
        assert_eq!(download.unavailable.len(), MAX_UNAVAILABLE);
        let end = now.saturating_add(UNAVAILABLE_PATIENCE);
        assert_eq!(download.next_due(now), Some(end));
    }
}
