//! The file of a database, which does not grow past a limit that it shares with the other stores of its folder.
//!
//! The database closes itself when its file cannot grow, and has to be repaired then. So while a transaction can be given up, the
//! file only notes a growth that is refused, and the transaction is given up: the database never learns of it. What it writes
//! beyond the end until then stays in memory. Later a refused growth is an error, as on a full disk.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, Error, ErrorKind},
    ops::Bound,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use disk_limit::{DiskLimit, GIBIBYTE, MEBIBYTE};
use redb::{BackendError, StorageBackend, backends::FileBackend};

use super::{error::is_full, limit_reached::LimitReached};
use crate::atomic_file::{Existing, open_private};

/// Bytes of a page. The first page of a database has no records, so it does not count.
const PAGE_LEN: u64 = 4 * 1024;
/// Bytes by which the database lets a file grow that has as many. A smaller one doubles.
const STEP: u64 = 4 * GIBIBYTE;
/// The least growth for which the database of one of several stores is opened again.
const MIN_REST: u64 = MEBIBYTE;
/// Bytes of pages beyond the end of the file that a transaction may write before it is given up: more than one change writes,
/// which is a block of 128 KiB in a page of 256 KiB, and the pages on the way to it in each table.
const MAX_HELD_LEN: usize = 1024 * 1024;
/// The file that is locked while a store grows, so that two of them do not take the same bytes.
const LOCK: &str = "growth.lock";

/// What a transaction and the file of its database tell each other.
#[derive(Debug, Default)]
pub(super) struct Growth(Mutex<Phase>);

#[derive(Debug, Default)]
enum Phase {
    /// A growth that is refused is an error.
    #[default]
    Firm,
    /// A transaction is prepared that can be given up.
    Tentative(Option<Refused>),
}

/// A growth that was refused, which the database takes for granted.
#[derive(Debug)]
struct Refused {
    len: u64,
    error: Error,
    held: HeldPages,
}

/// Pages beyond the end of the file, by their offset.
#[derive(Debug, Default)]
struct HeldPages {
    pages: BTreeMap<u64, Vec<u8>>,
    len: usize,
}

impl HeldPages {
    /// # Errors
    /// If there are more than [`MAX_HELD_LEN`] bytes.
    fn write(&mut self, offset: u64, page: &[u8]) -> Result<(), Error> {
        let before = self.pages.get(&offset).map_or(0, Vec::len);
        let len = self.len - before + page.len();
        if len > MAX_HELD_LEN {
            return Err(ErrorKind::StorageFull.into());
        }
        self.len = len;
        self.pages.insert(offset, page.to_vec());
        Ok(())
    }

