//! Stores at their limit or on a full disk: the database stays open, is not repaired, and serves what it has.

use std::{io, path::Path, sync::Mutex};

use heartchain_chain::{hash::ReadingId, key::Author, room::Room};
use heartchain_sync::{StoreOperation, config::MAX_READINGS_PER_ADOPT, io::WriteId};
use heartchain_test_support::{Branch, key, named_room, reading, room};
use redb::{ReadableTableMetadata as _, StorageBackend};

use super::*;
use crate::store::{Answer, Job, Queue, schema::ADOPTED};

#[cfg(target_os = "linux")]
#[path = "../../../tests/support/small_disk.rs"]
mod small_disk;

/// Readings of a test's block: it fills four pages.
const READINGS: usize = 140;
/// A limit that a test reaches soon, and that is more than a few pages.
const LIMIT: u64 = 24 * 1_024 * 1_024;

fn author() -> Author {
    key(1).author()
}

fn open_in(folder: &Path, room: &Room, limit: u64) -> Result<Store, OpenError> {
    let path = folder.join(format!("{}.redb", room.id()));
    let limit = DiskLimit::new(limit);
    Store::open(&path, room.id(), author(), room.form(), limit)
}

fn store(folder: &Path, limit: u64) -> Store {
    open_in(folder, &room(), limit).expect("it opens")
}

fn openings(store: &Store) -> u64 {
    store.openings().load(Ordering::Relaxed)
}

/// Makes batches, each with a block. A store does not validate them.
struct Batches {
    block: Block,
    made: u64,
}

impl Batches {
    fn new() -> Self {
        let mut block = Branch::of(1, 1).blocks.remove(0);
        block.readings = vec![reading(1, 0); READINGS];
        Self { block, made: 0 }
    }

    fn hash(number: u64) -> BlockHash {
        let mut hash = [7; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        BlockHash::new(hash)
    }

    fn make(&mut self) -> Batch {
        self.made += 1;
        self.block.header.index = self.made;
        batch(StoreOperation::PutBlock(
            Self::hash(self.made),
            self.block.clone(),
        ))
    }

    /// Writes blocks until the store refuses one. Returns how many it has.
    fn fill(&mut self, store: &mut Store) -> u64 {
        let mut written = 0;
        loop {
            match store.write(&[self.make()]) {
                Ok(()) => written += 1,
                Err(error) => {
                    assert!(matches!(error, StoreError::LimitReached(_)), "{error}");
                    return written;
                }
            }
        }
    }
}

fn batch(operation: StoreOperation) -> Batch {
    Batch {
        operations: vec![operation],
        strict: false,
    }
}

fn file_len(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).expect("a folder");
    let files = files.map(|file| file.expect("a file"));
    let stores = files.filter(|file| {
        file.path()
            .extension()
            .is_some_and(|ending| ending == "redb")
    });
    stores
        .map(|file| file.metadata().expect("a length").len())
        .sum()
}

fn has(store: &mut Store, number: u64) -> bool {
    let bodies = store.bodies(&[Batches::hash(number)]).expect("it reads");
    bodies.iter().flatten().any(|body| body.len() == READINGS)
}

#[test]
fn store_uses_its_limit_without_a_repair() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = store(folder.path(), LIMIT);
    let mut batches = Batches::new();
    let written = batches.fill(&mut store);
    // One more opening takes what is less than a whole step of the database.
    assert!(openings(&store) <= 2, "{} openings", openings(&store));
    let page = 4_096;
    assert_eq!(file_len(folder.path()), LIMIT + page);
    let bytes = written * batches.block.encode().len() as u64;
    assert!(bytes > LIMIT * 8 / 10, "{bytes} bytes of {LIMIT}");

    let before = openings(&store);
    let snapshot = store.snapshot().expect("a view");
    for _ in 0..500 {
        let error = store.write(&[batches.make()]).expect_err("no room");
        assert!(matches!(error, StoreError::LimitReached(_)), "{error}");
        assert!(has(&mut store, written / 2));
    }
    for number in 1..=written {
        let block = snapshot.block(&Batches::hash(number)).expect("it reads");
        assert!(block.is_some(), "{number}");
    }
    assert_eq!(openings(&store), before, "the database stayed open");
    assert_eq!(file_len(folder.path()), LIMIT + page);
}

