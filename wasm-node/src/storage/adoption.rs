//! What other, closed tabs of this browser have recorded and not shared: found in their slots, and signed with their keys.
//! A slot is held for a moment only, and nothing in it is changed: its tab is still the same peer when it is opened again.
//! Which of it is new is for the machine to say.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    pin::pin,
};

use chain::{key::SecretKey, reading::Reading, room::Room};
use futures::future::{Either, select};
use sync::seam::JournalEntry;

use super::{
    mirror::{self, Copied},
    peek::{self, Peeked},
    slot,
};
use crate::{clock, config};

/// Looks for what closed tabs have not shared.
#[derive(Debug)]
pub(crate) struct Adoption {
    room: Room,
    /// This tab's own slot.
    own: Option<u32>,
    /// Slots that were looked at, and what their copies were then. As many as there are slots at the most.
    seen: HashMap<u32, Option<String>>,
}

/// What a closed tab has recorded.
#[derive(Debug)]
pub(crate) struct Unshared {
    pub(crate) slot: u32,
    first: SecretKey,
    keys: Vec<(u64, SecretKey)>,
    journal: Vec<(u64, JournalEntry)>,
    /// What its copy was when it was looked at.
    version: Option<String>,
}

impl Adoption {
    pub(crate) fn new(room: Room, own: Option<u32>) -> Self {
        let seen = HashMap::new();
        Self { room, own, seen }
    }

    /// What closed tabs have recorded that may not be shared, a tab at a time; nothing that was returned before and is the
    /// same still, once it was noted as [`done`](Self::done).
    pub(crate) async fn look(&mut self) -> Option<Unshared> {
        for number in 0..config::MAX_SLOTS {
            if self.own == Some(number) {
                continue;
            }
            let name = slot::name(self.room.id(), number);
            let version = mirror::version(&name);
            if !mirror::has_key(&name) || self.seen.get(&number) == Some(&version) {
                continue;
            }
            // A tab that is open shares its readings itself, and is looked at again when it is closed.
            let Ok(Some(held)) = slot::take_free(self.room.id(), number).await else {
                continue;
            };
            let found = unshared(number, &name).await;
            drop(held);
            match found {
                Some(found) => return Some(found),
                None => drop(self.seen.insert(number, version)),
            }
        }
        None
    }

    /// Signs it, a part at a time: signing all at once would stop the page.
    pub(crate) fn sign<'a>(
        &'a self,
        found: &'a Unshared,
    ) -> impl Iterator<Item = Vec<Reading>> + 'a {
        let parts = found.journal.chunks(sync::config::MAX_ADOPT);
        parts.map(|part| sync::sign_journal(&self.room, &found.first, &found.keys, part))
    }

    /// Notes that this was taken over.
    pub(crate) fn done(&mut self, found: Unshared) {
        self.seen.insert(found.slot, found.version);
    }
}

/// What a slot has, while it is held.
async fn unshared(number: u32, name: &str) -> Option<Unshared> {
    let version = mirror::version(name);
    let copied = mirror::read(name);
    // What the copy lacks of what is not confirmed is read from the database; whole, it needs only what came after it.
    let lacking = copied.dropped.saturating_add(copied.damaged);
    let unconfirmed = match lacking {
        0 => 0,
        lacking => lacking.saturating_add(copied.entries.len() as u64),
    };
    let from = copied.journal_len;
    let from = from.map(|len| len.saturating_sub(unconfirmed));
    let limit = match copied.journal_len {
        Some(_) => config::ADOPTION_HOLD,
        // A version without a copy was here: all of its journal has to be read.
        None => config::OPEN_TIMEOUT,
    };
    let peeking = pin!(peek::peek(name, from));
    let peeked = match select(peeking, clock::sleep(limit)).await {
        Either::Left((peeked, _)) => peeked,
        // The copy alone has to do.
        Either::Right(_) => None,
    };
    join(number, copied, peeked.unwrap_or_default(), version)
}

