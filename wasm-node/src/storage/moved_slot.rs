//! Identities that come from another device, and those that went to one. An identity is written to a slot of its own in
//! one transaction, so a crash leaves all of it or nothing. It never takes the place of another identity.

use std::time::Duration;

use heartchain_chain::{compact_sort, hash::RoomId, profile::Profile};
use heartchain_sync::io::JournalEntry;
use litemap::LiteMap;
use wasm_bindgen::JsValue;

use super::{
    database, deletion_note,
    health::Reason,
    mirror,
    read_only::{self, SlotContents},
    rebuilding::{backup_name, delete_backup},
    records::{self, key_location},
    room_deletion::{DeleteRoomError, finish_deletion},
    room_list::{Listed, RoomList},
    room_record::SlotUse,
    schema::{self, ACCESS, FIRST_KEY, JOURNAL, KEYS, META, MOVED, PROFILES},
    slot::{self, MAX_SLOTS, Slot},
    store::StoreError,
};
use crate::{
    clock,
    move_file::{MovedIdentity, keys_by_position},
};

/// Attempts to take the slot of a node that has just stopped, and the pause between two of them.
const MAX_ATTEMPTS: usize = 20;
const RETRY: Duration = Duration::from_millis(100);

/// Why an identity was not written. Then nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeepIdentityError {
    /// The identity is on this device already, with fewer readings, and a tab uses it.
    #[error(
        "a tab of this browser uses this identity: close the tabs of this room and import the file again"
    )]
    Open,
    /// Each slot has an identity of its own, or a tab.
    #[error(
        "this browser has {MAX_SLOTS} identities in this room already: import the file in another browser, or delete the room here"
    )]
    NoFreeSlot,
    /// The browser stores nothing here.
    #[error(
        "this browser stores nothing for this page, as in a private window: import the file in a normal window"
    )]
    NoStorage,
    /// The room is being deleted.
    #[error("this room is being deleted on this device: {0}")]
    Deleting(#[from] DeleteRoomError),
    /// The browser refuses.
    #[error("the identity was not imported: {0}; import the file again")]
    Store(#[from] StoreError),
}

/// Why an identity was not retired. Then it stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RetireError {
    /// No move file has all readings.
    #[error(
        "this tab has readings that no move file has: make a move file, import it at the other place and try again"
    )]
    NotMoved,
    /// Another tab took the slot.
    #[error("another tab of this browser uses this identity now: close it and try again")]
    Open,
    /// The browser refuses.
    #[error("the identity was not removed from this device: {0}; try again")]
    Store(#[from] StoreError),
}

/// Where an identity belongs.
#[derive(Debug)]
enum Place {
    /// This slot has all of it.
    Kept(u32),
    /// This slot lacks something, and its lock is held.
    Lacking(Slot, Missing),
}

/// What a slot lacks of an identity.
#[derive(Clone, Debug, Default)]
struct Missing {
    keys: Vec<(u64, [u8; 32])>,
    entries: Vec<(u64, JournalEntry)>,
}

/// How what a slot has compares with an identity from elsewhere.
#[derive(Debug)]
enum Comparison {
    /// It has no identity.
    Free,
    /// It is another author, or the same one with other readings, or cannot be read.
    Different,
    /// It is the same, and lacks this.
    Same(Missing),
}