/// A database that can keep only few pages in memory writes the others before the commit.
#[test]
fn refused_transaction_never_passes_the_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(store(folder.path(), LIMIT));
    let path = folder.path().join(format!("{}.redb", room().id()));
    let limit = file_len(folder.path()) + 64 * 1_024;
    let growth = Arc::<Growth>::default();
    let file = BoundedFile::open(&path, DiskLimit::new(limit), Arc::clone(&growth));
    let mut builder = Database::builder();
    builder.set_cache_size(16 * 1_024);
    let database = builder.create_with_backend(file.expect("it opens"));
    let database = database.expect("a database");
    let mut batches = Batches::new();
    for attempt in 0..3 {
        let write = database.begin_write().expect("it begins");
        growth.begin();
        let mut tables = Tables::open(&write).expect("tables");
        let mut changes = 0;
        // The store itself ends at the first refusal.
        while !growth.is_refused() || changes < 8 {
            let batch = batches.make();
            for operation in &batch.operations {
                tables.apply(operation).expect("applied");
            }
            changes += usize::from(growth.is_refused());
            let len = file_len(folder.path());
            assert!(len <= limit + 4_096, "{len} bytes, attempt {attempt}");
        }
        assert!(growth.held_len() > 0, "it wrote beyond the end");
        drop(tables);
        write.abort().expect("given up");
        growth.end().expect("why");
        let len = file_len(folder.path());
        assert!(len <= limit + 4_096, "{len} bytes, attempt {attempt}");
    }
    // The database goes on.
    let write = database.begin_write().expect("it begins");
    let mut tables = Tables::open(&write).expect("tables");
    tables.put_meta("spare", &[1]).expect("written");
    drop(tables);
    write.commit().expect("committed");
    drop(database);
    let mut again = store(folder.path(), limit);
    let tip = StoreOperation::PutTip(Batches::hash(1));
    again.write(&[batch(tip)]).expect("it takes no room");
    assert_eq!(openings(&again), 1);
}

/// Takes the file of a store away, and closes its database as an error does. Returns where it is.
fn take_away(folder: &Path, store: &mut Store) -> std::path::PathBuf {
    let away = folder.join("away");
    fs::rename(&store.path, &away).expect("renamed");
    store.database = None;
    away
}

#[test]
fn store_that_fails_is_left_alone_for_a_while() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = store(folder.path(), LIMIT);
    let mut batches = Batches::new();
    store.write(&[batches.make()]).expect("room");
    let away = take_away(folder.path(), &mut store);
    for (attempt, expected) in [(1, 2), (2, 3), (3, 3), (4, 3)] {
        let error = store.write(&[batches.make()]).expect_err("no file");
        assert!(matches!(error, StoreError::Io(_)), "{error}");
        assert_eq!(openings(&store), expected, "attempt {attempt}");
    }
    fs::rename(&away, &store.path).expect("renamed");
    // The file is there again, but neither pause is over.
    store.open_pause.succeeded();
    store.write(&[batches.make()]).expect_err("it waits");
    assert_eq!(openings(&store), 3);
    store.write_pause.succeeded();
    store.write(&[batches.make()]).expect("it works again");
    assert_eq!(openings(&store), 4);
    assert!(has(&mut store, 1));

    // After a success, the next failure is a first one.
    take_away(folder.path(), &mut store);
    for expected in [5, 6, 6] {
        store.write(&[batches.make()]).expect_err("no file");
        assert_eq!(openings(&store), expected);
    }
}

