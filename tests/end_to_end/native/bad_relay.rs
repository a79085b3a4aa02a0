//! A relay that lies. It gives reservations, connects no circuit, and reports peers that do not exist besides those that do.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "libp2p has dozens of events, and this relay needs few"
)]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result, anyhow};
use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder,
    core::PeerRecord,
    identify,
    identity::Keypair,
    multiaddr::Protocol,
    noise, relay,
    request_response::{self, Message, ProtocolSupport},
    swarm::{NetworkBehaviour, SwarmEvent},
    yamux,
};
use prost::Message as _;
use rendezvous_messages::{DiscoverResponse, Kind, PROTOCOL, Register, RegisterResponse, Status};
use tokio::{task::JoinHandle, time::timeout};

use super::codec::{RawCodec, frame};
use crate::harness::PATIENCE;

/// Peers in each answer that do not exist, other ones each time. With the others about as many as a tab asks for.
const INVENTED_PEERS: usize = 200;
/// How long each registration is said to last, in seconds.
const TTL: u64 = 120;

/// A running relay. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct BadRelay {
    address: Multiaddr,
    answers: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    relay: relay::Behaviour,
    identify: identify::Behaviour,
    rendezvous: request_response::Behaviour<RawCodec>,
}

impl BadRelay {
    /// Starts one on a free port of this computer, for WebSocket.
    pub(crate) async fn start() -> Result<Self> {
        let mut swarm = swarm().await?;
        swarm.listen_on("/ip4/127.0.0.1/tcp/0/ws".parse()?)?;
        let listening = async {
            loop {
                if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                    return address;
                }
            }
        };
        let address = timeout(PATIENCE, listening)
            .await
            .context("the bad relay does not listen")?;
        swarm.add_external_address(address.clone());
        let address = address.with(Protocol::P2p(*swarm.local_peer_id()));
        let [answers, refused] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let task = tokio::spawn(run(
            swarm,
            address.clone(),
            Arc::clone(&answers),
            Arc::clone(&refused),
        ));
        Ok(Self {
            address,
            answers,
            refused,
            task,
        })
    }

    /// Its address, with its peer ID.
    pub(crate) const fn address(&self) -> &Multiaddr {
        &self.address
    }

    /// How many questions for peers it has answered.
    pub(crate) fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }

    /// How many circuits it has refused.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Drop for BadRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    mut swarm: Swarm<Behaviour>,
    address: Multiaddr,
    answers: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
) {
    let mut registered: Vec<(PeerId, Register)> = Vec::new();
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::Behaviour(BehaviourEvent::Relay(relay::Event::CircuitReqDenied {
                ..
            })) => {
                refused.fetch_add(1, Ordering::Relaxed);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Rendezvous(
                request_response::Event::Message {
                    peer,
                    message:
                        Message::Request {
                            request, channel, ..
                        },
                    ..
                },
            )) => {
                let Ok(message) = rendezvous_messages::Message::decode(&*request) else {
                    continue;
                };
                let answer = match (message.kind(), message.register, message.discover) {
                    (Some(Kind::Register), Some(registration), _) => {
                        registered.retain(|(earlier, _)| *earlier != peer);
                        registered.push((peer, registration));
                        RegisterResponse {
                            status: Some(Status::Ok.into()),
                            ttl: Some(TTL),
                        }
                        .into()
                    }
                    (Some(Kind::Discover), _, Some(question)) => {
                        answers.fetch_add(1, Ordering::Relaxed);
                        let namespace = question.namespace.unwrap_or_default();
                        discovered(&registered, &namespace, &address)
                    }
                    _ => continue,
                };
                let answer = frame(&answer.encode_to_vec());
                // The tab may have disconnected.
                let _ = swarm
                    .behaviour_mut()
                    .rendezvous
                    .send_response(channel, answer);
            }
            _ => {}
        }
    }
}

/// All registered peers, and many that do not exist.
fn discovered(
    registered: &[(PeerId, Register)],
    namespace: &str,
    relay: &Multiaddr,
) -> rendezvous_messages::Message {
    let real = registered.iter().map(|(_, registration)| Register {
        ttl: Some(TTL),
        ..registration.clone()
    });
    let invented = (0..INVENTED_PEERS).filter_map(|_| {
        let key = Keypair::generate_ed25519();
        let circuit = relay.clone().with(Protocol::P2pCircuit);
        let record = PeerRecord::new(&key, vec![circuit]).ok()?;
        Some(Register {
            namespace: Some(namespace.to_owned()),
            signed_peer_record: Some(record.into_signed_envelope().into_protobuf_encoding()),
            ttl: Some(TTL),
        })
    });
    DiscoverResponse {
        registrations: real.chain(invented).collect(),
        cookie: None,
        status: Some(Status::Ok.into()),
    }
    .into()
}

async fn swarm() -> Result<Swarm<Behaviour>> {
    let swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_websocket(noise::Config::new, yamux::Config::default)
        .await?
        .with_behaviour(|key| {
            let config = relay::Config {
                max_circuits: 0,
                ..relay::Config::default()
            };
            let about = identify::Config::new("/bad-relay/1".to_owned(), key.public());
            Behaviour {
                relay: relay::Behaviour::new(key.public().to_peer_id(), config),
                identify: identify::Behaviour::new(about),
                rendezvous: request_response::Behaviour::with_codec(
                    RawCodec,
                    [(StreamProtocol::new(PROTOCOL), ProtocolSupport::Inbound)],
                    request_response::Config::default(),
                ),
            }
        })
        .map_err(|error| anyhow!("{error}"))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE))
        .build();
    Ok(swarm)
}
