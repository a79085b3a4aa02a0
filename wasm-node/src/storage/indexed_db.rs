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

use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    future::IntoFuture,
    rc::Rc,
};

use async_trait::async_trait;
use futures::future::{try_join, try_join_all};
use heartchain_chain::{
    block::{Block, MAX_BLOCK_LEN},
    hash::{BlockHash, RoomId},
    reading::Reading,
};
use heartchain_sync::{Batch, StoreOperation, config::MAX_MISSING_BODIES};
use idb::{ObjectStore, Transaction, request::futures::GetStoreRequestFuture};
use litemap::LiteMap;
use wasm_bindgen::JsValue;
use web_sys::IdbDatabase;

use super::{
    CheckProgress, CloseSignal, ClosedBy, Health, Mirror, Reason, Reopened, Storage, StoreError,
    health::{RESERVED_FOR_OWN_READINGS, RESERVED_FOR_PROTECTED_BLOCKS},
    mirror, records,
    reopening::Inventory,
    schema::{
        self, ADOPTED, BLOCKS, Connection, JOURNAL, KEYS, META, RECOVERY, SEGMENTS, STORES,
        SUMMARIES,
    },
    segments::{MAX_SEGMENT_BLOCKS, Segment, Segments, body_matches_header},
    summary::Summary,
};

/// Single block records that are read at a time when a tab starts: at most 8 MiB.
pub(crate) const LOADED_BLOCKS: u32 = 64;
/// Segments that are checked at a time while the tab is running: at most 3 MiB.
pub(crate) const CHECKED_SEGMENTS: usize = 4;

/// The names of the two copies of the first key in `meta`.
pub(super) const FIRST_KEY: [&str; 2] = ["key", "key again"];

/// The name of the best tip in `meta`.
pub(super) const TIP: &str = "tip";

/// The name, in `meta`, of the newest confirmed block of the best branch.
pub(super) const CONFIRMED: &str = "confirmed";

/// A store in an IndexedDB database.
#[derive(Debug)]
pub struct IndexedDb {
    pub(super) connection: Connection,
    name: String,
    health: Rc<Health>,
    pub(super) room: RoomId,
    /// The heights of the blocks that have a record of their own.
    pub(super) rows: HashMap<BlockHash, u64>,
    pub(super) segments: Segments,
    /// Blocks whose bodies were reported as missing and are not stored again yet.
    pub(super) missing: HashSet<BlockHash>,
    /// Checking pauses while more bodies than this are missing, because the machine would not fetch more again.
    pub(super) max_missing: usize,
    /// A second copy of the data that peers cannot restore.
    pub(super) mirror: Rc<Mirror>,
    /// The first key, once it is known.
    pub(super) first_key: Cell<Option<[u8; 32]>>,
    /// What the database contained when it was last read or written.
    pub(super) last_inventory: Cell<Inventory>,
    /// `last_inventory` counts the journal entries below this position.
    pub(super) journal_end: Cell<u64>,
}

/// The changes to the in-memory index that take effect once a batch is written.
#[derive(Debug, Default)]
struct IndexChanges {
    rows: HashMap<BlockHash, Option<u64>>,
    /// Blocks that are written to a new segment directly, with the segment's key.
    in_new_segment: HashMap<BlockHash, u32>,
    /// Segments that are empty now.
    emptied: Vec<u32>,
}

impl IndexedDb {
    /// Opens or creates a database. Its contents are not known before `load`.
    pub(super) async fn open(name: &str, room: RoomId, health: Rc<Health>) -> Result<Self, Reason> {
        let connection = schema::open(name, schema::MIGRATIONS).await?;
        if connection.rebuilt {
            health.note_repaired(1);
        }
        Ok(Self {
            connection,
            name: name.to_owned(),
            health,
            room,
            rows: HashMap::new(),
            segments: Segments::default(),
            missing: HashSet::new(),
            max_missing: MAX_MISSING_BODIES - CHECKED_SEGMENTS * MAX_SEGMENT_BLOCKS,
            mirror: Mirror::open(name),
            first_key: Cell::default(),
            last_inventory: Cell::default(),
            journal_end: Cell::default(),
        })
    }

