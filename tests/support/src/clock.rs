//! Wall clocks, which users can set, and monotonic clocks, which never jump.

use heartchain_chain::time::{MonotonicMillis, UnixMillis};
use heartchain_sync::Now;

use crate::branch::START;

/// Both clocks at true time `now`, Unix ms, with the wall clock `offset` ms ahead.
#[must_use]
pub const fn now_at(now: u64, offset: i64) -> Now {
    Now {
        wall: UnixMillis::new(now.saturating_add_signed(offset)),
        monotonic: MonotonicMillis::new(now),
    }
}

/// Converts the simulation's true time to what one peer's clocks show.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// How far the wall clock is ahead of the true time, ms. It can jump.
    pub offset: i64,
    /// Total time asleep, ms. The monotonic clock stands still while its computer sleeps.
    slept: u64,
    asleep_since: Option<u64>,
}

impl Clock {
    /// The wall clock at this true time.
    #[must_use]
    pub fn wall(&self, now: u64) -> UnixMillis {
        UnixMillis::new(now.saturating_add_signed(self.offset))
    }

    /// True time since the run began, minus the time asleep, ms.
    fn monotonic(&self, now: u64) -> u64 {
        let until = self.asleep_since.unwrap_or(now);
        until.saturating_sub(START).saturating_sub(self.slept)
    }

    /// Both clocks at this true time.
    #[must_use]
    pub fn both(&self, now: u64) -> Now {
        Now {
            wall: self.wall(now),
            monotonic: MonotonicMillis::new(self.monotonic(now)),
        }
    }

    /// The true time at which the monotonic clock will show `at`, provided the peer stays awake.
    #[must_use]
    pub fn true_time(&self, at: MonotonicMillis) -> u64 {
        START.saturating_add(at.get()).saturating_add(self.slept)
    }

    /// The computer falls asleep, unless it sleeps already.
    pub fn sleep(&mut self, now: u64) {
        self.asleep_since.get_or_insert(now);
    }

    /// The computer wakes up, if it sleeps.
    pub fn wake(&mut self, now: u64) {
        if let Some(since) = self.asleep_since.take() {
            self.slept += now.saturating_sub(since);
        }
    }
}
