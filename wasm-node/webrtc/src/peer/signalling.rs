//! Encodes and decodes the messages of `/webrtc-signaling/0.0.1`: a varint length, then proto3
//! `{ optional Type type = 1; optional string data = 2 }`, as in
//! [libp2p's WebRTC spec](https://github.com/libp2p/specs/blob/master/webrtc/webrtc.md#signaling-protocol). Pure.
//!
//! Never interprets a description or a candidate, and never buffers more than [`MAX_MESSAGE_LEN`] bytes of a message.

use std::io;

use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p_webrtc_streams::protobuf::{
    Field, ProtobufError, Value, WIRE_BYTES, WIRE_VARINT, next_field,
};
use unsigned_varint::{decode, encode};

/// The name of the signalling protocol.
pub const PROTOCOL: &str = "/webrtc-signaling/0.0.1";

/// The maximum length of a message in bytes, without its length prefix. Descriptions take about 500 bytes and
/// candidates about 200; the rest is a margin for browsers with longer ones.
pub const MAX_MESSAGE_LEN: usize = 64 * 1024;

/// The maximum number of candidates accepted from a peer. A computer has one or two per network.
pub const MAX_CANDIDATES: usize = 100;

/// Protobuf key of `type`: field 1.
const TYPE_KEY: u64 = (1 << 3) | WIRE_VARINT;
/// Protobuf key of `data`: field 2.
const DATA_KEY: u64 = (2 << 3) | WIRE_BYTES;

const OFFER: u64 = 0;
const ANSWER: u64 = 1;
const CANDIDATE: u64 = 2;

/// A message that two peers exchange until they are connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The offerer's session description.
    Offer(String),
    /// The answerer's session description.
    Answer(String),
    /// One `RTCIceCandidate` as JSON.
    Candidate(String),
}

/// Why reading a message failed. The stream cannot be used afterwards.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The stream failed or ended within a message.
    #[error("the signalling stream broke: {0}")]
    Io(#[from] io::Error),
    /// The length prefix is not a valid varint.
    #[error("malformed length of a signalling message: {0}")]
    Length(decode::Error),
    /// The message is longer than [`MAX_MESSAGE_LEN`].
    #[error("signalling message of {0} bytes is longer than the {MAX_MESSAGE_LEN} allowed")]
    TooLong(usize),
    /// The message is not valid protobuf.
    #[error("malformed signalling message: {0}")]
    Protobuf(#[from] ProtobufError),
    /// The message has an unknown type.
    #[error("unknown type {0} of a signalling message")]
    Type(u64),
    /// The data is not valid UTF-8.
    #[error("the data of a signalling message is not UTF-8")]
    Text,
}

impl Message {
    /// Encodes the message with its length prefix. The type is written even if it is 0, as js-libp2p does.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, data) = match self {
            Self::Offer(data) => (OFFER, data),
            Self::Answer(data) => (ANSWER, data),
            Self::Candidate(data) => (CANDIDATE, data),
        };
        let mut body = Vec::with_capacity(data.len() + 8);
        let mut buffer = encode::u64_buffer();
        for number in [TYPE_KEY, kind, DATA_KEY] {
            body.extend_from_slice(encode::u64(number, &mut buffer));
        }
        let mut buffer = encode::usize_buffer();
        body.extend_from_slice(encode::usize(data.len(), &mut buffer));
        body.extend_from_slice(data.as_bytes());
        let mut message = encode::usize(body.len(), &mut buffer).to_vec();
        message.append(&mut body);
        message
    }

    /// Decodes a message without its length prefix. Missing fields have their defaults: type 0 (an offer) and empty
    /// data.
    ///
    /// # Errors
    /// If `body` is not a valid message.
    pub fn decode(mut body: Bytes) -> Result<Self, MessageError> {
        let (mut kind, mut text) = (OFFER, Bytes::new());
        while let Some(Field { key, value }) = next_field(&mut body)? {
            match (key, value) {
                (TYPE_KEY, Value::Number(number)) => kind = number,
                (DATA_KEY, Value::Bytes(bytes)) => text = bytes,
                (_, Value::Number(_) | Value::Bytes(_)) => {}
            }
        }
        let text = String::from_utf8(text.to_vec()).map_err(|_| MessageError::Text)?;
        match kind {
            OFFER => Ok(Self::Offer(text)),
            ANSWER => Ok(Self::Answer(text)),
            CANDIDATE => Ok(Self::Candidate(text)),
            unknown => Err(MessageError::Type(unknown)),
        }
    }
}

