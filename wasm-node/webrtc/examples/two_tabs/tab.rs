//! The peer in the tab: reserves a place at the relay, calls another tab through it, and says and hears lines of text,
//! all of which goes directly as soon as there is a direct way.
#![cfg(target_arch = "wasm32")]
#![allow(
    missing_docs,
    clippy::missing_errors_doc,
    missing_debug_implementations,
    unreachable_pub,
    reason = "an example, whose interface is a page's"
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
/// Bytes of a line.
const MAX_LINE: u64 = 4_096;
/// Wishes of the page that may wait.
const MAX_WISHES: usize = 16;

#[derive(NetworkBehaviour)]
struct Behaviour {
    relay: relay::client::Behaviour,
    webrtc: peer::Behaviour,
    identify: identify::Behaviour,
    lines: request_response::Behaviour<Lines>,
}

enum Wish {
    Call(Multiaddr),
    Say(String),
}

/// What the page holds.
#[wasm_bindgen]
pub struct Tab {
    wishes: mpsc::Sender<Wish>,
}

#[wasm_bindgen]
impl Tab {
    /// Starts a peer that reserves a place at `relay` and calls `news` with a kind and a text.
    #[wasm_bindgen(constructor)]
    pub fn new(relay: &str, news: Function) -> Result<Self, JsError> {
        let (wishes, orders) = mpsc::channel(MAX_WISHES);
        let mut swarm = swarm()?;
        let place = relay.parse::<Multiaddr>()?.with(Protocol::P2pCircuit);
        swarm.listen_on(place)?;
        spawn_local(run(swarm, orders, news));
        Ok(Self { wishes })
    }

    /// Calls the tab at an address that it has shown.
    pub fn call(&mut self, address: &str) -> Result<(), JsError> {
        Ok(self.wishes.try_send(Wish::Call(address.parse()?))?)
    }

    /// Says a line to all tabs that are connected.
    pub fn say(&mut self, line: String) -> Result<(), JsError> {
        Ok(self.wishes.try_send(Wish::Say(line))?)
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
    // WebRTC before the relay's circuits, which would take its addresses for theirs.
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

#[expect(clippy::wildcard_enum_match_arm, reason = "nothing else is shown")]
async fn run(mut swarm: Swarm<Behaviour>, mut wishes: mpsc::Receiver<Wish>, news: Function) {
    let tell = |kind: &str, text: &str| {
        // What the page throws is the page's to hear.
        let _ = news.call2(&JsValue::NULL, &kind.into(), &text.into());
    };
    // Closed as soon as there is a direct way: a line that takes a circuit is lost with its relay.
    let mut circuits: Vec<(PeerId, ConnectionId)> = Vec::new();
    loop {
        select! {
            wish = wishes.next() => match wish {
                None => return,
                Some(Wish::Call(address)) => {
                    if let Err(error) = swarm.dial(address) {
                        tell("failed", &error.to_string());
                    }
                }
                Some(Wish::Say(line)) => {
                    let peers: Vec<PeerId> = swarm.connected_peers().copied().collect();
                    for peer in peers {
                        // The relay, which knows no lines, does not take them.
                        swarm.behaviour_mut().lines.send_request(&peer, line.clone());
                    }
                }
            },
            event = swarm.select_next_some() => match event {
                // The circuit's own address comes first, and the one for browsers with it.
                SwarmEvent::ExternalAddrConfirmed { address } if is_for_browsers(&address) => {
                    tell("reachable", &address.to_string());
                }
                SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } if address::is_direct(&endpoint) => {
                    for (_, circuit) in circuits.iter().filter(|(peer, _)| *peer == peer_id) {
                        swarm.close_connection(*circuit);
                    }
                    tell("connected", "Connected directly.");
                }
                SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } if address::is_relayed(&endpoint) => {
                    circuits.push((peer_id, connection_id));
                }
                SwarmEvent::ConnectionClosed { endpoint, .. } if address::is_direct(&endpoint) => {
                    tell("closed", "The other tab is gone.");
                }
                SwarmEvent::OutgoingConnectionError { error, .. } => tell("failed", &error.to_string()),
                SwarmEvent::Behaviour(BehaviourEvent::Lines(request_response::Event::Message {
                    message: Message::Request { request, channel, .. },
                    ..
                })) => {
                    tell("said", &request);
                    // Whoever said it may be gone.
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

fn is_for_browsers(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::WebRTC)
}

/// A line and nothing else, up to the end of the stream; the answer is empty.
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
