use heartchain_chain::block::Block;
use heartchain_sync::StoredBlock;
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::storage::{
    Health,
    fault_injector::FaultInjector,
    schema::{BLOCKS, OPEN_TIMEOUT},
    suite,
};

/// A store with these young blocks, each in a record of its own.
async fn with(name: &str, blocks: &[(BlockHash, Block)]) -> IndexedDb {
    let mut store = IndexedDb::open_empty(name, &suite::room()).await;
    let puts = blocks.iter().cloned().map(suite::put).collect();
    suite::write(&mut store, puts).await;
    store
}

/// Opens the database again. Returns the heights of the loaded blocks, and the number of damaged records.
async fn start(name: &str) -> (Vec<u64>, usize) {
    let opened = IndexedDb::open(name, &suite::room(), Health::new(Ok(0))).await;
    let mut store = opened.expect("it opens");
    let mut all = Vec::new();
    let loaded = store.load_blocks(false, |blocks| all.extend(blocks)).await;
    loaded.expect("it can be loaded");
    let heights = all.iter().map(StoredBlock::index).collect();
    (heights, store.health().repaired())
}

#[test]
async fn temporarily_unreadable_block_is_kept() {
    let name = "loading refused";
    let blocks = suite::branch(1, 5, 1);
    drop(with(name, &blocks).await);
    let (third, _) = &blocks[2];
    let refusal = FaultInjector::unreadable(name, BLOCKS, &records::block_key(3, third));
    assert_eq!(start(name).await, (vec![1, 2, 4, 5], 1));
    drop(refusal);
    assert_eq!(start(name).await, (vec![1, 2, 3, 4, 5], 0));
}

/// Replaces the record under this key with invalid data.
async fn corrupt_record(store: &IndexedDb, name: &str, key: &JsValue) {
    let write = store.write_transaction(&[name], false).expect("it writes");
    let records = write.object_store(name).expect("it is there");
    let put = records.put(&"no record".into(), Some(key));
    put.expect("it takes it");
    schema::commit(write).await.expect("it keeps it");
}

#[test]
async fn undecodable_block_is_deleted() {
    let name = "loading corrupt";
    let blocks = suite::branch(1, 5, 1);
    let store = with(name, &blocks).await;
    let key = records::block_key(3, &blocks[2].0);
    corrupt_record(&store, BLOCKS, &key).await;
    drop(store);
    let fault_injector = FaultInjector::undeletable(name, BLOCKS, &key);
    for _ in 0..2 {
        assert_eq!(start(name).await, (vec![1, 2, 4, 5], 1));
    }
    drop(fault_injector);
    assert_eq!(start(name).await, (vec![1, 2, 4, 5], 1));
    assert_eq!(start(name).await, (vec![1, 2, 4, 5], 0));
}

/// A store with this first key, of which these copies are corrupt.
async fn first_key(name: &str, seed: [u8; 32], corrupt: &[&str]) -> IndexedDb {
    let store = IndexedDb::open_empty(name, &suite::room()).await;
    store.put_first_key(&seed).await.expect("there is room");
    for name in corrupt {
        corrupt_record(&store, META, &(*name).into()).await;
    }
    store
}

#[test]
async fn full_disk_does_not_hide_the_key() {
    let name = "loading full";
    let store = first_key(name, [7; 32], &FIRST_KEY[1..]).await;
    let again = FIRST_KEY[1].into();
    let full = FaultInjector::unwritable(name, META, &again);
    let loaded = store.load().await.expect("it can be loaded");
    assert_eq!(
        (loaded.first_key, store.health().repaired()),
        (Some([7; 32]), 1)
    );
    drop(full);
    store.load().await.expect("it can be loaded");
    let mended = store
        .read_record(META, again)
        .await
        .expect("it can be read");
    let mended = mended.and_then(|value| records::read_seed(FIRST_KEY[1], &value));
    assert_eq!(mended, Some([7; 32]));
}

