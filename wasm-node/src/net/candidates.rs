//! Peers that a relay named and that may be worth a call. Never calls anybody, never believes an address: a
//! candidate is a name and the relay that named it.

use std::time::Duration;

use chain::time::MonotonicMillis;
use litemap::LiteMap;

use super::backoff::Backoff;
use crate::config;

/// The peers that may be called, each with the relay `R` that it is reached through.
#[derive(Debug)]
pub(crate) struct Candidates<P, R> {
    limit: usize,
    redial: &'static [Duration],
    known: LiteMap<P, Candidate<R>>,
}

#[derive(Debug)]
struct Candidate<R> {
    relay: R,
    expires: MonotonicMillis,
    not_before: MonotonicMillis,
    backoff: Backoff,
}

impl<P: Copy + Ord, R: Copy + Eq> Candidates<P, R> {
    /// None yet; never more than `limit`, and one that fails is left alone for the waits of `redial`.
    pub(crate) const fn new(limit: usize, redial: &'static [Duration]) -> Self {
        Self {
            limit,
            redial,
            known: LiteMap::new(),
        }
    }

    /// A relay says that this peer is there, until `expires`. What failed before stays failed for as long.
    pub(crate) fn seen(&mut self, peer: P, relay: R, expires: MonotonicMillis) {
        if let Some(candidate) = self.known.get_mut(&peer) {
            candidate.relay = relay;
            candidate.expires = candidate.expires.max(expires);
            return;
        }
        if self.known.len() >= self.limit {
            let soonest = self
                .known
                .iter()
                .min_by_key(|(_, candidate)| candidate.expires);
            let Some((&soonest, _)) = soonest else { return };
            self.known.remove(&soonest);
        }
        let backoff = Backoff::new(self.redial);
        self.known.insert(
            peer,
            Candidate {
                relay,
                expires,
                not_before: MonotonicMillis::new(0),
                backoff,
            },
        );
    }

    /// Through whom this peer is reached.
    pub(crate) fn introducer(&self, peer: &P) -> Option<R> {
        self.known.get(peer).map(|candidate| candidate.relay)
    }

    /// A neighbour says that this peer is there, until `expires`. Who is known already is reached as before. No more are kept than
    /// one may name at a time: whoever goes on to make names up does not crowd the others' out.
    pub(crate) fn introduced(&mut self, peer: P, neighbour: R, expires: MonotonicMillis) {
        let may = match self.known.get(&peer) {
            Some(candidate) => candidate.relay == neighbour,
            None => {
                let theirs = self.known.values();
                let theirs = theirs.filter(|candidate| candidate.relay == neighbour);
                theirs.count() < config::MAX_INTRODUCED
            }
        };
        if may {
            self.seen(peer, neighbour, expires);
        }
    }

    /// The peer could not be reached: leave it alone for a while.
    pub(crate) fn failed(&mut self, peer: P, now: MonotonicMillis, chance: u64) {
        if let Some(candidate) = self.known.get_mut(&peer) {
            let wait = candidate.backoff.failed(chance);
            let not_before = now.saturating_add(millis(wait));
            candidate.not_before = candidate.not_before.max(not_before);
        }
    }

    /// The peer is of no use to us: leave it alone for this long.
    pub(crate) fn rest(&mut self, peer: P, until: MonotonicMillis) {
        if let Some(candidate) = self.known.get_mut(&peer) {
            candidate.not_before = until;
        }
    }

    /// The peer was reached.
    pub(crate) fn reached(&mut self, peer: P) {
        if let Some(candidate) = self.known.get_mut(&peer) {
            candidate.backoff.reset();
        }
    }

    /// The world changed (a relay is back, the page woke): everybody is worth a call again.
    pub(crate) fn forgive(&mut self) {
        for candidate in self.known.iter_mut().map(|(_, value)| value) {
            candidate.backoff.reset();
            candidate.not_before = MonotonicMillis::new(0);
        }
    }

    /// That relay is gone, and with it the way to whom it named.
    pub(crate) fn forget_relay(&mut self, relay: R) {
        self.known.retain(|_, candidate| candidate.relay != relay);
    }

