//! Segments: many settled blocks in one record, because one large record is read several times faster than many small
//! ones. Each segment has a summary (see `summary`). Segments rarely change, and which block is in which segment never
//! affects validation. Specified in docs/storage.md, "Segments".

use std::collections::HashMap;

use heartchain_chain::{
    block::{Block, MAX_BLOCK_LEN, block_len, check_root},
    content::ReadingForm,
    hash::{BlockHash, RoomId},
    header::Header,
    room::Room,
    tree::Entry,
};
use heartchain_sync::IndexedBlock;
use idb::Transaction;
use litemap::LiteMap;
use sha2::{Digest as _, Sha256};
use wasm_bindgen::JsValue;

use super::{
    records,
    schema::{SEGMENTS, SUMMARIES},
    summary::Summary,
};

/// Blocks this far below the highest are settled: side blocks more than 1,000 below the tip are pruned.
pub(crate) const SETTLED_DEPTH: u64 = 1_024;
/// The most settled blocks in one segment. The database reads segments four times faster than single blocks.
pub(crate) const MAX_SEGMENT_BLOCKS: usize = 256;
/// Bytes of a segment without its last block. A whole segment is read to get any one of its blocks.
pub(crate) const MAX_SEGMENT_LEN: usize = 512 * 1024;

/// The last eight bytes of a block hash; the first ones are zeros because of the proof of work. A lookup compares the
/// whole hash with the block it finds.
type HashSuffix = u64;

/// The index of all segments: which block is in which segment (twelve bytes a block), and the heights of each segment.
#[derive(Debug, Default)]
pub(super) struct Segments {
    /// The first height of the block's segment, which is the segment's key. No chain comes near 2^32 blocks.
    by_hash: HashMap<HashSuffix, u32>,
    /// Segments whose bodies were not checked since the store was opened. Like all maps of segments it is filled in key
    /// order; 100,000 blocks are about 400 segments.
    unchecked: LiteMap<u32, UncheckedSegment>,
    /// The last height of each segment, by its first. Segments do not overlap, so reading them in order returns parents
    /// before their children.
    spans: LiteMap<u32, u64>,
    /// The greatest height of any stored block.
    highest: u64,
    /// How many more blocks must be stored before compaction is tried again.
    blocks_until_retry: usize,
    /// Compaction failed below this height, so higher blocks are tried first.
    compact_from: u64,
}

/// A segment that must still be checked.
#[derive(Debug)]
struct UncheckedSegment {
    blocks: usize,
    /// How often in a row it could not be read.
    failed_reads: u32,
    /// Whether it waits for the next round of checks.
    deferred: bool,
}

impl Segments {
    /// The key of the segment that contains this block.
    pub(super) fn segment_of(&self, hash: &BlockHash) -> Option<u32> {
        self.by_hash.get(&hash_suffix(hash)).copied()
    }

    pub(super) fn remove_block(&mut self, hash: &BlockHash) {
        self.by_hash.remove(&hash_suffix(hash));
    }

    /// Adds a block to a segment's index.
    pub(super) fn add_block(&mut self, hash: &BlockHash, first: u32, index: u64) {
        self.by_hash.insert(hash_suffix(hash), first);
        self.add_segment(first, index);
        self.add_height(index);
    }

    /// Adds a segment that spans at least these heights, or extends it.
    pub(super) fn add_segment(&mut self, first: u32, last: u64) {
        let last = last.max(first.into());
        let span = self.spans.entry(first).or_insert(last);
        *span = last.max(*span);
    }

    /// Records the height of a stored block.
    pub(super) fn add_height(&mut self, index: u64) {
        self.highest = self.highest.max(index);
        self.blocks_until_retry = self.blocks_until_retry.saturating_sub(1);
    }

    /// Marks a segment whose bodies must be checked.
    pub(super) fn mark_unchecked(&mut self, first: u32, blocks: usize) {
        let unchecked = UncheckedSegment {
            blocks,
            failed_reads: 0,
            deferred: false,
        };
        self.unchecked.insert(first, unchecked);
    }

    pub(super) fn mark_checked(&mut self, first: u32) {
        self.unchecked.remove(&first);
    }

    /// Removes an empty segment. Its heights are free again.
    pub(super) fn remove_segment(&mut self, first: u32) {
        self.spans.remove(&first);
        self.mark_checked(first);
    }

    pub(super) fn is_checked(&self, first: u32) -> bool {
        !self.unchecked.contains_key(&first)
    }

    /// The next segments to check.
    pub(super) fn unchecked(&self, limit: usize) -> Vec<u32> {
        let due = self
            .unchecked
            .iter()
            .filter(|(_, segment)| !segment.deferred);
        due.take(limit).map(|(first, _)| *first).collect()
    }

    /// The number of blocks in unchecked segments, including those that wait for the next round.
    pub(super) fn unchecked_blocks(&self) -> usize {
        self.unchecked.values().map(|segment| segment.blocks).sum()
    }

