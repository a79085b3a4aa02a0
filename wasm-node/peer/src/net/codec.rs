//! Framing of the request-response protocols: a varint length, then that many bytes, one frame per direction and
//! stream. It never interprets the payload, and never allocates more than has arrived. All request-response protocols
//! share one codec, because libp2p's generic code is compiled once per codec. Specified in docs/protocols.md,
//! "Requests and answers".
//!
//! Judging peers is up to the sync state machine, so malformed frames reach it as messages that it refuses: an oversize
//! request is cut to one byte more than allowed, and a length that is not a varint becomes an empty message.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};

/// Bytes of a message that are written together with its length. Over WebRTC each write is a message, and most frames are
/// shorter than this.
const FIRST_WRITE: usize = 1024;

/// A frame that cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum FrameError {
    /// The announced length exceeds the limit.
    #[error("a message of {announced} bytes where at most {limit} are allowed")]
    Oversize {
        /// Length in bytes that the frame announces.
        announced: usize,
        /// Longest message allowed, in bytes.
        limit: usize,
    },
    /// The stream ended inside the frame.
    #[error("a message of {announced} bytes ended after {arrived}")]
    Truncated {
        /// Length in bytes that the frame announces.
        announced: usize,
        /// Bytes received before the end.
        arrived: usize,
    },
}

impl From<FrameError> for io::Error {
    fn from(error: FrameError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// An event of a request-response protocol that uses [`FrameCodec`].
pub(crate) type FrameEvent = request_response::Event<Vec<u8>, Vec<u8>>;

/// Reads and writes the frames of one protocol, within its limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameCodec {
    /// The longest request, in bytes.
    pub(crate) request_limit: usize,
    /// The longest response, in bytes.
    pub(crate) response_limit: usize,
}

impl request_response::Codec for FrameCodec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let Some(announced) = read_length(io).await? else {
            return Ok(Vec::new());
        };
        let max = self.request_limit.saturating_add(1);
        read_message(io, announced.min(max)).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let Some(announced) = read_length(io).await? else {
            return Ok(Vec::new());
        };
        let limit = self.response_limit;
        if announced > limit {
            return Err(FrameError::Oversize { announced, limit }.into());
        }
        read_message(io, announced).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &request, self.request_limit).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &response, self.response_limit).await
    }
}

async fn read_message<T: AsyncRead + Unpin>(io: &mut T, announced: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let max = u64::try_from(announced).unwrap_or(u64::MAX);
    io.take(max).read_to_end(&mut bytes).await?;
    if bytes.len() < announced {
        return Err(FrameError::Truncated {
            announced,
            arrived: bytes.len(),
        }
        .into());
    }
    Ok(bytes)
}

/// Reads a varint byte by byte, because the bytes after it belong to the message. `None` if it is not a varint, or not
/// in its shortest form.
async fn read_length<T: AsyncRead + Unpin>(io: &mut T) -> io::Result<Option<usize>> {
    let mut buffer = unsigned_varint::encode::usize_buffer();
    for end in 0..buffer.len() {
        let Some(byte) = buffer.get_mut(end..=end) else {
            break;
        };
        io.read_exact(byte).await?;
        if byte
            .first()
            .is_some_and(|byte| unsigned_varint::decode::is_last(*byte))
        {
            let length = unsigned_varint::decode::usize(buffer.get(..=end).unwrap_or_default());
            return Ok(length.ok().map(|(length, _)| length));
        }
    }
    Ok(None)
}

