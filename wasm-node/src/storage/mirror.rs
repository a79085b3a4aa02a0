//! A copy, outside of the database, of what no peer could give back: a tab's keys, how long its journal is, and the
//! entries that are not confirmed yet. It lies in `localStorage`, which browsers keep apart from their databases. At a
//! start it fills what the database lacks; other tabs read from it which closed tabs have unshared readings.
//!
//! Each item has a checksum over its place and its content. Entries stand in pages of [`MIRROR_PAGE`](crate::config::MIRROR_PAGE) positions, so that one
//! more entry writes one page and the head. The head comes last: it names the pages. It says how long the journal was, so
//! that no place of a key's count is used twice even if the entry itself is lost.
//!
//! A browser may write `localStorage` to its disk some seconds late, and has little room for it. So this is a second copy
//! and never the first: that it cannot be written is no reason to refuse a reading. Of more than
//! [`MAX_MIRRORED_ENTRIES`] unconfirmed entries the newest are kept; the head counts the others.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use sync::seam::JournalEntry;

use super::{mirror_page as page, records};
use crate::config::MAX_MIRRORED_ENTRIES;

/// What a copy holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Copied {
    /// The first key's seed.
    pub(super) first_key: Option<[u8; 32]>,
    /// Keys that took over, each with the first journal entry that it signs.
    pub(super) keys: BTreeMap<u64, [u8; 32]>,
    /// How many entries the journal had. `None`: there is no copy of it.
    pub(super) journal_len: Option<u64>,
    /// Entries that were not confirmed, by position.
    pub(super) entries: BTreeMap<u64, JournalEntry>,
    /// Unconfirmed entries that found no place in the copy.
    pub(super) dropped: u64,
    /// Entries of the copy that are damaged.
    pub(super) damaged: u64,
}

/// The copy of one database's most important records.
#[derive(Debug)]
pub(crate) struct Mirror {
    database: String,
    copied: RefCell<Copied>,
    /// Whether something found no room: all of it is written at the next change.
    is_behind: Cell<bool>,
}

impl Mirror {
    /// The copy beside a database, as it is.
    pub(super) fn open(database: &str) -> Rc<Self> {
        Rc::new(Self {
            database: database.to_owned(),
            copied: RefCell::new(read(database)),
            is_behind: Cell::new(false),
        })
    }

    pub(super) fn copied(&self) -> Copied {
        self.copied.borrow().clone()
    }

    /// Keeps the first key. Another key that was kept before stays: it may be the last copy of it.
    pub(super) fn keep_first_key(&self, seed: &[u8; 32]) {
        let mut copied = self.copied.borrow_mut();
        if copied.first_key.is_none() {
            copied.first_key = Some(*seed);
            self.put("key", seed);
        }
    }

    /// Keeps a key that took over.
    pub(super) fn keep_key(&self, from: u64, seed: &[u8; 32]) {
        let mut copied = self.copied.borrow_mut();
        if copied.keys.insert(from, *seed) != Some(*seed) {
            self.put("keys", &keys_body(&copied.keys));
        }
    }

    /// Keeps entries of the journal that are on disk now.
    pub(super) fn keep_entries(&self, entries: &[(u64, JournalEntry)]) {
        let Some(last) = entries.iter().map(|(position, _)| *position).max() else {
            return;
        };
        let mut copied = self.copied.borrow_mut();
        let before = page::pages(&copied.entries);
        let len = copied.journal_len.unwrap_or_default();
        copied.journal_len = Some(len.max(last.saturating_add(1)));
        copied.entries.extend(entries.iter().copied());
        while copied.entries.len() > MAX_MIRRORED_ENTRIES {
            copied.entries.pop_first();
            copied.dropped = copied.dropped.saturating_add(1);
        }
        self.put_changed(&before, &copied);
    }

    /// Keeps these unconfirmed entries and no others: all that there are, or as many of the oldest as were asked for.
    pub(crate) fn keep_unconfirmed(&self, journal_len: u64, unconfirmed: &[(u64, JournalEntry)]) {
        let mut copied = self.copied.borrow_mut();
        let (before, len, dropped) = (
            page::pages(&copied.entries),
            copied.journal_len,
            copied.dropped,
        );
        if unconfirmed.len() <= MAX_MIRRORED_ENTRIES {
            copied.entries = unconfirmed.iter().copied().collect();
            copied.dropped = 0;
        } else if let Some((oldest, _)) = unconfirmed.first() {
            copied.entries = copied.entries.split_off(oldest);
        }
        copied.journal_len = Some(len.unwrap_or_default().max(journal_len));
        let same = len == copied.journal_len && dropped == copied.dropped;
        if !same || self.is_behind.get() || before != page::pages(&copied.entries) {
            self.put_changed(&before, &copied);
        }
    }

    /// Writes all of it again, from memory: the browser may have deleted it together with the database.
    pub(super) fn write_again(&self) {
        let copied = self.copied.borrow();
        if let Some(seed) = &copied.first_key {
            self.put("key", seed);
        }
        if !copied.keys.is_empty() {
            self.put("keys", &keys_body(&copied.keys));
        }
        self.put_changed(&BTreeMap::new(), &copied);
    }

