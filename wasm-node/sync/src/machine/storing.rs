//! What is on its way to the disk. A write that fails is tried again, so that a full or busy disk loses nothing.
//!
//! Only the journal answers to somebody who waits; it has its own way (`own`).

use alloc::vec::Vec;
use core::fmt::Debug;

use chain::{hash::BlockHash, reading::Reading, time::UnixMillis};
use litemap::LiteMap;

use super::Machine;
use crate::{
    config::{MAX_UNWRITTEN, WRITE_RETRY, WRITE_RETRY_PARTS},
    seam::{Batch, Output, StoreOperation, WriteId},
};

/// Changes that are not on disk yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Unwritten {
    under_way: LiteMap<WriteId, Vec<StoreOperation>>,
    failed: Vec<StoreOperation>,
    retry_at: Option<UnixMillis>,
    operations: usize,
}

impl Unwritten {
    pub(super) const fn next_due(&self) -> Option<UnixMillis> {
        self.retry_at
    }

    pub(super) const fn len(&self) -> usize {
        self.operations
    }

    /// The body of a block that the disk may not have yet.
    pub(super) fn body(&self, wanted: &BlockHash) -> Option<&[Reading]> {
        self.under_way
            .values()
            .flatten()
            .chain(&self.failed)
            .find_map(|operation| match operation {
                StoreOperation::PutBlock(hash, block) if hash == wanted => {
                    Some(block.readings.as_slice())
                }
                StoreOperation::PutBlock(..)
                | StoreOperation::DeleteBlock(_)
                | StoreOperation::PutTip(_)
                | StoreOperation::PutJournal(..)
                | StoreOperation::PutKey(..)
                | StoreOperation::PutRescue(_)
                | StoreOperation::DeleteRescue(_) => None,
            })
    }

    /// Whether so much waits for the disk that nothing should be asked for that has to be written.
    pub(super) const fn is_full(&self) -> bool {
        self.operations >= MAX_UNWRITTEN
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Writes a batch of what must not be lost; the journal's are strict, and kept account of by the journal.
    pub(super) fn write(&mut self, operations: Vec<StoreOperation>, strict: bool) -> WriteId {
        let id = WriteId(self.next_handle());
        if !strict {
            self.unwritten.operations += operations.len();
            self.unwritten.under_way.insert(id, operations.clone());
        }
        self.outputs.push(Output::Write {
            id,
            batch: Batch { operations, strict },
        });
        id
    }

    pub(super) fn written(&mut self, id: WriteId) {
        if let Some(operations) = self.unwritten.under_way.remove(&id) {
            self.unwritten.operations -= operations.len();
            self.import_written(id, true);
        } else {
            self.journal_written(id);
        }
    }

    pub(super) fn write_failed(&mut self, id: WriteId) {
        if let Some(operations) = self.unwritten.under_way.remove(&id) {
            self.unwritten.operations -= operations.len();
            // A later tip may have been written meanwhile.
            let lasting = operations
                .into_iter()
                .filter(|operation| !matches!(operation, StoreOperation::PutTip(_)));
            let before = self.unwritten.failed.len();
            self.unwritten.failed.extend(lasting);
            self.unwritten.operations += self.unwritten.failed.len() - before;
            self.unwritten
                .retry_at
                .get_or_insert(self.now.saturating_add(WRITE_RETRY));
            self.import_written(id, false);
        } else {
            self.journal_write_failed(id);
        }
    }

    /// Tries again what failed, the tip as it is now behind it.
    pub(super) fn settle_unwritten(&mut self) {
        if self.unwritten.retry_at.is_none_or(|at| at > self.now) {
            return;
        }
        self.unwritten.retry_at = None;
        let mut operations = core::mem::take(&mut self.unwritten.failed);
        self.unwritten.operations -= operations.len();
        // What was written since must not be undone.
        operations.retain(|operation| match operation {
            StoreOperation::DeleteBlock(hash) => self.tree.block(hash).is_none(),
            StoreOperation::DeleteRescue(hash) => !self.rescue.is_queued(hash),
            StoreOperation::PutBlock(..)
            | StoreOperation::PutTip(_)
            | StoreOperation::PutJournal(..)
            | StoreOperation::PutKey(..)
            | StoreOperation::PutRescue(_) => true,
        });
        operations.push(StoreOperation::PutTip(self.tree.tip().hash));
        // One that can never be done keeps the others of its part waiting, and a smaller part each time.
        let part = operations.len().div_ceil(WRITE_RETRY_PARTS);
        for part in operations.chunks(part) {
            self.write(part.to_vec(), false);
        }
    }
}
