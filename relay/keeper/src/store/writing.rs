//! Applies the machine's batches to the tables of one transaction, and says what room they need.

use heartchain_chain::block::MAX_BLOCK_LEN;
use heartchain_peer::records::{self, BLOCK_KEY_LEN};
use heartchain_sync::{Batch, StoreOperation};
use redb::{Table, WriteTransaction};

use super::schema::{
    ADOPTED, BLOCKS, CONFIRMED, HEIGHTS, JOURNAL, KEYS, META, PROFILES, RECOVERY, TIP,
};

/// Pages that stay free when a file cannot grow, for what a commit writes beside its changes, and for deletions.
const SPARE_PAGES: usize = 32;
/// Pages of changes for which a commit needs one page more.
const PAGES_PER_SPARE_PAGE: usize = 64;
/// Pages that a change of a table writes, at most: the record's, the other half if that is split, and the one above. There are few
/// pages above those, and the spare ones are enough for them.
const PAGES_PER_TABLE: usize = 3;
/// Bytes of a page of the database.
const PAGE_LEN: usize = 4 * 1_024;
/// Bytes of a record with its key, at most, apart from blocks.
const MAX_RECORD_LEN: usize = 300;
/// How many times as much as a record it takes in new pages: they are half full at least, or rounded up to a power of two.
const ROUNDING: usize = 2;
/// Pages of a large block that are written again because a small one beside it changes.
const NEIGHBOUR_PAGES: usize = ROUNDING * MAX_BLOCK_LEN / PAGE_LEN;
/// Such large blocks in a transaction, at most: they are of forks, because a block that is put after all others copies none.
const MAX_NEIGHBOURS: usize = 16;
/// Bytes of a value that fills most of a page.
const SPARE_LEN: usize = 3_000;
/// What the names of such values begin with.
const SPARE: &str = "spare";

/// Whether batches only delete records, and replace those of which there is one: they take nothing on the disk for long.
pub(super) fn keep_size(batches: &[Batch]) -> bool {
    let mut operations = batches.iter().flat_map(|batch| &batch.operations);
    operations.all(|operation| match operation {
        StoreOperation::DeleteBlock(_)
        | StoreOperation::DeleteRecovery(_)
        | StoreOperation::DeleteAdopted(_)
        | StoreOperation::DeleteProfile(_)
        | StoreOperation::PutTip(_)
        | StoreOperation::PutConfirmed(_) => true,
        StoreOperation::PutBlock(..)
        | StoreOperation::PutJournal(..)
        | StoreOperation::PutKey(..)
        | StoreOperation::PutRecovery(_)
        | StoreOperation::PutAdopted(..)
        | StoreOperation::PutProfile(_) => false,
    })
}

/// Bytes that batches write to the disk at most, with a file of so many bytes.
///
/// The database changes copies of its pages, and the file may have holes where it puts them. Within a transaction it copies no page
/// twice, so a small store takes no more than itself and its new records, however many changes there are.
pub(super) fn needed_room(batches: &[Batch], file_len: u64) -> usize {
    let operations = batches.iter().flat_map(|batch| &batch.operations);
    let (mut copies, mut new, mut neighbours) = (0, 0, 0);
    for operation in operations {
        copies += PAGES_PER_TABLE * changed_tables(operation);
        let mut bytes = MAX_RECORD_LEN;
        if let StoreOperation::PutBlock(_, block) = operation {
            bytes = bytes.max(block.encoded_len());
        }
        new += ROUNDING * bytes;
        neighbours += usize::from(changed_tables(operation) > 1);
    }
    copies += NEIGHBOUR_PAGES * neighbours.min(MAX_NEIGHBOURS);
    // A copy may be split in two.
    let existing = file_len.div_ceil(PAGE_LEN as u64).saturating_mul(2);
    let copies = copies.min(usize::try_from(existing).unwrap_or(usize::MAX));
    let pages = copies + new.div_ceil(PAGE_LEN);
    (pages + spare_pages(pages)) * PAGE_LEN
}

/// How many tables an operation changes. Only those of blocks change two.
const fn changed_tables(operation: &StoreOperation) -> usize {
    match operation {
        StoreOperation::PutBlock(..) | StoreOperation::DeleteBlock(_) => 2,
        StoreOperation::PutTip(_)
        | StoreOperation::PutConfirmed(_)
        | StoreOperation::PutJournal(..)
        | StoreOperation::PutKey(..)
        | StoreOperation::PutRecovery(_)
        | StoreOperation::DeleteRecovery(_)
        | StoreOperation::PutAdopted(..)
        | StoreOperation::DeleteAdopted(_)
        | StoreOperation::PutProfile(_)
        | StoreOperation::DeleteProfile(_) => 1,
    }
}

