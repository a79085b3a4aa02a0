//! The two stream protocols: one echoes the received bytes, the other counts them.

use std::io;

use futures::future::join;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{PeerId, Stream, StreamProtocol};
pub(crate) use libp2p_stream::Control;
use libp2p_stream::{AlreadyRegistered, OpenStreamError};
use wasm_bindgen_futures::spawn_local;

/// Protocol that echoes all bytes up to the end of the stream.
pub(crate) const ECHO: StreamProtocol = StreamProtocol::new("/interop/echo/1");
/// Protocol that answers the end of the stream with the number of received bytes, as a big-endian `u64`.
pub(crate) const BULK: StreamProtocol = StreamProtocol::new("/interop/bulk/1");

/// Bytes per write. They take many frames, so that the shorter last frame does not affect the measurement.
const CHUNK_LEN: usize = 256 * 1024;

/// Serves both protocols for as long as the swarm runs.
pub(crate) fn serve(mut control: Control) -> Result<(), AlreadyRegistered> {
    let mut echoes = control.accept(ECHO)?;
    let mut bulks = control.accept(BULK)?;
    spawn_local(async move {
        while let Some((_, stream)) = echoes.next().await {
            // The peer that opened the stream notices if it fails.
            spawn_local(async move { drop(send_back(stream).await) });
        }
    });
    spawn_local(async move {
        while let Some((_, stream)) = bulks.next().await {
            spawn_local(async move { drop(count(stream).await) });
        }
    });
    Ok(())
}

/// Opens a stream to the peer on any of its connections.
pub(crate) async fn open(
    control: &Control,
    peer: PeerId,
    protocol: StreamProtocol,
) -> Result<Stream, OpenStreamError> {
    control.clone().open_stream(peer, protocol).await
}

/// Sends `data` and returns the echo.
pub(crate) async fn echo(stream: Stream, data: &[u8]) -> io::Result<Vec<u8>> {
    let (mut reader, mut writer) = stream.split();
    let mut back = Vec::new();
    let writing = async {
        writer.write_all(data).await?;
        writer.close().await
    };
    let reading = reader.read_to_end(&mut back);
    let (written, read) = join(writing, reading).await;
    written?;
    read?;
    Ok(back)
}

/// Sends `length` bytes and waits until the peer has counted them.
pub(crate) async fn send_bulk(mut stream: Stream, length: u64) -> io::Result<()> {
    let chunk = vec![0x5A; CHUNK_LEN];
    let mut left = length;
    while left > 0 {
        let now = usize::try_from(left).map_or(CHUNK_LEN, |left| left.min(CHUNK_LEN));
        stream.write_all(chunk.split_at(now).0).await?;
        left -= now as u64;
    }
    stream.close().await?;
    let mut count = [0; 8];
    stream.read_exact(&mut count).await?;
    match u64::from_be_bytes(count) {
        count if count == length => Ok(()),
        count => Err(io::Error::other(format!(
            "the peer counted {count} of {length} bytes"
        ))),
    }
}

async fn send_back(stream: Stream) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    futures::io::copy(reader, &mut writer).await?;
    writer.close().await
}

async fn count(mut stream: Stream) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_LEN];
    let mut count = 0_u64;
    loop {
        match stream.read(&mut chunk).await? {
            0 => break,
            read => count += read as u64,
        }
    }
    stream.write_all(&count.to_be_bytes()).await?;
    stream.close().await
}
