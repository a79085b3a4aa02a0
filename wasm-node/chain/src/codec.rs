//! How values become bytes: borsh, little-endian, one encoding per value. Nothing here ever allocates what a length
//! field merely claims.

use borsh::BorshSerialize;
use thiserror::Error;

/// Why bytes are not what they were taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Too few bytes, or bytes left over.
    #[error("a {what} of {expected} bytes was expected, {found} bytes found")]
    Length {
        /// What was to be read.
        what: &'static str,
        /// Bytes it takes.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// More bytes than any block may have.
    #[error("{found} bytes are more than a block's {max}")]
    BlockTooLong {
        /// Bytes found.
        found: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// More readings claimed than any block may have.
    #[error("{found} readings are more than a block's {max}")]
    TooManyReadings {
        /// Readings claimed.
        found: u32,
        /// Readings allowed.
        max: usize,
    },
}

/// The borsh encoding of a value that always takes exactly `N` bytes.
pub(crate) fn to_array<const N: usize>(value: &impl BorshSerialize) -> [u8; N] {
    let mut bytes = [0; N];
    let mut rest = &mut bytes[..];
    value
        .serialize(&mut rest)
        .expect("callers name the length of a type whose fields all have a fixed length");
    debug_assert!(rest.is_empty(), "the encoding is shorter than {N} bytes");
    bytes
}
