//! The frames that carry a libp2p stream over a data channel: an unsigned varint length, then a protobuf (proto2)
//! message `{ optional Flag flag = 1; optional bytes message = 2 }`, as in
//! [libp2p's WebRTC spec](https://github.com/libp2p/specs/tree/master/webrtc#multiplexing).
//!
//! This module never touches a data channel, and it never holds more than one incomplete frame. Lengths that the peer
//! announces are checked before any data is kept.

use bytes::{Buf, Bytes, BytesMut};
use unsigned_varint::decode::{self, Error as VarintError};
use unsigned_varint::encode;

use crate::protobuf::{Field, ProtobufError, Value, WIRE_BYTES, WIRE_VARINT, next_field};

/// The longest varint of a `u64`, in bytes; bounds lengths and field keys.
const MAX_VARINT_LEN: usize = 10;

/// Protobuf key of `flag`: field 1, wire type varint.
const FLAG_KEY: u64 = (1 << 3) | WIRE_VARINT;
/// Protobuf key of `message`: field 2, wire type length-delimited.
const MESSAGE_KEY: u64 = (2 << 3) | WIRE_BYTES;

/// The maximum length of a sent frame in bytes, its length prefix included.
///
/// The spec allows 16,384 bytes. Some peers support less (see [`FrameLimit::STOCK_SERVER`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameLimit(usize);

impl FrameLimit {
    /// The maximum in the spec, 16 KiB: one stream cannot block the others for long.
    pub const SPEC: Self = Self(16_384);

    /// The maximum that rust-libp2p's native server (`libp2p-webrtc` 0.10) supports. It reads into a buffer of 8 KiB,
    /// and a longer message breaks its whole connection.
    pub const STOCK_SERVER: Self = Self(8_192);

    /// Below this limit, length prefixes would be shorter and frames would be mostly overhead.
    const MIN: usize = 256;

    /// Bytes of the length prefix (2), the key of `message` (1) and the length of `message` (2). The sum is exact for a
    /// payload that fills a frame of [`Self::MIN`] to [`Self::SPEC`] bytes, and an upper bound for shorter payloads.
    const OVERHEAD: usize = 5;

    /// Returns a limit of `bytes`, or `None` if it is not within 256 and 16,384.
    #[must_use]
    pub fn new(bytes: usize) -> Option<Self> {
        (Self::MIN..=Self::SPEC.0)
            .contains(&bytes)
            .then_some(Self(bytes))
    }

    /// The limit in bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.0
    }

    /// The maximum number of payload bytes in one frame.
    #[must_use]
    pub fn max_payload(self) -> usize {
        self.0 - Self::OVERHEAD
    }
}

/// A change of the stream's state, sent in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// The sender will send no more data.
    Fin,
    /// The sender will read no more data.
    StopSending,
    /// The sender aborted the stream; data may be missing.
    Reset,
    /// The sender has received [`Flag::Fin`].
    FinAck,
}

impl Flag {
    fn number(self) -> u8 {
        match self {
            Self::Fin => 0,
            Self::StopSending => 1,
            Self::Reset => 2,
            Self::FinAck => 3,
        }
    }

    /// Returns `None` for an unknown number: proto2 treats an unknown enum value as an absent field.
    fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Fin),
            1 => Some(Self::StopSending),
            2 => Some(Self::Reset),
            3 => Some(Self::FinAck),
            _ => None,
        }
    }
}

/// A received frame. The payload precedes the flag: with [`Flag::Fin`], the stream ends *after* the payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Data of the stream; may be empty.
    pub payload: Bytes,
    /// The change of the stream's state, if the frame contains one.
    pub flag: Option<Flag>,
}

/// Replaces the contents of `frame` by one frame with `payload` and no flag.
///
/// The caller ensures that `payload` is at most [`FrameLimit::max_payload`] bytes long.
pub fn encode_payload(payload: &[u8], frame: &mut Vec<u8>) {
    let mut length_buffer = encode::usize_buffer();
    let length = encode::usize(payload.len(), &mut length_buffer);
    let mut body_buffer = encode::usize_buffer();
    let body = encode::usize(1 + length.len() + payload.len(), &mut body_buffer);

    frame.clear();
    frame.reserve(body.len() + 1 + length.len() + payload.len());
    frame.extend_from_slice(body);
    frame.push(MESSAGE_KEY.to_le_bytes()[0]);
    frame.extend_from_slice(length);
    frame.extend_from_slice(payload);
}

