//! A token bucket: a rate with a burst.

use heartchain_chain::time::MonotonicMillis;

/// Refills at `rate` tokens per second up to `burst` tokens.
#[derive(Clone, Debug)]
pub(super) struct TokenBucket {
    rate: u64,
    burst: u64,
    /// Thousandths of a token, so that the share of a single millisecond is not lost to rounding.
    millitokens: u64,
    filled_at: MonotonicMillis,
}

impl TokenBucket {
    pub(super) fn full(rate: u64, burst: u64, now: MonotonicMillis) -> Self {
        Self {
            rate,
            burst,
            millitokens: burst.saturating_mul(1_000),
            filled_at: now,
        }
    }

    fn fill(&mut self, now: MonotonicMillis) {
        let fresh = now.since(self.filled_at).saturating_mul(self.rate);
        self.filled_at = self.filled_at.max(now);
        self.millitokens = self
            .millitokens
            .saturating_add(fresh)
            .min(self.burst.saturating_mul(1_000));
    }

    /// Whether the bucket holds `burst` tokens.
    pub(super) fn is_full(&mut self, now: MonotonicMillis) -> bool {
        self.fill(now);
        self.millitokens >= self.burst.saturating_mul(1_000)
    }

    /// Takes `tokens`, or all that are left. Returns whether there were enough.
    pub(super) fn drain(&mut self, tokens: u64, now: MonotonicMillis) -> bool {
        let taken = self.take(tokens, now);
        if !taken {
            self.millitokens = 0;
        }
        taken
    }

    /// How many tokens are available.
    pub(super) fn available(&mut self, now: MonotonicMillis) -> u64 {
        self.fill(now);
        self.millitokens / 1_000
    }

    /// Takes `tokens` if that many are available, otherwise none. Returns whether there were enough.
    pub(super) fn take(&mut self, tokens: u64, now: MonotonicMillis) -> bool {
        self.fill(now);
        match self.millitokens.checked_sub(tokens.saturating_mul(1_000)) {
            Some(rest) => {
                self.millitokens = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_gives_burst_then_rate() {
        let mut bucket = TokenBucket::full(2, 3, MonotonicMillis::new(0));
        assert!(bucket.take(3, MonotonicMillis::new(0)));
        assert!(!bucket.take(1, MonotonicMillis::new(499)));
        assert!(bucket.take(1, MonotonicMillis::new(500)));
        assert!(!bucket.take(4, MonotonicMillis::new(1_000_000)));
        assert!(bucket.take(3, MonotonicMillis::new(1_000_000)));
    }

    #[test]
    fn backward_clock_adds_no_tokens() {
        let mut bucket = TokenBucket::full(1, 1, MonotonicMillis::new(5_000));
        assert!(bucket.take(1, MonotonicMillis::new(5_000)));
        assert!(!bucket.take(1, MonotonicMillis::new(1_000)));
        assert!(!bucket.take(1, MonotonicMillis::new(5_000)));
    }
}
