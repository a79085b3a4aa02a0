//! A native client that uses a relay as a tab does: it connects, reserves, registers in a room, and discovers others.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder, Transport as _,
    core::upgrade,
    identify,
    multiaddr::Protocol,
    noise, ping, relay,
    rendezvous::{self, Namespace},
    swarm::{NetworkBehaviour, SwarmEvent},
    websocket, yamux,
};
use libp2p_webrtc_direct as webrtc;
use tokio::time::timeout;

use crate::{dial_from::DialFrom, target::Target};

/// How long a step may take before the tab gives up.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);
/// Lifetime of a registration, as tabs request it.
const REGISTRATION_SECONDS: u64 = 120;

#[derive(NetworkBehaviour)]
pub(crate) struct TabBehaviour {
    circuit: relay::client::Behaviour,
    rendezvous: rendezvous::client::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(crate) streams: libp2p_stream::Behaviour,
}

type Event = SwarmEvent<TabBehaviourEvent>;

/// A client of the relay.
pub(crate) struct Tab {
    pub(crate) swarm: Swarm<TabBehaviour>,
    relay: Multiaddr,
    relay_peer: PeerId,
}

impl Tab {
    /// A tab that dials from a loopback address. WebRTC always dials from 127.0.0.1.
    pub(crate) fn new(relay: &Target, from: Ipv4Addr) -> Result<Self> {
        let relay_peer = relay
            .address
            .iter()
            .find_map(|part| match part {
                Protocol::P2p(peer) => Some(peer),
                _ => None,
            })
            .context("the relay's address has no peer ID")?;
        let swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_other_transport(|key| {
                let mut transport = websocket::Config::new(DialFrom(from.into()));
                if let Some(certificate) = &relay.certificate {
                    let mut tls = websocket::tls::Config::builder();
                    tls.add_trust(&websocket::tls::Certificate::new(certificate.clone()))?;
                    transport.set_tls_config(tls.finish());
                }
                Ok(transport
                    .upgrade(upgrade::Version::V1Lazy)
                    .authenticate(noise::Config::new(key)?)
                    .multiplex(yamux::Config::default()))
            })?
            .with_other_transport(|key| {
                let config = webrtc::Config::new(key.clone(), webrtc::Certificate::generate()?);
                Ok(webrtc::Transport::new(config))
            })?
            .with_relay_client(noise::Config::new, yamux::Config::default)?
            .with_behaviour(|key, circuit| TabBehaviour {
                circuit,
                rendezvous: rendezvous::client::Behaviour::new(key.clone()),
                identify: identify::Behaviour::new(identify::Config::new(
                    "heartchain/2".to_owned(),
                    key.public(),
                )),
                ping: ping::Behaviour::new(ping::Config::new()),
                streams: libp2p_stream::Behaviour::new(),
            })?
            .with_swarm_config(|config| config.with_idle_connection_timeout(STEP_TIMEOUT))
            .build();
        Ok(Self {
            swarm,
            relay: relay.address.clone(),
            relay_peer,
        })
    }

    pub(crate) fn relay_peer(&self) -> PeerId {
        self.relay_peer
    }

    /// Connects to the relay. Returns how long that took.
    pub(crate) async fn connect(&mut self) -> Result<Duration> {
        let start = Instant::now();
        self.swarm.dial(self.relay.clone())?;
        self.until("connection", |event| match event {
            SwarmEvent::ConnectionEstablished { .. } => Some(Ok(())),
            SwarmEvent::OutgoingConnectionError { error, .. } => Some(Err(error.to_string())),
            _ => None,
        })
        .await?;
        Ok(start.elapsed())
    }

    pub(crate) async fn reserve(&mut self) -> Result<()> {
        let address = self.relay.clone().with(Protocol::P2pCircuit);
        let listener = self.swarm.listen_on(address)?;
        self.until("reservation", |event| match event {
            SwarmEvent::Behaviour(TabBehaviourEvent::Circuit(
                relay::client::Event::ReservationReqAccepted { .. },
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

    /// Connects to another tab through the relay.
    pub(crate) async fn open_circuit(&mut self, peer: PeerId) -> Result<()> {
        let address = self.relay.clone().with(Protocol::P2pCircuit);
        self.swarm.dial(address.with(Protocol::P2p(peer)))?;
        self.until("circuit", |event| match event {
            SwarmEvent::ConnectionEstablished { peer_id, .. } if *peer_id == peer => Some(Ok(())),
            SwarmEvent::OutgoingConnectionError { error, .. } => Some(Err(error.to_string())),
            _ => None,
        })
        .await
    }

    /// Registers in a room, and discovers who else is there. Returns their number.
    pub(crate) async fn meet(&mut self, room: &Namespace) -> Result<usize> {
        let relay = self.relay_peer;
        // A record needs an address; tabs have those of their reservations.
        self.swarm
            .add_external_address("/ip4/192.0.2.1/tcp/1/ws".parse()?);
        let rendezvous = &mut self.swarm.behaviour_mut().rendezvous;
        rendezvous.register(room.clone(), relay, Some(REGISTRATION_SECONDS))?;
        self.until("registration", |event| match event {
            SwarmEvent::Behaviour(TabBehaviourEvent::Rendezvous(event)) => match event {
                rendezvous::client::Event::Registered { .. } => Some(Ok(())),
                rendezvous::client::Event::RegisterFailed { error, .. } => {
                    Some(Err(format!("{error:?}")))
                }
                _ => None,
            },
            _ => None,
        })
        .await?;
        let rendezvous = &mut self.swarm.behaviour_mut().rendezvous;
        rendezvous.discover(Some(room.clone()), None, None, relay);
        self.until("discovery", |event| match event {
            SwarmEvent::Behaviour(TabBehaviourEvent::Rendezvous(event)) => match event {
                rendezvous::client::Event::Discovered { registrations, .. } => {
                    Some(Ok(registrations.len()))
                }
                rendezvous::client::Event::DiscoverFailed { error, .. } => {
                    Some(Err(format!("{error:?}")))
                }
                _ => None,
            },
            _ => None,
        })
        .await
    }

    /// Answers the relay. Returns only if the relay closes the connection.
    pub(crate) async fn stay(&mut self) {
        loop {
            if let SwarmEvent::ConnectionClosed { .. } = self.swarm.select_next_some().await {
                return;
            }
        }
    }

    async fn until<T>(
        &mut self,
        what: &str,
        wanted: impl Fn(&Event) -> Option<Result<T, String>>,
    ) -> Result<T> {
        let found = timeout(STEP_TIMEOUT, async {
            loop {
                let event = self.swarm.select_next_some().await;
                if let Some(found) = wanted(&event) {
                    return found;
                }
                if let SwarmEvent::ConnectionClosed { cause, .. } = event {
                    return Err(format!("the relay closed the connection: {cause:?}"));
                }
            }
        });
        match found.await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(reason)) => bail!("no {what}: {reason}"),
            Err(_) => bail!("no {what} within {STEP_TIMEOUT:?}"),
        }
    }
}
