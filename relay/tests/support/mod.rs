//! What the tests share: a native libp2p client that uses the relay as a tab does, requests by HTTP and TLS, and files. Each
//! test file uses only a part of it.
#![allow(dead_code, clippy::wildcard_enum_match_arm)]

// The load client has these, too.
#[path = "../../../tests/load/src/dial_from.rs"]
mod dial_from;
#[path = "../../../tests/load/src/free_port.rs"]
pub(crate) mod free_port;
pub(crate) mod http;
pub(crate) mod installed;
// The unit tests have it, too.
#[path = "../../src/test_folder.rs"]
pub(crate) mod test_folder;
pub(crate) mod tls;

use std::{io, net::Ipv4Addr, path::Path, process::ExitStatus};

use self::dial_from::DialFrom;
pub(crate) use self::http::PATIENCE;
use futures::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, StreamExt as _, future::join_all,
};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, Transport,
    core::upgrade,
    multiaddr::Protocol,
    noise, ping, relay as circuit, rendezvous, request_response,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, websocket, yamux,
};
use libp2p_webrtc_direct as webrtc;
use relay::Relay;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

/// Sends a signal to a program, and waits until it has ended.
pub(crate) async fn end_with(signal: &str, child: &mut Child) -> ExitStatus {
    let id = child.id().expect("it runs").to_string();
    let sent = Command::new("kill").args([signal, &id]).status().await;
    assert!(sent.expect("there is a kill").success());
    let status = timeout(PATIENCE, child.wait()).await;
    status.expect("it ends").expect("it ran")
}

#[derive(NetworkBehaviour)]
pub(crate) struct ClientBehaviour {
    pub(crate) circuit: circuit::client::Behaviour,
    pub(crate) rendezvous: rendezvous::client::Behaviour,
    pub(crate) ping: ping::Behaviour,
    pub(crate) echo: request_response::Behaviour<Echo>,
}

/// A stand-in for a tab.
pub(crate) struct Client {
    pub(crate) swarm: Swarm<ClientBehaviour>,
}

impl Client {
    pub(crate) fn new() -> Self {
        Self::dialing_with(tcp::tokio::Transport::new(tcp::Config::default()))
    }

