//! How long readings and the store's orders have waited: what the page is told while a disk does not answer. Never gives
//! anything up.

use std::collections::VecDeque;

use chain::time::MonotonicMillis;
use litemap::LiteMap;
use sync::seam::Ticket;

use crate::config::{SAVING_AFTER_MS, STUCK_AFTER_MS};

/// What waits, and since when.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// Readings that are not on disk yet. The machine bounds how many.
    readings: LiteMap<Ticket, MonotonicMillis>,
    /// Orders of the store without an answer, the oldest first. The store's queue bounds how many.
    orders: VecDeque<MonotonicMillis>,
    /// When the store last answered.
    answered: Option<MonotonicMillis>,
}

impl Patience {
    /// A reading is on its way to the disk.
    pub(crate) fn recording(&mut self, ticket: Ticket, now: MonotonicMillis) {
        self.readings.insert(ticket, now);
    }

    /// It is there, or refused.
    pub(crate) fn recorded(&mut self, ticket: Ticket) {
        self.readings.remove(&ticket);
    }

    /// The store was ordered to do something.
    pub(crate) fn ordered(&mut self, now: MonotonicMillis) {
        self.orders.push_back(now);
    }

    /// It has answered the oldest order.
    pub(crate) fn answered(&mut self, now: MonotonicMillis) {
        self.orders.pop_front();
        self.answered = Some(now);
    }

    /// The computer slept: nothing could answer meanwhile.
    pub(crate) fn excuse(&mut self, now: MonotonicMillis) {
        self.answered = Some(now);
    }

    /// How many readings have waited for long.
    pub(crate) fn saving(&self, now: MonotonicMillis) -> usize {
        // Tickets count upwards, so the first have waited longest.
        let late = |since: &MonotonicMillis| now.since(*since) >= SAVING_AFTER_MS;
        self.readings
            .values()
            .take_while(|since| late(since))
            .count()
    }

    /// Whether the store has not answered for long, though something waits for it.
    pub(crate) fn is_stuck(&self, now: MonotonicMillis) -> bool {
        self.waits_since()
            .is_some_and(|since| now.since(since) >= STUCK_AFTER_MS)
    }

    /// When one of these may change, if nothing else happens.
    pub(crate) fn due(&self, now: MonotonicMillis) -> Option<MonotonicMillis> {
        let saving = self.readings.values();
        let mut saving = saving.map(|since| since.saturating_add(SAVING_AFTER_MS));
        let saving = saving.find(|due| *due > now);
        let stuck = self
            .waits_since()
            .map(|since| since.saturating_add(STUCK_AFTER_MS));
        let stuck = stuck.filter(|due| *due > now);
        saving.into_iter().chain(stuck).min()
    }

    fn waits_since(&self) -> Option<MonotonicMillis> {
        let oldest = *self.orders.front()?;
        Some(
            self.answered
                .map_or(oldest, |answered| answered.max(oldest)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> MonotonicMillis {
        MonotonicMillis::new(ms)
    }

    #[test]
    fn a_reading_that_waits_for_long_is_told_of() {
        let mut patience = Patience::default();
        assert_eq!(patience.due(at(0)), None);
        patience.recording(Ticket(1), at(100));
        patience.recording(Ticket(2), at(600));
        assert_eq!(patience.due(at(600)), Some(at(3_100)));
        assert_eq!(patience.saving(at(3_099)), 0);
        assert_eq!(patience.saving(at(3_100)), 1);
        assert_eq!(patience.due(at(3_100)), Some(at(3_600)));
        assert_eq!(patience.saving(at(3_600)), 2);
        patience.recorded(Ticket(1));
        assert_eq!(patience.saving(at(3_600)), 1);
        patience.recorded(Ticket(2));
        assert_eq!(
            (patience.saving(at(9_999)), patience.due(at(9_999))),
            (0, None)
        );
    }

    #[test]
    fn a_store_that_says_nothing_is_stuck() {
        let mut patience = Patience::default();
        assert!(!patience.is_stuck(at(1_000_000)));
        patience.ordered(at(100));
        patience.ordered(at(200));
        assert_eq!(patience.due(at(200)), Some(at(10_100)));
        assert!(!patience.is_stuck(at(10_099)));
        assert!(patience.is_stuck(at(10_100)));
        assert_eq!(patience.due(at(10_100)), None);
        // It is slow, not stuck.
        patience.answered(at(10_100));
        assert!(!patience.is_stuck(at(20_099)));
        assert!(patience.is_stuck(at(20_100)));
        patience.excuse(at(20_100));
        assert!(!patience.is_stuck(at(30_099)));
        patience.answered(at(30_099));
        assert!(!patience.is_stuck(at(1_000_000)));
    }
}
