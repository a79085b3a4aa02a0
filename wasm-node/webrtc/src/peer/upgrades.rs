//! Which relayed connections are to be upgraded to direct ones, when, and by whom; and whose offers are answered. Pure:
//! it says what to do, is told how that went, and never sees a connection, a stream or a clock.

use std::time::Duration;

use litemap::LiteMap;

/// The most negotiations at one time each way, as many offers as answers: each holds a peer connection with its sockets. Peers
/// whose offers lead nowhere leave this side its own.
pub const MAX_NEGOTIATIONS: usize = 8;

/// How long to wait after a failed offer until the next one; after the last of them, a peer is left alone until there
/// is another relayed connection to it, or somebody asks for it.
pub const RETRY_AFTER: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(15),
];

/// How long a peer's offers are refused after one that came to nothing: a peer connection is too dear to be made and
/// thrown away at the speed of the network, and who means well waits for longer.
pub const REFUSED_AFTER_FAILURE: Duration = Duration::from_millis(500);

/// Two direct connections cross when both are made at once, as each side sees it within this time. One that comes later
/// replaces the other: whoever makes it has reason to take the older one for dead. Nobody has so soon.
const CROSSING: Duration = Duration::from_secs(3);

/// A direct connection that stood for so long was a good one, however it ended.
const STEADY_AFTER: Duration = Duration::from_secs(3);

/// Who began a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Us,
    Them,
}

/// What to do with an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict<C> {
    Answer,
    /// Answer it, and give up our own, which was made on this connection.
    AnswerInstead(C),
    Refuse,
}

/// All peers `P` with their connections `C`.
#[derive(Debug)]
pub(crate) struct Upgrades<P, C> {
    us: P,
    automatic: bool,
    peers: LiteMap<P, Peer<C>>,
}

#[derive(Debug)]
struct Peer<C> {
    /// Connections that can carry signals, and who dialled them.
    carriers: Vec<(C, Caller)>,
    /// With when they were made.
    direct: Vec<(C, Caller, Duration)>,
    /// The direct ones are silent: another one may be offered while they stand.
    doubtful: bool,
    /// The carrier of our offer, until the direct connection stands.
    offering: Option<C>,
    /// The carrier of their offer, until the direct connection stands.
    answering: Option<C>,
    failures: usize,
    not_before: Duration,
    refused_until: Duration,
    /// Somebody asked for this peer.
    wanted: bool,
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
            not_before: Duration::ZERO,
            refused_until: Duration::ZERO,
            wanted: false,
        }
    }
}

impl<P: Copy + Ord, C: Copy + Eq> Upgrades<P, C> {
    /// No peers yet. With `automatic`, every carrier that this side dialled is upgraded; without, only wanted peers'.
    pub(crate) fn new(us: P, automatic: bool) -> Self {
        Self {
            us,
            automatic,
            peers: LiteMap::new(),
        }
    }

    /// A connection that can carry signals is there: a fresh start.
    pub(crate) fn carrier_opened(&mut self, peer: P, connection: C, caller: Caller) {
        let entry = self.peers.entry(peer).or_default();
        entry.carriers.push((connection, caller));
        entry.failures = 0;
        entry.not_before = Duration::ZERO;
    }

    /// A direct connection stands. Returns those that it makes superfluous: of two the older, which is a dead one; but
    /// of two that crossed, at both ends the one begun by the greater name.
    pub(crate) fn direct_opened(
        &mut self,
        peer: P,
        connection: C,
        caller: Caller,
        now: Duration,
    ) -> Vec<C> {
        let lower = if self.us < peer {
            Caller::Us
        } else {
            Caller::Them
        };
        let entry = self.peers.entry(peer).or_default();
        entry.offering = None;
        entry.answering = None;
        entry.wanted = false;
        let doubtful = std::mem::take(&mut entry.doubtful);
        let crossed = !doubtful
            && entry.direct.iter().any(|(_, other, opened)| {
                *other == lower && now.saturating_sub(*opened) < CROSSING
            });
        let superfluous = if caller != lower && crossed {
            vec![connection]
        } else {
            entry.direct.iter().map(|(older, _, _)| *older).collect()
        };
        entry.direct.push((connection, caller, now));
        superfluous
    }

    /// A connection is gone, of whatever kind.
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

