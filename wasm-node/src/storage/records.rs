//! How a record looks: its bytes, and for what nothing else covers, a checksum over them and over its place.
//! Blocks need none, because their headers' hashes cover all of them. Never touches the database.

use std::collections::HashMap;

use chain::{
    bpm::Bpm,
    hash::{BlockHash, ReadingId},
    reading::Reading,
    time::UnixMillis,
};
use js_sys::{ArrayBuffer, Uint8Array};
use sha2::{Digest, Sha256};
use sync::seam::JournalEntry;
use wasm_bindgen::{JsCast, JsValue};

/// Bytes of a checksum: damage is found but for one case in 2^64.
const CHECKSUM_LEN: usize = 8;
/// Bytes of a block's key: its height, the most significant byte first, and its hash.
const BLOCK_KEY_LEN: usize = 8 + BlockHash::LEN;

/// Bytes as the database takes them.
pub(super) fn to_js(bytes: &[u8]) -> JsValue {
    Uint8Array::from(bytes).buffer().into()
}

/// Bytes as the database gives them, unless there are too many, or it is something else.
pub(super) fn from_js(value: &JsValue, limit: usize) -> Option<Vec<u8>> {
    let buffer: &ArrayBuffer = value.dyn_ref()?;
    let bytes = Uint8Array::new(buffer);
    (usize::try_from(bytes.length()).ok()? <= limit).then(|| bytes.to_vec())
}

/// The whole number that a key is.
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

/// A number as a key. No count of ours comes near 2^53.
pub(super) fn number_key(number: u64) -> JsValue {
    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    JsValue::from_f64(number as f64)
}

/// The key of a block's own record. In the order of these keys, parents come before their children.
pub(super) fn block_key(index: u64, hash: &BlockHash) -> JsValue {
    let mut key = [0; BLOCK_KEY_LEN];
    let (height, name) = key.split_at_mut(8);
    height.copy_from_slice(&index.to_be_bytes());
    name.copy_from_slice(hash.as_bytes());
    to_js(&key)
}

/// The height and the hash that a key is made of.
pub(super) fn block_of_key(key: &JsValue) -> Option<(u64, BlockHash)> {
    let bytes = from_js(key, BLOCK_KEY_LEN)?;
    let (height, name) = bytes.split_first_chunk::<8>()?;
    Some((
        u64::from_be_bytes(*height),
        BlockHash::new(name.try_into().ok()?),
    ))
}

/// A hash as a key.
pub(super) fn hash_key(hash: &BlockHash) -> JsValue {
    to_js(hash.as_bytes())
}

/// The hash that a key is.
pub(super) fn hash_of_key(key: &JsValue) -> Option<BlockHash> {
    from_js(key, BlockHash::LEN)?
        .try_into()
        .ok()
        .map(BlockHash::new)
}

/// A reading's id as a key.
pub(super) fn reading_key(id: &ReadingId) -> JsValue {
    to_js(id.as_bytes())
}

/// A key's seed.
pub(super) fn seed(place: &str, seed: &[u8; 32]) -> JsValue {
    to_js(&sealed(place, seed))
}

/// A key's seed, if it is what was written.
pub(super) fn read_seed(place: &str, value: &JsValue) -> Option<[u8; 32]> {
    unsealed_array::<32>(place, value)
}

/// Bytes of an entry of the journal: time, heart rate, and the position that it signs again, plus one; 0: none.
const ENTRY_LEN: usize = 8 + 2 + 8;
/// Bytes of an entry that was written before version 3 of the database: time and heart rate.
const FIRST_ENTRY_LEN: usize = 8 + 2;

/// An entry of the journal, as it is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoredEntry {
    /// As it is written today.
    Today(JournalEntry),
    /// Written before version 3 of the database. Its time is unique among these, unless it signs an earlier one again.
    BeforeThree(JournalEntry),
}

/// An entry of the journal.
pub(super) fn entry(position: u64, entry: &JournalEntry) -> JsValue {
    let resigns = entry.resigns.map_or(0, |at| at.saturating_add(1));
    let body = [
        &entry.time.get().to_le_bytes()[..],
        &entry.bpm.get().to_le_bytes(),
        &resigns.to_le_bytes(),
    ];
    to_js(&sealed(&entry_place(position), &body.concat()))
}

/// An entry of the journal, if it is what was written.
pub(super) fn read_entry(position: u64, value: &JsValue) -> Option<StoredEntry> {
    let bytes = from_js(value, ENTRY_LEN + CHECKSUM_LEN)?;
    let body = unsealed(&entry_place(position), &bytes)?;
    let (time, rest) = body.split_first_chunk::<8>()?;
    let (bpm, rest) = rest.split_first_chunk::<2>()?;
    let entry = |resigns| {
        Some(JournalEntry {
            time: UnixMillis::new(u64::from_le_bytes(*time)),
            bpm: Bpm::new(u16::from_le_bytes(*bpm)).ok()?,
            resigns,
        })
    };
    if body.len() == FIRST_ENTRY_LEN {
        return entry(None).map(StoredEntry::BeforeThree);
    }
    let resigns = u64::from_le_bytes(rest.try_into().ok()?);
    entry(resigns.checked_sub(1)).map(StoredEntry::Today)
}

fn entry_place(position: u64) -> String {
    format!("journal {position}")
}