/// Writes an identity to a slot, unless one has it already. The next tab of the room takes that slot.
///
/// # Errors
/// If there is no place for it, or the browser refuses.
pub(crate) async fn keep_identity(identity: &MovedIdentity) -> Result<(), KeepIdentityError> {
    let room = identity.access.room().id();
    let list = RoomList::open().await.ok();
    match &list {
        Some(list) if list.is_deleting(room).await? => finish_deletion(room, list).await?,
        None if deletion_note::is_there(room) => {
            let unread = StoreError::Failed("the list of rooms cannot be opened".to_owned());
            return Err(DeleteRoomError::Store(unread).into());
        }
        Some(_) | None => {}
    }
    let (held, missing) = match find_place(room, identity).await? {
        Place::Kept(number) => {
            // The author is here, whether or not it is elsewhere: only another file shows that it may go.
            change_moved(&slot::name(room, number), None).await?;
            slot::prefer(room, number);
            return Ok(());
        }
        Place::Lacking(held, missing) => (held, missing),
    };
    if let Some(list) = &list {
        let label = (!identity.label.is_empty()).then_some(identity.label.as_str());
        let access = Some(identity.access.clone());
        if list.opened(room, held.number, access, label).await? == Listed::Deleting {
            return Err(DeleteRoomError::Open.into());
        }
    }
    write(&held.name, identity, &missing).await?;
    mirror_identity(&held.name, identity);
    if let Some(list) = &list {
        let used = SlotUse {
            readings: identity.readings(),
            bytes: None,
        };
        // The next start tells it again.
        let _ = list.used(room, held.number, used).await;
    }
    slot::prefer(room, held.number);
    Ok(())
}

/// Finds the slot that has this identity, or else a free one.
async fn find_place(room: RoomId, identity: &MovedIdentity) -> Result<Place, KeepIdentityError> {
    let mut free = None;
    let mut lacking = None;
    for number in 0..MAX_SLOTS {
        match compare(&slot::name(room, number), identity).await {
            Comparison::Free => free = free.or(Some(number)),
            Comparison::Different => {}
            Comparison::Same(missing) if missing.is_empty() => return Ok(Place::Kept(number)),
            Comparison::Same(_) => lacking = lacking.or(Some(number)),
        }
    }
    if let Some(number) = lacking {
        let held = take(room, number).await?.ok_or(KeepIdentityError::Open)?;
        // Again, because a tab may have changed it before the lock was held.
        return match compare(&held.name, identity).await {
            Comparison::Same(missing) => Ok(Place::Lacking(held, missing)),
            Comparison::Free | Comparison::Different => Err(KeepIdentityError::Open),
        };
    }
    for number in free.into_iter().flat_map(|free| free..MAX_SLOTS) {
        let Some(held) = take(room, number).await? else {
            continue;
        };
        if matches!(compare(&held.name, identity).await, Comparison::Free)
            && !has_backup(&held.name).await
        {
            let missing = Missing {
                keys: identity.keys.clone(),
                entries: entries_of(identity).collect(),
            };
            return Ok(Place::Lacking(held, missing));
        }
    }
    Err(KeepIdentityError::NoFreeSlot)
}

async fn take(room: RoomId, number: u32) -> Result<Option<Slot>, KeepIdentityError> {
    let taken = slot::try_take(room, number).await;
    taken.map_err(|_| KeepIdentityError::NoStorage)
}

/// Whether a rebuild of this database has not ended: a start restores an identity from the backup.
async fn has_backup(name: &str) -> bool {
    match read_only::open_existing(&backup_name(name)).await {
        Ok(None) => false,
        Ok(Some(backup)) => {
            backup.close();
            true
        }
        Err(_) => true,
    }
}

async fn compare(name: &str, identity: &MovedIdentity) -> Comparison {
    let stored = match read_only::read_identity(name).await {
        Ok(stored) => stored.unwrap_or_default(),
        // Another time it may show an identity.
        Err(_) => return Comparison::Different,
    };
    let SlotContents {
        first_key,
        keys,
        journal,
        is_used,
    } = stored;
    let Some(first) = first_key else {
        // A slot whose database was lost has its identity in the mirror, and restores it when a tab opens it.
        return match is_used || mirror::is_used(name) {
            true => Comparison::Different,
            false => Comparison::Free,
        };
    };
    let keys = keys_by_position([(0, first)].into_iter().chain(keys));
    let mut by_position: LiteMap<u64, JournalEntry> = LiteMap::new();
    compact_sort::extend(&mut by_position, journal);
    let journal = by_position;
    let end = journal.keys().next_back().map_or(0, |last| last + 1);
    let moved = keys_by_position(identity.keys.iter().copied());
    // A key that only one of both has must sign only what only that one has.
    let is_same_key = |from: &u64| match (keys.get(from), moved.get(from)) {
        (Some(here), Some(there)) => here == there,
        (Some(_), None) => *from >= identity.journal.len() as u64,
        (None, Some(_)) => *from >= end,
        (None, None) => true,
    };
    let is_same_entry = |(position, entry): (u64, JournalEntry)| {
        journal.get(&position).is_none_or(|here| {
            (here.time, here.bpm, here.replaces) == (entry.time, entry.bpm, entry.replaces)
        })
    };
    let have_same_keys = keys.keys().chain(moved.keys()).all(is_same_key);
    if !have_same_keys || !entries_of(identity).all(is_same_entry) {
        return Comparison::Different;
    }
    let lacks_key = |from: &u64| !keys.contains_key(from);
    let lacks_entry = |position: &u64| !journal.contains_key(position);
    Comparison::Same(Missing {
        keys: moved
            .into_iter()
            .filter(|(from, _)| lacks_key(from))
            .collect(),
        entries: entries_of(identity)
            .filter(|(position, _)| lacks_entry(position))
            .collect(),
    })
}

