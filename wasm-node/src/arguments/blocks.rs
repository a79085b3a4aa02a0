//! Blocks and readings that JavaScript passed, in the form in which it gets them. Whether they are valid is not asked
//! here, only whether each field is what its name says.

use chain::{
    block::MAX_BLOCK_READINGS,
    hash::ParseHexError,
    header::{HEADER_VERSION, Header},
    reading::Reading,
    time::UnixMillis,
    work::CompactTarget,
};
use wasm_bindgen::JsValue;

use super::{field, whole};
use crate::check::{Claim, ClaimedReading};

/// What is wrong with a block or a reading that JavaScript passed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BlockArgumentError {
    /// A field is missing or of another type.
    #[error("its {field} must be {expected}")]
    Type {
        /// Which.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A field is not the hexadecimal that it should be.
    #[error("its {field} is not right: {source}")]
    Hex {
        /// Which.
        field: &'static str,
        /// Why not.
        source: ParseHexError,
    },
    /// More readings than any block has.
    #[error("it has {found} readings; a block has at most {limit}")]
    TooManyReadings {
        /// How many it has.
        found: u32,
        /// How many it may have.
        limit: usize,
    },
    /// One of its readings.
    #[error("reading {position}: {source}")]
    Reading {
        /// Its place in the block, from 0.
        position: usize,
        /// What is wrong with it.
        source: Box<Self>,
    },
}

/// A block as `blocks()` gives it.
pub(crate) fn block(value: &JsValue) -> Result<Claim, BlockArgumentError> {
    let header = Header {
        version: HEADER_VERSION,
        index: number(value, "index")?,
        time: UnixMillis::new(number(value, "time")?),
        prev_hash: hex(value, "prevHash")?,
        readings_root: hex(value, "readingsRoot")?,
        bits: CompactTarget::from_bits(small(value, "bits", "a whole number below 2^32")?),
        nonce: nonce(value)?,
    };
    let list = array(value, "readings")?;
    let found = list.length();
    if usize::try_from(found).is_ok_and(|found| found > MAX_BLOCK_READINGS) {
        return Err(BlockArgumentError::TooManyReadings {
            found,
            limit: MAX_BLOCK_READINGS,
        });
    }
    let mut readings = Vec::new();
    for (position, item) in list.iter().enumerate() {
        readings.push(reading(&item).map_err(|error| BlockArgumentError::Reading {
            position,
            source: Box::new(error),
        })?);
    }
    Ok(Claim {
        hash: hex(value, "hash")?,
        header,
        readings,
    })
}

/// A reading as `pending()` gives it.
pub(crate) fn reading(value: &JsValue) -> Result<ClaimedReading, BlockArgumentError> {
    Ok(ClaimedReading {
        id: hex(value, "id")?,
        reading: Reading {
            author: hex(value, "author")?,
            seq: number(value, "seq")?,
            time: UnixMillis::new(number(value, "time")?),
            bpm: small(value, "bpm", "a whole number below 2^16")?,
            signature: hex(value, "signature")?,
        },
    })
}

fn number(value: &JsValue, name: &'static str) -> Result<u64, BlockArgumentError> {
    field(value, name)
        .and_then(|number| whole(&number))
        .ok_or(BlockArgumentError::Type {
            field: name,
            expected: "a whole number, 0 or above",
        })
}

fn small<T: TryFrom<u64>>(
    value: &JsValue,
    name: &'static str,
    expected: &'static str,
) -> Result<T, BlockArgumentError> {
    T::try_from(number(value, name)?).map_err(|_| BlockArgumentError::Type {
        field: name,
        expected,
    })
}

fn nonce(value: &JsValue) -> Result<u64, BlockArgumentError> {
    let digits = field(value, "nonce").and_then(|nonce| nonce.as_string());
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or(BlockArgumentError::Type {
            field: "nonce",
            expected: "a string of decimal digits, below 2^64",
        })
}

fn hex<T: std::str::FromStr<Err = ParseHexError>>(
    value: &JsValue,
    name: &'static str,
) -> Result<T, BlockArgumentError> {
    let text = field(value, name).and_then(|text| text.as_string());
    let text = text.ok_or(BlockArgumentError::Type {
        field: name,
        expected: "a string of hexadecimal digits",
    })?;
    text.parse().map_err(|source| BlockArgumentError::Hex {
        field: name,
        source,
    })
}

pub(super) fn array(
    value: &JsValue,
    name: &'static str,
) -> Result<js_sys::Array, BlockArgumentError> {
    field(value, name)
        .filter(js_sys::Array::is_array)
        .map(|list| js_sys::Array::from(&list))
        .ok_or(BlockArgumentError::Type {
            field: name,
            expected: "an array",
        })
}
