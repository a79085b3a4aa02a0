//! Heart rates in beats per minute. A [`Bpm`] is always within 20 to 400, the range of a living heart.

use core::fmt;

use thiserror::Error;

/// A heart rate of 20 to 400 beats per minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bpm(u16);

/// Why a number is not a valid heart rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the field names say it")]
pub enum BpmError {
    /// Slower than any heart beats.
    #[error("{found} beats per minute is below {}", Bpm::MIN)]
    TooLow { found: u16 },
    /// Faster than any heart beats.
    #[error("{found} beats per minute is above {}", Bpm::MAX)]
    TooHigh { found: u16 },
}

impl Bpm {
    /// The slowest heart rate that can be recorded, in beats per minute.
    pub const MIN: Self = Self(20);
    /// The fastest heart rate that can be recorded, in beats per minute.
    pub const MAX: Self = Self(400);

    /// Creates a heart rate of `bpm` beats per minute.
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

    /// The rate as a number of beats per minute.
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
    fn heart_rate_is_20_to_400() {
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