/// Pages that a commit needs beside so many of its changes.
const fn spare_pages(written: usize) -> usize {
    SPARE_PAGES + written / PAGES_PER_SPARE_PAGE
}

/// All tables that a batch may change.
pub(super) struct Tables<'a> {
    meta: Table<'a, &'static str, &'static [u8]>,
    keys: Table<'a, u64, &'static [u8]>,
    journal: Table<'a, u64, &'static [u8]>,
    recovery: Table<'a, &'static [u8; 32], ()>,
    blocks: Table<'a, &'static [u8; BLOCK_KEY_LEN], &'static [u8]>,
    heights: Table<'a, &'static [u8; 32], u64>,
    adopted: Table<'a, &'static [u8; 32], &'static [u8]>,
    profiles: Table<'a, &'static [u8; 32], &'static [u8]>,
    /// Pages that were written, more or less.
    written: usize,
}

impl<'a> Tables<'a> {
    /// Opens the tables, and creates those that are missing.
    ///
    /// # Errors
    /// If the database fails.
    pub(super) fn open(write: &'a WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            meta: write.open_table(META)?,
            keys: write.open_table(KEYS)?,
            journal: write.open_table(JOURNAL)?,
            recovery: write.open_table(RECOVERY)?,
            blocks: write.open_table(BLOCKS)?,
            heights: write.open_table(HEIGHTS)?,
            adopted: write.open_table(ADOPTED)?,
            profiles: write.open_table(PROFILES)?,
            written: 0,
        })
    }

    /// Sets a value in `meta`.
    ///
    /// # Errors
    /// If the database fails.
    pub(super) fn put_meta(&mut self, name: &str, value: &[u8]) -> Result<(), redb::Error> {
        self.meta.insert(name, value)?;
        Ok(())
    }

    /// Lets the file grow unless it has enough free pages for the commit. `is_refused` says whether it would have to grow beyond the
    /// limit; then the transaction must be aborted. Otherwise nothing of this stays.
    ///
    /// # Errors
    /// If the database fails.
    pub(super) fn check_spare_pages(
        &mut self,
        is_refused: impl Fn() -> bool,
    ) -> Result<(), redb::Error> {
        let pages = spare_pages(self.written);
        let name = |page: usize| format!("{SPARE} {page}");
        for page in 0..pages {
            self.meta
                .insert(name(page).as_str(), [0_u8; SPARE_LEN].as_slice())?;
            if is_refused() {
                return Ok(());
            }
        }
        for page in 0..pages {
            self.meta.remove(name(page).as_str())?;
        }
        Ok(())
    }

    /// Applies one operation of a batch.
    ///
    /// # Errors
    /// If the database fails. The transaction must then be aborted.
    pub(super) fn apply(&mut self, operation: &StoreOperation) -> Result<(), redb::Error> {
        self.written += PAGES_PER_TABLE * changed_tables(operation);
        match operation {
            StoreOperation::PutBlock(hash, block) => {
                let index = block.header.index;
                let key = records::block_key(index, hash);
                let bytes = block.encode();
                self.written += bytes.len().div_ceil(PAGE_LEN);
                self.blocks.insert(&key, bytes.as_slice())?;
                self.heights.insert(hash.as_bytes(), index)?;
            }
            StoreOperation::DeleteBlock(hash) => {
                let index = self.heights.remove(hash.as_bytes())?;
                if let Some(index) = index.map(|index| index.value()) {
                    self.blocks.remove(&records::block_key(index, hash))?;
                }
            }
            StoreOperation::PutTip(hash) => self.put_meta(TIP, hash.as_bytes())?,
            StoreOperation::PutConfirmed(hash) => self.put_meta(CONFIRMED, hash.as_bytes())?,
            StoreOperation::PutJournal(position, entry) => {
                let record = records::entry(*position, entry);
                self.journal.insert(position, record.as_slice())?;
            }
            StoreOperation::PutKey(seed, from) => {
                let record = records::seed(&records::key_location(*from), seed);
                self.keys.insert(from, record.as_slice())?;
            }
            StoreOperation::PutRecovery(hash) => {
                self.recovery.insert(hash.as_bytes(), ())?;
            }
            StoreOperation::DeleteRecovery(hash) => {
                self.recovery.remove(hash.as_bytes())?;
            }
            StoreOperation::PutAdopted(id, reading) => {
                let record = records::adopted(reading);
                self.adopted.insert(id.as_bytes(), record.as_slice())?;
            }
            StoreOperation::DeleteAdopted(id) => {
                self.adopted.remove(id.as_bytes())?;
            }
            StoreOperation::PutProfile(profile) => {
                let record = records::profile(profile);
                self.profiles
                    .insert(profile.author.as_bytes(), record.as_slice())?;
            }
            StoreOperation::DeleteProfile(author) => {
                self.profiles.remove(author.as_bytes())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