#[test]
async fn unreadable_key_is_not_replaced() {
    let name = "loading keys";
    let store = first_key(name, [7; 32], &[]).await;
    let key = FIRST_KEY[0].into();
    let first = FaultInjector::unreadable(name, META, &key);
    let loaded = store.load().await.expect("it can be loaded");
    assert_eq!(loaded.first_key, Some([7; 32]));
    let again = FIRST_KEY[1].into();
    let second = FaultInjector::unreadable(name, META, &again);
    assert!(store.load().await.is_err());
    drop(second);
    drop(first);
    let loaded = store.load().await.expect("it can be loaded");
    assert_eq!(loaded.first_key, Some([7; 32]));
}

/// A store with a first key and this many journal entries, and its mirror.
async fn recorded(name: &str, entries: u64) -> IndexedDb {
    let mut store = first_key(name, [7; 32], &[]).await;
    let put = |at| heartchain_sync::StoreOperation::PutJournal(at, suite::journal_entry(at));
    suite::write(&mut store, (0..entries).map(put).collect()).await;
    store
}

/// Damages a database, opens it again, and returns what it loads.
async fn after(name: &str, damage: impl AsyncFnOnce(&IndexedDb)) -> Loaded {
    let store = recorded(name, 20).await;
    damage(&store).await;
    drop(store);
    let opened = IndexedDb::open(name, &suite::room(), Health::new(Ok(0))).await;
    let store = opened.expect("it opens");
    let loaded = store.load().await.expect("it can be loaded");
    // The first load has restored the data.
    let again = store.load().await.expect("it can be loaded");
    assert_eq!(
        (again.journal.len(), again.loss),
        (loaded.journal.len(), None)
    );
    loaded
}

async fn clear(store: &IndexedDb, name: &str) {
    let write = store.write_transaction(&[name], true).expect("it writes");
    let records = write.object_store(name).expect("it is there");
    records
        .clear()
        .expect("a request")
        .await
        .expect("it clears");
    schema::commit(write).await.expect("it keeps it");
}

#[test]
async fn lost_journal_is_restored_from_mirror() {
    let loaded = after("loading journal", async |store| {
        clear(store, JOURNAL).await;
    })
    .await;
    assert_eq!(loaded.first_key, Some([7; 32]));
    assert_eq!((loaded.journal.len(), loaded.journal_len), (20, Some(20)));
    assert_eq!(loaded.loss, Some(Loss { saved: 20, lost: 0 }));
}

#[test]
async fn empty_database_with_mirror_is_a_loss() {
    let loaded = after("loading empty", async |store| {
        clear(store, JOURNAL).await;
        clear(store, META).await;
    })
    .await;
    assert_eq!(loaded.first_key, Some([7; 32]));
    assert_eq!(loaded.loss, Some(Loss { saved: 20, lost: 0 }));
}

#[test]
async fn confirmed_entries_are_not_lost() {
    let loaded = after("loading confirmed", async |store| {
        clear(store, JOURNAL).await;
        let entries: Vec<_> = (15..20).map(|at| (at, suite::journal_entry(at))).collect();
        store.mirror.keep_unconfirmed(20, &entries);
    })
    .await;
    let positions: Vec<u64> = loaded.journal.iter().map(|(at, _)| *at).collect();
    assert_eq!(positions, [15, 16, 17, 18, 19]);
    assert_eq!(loaded.journal_len, Some(20));
    assert_eq!(loaded.loss, Some(Loss { saved: 5, lost: 0 }));
}

#[test]
async fn entries_lost_in_both_copies_are_counted() {
    let name = "loading both";
    let store = recorded(name, 20).await;
    clear(&store, JOURNAL).await;
    drop(store);
    let storage = web_sys::window().and_then(|window| window.local_storage().ok()?);
    let storage = storage.expect("a browser");
    let page = format!("{name}/journal/0");
    storage.set_item(&page, "damaged").expect("room");
    let opened = IndexedDb::open(name, &suite::room(), Health::new(Ok(0))).await;
    let loaded = opened.expect("it opens").load().await.expect("it loads");
    assert_eq!((loaded.journal.len(), loaded.journal_len), (0, Some(20)));
    assert_eq!(loaded.loss, Some(Loss { saved: 0, lost: 20 }));
}

