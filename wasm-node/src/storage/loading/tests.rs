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