/// Returns a frame with `flag` and no payload.
#[must_use]
pub fn encode_flag(flag: Flag) -> [u8; 3] {
    [2, FLAG_KEY.to_le_bytes()[0], flag.number()]
}

/// Why received bytes are not valid frames. The stream cannot recover from this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length prefix is not a valid varint.
    #[error("malformed length of a frame: {0}")]
    Number(VarintError),
    /// The announced length exceeds [`FrameLimit::SPEC`].
    #[error("frame of {0} bytes is longer than the {max} allowed", max = FrameLimit::SPEC.0)]
    TooLong(u64),
    /// The frame's body is not a valid protobuf message.
    #[error("malformed frame: {0}")]
    Protobuf(#[from] ProtobufError),
}

/// Decodes the messages of one data channel into frames.
///
/// A message may contain several frames (rust-libp2p's server joins them), or part of one.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: BytesMut,
}

impl Decoder {
    /// Adds one received message. Before the next call, call [`Self::next_frame`] until it returns `None`, so that the
    /// decoder never holds more than one incomplete frame.
    pub fn push(&mut self, message: &[u8]) {
        self.pending.extend_from_slice(message);
    }

    /// Returns the next complete frame, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// If the bytes are not a valid frame. The decoder cannot be used afterwards, and it keeps its buffered bytes.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let frame = self.split_frame()?;
        if frame.is_none() {
            // Copy the remainder: a view would keep the allocation of the whole message, up to 256 KiB, alive.
            self.pending = BytesMut::from(self.pending.as_ref());
        }
        Ok(frame)
    }

    /// The number of buffered bytes that do not form a complete frame yet.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.pending.len()
    }

    fn split_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let (length, prefix) = match decode::u64(&self.pending) {
            Ok((length, rest)) => (length, self.pending.len() - rest.len()),
            Err(VarintError::Insufficient) if self.pending.len() < MAX_VARINT_LEN => {
                return Ok(None);
            }
            Err(error) => return Err(FrameError::Number(error)),
        };
        let body = usize::try_from(length)
            .ok()
            .filter(|body| prefix.saturating_add(*body) <= FrameLimit::SPEC.0)
            .ok_or(FrameError::TooLong(length))?;
        if self.pending.len() < prefix + body {
            return Ok(None);
        }
        self.pending.advance(prefix);
        decode_body(self.pending.split_to(body).freeze()).map(Some)
    }
}

