//! StoredBlock bodies that the disk lost or corrupted: they are fetched again, one range at a time.
//!
//! Such a block stays on its branch at first. Its header is intact, and what consensus needs of its readings
//! (authors and sequence numbers) is in memory. Only peers that ask for the readings have to wait. A body that
//! arrives is verified like any other.
//!
//! However, no newcomer can follow a best branch with a body that no peer has. Some time after a peer first
//! says that it lacks such a body, all peers are asked one last time. If none has it, the machine leaves the
//! branch below that block, and the readings above return to the mempool. Everything stays on disk. Should the
//! body turn up later, the branch is an ordinary branch to catch up with.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::fmt::Debug;

use heartchain_chain::{hash::BlockHash, reading::Reading, time::MonotonicMillis};

use super::{Machine, requests::RequestKind};
use crate::{
    config::{
        BODY_RANGE, LAST_ROUND_TIMEOUT, MAX_LACKING, MAX_MISSING_BODIES, MAX_MISSING_BODY_PATIENCE,
        MAX_OPEN_BODY_REQUESTS, MAX_STALLS, MISSING_BODIES_INTERVAL, MISSING_BODY_PATIENCE,
        MISSING_BODY_PATIENCE_PER_BLOCK, Millis,
    },
    io::ReadId,
    message::Request,
};

/// Blocks whose bodies are fetched again.
#[derive(Clone, Debug)]
pub(super) struct MissingBodies<P> {
    /// Ordered by height, lowest first.
    wanted: BTreeSet<(u64, BlockHash)>,
    /// The same blocks by hash.
    heights: BTreeMap<BlockHash, u64>,
    /// The bodies that a peer has been asked for.
    in_flight: Vec<BlockHash>,
    /// The lowest missing body on the best branch, once a peer has said that it lacks it.
    unavailable: Option<UnavailableBody<P>>,
    /// There is nothing to request or to abandon before this time, unless something changes.
    next_check: MonotonicMillis,
    /// The best tip that the store had at startup, until the tip changes.
    written_tip: Option<BlockHash>,
    /// After a store reset: heights of the best branch whose bodies have not been looked for on disk yet, from
    /// the first to the tip at the time of the reset.
    sweep: Option<(u64, u64)>,
    /// Bodies of side blocks that have not been looked for on disk yet.
    sweep_beside: Vec<BlockHash>,
    /// The read in progress, and the blocks whose bodies it looks for.
    sweeping: Option<(ReadId, Vec<BlockHash>)>,
}

/// A missing body that at least one peer lacks.
#[derive(Clone, Debug)]
struct UnavailableBody<P> {
    hash: BlockHash,
    /// When the last round begins; during the last round, when it ends.
    deadline: MonotonicMillis,
    /// When a peer was last connected.
    last_peer_at: MonotonicMillis,
    /// Peers that lack it in the last round, once that has begun.
    last_round: Option<Vec<P>>,
}

/// What to do about the lowest missing body on the best branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Wait,
    StartLastRound,
    GiveUp,
}

impl<P: Copy + Ord> MissingBodies<P> {
    pub(super) const fn new() -> Self {
        Self {
            wanted: BTreeSet::new(),
            heights: BTreeMap::new(),
            in_flight: Vec::new(),
            unavailable: None,
            next_check: MonotonicMillis::new(0),
            written_tip: None,
            sweep: None,
            sweep_beside: Vec::new(),
            sweeping: None,
        }
    }

    /// Whether this is a read of bodies that may be lost.
    pub(super) fn is_sweeping(&self, id: ReadId) -> bool {
        self.sweeping
            .as_ref()
            .is_some_and(|(reading, _)| *reading == id)
    }

    /// Looks on disk for all bodies of the best branch and for those of these side blocks. Peers are asked only
    /// for those that are gone.
    pub(super) fn sweep(&mut self, tip: u64, beside: Vec<BlockHash>) {
        self.sweep = Some((1, tip));
        self.sweep_beside = beside;
        self.sweeping = None;
        self.next_check = MonotonicMillis::new(0);
    }

    /// Sets the best tip found on disk at startup; `None` once the tip has changed.
    pub(super) fn set_written_tip(&mut self, tip: Option<BlockHash>) {
        self.written_tip = tip;
    }

    /// A peer connected, disconnected or sent a new Status: there may be a peer to ask.
    pub(super) fn peers_changed(&mut self) {
        self.next_check = MonotonicMillis::new(0);
    }

