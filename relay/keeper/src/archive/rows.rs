//! The rows of an export (wasm-node/EXPORT.md): how blocks, readings and names are written as JSON and read again. The
//! fields are in the order in which the page writes them. Checks what a row claims; the rules are checked elsewhere.

use core::str::FromStr;

use heartchain_chain::{
    block::Block,
    content::{Content, ReadingForm},
    hash::{BlockHash, ParseHexError, ReadingId, RoomId},
    header::{HEADER_VERSION, Header},
    profile::{Profile, ProfileContent, ProfileName, ProfileNameError},
    reading::Reading,
    room::{Room, RoomKind, RoomName, RoomNameError, RoomParams, RoomParamsError},
    time::UnixMillis,
    work::CompactTarget,
};
use serde::{Deserialize, Serialize};

/// The value of the field `format`.
pub(crate) const FORMAT: &str = "heartchain/export/2";

/// The first fields of a document.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Head {
    pub(crate) format: String,
    pub(crate) exported_at: u64,
    pub(crate) room: RoomRow,
    pub(crate) tip: TipRow,
    pub(crate) total_work: String,
}

/// The parameters of the room, and its genesis hash.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoomRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) commitment: Option<String>,
    floor_bits: u8,
    block_interval_ms: u64,
    pub(crate) genesis: String,
}

/// The tip of the best branch.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TipRow {
    pub(crate) index: u64,
    pub(crate) hash: String,
}

/// A block with its hash and its readings.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlockRow {
    index: u64,
    time: u64,
    prev_hash: String,
    hash: String,
    readings_root: String,
    bits: u32,
    nonce: String,
    readings: Vec<ReadingRow>,
}

/// A reading, in a block or waiting for one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReadingRow {
    id: String,
    author: String,
    seq: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bpm: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
    signature: String,
}

/// The name of an author.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ProfileRow {
    author: String,
    revision: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
    signature: String,
}

