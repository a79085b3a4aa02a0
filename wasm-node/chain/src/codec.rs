//! Encoding of values as bytes: borsh, little-endian, exactly one encoding per value.
//!
//! Decoding never allocates memory because of an unchecked length field.

use core::ops::Deref;

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

/// Up to `N` bytes, without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct ShortBytes<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Deref for ShortBytes<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

impl<const N: usize> AsRef<[u8]> for ShortBytes<N> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// The borsh encoding of a value of fixed-length fields that takes up to `N` bytes.
pub(crate) fn to_short_bytes<const N: usize>(value: &impl BorshSerialize) -> ShortBytes<N> {
    let mut bytes = [0; N];
    let mut rest = &mut bytes[..];
    value
        .serialize(&mut rest)
        .expect("callers name the greatest length of what they encode");
    let unused = rest.len();
    ShortBytes {
        bytes,
        len: N - unused,
    }
}
