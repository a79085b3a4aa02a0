//! A test suite for all stores: the behaviour that the rest of the peer relies on. Uses only the `Storage` trait.

use heartchain_chain::{
    block::Block,
    bpm::Bpm,
    hash::BlockHash,
    header::Header,
    key::SecretKey,
    merkle::readings_root,
    reading::Reading,
    room::{Room, RoomName, RoomParams},
    time::UnixMillis,
};
#[cfg(test)]
use heartchain_sync::io::JournalEntry;
use heartchain_sync::{Batch, StoreOperation};

use super::store::Storage;

/// The number of blocks in a long chain.
const MANY: u64 = 2_000;

/// Runs the suite; `fresh` opens an empty store.
///
/// # Panics
/// If a test fails.
pub async fn check<S: Storage>(mut fresh: impl AsyncFnMut() -> S) {
    missing_bodies_are_none(fresh().await).await;
    bodies_come_in_the_order_asked(fresh().await).await;
    batch_is_written_in_order(fresh().await).await;
    deleted_blocks_are_gone(fresh().await).await;
    many_blocks_are_found_again(fresh().await).await;
    empty_batch_and_read_succeed(fresh().await).await;
}

async fn missing_bodies_are_none<S: Storage>(store: S) {
    let (hash, _) = block(1);
    assert_eq!(store.bodies(&[hash, hash]).await, Ok(vec![None, None]));
}

async fn bodies_come_in_the_order_asked<S: Storage>(mut store: S) {
    let blocks: Vec<_> = (1..=3).map(block).collect();
    write(&mut store, blocks.iter().cloned().map(put).collect()).await;
    let asked: Vec<_> = blocks.iter().rev().map(|(hash, _)| *hash).collect();
    let expected: Vec<_> = blocks
        .iter()
        .rev()
        .map(|(_, block)| Some(block.readings.clone()))
        .collect();
    assert_eq!(store.bodies(&asked).await, Ok(expected));
}

async fn batch_is_written_in_order<S: Storage>(mut store: S) {
    let (hash, stored) = block(1);
    write(
        &mut store,
        vec![
            put((hash, stored.clone())),
            StoreOperation::DeleteBlock(hash),
        ],
    )
    .await;
    assert_eq!(store.bodies(&[hash]).await, Ok(vec![None]));
    write(
        &mut store,
        vec![
            StoreOperation::DeleteBlock(hash),
            put((hash, stored.clone())),
        ],
    )
    .await;
    assert_eq!(store.bodies(&[hash]).await, Ok(vec![Some(stored.readings)]));
}

async fn deleted_blocks_are_gone<S: Storage>(mut store: S) {
    let (kept, gone) = (block(1), block(2));
    write(&mut store, vec![put(kept.clone()), put(gone.clone())]).await;
    write(
        &mut store,
        vec![
            StoreOperation::PutTip(kept.0),
            StoreOperation::DeleteBlock(gone.0),
        ],
    )
    .await;
    assert_eq!(
        store.bodies(&[kept.0, gone.0]).await,
        Ok(vec![Some(kept.1.readings), None])
    );
}

/// Stores enough blocks that a store with segments compacts the old ones, then changes some of these.
async fn many_blocks_are_found_again<S: Storage>(mut store: S) {
    let blocks: Vec<_> = (1..=MANY).map(small_block).collect();
    for part in blocks.chunks(100) {
        write(&mut store, part.iter().cloned().map(put).collect()).await;
        store.compact().await;
    }
    let (deleted, again) = (&blocks[50], &blocks[60]);
    write(
        &mut store,
        vec![StoreOperation::DeleteBlock(deleted.0), put(again.clone())],
    )
    .await;
    for (part, first) in blocks.chunks(300).zip((0..).step_by(300)) {
        let asked: Vec<_> = part.iter().rev().map(|(hash, _)| *hash).collect();
        let expected: Vec<_> = part
            .iter()
            .rev()
            .map(|(hash, block)| (*hash != deleted.0).then(|| block.readings.clone()))
            .collect();
        assert_eq!(
            store.bodies(&asked).await,
            Ok(expected),
            "blocks from {first} on"
        );
    }
}

async fn empty_batch_and_read_succeed<S: Storage>(mut store: S) {
    write(&mut store, Vec::new()).await;
    assert_eq!(store.bodies(&[]).await, Ok(Vec::new()));
}

pub(super) async fn write<S: Storage>(store: &mut S, operations: Vec<StoreOperation>) {
    assert_eq!(
        store
            .write(Batch {
                operations,
                strict: true
            })
            .await,
        Ok(())
    );
}

pub(super) fn put((hash, block): (BlockHash, Block)) -> StoreOperation {
    StoreOperation::PutBlock(hash, block)
}

/// A block of this height with as many readings. It breaks validation rules, which a store does not check.
fn block(index: u64) -> (BlockHash, Block) {
    block_of(index, index)
}

/// A block of this height with one reading.
pub(super) fn small_block(index: u64) -> (BlockHash, Block) {
    block_of(index, 1)
}

/// A branch of linked blocks from height `first` on, each with `readings` readings.
#[cfg(test)]
pub(super) fn branch(first: u64, blocks: u64, readings: u64) -> Vec<(BlockHash, Block)> {
    let (_, model) = block_of(first, readings);
    let mut prev_hash = room().genesis_hash();
    let indexes = first..first + blocks;
    indexes
        .map(|index| {
            let mut block = model.clone();
            (block.header.index, block.header.prev_hash) = (index, prev_hash);
            prev_hash = block.header.hash();
            (prev_hash, block)
        })
        .collect()
}

/// A journal entry whose time depends on its position.
#[cfg(test)]
pub(super) fn journal_entry(position: u64) -> JournalEntry {
    JournalEntry {
        time: UnixMillis::new(1_800_000_000_123 + position),
        bpm: Bpm::new(72).expect("a heart rate"),
        replaces: None,
        prefix: None,
    }
}

/// The room of the suite's blocks.
///
/// # Panics
/// Never: the name is valid.
#[must_use]
pub fn room() -> Room {
    let name = RoomName::new("suite").expect("a name");
    Room::new(RoomParams::with_defaults(name))
}

fn block_of(index: u64, readings: u64) -> (BlockHash, Block) {
    let room = room();
    let key = SecretKey::from_seed([1; 32]);
    let bpm = Bpm::new(72).expect("a heart rate");
    let readings: Vec<Reading> = (0..readings)
        .map(|seq| key.sign(room.id(), seq, UnixMillis::new(1_000 + seq), bpm))
        .collect();
    let header = Header {
        index,
        readings_root: readings_root(&readings),
        ..*room.genesis()
    };
    (header.hash(), Block { header, readings })
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use crate::storage::MemoryStore;

    #[test]
    async fn memory_store_passes_the_suite() {
        super::check(async || MemoryStore::default()).await;
    }
}