async fn write_frame<T: AsyncWrite + Unpin>(
    io: &mut T,
    bytes: &[u8],
    limit: usize,
) -> io::Result<()> {
    if bytes.len() > limit {
        return Err(FrameError::Oversize {
            announced: bytes.len(),
            limit,
        }
        .into());
    }
    let mut buffer = unsigned_varint::encode::usize_buffer();
    let length = unsigned_varint::encode::usize(bytes.len(), &mut buffer);
    let (first, rest) = bytes.split_at(bytes.len().min(FIRST_WRITE));
    io.write_all(&[length, first].concat()).await?;
    io.write_all(rest).await?;
    io.flush().await
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use super::*;
    use futures::executor::block_on;
    use futures::io::Cursor;
    use libp2p::request_response::Codec;

    const PROTOCOL: StreamProtocol = StreamProtocol::new("/test");
    const MAX_REQUEST_LEN: usize = 100_000;
    const MAX_RESPONSE_LEN: usize = 200_000;
    const CODEC: FrameCodec = FrameCodec {
        request_limit: MAX_REQUEST_LEN,
        response_limit: MAX_RESPONSE_LEN,
    };

    async fn request(bytes: &[u8]) -> Result<Vec<u8>, String> {
        let read = { CODEC }
            .read_request(&PROTOCOL, &mut Cursor::new(bytes))
            .await;
        read.map_err(|error| error.to_string())
    }

    async fn response(bytes: &[u8]) -> io::Result<Vec<u8>> {
        { CODEC }
            .read_response(&PROTOCOL, &mut Cursor::new(bytes))
            .await
    }

    fn framed(announced: usize, payload: &[u8]) -> Vec<u8> {
        let mut buffer = unsigned_varint::encode::usize_buffer();
        let mut bytes = unsigned_varint::encode::usize(announced, &mut buffer).to_vec();
        bytes.extend_from_slice(payload);
        bytes
    }

    /// Keeps what is written, each write on its own.
    #[derive(Default)]
    struct Writes(Vec<Vec<u8>>);

    impl AsyncWrite for Writes {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn short_frame_is_one_write() {
        for (length, writes) in [(0, 1), (FIRST_WRITE, 1), (FIRST_WRITE + 1, 2)] {
            let mut io = Writes::default();
            let message = vec![7; length];
            block_on(write_frame(&mut io, &message, MAX_REQUEST_LEN)).expect("a short message");
            assert_eq!(io.0.len(), writes, "{length}");
            assert_eq!(io.0.concat(), framed(length, &message));
        }
    }

    #[test]
    fn frames_up_to_the_limit_round_trip() {
        block_on(async {
            for length in [0, 1, 127, 128, 300, MAX_REQUEST_LEN] {
                let message = vec![7; length];
                let mut wire = Cursor::new(Vec::new());
                { CODEC }
                    .write_request(&PROTOCOL, &mut wire, message.clone())
                    .await
                    .expect("within the limit");
                let mut wire = Cursor::new(wire.into_inner());
                let back = { CODEC }
                    .read_request(&PROTOCOL, &mut wire)
                    .await
                    .expect("as written");
                assert!(back == message, "{length} bytes");
            }
            let mut wire = Cursor::new(Vec::new());
            { CODEC }
                .write_response(&PROTOCOL, &mut wire, vec![7; MAX_RESPONSE_LEN])
                .await
                .expect("within the limit");
            let mut wire = Cursor::new(wire.into_inner());
            assert_eq!(
                { CODEC }
                    .read_response(&PROTOCOL, &mut wire)
                    .await
                    .expect("as written")
                    .len(),
                MAX_RESPONSE_LEN
            );
        });
    }

    #[test]
    fn oversize_message_is_not_sent() {
        block_on(async {
            let mut wire = Cursor::new(Vec::new());
            assert!(
                { CODEC }
                    .write_request(&PROTOCOL, &mut wire, vec![0; MAX_REQUEST_LEN + 1])
                    .await
                    .is_err()
            );
            assert!(
                { CODEC }
                    .write_response(&PROTOCOL, &mut wire, vec![0; MAX_RESPONSE_LEN + 1])
                    .await
                    .is_err()
            );
            assert!(wire.into_inner().is_empty());
        });
    }

    #[test]
    fn oversize_response_is_refused_unread() {
        block_on(async {
            let error = response(&framed(MAX_RESPONSE_LEN + 1, &[0; 100]))
                .await
                .expect_err("too long");
            let found = error
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<FrameError>())
                .copied();
            let expected = FrameError::Oversize {
                announced: MAX_RESPONSE_LEN + 1,
                limit: MAX_RESPONSE_LEN,
            };
            assert_eq!(found, Some(expected));
        });
    }

    #[test]
    fn oversize_request_is_cut_to_limit_plus_one() {
        block_on(async {
            let read = request(&framed(usize::MAX, &vec![0; MAX_REQUEST_LEN + 100])).await;
            assert_eq!(read.map(|bytes| bytes.len()), Ok(MAX_REQUEST_LEN + 1));
        });
    }

    #[test]
    fn truncated_frame_is_refused() {
        block_on(async {
            assert_eq!(
                request(&framed(10, &[1; 9])).await,
                Err("a message of 10 bytes ended after 9".to_owned())
            );
            assert!(request(&[]).await.is_err());
            assert!(request(&[0x80]).await.is_err());
        });
    }

    #[test]
    fn invalid_length_becomes_an_empty_message() {
        block_on(async {
            assert_eq!(request(&[0xff; 32]).await, Ok(Vec::new()));
            assert_eq!(
                request(&[0x81, 0x00, 1]).await,
                Ok(Vec::new()),
                "not the shortest form"
            );
            assert_eq!(response(&[0xff; 32]).await.ok(), Some(Vec::new()));
        });
    }

    #[test]
    fn bytes_after_the_frame_are_ignored() {
        block_on(async {
            let mut bytes = framed(3, &[1, 2, 3]);
            bytes.extend_from_slice(&[4, 5]);
            assert_eq!(request(&bytes).await, Ok(vec![1, 2, 3]));
        });
    }
}