    fn put_changed(&self, before: &page::Pages, copied: &Copied) {
        let now = page::pages(&copied.entries);
        let all = self.is_behind.replace(false);
        for (number, body) in &now {
            if all || before.get(number) != Some(body) {
                self.put(&page_place(*number), body);
            }
        }
        let head = page::Head {
            journal_len: copied.journal_len.unwrap_or_default(),
            dropped: copied.dropped,
            pages: now
                .iter()
                .map(|(number, body)| (*number, page::count(body)))
                .collect(),
        };
        self.put("journal", &head.body());
        if let Some(storage) = storage() {
            for number in before.keys().filter(|number| !now.contains_key(number)) {
                // What cannot be removed is not named by the head.
                let _ = storage.remove_item(&place(&self.database, &page_place(*number)));
            }
        }
    }

    fn put(&self, name: &str, body: &[u8]) {
        let place = place(&self.database, name);
        if let Some(storage) = storage() {
            // A second copy: see the head of this file.
            let record = hex::encode(records::sealed(&place, body));
            let _ = storage.set_item(&place, &record);
            if storage.get_item(&place).ok().flatten() != Some(record) {
                self.is_behind.set(true);
            }
        }
    }
}

/// How many unconfirmed readings a tab that kept its things in this database has, by its copy. `None`: there is no copy.
pub(super) fn unconfirmed(database: &str) -> Option<u64> {
    let head = page::Head::read(&find(database, "journal")?)?;
    let counted = head.pages.values().map(|count| u64::from(*count));
    Some(counted.sum::<u64>().saturating_add(head.dropped))
}

/// The head of a copy as it is written: it changes whenever an entry does.
pub(super) fn version(database: &str) -> Option<String> {
    storage()?.get_item(&place(database, "journal")).ok()?
}

/// Whether a tab has kept a key beside this database.
pub(super) fn has_key(database: &str) -> bool {
    find(database, "key").is_some()
}

/// What is there of a copy.
pub(super) fn read(database: &str) -> Copied {
    let head = find(database, "journal").and_then(|body| page::Head::read(&body));
    let mut copied = Copied {
        first_key: find(database, "key").and_then(|body| body.try_into().ok()),
        keys: find(database, "keys").map_or_else(BTreeMap::new, |body| read_keys(&body)),
        journal_len: head.as_ref().map(|head| head.journal_len),
        ..Copied::default()
    };
    let Some(head) = head else {
        return copied;
    };
    copied.dropped = head.dropped;
    for (number, count) in head.pages {
        let body = find(database, &page_place(number));
        let entries = body.and_then(|body| page::read(number, &body));
        let entries = entries.unwrap_or_default();
        let missing = u64::from(count).saturating_sub(entries.len() as u64);
        copied.damaged = copied.damaged.saturating_add(missing);
        copied.entries.extend(entries);
    }
    copied
}

/// Forgets a copy, for tests.
#[doc(hidden)]
pub(super) fn forget(database: &str) {
    let Some(storage) = storage() else { return };
    let count = storage.length().unwrap_or_default();
    let names: Vec<String> = (0..count)
        .filter_map(|at| storage.key(at).ok().flatten())
        .filter(|name| name.starts_with(&format!("{database}/")))
        .collect();
    for name in names {
        let _ = storage.remove_item(&name);
    }
}

/// The content of an item, if it is what was kept.
fn find(database: &str, name: &str) -> Option<Vec<u8>> {
    let place = place(database, name);
    let text = storage()?.get_item(&place).ok()??;
    records::unsealed(&place, &hex::decode(text).ok()?)
}

fn place(database: &str, name: &str) -> String {
    format!("{database}/{name}")
}

fn page_place(number: u32) -> String {
    format!("journal/{number}")
}

fn keys_body(keys: &BTreeMap<u64, [u8; 32]>) -> Vec<u8> {
    let rows = keys.iter();
    rows.flat_map(|(from, seed)| [&from.to_le_bytes()[..], seed].concat())
        .collect()
}

fn read_keys(body: &[u8]) -> BTreeMap<u64, [u8; 32]> {
    let (rows, _) = body.as_chunks::<{ 8 + 32 }>();
    let row = |row: &[u8; 40]| {
        let (from, seed) = row.split_first_chunk::<8>()?;
        Some((u64::from_le_bytes(*from), seed.try_into().ok()?))
    };
    rows.iter().filter_map(row).collect()
}

