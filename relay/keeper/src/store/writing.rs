//! Applies the machine's batches to the tables of one transaction, and says what room they need.

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
/// Pages that a small change writes again, at most: those on the way to it in each table.
const PAGES_PER_CHANGE: usize = 8;
/// Bytes of a page of the database.
const PAGE_LEN: usize = 4 * 1_024;
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

/// Bytes that batches take on the disk, at most.
pub(super) fn needed_room(batches: &[Batch]) -> usize {
    let operations = batches.iter().flat_map(|batch| &batch.operations);
    let pages: usize = operations
        .map(|operation| {
            let mut bytes = 0;
            if let StoreOperation::PutBlock(_, block) = operation {
                bytes = block.encoded_len();
            }
            // The database rounds up to a power of two.
            PAGES_PER_CHANGE + (2 * bytes).div_ceil(PAGE_LEN)
        })
        .sum();
    (pages + SPARE_PAGES) * PAGE_LEN
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
        let pages = SPARE_PAGES + self.written / PAGES_PER_SPARE_PAGE;
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
        self.written += PAGES_PER_CHANGE;
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
