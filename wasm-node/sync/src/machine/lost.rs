//! Bodies that were kept, and that the disk garbled: fetched again, one range at a time.
//!
//! Nothing is cut off for them at once. Their headers stand, and what the rules need of them (who recorded what) is
//! remembered; only who asks for their readings has to wait. A body that comes is judged like any other, by rules 1, 6
//! and 7.
//!
//! Nobody can follow a best branch with a body that nobody has. So once every peer has said that it lacks one, for long
//! enough, the branch is left below it, and the readings above return. It is a branch to catch up with then, should the
//! body come after all.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::fmt::Debug;

use chain::{hash::BlockHash, time::UnixMillis};

use super::{Machine, peer::Peer, requests::Asked};
use crate::{
    config::{
        BODY_RANGE, LOST_INTERVAL, LOST_PATIENCE, LOST_PATIENCE_PER_BLOCK, MAX_LOST,
        MAX_LOST_PATIENCE, MAX_OPEN_BODY_REQUESTS, MAX_STALLS, Millis, REQUEST_TIMEOUT,
    },
    message::Request,
    seam::StoreOperation,
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
    /// The lowest on the best branch, while peers say that they lack it.
    refused: Option<Refused<P>>,
    /// There is nobody to ask before this time, unless something changes.
    look_at: UnixMillis,
}

/// A body that peers lack.
#[derive(Clone, Debug)]
struct Refused<P> {
    hash: BlockHash,
    /// When it is given up, if by then all peers are among these.
    until: UnixMillis,
    /// Who lacks it, or does not answer.
    by: BTreeSet<P>,
}

impl<P: Copy + Ord> Lost<P> {
    pub(super) const fn new() -> Self {
        Self {
            wanted: BTreeSet::new(),
            heights: BTreeMap::new(),
            asked: Vec::new(),
            refused: None,
            look_at: UnixMillis::new(0),
        }
    }

    /// A peer came, went or has news: there may be somebody to ask.
    pub(super) fn peers_changed(&mut self) {
        self.look_at = UnixMillis::new(0);
    }

    /// Whether it is time to look whom to ask for what, and what to give up.
    fn is_due(&self, now: UnixMillis) -> bool {
        let idle = self.heights.is_empty() || !self.asked.is_empty();
        let refused = self.refused.as_ref();
        !idle && (self.look_at <= now || refused.is_some_and(|refused| refused.until <= now))
    }

    pub(super) fn contains(&self, hash: &BlockHash) -> bool {
        self.heights.contains_key(hash)
    }

    pub(super) fn len(&self) -> usize {
        self.heights.len()
    }

    pub(super) fn next_due(&self, now: UnixMillis) -> Option<UnixMillis> {
        let until = self.refused.as_ref().map(|refused| refused.until);
        until.filter(|until| *until > now)
    }