impl Missing {
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.entries.is_empty()
    }
}

/// The entries that are not lost, with their positions.
fn entries_of(identity: &MovedIdentity) -> impl Iterator<Item = (u64, JournalEntry)> {
    let each = (0..).zip(&identity.journal);
    each.filter_map(|(position, entry)| Some((position, (*entry)?)))
}

async fn write(
    name: &str,
    identity: &MovedIdentity,
    missing: &Missing,
) -> Result<(), KeepIdentityError> {
    let opened = database::open(name, schema::MIGRATIONS).await;
    let connection = opened.map_err(|reason| match reason {
        Reason::NewerVersion => StoreError::NewerVersion.into(),
        Reason::Requested
        | Reason::Deleting
        | Reason::NoDatabase
        | Reason::Blocked
        | Reason::NoFreeSlot => KeepIdentityError::NoStorage,
    })?;
    let write =
        schema::write_transaction(&connection.database, &[META, KEYS, JOURNAL, PROFILES], true)?;
    let put = put_all(&write, identity, missing);
    Ok(schema::commit_or_abort(write, put).await?)
}

fn put_all(
    write: &idb::Transaction,
    identity: &MovedIdentity,
    missing: &Missing,
) -> Result<(), idb::Error> {
    let meta = write.object_store(META)?;
    let access = records::checksummed_record(ACCESS, &identity.access.encode());
    meta.put(&access, Some(&ACCESS.into()))?;
    let keys = write.object_store(KEYS)?;
    for (from, seed) in &missing.keys {
        if *from == 0 {
            for name in FIRST_KEY {
                meta.put(&records::seed(name, seed), Some(&name.into()))?;
            }
        } else {
            let record = records::seed(&key_location(*from), seed);
            keys.put(&record, Some(&records::number_key(*from)))?;
        }
    }
    let journal = write.object_store(JOURNAL)?;
    for (position, entry) in &missing.entries {
        let key = records::number_key(*position);
        journal.put(&records::entry(*position, entry), Some(&key))?;
    }
    let form = identity.access.room().form();
    let profile = identity.profile.as_deref();
    // Its signature is checked when a tab loads it.
    if let Some(Ok(profile)) = profile.map(|bytes| Profile::decode(form, bytes)) {
        let key = records::author_key(&profile.author);
        let store = write.object_store(PROFILES)?;
        store.put(&records::profile(&profile), Some(&key))?;
    }
    Ok(())
}

/// Mirrors the keys and the unconfirmed entries, so that open tabs share these, and sequence numbers of lost entries are
/// not used again.
fn mirror_identity(name: &str, identity: &MovedIdentity) {
    let mirror = mirror::Mirror::open(name);
    let (first, later): (Vec<_>, Vec<_>) = identity
        .keys
        .iter()
        .copied()
        .partition(|(from, _)| *from == 0);
    for (_, seed) in first {
        mirror.keep_first_key(&seed);
    }
    mirror.keep_keys(&later);
    let unconfirmed = entries_of(identity);
    let unconfirmed: Vec<_> = unconfirmed
        .filter(|(position, _)| *position >= identity.unconfirmed_from)
        .collect();
    mirror.keep_entries(&unconfirmed);
    let len = identity.journal.len() as u64;
    let is_shorter = mirror
        .contents()
        .journal_len
        .is_some_and(|known| known > len);
    // The list must be complete: more than the mirror holds were dropped, and a slot may have recorded since.
    if unconfirmed.len() <= mirror::MAX_MIRRORED_ENTRIES && !is_shorter {
        mirror.keep_unconfirmed(len, &unconfirmed);
    }
}

