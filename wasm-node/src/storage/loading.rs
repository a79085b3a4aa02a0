//! Loads the database in parts when a tab starts. Corrupt records are deleted and counted; the machine validates
//! blocks.

mod blocks;

use std::{collections::HashSet, future::IntoFuture};

use futures::future::{try_join, try_join_all};
use heartchain_chain::{compact_sort, hash::BlockHash, profile::Profile, reading::Reading};
use heartchain_sync::io::JournalEntry;
use idb::{KeyRange, Query};
use wasm_bindgen::JsValue;

use super::{
    health::Loss,
    indexed_db::IndexedDb,
    records::{self, key_location},
    schema::{
        self, ADOPTED, CONFIRMED, FIRST_KEY, JOURNAL, KEYS, LOADED_ENTRIES, META, PROFILES,
        RECOVERY, TIP,
    },
    store::StoreError,
};

/// Everything in a database except the blocks.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// The first key's seed.
    pub(super) first_key: Option<[u8; 32]>,
    /// Later keys, with the position of the first journal entry that each signs.
    pub(super) keys: Vec<(u64, [u8; 32])>,
    pub(super) journal: Vec<(u64, JournalEntry)>,
    /// The length of the journal according to the mirror.
    pub(super) journal_len: Option<u64>,
    pub(super) recovery: Vec<BlockHash>,
    /// Adopted readings of other tabs.
    pub(super) adopted: Vec<Reading>,
    /// The names of authors.
    pub(super) profiles: Vec<Profile>,
    /// The hash of the best tip.
    pub(super) tip: Option<BlockHash>,
    /// The newest confirmed block of the best branch.
    pub(super) confirmed: Option<BlockHash>,
    /// What the database had lost; `None` if it has everything that the mirror records.
    pub(super) loss: Option<Loss>,
}

/// The first key, and whether it had to be restored from the mirror.
#[derive(Clone, Copy, Debug)]
struct FirstKey {
    seed: Option<[u8; 32]>,
    from_mirror: bool,
}

