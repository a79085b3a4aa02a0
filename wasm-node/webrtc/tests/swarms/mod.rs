//! Test support: swarms with an echo protocol in one page. Their in-memory connections stand in for relayed ones.
#![allow(dead_code, reason = "each test file uses a part of this")]
#![allow(unreachable_pub, reason = "a test support module")]

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use futures::channel::{mpsc, oneshot};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt, select};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::MemoryTransport;
use libp2p::core::{ConnectedPoint, upgrade};
use libp2p::request_response::{self, Message, ProtocolSupport};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, Transport, identity, noise, swarm, yamux};
use libp2p_webrtc_browser::peer::{self, Config, address};
use wasm_bindgen_futures::spawn_local;

use crate::pair::{record_uncaught_errors, timeout, wait_until};

const ECHO: StreamProtocol = StreamProtocol::new("/echo/1");

#[derive(NetworkBehaviour)]
struct Behaviour {
    webrtc: peer::Behaviour,
    echo: request_response::Behaviour<Echo>,
}

/// Request and response are all bytes up to the end of the stream.
#[derive(Clone, Default)]
struct Echo;

impl request_response::Codec for Echo {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut data = Vec::new();
        io.read_to_end(&mut data).await.map(|_| data)
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut data = Vec::new();
        io.read_to_end(&mut data).await.map(|_| data)
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

enum Command {
    Dial(DialOpts, oneshot::Sender<Result<(), String>>),
    Close(ConnectionId),
    Echo(PeerId, Vec<u8>, oneshot::Sender<Vec<u8>>),
}

/// A connection, as reported by the swarm.
#[derive(Clone, Debug)]
pub struct Link {
    pub id: ConnectionId,
    pub peer: PeerId,
    pub direct: bool,
    pub dialer: bool,
}

/// A swarm that runs in the background until this is dropped.
pub struct Node {
    pub peer: PeerId,
    pub address: Multiaddr,
    commands: mpsc::UnboundedSender<Command>,
    links: Rc<RefCell<Vec<Link>>>,
    failures: Rc<RefCell<Vec<String>>>,
}

impl Node {
    /// Starts a swarm that treats in-memory connections as relayed ones.
    pub async fn new(configure: impl FnOnce(Config) -> Config) -> Self {
        record_uncaught_errors();
        let key = identity::Keypair::generate_ed25519();
        let us = key.public().to_peer_id();
        let config = Config::new(us).with_offers_on(|endpoint| !address::is_direct(endpoint));
        let (webrtc, behaviour) = peer::new(configure(config));
        let memory = MemoryTransport::default()
            .upgrade(upgrade::Version::V1Lazy)
            .authenticate(noise::Config::new(&key).expect("ed25519"))
            .multiplex(yamux::Config::default())
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
        let transport = webrtc
            .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
            .or_transport(memory)
            .map(|either, _| either.into_inner())
            .boxed();
        let behaviour = Behaviour {
            webrtc: behaviour,
            echo: request_response::Behaviour::with_codec(
                Echo,
                [(ECHO, ProtocolSupport::Full)],
                request_response::Config::default(),
            ),
        };
        let settings = swarm::Config::with_wasm_executor()
            .with_idle_connection_timeout(std::time::Duration::from_secs(60));
        let mut swarm = Swarm::new(transport, behaviour, us, settings);
        swarm
            .listen_on("/memory/0".parse().expect("valid multiaddr"))
            .expect("memory has room");
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        let (commands, receiver) = mpsc::unbounded();
        let node = Self {
            peer: us,
            address,
            commands,
            links: Rc::default(),
            failures: Rc::default(),
        };
        spawn_local(run(
            swarm,
            receiver,
            Rc::clone(&node.links),
            Rc::clone(&node.failures),
        ));
        node
    }

    /// Connects to the other node in memory.
    pub fn connect(&self, other: &Self) -> oneshot::Receiver<Result<(), String>> {
        self.dial(other.peer, other.address.clone())
    }

    /// Dials `peer` at `address`, even if it is already connected.
    pub fn dial(&self, peer: PeerId, address: Multiaddr) -> oneshot::Receiver<Result<(), String>> {
        let opts = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(vec![address])
            .build();
        let (sender, receiver) = oneshot::channel();
        self.send(Command::Dial(opts, sender));
        receiver
    }

