//! The two stream protocols: one sends back what comes, the other counts it.

use std::io;

use futures::future::join;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{PeerId, Stream, StreamProtocol};
pub(crate) use libp2p_stream::Control;
use libp2p_stream::{AlreadyRegistered, OpenStreamError};
use wasm_bindgen_futures::spawn_local;

/// Sends back all bytes until the end of the stream.
pub(crate) const ECHO: StreamProtocol = StreamProtocol::new("/interop/echo/1");
/// Answers the end of the stream with the number of bytes before it, as a big-endian `u64`.
pub(crate) const BULK: StreamProtocol = StreamProtocol::new("/interop/bulk/1");

/// Bytes handed over at once: many frames, so that the last and shorter one does not count.
const PIECE: usize = 256 * 1024;

/// Serves both protocols for as long as the swarm runs.
pub(crate) fn serve(mut control: Control) -> Result<(), AlreadyRegistered> {
    let mut echoes = control.accept(ECHO)?;
    let mut bulks = control.accept(BULK)?;
    spawn_local(async move {
        while let Some((_, stream)) = echoes.next().await {
            // A stream that breaks is seen by whoever opened it.
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

/// A stream with the peer, on whatever connection there is.
pub(crate) async fn open(
    control: &Control,
    peer: PeerId,
    protocol: StreamProtocol,
) -> Result<Stream, OpenStreamError> {
    control.clone().open_stream(peer, protocol).await
}

/// Sends `data` and returns what comes back until the end.
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
    let piece = vec![0x5A; PIECE];
    let mut left = length;
    while left > 0 {
        let now = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        stream.write_all(piece.split_at(now).0).await?;
        left -= now as u64;
    }
    stream.close().await?;
    let mut count = [0; 8];
    stream.read_exact(&mut count).await?;
    match u64::from_be_bytes(count) {
        count if count == length => Ok(()),
        count => Err(io::Error::other(format!(
            "the peer counts {count} bytes of {length}"
        ))),
    }
}

async fn send_back(stream: Stream) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    futures::io::copy(reader, &mut writer).await?;
    writer.close().await
}

async fn count(mut stream: Stream) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut count = 0_u64;
    loop {
        match stream.read(&mut piece).await? {
            0 => break,
            read => count += read as u64,
        }
    }
    stream.write_all(&count.to_be_bytes()).await?;
    stream.close().await
}
