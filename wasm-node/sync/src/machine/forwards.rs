//! How many readings are passed on: of one author, of authors that the chain does not know, and of all together. What is
//! beyond is kept and not passed on; peers find it when they compare mempools.

use chain::{key::Author, time::MonotonicMillis};
use hashbrown::HashMap;

use super::bucket::Bucket;
use crate::config::{
    AUTHOR_FORWARD_BURST, AUTHOR_FORWARD_RATE, FORWARD_BURST, FORWARD_RATE, MAX_FORWARD_AUTHORS,
    NEWCOMER_FORWARD_BURST, NEWCOMER_FORWARD_RATE,
};

/// The limits.
#[derive(Clone, Debug)]
pub(super) struct ForwardLimiter {
    all: Bucket,
    newcomers: Bucket,
    authors: HashMap<Author, Bucket>,
}

impl ForwardLimiter {
    pub(super) fn new(now: MonotonicMillis) -> Self {
        Self {
            all: Bucket::full(FORWARD_RATE, FORWARD_BURST, now),
            newcomers: Bucket::full(NEWCOMER_FORWARD_RATE, NEWCOMER_FORWARD_BURST, now),
            authors: HashMap::new(),
        }
    }

    /// Whether one more reading of this author may be passed on.
    pub(super) fn take(&mut self, author: &Author, newcomer: bool, now: MonotonicMillis) -> bool {
        if newcomer && !self.newcomers.take(1, now) {
            return false;
        }
        if self.authors.len() >= MAX_FORWARD_AUTHORS && !self.authors.contains_key(author) {
            // A full bucket says nothing that a new one does not. Where none is full, the room is busy enough.
            self.authors.retain(|_, bucket| !bucket.is_full(now));
            if self.authors.len() >= MAX_FORWARD_AUTHORS {
                return false;
            }
        }
        let bucket = self
            .authors
            .entry(*author)
            .or_insert_with(|| Bucket::full(AUTHOR_FORWARD_RATE, AUTHOR_FORWARD_BURST, now));
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
    fn all_together_have_a_limit() {
        let now = MonotonicMillis::new(0);
        let mut limiter = ForwardLimiter::new(now);
        let passed = (0..40_000).filter(|number| limiter.take(&author(number % 400), false, now));
        assert_eq!(passed.count() as u64, FORWARD_BURST);
    }

    #[test]
    fn limited_authors_are_bounded() {
        let mut limiter = ForwardLimiter::new(MonotonicMillis::new(0));
        for number in 0..3 * MAX_FORWARD_AUTHORS as u64 {
            limiter.take(&author(number), false, MonotonicMillis::new(number));
        }
        assert!(limiter.len() <= MAX_FORWARD_AUTHORS);
    }
}
