//! Candidates for outbound connections: peers that a relay or a neighbour has reported. A candidate is a peer ID and
//! the relay or neighbour that reported it. This module never dials, and never believes an address.

use std::time::Duration;

use heartchain_chain::time::MonotonicMillis;
use litemap::LiteMap;

use super::{backoff::Backoff, peer_exchange::MAX_EXCHANGED_PEERS};

/// How long a peer that does not take part in this room is not dialed.
pub(crate) const NON_MEMBER_BACKOFF: Duration = Duration::from_secs(600);
/// Peers that are remembered as candidates for a dial. Any 8 of them will do.
pub(crate) const MAX_CANDIDATES: usize = 512;
/// How long a peer ID from the peer exchange is assumed to be reachable.
pub(crate) const EXCHANGED_PEER_TTL: Duration = Duration::from_secs(60);

/// Peers `P` that can be dialed, each through a circuit of `R`: the relay or neighbour that reported it.
#[derive(Debug)]
pub(crate) struct Candidates<P, R> {
    limit: usize,
    redial: &'static [Duration],
    candidates: LiteMap<P, Candidate<R>>,
}

#[derive(Debug)]
struct Candidate<R> {
    relay: R,
    expires: MonotonicMillis,
    not_before: MonotonicMillis,
    backoff: Backoff,
}

impl<P: Copy + Ord, R: Copy + Eq> Candidates<P, R> {
    /// An empty set that holds at most `limit` peers. `redial` lists the waits after failed dials.
    pub(crate) const fn new(limit: usize, redial: &'static [Duration]) -> Self {
        Self {
            limit,
            redial,
            candidates: LiteMap::new(),
        }
    }

