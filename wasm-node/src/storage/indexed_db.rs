//! A store on disk, by the browser's IndexedDB. Blocks are records of their own while they are young; the settled ones, and
//! those that come in a stretch, are packed (see `shelves`), and checked only after the tab was opened (see `checking`). A batch is one transaction; what must
//! not be lost is on the disk before it is answered.
//!
//! Whenever the browser dies, or its computer does: a batch is on disk as a whole or not at all, and no later one without
//! the earlier ones. So is a packing, which puts a shelf with its summary and deletes the records of its blocks: a block is in
//! one place or in the other, and a summary always speaks of the shelf beside it. A stretch that is packed as it comes goes into
//! its batch's transaction. Each change of a shelf writes both. A
//! check that was cut short is done again from the start: what it found is on disk, or is found again. A body that is
//! fetched again is a record of its own, and in the same transaction its shelf and summary forget it. What the disk itself
//! loses of that is found by checksums, digests and hashes at the next start.
//!
//! It never holds a body in memory; per block it remembers where it is.

use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    future::IntoFuture,
    rc::Rc,
};

use async_trait::async_trait;
use chain::{
    block::{Block, MAX_BLOCK_LEN},
    hash::{BlockHash, RoomId},
    reading::Reading,
};
use futures::future::{try_join, try_join_all};
use idb::{ObjectStore, Transaction, request::futures::GetStoreRequestFuture};
use litemap::LiteMap;
use sync::{Batch, StoreOperation, config::MAX_LOST};
use wasm_bindgen::JsValue;
use web_sys::IdbDatabase;

use super::{
    Check, ClosedBy, Closing, Health, Mirror, Reason, Reopened, Storage, StoreError, mirror,
    records,
    reopening::Noted,
    schema::{
        self, ADOPTED, BLOCKS, Connection, JOURNAL, KEYS, META, RESCUE, SHELVES, STORES, SUMMARIES,
    },
    shelves::{Shelf, Shelves, is_whole},
    summary::Summary,
};
use crate::config::{CHECKED_SHELVES, MAX_SHELF_BLOCKS, RESERVED_FOR_OWN, RESERVED_FOR_PROTECTED};

/// Under these the first key is kept: one copy is as good as the other.
pub(super) const FIRST_KEY: [&str; 2] = ["key", "key again"];

/// Under this the best tip is kept.
pub(super) const TIP: &str = "tip";

/// Under this the newest block of the confirmed part of the best branch is kept.
pub(super) const CONFIRMED: &str = "confirmed";

/// Blocks, keys and the journal, on disk.
#[derive(Debug)]
pub struct IndexedDb {
    pub(super) connection: Connection,
    name: String,
    health: Rc<Health>,
    pub(super) room: RoomId,
    /// Blocks with a record of their own, and their heights.
    pub(super) rows: HashMap<BlockHash, u64>,
    pub(super) shelves: Shelves,
    /// Blocks that were told to be lost, and are not here again.
    pub(super) lost: HashSet<BlockHash>,
    /// While there are more than so many, nothing more is looked at: more than the machine would fetch again.
    pub(super) max_lost: usize,
    /// A copy of what no peer could give back.
    pub(super) mirror: Rc<Mirror>,
    /// The first key, once it is known.
    pub(super) first_key: Cell<Option<[u8; 32]>>,
    /// What the database had when it was last written.
    pub(super) noted: Cell<Noted>,
    /// Below this position the journal's entries are counted in `noted`.
    pub(super) journal_end: Cell<u64>,
}

/// What a batch changes of where blocks are, once it is written.
#[derive(Debug, Default)]
struct Moves {
    rows: HashMap<BlockHash, Option<u64>>,
    /// Blocks that go to a shelf at once: by which height it is found.
    shelved: HashMap<BlockHash, u32>,
    /// Shelves that have nothing left.
    emptied: Vec<u32>,
}

impl IndexedDb {
    /// Opens a database, or makes it. What it holds is not known before `load`.
    pub(super) async fn open(name: &str, room: RoomId, health: Rc<Health>) -> Result<Self, Reason> {
        let connection = schema::open(name, schema::STEPS).await?;
        if connection.rebuilt {
            health.note_healed(1);
        }
        Ok(Self {
            connection,
            name: name.to_owned(),
            health,
            room,
            rows: HashMap::new(),
            shelves: Shelves::default(),
            lost: HashSet::new(),
            max_lost: MAX_LOST - CHECKED_SHELVES * MAX_SHELF_BLOCKS,
            mirror: Mirror::open(name),
            first_key: Cell::default(),
            noted: Cell::default(),
            journal_end: Cell::default(),
        })
    }

