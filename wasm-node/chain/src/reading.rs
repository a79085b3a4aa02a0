//! One heart-rate reading as it travels, and what makes it valid on its own: its fields and its signature. It never
//! knows a branch, so whether `seq` is the author's next is judged elsewhere.

use alloc::vec::Vec;

use borsh::{BorshDeserialize, BorshSerialize};
use ed25519_zebra::{VerificationKey, VerificationKeyBytes, batch};
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::{
    bpm::{Bpm, BpmError},
    codec::{DecodeError, to_array},
    hash::{ReadingId, RoomId},
    key::{Author, Signature},
    time::{MAX_READING_TIME, UnixMillis},
};

/// Opens every signed message, so that no signature for anything else can be taken for a reading.
const SIGNING_TAG: [u8; 20] = *b"heartchain/reading/1";
/// Length of what is signed: tag, room, author, seq, time, bpm.
const SIGNED_LEN: usize = 20 + 32 + Claim::LEN;

/// What a person records, as it travels: nothing in it is checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct Reading {
    /// Who records.
    pub author: Author,
    /// The author's own count on the branch: 0, 1, 2 ... without a gap.
    pub seq: u64,
    /// When, by the author's clock: a claim and no more.
    pub time: UnixMillis,
    /// Heart beats per minute.
    pub bpm: u16,
    /// The author's signature over all of it and the room.
    pub signature: Signature,
}

/// Why a reading is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReadingError {
    /// The heart rate is none.
    #[error(transparent)]
    Bpm(#[from] BpmError),
    /// The time is too late to be shown.
    #[error("time {found} is later than {max}")]
    Time {
        /// The reading's time.
        found: UnixMillis,
        /// [`MAX_READING_TIME`].
        max: UnixMillis,
    },
    /// The author's key is not the canonical encoding of a point.
    #[error("author {author} is not canonically encoded")]
    AuthorNotCanonical {
        /// The key found.
        author: Author,
    },
    /// The author's key is a point whose order divides eight.
    #[error("author {author} is a point of small order")]
    AuthorSmallOrder {
        /// The key found.
        author: Author,
    },
    /// The author's key is no point of the curve.
    #[error("author {author} is no point of the curve")]
    AuthorNotAPoint {
        /// The key found.
        author: Author,
    },
    /// The signature is not the author's, or not for this room.
    #[error("signature {signature} is not author {author}'s in this room")]
    Signature {
        /// The author's key.
        author: Author,
        /// The signature found.
        signature: Signature,
    },
}

/// The first reading of several that is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("reading {position}: {source}")]
pub struct BatchError {
    /// Its place among the readings given, from 0.
    pub position: usize,
    /// What is wrong with it; just what [`Reading::verify`] says of it alone.
    pub source: ReadingError,
}

impl Reading {
    /// Length of an encoded reading in bytes.
    pub const LEN: usize = Claim::LEN + Signature::LEN;