    /// Defers a segment to the next round of checks. `unread`: it could not be read, although other records could.
    pub(super) fn defer(&mut self, first: u32, unread: bool) {
        if let Some(segment) = self.unchecked.get_mut(&first) {
            let attempts = segment.failed_reads.saturating_add(1);
            segment.failed_reads = if unread { attempts } else { 0 };
            segment.deferred = true;
        }
    }

    /// Starts the next round of checks. Returns whether any segment was waiting for it.
    pub(super) fn start_next_round(&mut self) -> bool {
        let mut waited = false;
        for (_, segment) in &mut self.unchecked {
            waited |= std::mem::take(&mut segment.deferred);
        }
        waited
    }

    /// How often in a row this segment could not be read.
    pub(super) fn failed_reads(&self, first: u32) -> u32 {
        self.unchecked
            .get(&first)
            .map_or(0, |segment| segment.failed_reads)
    }

    /// Pauses compaction until this many more blocks are stored.
    pub(super) fn pause_compaction(&mut self, blocks: usize) {
        self.blocks_until_retry = blocks;
    }

    /// Skips heights below this one, which could not be compacted. Zero: skips nothing.
    pub(super) const fn set_compact_from(&mut self, height: u64) {
        self.compact_from = height;
    }

    /// The lowest height that compaction tries next.
    pub(super) const fn compact_from(&self) -> u64 {
        self.compact_from
    }

    /// Whether no segment spans any height from `first` to `last`.
    pub(super) fn is_free(&self, first: u32, last: u64) -> bool {
        let mut spans = self.spans.iter().rev();
        let span = spans.find(|(start, _)| u64::from(**start) <= last);
        span.is_none_or(|(_, end)| *end < first.into())
    }

    /// The half-open ranges of heights that no segment spans, lowest first.
    pub(super) fn gaps(&self) -> impl Iterator<Item = (u64, u64)> {
        // Genesis is derived from the room's name and never stored.
        let starts = [1].into_iter();
        let starts = starts.chain(self.spans.values().map(|last| last.saturating_add(1)));
        let ends = self.spans.keys().map(|first| u64::from(*first));
        let gaps = starts.zip(ends.chain([u64::MAX]));
        gaps.filter(|(start, end)| start < end)
    }

    /// Whether a block of this height is deep enough to be compacted.
    pub(super) const fn is_settled(&self, index: u64) -> bool {
        index.saturating_add(SETTLED_DEPTH) <= self.highest
    }

    pub(super) const fn is_compaction_paused(&self) -> bool {
        self.blocks_until_retry > 0
    }
}

fn hash_suffix(hash: &BlockHash) -> HashSuffix {
    let bytes = hash.as_bytes().last_chunk::<8>().copied();
    u64::from_le_bytes(bytes.unwrap_or_default())
}

/// One segment: the record of its concatenated blocks, and its summary, which also lists blocks whose bodies are
/// missing.
#[derive(Debug, Default)]
pub(super) struct Segment {
    blocks: Vec<(BlockHash, Block)>,
    indexed: Vec<IndexedBlock>,
}

impl Segment {
    /// Decodes blocks until the first bytes that are not a valid block.
    pub(super) fn scan_blocks(form: ReadingForm, value: &JsValue) -> Vec<(BlockHash, Block)> {
        let limit = MAX_SEGMENT_LEN + MAX_BLOCK_LEN;
        let bytes = records::from_js(value, limit).unwrap_or_default();
        let mut blocks = Vec::new();
        let mut rest = bytes.as_slice();
        while let Some((block, remaining)) = split_first_block(form, rest) {
            blocks.push((block.header.hash(), block));
            rest = remaining;
        }
        blocks
    }

    /// The blocks of a segment's record, located with its summary if there is one.
    pub(super) fn read_blocks(
        form: ReadingForm,
        summary: Option<&Summary>,
        value: &JsValue,
    ) -> Vec<(BlockHash, Block)> {
        match summary {
            Some(summary) => Self::split_blocks(form, &summary.blocks, value),
            None => Self::scan_blocks(form, value),
        }
    }

    /// Decodes blocks at the offsets that follow from the summary, if no body is missing. So a corrupt block, even one
    /// with a corrupt length, does not affect the others.
    fn split_blocks(
        form: ReadingForm,
        indexed: &[IndexedBlock],
        value: &JsValue,
    ) -> Vec<(BlockHash, Block)> {
        let bytes = records::from_js(value, MAX_SEGMENT_LEN + MAX_BLOCK_LEN).unwrap_or_default();
        let blocks = indexed.iter();
        let lens = blocks.map(|block| block_len(form, block.entries.len()));
        if lens.clone().fold(0, usize::saturating_add) != bytes.len() {
            return Self::scan_blocks(form, value);
        }
        let mut rest = bytes.as_slice();
        let mut blocks = Vec::with_capacity(indexed.len());
        for len in lens {
            let Some((block, remaining)) = rest.split_at_checked(len) else {
                break;
            };
            let block = Block::decode(form, block).ok();
            blocks.extend(block.map(|block| (block.header.hash(), block)));
            rest = remaining;
        }
        blocks
    }

