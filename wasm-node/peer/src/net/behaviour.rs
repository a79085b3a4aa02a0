//! The libp2p protocols that a tab speaks, and the configuration of each. Their events are handled in `swarm`.

use std::time::Duration;

use heartchain_chain::hash::RoomId;
use heartchain_sync::message::{MAX_REQUEST_LEN, MAX_RESPONSE_LEN};
use libp2p::{
    StreamProtocol, allow_block_list, gossipsub, identify,
    identity::Keypair,
    ping, relay,
    request_response::{self, ProtocolSupport},
    swarm::NetworkBehaviour,
};
use sha2::{Digest, Sha256};

use super::{
    codec::FrameCodec,
    connection_limiter::ConnectionLimiter,
    connections::{PING_INTERVAL, PING_TIMEOUT},
    direct_transport::DirectTransport,
    error::NetworkError,
    gossip_limiter::GossipLimiter,
    identity::peer_id_of,
    peer_list::MAX_PEER_LIST_LEN,
    pending_validation::GOSSIP_HISTORY,
    rendezvous::message::MAX_MESSAGE_LEN,
};

/// Bytes of the largest gossip item: a block of 128 KiB, with some room to spare.
const MAX_GOSSIP_LEN: usize = 160 * 1024;
/// Bytes of a gossip item's id: collisions of 160 bits cannot be found.
const GOSSIP_ID_LEN: usize = 20;
/// Gossip items queued for one peer before the peer counts as slow.
const MAX_GOSSIP_QUEUE: usize = 1_000;
/// Gossip items that one IHAVE or IWANT names: those of another second follow with the next. With more, the message would
/// exceed [`MAX_CONTROL_LEN`], and the receiver would close the stream.
const MAX_ANNOUNCED: usize = 128;
/// Bytes of the subscriptions and control items of one RPC.
const MAX_CONTROL_LEN: usize = 4 * 1024;
/// The longest time for any request; the machine's own deadlines are no longer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests of one connection at one time: 4 in each direction, twice over.
const MAX_REQUEST_STREAMS: usize = 16;
/// Relay reservations that a tab grants to its neighbours: as many as it has peers.
const MAX_HOP_RESERVATIONS: usize = 24;
/// Reservations of one neighbour at a tab. It needs one; a second one is possible while a first one counts that did not
/// reach it, or whose connection is about to be closed.
const MAX_HOP_RESERVATIONS_PER_PEER: usize = 2;
/// How long such a reservation lasts. It is renewed before it expires, and ends with its connection. It is long because
/// neighbours compare its expiry with their own clocks, which may be wrong by an hour.
const HOP_RESERVATION_DURATION: Duration = Duration::from_secs(6 * 60 * 60);
/// Circuits through a tab at one time.
const MAX_HOP_CIRCUITS: usize = 8;
/// Circuits through a tab at one time of the neighbour that asks for one, as source and as destination.
const MAX_HOP_CIRCUITS_PER_PEER: usize = 4;
/// How long a circuit through a tab may last: a direct connection takes a second, and at most 15 s.
const HOP_CIRCUIT_DURATION: Duration = Duration::from_secs(20);
/// Bytes that a circuit through a tab may carry: signalling takes 10 KiB, and the first requests of sync some more.
const HOP_CIRCUIT_BYTES: u64 = 256 * 1024;

/// The combined network behaviour. Each field's events arrive as the [`ProtocolsEvent`] variant of the same name.
#[derive(NetworkBehaviour)]
pub(crate) struct Protocols<D: DirectTransport> {
    // First, so that a banned peer reaches none of the other protocols.
    pub(crate) banned: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub(crate) connection_limiter: ConnectionLimiter,
    pub(crate) relay: relay::client::Behaviour,
    pub(crate) direct: D,
    pub(crate) rendezvous: request_response::Behaviour<FrameCodec>,
    pub(crate) identify: D::Identify,
    pub(crate) ping: ping::Behaviour,
    pub(crate) gossip: GossipLimiter,
    pub(crate) sync: request_response::Behaviour<FrameCodec>,
    pub(crate) neighbours: request_response::Behaviour<FrameCodec>,
    pub(crate) hop: relay::Behaviour,
}

