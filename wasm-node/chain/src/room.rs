//! Rooms: each is one chain, and its genesis follows from its parameters alone, so all peers that open the same link
//! start from the same genesis. This module never changes a name; the page normalizes what users type.
//!
//! An open room is found by its name, and everyone who knows the name can read it. A private room has a key instead, of
//! which its parameters contain only a hash: its id cannot be guessed, and does not help to read it. Specified in
//! docs/chain.md, "Rooms".

use alloc::{string::String, vec::Vec};
use core::fmt;

use borsh::BorshSerialize;
use sha2::{Digest, Sha256};
use thiserror::Error;
use unicode_normalization::is_nfc;

use crate::{
    bpm::Bpm,
    content::{Content, Measurement, ReadingForm, SealedContent, UnreadableError},
    hash::{BlockHash, RoomId},
    header::{HEADER_VERSION, Header},
    key::{Author, SecretKey},
    merkle::readings_root,
    reading::Reading,
    room_key::{Ciphers, KeyCommitment, Purpose, RoomKey},
    time::{MAX_READING_TIME, UnixMillis},
    work::Target,
};

/// Prefix of the bytes whose hash is genesis' `prev_hash`. A change of any consensus rule raises the number.
const GENESIS_TAG: &[u8] = b"heartchain/genesis/2";

/// Length of what is sealed of a reading: time and heart rate.
const PLAIN_READING_LEN: usize = 8 + 2;

/// Maximum length of a room's name in bytes: short enough for a link and for one line on a phone.
pub const MAX_ROOM_NAME_LEN: usize = 64;
/// Minimum of the floor in bits: 256 tries a block.
pub const MIN_FLOOR_BITS: u8 = 8;
/// Maximum of the floor in bits: 2^64 tries a block.
pub const MAX_FLOOR_BITS: u8 = 64;
/// Default floor in bits: 65,536 tries a block, a fraction of a second on a phone.
pub const DEFAULT_FLOOR_BITS: u8 = 16;
/// Minimum of the target block interval, in milliseconds.
pub const MIN_BLOCK_INTERVAL_MS: u64 = 100;
/// Maximum of the target block interval, in milliseconds.
pub const MAX_BLOCK_INTERVAL_MS: u64 = 600_000;
/// Default of the target block interval, in milliseconds.
pub const DEFAULT_BLOCK_INTERVAL_MS: u64 = 1000;

/// A room's name: 1 to [`MAX_ROOM_NAME_LEN`] bytes of UTF-8, trimmed, in Unicode normal form C.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize)]
pub struct RoomName(String);

/// Why a text is not a valid room name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the field names say it")]
pub enum RoomNameError {
    /// The name has no characters.
    #[error("a room name has at least one character")]
    Empty,
    /// The name is longer than [`MAX_ROOM_NAME_LEN`].
    #[error("a room name of {found} bytes is longer than {max}")]
    TooLong { found: usize, max: usize },
    /// The name begins or ends with white space.
    #[error("room name {name:?} begins or ends with white space")]
    NotTrimmed { name: String },
    /// The name is not in Unicode normal form C, so there is another encoding of the same characters.
    #[error("room name {name:?} is not in Unicode normal form C")]
    NotNormalized { name: String },
}

impl RoomName {
    /// Accepts a valid name unchanged.
    ///
    /// # Errors
    /// If it is empty, too long, not trimmed or not in normal form C.
    pub fn new(name: &str) -> Result<Self, RoomNameError> {
        Self::with_nfc_check(name, is_nfc)
    }

