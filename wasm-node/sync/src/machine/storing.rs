//! Writes in progress. A failed write is retried, so a full or busy disk loses nothing.
//!
//! Writes of the journal and of adopted readings have callers that wait for the result, so `journal` and
//! `adopted` handle those.

use alloc::vec::Vec;
use core::fmt::Debug;

use heartchain_chain::{block::Block, hash::BlockHash, reading::Reading, time::MonotonicMillis};
use litemap::LiteMap;

use super::Machine;
use crate::{
    config::{MAX_UNWRITTEN, WRITE_RETRY, WRITE_RETRY_PARTS},
    io::{Batch, Output, StoreOperation, WriteId},
};

/// Changes that are not on disk yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Unwritten {
    under_way: LiteMap<WriteId, Vec<StoreOperation>>,
    failed: Vec<StoreOperation>,
    retry_at: Option<MonotonicMillis>,
    operations: usize,
}

impl Unwritten {
    pub(super) const fn next_due(&self) -> Option<MonotonicMillis> {
        self.retry_at
    }

    pub(super) const fn len(&self) -> usize {
        self.operations
    }

    /// Blocks that may not be on disk yet.
    fn blocks(&self) -> impl Iterator<Item = (&BlockHash, &Block)> {
        let all = self.under_way.values().flatten().chain(&self.failed);
        all.filter_map(|operation| {
            if let StoreOperation::PutBlock(hash, block) = operation {
                return Some((hash, block));
            }
            None
        })
    }

    /// The body of a block that may not be on disk yet.
    pub(super) fn body(&self, wanted: &BlockHash) -> Option<&[Reading]> {
        let mut blocks = self.blocks();
        let found = blocks.find(|(hash, _)| *hash == wanted);
        found.map(|(_, block)| block.readings.as_slice())
    }

    /// The lowest height with a body that is not on disk yet.
    pub(super) fn lowest_body(&self) -> Option<u64> {
        self.blocks().map(|(_, block)| block.header.index).min()
    }

    /// Whether any body is not on disk yet.
    pub(super) fn has_bodies(&self) -> bool {
        self.blocks().next().is_some()
    }

    /// Whether so many changes wait for the disk that nothing should be requested that needs to be written.
    pub(super) const fn is_full(&self) -> bool {
        self.operations >= MAX_UNWRITTEN
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Writes a batch. Those of the journal and of adopted readings are `strict` and tracked there; all others
    /// are retried if they fail.
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

    pub(super) fn on_written(&mut self, id: WriteId) {
        if let Some(operations) = self.unwritten.under_way.remove(&id) {
            self.unwritten.operations -= operations.len();
            self.import_written(id, true);
        } else if !self.journal_written(id) {
            self.adopted_written(id, true);
        }
    }

    /// Handles a failed write. If the disk is `full`, unprotected side blocks are deleted to make room for our
    /// own readings and for confirmed blocks.
    pub(super) fn on_write_failed(&mut self, id: WriteId, full: bool) {
        let made_room = full && self.make_room();
        if let Some(operations) = self.unwritten.under_way.remove(&id) {
            self.unwritten.operations -= operations.len();
            let is_confirmed =
                |operation: &StoreOperation| matches!(operation, StoreOperation::PutConfirmed(_));
            if operations.iter().any(is_confirmed) {
                self.confirmation.write_failed();
            }
            // These are not retried: a later tip may have been written meanwhile.
            let lasting = operations.into_iter().filter(|operation| {
                !matches!(
                    operation,
                    StoreOperation::PutTip(_) | StoreOperation::PutConfirmed(_)
                )
            });
            let before = self.unwritten.failed.len();
            self.unwritten.failed.extend(lasting);
            self.unwritten.operations += self.unwritten.failed.len() - before;
            self.unwritten
                .retry_at
                .get_or_insert(self.now.saturating_add(WRITE_RETRY));
            self.import_written(id, false);
        } else if !self.journal_write_failed(id, made_room) {
            self.adopted_written(id, false);
        }
    }

    /// Deletes side blocks. Returns whether there were any.
    fn make_room(&mut self) -> bool {
        let leaves_in_use = self.leaves_in_use();
        let removed = self.tree.prune_all(&leaves_in_use);
        let any = !removed.is_empty();
        self.delete_blocks(removed);
        self.download.tree_changed();
        any
    }

    /// Retries failed changes, followed by the current tip.
    pub(super) fn retry_failed_writes(&mut self) {
        if self.unwritten.retry_at.is_none_or(|at| at > self.now) {
            return;
        }
        self.unwritten.retry_at = None;
        let mut operations = core::mem::take(&mut self.unwritten.failed);
        self.unwritten.operations -= operations.len();
        // A retry must not undo what was written since.
        operations.retain(|operation| match operation {
            StoreOperation::DeleteBlock(hash) => {
                self.tree.block(hash).is_none() && !self.recovery.is_protected(hash)
            }
            StoreOperation::DeleteRecovery(hash) => !self.recovery.is_protected(hash),
            StoreOperation::PutBlock(hash, _) => {
                self.tree.block(hash).is_some() || self.recovery.is_protected(hash)
            }
            StoreOperation::DeleteAdopted(id) => !self.adopted.contains(id),
            StoreOperation::PutAdopted(..)
            | StoreOperation::PutConfirmed(_)
            | StoreOperation::PutTip(_)
            | StoreOperation::PutJournal(..)
            | StoreOperation::PutKey(..)
            | StoreOperation::PutRecovery(_) => true,
        });
        operations.push(StoreOperation::PutTip(self.tree.tip().hash));
        // A change that can never be written blocks the others in its part, and the parts get smaller with each retry.
        let part = operations.len().div_ceil(WRITE_RETRY_PARTS);
        for part in operations.chunks(part) {
            self.write(part.to_vec(), false);
        }
    }
}
