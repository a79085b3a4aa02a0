//! What the tab speaks: each of libp2p's protocols, and how each is set up. Never what is done with an event.

use std::time::Duration;

use chain::hash::RoomId;
use libp2p::{
    PeerId, StreamProtocol, allow_block_list, gossipsub, identify,
    identity::Keypair,
    ping, relay,
    request_response::{self, ProtocolSupport},
    swarm::NetworkBehaviour,
};
use libp2p_webrtc_browser::peer::{self, Unobserved};
use sha2::{Digest, Sha256};
use sync::message::{MAX_REQUEST_LEN, MAX_RESPONSE_LEN};

use super::{
    NetworkError,
    codec::FrameCodec,
    gate::Gate,
    rendezvous::{PROTOCOL as RENDEZVOUS, message::MAX_ANSWER_LEN},
};
use crate::config;

/// All protocols together. What one of them reports is a [`ProtocolsEvent`] of its name.
#[derive(NetworkBehaviour)]
pub(crate) struct Protocols {
    // First, so that a peer that is shut out reaches none of the others.
    pub(crate) banned: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub(crate) gate: Gate,
    pub(crate) relay: relay::client::Behaviour,
    pub(crate) webrtc: peer::Behaviour,
    pub(crate) rendezvous: request_response::Behaviour<FrameCodec>,
    pub(crate) identify: Unobserved<identify::Behaviour>,
    pub(crate) ping: ping::Behaviour,
    pub(crate) gossip: gossipsub::Behaviour,
    pub(crate) sync: request_response::Behaviour<FrameCodec>,
    pub(crate) neighbours: request_response::Behaviour<FrameCodec>,
    pub(crate) hop: relay::Behaviour,
}

/// The names that contain the room.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) readings: gossipsub::IdentTopic,
    pub(crate) blocks: gossipsub::IdentTopic,
    pub(crate) sync: StreamProtocol,
    pub(crate) neighbours: StreamProtocol,
    pub(crate) namespace: String,
}

impl Names {
    /// The names of this room.
    ///
    /// # Errors
    /// If libp2p refuses one; it takes any room's.
    pub(crate) fn of(room: RoomId) -> Result<Self, NetworkError> {
        let refused = |name: &str| NetworkError::Name(name.to_owned());
        let sync = format!("/heartchain/1/{room}/sync");
        let neighbours = format!("/heartchain/1/{room}/neighbours");
        Ok(Self {
            readings: gossipsub::IdentTopic::new(format!("heartchain/1/{room}/readings")),
            blocks: gossipsub::IdentTopic::new(format!("heartchain/1/{room}/blocks")),
            sync: StreamProtocol::try_from_owned(sync.clone()).map_err(|_| refused(&sync))?,
            neighbours: StreamProtocol::try_from_owned(neighbours.clone())
                .map_err(|_| refused(&neighbours))?,
            namespace: format!("heartchain/1/{room}"),
        })
    }
}

impl Protocols {
    /// All protocols, set up for a room.
    ///
    /// # Errors
    /// If a protocol refuses its configuration.
    pub(crate) fn new(
        key: &Keypair,
        relay: relay::client::Behaviour,
        webrtc: peer::Behaviour,
        names: &Names,
    ) -> Result<Self, NetworkError> {
        Ok(Self {
            banned: allow_block_list::Behaviour::default(),
            gate: Gate::new(),
            relay,
            webrtc,
            rendezvous: asking(
                RENDEZVOUS,
                ProtocolSupport::Outbound,
                FrameCodec {
                    request_limit: MAX_ANSWER_LEN,
                    response_limit: MAX_ANSWER_LEN,
                },
            ),
            identify: Unobserved::new(identify::Behaviour::new(
                identify::Config::new("heartchain/1".to_owned(), key.public())
                    .with_agent_version(
                        concat!("heartchain/", env!("CARGO_PKG_VERSION")).to_owned(),
                    )
                    // Addresses are the relay's business: what a stranger says of itself is not kept.
                    .with_cache_size(0)
                    // Every place at a neighbour would make this list longer than peers take.
                    .with_hide_listen_addrs(true),
            )),
            ping: ping::Behaviour::new(
                ping::Config::new()
                    .with_interval(config::PING_INTERVAL)
                    .with_timeout(config::PING_TIMEOUT),
            ),
            gossip: gossip(names)?,
            sync: asking(
                names.sync.clone(),
                ProtocolSupport::Full,
                FrameCodec {
                    request_limit: MAX_REQUEST_LEN,
                    response_limit: MAX_RESPONSE_LEN,
                },
            ),
            neighbours: asking(
                names.neighbours.clone(),
                ProtocolSupport::Full,
                FrameCodec {
                    // The question is in the protocol's name.
                    request_limit: 0,
                    response_limit: config::MAX_INTRODUCTION_LEN,
                },
            ),
            hop: relay::Behaviour::new(name_of(key), hop()),
        })
    }
}

