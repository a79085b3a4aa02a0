//! How much the stores of a folder may take on the disk, as a person writes it, and what is said when they have reached it.

use std::str::FromStr;

use core::fmt::{self, Display};

/// Bytes of one mebibyte, the unit `M`.
pub(super) const MEBIBYTE: u64 = 1 << 20;
/// Bytes of one gibibyte, the unit `G`.
pub(super) const GIBIBYTE: u64 = 1 << 30;

/// How many bytes the stores in one folder may take on the disk together. The first page of each store does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DiskLimit(u64);

impl DiskLimit {
    /// Some 100 million readings in full blocks: far more than a class records, and far less than fills a server unnoticed.
    pub const DEFAULT: Self = Self(16 * GIBIBYTE);

    /// The least limit that a flag may set: a new store takes somewhat more than half of it for a moment.
    const MIN: Self = Self(2 * MEBIBYTE);

    /// A limit of this many bytes. One below what the stores have refuses all that needs more.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    pub(super) const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for DiskLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no size: write a number and M or G, such as 16G");
        let parts = text.split_at_checked(text.len().saturating_sub(1));
        let (number, unit) = parts.ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit = match unit {
            "M" => MEBIBYTE,
            "G" => GIBIBYTE,
            _ => return Err(wrong()),
        };
        let limit = Self(number.saturating_mul(unit));
        match limit < Self::MIN {
            true => Err(format!("a store needs at least {}", Self::MIN)),
            false => Ok(limit),
        }
    }
}

impl Display for DiskLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= GIBIBYTE && bytes.is_multiple_of(GIBIBYTE) => {
                write!(f, "{}G", bytes / GIBIBYTE)
            }
            bytes if bytes >= MEBIBYTE && bytes.is_multiple_of(MEBIBYTE) => {
                write!(f, "{}M", bytes / MEBIBYTE)
            }
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

/// The stores of a folder have reached their limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the stores in this folder have {}M of the {limit} that --max-disk allows, and need {}M: start the keeper with a larger one",
    used.div_ceil(MEBIBYTE),
    needed.div_ceil(MEBIBYTE)
)]
pub struct LimitReached {
    /// What --max-disk allows, or the default.
    pub limit: DiskLimit,
    /// In bytes. What the stores take.
    pub used: u64,
    /// In bytes. What they would take after the next step by which the database grows.
    pub needed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_a_number_and_a_unit() {
        for (text, shown) in [
            ("2M", "2M"),
            ("512M", "512M"),
            ("16G", "16G"),
            ("2048M", "2G"),
        ] {
            let limit: DiskLimit = text.parse().expect(text);
            assert_eq!(limit.to_string(), shown);
        }
        assert_eq!(DiskLimit::DEFAULT.to_string(), "16G");
        for wrong in [
            "", "G", "16", "16g", "0G", "1M", "-1G", "1.5G", "16 G", "16Ğ",
        ] {
            assert!(wrong.parse::<DiskLimit>().is_err(), "{wrong}");
        }
        let most = "99999999999999G".parse::<DiskLimit>();
        assert_eq!(most, Ok(DiskLimit(u64::MAX)));
    }

    #[test]
    fn reached_limit_says_what_is_needed() {
        let reached = LimitReached {
            limit: DiskLimit(512 * MEBIBYTE),
            used: 300 * MEBIBYTE,
            needed: 600 * MEBIBYTE + 1,
        };
        let text = reached.to_string();
        assert!(text.contains("have 300M of the 512M"), "{text}");
        assert!(text.contains("need 601M"), "{text}");
    }
}