    pub(super) fn contains(&self, hash: &BlockHash) -> bool {
        self.heights.contains_key(hash)
    }

    pub(super) fn len(&self) -> usize {
        self.heights.len()
    }

    /// Whether bodies are missing and no request for them is open.
    fn is_idle(&self) -> bool {
        !self.heights.is_empty() && self.in_flight.is_empty()
    }

    pub(super) fn next_due(&self, now: MonotonicMillis) -> Option<MonotonicMillis> {
        Some(self.next_check).filter(|at| self.is_idle() && *at > now)
    }

    /// Adds a missing body. Those beyond the limit are found and reported again at the next start.
    fn want(&mut self, index: u64, hash: BlockHash) {
        if self.heights.len() < MAX_MISSING_BODIES {
            self.wanted.insert((index, hash));
            self.heights.insert(hash, index);
            self.next_check = MonotonicMillis::new(0);
        }
    }

    /// Removes a body that is back or no longer wanted. Returns whether it was missing.
    pub(super) fn forget(&mut self, hash: &BlockHash) -> bool {
        let Some(index) = self.heights.remove(hash) else {
            return false;
        };
        self.wanted.remove(&(index, *hash));
        true
    }

    /// Whether these are the bodies of the open request.
    pub(super) fn is_in_flight(&self, hashes: &[BlockHash]) -> bool {
        !self.in_flight.is_empty() && self.in_flight == hashes
    }

    /// The request for these bodies was answered or failed.
    pub(super) fn clear_in_flight(&mut self, hashes: &[BlockHash]) {
        if self.is_in_flight(hashes) {
            self.in_flight.clear();
            self.next_check = MonotonicMillis::new(0);
        }
    }

