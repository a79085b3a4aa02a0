//! Heart-rate readings, and the checks of one reading on its own: its fields and its signature.
//!
//! Whether `seq` is the author's next depends on the branch, so [`crate::tree`] checks it.
//! Specified in docs/chain.md, "Readings".

use alloc::vec::Vec;

use borsh::{
    BorshDeserialize as _, BorshSerialize,
    io::{Read, Result as IoResult},
};
use ed25519_zebra::{VerificationKey, VerificationKeyBytes, batch};
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::{
    bpm::{Bpm, BpmError},
    codec::{DecodeError, ShortBytes, to_short_bytes},
    content::{Content, ReadingForm},
    hash::{ReadingId, RoomId},
    key::{Author, SecretKey, Signature},
    time::{MAX_READING_TIME, UnixMillis},
};

/// Prefix of every signed message. It keeps a signature for anything else from being valid for a reading.
const SIGNING_TAG: [u8; 20] = *b"heartchain/reading/2";
/// Length of the longest encoded reading in bytes.
pub const MAX_READING_LEN: usize = ReadingForm::Sealed.reading_len();
/// Length of the longest signed message in bytes: tag, room, author, seq, content.
pub const MAX_SIGNED_LEN: usize = 20 + 32 + 32 + 8 + ReadingForm::Sealed.content_len();

/// A heart-rate reading as received: not checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize)]
pub struct Reading {
    /// The public key of the person who recorded the reading.
    pub author: Author,
    /// Sequence number of the reading among its author's readings on a branch: 0, 1, 2 ... without a gap.
    pub seq: u64,
    /// Time and heart rate. All readings of a room have the same form, which their decoder takes from the room.
    pub content: Content,
    /// The author's signature over the other fields and the room.
    pub signature: Signature,
}

/// Why a reading is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the field names say it")]
pub enum ReadingError {
    /// The heart rate is out of range.
    #[error(transparent)]
    Bpm(#[from] BpmError),
    /// The time is later than [`MAX_READING_TIME`], so it cannot be displayed.
    #[error("time {found} is later than {max}")]
    Time { found: UnixMillis, max: UnixMillis },
    /// The author's key is not the canonical encoding of a point.
    #[error("author {author} is not canonically encoded")]
    AuthorNotCanonical { author: Author },
    /// The author's key is a point whose order divides eight.
    #[error("author {author} is a point of small order")]
    AuthorSmallOrder { author: Author },
    /// The author's key is not a point of the curve.
    #[error("author {author} is not a point of the curve")]
    AuthorNotAPoint { author: Author },
    /// The signature is not the author's, or not for this room.
    #[error("signature {signature} is not author {author}'s in this room")]
    Signature {
        author: Author,
        signature: Signature,
    },
}

/// The first invalid reading of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("reading {position}: {source}")]
pub struct BatchError {
    /// Index of the reading in the batch, from 0.
    pub position: usize,
    /// Why the reading is invalid: the same error that [`Reading::verify`] returns for it.
    pub source: ReadingError,
}

impl Reading {
    /// Length of the encoding in bytes.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        self.content.form().reading_len()
    }

    /// The borsh encoding, which is hashed, sent and stored.
    #[must_use]
    pub fn to_bytes(&self) -> ShortBytes<MAX_READING_LEN> {
        to_short_bytes(self)
    }

    /// Decodes a reading of this form. Any bytes of the right length decode, whether or not the reading is valid.
    ///
    /// # Errors
    /// If the length is another one.
    pub fn decode(form: ReadingForm, bytes: &[u8]) -> Result<Self, DecodeError> {
        let wrong_length = DecodeError::Length {
            what: "reading",
            expected: form.reading_len(),
            found: bytes.len(),
        };
        if bytes.len() != form.reading_len() {
            return Err(wrong_length);
        }
        Self::deserialize(form, &mut &*bytes).map_err(|_| wrong_length)
    }

    /// Decodes a reading of this form inside another message.
    ///
    /// # Errors
    /// If there are too few bytes.
    pub fn deserialize<R: Read>(form: ReadingForm, reader: &mut R) -> IoResult<Self> {
        Ok(Self {
            author: Author::deserialize_reader(reader)?,
            seq: u64::deserialize_reader(reader)?,
            content: Content::deserialize(form, reader)?,
            signature: Signature::deserialize_reader(reader)?,
        })
    }

    /// The message that the author signs for `room`.
    #[must_use]
    pub fn signed_bytes(&self, room: RoomId) -> ShortBytes<MAX_SIGNED_LEN> {
        signed_bytes(room, &self.author, self.seq, &self.content)
    }

    /// The id of the reading in `room`: SHA-256 of the signed bytes.
    #[must_use]
    pub fn id(&self, room: RoomId) -> ReadingId {
        ReadingId::new(Sha256::digest(self.signed_bytes(room)).into())
    }

    /// Checks everything that needs no expensive arithmetic, in this order: bpm, time, author. What is sealed is not
    /// checked: no rule depends on it.
    ///
    /// # Errors
    /// Returns the first rule that the reading breaks.
    pub fn check_fields(&self) -> Result<(), ReadingError> {
        if let Content::Open { time, bpm } = self.content {
            Bpm::new(bpm)?;
            if time > MAX_READING_TIME {
                return Err(ReadingError::Time {
                    found: time,
                    max: MAX_READING_TIME,
                });
            }
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
    /// Returns the first rule that the reading breaks.
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
}

/// Verifies many readings at once. This is cheaper than one by one: each author's key is decompressed once, and one
/// multiscalar multiplication replaces many multiplications. The result is the same as that of [`Reading::verify`] for
/// each reading, because ZIP-215 makes single and batched verification agree.
///
/// `rng` must be unpredictable to the authors: an attacker who can predict it can forge a batch.
///
/// # Errors
/// Returns the first invalid reading, and why it is invalid.
pub fn verify_batch<'a>(
    room: RoomId,
    readings: impl IntoIterator<Item = &'a Reading>,
    rng: &mut impl CryptoRng,
) -> Result<(), BatchError> {
    let mut queued: Vec<&Reading> = Vec::new();
    let mut fields = Ok(());
    for (position, reading) in readings.into_iter().enumerate() {
        if let Err(source) = reading.check_fields() {
            // A later reading cannot be the first invalid one.
            fields = Err(BatchError { position, source });
            break;
        }
        queued.push(reading);
    }
    verify_signatures(room, &queued, rng)?;
    fields
}

/// Verifies only the signatures of readings whose fields are already checked. The function is not generic, so this hot
/// path is compiled in this crate, with its optimization level, and not in the caller's.
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

fn signed_bytes(
    room: RoomId,
    author: &Author,
    seq: u64,
    content: &Content,
) -> ShortBytes<MAX_SIGNED_LEN> {
    to_short_bytes(&(SIGNING_TAG, room, author, seq, content))
}

impl SecretKey {
    /// Signs a reading for an open room. [`Room::sign`](crate::room::Room::sign) signs for rooms of both kinds. The
    /// caller ensures that the room accepts `seq` and `time`.
    #[must_use]
    pub fn sign(&self, room: RoomId, seq: u64, time: UnixMillis, bpm: Bpm) -> Reading {
        self.sign_content(room, seq, Content::open(time, bpm))
    }

    /// Signs a reading with this content.
    #[must_use]
    pub fn sign_content(&self, room: RoomId, seq: u64, content: Content) -> Reading {
        let author = self.author();
        let signature = self.sign_bytes(&signed_bytes(room, &author, seq, &content));
        Reading {
            author,
            seq,
            content,
            signature,
        }
    }
}

#[cfg(test)]
mod tests;
