//! Settled blocks go from records of their own to shelves, while nobody waits for the store. In one transaction: a crash
//! leaves a block in one place or in the other.

use chain::hash::BlockHash;
use futures::future::try_join_all;

use super::{
    StoreError,
    indexed_db::{IndexedDb, read_block},
    records,
    schema::{self, BLOCKS, SHELVES, SUMMARIES},
    shelves::{Shelf, is_whole},
};
use crate::config::{LOADED_BLOCKS, MAX_SHELF_BLOCKS, MAX_SHELF_LEN};

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
                self.shelves.pause();
                return packed.map(drop);
            }
        }
        Ok(())
    }

    /// Packs the lowest blocks that are not; `false` if not all of them are here yet.
    async fn pack_one(&mut self) -> Result<bool, StoreError> {
        let next = self.shelves.next();
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
                // The shelf's digest is to say of its bodies that they were checked.
                let block = value.and_then(|value| read_block(&value));
                let Some(block) = block.filter(is_whole) else {
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
        shelf.put(&write, first)?;
        let rows = write.object_store(BLOCKS)?;
        for block in shelf.known() {
            rows.delete(records::block_key(block.header.index, &block.hash))?;
        }
        schema::committed(write).await?;
        for block in shelf.known() {
            self.shelves.note(&block.hash, first, block.header.index);
            self.rows.remove(&block.hash);
        }
        Ok(true)
    }
}
