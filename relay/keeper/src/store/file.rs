//! The store of one room: a database in one file. Its requests block, so they run on a thread of their own.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use core::fmt::Debug;

use heartchain_chain::{
    block::Block,
    content::ReadingForm,
    hash::{BlockHash, RoomId},
    key::Author,
    reading::Reading,
};
use heartchain_peer::records;
use heartchain_sync::Batch;
use redb::{Builder, Database, ReadTransaction, ReadableDatabase as _};

use super::{
    bounded_file::{BoundedFile, DiskLimit},
    error::{OpenError, StoreError},
    loading::{self, Restored, Start},
    schema::{AUTHOR, BLOCKS, HEIGHTS, META, ROOM, STORE_VERSION, VERSION},
    writing::Tables,
};
use crate::atomic_file::{private, sync_folder_of};

/// Bytes of the database that stay in memory. Every body is read once at the start and seldom again, so more would only
/// take memory from other rooms.
const CACHE_LEN: usize = 4 * 1024 * 1024;

/// Bodies in the requested order; `None` for each that the store does not have.
pub(crate) type Bodies = Vec<Option<Vec<Reading>>>;

/// A store of blocks, and of the records that a restart needs.
pub(crate) trait Storage: Send + Debug {
    /// Writes all batches in their order, or nothing. The data is on the disk when this returns.
    ///
    /// # Errors
    /// If the write failed. Then nothing was written.
    fn write(&mut self, batches: &[Batch]) -> Result<(), StoreError>;

    /// The bodies of these blocks. Sees every earlier write.
    ///
    /// # Errors
    /// If the read failed.
    fn bodies(&mut self, hashes: &[BlockHash]) -> Result<Bodies, StoreError>;

    /// A view of the blocks that no later write changes.
    ///
    /// # Errors
    /// If the database fails.
    fn snapshot(&mut self) -> Result<BlockSnapshot, StoreError>;
}

/// The store of a room in a file.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    form: ReadingForm,
    limit: DiskLimit,
    /// `None` after an error: the database refuses everything until it is opened again.
    database: Option<Database>,
}

/// All blocks as they were at one moment.
pub(crate) struct BlockSnapshot {
    read: ReadTransaction,
    form: ReadingForm,
}

impl Store {
    /// Opens the store at `path`, and creates it if it does not exist. The caller holds the room's lock. Beyond `limit` the file
    /// does not grow.
    ///
    /// # Errors
    /// If the file is damaged, of a newer version, of another room or author, or cannot be opened.
    pub fn open(
        path: &Path,
        room: RoomId,
        author: Author,
        form: ReadingForm,
        limit: DiskLimit,
    ) -> Result<Self, OpenError> {
        let exists = path.try_exists().map_err(OpenError::io("open", path))?;
        if !exists {
            create(path, room, author)?;
        }
        let mut builder = builder();
        // A start reads every block anyway, and a damaged page that is found later is an error in the middle of the work.
        builder.set_check_integrity_on_open(true);
        let opened = unwinding(|| open_file(&builder, path, limit));
        let database = opened.map_err(|error| OpenError::database(path, error))?;
        check_meta(&database, path, room, author)?;
        Ok(Self {
            path: path.to_owned(),
            form,
            limit,
            database: Some(database),
        })
    }

    /// Restores the machine as it was when the store was closed.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn restore<P: Copy + Ord + Debug>(&self, start: Start) -> Result<Restored<P>, OpenError> {
        let Some(database) = &self.database else {
            return Err(OpenError::Damaged {
                path: self.path.clone(),
                reason: "it was closed".to_owned(),
            });
        };
        let restored = unwinding(|| {
            let read = database.begin_read()?;
            loading::restore(&read, start)
        });
        restored.map_err(|error| OpenError::database(&self.path, error))
    }

    fn database(&mut self) -> Result<&Database, redb::Error> {
        let database = match self.database.take() {
            Some(database) => database,
            None => open_file(&builder(), &self.path, self.limit)?,
        };
        Ok(self.database.insert(database))
    }

    /// Runs a request. After an error the database is closed, and the next request opens it again.
    fn request<T>(
        &mut self,
        request: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let result = unwinding(|| request(self.database()?));
        if result.is_err() {
            self.database = None;
        }
        result.map_err(StoreError::from)
    }
}

impl Storage for Store {
    fn write(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        self.request(|database| {
            let mut write = database.begin_write()?;
            // Peers choose much of what is written: no choice of theirs may make half a commit look whole.
            write.set_two_phase_commit(true);
            let mut tables = Tables::open(&write)?;
            for batch in batches {
                tables.apply(batch)?;
            }
            drop(tables);
            Ok(write.commit()?)
        })
    }