/// Topics, protocol names and the rendezvous namespace of a room, as in docs/protocols.md, "Names". Each contains the room
/// ID.
#[derive(Clone, Debug)]
pub(crate) struct RoomNames {
    pub(crate) readings: gossipsub::IdentTopic,
    pub(crate) blocks: gossipsub::IdentTopic,
    pub(crate) profiles: gossipsub::IdentTopic,
    pub(crate) sync: StreamProtocol,
    pub(crate) neighbours: StreamProtocol,
    pub(crate) namespace: String,
}

impl RoomNames {
    /// Builds the names for a room.
    ///
    /// # Errors
    /// If libp2p refuses a protocol name, which does not happen for a valid room ID.
    pub(crate) fn of(room: RoomId) -> Result<Self, NetworkError> {
        let refused = |name: &str| NetworkError::Name(name.to_owned());
        let sync = format!("/heartchain/2/{room}/sync");
        let neighbours = format!("/heartchain/2/{room}/neighbours");
        Ok(Self {
            readings: gossipsub::IdentTopic::new(format!("heartchain/2/{room}/readings")),
            blocks: gossipsub::IdentTopic::new(format!("heartchain/2/{room}/blocks")),
            profiles: gossipsub::IdentTopic::new(format!("heartchain/2/{room}/profiles")),
            sync: StreamProtocol::try_from_owned(sync.clone()).map_err(|_| refused(&sync))?,
            neighbours: StreamProtocol::try_from_owned(neighbours.clone())
                .map_err(|_| refused(&neighbours))?,
            namespace: format!("heartchain/2/{room}"),
        })
    }
}

impl<D: DirectTransport> Protocols<D> {
    /// Configures all protocols for a room. `requires_proof` says whether peers have to prove that they are members.
    ///
    /// # Errors
    /// If a protocol refuses its configuration.
    pub(crate) fn new(
        key: &Keypair,
        relay: relay::client::Behaviour,
        direct: D,
        names: &RoomNames,
        requires_proof: bool,
    ) -> Result<Self, NetworkError> {
        Ok(Self {
            banned: allow_block_list::Behaviour::default(),
            connection_limiter: ConnectionLimiter::new(requires_proof),
            relay,
            direct,
            rendezvous: framed_requests(
                StreamProtocol::new(rendezvous_messages::PROTOCOL),
                ProtocolSupport::Outbound,
                FrameCodec {
                    request_limit: MAX_MESSAGE_LEN,
                    response_limit: MAX_MESSAGE_LEN,
                },
            ),
            identify: D::identify(identify::Behaviour::new(
                identify::Config::new("heartchain/2".to_owned(), key.public())
                    .with_agent_version(
                        concat!("heartchain/", env!("CARGO_PKG_VERSION")).to_owned(),
                    )
                    // Addresses come from relays: those that a peer claims for itself are not kept.
                    .with_cache_size(0)
                    // With one listen address per reservation at a neighbour, the list would exceed what peers accept.
                    .with_hide_listen_addrs(true),
            )),
            ping: ping::Behaviour::new(
                ping::Config::new()
                    .with_interval(PING_INTERVAL)
                    .with_timeout(PING_TIMEOUT),
            ),
            gossip: gossip_behaviour(names)?,
            sync: framed_requests(
                names.sync.clone(),
                ProtocolSupport::Full,
                FrameCodec {
                    request_limit: MAX_REQUEST_LEN,
                    response_limit: MAX_RESPONSE_LEN,
                },
            ),
            neighbours: framed_requests(
                names.neighbours.clone(),
                ProtocolSupport::Full,
                FrameCodec {
                    // The request is empty: the protocol name says it all.
                    request_limit: 0,
                    response_limit: MAX_PEER_LIST_LEN,
                },
            ),
            hop: relay::Behaviour::new(peer_id_of(key), hop_config()),
        })
    }
}

fn framed_requests(
    protocol: StreamProtocol,
    support: ProtocolSupport,
    codec: FrameCodec,
) -> request_response::Behaviour<FrameCodec> {
    request_response::Behaviour::with_codec(
        codec,
        [(protocol, support)],
        request_response::Config::default()
            .with_request_timeout(REQUEST_TIMEOUT)
            .with_max_concurrent_streams(MAX_REQUEST_STREAMS),
    )
}

