//! Records as values and keys of IndexedDB. Their bytes are those of `heartchain_peer::records`; what only a browser has is
//! here: numbers as keys, and journal entries of old versions. Specified in docs/storage.md, "Records". Never touches the
//! database.

use std::collections::HashMap;

use heartchain_chain::{
    bpm::Bpm,
    content::ReadingForm,
    hash::{BlockHash, ReadingId},
    key::Author,
    profile::Profile,
    reading::Reading,
    time::UnixMillis,
};
use heartchain_peer::records::{self, BLOCK_KEY_LEN, CHECKSUM_LEN, MAX_ENTRY_LEN};
use heartchain_sync::io::JournalEntry;
use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};

pub(super) use heartchain_peer::records::key_location;

/// Bytes as a value or key for the database.
pub(super) fn to_js(bytes: &[u8]) -> JsValue {
    Uint8Array::from(bytes).buffer().into()
}

/// The bytes of a value from the database; `None` if it is not an `ArrayBuffer` or is longer than `limit`.
pub(super) fn from_js(value: &JsValue, limit: usize) -> Option<Vec<u8>> {
    let buffer: &ArrayBuffer = value.dyn_ref()?;
    let bytes = Uint8Array::new(buffer);
    (usize::try_from(bytes.length()).ok()? <= limit).then(|| bytes.to_vec())
}

/// Parses a key that is a non-negative integer.
pub(super) fn number(key: &JsValue) -> Option<u64> {
    let number = key
        .as_f64()
        .filter(|_| js_sys::Number::is_safe_integer(key))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, not negative, below 2^53"
    )]
    (number >= 0.0).then_some(number as u64)
}

/// A number as a key. Heights and positions stay far below 2^53.
pub(super) fn number_key(number: u64) -> JsValue {
    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    JsValue::from_f64(number as f64)
}

/// The key of a block in the `blocks` store. In key order, parents come before their children.
pub(super) fn block_key(index: u64, hash: &BlockHash) -> JsValue {
    to_js(&records::block_key(index, hash))
}

/// Parses a block's key: its height and its hash.
pub(super) fn parse_block_key(key: &JsValue) -> Option<(u64, BlockHash)> {
    let key = from_js(key, BLOCK_KEY_LEN)?.try_into().ok()?;
    Some(records::parse_block_key(&key))
}

/// A block hash as a key.
pub(super) fn hash_key(hash: &BlockHash) -> JsValue {
    to_js(hash.as_bytes())
}

/// Parses a key that is a block hash.
pub(super) fn parse_hash_key(key: &JsValue) -> Option<BlockHash> {
    from_js(key, BlockHash::LEN)?
        .try_into()
        .ok()
        .map(BlockHash::new)
}

/// A reading's ID as a key.
pub(super) fn reading_key(id: &ReadingId) -> JsValue {
    to_js(id.as_bytes())
}

/// Encodes the seed of a signing key.
pub(super) fn seed(location: &str, seed: &[u8; 32]) -> JsValue {
    to_js(&records::seed(location, seed))
}

/// Decodes the seed of a signing key; `None` if the record is corrupt.
pub(super) fn read_seed(location: &str, value: &JsValue) -> Option<[u8; 32]> {
    records::read_seed(location, &from_js(value, records::SEED_LEN)?)
}

/// A journal entry as it is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoredEntry {
    /// The current format.
    Current(JournalEntry),
    /// The format before version 3 of the database. An entry with the time of an earlier one replaces that one.
    BeforeV3(JournalEntry),
}

/// Encodes a journal entry.
pub(super) fn entry(position: u64, entry: &JournalEntry) -> JsValue {
    to_js(&records::entry(position, entry))
}

/// Decodes a journal entry; `None` if the record is corrupt.
pub(super) fn read_entry(position: u64, value: &JsValue) -> Option<StoredEntry> {
    let bytes = from_js(value, MAX_ENTRY_LEN)?;
    let current = records::read_entry(position, &bytes).map(StoredEntry::Current);
    current.or_else(|| read_old_entry(position, &bytes).map(StoredEntry::BeforeV3))
}

/// Decodes a journal entry of before version 3 of the database: time and heart rate.
fn read_old_entry(position: u64, bytes: &[u8]) -> Option<JournalEntry> {
    let body = records::verified(&records::entry_location(position), bytes)?;
    let (time, bpm) = body.split_first_chunk::<8>()?;
    Some(JournalEntry {
        time: UnixMillis::new(u64::from_le_bytes(*time)),
        bpm: Bpm::new(u16::from_le_bytes(bpm.try_into().ok()?)).ok()?,
        replaces: None,
        prefix: None,
    })
}

/// The journal from its records, in order. Before version 3, an entry that replaces an earlier one has the same time as
/// that one; no other entries share a time.
pub(super) fn journal(stored: Vec<(u64, StoredEntry)>) -> Vec<(u64, JournalEntry)> {
    let mut by_time: HashMap<UnixMillis, u64> = HashMap::new();
    let each = stored.into_iter().map(|(position, stored)| match stored {
        StoredEntry::Current(entry) => (position, entry),
        StoredEntry::BeforeV3(entry) => {
            let replaces = by_time.insert(entry.time, position);
            (position, JournalEntry { replaces, ..entry })
        }
    });
    each.collect()
}

/// Encodes a reading that another tab signed.
pub(super) fn adopted(reading: &Reading) -> JsValue {
    to_js(&records::adopted(reading))
}

/// Decodes an adopted reading of this form; `None` if the record is corrupt.
pub(super) fn read_adopted(form: ReadingForm, value: &JsValue) -> Option<Reading> {
    let bytes = from_js(value, form.reading_len() + CHECKSUM_LEN)?;
    records::read_adopted(form, &bytes)
}