    pub fn close(&self, link: &Link) {
        self.send(Command::Close(link.id));
    }

    /// Sends data to the other node, and returns its echo.
    pub async fn echo(&self, other: &Self, data: Vec<u8>) -> Vec<u8> {
        let (sender, receiver) = oneshot::channel();
        self.send(Command::Echo(other.peer, data, sender));
        timeout("echo", receiver).await.expect("answered")
    }

    pub fn direct(&self) -> Vec<Link> {
        self.links_that(true)
    }

    pub fn relayed(&self) -> Vec<Link> {
        self.links_that(false)
    }

    /// The upgrades that the behaviour reported as failed.
    pub fn failures(&self) -> Vec<String> {
        self.failures.borrow().clone()
    }

    fn links_that(&self, direct: bool) -> Vec<Link> {
        let links = self.links.borrow();
        links
            .iter()
            .filter(|link| link.direct == direct)
            .cloned()
            .collect()
    }

    fn send(&self, command: Command) {
        self.commands.unbounded_send(command).expect("swarm runs");
    }
}

/// Waits until both nodes have exactly one direct connection.
pub async fn wait_until_direct(left: &Node, right: &Node) {
    wait_until("one direct connection at both ends", || {
        left.direct().len() == 1 && right.direct().len() == 1
    })
    .await;
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the tests need no other events"
)]
async fn run(
    mut swarm: Swarm<Behaviour>,
    mut commands: mpsc::UnboundedReceiver<Command>,
    links: Rc<RefCell<Vec<Link>>>,
    failures: Rc<RefCell<Vec<String>>>,
) {
    let mut dials = Vec::new();
    let mut echoes = Vec::new();
    loop {
        select! {
            command = commands.next() => match command {
                None => return,
                Some(Command::Dial(opts, reply)) => {
                    dials.push((opts.connection_id(), reply));
                    swarm.dial(opts).expect("dial begins");
                }
                Some(Command::Close(id)) => {
                    swarm.close_connection(id);
                }
                Some(Command::Echo(peer, data, reply)) => {
                    echoes.push((swarm.behaviour_mut().echo.send_request(&peer, data), reply));
                }
            },
            event = swarm.select_next_some() => match event {
                SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                    links.borrow_mut().push(Link {
                        id: connection_id,
                        peer: peer_id,
                        direct: address::is_direct(&endpoint),
                        dialer: matches!(endpoint, ConnectedPoint::Dialer { .. }),
                    });
                    if let Some(reply) = take(&mut dials, &connection_id) {
                        reply.send(Ok(())).ok();
                    }
                }
                SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                    if let Some(reply) = take(&mut dials, &connection_id) {
                        reply.send(Err(describe(&error))).ok();
                    }
                }
                SwarmEvent::ConnectionClosed { connection_id, .. } => {
                    links.borrow_mut().retain(|link| link.id != connection_id);
                }
                SwarmEvent::Behaviour(BehaviourEvent::Webrtc(peer::Event::Failed { error, .. })) => {
                    failures.borrow_mut().push(error.to_string());
                }
                SwarmEvent::Behaviour(BehaviourEvent::Echo(request_response::Event::Message {
                    message,
                    ..
                })) => match message {
                    Message::Request { request, channel, .. } => {
                        swarm.behaviour_mut().echo.send_response(channel, request).ok();
                    }
                    Message::Response { request_id, response } => {
                        if let Some(reply) = take(&mut echoes, &request_id) {
                            reply.send(response).ok();
                        }
                    }
                },
                _ => {}
            },
        }
    }
}

fn take<K: PartialEq, V>(list: &mut Vec<(K, V)>, key: &K) -> Option<V> {
    let index = list.iter().position(|(kept, _)| kept == key)?;
    Some(list.swap_remove(index).1)
}

fn describe(error: &DialError) -> String {
    let mut text = error.to_string();
    if let DialError::Transport(errors) = error {
        for (_, error) in errors {
            text.push_str(&format!("; {error:?}"));
        }
    }
    text
}
