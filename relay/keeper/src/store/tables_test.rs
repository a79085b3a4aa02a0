//! What operations of the machine leave in the tables, and what a restart makes of it: the same as with a disk that is a map.

use std::path::Path;

use heartchain_chain::{
    block::Block,
    bpm::Bpm,
    hash::{BlockHash, ReadingId},
    profile::ProfileName,
    time::UnixMillis,
};
use heartchain_peer::records;
use heartchain_sync::{Batch, Input, Machine, StoreOperation, io::JournalEntry};
use heartchain_test_support::{
    self as test_support, Branch, Disk, START, key, now_at, reading, room,
};
use redb::{
    Database, Key, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableHandle as _,
    Value,
};

use super::{
    file::{Storage as _, Store},
    loading::Start,
    schema::{ADOPTED, BLOCKS, CONFIRMED, HEIGHTS, JOURNAL, KEYS, META, PROFILES, RECOVERY, TIP},
};
use crate::store::DiskLimit;

/// Blocks of the best branch: with as many, a height does not fit into a byte.
const HEIGHT: u64 = 300;
/// The author of the first key.
const OWN: u64 = 7;

fn open(path: &Path) -> Store {
    let (room, author) = (room(), key(OWN).author());
    Store::open(path, room.id(), author, room.form(), DiskLimit::DEFAULT).expect("it opens")
}

/// The rows of a table, in its order.
fn rows<K: Key + 'static, V: Value + 'static, T>(
    database: &Database,
    table: TableDefinition<'_, K, V>,
    row: impl for<'a> Fn(K::SelfType<'a>, V::SelfType<'a>) -> T,
) -> Vec<T> {
    let name = table.name().to_owned();
    let table = database.begin_read().expect("a view").open_table(table);
    let table = table.expect(&name);
    let found = table.iter().expect("rows").map(|found| {
        let (key, value) = found.expect("a row");
        row(key.value(), value.value())
    });
    found.collect()
}

/// Compares all tables with the maps of a disk.
fn assert_same(path: &Path, disk: &Disk) {
    let form = room().form();
    let database = Database::open(path).expect("a database");
    let mut blocks: Vec<(u64, BlockHash, Block)> = disk
        .blocks
        .iter()
        .map(|(hash, block)| (block.header.index, *hash, block.clone()))
        .collect();
    blocks.sort_by_key(|(index, hash, _)| (*index, *hash));
    let found = rows(&database, BLOCKS, |key, value| {
        let (index, hash) = records::parse_block_key(key);
        (index, hash, Block::decode(form, value).expect("a block"))
    });
    assert!(found == blocks, "{} blocks", found.len());
    let mut heights: Vec<_> = blocks
        .iter()
        .map(|(index, hash, _)| (*hash, *index))
        .collect();
    heights.sort_unstable();
    let found = rows(&database, HEIGHTS, |hash, index| {
        (BlockHash::new(*hash), index)
    });
    assert_eq!(found, heights);
    let found = rows(&database, JOURNAL, |at, value| {
        (at, records::read_entry(at, value).expect("an entry"))
    });
    assert_eq!(found, Vec::from_iter(disk.journal.clone()));
    let found = rows(&database, KEYS, |from, value| {
        let location = records::key_location(from);
        (from, records::read_seed(&location, value).expect("a seed"))
    });
    assert_eq!(found, Vec::from_iter(disk.keys.clone()));
    let found = rows(&database, RECOVERY, |hash, ()| BlockHash::new(*hash));
    assert_eq!(found, Vec::from_iter(disk.recovery.clone()));
    let found = rows(&database, ADOPTED, |id, value| {
        let reading = records::read_adopted(form, value).expect("a reading");
        (ReadingId::new(*id), reading)
    });
    assert_eq!(found, Vec::from_iter(disk.adopted.clone()));
    let found = rows(&database, PROFILES, |author, value| {
        records::read_profile(form, author, value).expect("a profile")
    });
    assert_eq!(found, Vec::from_iter(disk.profiles.values().cloned()));
    let meta = rows(&database, META, |name, value| {
        (name.to_owned(), value.to_vec())
    });
    for (name, expected) in [(TIP, disk.tip), (CONFIRMED, disk.confirmed)] {
        let found = meta.iter().find(|(of, _)| of == name);
        let expected = expected.map(|hash| hash.as_bytes().to_vec());
        assert_eq!(found.map(|(_, value)| value.clone()), expected, "{name}");
    }
}

