//! Block headers: the 93 bytes that are hashed, and that commit to the parent, the readings and the target. Headers are
//! checked in [`crate::validate`].

use borsh::{BorshDeserialize, BorshSerialize};
use sha2::{Digest, Sha256};

use crate::{
    codec::DecodeError,
    hash::{BlockHash, ReadingsRoot},
    time::UnixMillis,
    work::CompactTarget,
};

/// The only header version so far.
pub const HEADER_VERSION: u8 = 1;

/// A block header as received: not checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct Header {
    /// Format version; always [`HEADER_VERSION`] in a valid header.
    pub version: u8,
    /// Height of the block: the parent's index + 1; genesis has 0.
    pub index: u64,
    /// When the block was mined, by the miner's clock.
    pub time: UnixMillis,
    /// Hash of the parent's header.
    pub prev_hash: BlockHash,
    /// Merkle root of the block's readings, see [`crate::merkle::readings_root`].
    pub readings_root: ReadingsRoot,
    /// The target that the block hash must meet.
    pub bits: CompactTarget,
    /// The number that the miner varies. It is the last field, so a try costs one SHA-256 compression.
    pub nonce: u64,
}

impl Header {
    /// Length of an encoded header in bytes.
    pub const LEN: usize = 1 + 8 + 8 + BlockHash::LEN + ReadingsRoot::LEN + 4 + 8;

    /// The borsh encoding, which is hashed, sent and stored.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        // The same bytes as borsh, without the checks of a writer: every header check encodes the header.
        let mut bytes = [0; Self::LEN];
        bytes[0] = self.version;
        bytes[1..9].copy_from_slice(&self.index.to_le_bytes());
        bytes[9..17].copy_from_slice(&self.time.get().to_le_bytes());
        bytes[17..49].copy_from_slice(self.prev_hash.as_bytes());
        bytes[49..81].copy_from_slice(self.readings_root.as_bytes());
        bytes[81..85].copy_from_slice(&self.bits.to_bits().to_le_bytes());
        bytes[85..93].copy_from_slice(&self.nonce.to_le_bytes());
        bytes
    }

    /// Decodes a header. Any [`Header::LEN`] bytes decode, whether or not the header is valid.
    ///
    /// # Errors
    /// If there are not exactly [`Header::LEN`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        borsh::from_slice(bytes).map_err(|_| DecodeError::Length {
            what: "header",
            expected: Self::LEN,
            found: bytes.len(),
        })
    }

    /// The block hash: SHA-256 of the encoded header.
    #[must_use]
    pub fn hash(&self) -> BlockHash {
        BlockHash::new(Sha256::digest(self.to_bytes()).into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_encoded_in_order() {
        let header = Header {
            version: 1,
            index: 0x0203,
            time: UnixMillis::new(0x0405),
            prev_hash: BlockHash::new([6; 32]),
            readings_root: ReadingsRoot::new([7; 32]),
            bits: CompactTarget::from_bits(0x0809_0a0b),
            nonce: 0x0c0d,
        };
        let expected = [
            &[1, 3, 2, 0, 0, 0, 0, 0, 0, 5, 4, 0, 0, 0, 0, 0, 0][..],
            &[6; 32],
            &[7; 32],
            &[0x0b, 0x0a, 0x09, 0x08, 0x0d, 0x0c, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(&header.to_bytes()[..], &expected.concat());
    }

    proptest! {
        #[test]
        fn only_93_bytes_decode_as_a_header(bytes: [u8; 93], cut in 0_usize..120) {
            prop_assert_eq!(Header::decode(&bytes).map(|header| header.to_bytes()), Ok(bytes));
            let mut other = bytes.to_vec();
            other.resize(cut, 0);
            if cut != Header::LEN {
                let error = DecodeError::Length { what: "header", expected: 93, found: cut };
                prop_assert_eq!(Header::decode(&other), Err(error));
            }
        }
    }
}
