//! Writes in progress. A failed write is retried, so a full or busy disk loses nothing.
//!
//! Writes of the journal and of adopted readings have callers that wait for the result, so those parts handle them.

use alloc::vec::Vec;

use heartchain_chain::{block::Block, hash::BlockHash, reading::Reading, time::MonotonicMillis};
use litemap::LiteMap;

use crate::{
    config::{MAX_UNWRITTEN, WRITE_RETRY},
    io::{StoreOperation, WriteId},
};

/// Changes that are not on disk yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writes {
    under_way: LiteMap<WriteId, Vec<StoreOperation>>,
    failed: Vec<StoreOperation>,
    retry_at: Option<MonotonicMillis>,
    /// Whether a tip could not be written since the last retry.
    lacks_tip: bool,
    operations: usize,
}

/// A write of [`Writes`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EndedWrite {
    /// Whether it recorded a confirmed block. If the write failed, that is not retried.
    pub(super) had_confirmed: bool,
}

impl Writes {
    pub(super) fn begin(&mut self, id: WriteId, operations: Vec<StoreOperation>) {
        self.operations += operations.len();
        self.under_way.insert(id, operations);
    }

    /// A write succeeded. Returns `None` if it is not tracked here.
    pub(super) fn on_written(&mut self, id: WriteId) -> Option<EndedWrite> {
        self.end(id).map(|(ended, _)| ended)
    }

    fn end(&mut self, id: WriteId) -> Option<(EndedWrite, Vec<StoreOperation>)> {
        let operations = self.under_way.remove(&id)?;
        self.operations -= operations.len();
        let had_confirmed = operations
            .iter()
            .any(|operation| matches!(operation, StoreOperation::PutConfirmed(_)));
        Some((EndedWrite { had_confirmed }, operations))
    }

    /// A write failed, and its changes will be retried. Returns `None` if it is not tracked here.
    pub(super) fn on_failed(&mut self, id: WriteId, now: MonotonicMillis) -> Option<EndedWrite> {
        let (ended, operations) = self.end(id)?;
        // These are not retried: a later tip may have been written meanwhile.
        let is_tip = |operation: &_| matches!(operation, StoreOperation::PutTip(_));
        self.lacks_tip |= operations.iter().any(is_tip);
        let lasting = operations.into_iter().filter(|operation| {
            !matches!(
                operation,
                StoreOperation::PutTip(_) | StoreOperation::PutConfirmed(_)
            )
        });
        self.retry_later(lasting, now);
        Some(ended)
    }

    /// Keeps changes for the next retry.
    pub(super) fn retry_later(
        &mut self,
        operations: impl IntoIterator<Item = StoreOperation>,
        now: MonotonicMillis,
    ) {
        let before = self.failed.len();
        self.failed.extend(operations);
        self.operations += self.failed.len() - before;
        self.retry_at.get_or_insert(now.saturating_add(WRITE_RETRY));
    }

    /// Whether it is time to retry failed changes.
    pub(super) fn is_retry_due(&self, now: MonotonicMillis) -> bool {
        self.retry_at.is_some_and(|at| at <= now)
    }

    /// Takes the changes to retry.
    pub(super) fn take_failed(&mut self) -> Vec<StoreOperation> {
        self.retry_at = None;
        let operations = core::mem::take(&mut self.failed);
        self.operations -= operations.len();
        operations
    }

    /// Whether a tip could not be written since the last call.
    pub(super) const fn take_lacking_tip(&mut self) -> bool {
        core::mem::replace(&mut self.lacks_tip, false)
    }

    /// When failed changes are retried.
    pub(super) const fn next_deadline(&self) -> Option<MonotonicMillis> {
        self.retry_at
    }

    pub(crate) const fn len(&self) -> usize {
        self.operations
    }

    /// Changes that may not be on disk yet.
    fn unwritten(&self) -> impl Iterator<Item = &StoreOperation> {
        self.under_way.values().flatten().chain(&self.failed)
    }

    /// Blocks that may not be on disk yet.
    fn blocks(&self) -> impl Iterator<Item = (&BlockHash, &Block)> {
        self.unwritten().filter_map(|operation| {
            if let StoreOperation::PutBlock(hash, block) = operation {
                return Some((hash, block));
            }
            None
        })
    }

    /// The body of a block that may not be on disk yet.
    pub(crate) fn body(&self, wanted: &BlockHash) -> Option<&[Reading]> {
        let mut blocks = self.blocks();
        let found = blocks.find(|(hash, _)| *hash == wanted);
        found.map(|(_, block)| block.readings.as_slice())
    }

    /// The lowest height of those of these blocks whose bodies are not on disk yet.
    pub(super) fn lowest_body(&self, counts: impl Fn(&BlockHash) -> bool) -> Option<u64> {
        let blocks = self.blocks().filter(|(hash, _)| counts(hash));
        blocks.map(|(_, block)| block.header.index).min()
    }

    /// Whether the protection of a block is not on disk yet.
    pub(super) fn has_protection(&self) -> bool {
        let mut unwritten = self.unwritten();
        unwritten.any(|operation| matches!(operation, StoreOperation::PutRecovery(_)))
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
