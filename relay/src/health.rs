//! Whether the relay works: its event loop sets a time stamp twice a second, which `/healthz` reads.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Age of the time stamp from which on the relay counts as stuck.
const MAX_AGE: Duration = Duration::from_secs(5);

/// The time stamp, shared by those who set and read it.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    start: Instant,
    /// Milliseconds from the start to the last sign of life.
    alive: Arc<AtomicU64>,
}

impl Health {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            start: now,
            alive: Arc::default(),
        }
    }

    /// The event loop had its turn.
    pub(crate) fn record_turn(&self, now: Instant) {
        self.alive.store(self.millis(now), Ordering::Relaxed);
    }

    pub(crate) fn is_healthy(&self, now: Instant) -> bool {
        let age = self
            .millis(now)
            .saturating_sub(self.alive.load(Ordering::Relaxed));
        Duration::from_millis(age) < MAX_AGE
    }

    fn millis(&self, now: Instant) -> u64 {
        let since_start = now.saturating_duration_since(self.start);
        u64::try_from(since_start.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuck_event_loop_is_unhealthy() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let health = Health::new(start);
        assert!(health.is_healthy(at(4)));
        assert!(!health.is_healthy(at(5)));
        health.clone().record_turn(at(6));
        assert!(health.is_healthy(at(10)) && !health.is_healthy(at(11)));
    }
}