    /// Those beyond the bound are found, and told, again at the next start.
    fn want(&mut self, index: u64, hash: BlockHash) {
        if self.heights.len() < MAX_LOST {
            self.wanted.insert((index, hash));
            self.heights.insert(hash, index);
            self.look_at = UnixMillis::new(0);
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

    /// These are not on their way any more; returns whether they were.
    pub(super) fn answered(&mut self, hashes: &[BlockHash]) -> bool {
        let were = !self.asked.is_empty() && self.asked == hashes;
        if were {
            self.asked.clear();
            self.look_at = UnixMillis::new(0);
        }
        were
    }

    /// Notes who lacks the lowest one on the best branch; returns whether all of them have for `patience`.
    fn is_given_up(
        &mut self,
        first: BlockHash,
        peers: &[(P, bool)],
        patience: Millis,
        now: UnixMillis,
    ) -> bool {
        let other = |refused: &Refused<P>| refused.hash != first || peers.is_empty();
        if self.refused.as_ref().is_some_and(other) {
            self.refused = None;
        }
        let lacking = peers.iter().filter(|(_, lacks)| *lacks);
        let lacking: Vec<P> = lacking.map(|(peer, _)| *peer).collect();
        if self.refused.is_none() && lacking.is_empty() {
            return false;
        }
        let refused = self.refused.get_or_insert_with(|| Refused {
            hash: first,
            until: now.saturating_add(patience),
            by: BTreeSet::new(),
        });
        refused.by.extend(lacking);
        refused
            .by
            .retain(|peer| peers.iter().any(|(known, _)| known == peer));
        refused.until <= now && refused.by.len() == peers.len()
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Notes that these bodies are not on disk any more.
    pub(super) fn lost(&mut self, hashes: &[BlockHash]) {
        for hash in hashes {
            let known = self.tree.block(hash).filter(|info| info.has_body);
            let known = known.filter(|_| self.unwritten.body(hash).is_none());
            if let Some(info) = known {
                self.lost.want(info.index, *hash);
            }
        }
    }

    /// Asks somebody who may have them, one at a time: better branches come first. Gives up what nobody has.
    pub(super) fn settle_lost(&mut self) {
        if !self.lost.is_due(self.now) {
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
        self.give_up_lost();
        self.ask_for_lost();
    }

    fn ask_for_lost(&mut self) {
        if self.unwritten.is_full() {
            return;
        }
        let mut askable: Vec<(u32, usize, P)> = self
            .peers
            .iter()
            .filter(|(_, known)| {
                known.status.is_some()
                    && known.may_be_asked()
                    && known.open_body_requests < MAX_OPEN_BODY_REQUESTS
                    && known.stalls < MAX_STALLS
            })
            .map(|(peer, known)| (known.stalls, known.open_body_requests, *peer))
            .collect();
        askable.sort_unstable();
        for (_, _, peer) in askable {
            let Some(known) = self.peers.get(&peer) else {
                continue;
            };
            let wanted = self.lost.wanted.iter().map(|(_, hash)| *hash);
            let hashes: Vec<BlockHash> = wanted
                .filter(|hash| !known.lacking.contains(hash))
                .take(BODY_RANGE)
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

    /// Leaves the best branch below the lowest body that no peer has had for long enough. The longer the branch above,
    /// the longer somebody who has it is waited for.
    fn give_up_lost(&mut self) {
        let tree = &self.tree;
        let on_best = |hash: &BlockHash| tree.block(hash).is_some_and(|info| info.on_best);
        let mut wanted = self.lost.wanted.iter();
        let Some(&(index, first)) = wanted.find(|(_, hash)| on_best(hash)) else {
            self.lost.refused = None;
            return;
        };
        let above = tree.tip().index.saturating_sub(index);
        // Who came just now has yet to say where it stands, and is asked then.
        let asked = |known: &Peer| {
            known.status.is_some() || known.status_at.saturating_add(REQUEST_TIMEOUT) > self.now
        };
        let lacks = |known: &Peer| known.stalls >= MAX_STALLS || known.lacking.contains(&first);
        let peers = self.peers.iter().filter(|(_, known)| asked(known));
        let peers: Vec<(P, bool)> = peers.map(|(peer, known)| (*peer, lacks(known))).collect();
        if !self
            .lost
            .is_given_up(first, &peers, patience(above), self.now)
        {
            return;
        }
        self.lost.refused = None;
        self.lost.forget(&first);
        if let Some(switch) = self.tree.lose_body(&first) {
            self.rounds.announce();
            self.switched(&switch);
            self.write(alloc::vec![StoreOperation::DeleteBlock(first)], false);
        }
        self.advance();
    }
}

/// How long a body that no peer has is waited for, with so many blocks above it.
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
        let (hash, start) = (BlockHash::new([1; 32]), UnixMillis::new(0));
        for peer in 0..100_u64 {
            let now = UnixMillis::new(peer);
            let peers = [(peer, true), (1_000, false)];
            assert!(!lost.is_given_up(hash, &peers, 50, now), "one may have it");
            let refused = lost.refused.as_ref().expect("somebody lacks it");
            assert_eq!(refused.by, BTreeSet::from([peer]));
        }
        assert_eq!(lost.next_due(start), Some(UnixMillis::new(50)));
        assert!(lost.is_given_up(hash, &[(1_000, true)], 50, UnixMillis::new(100)));
    }
}
