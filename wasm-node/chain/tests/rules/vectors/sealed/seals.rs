//! Seals of any content, made without the crate that they test.

use aes_gcm_siv::{AeadInPlace as _, Aes256GcmSiv, KeyInit as _};
use heartchain_chain::{
    content::{Content, SealedContent},
    key::Author,
    room::Room,
};
use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};

/// The ID of a libp2p peer with an Ed25519 key, in bytes.
pub(super) const PEER: [u8; 38] = {
    let mut peer = [0x42; 38];
    [peer[0], peer[1], peer[2], peer[3], peer[4], peer[5]] = [0, 36, 8, 1, 18, 32];
    peer
};

/// One of the keys that are derived from the room's key.
pub(super) fn derived(room: &Room, info: &str) -> [u8; 32] {
    let mut derived = [0; 32];
    let key = room.key().expect("the key is known").as_bytes();
    Hkdf::<Sha256>::new(Some(room.id().as_bytes()), key)
        .expand(info.as_bytes(), &mut derived)
        .expect("a short key");
    derived
}

pub(super) fn nonce(tag: &str, parts: &[&[u8]]) -> [u8; 12] {
    let hash = Sha256::new_with_prefix(tag);
    let hash = parts
        .iter()
        .fold(hash, |hash, part| hash.chain_update(part));
    hash.finalize()[..12].try_into().expect("12 bytes")
}

/// Seals any bytes for `what`: a reading, profile or binding. `owner` is hashed into the nonce and authenticated.
pub(super) fn seal(room: &Room, what: &str, owner: &[&[u8]], plain: &[u8]) -> Vec<u8> {
    let tag = match what {
        "reading" => "heartchain/nonce/2".into(),
        other => format!("heartchain/{other}-nonce/2"),
    };
    let cipher = Aes256GcmSiv::new(&derived(room, &format!("heartchain/{what}-key/2")).into());
    let additional = [&room.id().as_bytes()[..], &owner.concat()].concat();
    let mut sealed = plain.to_vec();
    let tag = cipher
        .encrypt_in_place_detached(&nonce(&tag, owner).into(), &additional, &mut sealed)
        .expect("a short plaintext");
    sealed.extend_from_slice(&tag);
    sealed
}

/// Sealed content with any time and heart rate.
pub(in crate::vectors) fn seal_reading(
    room: &Room,
    author: Author,
    seq: u64,
    time: u64,
    bpm: u16,
) -> Content {
    let plain = [&time.to_le_bytes()[..], &bpm.to_le_bytes()].concat();
    let owner: [&[u8]; 2] = [author.as_bytes(), &seq.to_le_bytes()];
    let sealed = seal(room, "reading", &owner, &plain);
    Content::Sealed(SealedContent::new(sealed.try_into().expect("26 bytes")))
}
