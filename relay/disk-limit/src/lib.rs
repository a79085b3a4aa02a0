//! How much the stores of a folder may take on the disk, as a person writes it: the value of `--max-disk`. The keeper counts, and
//! a relay checks what it passes on to its keepers before it starts them.

use core::{
    fmt::{self, Display},
    str::FromStr,
};

/// Bytes of one mebibyte, the unit `M`.
pub const MEBIBYTE: u64 = 1 << 20;
/// Bytes of one gibibyte, the unit `G`.
pub const GIBIBYTE: u64 = 1 << 30;

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

    /// The limit in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
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
        let limit = Self(number.checked_mul(unit).ok_or_else(wrong)?);
        match limit < Self::MIN {
            true => Err(format!("a store needs at least {}", Self::MIN)),
            false => Ok(limit),
        }
    }
}

/// As it is parsed, if it was.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_a_number_and_a_unit() {
        for (text, shown) in [
            ("2M", "2M"),
            ("512M", "512M"),
            ("1G", "1G"),
            ("16G", "16G"),
            ("2048M", "2G"),
            // The most that 64 bits can count.
            ("17179869183G", "17179869183G"),
        ] {
            let limit: DiskLimit = text.parse().expect(text);
            assert_eq!(limit.to_string(), shown);
            assert_eq!(shown.parse(), Ok(limit));
        }
        assert_eq!(DiskLimit::DEFAULT.to_string(), "16G");
        for wrong in [
            "",
            "G",
            "16",
            "16g",
            "0G",
            "1M",
            "-1G",
            "1.5G",
            "16 G",
            "16Ğ",
            "17179869184G",
            "99999999999999999999G",
        ] {
            assert!(wrong.parse::<DiskLimit>().is_err(), "{wrong}");
        }
    }
}
