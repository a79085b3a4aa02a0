//! A room: one chain, whose genesis follows from its parameters alone, so that all who open one link start from one
//! genesis. It never alters a name; the page normalises what people type.

use alloc::{string::String, vec::Vec};
use core::fmt;

use borsh::BorshSerialize;
use sha2::{Digest, Sha256};
use thiserror::Error;
use unicode_normalization::is_nfc;

use crate::{
    hash::{BlockHash, RoomId},
    header::{HEADER_VERSION, Header},
    merkle::readings_root,
    time::UnixMillis,
    work::Target,
};

/// Opens what genesis' `prev_hash` is the hash of. A change of any rule raises the number.
const GENESIS_TAG: &[u8] = b"heartchain/genesis/1";

/// Most bytes of a room's name: short enough for a link and a line on a phone.
pub const MAX_ROOM_NAME_LEN: usize = 64;
/// The easiest floor: 256 tries a block.
pub const MIN_FLOOR_BITS: u8 = 8;
/// The hardest floor: 2^64 tries a block.
pub const MAX_FLOOR_BITS: u8 = 64;
/// The floor of a room that asks for none: 65,536 tries, a fraction of a second on a phone.
pub const DEFAULT_FLOOR_BITS: u8 = 16;
/// The shortest time between blocks to aim at, in milliseconds.
pub const MIN_BLOCK_INTERVAL_MS: u64 = 100;
/// The longest time between blocks to aim at, in milliseconds.
pub const MAX_BLOCK_INTERVAL_MS: u64 = 600_000;
/// The time between blocks of a room that asks for none, in milliseconds.
pub const DEFAULT_BLOCK_INTERVAL_MS: u64 = 1000;

/// A room's name: 1 to [`MAX_ROOM_NAME_LEN`] bytes of UTF-8, trimmed, in Unicode normal form C.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize)]
pub struct RoomName(String);

/// Why a text is no room name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RoomNameError {
    /// Nothing was given.
    #[error("a room name has at least one character")]
    Empty,
    /// Too many bytes.
    #[error("a room name of {found} bytes is longer than {max}")]
    TooLong {
        /// Bytes found.
        found: usize,
        /// [`MAX_ROOM_NAME_LEN`].
        max: usize,
    },
    /// White space stands at an end.
    #[error("room name {name:?} begins or ends with white space")]
    NotTrimmed {
        /// The name given.
        name: String,
    },
    /// The same letters have another spelling, which is the one to use.
    #[error("room name {name:?} is not in Unicode normal form C")]
    NotNormalized {
        /// The name given.
        name: String,
    },
}

impl RoomName {
    /// Takes a name as it is, or not at all.
    ///
    /// # Errors
    /// If it is empty, too long, not trimmed or not in normal form C.
    pub fn new(name: &str) -> Result<Self, RoomNameError> {
        Self::judged_by(name, is_nfc)
    }

    /// As [`Self::new`], but `is_nfc` says whether a text is in normal form C: Unicode's tables are large, and a browser
    /// has its own. It is asked of what is not ASCII only, which always is.
    ///
    /// # Errors
    /// If it is empty, too long, not trimmed or not in normal form C.
    pub fn judged_by(name: &str, is_nfc: impl FnOnce(&str) -> bool) -> Result<Self, RoomNameError> {
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

    /// The name.
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

/// All that a room's genesis follows from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, BorshSerialize)]
pub struct RoomParams {
    name: RoomName,
    floor_bits: u8,
    block_interval_ms: u64,
}

/// Why numbers are no room's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RoomParamsError {
    /// Blocks would be too easy or too hard.
    #[error("floor of {found} bits is not within {MIN_FLOOR_BITS} to {MAX_FLOOR_BITS}")]
    FloorBits {
        /// The number given.
        found: u8,
    },
    /// Blocks would come too fast or too slowly.
    #[error(
        "block interval of {found} ms is not within {MIN_BLOCK_INTERVAL_MS} to {MAX_BLOCK_INTERVAL_MS} ms"
    )]
    BlockInterval {
        /// The number given, in milliseconds.
        found: u64,
    },
}

impl RoomParams {
    /// Parameters of a room.
    ///
    /// # Errors
    /// If a number is out of its bounds.
    pub fn new(
        name: RoomName,
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
            name,
            floor_bits,
            block_interval_ms,
        })
    }

    /// Parameters of a room that asks for nothing in particular.
    #[must_use]
    pub const fn with_defaults(name: RoomName) -> Self {
        Self {
            name,
            floor_bits: DEFAULT_FLOOR_BITS,
            block_interval_ms: DEFAULT_BLOCK_INTERVAL_MS,
        }
    }

    /// The room's name.
    #[must_use]
    pub const fn name(&self) -> &RoomName {
        &self.name
    }

    /// The easiest target is 2^(256 - this).
    #[must_use]
    pub const fn floor_bits(&self) -> u8 {
        self.floor_bits
    }

    /// Time between blocks that the difficulty aims at, in milliseconds.
    #[must_use]
    pub const fn block_interval_ms(&self) -> u64 {
        self.block_interval_ms
    }

    /// The borsh encoding: what genesis' `prev_hash` is made from.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self {
            name,
            floor_bits,
            block_interval_ms,
        } = self;
        let name = name.as_str().as_bytes();
        // A name has at most MAX_ROOM_NAME_LEN bytes.
        let len = u32::try_from(name.len()).unwrap_or(u32::MAX);
        [
            &len.to_le_bytes(),
            name,
            &[*floor_bits],
            &block_interval_ms.to_le_bytes(),
        ]
        .concat()
    }
}

/// A room with its genesis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    params: RoomParams,
    genesis: Header,
    genesis_hash: BlockHash,
    floor: Target,
}

impl Room {
    /// Derives the genesis.
    #[must_use]
    pub fn new(params: RoomParams) -> Self {
        let floor = Target::one_in_two_to_the(params.floor_bits);
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
        }
    }

    /// The room's name among machines: its genesis hash.
    #[must_use]
    pub const fn id(&self) -> RoomId {
        RoomId::new(*self.genesis_hash.as_bytes())
    }

    /// The header that all start from. It needs no work and counts none.
    #[must_use]
    pub const fn genesis(&self) -> &Header {
        &self.genesis
    }

    /// The genesis header's hash.
    #[must_use]
    pub const fn genesis_hash(&self) -> BlockHash {
        self.genesis_hash
    }

    /// What the room was made from.
    #[must_use]
    pub const fn params(&self) -> &RoomParams {
        &self.params
    }

    /// The easiest target.
    #[must_use]
    pub const fn floor(&self) -> Target {
        self.floor
    }

    /// Time between blocks that the difficulty aims at, in milliseconds.
    #[must_use]
    pub const fn block_interval_ms(&self) -> u64 {
        self.params.block_interval_ms
    }
}

#[cfg(test)]
mod tests;
