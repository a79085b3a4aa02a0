//! Decides which carriers are upgraded to direct connections, when, and by which side, and which offers of peers are
//! answered. Pure: it returns what to do, is informed of the outcome, and never touches a connection, a stream or a
//! clock.
//!
//! A carrier is a connection that signalling can run over, normally a relayed one.

use std::time::Duration;

use litemap::LiteMap;

/// The maximum number of concurrent offers, and also of concurrent answers. Each holds a peer connection with its
/// sockets. The limits are separate, so that peers whose offers hang cannot block the offers of this side.
pub const MAX_NEGOTIATIONS: usize = 8;

/// The delays between a failed offer and the next ones. After the last of them, offers follow every [`RETRY_LATER`].
pub const RETRY_AFTER: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(15),
];

/// The delay between offers to a peer to which several have failed. Networks change: a laptop moves, a VPN is closed.
pub const RETRY_LATER: Duration = Duration::from_secs(300);

/// How long a peer's offers are refused after one has failed. Peer connections are too expensive to be created and
/// discarded at network speed, and an honest peer waits longer before it retries.
pub const REFUSED_AFTER_FAILURE: Duration = Duration::from_millis(500);

/// Two direct connections count as simultaneous if the second opens within this time. A later connection replaces the
/// older one, because its initiator has reason to consider the older one dead. So soon, no peer can have such a reason.
const SIMULTANEOUS: Duration = Duration::from_secs(3);

/// A direct connection that lasted this long counts as a success, however it ended.
const STABLE_AFTER: Duration = Duration::from_secs(3);

/// The side that initiated a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Initiator {
    Us,
    Them,
}

/// What to do with an offer of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OfferDecision<C> {
    Answer,
    /// Answer it, and cancel our own offer, which runs on this carrier.
    AnswerInstead(C),
    Refuse,
}

/// The upgrade state of all peers `P` and their connections `C`.
#[derive(Debug)]
pub(crate) struct Upgrades<P, C> {
    us: P,
    automatic: bool,
    peers: LiteMap<P, Peer<C>>,
}

#[derive(Debug)]
struct Peer<C> {
    /// Connections that signalling can run over, and which side dialled them.
    carriers: Vec<(C, Initiator)>,
    /// Direct connections, which side initiated them, and when they opened.
    direct: Vec<(C, Initiator, Duration)>,
    /// The direct connections are silent: another one may be offered while they still exist.
    doubtful: bool,
    /// The carrier of our offer, until the direct connection is established.
    offering: Option<C>,
    /// The carrier of the peer's offer, until the direct connection is established.
    answering: Option<C>,
    failures: usize,
    next_attempt: Duration,
    refused_until: Duration,
    /// A direct connection to this peer was requested explicitly.
    requested: bool,
}

impl<C> Default for Peer<C> {
    fn default() -> Self {
        Self {
            carriers: Vec::new(),
            direct: Vec::new(),
            doubtful: false,
            offering: None,
            answering: None,
            failures: 0,
            next_attempt: Duration::ZERO,
            refused_until: Duration::ZERO,
            requested: false,
        }
    }
}

impl<P: Copy + Ord, C: Copy + Eq> Upgrades<P, C> {
    /// Creates an empty state. With `automatic`, every carrier that this side dialled is upgraded; otherwise only those
    /// of requested peers.
    pub(crate) fn new(us: P, automatic: bool) -> Self {
        Self {
            us,
            automatic,
            peers: LiteMap::new(),
        }
    }

    /// Records that a carrier has opened. This resets the retries of the peer.
    pub(crate) fn carrier_opened(&mut self, peer: P, connection: C, initiator: Initiator) {
        let entry = self.peers.entry(peer).or_default();
        entry.carriers.push((connection, initiator));
        entry.failures = 0;
        entry.next_attempt = Duration::ZERO;
    }

