//! Settled blocks go from records of their own to shelves, while nobody waits for the store. In one transaction: a crash
//! leaves a block in one place or in the other. Long stretches of a branch, as they come when a tab catches up, go to
//! shelves at once. Never puts a block on a shelf whose heights another shelf spans.

use chain::{block::Block, hash::BlockHash};
use futures::future::try_join_all;
use litemap::LiteMap;
use sync::{Batch, StoreOperation};

use super::{
    StoreError,
    indexed_db::{IndexedDb, read_block},
    records,
    schema::{self, BLOCKS, SHELVES, SUMMARIES},
    shelves::{Shelf, is_whole},
};
use crate::config::{LOADED_BLOCKS, MAX_SHELF_BLOCKS, MAX_SHELF_LEN, MIN_SHELF_BLOCKS};

impl IndexedDb {
    /// Packs settled blocks, one shelf of them. Returns whether there may be more.
    ///
    /// # Errors
    /// If the database does; then nothing more is packed for now.
    pub(super) async fn pack(&mut self) -> Result<bool, StoreError> {
        if self.shelves.is_paused() {
            return Ok(false);
        }
        let Some((first, end)) = self.ripe() else {
            // What could not be packed is tried again, but not at once.
            let tried = self.shelves.turn() > 0;
            self.shelves.turn_to(0);
            self.shelves.pause(if tried { MAX_SHELF_BLOCKS } else { 1 });
            return Ok(false);
        };
        match self.pack_one(first, end).await {
            Ok(true) => {}
            // One of them was garbled; that says nothing of those above.
            Ok(false) => self.shelves.turn_to(end),
            Err(error) => {
                // One of them cannot be read, or the disk is full: then every other try is in vain, too.
                self.shelves.turn_to(end);
                self.shelves.pause(MAX_SHELF_BLOCKS);
                return Err(error);
            }
        }
        Ok(true)
    }

    /// Those stretches of a batch's blocks that go to a shelf at once, as they come when a tab catches up: to put each
    /// into a record of its own first takes the disk several times as long, and what is still to be written when a tab is
    /// closed has to be fetched again.
    pub(super) fn stretches(&self, batch: &Batch) -> LiteMap<u32, Shelf> {
        let mut shelves = LiteMap::new();
        let mut puts = Vec::new();
        for operation in &batch.operations {
            match operation {
                StoreOperation::PutBlock(hash, block) => puts.push((*hash, block)),
                // What comes first in a batch may matter.
                StoreOperation::DeleteBlock(_) => return shelves,
                StoreOperation::PutTip(_)
                | StoreOperation::PutConfirmed(_)
                | StoreOperation::PutJournal(..)
                | StoreOperation::PutKey(..)
                | StoreOperation::PutRescue(_)
                | StoreOperation::DeleteRescue(_)
                | StoreOperation::PutAdopted(..)
                | StoreOperation::DeleteAdopted(_) => {}
            }
        }
        let mut highest = 0;
        for run in puts.chunk_by(|(hash, block), (_, next)| {
            next.header.prev_hash == *hash
                && block.header.index.checked_add(1) == Some(next.header.index)
        }) {
            let [(_, lowest), .., (_, last)] = run else {
                continue;
            };
            let (lowest, last) = (lowest.header.index, last.header.index);
            let (Ok(first), Ok(_)) = (u32::try_from(lowest), u32::try_from(last)) else {
                continue;
            };
            let is_new = |(hash, _): &(BlockHash, &Block)| {
                !self.rows.contains_key(hash) && self.shelves.shelf_of(hash).is_none()
            };
            let is_free = lowest > highest && self.shelves.is_free(first, last);
            if run.len() >= MIN_SHELF_BLOCKS && is_free && run.iter().all(is_new) {
                highest = last;
                self.put_stretch(run, &mut shelves);
            }
        }
        shelves
    }

    fn put_stretch(&self, run: &[(BlockHash, &Block)], shelves: &mut LiteMap<u32, Shelf>) {
        let (mut len, mut place) = (MAX_SHELF_LEN, 0);
        for (hash, block) in run {
            let blocks = shelves
                .get(&place)
                .map_or(0, |shelf: &Shelf| shelf.known().len());
            if len >= MAX_SHELF_LEN || blocks >= MAX_SHELF_BLOCKS {
                // The last one's height is one of these, too.
                (len, place) = (0, u32::try_from(block.header.index).unwrap_or(u32::MAX));
            }
            len += block.encoded_len();
            let shelf = shelves.entry(place).or_default();
            shelf.push(self.room, *hash, (*block).clone());
        }
    }

