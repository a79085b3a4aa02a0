//! How a record looks: its bytes, and for what nothing else covers, a checksum over them and over its place.
//! Blocks need none, because their headers' hashes cover all of them. Never touches the database.

use chain::{bpm::Bpm, hash::BlockHash, time::UnixMillis};
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

/// A key's seed.
pub(super) fn seed(place: &str, seed: &[u8; 32]) -> JsValue {
    to_js(&sealed_seed(place, seed))
}

/// The bytes of such a record.
pub(super) fn sealed_seed(place: &str, seed: &[u8; 32]) -> Vec<u8> {
    sealed(place, seed)
}

/// A key's seed, if it is what was written.
pub(super) fn read_seed(place: &str, value: &JsValue) -> Option<[u8; 32]> {
    unsealed::<32>(place, value)
}

/// The same from its bytes.
pub(super) fn unsealed_seed(place: &str, bytes: &[u8]) -> Option<[u8; 32]> {
    unsealed_bytes(place, bytes)
}

/// An entry of the journal.
pub(super) fn entry(position: u64, entry: &JournalEntry) -> JsValue {
    let mut body = [0; 10];
    let (time, bpm) = body.split_at_mut(8);
    time.copy_from_slice(&entry.time.get().to_le_bytes());
    bpm.copy_from_slice(&entry.bpm.get().to_le_bytes());
    to_js(&sealed(&entry_place(position), &body))
}

/// An entry of the journal, if it is what was written.
pub(super) fn read_entry(position: u64, value: &JsValue) -> Option<JournalEntry> {
    let body = unsealed::<10>(&entry_place(position), value)?;
    let (time, bpm) = body.split_first_chunk::<8>()?;
    Some(JournalEntry {
        time: UnixMillis::new(u64::from_le_bytes(*time)),
        bpm: Bpm::new(u16::from_le_bytes(bpm.try_into().ok()?)).ok()?,
    })
}

fn entry_place(position: u64) -> String {
    format!("journal {position}")
}

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

fn sealed(place: &str, body: &[u8]) -> Vec<u8> {
    [body, &checksum(place, body)].concat()
}

fn unsealed<const LEN: usize>(place: &str, value: &JsValue) -> Option<[u8; LEN]> {
    unsealed_bytes(place, &from_js(value, LEN + CHECKSUM_LEN)?)
}

fn unsealed_bytes<const LEN: usize>(place: &str, bytes: &[u8]) -> Option<[u8; LEN]> {
    let (body, seal) = bytes.split_first_chunk::<LEN>()?;
    (checksum(place, body) == seal).then_some(*body)
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

    fn journal_entry() -> JournalEntry {
        JournalEntry {
            time: UnixMillis::new(1_800_000_000_123),
            bpm: Bpm::new(72).expect("a heart rate"),
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let written = entry(7, &journal_entry());
        assert_eq!(read_entry(7, &written), Some(journal_entry()));
        assert_eq!(read_seed("key", &seed("key", &[9; 32])), Some([9; 32]));
        let hash = BlockHash::new([3; 32]);
        assert_eq!(block_of_key(&block_key(258, &hash)), Some((258, hash)));
        assert_eq!(hash_of_key(&hash_key(&hash)), Some(hash));
        assert_eq!(number(&number_key(1 << 40)), Some(1 << 40));
    }

    #[test]
    fn a_flipped_bit_and_another_place_are_damage() {
        let bytes = from_js(&entry(7, &journal_entry()), 18).expect("18 bytes");
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
            assert_eq!(block_of_key(&value), None, "{value:?}");
        }
        for value in [-1.0, 0.5, f64::NAN, 1e300] {
            assert_eq!(number(&value.into()), None, "{value}");
        }
    }
}