#[test]
fn write_failure_after_a_success_is_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = store(folder.path(), LIMIT);
    let mut batches = Batches::new();
    for _ in 0..3 {
        store.write(&[batches.make()]).expect("room");
        let before = openings(&store);
        let away = take_away(folder.path(), &mut store);
        store.write(&[batches.make()]).expect_err("no file");
        fs::rename(&away, &store.path).expect("renamed");
        store.write(&[batches.make()]).expect("no pause");
        assert_eq!(openings(&store) - before, 2);
    }
}

/// Pages that a commit writes must reach the file: only a transaction that is given up may keep them in memory.
#[test]
fn refused_growth_is_an_error_after_each_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = store(folder.path(), LIMIT / 4);
    let mut batches = Batches::new();
    loop {
        let written = store.write(&[batches.make()]);
        assert!(store.growth.is_firm());
        if let Err(error) = written {
            assert!(matches!(error, StoreError::LimitReached(_)), "{error}");
            break;
        }
    }
}

/// What a database asked of its file, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// To write the page with the roots of all trees.
    Head,
    /// To write another page.
    Page,
    Sync,
}

/// The file of a database that is watched.
#[derive(Debug)]
struct Watched {
    file: BoundedFile,
    /// Whether it cannot become shorter, as on a disk that fails.
    is_stuck: bool,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Watched {
    /// Watches the file of this store from now on.
    fn of(store: &mut Store, is_stuck: bool) -> Arc<Mutex<Vec<Asked>>> {
        store.database = None;
        let asked = Arc::default();
        let file = BoundedFile::open(&store.path, store.limit, Arc::clone(&store.growth));
        let watched = Self {
            file: file.expect("it opens"),
            is_stuck,
            asked: Arc::clone(&asked),
        };
        let database = builder().create_with_backend(watched);
        store.database = Some(database.expect("a database"));
        asked.lock().expect("no panic").clear();
        asked
    }

    fn note(&self, asked: Asked) {
        self.asked.lock().expect("no panic").push(asked);
    }
}

impl StorageBackend for Watched {
    fn len(&self) -> Result<u64, io::Error> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        match self.is_stuck && len < self.file.len()? {
            true => Err(io::Error::other("a disk that fails")),
            false => self.file.set_len(len),
        }
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.note(Asked::Sync);
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.note(if offset == 0 {
            Asked::Head
        } else {
            Asked::Page
        });
        self.file.write(offset, data)
    }
}

#[test]
fn refusal_is_told_also_if_giving_up_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = store(folder.path(), LIMIT / 4);
    let mut batches = Batches::new();
    batches.fill(&mut store);
    Watched::of(&mut store, true);
    let error = store.write(&[batches.make()]).expect_err("no room");
    assert!(matches!(error, StoreError::LimitReached(_)), "{error}");
    assert!(store.database.is_none(), "the database failed");
    assert!(store.growth.is_firm());
    // It is opened again, and goes on.
    assert!(has(&mut store, 1));
    let error = store.write(&[batches.make()]).expect_err("no room");
    assert!(matches!(error, StoreError::LimitReached(_)), "{error}");
    assert!(store.database.is_some());
}

/// The roots of a transaction count only once all its pages are on the disk: not even a page whose checksum someone forged is
/// taken for one that was written.
#[test]
fn roots_are_written_after_the_pages_are_synced() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = store(folder.path(), LIMIT);
    let mut batches = Batches::new();
    store.write(&[batches.make()]).expect("room");
    let asked = Watched::of(&mut store, false);
    for _ in 0..5 {
        asked.lock().expect("no panic").clear();
        store.write(&[batches.make()]).expect("room");
        let asked = asked.lock().expect("no panic");
        let last = |what| asked.iter().rposition(|one| *one == what);
        let (head, page) = (last(Asked::Head), last(Asked::Page));
        let (head, page) = (head.expect("roots"), page.expect("pages"));
        let between = asked.get(page..head).expect("roots come last");
        assert!(between.contains(&Asked::Sync), "{asked:?}");
        assert_eq!(asked.last(), Some(&Asked::Sync));
    }
}

