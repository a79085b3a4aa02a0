//! Names made of bytes: hashes, and by the same macro keys and signatures. Nothing here ever computes a hash; the
//! modules that own the hashed bytes do.

use thiserror::Error;

/// Why a text is no hexadecimal name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseHexError {
    /// Too long or too short.
    #[error("expected {expected} hexadecimal digits, found {found} bytes of text")]
    Length {
        /// Digits the type takes.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// A character that is no hexadecimal digit.
    #[error("{digit:?} at {index} is no hexadecimal digit")]
    Digit {
        /// The character.
        digit: char,
        /// Its place in the text.
        index: usize,
    },
}

/// Reads exactly `N` bytes written as hexadecimal digits of either case.
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

/// A newtype over a fixed number of bytes that travels as they are and is shown as lower-case hexadecimal digits.
macro_rules! bytes_newtype {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[derive(borsh::BorshSerialize, borsh::BorshDeserialize)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// Takes the bytes as they are.
            #[must_use]
            pub const fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The bytes.
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
    /// SHA-256 of a header's 93 bytes: the block's name, and what its proof of work is judged by.
    BlockHash, 32
}
bytes_newtype! {
    /// SHA-256 of what a reading's author signed. The signature is left out, because one reading can carry several.
    #[derive(Hash)]
    ReadingId, 32
}
bytes_newtype! {
    /// RFC 6962 Merkle tree hash over a block's readings.
    #[derive(Hash)]
    ReadingsRoot, 32
}
bytes_newtype! {
    /// Hash of a room's genesis header. It stands inside every signature, so nothing from one room is valid in another.
    #[derive(Hash)]
    RoomId, 32
}

/// For tables: the last eight bytes name a block as well as all of them do, and are hashed in a fraction of the time.
/// Blocks that share these would take 2^64 tries each to find; the first bytes are the zeros of their work.
impl core::hash::Hash for BlockHash {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        let last = self.0.last_chunk().copied().unwrap_or_default();
        state.write_u64(u64::from_le_bytes(last));
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString};

    use super::*;

    #[test]
    fn text_is_lower_case_hexadecimal_and_reads_back() {
        let hash = BlockHash::new([0xAB; 32]);
        assert_eq!(hash.to_string(), "ab".repeat(32));
        assert_eq!(format!("{hash:?}"), "ab".repeat(32));
        assert_eq!("AB".repeat(32).parse(), Ok(hash));
    }

    #[test]
    fn text_of_another_length_or_alphabet_is_refused() {
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