    /// Records that a direct connection has opened, and returns the connections to close. Normally these are the older
    /// ones, which are considered dead. Of two simultaneous connections, both ends close the one that the peer with the
    /// greater peer ID initiated.
    pub(crate) fn direct_opened(
        &mut self,
        peer: P,
        connection: C,
        initiator: Initiator,
        now: Duration,
    ) -> Vec<C> {
        let lower = if self.us < peer {
            Initiator::Us
        } else {
            Initiator::Them
        };
        let entry = self.peers.entry(peer).or_default();
        entry.offering = None;
        entry.answering = None;
        entry.requested = false;
        let doubtful = std::mem::take(&mut entry.doubtful);
        let simultaneous = !doubtful
            && entry.direct.iter().any(|(_, other, opened)| {
                *other == lower && now.saturating_sub(*opened) < SIMULTANEOUS
            });
        let superfluous = if initiator != lower && simultaneous {
            vec![connection]
        } else {
            entry.direct.iter().map(|(older, _, _)| *older).collect()
        };
        entry.direct.push((connection, initiator, now));
        superfluous
    }

    /// Records that a carrier or a direct connection has closed.
    pub(crate) fn closed(&mut self, peer: P, connection: C, now: Duration) {
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        let opened = entry
            .direct
            .iter()
            .find(|(direct, _, _)| *direct == connection);
        let opened = opened.map(|(_, _, opened)| *opened);
        entry.carriers.retain(|(carrier, _)| *carrier != connection);
        entry.direct.retain(|(direct, _, _)| *direct != connection);
        if let Some(opened) = opened
            && !entry.doubtful
        {
            entry.direct_lost(opened, now);
        }
        if entry.direct.is_empty() {
            entry.doubtful = false;
        }
        for attempt in [&mut entry.offering, &mut entry.answering] {
            if *attempt == Some(connection) {
                *attempt = None;
            }
        }
        if entry.carriers.is_empty() && entry.direct.is_empty() {
            self.peers.remove(&peer);
        }
    }

    /// Records that the direct connection has fallen silent or responds again. While it is silent, another one may be
    /// offered.
    pub(crate) fn set_doubtful(&mut self, peer: P, doubtful: bool, now: Duration) {
        if let Some(entry) = self.peers.get_mut(&peer)
            && !entry.direct.is_empty()
            && entry.doubtful != doubtful
        {
            entry.doubtful = doubtful;
            entry.failures = 0;
            entry.next_attempt = now;
        }
    }

    /// Requests a direct connection to `peer`. Returns whether there is a carrier to signal over.
    pub(crate) fn request(&mut self, peer: P) -> bool {
        match self.peers.get_mut(&peer) {
            Some(entry) if !entry.carriers.is_empty() => {
                entry.requested = true;
                entry.failures = 0;
                entry.next_attempt = Duration::ZERO;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Makes failed offers due again, except to peers that do not support upgrades: the network may have changed.
    pub(crate) fn retry_soon(&mut self, now: Duration) {
        for (_, entry) in self.peers.iter_mut() {
            if (1..=RETRY_AFTER.len()).contains(&entry.failures) {
                entry.failures = 0;
                entry.next_attempt = now;
            }
        }
    }

    /// Returns a peer and a carrier to send an offer on now, if an offer is due, and records it as started.
    pub(crate) fn start_offer(
        &mut self,
        now: Duration,
        is_allowed: impl Fn(&P) -> bool,
    ) -> Option<(P, C)> {
        if self.offer_count() >= MAX_NEGOTIATIONS {
            return None;
        }
        let automatic = self.automatic;
        let (peer, entry, carrier) = self.peers.iter_mut().find_map(|(peer, entry)| {
            let carrier = entry.carrier(automatic)?;
            (entry.next_attempt <= now && is_allowed(peer)).then_some((*peer, entry, carrier))
        })?;
        entry.offering = Some(carrier);
        Some((peer, carrier))
    }

    /// When the next scheduled offer is due.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        if self.offer_count() >= MAX_NEGOTIATIONS {
            return None;
        }
        self.peers
            .values()
            .filter(|entry| entry.carrier(self.automatic).is_some())
            .map(|entry| entry.next_attempt)
            .min()
    }

    /// Records that our offer failed. `is_permanent` means that the peer does not support upgrades at all. Returns
    /// whether there will be a retry soon.
    pub(crate) fn offer_failed(
        &mut self,
        peer: P,
        connection: C,
        is_permanent: bool,
        now: Duration,
    ) -> bool {
        let Some(entry) = self.peers.get_mut(&peer) else {
            return false;
        };
        if entry.offering != Some(connection) {
            return true;
        }
        entry.offering = None;
        if is_permanent {
            entry.stop_retrying();
            return false;
        }
        entry.record_failure(now)
    }

    /// Decides on an offer that the peer made on this carrier. An answer is recorded as started.
    pub(crate) fn offer_received(
        &mut self,
        peer: P,
        connection: C,
        now: Duration,
    ) -> OfferDecision<C> {
        let answers = self
            .peers
            .values()
            .filter(|entry| entry.answering.is_some());
        let full = answers.count() >= MAX_NEGOTIATIONS;
        let ours_wins = self.us < peer;
        let entry = self.peers.entry(peer).or_default();
        match (entry.answering, entry.offering) {
            (Some(_), _) => OfferDecision::Refuse,
            (None, _) if now < entry.refused_until => OfferDecision::Refuse,
            (None, _) if full => OfferDecision::Refuse,
            (None, Some(_)) if ours_wins => OfferDecision::Refuse,
            (None, Some(ours)) => {
                entry.offering = None;
                entry.answering = Some(connection);
                OfferDecision::AnswerInstead(ours)
            }
            (None, None) => {
                entry.answering = Some(connection);
                OfferDecision::Answer
            }
        }
    }

    /// Records that the peer's offer failed.
    pub(crate) fn answer_failed(&mut self, peer: P, now: Duration) {
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.answering = None;
            entry.refused_until = now.saturating_add(REFUSED_AFTER_FAILURE);
        }
    }

