//! An echo server on `/webrtc-direct`, built on the stock `libp2p-webrtc`, for testing this crate against it. It prints
//! its address to standard output and echoes every stream until it is stopped. Data that begins with "die" makes it
//! abort without closing its connections.
//!
//! It writes at most 4 KiB at a time and flushes, because the stock implementation joins longer writes into messages
//! that are too large to be sent.

#[cfg(not(target_arch = "wasm32"))]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    server::run().await
}

#[cfg(target_arch = "wasm32")]
fn main() {}

#[cfg(not(target_arch = "wasm32"))]
mod server {
    use std::error::Error;
    use std::future::poll_fn;
    use std::io;
    use std::task::Poll;

    use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
    use libp2p_core::Transport as _;
    use libp2p_core::muxing::StreamMuxerExt;
    use libp2p_core::transport::{ListenerId, TransportEvent};
    use libp2p_identity::Keypair;
    use libp2p_webrtc::tokio::{Certificate, Connection, Transport};

    const CHUNK_LEN: usize = 4_096;

    pub(super) async fn run() -> Result<(), Box<dyn Error>> {
        let keypair = Keypair::generate_ed25519();
        let peer = keypair.public().to_peer_id();
        let mut transport =
            Transport::new(keypair, Certificate::generate(&mut rand::rng())?).boxed();
        let address = std::env::args()
            .nth(1)
            .unwrap_or_else(|| "/ip4/127.0.0.1/udp/0/webrtc-direct".to_owned());
        transport.listen_on(ListenerId::next(), address.parse()?)?;
        while let Some(event) = transport.next().await {
            match event {
                TransportEvent::NewAddress { listen_addr, .. } => {
                    println!("{listen_addr}/p2p/{peer}")
                }
                TransportEvent::Incoming { upgrade, .. } => {
                    tokio::spawn(async move {
                        match upgrade.await {
                            Ok((peer, connection)) => serve(&peer.to_string(), connection).await,
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

    async fn serve(peer: &str, mut connection: Connection) {
        loop {
            let next = poll_fn(|context| {
                if let Poll::Ready(Err(error)) = connection.poll_unpin(context) {
                    return Poll::Ready(Err(error));
                }
                connection.poll_inbound_unpin(context)
            });
            match next.await {
                Ok(stream) => {
                    tokio::spawn(async move {
                        if let Err(error) = echo(stream).await {
                            eprintln!("echo: {error}");
                        }
                    });
                }
                Err(error) => return eprintln!("{peer} is gone: {error}"),
            }
        }
    }

    async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let mut buffer = [0; CHUNK_LEN];
        loop {
            let read = stream.read(&mut buffer).await?;
            let (data, _) = buffer.split_at(read);
            if data.starts_with(b"die") {
                std::process::abort();
            }
            if data.is_empty() {
                return stream.close().await;
            }
            stream.write_all(data).await?;
            stream.flush().await?;
        }
    }
}
