//! A token bucket: a rate limiter that allows bursts. The current time is an argument.

use std::time::{Duration, Instant};

/// Capacity and rate of a [`TokenBucket`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenBucketConfig {
    /// Capacity: the number of tokens that can be taken at once.
    pub(crate) burst: u32,
    /// Time after which one token is added.
    pub(crate) refill: Duration,
}

/// A bucket, which starts full.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    config: TokenBucketConfig,
    tokens: u32,
    last_refill: Instant,
}

impl TokenBucket {
    pub(crate) fn new(config: TokenBucketConfig, now: Instant) -> Self {
        Self {
            config,
            tokens: config.burst,
            last_refill: now,
        }
    }

    /// Takes a token. Returns `false` if the bucket is empty.
    pub(crate) fn try_take(&mut self, now: Instant) -> bool {
        self.add_gained(now);
        match self.tokens.checked_sub(1) {
            Some(tokens) => {
                self.tokens = tokens;
                true
            }
            None => false,
        }
    }

    /// The time until there is a token, or `None` if there is one.
    pub(crate) fn wait(&mut self, now: Instant) -> Option<Duration> {
        self.add_gained(now);
        let passed = now.saturating_duration_since(self.last_refill);
        (self.tokens == 0).then(|| self.refill().saturating_sub(passed))
    }

    fn add_gained(&mut self, now: Instant) {
        let refill = self.refill();
        let passed = now.saturating_duration_since(self.last_refill).as_nanos() / refill.as_nanos();
        let gained = u32::try_from(passed).unwrap_or(u32::MAX);
        self.tokens = self.tokens.saturating_add(gained);
        if self.tokens >= self.config.burst {
            self.tokens = self.config.burst;
            self.last_refill = now;
        } else {
            self.last_refill += refill.saturating_mul(gained);
        }
    }

    fn refill(&self) -> Duration {
        self.config.refill.max(Duration::from_micros(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_return_with_time() {
        let config = TokenBucketConfig {
            burst: 3,
            refill: Duration::from_secs(1),
        };
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut bucket = TokenBucket::new(config, start);
        assert!(bucket.try_take(at(0)) && bucket.try_take(at(0)) && bucket.try_take(at(0)));
        assert!(!bucket.try_take(at(0)));
        let half = Duration::from_millis(500);
        assert_eq!(bucket.wait(at(0)), Some(2 * half));
        assert_eq!(bucket.wait(at(0) + half), Some(half));
        assert_eq!(bucket.wait(at(1)), None);
        assert!(bucket.try_take(at(1)) && !bucket.try_take(at(1)));
        assert!(bucket.try_take(at(100)) && bucket.try_take(at(100)) && bucket.try_take(at(100)));
        assert!(!bucket.try_take(at(100)), "no more than the burst is saved");
    }
}
