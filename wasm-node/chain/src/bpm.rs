//! A heart rate that a living person can have. It never holds any other number.

use core::fmt;

use thiserror::Error;

/// Heart beats per minute, 20 to 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bpm(u16);

/// Why a number is no heart rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BpmError {
    /// Slower than anybody's heart beats.
    #[error("{found} beats per minute is below {}", Bpm::MIN)]
    TooLow {
        /// The number given.
        found: u16,
    },
    /// Faster than anybody's heart beats.
    #[error("{found} beats per minute is above {}", Bpm::MAX)]
    TooHigh {
        /// The number given.
        found: u16,
    },
}

impl Bpm {
    /// The slowest heart rate that can be recorded, beats per minute.
    pub const MIN: Self = Self(20);
    /// The fastest heart rate that can be recorded, beats per minute.
    pub const MAX: Self = Self(400);

    /// A heart rate of `bpm` beats per minute.
    ///
    /// # Errors
    /// If `bpm` is not within [`Bpm::MIN`] to [`Bpm::MAX`].
    pub const fn new(bpm: u16) -> Result<Self, BpmError> {
        if bpm < Self::MIN.0 {
            Err(BpmError::TooLow { found: bpm })
        } else if bpm > Self::MAX.0 {
            Err(BpmError::TooHigh { found: bpm })
        } else {
            Ok(Self(bpm))
        }
    }

    /// Beats per minute.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Bpm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn twenty_to_four_hundred_are_heart_rates_and_nothing_else_is() {
        assert_eq!(Bpm::new(19), Err(BpmError::TooLow { found: 19 }));
        assert_eq!(Bpm::new(20), Ok(Bpm::MIN));
        assert_eq!(Bpm::new(72).map(Bpm::get), Ok(72));
        assert_eq!(Bpm::new(400), Ok(Bpm::MAX));
        assert_eq!(Bpm::new(401), Err(BpmError::TooHigh { found: 401 }));
        assert_eq!(
            BpmError::TooLow { found: 0 }.to_string(),
            "0 beats per minute is below 20"
        );
    }
}
