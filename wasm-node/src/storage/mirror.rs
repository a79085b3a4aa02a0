//! The mirror: a second copy, in `localStorage`, of the data that peers cannot restore. It holds a tab's keys, the
//! length of its journal, and the unconfirmed entries. Browsers store `localStorage` separately from IndexedDB. At a
//! start, the mirror restores what the database lacks; other tabs use it to find closed tabs with unshared readings.
//!
//! Each item carries a checksum over its location and content. Entries are grouped into pages of
//! [`MIRROR_PAGE`](super::mirror_page::MIRROR_PAGE) positions, so that a new entry rewrites one page and the manifest. The
//! manifest lists the pages and is written last. It records the length of the journal, so that no sequence number of a
//! key is used twice, even if the entry itself is lost.
//!
//! A browser may write `localStorage` to the disk some seconds late, and limits its size. So the mirror is only a
//! second copy, and a failed write to it is no reason to refuse a reading. Of more than [`MAX_MIRRORED_ENTRIES`]
//! unconfirmed entries it keeps the newest; the manifest counts the others.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use heartchain_chain::compact_sort;
use heartchain_peer::records;
use heartchain_sync::io::JournalEntry;
use litemap::LiteMap;

use super::mirror_page as page;

/// Unconfirmed entries of the journal that are mirrored outside of the database: more than an hour at one per second.
/// An entry takes 30 characters there, and browsers allow five million per origin.
pub(crate) const MAX_MIRRORED_ENTRIES: usize = 4_096;

/// The decoded contents of a mirror.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MirrorContents {
    /// The first key's seed.
    pub(super) first_key: Option<[u8; 32]>,
    /// Later keys, by the position of the first journal entry that each signs.
    pub(super) keys: LiteMap<u64, [u8; 32]>,
    /// The length of the journal; `None` if there is no mirrored journal.
    pub(super) journal_len: Option<u64>,
    /// Unconfirmed entries, by position.
    pub(super) entries: LiteMap<u64, JournalEntry>,
    /// The number of unconfirmed entries that did not fit into the mirror.
    pub(super) dropped: u64,
    /// The number of entries that are corrupt or missing.
    pub(super) corrupt: u64,
}

/// The mirror of one database.
#[derive(Debug)]
pub(crate) struct Mirror {
    database: String,
    contents: RefCell<MirrorContents>,
    /// Whether a write failed, so that the next change must write all pages.
    is_stale: Cell<bool>,
}

impl Mirror {
    /// Opens the mirror of a database and reads its contents.
    pub(super) fn open(database: &str) -> Rc<Self> {
        Rc::new(Self {
            database: database.to_owned(),
            contents: RefCell::new(read(database)),
            is_stale: Cell::new(false),
        })
    }

    pub(super) fn contents(&self) -> MirrorContents {
        self.contents.borrow().clone()
    }

    /// Stores the first key. Never replaces another key, which may be the last copy of it.
    pub(super) fn keep_first_key(&self, seed: &[u8; 32]) {
        let mut contents = self.contents.borrow_mut();
        if contents.first_key.is_none() {
            contents.first_key = Some(*seed);
            self.put("key", seed);
        }
    }

    /// Stores later keys, in one item with those before.
    pub(super) fn keep_keys(&self, keys: &[(u64, [u8; 32])]) {
        let mut contents = self.contents.borrow_mut();
        let before = contents.keys.clone();
        for (from, seed) in keys {
            contents.keys.insert(*from, *seed);
        }
        if contents.keys != before {
            self.put("keys", &keys_body(&contents.keys));
        }
    }

    /// Adds journal entries that are on disk now.
    pub(super) fn keep_entries(&self, entries: &[(u64, JournalEntry)]) {
        let Some(last) = entries.iter().map(|(position, _)| *position).max() else {
            return;
        };
        let mut contents = self.contents.borrow_mut();
        let before = page::pages(&contents.entries);
        let len = contents.journal_len.unwrap_or_default();
        contents.journal_len = Some(len.max(last.saturating_add(1)));
        compact_sort::extend(&mut contents.entries, entries.iter().copied());
        let excess = contents.entries.len().saturating_sub(MAX_MIRRORED_ENTRIES);
        let oldest = contents.entries.get_indexed(excess);
        if let Some(oldest) = oldest.map(|(position, _)| *position) {
            contents.entries.retain(|position, _| *position >= oldest);
        }
        contents.dropped = contents.dropped.saturating_add(excess as u64);
        self.put_changed(&before, &contents);
    }

    /// Drops all entries but these unconfirmed ones. The list is complete unless it has more than
    /// [`MAX_MIRRORED_ENTRIES`]; then only entries older than its first are dropped.
    pub(crate) fn keep_unconfirmed(&self, journal_len: u64, unconfirmed: &[(u64, JournalEntry)]) {
        let mut contents = self.contents.borrow_mut();
        let (before, len, dropped) = (
            page::pages(&contents.entries),
            contents.journal_len,
            contents.dropped,
        );
        if unconfirmed.len() <= MAX_MIRRORED_ENTRIES {
            contents.entries.clear();
            compact_sort::extend(&mut contents.entries, unconfirmed.iter().copied());
            contents.dropped = 0;
        } else if let Some((oldest, _)) = unconfirmed.first() {
            contents.entries.retain(|position, _| position >= oldest);
        }
        contents.journal_len = Some(len.unwrap_or_default().max(journal_len));
        let same = len == contents.journal_len && dropped == contents.dropped;
        if !same || self.is_stale.get() || before != page::pages(&contents.entries) {
            self.put_changed(&before, &contents);
        }
    }