    /// Decides what to do about `first`, the lowest missing body on the best branch. `peers` says for each
    /// connected peer whether it lacks it.
    fn next_action(
        &mut self,
        first: BlockHash,
        peers: &[(P, bool)],
        patience: Millis,
        now: MonotonicMillis,
    ) -> Action {
        // After a long time alone, other peers get time to come back as well.
        let is_outdated = |unavailable: &UnavailableBody<P>| {
            unavailable.hash != first
                || unavailable
                    .last_peer_at
                    .saturating_add(MISSING_BODY_PATIENCE)
                    < now
        };
        if self.unavailable.as_ref().is_some_and(is_outdated) {
            self.unavailable = None;
        }
        let is_lacked = peers.iter().any(|(_, lacks)| *lacks);
        if peers.is_empty() || (self.unavailable.is_none() && !is_lacked) {
            return Action::Wait;
        }
        let unavailable = self.unavailable.get_or_insert_with(|| UnavailableBody {
            hash: first,
            deadline: now.saturating_add(patience),
            last_peer_at: now,
            last_round: None,
        });
        unavailable.last_peer_at = now;
        let is_over = unavailable.deadline <= now;
        let Some(lacking) = &mut unavailable.last_round else {
            if !is_over {
                return Action::Wait;
            }
            unavailable.deadline = now.saturating_add(LAST_ROUND_TIMEOUT);
            unavailable.last_round = Some(Vec::new());
            return Action::StartLastRound;
        };
        lacking.retain(|peer| peers.iter().any(|(here, _)| here == peer));
        for (peer, lacks) in peers {
            if *lacks && !lacking.contains(peer) {
                lacking.push(*peer);
            }
        }
        if is_over || lacking.len() == peers.len() {
            self.unavailable = None;
            return Action::GiveUp;
        }
        Action::Wait
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// These bodies are no longer on disk.
    pub(super) fn on_bodies_missing(&mut self, hashes: &[BlockHash]) {
        let written = self
            .missing_bodies
            .written_tip
            .filter(|tip| self.tree.block(tip).is_some());
        for hash in hashes {
            let block = self.tree.block(hash).filter(|info| info.has_body);
            let block = block.filter(|_| self.unwritten.body(hash).is_none());
            let Some(info) = block else {
                continue;
            };
            // Before the start another branch was best because this body was missing. That has not changed.
            if info.on_best && written.is_some_and(|tip| !self.tree.is_descendant(&tip, hash)) {
                self.give_up(hash);
            } else {
                self.missing_bodies.want(info.index, *hash);
            }
        }
    }

    /// Asks a peer that may have missing bodies, with one request at a time, since better branches have
    /// priority. Abandons a branch with a body that no peer has.
    pub(super) fn update_missing_bodies(&mut self) {
        self.sweep_missing();
        if !self.missing_bodies.is_idle() || self.missing_bodies.next_check > self.now {
            return;
        }
        self.missing_bodies.next_check = self.now.saturating_add(MISSING_BODIES_INTERVAL);
        let tree = &self.tree;
        let wanted = self.missing_bodies.wanted.iter();
        let gone: Vec<BlockHash> = wanted
            .map(|(_, hash)| *hash)
            .filter(|hash| !tree.block(hash).is_some_and(|info| info.has_body))
            .collect();
        for hash in &gone {
            self.missing_bodies.forget(hash);
        }
        let mut wanted = self.missing_bodies.wanted.iter();
        let on_best = |hash: &BlockHash| tree.block(hash).is_some_and(|info| info.on_best);
        let first = wanted.find(|(_, hash)| on_best(hash)).copied();
        if let Some((index, first)) = first {
            let above = tree.tip().index.saturating_sub(index);
            match self.next_action_for(first, patience(above)) {
                Action::Wait => {}
                Action::StartLastRound => self.start_last_round(&first),
                Action::GiveUp => return self.give_up(&first),
            }
        }
        self.request_missing(first.map(|(_, hash)| hash));
    }

    /// Reads the next bodies that the store may have lost.
    fn sweep_missing(&mut self) {
        if self.missing_bodies.sweeping.is_some()
            || self.missing_bodies.len() > MAX_MISSING_BODIES / 2
        {
            return;
        }
        let mut hashes = Vec::new();
        if let Some((from, tip)) = self.missing_bodies.sweep {
            let until = from
                .saturating_add(BODY_RANGE as u64)
                .min(tip.saturating_add(1));
            hashes.extend((from..until).filter_map(|index| self.tree.best_hash(index)));
            self.missing_bodies.sweep = (until <= tip).then_some((until, tip));
        }
        if hashes.is_empty() {
            let many = self
                .missing_bodies
                .sweep_beside
                .len()
                .saturating_sub(BODY_RANGE);
            hashes = self.missing_bodies.sweep_beside.split_off(many);
        }
        if hashes.is_empty() {
            return;
        }
        let id = self.read_bodies(hashes.clone());
        self.missing_bodies.sweeping = Some((id, hashes));
    }

    /// Storage returned these bodies, and `None` for those it lost.
    pub(super) fn on_sweep_read(&mut self, bodies: &[Option<Vec<Reading>>]) {
        let Some((_, hashes)) = self.missing_bodies.sweeping.take() else {
            return;
        };
        for (hash, body) in hashes.iter().zip(bodies) {
            let block = self.tree.block(hash).filter(|info| info.has_body);
            let Some(info) = block.filter(|_| body.is_none()) else {
                continue;
            };
            if self.unwritten.body(hash).is_some() {
                continue;
            }
            if info.on_best {
                self.missing_bodies.want(info.index, *hash);
            } else {
                // It is fetched if its branch turns out to be the better one.
                self.tree.mark_body_missing(hash);
                self.download.tree_changed();
            }
        }
        self.missing_bodies.next_check = MonotonicMillis::new(0);
    }

    /// The read failed. The same bodies are read again later.
    pub(super) fn on_sweep_failed(&mut self) {
        if let Some((_, hashes)) = self.missing_bodies.sweeping.take() {
            self.missing_bodies.sweep_beside.extend(hashes);
        }
    }

    fn next_action_for(&mut self, first: BlockHash, patience: Millis) -> Action {
        let peers = self.peers.iter().map(|(peer, state)| {
            let lacks = state.stalls >= MAX_STALLS || state.lacking.contains(&first);
            (*peer, lacks)
        });
        let peers: Vec<(P, bool)> = peers.collect();
        self.missing_bodies
            .next_action(first, &peers, patience, self.now)
    }

    /// Starts the last round: a peer may have received the body meanwhile, or was busy before.
    fn start_last_round(&mut self, hash: &BlockHash) {
        for state in self.peers.iter_mut().map(|(_, state)| state) {
            state.lacking.remove(hash);
            state.stalls = state.stalls.min(MAX_STALLS - 1);
            state.missing_bodies_retry_at = MonotonicMillis::new(0);
        }
    }

    fn request_missing(&mut self, first: Option<BlockHash>) {
        if self.unwritten.is_full() {
            return;
        }
        let askable = self.peers.iter().filter(|(_, state)| {
            state.status.is_some()
                && state.missing_bodies_retry_at <= self.now
                && state.has_request_slot()
                && state.open_body_requests < MAX_OPEN_BODY_REQUESTS
                && state.stalls < MAX_STALLS
        });
        let mut askable: Vec<(u32, usize, P)> = askable
            .map(|(peer, state)| (state.stalls, state.open_body_requests, *peer))
            .collect();
        askable.sort_unstable();
        for (stalls, _, peer) in askable {
            let Some(state) = self.peers.get(&peer) else {
                continue;
            };
            let wanted = self.missing_bodies.wanted.iter().map(|(_, hash)| *hash);
            let others = wanted.filter(|hash| Some(*hash) != first);
            let hashes: Vec<BlockHash> = first
                .into_iter()
                .chain(others)
                .take(MAX_LACKING)
                .filter(|hash| !state.lacking.contains(hash))
                // A slow peer may still manage a single body.
                .take(if stalls > 0 { 1 } else { BODY_RANGE })
                .collect();
            if hashes.is_empty() {
                continue;
            }
            self.missing_bodies.in_flight.clone_from(&hashes);
            let request = Request::Bodies {
                hashes: hashes.clone(),
            };
            self.send_request(peer, &request, RequestKind::Bodies(hashes));
            return;
        }
    }

    /// Leaves the best branch below this block.
    fn give_up(&mut self, hash: &BlockHash) {
        self.missing_bodies.forget(hash);
        if let Some(switch) = self.tree.mark_body_missing(hash) {
            self.mempool_sync.announce();
            self.apply_switch(&switch);
        }
        self.advance();
    }
}

/// How long to wait for a body that a peer lacks. The more blocks would be abandoned above it, the longer.
fn patience(above: u64) -> Millis {
    MISSING_BODY_PATIENCE
        .saturating_add(above.saturating_mul(MISSING_BODY_PATIENCE_PER_BLOCK))
        .min(MAX_MISSING_BODY_PATIENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_bodies_are_bounded() {
        let mut missing = MissingBodies::<u64>::new();
        for index in 0..=MAX_MISSING_BODIES as u64 {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&index.to_le_bytes());
            missing.want(index, BlockHash::new(hash));
        }
        assert_eq!(
            (missing.len(), missing.wanted.len()),
            (MAX_MISSING_BODIES, MAX_MISSING_BODIES)
        );
    }

    #[test]
    fn patience_grows_up_to_a_limit() {
        assert_eq!([0, 1, 60].map(patience), [60_000, 61_000, 120_000]);
        assert_eq!(
            [10_000, u64::MAX].map(patience),
            [MAX_MISSING_BODY_PATIENCE; 2]
        );
    }

    #[test]
    fn departed_peers_do_not_count_as_lacking() {
        let mut missing = MissingBodies::new();
        let hash = BlockHash::new([1; 32]);
        let at = MonotonicMillis::new;
        assert_eq!(
            missing.next_action(hash, &[(1_u64, false)], 50, at(0)),
            Action::Wait
        );
        assert_eq!(
            missing.next_action(hash, &[(1, true)], 50, at(0)),
            Action::Wait
        );
        assert_eq!(
            missing.next_action(hash, &[(1, true)], 50, at(50)),
            Action::StartLastRound
        );
        for peer in 0..100 {
            let peers = [(peer, true), (1_000, false)];
            assert_eq!(missing.next_action(hash, &peers, 50, at(51)), Action::Wait);
            let unavailable = missing.unavailable.as_ref().expect("a peer lacks it");
            assert_eq!(unavailable.last_round, Some(alloc::vec![peer]));
        }
        let mut other = missing.clone();
        assert_eq!(
            missing.next_action(hash, &[(1_000, true)], 50, at(52)),
            Action::GiveUp
        );
        // A silent peer is waited for until the end of the round.
        let silent = [(1_000, false)];
        let end = 50 + LAST_ROUND_TIMEOUT;
        assert_eq!(
            other.next_action(hash, &silent, 50, at(end - 1)),
            Action::Wait
        );
        assert_eq!(
            other.next_action(hash, &silent, 50, at(end)),
            Action::GiveUp
        );
    }
}
