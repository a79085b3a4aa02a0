//! Candidates for outbound connections: peers that relays or neighbours have reported, and the ways to each. A way is
//! the relay or neighbour that reported the peer, and a circuit through it leads there. This module never dials, and
//! never believes an address.
//!
//! A source may lie, or report peers that it does not connect. So no source can take away a way through another one:
//! each way has a backoff of its own, sources get equal shares of the dials, and a full table drops ways of the source
//! that has the most.

use std::time::Duration;

use heartchain_chain::{
    compact_sort,
    time::{MonotonicMillis, millis},
};
use litemap::LiteMap;

use super::{backoff::Backoff, peer_exchange::MAX_EXCHANGED_PEERS};

/// How long a peer that does not take part in this room is not dialed.
pub(crate) const NON_MEMBER_BACKOFF: Duration = Duration::from_secs(600);
/// Ways to peers that are remembered. Any 8 peers will do.
pub(crate) const MAX_WAYS: usize = 512;
/// How long a peer ID from the peer exchange is assumed to be reachable.
pub(crate) const EXCHANGED_PEER_TTL: Duration = Duration::from_secs(60);

/// Peers `P` that can be dialed, each through circuits of the sources `S`: the relays and neighbours that reported it.
#[derive(Debug)]
pub(crate) struct Candidates<P, S> {
    limit: usize,
    redial: &'static [Duration],
    candidates: LiteMap<P, Candidate<S>>,
}

/// A peer with at least one way to it.
#[derive(Debug)]
struct Candidate<S> {
    ways: Vec<Way<S>>,
    /// The source of the way that was last taken.
    taken: Option<S>,
    /// After refusals, whatever the way.
    pause: Pause,
}

#[derive(Debug)]
struct Way<S> {
    source: S,
    kind: Kind,
    expires: MonotonicMillis,
    /// After failed dials this way.
    pause: Pause,
}

/// What a source is. Of two ways that are equally good, the one through a relay is taken: it has more capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Relay,
    Neighbour,
}

/// A wait between tries.
#[derive(Debug)]
struct Pause {
    not_before: MonotonicMillis,
    backoff: Backoff,
}

impl<P: Copy + Ord, S: Copy + Ord> Candidates<P, S> {
    /// An empty set that holds at most `limit` ways. `redial` lists the waits after failed dials.
    pub(crate) const fn new(limit: usize, redial: &'static [Duration]) -> Self {
        Self {
            limit,
            redial,
            candidates: LiteMap::new(),
        }
    }

    /// Adds a peer that a relay reports, valid until `expires`. A known peer, and a known way to it, keep their backoff.
    pub(crate) fn add(&mut self, peer: P, relay: S, expires: MonotonicMillis) {
        self.add_way(peer, relay, Kind::Relay, expires);
    }

    /// Adds a peer that a neighbour reports, valid until `expires`. Each neighbour gets as many ways as fit one peer
    /// list.
    pub(crate) fn add_from_neighbour(&mut self, peer: P, neighbour: S, expires: MonotonicMillis) {
        let is_known = self.way(&peer, &neighbour).is_some();
        if is_known || self.ways_of(&neighbour) < MAX_EXCHANGED_PEERS {
            self.add_way(peer, neighbour, Kind::Neighbour, expires);
        }
    }

    fn add_way(&mut self, peer: P, source: S, kind: Kind, expires: MonotonicMillis) {
        if let Some(way) = self.way(&peer, &source) {
            way.expires = way.expires.max(expires);
            return;
        }
        let redial = self.redial;
        let way = Way {
            source,
            kind,
            expires,
            pause: Pause::new(redial),
        };
        let candidate = self.candidates.entry(peer).or_insert_with(|| Candidate {
            ways: Vec::new(),
            taken: None,
            pause: Pause::new(redial),
        });
        candidate.ways.push(way);
        self.drop_surplus();
    }

