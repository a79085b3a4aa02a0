//! The content of a reading: in the clear in an open room, sealed with the room's key in a private one.
//!
//! All readings of a room have one form, which its kind determines. So a peer without the key of a private room checks
//! the same lengths, signatures and sequence numbers as its members do, and never needs to open a seal.

use borsh::{
    BorshDeserialize as _, BorshSerialize,
    io::{Read, Result as IoResult, Write},
};
use thiserror::Error;

use crate::{
    bpm::Bpm,
    hash::bytes_newtype,
    key::{Author, Signature},
    time::UnixMillis,
};

bytes_newtype! {
    /// Time and heart rate of a reading in a private room, sealed with AES-256-GCM-SIV: 10 bytes and a tag of 16.
    #[derive(Hash)]
    SealedContent, 26
}

/// The form of all readings of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadingForm {
    /// Open rooms: time and heart rate in the clear.
    Open,
    /// Private rooms: time and heart rate are sealed.
    Sealed,
}

impl ReadingForm {
    /// Length of the content in bytes.
    #[must_use]
    pub const fn content_len(self) -> usize {
        match self {
            Self::Open => 8 + 2,
            Self::Sealed => SealedContent::LEN,
        }
    }

    /// Length of an encoded reading in bytes.
    #[must_use]
    pub const fn reading_len(self) -> usize {
        Author::LEN + 8 + self.content_len() + Signature::LEN
    }
}

/// Time and heart rate of a reading, as received: not checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// In an open room: both in the clear.
    Open {
        /// When it was recorded, by the author's clock. No rule verifies this claim.
        time: UnixMillis,
        /// The heart rate in beats per minute.
        bpm: u16,
    },
    /// In a private room. [`Room::open`](crate::room::Room::open) opens it.
    Sealed(SealedContent),
}

impl Content {
    /// The content of a reading in an open room.
    #[must_use]
    pub const fn open(time: UnixMillis, bpm: Bpm) -> Self {
        Self::Open {
            time,
            bpm: bpm.get(),
        }
    }

    /// The form of the reading that has this content.
    #[must_use]
    pub const fn form(&self) -> ReadingForm {
        match self {
            Self::Open { .. } => ReadingForm::Open,
            Self::Sealed(_) => ReadingForm::Sealed,
        }
    }

    /// Decodes content of this form. Any bytes of the right length decode.
    pub(crate) fn deserialize<R: Read>(form: ReadingForm, reader: &mut R) -> IoResult<Self> {
        Ok(match form {
            ReadingForm::Open => Self::Open {
                time: UnixMillis::deserialize_reader(reader)?,
                bpm: u16::deserialize_reader(reader)?,
            },
            ReadingForm::Sealed => Self::Sealed(SealedContent::deserialize_reader(reader)?),
        })
    }
}

/// The bytes alone: the room determines their form, so no tag is sent.
impl BorshSerialize for Content {
    fn serialize<W: Write>(&self, writer: &mut W) -> IoResult<()> {
        match self {
            Self::Open { time, bpm } => {
                time.serialize(writer)?;
                bpm.serialize(writer)
            }
            Self::Sealed(sealed) => sealed.serialize(writer),
        }
    }
}

/// What a reading says: when, and which heart rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// When it was recorded, by the author's clock.
    pub time: UnixMillis,
    /// The heart rate, within its range.
    pub bpm: Bpm,
}

/// Why the content of a reading cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UnreadableError {
    /// The room is private, and its key is not known here.
    #[error("the reading is sealed, and this peer does not have the room's key")]
    NoKey,
    /// The seal was made with another key, or was altered.
    #[error("the reading is not sealed with the key of this room")]
    Seal,
    /// The content is out of range, or not of the room's form.
    #[error("the reading's time or heart rate is out of range")]
    Range,
}
