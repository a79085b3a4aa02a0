//! What transactions really write, and that the estimate covers it without being far larger.

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use heartchain_chain::{
    block::{Block, MAX_BLOCK_READINGS},
    hash::{BlockHash, ReadingId},
    reading::MAX_READING_LEN,
};
use heartchain_peer::records::{CHECKSUM_LEN, MAX_ENTRY_LEN, MAX_PROFILE_RECORD_LEN, SEED_LEN};
use heartchain_sync::config::MAX_READINGS_PER_ADOPT;
use heartchain_test_support::{Branch, reading};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use redb::{Database, StorageBackend, backends::InMemoryBackend};

use super::*;

const MEBIBYTE: usize = 1_024 * 1_024;

/// A file in memory that knows which of its pages were written.
#[derive(Debug, Default)]
struct Counted {
    file: InMemoryBackend,
    len: Arc<AtomicU64>,
    pages: Arc<Mutex<BTreeSet<u64>>>,
}

impl StorageBackend for Counted {
    fn len(&self) -> Result<u64, io::Error> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.len.store(len, Ordering::Relaxed);
        self.file.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let page = PAGE_LEN as u64;
        let pages = offset / page..(offset + data.len() as u64).div_ceil(page);
        self.pages.lock().expect("no panic").extend(pages);
        self.file.write(offset, data)
    }
}

/// A database that knows what its transactions wrote.
struct Probe {
    database: Database,
    len: Arc<AtomicU64>,
    pages: Arc<Mutex<BTreeSet<u64>>>,
    random: ChaCha8Rng,
}

impl Probe {
    fn new() -> Self {
        let file = Counted::default();
        let (len, pages) = (Arc::clone(&file.len), Arc::clone(&file.pages));
        let mut builder = Database::builder();
        // Some pages are written before the commit.
        builder.set_cache_size(MEBIBYTE);
        let database = builder.create_with_backend(file);
        let mut probe = Self {
            database: database.expect("a database"),
            len,
            pages,
            random: ChaCha8Rng::seed_from_u64(7),
        };
        probe.write(&[]);
        probe
    }

    fn id(&mut self) -> [u8; 32] {
        let mut id = [0; 32];
        self.random.fill_bytes(&mut id);
        id
    }

    /// Writes these operations as one transaction, as a store does. Returns how many bytes of the file it wrote.
    fn write(&mut self, operations: &[StoreOperation]) -> usize {
        self.pages.lock().expect("no panic").clear();
        let mut write = self.database.begin_write().expect("it begins");
        write.set_two_phase_commit(true);
        let mut tables = Tables::open(&write).expect("tables");
        for operation in operations {
            tables.apply(operation).expect("applied");
        }
        tables.check_spare_pages(|| false).expect("pages");
        drop(tables);
        write.commit().expect("committed");
        self.pages.lock().expect("no panic").len() * PAGE_LEN
    }

    fn needed(&self, operations: &[StoreOperation]) -> usize {
        needed_room(&[batch(operations)], self.len.load(Ordering::Relaxed))
    }

    /// Writes these operations, and checks that they take no more than was said.
    fn check(&mut self, what: &str, operations: &[StoreOperation]) {
        let needed = self.needed(operations);
        let written = self.write(operations);
        let many = operations.len();
        assert!(
            written <= needed,
            "{many} {what}: {written} of {needed} bytes"
        );
    }

    fn adoptions(&mut self, readings: usize) -> Vec<StoreOperation> {
        let adopted = reading(1, 0);
        (0..readings)
            .map(|_| StoreOperation::PutAdopted(ReadingId::new(self.id()), adopted))
            .collect()
    }

    /// Blocks at these heights.
    fn blocks(
        &mut self,
        readings: usize,
        heights: impl Iterator<Item = u64>,
    ) -> Vec<StoreOperation> {
        let block = Branch::of(1, 1).blocks.remove(0);
        let of_height = |index| {
            let mut header = block.header;
            header.index = index;
            let readings = vec![block.readings[0]; readings];
            StoreOperation::PutBlock(BlockHash::new(self.id()), Block { header, readings })
        };
        heights.map(of_height).collect()
    }
}

