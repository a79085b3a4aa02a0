//! Reads the database of a closed tab's slot: the signing keys and the newest journal entries, so that this tab can share
//! what that one had not. The caller holds the slot's lock. Never creates, upgrades or changes a database.

use std::{cell::Cell, rc::Rc};

use heartchain_chain::room::MAX_ROOM_NAME_LEN;
use heartchain_sync::io::JournalEntry;
use idb::{
    Event as _, Factory, KeyRange, ObjectStore, Query, Request as _, event::VersionChangeEvent,
};
use wasm_bindgen::JsValue;
use web_sys::IdbDatabase;

use super::{
    mirror::MAX_MIRRORED_ENTRIES,
    patience::within,
    records::{self, key_location},
    schema::{
        self, ACCESS, FIRST_KEY, JOURNAL, KEYS, LOADED_ENTRIES, META, MOVED, OPEN_TIMEOUT,
        close_late,
    },
    store::StoreError,
};
use crate::room_access::RoomAccess;

/// Length of the longest record of what opens a room: that of an open room.
const MAX_ACCESS_LEN: usize = 2 + MAX_ROOM_NAME_LEN;

/// The irreplaceable data of another slot.
#[derive(Debug, Default)]
pub(super) struct SlotContents {
    pub(super) first_key: Option<[u8; 32]>,
    pub(super) keys: Vec<(u64, [u8; 32])>,
    /// Entries from the requested position on.
    pub(super) journal: Vec<(u64, JournalEntry)>,
    /// Whether there is any record of a key or of the journal, also one that cannot be decoded.
    pub(super) is_used: bool,
}

/// Reads the keys of a database, and journal entries from position `from` on, or the newest entries. `None` if there is
/// no database that can be read now.
pub(super) async fn read_slot(name: &str, from: Option<u64>) -> Option<SlotContents> {
    let mut contents = read_identity_from(name, from).await.ok()??;
    let skipped = match from {
        Some(_) => 0,
        None => contents.journal.len().saturating_sub(MAX_MIRRORED_ENTRIES),
    };
    contents.journal.drain(..skipped);
    contents.journal.truncate(MAX_MIRRORED_ENTRIES);
    Some(contents)
}

/// Reads the keys of a database and its whole journal. `None` if it does not exist.
///
/// # Errors
/// If it cannot be read now, or is of a newer version of the page.
pub(super) async fn read_identity(name: &str) -> Result<Option<SlotContents>, StoreError> {
    read_identity_from(name, None).await
}

async fn read_identity_from(
    name: &str,
    from: Option<u64>,
) -> Result<Option<SlotContents>, StoreError> {
    let Some(database) = open_slot(name).await? else {
        return Ok(None);
    };
    let read = read_contents(&database, from).await;
    database.close();
    read.map(Some)
}

/// The length of the journal that the last move file of a slot has.
pub(super) async fn read_moved(name: &str) -> Option<u64> {
    let database = open_slot(name).await.ok()??;
    let read = read_meta(&database, MOVED).await.ok().flatten();
    database.close();
    let body = records::read_checksummed(MOVED, &read?, size_of::<u64>())?;
    Some(u64::from_le_bytes(body.try_into().ok()?))
}

/// What opens the room of a slot, according to its database. Needs no lock.
pub(super) async fn read_access(name: &str) -> Option<RoomAccess> {
    let database = open_slot(name).await.ok()??;
    let read = read_meta(&database, ACCESS).await.ok().flatten();
    database.close();
    let body = records::read_checksummed(ACCESS, &read?, MAX_ACCESS_LEN)?;
    // The name was checked when the room was opened.
    let (access, _) = RoomAccess::decode(&body, |_| true)?;
    Some(access)
}

async fn read_meta(database: &IdbDatabase, name: &str) -> Result<Option<JsValue>, StoreError> {
    let read = schema::read_transaction(database, &[META])?;
    Ok(read.object_store(META)?.get(JsValue::from(name))?.await?)
}