    /// Like [`Self::new`], with the caller's check for normal form C: Unicode's tables are large, and a browser has its
    /// own. `is_nfc` is called only for names that are not ASCII, because ASCII is always in normal form C.
    ///
    /// # Errors
    /// If it is empty, too long, not trimmed or not in normal form C.
    pub fn with_nfc_check(
        name: &str,
        is_nfc: impl FnOnce(&str) -> bool,
    ) -> Result<Self, RoomNameError> {
        if name.is_empty() {
            return Err(RoomNameError::Empty);
        }
        if name.len() > MAX_ROOM_NAME_LEN {
            return Err(RoomNameError::TooLong {
                found: name.len(),
                max: MAX_ROOM_NAME_LEN,
            });
        }
        if name.trim() != name {
            return Err(RoomNameError::NotTrimmed { name: name.into() });
        }
        if !name.is_ascii() && !is_nfc(name) {
            return Err(RoomNameError::NotNormalized { name: name.into() });
        }
        Ok(Self(name.into()))
    }

    /// The name as a string slice.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who can read a room.
#[derive(Clone, Debug, PartialEq, Eq, Hash, BorshSerialize)]
pub enum RoomKind {
    /// Everyone who knows its name.
    Open {
        /// The name, which people see and share.
        name: RoomName,
    },
    /// Everyone who has its key.
    Private {
        /// The hash of the key.
        commitment: KeyCommitment,
    },
}

impl From<RoomName> for RoomKind {
    fn from(name: RoomName) -> Self {
        Self::Open { name }
    }
}

impl From<&RoomKey> for RoomKind {
    fn from(key: &RoomKey) -> Self {
        let commitment = key.commitment();
        Self::Private { commitment }
    }
}

/// The parameters of a room, which determine its genesis.
#[derive(Clone, Debug, PartialEq, Eq, Hash, BorshSerialize)]
pub struct RoomParams {
    kind: RoomKind,
    floor_bits: u8,
    block_interval_ms: u64,
}

/// Why numbers are not valid parameters of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the field names say it")]
pub enum RoomParamsError {
    /// Blocks would be too easy or too hard.
    #[error("floor of {found} bits is not within {MIN_FLOOR_BITS} to {MAX_FLOOR_BITS}")]
    FloorBits { found: u8 },
    /// Blocks would come too fast or too slowly.
    #[error(
        "block interval of {found} ms is not within {MIN_BLOCK_INTERVAL_MS} to {MAX_BLOCK_INTERVAL_MS} ms"
    )]
    BlockInterval { found: u64 },
}

impl RoomParams {
    /// Checks and combines the parameters.
    ///
    /// # Errors
    /// If a number is out of bounds.
    pub fn new(
        kind: impl Into<RoomKind>,
        floor_bits: u8,
        block_interval_ms: u64,
    ) -> Result<Self, RoomParamsError> {
        if !(MIN_FLOOR_BITS..=MAX_FLOOR_BITS).contains(&floor_bits) {
            return Err(RoomParamsError::FloorBits { found: floor_bits });
        }
        if !(MIN_BLOCK_INTERVAL_MS..=MAX_BLOCK_INTERVAL_MS).contains(&block_interval_ms) {
            return Err(RoomParamsError::BlockInterval {
                found: block_interval_ms,
            });
        }
        Ok(Self {
            kind: kind.into(),
            floor_bits,
            block_interval_ms,
        })
    }

    /// The parameters of a room for which no others were chosen.
    #[must_use]
    pub fn with_defaults(kind: impl Into<RoomKind>) -> Self {
        Self {
            kind: kind.into(),
            floor_bits: DEFAULT_FLOOR_BITS,
            block_interval_ms: DEFAULT_BLOCK_INTERVAL_MS,
        }
    }

    /// Who can read the room.
    #[must_use]
    pub const fn kind(&self) -> &RoomKind {
        &self.kind
    }

    /// The name of an open room, which people see and share. A private room has none.
    #[must_use]
    pub const fn name(&self) -> Option<&RoomName> {
        match &self.kind {
            RoomKind::Open { name } => Some(name),
            RoomKind::Private { .. } => None,
        }
    }

