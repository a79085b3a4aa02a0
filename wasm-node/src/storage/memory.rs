//! A store that lasts as long as its tab. It keeps bodies only: what else is written is for a later start,
//! and there is none.

use std::collections::HashMap;

use async_trait::async_trait;
use chain::{hash::BlockHash, reading::Reading};
use sync::{Batch, StoreOperation};

use super::{Storage, StoreError};

/// Blocks in memory.
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
                | StoreOperation::PutRescue(_)
                | StoreOperation::DeleteRescue(_)
                | StoreOperation::PutAdopted(..)
                | StoreOperation::DeleteAdopted(_)
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