#[test]
async fn other_key_in_mirror_is_never_overwritten() {
    let name = "loading other key";
    drop(first_key(name, [7; 32], &[]).await);
    let factory = idb::Factory::new().expect("a browser");
    factory
        .delete(name)
        .expect("a request")
        .await
        .expect("gone");
    let opened = IndexedDb::open(name, &suite::room(), Health::new(Ok(0))).await;
    let store = opened.expect("it opens");
    store.put_first_key(&[9; 32]).await.expect("there is room");
    assert_eq!(crate::storage::mirror::read(name).first_key, Some([7; 32]));
}

/// Creates a database in the format of version 1 or 2.
async fn filled_by_version(name: &str, version: usize) {
    let factory = idb::Factory::new().expect("a browser");
    factory
        .delete(name)
        .expect("a request")
        .await
        .expect("gone");
    crate::storage::mirror::delete(name);
    let migrations = &schema::MIGRATIONS[..version];
    let opened = schema::open_with_timeout(&factory, name, migrations, OPEN_TIMEOUT).await;
    let database = web_sys::IdbDatabase::from(opened.expect("it opens"));
    let write =
        schema::write_transaction(&database, &[META, KEYS, JOURNAL, BLOCKS], true).expect("open");
    let store = |name| write.object_store(name).expect("it is there");
    for name in FIRST_KEY {
        let seed = records::seed(name, &[7; 32]);
        store(META)
            .put(&seed, Some(&name.into()))
            .expect("a request");
    }
    let seed = records::seed(&key_location(2), &[8; 32]);
    let from = records::number_key(2);
    store(KEYS).put(&seed, Some(&from)).expect("a request");
    // The last entry replaces the second one.
    for (position, time) in (0..).zip([5_u64, 6, 7, 6]) {
        let body = [&time.to_le_bytes()[..], &72_u16.to_le_bytes()].concat();
        let record = records::checksummed_record(&format!("journal {position}"), &body);
        let key = records::number_key(position);
        store(JOURNAL).put(&record, Some(&key)).expect("a request");
    }
    for (hash, block) in suite::branch(1, 3, 1) {
        let key = records::block_key(block.header.index, &hash);
        let value = records::to_js(&block.encode());
        store(BLOCKS).put(&value, Some(&key)).expect("a request");
    }
    schema::commit(write).await.expect("it keeps it");
    database.close();
}

#[test]
async fn older_databases_keep_all_their_data() {
    for version in [1, 2] {
        let name = format!("loading version {version}");
        filled_by_version(&name, version).await;
        for _ in 0..2 {
            let opened = IndexedDb::open(&name, &suite::room(), Health::new(Ok(0))).await;
            let mut store = opened.expect("it opens");
            let loaded = store.load().await.expect("it loads");
            assert_eq!(loaded.first_key, Some([7; 32]));
            assert_eq!(loaded.keys, [(2, [8; 32])]);
            let journal: Vec<_> = loaded
                .journal
                .iter()
                .map(|(position, entry)| (*position, entry.time.get(), entry.replaces))
                .collect();
            let expected = [(0, 5, None), (1, 6, None), (2, 7, None), (3, 6, Some(1))];
            assert_eq!(journal, expected);
            let mut blocks = 0;
            let counting = |part: Vec<StoredBlock>| blocks += part.len();
            store.load_blocks(true, counting).await.expect("it loads");
            assert_eq!((blocks, store.health().repaired()), (3, 0));
        }
    }
}

#[test]
async fn interrupted_migration_changes_nothing() {
    const BROKEN: &[schema::Migration] = &[
        schema::MIGRATIONS[0],
        schema::MIGRATIONS[1],
        |_, upgrade| {
            // Fails in the middle of the migration, as if the tab died.
            upgrade.object_store(JOURNAL)?.clear()?;
            Err(idb::Error::EventTargetNotFound)
        },
    ];
    let name = "loading cut short";
    filled_by_version(name, 2).await;
    let factory = idb::Factory::new().expect("a browser");
    let opened = schema::open_with_timeout(&factory, name, BROKEN, OPEN_TIMEOUT).await;
    assert!(opened.is_err());
    let opened = IndexedDb::open(name, &suite::room(), Health::new(Ok(0))).await;
    let loaded = opened.expect("it opens").load().await.expect("it loads");
    assert_eq!((loaded.journal.len(), loaded.first_key), (4, Some([7; 32])));
}
