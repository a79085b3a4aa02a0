//! Backoff between retries: each wait is longer than the last, with jitter so that peers do not retry in step. It never
//! reads a clock or a random number generator: the caller passes both.

use std::time::Duration;

/// Waits before an unreachable peer is dialed again: its reservation may not be granted yet, or its tab was closed and
/// its registration has not expired yet.
pub(crate) const PEER_REDIAL: &[Duration] = &[
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(120),
];

/// A sequence of waits, of which the last repeats.
#[derive(Clone, Debug)]
pub struct Backoff {
    steps: &'static [Duration],
    failures: usize,
}

impl Backoff {
    /// A backoff before its first failure.
    pub const fn new(steps: &'static [Duration]) -> Self {
        Self { steps, failures: 0 }
    }

    /// Records a failure and returns the wait before the next try. `random` is any random number; it moves the wait by
    /// up to a quarter either way.
    pub fn failed(&mut self, random: u64) -> Duration {
        let last = self.steps.len().saturating_sub(1);
        let step = self
            .steps
            .get(self.failures.min(last))
            .copied()
            .unwrap_or_default();
        self.failures = self.failures.saturating_add(1);
        jitter(step, random)
    }

    /// Failures since the last success.
    pub const fn failures(&self) -> usize {
        self.failures
    }

    /// Makes the next wait the shortest again, after a success or a change of circumstances.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

/// `time`, moved by up to a quarter either way; `random` is any random number.
pub(crate) fn jitter(time: Duration, random: u64) -> Duration {
    let thousandths = 750 + random % 501;
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
    /// The random number that leaves a wait unchanged.
    const NO_JITTER: u64 = 250;

    #[test]
    fn waits_grow_to_the_last_and_stay() {
        let mut backoff = Backoff::new(STEPS);
        let waits: Vec<u128> = (0..5)
            .map(|_| backoff.failed(NO_JITTER).as_millis())
            .collect();
        assert_eq!(waits, [500, 1_000, 4_000, 4_000, 4_000]);
    }

    #[test]
    fn reset_returns_to_the_shortest_wait() {
        let mut backoff = Backoff::new(STEPS);
        backoff.failed(NO_JITTER);
        backoff.failed(NO_JITTER);
        backoff.reset();
        assert_eq!(backoff.failed(NO_JITTER), Duration::from_millis(500));
    }

    #[test]
    fn jitter_is_at_most_a_quarter() {
        for random in (0..2_000).chain([u64::MAX - 1, u64::MAX]) {
            let wait = jitter(Duration::from_secs(4), random).as_millis();
            assert!(
                (3_000..=5_000).contains(&wait),
                "random {random} gives {wait} ms"
            );
        }
        assert_eq!(jitter(Duration::from_secs(4), 0).as_millis(), 3_000);
        assert_eq!(jitter(Duration::from_secs(4), 500).as_millis(), 5_000);
    }

    #[test]
    fn no_steps_mean_no_wait() {
        assert_eq!(Backoff::new(&[]).failed(NO_JITTER), Duration::ZERO);
    }
}
