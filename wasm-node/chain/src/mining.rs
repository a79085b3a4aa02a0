//! Header templates and the search for a nonce. This module never reads a clock: the caller chooses the number of
//! tries.

use core::{fmt, slice};

use sha2::block_api::compress256;

use crate::{
    difficulty::Window,
    hash::BlockHash,
    header::{HEADER_VERSION, Header},
    merkle::readings_root,
    reading::Reading,
    time::UnixMillis,
    work::Target,
};

/// Input length of one SHA-256 compression in bytes.
const SHA256_BLOCK: usize = 64;
/// Length in bytes of the part of a header in the second SHA-256 block. It ends with the nonce.
const TAIL_LEN: usize = Header::LEN - SHA256_BLOCK;
/// Offset of the nonce in the second SHA-256 block.
const NONCE_START: usize = TAIL_LEN - 8;
/// Offset of the message length in bits, which ends SHA-256's padding.
const LENGTH_START: usize = SHA256_BLOCK - 8;
/// Initial state of SHA-256 (FIPS 180-4, section 5.3.3).
const SHA256_START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// Builds the header of a block with these readings on `prev_hash`, whose difficulty window is `window`. The nonce is
/// zero, and the time is used unchecked.
#[must_use]
pub fn template(
    window: &Window,
    prev_hash: BlockHash,
    time: UnixMillis,
    readings: &[Reading],
) -> Header {
    Header {
        version: HEADER_VERSION,
        index: window.next_index(),
        time,
        prev_hash,
        readings_root: readings_root(readings),
        bits: window.next_bits(time),
        nonce: 0,
    }
}

/// Tries the nonces below `tries` and returns the header with the first one that meets its bits, if there is one. For
/// callers without a worker that runs a [`Job`].
#[must_use]
pub fn mine(header: Header, tries: u32) -> Option<Header> {
    let job = Job::new(&header, header.bits.target().ok()?);
    let nonce = job.search(0, tries)?;
    Some(Header { nonce, ..header })
}

/// The search for a nonce for one header. The part before the nonce is hashed once, so a try costs one compression.
#[derive(Clone)]
pub struct Job {
    /// SHA-256's state after the header's first 64 bytes.
    midstate: [u32; 8],
    /// The header's remaining bytes and SHA-256's padding. The search fills in the nonce.
    tail: [u8; SHA256_BLOCK],
    /// The target as big-endian words, like a SHA-256 state.
    target: [u32; 8],
}

impl Job {
    /// Prepares the search for a nonce that brings `header`'s hash down to `target`.
    #[must_use]
    pub fn new(header: &Header, target: Target) -> Self {
        let bytes = header.to_bytes();
        let mut head = [0; SHA256_BLOCK];
        let mut tail = [0; SHA256_BLOCK];
        head.copy_from_slice(&bytes[..SHA256_BLOCK]);
        tail[..TAIL_LEN].copy_from_slice(&bytes[SHA256_BLOCK..]);
        tail[TAIL_LEN] = 0x80;
        tail[LENGTH_START..].copy_from_slice(&(8 * Header::LEN as u64).to_be_bytes());

        let mut midstate = SHA256_START;
        compress256(&mut midstate, &[head]);
        Self {
            midstate,
            tail,
            target: big_endian_words(&target.to_be_bytes()),
        }
    }

    /// Tries `tries` nonces from `start` on, wrapping around to 0, and returns the first one that meets the target.
    #[must_use]
    pub fn search(&self, start: u64, tries: u32) -> Option<u64> {
        let mut tail = self.tail;
        let [highest, ..] = self.target;
        (0..u64::from(tries))
            .map(|offset| start.wrapping_add(offset))
            .find(|nonce| {
                tail[NONCE_START..TAIL_LEN].copy_from_slice(&nonce.to_le_bytes());
                let mut state = self.midstate;
                // A reference instead of an array of blocks: copying the block would take a tenth of the time of a try.
                compress256(&mut state, slice::from_ref(&tail));
                // The first of the eight words nearly always decides.
                state[0] <= highest && state <= self.target
            })
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// Splits the number into eight words, most significant first. Arrays of these compare like the numbers.
fn big_endian_words(bytes: &[u8; 32]) -> [u32; 8] {
    let (words, _) = bytes.as_chunks();
    core::array::from_fn(|at| words.get(at).map_or(0, |word| u32::from_be_bytes(*word)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ruint::aliases::U256;

    use super::*;
    use crate::work::CompactTarget;

    proptest! {
        #[test]
        fn search_finds_the_first_valid_nonce(
            bytes: [u8; 93],
            start in prop_oneof![any::<u64>(), u64::MAX - 300..],
        ) {
            let header = Header::decode(&bytes).expect("93 bytes");
            let target = Target::from_floor_bits(6);
            let meets = |offset: u32| {
                let nonce = start.wrapping_add(offset.into());
                target.is_met_by(&Header { nonce, ..header }.hash()).then_some(nonce)
            };
            let tries = 600;
            prop_assert_eq!(Job::new(&header, target).search(start, tries), (0..tries).find_map(meets));
        }
    }

    #[test]
    fn hash_equal_to_the_target_meets_it() {
        let header = Header::decode(&[7; 93]).expect("93 bytes");
        let hash = U256::from_be_bytes(*header.hash().as_bytes());
        let search = |target| Job::new(&header, Target::from_uint(target)).search(header.nonce, 1);
        assert_eq!(search(hash), Some(header.nonce));
        assert_eq!(search(hash - U256::ONE), None);
    }

    #[test]
    fn mine_finds_the_first_nonce_or_none() {
        let header = Header {
            bits: Target::from_floor_bits(4).to_compact(),
            ..Header::decode(&[7; 93]).expect("93 bytes")
        };
        let mined = mine(header, 1_000).expect("one in sixteen");
        let target = header.bits.target().expect("a target");
        assert!(target.is_met_by(&mined.hash()));
        assert_eq!(Header { nonce: 7, ..mined }, Header { nonce: 7, ..header });
        let tries = u32::try_from(mined.nonce).expect("below 1,000");
        assert_eq!(mine(header, tries), None);
        let no_target = Header {
            bits: CompactTarget::from_bits(u32::MAX),
            ..header
        };
        assert_eq!(mine(no_target, 1_000), None);
    }

    #[test]
    fn search_gives_up_after_its_tries() {
        let header = Header::decode(&[0; 93]).expect("93 bytes");
        let job = Job::new(&header, Target::from_floor_bits(255));
        assert_eq!(job.search(0, 1000), None);
        assert_eq!(
            Job::new(&header, Target::from_floor_bits(1)).search(0, 0),
            None
        );
    }
}
