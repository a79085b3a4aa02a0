//! How long to wait before the next try: longer each time, and never all peers at the same moment. Never
//! looks at a clock, never rolls dice by itself.

use std::time::Duration;

/// A row of waits; the last one repeats.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    steps: &'static [Duration],
    failures: usize,
}

impl Backoff {
    /// A fresh one: nothing has failed yet.
    pub(crate) const fn new(steps: &'static [Duration]) -> Self {
        Self { steps, failures: 0 }
    }

    /// Something failed: how long to wait before the next try. `chance` is any random number; it moves the
    /// wait by up to a quarter either way.
    pub(crate) fn failed(&mut self, chance: u64) -> Duration {
        let last = self.steps.len().saturating_sub(1);
        let step = self
            .steps
            .get(self.failures.min(last))
            .copied()
            .unwrap_or_default();
        self.failures = self.failures.saturating_add(1);
        jitter(step, chance)
    }

    /// It worked, or the world changed: the next wait is the shortest again.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }
}

/// The time, moved by up to a quarter either way; `chance` is any random number.
pub(crate) fn jitter(time: Duration, chance: u64) -> Duration {
    let thousandths = 750 + chance % 501;
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2_000);
    Duration::from_millis(millis.saturating_mul(thousandths) / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: &[Duration] = &[
        Duration::from_millis(500),
        Duration::from_secs(1),
        Duration::from_secs(4),
    ];
    /// The chance that moves nothing.
    const EVEN: u64 = 250;

    #[test]
    fn waits_grow_to_the_last_and_stay_there() {
        let mut backoff = Backoff::new(STEPS);
        let waits: Vec<u128> = (0..5).map(|_| backoff.failed(EVEN).as_millis()).collect();
        assert_eq!(waits, [500, 1_000, 4_000, 4_000, 4_000]);
    }

    #[test]
    fn success_makes_the_next_wait_short_again() {
        let mut backoff = Backoff::new(STEPS);
        backoff.failed(EVEN);
        backoff.failed(EVEN);
        backoff.reset();
        assert_eq!(backoff.failed(EVEN), Duration::from_millis(500));
    }

    #[test]
    fn chance_moves_a_wait_by_at_most_a_quarter() {
        for chance in (0..2_000).chain([u64::MAX - 1, u64::MAX]) {
            let wait = jitter(Duration::from_secs(4), chance).as_millis();
            assert!(
                (3_000..=5_000).contains(&wait),
                "chance {chance} gives {wait} ms"
            );
        }
        assert_eq!(jitter(Duration::from_secs(4), 0).as_millis(), 3_000);
        assert_eq!(jitter(Duration::from_secs(4), 500).as_millis(), 5_000);
    }

    #[test]
    fn no_steps_mean_no_wait() {
        assert_eq!(Backoff::new(&[]).failed(EVEN), Duration::ZERO);
    }
}
