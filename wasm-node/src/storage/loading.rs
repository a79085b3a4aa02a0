//! What is on disk, read back when a tab starts, a part at a time. What is no record of ours is deleted and counted;
//! whether a block is a good one is for the machine to judge.

mod blocks;

use chain::hash::BlockHash;
use futures::future::{try_join, try_join_all};
use idb::{KeyRange, Query};
use std::future::IntoFuture;
use sync::seam::JournalEntry;
use wasm_bindgen::JsValue;

use super::{
    StoreError,
    indexed_db::{FIRST_KEY, IndexedDb, TIP, key_place},
    records,
    schema::{self, JOURNAL, KEYS, META, RESCUE},
    spare,
};
use crate::config::LOADED_ENTRIES;

/// All but the blocks.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// The first key's seed.
    pub(super) first_key: Option<[u8; 32]>,
    /// Keys that took over, each with the first journal entry that it signs.
    pub(super) keys: Vec<(u64, [u8; 32])>,
    pub(super) journal: Vec<(u64, JournalEntry)>,
    pub(super) rescue: Vec<BlockHash>,
    /// The best tip.
    pub(super) tip: Option<BlockHash>,
}

impl IndexedDb {
    /// Reads all but the blocks.
    ///
    /// # Errors
    /// If the database does not give it.
    pub(super) async fn load(&self) -> Result<Loaded, StoreError> {
        let keys = self
            .load_all(KEYS, |key, value| {
                let from = records::number(key)?;
                Some((from, records::read_seed(&key_place(from), value)?))
            })
            .await?;
        let journal = self
            .load_all(JOURNAL, |key, value| {
                let position = records::number(key)?;
                Some((position, records::read_entry(position, value)?))
            })
            .await?;
        let rescue = self
            .load_all(RESCUE, |key, _| records::hash_of_key(key))
            .await?;
        let entries = journal.len() as u64;
        let gaps = journal
            .last()
            .map_or(0, |(last, _)| (last + 1).saturating_sub(entries));
        self.health()
            .note_healed(usize::try_from(gaps).unwrap_or(usize::MAX));
        Ok(Loaded {
            first_key: self.load_first_key(entries > 0).await?,
            keys,
            journal,
            rescue,
            tip: self.load_tip().await?,
        })
    }

    pub(super) async fn load_tip(&self) -> Result<Option<BlockHash>, StoreError> {
        let store = self.reading(&[META])?.object_store(META)?;
        let value = store.get(JsValue::from(TIP))?.await?;
        Ok(value.and_then(|value| records::hash_of_key(&value)))
    }

    async fn load_first_key(&self, is_used: bool) -> Result<Option<[u8; 32]>, StoreError> {
        let (mut seeds, mut unread) = (Vec::new(), None);
        for place in FIRST_KEY {
            match self.record(META, place.into()).await {
                Ok(value) => {
                    seeds.extend(value.and_then(|value| records::read_seed(place, &value)));
                }
                Err(error) => unread = Some(error),
            }
        }
        if seeds.is_empty() && is_used {
            seeds.extend(spare::find(self.name()));
        }
        // It may be readable another time: no other key may take its place.
        if let (true, Some(error)) = (seeds.is_empty(), unread) {
            return Err(error);
        }
        match seeds.first() {
            Some(seed) if seeds.len() < FIRST_KEY.len() => {
                self.health().note_healed(1);
                // If there is no room the copy that is left does until the next start.
                let _ = self.put_first_key(seed).await;
            }
            Some(seed) => spare::keep(self.name(), seed),
            None if is_used => self.health().note_healed(1),
            None => {}
        }
        Ok(seeds.first().copied())
    }

