//! Whether the far end still lives, judged by what the browser counts of its packets. Pure: it says when to look, is told
//! what was seen, and never sees a connection or a clock.
//!
//! A peer that is killed says nothing, and Chromium takes 6 s to say so. Messages that stay away prove nothing either: a
//! page may be busy for seconds. But its browser goes on answering STUN checks and acknowledging what it gets, in threads
//! of its own, and those packets are counted. So only when no message has come for [`FIRST_LOOK`] are the counts looked
//! at, every [`LOOK_INTERVAL`] from then on; a count that stands still is the silence of a whole browser.

use std::time::Duration;

/// Without a message for this long, the counts are looked at. A little more than 2 s, so that peers that ping each other
/// every 2 s never need to.
pub const FIRST_LOOK: Duration = Duration::from_millis(2_250);

/// Time between two looks.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Counts that stand still for this long make a connection doubtful: it is time to offer another one. Browsers check their
/// ways every 2.5 s, and both do, so one lost packet may do this, and not much harm is done.
pub const DOUBTFUL_AFTER: Duration = Duration::from_secs(2);

/// A look that comes this late means that this page slept or was busy: what it did not hear is not held against anybody.
const LATE: Duration = Duration::from_millis(1_500);

/// What is to be thought of the far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It lives, as far as anybody can tell.
    Alive,
    /// It has been silent for a while.
    Doubtful,
    /// It has been silent for too long.
    Lost,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Vigil {
    limit: Duration,
    heard: Duration,
    watch: Option<Watch>,
}

/// Looks that saw one and the same count.
#[derive(Clone, Copy, Debug)]
struct Watch {
    signs: u64,
    since: Duration,
    last: Duration,
}

impl Vigil {
    /// Begins at `now`; a far end that was silent for `limit` since its last message is lost.
    #[must_use]
    pub fn new(limit: Duration, now: Duration) -> Self {
        Self {
            limit,
            heard: now,
            watch: None,
        }
    }

    /// Sets another limit. Below [`FIRST_LOOK`] + [`DOUBTFUL_AFTER`] it counts as that.
    pub fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// The last message came at `at`. Told late, or again, it does no harm.
    pub fn heard(&mut self, at: Duration) {
        if at > self.heard {
            self.heard = at;
            self.watch = None;
        }
    }

    /// When to look.
    #[must_use]
    pub fn due(&self) -> Duration {
        match self.watch {
            Some(watch) => watch.last.saturating_add(LOOK_INTERVAL),
            None => self.heard.saturating_add(FIRST_LOOK),
        }
    }

