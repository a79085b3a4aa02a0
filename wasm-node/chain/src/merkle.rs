//! The one hash that stands for all readings of a block: RFC 6962's Merkle tree hash. It never looks into a reading.

use alloc::vec::Vec;

use sha2::{Digest, Sha256};

use crate::{hash::ReadingsRoot, reading::Reading};

/// Goes before a leaf's bytes, so that no leaf can pass for an inner node.
const LEAF_PREFIX: [u8; 1] = [0x00];
/// Goes before an inner node's two hashes.
const NODE_PREFIX: [u8; 1] = [0x01];

/// The Merkle tree hash ([RFC 6962, section 2.1](https://www.rfc-editor.org/rfc/rfc6962#section-2.1)) over the bytes of
/// `readings`; of none, the SHA-256 of nothing.
#[must_use]
pub fn readings_root(readings: &[Reading]) -> ReadingsRoot {
    // The RFC splits each list at the largest power of two below its length. Pairing neighbours level by level, an odd
    // last one rising unchanged, makes the same tree.
    let mut level: Vec<[u8; 32]> = readings.iter().map(leaf_hash).collect();
    while level.len() > 1 {
        level = level.chunks(2).map(parent_hash).collect();
    }
    ReadingsRoot::new(
        level
            .first()
            .copied()
            .unwrap_or_else(|| Sha256::digest([]).into()),
    )
}

fn leaf_hash(reading: &Reading) -> [u8; 32] {
    Sha256::new()
        .chain_update(LEAF_PREFIX)
        .chain_update(reading.to_bytes())
        .finalize()
        .into()
}

/// Hash of a pair of neighbours; a single one stands for itself.
fn parent_hash(children: &[[u8; 32]]) -> [u8; 32] {
    if let [single] = children {
        return *single;
    }
    let hash = Sha256::new().chain_update(NODE_PREFIX);
    children
        .iter()
        .fold(hash, |hash, child| hash.chain_update(child))
        .finalize()
        .into()
}