    /// Opens an empty store for tests. Deletes an existing database of this name.
    ///
    /// # Panics
    /// If the browser cannot open the database.
    #[doc(hidden)]
    pub async fn open_empty(name: &str, room: RoomId) -> Self {
        let factory = idb::Factory::new().expect("a browser has databases");
        let deleting = factory.delete(name).expect("it may be deleted");
        deleting.await.expect("it can be deleted");
        mirror::delete(name);
        let opened = Self::open(name, room, Health::new(Ok(0))).await;
        opened.expect("it can be opened")
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// A read-only transaction.
    pub(super) fn read_transaction(&self, stores: &[&str]) -> Result<Transaction, StoreError> {
        self.detect_closed(schema::read_transaction(self.open_database()?, stores))
    }

    /// A read-write transaction. If `strict`, it completes only when the data is on the disk.
    pub(super) fn write_transaction(
        &self,
        stores: &[&str],
        strict: bool,
    ) -> Result<Transaction, StoreError> {
        self.detect_closed(schema::write_transaction(
            self.open_database()?,
            stores,
            strict,
        ))
    }

    fn open_database(&self) -> Result<&IdbDatabase, StoreError> {
        match self.connection.close_signal.closed() {
            None => Ok(&self.connection.database),
            Some(ClosedBy::Browser) => Err(StoreError::Closed),
            Some(ClosedBy::NewerVersion) => Err(StoreError::NewerVersion),
        }
    }

    /// Detects a closed database if no event has reported it.
    fn detect_closed(
        &self,
        opened: Result<Transaction, StoreError>,
    ) -> Result<Transaction, StoreError> {
        if matches!(opened, Err(StoreError::Closed)) {
            self.connection.close_signal.set(ClosedBy::Browser);
        }
        opened
    }

    /// Writes both copies of the first key strictly, and mirrors it.
    pub(super) async fn put_first_key(&self, seed: &[u8; 32]) -> Result<(), StoreError> {
        let write = self.write_transaction(&[META], true)?;
        let store = write.object_store(META)?;
        for name in FIRST_KEY {
            store.put(&records::seed(name, seed), Some(&name.into()))?;
        }
        schema::commit(write).await?;
        self.first_key.set(Some(*seed));
        self.mirror.keep_first_key(seed);
        Ok(())
    }

    /// Updates the inventory and the mirror after irreplaceable data was written.
    fn track_irreplaceable(&self, operations: &[StoreOperation]) {
        let mut entries = Vec::new();
        let mut last_inventory = self.last_inventory.get();
        for operation in operations {
            match operation {
                StoreOperation::PutJournal(position, entry) => {
                    entries.push((*position, *entry));
                    // An entry below the end fills a gap, or is written again.
                    if *position >= self.journal_end.get() {
                        last_inventory.journal = last_inventory.journal.saturating_add(1);
                        self.journal_end.set(position.saturating_add(1));
                    }
                }
                StoreOperation::PutKey(seed, from) => self.mirror.keep_key(*from, seed),
                StoreOperation::PutTip(_) => last_inventory.tip = true,
                StoreOperation::PutBlock(..)
                | StoreOperation::DeleteBlock(_)
                | StoreOperation::PutConfirmed(_)
                | StoreOperation::PutRecovery(_)
                | StoreOperation::DeleteRecovery(_)
                | StoreOperation::PutAdopted(..)
                | StoreOperation::DeleteAdopted(_) => {}
            }
        }
        self.last_inventory.set(last_inventory);
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
            let mut segment = Segment::read(self.room, first, segment.as_ref(), summary.as_ref());
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
        let left = self.health.space_left_if_short(len, reserve)?;
        Some(StoreError::Reserved { left })
    }
}

/// The location of a later key, for its checksum.
pub(super) fn key_location(from: u64) -> String {
    format!("key from {from}")
}

#[async_trait(?Send)]
impl Storage for IndexedDb {
    async fn write(&mut self, batch: Batch) -> Result<(), StoreError> {
        if self.health.failing() {
            self.health.refresh_estimate(true).await;
        }
        let len = blocks_len(&batch);
        if let Some(full) = self.reserved_space_error(&batch, len) {
            self.health.note_refused(true);
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
            self.health.note_written(len);
            self.health.note_refused(false);
        }
        for first in changes.emptied {
            self.segments.remove_segment(first);
        }
        self.health.note_unchecked(self.segments.unchecked_blocks());
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
                    .and_then(|value| read_block(&value))
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
            for (hash, block) in Segment::read_blocks(summary.as_ref(), &value) {
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
        self.health.refresh_estimate(false).await;
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
            | StoreOperation::DeleteAdopted(_) => None,
        });
    blocks.sum()
}

fn get(store: &ObjectStore, number: u32) -> Result<GetStoreRequestFuture, idb::Error> {
    Ok(store.get(records::number_key(number.into()))?.into_future())
}

/// Decodes a block; `None` if the record is corrupt.
pub(super) fn read_block(value: &JsValue) -> Option<Block> {
    Block::decode(&records::from_js(value, MAX_BLOCK_LEN)?).ok()
}

#[cfg(test)]
mod tests;