    /// The floor in bits: the easiest target is 2^(256 - `floor_bits`).
    #[must_use]
    pub const fn floor_bits(&self) -> u8 {
        self.floor_bits
    }

    /// The time between blocks that the difficulty rule aims at, in milliseconds.
    #[must_use]
    pub const fn block_interval_ms(&self) -> u64 {
        self.block_interval_ms
    }

    /// The borsh encoding. Genesis' `prev_hash` is computed from it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self {
            kind,
            floor_bits,
            block_interval_ms,
        } = self;
        let mut bytes = Vec::new();
        match kind {
            RoomKind::Open { name } => {
                let name = name.as_str().as_bytes();
                // A name has at most MAX_ROOM_NAME_LEN bytes.
                let len = u32::try_from(name.len()).unwrap_or(u32::MAX);
                bytes.push(0);
                bytes.extend_from_slice(&len.to_le_bytes());
                bytes.extend_from_slice(name);
            }
            RoomKind::Private { commitment } => {
                bytes.push(1);
                bytes.extend_from_slice(commitment.as_bytes());
            }
        }
        bytes.push(*floor_bits);
        bytes.extend_from_slice(&block_interval_ms.to_le_bytes());
        bytes
    }
}

/// A room: its parameters, the genesis derived from them, and its key if it is private and the key is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    params: RoomParams,
    genesis: Header,
    genesis_hash: BlockHash,
    floor: Target,
    ciphers: Option<Ciphers>,
}

/// The key is that of another room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the key is not that of this room")]
pub struct WrongKeyError;

impl Room {
    /// Derives the genesis from the parameters. A private room cannot be read before it is [unlocked](Self::unlock).
    #[must_use]
    pub fn new(params: RoomParams) -> Self {
        let floor = Target::from_floor_bits(params.floor_bits);
        let seed = Sha256::new()
            .chain_update(GENESIS_TAG)
            .chain_update(params.to_bytes())
            .finalize();
        let genesis = Header {
            version: HEADER_VERSION,
            index: 0,
            time: UnixMillis::new(0),
            prev_hash: BlockHash::new(seed.into()),
            readings_root: readings_root(&[]),
            bits: floor.to_compact(),
            nonce: 0,
        };
        Self {
            params,
            genesis,
            genesis_hash: genesis.hash(),
            floor,
            ciphers: None,
        }
    }

    /// The private room with this key and default parameters.
    #[must_use]
    pub fn private(key: RoomKey) -> Self {
        let room = Self::new(RoomParams::with_defaults(&key));
        let ciphers = Some(Ciphers::new(key, room.genesis_hash));
        Self { ciphers, ..room }
    }

    /// The same room with its key, so that its readings can be read and signed.
    ///
    /// # Errors
    /// If the key is not that of this room. An open room has no key.
    pub fn unlock(self, key: RoomKey) -> Result<Self, WrongKeyError> {
        if self.params.kind != RoomKind::from(&key) {
            return Err(WrongKeyError);
        }
        let ciphers = Some(Ciphers::new(key, self.genesis_hash));
        Ok(Self { ciphers, ..self })
    }

    /// The identifier of the room: its genesis hash.
    #[must_use]
    pub const fn id(&self) -> RoomId {
        RoomId::new(*self.genesis_hash.as_bytes())
    }

    /// The first header of the chain. It needs no work and adds none.
    #[must_use]
    pub const fn genesis(&self) -> &Header {
        &self.genesis
    }

    /// The hash of the genesis header.
    #[must_use]
    pub const fn genesis_hash(&self) -> BlockHash {
        self.genesis_hash
    }

    /// The parameters that the room was derived from.
    #[must_use]
    pub const fn params(&self) -> &RoomParams {
        &self.params
    }

    /// The form of all readings of the room.
    #[must_use]
    pub const fn form(&self) -> ReadingForm {
        match self.params.kind {
            RoomKind::Open { .. } => ReadingForm::Open,
            RoomKind::Private { .. } => ReadingForm::Sealed,
        }
    }

