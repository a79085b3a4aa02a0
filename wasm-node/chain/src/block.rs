//! A block as it travels, and the rules for its body that need no branch. It never judges headers, and never whether
//! an author's first `seq` here is the next on the branch.

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
    validate::Condemns,
};

/// Fewest readings of a block that is not genesis: an idle room mines nothing.
pub const MIN_BLOCK_READINGS: usize = 1;
/// Most readings of a block, so that checking one body takes well under a second.
pub const MAX_BLOCK_READINGS: usize = 1024;
/// Most bytes of an encoded block, so that one fits a gossip message.
pub const MAX_BLOCK_LEN: usize = 128 * 1024;

/// Bytes of an encoded block before its readings: the header and how many readings there are.
const PREFIX_LEN: usize = Header::LEN + 4;

/// A block as it travels: nothing in it is checked yet.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct Block {
    /// The part that is hashed.
    pub header: Header,
    /// The body, an author's readings in seq order.
    pub readings: Vec<Reading>,
}

/// Why a block's body is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Rule 1: only genesis has no readings.
    #[error("{found} readings are fewer than a block's {min}")]
    TooFewReadings {
        /// Readings found.
        found: usize,
        /// [`MIN_BLOCK_READINGS`].
        min: usize,
    },
    /// Rule 1.
    #[error("{found} readings are more than a block's {max}")]
    TooManyReadings {
        /// Readings found.
        found: usize,
        /// [`MAX_BLOCK_READINGS`].
        max: usize,
    },
    /// Rule 1.
    #[error("{found} bytes are more than a block's {max}")]
    TooLong {
        /// Bytes found.
        found: usize,
        /// [`MAX_BLOCK_LEN`].
        max: usize,
    },
    /// Rule 6: the readings are not those that the header was mined for.
    #[error("readings root {found} is not the header's {expected}")]
    ReadingsRoot {
        /// What the header says.
        expected: ReadingsRoot,
        /// What follows from the readings.
        found: ReadingsRoot,
    },
    /// Rule 7: a reading is not valid, whatever the branch.
    #[error("reading {position}: {source}")]
    Reading {
        /// Its place in the block, from 0.
        position: usize,
        /// What is wrong with it.
        source: ReadingError,
    },
    /// Rule 7: a reading is not its author's next.
    #[error("reading {position}: seq {found} is not author {author}'s next, {expected}")]
    Seq {
        /// Its place in the block, from 0.
        position: usize,
        /// Whose reading it is.
        author: Author,
        /// The author's next seq.
        expected: u64,
        /// The reading's seq.
        found: u64,
    },
}

impl BodyError {
    /// What this failure condemns.
    #[must_use]
    pub const fn condemns(&self) -> Condemns {
        match self {
            Self::TooFewReadings { .. }
            | Self::TooManyReadings { .. }
            | Self::TooLong { .. }
            | Self::ReadingsRoot { .. } => Condemns::Copy,
            Self::Reading { .. } | Self::Seq { .. } => Condemns::Descendants,
        }
    }
}

impl Block {
    /// Length of the encoding in bytes.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        encoded_len(self.readings.len())
    }

    /// The borsh encoding: what is sent and stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.encoded_len());
        bytes.extend_from_slice(&self.header.to_bytes());
        // A list too long for its length field is longer than any block, and is refused by whoever decodes it.
        let count = u32::try_from(self.readings.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&count.to_le_bytes());
        for reading in &self.readings {
            bytes.extend_from_slice(&reading.to_bytes());
        }
        bytes
    }

    /// Reads a block from exactly its bytes. Its bounds are checked before anything is allocated; genesis decodes too,
    /// so an empty body is left to [`check_body`].
    ///
    /// # Errors
    /// If there are more bytes or readings than a block may have, or fewer bytes or more than its readings take.
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

/// For blocks inside other messages. The same bound on readings holds as in [`Block::decode`]; what follows the block
/// is left to the message.
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
        // Grows with the bytes that are really there: `count` is only what somebody claims.
        let mut readings = Vec::new();
        for _ in 0..count {
            readings.push(Reading::deserialize_reader(reader)?);
        }
        Ok(Self { header, readings })
    }
}

/// Bytes of an encoded block with so many readings.
const fn encoded_len(readings: usize) -> usize {
    PREFIX_LEN.saturating_add(readings.saturating_mul(Reading::LEN))
}

/// Checks a body against its header by rules 1, 6 and 7, cheapest first, and no further than they go without a branch:
/// that an author's first seq here is the next on the branch is left to whoever knows the branch.
///
/// `known_good` says of a reading whether the very same bytes, signature included, were verified for `room` before; its
/// signature is then not verified again. `rng` must be unpredictable to the authors, see [`crate::reading::verify_batch`].
///
/// # Errors
/// The first rule broken.
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

/// Rule 6 alone, for a body that is known: only the same one satisfies it.
///
/// # Errors
/// [`BodyError::ReadingsRoot`].
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

/// Rule 1.
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

/// That each author's seqs within the block follow one another.
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
