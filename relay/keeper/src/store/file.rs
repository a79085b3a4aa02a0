//! The store of one room: a database in one file. Its requests block, so they run on a thread of their own.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use core::fmt::Debug;

use disk_limit::DiskLimit;
use heartchain_chain::{
    block::Block,
    content::ReadingForm,
    hash::{BlockHash, RoomId},
    key::Author,
    reading::Reading,
};
use heartchain_peer::records;
use heartchain_sync::Batch;
use redb::{Builder, Database, ReadTransaction, ReadableDatabase as _, WriteTransaction};

use super::{
    bounded_file::{self, BoundedFile, Growth},
    error::{OpenError, StoreError},
    free_room,
    loading::{self, Restored, Start},
    retry_pause::RetryPause,
    schema::{AUTHOR, BLOCKS, HEIGHTS, META, ROOM, STORE_VERSION, VERSION},
    writing::{self, Tables},
};
use crate::atomic_file::sync_folder_of;

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
    growth: Arc<Growth>,
    /// How long nothing is written after failures.
    write_pause: RetryPause,
    /// How long the database stays closed after it could not be opened.
    open_pause: RetryPause,
    /// How often the database was opened. After an error it is repaired then, which reads all of it.
    openings: Arc<AtomicU64>,
    /// Each [`BlockSnapshot`] has a clone.
    snapshots: Arc<()>,
}

/// All blocks as they were at one moment.
pub(crate) struct BlockSnapshot {
    read: ReadTransaction,
    form: ReadingForm,
    _counted: Arc<()>,
}

impl Store {
    /// Opens the store at `path`, and creates it if it does not exist. The caller holds the room's lock. The file does not grow
    /// beyond what the other stores of its folder leave of `limit`.
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
            create(path, room, author, limit)?;
        }
        let mut builder = builder();
        // A start reads every block anyway, and a damaged page that is found later is an error in the middle of the work.
        builder.set_check_integrity_on_open(true);
        let growth = Arc::default();
        let opened = unwinding(|| open_file(&builder, path, limit, &growth));
        let database = opened.map_err(|error| OpenError::database(path, error))?;
        check_meta(&database, path, room, author)?;
        Ok(Self {
            path: path.to_owned(),
            form,
            limit,
            database: Some(database),
            growth,
            write_pause: RetryPause::default(),
            open_pause: RetryPause::default(),
            openings: Arc::new(AtomicU64::new(1)),
            snapshots: Arc::default(),
        })
    }

    /// How often the database was opened. It stays open unless the disk fails, or it takes what the limit leaves.
    #[must_use]
    pub fn openings(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.openings)
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

    /// The database, opened again if an error closed it.
    fn database(&mut self) -> Result<&Database, StoreError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => {
                self.open_pause.check(Instant::now())?;
                self.openings.fetch_add(1, Ordering::Relaxed);
                let opened =
                    unwinding(|| open_file(&builder(), &self.path, self.limit, &self.growth));
                let opened = opened.map_err(StoreError::from);
                match &opened {
                    Ok(_) => self.open_pause.succeeded(),
                    Err(error) => self.open_pause.failed(error, Instant::now()),
                }
                opened?
            }
        };
        Ok(self.database.insert(database))
    }

    /// Runs a request. After an error the database is closed, and the next request opens it again.
    fn request<T>(
        &mut self,
        request: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let database = self.database()?;
        let result = unwinding(|| request(database));
        if result.is_err() {
            // A panic may have left it open.
            self.growth.end();
            self.database = None;
        }
        result.map_err(StoreError::from)
    }

    /// Writes all batches, unless the file would have to grow beyond the limit.
    fn write_within_limit(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        let growth = Arc::clone(&self.growth);
        let refused = self.request(|database| {
            let mut write = database.begin_write()?;
            // Peers choose much of what is written: no choice of theirs may make half a commit look whole.
            write.set_two_phase_commit(true);
            growth.begin();
            let applied = apply(&write, batches, &growth);
            if growth.is_refused() {
                let aborted = write.abort();
                let refused = growth.end();
                return match (aborted, refused) {
                    (Ok(()), refused) => Ok(refused),
                    // The database is closed, and the reason is still the limit.
                    (Err(_), Some(refused)) => Err(redb::Error::Io(refused)),
                    (Err(error), None) => Err(error.into()),
                };
            }
            growth.end();
            applied?;
            write.commit()?;
            Ok(None)
        });
        match refused? {
            None => Ok(()),
            Some(refused) => Err(redb::Error::Io(refused).into()),
        }
    }

    /// Closes the database if it has something of the limit left, which it takes when it is opened again. Returns whether it is closed.
    /// An export that reads it must end first.
    fn close_for_rest(&mut self) -> bool {
        let is_read = Arc::strong_count(&self.snapshots) > 1;
        let has_rest = !is_read
            && self.database.is_some()
            && bounded_file::has_rest(&self.path, self.limit).is_ok_and(|has_rest| has_rest);
        if has_rest {
            self.database = None;
        }
        has_rest
    }

    /// On a disk that is or was full, nothing is written to the database before something else could be: a write that fails closes
    /// it, and it is repaired then.
    fn check_room(&self, batches: &[Batch]) -> Result<(), StoreError> {
        let file_len = fs::metadata(&self.path).map_or(u64::MAX, |file| file.len());
        let bytes = writing::needed_room(batches, file_len);
        let is_doubtful =
            self.write_pause.is_after_full_disk() || free_room::is_short(&self.path, bytes);
        if is_doubtful && !free_room::has_room(&self.path, bytes).map_err(StoreError::Io)? {
            return Err(StoreError::Full);
        }
        Ok(())
    }
}