/// Writes one message and flushes it.
///
/// # Errors
/// If the stream fails.
pub async fn write_message(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &Message,
) -> io::Result<()> {
    stream.write_all(&message.encode()).await?;
    stream.flush().await
}

/// Reads one message; returns `None` at the end of the stream.
///
/// # Errors
/// If the stream fails or ends within a message, or if the message is not valid.
pub async fn read_message(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<Message>, MessageError> {
    let Some(length) = read_length(stream).await? else {
        return Ok(None);
    };
    if length > MAX_MESSAGE_LEN {
        return Err(MessageError::TooLong(length));
    }
    let mut body = Vec::new();
    let most = u64::try_from(length).unwrap_or(u64::MAX);
    stream.take(most).read_to_end(&mut body).await?;
    if body.len() < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Message::decode(body.into()).map(Some)
}

/// Reads a varint byte by byte, so that no byte of the following message is consumed.
async fn read_length(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<usize>, MessageError> {
    let mut bytes = Vec::new();
    loop {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            return if bytes.is_empty() {
                Ok(None)
            } else {
                Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
            };
        }
        bytes.extend_from_slice(&byte);
        match decode::usize(&bytes) {
            Ok((length, _)) => return Ok(Some(length)),
            Err(decode::Error::Insufficient) => {}
            Err(error) => return Err(MessageError::Length(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::io::Cursor;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<Message>, MessageError> {
        block_on(read_message(&mut Cursor::new(bytes)))
    }

    #[test]
    fn encoding_matches_the_spec() {
        assert_eq!(
            Message::Offer("v=0".to_owned()).encode(),
            [7, 0x08, 0, 0x12, 3, b'v', b'=', b'0']
        );
        assert_eq!(
            Message::Answer(String::new()).encode(),
            [4, 0x08, 1, 0x12, 0]
        );
        assert_eq!(
            Message::Candidate("{}".to_owned()).encode(),
            [6, 0x08, 2, 0x12, 2, b'{', b'}']
        );
    }

    #[test]
    fn messages_round_trip_on_one_stream() {
        let sent = [
            Message::Offer("v=0\r\n".repeat(1_000)),
            Message::Answer("ü".to_owned()),
            Message::Candidate(String::new()),
        ];
        let wire: Vec<u8> = sent.iter().flat_map(Message::encode).collect();
        let mut stream = Cursor::new(wire);
        for message in sent {
            let read = block_on(read_message(&mut stream)).expect("well-formed");
            assert_eq!(read, Some(message));
        }
        assert_eq!(
            block_on(read_message(&mut stream)).expect("the end of the stream"),
            None
        );
    }

    #[test]
    fn missing_fields_default_and_unknown_are_skipped() {
        let read = read(&[5, 0x18, 7, 0x22, 1, b'x']).expect("well-formed");
        assert_eq!(read, Some(Message::Offer(String::new())));
    }

    #[test]
    fn message_length_is_limited() {
        let overhead = 2 + 1 + 3;
        let most = Message::Offer("x".repeat(MAX_MESSAGE_LEN - overhead));
        assert_eq!(read(&most.encode()).expect("within the limit"), Some(most));
        let more = Message::Offer("x".repeat(MAX_MESSAGE_LEN - overhead + 1));
        assert!(matches!(
            read(&more.encode()),
            Err(MessageError::TooLong(length)) if length == MAX_MESSAGE_LEN + 1
        ));
    }

    #[test]
    fn malformed_messages_are_refused() {
        assert!(matches!(read(&[2, 0x08, 3]), Err(MessageError::Type(3))));
        assert!(matches!(read(&[3, 0x12, 1, 0xFF]), Err(MessageError::Text)));
        assert!(matches!(
            read(&[2, 0x12, 9]),
            Err(MessageError::Protobuf(_))
        ));
        assert!(matches!(read(&[0xFF; 11]), Err(MessageError::Length(_))));
        assert!(matches!(read(&[0x80]), Err(MessageError::Io(_))));
        assert!(matches!(read(&[9, 0x08, 0]), Err(MessageError::Io(_))));
    }

    #[test]
    fn arbitrary_bytes_never_panic() {
        // Xorshift with a fixed seed: the same bytes on every run.
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..20_000 {
            let mut bytes = Vec::new();
            for _ in 0..state % 40 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                bytes.push(state.to_le_bytes()[0] & 0x3F);
            }
            state = state.wrapping_add(1);
            let _ = read(&bytes);
        }
    }
}