fn entry(number: u64) -> JournalEntry {
    JournalEntry {
        time: UnixMillis::new(START + number),
        bpm: Bpm::MIN,
        replaces: None,
        prefix: None,
    }
}

/// Operations that fill all tables.
fn operations(branch: &Branch, side: &Branch) -> Vec<StoreOperation> {
    let blocks = branch.with_hashes().chain(side.with_hashes());
    let mut operations: Vec<_> = blocks
        .map(|(hash, block)| StoreOperation::PutBlock(hash, block))
        .collect();
    operations.push(StoreOperation::PutTip(side.tip()));
    operations.push(StoreOperation::PutTip(branch.tip()));
    let confirmed = branch.blocks[100].header.hash();
    operations.push(StoreOperation::PutConfirmed(confirmed));
    operations.push(StoreOperation::PutRecovery(side.tip()));
    operations.push(StoreOperation::PutRecovery(branch.tip()));
    for position in 0..HEIGHT {
        operations.push(StoreOperation::PutJournal(position, entry(position)));
    }
    for (number, from) in [(8, 2), (9, 256)] {
        operations.push(StoreOperation::PutKey(key(number).seed(), from));
    }
    for seq in 0..5 {
        let reading = reading(3, seq);
        operations.push(StoreOperation::PutAdopted(reading.id(room().id()), reading));
    }
    for author in 1..4 {
        let name = ProfileName::new(&format!("name {author}")).expect("a name");
        let profile = room().sign_profile(&key(author), UnixMillis::new(START), &name);
        operations.push(StoreOperation::PutProfile(
            profile.expect("the room is open"),
        ));
    }
    operations
}

/// Operations that delete a part of what each table has.
fn deletions(branch: &Branch, side: &Branch) -> Vec<StoreOperation> {
    vec![
        StoreOperation::DeleteBlock(side.blocks[0].header.hash()),
        StoreOperation::DeleteBlock(branch.blocks[40].header.hash()),
        StoreOperation::DeleteRecovery(side.tip()),
        StoreOperation::DeleteAdopted(reading(3, 2).id(room().id())),
        StoreOperation::DeleteProfile(key(2).author()),
        StoreOperation::PutConfirmed(branch.blocks[120].header.hash()),
    ]
}

/// What a person sees of a machine.
fn seen(machine: &mut Machine<u64>) -> String {
    let now = now_at(START, 0);
    machine.handle(Input::Tick, now).for_each(drop);
    let readings = machine.own_readings(usize::MAX);
    let profiles: Vec<_> = machine.profiles().collect();
    let keys: Vec<_> = machine.signing_keys();
    let keys: Vec<_> = keys
        .iter()
        .map(|(from, key)| (*from, key.author()))
        .collect();
    let waiting: Vec<_> = machine.waiting().iter(&room()).collect();
    let (status, load) = (machine.status(), machine.load());
    format!("{status:?} {load:?} {keys:?} {readings:?} {profiles:?} {waiting:?}")
}

fn restored(path: &Path) -> String {
    let start = Start {
        room: room(),
        first_key: key(OWN),
        mining: false,
        seed: [3; 32],
        now: now_at(START, 0),
    };
    let restored = open(path).restore(start);
    let mut machine = restored.expect("restored").machine;
    seen(&mut machine)
}

fn restored_from(disk: &Disk) -> String {
    let start = test_support::Start {
        mining: false,
        room: room(),
        first_key: key(OWN),
        seed: [3; 32],
        now: now_at(START, 0),
        skips_bodies: false,
    };
    seen(&mut disk.restore(start))
}

#[test]
fn store_has_what_each_operation_wrote() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.redb");
    let branch = Branch::of(1, HEIGHT);
    let mut side = branch.prefix(260);
    side.grow(2, 3);
    let mut side_only = side.clone();
    side_only.blocks.drain(..260);
    let mut disk = Disk::default();
    for operations in [
        operations(&branch, &side_only),
        deletions(&branch, &side_only),
    ] {
        let batch = Batch {
            operations,
            strict: false,
        };
        open(&path)
            .write(std::slice::from_ref(&batch))
            .expect("written");
        disk.apply(batch);
        assert_same(&path, &disk);
        assert_eq!(restored(&path), restored_from(&disk));
    }
}
