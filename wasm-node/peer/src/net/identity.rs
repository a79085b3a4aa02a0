//! The peer ID of a tab, which follows from its key.

use heartchain_chain::hash::RoomId;
use hkdf::Hkdf;
use libp2p::{
    PeerId,
    identity::{Keypair, PublicKey},
};
use sha2::Sha256;

use super::error::NetworkError;

/// The key that gives a peer its peer ID in a room, from the author's secret `seed`. It is another one than the author's
/// key, and different in each room: relays see peer IDs, and cannot tell the author from them. It needs no storage of its
/// own, and changes with the author's key, so that two copies of a store become two peers.
///
/// # Errors
/// If libp2p refuses the key.
///
/// # Panics
/// Never: HKDF-SHA256 yields up to 8,160 bytes.
pub fn network_key(room: RoomId, seed: &[u8; 32]) -> Result<Keypair, NetworkError> {
    let mut derived = [0; 32];
    Hkdf::<Sha256>::new(Some(room.as_bytes()), seed)
        .expand(b"heartchain/network-key/2", &mut derived)
        .expect("HKDF-SHA256 yields up to 8,160 bytes");
    Keypair::ed25519_from_bytes(&mut derived).map_err(|error| NetworkError::Key(error.to_string()))
}

/// The peer ID of a key.
pub fn peer_id_of(key: &Keypair) -> PeerId {
    key.public().to_peer_id()
}

/// A peer ID as bindings sign it.
pub fn peer_id_bytes(peer: &PeerId) -> Vec<u8> {
    peer.to_bytes()
}

/// The peer ID that belongs to a secret seed. With a random seed it is unknown to every other peer.
pub fn peer_id_from_seed(mut seed: [u8; 32]) -> PeerId {
    let key = Keypair::ed25519_from_bytes(&mut seed);
    let key = key.map_or_else(|_| Keypair::generate_ed25519().public(), |key| key.public());
    PublicKey::to_peer_id(&key)
}

/// The start of the peer ID of an Ed25519 key: identity multihash, 36 bytes, key type 1, 32 bytes of key.
const ED25519_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// The peer ID that belongs to an author's public key.
pub fn peer_id_of_author(key: &[u8; 32]) -> Option<PeerId> {
    let bytes: Vec<u8> = ED25519_PREFIX.iter().chain(key).copied().collect();
    PeerId::from_bytes(&bytes).ok()
}