    /// Writes everything again from memory, because the browser may have deleted the mirror together with the database.
    pub(super) fn write_again(&self) {
        let contents = self.contents.borrow();
        if let Some(seed) = &contents.first_key {
            self.put("key", seed);
        }
        if !contents.keys.is_empty() {
            self.put("keys", &keys_body(&contents.keys));
        }
        self.put_changed(&LiteMap::new(), &contents);
    }

    fn put_changed(&self, before: &page::Pages, contents: &MirrorContents) {
        let now = page::pages(&contents.entries);
        let write_all = self.is_stale.replace(false);
        for (number, body) in &now {
            if write_all || before.get(number) != Some(body) {
                self.put(&page_name(*number), body);
            }
        }
        let mut pages = LiteMap::new();
        for (number, body) in &now {
            pages.insert(*number, page::count(body));
        }
        let manifest = page::Manifest {
            journal_len: contents.journal_len.unwrap_or_default(),
            dropped: contents.dropped,
            pages,
        };
        self.put("journal", &manifest.body());
        if let Some(storage) = storage() {
            for number in before.keys().filter(|number| !now.contains_key(number)) {
                // A page that cannot be removed is harmless: the manifest does not list it.
                let _ = storage.remove_item(&location(&self.database, &page_name(*number)));
            }
        }
    }

    fn put(&self, name: &str, body: &[u8]) {
        let location = location(&self.database, name);
        if let Some(storage) = storage() {
            // A failed write is repeated later. It is only a second copy: see the module docs.
            let record = hex::encode(records::with_checksum(&location, body));
            let _ = storage.set_item(&location, &record);
            if storage.get_item(&location).ok().flatten() != Some(record) {
                self.is_stale.set(true);
            }
        }
    }
}

/// The number of unconfirmed readings according to the mirror of this database; `None` if there is no mirror.
pub(super) fn unconfirmed(database: &str) -> Option<u64> {
    let manifest = page::Manifest::read(&read_item(database, "journal")?)?;
    let counted = manifest.pages.values().map(|count| u64::from(*count));
    Some(counted.sum::<u64>().saturating_add(manifest.dropped))
}

/// The length of the journal according to the mirror of this database; `None` if there is no mirror.
pub(super) fn journal_len(database: &str) -> Option<u64> {
    let manifest = page::Manifest::read(&read_item(database, "journal")?)?;
    Some(manifest.journal_len)
}

/// The encoded manifest, which changes whenever an entry does.
pub(super) fn version(database: &str) -> Option<String> {
    storage()?.get_item(&location(database, "journal")).ok()?
}

/// Whether the mirror of this database has a key.
pub(super) fn has_key(database: &str) -> bool {
    read_item(database, "key").is_some()
}

/// Whether the mirror of this database has anything, also what cannot be decoded.
pub(super) fn is_used(database: &str) -> bool {
    let prefix = format!("{database}/");
    item_names().iter().any(|name| name.starts_with(&prefix))
}

/// Reads a mirror, as far as it is valid.
pub(super) fn read(database: &str) -> MirrorContents {
    let manifest = read_item(database, "journal").and_then(|body| page::Manifest::read(&body));
    let mut contents = MirrorContents {
        first_key: read_item(database, "key").and_then(|body| body.try_into().ok()),
        keys: read_item(database, "keys").map_or_else(LiteMap::new, |body| read_keys(&body)),
        journal_len: manifest.as_ref().map(|manifest| manifest.journal_len),
        ..MirrorContents::default()
    };
    let Some(manifest) = manifest else {
        return contents;
    };
    contents.dropped = manifest.dropped;
    for (number, count) in manifest.pages {
        let body = read_item(database, &page_name(number));
        let entries = body.and_then(|body| page::read(number, &body));
        let entries = entries.unwrap_or_default();
        let missing = u64::from(count).saturating_sub(entries.len() as u64);
        contents.corrupt = contents.corrupt.saturating_add(missing);
        compact_sort::extend(&mut contents.entries, entries);
    }
    contents
}

/// Deletes the mirror of a database, or of all databases whose names begin with this and a slash.
pub(super) fn delete(database: &str) {
    let Some(storage) = storage() else { return };
    let prefix = format!("{database}/");
    for name in item_names() {
        if name.starts_with(&prefix) {
            let _ = storage.remove_item(&name);
        }
    }
}

/// The names of all items in `localStorage`.
pub(super) fn item_names() -> Vec<String> {
    let Some(storage) = storage() else {
        return Vec::new();
    };
    let count = storage.length().unwrap_or_default();
    (0..count)
        .filter_map(|at| storage.key(at).ok().flatten())
        .collect()
}

