//! The server: counts what is uploaded, and sends what is asked for, until it is killed.

use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::task::Poll;

use anyhow::Result;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p_core::muxing::{StreamMuxerBox, StreamMuxerExt as _, SubstreamBox};
use libp2p_core::transport::TransportEvent;

use crate::kind::{CHUNK, Kind, UPLOAD};
use crate::peers::{listen, transport};

/// Prints the address, and serves.
pub(crate) async fn run(kind: Kind, ip: Ipv4Addr) -> Result<()> {
    let mut transport = transport(kind, None)?;
    println!("{}", listen(&mut transport, ip).await?);
    while let Some(event) = transport.next().await {
        if let TransportEvent::Incoming { upgrade, .. } = event {
            tokio::spawn(async move {
                // Failed handshakes are part of what is measured.
                if let Ok((_, muxer)) = upgrade.await {
                    serve(muxer, kind).await;
                }
            });
        }
    }
    Ok(())
}

async fn serve(mut muxer: StreamMuxerBox, kind: Kind) {
    let streams = poll_fn(|context| {
        while let Poll::Ready(inbound) = muxer.poll_inbound_unpin(context) {
            let Ok(stream) = inbound else {
                return Poll::Ready(());
            };
            tokio::spawn(answer(stream, kind.write_len()));
        }
        muxer.poll_unpin(context).map(|_| ())
    });
    streams.await;
}

async fn answer(mut stream: SubstreamBox, write_len: usize) -> std::io::Result<()> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    let [kind, length @ ..] = head;
    let length = u64::from_be_bytes(length);
    let mut chunk = vec![7; CHUNK];
    let mut done = 0;
    while done < length {
        done += if kind == UPLOAD {
            let read = stream.read(&mut chunk).await? as u64;
            if read == 0 {
                break;
            }
            read
        } else {
            let left = usize::try_from(length - done).unwrap_or(usize::MAX);
            let part = &chunk[..left.min(write_len)];
            stream.write_all(part).await?;
            stream.flush().await?;
            part.len() as u64
        };
    }
    if kind == UPLOAD {
        stream.write_all(&done.to_be_bytes()).await?;
    }
    stream.flush().await?;
    stream.close().await
}