    /// Adds a peer that a relay reports, valid until `expires`. A known peer keeps its backoff.
    pub(crate) fn add(&mut self, peer: P, relay: R, expires: MonotonicMillis) {
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            candidate.relay = relay;
            candidate.expires = candidate.expires.max(expires);
            return;
        }
        if self.candidates.len() >= self.limit {
            let soonest = self
                .candidates
                .iter()
                .min_by_key(|(_, candidate)| candidate.expires);
            let Some((&soonest, _)) = soonest else { return };
            self.candidates.remove(&soonest);
        }
        let backoff = Backoff::new(self.redial);
        self.candidates.insert(
            peer,
            Candidate {
                relay,
                expires,
                not_before: MonotonicMillis::new(0),
                backoff,
            },
        );
    }

    /// The relay or neighbour through which the peer is dialed.
    pub(crate) fn source(&self, peer: &P) -> Option<R> {
        self.candidates.get(peer).map(|candidate| candidate.relay)
    }

    /// Adds a peer that a neighbour reports, valid until `expires`. A peer that another source has reported keeps that
    /// source. Each neighbour gets as many entries as fit one peer list, so made-up peer IDs from one neighbour cannot
    /// displace the peers of others.
    pub(crate) fn add_from_neighbour(&mut self, peer: P, neighbour: R, expires: MonotonicMillis) {
        let is_accepted = match self.candidates.get(&peer) {
            Some(candidate) => candidate.relay == neighbour,
            None => {
                let candidates = self.candidates.values();
                let theirs = candidates.filter(|candidate| candidate.relay == neighbour);
                theirs.count() < MAX_EXCHANGED_PEERS
            }
        };
        if is_accepted {
            self.add(peer, neighbour, expires);
        }
    }

    /// A dial to the peer failed: backs off before the next one.
    pub(crate) fn failed(&mut self, peer: P, now: MonotonicMillis, random: u64) {
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            let wait = candidate.backoff.failed(random);
            let not_before = now.saturating_add(millis(wait));
            candidate.not_before = candidate.not_before.max(not_before);
        }
    }

    /// Keeps the peer from being dialed before `until`, because it is of no use to this tab.
    pub(crate) fn hold_off(&mut self, peer: P, until: MonotonicMillis) {
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            candidate.not_before = until;
        }
    }

    /// The peer was reached: resets its backoff.
    pub(crate) fn reached(&mut self, peer: P) {
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            candidate.backoff.reset();
        }
    }

    /// Makes all candidates eligible again, because circumstances changed: a relay is back, or the page resumed.
    pub(crate) fn reset_backoff(&mut self) {
        for candidate in self.candidates.iter_mut().map(|(_, value)| value) {
            candidate.backoff.reset();
            candidate.not_before = MonotonicMillis::new(0);
        }
    }

    /// Removes the candidates of a relay or neighbour that is gone: they can no longer be reached through it.
    pub(crate) fn forget_relay(&mut self, relay: R) {
        self.candidates
            .retain(|_, candidate| candidate.relay != relay);
    }

    /// Picks up to `count` peers to dial now, at random among those for which `busy` is false.
    pub(crate) fn choose(
        &mut self,
        count: usize,
        now: MonotonicMillis,
        busy: impl Fn(&P) -> bool,
        mut random: impl FnMut() -> u64,
    ) -> Vec<(P, R)> {
        self.candidates
            .retain(|_, candidate| candidate.expires > now);
        let mut eligible: Vec<(P, R)> = self
            .candidates
            .iter()
            .filter(|(peer, candidate)| candidate.not_before <= now && !busy(peer))
            .map(|(peer, candidate)| (*peer, candidate.relay))
            .collect();
        let mut chosen = Vec::new();
        while chosen.len() < count && !eligible.is_empty() {
            let length = u64::try_from(eligible.len()).unwrap_or(u64::MAX);
            let pick = usize::try_from(random() % length).unwrap_or_default();
            chosen.push(eligible.swap_remove(pick));
        }
        chosen
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const REDIAL: &[Duration] = &[Duration::from_secs(3), Duration::from_secs(10)];
    const NO_JITTER: u64 = 250;

    fn at(seconds: u64) -> MonotonicMillis {
        MonotonicMillis::new(seconds * 1_000)
    }

    fn candidates(peers: impl IntoIterator<Item = u32>) -> Candidates<u32, char> {
        let mut candidates = Candidates::new(100, REDIAL);
        for peer in peers {
            candidates.add(peer, 'r', at(120));
        }
        candidates
    }

    fn all(candidates: &mut Candidates<u32, char>, now: MonotonicMillis) -> Vec<u32> {
        let mut peers: Vec<u32> = candidates
            .choose(usize::MAX, now, |_| false, || 0)
            .into_iter()
            .map(|(peer, _)| peer)
            .collect();
        peers.sort_unstable();
        peers
    }

    #[test]
    fn choice_is_limited_distinct_and_not_busy() {
        let mut candidates = candidates(0..20);
        let mut state = 7_u64;
        let mut chosen = candidates.choose(
            8,
            at(0),
            |peer| peer % 2 == 0,
            || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                state >> 32
            },
        );
        chosen.sort_unstable();
        chosen.dedup();
        assert_eq!(chosen.len(), 8);
        assert!(
            chosen
                .iter()
                .all(|(peer, relay)| peer % 2 == 1 && *relay == 'r')
        );
    }

    #[test]
    fn failed_peer_backs_off_longer_each_time() {
        let mut candidates = candidates([1, 2]);
        candidates.failed(1, at(0), NO_JITTER);
        assert_eq!(all(&mut candidates, at(2)), [2]);
        assert_eq!(all(&mut candidates, at(3)), [1, 2]);
        candidates.failed(1, at(3), NO_JITTER);
        candidates.add(1, 'r', at(120));
        assert_eq!(
            all(&mut candidates, at(12)),
            [2],
            "being reported again does not help"
        );
        assert_eq!(all(&mut candidates, at(13)), [1, 2]);
    }

    #[test]
    fn success_and_reset_clear_the_backoff() {
        let mut candidates = candidates([1]);
        candidates.failed(1, at(0), NO_JITTER);
        candidates.reached(1);
        candidates.failed(1, at(10), NO_JITTER);
        assert_eq!(
            all(&mut candidates, at(13)),
            [1],
            "the wait is the first one again"
        );
        candidates.hold_off(1, at(100));
        assert!(all(&mut candidates, at(99)).is_empty());
        candidates.reset_backoff();
        assert_eq!(all(&mut candidates, at(20)), [1]);
    }

    #[test]
    fn failed_dial_does_not_shorten_a_hold_off() {
        let mut candidates = candidates([1]);
        candidates.hold_off(1, at(100));
        candidates.failed(1, at(0), NO_JITTER);
        assert!(all(&mut candidates, at(99)).is_empty());
        assert_eq!(all(&mut candidates, at(100)), [1]);
    }

    #[test]
    fn expired_registration_is_forgotten() {
        let mut candidates = candidates([1]);
        candidates.add(2, 'r', at(200));
        assert_eq!(all(&mut candidates, at(120)), [2]);
        assert_eq!(candidates.candidates.len(), 1);
    }

    #[test]
    fn lost_relay_takes_its_candidates_along() {
        let mut candidates = candidates([1, 2]);
        candidates.add(3, 's', at(120));
        candidates.forget_relay('r');
        assert_eq!(all(&mut candidates, at(0)), [3]);
    }

    #[test]
    fn neighbour_is_the_source_of_new_peers_only() {
        let mut candidates = candidates([1]);
        candidates.add_from_neighbour(1, 'n', at(300));
        candidates.add_from_neighbour(2, 'n', at(300));
        let chosen = candidates.choose(9, at(0), |_| false, || 0);
        assert_eq!(
            chosen.into_iter().collect::<BTreeMap<_, _>>(),
            BTreeMap::from([(1, 'r'), (2, 'n')])
        );
        candidates.forget_relay('r');
        candidates.add_from_neighbour(1, 'n', at(300));
        assert_eq!(all(&mut candidates, at(200)), [1, 2]);
    }

    #[test]
    fn fake_peers_of_a_neighbour_fill_its_share_only() {
        let mut candidates = candidates([1]);
        let max = u32::try_from(MAX_EXCHANGED_PEERS).expect("small");
        for peer in 1_000..2_000 {
            candidates.add_from_neighbour(peer, 'n', at(300));
        }
        assert_eq!(candidates.candidates.len(), 1 + MAX_EXCHANGED_PEERS);
        candidates.add_from_neighbour(2, 'm', at(300));
        assert!(
            all(&mut candidates, at(0)).contains(&2),
            "of another neighbour"
        );
        // Once they have expired, there is room for those that it reports now.
        assert!(all(&mut candidates, at(300)).is_empty());
        candidates.add_from_neighbour(1_000 + max, 'n', at(400));
        assert_eq!(all(&mut candidates, at(300)), [1_000 + max]);
    }

    #[test]
    fn full_set_drops_the_first_to_expire() {
        let mut candidates: Candidates<u32, char> = Candidates::new(2, REDIAL);
        candidates.add(1, 'r', at(50));
        candidates.add(2, 'r', at(40));
        candidates.add(3, 'r', at(60));
        assert_eq!(all(&mut candidates, at(0)), [1, 3]);
    }
}