    /// # Errors
    /// If no such page was written.
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let page = self.pages.get(&offset);
        let page = page.filter(|page| page.len() == out.len());
        out.copy_from_slice(page.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl Growth {
    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on a growth that is refused is noted.
    pub(super) fn begin(&self) {
        *self.phase() = Phase::Tentative(None);
    }

    /// Whether a growth was refused, so that the transaction must be given up.
    pub(super) fn is_refused(&self) -> bool {
        matches!(*self.phase(), Phase::Tentative(Some(_)))
    }

    /// From now on a growth that is refused is an error. Returns why one was refused before.
    pub(super) fn end(&self) -> Option<Error> {
        match core::mem::take(&mut *self.phase()) {
            Phase::Firm => None,
            Phase::Tentative(refused) => refused.map(|refused| refused.error),
        }
    }

    /// Notes that a growth is refused.
    fn refuse(&self, len: u64, error: Error) -> Result<(), Error> {
        match &mut *self.phase() {
            Phase::Firm => Err(error),
            Phase::Tentative(refused) => {
                let held = HeldPages::default();
                *refused = Some(Refused { len, error, held });
                Ok(())
            }
        }
    }

    /// After a refused growth, notes the length that the database believes its file to have now. Returns whether one was refused.
    fn note_len(&self, len: u64) -> bool {
        match &mut *self.phase() {
            Phase::Tentative(Some(refused)) => {
                refused.len = len;
                true
            }
            Phase::Tentative(None) | Phase::Firm => false,
        }
    }

    /// Does something with the pages beyond the end of the file; `None` if no growth was refused.
    fn with_held<T>(&self, function: impl FnOnce(&mut HeldPages) -> T) -> Option<T> {
        match &mut *self.phase() {
            Phase::Tentative(Some(refused)) => Some(function(&mut refused.held)),
            Phase::Tentative(None) | Phase::Firm => None,
        }
    }

    /// Whether a refused growth is an error now.
    #[cfg(test)]
    pub(super) fn is_firm(&self) -> bool {
        matches!(*self.phase(), Phase::Firm)
    }

    /// Bytes that are held in memory, because the file ends before them.
    #[cfg(test)]
    pub(super) fn held_len(&self) -> usize {
        self.with_held(|held| held.len).unwrap_or_default()
    }

    /// The length of the file as the database believes it to be, if it differs.
    fn refused_len(&self) -> Option<u64> {
        match &*self.phase() {
            Phase::Tentative(Some(refused)) => Some(refused.len),
            Phase::Tentative(None) | Phase::Firm => None,
        }
    }
}

/// The file of a database.
#[derive(Debug)]
pub(super) struct BoundedFile {
    file: FileBackend,
    path: PathBuf,
    limit: DiskLimit,
    growth: Arc<Growth>,
}

impl BoundedFile {
    /// Opens the file of a database that exists. If the next step of the database would pass the limit, the file takes what the
    /// limit leaves before: the database finds it larger when it is opened.
    ///
    /// # Errors
    /// If it cannot be opened, or is empty: a database would be made of it.
    pub(super) fn open(
        path: &Path,
        limit: DiskLimit,
        growth: Arc<Growth>,
    ) -> Result<Self, redb::Error> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        if file.metadata()?.len() == 0 {
            return Err(redb::Error::Corrupted("it is empty".to_owned()));
        }
        let file = Self::new(file, path, limit, growth)?;
        file.take_rest()?;
        Ok(file)
    }

    /// Creates an empty file that only this user may read.
    ///
    /// # Errors
    /// If it exists or cannot be created.
    pub(super) fn create(path: &Path, limit: DiskLimit) -> Result<Self, redb::Error> {
        let file = open_private(path, Existing::Refused)?;
        Self::new(file, path, limit, Arc::default())
    }

    fn new(
        file: File,
        path: &Path,
        limit: DiskLimit,
        growth: Arc<Growth>,
    ) -> Result<Self, redb::Error> {
        Ok(Self {
            file: FileBackend::new(file)?,
            path: path.to_owned(),
            limit,
            growth,
        })
    }

    fn take_rest(&self) -> Result<(), Error> {
        let _turn = lock_growth(&self.path)?;
        let now = self.file.len()?;
        match rest(counted(now), other_stores(&self.path)?, self.limit) {
            Some(rest) => self.file.set_len(now.saturating_add(rest)),
            None => Ok(()),
        }
    }

    /// Whether these bytes end beyond the end of the file, which a refused growth left where it was.
    fn is_held(&self, offset: u64, len: usize) -> Result<bool, Error> {
        let end = offset.saturating_add(len as u64);
        Ok(self.growth.is_refused() && end > self.file.len()?)
    }

    /// Lets the file grow, if the limit allows it.
    fn grow(&self, now: u64, len: u64) -> Result<(), Error> {
        let _turn = lock_growth(&self.path)?;
        let others = other_stores(&self.path)?;
        let needed = others.saturating_add(counted(len));
        if needed > self.limit.bytes() {
            let reached = LimitReached {
                limit: self.limit,
                used: others.saturating_add(counted(now)),
                needed,
            };
            return Err(Error::new(ErrorKind::StorageFull, reached));
        }
        self.file.set_len(len)
    }
}

/// Whether a store whose next step is refused can take what the limit leaves instead, once its database is opened again.
///
/// # Errors
/// If the files cannot be looked at.
pub(super) fn has_rest(path: &Path, limit: DiskLimit) -> Result<bool, Error> {
    let len = fs::metadata(path)?.len();
    Ok(rest(counted(len), other_stores(path)?, limit).is_some())
}

/// The bytes that a store of this size takes in place of a whole step, if a step would pass the limit. One of several stores
/// leaves half to the others. From [`STEP`] on, the database gives back what is less than a step.
fn rest(used: u64, others: u64, limit: DiskLimit) -> Option<u64> {
    let available = limit.bytes().saturating_sub(others);
    let unit = if available >= STEP { STEP } else { PAGE_LEN };
    let most = available - available % unit;
    if used >= STEP || used >= most || used.saturating_mul(2) <= most {
        return None;
    }
    let rest = most - used;
    if others == 0 {
        return Some(rest);
    }
    let half = rest / 2 - rest / 2 % PAGE_LEN;
    (half >= MIN_REST.max(used / 8)).then_some(half)
}

/// The bytes of a file that count.
const fn counted(len: u64) -> u64 {
    len.saturating_sub(PAGE_LEN)
}

/// The bytes that the other stores of the folder take, drafts of new ones included.
fn other_stores(path: &Path) -> Result<u64, Error> {
    let mut total: u64 = 0;
    for entry in fs::read_dir(folder_of(path))? {
        let entry = entry?;
        let other = entry.path();
        let extension = other.extension().and_then(OsStr::to_str);
        if !matches!(extension, Some("redb" | "draft")) || other.file_name() == path.file_name() {
            continue;
        }
        match entry.metadata() {
            Ok(metadata) => total = total.saturating_add(counted(metadata.len())),
            // A draft got its name meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(total)
}

/// Waits until no other store of the folder grows. The lock ends when the file is closed.
fn lock_growth(path: &Path) -> io::Result<File> {
    let file = open_private(&folder_of(path).join(LOCK), Existing::Kept)?;
    file.lock()?;
    Ok(file)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

impl StorageBackend for BoundedFile {
    fn len(&self) -> Result<u64, Error> {
        match self.growth.refused_len() {
            Some(len) => Ok(len),
            None => self.file.len(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        if self.is_held(offset, out.len())?
            && let Some(read) = self.growth.with_held(|held| held.read(offset, out))
        {
            return read;
        }
        self.file.read(offset, out)
    }

    /// A file that was larger before the limit was set may stay so, and shrink. After a refused growth it grows no more, also if there
    /// is room meanwhile: the pages beyond its end are in memory.
    fn set_len(&self, len: u64) -> Result<(), Error> {
        let now = self.file.len()?;
        let is_refused = self.growth.note_len(len);
        if len <= now {
            return self.file.set_len(len);
        }
        if is_refused {
            return Ok(());
        }
        match self.grow(now, len) {
            Err(error) if is_full(&error) => self.growth.refuse(len, error),
            grown => grown,
        }
    }

    fn sync_data(&self) -> Result<(), Error> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        if self.is_held(offset, data.len())?
            && let Some(written) = self.growth.with_held(|held| held.write(offset, data))
        {
            return written;
        }
        self.file.write(offset, data)
    }

    fn close(&self) -> Result<(), Error> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1_024;

    fn open(path: &Path, limit: u64) -> BoundedFile {
        BoundedFile::open(path, DiskLimit::new(limit), Arc::default()).expect("it opens")
    }

    #[test]
    fn file_ends_at_its_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.redb");
        fs::write(&path, [1; 100 * 1_024]).expect("written");
        let file = open(&path, 300 * KIB);
        file.set_len(304 * KIB).expect("the first page is free");
        let error = file.set_len(304 * KIB + 1).expect_err("past the limit");
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert_eq!(file.len().expect("its length"), 304 * KIB);
        // A lower limit takes nothing away.
        let file = open(&path, 20 * KIB);
        file.set_len(304 * KIB).expect("as long as before");
        file.set_len(200 * KIB).expect("shorter");
        file.set_len(200 * KIB + 1).expect_err("longer");
    }

    #[cfg(unix)]
    #[test]
    fn data_is_synced_to_the_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.redb");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.expect("mkfifo runs").success());
        // The system refuses to sync a pipe, so a call that succeeds did not reach it.
        let pipe = OpenOptions::new().read(true).write(true).open(&path);
        let limit = DiskLimit::DEFAULT;
        let file = BoundedFile::new(pipe.expect("it opens"), &path, limit, Arc::default());
        let file = file.expect("a file");
        file.sync_data().expect_err("it is asked to sync");
    }

    #[test]
    fn stores_of_a_folder_share_the_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        let paths = ["a.redb", "b.redb"].map(|name| folder.path().join(name));
        for path in &paths {
            fs::write(path, [1; 100 * 1_024]).expect("written");
        }
        fs::write(folder.path().join("c.json"), [1; 300 * 1_024]).expect("written");
        let [first, second] = paths.each_ref().map(|path| open(path, 400 * KIB));
        first.set_len(254 * KIB).expect("250 and 96 KiB count");
        second.set_len(154 * KIB).expect("250 and 150 KiB count");
        let error = second.set_len(155 * KIB).expect_err("one more");
        let reached: &LimitReached = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref())
            .expect("what is used");
        assert_eq!((reached.used, reached.needed), (400 * KIB, 401 * KIB));
        first.set_len(204 * KIB).expect("shorter");
        second.set_len(204 * KIB).expect("what the other gave back");
    }

    #[test]
    fn drafts_and_other_stores_count_and_no_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = folder.path().join("a.redb");
        for name in [
            "a.redb", "b.redb", "c.draft", "a.room", "a.key", "d.json", "redb",
        ] {
            fs::write(folder.path().join(name), [1; 20 * 1_024]).expect("written");
        }
        assert_eq!(other_stores(&own).expect("counted"), 2 * 16 * KIB);
        // A page is counted for none of them.
        fs::write(folder.path().join("b.redb"), []).expect("emptied");
        assert_eq!(other_stores(&own).expect("counted"), 16 * KIB);
    }

