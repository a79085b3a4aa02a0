//! How much of the network's work is done before the browser gets its turn: a flood of events must not keep the page
//! from drawing and from its input. It never decides what the work is.
//!
//! Futures that are ready run one after the other in the same task of the browser. So a turn is what is done within one
//! such task: it begins with the first poll, and the next turn begins with the next task.

use std::{mem, task::Context};

use heartchain_chain::time::MonotonicMillis;

/// Polls of the swarm in a turn, each of which handles at most one event that concerns this tab.
pub(crate) const MAX_POLLS_PER_TURN: usize = 128;
/// In ms. Work of the network and of what follows from it in a turn: half a frame.
pub(crate) const MAX_TURN_MS: u64 = 8;

/// Tells when the platform begins its next task, so that a flood of events cannot keep a page from drawing. A platform
/// that interrupts long tasks anyway always answers that it has begun.
pub trait TaskTurns {
    /// Requests to be told when the next task begins.
    fn request(&self);

    /// Whether another task has begun since the request. Returns it once.
    fn has_begun(&self) -> bool;

    /// Wakes the caller when the next task begins.
    fn wake(&self, context: &Context<'_>);
}

/// What has been done since the last macrotask began.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// `None` before the first work of the turn.
    began: Option<MonotonicMillis>,
    polls: usize,
    has_ticked: bool,
}

impl Turn {
    /// Whether nothing has been done in this turn.
    pub(crate) const fn is_fresh(&self) -> bool {
        self.began.is_none()
    }

    /// Counts one poll, if the turn still allows it.
    pub(crate) fn take_poll(&mut self, now: MonotonicMillis) -> bool {
        self.began.get_or_insert(now);
        let is_allowed = !self.is_over(now);
        self.polls += usize::from(is_allowed);
        is_allowed
    }

    /// Whether the turn allows no more polls.
    pub(crate) fn is_over(&self, now: MonotonicMillis) -> bool {
        self.began.is_some_and(|began| {
            self.polls >= MAX_POLLS_PER_TURN || now.since(began) >= MAX_TURN_MS
        })
    }

    /// Whether the parts have not been polled in this turn; from now on they have.
    pub(crate) const fn take_tick(&mut self) -> bool {
        !mem::replace(&mut self.has_ticked, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> MonotonicMillis {
        MonotonicMillis::new(millis)
    }

    #[test]
    fn turn_allows_a_number_of_polls() {
        let mut turn = Turn::default();
        assert!(turn.is_fresh() && !turn.is_over(at(1_000)));
        for _ in 0..MAX_POLLS_PER_TURN {
            assert!(!turn.is_over(at(1_000)));
            assert!(turn.take_poll(at(1_000)));
        }
        assert!(turn.is_over(at(1_000)) && !turn.take_poll(at(1_000)));
        assert!(!turn.is_fresh());
    }

    #[test]
    fn turn_allows_a_time_of_work() {
        let mut turn = Turn::default();
        assert!(turn.take_poll(at(1_000)));
        assert!(turn.take_poll(at(1_000 + MAX_TURN_MS - 1)));
        assert!(!turn.is_over(at(1_000 + MAX_TURN_MS - 1)));
        assert!(!turn.take_poll(at(1_000 + MAX_TURN_MS)));
        assert!(turn.is_over(at(1_000 + MAX_TURN_MS)));
    }

    #[test]
    fn parts_are_polled_once_a_turn() {
        let mut turn = Turn::default();
        assert!(turn.take_tick());
        assert!(!turn.take_tick());
    }
}
