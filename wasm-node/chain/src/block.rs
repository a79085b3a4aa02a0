//! Blocks, their encoding, and the body rules that need no knowledge of the branch. Specified in docs/chain.md,
//! "Blocks".
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
//! - Rule 8: at most [`MAX_AUTHOR_READINGS`] of the readings are of one author.

use alloc::vec::Vec;

use borsh::BorshSerialize;
use litemap::LiteMap;
use rand_core::CryptoRng;
use thiserror::Error;

use crate::{
    codec::DecodeError,
    content::ReadingForm,
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
/// Maximum number of readings of one author in a block, so that a miner cannot fill the blocks of a room alone.
pub const MAX_AUTHOR_READINGS: usize = 128;
/// Maximum length of an encoded block in bytes, chosen so that a block fits into one gossip message.
pub const MAX_BLOCK_LEN: usize = 128 * 1024;

/// Maximum number of readings of this form in a block: sealed readings reach [`MAX_BLOCK_LEN`] first.
#[must_use]
pub const fn max_block_readings(form: ReadingForm) -> usize {
    let fitting = (MAX_BLOCK_LEN - PREFIX_LEN) / form.reading_len();
    if fitting < MAX_BLOCK_READINGS {
        fitting
    } else {
        MAX_BLOCK_READINGS
    }
}

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
    /// Rule 8: the block has more than [`MAX_AUTHOR_READINGS`] readings of one author.
    #[error(
        "reading {position} is one more of author {author} than the maximum of {max} in a block"
    )]
    TooManyOfAuthor {
        /// Index of the reading in the block, from 0.
        position: usize,
        author: Author,
        max: usize,
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
            Self::Reading { .. } | Self::Seq { .. } | Self::TooManyOfAuthor { .. } => {
                Invalidates::Descendants
            }
        }
    }
}

impl Block {
    /// Length of the encoding in bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        encoded_len(&self.readings)
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

    /// Decodes a block with readings of this form and rejects trailing bytes. Bounds are checked before anything is allocated. Genesis decodes,
    /// too, so rejecting an empty body is left to [`check_body`].
    ///
    /// # Errors
    /// If there are more bytes or readings than a block may have, or if the length does not fit the number of readings.
    pub fn decode(form: ReadingForm, bytes: &[u8]) -> Result<Self, DecodeError> {
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
        let expected = block_len(form, readings);
        if found != expected {
            return Err(wrong_length(expected));
        }
        let readings = rest
            .chunks(form.reading_len())
            .map(|reading| Reading::decode(form, reading))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            header: Header::decode(header)?,
            readings,
        })
    }
}

/// Length in bytes of an encoded block with this many readings of this form.
#[must_use]
pub const fn block_len(form: ReadingForm, readings: usize) -> usize {
    PREFIX_LEN.saturating_add(readings.saturating_mul(form.reading_len()))
}

/// Length in bytes of an encoded block with these readings.
fn encoded_len(readings: &[Reading]) -> usize {
    let readings = readings.iter().map(Reading::encoded_len);
    readings.fold(PREFIX_LEN, usize::saturating_add)
}

/// Checks a body against its header by rules 1, 6, 7 and 8, cheapest first, as far as possible without the branch. Whether
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

/// Checks what rules 1, 7 and 8 say of the readings as a whole: how many there are, their length, and each author's share and
/// sequence. Verifies no signature.
///
/// # Errors
/// The first of these rules that the readings break.
pub fn check_counts(readings: &[Reading]) -> Result<(), BodyError> {
    check_size(readings)?;
    check_seqs(readings)
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
    let found = encoded_len(readings);
    if found > MAX_BLOCK_LEN {
        return Err(BodyError::TooLong {
            found,
            max: MAX_BLOCK_LEN,
        });
    }
    Ok(())
}

/// Checks that the `seq`s of each author within the block are contiguous, and that no author has too many.
fn check_seqs(readings: &[Reading]) -> Result<(), BodyError> {
    let mut seen: LiteMap<Author, (u64, usize)> = LiteMap::new();
    for (position, &Reading { author, seq, .. }) in readings.iter().enumerate() {
        let (previous, count) = match seen.get(&author) {
            Some((previous, count)) => (Some(*previous), *count),
            None => (None, 0),
        };
        if let Some(previous) = previous
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
        if count >= MAX_AUTHOR_READINGS {
            return Err(BodyError::TooManyOfAuthor {
                position,
                author,
                max: MAX_AUTHOR_READINGS,
            });
        }
        seen.insert(author, (seq, count + 1));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
