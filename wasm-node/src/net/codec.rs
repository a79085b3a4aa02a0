//! The frames of the protocols that ask and answer: a varint length, then so many bytes, one each way a stream. Never
//! looks inside them, and never keeps more memory for a frame than has arrived of it. One codec for all of these
//! protocols, because libp2p's machinery around it is compiled once for each.
//!
//! Judging is the machine's business, so what no honest encoder makes is handed on as what it refuses: of a
//! request that is too long, one byte more than allowed; of a length that is no varint, an empty message.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};

/// A frame that is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum FrameError {
    /// It announces more bytes than any message may have.
    #[error("a message of {announced} bytes where at most {limit} are allowed")]
    Oversize {
        /// Bytes that it announces.
        announced: usize,
        /// Bytes that a message may have.
        limit: usize,
    },
    /// The stream ended inside it.
    #[error("a message of {announced} bytes ended after {arrived}")]
    Truncated {
        /// Bytes that it announces.
        announced: usize,
        /// Bytes that came.
        arrived: usize,
    },
}

impl From<FrameError> for io::Error {
    fn from(error: FrameError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// How a stream of such a protocol ends, and what is told of it.
pub(crate) type FrameEvent = request_response::Event<Vec<u8>, Vec<u8>>;

/// Reads and writes the frames of one protocol.
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
        let most = self.request_limit.saturating_add(1);
        read_message(io, announced.min(most)).await
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
    let most = u64::try_from(announced).unwrap_or(u64::MAX);
    io.take(most).read_to_end(&mut bytes).await?;
    if bytes.len() < announced {
        return Err(FrameError::Truncated {
            announced,
            arrived: bytes.len(),
        }
        .into());
    }
    Ok(bytes)
}

/// Reads a varint byte by byte, because what follows it is the message. `None` if it is not one, or not the
/// shortest form of one.
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
    io.write_all(unsigned_varint::encode::usize(bytes.len(), &mut buffer))
        .await?;
    io.write_all(bytes).await?;
    io.flush().await
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;
    use libp2p::request_response::Codec;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

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

    #[test]
    async fn what_is_written_is_read_back_up_to_the_bound() {
        for length in [0, 1, 127, 128, 300, MAX_REQUEST_LEN] {
            let message = vec![7; length];
            let mut wire = Cursor::new(Vec::new());
            { CODEC }
                .write_request(&PROTOCOL, &mut wire, message.clone())
                .await
                .expect("within the bound");
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
            .expect("within the bound");
        let mut wire = Cursor::new(wire.into_inner());
        assert_eq!(
            { CODEC }
                .read_response(&PROTOCOL, &mut wire)
                .await
                .expect("as written")
                .len(),
            MAX_RESPONSE_LEN
        );
    }

    #[test]
    async fn what_is_too_long_is_never_sent() {
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
    }

    #[test]
    async fn an_answer_one_byte_over_the_bound_is_refused_unread() {
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
    }

    #[test]
    async fn a_request_over_the_bound_is_handed_on_as_one_the_machine_refuses() {
        let read = request(&framed(usize::MAX, &vec![0; MAX_REQUEST_LEN + 100])).await;
        assert_eq!(read.map(|bytes| bytes.len()), Ok(MAX_REQUEST_LEN + 1));
    }

    #[test]
    async fn a_frame_that_ends_early_is_refused() {
        assert_eq!(
            request(&framed(10, &[1; 9])).await,
            Err("a message of 10 bytes ended after 9".to_owned())
        );
        assert!(request(&[]).await.is_err());
        assert!(request(&[0x80]).await.is_err());
    }

    #[test]
    async fn a_length_that_is_no_varint_is_handed_on_as_an_empty_message() {
        assert_eq!(request(&[0xff; 32]).await, Ok(Vec::new()));
        assert_eq!(
            request(&[0x81, 0x00, 1]).await,
            Ok(Vec::new()),
            "not the shortest form"
        );
        assert_eq!(response(&[0xff; 32]).await.ok(), Some(Vec::new()));
    }

    #[test]
    async fn what_follows_the_frame_is_left_alone() {
        let mut bytes = framed(3, &[1, 2, 3]);
        bytes.extend_from_slice(&[4, 5]);
        assert_eq!(request(&bytes).await, Ok(vec![1, 2, 3]));
    }
}