    /// The borsh encoding: what is hashed, sent and stored.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        to_array(self)
    }

    /// Reads a reading from exactly its bytes. Any [`Reading::LEN`] bytes are one, valid or not.
    ///
    /// # Errors
    /// If there are fewer bytes or more.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        borsh::from_slice(bytes).map_err(|_| DecodeError::Length {
            what: "reading",
            expected: Self::LEN,
            found: bytes.len(),
        })
    }

    /// What the author signs for `room`.
    #[must_use]
    pub fn signed_bytes(&self, room: RoomId) -> [u8; SIGNED_LEN] {
        self.claim().signed_bytes(room)
    }

    /// The reading's name in `room`: SHA-256 of the signed bytes.
    #[must_use]
    pub fn id(&self, room: RoomId) -> ReadingId {
        ReadingId::new(Sha256::digest(self.signed_bytes(room)).into())
    }

    /// Checks all that can be checked without costly arithmetic, in this order: bpm, time, author.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn check_fields(&self) -> Result<(), ReadingError> {
        Bpm::new(self.bpm)?;
        if self.time > MAX_READING_TIME {
            return Err(ReadingError::Time {
                found: self.time,
                max: MAX_READING_TIME,
            });
        }
        if !self.author.is_canonical() {
            return Err(ReadingError::AuthorNotCanonical {
                author: self.author,
            });
        }
        if self.author.is_small_order() {
            return Err(ReadingError::AuthorSmallOrder {
                author: self.author,
            });
        }
        Ok(())
    }

    /// Checks the fields, then the signature for `room` by [ZIP-215](https://zips.z.cash/zip-0215).
    ///
    /// # Errors
    /// The first rule broken.
    pub fn verify(&self, room: RoomId) -> Result<(), ReadingError> {
        self.check_fields()?;
        self.verify_signature(room)
    }

    fn verify_signature(&self, room: RoomId) -> Result<(), ReadingError> {
        let key = VerificationKey::try_from(*self.author.as_bytes()).map_err(|_| {
            ReadingError::AuthorNotAPoint {
                author: self.author,
            }
        })?;
        let signature = ed25519_zebra::Signature::from_bytes(self.signature.as_bytes());
        key.verify(&signature, &self.signed_bytes(room))
            .map_err(|_| ReadingError::Signature {
                author: self.author,
                signature: self.signature,
            })
    }

    fn batch_item(&self, room: RoomId) -> batch::Item {
        let key = VerificationKeyBytes::from(*self.author.as_bytes());
        let signature = ed25519_zebra::Signature::from_bytes(self.signature.as_bytes());
        (key, signature, &self.signed_bytes(room)).into()
    }

    fn claim(&self) -> Claim {
        let Self {
            author,
            seq,
            time,
            bpm,
            signature: _,
        } = *self;
        Claim {
            author,
            seq,
            time,
            bpm,
        }
    }
}

/// Verifies many readings at once, cheaper than one by one: each author's key is unpacked once, and one multiplication
/// of many points takes the place of many. The verdict is the one that [`Reading::verify`] would give of each, because
/// ZIP-215 makes single and batched verification agree.
///
/// `rng` must be unpredictable to the authors: who can foretell it can forge a batch.
///
/// # Errors
/// The first reading that is not valid, and why.
pub fn verify_batch<'a>(
    room: RoomId,
    readings: impl IntoIterator<Item = &'a Reading>,
    rng: &mut impl CryptoRng,
) -> Result<(), BatchError> {
    let mut queued: Vec<&Reading> = Vec::new();
    let mut fields = Ok(());
    for (position, reading) in readings.into_iter().enumerate() {
        if let Err(source) = reading.check_fields() {
            // Those after it cannot be the first that is not valid.
            fields = Err(BatchError { position, source });
            break;
        }
        queued.push(reading);
    }
    verify_signatures(room, &queued, rng)?;
    fields
}

/// Verifies signatures only: of readings whose fields are known to be valid. Not generic, so that what all time goes to
/// is compiled here, and not as whoever calls it.
pub(crate) fn verify_signatures(
    room: RoomId,
    readings: &[&Reading],
    rng: &mut dyn CryptoRng,
) -> Result<(), BatchError> {
    if readings.len() > 1 {
        let mut verifier = batch::Verifier::new();
        readings
            .iter()
            .for_each(|reading| verifier.queue(reading.batch_item(room)));
        if verifier.verify(rng).is_ok() {
            return Ok(());
        }
    }
    readings
        .iter()
        .enumerate()
        .try_for_each(|(position, reading)| {
            reading
                .verify_signature(room)
                .map_err(|source| BatchError { position, source })
        })
}

/// A reading without its signature: what the author signs.
#[derive(BorshSerialize)]
pub(crate) struct Claim {
    pub(crate) author: Author,
    pub(crate) seq: u64,
    pub(crate) time: UnixMillis,
    pub(crate) bpm: u16,
}

impl Claim {
    const LEN: usize = Author::LEN + 8 + 8 + 2;

    pub(crate) fn signed_bytes(&self, room: RoomId) -> [u8; SIGNED_LEN] {
        to_array(&(SIGNING_TAG, room, self))
    }
}

#[cfg(test)]
mod tests;