    /// A client that uses this transport for WebSockets.
    fn dialing_with<T>(tcp: T) -> Self
    where
        T: Transport<Output = tcp::tokio::TcpStream> + Send + Unpin + 'static,
        T::Error: Send + Sync + 'static,
        T::Dial: Send + 'static,
        T::ListenerUpgrade: Send + 'static,
    {
        let swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_other_transport(|key| {
                Ok(websocket::Config::new(tcp)
                    .upgrade(upgrade::Version::V1Lazy)
                    .authenticate(noise::Config::new(key)?)
                    .multiplex(yamux::Config::default()))
            })
            .expect("a transport")
            .with_other_transport(|key| {
                let config = webrtc::Config::new(key.clone(), webrtc::Certificate::generate()?);
                Ok(webrtc::Transport::new(config))
            })
            .expect("a transport")
            .with_relay_client(noise::Config::new, yamux::Config::default)
            .expect("a transport")
            .with_behaviour(|key, circuit| ClientBehaviour {
                circuit,
                rendezvous: rendezvous::client::Behaviour::new(key.clone()),
                ping: ping::Behaviour::new(ping::Config::new()),
                echo: request_response::Behaviour::with_codec(
                    Echo,
                    [(
                        StreamProtocol::new("/echo/1"),
                        request_response::ProtocolSupport::Full,
                    )],
                    request_response::Config::default().with_request_timeout(PATIENCE),
                ),
            })
            .expect("a behaviour")
            .with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE))
            .build();
        Self { swarm }
    }

    pub(crate) fn peer_id(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    /// Drives the client until `wanted` returns a value for an event.
    pub(crate) async fn until<T>(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&SwarmEvent<ClientBehaviourEvent>) -> Option<T>,
    ) -> T {
        let found = timeout(PATIENCE, async {
            loop {
                let event = self.swarm.select_next_some().await;
                if let Some(found) = wanted(&event) {
                    return found;
                }
                self.respond(event);
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => panic!("no {what} within {PATIENCE:?}"),
        }
    }

    /// Responds to echo requests. Never returns.
    pub(crate) async fn serve(&mut self) {
        loop {
            let event = self.swarm.select_next_some().await;
            self.respond(event);
        }
    }

    fn respond(&mut self, event: SwarmEvent<ClientBehaviourEvent>) {
        if let SwarmEvent::Behaviour(ClientBehaviourEvent::Echo(
            request_response::Event::Message {
                message:
                    request_response::Message::Request {
                        request, channel, ..
                    },
                ..
            },
        )) = event
        {
            let echo = &mut self.swarm.behaviour_mut().echo;
            echo.send_response(channel, request)
                .expect("the requester waits");
        }
    }

    /// A new client that is connected to the relay at `address`.
    pub(crate) async fn connected_to(address: &Multiaddr) -> Self {
        let mut client = Self::new();
        client.connect(address).await.expect("a connection");
        client
    }

    /// A new client that is connected to the relay at `address` from another loopback address than 127.0.0.1.
    pub(crate) async fn from_address(source: Ipv4Addr, address: &Multiaddr) -> Self {
        let mut client = Self::dialing_with(DialFrom(source.into()));
        client.connect(address).await.expect("a connection");
        client
    }

    async fn connect(&mut self, address: &Multiaddr) -> Result<(), String> {
        let relay = peer_of(address);
        self.swarm.dial(address.clone()).expect("a good address");
        self.until("connection", |event| match event {
            SwarmEvent::ConnectionEstablished { peer_id, .. } if *peer_id == relay => Some(Ok(())),
            SwarmEvent::OutgoingConnectionError { error, .. } => Some(Err(error.to_string())),
            _ => None,
        })
        .await
    }

    /// Makes a reservation. Returns the reason if the relay refuses.
    pub(crate) async fn reserve(&mut self, relay: &Multiaddr) -> Result<(), String> {
        let address = relay.clone().with(Protocol::P2pCircuit);
        let listener = self.swarm.listen_on(address).expect("a good address");
        self.until("reservation", |event| match event {
            SwarmEvent::Behaviour(ClientBehaviourEvent::Circuit(
                circuit::client::Event::ReservationReqAccepted { .. },
            )) => Some(Ok(())),
            SwarmEvent::ListenerClosed {
                listener_id,
                reason,
                ..
            } if *listener_id == listener => Some(Err(format!("{reason:?}"))),
            _ => None,
        })
        .await
    }

    /// Dials `peer` through the relay. Returns the reason if that fails.
    pub(crate) async fn dial(&mut self, relay: &Multiaddr, peer: PeerId) -> Result<(), String> {
        let address = relay
            .clone()
            .with(Protocol::P2pCircuit)
            .with(Protocol::P2p(peer));
        self.swarm.dial(address).expect("a good address");
        self.until("circuit", |event| match event {
            SwarmEvent::ConnectionEstablished { peer_id, .. } if *peer_id == peer => Some(Ok(())),
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. }
                if *peer_id == Some(peer) =>
            {
                Some(Err(format!("{error:?}")))
            }
            _ => None,
        })
        .await
    }

    /// Sends `data` to `peer` and returns its echo.
    pub(crate) async fn request_echo(
        &mut self,
        peer: PeerId,
        data: Vec<u8>,
    ) -> Result<Vec<u8>, String> {
        let echo = &mut self.swarm.behaviour_mut().echo;
        let sent_id = echo.send_request(&peer, data);
        self.until("echo", |event| match event {
            SwarmEvent::Behaviour(ClientBehaviourEvent::Echo(
                request_response::Event::Message {
                    message:
                        request_response::Message::Response {
                            request_id,
                            response,
                        },
                    ..
                },
            )) if *request_id == sent_id => Some(Ok(response.clone())),
            SwarmEvent::Behaviour(ClientBehaviourEvent::Echo(
                request_response::Event::OutboundFailure {
                    request_id, error, ..
                },
            )) if *request_id == sent_id => Some(Err(error.to_string())),
            _ => None,
        })
        .await
    }
}

/// Clients that are connected to `relay` and have a reservation.
pub(crate) async fn reserved_clients(count: usize, relay: &Multiaddr) -> Vec<Client> {
    let clients = (0..count).map(|_| async {
        let mut client = Client::connected_to(relay).await;
        client.reserve(relay).await.expect("a reservation");
        client
    });
    join_all(clients).await
}

/// A path as a flag or a configuration needs it.
pub(crate) fn text_of(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// The relay's WebSocket address.
pub(crate) fn websocket_of(relay: &Relay) -> Multiaddr {
    address_with(relay, &Protocol::Ws("/".into()))
}

/// The relay's WebRTC-direct address.
pub(crate) fn webrtc_of(relay: &Relay) -> Multiaddr {
    address_with(relay, &Protocol::WebRTCDirect)
}

/// The TCP or UDP port of an address.
pub(crate) fn port_of(address: &Multiaddr) -> u16 {
    let port = address.iter().find_map(|part| match part {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
        _ => None,
    });
    port.expect("a port")
}

fn address_with(relay: &Relay, wanted: &Protocol<'_>) -> Multiaddr {
    relay
        .addresses()
        .into_iter()
        .find(|address| address.iter().any(|part| part == *wanted))
        .expect("the relay listens on every transport")
}

/// The peer ID in an address of the relay.
pub(crate) fn peer_of(address: &Multiaddr) -> PeerId {
    let peer = address.iter().find_map(|part| match part {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    });
    peer.expect("the relay's addresses contain its peer ID")
}

/// Codec of the echo protocol: plain bytes, which end when the sender closes its side of the stream.
#[derive(Debug, Clone)]
pub(crate) struct Echo;

impl request_response::Codec for Echo {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        data: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&data).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        data: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&data).await
    }
}

async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    io.read_to_end(&mut data).await?;
    Ok(data)
}
