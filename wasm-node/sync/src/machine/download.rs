//! Chooses the branch to fetch, and tracks which of its bodies have yet to be requested. Sends no requests.
//!
//! The plan follows from the tree: the missing bodies on the path to the heaviest leaf.

use alloc::{collections::VecDeque, vec::Vec};

use hashbrown::HashSet;
use heartchain_chain::{
    hash::BlockHash,
    time::MonotonicMillis,
    tree::{BlockInfo, MAX_SIDE_READINGS, Tree},
};
use litemap::LiteMap;

use crate::config::{
    BODY_RANGE, CATCH_UP_PATIENCE, DOWNLOAD_WINDOW, LACKING_PATIENCE, LATE_BODIES_CHECK_INTERVAL,
    MAX_UNAVAILABLE, REQUEST_TIMEOUT, UNAVAILABLE_PATIENCE,
};

/// The plan for the branch being fetched.
#[derive(Clone, Debug)]
pub(super) struct Download {
    target: Option<BlockInfo>,
    /// Bodies to request, lowest first.
    queue: VecDeque<BlockHash>,
    /// The lowest missing body, and since when the lowest body has been missing.
    first_missing: Option<(BlockHash, MonotonicMillis)>,
    /// Bodies in open requests.
    in_flight: HashSet<BlockHash>,
    /// Branches whose bodies no peer has, and until when they are left alone.
    unavailable: LiteMap<BlockHash, MonotonicMillis>,
    /// When to look for late answers next.
    next_late_check: MonotonicMillis,
    /// Whether the plan may be out of date.
    stale: bool,
    /// The revision of the tree that the plan follows from.
    revision: u64,
    /// Readings of the target branch in memory that connect to the fork without a gap.
    ready_readings: usize,
    /// When the first headers or the last bodies of a better branch arrived.
    last_progress_at: MonotonicMillis,
    /// When bodies last arrived.
    last_bodies_at: Option<MonotonicMillis>,
}

impl Download {
    pub(super) fn new() -> Self {
        Self {
            target: None,
            queue: VecDeque::new(),
            first_missing: None,
            in_flight: HashSet::new(),
            unavailable: LiteMap::new(),
            next_late_check: MonotonicMillis::new(0),
            stale: false,
            revision: 0,
            ready_readings: 0,
            last_progress_at: MonotonicMillis::new(0),
            last_bodies_at: None,
        }
    }

    /// The tip of the branch being fetched.
    pub(super) const fn target(&self) -> Option<BlockInfo> {
        self.target
    }

    /// The lowest body to request.
    pub(super) fn first(&self) -> Option<&BlockHash> {
        self.queue.front()
    }

    /// Whether no body is in an open request.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Takes the lowest bodies to request, as far as they are `offered`. Until the request ends they are in flight.
    pub(super) fn take_range(&mut self, offered: impl Fn(&BlockHash) -> bool) -> Vec<BlockHash> {
        let range = self.queue.iter().take_while(|hash| offered(hash));
        let many = range.take(BODY_RANGE).count();
        let hashes: Vec<BlockHash> = self.queue.drain(..many).collect();
        self.in_flight.extend(&hashes);
        hashes
    }

    /// Whether to look for late answers. If so, the next look is due after an interval.
    pub(super) fn take_late_check(&mut self, now: MonotonicMillis) -> bool {
        if self.next_late_check > now {
            return false;
        }
        self.next_late_check = now.saturating_add(LATE_BODIES_CHECK_INTERVAL);
        true
    }

    /// Readings of the target branch in memory that connect to the fork without a gap, if there are many side readings.
    pub(super) const fn ready_readings(&self) -> usize {
        self.ready_readings
    }

    /// New bodies arrived.
    pub(super) fn on_bodies(&mut self, now: MonotonicMillis) {
        self.last_progress_at = now;
        self.last_bodies_at = Some(now);
    }