/// Notes that a move file has the first `entries` entries of this slot's journal.
///
/// # Errors
/// If the browser refuses.
pub(crate) async fn note_moved(room: RoomId, number: u32, entries: u64) -> Result<(), StoreError> {
    change_moved(&slot::name(room, number), Some(entries)).await
}

async fn change_moved(name: &str, entries: Option<u64>) -> Result<(), StoreError> {
    let opened = database::open(name, schema::MIGRATIONS).await;
    let closed = |_| StoreError::Failed("the database cannot be opened".to_owned());
    let connection = opened.map_err(closed)?;
    let write = schema::write_transaction(&connection.database, &[META], true)?;
    let meta = write.object_store(META)?;
    match entries {
        Some(entries) => {
            let record = records::checksummed_record(MOVED, &entries.to_le_bytes());
            meta.put(&record, Some(&MOVED.into()))?;
        }
        None => {
            meta.delete(JsValue::from(MOVED))?;
        }
    }
    schema::commit(write).await
}

/// The length of the journal that the last move file of this slot has.
pub(crate) async fn moved_len(room: RoomId, number: u32) -> Option<u64> {
    read_only::read_moved(&slot::name(room, number)).await
}

/// Removes the keys and the journal of a slot whose tab has stopped, if a move file has all of it. Its copy of the chain
/// stays. `author` is the seed of the key that the tab signed with.
///
/// # Errors
/// If a move file lacks something, another tab has the slot, or the browser refuses.
pub(crate) async fn retire(room: RoomId, number: u32, author: [u8; 32]) -> Result<(), RetireError> {
    let mut held = None;
    for _ in 0..MAX_ATTEMPTS {
        held = slot::try_take(room, number).await.ok().flatten();
        if held.is_some() {
            break;
        }
        clock::sleep(RETRY).await;
    }
    let held = held.ok_or(RetireError::Open)?;
    let stored = read_only::read_identity(&held.name).await;
    let unread = || StoreError::Failed("the database cannot be read".to_owned());
    let SlotContents {
        first_key,
        keys,
        journal,
        ..
    } = stored?.ok_or_else(unread)?;
    let newest = keys.iter().max_by_key(|(from, _)| *from);
    if newest.map(|(_, seed)| *seed).or(first_key) != Some(author) {
        return Err(RetireError::Open);
    }
    let end = journal.last().map_or(0, |(last, _)| last + 1);
    let moved = read_only::read_moved(&held.name).await;
    if moved.is_none_or(|moved| moved < end) {
        return Err(RetireError::NotMoved);
    }
    // The copies first: without the records, a start would restore the identity from them.
    mirror::delete(&held.name);
    delete_backup(&held.name).await?;
    let opened = database::open(&held.name, schema::MIGRATIONS).await;
    let connection = opened.map_err(|_| unread())?;
    let write = schema::write_transaction(&connection.database, &[META, KEYS, JOURNAL], true)?;
    let removed = remove_identity(&write);
    schema::commit_or_abort(write, removed).await?;
    if let Ok(list) = RoomList::open().await {
        // The next start tells it again.
        let _ = list.used(room, number, SlotUse::default()).await;
    }
    Ok(())
}

fn remove_identity(write: &idb::Transaction) -> Result<(), idb::Error> {
    let meta = write.object_store(META)?;
    for name in FIRST_KEY.into_iter().chain([MOVED]) {
        meta.delete(JsValue::from(name))?;
    }
    write.object_store(KEYS)?.clear()?;
    write.object_store(JOURNAL)?.clear()?;
    Ok(())
}

#[cfg(test)]
mod tests;
