//! The libp2p side of the browser peer: relays, connections, gossip and requests, reported as inputs of the sync
//! state machine. It never decides what is sent or believed, and the only libp2p type that leaves it is
//! `PeerId`.

#[cfg(target_arch = "wasm32")]
mod address;
mod backoff;
mod bans;
#[cfg(target_arch = "wasm32")]
mod behaviour;
mod candidates;
#[cfg(target_arch = "wasm32")]
mod codec;
#[cfg(target_arch = "wasm32")]
mod connection_limiter;
mod connections;
#[cfg(target_arch = "wasm32")]
mod connectivity;
#[cfg(target_arch = "wasm32")]
mod dialer;
mod discovery;
#[cfg(target_arch = "wasm32")]
mod error;
#[cfg(target_arch = "wasm32")]
mod events;
#[cfg(target_arch = "wasm32")]
mod exchange_protocol;
mod flood_strikes;
#[cfg(target_arch = "wasm32")]
mod gossip;
mod gossip_budget;
#[cfg(target_arch = "wasm32")]
mod gossip_limiter;
mod housekeeping;
mod ice;
#[cfg(target_arch = "wasm32")]
mod identity;
#[cfg(target_arch = "wasm32")]
mod multiaddr;
mod peer_exchange;
#[cfg(target_arch = "wasm32")]
mod peer_link;
#[cfg(target_arch = "wasm32")]
mod peer_list;
mod peer_slots;
mod pending_validation;
#[cfg(target_arch = "wasm32")]
mod relay_actions;
mod relay_choice;
#[cfg(target_arch = "wasm32")]
mod relay_document;
#[cfg(target_arch = "wasm32")]
mod relays;
mod rendezvous;
#[cfg(target_arch = "wasm32")]
mod requests;
#[cfg(target_arch = "wasm32")]
mod rpc_size;
#[cfg(target_arch = "wasm32")]
mod swarm;
#[cfg(target_arch = "wasm32")]
mod trace;
#[cfg(target_arch = "wasm32")]
mod transport;
mod turn;
#[cfg(target_arch = "wasm32")]
mod workarounds;

pub(crate) use backoff::Backoff;
pub(crate) use connections::{Path, Role};
pub(crate) use ice::{IceServer, IceServerError, MAX_ICE_SERVERS};
pub(crate) use peer_slots::WANTED_PEERS;
pub(crate) use relay_choice::MAX_DEPLOYMENT;

#[cfg(target_arch = "wasm32")]
pub(crate) use {
    address::{AddressError, CircuitAddress, PageScheme, RelayAddress},
    error::NetworkError,
    events::NetworkEvent,
    identity::{peer_id_bytes, peer_id_from_seed, peer_id_of_author},
    libp2p::PeerId,
    peer_link::PeerLink,
    relay_document::{ReadDocument, RelayDocument},
    relays::RelayView,
    swarm::{Network, NetworkConfig},
};