fn asking(
    protocol: StreamProtocol,
    support: ProtocolSupport,
    codec: FrameCodec,
) -> request_response::Behaviour<FrameCodec> {
    request_response::Behaviour::with_codec(
        codec,
        [(protocol, support)],
        request_response::Config::default()
            .with_request_timeout(config::REQUEST_TIMEOUT)
            .with_max_concurrent_streams(config::MAX_REQUEST_STREAMS),
    )
}

/// A tab is a relay for its neighbours, but only for as much as they need to meet.
fn hop() -> relay::Config {
    relay::Config {
        max_reservations: config::MAX_HOP_RESERVATIONS,
        max_reservations_per_peer: 1,
        reservation_duration: config::HOP_RESERVATION,
        reservation_rate_limiters: Vec::new(),
        max_circuits: config::MAX_HOP_CIRCUITS,
        max_circuits_per_peer: config::MAX_HOP_CIRCUITS_A_PEER,
        max_circuit_duration: config::HOP_CIRCUIT_DURATION,
        max_circuit_bytes: config::HOP_CIRCUIT_BYTES,
        circuit_src_rate_limiters: Vec::new(),
    }
}

fn gossip(names: &Names) -> Result<gossipsub::Behaviour, NetworkError> {
    let settings = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(message_id)
        .max_transmit_size(config::MAX_GOSSIP_LEN)
        .history_length(config::GOSSIP_HISTORY)
        .connection_handler_queue_len(config::MAX_GOSSIP_QUEUE)
        .flood_publish(true)
        .build()
        .map_err(|error| NetworkError::Gossip(error.to_string()))?;
    let refused = |reason: &str| NetworkError::Gossip(reason.to_owned());
    let mut gossip = gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Anonymous, settings)
        .map_err(refused)?;
    gossip
        .with_peer_score(score(), gossipsub::PeerScoreThresholds::default())
        .map_err(|error| refused(&error))?;
    for topic in [&names.readings, &names.blocks] {
        gossip
            .set_topic_params(topic.clone(), topic_score())
            .map_err(refused)?;
        gossip
            .subscribe(topic)
            .map_err(|error| NetworkError::Gossip(error.to_string()))?;
    }
    Ok(gossip)
}

/// SHA-256 of topic and data, cut: whoever publishes the same twice publishes it once.
fn message_id(message: &gossipsub::Message) -> gossipsub::MessageId {
    let digest = Sha256::new()
        .chain_update(message.topic.as_str())
        .chain_update(&message.data)
        .finalize();
    gossipsub::MessageId::new(digest.get(..config::GOSSIP_ID_LEN).unwrap_or_default())
}

fn score() -> gossipsub::PeerScoreParams {
    gossipsub::PeerScoreParams {
        // A class shares one address, and behind a relay everybody seems to.
        ip_colocation_factor_weight: 0.0,
        // The machine bans whoever lies; nothing else is held against a peer for an hour.
        retain_score: Duration::from_secs(600),
        ..gossipsub::PeerScoreParams::default()
    }
}

fn topic_score() -> gossipsub::TopicScoreParams {
    gossipsub::TopicScoreParams {
        // A room may be quiet for hours: nobody is bad for having nothing to say.
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        // Having been here for long is worth little, or it would outweigh lying.
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_weight: 0.01,
        time_in_mesh_cap: 1_000.0,
        first_message_deliveries_cap: 100.0,
        first_message_deliveries_weight: 0.1,
        // One bad item costs 10, three cost 90: below -80, nothing a peer sends is heard.
        invalid_message_deliveries_weight: -20.0,
        ..gossipsub::TopicScoreParams::default()
    }
}

/// The name that goes with a key.
pub(crate) fn name_of(key: &Keypair) -> PeerId {
    key.public().to_peer_id()
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn message(topic: &gossipsub::IdentTopic, data: &[u8]) -> gossipsub::Message {
        gossipsub::Message {
            source: None,
            data: data.to_vec(),
            sequence_number: None,
            topic: topic.hash(),
        }
    }

    #[test]
    fn every_protocol_takes_its_configuration() {
        let key = Keypair::generate_ed25519();
        let (_, relay) = relay::client::new(name_of(&key));
        let (_, webrtc) = peer::new(peer::Config::new(name_of(&key)));
        let names = Names::of(RoomId::new([7; 32])).expect("names");
        assert!(Protocols::new(&key, relay, webrtc, &names).is_ok());
    }

    #[test]
    fn a_gossip_item_is_named_by_topic_and_data_alone() {
        let names = Names::of(RoomId::new([7; 32])).expect("names");
        let id = message_id(&message(&names.readings, b"72"));
        assert_eq!(id.0.len(), config::GOSSIP_ID_LEN);
        assert_eq!(id, message_id(&message(&names.readings, b"72")));
        assert_ne!(id, message_id(&message(&names.readings, b"73")));
        assert_ne!(id, message_id(&message(&names.blocks, b"72")));
    }
}
