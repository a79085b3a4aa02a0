//! When the passes over all connections are due, and whether the page was suspended since the last one.

use std::time::Duration;

use heartchain_chain::time::{MonotonicMillis, UnixMillis, millis};

/// Time between two passes over all connections.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(2);
/// If housekeeping is this late, the page was suspended: timeouts that expired meanwhile are not held against a peer.
const SUSPEND_THRESHOLD: Duration = Duration::from_secs(6);

/// The schedule of the passes.
#[derive(Debug)]
pub(crate) struct Housekeeping {
    due: MonotonicMillis,
    /// Wall clock time of the last pass.
    last: UnixMillis,
}

/// A pass that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    /// Whether the page was suspended since the last pass.
    pub(crate) was_suspended: bool,
}

impl Housekeeping {
    /// The first pass is due now.
    pub(crate) const fn new(now: MonotonicMillis, wall: UnixMillis) -> Self {
        Self {
            due: now,
            last: wall,
        }
    }

    /// The pass that is due, if one is.
    pub(crate) fn poll(&mut self, now: MonotonicMillis, wall: UnixMillis) -> Option<Pass> {
        if self.due > now {
            return None;
        }
        // The wall clock counts, too: the monotonic clock may stop while the computer sleeps.
        let late = wall.since(self.last).max(now.since(self.due));
        let was_suspended = late > millis(SUSPEND_THRESHOLD + HOUSEKEEPING_INTERVAL);
        self.last = wall;
        self.due = now.saturating_add(millis(HOUSEKEEPING_INTERVAL));
        Some(Pass { was_suspended })
    }

    /// Makes the next pass due at `time` at the latest.
    pub(crate) fn at_latest(&mut self, time: MonotonicMillis) {
        self.due = self.due.min(time);
    }

    /// When [`Self::poll`] is next due.
    pub(crate) const fn next_deadline(&self) -> MonotonicMillis {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> (MonotonicMillis, UnixMillis) {
        let millis = seconds * 1_000;
        (MonotonicMillis::new(millis), UnixMillis::new(millis))
    }

    fn poll(housekeeping: &mut Housekeeping, seconds: u64) -> Option<bool> {
        let (now, wall) = at(seconds);
        let pass = housekeeping.poll(now, wall);
        pass.map(|pass| pass.was_suspended)
    }

    #[test]
    fn passes_come_at_intervals_or_sooner() {
        let (now, wall) = at(10);
        let mut housekeeping = Housekeeping::new(now, wall);
        assert_eq!(poll(&mut housekeeping, 10), Some(false));
        assert_eq!(poll(&mut housekeeping, 11), None);
        assert_eq!(poll(&mut housekeeping, 12), Some(false));
        housekeeping.at_latest(at(13).0);
        housekeeping.at_latest(at(20).0);
        assert_eq!(housekeeping.next_deadline(), at(13).0);
        assert_eq!(poll(&mut housekeeping, 13), Some(false));
    }

    #[test]
    fn suspended_page_is_noticed_by_either_clock() {
        let (now, wall) = at(10);
        let mut housekeeping = Housekeeping::new(now, wall);
        assert_eq!(poll(&mut housekeeping, 10), Some(false));
        assert_eq!(poll(&mut housekeeping, 18), Some(false), "8 s by the wall");
        assert_eq!(poll(&mut housekeeping, 27), Some(true));
        let asleep = housekeeping.poll(at(29).0, at(36).1);
        assert_eq!(asleep.map(|pass| pass.was_suspended), Some(true));
    }
}