    /// The direct connection has fallen silent, or is heard again. While it is silent, another one may be offered.
    pub(crate) fn doubt(&mut self, peer: P, doubtful: bool, now: Duration) {
        if let Some(entry) = self.peers.get_mut(&peer)
            && !entry.direct.is_empty()
            && entry.doubtful != doubtful
        {
            entry.doubtful = doubtful;
            entry.failures = 0;
            entry.not_before = now;
        }
    }

    /// Somebody asks for this peer. Says whether there is a carrier to offer on.
    pub(crate) fn want(&mut self, peer: P) -> bool {
        match self.peers.get_mut(&peer) {
            Some(entry) if !entry.carriers.is_empty() => {
                entry.wanted = true;
                entry.failures = 0;
                entry.not_before = Duration::ZERO;
                true
            }
            Some(_) | None => false,
        }
    }

    /// An offer to make now, if there is one; it counts as begun.
    pub(crate) fn begin_offer(
        &mut self,
        now: Duration,
        may: impl Fn(&P) -> bool,
    ) -> Option<(P, C)> {
        if self.offers() >= MAX_NEGOTIATIONS {
            return None;
        }
        let automatic = self.automatic;
        let (peer, entry, carrier) = self.peers.iter_mut().find_map(|(peer, entry)| {
            let carrier = entry.carrier(automatic)?;
            (entry.not_before <= now && may(peer)).then_some((*peer, entry, carrier))
        })?;
        entry.offering = Some(carrier);
        Some((peer, carrier))
    }

    /// When an offer that waits is due.
    pub(crate) fn due(&self) -> Option<Duration> {
        if self.offers() >= MAX_NEGOTIATIONS {
            return None;
        }
        self.peers
            .values()
            .filter(|entry| entry.carrier(self.automatic).is_some())
            .map(|entry| entry.not_before)
            .min()
    }

    /// Our offer came to nothing. With `for_good`, the peer cannot do this at all. Says whether it will be tried again.
    pub(crate) fn offer_failed(
        &mut self,
        peer: P,
        connection: C,
        for_good: bool,
        now: Duration,
    ) -> bool {
        let Some(entry) = self.peers.get_mut(&peer) else {
            return false;
        };
        if entry.offering != Some(connection) {
            return true;
        }
        entry.offering = None;
        if for_good {
            entry.give_up();
            return false;
        }
        entry.failed(now)
    }

    /// The peer makes an offer on this connection. If it is to be answered, that counts as begun.
    pub(crate) fn judge_offer(&mut self, peer: P, connection: C, now: Duration) -> Verdict<C> {
        let answers = self
            .peers
            .values()
            .filter(|entry| entry.answering.is_some());
        let full = answers.count() >= MAX_NEGOTIATIONS;
        let ours_wins = self.us < peer;
        let entry = self.peers.entry(peer).or_default();
        match (entry.answering, entry.offering) {
            (Some(_), _) => Verdict::Refuse,
            (None, _) if now < entry.refused_until => Verdict::Refuse,
            (None, _) if full => Verdict::Refuse,
            (None, Some(_)) if ours_wins => Verdict::Refuse,
            (None, Some(ours)) => {
                entry.offering = None;
                entry.answering = Some(connection);
                Verdict::AnswerInstead(ours)
            }
            (None, None) => {
                entry.answering = Some(connection);
                Verdict::Answer
            }
        }
    }

    /// Their offer came to nothing.
    pub(crate) fn answer_failed(&mut self, peer: P, now: Duration) {
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.answering = None;
            entry.refused_until = now.saturating_add(REFUSED_AFTER_FAILURE);
        }
    }

    fn offers(&self) -> usize {
        let offering = self.peers.values().filter(|entry| entry.offering.is_some());
        offering.count()
    }
}

impl<C: Copy> Peer<C> {
    /// A direct connection is gone. One that did not stand was as good as none: whoever takes connections only to drop
    /// them is not offered one after the other without end.
    fn direct_lost(&mut self, opened: Duration, now: Duration) {
        if now.saturating_sub(opened) >= STEADY_AFTER {
            self.failures = 0;
            self.not_before = now.saturating_add(RETRY_AFTER[0]);
        } else if self.direct.is_empty() {
            self.failed(now);
        }
    }

    /// One more attempt came to nothing. Says whether there is to be another.
    fn failed(&mut self, now: Duration) -> bool {
        let wait = RETRY_AFTER.get(self.failures);
        match wait {
            Some(wait) => {
                self.failures += 1;
                self.not_before = now.saturating_add(*wait);
            }
            None => self.give_up(),
        }
        wait.is_some()
    }

