//! A raw codec of the sync protocol: it sends exactly the bytes that the test provides, framed or not.

use std::io;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::{StreamProtocol, request_response};

/// The most bytes read of a request or response; the rest is ignored.
const MAX_READ_LEN: u64 = 2 * 1024 * 1024;

/// Reads well-formed frames and writes arbitrary bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RawCodec;

/// Frames a message as an honest peer does: its length as a varint, then the message.
pub(crate) fn frame(message: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(message.len() + 5);
    let mut length = message.len();
    while length >= 0x80 {
        framed.push(0x80 | u8::try_from(length & 0x7f).unwrap_or_default());
        length >>= 7;
    }
    framed.push(u8::try_from(length).unwrap_or_default());
    framed.extend_from_slice(message);
    framed
}

impl request_response::Codec for RawCodec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        read(io).await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Vec<u8>> {
        read(io).await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Vec<u8>,
    ) -> io::Result<()> {
        io.write_all(&request).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Vec<u8>,
    ) -> io::Result<()> {
        io.write_all(&response).await
    }
}

async fn read<T: AsyncRead + Unpin>(io: &mut T) -> io::Result<Vec<u8>> {
    let (mut length, mut shift) = (0_u64, 0);
    loop {
        let mut byte = [0];
        io.read_exact(&mut byte).await?;
        length |= u64::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
        if shift > 28 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    let mut message = Vec::new();
    io.take(length.min(MAX_READ_LEN))
        .read_to_end(&mut message)
        .await?;
    Ok(message)
}