fn batch(operations: &[StoreOperation]) -> Batch {
    Batch {
        operations: operations.to_vec(),
        strict: false,
    }
}

/// How to delete what these operations wrote.
fn deletions(operations: &[StoreOperation]) -> Vec<StoreOperation> {
    let deletions = operations.iter().map(|operation| {
        if let StoreOperation::PutAdopted(id, _) = operation {
            return StoreOperation::DeleteAdopted(*id);
        }
        let StoreOperation::PutBlock(hash, _) = operation else {
            panic!("{operation:?}");
        };
        StoreOperation::DeleteBlock(*hash)
    });
    deletions.collect()
}

#[test]
fn no_transaction_writes_more_than_was_said() {
    for before in [0, 20, 400, 8_000, 40_000] {
        let mut probe = Probe::new();
        for adopted in probe.adoptions(before).chunks(4_000) {
            probe.write(adopted);
        }
        for readings in [1, 2, 16, 150, 1_024] {
            let adopted = probe.adoptions(readings);
            let what = format!("adopted after {before}");
            probe.check(&what, &adopted);
            let deleted = deletions(&adopted);
            probe.check(&format!("deleted after {before}"), &deleted);
        }
    }
}

#[test]
fn no_block_writes_more_than_was_said() {
    for readings in [1, 7, 13, 30, 140, MAX_BLOCK_READINGS] {
        let mut probe = Probe::new();
        let mut height = 0;
        for blocks in [1, 3, 16, 64] {
            let heights = height + 1..=height + blocks;
            height += blocks;
            let new = probe.blocks(readings, heights.clone());
            probe.check(&format!("new blocks of {readings}"), &new);
            // Others at the same heights, of another size.
            let others = probe.blocks(MAX_BLOCK_READINGS / readings, heights);
            probe.check(&format!("other blocks than of {readings}"), &others);
            let every_second: Vec<_> = new.iter().step_by(2).cloned().collect();
            let deleted = deletions(&every_second);
            probe.check(&format!("deleted blocks of {readings}"), &deleted);
        }
    }
}

/// What was said before was 33.7 MB, so that an import ended on a disk with 30 MB of room.
#[test]
fn import_needs_little_more_room_than_it_takes() {
    let mut probe = Probe::new();
    let import = probe.adoptions(MAX_READINGS_PER_ADOPT);
    let needed = probe.needed(&import);
    assert!(needed < 4 * MEBIBYTE, "{needed} bytes in a new store");
    let written = probe.write(&import);
    assert!(needed < 8 * written, "{needed} for {written} bytes");
    let needed = needed_room(&[batch(&import)], u64::MAX);
    assert!(needed < 14 * MEBIBYTE, "{needed} bytes in a large store");
}

#[test]
fn small_change_needs_little_room() {
    let tip = StoreOperation::PutTip(BlockHash::new([1; 32]));
    let needed = needed_room(&[batch(&[tip])], u64::MAX);
    let expected = SPARE_PAGES + PAGES_PER_TABLE + 1;
    assert_eq!(needed, expected * PAGE_LEN);
    // An empty file has nothing to copy.
    assert_eq!(needed_room(&[], 0), SPARE_PAGES * PAGE_LEN);
    for deleted in [1, MAX_NEIGHBOURS, MAX_NEIGHBOURS + 1] {
        let operation = StoreOperation::DeleteBlock(BlockHash::new([1; 32]));
        let needed = needed_room(&[batch(&vec![operation; deleted])], u64::MAX);
        let neighbours = deleted.min(MAX_NEIGHBOURS) * NEIGHBOUR_PAGES;
        let records = (deleted * ROUNDING * MAX_RECORD_LEN).div_ceil(PAGE_LEN);
        let pages = neighbours + deleted * 2 * PAGES_PER_TABLE + records;
        assert_eq!(needed, (pages + spare_pages(pages)) * PAGE_LEN);
    }
}

#[test]
fn records_are_not_longer_than_was_said() {
    let key = 32;
    let adopted = MAX_READING_LEN + CHECKSUM_LEN;
    for record in [adopted, MAX_PROFILE_RECORD_LEN, MAX_ENTRY_LEN, SEED_LEN] {
        assert!(key + record <= MAX_RECORD_LEN, "{record} bytes");
    }
}
