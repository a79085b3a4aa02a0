//! Newtypes for hashes, and the macro that also defines keys and signatures. The modules that own the hashed bytes
//! compute the hashes.

use thiserror::Error;

/// Why a text is not the hexadecimal form of a value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the field names say it")]
pub enum ParseHexError {
    /// The text is too long or too short.
    #[error("expected {expected} hexadecimal digits, found {found} bytes of text")]
    Length {
        /// Number of digits that the type takes.
        expected: usize,
        /// Length of the text in bytes.
        found: usize,
    },
    /// A character is not a hexadecimal digit.
    #[error("{digit:?} at {index} is not a hexadecimal digit")]
    Digit { digit: char, index: usize },
}

/// Parses exactly `N` bytes from hexadecimal digits of either case.
pub(crate) fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], ParseHexError> {
    let length = ParseHexError::Length {
        expected: 2 * N,
        found: text.len(),
    };
    let mut bytes = [0; N];
    match hex::decode_to_slice(text, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(hex::FromHexError::InvalidHexCharacter { c, index }) => {
            Err(ParseHexError::Digit { digit: c, index })
        }
        Err(hex::FromHexError::OddLength | hex::FromHexError::InvalidStringLength) => Err(length),
    }
}

/// Writes `bytes` as lower-case hexadecimal digits.
pub(crate) fn write_hex(bytes: &[u8], f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Defines a newtype over a fixed number of bytes. It is encoded as these bytes and displayed as lower-case hexadecimal
/// digits.
macro_rules! bytes_newtype {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[derive(borsh::BorshSerialize, borsh::BorshDeserialize)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length of the value and of its encoding in bytes.
            pub const LEN: usize = $len;

            /// Wraps the bytes without any check.
            #[must_use]
            pub const fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The wrapped bytes, in the order in which they are sent.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                $crate::hash::write_hex(&self.0, f)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(self, f)
            }
        }

        impl core::str::FromStr for $name {
            type Err = $crate::hash::ParseHexError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::hash::parse_hex(text).map(Self)
            }
        }
    };
}
pub(crate) use bytes_newtype;

bytes_newtype! {
    /// SHA-256 of a header's 93 bytes. It identifies the block, and its proof of work is measured on it.
    BlockHash, 32
}
bytes_newtype! {
    /// SHA-256 of the bytes that the author of a reading signs. The signature is left out, because one reading can have
    /// several valid ones.
    #[derive(Hash)]
    ReadingId, 32
}
bytes_newtype! {
    /// RFC 6962 Merkle tree hash over the readings of a block.
    #[derive(Hash)]
    ReadingsRoot, 32
}
bytes_newtype! {
    /// Hash of a room's genesis header. Every signature covers it, so nothing from one room is valid in another.
    #[derive(Hash)]
    RoomId, 32
}

/// For hash tables: the last eight bytes identify a block well enough, and hashing them takes a fraction of the time.
/// To find a block with given last bytes takes 2^64 tries. The first bytes would not do, because proof of work makes
/// them zeros.
impl core::hash::Hash for BlockHash {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        let last = self.0.last_chunk().copied().unwrap_or_default();
        state.write_u64(u64::from_le_bytes(last));
    }
}

/// The first four bytes of a [`ReadingId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdPrefix(u32);

impl IdPrefix {
    /// The prefix as a number, to store it.
    #[must_use]
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// Restores a prefix from [`IdPrefix::to_bits`].
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

impl From<&ReadingId> for IdPrefix {
    fn from(id: &ReadingId) -> Self {
        let [a, b, c, d, ..] = *id.as_bytes();
        Self(u32::from_le_bytes([a, b, c, d]))
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString};

    use super::*;

    #[test]
    fn hex_round_trips_in_lower_case() {
        let hash = BlockHash::new([0xAB; 32]);
        assert_eq!(hash.to_string(), "ab".repeat(32));
        assert_eq!(format!("{hash:?}"), "ab".repeat(32));
        assert_eq!("AB".repeat(32).parse(), Ok(hash));
    }

    #[test]
    fn malformed_hex_is_rejected() {
        assert_eq!(
            "ab".repeat(31).parse::<BlockHash>(),
            Err(ParseHexError::Length {
                expected: 64,
                found: 62
            })
        );
        assert_eq!(
            "abc".parse::<RoomId>(),
            Err(ParseHexError::Length {
                expected: 64,
                found: 3
            })
        );
        assert_eq!(
            format!("{}x{}", "ab".repeat(31), "a").parse::<ReadingId>(),
            Err(ParseHexError::Digit {
                digit: 'x',
                index: 62
            })
        );
    }
}