fn join(slot: u32, copied: Copied, peeked: Peeked, version: Option<String>) -> Option<Unshared> {
    let first = peeked.first_key.or(copied.first_key)?;
    let mut keys = copied.keys;
    keys.extend(peeked.keys);
    let mut journal: BTreeMap<u64, JournalEntry> = copied.entries;
    journal.extend(peeked.journal);
    let resigned: HashSet<u64> = journal.values().filter_map(|entry| entry.resigns).collect();
    journal.retain(|position, _| !resigned.contains(position));
    // The oldest first: later ones cannot be in a block before them.
    while journal.len() > config::MAX_MIRRORED_ENTRIES {
        journal.pop_last();
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
    use chain::room::{RoomName, RoomParams};
    use sync::StoreOperation;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::storage::{IndexedDb, suite};

    fn room(name: &str) -> Room {
        let name = RoomName::new(name).expect("a name");
        Room::new(RoomParams::with_defaults(name))
    }

    /// A tab that has recorded so many readings and was closed.
    async fn closed_tab(room: &Room, number: u32, seed: u8, entries: u64) {
        let name = slot::name(room.id(), number);
        let mut store = IndexedDb::anew(&name, room.id()).await;
        store
            .put_first_key(&[seed; 32])
            .await
            .expect("there is room");
        let put = |at| StoreOperation::PutJournal(at, suite::journal_entry(at));
        suite::write(&mut store, (0..entries).map(put).collect()).await;
    }

    async fn bpms(adoption: &mut Adoption) -> Option<(u32, usize)> {
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
    async fn readings_of_a_closed_tab_are_found_once() {
        let room = room("adoption once");
        closed_tab(&room, 1, 9, 3).await;
        let mut adoption = Adoption::new(room.clone(), Some(0));
        assert_eq!(bpms(&mut adoption).await, Some((1, 3)));
        assert_eq!(bpms(&mut adoption).await, None);
        // Another tab has been in that slot meanwhile.
        closed_tab(&room, 1, 9, 4).await;
        assert_eq!(bpms(&mut adoption).await, Some((1, 4)));
        assert_eq!(bpms(&mut adoption).await, None);
    }

    #[test]
    async fn more_than_the_copy_holds_begins_with_the_first() {
        let room = room("adoption many");
        let many = config::MAX_MIRRORED_ENTRIES as u64 + 5;
        closed_tab(&room, 1, 9, many).await;
        let mut adoption = Adoption::new(room, Some(0));
        let found = adoption.look().await.expect("a closed tab");
        assert_eq!(found.journal.first().map(|(at, _)| *at), Some(0));
    }

    #[test]
    async fn what_the_copy_has_lost_is_read_from_the_database() {
        let room = room("adoption damaged");
        closed_tab(&room, 1, 9, 3).await;
        let storage = web_sys::window().and_then(|window| window.local_storage().ok()?);
        let page = format!("{}/journal/0", slot::name(room.id(), 1));

        storage
            .expect("a browser")
            .remove_item(&page)
            .expect("it forgets");
        let mut adoption = Adoption::new(room, Some(0));
        assert_eq!(bpms(&mut adoption).await, Some((1, 3)));
    }

    #[test]
    async fn an_open_tab_and_ones_own_slot_are_left_alone() {
        let room = room("adoption open");
        for number in [0, 1] {
            closed_tab(&room, number, 9, 3).await;
        }
        let held = slot::take_free(room.id(), 1).await.expect("locks");
        assert!(held.is_some());
        let mut adoption = Adoption::new(room, Some(0));
        assert_eq!(bpms(&mut adoption).await, None);
        drop(held);
        // The browser gives a lock back a moment later.
        clock::sleep(config::ADOPTION_HOLD).await;
        assert_eq!(bpms(&mut adoption).await, Some((1, 3)));
    }

    #[test]
    async fn a_slot_without_a_copy_is_read_from_its_database() {
        let room = room("adoption old");
        closed_tab(&room, 2, 9, 3).await;
        let name = slot::name(room.id(), 2);
        let mirror = mirror::Mirror::open(&name);
        mirror::forget(&name);
        // Versions before this one kept the key alone there.
        mirror::Mirror::open(&name).keep_first_key(&[9; 32]);
        drop(mirror);
        let mut adoption = Adoption::new(room, None);
        assert_eq!(bpms(&mut adoption).await, Some((2, 3)));
    }

    #[test]
    async fn a_slot_without_a_database_is_read_from_its_copy() {
        let room = room("adoption copy");
        let name = slot::name(room.id(), 0);
        let mirror = mirror::Mirror::open(&name);
        mirror.keep_first_key(&[9; 32]);
        mirror.keep_entries(&[(0, suite::journal_entry(0))]);
        let mut adoption = Adoption::new(room, None);
        assert_eq!(bpms(&mut adoption).await, Some((0, 1)));
        let databases = super::super::rebuilding::databases().await;
        assert!(databases.is_some_and(|names| !names.contains(&name)));
    }
}
