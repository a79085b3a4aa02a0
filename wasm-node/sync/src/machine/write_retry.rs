//! Writing failed changes again, without undoing what was written since.

use alloc::vec::Vec;
use core::fmt::Debug;

use super::{adopted_readings::Adopted, context::Context, reorg_recovery::ReorgRecovery};
use crate::{config::WRITE_RETRY_PARTS, io::StoreOperation};

/// Writes those of the `failed` changes that are still wanted, followed by the current tip. `confirmed` records what is confirmed,
/// unless the record may not change now. If all changes have to wait for that record, and the tip is on disk, nothing is written.
///
/// What may go because of what is confirmed is written together with that record, or waits until it can be. The first blocks come
/// with it too, since a start would otherwise guess what is confirmed.
pub(super) fn retry<P: Copy + Ord + Debug>(
    ctx: &mut Context<P>,
    failed: Vec<StoreOperation>,
    confirmed: Option<&StoreOperation>,
    recovery: &ReorgRecovery,
    adopted: &Adopted,
) {
    let mut operations = failed;
    let has_body = |hash: &_| ctx.tree.block(hash).is_some_and(|info| info.has_body);
    operations.retain(|operation| match operation {
        StoreOperation::DeleteBlock(hash) => !has_body(hash) && !recovery.must_stay(hash),
        StoreOperation::DeleteRecovery(hash) => !recovery.is_protected(hash),
        StoreOperation::PutBlock(hash, _) => has_body(hash) || recovery.must_stay(hash),
        StoreOperation::PutRecovery(hash) => recovery.is_protected(hash),
        StoreOperation::DeleteAdopted(id) => !adopted.contains(id),
        StoreOperation::PutAdopted(id, _) => adopted.contains(id),
        StoreOperation::PutConfirmed(_)
        | StoreOperation::PutTip(_)
        | StoreOperation::PutJournal(..)
        | StoreOperation::PutKey(..)
        | StoreOperation::PutProfile(_)
        | StoreOperation::DeleteProfile(_) => true,
    });
    if confirmed.is_none() {
        let deletes = operations.extract_if(.., |operation| is_delete(operation));
        let deletes: Vec<StoreOperation> = deletes.collect();
        if !deletes.is_empty() {
            let now = ctx.now();
            ctx.writes.retry_later(deletes, now);
        }
    }
    let lacks_tip = ctx.writes.take_lacking_tip();
    if operations.is_empty() && !lacks_tip && confirmed.is_none() {
        return;
    }
    operations.push(StoreOperation::PutTip(ctx.tree.tip().hash));
    // A change that can never be written blocks the others in its part, and the parts get smaller with each retry.
    let part = operations.len().div_ceil(WRITE_RETRY_PARTS);
    for part in operations.chunks(part) {
        ctx.write(confirmed.into_iter().chain(part).cloned().collect());
    }
}

fn is_delete(operation: &StoreOperation) -> bool {
    matches!(
        operation,
        StoreOperation::DeleteBlock(_)
            | StoreOperation::DeleteRecovery(_)
            | StoreOperation::DeleteAdopted(_)
    )
}