    #[test]
    fn growth_waits_for_that_of_another_store() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.redb");
        fs::write(&path, [1; 100 * 1_024]).expect("written");
        let file = open(&path, 300 * KIB);
        let turn = lock_growth(&path).expect("locked");
        std::thread::scope(|scope| {
            let grown = scope.spawn(|| file.set_len(200 * KIB));
            std::thread::sleep(std::time::Duration::from_millis(100));
            let len = fs::metadata(&path).expect("a file").len();
            assert_eq!(len, 100 * KIB, "it is not its turn");
            drop(turn);
            grown.join().expect("no panic").expect("it grows");
        });
        assert_eq!(file.len().expect("a length"), 200 * KIB);
    }

    #[test]
    fn refused_growth_is_noted_while_it_can_be_undone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.redb");
        fs::write(&path, [1; 100 * 1_024]).expect("written");
        let growth = Arc::<Growth>::default();
        let limit = DiskLimit::new(100 * KIB);
        let file = BoundedFile::open(&path, limit, Arc::clone(&growth)).expect("it opens");
        let len = || fs::metadata(&path).expect("a file").len();
        let before = len();
        growth.begin();
        file.set_len(200 * KIB).expect("noted");
        assert!(growth.is_refused());
        assert_eq!((file.len().expect("a length"), len()), (200 * KIB, before));
        file.set_len(before).expect("undone");
        let error = growth.end().expect("refused");
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert_eq!(file.len().expect("a length"), before);
        assert!(!growth.is_refused());
        file.set_len(200 * KIB).expect_err("an error again");
    }

    #[test]
    fn pages_beyond_a_refused_growth_stay_in_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.redb");
        let old = 100 * 1_024;
        fs::write(&path, vec![1; old]).expect("written");
        let growth = Arc::<Growth>::default();
        let limit = DiskLimit::new(100 * KIB);
        let file = BoundedFile::open(&path, limit, Arc::clone(&growth)).expect("it opens");
        let before = fs::metadata(&path).expect("a file").len();
        growth.begin();
        file.set_len(400 * KIB).expect("noted");
        // One page is beyond the end, one crosses it, and one is within.
        let page = |byte| [byte; 8 * 1_024];
        let crossing = before - 4 * KIB;
        for (offset, byte) in [(200 * KIB, 2), (crossing, 3), (0, 4)] {
            file.write(offset, &page(byte)).expect("taken");
            let mut found = page(0);
            file.read(offset, &mut found).expect("it reads");
            assert_eq!(found, page(byte), "{offset}");
        }
        assert_eq!(growth.held_len(), 16 * 1_024);
        let on_disk = fs::read(&path).expect("a file");
        assert_eq!(on_disk.len() as u64, before);
        assert!(on_disk[..8 * 1_024].iter().all(|byte| *byte == 4));
        assert!(on_disk[8 * 1_024..old].iter().all(|byte| *byte == 1));
        file.read(300 * KIB, &mut page(0)).expect_err("not written");
        growth.end();
        assert_eq!(growth.held_len(), 0);
        file.read(200 * KIB, &mut page(0)).expect_err("forgotten");
    }

    /// Meanwhile another store may have given room back.
    #[test]
    fn file_grows_no_more_after_a_refusal() {
        let folder = tempfile::tempdir().expect("a folder");
        let paths = ["a.redb", "b.redb"].map(|name| folder.path().join(name));
        for path in &paths {
            fs::write(path, [1; 104 * 1_024]).expect("written");
        }
        let growth = Arc::<Growth>::default();
        let limit = DiskLimit::new(200 * KIB);
        let file = BoundedFile::open(&paths[0], limit, Arc::clone(&growth)).expect("it opens");
        growth.begin();
        file.set_len(144 * KIB).expect("noted");
        let page = [7; 4 * 1_024];
        file.write(120 * KIB, &page).expect("taken");
        fs::write(&paths[1], []).expect("emptied");
        for len in [160 * KIB, 140 * KIB] {
            file.set_len(len).expect("noted");
            assert_eq!(file.len().expect("a length"), len);
            let on_disk = fs::metadata(&paths[0]).expect("a file").len();
            assert_eq!(on_disk, 104 * KIB, "it would have to grow to {len}");
            let mut found = [0; 4 * 1_024];
            file.read(120 * KIB, &mut found).expect("it reads");
            assert_eq!(found, page);
        }
        file.set_len(100 * KIB).expect("shorter");
        assert_eq!(file.len().expect("a length"), 100 * KIB);
        growth.end().expect("why");
        assert_eq!(file.len().expect("a length"), 100 * KIB);
        file.set_len(160 * KIB).expect("the next transaction may");
    }

    #[test]
    fn pages_in_memory_have_a_limit() {
        let page = vec![7; 4 * 1_024];
        let mut held = HeldPages::default();
        let pages = MAX_HELD_LEN / page.len();
        for number in 0..pages as u64 {
            held.write(number * PAGE_LEN, &page)
                .expect("within the limit");
        }
        held.write(0, &page).expect("in place of another one");
        let error = held
            .write(MAX_HELD_LEN as u64, &page)
            .expect_err("one more");
        assert!(is_full(&error), "{error}");
        assert_eq!(held.len, MAX_HELD_LEN);
    }

    #[test]
    fn rest_ends_exactly_at_the_limit() {
        let limit = |bytes| DiskLimit::new(bytes);
        let mib = MEBIBYTE;
        for (used, others, bytes, expected) in [
            // The next step fits, exactly or not.
            (256 * mib, 0, 512 * mib, None),
            (200 * mib, 0, 512 * mib, None),
            (300 * mib, 0, 512 * mib, Some(212 * mib)),
            (512 * mib, 0, 512 * mib, None),
            (600 * mib, 0, 512 * mib, None),
            (3 * GIBIBYTE, 0, 5 * GIBIBYTE, Some(GIBIBYTE)),
            (3 * GIBIBYTE, 0, 8 * GIBIBYTE, None),
            (4 * GIBIBYTE, 0, 6 * GIBIBYTE, None),
            // Others have a part, and get a part of the rest.
            (300 * mib, 100 * mib, 500 * mib, Some(50 * mib)),
            (300 * mib, 180 * mib, 500 * mib, None),
            (300 * mib, 500 * mib, 500 * mib, None),
        ] {
            assert_eq!(rest(used, others, limit(bytes)), expected, "{used} {bytes}");
        }
        assert_eq!(rest(6_000, 0, limit(11_000)), Some(8_192 - 6_000));
    }
}
