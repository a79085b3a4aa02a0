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

use crate::config::{
    CATCH_UP_PATIENCE, DOWNLOAD_WINDOW, LACKING_PATIENCE, MAX_UNAVAILABLE, UNAVAILABLE_PATIENCE,
};

/// The branch that is being fetched.
#[derive(Clone, Debug)]
pub(super) struct Download {
    pub(super) target: Option<BlockInfo>,
    /// Bodies to ask for, lowest first.
    pub(super) queue: VecDeque<BlockHash>,
    /// The lowest missing body, and since when the lowest one has not come.
    first: Option<(BlockHash, MonotonicMillis)>,
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
            first: None,
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
            self.first = None;
            return;
        };
        if !same_branch || self.queue.is_empty() {
            let missing = tree.missing_bodies(&target.hash, DOWNLOAD_WINDOW);
            // Another branch is no progress: whoever holds two could go from one to the other.
            let came = |hash: &BlockHash| tree.block(hash).is_some_and(|block| block.has_body);
            let since = self.first.filter(|(hash, _)| !came(hash));
            let since = since.map_or(now, |(_, since)| since);
            self.first = missing.first().map(|hash| (*hash, since));
            self.queue = missing
                .into_iter()
                .filter(|hash| !self.asked.contains(hash))
                .collect();
        }
    }

    /// Whether a peer that lacked bodies is asked for them again because it says that it has another tip. Not without end: to
    /// say so costs nothing, and a branch that nobody has would never be left aside.
    pub(super) fn asks_again(&self, now: MonotonicMillis) -> bool {
        self.first
            .is_none_or(|(_, since)| now < since.saturating_add(LACKING_PATIENCE))
    }

    /// The lowest missing body and since when, if that is so long ago that nobody is asked again.
    pub(super) fn overdue(&self, now: MonotonicMillis) -> Option<(BlockHash, MonotonicMillis)> {
        self.first.filter(|_| !self.asks_again(now))
    }

    /// Whoever is here now has the whole time to give the lowest missing body.
    pub(super) fn restart(&mut self, now: MonotonicMillis) {
        if let Some((_, since)) = &mut self.first {
            *since = now;
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
        self.first = None;
        self.ready_readings = 0;
        self.queue.clear();
        self.stale = true;
    }
}

#[cfg(test)]
mod tests {
    use chain::{
        difficulty::Window,
        hash::ReadingsRoot,
        header::Header,
        mining,
        room::{Room, RoomName, RoomParams},
        time::UnixMillis,
    };

    use super::*;

    fn room() -> Room {
        let name = RoomName::new("download").expect("a room name");
        Room::new(RoomParams::new(name, 8, 1_000).expect("in bounds"))
    }

    /// Takes in so many headers from genesis, told from others by `root`; returns the lowest one's hash.
    fn offer(tree: &mut Tree, root: u8, blocks: usize) -> BlockHash {
        let mut window = Window::genesis(&room());
        let mut hashes = alloc::vec![room().genesis_hash()];
        for _ in 0..blocks {
            let time = UnixMillis::new(1_000 * window.next_index());
            let template = Header {
                readings_root: ReadingsRoot::new([root; 32]),
                ..mining::template(&window, hashes[hashes.len() - 1], time, &[])
            };
            let header = mining::mine(template, u32::MAX).expect("the room is easy");
            window.push(&header);
            let inserted = tree.insert_header(&header, UnixMillis::new(1_700_000_000_000));
            hashes.push(inserted.expect("a valid header").hash);
        }
        hashes[1]
    }

    #[test]
    fn only_the_lowest_missing_body_is_progress() {
        let at = MonotonicMillis::new;
        let mut tree = Tree::new(room());
        let mut download = Download::new();
        assert!(download.asks_again(at(0)), "nothing is fetched");
        offer(&mut tree, 1, 3);
        download.tree_changed();
        download.plan(&tree, None, at(0));
        assert!(download.asks_again(at(LACKING_PATIENCE - 1)));
        // Another branch outweighs it.
        let lowest = offer(&mut tree, 2, 4);
        download.tree_changed();
        download.plan(&tree, None, at(LACKING_PATIENCE - 1));
        assert_eq!(download.queue.front(), Some(&lowest));
        assert!(!download.asks_again(at(LACKING_PATIENCE)));
        tree.insert_checked_body(&lowest, &[]);
        download.give_back(&[lowest]);
        download.plan(&tree, None, at(LACKING_PATIENCE));
        assert!(download.asks_again(at(2 * LACKING_PATIENCE - 1)));
        assert!(!download.asks_again(at(2 * LACKING_PATIENCE)));
    }

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