impl Storage for Store {
    fn write(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        self.write_pause.check(Instant::now())?;
        self.check_room(batches)?;
        let mut result = self.write_within_limit(batches);
        if matches!(result, Err(StoreError::LimitReached(_))) && self.close_for_rest() {
            result = self.write_within_limit(batches);
        }
        match &result {
            Ok(()) => self.write_pause.succeeded(),
            // Each such error costs a repair.
            Err(error) if self.database.is_none() => {
                self.write_pause.failed(error, Instant::now());
            }
            // The database was not asked to grow.
            Err(_) => {}
        }
        result
    }

    fn bodies(&mut self, hashes: &[BlockHash]) -> Result<Bodies, StoreError> {
        let form = self.form;
        self.request(|database| {
            let snapshot = BlockSnapshot {
                read: database.begin_read()?,
                form,
                _counted: Arc::default(),
            };
            let blocks = hashes.iter().map(|hash| snapshot.read(hash));
            blocks
                .map(|block| Ok(block?.map(|block| block.readings)))
                .collect()
        })
    }

    fn snapshot(&mut self) -> Result<BlockSnapshot, StoreError> {
        let form = self.form;
        let counted = Arc::clone(&self.snapshots);
        self.request(|database| {
            Ok(BlockSnapshot {
                read: database.begin_read()?,
                form,
                _counted: counted,
            })
        })
    }
}

/// Applies batches, up to the first change for which the file would have to grow beyond the limit.
fn apply(write: &WriteTransaction, batches: &[Batch], growth: &Growth) -> Result<(), redb::Error> {
    let mut tables = Tables::open(write)?;
    for operation in batches.iter().flat_map(|batch| &batch.operations) {
        tables.apply(operation)?;
        if growth.is_refused() {
            return Ok(());
        }
    }
    match writing::keep_size(batches) {
        true => Ok(()),
        false => tables.check_spare_pages(|| growth.is_refused()),
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

fn open_file(
    builder: &Builder,
    path: &Path,
    limit: DiskLimit,
    growth: &Arc<Growth>,
) -> Result<Database, redb::Error> {
    let file = BoundedFile::open(path, limit, Arc::clone(growth))?;
    Ok(builder.create_with_backend(file)?)
}

/// Creates an empty store under another name first: a file at `path` is always complete.
fn create(path: &Path, room: RoomId, author: Author, limit: DiskLimit) -> Result<(), OpenError> {
    let draft = path.with_extension("draft");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(OpenError::io("remove", &draft)(error));
        }
        _ => {}
    }
    let written = unwinding(|| {
        let file = BoundedFile::create(&draft, limit)?;
        let database = builder().create_with_backend(file)?;
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

#[cfg(test)]
mod tests;
