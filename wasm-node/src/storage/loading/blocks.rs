//! Loads the blocks of a database in order of height. Settled blocks are packed in segments and are read from the
//! summaries of these; the other blocks have a record each.

use heartchain_chain::{compact_sort, hash::BlockHash};
use heartchain_sync::StoredBlock;
use idb::KeyRange;
use wasm_bindgen::JsValue;

use crate::{
    next_task::Pauses,
    storage::{
        indexed_db::{IndexedDb, LOADED_BLOCKS, read_block},
        records,
        schema::{BLOCKS, SEGMENTS, SUMMARIES},
        segments::Segment,
        store::StoreError,
        summary::Summary,
    },
};

/// Summaries that are read at a time when a tab starts: at most 8 MiB.
const LOADED_SUMMARIES: usize = 16;
/// Readings of blocks that are emitted at a time, more or less: some ms of work on a phone.
const EMITTED_READINGS: usize = 512;

impl IndexedDb {
    /// Loads all blocks in parts, parents before their children, each with the hash it was stored under. Blocks in a
    /// segment are loaded from its summary; their bodies are loaded, too, if `with_bodies` or if there is no summary.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(in crate::storage) async fn load_blocks(
        &mut self,
        with_bodies: bool,
        mut emit: impl FnMut(Vec<StoredBlock>),
    ) -> Result<(), StoreError> {
        let rows = self.load_rows().await?;
        let mut rows = rows.as_slice();
        let segments = self.load_segment_keys().await?;
        let mut pauses = Pauses::new();
        for part in segments.chunks(LOADED_SUMMARIES) {
            let summaries = self.load_summaries(part).await?;
            for (first, summary) in part.iter().zip(summaries) {
                let blocks = self.load_segment(*first, summary, with_bodies).await?;
                rows = self
                    .emit_merged(blocks, rows, &mut emit, &mut pauses)
                    .await?;
                pauses.pause_if_due().await;
            }
        }
        self.health()
            .note_unchecked(self.segments.unchecked_blocks());
        self.emit_rows(rows, &mut emit, &mut pauses).await
    }

    /// The blocks of a segment, by height.
    async fn load_segment(
        &mut self,
        first: u32,
        summary: Option<Summary>,
        with_bodies: bool,
    ) -> Result<Vec<StoredBlock>, StoreError> {
        let read_bodies = with_bodies || summary.is_none();
        let known = summary.map(|summary| summary.blocks).unwrap_or_default();
        let mut count = known.len();
        let mut blocks: Vec<StoredBlock> = known.into_iter().map(StoredBlock::Indexed).collect();
        if read_bodies {
            let key = records::number_key(first.into());
            let segment = self.readable_record(SEGMENTS, key).await?;
            let segment = segment
                .map(|value| Segment::scan_blocks(self.room.form(), &value))
                .unwrap_or_default();
            count = count.max(segment.len());
            let segment = segment.into_iter();
            blocks.extend(segment.map(|(hash, block)| StoredBlock::Full(hash, block)));
            compact_sort::sort_by_key(&mut blocks, StoredBlock::index);
        }
        for block in &blocks {
            self.segments.add_block(block.hash(), first, block.index());
        }
        self.segments.add_segment(first, first.into());
        self.segments.mark_unchecked(first, count);
        Ok(blocks)
    }

    /// Emits a segment's blocks, merged by height with blocks that have a record of their own: those of side branches,
    /// and those whose body was fetched again. Returns the rest of these, which are higher than the segment.
    async fn emit_merged<'a>(
        &mut self,
        mut blocks: Vec<StoredBlock>,
        mut rows: &'a [(u64, BlockHash)],
        emit: &mut impl FnMut(Vec<StoredBlock>),
        pauses: &mut Pauses,
    ) -> Result<&'a [(u64, BlockHash)], StoreError> {
        let last = blocks.last().map_or(0, StoredBlock::index);
        while let Some((index, _)) = rows.first().filter(|(index, _)| *index <= last) {
            let behind = blocks.partition_point(|block| block.index() <= *index);
            let higher = blocks.split_off(behind);
            emit(std::mem::replace(&mut blocks, higher));
            let next = blocks.first().map_or(last, StoredBlock::index);
            let between = rows.partition_point(|(index, _)| *index <= next);
            let (between, rest) = rows.split_at(between);
            self.emit_rows(between, emit, pauses).await?;
            rows = rest;
        }
        emit(blocks);
        Ok(rows)
    }

    /// The keys of all segments and summaries, in order.
    async fn load_segment_keys(&self) -> Result<Vec<u32>, StoreError> {
        let mut segments = Vec::new();
        for store in [SEGMENTS, SUMMARIES] {
            let mut bad = Vec::new();
            for key in self.keys(store).await? {
                match records::number(&key).and_then(|first| u32::try_from(first).ok()) {
                    Some(first) => segments.push(first),
                    None => bad.push(key),
                }
            }
            self.health().note_repaired(bad.len());
            self.discard(store, &bad).await;
        }
        compact_sort::sort(&mut segments);
        segments.dedup();
        Ok(segments)
    }

    /// The summaries of these segments; `None` for each that is missing or corrupt.
    async fn load_summaries(&self, segments: &[u32]) -> Result<Vec<Option<Summary>>, StoreError> {
        let keys: Vec<JsValue> = segments
            .iter()
            .map(|first| records::number_key((*first).into()))
            .collect();
        let values = self.readable_records(SUMMARIES, &keys).await?;
        // A missing summary is written again when its segment is checked.
        let values = segments.iter().zip(values);
        Ok(values
            .map(|(first, value)| Summary::read(*first, &value?))
            .collect())
    }

    /// The heights and hashes of blocks with a record of their own, by height.
    async fn load_rows(&mut self) -> Result<Vec<(u64, BlockHash)>, StoreError> {
        let mut rows = Vec::new();
        let mut bad = Vec::new();
        for key in self.keys(BLOCKS).await? {
            match records::parse_block_key(&key) {
                Some(row) => rows.push(row),
                None => bad.push(key),
            }
        }
        self.health().note_repaired(bad.len());
        self.discard(BLOCKS, &bad).await;
        for (index, hash) in &rows {
            self.rows.insert(*hash, *index);
            self.segments.add_height(*index);
        }
        Ok(rows)
    }

    async fn emit_rows(
        &mut self,
        rows: &[(u64, BlockHash)],
        emit: &mut impl FnMut(Vec<StoredBlock>),
        pauses: &mut Pauses,
    ) -> Result<(), StoreError> {
        let form = self.room.form();
        for part in rows.chunks(LOADED_BLOCKS as usize) {
            let values = self.row_records(part).await?;
            let mut blocks = Vec::with_capacity(part.len());
            let mut bad = Vec::new();
            let mut readings = 0;
            for ((index, hash), value) in part.iter().zip(values) {
                if let Some(block) = value.as_ref().and_then(|value| read_block(form, value)) {
                    readings += block.readings.len();
                    blocks.push(StoredBlock::Full(*hash, block));
                    if readings >= EMITTED_READINGS {
                        readings = 0;
                        emit(std::mem::take(&mut blocks));
                        pauses.pause_if_due().await;
                    }
                    continue;
                }
                self.rows.remove(hash);
                self.health().note_repaired(1);
                // An unreadable record may be readable later, so only a corrupt one is deleted.
                if value.is_some() {
                    bad.push(records::block_key(*index, hash));
                }
            }
            self.discard(BLOCKS, &bad).await;
            emit(blocks);
        }
        Ok(())
    }

    /// The records of these blocks, which are consecutive in the store; `None` for each that is missing or unreadable.
    async fn row_records(
        &self,
        rows: &[(u64, BlockHash)],
    ) -> Result<Vec<Option<JsValue>>, StoreError> {
        let key = |(index, hash): &(u64, BlockHash)| records::block_key(*index, hash);
        let store = self.read_transaction(&[BLOCKS])?.object_store(BLOCKS)?;
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
        self.readable_records(BLOCKS, &keys).await
    }
}
