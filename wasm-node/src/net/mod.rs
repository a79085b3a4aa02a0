//! The tab among others: relays, connections, gossip and requests, told in the machine's own words. Never
//! decides what is sent or believed, and lets no type of libp2p but a peer's name out.

#[cfg(target_arch = "wasm32")]
mod address;
mod backoff;
mod bans;
#[cfg(target_arch = "wasm32")]
mod behaviour;
mod candidates;
#[cfg(target_arch = "wasm32")]
mod codec;
mod connections;
#[cfg(target_arch = "wasm32")]
mod gate;
#[cfg(target_arch = "wasm32")]
mod goodbye;
mod ice;
mod introductions;
#[cfg(target_arch = "wasm32")]
mod multiaddr;
#[cfg(target_arch = "wasm32")]
mod names;
mod places;
#[cfg(target_arch = "wasm32")]
mod prompt;
#[cfg(target_arch = "wasm32")]
mod relays;
mod rendezvous;
#[cfg(target_arch = "wasm32")]
mod requests;
#[cfg(target_arch = "wasm32")]
mod swarm;
#[cfg(target_arch = "wasm32")]
mod transport;
mod unjudged;

pub(crate) use backoff::Backoff;
pub(crate) use connections::{Path, Role};
pub(crate) use ice::IceServer;

#[cfg(target_arch = "wasm32")]
pub(crate) use {
    address::{NamedPeer, PageScheme, RelayAddress},
    browser::stranger,
    browser::{NetworkError, PeerLink},
    libp2p::PeerId,
    relays::{RelayDocument, RelayView},
    swarm::{Event, Network, ReadDocument, Setup},
};

#[cfg(target_arch = "wasm32")]
mod browser {
    use std::time::Duration;

    use libp2p::identity::{Keypair, PublicKey};

    use super::{Path, PeerId, Role};

    /// The name of somebody whom nobody knows.
    pub(crate) fn stranger(mut seed: [u8; 32]) -> PeerId {
        let key = Keypair::ed25519_from_bytes(&mut seed);
        let key = key.map_or_else(|_| Keypair::generate_ed25519().public(), |key| key.public());
        PublicKey::to_peer_id(&key)
    }

    /// Why the network could not be set up.
    #[derive(Debug, thiserror::Error)]
    #[non_exhaustive]
    pub(crate) enum NetworkError {
        /// The key is none of libp2p's.
        #[error("the key of this tab cannot be used: {0}")]
        Key(String),
        /// The encryption could not be set up.
        #[error("the encryption could not be set up: {0}")]
        Noise(String),
        /// Gossip could not be set up.
        #[error("gossip could not be set up: {0}")]
        Gossip(String),
        /// A name is too long or contains what it must not.
        #[error("{0:?} cannot name a protocol")]
        Name(String),
    }

    /// What is shown of a peer's connections.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct PeerLink {
        /// Who.
        pub(crate) peer: PeerId,
        /// What it is to us.
        pub(crate) role: Role,
        /// How it is reached.
        pub(crate) path: Path,
        /// The last round trip, if any ping has come back.
        pub(crate) rtt: Option<Duration>,
    }
}
