//! The store on disk, in the browser's IndexedDB. Young blocks have a record each. Settled blocks, and long ranges that
//! arrive at once, are in segments (see `segments`), which are checked only after the start (see `checking`). A batch
//! is one transaction; a strict one is on the disk before it is reported as written.
//!
//! Guarantees after a crash of the browser or the computer:
//! - A batch is on disk as a whole or not at all, and never without the earlier batches.
//! - Compaction writes a segment and its summary and deletes the blocks' records in one transaction. So a block is in
//!   its record or in the segment, and a summary always describes its segment. A range that is written as a segment
//!   directly is part of its batch's transaction.
//! - An interrupted check starts again. Its results are on disk, or are found again.
//! - A body that is fetched again gets a record of its own, and the same transaction removes it from its segment and
//!   summary.
//! - Checksums, digests and hashes reveal whatever the disk itself has lost or corrupted.
//!
//! The store holds no bodies in memory, only the location of each block.

use std::{collections::HashMap, future::IntoFuture, rc::Rc};

use async_trait::async_trait;
use futures::future::{try_join, try_join_all};
use heartchain_chain::{hash::BlockHash, reading::Reading};
use heartchain_sync::{Batch, StoreOperation};
use idb::{ObjectStore, Transaction, request::futures::GetStoreRequestFuture};
use litemap::LiteMap;
use wasm_bindgen::JsValue;

use super::{
    close_signal::CloseSignal,
    health::{RESERVED_FOR_OWN_READINGS, RESERVED_FOR_PROTECTED_BLOCKS},
    indexed_db::{IndexedDb, read_block},
    records::{self, key_location},
    schema::{
        self, ADOPTED, BLOCKS, CONFIRMED, JOURNAL, KEYS, META, PROFILES, RECOVERY, SEGMENTS,
        STORES, SUMMARIES, TIP,
    },
    segments::{Segment, body_matches_header},
    store::{CheckProgress, Reopened, Storage, StoreError},
    summary::Summary,
};

/// The changes to the in-memory index that take effect once a batch is written.
#[derive(Debug, Default)]
struct IndexChanges {
    rows: HashMap<BlockHash, Option<u64>>,
    /// Blocks that are written to a new segment directly, with the segment's key.
    in_new_segment: HashMap<BlockHash, u32>,
    /// Segments that are empty now.
    emptied: Vec<u32>,
}

#[async_trait(?Send)]
impl Storage for IndexedDb {
    async fn write(&mut self, batch: Batch) -> Result<(), StoreError> {
        if self.health().failing() {
            self.health().refresh_estimate(true).await;
        }
        let len = blocks_len(&batch);
        if let Some(full) = self.reserved_space_error(&batch, len) {
            self.health().note_refused(true);
            return Err(full);
        }
        if batch.operations.is_empty() {
            return Ok(());
        }
        let new_segments = self.direct_segments(&batch);
        let write = self.write_transaction(&STORES, batch.strict)?;
        let changes = self.apply_batch(&write, &batch, &new_segments).await;
        let changes = schema::commit_or_abort(write, changes).await?;
        self.track_irreplaceable(&batch.operations);
        if len > 0 {
            self.usage.wrote_blocks(len);
            self.health().note_written(len);
            self.health().note_refused(false);
        }
        for first in changes.emptied {
            self.segments.remove_segment(first);
        }
        self.health()
            .note_unchecked(self.segments.unchecked_blocks());
        for (hash, index) in changes.rows {
            self.segments.remove_block(&hash);
            self.missing.remove(&hash);
            match index {
                Some(index) => {
                    self.segments.add_height(index);
                    self.rows.insert(hash, index)
                }
                None => self.rows.remove(&hash),
            };
        }
        for (first, segment) in &new_segments {
            for block in segment.indexed() {
                self.segments
                    .add_block(&block.hash, *first, block.header.index);
            }
        }
        Ok(())
    }