fn storage() -> Option<web_sys::Storage> {
    web_sys::window()?.local_storage().ok()?
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::{config::MIRROR_PAGE, storage::suite::journal_entry};

    fn entries(positions: std::ops::Range<u64>) -> Vec<(u64, JournalEntry)> {
        positions.map(|at| (at, journal_entry(at))).collect()
    }

    fn item(name: &str) -> String {
        let item = storage().expect("a browser").get_item(name);
        item.ok().flatten().expect("an item")
    }

    #[test]
    fn what_was_kept_is_read_again() {
        let name = "mirror kept";
        assert_eq!(read(name), Copied::default());
        assert_eq!((unconfirmed(name), has_key(name)), (None, false));
        let mirror = Mirror::open(name);
        mirror.keep_first_key(&[7; 32]);
        mirror.keep_key(100, &[8; 32]);
        mirror.keep_entries(&entries(0..130));
        let copied = read(name);
        assert_eq!(copied, mirror.copied());
        assert_eq!(copied.first_key, Some([7; 32]));
        assert_eq!(copied.keys, [(100, [8; 32])].into());
        assert_eq!(copied.journal_len, Some(130));
        assert_eq!(copied.entries, entries(0..130).into_iter().collect());
        assert_eq!((unconfirmed(name), has_key(name)), (Some(130), true));
    }

    #[test]
    fn another_key_never_replaces_one_that_was_kept() {
        let name = "mirror key";
        Mirror::open(name).keep_first_key(&[7; 32]);
        let other = Mirror::open(name);
        other.keep_first_key(&[9; 32]);
        other.write_again();
        assert_eq!(read(name).first_key, Some([7; 32]));
    }

    #[test]
    fn what_is_confirmed_leaves_the_copy() {
        let name = "mirror confirmed";
        let mirror = Mirror::open(name);
        mirror.keep_entries(&entries(0..200));
        let before = version(name);
        mirror.keep_unconfirmed(200, &entries(190..200));
        assert_eq!(read(name).entries, entries(190..200).into_iter().collect());
        assert_eq!(read(name).journal_len, Some(200));
        assert_ne!(version(name), before);
        let gone = storage()
            .expect("a browser")
            .get_item("mirror confirmed/journal/0");
        assert_eq!(gone, Ok(None));
        mirror.keep_unconfirmed(200, &[]);
        assert_eq!(unconfirmed(name), Some(0));
        assert_eq!(read(name).journal_len, Some(200));
    }

    #[test]
    fn of_too_many_entries_the_newest_are_kept() {
        let name = "mirror full";
        let mirror = Mirror::open(name);
        let most = MAX_MIRRORED_ENTRIES as u64;
        mirror.keep_entries(&entries(0..most));
        assert_eq!((read(name).dropped, unconfirmed(name)), (0, Some(most)));
        mirror.keep_entries(&entries(most..most + 5));
        let copied = read(name);
        assert_eq!(copied.dropped, 5);
        assert_eq!(copied.entries, entries(5..most + 5).into_iter().collect());
        assert_eq!(unconfirmed(name), Some(most + 5));
        // The oldest of them are confirmed.
        mirror.keep_unconfirmed(most + 5, &entries(3..most + 5));
        assert_eq!(
            read(name).entries,
            entries(5..most + 5).into_iter().collect()
        );
        mirror.keep_unconfirmed(most + 5, &entries(50..most + 5));
        assert_eq!(read(name).dropped, 0);
        assert_eq!(
            read(name).entries,
            entries(50..most + 5).into_iter().collect()
        );
    }

    #[test]
    fn a_damaged_item_is_noticed() {
        let name = "mirror damaged";
        let mirror = Mirror::open(name);
        mirror.keep_first_key(&[7; 32]);
        mirror.keep_entries(&entries(0..2 * u64::from(MIRROR_PAGE)));
        let storage = storage().expect("a browser");
        let kept = item("mirror damaged/journal/1");
        for other in [&kept.replacen('0', "1", 1), "", "no hex", &kept[2..]] {
            storage
                .set_item("mirror damaged/journal/1", other)
                .expect("room");
            let copied = read(name);
            assert_eq!(copied.damaged, u64::from(MIRROR_PAGE), "{other:?}");
            assert_eq!(copied.entries.len(), MIRROR_PAGE as usize, "{other:?}");
        }
        let kept = item("mirror damaged/key");
        storage
            .set_item("mirror damaged/key", &kept.replacen('7', "8", 1))
            .expect("room");
        assert_eq!(read(name).first_key, None);
        storage
            .set_item("mirror elsewhere/key", &kept)
            .expect("room");
        assert_eq!(read("mirror elsewhere").first_key, None);
    }

    #[test]
    fn what_found_no_room_is_written_once_there_is_some() {
        let name = "mirror room";
        let mirror = Mirror::open(name);
        mirror.keep_entries(&entries(0..3));
        let full = crate::storage::misfortune::Misfortune::silence("Storage", "setItem");
        mirror.keep_entries(&entries(3..64));
        drop(full);
        mirror.keep_unconfirmed(64, &entries(0..64));
        mirror.keep_entries(&entries(64..70));
        let copied = read(name);
        assert_eq!((copied.entries.len(), copied.damaged), (70, 0));
    }

    #[test]
    fn what_the_browser_deleted_is_written_again() {
        let name = "mirror deleted";
        let mirror = Mirror::open(name);
        mirror.keep_first_key(&[7; 32]);
        mirror.keep_entries(&entries(0..70));
        forget(name);
        assert_eq!(read(name), Copied::default());
        mirror.write_again();
        assert_eq!(read(name), mirror.copied());
    }
}
