//! Bodies that were kept, and that the disk garbled: fetched again, one range at a time.
//!
//! Nothing is cut off for them at once. Their headers stand, and what the rules need of them (who recorded what) is
//! remembered; only who asks for their readings has to wait. A body that comes is judged like any other, by rules 1, 6
//! and 7.
//!
//! Nobody can follow a best branch with a body that nobody has. So some time after a first peer has said that it lacks
//! one, all are asked for a last time; if none gives it, the branch is left below it, and the readings above return. On
//! disk all stays. It is a branch to catch up with then, should the body come after all.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::fmt::Debug;

use chain::{hash::BlockHash, reading::Reading, time::MonotonicMillis};

use super::{Machine, requests::Asked};
use crate::{
    config::{
        BODY_RANGE, LOST_INTERVAL, LOST_LAST_ROUND, LOST_PATIENCE, LOST_PATIENCE_PER_BLOCK,
        MAX_LACKING, MAX_LOST, MAX_LOST_PATIENCE, MAX_OPEN_BODY_REQUESTS, MAX_STALLS, Millis,
    },
    message::Request,
    seam::ReadId,
};

/// Blocks whose bodies are to be fetched again.
#[derive(Clone, Debug)]
pub(super) struct Lost<P> {
    /// By height, lowest first.
    wanted: BTreeSet<(u64, BlockHash)>,
    /// The same, to be found.
    heights: BTreeMap<BlockHash, u64>,
    /// Those that somebody was asked for.
    asked: Vec<BlockHash>,
    /// The lowest on the best branch, once a peer has said that it lacks it.
    refused: Option<Refused<P>>,
    /// There is nobody to ask and nothing to give up before this time, unless something changes.
    look_at: MonotonicMillis,
    /// The best tip as it was on disk, until there is another.
    written_tip: Option<BlockHash>,
    /// The store lost everything: bodies of the best branch that are still to be wanted, from this height on, up to that of
    /// the tip at that moment.
    sweep: Option<(u64, u64)>,
    /// Bodies beside the best branch that are still to be looked for.
    sweep_beside: Vec<BlockHash>,
    /// A read of bodies that may be lost.
    sweeping: Option<(ReadId, Vec<BlockHash>)>,
}

/// A body that peers lack.
#[derive(Clone, Debug)]
struct Refused<P> {
    hash: BlockHash,
    /// When the last round begins; once it has begun, when it ends.
    until: MonotonicMillis,
    /// When there last was a peer.
    seen: MonotonicMillis,
    /// Who lacks it in the last round, once that has begun.
    last_round: Option<Vec<P>>,
}

/// What is to be done about the lowest lost body on the best branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Wait,
    AskAllAgain,
    GiveUp,
}

