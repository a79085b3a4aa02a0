//! Settled blocks, many in one record, because that is read several times faster than as many records. Beside each shelf
//! stands its summary (see `summary`). What is on a shelf is rarely touched again; no rule depends on what is where.

use std::collections::HashMap;

use chain::{
    block::{Block, MAX_BLOCK_LEN, check_root},
    hash::{BlockHash, RoomId},
    header::Header,
    reading::Reading,
    tree::Entry,
};
use idb::Transaction;
use litemap::LiteMap;
use sha2::{Digest as _, Sha256};
use sync::KnownBlock;
use wasm_bindgen::JsValue;

use super::{
    records,
    schema::{SHELVES, SUMMARIES},
    summary::Summary,
};
use crate::config::{MAX_SHELF_LEN, SETTLED_DEPTH};

/// The end of a hash; its beginning is zeros, by the work that was done. Whoever looks a block up compares the
/// whole hash with what it finds.
type Tail = u64;

/// Where packed blocks are: twelve bytes a block.
#[derive(Debug, Default)]
pub(super) struct Shelves {
    /// The first height on the shelf, by which it is found. No chain of ours comes near 2^32 blocks.
    places: HashMap<Tail, u32>,
    /// Shelves whose bodies nobody has looked at since the store was opened. Like all tables of shelves it is filled in
    /// order; 100,000 blocks are about 400 shelves.
    unchecked: LiteMap<u32, Unchecked>,
    /// The heights that each shelf spans, from the first to the last. No two have one in common: so parents are read before
    /// their children, shelf by shelf.
    spans: LiteMap<u32, u64>,
    /// The greatest height that was put.
    highest: u64,
    /// Packing is not tried again before so many more blocks were put.
    pause: usize,
    /// Below this height packing was tried in vain: what is above has its turn first.
    tried_below: u64,
}

/// A shelf that is to be looked at.
#[derive(Debug)]
struct Unchecked {
    blocks: usize,
    /// How often in a row it could not be read.
    vain_tries: u32,
    /// Whether it waits for the next round.
    put_off: bool,
}

impl Shelves {
    /// The shelf that this block is on: the height by which it is found.
    pub(super) fn shelf_of(&self, hash: &BlockHash) -> Option<u32> {
        self.places.get(&tail(hash)).copied()
    }

    pub(super) fn forget(&mut self, hash: &BlockHash) {
        self.places.remove(&tail(hash));
    }

    /// Notes that a block is on a shelf.
    pub(super) fn note(&mut self, hash: &BlockHash, first: u32, index: u64) {
        self.places.insert(tail(hash), first);
        self.note_shelf(first, index);
        self.note_height(index);
    }

    /// Notes that there is a shelf which spans at least these heights.
    pub(super) fn note_shelf(&mut self, first: u32, last: u64) {
        let last = last.max(first.into());
        let span = self.spans.entry(first).or_insert(last);
        *span = last.max(*span);
    }

    /// Notes that there is a block of this height.
    pub(super) fn note_height(&mut self, index: u64) {
        self.highest = self.highest.max(index);
        self.pause = self.pause.saturating_sub(1);
    }

    /// Notes that the bodies on this shelf are to be checked.
    pub(super) fn note_unchecked(&mut self, first: u32, blocks: usize) {
        let unchecked = Unchecked {
            blocks,
            vain_tries: 0,
            put_off: false,
        };
        self.unchecked.insert(first, unchecked);
    }

    pub(super) fn note_checked(&mut self, first: u32) {
        self.unchecked.remove(&first);
    }

    /// Notes that nothing is left of this shelf: its heights are free again.
    pub(super) fn note_gone(&mut self, first: u32) {
        self.spans.remove(&first);
        self.note_checked(first);
    }

    pub(super) fn is_checked(&self, first: u32) -> bool {
        !self.unchecked.contains_key(&first)
    }

    /// The next shelves to be checked.
    pub(super) fn unchecked(&self, limit: usize) -> Vec<u32> {
        let due = self.unchecked.iter().filter(|(_, shelf)| !shelf.put_off);
        due.take(limit).map(|(first, _)| *first).collect()
    }

    /// How many blocks are on such shelves, also on those that wait for another round.
    pub(super) fn unchecked_blocks(&self) -> usize {
        self.unchecked.values().map(|shelf| shelf.blocks).sum()
    }

    /// Leaves a shelf for the next round; `unread`: because it alone could not be read.
    pub(super) fn put_off(&mut self, first: u32, unread: bool) {
        if let Some(shelf) = self.unchecked.get_mut(&first) {
            let tries = shelf.vain_tries.saturating_add(1);
            shelf.vain_tries = if unread { tries } else { 0 };
            shelf.put_off = true;
        }
    }

