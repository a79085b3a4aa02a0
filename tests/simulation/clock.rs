//! The two clocks of a peer: the wall clock, which a person can set, and the monotonic one, which never jumps.

use chain::time::{MonotonicMillis, UnixMillis};
use sync::Now;

use crate::world::START;

/// The two clocks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    /// The wall clock: ms ahead of the truth. It can jump.
    pub(crate) offset: i64,
    /// Time asleep, ms: the monotonic clock stands still meanwhile.
    slept: u64,
    asleep_since: Option<u64>,
}

impl Clock {
    pub(crate) fn wall(&self, now: u64) -> UnixMillis {
        UnixMillis::new(now.saturating_add_signed(self.offset))
    }

    /// True time since the run began, less the time asleep.
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

    /// The true time when the monotonic clock will show this, if the peer stays awake.
    pub(crate) fn true_time(&self, at: MonotonicMillis) -> u64 {
        START.saturating_add(at.get()).saturating_add(self.slept)
    }

    pub(crate) fn falls_asleep(&mut self, now: u64) {
        self.asleep_since.get_or_insert(now);
    }

    pub(crate) fn wakes(&mut self, now: u64) {
        if let Some(since) = self.asleep_since.take() {
            self.slept += now.saturating_sub(since);
        }
    }
}