impl<P: Copy + Ord> Lost<P> {
    pub(super) const fn new() -> Self {
        Self {
            wanted: BTreeSet::new(),
            heights: BTreeMap::new(),
            asked: Vec::new(),
            refused: None,
            look_at: MonotonicMillis::new(0),
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

    /// Bodies may not be on disk any more: they are looked for there before peers are asked.
    pub(super) fn sweep(&mut self, tip: u64, beside: Vec<BlockHash>) {
        self.sweep = Some((1, tip));
        self.sweep_beside = beside;
        self.sweeping = None;
        self.look_at = MonotonicMillis::new(0);
    }

    /// The best tip as it is on disk at the start, then `None` with each change.
    pub(super) fn note_written_tip(&mut self, tip: Option<BlockHash>) {
        self.written_tip = tip;
    }

    /// A peer came, went or has news: there may be somebody to ask.
    pub(super) fn peers_changed(&mut self) {
        self.look_at = MonotonicMillis::new(0);
    }

    pub(super) fn contains(&self, hash: &BlockHash) -> bool {
        self.heights.contains_key(hash)
    }

    pub(super) fn len(&self) -> usize {
        self.heights.len()
    }

    /// Whether there is something to be asked for, and nobody asked.
    fn is_idle(&self) -> bool {
        !self.heights.is_empty() && self.asked.is_empty()
    }

    pub(super) fn next_due(&self, now: MonotonicMillis) -> Option<MonotonicMillis> {
        Some(self.look_at).filter(|at| self.is_idle() && *at > now)
    }

    /// Those beyond the bound are found, and told, again at the next start.
    fn want(&mut self, index: u64, hash: BlockHash) {
        if self.heights.len() < MAX_LOST {
            self.wanted.insert((index, hash));
            self.heights.insert(hash, index);
            self.look_at = MonotonicMillis::new(0);
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

    /// Whether these are what somebody was asked for.
    pub(super) fn is_asked(&self, hashes: &[BlockHash]) -> bool {
        !self.asked.is_empty() && self.asked == hashes
    }

    /// These are not on their way any more.
    pub(super) fn answered(&mut self, hashes: &[BlockHash]) {
        if self.is_asked(hashes) {
            self.asked.clear();
            self.look_at = MonotonicMillis::new(0);
        }
    }

    /// What to do about `first`, the lowest one on the best branch, when these are the peers, and whether they lack it.
    fn step(
        &mut self,
        first: BlockHash,
        peers: &[(P, bool)],
        patience: Millis,
        now: MonotonicMillis,
    ) -> Step {
        // Whoever was alone for longer gives others time to come back, too.
        let stale = |refused: &Refused<P>| {
            refused.hash != first || refused.seen.saturating_add(LOST_PATIENCE) < now
        };
        if self.refused.as_ref().is_some_and(stale) {
            self.refused = None;
        }
        let somebody_lacks = peers.iter().any(|(_, lacks)| *lacks);
        if peers.is_empty() || (self.refused.is_none() && !somebody_lacks) {
            return Step::Wait;
        }
        let refused = self.refused.get_or_insert_with(|| Refused {
            hash: first,
            until: now.saturating_add(patience),
            seen: now,
            last_round: None,
        });
        refused.seen = now;
        let is_over = refused.until <= now;
        let Some(lacking) = &mut refused.last_round else {
            if !is_over {
                return Step::Wait;
            }
            refused.until = now.saturating_add(LOST_LAST_ROUND);
            refused.last_round = Some(Vec::new());
            return Step::AskAllAgain;
        };
        lacking.retain(|peer| peers.iter().any(|(here, _)| here == peer));
        for (peer, lacks) in peers {
            if *lacks && !lacking.contains(peer) {
                lacking.push(*peer);
            }
        }
        if is_over || lacking.len() == peers.len() {
            self.refused = None;
            return Step::GiveUp;
        }
        Step::Wait
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Notes that these bodies are not on disk any more.
    pub(super) fn lost(&mut self, hashes: &[BlockHash]) {
        let written = self
            .lost
            .written_tip
            .filter(|tip| self.tree.block(tip).is_some());
        for hash in hashes {
            let known = self.tree.block(hash).filter(|info| info.has_body);
            let known = known.filter(|_| self.unwritten.body(hash).is_none());
            let Some(info) = known else {
                continue;
            };
            // Another branch was best before the start, because this body was missing then: so it is still.
            if info.on_best && written.is_some_and(|tip| !self.tree.is_descendant(&tip, hash)) {
                self.give_up(hash);
            } else {
                self.lost.want(info.index, *hash);
            }
        }
    }

    /// Asks somebody who may have them, one at a time: better branches come first. Gives up what nobody has.
    pub(super) fn settle_lost(&mut self) {
        self.sweep_lost();
        if !self.lost.is_idle() || self.lost.look_at > self.now {
            return;
        }
        self.lost.look_at = self.now.saturating_add(LOST_INTERVAL);
        let tree = &self.tree;
        let wanted = self.lost.wanted.iter();
        let gone: Vec<BlockHash> = wanted
            .map(|(_, hash)| *hash)
            .filter(|hash| !tree.block(hash).is_some_and(|info| info.has_body))
            .collect();
        for hash in &gone {
            self.lost.forget(hash);
        }
        let mut wanted = self.lost.wanted.iter();
        let on_best = |hash: &BlockHash| tree.block(hash).is_some_and(|info| info.on_best);
        let first = wanted.find(|(_, hash)| on_best(hash)).copied();
        if let Some((index, first)) = first {
            let above = tree.tip().index.saturating_sub(index);
            match self.step_for(first, patience(above)) {
                Step::Wait => {}
                Step::AskAllAgain => self.ask_all_again_for(&first),
                Step::GiveUp => return self.give_up(&first),
            }
        }
        self.ask_for_lost(first.map(|(_, hash)| hash));
    }

    /// Looks on disk for the next bodies that the store may have lost.
    fn sweep_lost(&mut self) {
        if self.lost.sweeping.is_some() || self.lost.len() > MAX_LOST / 2 {
            return;
        }
        let mut hashes = Vec::new();
        if let Some((from, tip)) = self.lost.sweep {
            let until = from
                .saturating_add(BODY_RANGE as u64)
                .min(tip.saturating_add(1));
            hashes.extend((from..until).filter_map(|index| self.tree.best_hash(index)));
            self.lost.sweep = (until <= tip).then_some((until, tip));
        }
        if hashes.is_empty() {
            let many = self.lost.sweep_beside.len().saturating_sub(BODY_RANGE);
            hashes = self.lost.sweep_beside.split_off(many);
        }
        if hashes.is_empty() {
            return;
        }
        let id = self.read_bodies(hashes.clone());
        self.lost.sweeping = Some((id, hashes));
    }

    /// The disk gave these, or `None` for what it has lost.
    pub(super) fn swept(&mut self, bodies: &[Option<Vec<Reading>>]) {
        let Some((_, hashes)) = self.lost.sweeping.take() else {
            return;
        };
        for (hash, body) in hashes.iter().zip(bodies) {
            let known = self.tree.block(hash).filter(|info| info.has_body);
            let Some(info) = known.filter(|_| body.is_none()) else {
                continue;
            };
            if self.unwritten.body(hash).is_some() {
                continue;
            }
            if info.on_best {
                self.lost.want(info.index, *hash);
            } else {
                // Fetched if its branch proves the better one.
                self.tree.lose_body(hash);
                self.download.tree_changed();
            }
        }
        self.lost.look_at = MonotonicMillis::new(0);
    }

    /// The disk did not answer: these are looked for again.
    pub(super) fn sweep_failed(&mut self) {
        if let Some((_, hashes)) = self.lost.sweeping.take() {
            self.lost.sweep_beside.extend(hashes);
        }
    }

    fn step_for(&mut self, first: BlockHash, patience: Millis) -> Step {
        let peers = self.peers.iter().map(|(peer, known)| {
            let lacks = known.stalls >= MAX_STALLS || known.lacking.contains(&first);
            (*peer, lacks)
        });
        let peers: Vec<(P, bool)> = peers.collect();
        self.lost.step(first, &peers, patience, self.now)
    }

    /// A peer may have got it meanwhile, or have been busy.
    fn ask_all_again_for(&mut self, hash: &BlockHash) {
        for known in self.peers.iter_mut().map(|(_, value)| value) {
            known.lacking.remove(hash);
            known.stalls = known.stalls.min(MAX_STALLS - 1);
            known.lost_from = MonotonicMillis::new(0);
        }
    }

    fn ask_for_lost(&mut self, first: Option<BlockHash>) {
        if self.unwritten.is_full() {
            return;
        }
        let askable = self.peers.iter().filter(|(_, known)| {
            known.status.is_some()
                && known.lost_from <= self.now
                && known.may_be_asked()
                && known.open_body_requests < MAX_OPEN_BODY_REQUESTS
                && known.stalls < MAX_STALLS
        });
        let mut askable: Vec<(u32, usize, P)> = askable
            .map(|(peer, known)| (known.stalls, known.open_body_requests, *peer))
            .collect();
        askable.sort_unstable();
        for (stalls, _, peer) in askable {
            let Some(known) = self.peers.get(&peer) else {
                continue;
            };
            let wanted = self.lost.wanted.iter().map(|(_, hash)| *hash);
            let others = wanted.filter(|hash| Some(*hash) != first);
            let hashes: Vec<BlockHash> = first
                .into_iter()
                .chain(others)
                .take(MAX_LACKING)
                .filter(|hash| !known.lacking.contains(hash))
                // Who is slow may be able to give one.
                .take(if stalls > 0 { 1 } else { BODY_RANGE })
                .collect();
            if hashes.is_empty() {
                continue;
            }
            self.lost.asked.clone_from(&hashes);
            let request = Request::Bodies {
                hashes: hashes.clone(),
            };
            self.ask(peer, &request, Asked::Bodies(hashes));
            return;
        }
    }

    /// Leaves the best branch below this block of it.
    fn give_up(&mut self, hash: &BlockHash) {
        self.lost.forget(hash);
        if let Some(switch) = self.tree.lose_body(hash) {
            self.rounds.announce();
            self.switched(&switch);
        }
        self.advance();
    }
}

/// How long a body that a peer lacks is waited for, with so many blocks above it: the longer the branch that would be left,
/// the longer.
fn patience(above: u64) -> Millis {
    LOST_PATIENCE
        .saturating_add(above.saturating_mul(LOST_PATIENCE_PER_BLOCK))
        .min(MAX_LOST_PATIENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_bodies_are_bounded() {
        let mut lost = Lost::<u64>::new();
        for index in 0..=MAX_LOST as u64 {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&index.to_le_bytes());
            lost.want(index, BlockHash::new(hash));
        }
        assert_eq!((lost.len(), lost.wanted.len()), (MAX_LOST, MAX_LOST));
    }

    #[test]
    fn patience_grows_with_the_branch_and_ends() {
        assert_eq!([0, 1, 60].map(patience), [60_000, 61_000, 120_000]);
        assert_eq!([10_000, u64::MAX].map(patience), [MAX_LOST_PATIENCE; 2]);
    }

    #[test]
    fn of_peers_that_lack_a_body_only_those_that_are_here_are_remembered() {
        let mut lost = Lost::new();
        let hash = BlockHash::new([1; 32]);
        let at = MonotonicMillis::new;
        assert_eq!(lost.step(hash, &[(1_u64, false)], 50, at(0)), Step::Wait);
        assert_eq!(lost.step(hash, &[(1, true)], 50, at(0)), Step::Wait);
        assert_eq!(lost.step(hash, &[(1, true)], 50, at(50)), Step::AskAllAgain);
        for peer in 0..100 {
            let peers = [(peer, true), (1_000, false)];
            assert_eq!(lost.step(hash, &peers, 50, at(51)), Step::Wait);
            let refused = lost.refused.as_ref().expect("somebody lacks it");
            assert_eq!(refused.last_round, Some(alloc::vec![peer]));
        }
        let mut other = lost.clone();
        assert_eq!(lost.step(hash, &[(1_000, true)], 50, at(52)), Step::GiveUp);
        // Who says nothing is waited for no longer than a round.
        let silent = [(1_000, false)];
        let end = 50 + LOST_LAST_ROUND;
        assert_eq!(other.step(hash, &silent, 50, at(end - 1)), Step::Wait);
        assert_eq!(other.step(hash, &silent, 50, at(end)), Step::GiveUp);
    }
}