    /// Whether bodies of a better branch are arriving. Headers do not count: a peer can produce some without bodies.
    pub(super) fn is_arriving(&self, now: MonotonicMillis) -> bool {
        let last = self.last_bodies_at;
        self.target.is_some() && last.is_some_and(|last| now < last.saturating_add(REQUEST_TIMEOUT))
    }

    /// Headers arrived. Only the first headers of a branch count as progress. Otherwise a peer could stop the room's mining by sending headers one by one and never a body.
    pub(super) fn on_headers(&mut self, now: MonotonicMillis) {
        if self.target.is_none() {
            self.last_progress_at = now;
        }
    }

    /// A peer connected, disconnected or sent a new Status: there may be another peer to ask. Unavailable
    /// branches stay unavailable for their full time. Otherwise their maker could have them requested endlessly.
    pub(super) fn peers_changed(&mut self) {
        // Ranges of the current branch go to new peers as they are planned. The cost of a Status must not grow
        // with the length of that branch.
        self.stale |= self.target.is_none();
    }

    /// The request for these bodies ended. Those that did not arrive are planned again.
    pub(super) fn requeue(&mut self, hashes: &[BlockHash]) {
        self.remove_in_flight(hashes);
        self.queue.clear();
    }

    /// These bodies are no longer in an open request.
    pub(super) fn remove_in_flight(&mut self, hashes: &[BlockHash]) {
        for hash in hashes {
            self.in_flight.remove(hash);
        }
        self.stale = true;
    }

    /// Until when mining may wait for the bodies of the better branch.
    pub(super) fn catch_up_deadline(&self) -> MonotonicMillis {
        self.last_progress_at.saturating_add(CATCH_UP_PATIENCE)
    }

    /// When to look for late answers, or to fetch another branch, next.
    pub(super) fn next_deadline(&self, now: MonotonicMillis) -> Option<MonotonicMillis> {
        let patience = self.target.map(|_| self.catch_up_deadline());
        let late = (!self.in_flight.is_empty()).then_some(self.next_late_check);
        [self.unavailable.values().min().copied(), patience, late]
            .into_iter()
            .flatten()
            .filter(|at| *at > now)
            .min()
    }

    /// Chooses the target if anything changed (the `revision` of the tree, or what peers have): the heaviest branch, or else the part so far of a branch that
    /// passed presync (`redownload`), which has more work than ours once all its headers are stored.
    pub(super) fn plan(
        &mut self,
        tree: &Tree,
        revision: u64,
        redownload: Option<BlockHash>,
        now: MonotonicMillis,
    ) {
        self.stale |= core::mem::replace(&mut self.revision, revision) != revision;
        let remembered = self.unavailable.len();
        self.unavailable.retain(|_, until| *until > now);
        if !self.stale && remembered == self.unavailable.len() {
            return;
        }
        self.stale = false;
        let target = tree
            .heaviest_leaf(|leaf| self.is_unavailable(tree, leaf))
            .or_else(|| tree.block(&redownload.filter(|leaf| !self.is_unavailable(tree, leaf))?));
        let same_branch = match (&self.target, &target) {
            (Some(before), Some(after)) => tree.is_descendant(&after.hash, &before.hash),
            _ => false,
        };
        self.target = target;
        // Counting walks along the branch, so it is done only when the limit is near.
        let many = tree.side_readings() > MAX_SIDE_READINGS / 4;
        self.ready_readings = target
            .filter(|_| many)
            .map_or(0, |target| tree.ready_readings(&target.hash));
        let Some(target) = target else {
            self.queue.clear();
            self.first_missing = None;
            return;
        };
        if !same_branch || self.queue.is_empty() {
            let missing = tree.missing_bodies(&target.hash, DOWNLOAD_WINDOW);
            // A change of branch is no progress. Otherwise a peer could alternate between two branches.
            let arrived = |hash: &BlockHash| tree.block(hash).is_some_and(|block| block.has_body);
            let before = self.first_missing.filter(|(hash, _)| !arrived(hash));
            let since = before.map_or(now, |(_, since)| since);
            self.first_missing = missing.first().map(|hash| (*hash, since));
            self.queue = missing
                .into_iter()
                .filter(|hash| !self.in_flight.contains(hash))
                .collect();
        }
    }

