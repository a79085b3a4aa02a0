//! What is on disk, read back when a tab starts, a part at a time. What is no record of ours is deleted and counted;
//! whether a block is a good one is for the machine to judge.

use chain::{block::Block, hash::BlockHash};
use futures::future::try_join;
use idb::{KeyRange, Query};
use std::future::IntoFuture;
use sync::seam::JournalEntry;
use wasm_bindgen::JsValue;

use super::{
    StoreError,
    indexed_db::{FIRST_KEY, IndexedDb, key_place, read_block},
    records,
    schema::{self, BLOCKS, JOURNAL, KEYS, META, RESCUE, SHELVES},
    shelves::Shelf,
};
use crate::config::{LOADED_BLOCKS, LOADED_ENTRIES, LOADED_SHELVES};

/// All but the blocks.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// The first key's seed.
    pub(super) first_key: Option<[u8; 32]>,
    /// Keys that took over, each with the first journal entry that it signs.
    pub(super) keys: Vec<(u64, [u8; 32])>,
    pub(super) journal: Vec<(u64, JournalEntry)>,
    pub(super) rescue: Vec<BlockHash>,
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
        })
    }

    async fn load_first_key(&self, is_used: bool) -> Result<Option<[u8; 32]>, StoreError> {
        let mut seeds = Vec::new();
        for place in FIRST_KEY {
            let store = self.reading(&[META])?.object_store(META)?;
            let value = store.get(JsValue::from(place))?.await?;
            seeds.extend(value.and_then(|value| records::read_seed(place, &value)));
        }
        match seeds.first() {
            Some(seed) if seeds.len() < FIRST_KEY.len() => {
                self.health().note_healed(1);
                self.put_first_key(seed).await?;
            }
            None if is_used => self.health().note_healed(1),
            Some(_) | None => {}
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
        self.delete(store, &bad).await?;
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

    async fn delete(&self, store: &str, keys: &[JsValue]) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let write = self.writing(&[store], false)?;
        let records = write.object_store(store)?;
        for key in keys {
            records.delete(key.clone())?;
        }
        schema::committed(write).await
    }

    /// Reads all blocks, a part at a time, parents before their children, each with the hash it was stored under.
    ///
    /// # Errors
    /// If the database does not give them.
    pub(super) async fn load_blocks(
        &mut self,
        mut each: impl FnMut(Vec<(BlockHash, Block)>),
    ) -> Result<(), StoreError> {
        let rows = self.load_rows().await?;
        let mut rows = rows.as_slice();
        let shelves = self.keys(SHELVES).await?;
        for part in shelves.chunks(LOADED_SHELVES as usize) {
            for (key, value) in self.load_shelves(part).await? {
                let shelf = self.read_shelf(&key, value).await?;
                let last = shelf
                    .blocks()
                    .last()
                    .map_or(0, |(_, block)| block.header.index);
                // Blocks of a branch that was long in coming.
                let below = rows.partition_point(|(index, _)| *index <= last);
                let (first, rest) = rows.split_at(below);
                self.load_rows_into(first, &mut each).await?;
                rows = rest;
                each(shelf.into_blocks());
            }
        }
        self.load_rows_into(rows, &mut each).await
    }

    /// Where blocks with a record of their own are, by height.
    async fn load_rows(&mut self) -> Result<Vec<(u64, BlockHash)>, StoreError> {
        let mut rows = Vec::new();
        let mut bad = Vec::new();
        for key in self.keys(BLOCKS).await? {
            match records::block_of_key(&key) {
                Some(row) => rows.push(row),
                None => bad.push(key),
            }
        }
        self.health().note_healed(bad.len());
        self.delete(BLOCKS, &bad).await?;
        for (index, hash) in &rows {
            self.rows.insert(*hash, *index);
            self.shelves.note_height(*index);
        }
        Ok(rows)
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

    /// The records of these shelves; one that the browser cannot read is as good as empty.
    async fn load_shelves(&self, keys: &[JsValue]) -> Result<Vec<(JsValue, JsValue)>, StoreError> {
        let [first, .., last] = keys else {
            return self.load_shelves_one_by_one(keys).await;
        };
        let store = self.reading(&[SHELVES])?.object_store(SHELVES)?;
        let range = KeyRange::bound(first, last, None, None)?;
        match store
            .get_all(Some(range.into()), Some(LOADED_SHELVES))?
            .await
        {
            Ok(values) if values.len() == keys.len() => {
                Ok(keys.iter().cloned().zip(values).collect())
            }
            Ok(_) | Err(_) => self.load_shelves_one_by_one(keys).await,
        }
    }

    async fn load_shelves_one_by_one(
        &self,
        keys: &[JsValue],
    ) -> Result<Vec<(JsValue, JsValue)>, StoreError> {
        let mut shelves = Vec::with_capacity(keys.len());
        for key in keys {
            let store = self.reading(&[SHELVES])?.object_store(SHELVES)?;
            let value = store.get(key.clone())?.await.ok().flatten();
            shelves.push((key.clone(), value.unwrap_or(JsValue::NULL)));
        }
        Ok(shelves)
    }

    /// What is on a shelf, which is made to hold no more than that.
    async fn read_shelf(&mut self, key: &JsValue, value: JsValue) -> Result<Shelf, StoreError> {
        let (shelf, whole) = Shelf::read(&value);
        let Some(first) = records::number(key).and_then(|first| u32::try_from(first).ok()) else {
            self.health().note_healed(1);
            self.delete(SHELVES, std::slice::from_ref(key)).await?;
            return Ok(Shelf::default());
        };
        if !whole {
            self.health().note_healed(1);
            let write = self.writing(&[SHELVES], false)?;
            shelf.put(&write.object_store(SHELVES)?, first)?;
            schema::committed(write).await?;
        }
        for (hash, block) in shelf.blocks() {
            self.shelves.note(hash, first, block.header.index);
        }
        Ok(shelf)
    }

    async fn load_rows_into(
        &mut self,
        rows: &[(u64, BlockHash)],
        each: &mut impl FnMut(Vec<(BlockHash, Block)>),
    ) -> Result<(), StoreError> {
        for part in rows.chunks(LOADED_BLOCKS as usize) {
            let store = self.reading(&[BLOCKS])?.object_store(BLOCKS)?;
            let requests = part
                .iter()
                .map(|(index, hash)| Ok(store.get(records::block_key(*index, hash))?.into_future()))
                .collect::<Result<Vec<_>, idb::Error>>()?;
            let mut blocks = Vec::with_capacity(part.len());
            let mut bad = Vec::new();
            for ((index, hash), request) in part.iter().zip(requests) {
                // A record that cannot be read is as good as none.
                let value = request.await.ok().flatten();
                match value.and_then(|value| read_block(&value)) {
                    Some(block) => blocks.push((*hash, block)),
                    None => {
                        self.rows.remove(hash);
                        bad.push(records::block_key(*index, hash));
                    }
                }
            }
            self.health().note_healed(bad.len());
            self.delete(BLOCKS, &bad).await?;
            each(blocks);
        }
        Ok(())
    }
}

/// Everything behind a key, or everything.
fn behind(key: Option<&JsValue>) -> Result<Option<Query>, idb::Error> {
    key.map(|key| KeyRange::lower_bound(key, Some(true)).map(Query::from))
        .transpose()
}
