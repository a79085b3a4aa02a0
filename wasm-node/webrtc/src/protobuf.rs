//! As much of protobuf as this crate's two messages need: their fields, one after the other, unknown ones included.
//! Never copies a field, and never reads beyond the message. Pure.

use bytes::{Buf, Bytes};
use unsigned_varint::decode::{self, Error as VarintError};

/// Wire type of numbers.
pub(crate) const WIRE_VARINT: u64 = 0;
/// Wire type of bytes and text.
pub(crate) const WIRE_BYTES: u64 = 2;
const WIRE_FIXED64: u64 = 1;
const WIRE_FIXED32: u64 = 5;

/// One field: its key (number and wire type), and its value.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) key: u64,
    pub(crate) value: Value,
}

/// A field's value.
#[derive(Debug)]
pub(crate) enum Value {
    Number(u64),
    /// Bytes, text, or a number of fixed size.
    Bytes(Bytes),
}

/// Why bytes are no protobuf message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtobufError {
    /// A number is not a varint.
    #[error("malformed number: {0}")]
    Number(VarintError),
    /// A field reaches beyond the end of its message.
    #[error("field of {length} bytes with {left} bytes left in its message")]
    Truncated {
        /// What the field claims to need.
        length: u64,
        /// What the message has left.
        left: usize,
    },
    /// A wire type that protobuf without groups does not have.
    #[error("unknown protobuf wire type {0}")]
    WireType(u64),
}

/// Takes the next field off `message`; `None` at its end.
pub(crate) fn next_field(message: &mut Bytes) -> Result<Option<Field>, ProtobufError> {
    if !message.has_remaining() {
        return Ok(None);
    }
    let key = take_number(message)?;
    let value = match key & 0b111 {
        WIRE_VARINT => Value::Number(take_number(message)?),
        WIRE_FIXED64 => Value::Bytes(take(message, 8)?),
        WIRE_BYTES => {
            let length = take_number(message)?;
            Value::Bytes(take(message, length)?)
        }
        WIRE_FIXED32 => Value::Bytes(take(message, 4)?),
        unknown => return Err(ProtobufError::WireType(unknown)),
    };
    Ok(Some(Field { key, value }))
}

fn take_number(message: &mut Bytes) -> Result<u64, ProtobufError> {
    let (number, rest) = decode::u64(message).map_err(ProtobufError::Number)?;
    let used = message.len() - rest.len();
    message.advance(used);
    Ok(number)
}

fn take(message: &mut Bytes, length: u64) -> Result<Bytes, ProtobufError> {
    usize::try_from(length)
        .ok()
        .filter(|length| *length <= message.len())
        .map(|length| message.split_to(length))
        .ok_or(ProtobufError::Truncated {
            length,
            left: message.len(),
        })
}
