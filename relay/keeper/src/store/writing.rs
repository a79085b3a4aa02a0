//! Applies the machine's batches to the tables of one transaction.

use heartchain_peer::records::{self, BLOCK_KEY_LEN};
use heartchain_sync::{Batch, StoreOperation};
use redb::{Table, WriteTransaction};

use super::schema::{
    ADOPTED, BLOCKS, CONFIRMED, HEIGHTS, JOURNAL, KEYS, META, PROFILES, RECOVERY, TIP,
};

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

    /// Applies a batch in its order.
    ///
    /// # Errors
    /// If the database fails. The transaction must then be aborted.
    pub(super) fn apply(&mut self, batch: &Batch) -> Result<(), redb::Error> {
        for operation in &batch.operations {
            self.apply_operation(operation)?;
        }
        Ok(())
    }

    fn apply_operation(&mut self, operation: &StoreOperation) -> Result<(), redb::Error> {
        match operation {
            StoreOperation::PutBlock(hash, block) => {
                let index = block.header.index;
                let key = records::block_key(index, hash);
                self.blocks.insert(&key, block.encode().as_slice())?;
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
