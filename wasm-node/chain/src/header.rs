//! What is hashed of a block: 93 bytes that name its parent, its readings and its work. Nothing here ever judges a
//! header; [`crate::validate`] does.

use borsh::{BorshDeserialize, BorshSerialize};
use sha2::{Digest, Sha256};

use crate::{
    codec::DecodeError,
    hash::{BlockHash, ReadingsRoot},
    time::UnixMillis,
    work::CompactTarget,
};

/// The only version there is.
pub const HEADER_VERSION: u8 = 1;

/// A block's header as it travels: nothing in it is checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct Header {
    /// [`HEADER_VERSION`].
    pub version: u8,
    /// The parent's index + 1; genesis has 0.
    pub index: u64,
    /// When it was mined, by the miner's clock.
    pub time: UnixMillis,
    /// Hash of the parent.
    pub prev_hash: BlockHash,
    /// What [`crate::merkle::readings_root`] says of the block's readings.
    pub readings_root: ReadingsRoot,
    /// The target in force.
    pub bits: CompactTarget,
    /// What the miner varied. It stands last, so that a try costs one compression of SHA-256.
    pub nonce: u64,
}

impl Header {
    /// Length of an encoded header in bytes.
    pub const LEN: usize = 1 + 8 + 8 + BlockHash::LEN + ReadingsRoot::LEN + 4 + 8;

    /// The borsh encoding: what is hashed, sent and stored.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        // What borsh writes, without a writer's checks: a header is encoded for every header that is judged.
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

    /// Reads a header from exactly its bytes. Any [`Header::LEN`] bytes are one, valid or not.
    ///
    /// # Errors
    /// If there are fewer bytes or more.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        borsh::from_slice(bytes).map_err(|_| DecodeError::Length {
            what: "header",
            expected: Self::LEN,
            found: bytes.len(),
        })
    }

    /// SHA-256 of the encoded header: the block's name.
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
    fn bytes_stand_in_the_order_of_the_specification() {
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
        fn any_93_bytes_are_one_header_and_no_other_length_is(bytes: [u8; 93], cut in 0_usize..120) {
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
