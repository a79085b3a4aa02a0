use chain::block::Block;
use sync::Stored;
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::storage::{Health, misfortune::Misfortune, schema::BLOCKS, suite};

/// A store with these young blocks, each in a record of its own.
async fn with(name: &str, blocks: &[(BlockHash, Block)]) -> IndexedDb {
    let mut store = IndexedDb::anew(name, suite::room().id()).await;
    let puts = blocks.iter().cloned().map(suite::put).collect();
    suite::write(&mut store, puts).await;
    store
}

/// Opens it anew; returns the heights of the blocks that it gives, and how many it found damaged.
async fn start(name: &str) -> (Vec<u64>, usize) {
    let opened = IndexedDb::open(name, suite::room().id(), Health::new(Ok(0))).await;
    let mut store = opened.expect("it opens");
    let mut all = Vec::new();
    let loaded = store.load_blocks(false, |blocks| all.extend(blocks)).await;
    loaded.expect("it can be loaded");
    let heights = all.iter().map(Stored::index).collect();
    (heights, store.health().healed())
}

#[test]
async fn a_block_that_cannot_be_read_for_now_is_left_where_it_is() {
    let name = "loading refused";
    let blocks = suite::branch(1, 5, 1);
    drop(with(name, &blocks).await);
    let (third, _) = &blocks[2];
    let refusal = Misfortune::unreadable(name, BLOCKS, &records::block_key(3, third));
    assert_eq!(start(name).await, (vec![1, 2, 4, 5], 1));
    drop(refusal);
    assert_eq!(start(name).await, (vec![1, 2, 3, 4, 5], 0));
}

/// Puts something that is no record of ours under this key.
async fn garble(store: &IndexedDb, name: &str, key: &JsValue) {
    let write = store.writing(&[name], false).expect("it writes");
    let records = write.object_store(name).expect("it is there");
    let put = records.put(&"no record".into(), Some(key));
    put.expect("it takes it");
    schema::committed(write).await.expect("it keeps it");
}

#[test]
async fn a_block_that_is_none_is_deleted_as_soon_as_it_can_be() {
    let name = "loading garbled";
    let blocks = suite::branch(1, 5, 1);
    let store = with(name, &blocks).await;
    let key = records::block_key(3, &blocks[2].0);
    garble(&store, BLOCKS, &key).await;
    drop(store);
    let misfortune = Misfortune::undeletable(name, BLOCKS, &key);
    for _ in 0..2 {
        assert_eq!(start(name).await, (vec![1, 2, 4, 5], 1));
    }
    drop(misfortune);
    assert_eq!(start(name).await, (vec![1, 2, 4, 5], 1));
    assert_eq!(start(name).await, (vec![1, 2, 4, 5], 0));
}

/// A store with this first key, but for these copies of it.
async fn first_key(name: &str, seed: [u8; 32], garbled: &[&str]) -> IndexedDb {
    let store = IndexedDb::anew(name, suite::room().id()).await;
    store.put_first_key(&seed).await.expect("there is room");
    for place in garbled {
        garble(&store, META, &(*place).into()).await;
    }
    store
}

#[test]
async fn a_copy_of_the_key_that_finds_no_room_does_not_keep_a_tab_from_its_key() {
    let name = "loading full";
    let store = first_key(name, [7; 32], &FIRST_KEY[1..]).await;
    let again = FIRST_KEY[1].into();
    let full = Misfortune::unwritable(name, META, &again);
    let loaded = store.load().await.expect("it can be loaded");
    assert_eq!(
        (loaded.first_key, store.health().healed()),
        (Some([7; 32]), 1)
    );
    drop(full);
    store.load().await.expect("it can be loaded");
    let mended = store.record(META, again).await.expect("it can be read");
    let mended = mended.and_then(|value| records::read_seed(FIRST_KEY[1], &value));
    assert_eq!(mended, Some([7; 32]));
}

