//! Detects dead peers by the packets that the browser has received from them. Pure: it says when to check, is given the
//! packet count, and never touches a connection or a clock.
//!
//! A killed peer sends no goodbye, and Chromium reports the loss only after 6 s. Missing messages alone prove nothing,
//! because a page may be busy for seconds. Its browser, however, keeps answering STUN checks and acknowledging data in
//! threads of its own, and `getStats` counts these packets. So once no message has arrived for [`FIRST_CHECK_AFTER`],
//! the packet count is checked every [`CHECK_INTERVAL`]. If it stops growing, the whole browser is silent, not just a
//! busy page.

use std::time::Duration;

/// How long no message may arrive before the packet count is checked. Half a second more than 4 s, so that peers that
/// ping each other every 4 s are rarely checked: reading the count costs more than a ping.
pub const FIRST_CHECK_AFTER: Duration = Duration::from_millis(4_500);

/// Time between two checks.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How long the packet count may stay unchanged before the connection becomes doubtful and another one is offered. Each
/// of the two browsers sends a STUN check every 2.5 s, so a single lost packet can cause this, which does little harm.
pub const DOUBTFUL_AFTER: Duration = Duration::from_secs(2);

/// A check that runs this late means that this page was suspended or busy. The silence before it then does not count
/// against the peer.
const MAX_DELAY: Duration = Duration::from_millis(1_500);

/// The state of the peer at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// The peer is alive, as far as can be told.
    Alive,
    /// The peer has sent no packet for at least [`DOUBTFUL_AFTER`].
    Doubtful,
    /// The peer has been silent for longer than the limit.
    Lost,
}

/// Tracks the messages and packet counts of one connection. The module documentation explains the method.
#[derive(Clone, Debug)]
pub struct LivenessMonitor {
    limit: Duration,
    last_message: Duration,
    unchanged: Option<UnchangedCount>,
}

/// A run of checks that all returned the same packet count.
#[derive(Clone, Copy, Debug)]
struct UnchangedCount {
    packets: u64,
    first_check: Duration,
    last_check: Duration,
}

impl LivenessMonitor {
    /// Starts monitoring at `now`. A peer that stays silent for `limit` after its last message is lost.
    #[must_use]
    pub fn new(limit: Duration, now: Duration) -> Self {
        Self {
            limit,
            last_message: now,
            unchanged: None,
        }
    }

    /// Sets the limit. The effective minimum is [`FIRST_CHECK_AFTER`] + [`DOUBTFUL_AFTER`].
    pub fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Records that the last message arrived at `at`. An older or repeated time is ignored.
    pub fn record_message(&mut self, at: Duration) {
        if at > self.last_message {
            self.last_message = at;
            self.unchanged = None;
        }
    }

    /// When [`Self::check`] should be called next.
    #[must_use]
    pub fn next_check(&self) -> Duration {
        match self.unchanged {
            Some(unchanged) => unchanged.last_check.saturating_add(CHECK_INTERVAL),
            None => self.last_message.saturating_add(FIRST_CHECK_AFTER),
        }
    }

