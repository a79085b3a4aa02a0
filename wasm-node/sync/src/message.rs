//! What peers send each other: requests and answers of the sync protocol, gossip items, and their encoding.
//!
//! The machine takes and returns values of these types. Its driver converts them to and from the bytes on the wire with the
//! functions of this module. An error of a decoder is an input as well, because only the machine judges peers.
//!
//! Messages are encoded with borsh, one per stream and direction. Decoding is strict and bounded: it allocates
//! no more than the bytes of the message can hold. The bytes are specified in docs/protocols.md, "Sync".

mod gossip_item;

use alloc::vec::Vec;

use borsh::{
    BorshDeserialize, BorshSerialize,
    io::{Error as IoError, ErrorKind, Result as IoResult},
};
use heartchain_chain::{
    binding::Binding,
    block::MAX_BLOCK_READINGS,
    content::ReadingForm,
    hash::{BlockHash, ReadingId},
    header::Header,
    key::Author,
    profile::Profile,
    reading::Reading,
    time::UnixMillis,
    tree::MAX_LOCATOR,
    work::Work,
};

pub use self::gossip_item::{GossipError, GossipItem, Topic};

/// Headers in one answer: 186,000 bytes.
pub const MAX_HEADERS: usize = 2_000;
/// Block bodies in one request.
pub const MAX_BODIES: usize = 512;
/// Bytes of bodies in one answer. A peer sends as many bodies as fit, and at least one.
pub const MAX_BODIES_LEN: usize = 1024 * 1024;
/// Rows of a mempool listing in one answer: 590 KB.
pub const MAX_IDS: usize = 8_192;
/// Readings in one request. The answer has at most 266 KB.
pub const MAX_READINGS: usize = 2_048;
/// Profiles in one answer: 164 KB.
pub const MAX_LISTED_PROFILES: usize = 1_024;
/// The longest request: a full [`Request::Readings`].
pub const MAX_REQUEST_LEN: usize = 1 + 4 + MAX_READINGS * 32;
/// The longest answer: a full [`Response::Bodies`].
pub const MAX_RESPONSE_LEN: usize = 1 + 4 + MAX_BODIES_LEN + MAX_BODIES;

/// A peer's best branch, and which author the peer acts for. Only fully validated blocks count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize)]
pub struct StatusMessage {
    /// The hash of its best tip.
    pub tip: BlockHash,
    /// The height of the best tip.
    pub index: u64,
    /// The total work up to the tip.
    pub total_work: Work,
    /// The time on its wall clock.
    pub now: UnixMillis,
    /// The proof that it acts for an author. A peer without the key of a private room has none.
    pub binding: Option<Binding>,
}

/// A row of a mempool listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct MempoolRow {
    /// The public key that signed the reading.
    pub author: Author,
    /// The reading's sequence number for its author.
    pub seq: u64,
    /// The ID of the reading.
    pub id: ReadingId,
}

/// A request to a peer.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub enum Request {
    /// Announces our status and asks for the peer's.
    Status(StatusMessage),
    /// Asks for headers of the peer's best branch above the first hash of the locator that is on that branch.
    Headers {
        /// At most [`MAX_LOCATOR`] hashes, newest first.
        locator: Vec<BlockHash>,
    },
    /// Asks for the bodies of these blocks.
    Bodies {
        /// At most [`MAX_BODIES`] block hashes.
        hashes: Vec<BlockHash>,
    },
    /// Asks for the contents of the peer's mempool, ordered by author and sequence number.
    MempoolIds {
        /// The listing starts behind this author and sequence number; `None` starts at the beginning.
        after: Option<(Author, u64)>,
    },
    /// Asks for readings in the peer's mempool.
    Readings {
        /// At most [`MAX_READINGS`] reading IDs.
        ids: Vec<ReadingId>,
    },
    /// Asks for the names of authors, ordered by author.
    Profiles {
        /// The listing starts behind this author; `None` starts at the beginning.
        after: Option<Author>,
    },
}

