//! The clocks of this computer. Contains no policy.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use heartchain_chain::time::{MonotonicMillis, UnixMillis};
use heartchain_sync::Now;

/// Both clocks of one keeper.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// The zero of the monotonic clock.
    started: Instant,
}

impl Clock {
    /// A monotonic clock that shows 0 now.
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    /// What both clocks show.
    pub(crate) fn now(&self) -> Now {
        Now {
            wall: wall(),
            monotonic: MonotonicMillis::new(millis(self.started.elapsed())),
        }
    }

    /// When the monotonic clock shows this time.
    pub(crate) fn instant(&self, at: MonotonicMillis) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.started + Duration::from_millis(at.get()))
    }
}

/// The time of the wall clock, which may be set at any moment. A clock before 1970 reads 1970.
pub(crate) fn wall() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixMillis::new(since.map_or(0, millis))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