    /// What was seen at `now`: a count that grows with every packet of the peer, or `None` if this browser counts nothing.
    pub fn look(&mut self, now: Duration, signs: Option<u64>) -> Finding {
        let late = now > self.due().saturating_add(LATE);
        let Some(signs) = signs else {
            // Nothing to judge by: look again when it would be time for a first look.
            self.heard = now;
            self.watch = None;
            return Finding::Alive;
        };
        let watch = match &mut self.watch {
            Some(watch) if watch.signs == signs && !late => watch,
            changed => changed.insert(Watch {
                signs,
                since: now,
                last: now,
            }),
        };
        watch.last = now;
        let still = now.saturating_sub(watch.since);
        // The count was not looked at before the first look, so the silence before that is not certain.
        let enough = self.limit.saturating_sub(FIRST_LOOK).max(DOUBTFUL_AFTER);
        if still >= enough {
            Finding::Lost
        } else if still >= DOUBTFUL_AFTER {
            Finding::Doubtful
        } else {
            Finding::Alive
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(5_250);

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Looks whenever it is due, at counts that `signs` gives, until it has a finding other than alive or `until` comes.
    fn watch(
        vigil: &mut Vigil,
        until: u64,
        signs: impl Fn(Duration) -> u64,
    ) -> (Duration, Finding) {
        loop {
            let now = vigil.due();
            if now > at(until) {
                return (now, Finding::Alive);
            }
            let finding = vigil.look(now, Some(signs(now)));
            if finding != Finding::Alive {
                return (now, finding);
            }
        }
    }

    #[test]
    fn a_dead_peer_is_doubtful_and_then_lost_within_the_limit() {
        let mut vigil = Vigil::new(LIMIT, at(0));
        assert_eq!(
            watch(&mut vigil, 60_000, |_| 7),
            (at(4_250), Finding::Doubtful)
        );
        assert_eq!(vigil.look(vigil.due(), Some(7)), Finding::Lost);
        assert_eq!(vigil.due(), LIMIT + LOOK_INTERVAL);
    }

    #[test]
    fn who_sends_messages_is_never_looked_at() {
        let mut vigil = Vigil::new(LIMIT, at(0));
        for message in (0..60_000).step_by(2_000) {
            vigil.heard(at(message));
            assert!(vigil.due() > at(message + 2_000));
        }
    }

    #[test]
    fn a_page_that_is_busy_for_long_but_whose_browser_answers_is_alive() {
        let mut vigil = Vigil::new(LIMIT, at(0));
        // Checks every 2.5 s, both ways: each of them is a packet.
        let checks = |now: Duration| u64::try_from(now.as_millis() / 2_500).unwrap_or_default();
        let (_, finding) = watch(&mut vigil, 60_000, |now| {
            checks(now) + checks(now + at(1_250))
        });
        assert_eq!(finding, Finding::Alive);
    }

    #[test]
    fn one_check_that_is_lost_is_no_loss() {
        let mut vigil = Vigil::new(LIMIT, at(0));
        vigil.look(at(2_250), Some(1));
        vigil.look(at(3_250), Some(1));
        assert_eq!(vigil.look(at(4_250), Some(1)), Finding::Doubtful);
        assert_eq!(vigil.look(at(5_250), Some(2)), Finding::Alive);
        assert_eq!(vigil.look(at(6_250), Some(2)), Finding::Alive);
    }

    #[test]
    fn a_message_ends_all_doubt() {
        let mut vigil = Vigil::new(LIMIT, at(0));
        watch(&mut vigil, 60_000, |_| 7);
        vigil.heard(at(4_300));
        assert_eq!(vigil.due(), at(4_300) + FIRST_LOOK);
        vigil.heard(at(4_000));
        assert_eq!(vigil.due(), at(4_300) + FIRST_LOOK, "told late");
    }

    #[test]
    fn a_page_that_slept_begins_anew() {
        let mut vigil = Vigil::new(LIMIT, at(0));
        vigil.look(at(2_250), Some(7));
        vigil.look(at(3_250), Some(7));
        assert_eq!(vigil.look(at(600_000), Some(7)), Finding::Alive);
        assert_eq!(vigil.look(at(601_000), Some(7)), Finding::Alive);
        assert_eq!(vigil.look(at(602_000), Some(7)), Finding::Doubtful);
        assert_eq!(vigil.look(at(603_000), Some(7)), Finding::Lost);
    }

    #[test]
    fn a_browser_that_counts_nothing_loses_nobody() {
        let mut vigil = Vigil::new(LIMIT, at(0));
        for _ in 0..100 {
            let now = vigil.due();
            assert_eq!(vigil.look(now, None), Finding::Alive);
        }
    }

    #[test]
    fn a_limit_below_what_can_be_known_counts_as_that() {
        let mut vigil = Vigil::new(at(1), at(0));
        assert_eq!(watch(&mut vigil, 60_000, |_| 7), (at(4_250), Finding::Lost));
        vigil.set_limit(at(60_000));
        let mut patient = Vigil::new(at(60_000), at(0));
        let (first, _) = watch(&mut patient, 100_000, |_| 7);
        let mut now = first;
        while patient.look(now, Some(7)) != Finding::Lost {
            now = patient.due();
        }
        assert_eq!(now, at(60_250));
    }
}
