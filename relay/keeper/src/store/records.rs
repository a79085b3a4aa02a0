//! The bytes of the store's records. Each carries a checksum over its content and its location, except for blocks, which
//! their hashes cover. Never touches the file. The formats are those of a tab (docs/storage.md, "Records").

use heartchain_chain::{
    bpm::Bpm,
    content::ReadingForm,
    hash::{BlockHash, IdPrefix},
    profile::Profile,
    reading::Reading,
    time::UnixMillis,
};
use heartchain_sync::io::JournalEntry;
use sha2::{Digest as _, Sha256};

/// Length of a checksum in bytes: corruption goes unnoticed once in 2^64 cases.
const CHECKSUM_LEN: usize = 8;
/// Length of a block's key in bytes: its height, big-endian, and its hash. In key order, parents precede children.
pub(crate) const BLOCK_KEY_LEN: usize = 8 + BlockHash::LEN;

/// The location of adopted readings, for their checksums.
const ADOPTED: &str = "adopted";
/// The location of profiles, for their checksums.
const PROFILE: &str = "profile";

/// The key of a block with this height.
pub(crate) fn block_key(index: u64, hash: &BlockHash) -> [u8; BLOCK_KEY_LEN] {
    let mut key = [0; BLOCK_KEY_LEN];
    let (height, name) = key.split_at_mut(8);
    height.copy_from_slice(&index.to_be_bytes());
    name.copy_from_slice(hash.as_bytes());
    key
}

/// The hash in the key of a block.
pub(crate) fn hash_of_key(key: &[u8; BLOCK_KEY_LEN]) -> BlockHash {
    BlockHash::new(key.last_chunk().copied().unwrap_or_default())
}

/// Encodes the seed of a key that took over at this journal position.
pub(crate) fn seed(from: u64, seed: &[u8; 32]) -> Vec<u8> {
    with_checksum(&key_location(from), seed)
}

/// Decodes the seed of a key; `None` if the record is damaged.
pub(crate) fn read_seed(from: u64, bytes: &[u8]) -> Option<[u8; 32]> {
    verified(&key_location(from), bytes)?.try_into().ok()
}

/// Encodes a journal entry.
pub(crate) fn entry(position: u64, entry: &JournalEntry) -> Vec<u8> {
    let replaces = entry.replaces.map_or(0, |at| at.saturating_add(1));
    let mut body = [
        &entry.time.get().to_le_bytes()[..],
        &entry.bpm.get().to_le_bytes(),
        &replaces.to_le_bytes(),
    ]
    .concat();
    if let Some(prefix) = entry.prefix {
        body.extend(prefix.to_bits().to_le_bytes());
    }
    with_checksum(&entry_location(position), &body)
}

/// Decodes a journal entry; `None` if the record is damaged.
pub(crate) fn read_entry(position: u64, bytes: &[u8]) -> Option<JournalEntry> {
    let body = verified(&entry_location(position), bytes)?;
    let (time, rest) = body.split_first_chunk::<8>()?;
    let (bpm, rest) = rest.split_first_chunk::<2>()?;
    let (replaces, prefix) = rest.split_first_chunk::<8>()?;
    let prefix = match prefix {
        [] => None,
        prefix => Some(IdPrefix::from_bits(u32::from_le_bytes(
            prefix.try_into().ok()?,
        ))),
    };
    Some(JournalEntry {
        time: UnixMillis::new(u64::from_le_bytes(*time)),
        bpm: Bpm::new(u16::from_le_bytes(*bpm)).ok()?,
        replaces: u64::from_le_bytes(*replaces).checked_sub(1),
        prefix,
    })
}

/// Encodes an adopted reading.
pub(crate) fn adopted(reading: &Reading) -> Vec<u8> {
    with_checksum(ADOPTED, &reading.to_bytes())
}

/// Decodes an adopted reading of this form; `None` if the record is damaged.
pub(crate) fn read_adopted(form: ReadingForm, bytes: &[u8]) -> Option<Reading> {
    Reading::decode(form, verified(ADOPTED, bytes)?).ok()
}

/// Encodes the profile of an author.
pub(crate) fn profile(profile: &Profile) -> Vec<u8> {
    with_checksum(PROFILE, &profile.encode())
}

/// Decodes a profile of a room whose readings have this form; `None` if the record is damaged, or is another author's.
pub(crate) fn read_profile(form: ReadingForm, author: &[u8; 32], bytes: &[u8]) -> Option<Profile> {
    let profile = Profile::decode(form, verified(PROFILE, bytes)?).ok()?;
    (profile.author.as_bytes() == author).then_some(profile)
}

fn key_location(from: u64) -> String {
    format!("key from {from}")
}

fn entry_location(position: u64) -> String {
    format!("journal {position}")
}

fn with_checksum(location: &str, body: &[u8]) -> Vec<u8> {
    [body, &checksum(location, body)].concat()
}

fn verified<'a>(location: &str, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (body, found) = bytes.split_last_chunk::<CHECKSUM_LEN>()?;
    (checksum(location, body) == *found).then_some(body)
}

/// Covers the location as well, so that a record under another record's key counts as damaged.
fn checksum(location: &str, body: &[u8]) -> [u8; CHECKSUM_LEN] {
    let digest = Sha256::new()
        .chain_update(location)
        .chain_update([0])
        .chain_update(body)
        .finalize();
    core::array::from_fn(|at| digest.get(at).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use heartchain_chain::{key::SecretKey, profile::ProfileName};
    use heartchain_test_support as support;

    use super::*;

    fn journal_entry(replaces: Option<u64>, prefix: Option<IdPrefix>) -> JournalEntry {
        JournalEntry {
            time: UnixMillis::new(1_700_000_000_000),
            bpm: Bpm::MAX,
            replaces,
            prefix,
        }
    }

    #[test]
    fn entries_round_trip_at_their_position_only() {
        let prefix = Some(IdPrefix::from_bits(u32::MAX));
        for (replaces, prefix) in [(None, None), (Some(0), None), (Some(6), prefix)] {
            let written = journal_entry(replaces, prefix);
            let bytes = entry(7, &written);
            assert_eq!(read_entry(7, &bytes), Some(written));
            assert_eq!(read_entry(8, &bytes), None);
            for at in 0..bytes.len() {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1;
                assert_eq!(read_entry(7, &flipped), None, "byte {at}");
                assert_eq!(read_entry(7, &bytes[..at]), None, "{at} bytes");
            }
        }
        assert_eq!(read_seed(3, &seed(3, &[9; 32])), Some([9; 32]));
        assert_eq!(read_seed(4, &seed(3, &[9; 32])), None);
    }

    #[test]
    fn profile_round_trips_under_its_author_only() {
        let room = support::room();
        let key = SecretKey::from_seed([1; 32]);
        let name = ProfileName::new("Ada").expect("a name");
        let signed = room.sign_profile(&key, UnixMillis::new(7), &name);
        let signed = signed.expect("an open room");
        let (bytes, author) = (profile(&signed), *signed.author.as_bytes());
        let form = room.form();
        assert_eq!(read_profile(form, &author, &bytes), Some(signed));
        assert_eq!(read_profile(form, &[0; 32], &bytes), None);
    }

    #[test]
    fn block_keys_are_ordered_by_height() {
        let high = BlockHash::new([255; 32]);
        let low = BlockHash::new([0; 32]);
        assert!(block_key(255, &high) < block_key(256, &low));
        assert_eq!(hash_of_key(&block_key(7, &high)), high);
    }
}