    fn bodies(&mut self, hashes: &[BlockHash]) -> Result<Bodies, StoreError> {
        let form = self.form;
        self.request(|database| {
            let read = database.begin_read()?;
            let snapshot = BlockSnapshot { read, form };
            let blocks = hashes.iter().map(|hash| snapshot.read(hash));
            blocks
                .map(|block| Ok(block?.map(|block| block.readings)))
                .collect()
        })
    }

    fn snapshot(&mut self) -> Result<BlockSnapshot, StoreError> {
        let form = self.form;
        self.request(|database| {
            let read = database.begin_read()?;
            Ok(BlockSnapshot { read, form })
        })
    }
}

impl BlockSnapshot {
    /// A block; `None` if the store does not have it, or it cannot be decoded.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) fn block(&self, hash: &BlockHash) -> Result<Option<Block>, StoreError> {
        unwinding(|| self.read(hash)).map_err(StoreError::from)
    }

    fn read(&self, hash: &BlockHash) -> Result<Option<Block>, redb::Error> {
        let heights = self.read.open_table(HEIGHTS)?;
        let Some(index) = heights.get(hash.as_bytes())? else {
            return Ok(None);
        };
        let blocks = self.read.open_table(BLOCKS)?;
        let block = blocks.get(&records::block_key(index.value(), hash))?;
        Ok(block.and_then(|block| Block::decode(self.form, block.value()).ok()))
    }
}

impl Debug for BlockSnapshot {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("BlockSnapshot").finish_non_exhaustive()
    }
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_LEN);
    builder
}

fn open_file(builder: &Builder, path: &Path, limit: DiskLimit) -> Result<Database, redb::Error> {
    let file = BoundedFile::open(path, limit)?;
    Ok(builder.create_with_backend(file)?)
}

/// Creates an empty store under another name first: a file at `path` is always complete.
fn create(path: &Path, room: RoomId, author: Author) -> Result<(), OpenError> {
    let draft = path.with_extension("draft");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(OpenError::io("remove", &draft)(error));
        }
        _ => {}
    }
    let file = private().write(true).create_new(true).open(&draft);
    drop(file.map_err(OpenError::io("create", &draft))?);
    let written = unwinding(|| {
        let database = builder().create(&draft)?;
        let write = database.begin_write()?;
        let mut tables = Tables::open(&write)?;
        tables.put_meta(VERSION, &STORE_VERSION.to_le_bytes())?;
        tables.put_meta(ROOM, room.as_bytes())?;
        tables.put_meta(AUTHOR, author.as_bytes())?;
        drop(tables);
        write.commit()?;
        Ok(database.close()?)
    });
    let placed = written
        .map_err(|error| OpenError::database(&draft, error))
        .and_then(|()| fs::rename(&draft, path).map_err(OpenError::io("create", path)));
    if placed.is_err() {
        // What is left is removed by the next start.
        let _ = fs::remove_file(&draft);
    }
    placed?;
    sync_folder_of(path).map_err(OpenError::io("write to the folder of", path))
}

/// Checks that the store is of a version, a room and an author that are known.
fn check_meta(
    database: &Database,
    path: &Path,
    room: RoomId,
    author: Author,
) -> Result<(), OpenError> {
    let found = unwinding(|| {
        let meta = database.begin_read()?.open_table(META)?;
        let value = |name| -> Result<_, redb::Error> {
            let value = meta.get(name)?;
            Ok(value.map(|value| value.value().to_vec()))
        };
        Ok([value(VERSION)?, value(ROOM)?, value(AUTHOR)?])
    });
    let [version, its_room, its_author] =
        found.map_err(|error| OpenError::database(path, error))?;
    let damaged = |what: &str| OpenError::Damaged {
        path: path.to_owned(),
        reason: format!("it has no {what}"),
    };
    let version = version.and_then(|bytes| bytes.try_into().ok());
    let version = u64::from_le_bytes(version.ok_or_else(|| damaged("version"))?);
    if version > STORE_VERSION {
        return Err(OpenError::NewerVersion {
            path: path.to_owned(),
            found: version,
        });
    }
    if its_room.as_deref() != Some(room.as_bytes()) {
        return Err(OpenError::OtherRoom {
            path: path.to_owned(),
        });
    }
    let its_author = its_author.and_then(|bytes| bytes.try_into().ok());
    let its_author = Author::new(its_author.ok_or_else(|| damaged("author"))?);
    if its_author != author {
        return Err(OpenError::OtherAuthor {
            path: path.to_owned(),
            expected: its_author,
            found: author,
        });
    }
    Ok(())
}

/// Reports a panic of the database as damage: it trusts what it reads from a file that passed its checks.
fn unwinding<T>(request: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    catch_unwind(AssertUnwindSafe(request)).unwrap_or_else(|_| {
        Err(redb::Error::Corrupted(
            "the database met what it cannot have written".to_owned(),
        ))
    })
}