    fn give_up(&mut self) {
        self.failures = usize::MAX;
        self.wanted = false;
    }

    /// The connection to make an offer on, if one should be made: one that this side dialled, or any if asked for.
    fn carrier(&self, automatic: bool) -> Option<C> {
        let idle = self.offering.is_none()
            && self.answering.is_none()
            && (self.direct.is_empty() || self.doubtful);
        if !idle || self.failures > RETRY_AFTER.len() {
            return None;
        }
        self.carriers
            .iter()
            .find(|(_, caller)| self.wanted || (automatic && *caller == Caller::Us))
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

    fn begin(upgrades: &mut Upgrades<u32, u32>, seconds: u64) -> Option<(u32, u32)> {
        upgrades.begin_offer(at(seconds), |_| true)
    }

    #[test]
    fn the_dialler_of_a_relayed_connection_offers_and_the_other_side_waits() {
        let mut upgrades = upgrades();
        upgrades.carrier_opened(GREATER, 1, Caller::Them);
        assert_eq!(begin(&mut upgrades, 0), None);
        upgrades.carrier_opened(LOWER, 2, Caller::Us);
        assert_eq!(begin(&mut upgrades, 0), Some((LOWER, 2)));
        assert_eq!(begin(&mut upgrades, 0), None, "one at a time");
        assert_eq!(upgrades.judge_offer(GREATER, 1, at(0)), Verdict::Answer);
    }

    #[test]
    fn what_the_policy_forbids_is_not_offered() {
        let mut upgrades = upgrades();
        upgrades.carrier_opened(LOWER, 1, Caller::Us);
        assert_eq!(upgrades.begin_offer(at(0), |peer| *peer != LOWER), None);
        assert_eq!(begin(&mut upgrades, 0), Some((LOWER, 1)));
    }

    #[test]
    fn nothing_is_offered_by_itself_unless_automatic_but_what_is_wanted_is() {
        let mut upgrades = Upgrades::new(US, false);
        upgrades.carrier_opened(GREATER, 1, Caller::Them);
        upgrades.carrier_opened(LOWER, 2, Caller::Us);
        assert_eq!(begin(&mut upgrades, 0), None);
        assert!(upgrades.want(GREATER));
        assert!(!upgrades.want(7), "there is no way to signal to a stranger");
        assert_eq!(begin(&mut upgrades, 0), Some((GREATER, 1)));
    }

    #[test]
    fn a_failed_offer_is_repeated_after_1_and_4_and_15_seconds_and_then_no_more() {
        let mut upgrades = upgrades();
        upgrades.carrier_opened(LOWER, 1, Caller::Us);
        let mut now = 100;
        for wait in [1, 4, 15] {
            assert_eq!(begin(&mut upgrades, now), Some((LOWER, 1)));
            assert!(upgrades.offer_failed(LOWER, 1, false, at(now)));
            assert_eq!(begin(&mut upgrades, now + wait - 1), None);
            now += wait;
            assert_eq!(upgrades.due(), Some(at(now)));
        }
        assert_eq!(begin(&mut upgrades, now), Some((LOWER, 1)));
        assert!(!upgrades.offer_failed(LOWER, 1, false, at(now)));
        assert_eq!(
            (begin(&mut upgrades, now + 1_000), upgrades.due()),
            (None, None)
        );
        upgrades.carrier_opened(LOWER, 2, Caller::Us);
        assert!(begin(&mut upgrades, now).is_some(), "a fresh start");
    }

    #[test]
    fn a_peer_that_does_not_know_the_protocol_is_not_asked_again() {
        let mut upgrades = upgrades();
        upgrades.carrier_opened(LOWER, 1, Caller::Us);
        assert!(begin(&mut upgrades, 0).is_some());
        assert!(!upgrades.offer_failed(LOWER, 1, true, at(0)));
        assert_eq!(begin(&mut upgrades, 1_000), None);
    }

    #[test]
    fn of_two_crossing_offers_the_lower_names_wins_at_both_ends() {
        let mut upgrades = upgrades();
        for (peer, connection) in [(LOWER, 1), (GREATER, 2)] {
            upgrades.carrier_opened(peer, connection, Caller::Us);
            assert!(begin(&mut upgrades, 0).is_some());
        }
        assert_eq!(
            upgrades.judge_offer(LOWER, 3, at(0)),
            Verdict::AnswerInstead(1)
        );
        assert_eq!(upgrades.judge_offer(GREATER, 4, at(0)), Verdict::Refuse);
        // That our offer breaks now is no failure.
        assert!(upgrades.offer_failed(LOWER, 1, false, at(0)));
        assert_eq!(
            upgrades.judge_offer(LOWER, 5, at(0)),
            Verdict::Refuse,
            "one answer a peer"
        );
    }

    #[test]
    fn no_more_negotiations_than_allowed() {
        let mut upgrades = upgrades();
        for peer in 1..=10 {
            upgrades.carrier_opened(peer, peer, Caller::Us);
        }
        for peer in 1..=8 {
            assert_eq!(begin(&mut upgrades, 0), Some((peer, peer)));
        }
        assert_eq!((begin(&mut upgrades, 0), upgrades.due()), (None, None));
        upgrades.direct_opened(1, 101, Caller::Us, at(0));
        assert_eq!(begin(&mut upgrades, 0), Some((9, 9)));
    }

    #[test]
    fn offers_that_hang_leave_this_side_its_own_and_the_other_way_round() {
        let mut upgrades = upgrades();
        let most = u32::try_from(MAX_NEGOTIATIONS).expect("small");
        for peer in GREATER..GREATER + most {
            upgrades.carrier_opened(peer, peer, Caller::Them);
            assert_eq!(upgrades.judge_offer(peer, peer, at(0)), Verdict::Answer);
        }
        assert_eq!(upgrades.judge_offer(200, 200, at(0)), Verdict::Refuse);
        upgrades.carrier_opened(LOWER, 1, Caller::Us);
        assert_eq!(begin(&mut upgrades, 0), Some((LOWER, 1)));
        assert_eq!(
            upgrades.judge_offer(LOWER, 1, at(0)),
            Verdict::Refuse,
            "nor is one answered instead of our own"
        );
        for peer in 1..most {
            upgrades.carrier_opened(peer, peer + 100, Caller::Us);
            assert!(begin(&mut upgrades, 0).is_some());
        }
        upgrades.answer_failed(GREATER, at(10));
        assert_eq!(upgrades.judge_offer(201, 201, at(10)), Verdict::Answer);
    }

    #[test]
    fn a_peer_that_is_reached_directly_is_left_alone_until_that_is_lost() {
        let mut upgrades = upgrades();
        upgrades.carrier_opened(LOWER, 1, Caller::Us);
        assert!(begin(&mut upgrades, 0).is_some());
        assert!(
            upgrades
                .direct_opened(LOWER, 2, Caller::Us, at(0))
                .is_empty()
        );
        assert_eq!((begin(&mut upgrades, 0), upgrades.due()), (None, None));
        upgrades.closed(LOWER, 2, at(10));
        assert_eq!(begin(&mut upgrades, 10), None);
        assert_eq!(begin(&mut upgrades, 11), Some((LOWER, 1)));
    }

    #[test]
    fn of_two_direct_connections_both_ends_keep_the_same() {
        let mut at_us = upgrades();
        assert!(
            at_us
                .direct_opened(GREATER, 1, Caller::Them, at(0))
                .is_empty()
        );
        assert_eq!(at_us.direct_opened(GREATER, 2, Caller::Us, at(0)), [1]);
        let mut at_greater: Upgrades<u32, u32> = Upgrades::new(GREATER, true);
        assert!(
            at_greater
                .direct_opened(US, 2, Caller::Them, at(0))
                .is_empty()
        );
        assert_eq!(at_greater.direct_opened(US, 1, Caller::Us, at(0)), [1]);
    }

    #[test]
    fn a_second_connection_begun_by_the_same_side_replaces_the_first() {
        for (peer, caller) in [(LOWER, Caller::Us), (LOWER, Caller::Them)] {
            let mut upgrades = upgrades();
            assert!(upgrades.direct_opened(peer, 1, caller, at(0)).is_empty());
            assert_eq!(upgrades.judge_offer(peer, 3, at(0)), Verdict::Answer);
            if caller == Caller::Them {
                assert_eq!(upgrades.direct_opened(peer, 2, caller, at(0)), [1]);
            }
        }
    }

    #[test]
    fn connections_that_are_dropped_at_once_are_not_offered_without_end() {
        let mut upgrades = upgrades();
        upgrades.carrier_opened(GREATER, 1, Caller::Us);
        let mut now = 0;
        for wait in [1, 4, 15] {
            assert_eq!(begin(&mut upgrades, now), Some((GREATER, 1)));
            upgrades.direct_opened(GREATER, 2, Caller::Us, at(now));
            upgrades.closed(GREATER, 2, at(now));
            assert_eq!(begin(&mut upgrades, now + wait - 1), None);
            now += wait;
        }
        assert_eq!(begin(&mut upgrades, now), Some((GREATER, 1)));
        upgrades.direct_opened(GREATER, 2, Caller::Us, at(now));
        // One that stood is offered again after a second.
        upgrades.closed(GREATER, 2, at(now) + STEADY_AFTER);
        now += STEADY_AFTER.as_secs() + 1;
        assert_eq!(begin(&mut upgrades, now), Some((GREATER, 1)));
        for _ in 0..=RETRY_AFTER.len() {
            upgrades.direct_opened(GREATER, 2, Caller::Us, at(now));
            upgrades.closed(GREATER, 2, at(now));
        }
        assert_eq!(
            (begin(&mut upgrades, now + 1_000), upgrades.due()),
            (None, None)
        );
    }

    #[test]
    fn a_silent_direct_connection_is_replaced_whoever_began_it() {
        for caller in [Caller::Us, Caller::Them] {
            let mut upgrades = upgrades();
            upgrades.carrier_opened(GREATER, 1, Caller::Us);
            assert!(
                upgrades
                    .direct_opened(GREATER, 2, Caller::Us, at(0))
                    .is_empty()
            );
            assert_eq!(begin(&mut upgrades, 60), None);
            upgrades.doubt(GREATER, true, at(60));
            assert_eq!(begin(&mut upgrades, 60), Some((GREATER, 1)));
            assert_eq!(
                upgrades.direct_opened(GREATER, 3, caller, at(61)),
                [2],
                "{caller:?}"
            );
            upgrades.closed(GREATER, 2, at(61));
            assert_eq!(begin(&mut upgrades, 100), None, "the new one stands");
        }
    }

    #[test]
    fn a_direct_connection_that_is_heard_again_is_not_replaced() {
        let mut upgrades = upgrades();
        upgrades.carrier_opened(GREATER, 1, Caller::Us);
        upgrades.doubt(GREATER, true, at(0));
        assert!(begin(&mut upgrades, 0).is_some(), "there is none to doubt");
        upgrades.direct_opened(GREATER, 2, Caller::Us, at(0));
        upgrades.doubt(GREATER, true, at(10));
        upgrades.doubt(GREATER, false, at(11));
        assert_eq!((begin(&mut upgrades, 60), upgrades.due()), (None, None));
    }

    #[test]
    fn what_the_far_end_replaces_is_replaced_unless_both_were_made_at_once() {
        // The far end doubts the connection, and this end does not. It is the one of the lower name.
        for (later, superfluous) in [(at(1), 2), (CROSSING, 1)] {
            let mut at_us = upgrades();
            at_us.direct_opened(GREATER, 1, Caller::Us, at(0));
            assert_eq!(
                at_us.direct_opened(GREATER, 2, Caller::Them, later),
                [superfluous]
            );
        }
    }

    #[test]
    fn a_peer_whose_offer_came_to_nothing_is_refused_for_a_moment() {
        let mut upgrades = upgrades();
        upgrades.carrier_opened(LOWER, 1, Caller::Them);
        assert_eq!(upgrades.judge_offer(LOWER, 1, at(7)), Verdict::Answer);
        upgrades.answer_failed(LOWER, at(7));
        let moment = at(7) + REFUSED_AFTER_FAILURE;
        let just_before = moment - Duration::from_millis(1);
        assert_eq!(upgrades.judge_offer(LOWER, 1, just_before), Verdict::Refuse);
        assert_eq!(upgrades.judge_offer(LOWER, 1, moment), Verdict::Answer);
        assert!(
            REFUSED_AFTER_FAILURE < RETRY_AFTER[0],
            "an honest peer's next offer"
        );
    }

    #[test]
    fn a_carrier_that_breaks_takes_its_negotiation_along() {
        let mut upgrades = upgrades();
        upgrades.carrier_opened(LOWER, 1, Caller::Us);
        upgrades.carrier_opened(LOWER, 2, Caller::Us);
        assert_eq!(begin(&mut upgrades, 0), Some((LOWER, 1)));
        upgrades.closed(LOWER, 1, at(0));
        assert_eq!(begin(&mut upgrades, 0), Some((LOWER, 2)));
        upgrades.closed(LOWER, 2, at(0));
        assert!(upgrades.peers.is_empty());
    }
}
