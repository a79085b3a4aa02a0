//! Settled blocks, many in one record, because that is read several times faster than as many records. What is on a
//! shelf is rarely touched again; no rule depends on what is where.

use std::collections::HashMap;

use chain::{
    block::{Block, MAX_BLOCK_LEN},
    hash::BlockHash,
    header::Header,
    reading::Reading,
};
use futures::future::try_join_all;
use idb::ObjectStore;
use wasm_bindgen::JsValue;

use super::{
    StoreError,
    indexed_db::{IndexedDb, read_block},
    records,
    schema::{self, BLOCKS, SHELVES},
};
use crate::config::{LOADED_BLOCKS, MAX_SHELF_BLOCKS, MAX_SHELF_LEN, SETTLED_DEPTH};

/// The end of a hash; its beginning is zeros, by the work that was done. Whoever looks a block up compares the
/// whole hash with what it finds.
type Tail = u64;

/// Where packed blocks are: twelve bytes a block.
#[derive(Debug)]
pub(super) struct Shelves {
    /// The first height on the shelf, by which it is found. No chain of ours comes near 2^32 blocks.
    places: HashMap<Tail, u32>,
    /// The lowest height that is not packed.
    next: u64,
    /// The greatest height that was put.
    highest: u64,
    /// Packing is not tried again before so many more blocks were put.
    pause: usize,
}

impl Default for Shelves {
    fn default() -> Self {
        Self {
            places: HashMap::new(),
            // Genesis is known from the room's name, and nobody stores it.
            next: 1,
            highest: 0,
            pause: 0,
        }
    }
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
        self.next = self.next.max(index.saturating_add(1));
        self.note_height(index);
    }

    /// Notes that there is a block of this height.
    pub(super) fn note_height(&mut self, index: u64) {
        self.highest = self.highest.max(index);
        self.pause = self.pause.saturating_sub(1);
    }

    fn is_ripe(&self) -> bool {
        let full = self.next.saturating_add(MAX_SHELF_BLOCKS as u64);
        full.saturating_add(SETTLED_DEPTH) <= self.highest && self.pause == 0
    }
}

fn tail(hash: &BlockHash) -> Tail {
    let bytes = hash.as_bytes().last_chunk::<8>().copied();
    u64::from_le_bytes(bytes.unwrap_or_default())
}

/// One record of many blocks: their encodings, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Shelf(Vec<(BlockHash, Block)>);

impl Shelf {
    /// What is on a shelf, and whether that is all of it: from the first byte on that is no block's there is nothing.
    pub(super) fn read(value: &JsValue) -> (Self, bool) {
        let limit = MAX_SHELF_LEN + MAX_BLOCK_LEN;
        let Some(bytes) = records::from_js(value, limit) else {
            return (Self::default(), false);
        };
        let mut blocks = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let Some((block, behind)) = first_block(rest) else {
                return (Self(blocks), false);
            };
            blocks.push((block.header.hash(), block));
            rest = behind;
        }
        (Self(blocks), true)
    }

    pub(super) fn remove(&mut self, hash: &BlockHash) {
        self.0.retain(|(other, _)| other != hash);
    }

    pub(super) fn blocks(&self) -> &[(BlockHash, Block)] {
        &self.0
    }

    pub(super) fn into_blocks(self) -> Vec<(BlockHash, Block)> {
        self.0
    }

    /// Writes the shelf that is found by this height, or removes it if nothing is left.
    pub(super) fn put(&self, store: &ObjectStore, first: u32) -> Result<(), idb::Error> {
        let key = records::number_key(first.into());
        if self.0.is_empty() {
            return store.delete(key).map(drop);
        }
        let bytes: Vec<u8> = self
            .0
            .iter()
            .flat_map(|(_, block)| block.encode())
            .collect();
        store.put(&records::to_js(&bytes), Some(&key)).map(drop)
    }
}

/// The block at the beginning of these bytes, and what is behind it.
fn first_block(bytes: &[u8]) -> Option<(Block, &[u8])> {
    let count = bytes.get(Header::LEN..)?.first_chunk()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    let len = count
        .checked_mul(Reading::LEN)?
        .checked_add(Header::LEN + 4)?;
    let (block, behind) = bytes.split_at_checked(len)?;
    Some((Block::decode(block).ok()?, behind))
}

impl IndexedDb {
    /// Packs settled blocks, as many as are ready.
    ///
    /// # Errors
    /// If the database does; then nothing more is packed for now.
    pub(super) async fn pack(&mut self) -> Result<(), StoreError> {
        while self.shelves.is_ripe() {
            let packed = self.pack_one().await;
            if !matches!(packed, Ok(true)) {
                // Heights are missing (a branch that is fetched comes in ranges, in any order), or the disk is full.
                self.shelves.pause = MAX_SHELF_BLOCKS;
                return packed.map(drop);
            }
        }
        Ok(())
    }

    /// Packs the lowest blocks that are not; `false` if not all of them are here yet.
    async fn pack_one(&mut self) -> Result<bool, StoreError> {
        let next = self.shelves.next;
        let Ok(first) = u32::try_from(next) else {
            return Ok(false);
        };
        let mut candidates: Vec<(u64, BlockHash)> = self
            .rows
            .iter()
            .map(|(hash, index)| (*index, *hash))
            .filter(|(index, _)| (next..next + MAX_SHELF_BLOCKS as u64).contains(index))
            .collect();
        candidates.sort_unstable();
        let mut shelf = Shelf::default();
        let (mut len, mut next) = (0, next);
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
                let Some(block) = value.and_then(|value| read_block(&value)) else {
                    return Ok(false);
                };
                len += block.encoded_len();
                next = index + 1;
                shelf.0.push((*hash, block));
            }
        }
        if shelf.0.is_empty() {
            return Ok(false);
        }
        let write = self.writing(&[BLOCKS, SHELVES], false)?;
        shelf.put(&write.object_store(SHELVES)?, first)?;
        let rows = write.object_store(BLOCKS)?;
        for (hash, block) in &shelf.0 {
            rows.delete(records::block_key(block.header.index, hash))?;
        }
        schema::committed(write).await?;
        for (hash, block) in &shelf.0 {
            self.shelves.note(hash, first, block.header.index);
            self.rows.remove(hash);
        }
        Ok(true)
    }
}
