//! A peer's two clocks: the wall clock, which the user can set, and the monotonic clock, which never jumps.

use heartchain_chain::time::{MonotonicMillis, UnixMillis};
use heartchain_sync::Now;

use crate::world::START;

/// Converts the simulation's true time to what one peer's clocks show.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    /// How far the wall clock is ahead of the true time, ms. It can jump.
    pub(crate) offset: i64,
    /// Total time asleep, ms. The monotonic clock stands still while its computer sleeps.
    slept: u64,
    asleep_since: Option<u64>,
}

impl Clock {
    pub(crate) fn wall(&self, now: u64) -> UnixMillis {
        UnixMillis::new(now.saturating_add_signed(self.offset))
    }

    /// True time since the run began, minus the time asleep, ms.
    fn monotonic(&self, now: u64) -> u64 {
        let until = self.asleep_since.unwrap_or(now);
        until.saturating_sub(START).saturating_sub(self.slept)
    }

    pub(crate) fn both(&self, now: u64) -> Now {
        Now {
            wall: self.wall(now),
            monotonic: MonotonicMillis::new(self.monotonic(now)),
        }
    }

    /// The true time at which the monotonic clock will show `at`, provided the peer stays awake.
    pub(crate) fn true_time(&self, at: MonotonicMillis) -> u64 {
        START.saturating_add(at.get()).saturating_add(self.slept)
    }

    pub(crate) fn sleep(&mut self, now: u64) {
        self.asleep_since.get_or_insert(now);
    }

    pub(crate) fn wake(&mut self, now: u64) {
        if let Some(since) = self.asleep_since.take() {
            self.slept += now.saturating_sub(since);
        }
    }
}
