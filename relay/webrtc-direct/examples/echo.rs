//! An echo server on `/webrtc-direct`: prints its address, and echoes every stream of every connection until it is
//! stopped. With `dial` and such an address it measures how long 64 MiB take to come back; `stock` at the end is for
//! servers that run `libp2p-webrtc` 0.10.
//!
//! ```sh
//! cargo run --release -p libp2p-webrtc-direct --example echo -- listen /ip4/127.0.0.1/udp/0/webrtc-direct
//! cargo run --release -p libp2p-webrtc-direct --example echo -- dial /ip4/127.0.0.1/udp/…
//! ```

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::time::Instant;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p_core::muxing::StreamMuxerExt;
use libp2p_core::transport::{DialOpts, ListenerId, PortUse, TransportEvent};
use libp2p_core::{Endpoint, Multiaddr, Transport as _};
use libp2p_identity::Keypair;
use libp2p_webrtc_direct::{Certificate, Config, Connection, Stream, StreamConfig, Transport};

/// Bytes that the dialer sends.
const LEN: usize = 64 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let keypair = Keypair::generate_ed25519();
    let config = Config::new(keypair.clone(), Certificate::generate()?);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["listen", address] => listen(config, address.parse()?, &keypair).await,
        ["dial", address] => measure(config, address.parse()?).await,
        ["dial", address, "stock"] => {
            let config = config.with_streams(StreamConfig::STOCK_SERVER);
            measure(config, address.parse()?).await
        }
        _ => Err("usage: echo listen <address> | dial <address> [stock]".into()),
    }
}

async fn listen(
    config: Config,
    address: Multiaddr,
    keypair: &Keypair,
) -> Result<(), Box<dyn Error>> {
    let peer = keypair.public().to_peer_id();
    let mut transport = Transport::new(config);
    transport.listen_on(ListenerId::next(), address)?;
    let mut transport = transport.boxed();
    while let Some(event) = transport.next().await {
        match event {
            TransportEvent::NewAddress { listen_addr, .. } => println!("{listen_addr}/p2p/{peer}"),
            TransportEvent::Incoming { upgrade, .. } => {
                tokio::spawn(async move {
                    match upgrade.await {
                        Ok((_, connection)) => serve(connection).await,
                        Err(error) => eprintln!("no connection: {error}"),
                    }
                });
            }
            TransportEvent::ListenerError { error, .. } => eprintln!("listener: {error}"),
            TransportEvent::ListenerClosed { .. } | TransportEvent::AddressExpired { .. } => {}
        }
    }
    Ok(())
}

async fn serve(mut connection: Connection) {
    while let Ok(stream) = poll_fn(|context| connection.poll_inbound_unpin(context)).await {
        tokio::spawn(echo(stream));
    }
}

async fn echo(stream: Stream) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    futures::io::copy(&mut reader, &mut writer).await?;
    writer.close().await
}

async fn measure(config: Config, address: Multiaddr) -> Result<(), Box<dyn Error>> {
    let mut transport = Transport::new(config);
    let options = DialOpts {
        role: Endpoint::Dialer,
        port_use: PortUse::New,
    };
    let since = Instant::now();
    let (peer, mut connection) = transport.dial(address, options)?.await?;
    println!("connected to {peer} after {:?}", since.elapsed());
    let stream = poll_fn(|context| connection.poll_outbound_unpin(context)).await?;
    let (mut reader, mut writer) = stream.split();
    let since = Instant::now();
    let writing = tokio::spawn(async move {
        writer.write_all(&vec![7; LEN]).await?;
        writer.close().await
    });
    let mut received = Vec::with_capacity(LEN);
    reader.read_to_end(&mut received).await?;
    writing.await??;
    println!(
        "{} bytes came back after {:?}",
        received.len(),
        since.elapsed()
    );
    Ok(())
}