    async fn bodies(&self, hashes: &[BlockHash]) -> Result<Vec<Option<Vec<Reading>>>, StoreError> {
        let mut bodies: Vec<Option<Vec<Reading>>> = vec![None; hashes.len()];
        if hashes.is_empty() {
            return Ok(bodies);
        }
        let read = self.read_transaction(&[BLOCKS, SEGMENTS, SUMMARIES])?;
        let (blocks, segments) = (read.object_store(BLOCKS)?, read.object_store(SEGMENTS)?);
        let mut rows = Vec::new();
        let mut by_segment: LiteMap<u32, Vec<(BlockHash, usize)>> = LiteMap::new();
        for (at, hash) in hashes.iter().enumerate() {
            if let Some(index) = self.rows.get(hash) {
                rows.push((at, blocks.get(records::block_key(*index, hash))?));
            } else if let Some(first) = self.segments.segment_of(hash) {
                by_segment.entry(first).or_default().push((*hash, at));
            }
        }
        let (positions, rows): (Vec<usize>, Vec<_>) = rows.into_iter().unzip();
        let rows = try_join_all(rows.into_iter().map(IntoFuture::into_future)).await?;
        for (at, value) in positions.into_iter().zip(rows) {
            if let Some(body) = bodies.get_mut(at) {
                *body = value
                    .and_then(|value| read_block(self.room.form(), &value))
                    .map(|block| block.readings);
            }
        }
        // One segment at a time, so that a request for blocks of many segments does not load all of them into memory.
        for (first, wanted) in by_segment {
            let Some(value) = get(&segments, first)?.await? else {
                continue;
            };
            let checked = self.segments.is_checked(first);
            let summary = match checked {
                true => None,
                false => get(&read.object_store(SUMMARIES)?, first)?.await?,
            };
            let summary = summary.and_then(|value| Summary::read(first, &value));
            for (hash, block) in Segment::read_blocks(self.room.form(), summary.as_ref(), &value) {
                let mut positions = wanted.iter().filter(|(other, _)| *other == hash).peekable();
                // A body that was not checked yet is checked when it is requested.
                if positions.peek().is_none() || !(checked || body_matches_header(&block)) {
                    continue;
                }
                for (_, at) in positions {
                    if let Some(body) = bodies.get_mut(*at) {
                        *body = Some(block.readings.clone());
                    }
                }
            }
        }
        Ok(bodies)
    }

    async fn check(&mut self) -> CheckProgress {
        self.check_next_segments().await
    }

    async fn compact(&mut self) -> bool {
        self.health().refresh_estimate(false).await;
        // Blocks that cannot be compacted now are compacted later, or stay in their records.
        self.compact_next_range().await.unwrap_or(false)
    }

    fn close_signal(&self) -> Option<Rc<CloseSignal>> {
        Some(self.connection.close_signal.clone())
    }

    async fn reopen(&mut self) -> Result<Reopened, StoreError> {
        self.reopen_database().await
    }
}

impl IndexedDb {
    /// Updates the inventory and the mirror after irreplaceable data was written.
    fn track_irreplaceable(&self, operations: &[StoreOperation]) {
        let mut entries = Vec::new();
        let mut recorded = 0;
        let mut last_inventory = self.last_inventory.get();
        for operation in operations {
            match operation {
                StoreOperation::PutJournal(position, entry) => {
                    entries.push((*position, *entry));
                    // An entry below the end fills a gap, or is written again.
                    if *position >= self.journal_end.get() {
                        recorded += u64::from(entry.replaces.is_none());
                        last_inventory.journal = last_inventory.journal.saturating_add(1);
                        self.journal_end.set(position.saturating_add(1));
                    }
                }
                StoreOperation::PutKey(seed, from) => self.mirror.keep_keys(&[(*from, *seed)]),
                StoreOperation::PutTip(_) => last_inventory.tip = true,
                StoreOperation::PutBlock(..)
                | StoreOperation::DeleteBlock(_)
                | StoreOperation::PutConfirmed(_)
                | StoreOperation::PutRecovery(_)
                | StoreOperation::DeleteRecovery(_)
                | StoreOperation::PutAdopted(..)
                | StoreOperation::DeleteAdopted(_)
                | StoreOperation::PutProfile(_)
                | StoreOperation::DeleteProfile(_) => {}
            }
        }
        self.last_inventory.set(last_inventory);
        self.usage.recorded(recorded);
        self.mirror.keep_entries(&entries);
    }

    /// Removes blocks from their segments that are deleted, or stored again because they were corrupt. Only one segment
    /// is in memory at a time, because one batch may contain blocks of many segments. Returns the segments that are
    /// empty now.
    async fn remove_from_segment(
        &self,
        write: &Transaction,
        batch: &Batch,
    ) -> Result<Vec<u32>, idb::Error> {
        let mut moved: LiteMap<u32, Vec<&BlockHash>> = LiteMap::new();
        for operation in &batch.operations {
            let (StoreOperation::PutBlock(hash, _) | StoreOperation::DeleteBlock(hash)) = operation
            else {
                continue;
            };
            if let Some(first) = self.segments.segment_of(hash) {
                moved.entry(first).or_default().push(hash);
            }
        }
        let mut emptied = Vec::new();
        for (first, hashes) in moved {
            let segment = get(&write.object_store(SEGMENTS)?, first)?;
            let summary = get(&write.object_store(SUMMARIES)?, first)?;
            let (segment, summary) = try_join(segment, summary).await?;
            let mut segment = Segment::read(&self.room, first, segment.as_ref(), summary.as_ref());
            for hash in hashes {
                segment.remove(hash);
            }
            segment.put(write, first)?;
            if segment.indexed().is_empty() {
                emptied.push(first);
            }
        }
        Ok(emptied)
    }