/// A tab is a circuit relay for its neighbours, limited to what they need to set up a direct connection. libp2p-relay 0.22.0 refuses a
/// peer that has more than its limit, so that is one less than the number allowed.
fn hop_config() -> relay::Config {
    relay::Config {
        max_reservations: MAX_HOP_RESERVATIONS,
        max_reservations_per_peer: MAX_HOP_RESERVATIONS_PER_PEER - 1,
        reservation_duration: HOP_RESERVATION_DURATION,
        reservation_rate_limiters: Vec::new(),
        max_circuits: MAX_HOP_CIRCUITS,
        max_circuits_per_peer: MAX_HOP_CIRCUITS_PER_PEER - 1,
        max_circuit_duration: HOP_CIRCUIT_DURATION,
        max_circuit_bytes: HOP_CIRCUIT_BYTES,
        circuit_src_rate_limiters: Vec::new(),
    }
}

fn gossip_behaviour(names: &RoomNames) -> Result<GossipLimiter, NetworkError> {
    let settings = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(message_id)
        .max_transmit_size(MAX_GOSSIP_LEN)
        .history_length(GOSSIP_HISTORY)
        .connection_handler_queue_len(MAX_GOSSIP_QUEUE)
        .max_control_messages_sent(MAX_ANNOUNCED)
        .max_control_message_size(MAX_CONTROL_LEN)
        .flood_publish(true)
        .build()
        .map_err(|error| NetworkError::Gossip(error.to_string()))?;
    let refused = |reason: &str| NetworkError::Gossip(reason.to_owned());
    let topics = [&names.readings, &names.blocks, &names.profiles];
    let hashes = topics.iter().map(|topic| topic.hash()).collect();
    let mut limiter = GossipLimiter::new(settings, hashes).map_err(refused)?;
    let gossip = limiter.gossip();
    gossip
        .with_peer_score(score(), gossipsub::PeerScoreThresholds::default())
        .map_err(|error| refused(&error))?;
    for topic in topics {
        gossip
            .set_topic_params(topic.clone(), topic_score())
            .map_err(refused)?;
        gossip
            .subscribe(topic)
            .map_err(|error| NetworkError::Gossip(error.to_string()))?;
    }
    Ok(limiter)
}

/// Truncated SHA-256 of topic and data: publishing the same data twice publishes it once.
fn message_id(message: &gossipsub::Message) -> gossipsub::MessageId {
    let digest = Sha256::new()
        .chain_update(message.topic.as_str())
        .chain_update(&message.data)
        .finalize();
    gossipsub::MessageId::new(digest.get(..GOSSIP_ID_LEN).unwrap_or_default())
}

fn score() -> gossipsub::PeerScoreParams {
    gossipsub::PeerScoreParams {
        // A school class shares one IP address, and behind a relay all peers seem to.
        ip_colocation_factor_weight: 0.0,
        // The state machine bans dishonest peers; a score need not outlive ten minutes.
        retain_score: Duration::from_secs(600),
        ..gossipsub::PeerScoreParams::default()
    }
}

fn topic_score() -> gossipsub::TopicScoreParams {
    gossipsub::TopicScoreParams {
        // A room may be quiet for hours, so a peer is not penalized for delivering no messages.
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        // Time in the mesh counts little, or it would outweigh invalid messages.
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_weight: 0.01,
        time_in_mesh_cap: 1_000.0,
        first_message_deliveries_cap: 100.0,
        first_message_deliveries_weight: 0.1,
        // The penalty is quadratic: one invalid message costs 10 points, three cost 90. Below -80, gossipsub ignores
        // everything that a peer sends.
        invalid_message_deliveries_weight: -20.0,
        ..gossipsub::TopicScoreParams::default()
    }
}

#[cfg(test)]
mod tests {
    use libp2p::swarm::dummy;

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
    fn every_protocol_accepts_its_configuration() {
        let key = Keypair::generate_ed25519();
        let (_, relay) = relay::client::new(peer_id_of(&key));
        let names = RoomNames::of(RoomId::new([7; 32])).expect("names");
        assert!(Protocols::new(&key, relay, dummy::Behaviour, &names, false).is_ok());
    }

    #[test]
    fn message_id_covers_topic_and_data_only() {
        let names = RoomNames::of(RoomId::new([7; 32])).expect("names");
        let id = message_id(&message(&names.readings, b"72"));
        assert_eq!(id.0.len(), GOSSIP_ID_LEN);
        assert_eq!(id, message_id(&message(&names.readings, b"72")));
        assert_ne!(id, message_id(&message(&names.readings, b"73")));
        assert_ne!(id, message_id(&message(&names.blocks, b"72")));
    }
}