/// An answer. Its kind is that of the request.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub enum Response {
    /// Answers [`Request::Status`].
    Status(StatusMessage),
    /// Answers [`Request::Headers`] with at most [`MAX_HEADERS`] headers.
    Headers(Vec<Header>),
    /// Answers [`Request::Bodies`] with a prefix of the requested bodies; `None` where the peer does not have one.
    Bodies(Vec<Option<Vec<Reading>>>),
    /// Answers [`Request::MempoolIds`] with at most [`MAX_IDS`] rows, in order.
    MempoolIds(Vec<MempoolRow>),
    /// Answers [`Request::Readings`] with those the peer has.
    Readings(Vec<Reading>),
    /// Answers [`Request::Profiles`] with at most [`MAX_LISTED_PROFILES`] profiles, in order.
    Profiles(Vec<Profile>),
}

/// Why bytes are not a valid message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The message is longer than any of its kind may be.
    #[error("{found} bytes, at most {limit} allowed")]
    TooLong {
        /// The length of the message in bytes.
        found: usize,
        /// The maximum length in bytes.
        limit: usize,
    },
    /// No encoder produces these bytes.
    #[error("bytes that do not decode")]
    Malformed,
    /// The message has more items than allowed.
    #[error("{found} items, at most {limit} allowed")]
    TooMany {
        /// The number of items.
        found: usize,
        /// The maximum number of items.
        limit: usize,
    },
}

fn bounded(found: usize, limit: usize) -> Result<(), MessageError> {
    if found > limit {
        Err(MessageError::TooMany { found, limit })
    } else {
        Ok(())
    }
}

/// Decodes all of these bytes with `read`.
fn decode<T>(
    bytes: &[u8],
    limit: usize,
    read: impl FnOnce(&mut &[u8]) -> IoResult<T>,
) -> Result<T, MessageError> {
    let found = bytes.len();
    if found > limit {
        return Err(MessageError::TooLong { found, limit });
    }
    let mut rest = bytes;
    match read(&mut rest) {
        Ok(value) if rest.is_empty() => Ok(value),
        _ => Err(MessageError::Malformed),
    }
}

fn unknown_kind() -> IoError {
    IoError::new(ErrorKind::InvalidData, "no kind of message")
}

fn encode<T: BorshSerialize>(value: &T) -> Vec<u8> {
    // Writing into a vector cannot fail. If it did, the result would be an empty message, which no peer accepts.
    borsh::to_vec(value).unwrap_or_default()
}

/// The length of an encoding, which is counted without keeping a byte.
fn encoded_len<T: BorshSerialize>(value: &T) -> usize {
    // Counting cannot fail. If it did, the message would exceed every limit.
    borsh::object_length(value).unwrap_or(usize::MAX)
}

impl StatusMessage {
    fn read(form: ReadingForm, bytes: &mut &[u8]) -> IoResult<Self> {
        Ok(Self {
            tip: BorshDeserialize::deserialize(bytes)?,
            index: BorshDeserialize::deserialize(bytes)?,
            total_work: BorshDeserialize::deserialize(bytes)?,
            now: BorshDeserialize::deserialize(bytes)?,
            binding: bool::deserialize(bytes)?
                .then(|| Binding::deserialize(form, bytes))
                .transpose()?,
        })
    }
}

