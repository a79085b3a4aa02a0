//! Finds readings that closed tabs of this browser recorded but did not share, and signs them with the keys of those
//! tabs. A slot is locked only briefly and nothing in it changes, so its tab is still the same peer when it is opened
//! again. The machine decides which of the readings are new.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use heartchain_chain::{compact_sort, key::SecretKey, reading::Reading, room::Room};
use heartchain_sync::io::JournalEntry;
use litemap::LiteMap;

use super::{
    mirror::{self, MAX_MIRRORED_ENTRIES, MirrorContents},
    patience::within,
    read_only::{self, SlotContents},
    schema::OPEN_TIMEOUT,
    slot::{self, MAX_SLOTS},
};

/// How long a search may lock another tab's slot. Shorter than `SLOT_WAIT`, so that a reloaded tab still gets its
/// slot.
const ADOPTION_LOCK_TIMEOUT: Duration = Duration::from_millis(700);

/// Searches the slots of closed tabs for unshared readings.
#[derive(Debug)]
pub(crate) struct Adoption {
    room: Room,
    /// This tab's own slot, which is skipped.
    own: Option<u32>,
    /// The version of the mirror of each slot that was checked. At most one entry per slot.
    checked: HashMap<u32, Option<String>>,
}

/// Possibly unshared readings of a closed tab, and the keys to sign them.
#[derive(Debug)]
pub(crate) struct Unshared {
    pub(crate) slot: u32,
    first: SecretKey,
    keys: Vec<(u64, SecretKey)>,
    journal: Vec<(u64, JournalEntry)>,
    /// The version of the mirror when the slot was read.
    version: Option<String>,
}

impl Adoption {
    pub(crate) fn new(room: Room, own: Option<u32>) -> Self {
        let checked = HashMap::new();
        Self { room, own, checked }
    }

    /// The next closed tab with readings that may not be shared. A slot that was marked as [`done`](Self::done) is
    /// skipped until its mirror changes.
    pub(crate) async fn look(&mut self) -> Option<Unshared> {
        for number in 0..MAX_SLOTS {
            if self.own == Some(number) {
                continue;
            }
            let name = slot::name(self.room.id(), number);
            let version = mirror::version(&name);
            if !mirror::has_key(&name) || self.checked.get(&number) == Some(&version) {
                continue;
            }
            // An open tab shares its own readings; its slot is checked again once the tab is closed.
            let Ok(Some(held)) = slot::try_take(self.room.id(), number).await else {
                continue;
            };
            let found = read_unshared(number, &name).await;
            drop(held);
            match found {
                Some(found) => return Some(found),
                None => drop(self.checked.insert(number, version)),
            }
        }
        None
    }

    /// Signs the readings in batches, because signing all of them at once would block the page.
    pub(crate) fn sign<'a>(
        &'a self,
        found: &'a Unshared,
    ) -> impl Iterator<Item = Vec<Reading>> + 'a {
        let parts = found
            .journal
            .chunks(heartchain_sync::config::MAX_READINGS_PER_ADOPT);
        parts.map(|part| heartchain_sync::sign_journal(&self.room, &found.first, &found.keys, part))
    }

    /// Marks a slot whose readings were adopted.
    pub(crate) fn done(&mut self, found: Unshared) {
        self.checked.insert(found.slot, found.version);
    }
}

/// Reads a slot whose lock is held.
async fn read_unshared(number: u32, name: &str) -> Option<Unshared> {
    let version = mirror::version(name);
    let mirrored = mirror::read(name);
    // Unconfirmed entries that the mirror lacks are read from the database. If it lacks none, only newer entries are.
    let lacking = mirrored.dropped.saturating_add(mirrored.corrupt);
    let unconfirmed = match lacking {
        0 => 0,
        lacking => lacking.saturating_add(mirrored.entries.len() as u64),
    };
    let from = mirrored.journal_len;
    let from = from.map(|len| len.saturating_sub(unconfirmed));
    let limit = match mirrored.journal_len {
        Some(_) => ADOPTION_LOCK_TIMEOUT,
        // An older version without a mirror used this slot: its whole journal must be read.
        None => OPEN_TIMEOUT,
    };
    let name = name.to_owned();
    let reading_slot = async move { read_only::read_slot(&name, from).await };
    // After a timeout, use the mirror alone. The late read goes on after the lock is released: it changes nothing, and no one uses
    // its result. A tab that takes the slot meanwhile writes, upgrades or deletes its database once the read has ended.
    let stored = within(limit, reading_slot, drop).await.flatten();
    merge(number, mirrored, stored.unwrap_or_default(), version)
}

fn merge(
    slot: u32,
    mirrored: MirrorContents,
    stored: SlotContents,
    version: Option<String>,
) -> Option<Unshared> {
    let first = stored.first_key.or(mirrored.first_key)?;
    let mut keys = mirrored.keys;
    for (from, seed) in stored.keys {
        keys.insert(from, seed);
    }
    let mut journal: LiteMap<u64, JournalEntry> = mirrored.entries;
    compact_sort::extend(&mut journal, stored.journal);
    let replaced: HashSet<u64> = journal
        .values()
        .filter_map(|entry| entry.replaces)
        .collect();
    journal.retain(|position, _| !replaced.contains(position));
    // Keep the oldest: later entries cannot be confirmed before them.
    if let Some((end, _)) = journal.get_indexed(MAX_MIRRORED_ENTRIES) {
        let end = *end;
        journal.retain(|position, _| *position < end);
    }
    if journal.is_empty() {
        return None;
    }
    let keys = keys.iter();
    Some(Unshared {
        slot,
        first: SecretKey::from_seed(first),
        keys: keys
            .map(|(from, seed)| (*from, SecretKey::from_seed(*seed)))
            .collect(),
        journal: journal.into_iter().collect(),
        version,
    })
}