    /// Whether a peer that lacked bodies is asked for them again after its tip changed. This ends after a time:
    /// claims are free, so a branch whose bodies no peer has could otherwise stay the target forever.
    pub(super) fn may_ask_again(&self, now: MonotonicMillis) -> bool {
        self.first_missing
            .is_none_or(|(_, since)| now < since.saturating_add(LACKING_PATIENCE))
    }

    /// The lowest missing body and since when it has been missing, if that is too long to ask a peer again.
    pub(super) fn long_missing(
        &self,
        now: MonotonicMillis,
    ) -> Option<(BlockHash, MonotonicMillis)> {
        self.first_missing.filter(|_| !self.may_ask_again(now))
    }

    /// Gives the connected peers the full time again to send the lowest missing body.
    pub(super) fn restart_patience(&mut self, now: MonotonicMillis) {
        if let Some((_, since)) = &mut self.first_missing {
            *since = now;
        }
    }

    /// Whether this leaf extends a branch that was marked unavailable.
    fn is_unavailable(&self, tree: &Tree, leaf: &BlockHash) -> bool {
        self.unavailable
            .keys()
            .any(|unavailable| tree.is_descendant(leaf, unavailable))
    }

    /// No peer has what the branch needs.
    pub(super) fn mark_unavailable(&mut self, leaf: BlockHash, now: MonotonicMillis) {
        if self.unavailable.len() < MAX_UNAVAILABLE {
            self.unavailable
                .insert(leaf, now.saturating_add(UNAVAILABLE_PATIENCE));
        }
        self.target = None;
        self.first_missing = None;
        self.ready_readings = 0;
        self.queue.clear();
        self.stale = true;
    }
}

#[cfg(test)]
mod tests {
    use heartchain_chain::{
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
        Room::new(RoomParams::new(name, 8, 1_000).expect("within bounds"))
    }

    /// Inserts the headers of a branch from genesis and returns its lowest hash. `root` makes the branch unique.
    fn insert_branch(tree: &mut Tree, root: u8, blocks: usize) -> BlockHash {
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
        assert!(download.may_ask_again(at(0)), "nothing is being fetched");
        insert_branch(&mut tree, 1, 3);
        download.plan(&tree, 1, None, at(0));
        assert!(download.may_ask_again(at(LACKING_PATIENCE - 1)));
        // Another branch has more work.
        let lowest = insert_branch(&mut tree, 2, 4);
        download.plan(&tree, 2, None, at(LACKING_PATIENCE - 1));
        assert_eq!(download.queue.front(), Some(&lowest));
        assert!(!download.may_ask_again(at(LACKING_PATIENCE)));
        tree.insert_checked_body(&lowest, &[]);
        download.requeue(&[lowest]);
        download.plan(&tree, 2, None, at(LACKING_PATIENCE));
        assert!(download.may_ask_again(at(2 * LACKING_PATIENCE - 1)));
        assert!(!download.may_ask_again(at(2 * LACKING_PATIENCE)));
    }

    #[test]
    fn unavailable_branches_are_bounded() {
        let mut download = Download::new();
        let now = MonotonicMillis::new(0);
        for number in 0..=MAX_UNAVAILABLE as u64 {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_le_bytes());
            download.mark_unavailable(BlockHash::new(hash), now);
        }
        assert_eq!(download.unavailable.len(), MAX_UNAVAILABLE);
        let end = now.saturating_add(UNAVAILABLE_PATIENCE);
        assert_eq!(download.next_deadline(now), Some(end));
    }
}