    /// Evaluates the packet count at `now`. The count grows with every packet from the peer; `None` means that this
    /// browser does not count packets.
    pub fn check(&mut self, now: Duration, packets: Option<u64>) -> Liveness {
        let late = now > self.next_check().saturating_add(MAX_DELAY);
        let Some(packets) = packets else {
            // Without a count there is no evidence: start over as if a message had just arrived.
            self.last_message = now;
            self.unchanged = None;
            return Liveness::Alive;
        };
        let unchanged = match &mut self.unchanged {
            Some(unchanged) if unchanged.packets == packets && !late => unchanged,
            changed => changed.insert(UnchangedCount {
                packets,
                first_check: now,
                last_check: now,
            }),
        };
        unchanged.last_check = now;
        let silent_for = now.saturating_sub(unchanged.first_check);
        // The limit runs from the last message, but silence is proven only from the first check on. So at least
        // `DOUBTFUL_AFTER` of it has to be observed.
        let lost_after = self
            .limit
            .saturating_sub(FIRST_CHECK_AFTER)
            .max(DOUBTFUL_AFTER);
        if silent_for >= lost_after {
            Liveness::Lost
        } else if silent_for >= DOUBTFUL_AFTER {
            Liveness::Doubtful
        } else {
            Liveness::Alive
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(7_500);

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Runs all due checks with the counts that `packets` returns, until the peer is no longer alive or `until` is
    /// reached.
    fn run_checks(
        liveness: &mut LivenessMonitor,
        until: u64,
        packets: impl Fn(Duration) -> u64,
    ) -> (Duration, Liveness) {
        loop {
            let now = liveness.next_check();
            if now > at(until) {
                return (now, Liveness::Alive);
            }
            let state = liveness.check(now, Some(packets(now)));
            if state != Liveness::Alive {
                return (now, state);
            }
        }
    }

    #[test]
    fn dead_peer_becomes_doubtful_then_lost() {
        let mut liveness = LivenessMonitor::new(LIMIT, at(0));
        assert_eq!(
            run_checks(&mut liveness, 60_000, |_| 7),
            (at(6_500), Liveness::Doubtful)
        );
        assert_eq!(
            liveness.check(liveness.next_check(), Some(7)),
            Liveness::Lost
        );
        assert_eq!(liveness.next_check(), LIMIT + CHECK_INTERVAL);
    }

    #[test]
    fn peer_that_sends_messages_is_never_checked() {
        let mut liveness = LivenessMonitor::new(LIMIT, at(0));
        for message in (0..60_000).step_by(4_000) {
            liveness.record_message(at(message));
            assert!(liveness.next_check() > at(message + 4_000));
        }
    }

    #[test]
    fn busy_page_is_alive_while_its_browser_answers() {
        let mut liveness = LivenessMonitor::new(LIMIT, at(0));
        // STUN checks every 2.5 s in both directions; each of them is a received packet.
        let checks = |now: Duration| u64::try_from(now.as_millis() / 2_500).unwrap_or_default();
        let (_, state) = run_checks(&mut liveness, 60_000, |now| {
            checks(now) + checks(now + at(1_250))
        });
        assert_eq!(state, Liveness::Alive);
    }

    #[test]
    fn one_lost_packet_does_not_lose_the_peer() {
        let mut liveness = LivenessMonitor::new(LIMIT, at(0));
        liveness.check(at(4_500), Some(1));
        liveness.check(at(5_500), Some(1));
        assert_eq!(liveness.check(at(6_500), Some(1)), Liveness::Doubtful);
        assert_eq!(liveness.check(at(7_500), Some(2)), Liveness::Alive);
        assert_eq!(liveness.check(at(8_500), Some(2)), Liveness::Alive);
    }

    #[test]
    fn message_resets_the_checks() {
        let mut liveness = LivenessMonitor::new(LIMIT, at(0));
        run_checks(&mut liveness, 60_000, |_| 7);
        liveness.record_message(at(6_600));
        assert_eq!(liveness.next_check(), at(6_600) + FIRST_CHECK_AFTER);
        liveness.record_message(at(6_300));
        assert_eq!(
            liveness.next_check(),
            at(6_600) + FIRST_CHECK_AFTER,
            "an older message"
        );
    }

    #[test]
    fn suspended_page_starts_over() {
        let mut liveness = LivenessMonitor::new(LIMIT, at(0));
        liveness.check(at(4_500), Some(7));
        liveness.check(at(5_500), Some(7));
        assert_eq!(liveness.check(at(600_000), Some(7)), Liveness::Alive);
        assert_eq!(liveness.check(at(601_000), Some(7)), Liveness::Alive);
        assert_eq!(liveness.check(at(602_000), Some(7)), Liveness::Doubtful);
        assert_eq!(liveness.check(at(603_000), Some(7)), Liveness::Lost);
    }

    #[test]
    fn browser_without_counts_loses_no_peer() {
        let mut liveness = LivenessMonitor::new(LIMIT, at(0));
        for _ in 0..100 {
            let now = liveness.next_check();
            assert_eq!(liveness.check(now, None), Liveness::Alive);
        }
    }

    #[test]
    fn limit_has_an_effective_minimum() {
        let mut liveness = LivenessMonitor::new(at(1), at(0));
        assert_eq!(
            run_checks(&mut liveness, 60_000, |_| 7),
            (at(6_500), Liveness::Lost)
        );
        liveness.set_limit(at(60_000));
        let mut patient = LivenessMonitor::new(at(60_000), at(0));
        let (first, _) = run_checks(&mut patient, 100_000, |_| 7);
        let mut now = first;
        while patient.check(now, Some(7)) != Liveness::Lost {
            now = patient.next_check();
        }
        assert_eq!(now, at(60_500));
    }
}
