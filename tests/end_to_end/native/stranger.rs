//! The peer itself: through the relay into a room, to one tab, and what comes back.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "libp2p has dozens of events, and a stranger cares for few"
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

/// How long a lie may stand before it counts as believed: the tab judges in milliseconds.
const JUDGED: Duration = Duration::from_secs(15);

/// The raw answer to a request of the tab; `None` leaves it unanswered.
pub(crate) type Answers = Box<dyn FnMut(&[u8]) -> Option<Vec<u8>> + Send>;

#[derive(NetworkBehaviour)]
struct Behaviour {
    circuit: relay::client::Behaviour,
    rendezvous: rendezvous::client::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    gossip: gossipsub::Behaviour,
    sync: request_response::Behaviour<RawCodec>,
}

/// A peer that nobody invited, connected to one tab.
pub(crate) struct Stranger {
    swarm: Swarm<Behaviour>,
    room: String,
    tab: PeerId,
    answers: Answers,
    /// The tab has asked for something: it takes this peer for one of the room.
    is_greeted: bool,
    /// Topics that the tab listens to.
    topics: usize,
    /// What the tab answered, newest last.
    answered: Vec<Vec<u8>>,
}

impl Stranger {
    /// Connects to the relay at `relay`, finds the tab `tab` in `room` (the genesis hash in hex), and waits until
    /// the tab has greeted it.
    pub(crate) async fn meet(relay: &str, room: &str, tab: &str, answers: Answers) -> Result<Self> {
        let mut stranger = Self {
            swarm: swarm(room).await?,
            room: room.to_owned(),
            tab: tab.parse()?,
            answers,
            is_greeted: false,
            topics: 0,
            answered: Vec::new(),
        };
        let found = stranger.find(relay.parse()?).await?;
        stranger.swarm.dial(found)?;
        stranger
            .step_until("the tab to greet it", |it| it.is_greeted && it.topics == 2)
            .await?;
        Ok(stranger)
    }

    /// Asks the rendezvous point for the room's peers, and gives the tab's address through the relay.
    async fn find(&mut self, relay: Multiaddr) -> Result<Multiaddr> {
        let Some(Protocol::P2p(relay_id)) = relay.iter().last() else {
            bail!("{relay} names no peer");
        };
        self.swarm.dial(relay)?;
        let namespace = rendezvous::Namespace::new(format!("heartchain/1/{}", self.room))?;
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

    /// Sends bytes as a request of the sync protocol.
    pub(crate) fn ask(&mut self, raw: Vec<u8>) {
        let tab = self.tab;
        self.swarm.behaviour_mut().sync.send_request(&tab, raw);
    }

    /// Publishes bytes on a topic of the room, `readings` or `blocks`.
    pub(crate) fn publish(&mut self, topic: &str, data: Vec<u8>) -> Result<()> {
        let topic = gossipsub::IdentTopic::new(format!("heartchain/1/{}/{topic}", self.room));
        self.swarm.behaviour_mut().gossip.publish(topic, data)?;
        Ok(())
    }

    /// Waits until the tab has closed every connection to this peer.
    pub(crate) async fn is_dropped(&mut self) -> Result<()> {
        self.step_until("the tab to drop it", |it| !it.swarm.is_connected(&it.tab))
            .await
    }

    /// Takes part until the tab closes the last connection to this peer, however long that takes.
    pub(crate) async fn linger(&mut self) -> Result<()> {
        while self.swarm.is_connected(&self.tab) {
            let event = self.swarm.select_next_some().await;
            self.handle(event)?;
        }
        Ok(())
    }

    /// Waits for the tab's next answer.
    pub(crate) async fn answer(&mut self) -> Result<Vec<u8>> {
        let before = self.answered.len();
        self.step_until("an answer of the tab", |it| it.answered.len() > before)
            .await?;
        self.answered.pop().context("just seen")
    }

    async fn step_until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<()> {
        let steps = async {
            while !holds(self) {
                let event = self.swarm.select_next_some().await;
                self.handle(event)?;
            }
            Ok(())
        };
        let outcome: Result<Result<()>, _> = timeout(JUDGED, steps).await;
        outcome.map_err(|_| anyhow!("the stranger waited in vain for {what}"))?
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
                    self.is_greeted = true;
                    if let Some(raw) = (self.answers)(&request) {
                        // The tab may have hung up.
                        let _ = self.swarm.behaviour_mut().sync.send_response(channel, raw);
                    }
                }
                request_response::Message::Response { response, .. } => {
                    self.answered.push(response)
                }
            },
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Subscribed {
                peer_id,
                ..
            })) if peer_id == self.tab => self.topics += 1,
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

impl fmt::Debug for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stranger")
            .field("id", self.swarm.local_peer_id())
            .field("tab", &self.tab)
            .finish_non_exhaustive()
    }
}

async fn swarm(room: &str) -> Result<Swarm<Behaviour>> {
    let sync = StreamProtocol::try_from_owned(format!("/heartchain/1/{room}/sync"))?;
    let topics = ["readings", "blocks"]
        .map(|topic| gossipsub::IdentTopic::new(format!("heartchain/1/{room}/{topic}")));
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
            let config = identify::Config::new("/stranger/1".to_owned(), key.public());
            Ok(Behaviour {
                circuit,
                rendezvous: rendezvous::client::Behaviour::new(key.clone()),
                identify: identify::Behaviour::new(config),
                ping: ping::Behaviour::default(),
                gossip,
                sync: request_response::Behaviour::with_codec(
                    RawCodec,
                    [(sync, ProtocolSupport::Full)],
                    request_response::Config::default().with_request_timeout(PATIENCE),
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
        // Without an author, items are told apart by what is in them.
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