#[cfg(test)]
mod tests {
    use heartchain_chain::room::{RoomName, RoomParams};
    use heartchain_sync::StoreOperation;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::clock;
    use crate::storage::{IndexedDb, suite};

    fn room(name: &str) -> Room {
        let name = RoomName::new(name).expect("a name");
        Room::new(RoomParams::with_defaults(name))
    }

    /// Fills a slot like a closed tab that has recorded this many readings.
    async fn closed_tab(room: &Room, number: u32, seed: u8, entries: u64) {
        let name = slot::name(room.id(), number);
        let mut store = IndexedDb::open_empty(&name, room).await;
        store
            .put_first_key(&[seed; 32])
            .await
            .expect("there is room");
        let put = |at| StoreOperation::PutJournal(at, suite::journal_entry(at));
        suite::write(&mut store, (0..entries).map(put).collect()).await;
    }

    async fn adopt_next(adoption: &mut Adoption) -> Option<(u32, usize)> {
        let found = adoption.look().await?;
        let readings: Vec<Reading> = adoption.sign(&found).flatten().collect();
        let author = SecretKey::from_seed([9; 32]).author();
        assert!(readings.iter().all(|reading| reading.author == author));
        let seqs: Vec<u64> = readings.iter().map(|reading| reading.seq).collect();
        assert_eq!(seqs, (0..readings.len() as u64).collect::<Vec<_>>());
        let slot = found.slot;
        adoption.done(found);
        Some((slot, readings.len()))
    }

    #[test]
    async fn closed_tab_readings_are_found_once() {
        let room = room("adoption once");
        closed_tab(&room, 1, 9, 3).await;
        let mut adoption = Adoption::new(room.clone(), Some(0));
        assert_eq!(adopt_next(&mut adoption).await, Some((1, 3)));
        assert_eq!(adopt_next(&mut adoption).await, None);
        // Another tab has used that slot meanwhile.
        closed_tab(&room, 1, 9, 4).await;
        assert_eq!(adopt_next(&mut adoption).await, Some((1, 4)));
        assert_eq!(adopt_next(&mut adoption).await, None);
    }

    #[test]
    async fn oldest_entries_come_first() {
        let room = room("adoption many");
        let many = MAX_MIRRORED_ENTRIES as u64 + 5;
        closed_tab(&room, 1, 9, many).await;
        let mut adoption = Adoption::new(room, Some(0));
        let found = adoption.look().await.expect("a closed tab");
        assert_eq!(found.journal.first().map(|(at, _)| *at), Some(0));
    }

    #[test]
    async fn damaged_mirror_is_completed_from_database() {
        let room = room("adoption damaged");
        closed_tab(&room, 1, 9, 3).await;
        let storage = web_sys::window().and_then(|window| window.local_storage().ok()?);
        let page = format!("{}/journal/0", slot::name(room.id(), 1));

        storage
            .expect("a browser")
            .remove_item(&page)
            .expect("the item is removed");
        let mut adoption = Adoption::new(room, Some(0));
        assert_eq!(adopt_next(&mut adoption).await, Some((1, 3)));
    }

    #[test]
    async fn open_and_own_slots_are_left_alone() {
        let room = room("adoption open");
        for number in [0, 1] {
            closed_tab(&room, number, 9, 3).await;
        }
        let held = slot::try_take(room.id(), 1).await.expect("locks");
        assert!(held.is_some());
        let mut adoption = Adoption::new(room, Some(0));
        assert_eq!(adopt_next(&mut adoption).await, None);
        drop(held);
        // The browser releases a lock a moment later.
        clock::sleep(ADOPTION_LOCK_TIMEOUT).await;
        assert_eq!(adopt_next(&mut adoption).await, Some((1, 3)));
    }

    #[test]
    async fn slot_without_mirror_is_read_from_database() {
        let room = room("adoption old");
        closed_tab(&room, 2, 9, 3).await;
        let name = slot::name(room.id(), 2);
        let mirror = mirror::Mirror::open(&name);
        mirror::delete(&name);
        // Older versions mirrored only the key.
        mirror::Mirror::open(&name).keep_first_key(&[9; 32]);
        drop(mirror);
        let mut adoption = Adoption::new(room, None);
        assert_eq!(adopt_next(&mut adoption).await, Some((2, 3)));
    }

    #[test]
    async fn slot_without_database_is_read_from_mirror() {
        let room = room("adoption copy");
        let name = slot::name(room.id(), 0);
        let mirror = mirror::Mirror::open(&name);
        mirror.keep_first_key(&[9; 32]);
        mirror.keep_entries(&[(0, suite::journal_entry(0))]);
        let mut adoption = Adoption::new(room, None);
        assert_eq!(adopt_next(&mut adoption).await, Some((0, 1)));
        let databases = super::super::rebuilding::database_names().await;
        assert!(databases.is_some_and(|names| !names.contains(&name)));
    }
}
