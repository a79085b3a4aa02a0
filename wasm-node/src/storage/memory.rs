//! A store in memory, which is lost when the tab closes. Keeps only bodies: all other records serve a restart, which a
//! store in memory does not survive.

use std::collections::HashMap;

use async_trait::async_trait;
use heartchain_chain::{hash::BlockHash, reading::Reading};
use heartchain_sync::{Batch, StoreOperation};

use super::store::{Storage, StoreError};

/// Block bodies in memory, by block hash.
#[derive(Debug, Default)]
pub struct MemoryStore {
    bodies: HashMap<BlockHash, Vec<Reading>>,
}

#[async_trait(?Send)]
impl Storage for MemoryStore {
    async fn write(&mut self, batch: Batch) -> Result<(), StoreError> {
        for operation in batch.operations {
            match operation {
                StoreOperation::PutBlock(hash, block) => {
                    self.bodies.insert(hash, block.readings);
                }
                StoreOperation::DeleteBlock(hash) => {
                    self.bodies.remove(&hash);
                }
                StoreOperation::PutTip(_)
                | StoreOperation::PutConfirmed(_)
                | StoreOperation::PutJournal(..)
                | StoreOperation::PutRecovery(_)
                | StoreOperation::DeleteRecovery(_)
                | StoreOperation::PutAdopted(..)
                | StoreOperation::DeleteAdopted(_)
                | StoreOperation::PutProfile(_)
                | StoreOperation::DeleteProfile(_)
                | StoreOperation::PutKey(..) => {}
            }
        }
        Ok(())
    }

    async fn bodies(&self, hashes: &[BlockHash]) -> Result<Vec<Option<Vec<Reading>>>, StoreError> {
        Ok(hashes
            .iter()
            .map(|hash| self.bodies.get(hash).cloned())
            .collect())
    }
}
