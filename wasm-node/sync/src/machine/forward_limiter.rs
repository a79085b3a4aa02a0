//! Limits how many gossiped readings are forwarded: of each author, of all authors
//! without a reading in the chain together, and of all authors.
//!
//! A reading over the limit is kept but not forwarded. Other peers get it when they compare mempools.

use hashbrown::HashMap;
use heartchain_chain::{key::Author, time::MonotonicMillis};

use super::token_bucket::TokenBucket;
use crate::config::{
    AUTHOR_FORWARD_BURST, AUTHOR_FORWARD_RATE, FORWARD_BURST, FORWARD_RATE, MAX_FORWARD_AUTHORS,
    NEWCOMER_FORWARD_BURST, NEWCOMER_FORWARD_RATE,
};

/// The rate limits for forwarded readings.
#[derive(Clone, Debug)]
pub(super) struct ForwardLimiter {
    all: TokenBucket,
    newcomers: TokenBucket,
    authors: HashMap<Author, TokenBucket>,
}

impl ForwardLimiter {
    pub(super) fn new(now: MonotonicMillis) -> Self {
        Self {
            all: TokenBucket::full(FORWARD_RATE, FORWARD_BURST, now),
            newcomers: TokenBucket::full(NEWCOMER_FORWARD_RATE, NEWCOMER_FORWARD_BURST, now),
            authors: HashMap::new(),
        }
    }

    /// Whether one more reading of this author may be forwarded.
    pub(super) fn take(&mut self, author: &Author, newcomer: bool, now: MonotonicMillis) -> bool {
        if newcomer && !self.newcomers.take(1, now) {
            return false;
        }
        if self.authors.len() >= MAX_FORWARD_AUTHORS && !self.authors.contains_key(author) {
            // A full bucket is the same as a new one, so it can be dropped. If no bucket is full, the room is
            // busy enough.
            self.authors.retain(|_, bucket| !bucket.is_full(now));
            if self.authors.len() >= MAX_FORWARD_AUTHORS {
                return false;
            }
        }
        let bucket = self
            .authors
            .entry(*author)
            .or_insert_with(|| TokenBucket::full(AUTHOR_FORWARD_RATE, AUTHOR_FORWARD_BURST, now));
        bucket.take(1, now) && self.all.take(1, now)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.authors.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author(number: u64) -> Author {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Author::new(bytes)
    }

    #[test]
    fn one_author_cannot_flood() {
        let now = MonotonicMillis::new(0);
        let mut limiter = ForwardLimiter::new(now);
        let passed = (0..40_000).filter(|_| limiter.take(&author(1), false, now));
        assert_eq!(passed.count() as u64, AUTHOR_FORWARD_BURST);
        assert!(limiter.take(&author(2), false, now));
    }

    #[test]
    fn total_rate_is_limited() {
        let now = MonotonicMillis::new(0);
        let mut limiter = ForwardLimiter::new(now);
        let passed = (0..40_000).filter(|number| limiter.take(&author(number % 400), false, now));
        assert_eq!(passed.count() as u64, FORWARD_BURST);
    }

    #[test]
    fn tracked_authors_are_bounded() {
        let mut limiter = ForwardLimiter::new(MonotonicMillis::new(0));
        for number in 0..3 * MAX_FORWARD_AUTHORS as u64 {
            limiter.take(&author(number), false, MonotonicMillis::new(number));
        }
        assert!(limiter.len() <= MAX_FORWARD_AUTHORS);
    }
}