#[test]
async fn of_a_key_that_cannot_be_read_for_now_either_copy_will_do_and_no_other_key() {
    let name = "loading keys";
    let store = first_key(name, [7; 32], &[]).await;
    let key = FIRST_KEY[0].into();
    let first = Misfortune::unreadable(name, META, &key);
    let loaded = store.load().await.expect("it can be loaded");
    assert_eq!(loaded.first_key, Some([7; 32]));
    let again = FIRST_KEY[1].into();
    let second = Misfortune::unreadable(name, META, &again);
    assert!(store.load().await.is_err());
    drop(second);
    drop(first);
    let loaded = store.load().await.expect("it can be loaded");
    assert_eq!(loaded.first_key, Some([7; 32]));
}

/// A store with a first key and so many entries, and its copy.
async fn recorded(name: &str, entries: u64) -> IndexedDb {
    let mut store = first_key(name, [7; 32], &[]).await;
    let put = |at| sync::StoreOperation::PutJournal(at, suite::journal_entry(at));
    suite::write(&mut store, (0..entries).map(put).collect()).await;
    store
}

/// What is found when the database is opened again after this was done to it.
async fn after(name: &str, damage: impl AsyncFnOnce(&IndexedDb)) -> Loaded {
    let store = recorded(name, 20).await;
    damage(&store).await;
    drop(store);
    let opened = IndexedDb::open(name, suite::room().id(), Health::new(Ok(0))).await;
    let store = opened.expect("it opens");
    let loaded = store.load().await.expect("it can be loaded");
    // From now on the database has it again.
    let again = store.load().await.expect("it can be loaded");
    assert_eq!(
        (again.journal.len(), again.loss),
        (loaded.journal.len(), None)
    );
    loaded
}

async fn clear(store: &IndexedDb, name: &str) {
    let write = store.writing(&[name], true).expect("it writes");
    let records = write.object_store(name).expect("it is there");
    records
        .clear()
        .expect("a request")
        .await
        .expect("it clears");
    schema::committed(write).await.expect("it keeps it");
}

#[test]
async fn a_lost_journal_is_filled_from_its_copy() {
    let loaded = after("loading journal", async |store| {
        clear(store, JOURNAL).await;
    })
    .await;
    assert_eq!(loaded.first_key, Some([7; 32]));
    assert_eq!((loaded.journal.len(), loaded.journal_len), (20, Some(20)));
    assert_eq!(loaded.loss, Some(Loss { saved: 20, lost: 0 }));
}

#[test]
async fn an_empty_database_beside_a_key_is_a_loss() {
    let loaded = after("loading empty", async |store| {
        clear(store, JOURNAL).await;
        clear(store, META).await;
    })
    .await;
    assert_eq!(loaded.first_key, Some([7; 32]));
    assert_eq!(loaded.loss, Some(Loss { saved: 20, lost: 0 }));
}

