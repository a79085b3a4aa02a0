//! The bytes of stored records, which are the same in a browser's database and in a keeper's file (docs/storage.md, "Records").
//! Each carries a checksum over its content and its location, except for blocks, which their hashes cover. Pure.

use heartchain_chain::{
    bpm::Bpm,
    content::ReadingForm,
    hash::{BlockHash, IdPrefix},
    profile::{MAX_PROFILE_LEN, Profile},
    reading::Reading,
    time::UnixMillis,
};
use heartchain_sync::io::JournalEntry;
use sha2::{Digest as _, Sha256};

/// Length of a checksum in bytes: corruption goes unnoticed once in 2^64 cases.
pub const CHECKSUM_LEN: usize = 8;
/// Length of a block's key in bytes: its height, big-endian, and its hash. In key order, parents precede children.
pub const BLOCK_KEY_LEN: usize = 8 + BlockHash::LEN;
/// Length of a seed's record in bytes.
pub const SEED_LEN: usize = 32 + CHECKSUM_LEN;
/// Maximum length of a journal entry's record in bytes: time, heart rate, the position of the entry that it replaces plus
/// one or 0, and in a private room the prefix of the reading's ID.
pub const MAX_ENTRY_LEN: usize = 8 + 2 + 8 + 4 + CHECKSUM_LEN;
/// Maximum length of a profile's record in bytes.
pub const MAX_PROFILE_RECORD_LEN: usize = MAX_PROFILE_LEN + CHECKSUM_LEN;

/// The location of adopted readings, for their checksums.
const ADOPTED: &str = "adopted";
/// The location of profiles, for their checksums.
const PROFILE: &str = "profile";

/// The key of a block with this height.
#[must_use]
pub fn block_key(index: u64, hash: &BlockHash) -> [u8; BLOCK_KEY_LEN] {
    let mut key = [0; BLOCK_KEY_LEN];
    let (height, name) = key.split_at_mut(8);
    height.copy_from_slice(&index.to_be_bytes());
    name.copy_from_slice(hash.as_bytes());
    key
}

/// The height and the hash in the key of a block.
#[must_use]
pub const fn parse_block_key(key: &[u8; BLOCK_KEY_LEN]) -> (u64, BlockHash) {
    let [a, b, c, d, e, f, g, h, hash @ ..] = *key;
    let height = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    (height, BlockHash::new(hash))
}

/// The location of the key that took over at this journal position, for its checksum.
#[must_use]
pub fn key_location(from: u64) -> String {
    format!("key from {from}")
}

/// Encodes the seed of a signing key.
#[must_use]
pub fn seed(location: &str, seed: &[u8; 32]) -> Vec<u8> {
    with_checksum(location, seed)
}

/// Decodes the seed of a signing key; `None` if the record is corrupt.
#[must_use]
pub fn read_seed(location: &str, bytes: &[u8]) -> Option<[u8; 32]> {
    verified(location, bytes)?.try_into().ok()
}

/// The location of a journal entry, for its checksum.
#[must_use]
pub fn entry_location(position: u64) -> String {
    format!("journal {position}")
}

