//! What is on disk, read back when a tab starts, a part at a time. What is no record of ours is deleted and counted;
//! whether a block is a good one is for the machine to judge.

use chain::hash::BlockHash;
use futures::future::{try_join, try_join_all};
use idb::{KeyRange, Query};
use std::future::IntoFuture;
use sync::{Stored, seam::JournalEntry};
use wasm_bindgen::JsValue;

use super::{
    StoreError,
    indexed_db::{FIRST_KEY, IndexedDb, TIP, key_place, read_block},
    records,
    schema::{self, BLOCKS, JOURNAL, KEYS, META, RESCUE, SHELVES, SUMMARIES},
    shelves::Shelf,
    spare,
    summary::Summary,
};
use crate::config::{LOADED_BLOCKS, LOADED_ENTRIES, LOADED_SUMMARIES};

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

    /// Reads all blocks, a part at a time, parents before their children, each with the hash it was stored under. Of blocks
    /// on a shelf that has a summary this is what it says of them, and only if `whole` the blocks behind it.
    ///
    /// # Errors
    /// If the database does not give them.
    pub(super) async fn load_blocks(
        &mut self,
        whole: bool,
        mut each: impl FnMut(Vec<Stored>),
    ) -> Result<(), StoreError> {
        let rows = self.load_rows().await?;
        let mut rows = rows.as_slice();
        let shelves = self.load_shelf_keys().await?;
        for part in shelves.chunks(LOADED_SUMMARIES) {
            let summaries = self.load_summaries(part).await?;
            for (first, summary) in part.iter().zip(summaries) {
                let blocks = self.load_shelf(*first, summary, whole).await?;
                rows = self.merge(blocks, rows, &mut each).await?;
            }
        }
        self.health()
            .note_unchecked(self.shelves.unchecked_blocks());
        self.load_rows_into(rows, &mut each).await
    }

    /// What is on a shelf, by height.
    async fn load_shelf(
        &mut self,
        first: u32,
        summary: Option<Summary>,
        whole: bool,
    ) -> Result<Vec<Stored>, StoreError> {
        let look = whole || summary.is_none();
        let known = summary.map(|summary| summary.blocks).unwrap_or_default();
        let mut count = known.len();
        let mut blocks: Vec<Stored> = known.into_iter().map(Stored::Known).collect();
        if look {
            let key = records::number_key(first.into());
            let shelf = self.legible(SHELVES, key).await?;
            let shelf = shelf
                .map(|value| Shelf::blocks_of(&value))
                .unwrap_or_default();
            count = count.max(shelf.len());
            let shelf = shelf.into_iter();
            blocks.extend(shelf.map(|(hash, block)| Stored::Whole(hash, block)));
            blocks.sort_by_key(Stored::index);
        }
        for block in &blocks {
            self.shelves.note(block.hash(), first, block.index());
        }
        self.shelves.note_shelf(first, first.into());
        self.shelves.note_unchecked(first, count);
        Ok(blocks)
    }

    /// Gives a shelf's blocks, and between them, by height, those with a record of their own: of a branch that was long in
    /// coming, or whose body was lost and came again. Returns what of these is higher than the shelf.
    async fn merge<'a>(
        &mut self,
        mut blocks: Vec<Stored>,
        mut rows: &'a [(u64, BlockHash)],
        each: &mut impl FnMut(Vec<Stored>),
    ) -> Result<&'a [(u64, BlockHash)], StoreError> {
        let last = blocks.last().map_or(0, Stored::index);
        while let Some((index, _)) = rows.first().filter(|(index, _)| *index <= last) {
            let behind = blocks.partition_point(|block| block.index() <= *index);
            let higher = blocks.split_off(behind);
            each(std::mem::replace(&mut blocks, higher));
            let next = blocks.first().map_or(last, Stored::index);
            let between = rows.partition_point(|(index, _)| *index <= next);
            let (between, rest) = rows.split_at(between);
            self.load_rows_into(between, each).await?;
            rows = rest;
        }
        each(blocks);
        Ok(rows)
    }

    /// The shelves that there are, by the heights by which they are found.
    async fn load_shelf_keys(&self) -> Result<Vec<u32>, StoreError> {
        let mut shelves = Vec::new();
        for store in [SHELVES, SUMMARIES] {
            let mut bad = Vec::new();
            for key in self.keys(store).await? {
                match records::number(&key).and_then(|first| u32::try_from(first).ok()) {
                    Some(first) => shelves.push(first),
                    None => bad.push(key),
                }
            }
            self.health().note_healed(bad.len());
            self.discard(store, &bad).await;
        }
        shelves.sort_unstable();
        shelves.dedup();
        Ok(shelves)
    }

    /// The summaries of these shelves, as far as they are what was written.
    async fn load_summaries(&self, shelves: &[u32]) -> Result<Vec<Option<Summary>>, StoreError> {
        let keys: Vec<JsValue> = shelves
            .iter()
            .map(|first| records::number_key((*first).into()))
            .collect();
        let values = self.all_legible(SUMMARIES, &keys).await?;
        // What is none is made anew when its shelf is checked.
        let values = shelves.iter().zip(values);
        Ok(values
            .map(|(first, value)| Summary::read(*first, &value?))
            .collect())
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
        self.discard(BLOCKS, &bad).await;
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

    async fn load_rows_into(
        &mut self,
        rows: &[(u64, BlockHash)],
        each: &mut impl FnMut(Vec<Stored>),
    ) -> Result<(), StoreError> {
        for part in rows.chunks(LOADED_BLOCKS as usize) {
            let values = self.row_values(part).await?;
            let mut blocks = Vec::with_capacity(part.len());
            let mut bad = Vec::new();
            for ((index, hash), value) in part.iter().zip(values) {
                if let Some(block) = value.as_ref().and_then(read_block) {
                    blocks.push(Stored::Whole(*hash, block));
                    continue;
                }
                self.rows.remove(hash);
                self.health().note_healed(1);
                // What cannot be read now may be readable another time; until then it is fetched again.
                if value.is_some() {
                    bad.push(records::block_key(*index, hash));
                }
            }
            self.discard(BLOCKS, &bad).await;
            each(blocks);
        }
        Ok(())
    }

    /// The records of these blocks, which have no others between them; one that cannot be read is as good as none.
    async fn row_values(
        &self,
        rows: &[(u64, BlockHash)],
    ) -> Result<Vec<Option<JsValue>>, StoreError> {
        let key = |(index, hash): &(u64, BlockHash)| records::block_key(*index, hash);
        let store = self.reading(&[BLOCKS])?.object_store(BLOCKS)?;
        if let [first, .., last] = rows {
            let range = KeyRange::bound(&key(first), &key(last), None, None)?;
            let values = store.get_all(Some(range.into()), Some(LOADED_BLOCKS))?;
            if let Ok(values) = values.await
                && values.len() == rows.len()
            {
                return Ok(values.into_iter().map(Some).collect());
            }
        }
        let keys: Vec<JsValue> = rows.iter().map(key).collect();
        self.all_legible(BLOCKS, &keys).await
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
mod tests {
    use chain::block::Block;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::storage::{Health, misfortune::Misfortune, suite};

    /// A store with these young blocks, each in a record of its own.
    async fn with(name: &str, blocks: &[(BlockHash, Block)]) -> IndexedDb {
        let mut store = IndexedDb::anew(name, suite::room().id()).await;
        let puts = blocks.iter().cloned().map(suite::put).collect();
        suite::write(&mut store, puts).await;
        store
    }

    /// Opens it anew; returns the heights of the blocks that it gives, and how many it found damaged.
    async fn start(name: &str) -> (Vec<u64>, usize) {
        let opened = IndexedDb::open(name, suite::room().id(), Health::new(Ok(0))).await;
        let mut store = opened.expect("it opens");
        let mut all = Vec::new();
        let loaded = store.load_blocks(false, |blocks| all.extend(blocks)).await;
        loaded.expect("it can be loaded");
        let heights = all.iter().map(Stored::index).collect();
        (heights, store.health().healed())
    }

    #[test]
    async fn a_block_that_cannot_be_read_for_now_is_left_where_it_is() {
        let name = "loading refused";
        let blocks = suite::branch(1, 5, 1);
        drop(with(name, &blocks).await);
        let (third, _) = &blocks[2];
        let refusal = Misfortune::unreadable(name, BLOCKS, &records::block_key(3, third));
        assert_eq!(start(name).await, (vec![1, 2, 4, 5], 1));
        drop(refusal);
        assert_eq!(start(name).await, (vec![1, 2, 3, 4, 5], 0));
    }

    /// Puts something that is no record of ours under this key.
    async fn garble(store: &IndexedDb, name: &str, key: &JsValue) {
        let write = store.writing(&[name], false).expect("it writes");
        let records = write.object_store(name).expect("it is there");
        let put = records.put(&"no record".into(), Some(key));
        put.expect("it takes it");
        schema::committed(write).await.expect("it keeps it");
    }

    #[test]
    async fn a_block_that_is_none_is_deleted_as_soon_as_it_can_be() {
        let name = "loading garbled";
        let blocks = suite::branch(1, 5, 1);
        let store = with(name, &blocks).await;
        let key = records::block_key(3, &blocks[2].0);
        garble(&store, BLOCKS, &key).await;
        drop(store);
        let misfortune = Misfortune::undeletable(name, BLOCKS, &key);
        for _ in 0..2 {
            assert_eq!(start(name).await, (vec![1, 2, 4, 5], 1));
        }
        drop(misfortune);
        assert_eq!(start(name).await, (vec![1, 2, 4, 5], 1));
        assert_eq!(start(name).await, (vec![1, 2, 4, 5], 0));
    }

    /// A store with this first key, but for these copies of it.
    async fn first_key(name: &str, seed: [u8; 32], garbled: &[&str]) -> IndexedDb {
        let store = IndexedDb::anew(name, suite::room().id()).await;
        store.put_first_key(&seed).await.expect("there is room");
        for place in garbled {
            garble(&store, META, &(*place).into()).await;
        }
        store
    }

    #[test]
    async fn a_copy_of_the_key_that_finds_no_room_does_not_keep_a_tab_from_its_key() {
        let name = "loading full";
        let store = first_key(name, [7; 32], &FIRST_KEY[1..]).await;
        let again = FIRST_KEY[1].into();
        let full = Misfortune::unwritable(name, META, &again);
        let loaded = store.load().await.expect("it can be loaded");
        assert_eq!(
            (loaded.first_key, store.health().healed()),
            (Some([7; 32]), 1)
        );
        drop(full);
        store.load().await.expect("it can be loaded");
        let mended = store.record(META, again).await.expect("it can be read");
        let mended = mended.and_then(|value| records::read_seed(FIRST_KEY[1], &value));
        assert_eq!(mended, Some([7; 32]));
    }

    #[test]
    async fn of_a_key_that_cannot_be_read_for_now_either_copy_will_do_and_no_other_key() {
        let name = "loading keys";
        let store = first_key(name, [7; 32], &[]).await;
        let key = FIRST_KEY[0].into();
        let first = Misfortune::unreadable(name, META, &key);
        let loaded = store.load().await.expect("it can be loaded");
        assert_eq!(loaded.first_key, Some([7; 32]));
        let again = FIRST_KEY[1].into();
        let second = Misfortune::unreadable(name, META, &again);
        assert!(store.load().await.is_err());
        drop(second);
        drop(first);
        let loaded = store.load().await.expect("it can be loaded");
        assert_eq!(loaded.first_key, Some([7; 32]));
    }
}