    /// A segment from its two records, as far as they can be read. Contains only bodies that match their headers and,
    /// if there is a summary, only blocks that it lists.
    pub(super) fn read(
        room: &Room,
        first: u32,
        segment: Option<&JsValue>,
        summary: Option<&JsValue>,
    ) -> Self {
        let summary = summary.and_then(|value| Summary::read(first, value));
        let blocks = segment.map(|value| Self::read_blocks(room.form(), summary.as_ref(), value));
        let mut blocks = blocks.unwrap_or_default();
        blocks.retain(|(_, block)| body_matches_header(block));
        let Some(Summary {
            blocks: indexed, ..
        }) = summary
        else {
            let mut segment = Self::default();
            for (hash, block) in blocks {
                segment.push(room.id(), hash, block);
            }
            return segment;
        };
        let mut bodies: HashMap<BlockHash, Block> = blocks.into_iter().collect();
        let blocks = indexed
            .iter()
            .filter_map(|block| Some((block.hash, bodies.remove(&block.hash)?)))
            .collect();
        Self { blocks, indexed }
    }

    /// Appends a block, whose body must match its header.
    pub(super) fn push(&mut self, room: RoomId, hash: BlockHash, block: Block) {
        let entries = block.readings.iter();
        self.indexed.push(IndexedBlock {
            hash,
            header: block.header,
            entries: entries.map(|reading| Entry::new(room, reading)).collect(),
        });
        self.blocks.push((hash, block));
    }

    pub(super) fn remove(&mut self, hash: &BlockHash) {
        self.blocks.retain(|(other, _)| other != hash);
        self.indexed.retain(|other| other.hash != *hash);
    }

    /// Every block, whether or not its body is there.
    pub(super) fn indexed(&self) -> &[IndexedBlock] {
        &self.indexed
    }

    /// Blocks whose bodies are missing.
    pub(super) fn missing(&self) -> Vec<BlockHash> {
        let mut here = self.blocks.iter().map(|(hash, _)| hash).peekable();
        let hashes = self.indexed.iter().map(|block| block.hash);
        hashes
            .filter(|hash| here.next_if(|other| *other == hash).is_none())
            .collect()
    }

    /// Writes both records; deletes those that are empty.
    pub(super) fn put(&self, write: &Transaction, first: u32) -> Result<(), idb::Error> {
        let (segments, summaries) = (
            write.object_store(SEGMENTS)?,
            write.object_store(SUMMARIES)?,
        );
        let key = records::number_key(first.into());
        let blocks = self.blocks.iter();
        let bytes: Vec<u8> = blocks.flat_map(|(_, block)| block.encode()).collect();
        if bytes.is_empty() {
            segments.delete(key.clone())?;
        } else {
            segments.put(&records::to_js(&bytes), Some(&key))?;
        }
        if self.indexed.is_empty() {
            return summaries.delete(key).map(drop);
        }
        let whole = self.blocks.len() == self.indexed.len();
        let summary = Summary {
            digest: whole.then(|| Sha256::digest(&bytes).into()),
            blocks: self.indexed.clone(),
        };
        summaries.put(&summary.record(first), Some(&key)).map(drop)
    }
}

/// Whether the readings match the header's Merkle root.
pub(super) fn body_matches_header(block: &Block) -> bool {
    check_root(&block.header, &block.readings).is_ok()
}

/// The block at the beginning of these bytes, and the rest.
fn split_first_block(form: ReadingForm, bytes: &[u8]) -> Option<(Block, &[u8])> {
    let count = bytes.get(Header::LEN..)?.first_chunk()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    let (block, remaining) = bytes.split_at_checked(block_len(form, count))?;
    Some((Block::decode(form, block).ok()?, remaining))
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn gaps_lie_between_segments() {
        let mut segments = Segments::default();
        let gaps = |segments: &Segments| segments.gaps().collect::<Vec<_>>();
        assert_eq!(gaps(&segments), [(1, u64::MAX)]);
        segments.add_segment(5, 9);
        segments.add_segment(10, 10);
        assert_eq!(gaps(&segments), [(1, 5), (11, u64::MAX)]);
        for (first, last, free) in [(1, 4, true), (1, 5, false), (9, 12, false), (10, 10, false)] {
            assert_eq!(segments.is_free(first, last), free, "{first} to {last}");
        }
        assert!(segments.is_free(11, u64::MAX));
        segments.add_segment(1, 4);
        assert_eq!(gaps(&segments), [(11, u64::MAX)]);
    }
}
