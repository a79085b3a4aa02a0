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
mod discovery;
mod ice;
#[cfg(target_arch = "wasm32")]
mod multiaddr;
mod peer_exchange;
#[cfg(target_arch = "wasm32")]
mod peer_list;
mod peer_slots;
mod pending_validation;
#[cfg(target_arch = "wasm32")]
mod relays;
mod rendezvous;
#[cfg(target_arch = "wasm32")]
mod requests;
#[cfg(target_arch = "wasm32")]
mod swarm;
#[cfg(target_arch = "wasm32")]
mod transport;
#[cfg(target_arch = "wasm32")]
mod workarounds;

pub(crate) use backoff::Backoff;
pub(crate) use connections::{Path, Role};
pub(crate) use ice::{IceServer, MAX_ICE_SERVERS};
pub(crate) use peer_slots::WANTED_PEERS;

#[cfg(target_arch = "wasm32")]
pub(crate) use {
    address::{CircuitAddress, PageScheme, RelayAddress},
    browser::peer_id_from_seed,
    browser::{NetworkError, PeerLink},
    libp2p::PeerId,
    relays::{RelayDocument, RelayView},
    swarm::{Network, NetworkConfig, NetworkEvent, ReadDocument},
};

#[cfg(target_arch = "wasm32")]
mod browser {
    use std::time::Duration;

    use libp2p::identity::{Keypair, PublicKey};

    use super::{Path, PeerId, Role};

    /// The peer ID that belongs to a secret seed. With a random seed it is unknown to every other peer.
    pub(crate) fn peer_id_from_seed(mut seed: [u8; 32]) -> PeerId {
        let key = Keypair::ed25519_from_bytes(&mut seed);
        let key = key.map_or_else(|_| Keypair::generate_ed25519().public(), |key| key.public());
        PublicKey::to_peer_id(&key)
    }

    /// Why the network could not be set up.
    #[derive(Debug, thiserror::Error)]
    #[non_exhaustive]
    pub(crate) enum NetworkError {
        /// libp2p does not accept the key.
        #[error("the key of this tab cannot be used: {0}")]
        Key(String),
        /// The Noise handshake could not be set up.
        #[error("the encryption could not be set up: {0}")]
        Noise(String),
        /// Gossipsub refused its configuration.
        #[error("gossip could not be set up: {0}")]
        Gossip(String),
        /// A protocol name is too long or contains invalid characters.
        #[error("{0:?} is not a valid protocol name")]
        Name(String),
    }

    /// A connected peer, as the page shows it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct PeerLink {
        pub(crate) peer: PeerId,
        pub(crate) role: Role,
        /// The best path to the peer.
        pub(crate) path: Path,
        /// The last round trip on that path; `None` until a ping is answered.
        pub(crate) rtt: Option<Duration>,
    }
}