impl IndexedDb {
    /// Loads everything but the blocks.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(super) async fn load(&self) -> Result<Loaded, StoreError> {
        let keys = self
            .load_all(KEYS, |key, value| {
                let from = records::number(key)?;
                Some((from, records::read_seed(&key_location(from), value)?))
            })
            .await?;
        let stored = self
            .load_all(JOURNAL, |key, value| {
                let position = records::number(key)?;
                Some((position, records::read_entry(position, value)?))
            })
            .await?;
        let journal = records::journal(stored);
        let recovery = self
            .load_all(RECOVERY, |key, _| records::parse_hash_key(key))
            .await?;
        let form = self.room.form();
        let adopted = self
            .load_all(ADOPTED, |_, value| records::read_adopted(form, value))
            .await?;
        let profiles = self
            .load_all(PROFILES, |key, value| {
                records::read_profile(form, key, value)
            })
            .await?;
        let found = self.load_first_key(!journal.is_empty()).await?;
        self.last_inventory.set(self.read_inventory().await?);
        let mut loaded = Loaded {
            first_key: found.seed,
            keys,
            journal,
            recovery,
            adopted,
            profiles,
            tip: self.load_tip().await?,
            confirmed: self.load_hash(CONFIRMED).await?,
            ..Loaded::default()
        };
        self.restore_from_mirror(&mut loaded, found.from_mirror)
            .await;
        let entries = loaded.journal.len() as u64;
        let end = loaded.journal.last().map_or(0, |(last, _)| last + 1);
        self.journal_end.set(end);
        let gaps = usize::try_from(end.saturating_sub(entries)).unwrap_or(usize::MAX);
        let saved = loaded.loss.map_or(0, |loss| loss.saved);
        self.health().note_repaired(gaps.saturating_add(saved));
        Ok(loaded)
    }

    pub(super) async fn load_tip(&self) -> Result<Option<BlockHash>, StoreError> {
        self.load_hash(TIP).await
    }

    async fn load_hash(&self, name: &str) -> Result<Option<BlockHash>, StoreError> {
        let store = self.read_transaction(&[META])?.object_store(META)?;
        let value = store.get(JsValue::from(name))?.await?;
        Ok(value.and_then(|value| records::parse_hash_key(&value)))
    }

    async fn load_first_key(&self, is_used: bool) -> Result<FirstKey, StoreError> {
        let (mut seeds, mut unread) = (Vec::new(), None);
        for name in FIRST_KEY {
            match self.read_record(META, name.into()).await {
                Ok(value) => {
                    seeds.extend(value.and_then(|value| records::read_seed(name, &value)));
                }
                Err(error) => unread = Some(error),
            }
        }
        // An unreadable key may be readable later, so no other key may replace it.
        if let (true, Some(error)) = (seeds.is_empty(), unread) {
            return Err(error);
        }
        // Both copies in the database are lost, for instance because they lie side by side on the disk.
        let from_mirror = seeds.is_empty();
        if from_mirror {
            seeds.extend(self.mirror.contents().first_key);
        }
        match seeds.first() {
            Some(seed) if seeds.len() < FIRST_KEY.len() => {
                self.health().note_repaired(1);
                self.first_key.set(Some(*seed));
                // If the disk is full, the remaining copy suffices until the next start.
                let _ = self.put_first_key(seed).await;
            }
            Some(seed) => {
                self.first_key.set(Some(*seed));
                self.mirror.keep_first_key(seed);
            }
            None if is_used => self.health().note_repaired(1),
            None => {}
        }
        Ok(FirstKey {
            seed: seeds.first().copied(),
            from_mirror: from_mirror && !seeds.is_empty(),
        })
    }

    /// Restores what the database lacks from the mirror.
    async fn restore_from_mirror(&self, loaded: &mut Loaded, key_was_lost: bool) {
        self.mirror.keep_keys(&loaded.keys);
        let contents = self.mirror.contents();
        if contents.first_key.is_some() && contents.first_key != self.first_key.get() {
            // This is the mirror of another key, so it does not describe this journal.
            return;
        }
        loaded.journal_len = contents.journal_len;
        let known: HashSet<u64> = loaded.journal.iter().map(|(at, _)| *at).collect();
        let entries = contents.entries.into_iter();
        let entries: Vec<_> = entries.filter(|(at, _)| !known.contains(at)).collect();
        let known: HashSet<u64> = loaded.keys.iter().map(|(from, _)| *from).collect();
        let keys = contents.keys.into_iter();
        let keys: Vec<_> = keys.filter(|(from, _)| !known.contains(from)).collect();
        let saved = entries.len();
        if saved > 0 || !keys.is_empty() {
            // If the disk is full, the data is still in the mirror.
            let _ = self.write_restored(&entries, &keys).await;
        }
        loaded.keys.extend(&keys);
        loaded.journal.extend(&entries);
        compact_sort::sort_by_key(&mut loaded.journal, |(position, _)| *position);
        let len = contents.journal_len.unwrap_or_default();
        let missing = len.saturating_sub(loaded.journal.len() as u64);
        // All other missing entries were confirmed, so peers have them.
        let lost = missing.min(contents.dropped.saturating_add(contents.corrupt));
        if key_was_lost || saved > 0 || !keys.is_empty() || lost > 0 {
            let lost = usize::try_from(lost).unwrap_or(usize::MAX);
            loaded.loss = Some(Loss { saved, lost });
        }
    }

    async fn write_restored(
        &self,
        entries: &[(u64, JournalEntry)],
        keys: &[(u64, [u8; 32])],
    ) -> Result<(), StoreError> {
        let write = self.write_transaction(&[JOURNAL, KEYS], true)?;
        let (journal, later) = (write.object_store(JOURNAL)?, write.object_store(KEYS)?);
        for (position, entry) in entries {
            let key = records::number_key(*position);
            journal.put(&records::entry(*position, entry), Some(&key))?;
        }
        for (from, seed) in keys {
            let record = records::seed(&key_location(*from), seed);
            later.put(&record, Some(&records::number_key(*from)))?;
        }
        schema::commit(write).await
    }

    /// Loads every record of a store, and deletes those that cannot be decoded.
    async fn load_all<T>(
        &self,
        store: &str,
        read: impl Fn(&JsValue, &JsValue) -> Option<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut all = Vec::new();
        let mut bad = Vec::new();
        let mut after: Option<JsValue> = None;
        loop {
            let records = self
                .next_records(store, after.as_ref(), LOADED_ENTRIES)
                .await?;
            for (key, value) in &records {
                match read(key, value) {
                    Some(item) => all.push(item),
                    // Gaps in the journal are counted by the caller.
                    None => bad.push(key.clone()),
                }
            }
            match records.into_iter().next_back() {
                Some((key, _)) => after = Some(key),
                None => break,
            }
        }
        if store != JOURNAL {
            self.health().note_repaired(bad.len());
        }
        self.discard(store, &bad).await;
        Ok(all)
    }

    /// The next records after a key.
    async fn next_records(
        &self,
        store: &str,
        after: Option<&JsValue>,
        limit: u32,
    ) -> Result<Vec<(JsValue, JsValue)>, StoreError> {
        let store = self.read_transaction(&[store])?.object_store(store)?;
        let range_after = || range_after(after);
        let keys = store
            .get_all_keys(range_after()?, Some(limit))?
            .into_future();
        let values = store.get_all(range_after()?, Some(limit))?.into_future();
        let (keys, values) = try_join(keys, values).await?;
        Ok(keys.into_iter().zip(values).collect())
    }

    /// Deletes corrupt records. A failure is harmless: the next start finds them again.
    async fn discard(&self, store: &str, keys: &[JsValue]) {
        if !keys.is_empty() {
            let _ = self.delete(store, keys).await;
        }
    }

    async fn delete(&self, store: &str, keys: &[JsValue]) -> Result<(), StoreError> {
        let write = self.write_transaction(&[store], false)?;
        let records = write.object_store(store)?;
        for key in keys {
            records.delete(key.clone())?;
        }
        schema::commit(write).await
    }

    async fn keys(&self, store: &str) -> Result<Vec<JsValue>, StoreError> {
        let mut all: Vec<JsValue> = Vec::new();
        loop {
            let records = self.read_transaction(&[store])?.object_store(store)?;
            let keys = records.get_all_keys(range_after(all.last())?, Some(LOADED_ENTRIES))?;
            let keys = keys.await?;
            if keys.is_empty() {
                return Ok(all);
            }
            all.extend(keys);
        }
    }

    /// Reads these records; `None` for each that is missing or unreadable. They are read in one transaction if
    /// possible; an unreadable record aborts it, and then each record is read in a transaction of its own.
    async fn readable_records(
        &self,
        store: &str,
        keys: &[JsValue],
    ) -> Result<Vec<Option<JsValue>>, StoreError> {
        let records = self.read_transaction(&[store])?.object_store(store)?;
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
            values.push(self.readable_record(store, key.clone()).await?);
        }
        Ok(values)
    }

    /// Reads a record; `None` if it is missing, or unreadable while other records can be read.
    ///
    /// # Errors
    /// If the database cannot be read at all.
    pub(super) async fn readable_record(
        &self,
        store: &str,
        key: JsValue,
    ) -> Result<Option<JsValue>, StoreError> {
        let value = self.read_record(store, key).await;
        if value.is_err() {
            self.load_tip().await?;
        }
        Ok(value.ok().flatten())
    }

    /// Reads a record in a transaction of its own.
    pub(super) async fn read_record(
        &self,
        store: &str,
        key: JsValue,
    ) -> Result<Option<JsValue>, StoreError> {
        let records = self.read_transaction(&[store])?.object_store(store)?;
        Ok(records.get(key)?.await?)
    }
}

/// The range after a key, or the whole store.
fn range_after(key: Option<&JsValue>) -> Result<Option<Query>, idb::Error> {
    key.map(|key| KeyRange::lower_bound(key, Some(true)).map(Query::from))
        .transpose()
}

#[cfg(test)]
mod tests;
