//! What is on disk, read back when a tab starts, a part at a time. What is no record of ours is deleted and counted;
//! whether a block is a good one is for the machine to judge.

mod blocks;

use std::{collections::HashSet, future::IntoFuture};

use chain::{hash::BlockHash, reading::Reading};
use futures::future::{try_join, try_join_all};
use idb::{KeyRange, Query};
use sync::seam::JournalEntry;
use wasm_bindgen::JsValue;

use super::{
    StoreError,
    indexed_db::{CONFIRMED, FIRST_KEY, IndexedDb, TIP, key_place},
    records,
    schema::{self, ADOPTED, JOURNAL, KEYS, META, RESCUE},
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
    /// How many entries the journal had, by the copy of it.
    pub(super) journal_len: Option<u64>,
    pub(super) rescue: Vec<BlockHash>,
    /// Readings of other tabs.
    pub(super) adopted: Vec<Reading>,
    /// The best tip.
    pub(super) tip: Option<BlockHash>,
    /// The newest block of its confirmed part.
    pub(super) confirmed: Option<BlockHash>,
    /// What the database had lost. `None`: nothing that the copy beside it tells of.
    pub(super) loss: Option<Loss>,
}

/// What a database had lost of one's own readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loss {
    /// Readings that were put back from the copy.
    pub(crate) saved: usize,
    /// Readings that are nowhere on this computer, and were not confirmed when they were last seen here.
    pub(crate) lost: usize,
}

/// The first key, and whether the database had lost it.
#[derive(Clone, Copy, Debug)]
struct FirstKey {
    seed: Option<[u8; 32]>,
    of_copy: bool,
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
        let stored = self
            .load_all(JOURNAL, |key, value| {
                let position = records::number(key)?;
                Some((position, records::read_entry(position, value)?))
            })
            .await?;
        let journal = records::journal(stored);
        let rescue = self
            .load_all(RESCUE, |key, _| records::hash_of_key(key))
            .await?;
        let adopted = self
            .load_all(ADOPTED, |_, value| records::read_adopted(value))
            .await?;
        let found = self.load_first_key(!journal.is_empty()).await?;
        self.noted.set(self.present().await?);
        let mut loaded = Loaded {
            first_key: found.seed,
            keys,
            journal,
            rescue,
            adopted,
            tip: self.load_tip().await?,
            confirmed: self.load_hash(CONFIRMED).await?,
            ..Loaded::default()
        };
        self.fill_from_copy(&mut loaded, found.of_copy).await;
        let entries = loaded.journal.len() as u64;
        let end = loaded.journal.last().map_or(0, |(last, _)| last + 1);
        self.journal_end.set(end);
        let gaps = usize::try_from(end.saturating_sub(entries)).unwrap_or(usize::MAX);
        let saved = loaded.loss.map_or(0, |loss| loss.saved);
        self.health().note_healed(gaps.saturating_add(saved));
        Ok(loaded)
    }

    pub(super) async fn load_tip(&self) -> Result<Option<BlockHash>, StoreError> {
        self.load_hash(TIP).await
    }

    async fn load_hash(&self, place: &str) -> Result<Option<BlockHash>, StoreError> {
        let store = self.reading(&[META])?.object_store(META)?;
        let value = store.get(JsValue::from(place))?.await?;
        Ok(value.and_then(|value| records::hash_of_key(&value)))
    }

    async fn load_first_key(&self, is_used: bool) -> Result<FirstKey, StoreError> {
        let (mut seeds, mut unread) = (Vec::new(), None);
        for place in FIRST_KEY {
            match self.record(META, place.into()).await {
                Ok(value) => {
                    seeds.extend(value.and_then(|value| records::read_seed(place, &value)));
                }
                Err(error) => unread = Some(error),
            }
        }
        // It may be readable another time: no other key may take its place.
        if let (true, Some(error)) = (seeds.is_empty(), unread) {
            return Err(error);
        }
        // The two in the database may lie side by side on the disk, or the browser has deleted it.
        let of_copy = seeds.is_empty();
        if of_copy {
            seeds.extend(self.mirror.copied().first_key);
        }
        match seeds.first() {
            Some(seed) if seeds.len() < FIRST_KEY.len() => {
                self.health().note_healed(1);
                self.first_key.set(Some(*seed));
                // If there is no room the copy that is left does until the next start.
                let _ = self.put_first_key(seed).await;
            }
            Some(seed) => {
                self.first_key.set(Some(*seed));
                self.mirror.keep_first_key(seed);
            }
            None if is_used => self.health().note_healed(1),
            None => {}
        }
        Ok(FirstKey {
            seed: seeds.first().copied(),
            of_copy: of_copy && !seeds.is_empty(),
        })
    }

    /// Puts back what the database lacks and its copy has.
    async fn fill_from_copy(&self, loaded: &mut Loaded, key_was_lost: bool) {
        for (from, seed) in &loaded.keys {
            self.mirror.keep_key(*from, seed);
        }
        let copied = self.mirror.copied();
        if copied.first_key.is_some() && copied.first_key != self.first_key.get() {
            // It is of another key, and says nothing of this one's journal.
            return;
        }
        loaded.journal_len = copied.journal_len;
        let known: HashSet<u64> = loaded.journal.iter().map(|(at, _)| *at).collect();
        let entries = copied.entries.into_iter();
        let entries: Vec<_> = entries.filter(|(at, _)| !known.contains(at)).collect();
        let known: HashSet<u64> = loaded.keys.iter().map(|(from, _)| *from).collect();
        let keys = copied.keys.into_iter();
        let keys: Vec<_> = keys.filter(|(from, _)| !known.contains(from)).collect();
        let saved = entries.len();
        if saved > 0 || !keys.is_empty() {
            // What finds no room is still in the copy.
            let _ = self.put_back(&entries, &keys).await;
        }
        loaded.keys.extend(&keys);
        loaded.journal.extend(&entries);
        loaded
            .journal
            .sort_unstable_by_key(|(position, _)| *position);
        let len = copied.journal_len.unwrap_or_default();
        let missing = len.saturating_sub(loaded.journal.len() as u64);
        // The others were confirmed: the room has them.
        let lost = missing.min(copied.dropped.saturating_add(copied.damaged));
        if key_was_lost || saved > 0 || !keys.is_empty() || lost > 0 {
            let lost = usize::try_from(lost).unwrap_or(usize::MAX);
            loaded.loss = Some(Loss { saved, lost });
        }
    }

    async fn put_back(
        &self,
        entries: &[(u64, JournalEntry)],
        keys: &[(u64, [u8; 32])],
    ) -> Result<(), StoreError> {
        let write = self.writing(&[JOURNAL, KEYS], true)?;
        let (journal, later) = (write.object_store(JOURNAL)?, write.object_store(KEYS)?);
        for (position, entry) in entries {
            let key = records::number_key(*position);
            journal.put(&records::entry(*position, entry), Some(&key))?;
        }
        for (from, seed) in keys {
            let record = records::seed(&key_place(*from), seed);
            later.put(&record, Some(&records::number_key(*from)))?;
        }
        schema::committed(write).await
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