    /// An empty store, for tests: whatever has this name is deleted.
    ///
    /// # Panics
    /// If the browser has no database to give.
    #[doc(hidden)]
    pub async fn anew(name: &str, room: RoomId) -> Self {
        let factory = idb::Factory::new().expect("a browser has databases");
        let deleting = factory.delete(name).expect("it may be deleted");
        deleting.await.expect("it can be deleted");
        mirror::forget(name);
        let opened = Self::open(name, room, Health::new(Ok(0))).await;
        opened.expect("it can be opened")
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// A transaction that reads.
    pub(super) fn reading(&self, stores: &[&str]) -> Result<Transaction, StoreError> {
        self.noting(schema::reading(self.open_database()?, stores))
    }

    /// A transaction that writes: strictly, if the disk must have it before it is done.
    pub(super) fn writing(&self, stores: &[&str], strict: bool) -> Result<Transaction, StoreError> {
        self.noting(schema::writing(self.open_database()?, stores, strict))
    }

    fn open_database(&self) -> Result<&IdbDatabase, StoreError> {
        match self.connection.closing.closed() {
            None => Ok(&self.connection.database),
            Some(ClosedBy::Browser) => Err(StoreError::Closed),
            Some(ClosedBy::NewerVersion) => Err(StoreError::NewerVersion),
        }
    }

    /// Notes that the database is closed, where no event has told of it.
    fn noting(&self, opened: Result<Transaction, StoreError>) -> Result<Transaction, StoreError> {
        if matches!(opened, Err(StoreError::Closed)) {
            self.connection.closing.note(ClosedBy::Browser);
        }
        opened
    }

    /// Keeps the first key, strictly.
    pub(super) async fn put_first_key(&self, seed: &[u8; 32]) -> Result<(), StoreError> {
        let write = self.writing(&[META], true)?;
        let store = write.object_store(META)?;
        for place in FIRST_KEY {
            store.put(&records::seed(place, seed), Some(&place.into()))?;
        }
        schema::committed(write).await?;
        self.first_key.set(Some(*seed));
        self.mirror.keep_first_key(seed);
        Ok(())
    }

    /// Notes what was written of what must not be lost, and keeps the copy of it.
    fn note_own(&self, operations: &[StoreOperation]) {
        let mut entries = Vec::new();
        let mut noted = self.noted.get();
        for operation in operations {
            match operation {
                StoreOperation::PutJournal(position, entry) => {
                    entries.push((*position, *entry));
                    // One that stands below the end fills a gap, or is written again.
                    if *position >= self.journal_end.get() {
                        noted.journal = noted.journal.saturating_add(1);
                        self.journal_end.set(position.saturating_add(1));
                    }
                }
                StoreOperation::PutKey(seed, from) => self.mirror.keep_key(*from, seed),
                StoreOperation::PutTip(_) => noted.tip = true,
                StoreOperation::PutBlock(..)
                | StoreOperation::DeleteBlock(_)
                | StoreOperation::PutConfirmed(_)
                | StoreOperation::PutRescue(_)
                | StoreOperation::DeleteRescue(_)
                | StoreOperation::PutAdopted(..)
                | StoreOperation::DeleteAdopted(_) => {}
            }
        }
        self.noted.set(noted);
        self.mirror.keep_entries(&entries);
    }

    /// Takes blocks off their shelves that are deleted, or put again because they were damaged. One shelf is in memory at a
    /// time: what was lost all over the disk may come again in one batch. Returns shelves that have none left.
    async fn unshelve(&self, write: &Transaction, batch: &Batch) -> Result<Vec<u32>, idb::Error> {
        let mut moved: LiteMap<u32, Vec<&BlockHash>> = LiteMap::new();
        for operation in &batch.operations {
            let (StoreOperation::PutBlock(hash, _) | StoreOperation::DeleteBlock(hash)) = operation
            else {
                continue;
            };
            if let Some(first) = self.shelves.shelf_of(hash) {
                moved.entry(first).or_default().push(hash);
            }
        }
        let mut emptied = Vec::new();
        for (first, hashes) in moved {
            let shelf = get(&write.object_store(SHELVES)?, first)?;
            let summary = get(&write.object_store(SUMMARIES)?, first)?;
            let (shelf, summary) = try_join(shelf, summary).await?;
            let mut shelf = Shelf::read(self.room, first, shelf.as_ref(), summary.as_ref());
            for hash in hashes {
                shelf.remove(hash);
            }
            shelf.put(write, first)?;
            if shelf.known().is_empty() {
                emptied.push(first);
            }
        }
        Ok(emptied)
    }

    fn perform(
        &self,
        write: &Transaction,
        operation: &StoreOperation,
        moves: &mut Moves,
    ) -> Result<(), idb::Error> {
        match operation {
            StoreOperation::PutBlock(hash, _) if moves.shelved.contains_key(hash) => {}
            StoreOperation::PutBlock(hash, block) => {
                let index = block.header.index;
                let key = records::block_key(index, hash);
                let store = write.object_store(BLOCKS)?;
                store.put(&records::to_js(&block.encode()), Some(&key))?;
                moves.rows.insert(*hash, Some(index));
            }
            StoreOperation::DeleteBlock(hash) => {
                let index = moves
                    .rows
                    .get(hash)
                    .copied()
                    .unwrap_or_else(|| self.rows.get(hash).copied());
                if let Some(index) = index {
                    let store = write.object_store(BLOCKS)?;
                    store.delete(records::block_key(index, hash))?;
                }
                moves.rows.insert(*hash, None);
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
                let record = records::seed(&key_place(*from), seed);
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
            StoreOperation::PutRescue(hash) => {
                let store = write.object_store(RESCUE)?;
                store.put(&JsValue::TRUE, Some(&records::hash_key(hash)))?;
            }
            StoreOperation::DeleteRescue(hash) => {
                let store = write.object_store(RESCUE)?;
                store.delete(records::hash_key(hash))?;
            }
        }
        Ok(())
    }

    /// Puts all of it into the transaction.
    async fn perform_all(
        &self,
        write: &Transaction,
        batch: &Batch,
        new_shelves: &LiteMap<u32, Shelf>,
    ) -> Result<Moves, idb::Error> {
        let mut moves = Moves {
            emptied: self.unshelve(write, batch).await?,
            ..Moves::default()
        };
        for (first, shelf) in new_shelves {
            let hashes = shelf.known().iter().map(|block| block.hash);
            moves.shelved.extend(hashes.map(|hash| (hash, *first)));
        }
        for operation in &batch.operations {
            self.perform(write, operation, &mut moves)?;
        }
        for (first, shelf) in new_shelves {
            shelf.put(write, *first)?;
        }
        Ok(moves)
    }

    /// Why these bytes of blocks are not written: they would take the room that is kept for what is worth more. One's own
    /// readings come first, then blocks that are protected, then the others.
    fn refusal(&self, batch: &Batch, len: usize) -> Option<StoreError> {
        if len == 0 || batch.strict {
            return None;
        }
        let protects =
            |operation: &StoreOperation| matches!(operation, StoreOperation::PutRescue(_));
        let reserve = match batch.operations.iter().any(protects) {
            true => RESERVED_FOR_OWN,
            false => RESERVED_FOR_OWN + RESERVED_FOR_PROTECTED,
        };
        let left = self.health.tight(len, reserve)?;
        Some(StoreError::Reserved { left })
    }
}

/// What a later key's checksum says of its place.
pub(super) fn key_place(from: u64) -> String {
    format!("key from {from}")
}

#[async_trait(?Send)]
impl Storage for IndexedDb {
    async fn write(&mut self, batch: Batch) -> Result<(), StoreError> {
        if self.health.failing() {
            self.health.look(true).await;
        }
        let len = blocks_len(&batch);
        if let Some(full) = self.refusal(&batch, len) {
            self.health.note_refused(true);
            return Err(full);
        }
        if batch.operations.is_empty() {
            return Ok(());
        }
        let new_shelves = self.stretches(&batch);
        let write = self.writing(&STORES, batch.strict)?;
        let moves = self.perform_all(&write, &batch, &new_shelves).await;
        let moves = schema::all_or_nothing(write, moves).await?;
        self.note_own(&batch.operations);
        if len > 0 {
            self.health.note_written(len);
            self.health.note_refused(false);
        }
        for first in moves.emptied {
            self.shelves.note_gone(first);
        }
        self.health.note_unchecked(self.shelves.unchecked_blocks());
        for (hash, index) in moves.rows {
            self.shelves.forget(&hash);
            self.lost.remove(&hash);
            match index {
                Some(index) => {
                    self.shelves.note_height(index);
                    self.rows.insert(hash, index)
                }
                None => self.rows.remove(&hash),
            };
        }
        for (first, shelf) in &new_shelves {
            for block in shelf.known() {
                self.shelves.note(&block.hash, *first, block.header.index);
            }
        }
        Ok(())
    }

    async fn bodies(&self, hashes: &[BlockHash]) -> Result<Vec<Option<Vec<Reading>>>, StoreError> {
        let mut bodies: Vec<Option<Vec<Reading>>> = vec![None; hashes.len()];
        if hashes.is_empty() {
            return Ok(bodies);
        }
        let read = self.reading(&[BLOCKS, SHELVES, SUMMARIES])?;
        let (blocks, shelves) = (read.object_store(BLOCKS)?, read.object_store(SHELVES)?);
        let mut rows = Vec::new();
        let mut by_shelf: LiteMap<u32, Vec<(BlockHash, usize)>> = LiteMap::new();
        for (at, hash) in hashes.iter().enumerate() {
            if let Some(index) = self.rows.get(hash) {
                rows.push((at, blocks.get(records::block_key(*index, hash))?));
            } else if let Some(first) = self.shelves.shelf_of(hash) {
                by_shelf.entry(first).or_default().push((*hash, at));
            }
        }
        let (places, rows): (Vec<usize>, Vec<_>) = rows.into_iter().unzip();
        let rows = try_join_all(rows.into_iter().map(IntoFuture::into_future)).await?;
        for (at, value) in places.into_iter().zip(rows) {
            if let Some(body) = bodies.get_mut(at) {
                *body = value
                    .and_then(|value| read_block(&value))
                    .map(|block| block.readings);
            }
        }
        // One after the other: whoever asks for a block of each must not have all of them in memory.
        for (first, wanted) in by_shelf {
            let Some(value) = get(&shelves, first)?.await? else {
                continue;
            };
            let checked = self.shelves.is_checked(first);
            let summary = match checked {
                true => None,
                false => get(&read.object_store(SUMMARIES)?, first)?.await?,
            };
            let summary = summary.and_then(|value| Summary::read(first, &value));
            for (hash, block) in Shelf::blocks_beside(summary.as_ref(), &value) {
                let mut places = wanted.iter().filter(|(other, _)| *other == hash).peekable();
                // What was not checked yet is looked at when it is asked for.
                if places.peek().is_none() || !(checked || is_whole(&block)) {
                    continue;
                }
                for (_, at) in places {
                    if let Some(body) = bodies.get_mut(*at) {
                        *body = Some(block.readings.clone());
                    }
                }
            }
        }
        Ok(bodies)
    }

    async fn check(&mut self) -> Check {
        self.check_some().await
    }

    async fn tidy(&mut self) -> bool {
        self.health.look(false).await;
        // What cannot be packed now is packed later, or stays as it is.
        self.pack().await.unwrap_or(false)
    }

    fn closing(&self) -> Option<Rc<Closing>> {
        Some(self.connection.closing.clone())
    }

    async fn reopen(&mut self) -> Result<Reopened, StoreError> {
        self.open_again().await
    }
}

/// Bytes of a batch's blocks.
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
            | StoreOperation::PutRescue(_)
            | StoreOperation::DeleteRescue(_)
            | StoreOperation::PutAdopted(..)
            | StoreOperation::DeleteAdopted(_) => None,
        });
    blocks.sum()
}

fn get(store: &ObjectStore, number: u32) -> Result<GetStoreRequestFuture, idb::Error> {
    Ok(store.get(records::number_key(number.into()))?.into_future())
}

/// A block, as far as its bytes are one.
pub(super) fn read_block(value: &JsValue) -> Option<Block> {
    Block::decode(&records::from_js(value, MAX_BLOCK_LEN)?).ok()
}

#[cfg(test)]
mod tests;