/// Decodes one protobuf message and skips unknown fields.
fn decode_body(mut body: Bytes) -> Result<Frame, FrameError> {
    let mut frame = Frame::default();
    while let Some(Field { key, value }) = next_field(&mut body)? {
        match (key, value) {
            (FLAG_KEY, Value::Number(number)) => frame.flag = Flag::from_number(number),
            (MESSAGE_KEY, Value::Bytes(bytes)) => frame.payload = bytes,
            (_, Value::Number(_) | Value::Bytes(_)) => {}
        }
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(decoder: &mut Decoder, message: &[u8]) -> Vec<Frame> {
        decoder.push(message);
        let mut frames = Vec::new();
        while let Some(frame) = decoder.next_frame().expect("well-formed frames") {
            frames.push(frame);
        }
        frames
    }

    fn error(message: &[u8]) -> FrameError {
        let mut decoder = Decoder::default();
        decoder.push(message);
        decoder.next_frame().expect_err("malformed frame")
    }

    fn payload_frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        encode_payload(payload, &mut frame);
        frame
    }

    fn data(payload: &[u8]) -> Frame {
        Frame {
            payload: Bytes::copy_from_slice(payload),
            flag: None,
        }
    }

    fn flag(flag: Flag) -> Frame {
        Frame {
            payload: Bytes::new(),
            flag: Some(flag),
        }
    }

    #[test]
    fn encoding_matches_the_spec() {
        assert_eq!(payload_frame(b"hi"), [4, 0x12, 2, b'h', b'i']);
        assert_eq!(encode_flag(Flag::Fin), [2, 0x08, 0]);
        assert_eq!(encode_flag(Flag::StopSending), [2, 0x08, 1]);
        assert_eq!(encode_flag(Flag::Reset), [2, 0x08, 2]);
        assert_eq!(encode_flag(Flag::FinAck), [2, 0x08, 3]);
    }

    #[test]
    fn maximum_payload_fills_its_frame_exactly() {
        for limit in [
            FrameLimit(FrameLimit::MIN),
            FrameLimit::STOCK_SERVER,
            FrameLimit::SPEC,
        ] {
            let payload = vec![7; limit.max_payload()];
            let frame = payload_frame(&payload);
            assert_eq!(frame.len(), limit.bytes());
            assert_eq!(frames(&mut Decoder::default(), &frame), [data(&payload)]);
        }
    }

    #[test]
    fn frame_limit_has_a_minimum_and_a_maximum() {
        assert_eq!(FrameLimit::new(255), None);
        assert_eq!(FrameLimit::new(256), Some(FrameLimit(256)));
        assert_eq!(FrameLimit::new(16_384), Some(FrameLimit::SPEC));
        assert_eq!(FrameLimit::new(16_385), None);
    }

    #[test]
    fn flags_round_trip() {
        for known in [Flag::Fin, Flag::StopSending, Flag::Reset, Flag::FinAck] {
            assert_eq!(
                frames(&mut Decoder::default(), &encode_flag(known)),
                [flag(known)]
            );
        }
    }

    #[test]
    fn message_may_contain_several_frames() {
        let mut message = payload_frame(b"one");
        message.extend(payload_frame(b"two"));
        message.extend(encode_flag(Flag::Fin));
        assert_eq!(
            frames(&mut Decoder::default(), &message),
            [data(b"one"), data(b"two"), flag(Flag::Fin)]
        );
    }

    #[test]
    fn frame_may_arrive_byte_by_byte() {
        let whole = payload_frame(&[9; 300]);
        let mut decoder = Decoder::default();
        let mut received = Vec::new();
        for byte in whole.chunks(1) {
            received.extend(frames(&mut decoder, byte));
        }
        assert_eq!(received, [data(&[9; 300])]);
    }

    #[test]
    fn flag_and_payload_may_share_a_frame() {
        let frame = Frame {
            payload: Bytes::from_static(b"end"),
            flag: Some(Flag::Fin),
        };
        assert_eq!(
            frames(
                &mut Decoder::default(),
                &[7, 0x08, 0, 0x12, 3, b'e', b'n', b'd']
            ),
            [frame]
        );
    }

    #[test]
    fn unknown_fields_and_flags_are_skipped() {
        // Field 3 varint, 4 fixed64, 5 bytes, 6 fixed32, then the message.
        let body = [
            0x18, 0x96, 0x01, 0x21, 1, 2, 3, 4, 5, 6, 7, 8, 0x2A, 2, 9, 9, 0x35, 1, 2, 3, 4, 0x12,
            1, b'x',
        ];
        let mut message = vec![u8::try_from(body.len()).expect("short body")];
        message.extend(body);
        assert_eq!(frames(&mut Decoder::default(), &message), [data(b"x")]);
        assert_eq!(
            frames(&mut Decoder::default(), &[2, 0x08, 4]),
            [Frame::default()]
        );
        assert_eq!(frames(&mut Decoder::default(), &[0]), [Frame::default()]);
    }

    #[test]
    fn frame_length_is_limited() {
        let mut decoder = Decoder::default();
        decoder.push(&[0xFE, 0x7F]); // 16,382 + its 2 bytes of prefix
        assert_eq!(decoder.next_frame(), Ok(None));
        assert_eq!(error(&[0xFF, 0x7F]), FrameError::TooLong(16_383));
    }

    #[test]
    fn malformed_frames_are_refused() {
        assert_eq!(
            error(&[3, 0x12, 5, 1]),
            ProtobufError::Truncated { length: 5, left: 1 }.into()
        );
        assert_eq!(error(&[2, 0x0B, 0]), ProtobufError::WireType(3).into());
        assert_eq!(
            error(&[1, 0x08]),
            ProtobufError::Number(VarintError::Insufficient).into()
        );
        assert_eq!(
            error(&[0xFF; 11]),
            FrameError::Number(VarintError::Overflow)
        );
        assert_eq!(
            error(&[0x80, 0x00]),
            FrameError::Number(VarintError::NotMinimal)
        );
    }
}
