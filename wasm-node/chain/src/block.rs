//! Blocks, their encoding, and the body rules that need no knowledge of the branch.
//!
//! This module does not check headers ([`crate::validate`] does), nor whether an author's first `seq` in a block is the
//! next one on the branch ([`crate::tree`] does).
//!
//! The rules for a block have numbers. Rules 1 to 5 are about the header (see [`crate::validate`]). The body must satisfy
//! these:
//!
//! - Size: the block has [`MIN_BLOCK_READINGS`] to [`MAX_BLOCK_READINGS`] readings and at most [`MAX_BLOCK_LEN`]
//!   bytes.
//! - Rule 6: the Merkle root of the readings is the header's `readings_root`.
//! - Rule 7: every reading is valid, and its `seq` is the author's next on the branch. This module checks that the
//!   `seq`s of each author are consecutive within the block.

use alloc::vec::Vec;

use borsh::{
    BorshDeserialize, BorshSerialize,
    io::{Error as IoError, ErrorKind, Read, Result as IoResult},
};
use litemap::LiteMap;
use rand_core::CryptoRng;
use thiserror::Error;

use crate::{
    codec::DecodeError,
    hash::{ReadingsRoot, RoomId},
    header::Header,
    key::Author,
    merkle::readings_root,
    reading::{Reading, ReadingError, verify_signatures},
    validate::Invalidates,
};

/// Minimum number of readings in a block other than genesis: an idle room mines nothing.
pub const MIN_BLOCK_READINGS: usize = 1;
/// Maximum number of readings in a block. It keeps checking one body well under a second.
pub const MAX_BLOCK_READINGS: usize = 1024;
/// Maximum length of an encoded block in bytes, chosen so that a block fits into one gossip message.
pub const MAX_BLOCK_LEN: usize = 128 * 1024;

/// Length in bytes of what precedes the readings in an encoded block: the header and the number of readings.
const PREFIX_LEN: usize = Header::LEN + 4;

/// A block as received: a header and readings, none of them checked yet.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct Block {
    /// The part that the block hash covers.
    pub header: Header,
    /// The body. The readings of one author are in the order of their `seq`.
    pub readings: Vec<Reading>,
}

/// Why a block's body is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the field names say it")]
pub enum BodyError {
    /// Rule 1: only genesis has no readings.
    #[error("{found} readings are fewer than the minimum of {min} in a block")]
    TooFewReadings { found: usize, min: usize },
    /// Rule 1: the block has more than [`MAX_BLOCK_READINGS`] readings.
    #[error("{found} readings are more than the maximum of {max} in a block")]
    TooManyReadings { found: usize, max: usize },
    /// Rule 1: the encoded block has more than [`MAX_BLOCK_LEN`] bytes.
    #[error("{found} bytes are more than the maximum of {max} in a block")]
    TooLong { found: usize, max: usize },
    /// Rule 6: the readings are not the ones that the header was mined for.
    #[error("readings root {found} is not the header's {expected}")]
    ReadingsRoot {
        /// The root in the header.
        expected: ReadingsRoot,
        /// The root computed from the readings.
        found: ReadingsRoot,
    },
    /// Rule 7: a reading is invalid on every branch.
    #[error("reading {position}: {source}")]
    Reading {
        /// Index of the reading in the block, from 0.
        position: usize,
        source: ReadingError,
    },
    /// Rule 7: a reading is not its author's next.
    #[error("reading {position}: seq {found} is not author {author}'s next, {expected}")]
    Seq {
        /// Index of the reading in the block, from 0.
        position: usize,
        author: Author,
        expected: u64,
        found: u64,
    },
}

impl BodyError {
    /// What this failure invalidates.
    #[must_use]
    pub const fn invalidates(&self) -> Invalidates {
        match self {
            Self::TooFewReadings { .. }
            | Self::TooManyReadings { .. }
            | Self::TooLong { .. }
            | Self::ReadingsRoot { .. } => Invalidates::Copy,
            Self::Reading { .. } | Self::Seq { .. } => Invalidates::Descendants,
        }
    }
}

impl Block {
    /// Length of the encoding in bytes.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        encoded_len(self.readings.len())
    }

    /// The borsh encoding, which is sent to peers and stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.encoded_len());
        bytes.extend_from_slice(&self.header.to_bytes());
        // A list too long for its length field is longer than any block, so every decoder rejects it.
        let count = u32::try_from(self.readings.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&count.to_le_bytes());
        for reading in &self.readings {
            bytes.extend_from_slice(&reading.to_bytes());
        }
        bytes
    }

    /// Decodes a block and rejects trailing bytes. Bounds are checked before anything is allocated. Genesis decodes,
    /// too, so rejecting an empty body is left to [`check_body`].
    ///
    /// # Errors
    /// If there are more bytes or readings than a block may have, or if the length does not fit the number of readings.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let found = bytes.len();
        if found > MAX_BLOCK_LEN {
            return Err(DecodeError::BlockTooLong {
                found,
                max: MAX_BLOCK_LEN,
            });
        }
        let wrong_length = |expected| DecodeError::Length {
            what: "block",
            expected,
            found,
        };
        let (header, rest) = bytes
            .split_at_checked(Header::LEN)
            .ok_or(wrong_length(PREFIX_LEN))?;
        let (count, rest) = rest.split_first_chunk().ok_or(wrong_length(PREFIX_LEN))?;
        let count = u32::from_le_bytes(*count);
        let too_many = DecodeError::TooManyReadings {
            found: count,
            max: MAX_BLOCK_READINGS,
        };
        let readings = usize::try_from(count).map_err(|_| too_many)?;
        if readings > MAX_BLOCK_READINGS {
            return Err(too_many);
        }
        if found != encoded_len(readings) {
            return Err(wrong_length(encoded_len(readings)));
        }
        let readings = rest
            .chunks(Reading::LEN)
            .map(Reading::decode)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            header: Header::decode(header)?,
            readings,
        })
    }
}