#[test]
async fn confirmed_entries_are_not_called_lost() {
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
async fn what_is_lost_in_both_places_is_counted() {
    let name = "loading both";
    let store = recorded(name, 20).await;
    clear(&store, JOURNAL).await;
    drop(store);
    let storage = web_sys::window().and_then(|window| window.local_storage().ok()?);
    let storage = storage.expect("a browser");
    let page = format!("{name}/journal/0");
    storage.set_item(&page, "damaged").expect("room");
    let opened = IndexedDb::open(name, suite::room().id(), Health::new(Ok(0))).await;
    let loaded = opened.expect("it opens").load().await.expect("it loads");
    assert_eq!((loaded.journal.len(), loaded.journal_len), (0, Some(20)));
    assert_eq!(loaded.loss, Some(Loss { saved: 0, lost: 20 }));
}

#[test]
async fn another_key_in_the_copy_is_never_overwritten() {
    let name = "loading other key";
    drop(first_key(name, [7; 32], &[]).await);
    let factory = idb::Factory::new().expect("a browser");
    factory
        .delete(name)
        .expect("a request")
        .await
        .expect("gone");
    let opened = IndexedDb::open(name, suite::room().id(), Health::new(Ok(0))).await;
    let store = opened.expect("it opens");
    store.put_first_key(&[9; 32]).await.expect("there is room");
    assert_eq!(crate::storage::mirror::read(name).first_key, Some([7; 32]));
}

/// Writes records as versions before the third did, into the stores that these had.
async fn filled_by_version(name: &str, version: usize) {
    let factory = idb::Factory::new().expect("a browser");
    factory
        .delete(name)
        .expect("a request")
        .await
        .expect("gone");
    crate::storage::mirror::forget(name);
    let steps = &schema::STEPS[..version];
    let opened = schema::open_once(&factory, name, steps, crate::config::OPEN_TIMEOUT).await;
    let database = web_sys::IdbDatabase::from(opened.expect("it opens"));
    let write = schema::writing(&database, &[META, KEYS, JOURNAL, BLOCKS], true).expect("open");
    let store = |name| write.object_store(name).expect("it is there");
    for place in FIRST_KEY {
        let seed = records::seed(place, &[7; 32]);
        store(META)
            .put(&seed, Some(&place.into()))
            .expect("a request");
    }
    let seed = records::seed(&key_place(2), &[8; 32]);
    let from = records::number_key(2);
    store(KEYS).put(&seed, Some(&from)).expect("a request");
    // The last one signs the second one again.
    for (position, time) in (0..).zip([5_u64, 6, 7, 6]) {
        let body = [&time.to_le_bytes()[..], &72_u16.to_le_bytes()].concat();
        let record = records::sealed_record(&format!("journal {position}"), &body);
        let key = records::number_key(position);
        store(JOURNAL).put(&record, Some(&key)).expect("a request");
    }
    for (hash, block) in suite::branch(1, 3, 1) {
        let key = records::block_key(block.header.index, &hash);
        let value = records::to_js(&block.encode());
        store(BLOCKS).put(&value, Some(&key)).expect("a request");
    }
    schema::committed(write).await.expect("it keeps it");
    database.close();
}

#[test]
async fn databases_of_older_versions_keep_all_they_have() {
    for version in [1, 2] {
        let name = format!("loading version {version}");
        filled_by_version(&name, version).await;
        for _ in 0..2 {
            let opened = IndexedDb::open(&name, suite::room().id(), Health::new(Ok(0))).await;
            let mut store = opened.expect("it opens");
            let loaded = store.load().await.expect("it loads");
            assert_eq!(loaded.first_key, Some([7; 32]));
            assert_eq!(loaded.keys, [(2, [8; 32])]);
            let journal: Vec<_> = loaded
                .journal
                .iter()
                .map(|(position, entry)| (*position, entry.time.get(), entry.resigns))
                .collect();
            let expected = [(0, 5, None), (1, 6, None), (2, 7, None), (3, 6, Some(1))];
            assert_eq!(journal, expected);
            let mut blocks = 0;
            let counting = |part: Vec<Stored>| blocks += part.len();
            store.load_blocks(true, counting).await.expect("it loads");
            assert_eq!((blocks, store.health().healed()), (3, 0));
        }
    }
}

#[test]
async fn an_upgrade_that_is_cut_short_changes_nothing() {
    const BROKEN: &[schema::Step] = &[schema::STEPS[0], schema::STEPS[1], |_, upgrade| {
        // As a tab that dies in the middle of it.
        upgrade.object_store(JOURNAL)?.clear()?;
        Err(idb::Error::EventTargetNotFound)
    }];
    let name = "loading cut short";
    filled_by_version(name, 2).await;
    let factory = idb::Factory::new().expect("a browser");
    let opened = schema::open_once(&factory, name, BROKEN, crate::config::OPEN_TIMEOUT).await;
    assert!(opened.is_err());
    let opened = IndexedDb::open(name, suite::room().id(), Health::new(Ok(0))).await;
    let loaded = opened.expect("it opens").load().await.expect("it loads");
    assert_eq!((loaded.journal.len(), loaded.first_key), (4, Some([7; 32])));
}
