//! A minimal protobuf reader for the two kinds of message of libp2p's WebRTC specifications, frames and signalling:
//! yields all fields in order, unknown ones included. Never copies a field and never reads beyond the message.

use bytes::{Buf, Bytes};
use unsigned_varint::decode::{self, Error as VarintError};

/// Wire type of integers, which are encoded as varints.
pub const WIRE_VARINT: u64 = 0;
/// Wire type of length-delimited fields: bytes and strings.
pub const WIRE_BYTES: u64 = 2;
const WIRE_FIXED64: u64 = 1;
const WIRE_FIXED32: u64 = 5;

/// A field of a message. The key contains the field number and the wire type.
#[derive(Debug)]
pub struct Field {
    /// The field number, shifted left by three bits, and the wire type.
    pub key: u64,
    /// What follows the key.
    pub value: Value,
}

/// The value of a [`Field`].
#[derive(Debug)]
pub enum Value {
    /// An integer of wire type [`WIRE_VARINT`].
    Number(u64),
    /// Bytes, a string, or a fixed-size integer.
    Bytes(Bytes),
}

/// Why bytes are not a valid protobuf message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtobufError {
    /// An integer is not a valid varint.
    #[error("malformed number: {0}")]
    Number(VarintError),
    /// A field extends beyond the end of the message.
    #[error("field of {length} bytes with {left} bytes left in its message")]
    Truncated {
        /// The announced length of the field in bytes.
        length: u64,
        /// The number of bytes left in the message.
        left: usize,
    },
    /// A wire type that is unknown or belongs to groups, which are not supported.
    #[error("unknown protobuf wire type {0}")]
    WireType(u64),
}

/// Reads the next field and advances `message`; returns `None` at its end.
///
/// # Errors
/// If the bytes are not a valid field. `message` cannot be read any further then.
pub fn next_field(message: &mut Bytes) -> Result<Option<Field>, ProtobufError> {
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
