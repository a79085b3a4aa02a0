//! Compaction: moves settled blocks from records of their own into segments while the store is idle. Each move is one
//! transaction, so after a crash a block is either in its record or in the segment. Long ranges of a branch, which
//! arrive when a tab catches up, are written as segments directly. Segments never overlap in height.

use futures::future::try_join_all;
use heartchain_chain::{block::Block, compact_sort, hash::BlockHash};
use heartchain_sync::{Batch, StoreOperation};
use litemap::LiteMap;

use super::{
    indexed_db::{IndexedDb, LOADED_BLOCKS, read_block},
    records,
    schema::{self, BLOCKS, SEGMENTS, SUMMARIES},
    segments::{MAX_SEGMENT_BLOCKS, MAX_SEGMENT_LEN, Segment, body_matches_header},
    store::StoreError,
};

/// The least consecutive blocks of one branch that are worth a segment at once, for instance while a tab catches up.
/// Ranges that peers are asked for are twice as long.
const MIN_SEGMENT_BLOCKS: usize = 64;

impl IndexedDb {
    /// Compacts settled blocks into one segment. Returns whether there may be more.
    ///
    /// # Errors
    /// If the database reports an error. Then compaction pauses.
    pub(super) async fn compact_next_range(&mut self) -> Result<bool, StoreError> {
        if self.segments.is_compaction_paused() {
            return Ok(false);
        }
        let Some((first, end)) = self.next_range() else {
            // Blocks that could not be compacted are tried again, but not at once.
            let tried = self.segments.compact_from() > 0;
            self.segments.set_compact_from(0);
            self.segments
                .pause_compaction(if tried { MAX_SEGMENT_BLOCKS } else { 1 });
            return Ok(false);
        };
        match self.compact_range(first, end).await {
            Ok(true) => {}
            // One of the blocks was corrupt; higher blocks can still be compacted.
            Ok(false) => self.segments.set_compact_from(end),
            Err(error) => {
                // A block is unreadable, or the disk is full. On a full disk all other attempts would fail, too.
                self.segments.set_compact_from(end);
                self.segments.pause_compaction(MAX_SEGMENT_BLOCKS);
                return Err(error);
            }
        }
        Ok(true)
    }

    /// The ranges of blocks in a batch that are written as segments directly, as when a tab catches up. Writing each
    /// block to a record of its own first would take several times as long, and blocks that are not yet written when a
    /// tab is closed must be fetched again.
    pub(super) fn direct_segments(&self, batch: &Batch) -> LiteMap<u32, Segment> {
        let mut segments = LiteMap::new();
        let mut puts = Vec::new();
        for operation in &batch.operations {
            match operation {
                StoreOperation::PutBlock(hash, block) => puts.push((*hash, block)),
                // With deletions in the batch, the order of operations may matter.
                StoreOperation::DeleteBlock(_) => return segments,
                StoreOperation::PutTip(_)
                | StoreOperation::PutConfirmed(_)
                | StoreOperation::PutJournal(..)
                | StoreOperation::PutKey(..)
                | StoreOperation::PutRecovery(_)
                | StoreOperation::DeleteRecovery(_)
                | StoreOperation::PutAdopted(..)
                | StoreOperation::DeleteAdopted(_)
                | StoreOperation::PutProfile(_)
                | StoreOperation::DeleteProfile(_) => {}
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
                !self.rows.contains_key(hash) && self.segments.segment_of(hash).is_none()
            };
            let is_free = lowest > highest && self.segments.is_free(first, last);
            if run.len() >= MIN_SEGMENT_BLOCKS && is_free && run.iter().all(is_new) {
                highest = last;
                self.fill_segments(run, &mut segments);
            }
        }
        segments
    }

    fn fill_segments(&self, run: &[(BlockHash, &Block)], segments: &mut LiteMap<u32, Segment>) {
        let (mut len, mut key) = (MAX_SEGMENT_LEN, 0);
        for (hash, block) in run {
            let blocks = segments
                .get(&key)
                .map_or(0, |segment: &Segment| segment.indexed().len());
            if len >= MAX_SEGMENT_LEN || blocks >= MAX_SEGMENT_BLOCKS {
                // `direct_segments` has checked that all heights fit into `u32`.
                (len, key) = (0, u32::try_from(block.header.index).unwrap_or(u32::MAX));
            }
            len += block.encoded_len();
            let segment = segments.entry(key).or_default();
            segment.push(self.room.id(), *hash, (*block).clone());
        }
    }

