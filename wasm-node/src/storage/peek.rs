//! A look into another tab's database, whose slot is held meanwhile: its keys, and the end of its journal. Never makes,
//! upgrades or changes a database.

use idb::{
    Event as _, Factory, KeyRange, ObjectStore, Query, Request as _, event::VersionChangeEvent,
};
use sync::seam::JournalEntry;
use wasm_bindgen::JsValue;
use web_sys::IdbDatabase;

use super::{
    StoreError,
    indexed_db::{FIRST_KEY, key_place},
    records,
    schema::{self, JOURNAL, KEYS, META},
};
use crate::config::{LOADED_ENTRIES, MAX_MIRRORED_ENTRIES};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Peeked {
    pub(super) first_key: Option<[u8; 32]>,
    pub(super) keys: Vec<(u64, [u8; 32])>,
    /// Entries from a position on.
    pub(super) journal: Vec<(u64, JournalEntry)>,
}

/// Looks into a database: at the first entries from this position on, or at the newest of all. `None`: there is none that
/// this version of the page can read.
pub(super) async fn peek(name: &str, from: Option<u64>) -> Option<Peeked> {
    let factory = Factory::new().ok()?;
    let mut opening = factory.open(name, None).ok()?;
    opening.on_upgrade_needed(|event| {
        // There is no database, and none is to be made: the request fails.
        let _ = refuse(&event);
    });
    let database = IdbDatabase::from(opening.await.ok()?);
    let known = u32::try_from(schema::STEPS.len()).unwrap_or(u32::MAX);
    let read = match database.version() <= f64::from(known) {
        true => read(&database, from).await.ok(),
        false => None,
    };
    database.close();
    read
}

fn refuse(event: &VersionChangeEvent) -> Result<(), idb::Error> {
    let upgrade = event.target()?.transaction();
    upgrade.map_or(Ok(()), |upgrade| upgrade.abort().map(drop))
}

async fn read(database: &IdbDatabase, from: Option<u64>) -> Result<Peeked, StoreError> {
    let read = schema::reading(database, &[META, KEYS, JOURNAL])?;
    let mut peeked = Peeked::default();
    let meta = read.object_store(META)?;
    for place in FIRST_KEY {
        let value = meta.get(JsValue::from(place))?.await?;
        let seed = value.and_then(|value| records::read_seed(place, &value));
        peeked.first_key = peeked.first_key.or(seed);
    }
    for (key, value) in entries(&read.object_store(KEYS)?, None).await? {
        let seed = records::number(&key)
            .and_then(|from| Some((from, records::read_seed(&key_place(from), &value)?)));
        peeked.keys.extend(seed);
    }
    let journal = read.object_store(JOURNAL)?;
    let (mut stored, mut next) = (Vec::new(), from.unwrap_or_default());
    loop {
        let range = KeyRange::lower_bound(&records::number_key(next), None)?;
        let part = entries(&journal, Some(range.into())).await?;
        let Some((last, _)) = part.last() else { break };
        next = records::number(last).map_or(u64::MAX, |last| last.saturating_add(1));
        let each = part.iter();
        stored.extend(each.filter_map(|(key, value)| {
            let position = records::number(key)?;
            Some((position, records::read_entry(position, value)?))
        }));
    }
    let entries = records::journal(stored);
    let skipped = match from {
        Some(_) => 0,
        None => entries.len().saturating_sub(MAX_MIRRORED_ENTRIES),
    };
    let entries = entries.into_iter().skip(skipped);
    peeked.journal = entries.take(MAX_MIRRORED_ENTRIES).collect();
    Ok(peeked)
}

/// Some records of a store.
async fn entries(
    store: &ObjectStore,
    range: Option<Query>,
) -> Result<Vec<(JsValue, JsValue)>, StoreError> {
    let again = match &range {
        Some(Query::KeyRange(range)) => Some(Query::KeyRange(range.clone())),
        Some(Query::Key(key)) => Some(Query::Key(key.clone())),
        None => None,
    };
    let keys = store.get_all_keys(again, Some(LOADED_ENTRIES))?.await?;
    let values = store.get_all(range, Some(LOADED_ENTRIES))?.await?;
    Ok(keys.into_iter().zip(values).collect())
}
