//! Two native peers on loopback, for the tests of this crate. Each test file uses only a part of it.
#![allow(dead_code)]

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use libp2p_core::multiaddr::Protocol;
use libp2p_core::muxing::{StreamMuxer, StreamMuxerExt};
use libp2p_core::transport::{DialOpts, ListenerId, PortUse, TransportEvent};
use libp2p_core::{Endpoint, Multiaddr, Transport as _};
use libp2p_identity::{Keypair, PeerId};
use libp2p_webrtc_direct::{
    Certificate, Config, Connection, ConnectionError, Counters, Error, Stream, Transport,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Time limit of a test.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A server that accepts connections and hands them out.
pub(crate) struct Server {
    pub(crate) address: Multiaddr,
    pub(crate) peer: PeerId,
    pub(crate) counters: Arc<Counters>,
    pub(crate) accepted: mpsc::UnboundedReceiver<Result<(PeerId, Connection), Error>>,
    /// Dropped to remove the listener.
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens on `address`.
    pub(crate) async fn start(address: &str, change: impl FnOnce(Config) -> Config) -> Self {
        let (keypair, config) = config();
        let mut transport = Transport::new(change(config));
        let counters = transport.counters();
        let listener = ListenerId::next();
        transport
            .listen_on(listener, address.parse().expect("an address"))
            .expect("a free port");
        let mut transport = transport.boxed();
        let address = match transport.next().await {
            Some(TransportEvent::NewAddress { listen_addr, .. }) => listen_addr,
            other => panic!("{other:?}"),
        };
        let (send, accepted) = mpsc::unbounded_channel();
        let bound = socket_address(&address);
        let (stop, mut stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let mut is_removed = false;
            loop {
                let event = tokio::select! {
                    _ = &mut stopped, if !is_removed => {
                        assert!(transport.remove_listener(listener));
                        assert!(!transport.remove_listener(listener), "it is removed already");
                        is_removed = true;
                        continue;
                    }
                    event = transport.select_next_some() => event,
                };
                if let TransportEvent::Incoming { upgrade, .. } = event {
                    let send = send.clone();
                    tokio::spawn(upgrade.map(move |outcome| {
                        let outcome =
                            outcome.map_err(|error| Error::Io(io::Error::other(error.to_string())));
                        let _ = send.send(outcome);
                    }));
                } else if let TransportEvent::ListenerClosed { reason, .. } = event {
                    assert!(is_removed && reason.is_ok(), "{reason:?}");
                    // Without a pause, in which the port could become free.
                    UdpSocket::bind(bound).expect("the port is free");
                    return;
                }
            }
        });
        Self {
            address,
            peer: keypair.public().to_peer_id(),
            counters,
            accepted,
            stop: Some(stop),
            task,
        }
    }

    /// Removes the listener, waits until it is closed, and checks that its port is free then.
    pub(crate) async fn close(&mut self) {
        self.stop = None;
        (&mut self.task).await.expect("no panic");
    }

    /// The next connection.
    pub(crate) async fn accept(&mut self) -> (PeerId, Connection) {
        let accepted = self.accepted.recv().await.expect("the server runs");
        accepted.expect("the handshake succeeds")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The port of an address on 127.0.0.1.
pub(crate) fn socket_address(address: &Multiaddr) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port(address)))
}

/// The port of an address.
pub(crate) fn port(address: &Multiaddr) -> u16 {
    let port = address.iter().find_map(|part| {
        if let Protocol::Udp(port) = part {
            return Some(port);
        }
        None
    });
    port.expect("a port")
}

/// New keys with default settings.
pub(crate) fn config() -> (Keypair, Config) {
    let keypair = Keypair::generate_ed25519();
    let certificate = Certificate::generate().expect("a certificate");
    (keypair.clone(), Config::new(keypair, certificate))
}

/// Dials with new keys.
pub(crate) async fn dial(
    address: &Multiaddr,
    change: impl FnOnce(Config) -> Config,
) -> Result<(PeerId, Connection), Error> {
    let (_, config) = config();
    let options = DialOpts {
        role: Endpoint::Dialer,
        port_use: PortUse::New,
    };
    let mut transport = Transport::new(change(config));
    let dial = transport.dial(address.clone(), options);
    dial.expect("a supported address").await
}

/// A connected pair: the dialer's and the listener's end.
pub(crate) async fn pair(address: &str) -> (Server, Connection, Connection) {
    pair_with(address, |config| config, |config| config).await
}

/// The same with other settings of the server and of the dialer.
pub(crate) async fn pair_with(
    address: &str,
    change_server: impl FnOnce(Config) -> Config,
    change_dialer: impl FnOnce(Config) -> Config,
) -> (Server, Connection, Connection) {
    let mut server = Server::start(address, change_server).await;
    let target = server.address.clone();
    let (dialled, accepted) = tokio::join!(dial(&target, change_dialer), server.accept());
    let (peer, dialled) = dialled.expect("the handshake succeeds");
    assert_eq!(peer, server.peer);
    (server, dialled, accepted.1)
}

/// Opens a stream of the connection.
pub(crate) async fn open(connection: &mut Connection) -> Result<Stream, ConnectionError> {
    poll_fn(|context| connection.poll_outbound_unpin(context)).await
}

/// Accepts a stream of the peer.
pub(crate) async fn accept(connection: &mut Connection) -> Result<Stream, ConnectionError> {
    poll_fn(|context| connection.poll_inbound_unpin(context)).await
}

/// Waits for the end of a connection.
pub(crate) async fn ended(connection: &mut Connection) -> ConnectionError {
    match poll_fn(|context| Pin::new(&mut *connection).poll(context)).await {
        Err(error) => error,
        Ok(event) => panic!("{event:?}"),
    }
}

/// Checks that a new peer can connect and use a stream, within 2 s.
pub(crate) async fn honest_peer_connects(server: &mut Server) {
    let since = Instant::now();
    let target = server.address.clone();
    let (dialled, accepted) = tokio::join!(dial(&target, |config| config), server.accept());
    let (_, mut connection) = dialled.expect("the handshake succeeds");
    serve(accepted.1);
    let stream = open(&mut connection).await.expect("alive");
    exchange(stream, b"hello").await.expect("echoed");
    assert!(
        since.elapsed() < Duration::from_secs(2),
        "{:?}",
        since.elapsed()
    );
}

/// Echoes every stream until the connection ends.
pub(crate) fn serve(mut connection: Connection) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Ok(stream) = accept(&mut connection).await {
            tokio::spawn(echo(stream));
        }
    })
}

async fn echo(stream: Stream) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    futures::io::copy(&mut reader, &mut writer).await?;
    writer.close().await
}

/// Writes data and checks that the same comes back, then closes the stream in order.
pub(crate) async fn exchange(stream: Stream, data: &[u8]) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    let sending = async {
        writer.write_all(data).await?;
        writer.close().await
    };
    let mut received = Vec::new();
    let receiving = reader.read_to_end(&mut received);
    let (sent, read) = tokio::join!(sending, receiving);
    sent?;
    read?;
    assert!(
        received == data,
        "{} bytes of {}",
        received.len(),
        data.len()
    );
    Ok(())
}