    /// The next half-open range of heights to compact: as many as fit into a segment, or all between two segments.
    fn next_range(&self) -> Option<(u32, u64)> {
        let heights = self.rows.values().copied();
        let mut settled: Vec<u64> = heights
            .filter(|index| self.segments.is_settled(*index))
            .collect();
        compact_sort::sort(&mut settled);
        settled.dedup();
        let below = |height: u64| settled.partition_point(|index| *index < height);
        let compact_from = self.segments.compact_from();
        let gaps = self.segments.gaps().filter(|(_, end)| *end > compact_from);
        gaps.map(|(start, end)| (start.max(compact_from), end))
            .find_map(|(start, end)| {
                let full = start.saturating_add(MAX_SEGMENT_BLOCKS as u64).min(end);
                // Heights may be missing, because a fetched branch arrives in ranges and in any order.
                let here = (below(full) - below(start)) as u64;
                let first = u32::try_from(start).ok()?;
                (here == full - start).then_some((first, full))
            })
    }

    /// Compacts the blocks of these heights. Returns `false` if one of them is missing or corrupt.
    async fn compact_range(&mut self, first: u32, end: u64) -> Result<bool, StoreError> {
        let mut candidates: Vec<(u64, BlockHash)> = self
            .rows
            .iter()
            .map(|(hash, index)| (*index, *hash))
            .filter(|(index, _)| (first.into()..end).contains(index))
            .collect();
        compact_sort::sort(&mut candidates);
        let mut segment = Segment::default();
        let (mut len, mut next) = (0, u64::from(first));
        for part in candidates.chunks(LOADED_BLOCKS as usize) {
            if len >= MAX_SEGMENT_LEN {
                break;
            }
            let store = self.read_transaction(&[BLOCKS])?.object_store(BLOCKS)?;
            let requests = part
                .iter()
                .map(|(index, hash)| store.get(records::block_key(*index, hash)))
                .collect::<Result<Vec<_>, _>>()?;
            let values = try_join_all(requests.into_iter().map(IntoFuture::into_future)).await?;
            for ((index, hash), value) in part.iter().zip(values) {
                // No gaps. Blocks that no longer fit stay in their own records.
                if len >= MAX_SEGMENT_LEN || *index > next {
                    break;
                }
                // The segment's digest vouches for verified bodies, so verify them.
                let block = value.and_then(|value| read_block(self.room.form(), &value));
                let whole =
                    |block: &Block| block.header.hash() == *hash && body_matches_header(block);
                let Some(block) = block.filter(whole) else {
                    return Ok(false);
                };
                len += block.encoded_len();
                next = index + 1;
                segment.push(self.room.id(), *hash, block);
            }
        }
        if segment.indexed().is_empty() {
            return Ok(false);
        }
        let write = self.write_transaction(&[BLOCKS, SEGMENTS, SUMMARIES], false)?;
        let moved = segment.put(&write, first).and_then(|()| {
            let rows = write.object_store(BLOCKS)?;
            for block in segment.indexed() {
                rows.delete(records::block_key(block.header.index, &block.hash))?;
            }
            Ok(())
        });
        schema::commit_or_abort(write, moved).await?;
        for block in segment.indexed() {
            self.segments
                .add_block(&block.hash, first, block.header.index);
            self.rows.remove(&block.hash);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use heartchain_sync::StoredBlock;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::storage::{
        CheckProgress, Health, Storage, fault_injector::FaultInjector, segments::SETTLED_DEPTH,
        suite,
    };

    type Blocks = Vec<(BlockHash, Block)>;

    async fn open_empty(name: &str) -> IndexedDb {
        IndexedDb::open_empty(name, &suite::room()).await
    }

    async fn put(store: &mut IndexedDb, blocks: &[(BlockHash, Block)]) {
        suite::write(store, blocks.iter().cloned().map(suite::put).collect()).await;
    }

    /// The first height of the segment that contains this block.
    fn segment_of(store: &IndexedDb, (hash, _): &(BlockHash, Block)) -> usize {
        let first = store.segments.segment_of(hash).expect("it is on a segment");
        first.try_into().expect("a height")
    }

    /// The ranges of heights without segments.
    fn gaps(store: &IndexedDb) -> Vec<(u64, u64)> {
        store.segments.gaps().collect()
    }

    /// Expects that all blocks are found now and after a restart, in order and intact.
    async fn expect_whole(name: &str, store: IndexedDb, blocks: &Blocks) -> IndexedDb {
        let hashes: Vec<BlockHash> = blocks.iter().map(|(hash, _)| *hash).collect();
        let bodies = blocks.iter().map(|(_, block)| Some(block.readings.clone()));
        let bodies: Vec<_> = bodies.collect();
        assert_eq!(store.bodies(&hashes).await, Ok(bodies.clone()));
        let rows = store.rows.len();
        drop(store);
        let opened = IndexedDb::open(name, &suite::room(), Health::new(Ok(0))).await;
        let mut store = opened.expect("it opens");
        let mut loaded = Vec::new();
        let loading = store.load_blocks(false, |blocks| loaded.extend(blocks));
        loading.await.expect("it can be loaded");
        let again: Vec<BlockHash> = loaded.iter().map(|block| *block.hash()).collect();
        assert_eq!(again, hashes);
        let whole = |block: &&StoredBlock| matches!(block, StoredBlock::Full(..));
        assert_eq!(loaded.iter().filter(whole).count(), rows);
        while store.check().await == CheckProgress::Missing(Vec::new()) {}
        assert_eq!(
            (store.health().unchecked(), store.health().repaired()),
            (0, 0)
        );
        assert_eq!(store.bodies(&hashes).await, Ok(bodies));
        store
    }

    #[test]
    async fn fetched_ranges_become_segments_at_once() {
        let name = "compaction stretches";
        let mut store = open_empty(name).await;
        let blocks = suite::branch(1, 300, 1);
        for part in [&blocks[100..200], &blocks[..100], &blocks[200..]] {
            put(&mut store, part).await;
        }
        assert_eq!((store.rows.len(), gaps(&store)), (0, vec![(301, u64::MAX)]));
        expect_whole(name, store, &blocks).await;
    }

    #[test]
    async fn short_range_is_not_a_segment_at_once() {
        let name = "compaction short";
        let mut store = open_empty(name).await;
        let blocks = suite::branch(1, 2 * MIN_SEGMENT_BLOCKS as u64 - 1, 1);
        put(&mut store, &blocks[..MIN_SEGMENT_BLOCKS - 1]).await;
        assert_eq!(store.rows.len(), MIN_SEGMENT_BLOCKS - 1);
        put(&mut store, &blocks[MIN_SEGMENT_BLOCKS - 1..]).await;
        assert_eq!(store.rows.len(), MIN_SEGMENT_BLOCKS - 1);
        let mut store = expect_whole(name, store, &blocks).await;
        // It is compacted on its own once it is settled.
        let far = blocks.len() as u64 + SETTLED_DEPTH;
        put(&mut store, &suite::branch(far, 1, 1)).await;
        assert!(store.compact().await);
        assert!(!store.compact().await);
        assert_eq!(store.rows.len(), 1);
        assert_eq!(gaps(&store), [(2 * MIN_SEGMENT_BLOCKS as u64, u64::MAX)]);
    }

    #[test]
    async fn segment_size_is_bounded() {
        let name = "compaction bounds";
        let mut store = open_empty(name).await;
        let blocks = suite::branch(1, MAX_SEGMENT_BLOCKS as u64 + 1, 1);
        put(&mut store, &blocks).await;
        let last = segment_of(&store, &blocks[MAX_SEGMENT_BLOCKS - 1]);
        let next = segment_of(&store, &blocks[MAX_SEGMENT_BLOCKS]);
        assert_eq!((last, next), (1, MAX_SEGMENT_BLOCKS + 1));
        expect_whole(name, store, &blocks).await;

        let name = "compaction bytes";
        let mut store = open_empty(name).await;
        let blocks = suite::branch(1, MIN_SEGMENT_BLOCKS as u64, 100);
        put(&mut store, &blocks).await;
        let fits = MAX_SEGMENT_LEN.div_ceil(blocks[0].1.encoded_len());
        assert!(fits < blocks.len());
        let [last, next] = [fits - 1, fits].map(|at| segment_of(&store, &blocks[at]));
        assert_eq!((last, next), (1, fits + 1));
        expect_whole(name, store, &blocks).await;
    }

    #[test]
    async fn segments_never_overlap() {
        let name = "compaction spans";
        let mut store = open_empty(name).await;
        let first = suite::branch(1, 100, 1);
        put(&mut store, &first).await;
        // Another branch that overlaps the segment, then two overlapping branches in one batch.
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
        let opened = IndexedDb::open(name, &suite::room(), Health::new(Ok(0))).await;
        let mut loaded = Vec::new();
        let mut store = opened.expect("it opens");
        let loading = store.load_blocks(false, |blocks| loaded.extend(blocks));
        loading.await.expect("it can be loaded");
        assert!(loaded.is_sorted_by_key(StoredBlock::index));
        all.sort_by_key(|(_, block)| block.header.index);
        assert_eq!(loaded.len(), all.len());
    }

    /// Stores a block so far above the others that these are settled, and compacts.
    async fn settle(store: &mut IndexedDb, blocks: &Blocks) {
        let far = blocks.len() as u64 + SETTLED_DEPTH;
        put(store, &suite::branch(far, 1, 1)).await;
        while store.compact().await {}
    }

    #[test]
    async fn emptied_segment_frees_its_heights() {
        let mut store = open_empty("compaction emptied").await;
        let blocks = suite::branch(1, MAX_SEGMENT_BLOCKS as u64, 1);
        put(&mut store, &blocks).await;
        for part in blocks.chunks(100) {
            put(&mut store, part).await;
        }
        assert_eq!(store.rows.len(), blocks.len());
        assert_eq!(gaps(&store), [(1, u64::MAX)]);
        settle(&mut store, &blocks).await;
        assert_eq!(store.rows.len(), 1);
    }

    /// A store with blocks for three segments, none of them compacted yet.
    async fn uncompacted_store(name: &str) -> (IndexedDb, Blocks) {
        let mut store = open_empty(name).await;
        let blocks = suite::branch(1, 3 * MAX_SEGMENT_BLOCKS as u64, 1);
        for part in blocks.chunks(MIN_SEGMENT_BLOCKS - 1) {
            put(&mut store, part).await;
        }
        assert_eq!(gaps(&store), [(1, u64::MAX)]);
        (store, blocks)
    }

    #[test]
    async fn corrupt_block_does_not_stop_compaction() {
        let (mut store, blocks) = uncompacted_store("compaction corrupt").await;
        let (hash, mut corrupt) = blocks[7].clone();
        let key = records::block_key(corrupt.header.index, &hash);
        corrupt.header.index = 1 << 40;
        let write = store
            .write_transaction(&[BLOCKS], false)
            .expect("it writes");
        let rows = write.object_store(BLOCKS).expect("it is there");
        let record = records::to_js(&corrupt.encode());
        rows.put(&record, Some(&key)).expect("it takes it");
        schema::commit(write).await.expect("it keeps it");
        settle(&mut store, &blocks).await;
        let segment = MAX_SEGMENT_BLOCKS as u64;
        assert_eq!(
            gaps(&store),
            [(1, segment + 1), (3 * segment + 1, u64::MAX)]
        );
        assert_eq!(store.rows.len(), MAX_SEGMENT_BLOCKS + 1);

        // It is fetched again and, later, compacted.
        put(&mut store, &blocks[7..8]).await;
        let above = 3 * segment + SETTLED_DEPTH + 1;
        put(&mut store, &suite::branch(above, segment, 1)).await;
        while store.compact().await {}
        assert_eq!(gaps(&store)[0].0, 3 * segment + 1);
    }

    #[test]
    async fn unreadable_block_only_delays_compaction() {
        let name = "compaction refused";
        let (mut store, blocks) = uncompacted_store(name).await;
        let key = records::block_key(8, &blocks[7].0);
        let refusal = FaultInjector::unreadable(name, BLOCKS, &key);
        settle(&mut store, &blocks).await;
        assert_eq!(gaps(&store), [(1, u64::MAX)]);
        let segment = MAX_SEGMENT_BLOCKS as u64;
        let above = 3 * segment + SETTLED_DEPTH + 1;
        put(&mut store, &suite::branch(above, segment, 1)).await;
        while store.compact().await {}
        assert_eq!(
            gaps(&store)[..2],
            [(1, segment + 1), (3 * segment + 1, above)]
        );
        drop(refusal);
        put(&mut store, &suite::branch(above + segment, segment, 1)).await;
        while store.compact().await {}
        assert_eq!(gaps(&store)[0].0, 3 * segment + 1);
    }

    #[test]
    async fn stored_blocks_are_not_stored_twice() {
        let mut store = open_empty("compaction again").await;
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
