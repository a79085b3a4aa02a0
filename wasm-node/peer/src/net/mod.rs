//! The libp2p side of a peer: relays, connections, gossip and requests, reported as inputs of the sync
//! state machine. It never decides what is sent or believed, and the only libp2p type that leaves it is
//! `PeerId`.

mod address;
mod backoff;
mod bans;
mod behaviour;
mod candidates;
mod codec;
mod connection_limiter;
mod connections;
mod connectivity;
mod dialer;
mod direct_transport;
mod discovery;
mod error;
mod events;
mod exchange_protocol;
mod flood_strikes;
mod gossip;
mod gossip_budget;
mod gossip_limiter;
mod housekeeping;
mod ice;
mod identity;
mod listeners;
mod multiaddr;
mod own_addresses;
mod paths;
mod peer_exchange;
mod peer_link;
mod peer_list;
mod peer_slots;
mod pending_validation;
mod relay_actions;
mod relay_choice;
mod relay_document;
mod relays;
mod rendezvous;
mod requests;
mod rpc_size;
mod scope;
mod swarm;
mod trace;
mod transport;
mod turn;
mod workarounds;

pub use {
    address::{AddressError, CircuitAddress, NamedPeer, PageScheme, RelayAddress, TransportKind},
    backoff::Backoff,
    connections::{Connections, Direction, Gone, Path, Role},
    direct_transport::DirectTransport,
    error::NetworkError,
    events::NetworkEvent,
    ice::{IceServer, IceServerError, MAX_ICE_SERVERS},
    identity::{network_key, peer_id_bytes, peer_id_from_seed, peer_id_of, peer_id_of_author},
    libp2p::PeerId,
    peer_link::PeerLink,
    peer_slots::{MAX_CIRCUITS_PER_PEER, MAX_CONNECTIONS_PER_PEER, WANTED_PEERS},
    relay_choice::MAX_DEPLOYMENT,
    relay_document::{ReadDocument, RelayDocument},
    relays::RelayView,
    scope::Scope,
    swarm::{Network, NetworkConfig, Transports},
    transport::{MAX_STREAMS_PER_CONNECTION, with_time_limits},
    turn::TaskTurns,
};