    /// The key of a private room, if it is known here.
    #[must_use]
    pub fn key(&self) -> Option<&RoomKey> {
        self.ciphers.as_ref().map(Ciphers::key)
    }

    pub(crate) const fn ciphers(&self) -> Option<&Ciphers> {
        self.ciphers.as_ref()
    }

    /// Whether readings can be read and signed here: the room is open, or its key is known.
    #[must_use]
    pub const fn is_member(&self) -> bool {
        matches!(self.form(), ReadingForm::Open) || self.ciphers.is_some()
    }

    /// Whether only peers that prove that they have the room's key count as members here: the room is private, and its key is known.
    #[must_use]
    pub const fn requires_proof(&self) -> bool {
        self.ciphers.is_some()
    }

    /// The content of an author's reading, sealed if the room is private. `None` if its key is not known here.
    #[must_use]
    pub fn seal(
        &self,
        author: &Author,
        seq: u64,
        Measurement { time, bpm }: Measurement,
    ) -> Option<Content> {
        if self.form() == ReadingForm::Open {
            return Some(Content::open(time, bpm));
        }
        let plain = [&time.get().to_le_bytes()[..], &bpm.get().to_le_bytes()].concat();
        let sealed = self.ciphers()?.seal(Purpose::Reading(author, seq), &plain);
        Some(Content::Sealed(SealedContent::new(sealed)))
    }

    /// What a reading says.
    ///
    /// # Errors
    /// If it is sealed and cannot be opened with the key that is known here, or if what it says is out of range.
    pub fn open(&self, reading: &Reading) -> Result<Measurement, UnreadableError> {
        let (time, bpm) = match (self.form(), &reading.content) {
            (ReadingForm::Open, Content::Open { time, bpm }) => (*time, *bpm),
            (ReadingForm::Sealed, Content::Sealed(sealed)) => {
                let ciphers = self.ciphers().ok_or(UnreadableError::NoKey)?;
                let purpose = Purpose::Reading(&reading.author, reading.seq);
                let plain = ciphers.open::<PLAIN_READING_LEN>(purpose, sealed.as_bytes());
                let [time @ .., low, high] = plain.ok_or(UnreadableError::Seal)?;
                let time = UnixMillis::new(u64::from_le_bytes(time));
                (time, u16::from_le_bytes([low, high]))
            }
            (ReadingForm::Open, Content::Sealed(_))
            | (ReadingForm::Sealed, Content::Open { .. }) => return Err(UnreadableError::Range),
        };
        let bpm = Bpm::new(bpm).map_err(|_| UnreadableError::Range)?;
        if time > MAX_READING_TIME {
            return Err(UnreadableError::Range);
        }
        Ok(Measurement { time, bpm })
    }

    /// Signs a reading. The caller ensures that the room accepts `seq` and the time. `None` in a private room whose key
    /// is not known here.
    #[must_use]
    pub fn sign(&self, key: &SecretKey, seq: u64, measurement: Measurement) -> Option<Reading> {
        let content = self.seal(&key.author(), seq, measurement)?;
        Some(key.sign_content(self.id(), seq, content))
    }

    /// The floor: the easiest target that a block may have.
    #[must_use]
    pub const fn floor(&self) -> Target {
        self.floor
    }

    /// The time between blocks that the difficulty rule aims at, in milliseconds.
    #[must_use]
    pub const fn block_interval_ms(&self) -> u64 {
        self.params.block_interval_ms
    }
}

/// An open and a private room, whose keys are known.
#[cfg(test)]
pub(crate) fn rooms_of_both_kinds() -> [Room; 2] {
    let name = RoomName::new("open").expect("a room name");
    let open = Room::new(RoomParams::with_defaults(name));
    [open, Room::private(RoomKey::new([3; 32]))]
}

#[cfg(test)]
mod tests;