    fn apply(
        &self,
        write: &Transaction,
        operation: &StoreOperation,
        changes: &mut IndexChanges,
    ) -> Result<(), idb::Error> {
        match operation {
            StoreOperation::PutBlock(hash, _) if changes.in_new_segment.contains_key(hash) => {}
            StoreOperation::PutBlock(hash, block) => {
                let index = block.header.index;
                let key = records::block_key(index, hash);
                let store = write.object_store(BLOCKS)?;
                store.put(&records::to_js(&block.encode()), Some(&key))?;
                changes.rows.insert(*hash, Some(index));
            }
            StoreOperation::DeleteBlock(hash) => {
                let index = changes
                    .rows
                    .get(hash)
                    .copied()
                    .unwrap_or_else(|| self.rows.get(hash).copied());
                if let Some(index) = index {
                    let store = write.object_store(BLOCKS)?;
                    store.delete(records::block_key(index, hash))?;
                }
                changes.rows.insert(*hash, None);
            }
            StoreOperation::PutTip(hash) => {
                let store = write.object_store(META)?;
                store.put(&records::hash_key(hash), Some(&TIP.into()))?;
            }
            StoreOperation::PutJournal(position, entry) => {
                let store = write.object_store(JOURNAL)?;
                let key = records::number_key(*position);
                store.put(&records::entry(*position, entry), Some(&key))?;
            }
            StoreOperation::PutKey(seed, from) => {
                let store = write.object_store(KEYS)?;
                let record = records::seed(&key_location(*from), seed);
                store.put(&record, Some(&records::number_key(*from)))?;
            }
            StoreOperation::PutConfirmed(hash) => {
                let store = write.object_store(META)?;
                store.put(&records::hash_key(hash), Some(&CONFIRMED.into()))?;
            }
            StoreOperation::PutAdopted(id, reading) => {
                let store = write.object_store(ADOPTED)?;
                store.put(&records::adopted(reading), Some(&records::reading_key(id)))?;
            }
            StoreOperation::DeleteAdopted(id) => {
                let store = write.object_store(ADOPTED)?;
                store.delete(records::reading_key(id))?;
            }
            StoreOperation::PutProfile(profile) => {
                let store = write.object_store(PROFILES)?;
                let key = records::author_key(&profile.author);
                store.put(&records::profile(profile), Some(&key))?;
            }
            StoreOperation::DeleteProfile(author) => {
                let store = write.object_store(PROFILES)?;
                store.delete(records::author_key(author))?;
            }
            StoreOperation::PutRecovery(hash) => {
                let store = write.object_store(RECOVERY)?;
                store.put(&JsValue::TRUE, Some(&records::hash_key(hash)))?;
            }
            StoreOperation::DeleteRecovery(hash) => {
                let store = write.object_store(RECOVERY)?;
                store.delete(records::hash_key(hash))?;
            }
        }
        Ok(())
    }

    /// Adds all operations of a batch to the transaction.
    async fn apply_batch(
        &self,
        write: &Transaction,
        batch: &Batch,
        new_segments: &LiteMap<u32, Segment>,
    ) -> Result<IndexChanges, idb::Error> {
        let mut changes = IndexChanges {
            emptied: self.remove_from_segment(write, batch).await?,
            ..IndexChanges::default()
        };
        for (first, segment) in new_segments {
            let hashes = segment.indexed().iter().map(|block| block.hash);
            changes
                .in_new_segment
                .extend(hashes.map(|hash| (hash, *first)));
        }
        for operation in &batch.operations {
            self.apply(write, operation, &mut changes)?;
        }
        for (first, segment) in new_segments {
            segment.put(write, *first)?;
        }
        Ok(changes)
    }

    /// The error for blocks that would take reserved space, if they would. Own readings have priority over protected
    /// blocks, and these over all other blocks.
    fn reserved_space_error(&self, batch: &Batch, len: usize) -> Option<StoreError> {
        if len == 0 || batch.strict {
            return None;
        }
        let protects =
            |operation: &StoreOperation| matches!(operation, StoreOperation::PutRecovery(_));
        let reserve = match batch.operations.iter().any(protects) {
            true => RESERVED_FOR_OWN_READINGS,
            false => RESERVED_FOR_OWN_READINGS + RESERVED_FOR_PROTECTED_BLOCKS,
        };
        let left = self.health().space_left_if_short(len, reserve)?;
        Some(StoreError::Reserved { left })
    }
}

/// The encoded length of the blocks in a batch.
fn blocks_len(batch: &Batch) -> usize {
    let blocks = batch
        .operations
        .iter()
        .filter_map(|operation| match operation {
            StoreOperation::PutBlock(_, block) => Some(block.encoded_len()),
            StoreOperation::DeleteBlock(_)
            | StoreOperation::PutTip(_)
            | StoreOperation::PutConfirmed(_)
            | StoreOperation::PutJournal(..)
            | StoreOperation::PutKey(..)
            | StoreOperation::PutRecovery(_)
            | StoreOperation::DeleteRecovery(_)
            | StoreOperation::PutAdopted(..)
            | StoreOperation::DeleteAdopted(_)
            | StoreOperation::PutProfile(_)
            | StoreOperation::DeleteProfile(_) => None,
        });
    blocks.sum()
}

fn get(store: &ObjectStore, number: u32) -> Result<GetStoreRequestFuture, idb::Error> {
    Ok(store.get(records::number_key(number.into()))?.into_future())
}

#[cfg(test)]
mod tests;
