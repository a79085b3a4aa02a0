//! Blocks from disk: what shelves' summaries say of them, and between them, by height, those with a record of their own.

use chain::hash::BlockHash;
use idb::KeyRange;
use sync::Stored;
use wasm_bindgen::JsValue;

use crate::{
    config::{LOADED_BLOCKS, LOADED_SUMMARIES},
    storage::{
        StoreError,
        indexed_db::{IndexedDb, read_block},
        records,
        schema::{BLOCKS, SHELVES, SUMMARIES},
        shelves::Shelf,
        summary::Summary,
    },
};

impl IndexedDb {
    /// Reads all blocks, a part at a time, parents before their children, each with the hash it was stored under. Of blocks
    /// on a shelf that has a summary this is what it says of them, and only if `whole` the blocks behind it.
    ///
    /// # Errors
    /// If the database does not give them.
    pub(in crate::storage) async fn load_blocks(
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
}
