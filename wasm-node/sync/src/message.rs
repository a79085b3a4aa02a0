//! What peers say to one another in the sync protocol, as bytes.
//!
//! borsh inside, one message a stream and direction (PROTOCOLS.md, "Sync"). Decoding is strict and bounded:
//! nothing is allocated that the bytes at hand could not hold.

use alloc::vec::Vec;

use borsh::{BorshDeserialize, BorshSerialize};
use chain::{
    block::MAX_BLOCK_READINGS,
    hash::{BlockHash, ReadingId},
    header::Header,
    key::Author,
    reading::Reading,
    time::UnixMillis,
    tree::MAX_LOCATOR,
    work::Work,
};

/// Headers in one answer: 186,000 bytes.
pub const MAX_HEADERS: usize = 2_000;
/// Blocks asked for in one request.
pub const MAX_BODIES: usize = 512;
/// Bytes of bodies in one answer: as many as fit are sent, at least one.
pub const MAX_BODIES_LEN: usize = 1024 * 1024;
/// Rows of a mempool listing in one answer: 590 KB.
pub const MAX_IDS: usize = 8_192;
/// Readings asked for in one request: an answer of 233 KB.
pub const MAX_READINGS: usize = 2_048;
/// The longest request: a full [`Request::Readings`].
pub const MAX_REQUEST_LEN: usize = 1 + 4 + MAX_READINGS * 32;
/// The longest answer: a full [`Response::Bodies`].
pub const MAX_RESPONSE_LEN: usize = 1 + 4 + MAX_BODIES_LEN + MAX_BODIES;

/// What a peer says of itself: of its fully validated best branch only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct StatusMessage {
    /// Its best tip.
    pub tip: BlockHash,
    /// The tip's height.
    pub index: u64,
    /// The tip's total work.
    pub total_work: Work,
    /// Its clock.
    pub now: UnixMillis,
}

/// A row of a mempool listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct IdRow {
    /// Who.
    pub author: Author,
    /// The reading's place in the author's count.
    pub seq: u64,
    /// Its id.
    pub id: ReadingId,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Request {
    /// Here is my status, give me yours.
    Status(StatusMessage),
    /// Headers of your best branch above the first of these that is on it.
    Headers {
        /// At most [`MAX_LOCATOR`] hashes, newest first.
        locator: Vec<BlockHash>,
    },
    /// The bodies of these blocks.
    Bodies {
        /// At most [`MAX_BODIES`].
        hashes: Vec<BlockHash>,
    },
    /// What waits in your mempool, in order, from behind this place on.
    MempoolIds {
        /// `None`: from the beginning.
        after: Option<(Author, u64)>,
    },
    /// These readings.
    Readings {
        /// At most [`MAX_READINGS`].
        ids: Vec<ReadingId>,
    },
}

/// An answer; its kind is that of the request.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Response {
    /// To [`Request::Status`].
    Status(StatusMessage),
    /// To [`Request::Headers`]: at most [`MAX_HEADERS`].
    Headers(Vec<Header>),
    /// To [`Request::Bodies`]: a prefix of what was asked; `None` where this peer has none.
    Bodies(Vec<Option<Vec<Reading>>>),
    /// To [`Request::MempoolIds`]: at most [`MAX_IDS`], in order.
    MempoolIds(Vec<IdRow>),
    /// To [`Request::Readings`]: those this peer has.
    Readings(Vec<Reading>),
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Longer than any message of its kind.
    #[error("{found} bytes, at most {limit} allowed")]
    TooLong {
        /// Its length.
        found: usize,
        /// The bound.
        limit: usize,
    },
    /// Not what an encoder makes.
    #[error("bytes that do not decode")]
    Malformed,
    /// More items than allowed.
    #[error("{found} items, at most {limit} allowed")]
    TooMany {
        /// How many.
        found: usize,
        /// The bound.
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

fn decode<T: BorshDeserialize>(bytes: &[u8], limit: usize) -> Result<T, MessageError> {
    if bytes.len() > limit {
        return Err(MessageError::TooLong {
            found: bytes.len(),
            limit,
        });
    }
    borsh::from_slice(bytes).map_err(|_| MessageError::Malformed)
}

fn encode<T: BorshSerialize>(value: &T) -> Vec<u8> {
    // Writing into a vector cannot fail; an empty message, which no peer accepts, stands for the impossible.
    borsh::to_vec(value).unwrap_or_default()
}

impl Request {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// A request from its bytes.
    ///
    /// # Errors
    /// When they are no request within the bounds.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let request: Self = decode(bytes, MAX_REQUEST_LEN)?;
        match &request {
            Self::Status(_) | Self::MempoolIds { .. } => {}
            Self::Headers { locator } => bounded(locator.len(), MAX_LOCATOR)?,
            Self::Bodies { hashes } => bounded(hashes.len(), MAX_BODIES)?,
            Self::Readings { ids } => bounded(ids.len(), MAX_READINGS)?,
        }
        Ok(request)
    }
}

impl Response {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// An answer from its bytes.
    ///
    /// # Errors
    /// When they are no answer within the bounds.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let response: Self = decode(bytes, MAX_RESPONSE_LEN)?;
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
        }
        Ok(response)
    }
}