/// An author as a key.
pub(super) fn author_key(author: &Author) -> JsValue {
    to_js(author.as_bytes())
}

/// Encodes an author's profile.
pub(super) fn profile(profile: &Profile) -> JsValue {
    to_js(&records::profile(profile))
}

/// Decodes a profile of a room whose readings have this form; `None` if the record is corrupt, or is another author's.
pub(super) fn read_profile(form: ReadingForm, key: &JsValue, value: &JsValue) -> Option<Profile> {
    let bytes = from_js(value, records::MAX_PROFILE_RECORD_LEN)?;
    records::read_profile(form, &from_js(key, Author::LEN)?, &bytes)
}

/// Encodes bytes of any length with a checksum.
pub(super) fn checksummed_record(location: &str, body: &[u8]) -> JsValue {
    to_js(&records::with_checksum(location, body))
}

/// Decodes bytes with a checksum; `None` if they are corrupt or more than `limit`.
pub(super) fn read_checksummed(location: &str, value: &JsValue, limit: usize) -> Option<Vec<u8>> {
    let mut bytes = from_js(value, limit.saturating_add(CHECKSUM_LEN))?;
    let len = records::verified(location, &bytes)?.len();
    bytes.truncate(len);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use heartchain_chain::{hash::IdPrefix, key::SecretKey, profile::ProfileName};

    use crate::storage::suite::{journal_entry, room, small_block};

    #[test]
    fn records_round_trip() {
        let prefix = Some(IdPrefix::from_bits(u32::MAX));
        for (replaces, prefix) in [
            (None, None),
            (Some(0), None),
            (Some(6), prefix),
            (None, prefix),
        ] {
            let written = JournalEntry {
                replaces,
                prefix,
                ..journal_entry(7)
            };
            let read = read_entry(7, &entry(7, &written));
            assert_eq!(read, Some(StoredEntry::Current(written)));
        }
        assert_eq!(read_seed("key", &seed("key", &[9; 32])), Some([9; 32]));
        let hash = BlockHash::new([3; 32]);
        assert_eq!(parse_block_key(&block_key(258, &hash)), Some((258, hash)));
        assert_eq!(parse_hash_key(&hash_key(&hash)), Some(hash));
        assert_eq!(number(&number_key(1 << 40)), Some(1 << 40));
        let (_, block) = small_block(1);
        let reading = block.readings.first().copied().expect("a reading");
        assert_eq!(
            read_adopted(ReadingForm::Open, &adopted(&reading)),
            Some(reading)
        );
    }

    #[test]
    fn profile_round_trips_under_its_author_only() {
        let key = SecretKey::from_seed([1; 32]);
        let room = room();
        for name in ["", "Ada", &"x".repeat(40)] {
            let name = ProfileName::new(name).expect("a name");
            let signed = room.sign_profile(&key, UnixMillis::new(7), &name);
            let signed = signed.expect("an open room");
            let (form, author) = (room.form(), author_key(&signed.author));
            let record = profile(&signed);
            assert_eq!(read_profile(form, &author, &record), Some(signed));
            let other = author_key(&SecretKey::from_seed([2; 32]).author());
            assert_eq!(read_profile(form, &other, &record), None);
        }
    }

    #[test]
    fn old_entries_replace_entries_of_the_same_time() {
        let old = |position: u64, time: u64| {
            let mut body = time.to_le_bytes().to_vec();
            body.extend(72_u16.to_le_bytes());
            let value = checksummed_record(&records::entry_location(position), &body);
            (position, read_entry(position, &value).expect("an entry"))
        };
        let today = (4, StoredEntry::Current(journal_entry(5)));
        // The third key replaces an entry that the second one had replaced already.
        let stored = vec![old(0, 5), old(1, 6), old(2, 5), old(3, 5), today];
        let replaces: Vec<_> = journal(stored)
            .into_iter()
            .map(|(position, entry)| (position, entry.time.get(), entry.replaces))
            .collect();
        let expected = [
            (0, 5, None),
            (1, 6, None),
            (2, 5, Some(0)),
            (3, 5, Some(2)),
            (4, journal_entry(5).time.get(), None),
        ];
        assert_eq!(replaces, expected);
    }

    #[test]
    fn corrupt_or_misplaced_record_is_rejected() {
        let bytes = from_js(&entry(7, &journal_entry(7)), MAX_ENTRY_LEN).expect("its bytes");
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(read_entry(7, &to_js(&flipped)), None, "byte {at}");
        }
        assert_eq!(read_entry(8, &to_js(&bytes)), None);
        assert_eq!(read_seed("key 1", &seed("key", &[9; 32])), None);
    }

    #[test]
    fn malformed_records_are_rejected() {
        let no_records = [
            JsValue::NULL,
            JsValue::UNDEFINED,
            "text".into(),
            7.into(),
            to_js(&[]),
            to_js(&[0; 100]),
            js_sys::Object::new().into(),
        ];
        for value in no_records {
            assert_eq!(read_entry(0, &value), None, "{value:?}");
            assert_eq!(read_seed("key", &value), None, "{value:?}");
            assert_eq!(read_adopted(ReadingForm::Open, &value), None, "{value:?}");
            let author = author_key(&Author::new([0; 32]));
            assert_eq!(read_profile(ReadingForm::Open, &author, &value), None);
            assert_eq!(parse_block_key(&value), None, "{value:?}");
        }
        for value in [-1.0, 0.5, f64::NAN, 1e300] {
            assert_eq!(number(&value.into()), None, "{value}");
        }
    }
}
