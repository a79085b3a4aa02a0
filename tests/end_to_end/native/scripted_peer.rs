//! The peer itself: it connects through the relay to one tab of a room and records the tab's responses.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "libp2p has dozens of events, and this peer needs few"
)]

use std::{
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, gossipsub, identify,
    multiaddr::Protocol,
    noise, ping, relay, rendezvous,
    request_response::{self, ProtocolSupport},
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use tokio::time::timeout;

use super::codec::RawCodec;
use crate::harness::PATIENCE;

/// How long the tab may take to respond or disconnect. It needs milliseconds.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(15);

/// The topics of a room.
const TOPICS: [&str; 3] = ["readings", "blocks", "profiles"];

const GOSSIP: StreamProtocol = StreamProtocol::new("/meshsub/1.1.0");

/// Returns the raw response to a request of the tab; `None` sends no response.
pub(crate) type Responder = Box<dyn FnMut(&[u8]) -> Option<Vec<u8>> + Send>;

/// What the peer has received, from the tab or from the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Received {
    /// A request of the tab.
    Request(Vec<u8>),
    /// The tab's answer to a request of this peer.
    Answer(Vec<u8>),
    /// A gossip item. It names no sender.
    Gossip(Vec<u8>),
    /// What the tab says of itself: its network key, addresses and protocols.
    Identity(Vec<u8>),
    /// What the relay says of a peer of the room: its ID and addresses.
    Registration(Vec<u8>),
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    circuit: relay::client::Behaviour,
    rendezvous: rendezvous::client::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    gossip: gossipsub::Behaviour,
    sync: request_response::Behaviour<RawCodec>,
    raw_gossip: request_response::Behaviour<RawCodec>,
}

/// A peer with scripted behaviour that is connected to one tab.
pub(crate) struct ScriptedPeer {
    swarm: Swarm<Behaviour>,
    room: String,
    tab: PeerId,
    responder: Responder,
    /// Whether the tab has sent a request, which means that it accepts this peer as a member of the room.
    has_request: bool,
    /// Number of gossip topics that the tab has subscribed to.
    topics: usize,
    /// The tab's responses, newest last.
    responses: Vec<Vec<u8>>,
    /// Everything, in order.
    received: Vec<Received>,
}

impl ScriptedPeer {
    /// Connects to the relay at `relay`, finds the tab `tab` in `room` (the genesis hash in hex), and waits until the
    /// tab has sent its first request and subscribed to all topics of the room.
    pub(crate) async fn connect(
        relay: &str,
        room: &str,
        tab: &str,
        responder: Responder,
    ) -> Result<Self> {
        let mut peer = Self {
            swarm: swarm(room).await?,
            room: room.to_owned(),
            tab: tab.parse()?,
            responder,
            has_request: false,
            topics: 0,
            responses: Vec::new(),
            received: Vec::new(),
        };
        let found = peer.discover(relay.parse()?).await?;
        peer.swarm.dial(found)?;
        peer.run_until("the tab to send a request", |it| {
            it.has_request && it.topics == TOPICS.len()
        })
        .await?;
        Ok(peer)
    }

    /// Asks the rendezvous point for the room's peers and returns the tab's circuit address.
    async fn discover(&mut self, relay: Multiaddr) -> Result<Multiaddr> {
        let Some(Protocol::P2p(relay_id)) = relay.iter().last() else {
            bail!("{relay} names no peer");
        };
        self.swarm.dial(relay)?;
        let namespace = rendezvous::Namespace::new(format!("heartchain/2/{}", self.room))?;
        let searching = async {
            loop {
                match self.swarm.select_next_some().await {
                    SwarmEvent::ConnectionEstablished { peer_id, .. } if peer_id == relay_id => {
                        let rendezvous = &mut self.swarm.behaviour_mut().rendezvous;
                        rendezvous.discover(Some(namespace.clone()), None, None, relay_id);
                    }
                    SwarmEvent::Behaviour(BehaviourEvent::Rendezvous(
                        rendezvous::client::Event::Discovered { registrations, .. },
                    )) => {
                        let told = registrations.iter().map(|found| &found.record);
                        let told = told.map(|record| {
                            let id = record.peer_id().to_bytes();
                            [id, format!("{:?}", record.addresses()).into_bytes()].concat()
                        });
                        self.received.extend(told.map(Received::Registration));
                        let records = registrations.iter().map(|found| &found.record);
                        let addresses = records
                            .filter(|record| record.peer_id() == self.tab)
                            .flat_map(|record| record.addresses().iter().cloned());
                        let mut circuits =
                            addresses.filter(|a| a.iter().any(|p| p == Protocol::P2pCircuit));
                        return circuits
                            .next()
                            .context("the tab is not registered in the room");
                    }
                    _ => {}
                }
            }
        };
        let mut address = timeout(PATIENCE, searching)
            .await
            .context("no rendezvous")??;
        if !matches!(address.iter().last(), Some(Protocol::P2p(id)) if id == self.tab) {
            address.push(Protocol::P2p(self.tab));
        }
        Ok(address)
    }

    /// Sends these bytes as a request of the sync protocol.
    pub(crate) fn send_request(&mut self, raw: Vec<u8>) {
        let tab = self.tab;
        self.swarm.behaviour_mut().sync.send_request(&tab, raw);
    }

    /// Publishes these bytes on a topic of the room, `readings` or `blocks`.
    pub(crate) fn publish(&mut self, topic: &str, data: Vec<u8>) -> Result<()> {
        let topic = gossipsub::IdentTopic::new(format!("heartchain/2/{}/{topic}", self.room));
        self.swarm.behaviour_mut().gossip.publish(topic, data)?;
        Ok(())
    }