/// The journal, from what is on disk in its order. Before version 3 an entry that signs an earlier one again was known by
/// that one's time.
pub(super) fn journal(stored: Vec<(u64, StoredEntry)>) -> Vec<(u64, JournalEntry)> {
    let mut by_time: HashMap<UnixMillis, u64> = HashMap::new();
    let each = stored.into_iter().map(|(position, stored)| match stored {
        StoredEntry::Today(entry) => (position, entry),
        StoredEntry::BeforeThree(entry) => {
            let resigns = by_time.insert(entry.time, position);
            (position, JournalEntry { resigns, ..entry })
        }
    });
    each.collect()
}

/// A reading that another tab signed, under a checksum: nothing else covers it before it is in a block.
pub(super) fn adopted(reading: &Reading) -> JsValue {
    to_js(&sealed(ADOPTED_PLACE, &reading.to_bytes()))
}

/// The same, if it is what was written.
pub(super) fn read_adopted(value: &JsValue) -> Option<Reading> {
    let bytes = from_js(value, Reading::LEN + CHECKSUM_LEN)?;
    Reading::decode(&unsealed(ADOPTED_PLACE, &bytes)?).ok()
}

const ADOPTED_PLACE: &str = "adopted";

/// Bytes of any length, under a checksum.
pub(super) fn sealed_record(place: &str, body: &[u8]) -> JsValue {
    to_js(&sealed(place, body))
}

/// The same, if they are what was written and no more than `limit`.
pub(super) fn read_sealed(place: &str, value: &JsValue, limit: usize) -> Option<Vec<u8>> {
    let mut bytes = from_js(value, limit.saturating_add(CHECKSUM_LEN))?;
    let (body, seal) = bytes.split_last_chunk::<CHECKSUM_LEN>()?;
    if checksum(place, body) != *seal {
        return None;
    }
    bytes.truncate(bytes.len() - CHECKSUM_LEN);
    Some(bytes)
}

/// Bytes, with their checksum behind them.
pub(super) fn sealed(place: &str, body: &[u8]) -> Vec<u8> {
    [body, &checksum(place, body)].concat()
}

/// The same without it, if they are what was written.
pub(super) fn unsealed(place: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let (body, seal) = bytes.split_last_chunk::<CHECKSUM_LEN>()?;
    (checksum(place, body) == *seal).then(|| body.to_vec())
}

fn unsealed_array<const LEN: usize>(place: &str, value: &JsValue) -> Option<[u8; LEN]> {
    unsealed(place, &from_js(value, LEN + CHECKSUM_LEN)?)?
        .try_into()
        .ok()
}

/// Over the place, too: a record that got into another's place is damage.
fn checksum(place: &str, body: &[u8]) -> [u8; CHECKSUM_LEN] {
    let digest = Sha256::new()
        .chain_update(place)
        .chain_update([0])
        .chain_update(body)
        .finalize();
    let mut first = [0; CHECKSUM_LEN];
    first
        .iter_mut()
        .zip(digest)
        .for_each(|(to, from)| *to = from);
    first
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::storage::suite::{journal_entry, small_block};

    #[test]
    fn what_was_written_is_read_again() {
        for resigns in [None, Some(0), Some(6)] {
            let written = JournalEntry {
                resigns,
                ..journal_entry(7)
            };
            let read = read_entry(7, &entry(7, &written));
            assert_eq!(read, Some(StoredEntry::Today(written)));
        }
        assert_eq!(read_seed("key", &seed("key", &[9; 32])), Some([9; 32]));
        let hash = BlockHash::new([3; 32]);
        assert_eq!(block_of_key(&block_key(258, &hash)), Some((258, hash)));
        assert_eq!(hash_of_key(&hash_key(&hash)), Some(hash));
        assert_eq!(number(&number_key(1 << 40)), Some(1 << 40));
        let (_, block) = small_block(1);
        let reading = block.readings.first().copied().expect("a reading");
        assert_eq!(read_adopted(&adopted(&reading)), Some(reading));
    }

    #[test]
    fn older_entries_resign_what_has_their_time() {
        let old = |position: u64, time: u64| {
            let mut body = time.to_le_bytes().to_vec();
            body.extend(72_u16.to_le_bytes());
            let value = to_js(&sealed(&entry_place(position), &body));
            (position, read_entry(position, &value).expect("an entry"))
        };
        let today = (4, StoredEntry::Today(journal_entry(5)));
        // The third key signs again what the second one signed again.
        let stored = vec![old(0, 5), old(1, 6), old(2, 5), old(3, 5), today];
        let resigns: Vec<_> = journal(stored)
            .into_iter()
            .map(|(position, entry)| (position, entry.time.get(), entry.resigns))
            .collect();
        let expected = [
            (0, 5, None),
            (1, 6, None),
            (2, 5, Some(0)),
            (3, 5, Some(2)),
            (4, journal_entry(5).time.get(), None),
        ];
        assert_eq!(resigns, expected);
    }

    #[test]
    fn a_flipped_bit_and_another_place_are_damage() {
        let limit = ENTRY_LEN + CHECKSUM_LEN;
        let bytes = from_js(&entry(7, &journal_entry(7)), limit).expect("its bytes");
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(read_entry(7, &to_js(&flipped)), None, "byte {at}");
        }
        assert_eq!(read_entry(8, &to_js(&bytes)), None);
        assert_eq!(read_seed("key 1", &seed("key", &[9; 32])), None);
    }

    #[test]
    fn what_is_no_record_is_none() {
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
            assert_eq!(read_adopted(&value), None, "{value:?}");
            assert_eq!(block_of_key(&value), None, "{value:?}");
        }
        for value in [-1.0, 0.5, f64::NAN, 1e300] {
            assert_eq!(number(&value.into()), None, "{value}");
        }
    }
}