    /// The lowest heights whose turn it is to be packed, and the one behind them: as many as a shelf takes, or all between
    /// two shelves.
    fn ripe(&self) -> Option<(u32, u64)> {
        let heights = self.rows.values().copied();
        let mut settled: Vec<u64> = heights
            .filter(|index| self.shelves.is_settled(*index))
            .collect();
        settled.sort_unstable();
        settled.dedup();
        let below = |height: u64| settled.partition_point(|index| *index < height);
        let turn = self.shelves.turn();
        let gaps = self.shelves.gaps().filter(|(_, end)| *end > turn);
        gaps.map(|(start, end)| (start.max(turn), end))
            .find_map(|(start, end)| {
                let full = start.saturating_add(MAX_SHELF_BLOCKS as u64).min(end);
                // Heights may be missing: a branch that is fetched comes in ranges, in any order.
                let here = (below(full) - below(start)) as u64;
                let first = u32::try_from(start).ok()?;
                (here == full - start).then_some((first, full))
            })
    }

    /// Packs the blocks of these heights; `false` if not all of them can be read.
    async fn pack_one(&mut self, first: u32, end: u64) -> Result<bool, StoreError> {
        let mut candidates: Vec<(u64, BlockHash)> = self
            .rows
            .iter()
            .map(|(hash, index)| (*index, *hash))
            .filter(|(index, _)| (first.into()..end).contains(index))
            .collect();
        candidates.sort_unstable();
        let mut shelf = Shelf::default();
        let (mut len, mut next) = (0, u64::from(first));
        for part in candidates.chunks(LOADED_BLOCKS as usize) {
            if len >= MAX_SHELF_LEN {
                break;
            }
            let store = self.reading(&[BLOCKS])?.object_store(BLOCKS)?;
            let requests = part
                .iter()
                .map(|(index, hash)| store.get(records::block_key(*index, hash)))
                .collect::<Result<Vec<_>, _>>()?;
            let values = try_join_all(requests.into_iter().map(IntoFuture::into_future)).await?;
            for ((index, hash), value) in part.iter().zip(values) {
                // No gap. What stands as high as the last one, and finds no room, stays as it is.
                if len >= MAX_SHELF_LEN || *index > next {
                    break;
                }
                // The shelf's digest is to say of its bodies that they were checked.
                let block = value.and_then(|value| read_block(&value));
                let whole = |block: &Block| block.header.hash() == *hash && is_whole(block);
                let Some(block) = block.filter(whole) else {
                    return Ok(false);
                };
                len += block.encoded_len();
                next = index + 1;
                shelf.push(self.room, *hash, block);
            }
        }
        if shelf.known().is_empty() {
            return Ok(false);
        }
        let write = self.writing(&[BLOCKS, SHELVES, SUMMARIES], false)?;
        let moved = shelf.put(&write, first).and_then(|()| {
            let rows = write.object_store(BLOCKS)?;
            for block in shelf.known() {
                rows.delete(records::block_key(block.header.index, &block.hash))?;
            }
            Ok(())
        });
        schema::all_or_nothing(write, moved).await?;
        for block in shelf.known() {
            self.shelves.note(&block.hash, first, block.header.index);
            self.rows.remove(&block.hash);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use sync::Stored;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::{
        config::SETTLED_DEPTH,
        storage::{Check, Health, Storage, misfortune::Misfortune, suite},
    };

    type Blocks = Vec<(BlockHash, Block)>;

    async fn anew(name: &str) -> IndexedDb {
        IndexedDb::anew(name, suite::room().id()).await
    }

    async fn put(store: &mut IndexedDb, blocks: &[(BlockHash, Block)]) {
        suite::write(store, blocks.iter().cloned().map(suite::put).collect()).await;
    }

    /// The first height of the shelf that this block is on.
    fn shelf_of(store: &IndexedDb, (hash, _): &(BlockHash, Block)) -> usize {
        let first = store.shelves.shelf_of(hash).expect("it is on a shelf");
        first.try_into().expect("a height")
    }

    /// Where no shelves are.
    fn gaps(store: &IndexedDb) -> Vec<(u64, u64)> {
        store.shelves.gaps().collect()
    }

    /// All of it is found, now and after the next start, in its order and undamaged.
    async fn expect_whole(name: &str, store: IndexedDb, blocks: &Blocks) -> IndexedDb {
        let hashes: Vec<BlockHash> = blocks.iter().map(|(hash, _)| *hash).collect();
        let bodies = blocks.iter().map(|(_, block)| Some(block.readings.clone()));
        let bodies: Vec<_> = bodies.collect();
        assert_eq!(store.bodies(&hashes).await, Ok(bodies.clone()));
        let rows = store.rows.len();
        drop(store);
        let opened = IndexedDb::open(name, suite::room().id(), Health::new(Ok(0))).await;
        let mut store = opened.expect("it opens");
        let mut loaded = Vec::new();
        let loading = store.load_blocks(false, |blocks| loaded.extend(blocks));
        loading.await.expect("it can be loaded");
        let again: Vec<BlockHash> = loaded.iter().map(|block| *block.hash()).collect();
        assert_eq!(again, hashes);
        let whole = |block: &&Stored| matches!(block, Stored::Whole(..));
        assert_eq!(loaded.iter().filter(whole).count(), rows);
        while store.check().await == Check::Lost(Vec::new()) {}
        assert_eq!(
            (store.health().unchecked(), store.health().healed()),
            (0, 0)
        );
        assert_eq!(store.bodies(&hashes).await, Ok(bodies));
        store
    }

    #[test]
    async fn what_is_fetched_in_a_stretch_is_packed_as_it_comes_in_any_order() {
        let name = "packing stretches";
        let mut store = anew(name).await;
        let blocks = suite::branch(1, 300, 1);
        for part in [&blocks[100..200], &blocks[..100], &blocks[200..]] {
            put(&mut store, part).await;
        }
        assert_eq!((store.rows.len(), gaps(&store)), (0, vec![(301, u64::MAX)]));
        expect_whole(name, store, &blocks).await;
    }

    #[test]
    async fn a_short_stretch_stays_as_it_is() {
        let name = "packing short";
        let mut store = anew(name).await;
        let blocks = suite::branch(1, 2 * MIN_SHELF_BLOCKS as u64 - 1, 1);
        put(&mut store, &blocks[..MIN_SHELF_BLOCKS - 1]).await;
        assert_eq!(store.rows.len(), MIN_SHELF_BLOCKS - 1);
        put(&mut store, &blocks[MIN_SHELF_BLOCKS - 1..]).await;
        assert_eq!(store.rows.len(), MIN_SHELF_BLOCKS - 1);
        let mut store = expect_whole(name, store, &blocks).await;
        // It is packed by itself once it is settled.
        let far = blocks.len() as u64 + SETTLED_DEPTH;
        put(&mut store, &suite::branch(far, 1, 1)).await;
        assert!(store.tidy().await);
        assert!(!store.tidy().await);
        assert_eq!(store.rows.len(), 1);
        assert_eq!(gaps(&store), [(2 * MIN_SHELF_BLOCKS as u64, u64::MAX)]);
    }

    #[test]
    async fn a_shelf_has_so_many_blocks_and_bytes_and_no_more() {
        let name = "packing bounds";
        let mut store = anew(name).await;
        let blocks = suite::branch(1, MAX_SHELF_BLOCKS as u64 + 1, 1);
        put(&mut store, &blocks).await;
        let last = shelf_of(&store, &blocks[MAX_SHELF_BLOCKS - 1]);
        let next = shelf_of(&store, &blocks[MAX_SHELF_BLOCKS]);
        assert_eq!((last, next), (1, MAX_SHELF_BLOCKS + 1));
        expect_whole(name, store, &blocks).await;

        let name = "packing bytes";
        let mut store = anew(name).await;
        let blocks = suite::branch(1, MIN_SHELF_BLOCKS as u64, 100);
        put(&mut store, &blocks).await;
        let fits = MAX_SHELF_LEN.div_ceil(blocks[0].1.encoded_len());
        assert!(fits < blocks.len());
        let [last, next] = [fits - 1, fits].map(|at| shelf_of(&store, &blocks[at]));
        assert_eq!((last, next), (1, fits + 1));
        expect_whole(name, store, &blocks).await;
    }

    #[test]
    async fn no_two_shelves_span_one_height() {
        let name = "packing spans";
        let mut store = anew(name).await;
        let first = suite::branch(1, 100, 1);
        put(&mut store, &first).await;
        // Another branch, from below the shelf's end on, and twice in one batch.
        let other = suite::branch(90, 100, 2);
        put(&mut store, &other).await;
        assert_eq!(store.rows.len(), other.len());
        let third = suite::branch(200, 100, 1);
        let fourth = suite::branch(200, 100, 2);
        put(&mut store, &[third.clone(), fourth.clone()].concat()).await;
        assert_eq!(store.rows.len(), other.len() + fourth.len());
        assert_eq!(gaps(&store), [(101, 200), (300, u64::MAX)]);
        let mut all = [first, other, third, fourth].concat();
        let hashes: Vec<BlockHash> = all.iter().map(|(hash, _)| *hash).collect();
        let bodies: Vec<_> = all
            .iter()
            .map(|(_, block)| Some(block.readings.clone()))
            .collect();
        assert_eq!(store.bodies(&hashes).await, Ok(bodies));
        drop(store);
        let opened = IndexedDb::open(name, suite::room().id(), Health::new(Ok(0))).await;
        let mut loaded = Vec::new();
        let mut store = opened.expect("it opens");
        let loading = store.load_blocks(false, |blocks| loaded.extend(blocks));
        loading.await.expect("it can be loaded");
        assert!(loaded.is_sorted_by_key(Stored::index));
        all.sort_by_key(|(_, block)| block.header.index);
        assert_eq!(loaded.len(), all.len());
    }

    /// A block so far above the others that they are settled.
    async fn settle(store: &mut IndexedDb, blocks: &Blocks) {
        let far = blocks.len() as u64 + SETTLED_DEPTH;
        put(store, &suite::branch(far, 1, 1)).await;
        while store.tidy().await {}
    }

    #[test]
    async fn a_shelf_whose_blocks_all_came_again_leaves_its_heights_to_others() {
        let mut store = anew("packing emptied").await;
        let blocks = suite::branch(1, MAX_SHELF_BLOCKS as u64, 1);
        put(&mut store, &blocks).await;
        for part in blocks.chunks(100) {
            put(&mut store, part).await;
        }
        assert_eq!(store.rows.len(), blocks.len());
        assert_eq!(gaps(&store), [(1, u64::MAX)]);
        settle(&mut store, &blocks).await;
        assert_eq!(store.rows.len(), 1);
    }

    /// A store with blocks for three shelves, none of them packed yet.
    async fn unpacked(name: &str) -> (IndexedDb, Blocks) {
        let mut store = anew(name).await;
        let blocks = suite::branch(1, 3 * MAX_SHELF_BLOCKS as u64, 1);
        for part in blocks.chunks(MIN_SHELF_BLOCKS - 1) {
            put(&mut store, part).await;
        }
        assert_eq!(gaps(&store), [(1, u64::MAX)]);
        (store, blocks)
    }

    #[test]
    async fn a_block_whose_header_was_garbled_is_not_packed_and_keeps_back_no_others() {
        let (mut store, blocks) = unpacked("packing garbled").await;
        let (hash, mut garbled) = blocks[7].clone();
        let key = records::block_key(garbled.header.index, &hash);
        garbled.header.index = 1 << 40;
        let write = store.writing(&[BLOCKS], false).expect("it writes");
        let rows = write.object_store(BLOCKS).expect("it is there");
        let record = records::to_js(&garbled.encode());
        rows.put(&record, Some(&key)).expect("it takes it");
        schema::committed(write).await.expect("it keeps it");
        settle(&mut store, &blocks).await;
        let shelf = MAX_SHELF_BLOCKS as u64;
        assert_eq!(gaps(&store), [(1, shelf + 1), (3 * shelf + 1, u64::MAX)]);
        assert_eq!(store.rows.len(), MAX_SHELF_BLOCKS + 1);

        // It comes again, and its turn does, too.
        put(&mut store, &blocks[7..8]).await;
        let above = 3 * shelf + SETTLED_DEPTH + 1;
        put(&mut store, &suite::branch(above, shelf, 1)).await;
        while store.tidy().await {}
        assert_eq!(gaps(&store)[0].0, 3 * shelf + 1);
    }

    #[test]
    async fn a_block_that_cannot_be_read_keeps_others_from_their_shelf_only_for_a_while() {
        let name = "packing refused";
        let (mut store, blocks) = unpacked(name).await;
        let key = records::block_key(8, &blocks[7].0);
        let refusal = Misfortune::unreadable(name, BLOCKS, &key);
        settle(&mut store, &blocks).await;
        assert_eq!(gaps(&store), [(1, u64::MAX)]);
        let shelf = MAX_SHELF_BLOCKS as u64;
        let above = 3 * shelf + SETTLED_DEPTH + 1;
        put(&mut store, &suite::branch(above, shelf, 1)).await;
        while store.tidy().await {}
        assert_eq!(gaps(&store)[..2], [(1, shelf + 1), (3 * shelf + 1, above)]);
        drop(refusal);
        put(&mut store, &suite::branch(above + shelf, shelf, 1)).await;
        while store.tidy().await {}
        assert_eq!(gaps(&store)[0].0, 3 * shelf + 1);
    }

    #[test]
    async fn what_has_a_record_of_its_own_gets_no_second_place() {
        let mut store = anew("packing again").await;
        let blocks = suite::branch(1, 100, 1);
        put(&mut store, &blocks[40..41]).await;
        put(&mut store, &blocks).await;
        assert_eq!(store.rows.len(), blocks.len());
        let gone = blocks
            .iter()
            .map(|(hash, _)| StoreOperation::DeleteBlock(*hash));
        let again = blocks.iter().cloned().map(suite::put);
        let batch = gone.chain(again).collect();
        suite::write(&mut store, batch).await;
        assert_eq!(store.rows.len(), blocks.len());
        let hashes: Vec<BlockHash> = blocks.iter().map(|(hash, _)| *hash).collect();
        let bodies = store.bodies(&hashes).await.expect("they can be read");
        assert!(bodies.iter().all(Option::is_some));
    }
}