#[test]
fn open_store_cannot_be_opened_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = store(folder.path(), LIMIT);
    let error = open_in(folder.path(), &room(), LIMIT).expect_err("in use");
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    first.write(&[Batches::new().make()]).expect("it goes on");
    drop(first);
    assert!(has(&mut store(folder.path(), LIMIT), 1));
}

#[test]
fn reads_wait_for_a_store_that_does_not_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = store(folder.path(), LIMIT);
    store.write(&[Batches::new().make()]).expect("room");
    // A failure between successes is always the first.
    for _ in 0..3 {
        let before = openings(&store);
        let away = take_away(folder.path(), &mut store);
        store.bodies(&[Batches::hash(1)]).expect_err("no file");
        fs::rename(&away, &store.path).expect("renamed");
        assert!(has(&mut store, 1));
        assert_eq!(openings(&store) - before, 2);
    }
    let before = openings(&store);
    let away = take_away(folder.path(), &mut store);
    for expected in [1, 2, 2, 2] {
        store.bodies(&[Batches::hash(1)]).expect_err("no file");
        assert_eq!(openings(&store) - before, expected);
    }
    fs::rename(&away, &store.path).expect("renamed");
    assert!(store.snapshot().is_err(), "it waits");
}

#[test]
fn deleted_blocks_make_room_at_the_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = store(folder.path(), LIMIT / 4);
    let mut batches = Batches::new();
    let written = batches.fill(&mut store);
    let before = openings(&store);
    for round in 0..5 {
        for number in 0..10 {
            let hash = Batches::hash(1 + round * 10 + number);
            let deleted = store.write(&[batch(StoreOperation::DeleteBlock(hash))]);
            deleted.expect("deletions are not refused");
        }
        let tip = StoreOperation::PutTip(Batches::hash(written));
        store.write(&[batch(tip)]).expect("it takes no room");
        let more = batches.fill(&mut store);
        assert!(more >= 5, "{more} blocks in place of ten");
    }
    assert_eq!(openings(&store), before, "the database stayed open");
}

#[test]
fn stores_of_a_folder_end_at_one_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let rooms = [named_room("a"), named_room("b"), named_room("c")];
    let mut stores = rooms
        .each_ref()
        .map(|room| open_in(folder.path(), room, LIMIT).expect("it opens"));
    let mut written = [0; 3];
    let mut batches = Batches::new();
    // They grow side by side.
    for _ in 0..50 {
        for (store, written) in stores.iter_mut().zip(&mut written) {
            store.write(&[batches.make()]).expect("room for all");
            *written += 1;
        }
    }
    for (store, written) in stores.iter_mut().zip(&mut written) {
        *written += batches.fill(store);
    }
    let heads = 3 * 4_096;
    let total = file_len(folder.path());
    assert!(total <= LIMIT + heads, "{total} bytes");
    let blocks: u64 = written.iter().sum();
    let bytes = blocks * batches.block.encode().len() as u64;
    assert!(bytes > LIMIT / 2, "{bytes} bytes of {LIMIT}");
    for (store, room) in stores.into_iter().zip(&rooms) {
        assert!(openings(&store) <= 4, "{} openings", openings(&store));
        drop(store);
        let mut again = open_in(folder.path(), room, LIMIT).expect("it opens");
        assert!(again.snapshot().is_ok());
    }
    let error = open_in(folder.path(), &named_room("d"), LIMIT / 2).expect_err("no room");
    assert!(matches!(error, OpenError::LimitReached { .. }), "{error}");
    assert!(error.to_string().contains("--max-disk"), "{error}");
    assert!(file_len(folder.path()) <= LIMIT + heads);
}

