//! Points in time with millisecond precision, on the wall clock ([`UnixMillis`]) and on a monotonic clock
//! ([`MonotonicMillis`]). This crate never reads a clock: time is always an argument.

use core::{fmt, time::Duration};

use borsh::{BorshDeserialize, BorshSerialize};

/// The latest time that a reading may claim. It is the greatest one that a JavaScript `Date` can hold, so every peer
/// can display it.
pub const MAX_READING_TIME: UnixMillis = UnixMillis::new(8_640_000_000_000_000);

macro_rules! millis_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone,
            Copy,
            Debug,
            Default,
            PartialEq,
            Eq,
            PartialOrd,
            Ord,
            Hash,
            BorshSerialize,
            BorshDeserialize,
        )]
        pub struct $name(u64);

        impl $name {
            /// The point in time `millis` milliseconds after the clock's zero.
            #[must_use]
            pub const fn new(millis: u64) -> Self {
                Self(millis)
            }

            /// Milliseconds since the clock's zero.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The point in time `ms` milliseconds later, or the greatest value on overflow.
            #[must_use]
            pub const fn saturating_add(self, ms: u64) -> Self {
                Self(self.0.saturating_add(ms))
            }

            /// The point in time `ms` milliseconds earlier, or the clock's zero on underflow.
            #[must_use]
            pub const fn saturating_sub(self, ms: u64) -> Self {
                Self(self.0.saturating_sub(ms))
            }

            /// Milliseconds from `earlier` to `self`; 0 if `earlier` is later.
            #[must_use]
            pub const fn since(self, earlier: Self) -> u64 {
                self.0.saturating_sub(earlier.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} ms", self.0)
            }
        }
    };
}

millis_type! {
    /// A wall-clock time: milliseconds since 1970-01-01T00:00:00Z. A user or the system can set the clock back or ahead
    /// at any moment.
    UnixMillis
}

millis_type! {
    /// A point on a monotonic clock: milliseconds since an arbitrary start. The clock never goes back, and it may stop
    /// while the computer sleeps. Use it for deadlines, bans and rates.
    MonotonicMillis
}

/// A duration in whole ms, saturating.
#[must_use]
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let last = UnixMillis::new(u64::MAX);
        assert_eq!(last.saturating_add(1), last);
        assert_eq!(UnixMillis::new(5).saturating_sub(6), UnixMillis::default());
        assert_eq!(UnixMillis::new(5).since(UnixMillis::new(2)), 3);
        assert_eq!(UnixMillis::new(2).since(UnixMillis::new(5)), 0);
    }
}
