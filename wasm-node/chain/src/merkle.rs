//! The Merkle tree hash of RFC 6962 over the readings of a block, which the header commits to.

use alloc::vec::Vec;

use sha2::{Digest, Sha256};

use crate::{hash::ReadingsRoot, reading::Reading};

/// Prefix of a leaf's bytes. It keeps a leaf from being taken for an inner node.
const LEAF_PREFIX: [u8; 1] = [0x00];
/// Prefix of the two hashes of an inner node.
const NODE_PREFIX: [u8; 1] = [0x01];

/// The Merkle tree hash ([RFC 6962, section 2.1](https://www.rfc-editor.org/rfc/rfc6962#section-2.1)) over the bytes of
/// `readings`. Without readings it is the SHA-256 of the empty string.
#[must_use]
pub fn readings_root(readings: &[Reading]) -> ReadingsRoot {
    // The RFC splits each list at the largest power of two below its length. Hashing pairs of neighbours level by
    // level, with an odd last node moving up unchanged, gives the same tree.
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

/// Hash of a pair of neighbours. A node without a neighbour moves up unchanged.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        content::Content,
        key::{Author, Signature},
        time::UnixMillis,
    };

    fn reading(number: u8) -> Reading {
        Reading {
            author: Author::new([number; 32]),
            seq: number.into(),
            content: Content::Open {
                time: UnixMillis::new(number.into()),
                bpm: number.into(),
            },
            signature: Signature::new([number; 64]),
        }
    }

    /// The definition in the RFC: split at the largest power of two that is less than the length.
    fn rfc_6962_root(readings: &[Reading]) -> [u8; 32] {
        match readings {
            [] => Sha256::digest([]).into(),
            [single] => leaf_hash(single),
            several => {
                let split = several.len().next_power_of_two() / 2;
                let (left, right) = several.split_at(split);
                let hash = Sha256::new().chain_update(NODE_PREFIX);
                hash.chain_update(rfc_6962_root(left))
                    .chain_update(rfc_6962_root(right))
                    .finalize()
                    .into()
            }
        }
    }

    #[test]
    fn root_matches_rfc_6962_at_every_length() {
        let readings: Vec<Reading> = (0..=255).map(reading).collect();
        for length in 0..=readings.len() {
            let some = &readings[..length];
            assert_eq!(
                readings_root(some),
                ReadingsRoot::new(rfc_6962_root(some)),
                "{length} readings"
            );
        }
    }

    #[test]
    fn root_depends_on_order_and_repetition() {
        let (a, b) = (reading(1), reading(2));
        assert_ne!(readings_root(&[a, b]), readings_root(&[b, a]));
        assert_ne!(readings_root(&[a, b, b]), readings_root(&[a, b, b, b]));
    }
}
