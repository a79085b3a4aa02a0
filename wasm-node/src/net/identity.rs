//! The peer ID of a tab, which follows from its key.

use libp2p::{
    PeerId,
    identity::{Keypair, PublicKey},
};

/// The peer ID of a key.
pub(crate) fn peer_id_of(key: &Keypair) -> PeerId {
    key.public().to_peer_id()
}

/// The peer ID that belongs to a secret seed. With a random seed it is unknown to every other peer.
pub(crate) fn peer_id_from_seed(mut seed: [u8; 32]) -> PeerId {
    let key = Keypair::ed25519_from_bytes(&mut seed);
    let key = key.map_or_else(|_| Keypair::generate_ed25519().public(), |key| key.public());
    PublicKey::to_peer_id(&key)
}