    /// Begins the next round: `false` if nothing waits for it.
    pub(super) fn begin_round(&mut self) -> bool {
        let mut waited = false;
        for (_, shelf) in &mut self.unchecked {
            waited |= std::mem::take(&mut shelf.put_off);
        }
        waited
    }

    /// How often in a row this shelf could not be read.
    pub(super) fn vain_tries(&self, first: u32) -> u32 {
        self.unchecked
            .get(&first)
            .map_or(0, |shelf| shelf.vain_tries)
    }

    /// Nothing is packed before so many more blocks were put.
    pub(super) fn pause(&mut self, blocks: usize) {
        self.pause = blocks;
    }

    /// Heights below this one could not be packed: the others have their turn. Zero: all have.
    pub(super) const fn turn_to(&mut self, height: u64) {
        self.tried_below = height;
    }

    /// The lowest height whose turn it is to be packed.
    pub(super) const fn turn(&self) -> u64 {
        self.tried_below
    }

    /// Whether no shelf spans any of the heights from the one to the other.
    pub(super) fn is_free(&self, first: u32, last: u64) -> bool {
        let mut spans = self.spans.iter().rev();
        let span = spans.find(|(start, _)| u64::from(**start) <= last);
        span.is_none_or(|(_, end)| *end < first.into())
    }

    /// The stretches of heights that no shelf spans, lowest first: the first height of each and the one behind its last.
    pub(super) fn gaps(&self) -> impl Iterator<Item = (u64, u64)> {
        // Genesis is known from the room's name, and nobody stores it.
        let starts = [1].into_iter();
        let starts = starts.chain(self.spans.values().map(|last| last.saturating_add(1)));
        let ends = self.spans.keys().map(|first| u64::from(*first));
        let gaps = starts.zip(ends.chain([u64::MAX]));
        gaps.filter(|(start, end)| start < end)
    }

    /// Whether a block of this height is settled.
    pub(super) const fn is_settled(&self, index: u64) -> bool {
        index.saturating_add(SETTLED_DEPTH) <= self.highest
    }

    pub(super) const fn is_paused(&self) -> bool {
        self.pause > 0
    }
}

fn tail(hash: &BlockHash) -> Tail {
    let bytes = hash.as_bytes().last_chunk::<8>().copied();
    u64::from_le_bytes(bytes.unwrap_or_default())
}

/// One shelf: the record of its blocks, their encodings one behind the other, and its summary, which names those, too,
/// whose bodies the disk lost.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    blocks: Vec<(BlockHash, Block)>,
    known: Vec<KnownBlock>,
}

impl Shelf {
    /// The blocks of a shelf's record: from the first byte on that is no block's there is nothing.
    pub(super) fn blocks_of(value: &JsValue) -> Vec<(BlockHash, Block)> {
        let limit = MAX_SHELF_LEN + MAX_BLOCK_LEN;
        let bytes = records::from_js(value, limit).unwrap_or_default();
        let mut blocks = Vec::new();
        let mut rest = bytes.as_slice();
        while let Some((block, behind)) = first_block(rest) {
            blocks.push((block.header.hash(), block));
            rest = behind;
        }
        blocks
    }

    /// The same, by its summary where there is one.
    pub(super) fn blocks_beside(
        summary: Option<&Summary>,
        value: &JsValue,
    ) -> Vec<(BlockHash, Block)> {
        match summary {
            Some(summary) => Self::blocks_by(&summary.blocks, value),
            None => Self::blocks_of(value),
        }
    }

    /// The same by what is known of them, which says where each begins, unless one is missing: so none that is garbled,
    /// not even in its length, takes others with it.
    fn blocks_by(known: &[KnownBlock], value: &JsValue) -> Vec<(BlockHash, Block)> {
        let bytes = records::from_js(value, MAX_SHELF_LEN + MAX_BLOCK_LEN).unwrap_or_default();
        let lens = known.iter().map(|known| block_len(known.entries.len()));
        let all = lens
            .clone()
            .try_fold(0, |all: usize, len| all.checked_add(len?));
        if all != Some(bytes.len()) {
            return Self::blocks_of(value);
        }
        let mut rest = bytes.as_slice();
        let mut blocks = Vec::with_capacity(known.len());
        for len in lens.flatten() {
            let Some((block, behind)) = rest.split_at_checked(len) else {
                break;
            };
            let block = Block::decode(block).ok();
            blocks.extend(block.map(|block| (block.header.hash(), block)));
            rest = behind;
        }
        blocks
    }