    /// Drops a way if there are too many: of the source with the most ways, the one that expires first.
    fn drop_surplus(&mut self) {
        if self.ways().count() <= self.limit {
            return;
        }
        let mut shares: LiteMap<S, usize> = LiteMap::new();
        for way in self.ways() {
            *shares.entry(way.source).or_insert(0) += 1;
        }
        let most = shares.iter().max_by_key(|(_, share)| **share);
        let Some((&source, _)) = most else { return };
        let theirs = self.candidates.iter().filter_map(|(peer, candidate)| {
            let way = candidate.ways.iter().find(|way| way.source == source)?;
            Some((way.expires, *peer))
        });
        let Some((_, peer)) = theirs.min() else {
            return;
        };
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            candidate.ways.retain(|way| way.source != source);
            if candidate.ways.is_empty() {
                self.candidates.remove(&peer);
            }
        }
    }

    /// The relays and neighbours through which the peer can be dialed, the best first.
    pub(crate) fn sources(&self, peer: &P) -> Vec<S> {
        let candidate = self.candidates.get(peer);
        let ways = candidate.map_or(&[][..], |candidate| &candidate.ways);
        let mut ways: Vec<&Way<S>> = ways.iter().collect();
        compact_sort::sort_by_key(&mut ways, |way| way.rank());
        ways.into_iter().map(|way| way.source).collect()
    }

    /// A dial to the peer failed: this way backs off before the next one.
    pub(crate) fn failed(&mut self, peer: P, source: S, now: MonotonicMillis, random: u64) {
        if let Some(way) = self.way(&peer, &source) {
            way.pause.failed(now, random);
        }
    }

    /// The peer was reached, but the connection ended before it was a member: it has no free slot, or a relay cut the
    /// circuit. Backs off before the next dial, and prefers another way then.
    pub(crate) fn refused(&mut self, peer: P, now: MonotonicMillis, random: u64) {
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            candidate.pause.failed(now, random);
            if let Some(way) = candidate.taken_way() {
                way.pause.failed(now, random);
            }
        }
    }

    /// Keeps the peer from being dialed before `until`, because it is of no use to this tab.
    pub(crate) fn hold_off(&mut self, peer: P, until: MonotonicMillis) {
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            candidate.pause.not_before = until;
        }
    }

    /// The peer turned out to be a member: resets its backoff, and that of the way that was taken.
    pub(crate) fn reached(&mut self, peer: P) {
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            candidate.pause.backoff.reset();
            if let Some(way) = candidate.taken_way() {
                way.pause.backoff.reset();
            }
        }
    }

    /// Makes all candidates eligible again, because circumstances changed: a relay is back, or the page resumed.
    pub(crate) fn reset_backoff(&mut self) {
        for candidate in self.candidates.iter_mut().map(|(_, value)| value) {
            candidate.pause = Pause::new(self.redial);
            for way in &mut candidate.ways {
                way.pause = Pause::new(self.redial);
            }
        }
    }

    /// Removes the ways through a relay or neighbour that is gone.
    pub(crate) fn forget_source(&mut self, source: S) {
        self.retain_ways(|way| way.source != source);
    }

    /// Picks up to `count` peers to dial now, among those for which `busy` is false, each with the way to take. Each
    /// source has the same chance, however many peers it reports.
    pub(crate) fn choose(
        &mut self,
        count: usize,
        now: MonotonicMillis,
        busy: impl Fn(&P) -> bool,
        mut random: impl FnMut() -> u64,
    ) -> Vec<(P, S)> {
        self.retain_ways(|way| way.expires > now);
        let mut eligible: LiteMap<S, Vec<P>> = LiteMap::new();
        for (peer, candidate) in &self.candidates {
            if candidate.pause.not_before > now || busy(peer) {
                continue;
            }
            let open = candidate
                .ways
                .iter()
                .filter(|way| way.pause.not_before <= now);
            if let Some(best) = open.min_by_key(|way| (way.rank(), random())) {
                let peers = eligible.entry(best.source).or_default();
                peers.push(*peer);
            }
        }
        let mut sources: Vec<(S, Vec<P>)> = eligible.into_iter().collect();
        let mut pick = |length: usize| {
            let length = u64::try_from(length).unwrap_or(u64::MAX);
            usize::try_from(random() % length).unwrap_or_default()
        };
        let mut chosen = Vec::new();
        while chosen.len() < count && !sources.is_empty() {
            let index = pick(sources.len());
            let (source, peers) = &mut sources[index];
            chosen.push((peers.swap_remove(pick(peers.len())), *source));
            if peers.is_empty() {
                sources.swap_remove(index);
            }
        }
        for (peer, source) in &chosen {
            if let Some(candidate) = self.candidates.get_mut(peer) {
                candidate.taken = Some(*source);
            }
        }
        chosen
    }

    fn way(&mut self, peer: &P, source: &S) -> Option<&mut Way<S>> {
        self.candidates.get_mut(peer)?.way(source)
    }

    fn ways(&self) -> impl Iterator<Item = &Way<S>> {
        self.candidates
            .values()
            .flat_map(|candidate| &candidate.ways)
    }

    fn ways_of(&self, source: &S) -> usize {
        self.ways().filter(|way| way.source == *source).count()
    }

    /// Keeps these ways only, and the peers to which there still is one.
    fn retain_ways(&mut self, keep: impl Fn(&Way<S>) -> bool) {
        for (_, candidate) in &mut self.candidates {
            candidate.ways.retain(&keep);
        }
        self.candidates
            .retain(|_, candidate| !candidate.ways.is_empty());
    }
}

impl<S: Copy + Eq> Candidate<S> {
    fn way(&mut self, source: &S) -> Option<&mut Way<S>> {
        self.ways.iter_mut().find(|way| way.source == *source)
    }

    fn taken_way(&mut self) -> Option<&mut Way<S>> {
        let taken = self.taken?;
        self.way(&taken)
    }
}

impl<S> Way<S> {
    /// The lower, the better.
    fn rank(&self) -> (usize, Kind) {
        (self.pause.backoff.failures(), self.kind)
    }
}

impl Pause {
    const fn new(waits: &'static [Duration]) -> Self {
        Self {
            not_before: MonotonicMillis::new(0),
            backoff: Backoff::new(waits),
        }
    }

    fn failed(&mut self, now: MonotonicMillis, random: u64) {
        let wait = self.backoff.failed(random);
        let not_before = now.saturating_add(millis(wait));
        self.not_before = self.not_before.max(not_before);
    }
}

#[cfg(test)]
mod tests;