/// Why a row is not what it claims to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// A field is not valid hexadecimal.
    #[error("its {field} is not valid: {source}")]
    Hex {
        /// The name of the field.
        field: &'static str,
        /// What is wrong with its digits.
        source: ParseHexError,
    },
    /// A field is missing.
    #[error("it has no {field}")]
    Missing {
        /// The name of the field.
        field: &'static str,
    },
    /// The nonce is not a decimal number below 2^64.
    #[error("its nonce must be decimal digits, below 2^64")]
    Nonce,
    /// The hash or the id differs from that of the content.
    #[error("it was altered: its {field} does not match its content")]
    Altered {
        /// The name of the field.
        field: &'static str,
    },
    /// The name of an author breaks a rule.
    #[error(transparent)]
    Name(#[from] ProfileNameError),
    /// The name of the room breaks a rule.
    #[error(transparent)]
    RoomName(#[from] RoomNameError),
    /// A parameter of the room is out of bounds.
    #[error(transparent)]
    RoomParams(#[from] RoomParamsError),
}

impl RoomRow {
    pub(crate) fn new(room: &Room) -> Self {
        let params = room.params();
        Self {
            name: params.name().map(ToString::to_string),
            commitment: match params.kind() {
                RoomKind::Open { .. } => None,
                RoomKind::Private { commitment } => Some(commitment.to_string()),
            },
            floor_bits: params.floor_bits(),
            block_interval_ms: params.block_interval_ms(),
            genesis: room.genesis_hash().to_string(),
        }
    }

    /// The room that follows from the parameters. Its key, if it is private, is not known.
    pub(crate) fn room(&self) -> Result<Room, RowError> {
        let kind = match (&self.name, &self.commitment) {
            (Some(name), None) => RoomKind::from(RoomName::new(name)?),
            (None, Some(commitment)) => RoomKind::Private {
                commitment: hex("commitment", commitment)?,
            },
            (Some(_), Some(_)) | (None, None) => {
                return Err(RowError::Missing {
                    field: "room's name or commitment",
                });
            }
        };
        let params = RoomParams::new(kind, self.floor_bits, self.block_interval_ms)?;
        let room = Room::new(params);
        match hex::<BlockHash>("genesis", &self.genesis)? == room.genesis_hash() {
            true => Ok(room),
            false => Err(RowError::Altered { field: "genesis" }),
        }
    }
}

impl BlockRow {
    pub(crate) fn new(room: RoomId, hash: &BlockHash, block: &Block) -> Self {
        let header = &block.header;
        let readings = block.readings.iter();
        Self {
            index: header.index,
            time: header.time.get(),
            prev_hash: header.prev_hash.to_string(),
            hash: hash.to_string(),
            readings_root: header.readings_root.to_string(),
            bits: header.bits.to_bits(),
            nonce: header.nonce.to_string(),
            readings: readings
                .map(|reading| ReadingRow::new(room, reading))
                .collect(),
        }
    }

    /// The block, whose hash and whose readings' ids are as claimed.
    pub(crate) fn block(&self, room: &Room) -> Result<Block, RowError> {
        let header = Header {
            version: HEADER_VERSION,
            index: self.index,
            time: UnixMillis::new(self.time),
            prev_hash: hex("prevHash", &self.prev_hash)?,
            readings_root: hex("readingsRoot", &self.readings_root)?,
            bits: CompactTarget::from_bits(self.bits),
            nonce: self.nonce.parse().map_err(|_| RowError::Nonce)?,
        };
        if header.hash() != hex("hash", &self.hash)? {
            return Err(RowError::Altered { field: "hash" });
        }
        let readings = self.readings.iter().map(|row| row.reading(room));
        Ok(Block {
            header,
            readings: readings.collect::<Result<_, _>>()?,
        })
    }
}

impl ReadingRow {
    pub(crate) fn new(room: RoomId, reading: &Reading) -> Self {
        let (time, bpm, sealed) = match &reading.content {
            Content::Open { time, bpm } => (Some(time.get()), Some(*bpm), None),
            Content::Sealed(sealed) => (None, None, Some(sealed.to_string())),
        };
        Self {
            id: reading.id(room).to_string(),
            author: reading.author.to_string(),
            seq: reading.seq,
            time,
            bpm,
            sealed,
            signature: reading.signature.to_string(),
        }
    }

    /// The reading, whose id is as claimed.
    pub(crate) fn reading(&self, room: &Room) -> Result<Reading, RowError> {
        let missing = |field| RowError::Missing { field };
        let content = match room.form() {
            ReadingForm::Open => Content::Open {
                time: UnixMillis::new(self.time.ok_or(missing("time"))?),
                bpm: self.bpm.ok_or(missing("bpm"))?,
            },
            ReadingForm::Sealed => {
                let sealed = self.sealed.as_ref().ok_or(missing("sealed"))?;
                Content::Sealed(hex("sealed", sealed)?)
            }
        };
        let reading = Reading {
            author: hex("author", &self.author)?,
            seq: self.seq,
            content,
            signature: hex("signature", &self.signature)?,
        };
        match hex::<ReadingId>("id", &self.id)? == reading.id(room.id()) {
            true => Ok(reading),
            false => Err(RowError::Altered { field: "id" }),
        }
    }
}

impl ProfileRow {
    pub(crate) fn new(profile: &Profile) -> Self {
        let (name, sealed) = match &profile.content {
            ProfileContent::Open(name) => (Some(name.to_string()), None),
            ProfileContent::Sealed(sealed) => (None, Some(sealed.to_string())),
        };
        Self {
            author: profile.author.to_string(),
            revision: profile.revision.get(),
            name,
            sealed,
            signature: profile.signature.to_string(),
        }
    }

    pub(crate) fn profile(&self, room: &Room) -> Result<Profile, RowError> {
        let missing = |field| RowError::Missing { field };
        let content = match room.form() {
            ReadingForm::Open => {
                let name = self.name.as_ref().ok_or(missing("name"))?;
                ProfileContent::Open(ProfileName::new(name)?)
            }
            ReadingForm::Sealed => {
                let sealed = self.sealed.as_ref().ok_or(missing("sealed"))?;
                ProfileContent::Sealed(hex("sealed", sealed)?)
            }
        };
        Ok(Profile {
            author: hex("author", &self.author)?,
            revision: UnixMillis::new(self.revision),
            content,
            signature: hex("signature", &self.signature)?,
        })
    }
}

fn hex<T: FromStr<Err = ParseHexError>>(field: &'static str, text: &str) -> Result<T, RowError> {
    text.parse()
        .map_err(|source| RowError::Hex { field, source })
}