    /// A shelf from its two records, as far as they can be read: only bodies that are whole, and of these, if there is a
    /// summary, only those that it names.
    pub(super) fn read(
        room: RoomId,
        first: u32,
        shelf: Option<&JsValue>,
        summary: Option<&JsValue>,
    ) -> Self {
        let summary = summary.and_then(|value| Summary::read(first, value));
        let blocks = shelf.map(|value| Self::blocks_beside(summary.as_ref(), value));
        let mut blocks = blocks.unwrap_or_default();
        blocks.retain(|(_, block)| is_whole(block));
        let Some(Summary { blocks: known, .. }) = summary else {
            let mut shelf = Self::default();
            for (hash, block) in blocks {
                shelf.push(room, hash, block);
            }
            return shelf;
        };
        let mut bodies: HashMap<BlockHash, Block> = blocks.into_iter().collect();
        let blocks = known
            .iter()
            .filter_map(|known| Some((known.hash, bodies.remove(&known.hash)?)))
            .collect();
        Self { blocks, known }
    }

    /// Puts a block, whose body is whole, behind the others.
    pub(super) fn push(&mut self, room: RoomId, hash: BlockHash, block: Block) {
        let entries = block.readings.iter();
        self.known.push(KnownBlock {
            hash,
            header: block.header,
            entries: entries.map(|reading| Entry::new(room, reading)).collect(),
        });
        self.blocks.push((hash, block));
    }

    pub(super) fn remove(&mut self, hash: &BlockHash) {
        self.blocks.retain(|(other, _)| other != hash);
        self.known.retain(|other| other.hash != *hash);
    }

    /// Every block, whether or not its body is here.
    pub(super) fn known(&self) -> &[KnownBlock] {
        &self.known
    }

    /// Blocks whose bodies are not here.
    pub(super) fn lost(&self) -> Vec<BlockHash> {
        let mut here = self.blocks.iter().map(|(hash, _)| hash).peekable();
        let known = self.known.iter().map(|known| known.hash);
        known
            .filter(|hash| here.next_if(|other| *other == hash).is_none())
            .collect()
    }

    /// Writes both records, or removes what has nothing left.
    pub(super) fn put(&self, write: &Transaction, first: u32) -> Result<(), idb::Error> {
        let (shelves, summaries) = (write.object_store(SHELVES)?, write.object_store(SUMMARIES)?);
        let key = records::number_key(first.into());
        let blocks = self.blocks.iter();
        let bytes: Vec<u8> = blocks.flat_map(|(_, block)| block.encode()).collect();
        if bytes.is_empty() {
            shelves.delete(key.clone())?;
        } else {
            shelves.put(&records::to_js(&bytes), Some(&key))?;
        }
        if self.known.is_empty() {
            return summaries.delete(key).map(drop);
        }
        let whole = self.blocks.len() == self.known.len();
        let summary = Summary {
            digest: whole.then(|| Sha256::digest(&bytes).into()),
            blocks: self.known.clone(),
        };
        summaries.put(&summary.record(first), Some(&key)).map(drop)
    }
}

/// Whether the readings are those that the header was mined for.
pub(super) fn is_whole(block: &Block) -> bool {
    check_root(&block.header, &block.readings).is_ok()
}

/// The block at the beginning of these bytes, and what is behind it.
fn first_block(bytes: &[u8]) -> Option<(Block, &[u8])> {
    let count = bytes.get(Header::LEN..)?.first_chunk()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    let (block, behind) = bytes.split_at_checked(block_len(count)?)?;
    Some((Block::decode(block).ok()?, behind))
}

/// Bytes of a block of so many readings.
fn block_len(readings: usize) -> Option<usize> {
    let len = readings.checked_mul(Reading::LEN)?;
    len.checked_add(Header::LEN + 4)
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn gaps_are_what_no_shelf_spans() {
        let mut shelves = Shelves::default();
        let gaps = |shelves: &Shelves| shelves.gaps().collect::<Vec<_>>();
        assert_eq!(gaps(&shelves), [(1, u64::MAX)]);
        shelves.note_shelf(5, 9);
        shelves.note_shelf(10, 10);
        assert_eq!(gaps(&shelves), [(1, 5), (11, u64::MAX)]);
        for (first, last, free) in [(1, 4, true), (1, 5, false), (9, 12, false), (10, 10, false)] {
            assert_eq!(shelves.is_free(first, last), free, "{first} to {last}");
        }
        assert!(shelves.is_free(11, u64::MAX));
        shelves.note_shelf(1, 4);
        assert_eq!(gaps(&shelves), [(11, u64::MAX)]);
    }
}
