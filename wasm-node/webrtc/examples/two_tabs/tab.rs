//! The peer in the tab: makes a reservation at the relay, dials another tab through it, and exchanges lines of text
//! over the direct connection as soon as there is one.
#![cfg(target_arch = "wasm32")]
#![allow(
    missing_docs,
    clippy::missing_errors_doc,
    missing_debug_implementations,
    unreachable_pub,
    reason = "an example whose only user is a page"
)]

use std::io;

use futures::channel::mpsc;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt, select};
use js_sys::Function;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::upgrade::Version;
use libp2p::multiaddr::Protocol;
use libp2p::request_response::{self, Message, ProtocolSupport};
use libp2p::swarm::{ConnectionId, NetworkBehaviour, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, Transport, identify, identity, noise, relay, swarm,
    websocket_websys, yamux,
};
use libp2p_webrtc_browser::peer::{self, address};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsError, JsValue};
use wasm_bindgen_futures::spawn_local;

const LINES: StreamProtocol = StreamProtocol::new("/two-tabs/1");
/// The maximum length of a received line, in bytes.
const MAX_LINE: u64 = 4_096;
/// The maximum number of queued commands of the page.
const MAX_COMMANDS: usize = 16;

#[derive(NetworkBehaviour)]
struct Behaviour {
    relay: relay::client::Behaviour,
    webrtc: peer::Behaviour,
    identify: identify::Behaviour,
    lines: request_response::Behaviour<Lines>,
}

enum Command {
    Dial(Multiaddr),
    Say(String),
}

/// The peer, as the page uses it.
#[wasm_bindgen]
pub struct Tab {
    commands: mpsc::Sender<Command>,
}

#[wasm_bindgen]
impl Tab {
    /// Starts a peer with a reservation at `relay`. It calls `on_event` with the kind of each event and a text.
    #[wasm_bindgen(constructor)]
    pub fn new(relay: &str, on_event: Function) -> Result<Self, JsError> {
        let (commands, receiver) = mpsc::channel(MAX_COMMANDS);
        let mut swarm = swarm()?;
        let circuit = relay.parse::<Multiaddr>()?.with(Protocol::P2pCircuit);
        swarm.listen_on(circuit)?;
        spawn_local(run(swarm, receiver, on_event));
        Ok(Self { commands })
    }

    /// Dials another tab at the address that its page shows.
    pub fn call(&mut self, address: &str) -> Result<(), JsError> {
        Ok(self.commands.try_send(Command::Dial(address.parse()?))?)
    }

    /// Sends a line to all connected tabs.
    pub fn say(&mut self, line: String) -> Result<(), JsError> {
        Ok(self.commands.try_send(Command::Say(line))?)
    }
}

fn swarm() -> Result<Swarm<Behaviour>, JsError> {
    let key = identity::Keypair::generate_ed25519();
    let us = key.public().to_peer_id();
    let (circuits, relay) = relay::client::new(us);
    let (webrtc, upgrades) = peer::new(peer::Config::new(us));
    let noise = noise::Config::new(&key)?;
    let relayed = circuits
        .upgrade(Version::V1Lazy)
        .authenticate(noise.clone())
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let sockets = websocket_websys::Transport::default()
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    // WebRTC before the relay's circuits: otherwise the relay client dials the addresses of WebRTC.
    let transport = webrtc
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
        .or_transport(relayed)
        .map(|either, _| either.into_inner())
        .or_transport(sockets)
        .map(|either, _| either.into_inner())
        .boxed();
    let behaviour = Behaviour {
        relay,
        webrtc: upgrades,
        identify: identify::Behaviour::new(identify::Config::new(
            "two-tabs/1".to_owned(),
            key.public(),
        )),
        lines: request_response::Behaviour::with_codec(
            Lines,
            [(LINES, ProtocolSupport::Full)],
            request_response::Config::default(),
        ),
    };
    let settings = swarm::Config::with_wasm_executor()
        .with_idle_connection_timeout(std::time::Duration::from_secs(600));
    Ok(Swarm::new(transport, behaviour, us, settings))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the page shows no other events"
)]
async fn run(
    mut swarm: Swarm<Behaviour>,
    mut commands: mpsc::Receiver<Command>,
    on_event: Function,
) {
    let emit = |kind: &str, text: &str| {
        // Ignore exceptions of the page's callback.
        let _ = on_event.call2(&JsValue::NULL, &kind.into(), &text.into());
    };
    // Circuits are closed as soon as a direct connection exists: a line sent over a circuit is lost with its relay.
    let mut circuits: Vec<(PeerId, ConnectionId)> = Vec::new();
    loop {
        select! {
            command = commands.next() => match command {
                None => return,
                Some(Command::Dial(address)) => {
                    if let Err(error) = swarm.dial(address) {
                        emit("failed", &error.to_string());
                    }
                }
                Some(Command::Say(line)) => {
                    let peers: Vec<PeerId> = swarm.connected_peers().copied().collect();
                    for peer in peers {
                        // The relay does not support the protocol, so a request to it just fails.
                        swarm.behaviour_mut().lines.send_request(&peer, line.clone());
                    }
                }
            },
            event = swarm.select_next_some() => match event {
                // The circuit address is confirmed first, and then the form of it that browsers dial.
                SwarmEvent::ExternalAddrConfirmed { address } if is_webrtc(&address) => {
                    emit("reachable", &address.to_string());
                }
                SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } if address::is_direct(&endpoint) => {
                    for (_, circuit) in circuits.iter().filter(|(peer, _)| *peer == peer_id) {
                        swarm.close_connection(*circuit);
                    }
                    emit("connected", "Connected directly.");
                }
                SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } if address::is_relayed(&endpoint) => {
                    circuits.push((peer_id, connection_id));
                }
                SwarmEvent::ConnectionClosed { endpoint, .. } if address::is_direct(&endpoint) => {
                    emit("closed", "The other tab is gone.");
                }
                SwarmEvent::OutgoingConnectionError { error, .. } => emit("failed", &error.to_string()),
                SwarmEvent::Behaviour(BehaviourEvent::Lines(request_response::Event::Message {
                    message: Message::Request { request, channel, .. },
                    ..
                })) => {
                    emit("said", &request);
                    // Fails if the sender has disconnected.
                    let _ = swarm.behaviour_mut().lines.send_response(channel, ());
                }
                SwarmEvent::ConnectionClosed { connection_id, .. } => {
                    circuits.retain(|(_, circuit)| *circuit != connection_id);
                }
                _ => {}
            },
        }
    }
}

fn is_webrtc(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::WebRTC)
}

/// The request is one line of text up to the end of the stream; the response is empty.
#[derive(Clone, Default)]
struct Lines;

impl request_response::Codec for Lines {
    type Protocol = StreamProtocol;
    type Request = String;
    type Response = ();

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<String>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut line = String::new();
        io.take(MAX_LINE).read_to_string(&mut line).await?;
        Ok(line)
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, _: &mut T) -> io::Result<()>
    where
        T: AsyncRead + Unpin + Send,
    {
        Ok(())
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        line: String,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(line.as_bytes()).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, _: &mut T, (): ()) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        Ok(())
    }
}
