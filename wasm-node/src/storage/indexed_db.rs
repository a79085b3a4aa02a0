//! The open database of the store on disk, and what is known of its contents: where each block is, and what is missing.
//! Holds no bodies. `disk_store` executes the requests.

use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    rc::Rc,
};

use heartchain_chain::{
    block::{Block, MAX_BLOCK_LEN},
    content::ReadingForm,
    hash::BlockHash,
    room::Room,
};
use heartchain_sync::config::MAX_MISSING_BODIES;
use idb::Transaction;
use wasm_bindgen::JsValue;
use web_sys::IdbDatabase;

use super::{
    close_signal::ClosedBy,
    database,
    health::{Health, Reason},
    mirror::{self, Mirror},
    records,
    room_use::RoomUse,
    schema::{self, ACCESS, Connection, FIRST_KEY, META},
    segments::{MAX_SEGMENT_BLOCKS, Segments},
    store::StoreError,
};
use crate::room_access::RoomAccess;

/// Single block records that are read at a time when a tab starts: at most 8 MiB.
pub(crate) const LOADED_BLOCKS: u32 = 64;
/// Segments that are checked at a time while the tab is running: at most 3 MiB.
pub(crate) const CHECKED_SEGMENTS: usize = 4;

/// A store in an IndexedDB database.
#[derive(Debug)]
pub struct IndexedDb {
    pub(super) connection: Connection,
    name: String,
    pub(super) health: Rc<Health>,
    pub(super) room: Room,
    /// The heights of the blocks that have a record of their own.
    pub(super) rows: HashMap<BlockHash, u64>,
    pub(super) segments: Segments,
    /// Blocks whose bodies were reported as missing and are not stored again yet.
    pub(super) missing: HashSet<BlockHash>,
    /// Checking pauses while more bodies than this are missing, because the machine would not fetch more again.
    pub(super) max_missing: usize,
    /// A second copy of the data that peers cannot restore.
    pub(super) mirror: Rc<Mirror>,
    /// Tells the list of rooms what is stored here.
    pub(super) usage: Rc<RoomUse>,
    /// The first key, once it is known.
    pub(super) first_key: Cell<Option<[u8; 32]>>,
    /// What the database contained when it was last read or written.
    pub(super) last_inventory: Cell<Inventory>,
    /// `last_inventory` counts the journal entries below this position.
    pub(super) journal_end: Cell<u64>,
}

/// What a database contained when it was last read or written, to detect a loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Inventory {
    /// The number of journal entries.
    pub(super) journal: u32,
    /// Whether there was a best tip.
    pub(super) tip: bool,
}

impl IndexedDb {
    /// Opens or creates a database. Its contents are not known before `load`.
    pub(super) async fn open(name: &str, room: &Room, health: Rc<Health>) -> Result<Self, Reason> {
        let connection = database::open(name, schema::MIGRATIONS).await?;
        if connection.rebuilt {
            health.note_repaired(1);
        }
        Ok(Self {
            connection,
            name: name.to_owned(),
            health,
            room: room.clone(),
            rows: HashMap::new(),
            segments: Segments::default(),
            missing: HashSet::new(),
            max_missing: MAX_MISSING_BODIES - CHECKED_SEGMENTS * MAX_SEGMENT_BLOCKS,
            mirror: Mirror::open(name),
            usage: RoomUse::new(None, room.id(), 0),
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
    pub async fn open_empty(name: &str, room: &Room) -> Self {
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
}

impl IndexedDb {
    /// Keeps a copy of what opens the room, so that the list of rooms can be found again.
    ///
    /// # Errors
    /// If the browser reports an error.
    pub(super) async fn keep_access(&self) -> Result<(), StoreError> {
        let Some(access) = RoomAccess::of(&self.room) else {
            return Ok(());
        };
        if self.read_record(META, ACCESS.into()).await?.is_some() {
            return Ok(());
        }
        let write = self.write_transaction(&[META], false)?;
        let record = records::checksummed_record(ACCESS, &access.encode());
        write
            .object_store(META)?
            .put(&record, Some(&ACCESS.into()))?;
        schema::commit(write).await
    }
}

/// Decodes a block of a room whose readings have this form; `None` if the record is corrupt.
pub(super) fn read_block(form: ReadingForm, value: &JsValue) -> Option<Block> {
    Block::decode(form, &records::from_js(value, MAX_BLOCK_LEN)?).ok()
}