impl Request {
    /// Length of the encoding in bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        encoded_len(self)
    }

    /// Encodes the request.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Decodes a request in a room whose readings have this form.
    ///
    /// # Errors
    /// Fails if the bytes are not a request within the limits.
    pub fn decode(form: ReadingForm, bytes: &[u8]) -> Result<Self, MessageError> {
        let request = decode(bytes, MAX_REQUEST_LEN, |bytes| Self::read(form, bytes))?;
        match &request {
            Self::Status(_) | Self::MempoolIds { .. } | Self::Profiles { .. } => {}
            Self::Headers { locator } => bounded(locator.len(), MAX_LOCATOR)?,
            Self::Bodies { hashes } => bounded(hashes.len(), MAX_BODIES)?,
            Self::Readings { ids } => bounded(ids.len(), MAX_READINGS)?,
        }
        Ok(request)
    }

    /// Reads what [`Self::encode`] wrote.
    fn read(form: ReadingForm, bytes: &mut &[u8]) -> IoResult<Self> {
        Ok(match u8::deserialize(bytes)? {
            0 => Self::Status(StatusMessage::read(form, bytes)?),
            1 => Self::Headers {
                locator: BorshDeserialize::deserialize(bytes)?,
            },
            2 => Self::Bodies {
                hashes: BorshDeserialize::deserialize(bytes)?,
            },
            3 => Self::MempoolIds {
                after: BorshDeserialize::deserialize(bytes)?,
            },
            4 => Self::Readings {
                ids: BorshDeserialize::deserialize(bytes)?,
            },
            5 => Self::Profiles {
                after: BorshDeserialize::deserialize(bytes)?,
            },
            _ => return Err(unknown_kind()),
        })
    }
}

impl Response {
    /// Length of the encoding in bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        encoded_len(self)
    }

    /// Encodes the answer.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Decodes an answer in a room whose readings have this form.
    ///
    /// # Errors
    /// Fails if the bytes are not an answer within the limits.
    pub fn decode(form: ReadingForm, bytes: &[u8]) -> Result<Self, MessageError> {
        let response = decode(bytes, MAX_RESPONSE_LEN, |bytes| Self::read(form, bytes))?;
        match &response {
            Self::Status(_) => {}
            Self::Headers(headers) => bounded(headers.len(), MAX_HEADERS)?,
            Self::Bodies(bodies) => {
                bounded(bodies.len(), MAX_BODIES)?;
                for readings in bodies.iter().flatten() {
                    bounded(readings.len(), MAX_BLOCK_READINGS)?;
                }
            }
            Self::MempoolIds(rows) => bounded(rows.len(), MAX_IDS)?,
            Self::Readings(readings) => bounded(readings.len(), MAX_READINGS)?,
            Self::Profiles(profiles) => bounded(profiles.len(), MAX_LISTED_PROFILES)?,
        }
        Ok(response)
    }

    /// Reads what [`Self::encode`] wrote.
    fn read(form: ReadingForm, bytes: &mut &[u8]) -> IoResult<Self> {
        Ok(match u8::deserialize(bytes)? {
            0 => Self::Status(StatusMessage::read(form, bytes)?),
            1 => Self::Headers(BorshDeserialize::deserialize(bytes)?),
            2 => Self::Bodies(read_list(bytes, |bytes| {
                let has_body = bool::deserialize(bytes)?;
                has_body.then(|| read_readings(form, bytes)).transpose()
            })?),
            3 => Self::MempoolIds(BorshDeserialize::deserialize(bytes)?),
            4 => Self::Readings(read_readings(form, bytes)?),
            5 => Self::Profiles(read_list(bytes, |bytes| Profile::deserialize(form, bytes))?),
            _ => return Err(unknown_kind()),
        })
    }
}

fn read_readings(form: ReadingForm, bytes: &mut &[u8]) -> IoResult<Vec<Reading>> {
    read_list(bytes, |bytes| Reading::deserialize(form, bytes))
}

/// Reads a list. It grows with the bytes that are there, because its length is only a claim of the sender.
fn read_list<T>(
    bytes: &mut &[u8],
    mut read: impl FnMut(&mut &[u8]) -> IoResult<T>,
) -> IoResult<Vec<T>> {
    let len = u32::deserialize(bytes)?;
    let mut list = Vec::new();
    for _ in 0..len {
        list.push(read(bytes)?);
    }
    Ok(list)
}