    /// Sends these bytes on a gossip stream of their own, which replaces the one before.
    pub(crate) fn send_raw_gossip(&mut self, raw: Vec<u8>) {
        let tab = self.tab;
        self.swarm
            .behaviour_mut()
            .raw_gossip
            .send_request(&tab, raw);
    }

    /// Everything that this peer has received, oldest first.
    pub(crate) fn received(&self) -> &[Received] {
        &self.received
    }

    /// Waits until what was received meets a condition.
    pub(crate) async fn until_received(
        &mut self,
        what: &str,
        holds: impl Fn(&[Received]) -> bool,
    ) -> Result<()> {
        self.run_until(what, |it| holds(&it.received)).await
    }

    /// Waits until the tab has closed every connection to this peer.
    pub(crate) async fn wait_until_dropped(&mut self) -> Result<()> {
        self.run_until("the tab to disconnect", |it| {
            !it.swarm.is_connected(&it.tab)
        })
        .await
    }

    /// Processes events until the tab closes the last connection to this peer, without a time limit.
    pub(crate) async fn run_until_dropped(&mut self) -> Result<()> {
        while self.swarm.is_connected(&self.tab) {
            let event = self.swarm.select_next_some().await;
            self.handle(event)?;
        }
        Ok(())
    }

    /// Waits for the tab's next response.
    pub(crate) async fn next_response(&mut self) -> Result<Vec<u8>> {
        let before = self.responses.len();
        self.run_until("a response of the tab", |it| it.responses.len() > before)
            .await?;
        self.responses.pop().context("just seen")
    }

    async fn run_until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<()> {
        let steps = async {
            while !holds(self) {
                let event = self.swarm.select_next_some().await;
                self.handle(event)?;
            }
            Ok(())
        };
        let outcome: Result<Result<()>, _> = timeout(RESPONSE_TIMEOUT, steps).await;
        outcome.map_err(|_| anyhow!("timed out waiting for {what}"))?
    }

    fn handle(&mut self, event: SwarmEvent<BehaviourEvent>) -> Result<()> {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Sync(request_response::Event::Message {
                message,
                ..
            })) => match message {
                request_response::Message::Request {
                    request, channel, ..
                } => {
                    self.has_request = true;
                    self.received.push(Received::Request(request.clone()));
                    if let Some(raw) = (self.responder)(&request) {
                        // The tab may have disconnected.
                        let _ = self.swarm.behaviour_mut().sync.send_response(channel, raw);
                    }
                }
                request_response::Message::Response { response, .. } => {
                    self.received.push(Received::Answer(response.clone()));
                    self.responses.push(response);
                }
            },
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Subscribed {
                peer_id,
                ..
            })) if peer_id == self.tab => self.topics += 1,
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message {
                message,
                ..
            })) => {
                let is_anonymous = message.source.is_none() && message.sequence_number.is_none();
                ensure!(is_anonymous, "a gossip item names its sender: {message:?}");
                self.received.push(Received::Gossip(message.data));
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                peer_id,
                info,
                ..
            })) if peer_id == self.tab => {
                let key = info.public_key.encode_protobuf();
                let told = [key, format!("{info:?}").into_bytes()].concat();
                self.received.push(Received::Identity(told));
            }
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => {
                ensure!(
                    peer_id != Some(self.tab),
                    "the tab cannot be reached: {error}"
                );
            }
            _ => {}
        }
        Ok(())
    }
}

impl fmt::Debug for ScriptedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedPeer")
            .field("id", self.swarm.local_peer_id())
            .field("tab", &self.tab)
            .finish_non_exhaustive()
    }
}

async fn swarm(room: &str) -> Result<Swarm<Behaviour>> {
    let sync = StreamProtocol::try_from_owned(format!("/heartchain/2/{room}/sync"))?;
    let patient = || request_response::Config::default().with_request_timeout(PATIENCE);
    let topics =
        TOPICS.map(|topic| gossipsub::IdentTopic::new(format!("heartchain/2/{room}/{topic}")));
    let swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(
            tcp::Config::default(),
            noise::Config::new,
            yamux::Config::default,
        )?
        .with_dns()?
        .with_websocket(noise::Config::new, yamux::Config::default)
        .await?
        .with_relay_client(noise::Config::new, yamux::Config::default)?
        .with_behaviour(|key, circuit| {
            let mut gossip = gossip()?;
            for topic in &topics {
                gossip.subscribe(topic)?;
            }
            let config = identify::Config::new("/scripted-peer/1".to_owned(), key.public());
            Ok(Behaviour {
                circuit,
                rendezvous: rendezvous::client::Behaviour::new(key.clone()),
                identify: identify::Behaviour::new(config),
                ping: ping::Behaviour::default(),
                gossip,
                sync: request_response::Behaviour::with_codec(
                    RawCodec,
                    [(sync, ProtocolSupport::Full)],
                    patient(),
                ),
                raw_gossip: request_response::Behaviour::with_codec(
                    RawCodec,
                    [(GOSSIP, ProtocolSupport::Outbound)],
                    patient(),
                ),
            })
        })
        .map_err(|error| anyhow!("{error}"))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE))
        .build();
    Ok(swarm)
}

fn gossip() -> Result<gossipsub::Behaviour, Box<dyn std::error::Error + Send + Sync>> {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        // Messages are anonymous, so their IDs are derived from their content.
        .message_id_fn(|message| {
            let mut hasher = DefaultHasher::new();
            message.data.hash(&mut hasher);
            gossipsub::MessageId::new(&hasher.finish().to_be_bytes())
        })
        .max_transmit_size(1024 * 1024)
        .build()?;
    Ok(gossipsub::Behaviour::new(
        gossipsub::MessageAuthenticity::Anonymous,
        config,
    )?)
}
