//! Encoding of values as bytes: borsh, little-endian, exactly one encoding per value.
//!
//! Decoding never allocates memory because of an unchecked length field.

use borsh::BorshSerialize;
use thiserror::Error;

/// Why bytes cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the field names say it")]
pub enum DecodeError {
    /// There are too few bytes, or trailing bytes.
    #[error("expected a {what} of {expected} bytes, found {found} bytes")]
    Length {
        /// The type that was decoded, for the message.
        what: &'static str,
        expected: usize,
        found: usize,
    },
    /// There are more bytes than a block may have.
    #[error("{found} bytes are more than the maximum of {max} in a block")]
    BlockTooLong { found: usize, max: usize },
    /// The length field claims more readings than a block may have.
    #[error("{found} readings are more than the maximum of {max} in a block")]
    TooManyReadings { found: u32, max: usize },
}

/// The borsh encoding of a value whose type always takes exactly `N` bytes.
pub(crate) fn to_array<const N: usize>(value: &impl BorshSerialize) -> [u8; N] {
    let mut bytes = [0; N];
    let mut rest = &mut bytes[..];
    value
        .serialize(&mut rest)
        .expect("callers name the length of a type whose fields all have a fixed length");
    debug_assert!(rest.is_empty(), "the encoding is shorter than {N} bytes");
    bytes
}
