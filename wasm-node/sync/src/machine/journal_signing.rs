//! Signing a whole journal, for an export of what was recorded here.

use alloc::vec::Vec;

use hashbrown::HashMap;
use heartchain_chain::{
    compact_sort, content::Measurement, key::SecretKey, reading::Reading, room::Room,
};

use crate::io::JournalEntry;

/// Signs the entries of a journal, in order, except for those that a later entry replaces.
///
/// Returns nothing if the room is private and its key is not known.
///
/// `first` signs from position 0 on, and each of `keys` from the position given with it.
#[must_use]
pub fn sign_journal(
    room: &Room,
    first: &SecretKey,
    keys: &[(u64, SecretKey)],
    journal: &[(u64, JournalEntry)],
) -> Vec<Reading> {
    let mut eras: Vec<(u64, &SecretKey)> = [(0, first)]
        .into_iter()
        .chain(keys.iter().map(|(from, key)| (*from, key)))
        .collect();
    compact_sort::sort_by_key(&mut eras, |(from, _)| *from);
    // The last position of each entry, by its first position.
    let mut moved: HashMap<u64, u64> = HashMap::new();
    let mut origins: HashMap<u64, u64> = HashMap::new();
    for (position, entry) in journal {
        if let Some(replaced) = entry.replaces {
            let origin = origins.get(&replaced).copied().unwrap_or(replaced);
            origins.insert(*position, origin);
            moved.insert(origin, *position);
        }
    }
    journal
        .iter()
        .filter(|(position, _)| {
            let origin = origins.get(position).unwrap_or(position);
            moved.get(origin).unwrap_or(origin) == position
        })
        .filter_map(|(position, entry)| {
            let at = eras.partition_point(|(from, _)| from <= position);
            let (from, key) = eras.get(at.checked_sub(1)?)?;
            let JournalEntry { time, bpm, .. } = *entry;
            room.sign(key, position - from, Measurement { time, bpm })
        })
        .collect()
}