#[test]
fn store_at_its_limit_opens_after_a_crash() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut full = store(folder.path(), LIMIT / 4);
    let written = Batches::new().fill(&mut full);
    // What a kill leaves: the file as it is while the database is open.
    let crashed = tempfile::tempdir().expect("a folder");
    let name = format!("{}.redb", room().id());
    fs::copy(folder.path().join(&name), crashed.path().join(&name)).expect("copied");
    drop(full);
    for folder in [folder.path(), crashed.path()] {
        for _ in 0..3 {
            let mut again = store(folder, LIMIT / 4);
            assert!(has(&mut again, 1) && has(&mut again, written));
            Batches::new().fill(&mut again);
        }
        assert!(file_len(folder) <= LIMIT / 4 + 4_096);
    }
}

#[tokio::test]
async fn queue_at_the_limit_costs_no_repair() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = store(folder.path(), LIMIT / 4);
    let mut batches = Batches::new();
    batches.fill(&mut store);
    let openings = store.openings();
    let before = openings.load(Ordering::Relaxed);
    let mut queue = Queue::new(Box::new(store));
    let mut refused = 0;
    // A machine writes what was refused again, in several parts.
    for round in 0..20 {
        for number in 0..17 {
            let id = WriteId(round * 17 + number);
            queue.push(Job::Write(id, batches.make()));
        }
        while !queue.is_idle() {
            let answer = queue.next().await.expect("a store");
            refused += usize::from(matches!(answer, Answer::WriteFailed(..)));
        }
    }
    assert_eq!(refused, 20 * 17);
    assert_eq!(openings.load(Ordering::Relaxed), before);
}

#[cfg(target_os = "linux")]
#[test]
fn full_disk_is_noticed_before_the_database_fails() {
    let Some(disk) = small_disk::SmallDisk::mount(8 * 1_024 * 1_024) else {
        println!("left out: a small disk can be mounted by root only");
        return;
    };
    let mut store = store(disk.path(), LIMIT);
    let mut batches = Batches::new();
    let mut written = 0;
    for round in 0..3 {
        store.write(&[batches.make()]).expect("room");
        written = batches.made;
        disk.fill();
        for _ in 0..20 {
            let error = store.write(&[batches.make()]).expect_err("no room");
            assert!(matches!(error, StoreError::Full), "{round}: {error}");
            assert!(has(&mut store, written));
        }
        disk.empty();
    }
    // It becomes full while the store writes, without anyone else.
    while let Ok(()) = store.write(&[batches.make()]) {
        written = batches.made;
    }
    assert!(has(&mut store, 1) && has(&mut store, written));
    assert_eq!(openings(&store), 1, "the database stayed open");
}

/// What was said to be needed was more than this, for some hundred KiB of readings.
#[cfg(target_os = "linux")]
#[test]
fn import_that_fits_on_the_disk_is_taken() {
    let Some(disk) = small_disk::SmallDisk::mount(30_000_000) else {
        println!("left out: a small disk can be mounted by root only");
        return;
    };
    let mut store = store(disk.path(), DiskLimit::DEFAULT.bytes());
    let mut made: u64 = 0;
    let mut import = || {
        let of_file = (0..MAX_READINGS_PER_ADOPT).map(|_| {
            made += 1;
            let mut id = [7; 32];
            // Such IDs are far from each other, as hashes are.
            id[..8].copy_from_slice(&made.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            StoreOperation::PutAdopted(ReadingId::new(id), reading(1, 0))
        });
        let operations = of_file.collect();
        [Batch {
            operations,
            strict: false,
        }]
    };
    store.write(&import()).expect("it fits");
    let mut imports = 1;
    while let Ok(()) = store.write(&import()) {
        imports += 1;
    }
    // What did not fit was refused before the database could fail.
    assert!(imports > 15, "{imports} imports");
    assert_eq!(openings(&store), 1, "the database stayed open");
    let read = store.database().expect("it is open").begin_read();
    let adopted = read.expect("a view").open_table(ADOPTED).expect("a table");
    let expected = imports * MAX_READINGS_PER_ADOPT as u64;
    assert_eq!(adopted.len().expect("a length"), expected);
}
