//! Parses blocks and readings that JavaScript passes, in the form in which it gets them. Checks the type of each field,
//! not whether the block or reading is valid.

use heartchain_chain::{
    block::MAX_BLOCK_READINGS,
    content::{Content, ReadingForm},
    hash::ParseHexError,
    header::{HEADER_VERSION, Header},
    profile::{Profile, ProfileContent, ProfileName, ProfileNameError},
    reading::Reading,
    time::UnixMillis,
    work::CompactTarget,
};
use wasm_bindgen::JsValue;

use super::fields::{field, whole};
use crate::check::{BlockClaim, ClaimedReading};

/// Why a value is not a block or a reading.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BlockArgumentError {
    /// A field is missing or of the wrong type.
    #[error("its {field} must be {expected}")]
    Type {
        /// The name of the field.
        field: &'static str,
        /// What the field must be.
        expected: &'static str,
    },
    /// A field is not valid hexadecimal.
    #[error("its {field} is not valid: {source}")]
    Hex {
        /// The name of the field.
        field: &'static str,
        /// What is wrong with its digits.
        source: ParseHexError,
    },
    /// There are more readings than a block can have.
    #[error("it has {found} readings; a block has at most {limit}")]
    TooManyReadings {
        /// The number of readings.
        found: u32,
        /// The most readings that a block can have.
        limit: usize,
    },
    /// One of the readings is malformed.
    #[error("reading {position}: {source}")]
    Reading {
        /// The reading's position in the block, from 0.
        position: usize,
        /// What is wrong with the reading.
        source: Box<Self>,
    },
}

/// Why a value is not a profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProfileArgumentError {
    /// A field is missing or malformed.
    #[error(transparent)]
    Field(#[from] BlockArgumentError),
    /// The name breaks a rule.
    #[error(transparent)]
    Name(#[from] ProfileNameError),
}

/// Parses a block in the form that `blocks()` returns, with readings of this room's form.
pub(crate) fn block(form: ReadingForm, value: &JsValue) -> Result<BlockClaim, BlockArgumentError> {
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
        readings.push(
            reading(form, &item).map_err(|error| BlockArgumentError::Reading {
                position,
                source: Box::new(error),
            })?,
        );
    }
    Ok(BlockClaim {
        hash: hex(value, "hash")?,
        header,
        readings,
    })
}

/// Parses a reading in the form that `pending()` returns.
pub(crate) fn reading(
    form: ReadingForm,
    value: &JsValue,
) -> Result<ClaimedReading, BlockArgumentError> {
    let content = match form {
        ReadingForm::Open => Content::Open {
            time: UnixMillis::new(number(value, "time")?),
            bpm: small(value, "bpm", "a whole number below 2^16")?,
        },
        ReadingForm::Sealed => Content::Sealed(hex(value, "sealed")?),
    };
    Ok(ClaimedReading {
        id: hex(value, "id")?,
        reading: Reading {
            author: hex(value, "author")?,
            seq: number(value, "seq")?,
            content,
            signature: hex(value, "signature")?,
        },
    })
}

/// Parses a profile in the form in which it is exported.
pub(super) fn profile(form: ReadingForm, value: &JsValue) -> Result<Profile, ProfileArgumentError> {
    let content = match form {
        ReadingForm::Open => {
            let name = field(value, "name").and_then(|name| name.as_string());
            let name = name.ok_or(BlockArgumentError::Type {
                field: "name",
                expected: "a string",
            })?;
            ProfileContent::Open(ProfileName::new(&name)?)
        }
        ReadingForm::Sealed => ProfileContent::Sealed(hex(value, "sealed")?),
    };
    Ok(Profile {
        author: hex(value, "author")?,
        revision: UnixMillis::new(number(value, "revision")?),
        content,
        signature: hex(value, "signature")?,
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