    fn offer_count(&self) -> usize {
        let offering = self.peers.values().filter(|entry| entry.offering.is_some());
        offering.count()
    }
}

impl<C: Copy> Peer<C> {
    /// Records the loss of a direct connection. A short-lived connection counts as a failed attempt, so that a peer
    /// that drops connections immediately does not get new offers forever.
    fn direct_lost(&mut self, opened: Duration, now: Duration) {
        if now.saturating_sub(opened) >= STABLE_AFTER {
            self.failures = 0;
            self.next_attempt = now.saturating_add(RETRY_AFTER[0]);
        } else if self.direct.is_empty() {
            self.record_failure(now);
        }
    }

    /// Records a failed attempt and schedules the next one. Returns whether the next one is soon.
    fn record_failure(&mut self, now: Duration) -> bool {
        let wait = RETRY_AFTER.get(self.failures);
        match wait {
            Some(wait) => {
                self.failures += 1;
                self.next_attempt = now.saturating_add(*wait);
            }
            None => {
                self.requested = false;
                self.next_attempt = now.saturating_add(RETRY_LATER);
            }
        }
        wait.is_some()
    }

    fn stop_retrying(&mut self) {
        self.failures = usize::MAX;
        self.requested = false;
    }

    /// Returns the carrier to send an offer on, if an offer is needed: one that this side dialled, or any if the peer
    /// was requested.
    fn carrier(&self, automatic: bool) -> Option<C> {
        let idle = self.offering.is_none()
            && self.answering.is_none()
            && (self.direct.is_empty() || self.doubtful);
        if !idle || self.failures > RETRY_AFTER.len() {
            return None;
        }
        self.carriers
            .iter()
            .find(|(_, initiator)| self.requested || (automatic && *initiator == Initiator::Us))
            .map(|(connection, _)| *connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u32 = 50;
    const LOWER: u32 = 10;
    const GREATER: u32 = 90;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn upgrades() -> Upgrades<u32, u32> {
        Upgrades::new(US, true)
    }

    fn start(upgrades: &mut Upgrades<u32, u32>, seconds: u64) -> Option<(u32, u32)> {
        upgrades.start_offer(at(seconds), |_| true)
    }

    #[test]
    fn only_the_dialler_of_a_carrier_offers() {
        let mut upgrades = upgrades();
        upgrades.carrier_opened(GREATER, 1, Initiator::Them);
        assert_eq!(start(&mut upgrades, 0), None);
        upgrades.carrier_opened(LOWER, 2, Initiator::Us);
        assert_eq!(start(&mut upgrades, 0), Some((LOWER, 2)));
        assert_eq!(start(&mut upgrades, 0), None, "one at a time");
        assert_eq!(
            upgrades.offer_received(GREATER, 1, at(0)),
            OfferDecision::Answer
        );
    }

    #[test]
    fn forbidden_peer_gets_no_offer() {
        let mut upgrades = upgrades();
        upgrades.carrier_opened(LOWER, 1, Initiator::Us);
        assert_eq!(upgrades.start_offer(at(0), |peer| *peer != LOWER), None);
        assert_eq!(start(&mut upgrades, 0), Some((LOWER, 1)));
    }

    #[test]
    fn without_automatic_only_requested_peers_get_offers() {
        let mut upgrades = Upgrades::new(US, false);
        upgrades.carrier_opened(GREATER, 1, Initiator::Them);
        upgrades.carrier_opened(LOWER, 2, Initiator::Us);
        assert_eq!(start(&mut upgrades, 0), None);
        assert!(upgrades.request(GREATER));
        assert!(
            !upgrades.request(7),
            "there is no carrier to an unknown peer"
        );
        assert_eq!(start(&mut upgrades, 0), Some((GREATER, 1)));
    }

    #[test]
    fn failed_offer_is_retried_three_times() {
        let mut upgrades = upgrades();
        upgrades.carrier_opened(LOWER, 1, Initiator::Us);
        let mut now = 100;
        for wait in [1, 4, 15] {
            assert_eq!(start(&mut upgrades, now), Some((LOWER, 1)));
            assert!(upgrades.offer_failed(LOWER, 1, false, at(now)));
            assert_eq!(start(&mut upgrades, now + wait - 1), None);
            now += wait;
            assert_eq!(upgrades.next_due(), Some(at(now)));
        }
        assert_eq!(start(&mut upgrades, now), Some((LOWER, 1)));
        assert!(!upgrades.offer_failed(LOWER, 1, false, at(now)));
        assert_eq!(start(&mut upgrades, now + 299), None);
        assert_eq!(upgrades.next_due(), Some(at(now) + RETRY_LATER));
        upgrades.carrier_opened(LOWER, 2, Initiator::Us);
        assert!(start(&mut upgrades, now).is_some(), "a fresh start");
    }

    #[test]
    fn unsupported_peer_gets_no_further_offer() {
        let mut upgrades = upgrades();
        upgrades.carrier_opened(LOWER, 1, Initiator::Us);
        assert!(start(&mut upgrades, 0).is_some());
        assert!(!upgrades.offer_failed(LOWER, 1, true, at(0)));
        assert_eq!(start(&mut upgrades, 1_000), None);
    }

    #[test]
    fn lower_peer_id_wins_simultaneous_offers() {
        let mut upgrades = upgrades();
        for (peer, connection) in [(LOWER, 1), (GREATER, 2)] {
            upgrades.carrier_opened(peer, connection, Initiator::Us);
            assert!(start(&mut upgrades, 0).is_some());
        }
        assert_eq!(
            upgrades.offer_received(LOWER, 3, at(0)),
            OfferDecision::AnswerInstead(1)
        );
        assert_eq!(
            upgrades.offer_received(GREATER, 4, at(0)),
            OfferDecision::Refuse
        );
        // Our offer was cancelled, so its end does not count as a failure.
        assert!(upgrades.offer_failed(LOWER, 1, false, at(0)));
        assert_eq!(
            upgrades.offer_received(LOWER, 5, at(0)),
            OfferDecision::Refuse,
            "one answer per peer"
        );
    }

    #[test]
    fn concurrent_offers_are_limited() {
        let mut upgrades = upgrades();
        for peer in 1..=10 {
            upgrades.carrier_opened(peer, peer, Initiator::Us);
        }
        for peer in 1..=8 {
            assert_eq!(start(&mut upgrades, 0), Some((peer, peer)));
        }
        assert_eq!((start(&mut upgrades, 0), upgrades.next_due()), (None, None));
        upgrades.direct_opened(1, 101, Initiator::Us, at(0));
        assert_eq!(start(&mut upgrades, 0), Some((9, 9)));
    }

    #[test]
    fn offers_and_answers_are_limited_separately() {
        let mut upgrades = upgrades();
        let most = u32::try_from(MAX_NEGOTIATIONS).expect("small");
        for peer in GREATER..GREATER + most {
            upgrades.carrier_opened(peer, peer, Initiator::Them);
            assert_eq!(
                upgrades.offer_received(peer, peer, at(0)),
                OfferDecision::Answer
            );
        }
        assert_eq!(
            upgrades.offer_received(200, 200, at(0)),
            OfferDecision::Refuse
        );
        upgrades.carrier_opened(LOWER, 1, Initiator::Us);
        assert_eq!(start(&mut upgrades, 0), Some((LOWER, 1)));
        assert_eq!(
            upgrades.offer_received(LOWER, 1, at(0)),
            OfferDecision::Refuse,
            "our own offer is not replaced either"
        );
        for peer in 1..most {
            upgrades.carrier_opened(peer, peer + 100, Initiator::Us);
            assert!(start(&mut upgrades, 0).is_some());
        }
        upgrades.answer_failed(GREATER, at(10));
        assert_eq!(
            upgrades.offer_received(201, 201, at(10)),
            OfferDecision::Answer
        );
    }

    #[test]
    fn no_offers_while_a_direct_connection_exists() {
        let mut upgrades = upgrades();
        upgrades.carrier_opened(LOWER, 1, Initiator::Us);
        assert!(start(&mut upgrades, 0).is_some());
        assert!(
            upgrades
                .direct_opened(LOWER, 2, Initiator::Us, at(0))
                .is_empty()
        );
        assert_eq!((start(&mut upgrades, 0), upgrades.next_due()), (None, None));
        upgrades.closed(LOWER, 2, at(10));
        assert_eq!(start(&mut upgrades, 10), None);
        assert_eq!(start(&mut upgrades, 11), Some((LOWER, 1)));
    }

    #[test]
    fn both_ends_keep_the_same_direct_connection() {
        let mut at_us = upgrades();
        assert!(
            at_us
                .direct_opened(GREATER, 1, Initiator::Them, at(0))
                .is_empty()
        );
        assert_eq!(at_us.direct_opened(GREATER, 2, Initiator::Us, at(0)), [1]);
        let mut at_greater: Upgrades<u32, u32> = Upgrades::new(GREATER, true);
        assert!(
            at_greater
                .direct_opened(US, 2, Initiator::Them, at(0))
                .is_empty()
        );
        assert_eq!(at_greater.direct_opened(US, 1, Initiator::Us, at(0)), [1]);
    }

    #[test]
    fn second_connection_of_one_side_replaces_the_first() {
        for (peer, initiator) in [(LOWER, Initiator::Us), (LOWER, Initiator::Them)] {
            let mut upgrades = upgrades();
            assert!(upgrades.direct_opened(peer, 1, initiator, at(0)).is_empty());
            assert_eq!(
                upgrades.offer_received(peer, 3, at(0)),
                OfferDecision::Answer
            );
            if initiator == Initiator::Them {
                assert_eq!(upgrades.direct_opened(peer, 2, initiator, at(0)), [1]);
            }
        }
    }

    #[test]
    fn short_lived_connections_exhaust_the_retries() {
        let mut upgrades = upgrades();
        upgrades.carrier_opened(GREATER, 1, Initiator::Us);
        let mut now = 0;
        for wait in [1, 4, 15] {
            assert_eq!(start(&mut upgrades, now), Some((GREATER, 1)));
            upgrades.direct_opened(GREATER, 2, Initiator::Us, at(now));
            upgrades.closed(GREATER, 2, at(now));
            assert_eq!(start(&mut upgrades, now + wait - 1), None);
            now += wait;
        }
        assert_eq!(start(&mut upgrades, now), Some((GREATER, 1)));
        upgrades.direct_opened(GREATER, 2, Initiator::Us, at(now));
        // A connection that lasted is offered again after a second.
        upgrades.closed(GREATER, 2, at(now) + STABLE_AFTER);
        now += STABLE_AFTER.as_secs() + 1;
        assert_eq!(start(&mut upgrades, now), Some((GREATER, 1)));
        for _ in 0..=RETRY_AFTER.len() {
            upgrades.direct_opened(GREATER, 2, Initiator::Us, at(now));
            upgrades.closed(GREATER, 2, at(now));
        }
        assert_eq!(start(&mut upgrades, now + 299), None);
        assert_eq!(start(&mut upgrades, now + 300), Some((GREATER, 1)));
    }

    #[test]
    fn relayed_pair_is_offered_again_in_time() {
        let mut upgrades = upgrades();
        upgrades.carrier_opened(GREATER, 1, Initiator::Us);
        let mut now = 0;
        for soon in [true, true, true, false, false] {
            assert_eq!(start(&mut upgrades, now), Some((GREATER, 1)));
            assert_eq!(upgrades.offer_failed(GREATER, 1, false, at(now)), soon);
            let due = upgrades.next_due().expect("another offer follows");
            now = due.as_secs();
        }
        assert_eq!(now, 1 + 4 + 15 + 2 * RETRY_LATER.as_secs());
        // The network has changed.
        assert_eq!(start(&mut upgrades, now), Some((GREATER, 1)));
        upgrades.offer_failed(GREATER, 1, false, at(now));
        assert_eq!(start(&mut upgrades, now + 1), None);
        upgrades.retry_soon(at(now + 1));
        assert_eq!(start(&mut upgrades, now + 1), Some((GREATER, 1)));
        // A peer without upgrades gets no more offers.
        upgrades.offer_failed(GREATER, 1, true, at(now + 1));
        upgrades.retry_soon(at(now + 2));
        assert_eq!(start(&mut upgrades, now + 10_000), None);
    }

    #[test]
    fn silent_connection_is_replaced_by_either_side() {
        for initiator in [Initiator::Us, Initiator::Them] {
            let mut upgrades = upgrades();
            upgrades.carrier_opened(GREATER, 1, Initiator::Us);
            assert!(
                upgrades
                    .direct_opened(GREATER, 2, Initiator::Us, at(0))
                    .is_empty()
            );
            assert_eq!(start(&mut upgrades, 60), None);
            upgrades.set_doubtful(GREATER, true, at(60));
            assert_eq!(start(&mut upgrades, 60), Some((GREATER, 1)));
            assert_eq!(
                upgrades.direct_opened(GREATER, 3, initiator, at(61)),
                [2],
                "{initiator:?}"
            );
            upgrades.closed(GREATER, 2, at(61));
            assert_eq!(start(&mut upgrades, 100), None, "the new connection exists");
        }
    }

    #[test]
    fn recovered_connection_is_not_replaced() {
        let mut upgrades = upgrades();
        upgrades.carrier_opened(GREATER, 1, Initiator::Us);
        upgrades.set_doubtful(GREATER, true, at(0));
        assert!(
            start(&mut upgrades, 0).is_some(),
            "without a direct connection, doubt has no effect"
        );
        upgrades.direct_opened(GREATER, 2, Initiator::Us, at(0));
        upgrades.set_doubtful(GREATER, true, at(10));
        upgrades.set_doubtful(GREATER, false, at(11));
        assert_eq!(
            (start(&mut upgrades, 60), upgrades.next_due()),
            (None, None)
        );
    }

    #[test]
    fn later_connection_replaces_unless_simultaneous() {
        // The peer doubts the first connection, which this side initiated, and this side does not. This side has the
        // lower peer ID.
        for (later, superfluous) in [(at(1), 2), (SIMULTANEOUS, 1)] {
            let mut at_us = upgrades();
            at_us.direct_opened(GREATER, 1, Initiator::Us, at(0));
            assert_eq!(
                at_us.direct_opened(GREATER, 2, Initiator::Them, later),
                [superfluous]
            );
        }
    }

    #[test]
    fn offers_are_refused_briefly_after_a_failure() {
        let mut upgrades = upgrades();
        upgrades.carrier_opened(LOWER, 1, Initiator::Them);
        assert_eq!(
            upgrades.offer_received(LOWER, 1, at(7)),
            OfferDecision::Answer
        );
        upgrades.answer_failed(LOWER, at(7));
        let end_of_refusal = at(7) + REFUSED_AFTER_FAILURE;
        let just_before = end_of_refusal - Duration::from_millis(1);
        assert_eq!(
            upgrades.offer_received(LOWER, 1, just_before),
            OfferDecision::Refuse
        );
        assert_eq!(
            upgrades.offer_received(LOWER, 1, end_of_refusal),
            OfferDecision::Answer
        );
        assert!(
            REFUSED_AFTER_FAILURE < RETRY_AFTER[0],
            "an honest peer's retry is answered"
        );
    }

    #[test]
    fn closed_carrier_ends_its_negotiation() {
        let mut upgrades = upgrades();
        upgrades.carrier_opened(LOWER, 1, Initiator::Us);
        upgrades.carrier_opened(LOWER, 2, Initiator::Us);
        assert_eq!(start(&mut upgrades, 0), Some((LOWER, 1)));
        upgrades.closed(LOWER, 1, at(0));
        assert_eq!(start(&mut upgrades, 0), Some((LOWER, 2)));
        upgrades.closed(LOWER, 2, at(0));
        assert!(upgrades.peers.is_empty());
    }
}