    /// Up to `count` peers to call now, chosen at random among those that `busy` does not name.
    pub(crate) fn choose(
        &mut self,
        count: usize,
        now: MonotonicMillis,
        busy: impl Fn(&P) -> bool,
        mut chance: impl FnMut() -> u64,
    ) -> Vec<(P, R)> {
        self.known.retain(|_, candidate| candidate.expires > now);
        let mut free: Vec<(P, R)> = self
            .known
            .iter()
            .filter(|(peer, candidate)| candidate.not_before <= now && !busy(peer))
            .map(|(peer, candidate)| (*peer, candidate.relay))
            .collect();
        let mut chosen = Vec::new();
        while chosen.len() < count && !free.is_empty() {
            let length = u64::try_from(free.len()).unwrap_or(u64::MAX);
            let pick = usize::try_from(chance() % length).unwrap_or_default();
            chosen.push(free.swap_remove(pick));
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
    const EVEN: u64 = 250;

    fn at(seconds: u64) -> MonotonicMillis {
        MonotonicMillis::new(seconds * 1_000)
    }

    fn candidates(peers: impl IntoIterator<Item = u32>) -> Candidates<u32, char> {
        let mut candidates = Candidates::new(100, REDIAL);
        for peer in peers {
            candidates.seen(peer, 'r', at(120));
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
    fn no_more_than_asked_for_each_once_and_none_that_is_busy() {
        let mut candidates = candidates(0..20);
        let mut roll = 7_u64;
        let mut chosen = candidates.choose(
            8,
            at(0),
            |peer| peer % 2 == 0,
            || {
                roll = roll.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                roll >> 32
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
    fn a_peer_that_fails_is_left_alone_longer_each_time() {
        let mut candidates = candidates([1, 2]);
        candidates.failed(1, at(0), EVEN);
        assert_eq!(all(&mut candidates, at(2)), [2]);
        assert_eq!(all(&mut candidates, at(3)), [1, 2]);
        candidates.failed(1, at(3), EVEN);
        candidates.seen(1, 'r', at(120));
        assert_eq!(
            all(&mut candidates, at(12)),
            [2],
            "being named again does not help"
        );
        assert_eq!(all(&mut candidates, at(13)), [1, 2]);
    }

    #[test]
    fn reaching_a_peer_or_a_change_of_the_world_forgives() {
        let mut candidates = candidates([1]);
        candidates.failed(1, at(0), EVEN);
        candidates.reached(1);
        candidates.failed(1, at(10), EVEN);
        assert_eq!(
            all(&mut candidates, at(13)),
            [1],
            "the wait is the first one again"
        );
        candidates.rest(1, at(100));
        assert!(all(&mut candidates, at(99)).is_empty());
        candidates.forgive();
        assert_eq!(all(&mut candidates, at(20)), [1]);
    }

    #[test]
    fn a_peer_that_rests_does_so_though_its_connection_ends() {
        let mut candidates = candidates([1]);
        candidates.rest(1, at(100));
        candidates.failed(1, at(0), EVEN);
        assert!(all(&mut candidates, at(99)).is_empty());
        assert_eq!(all(&mut candidates, at(100)), [1]);
    }

    #[test]
    fn a_registration_that_ran_out_is_forgotten() {
        let mut candidates = candidates([1]);
        candidates.seen(2, 'r', at(200));
        assert_eq!(all(&mut candidates, at(120)), [2]);
        assert_eq!(candidates.known.len(), 1);
    }

    #[test]
    fn a_lost_relay_takes_its_candidates_along() {
        let mut candidates = candidates([1, 2]);
        candidates.seen(3, 's', at(120));
        candidates.forget_relay('r');
        assert_eq!(all(&mut candidates, at(0)), [3]);
    }

    #[test]
    fn who_is_introduced_is_called_through_the_neighbour_unless_there_is_another_way() {
        let mut candidates = candidates([1]);
        candidates.introduced(1, 'n', at(300));
        candidates.introduced(2, 'n', at(300));
        let ways = candidates.choose(9, at(0), |_| false, || 0);
        assert_eq!(
            ways.into_iter().collect::<BTreeMap<_, _>>(),
            BTreeMap::from([(1, 'r'), (2, 'n')])
        );
        candidates.forget_relay('r');
        candidates.introduced(1, 'n', at(300));
        assert_eq!(all(&mut candidates, at(200)), [1, 2]);
    }

    #[test]
    fn a_neighbour_that_makes_names_up_fills_its_own_share_only() {
        let mut candidates = candidates([1]);
        let most = u32::try_from(config::MAX_INTRODUCED).expect("small");
        for peer in 1_000..2_000 {
            candidates.introduced(peer, 'n', at(300));
        }
        assert_eq!(candidates.known.len(), 1 + config::MAX_INTRODUCED);
        candidates.introduced(2, 'm', at(300));
        assert!(all(&mut candidates, at(0)).contains(&2), "another's");
        // Once they have expired, there is room for those that it names now.
        assert!(all(&mut candidates, at(300)).is_empty());
        candidates.introduced(1_000 + most, 'n', at(400));
        assert_eq!(all(&mut candidates, at(300)), [1_000 + most]);
    }

    #[test]
    fn never_more_than_the_limit_and_the_first_to_expire_goes() {
        let mut candidates: Candidates<u32, char> = Candidates::new(2, REDIAL);
        candidates.seen(1, 'r', at(50));
        candidates.seen(2, 'r', at(40));
        candidates.seen(3, 'r', at(60));
        assert_eq!(all(&mut candidates, at(0)), [1, 3]);
    }
}