    /// Reads every record of a store; those that are none of ours are deleted.
    async fn load_all<T>(
        &self,
        store: &str,
        read: impl Fn(&JsValue, &JsValue) -> Option<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut all = Vec::new();
        let mut bad = Vec::new();
        let mut after: Option<JsValue> = None;
        loop {
            let records = self.entries(store, after.as_ref(), LOADED_ENTRIES).await?;
            for (key, value) in &records {
                match read(key, value) {
                    Some(item) => all.push(item),
                    // A gap in the journal is counted as such.
                    None => bad.push(key.clone()),
                }
            }
            match records.into_iter().next_back() {
                Some((key, _)) => after = Some(key),
                None => break,
            }
        }
        if store != JOURNAL {
            self.health().note_healed(bad.len());
        }
        self.discard(store, &bad).await;
        Ok(all)
    }

    /// The next records behind a key.
    async fn entries(
        &self,
        store: &str,
        after: Option<&JsValue>,
        limit: u32,
    ) -> Result<Vec<(JsValue, JsValue)>, StoreError> {
        let store = self.reading(&[store])?.object_store(store)?;
        let behind = || behind(after);
        let keys = store.get_all_keys(behind()?, Some(limit))?.into_future();
        let values = store.get_all(behind()?, Some(limit))?.into_future();
        let (keys, values) = try_join(keys, values).await?;
        Ok(keys.into_iter().zip(values).collect())
    }

    /// Deletes what is no record of ours. It is nobody's, and what cannot be deleted now is found again at the next start.
    async fn discard(&self, store: &str, keys: &[JsValue]) {
        if !keys.is_empty() {
            let _ = self.delete(store, keys).await;
        }
    }

    async fn delete(&self, store: &str, keys: &[JsValue]) -> Result<(), StoreError> {
        let write = self.writing(&[store], false)?;
        let records = write.object_store(store)?;
        for key in keys {
            records.delete(key.clone())?;
        }
        schema::committed(write).await
    }

    async fn keys(&self, store: &str) -> Result<Vec<JsValue>, StoreError> {
        let mut all: Vec<JsValue> = Vec::new();
        loop {
            let records = self.reading(&[store])?.object_store(store)?;
            let keys = records.get_all_keys(behind(all.last())?, Some(LOADED_ENTRIES))?;
            let keys = keys.await?;
            if keys.is_empty() {
                return Ok(all);
            }
            all.extend(keys);
        }
    }

    /// These records, `None` where one cannot be read. Together if they can; one that cannot takes its transaction with it,
    /// and whatever else was to be read there.
    async fn all_legible(
        &self,
        store: &str,
        keys: &[JsValue],
    ) -> Result<Vec<Option<JsValue>>, StoreError> {
        let records = self.reading(&[store])?.object_store(store)?;
        let requests = keys
            .iter()
            .map(|key| Ok(records.get(key.clone())?.into_future()))
            .collect::<Result<Vec<_>, idb::Error>>();
        if let Ok(requests) = requests
            && let Ok(values) = try_join_all(requests).await
        {
            return Ok(values);
        }
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            values.push(self.legible(store, key.clone()).await?);
        }
        Ok(values)
    }

    /// A record, `None` if it cannot be read while others can.
    ///
    /// # Errors
    /// If the database gives nothing at all.
    pub(super) async fn legible(
        &self,
        store: &str,
        key: JsValue,
    ) -> Result<Option<JsValue>, StoreError> {
        let value = self.record(store, key).await;
        if value.is_err() {
            self.load_tip().await?;
        }
        Ok(value.ok().flatten())
    }

    /// A record, read in a transaction of its own.
    pub(super) async fn record(
        &self,
        store: &str,
        key: JsValue,
    ) -> Result<Option<JsValue>, StoreError> {
        let records = self.reading(&[store])?.object_store(store)?;
        Ok(records.get(key)?.await?)
    }
}

/// Everything behind a key, or everything.
fn behind(key: Option<&JsValue>) -> Result<Option<Query>, idb::Error> {
    key.map(|key| KeyRange::lower_bound(key, Some(true)).map(Query::from))
        .transpose()
}

#[cfg(test)]
mod tests;
