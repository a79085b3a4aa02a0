//! How long a store that failed is left alone. Each failure of the database costs a repair, which reads the whole file.

use std::time::{Duration, Instant};

use super::error::StoreError;

/// The first pause. A single failure has none: what caused it may be over.
const FIRST: Duration = Duration::from_secs(5);
/// The longest pause: how late a disk that works again is noticed.
const LONGEST: Duration = Duration::from_secs(600);

/// The pause after failures. Each one is twice as long as the one before.
#[derive(Debug, Default)]
pub(super) struct RetryPause {
    /// The last failure, and how many there were since the last success.
    failure: Option<(StoreError, u32)>,
    until: Option<Instant>,
}

impl RetryPause {
    /// # Errors
    /// The last failure, as long as the pause lasts.
    pub(super) fn check(&self, now: Instant) -> Result<(), StoreError> {
        match (&self.failure, self.until) {
            (Some((error, _)), Some(until)) if now < until => Err(error.again()),
            _ => Ok(()),
        }
    }

    /// Whether the last attempt failed because the disk was full.
    pub(super) const fn is_after_full_disk(&self) -> bool {
        matches!(self.failure, Some((StoreError::Full, _)))
    }

    /// Begins the next pause.
    pub(super) fn failed(&mut self, error: &StoreError, now: Instant) {
        let before = self.failure.take().map_or(0, |(_, failures)| failures);
        let doublings = before.saturating_sub(1).min(u32::BITS - 1);
        let pause = FIRST.saturating_mul(1 << doublings).min(LONGEST);
        self.until = (before > 0).then(|| now.checked_add(pause)).flatten();
        self.failure = Some((error.again(), before.saturating_add(1)));
    }

    /// An attempt succeeded.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_ten_minutes() {
        let start = Instant::now();
        let mut pause = RetryPause::default();
        assert!(pause.check(start).is_ok());
        let mut now = start;
        for seconds in [0, 5, 10, 20, 40, 80, 160, 320, 600, 600] {
            pause.failed(&StoreError::Full, now);
            assert!(pause.is_after_full_disk());
            let end = now + Duration::from_secs(seconds);
            assert!(pause.check(end).is_ok(), "{seconds}");
            if let Some(before) = end.checked_sub(Duration::from_millis(1))
                && seconds > 0
            {
                let refused = pause.check(before);
                assert!(matches!(refused, Err(StoreError::Full)), "{seconds}");
            }
            now = end;
        }
        pause.succeeded();
        assert!(pause.check(now).is_ok() && !pause.is_after_full_disk());
    }
}