/// The content of an item; `None` if it is missing or corrupt.
fn read_item(database: &str, name: &str) -> Option<Vec<u8>> {
    let location = location(database, name);
    let text = storage()?.get_item(&location).ok()??;
    records::verified(&location, &hex::decode(text).ok()?).map(<[u8]>::to_vec)
}

fn location(database: &str, name: &str) -> String {
    format!("{database}/{name}")
}

fn page_name(number: u32) -> String {
    format!("journal/{number}")
}

fn keys_body(keys: &LiteMap<u64, [u8; 32]>) -> Vec<u8> {
    let rows = keys.iter();
    rows.flat_map(|(from, seed)| [&from.to_le_bytes()[..], seed].concat())
        .collect()
}

fn read_keys(body: &[u8]) -> LiteMap<u64, [u8; 32]> {
    let (rows, _) = body.as_chunks::<{ 8 + 32 }>();
    let mut keys = LiteMap::new();
    for row in rows {
        if let Some((from, seed)) = row.split_first_chunk::<8>()
            && let Ok(seed) = seed.try_into()
        {
            keys.insert(u64::from_le_bytes(*from), seed);
        }
    }
    keys
}

fn storage() -> Option<web_sys::Storage> {
    web_sys::window()?.local_storage().ok()?
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::storage::{mirror_page::MIRROR_PAGE, suite::journal_entry};

    fn entries(positions: std::ops::Range<u64>) -> Vec<(u64, JournalEntry)> {
        positions.map(|at| (at, journal_entry(at))).collect()
    }

    fn item(name: &str) -> String {
        let item = storage().expect("a browser").get_item(name);
        item.ok().flatten().expect("an item")
    }

    #[test]
    fn mirror_round_trips() {
        let name = "mirror kept";
        assert_eq!(read(name), MirrorContents::default());
        assert_eq!((unconfirmed(name), has_key(name)), (None, false));
        assert!(!is_used(name));
        let mirror = Mirror::open(name);
        mirror.keep_first_key(&[7; 32]);
        mirror.keep_keys(&[(100, [8; 32])]);
        mirror.keep_entries(&entries(0..130));
        let contents = read(name);
        assert_eq!(contents, mirror.contents());
        assert_eq!(contents.first_key, Some([7; 32]));
        assert_eq!(contents.keys, LiteMap::from_iter([(100, [8; 32])]));
        assert_eq!(contents.journal_len, Some(130));
        assert_eq!(contents.entries, entries(0..130).into_iter().collect());
        assert_eq!((unconfirmed(name), has_key(name)), (Some(130), true));
        assert!(is_used(name));
    }

    #[test]
    fn mirrored_key_is_never_replaced() {
        let name = "mirror key";
        Mirror::open(name).keep_first_key(&[7; 32]);
        let other = Mirror::open(name);
        other.keep_first_key(&[9; 32]);
        other.write_again();
        assert_eq!(read(name).first_key, Some([7; 32]));
    }

    #[test]
    fn confirmed_entries_leave_the_mirror() {
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
    fn full_mirror_keeps_newest_entries() {
        let name = "mirror full";
        let mirror = Mirror::open(name);
        let most = MAX_MIRRORED_ENTRIES as u64;
        mirror.keep_entries(&entries(0..most));
        assert_eq!((read(name).dropped, unconfirmed(name)), (0, Some(most)));
        mirror.keep_entries(&entries(most..most + 5));
        let contents = read(name);
        assert_eq!(contents.dropped, 5);
        assert_eq!(contents.entries, entries(5..most + 5).into_iter().collect());
        assert_eq!(unconfirmed(name), Some(most + 5));
        // Now the oldest entries are confirmed.
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
    fn corrupt_item_is_detected() {
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
            let contents = read(name);
            assert_eq!(contents.corrupt, u64::from(MIRROR_PAGE), "{other:?}");
            assert_eq!(contents.entries.len(), MIRROR_PAGE as usize, "{other:?}");
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
    fn failed_mirror_write_is_repeated() {
        let name = "mirror room";
        let mirror = Mirror::open(name);
        mirror.keep_entries(&entries(0..3));
        let full =
            crate::storage::fault_injector::FaultInjector::unresponsive("Storage", "setItem");
        mirror.keep_entries(&entries(3..64));
        drop(full);
        mirror.keep_unconfirmed(64, &entries(0..64));
        mirror.keep_entries(&entries(64..70));
        let contents = read(name);
        assert_eq!((contents.entries.len(), contents.corrupt), (70, 0));
    }

    #[test]
    fn deleted_mirror_is_rewritten() {
        let name = "mirror deleted";
        let mirror = Mirror::open(name);
        mirror.keep_first_key(&[7; 32]);
        mirror.keep_entries(&entries(0..70));
        delete(name);
        assert_eq!(read(name), MirrorContents::default());
        mirror.write_again();
        assert_eq!(read(name), mirror.contents());
    }
}
