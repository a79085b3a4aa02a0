//! Measures how long readings and storage requests have waited for the disk, so that the page can report a slow or
//! stuck disk. Never cancels anything.

use std::collections::VecDeque;

use heartchain_chain::time::MonotonicMillis;
use heartchain_sync::io::Ticket;
use litemap::LiteMap;

/// In ms. A reading that is not on disk after this time counts in `status().storage.saving`. A busy disk takes at most
/// a tenth of it.
const SAVING_AFTER_MS: u64 = 3_000;
/// In ms. A store that has pending requests and has not answered for this time is stuck.
const STUCK_AFTER_MS: u64 = 10_000;

/// Start times of everything that waits for the disk.
#[derive(Debug, Default)]
pub(crate) struct SlowWriteMonitor {
    /// Readings that are not on disk yet. The machine bounds how many.
    readings: LiteMap<Ticket, MonotonicMillis>,
    /// Unanswered requests to the store, the oldest first. The store's queue bounds how many.
    requests: VecDeque<MonotonicMillis>,
    /// When the store last answered.
    last_answer: Option<MonotonicMillis>,
}

impl SlowWriteMonitor {
    /// A reading is on its way to the disk.
    pub(crate) fn reading_started(&mut self, ticket: Ticket, now: MonotonicMillis) {
        self.readings.insert(ticket, now);
    }

    /// A reading is on disk, or was refused.
    pub(crate) fn reading_finished(&mut self, ticket: Ticket) {
        self.readings.remove(&ticket);
    }

    /// A request was sent to the store.
    pub(crate) fn requested(&mut self, now: MonotonicMillis) {
        self.requests.push_back(now);
    }

    /// The store has answered the oldest request.
    pub(crate) fn answered(&mut self, now: MonotonicMillis) {
        self.requests.pop_front();
        self.last_answer = Some(now);
    }

    /// Restarts the store's deadline after the computer slept, when the store could not answer.
    pub(crate) fn restart_deadline(&mut self, now: MonotonicMillis) {
        self.last_answer = Some(now);
    }

    /// How many readings have waited for at least [`SAVING_AFTER_MS`].
    pub(crate) fn slow_readings(&self, now: MonotonicMillis) -> usize {
        // Tickets count upwards, so the first have waited longest.
        let late = |since: &MonotonicMillis| now.since(*since) >= SAVING_AFTER_MS;
        self.readings
            .values()
            .take_while(|since| late(since))
            .count()
    }

    /// Whether requests are pending and the store has not answered for [`STUCK_AFTER_MS`].
    pub(crate) fn is_stuck(&self, now: MonotonicMillis) -> bool {
        self.waiting_since()
            .is_some_and(|since| now.since(since) >= STUCK_AFTER_MS)
    }

    /// The next time at which [`Self::slow_readings`] or [`Self::is_stuck`] changes if nothing else happens.
    pub(crate) fn next_change(&self, now: MonotonicMillis) -> Option<MonotonicMillis> {
        let saving = self.readings.values();
        let mut saving = saving.map(|since| since.saturating_add(SAVING_AFTER_MS));
        let saving = saving.find(|due| *due > now);
        let stuck = self
            .waiting_since()
            .map(|since| since.saturating_add(STUCK_AFTER_MS));
        let stuck = stuck.filter(|due| *due > now);
        saving.into_iter().chain(stuck).min()
    }

    fn waiting_since(&self) -> Option<MonotonicMillis> {
        let oldest = *self.requests.front()?;
        Some(self.last_answer.map_or(oldest, |answer| answer.max(oldest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> MonotonicMillis {
        MonotonicMillis::new(ms)
    }

    #[test]
    fn readings_become_slow() {
        let mut monitor = SlowWriteMonitor::default();
        assert_eq!(monitor.next_change(at(0)), None);
        monitor.reading_started(Ticket(1), at(100));
        monitor.reading_started(Ticket(2), at(600));
        assert_eq!(monitor.next_change(at(600)), Some(at(3_100)));
        assert_eq!(monitor.slow_readings(at(3_099)), 0);
        assert_eq!(monitor.slow_readings(at(3_100)), 1);
        assert_eq!(monitor.next_change(at(3_100)), Some(at(3_600)));
        assert_eq!(monitor.slow_readings(at(3_600)), 2);
        monitor.reading_finished(Ticket(1));
        assert_eq!(monitor.slow_readings(at(3_600)), 1);
        monitor.reading_finished(Ticket(2));
        assert_eq!(
            (
                monitor.slow_readings(at(9_999)),
                monitor.next_change(at(9_999))
            ),
            (0, None)
        );
    }

    #[test]
    fn silent_store_is_stuck() {
        let mut monitor = SlowWriteMonitor::default();
        assert!(!monitor.is_stuck(at(1_000_000)));
        monitor.requested(at(100));
        monitor.requested(at(200));
        assert_eq!(monitor.next_change(at(200)), Some(at(10_100)));
        assert!(!monitor.is_stuck(at(10_099)));
        assert!(monitor.is_stuck(at(10_100)));
        assert_eq!(monitor.next_change(at(10_100)), None);
        // An answer came: the store is slow, but not stuck.
        monitor.answered(at(10_100));
        assert!(!monitor.is_stuck(at(20_099)));
        assert!(monitor.is_stuck(at(20_100)));
        monitor.restart_deadline(at(20_100));
        assert!(!monitor.is_stuck(at(30_099)));
        monitor.answered(at(30_099));
        assert!(!monitor.is_stuck(at(1_000_000)));
    }
}