/// Opens the database of a slot. `None` if it does not exist.
async fn open_slot(name: &str) -> Result<Option<IdbDatabase>, StoreError> {
    let Some(database) = open_existing(name).await? else {
        return Ok(None);
    };
    let newest = u32::try_from(schema::MIGRATIONS.len()).unwrap_or(u32::MAX);
    if database.version() <= f64::from(newest) {
        return Ok(Some(database));
    }
    database.close();
    Err(StoreError::NewerVersion)
}

/// Opens a database of any version. `None` if it does not exist.
///
/// # Errors
/// If the browser refuses, or does not answer.
pub(super) async fn open_existing(name: &str) -> Result<Option<IdbDatabase>, StoreError> {
    let is_new = Rc::new(Cell::new(false));
    let (name, found_none) = (name.to_owned(), is_new.clone());
    let opening = async move {
        let mut request = Factory::new()?.open(&name, None)?;
        request.on_upgrade_needed(move |event| {
            found_none.set(true);
            // There is no database, and opening must not create one: abort, so that the request fails.
            let _ = abort_creation(&event);
        });
        request.await
    };
    match within(OPEN_TIMEOUT, opening, close_late).await {
        Some(Ok(database)) => Ok(Some(database.into())),
        Some(Err(_)) if is_new.get() => Ok(None),
        Some(Err(error)) => Err(error.into()),
        None => Err(StoreError::unanswered()),
    }
}

fn abort_creation(event: &VersionChangeEvent) -> Result<(), idb::Error> {
    let upgrade = event.target()?.transaction();
    upgrade.map_or(Ok(()), |upgrade| upgrade.abort().map(drop))
}

async fn read_contents(
    database: &IdbDatabase,
    from: Option<u64>,
) -> Result<SlotContents, StoreError> {
    let read = schema::read_transaction(database, &[META, KEYS, JOURNAL])?;
    let mut contents = SlotContents::default();
    let meta = read.object_store(META)?;
    for name in FIRST_KEY {
        let value = meta.get(JsValue::from(name))?.await?;
        contents.is_used |= value.is_some();
        let seed = value.and_then(|value| records::read_seed(name, &value));
        contents.first_key = contents.first_key.or(seed);
    }
    for (key, value) in read_records(&read.object_store(KEYS)?, None).await? {
        contents.is_used = true;
        let seed = records::number(&key)
            .and_then(|from| Some((from, records::read_seed(&key_location(from), &value)?)));
        contents.keys.extend(seed);
    }
    let journal = read.object_store(JOURNAL)?;
    let (mut stored, mut next) = (Vec::new(), from.unwrap_or_default());
    loop {
        let range = KeyRange::lower_bound(&records::number_key(next), None)?;
        let part = read_records(&journal, Some(range.into())).await?;
        let Some((last, _)) = part.last() else { break };
        contents.is_used = true;
        next = records::number(last).map_or(u64::MAX, |last| last.saturating_add(1));
        let each = part.iter();
        stored.extend(each.filter_map(|(key, value)| {
            let position = records::number(key)?;
            Some((position, records::read_entry(position, value)?))
        }));
    }
    contents.journal = records::journal(stored);
    Ok(contents)
}

/// The next records of a store.
async fn read_records(
    store: &ObjectStore,
    range: Option<Query>,
) -> Result<Vec<(JsValue, JsValue)>, StoreError> {
    let keys_range = match &range {
        Some(Query::KeyRange(range)) => Some(Query::KeyRange(range.clone())),
        Some(Query::Key(key)) => Some(Query::Key(key.clone())),
        None => None,
    };
    let keys = store
        .get_all_keys(keys_range, Some(LOADED_ENTRIES))?
        .await?;
    let values = store.get_all(range, Some(LOADED_ENTRIES))?.await?;
    Ok(keys.into_iter().zip(values).collect())
}
