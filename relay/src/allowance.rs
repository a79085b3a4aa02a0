//! A token bucket: so much at once, and then a little at a time. Is told the time, and refuses without a reason.

use std::time::{Duration, Instant};

/// How often something may be done: `burst` times at once, and then once every `refill`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    pub(crate) burst: u32,
    pub(crate) refill: Duration,
}

/// What is left of an [`Allowance`].
#[derive(Debug)]
pub(crate) struct Bucket {
    allowance: Allowance,
    left: u32,
    refilled: Instant,
}

impl Bucket {
    pub(crate) fn new(allowance: Allowance, now: Instant) -> Self {
        Self {
            allowance,
            left: allowance.burst,
            refilled: now,
        }
    }

    /// Whether it may be done once more.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let refill = self.allowance.refill.max(Duration::from_micros(1));
        let passed = now.saturating_duration_since(self.refilled).as_nanos() / refill.as_nanos();
        let gained = u32::try_from(passed).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(gained);
        if self.left >= self.allowance.burst {
            self.left = self.allowance.burst;
            self.refilled = now;
        } else {
            self.refilled += refill.saturating_mul(gained);
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// It was not done after all.
    pub(crate) fn give_back(&mut self) {
        self.left = self.left.saturating_add(1).min(self.allowance.burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_with_time_or_when_it_is_given_back() {
        let allowance = Allowance {
            burst: 3,
            refill: Duration::from_secs(1),
        };
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut bucket = Bucket::new(allowance, start);
        assert!(bucket.take(at(0)) && bucket.take(at(0)) && bucket.take(at(0)));
        assert!(!bucket.take(at(0)));
        assert!(bucket.take(at(1)) && !bucket.take(at(1)));
        bucket.give_back();
        assert!(bucket.take(at(1)) && !bucket.take(at(1)));
        assert!(bucket.take(at(100)) && bucket.take(at(100)) && bucket.take(at(100)));
        assert!(!bucket.take(at(100)), "no more than the burst is saved up");
    }
}