/// Encodes a journal entry.
#[must_use]
pub fn entry(position: u64, entry: &JournalEntry) -> Vec<u8> {
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

/// Decodes a journal entry; `None` if the record is corrupt.
#[must_use]
pub fn read_entry(position: u64, bytes: &[u8]) -> Option<JournalEntry> {
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

/// Encodes a reading that another peer signed, with a checksum, because no block hash covers it yet.
#[must_use]
pub fn adopted(reading: &Reading) -> Vec<u8> {
    with_checksum(ADOPTED, &reading.to_bytes())
}

/// Decodes an adopted reading of this form; `None` if the record is corrupt.
#[must_use]
pub fn read_adopted(form: ReadingForm, bytes: &[u8]) -> Option<Reading> {
    Reading::decode(form, verified(ADOPTED, bytes)?).ok()
}

/// Encodes the profile of an author.
#[must_use]
pub fn profile(profile: &Profile) -> Vec<u8> {
    with_checksum(PROFILE, &profile.encode())
}

/// Decodes a profile of a room whose readings have this form; `None` if the record is corrupt, or is another author's.
#[must_use]
pub fn read_profile(form: ReadingForm, author: &[u8], bytes: &[u8]) -> Option<Profile> {
    let profile = Profile::decode(form, verified(PROFILE, bytes)?).ok()?;
    (profile.author.as_bytes().as_slice() == author).then_some(profile)
}

/// Bytes followed by their checksum.
#[must_use]
pub fn with_checksum(location: &str, body: &[u8]) -> Vec<u8> {
    [body, &checksum(location, body)].concat()
}

/// Bytes without their checksum; `None` if they are corrupt.
#[must_use]
pub fn verified<'a>(location: &str, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (body, found) = bytes.split_last_chunk::<CHECKSUM_LEN>()?;
    (checksum(location, body) == *found).then_some(body)
}

/// Covers the location as well, so that a record under another record's key counts as corrupt.
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
    use data_encoding::HEXLOWER;
    use heartchain_chain::{
        content::Measurement,
        key::SecretKey,
        profile::ProfileName,
        room::{Room, RoomName, RoomParams},
    };

    use super::*;

    fn room() -> Room {
        let name = RoomName::new("lobby").expect("a name");
        Room::new(RoomParams::with_defaults(name))
    }

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
        for (replaces, prefix) in [
            (None, None),
            (Some(0), None),
            (Some(6), prefix),
            (None, prefix),
        ] {
            let written = journal_entry(replaces, prefix);
            let bytes = entry(7, &written);
            assert!(bytes.len() <= MAX_ENTRY_LEN);
            assert_eq!(read_entry(7, &bytes), Some(written));
            assert_eq!(read_entry(8, &bytes), None);
            for at in 0..bytes.len() {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1;
                assert_eq!(read_entry(7, &flipped), None, "byte {at}");
                assert_eq!(read_entry(7, &bytes[..at]), None, "{at} bytes");
            }
        }
    }

    #[test]
    fn seeds_round_trip_at_their_location_only() {
        let (third, fourth) = (key_location(3), key_location(4));
        let bytes = seed(&third, &[9; 32]);
        assert_eq!(bytes.len(), SEED_LEN);
        assert_eq!(read_seed(&third, &bytes), Some([9; 32]));
        assert_eq!(read_seed(&fourth, &bytes), None);
        let longer = with_checksum(&third, &[9; 33]);
        assert_eq!(read_seed(&third, &longer), None);
    }

    #[test]
    fn bytes_are_those_of_earlier_versions() {
        let prefix = Some(IdPrefix::from_bits(0x0403_0201));
        let entry = entry(7, &journal_entry(Some(6), prefix));
        let expected = "0068e5cf8b010000900107000000000000000102030466a032fa69c6345b";
        assert_eq!(HEXLOWER.encode(&entry), expected);
        let seed = seed(&key_location(3), &[9; 32]);
        let expected = format!("{}fbbf1f6ad4f4945c", "09".repeat(32));
        assert_eq!(HEXLOWER.encode(&seed), expected);
        let key = block_key(258, &BlockHash::new([3; 32]));
        let expected = format!("0000000000000102{}", "03".repeat(32));
        assert_eq!(HEXLOWER.encode(&key), expected);
        for (location, expected) in [
            ("adopted", "6042ba6cff3eff09"),
            ("profile", "21c3564e9dc6c5c3"),
        ] {
            let bytes = HEXLOWER.encode(&with_checksum(location, b"x"));
            assert_eq!(bytes, format!("78{expected}"), "{location}");
        }
        assert_eq!((ADOPTED, PROFILE), ("adopted", "profile"));
    }

    #[test]
    fn adopted_reading_round_trips() {
        let measurement = Measurement {
            time: UnixMillis::new(7),
            bpm: Bpm::MAX,
        };
        let key = SecretKey::from_seed([1; 32]);
        let reading = room().sign(&key, 0, measurement).expect("an open room");
        let form = room().form();
        let mut bytes = adopted(&reading);
        assert_eq!(read_adopted(form, &bytes), Some(reading));
        bytes[0] ^= 1;
        assert_eq!(read_adopted(form, &bytes), None);
    }

    #[test]
    fn profile_round_trips_under_its_author_only() {
        let (room, key) = (room(), SecretKey::from_seed([1; 32]));
        for name in ["", "Ada", &"x".repeat(40)] {
            let name = ProfileName::new(name).expect("a name");
            let signed = room.sign_profile(&key, UnixMillis::new(7), &name);
            let signed = signed.expect("an open room");
            let (bytes, author) = (profile(&signed), *signed.author.as_bytes());
            assert!(bytes.len() <= MAX_PROFILE_RECORD_LEN);
            let form = room.form();
            assert_eq!(read_profile(form, &author, &bytes), Some(signed));
            assert_eq!(read_profile(form, &[0; 32], &bytes), None);
        }
    }

    #[test]
    fn block_keys_are_ordered_by_height() {
        let high = BlockHash::new([255; 32]);
        let low = BlockHash::new([0; 32]);
        assert!(block_key(255, &high) < block_key(256, &low));
        assert_eq!(parse_block_key(&block_key(7, &high)), (7, high));
    }
}