/// Decodes a block inside another message. The bound on readings is the same as in [`Block::decode`]; the bytes after
/// the block belong to the message.
impl BorshDeserialize for Block {
    fn deserialize_reader<R: Read>(reader: &mut R) -> IoResult<Self> {
        let header = Header::deserialize_reader(reader)?;
        let count = usize::try_from(u32::deserialize_reader(reader)?).unwrap_or(usize::MAX);
        if count > MAX_BLOCK_READINGS {
            return Err(IoError::new(
                ErrorKind::InvalidData,
                "more readings than a block may have",
            ));
        }
        // Grows with the bytes actually present, because `count` is only a claim of the sender.
        let mut readings = Vec::new();
        for _ in 0..count {
            readings.push(Reading::deserialize_reader(reader)?);
        }
        Ok(Self { header, readings })
    }
}

/// Length in bytes of an encoded block with this many readings.
const fn encoded_len(readings: usize) -> usize {
    PREFIX_LEN.saturating_add(readings.saturating_mul(Reading::LEN))
}

/// Checks a body against its header by rules 1, 6 and 7, cheapest first, as far as possible without the branch. Whether
/// an author's first `seq` in the block is the next one on the branch is left to the caller.
///
/// `known_good` returns whether exactly these bytes, signature included, were verified for `room` before. The signature
/// of such a reading is not verified again. `rng` must be unpredictable to the authors, see
/// [`crate::reading::verify_batch`].
///
/// # Errors
/// Returns the first rule that the body breaks.
pub fn check_body(
    room: RoomId,
    header: &Header,
    readings: &[Reading],
    known_good: impl Fn(&Reading) -> bool,
    rng: &mut impl CryptoRng,
) -> Result<(), BodyError> {
    check_size(readings)?;
    check_root(header, readings)?;
    for (position, reading) in readings.iter().enumerate() {
        reading
            .check_fields()
            .map_err(|source| BodyError::Reading { position, source })?;
    }
    check_seqs(readings)?;

    let (positions, unknown): (Vec<usize>, Vec<&Reading>) = readings
        .iter()
        .enumerate()
        .filter(|(_, reading)| !known_good(reading))
        .unzip();
    verify_signatures(room, &unknown, rng).map_err(|error| BodyError::Reading {
        position: positions
            .get(error.position)
            .copied()
            .unwrap_or(error.position),
        source: error.source,
    })
}

/// Checks rule 6 alone. This is enough for a body that was valid before, because only the same body has this root.
///
/// # Errors
/// [`BodyError::ReadingsRoot`] if the readings are not the ones that the header was mined for.
pub fn check_root(header: &Header, readings: &[Reading]) -> Result<(), BodyError> {
    let found = readings_root(readings);
    if found == header.readings_root {
        Ok(())
    } else {
        Err(BodyError::ReadingsRoot {
            expected: header.readings_root,
            found,
        })
    }
}

/// Checks rule 1: the number of readings and the encoded length.
fn check_size(readings: &[Reading]) -> Result<(), BodyError> {
    let found = readings.len();
    if found < MIN_BLOCK_READINGS {
        return Err(BodyError::TooFewReadings {
            found,
            min: MIN_BLOCK_READINGS,
        });
    }
    if found > MAX_BLOCK_READINGS {
        return Err(BodyError::TooManyReadings {
            found,
            max: MAX_BLOCK_READINGS,
        });
    }
    let found = encoded_len(found);
    if found > MAX_BLOCK_LEN {
        return Err(BodyError::TooLong {
            found,
            max: MAX_BLOCK_LEN,
        });
    }
    Ok(())
}

/// Checks that the `seq`s of each author within the block are contiguous.
fn check_seqs(readings: &[Reading]) -> Result<(), BodyError> {
    let mut last: LiteMap<Author, u64> = LiteMap::new();
    for (position, &Reading { author, seq, .. }) in readings.iter().enumerate() {
        if let Some(previous) = last.insert(author, seq)
            && previous.checked_add(1) != Some(seq)
        {
            let expected = previous.saturating_add(1);
            return Err(BodyError::Seq {
                position,
                author,
                expected,
                found: seq,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
