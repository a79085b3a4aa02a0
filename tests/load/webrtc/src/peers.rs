//! Peers of both transports, behind one interface.

use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Mutex;

use anyhow::{Context as _, Result, bail, ensure};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _};
use libp2p_core::muxing::{StreamMuxerBox, StreamMuxerExt as _};
use libp2p_core::transport::{Boxed, DialOpts, ListenerId, PortUse, TransportEvent};
use libp2p_core::{Endpoint, Multiaddr, Transport as _};
use libp2p_identity::{Keypair, PeerId};
use libp2p_webrtc_direct::{Certificate, Config, StreamConfig};

use crate::kind::{CHUNK, DOWNLOAD, Kind, UPLOAD};
use crate::process::Server;

type Peers = Boxed<(PeerId, StreamMuxerBox)>;

/// A transport of this kind. The new one speaks the dialect of old servers if asked.
pub(crate) fn transport(kind: Kind, streams: Option<StreamConfig>) -> Result<Peers> {
    let keypair = Keypair::generate_ed25519();
    Ok(match kind {
        Kind::New => {
            let mut config = Config::new(keypair, Certificate::generate()?);
            if let Some(streams) = streams {
                config = config.with_streams(streams);
            }
            libp2p_webrtc_direct::Transport::new(config)
                .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
                .boxed()
        }
        Kind::Old => {
            let certificate = libp2p_webrtc::tokio::Certificate::generate(&mut rand::rng())?;
            libp2p_webrtc::tokio::Transport::new(keypair, certificate)
                .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
                .boxed()
        }
    })
}

/// Listens on a free port, and returns the address.
pub(crate) async fn listen(transport: &mut Peers, ip: Ipv4Addr) -> Result<Multiaddr> {
    transport.listen_on(
        ListenerId::next(),
        format!("/ip4/{ip}/udp/0/webrtc-direct").parse()?,
    )?;
    loop {
        if let TransportEvent::NewAddress { listen_addr, .. } = transport.select_next_some().await {
            return Ok(listen_addr);
        }
    }
}

/// Dials servers, all with the same identity.
pub(crate) struct Dialer {
    kind: Kind,
    /// For new servers, and for old ones.
    transports: Mutex<[Peers; 2]>,
}

impl Dialer {
    pub(crate) fn new(kind: Kind) -> Result<Self> {
        let transports = [
            transport(kind, None)?,
            transport(kind, Some(StreamConfig::STOCK_SERVER))?,
        ];
        let transports = Mutex::new(transports);
        Ok(Self { kind, transports })
    }

    pub(crate) async fn dial(&self, server: &Server) -> Result<Client> {
        let options = DialOpts {
            role: Endpoint::Dialer,
            port_use: PortUse::New,
        };
        if self.kind == Kind::Old {
            // It dials from the port of a listener, which somebody has to drive.
            let mut transport = transport(Kind::Old, None)?;
            listen(&mut transport, Ipv4Addr::LOCALHOST).await?;
            let mut dial = transport.dial(server.address.clone(), options)?.fuse();
            let driving = tokio::spawn(async move { while transport.next().await.is_some() {} });
            let (_, muxer) = (&mut dial).await.context("cannot connect")?;
            return Ok(Client {
                kind: Kind::Old,
                muxer,
                _driving: Some(driving),
            });
        }
        let dial = {
            let mut transports = self.transports.lock().expect("no panic");
            let [new, old] = &mut *transports;
            let transport = match server.kind {
                Kind::New => new,
                Kind::Old => old,
            };
            transport.dial(server.address.clone(), options)?
        };
        let (_, muxer) = dial.await.context("cannot connect")?;
        Ok(Client {
            kind: Kind::New,
            muxer,
            _driving: None,
        })
    }

    pub(crate) async fn dial_many(
        &self,
        server: &Server,
        count: usize,
        concurrent: usize,
    ) -> Result<Vec<Client>> {
        let dials = stream::iter(0..count).map(|_| self.dial(server));
        dials.buffer_unordered(concurrent).try_collect().await
    }
}

/// A connection to a server.
pub(crate) struct Client {
    kind: Kind,
    muxer: StreamMuxerBox,
    _driving: Option<tokio::task::JoinHandle<()>>,
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(driving) = &self._driving {
            driving.abort();
        }
    }
}

impl Client {
    /// Sends bytes, and waits until the server has read them.
    pub(crate) async fn upload(&mut self, bytes: usize) -> Result<()> {
        let mut counted = [0; 8];
        let write_len = self.kind.write_len();
        self.exchange(async |stream| {
            stream.write_all(&[UPLOAD]).await?;
            stream.write_all(&(bytes as u64).to_be_bytes()).await?;
            let chunk = vec![7; write_len];
            let mut left = bytes;
            while left > 0 {
                let part = &chunk[..left.min(write_len)];
                stream.write_all(part).await?;
                stream.flush().await?;
                left -= part.len();
            }
            stream.read_exact(&mut counted).await?;
            Ok(())
        })
        .await?;
        ensure!(
            u64::from_be_bytes(counted) == bytes as u64,
            "the server read less"
        );
        Ok(())
    }

    /// Receives that many bytes from the server.
    pub(crate) async fn download(&mut self, bytes: usize) -> Result<()> {
        self.exchange(async |stream| {
            stream.write_all(&[DOWNLOAD]).await?;
            stream.write_all(&(bytes as u64).to_be_bytes()).await?;
            stream.flush().await?;
            let mut buffer = vec![0; CHUNK];
            let mut left = bytes;
            while left > 0 {
                let read = stream.read(&mut buffer).await?;
                ensure!(read > 0, "the server sent {left} bytes less");
                left -= read;
            }
            Ok(())
        })
        .await
    }

    /// Uses a stream while the connection is driven.
    async fn exchange(
        &mut self,
        work: impl AsyncFnOnce(&mut libp2p_core::muxing::SubstreamBox) -> Result<()>,
    ) -> Result<()> {
        let muxer = &mut self.muxer;
        let mut stream = poll_fn(|context| {
            if let std::task::Poll::Ready(Err(error)) = Pin::new(&mut *muxer).poll_unpin(context) {
                return std::task::Poll::Ready(Err(error));
            }
            muxer.poll_outbound_unpin(context)
        })
        .await?;
        let driving = poll_fn(|context| muxer.poll_unpin(context).map(|_| ()));
        tokio::select! {
            outcome = work(&mut stream) => outcome,
            () = driving => bail!("the connection ended"),
        }
    }
}
