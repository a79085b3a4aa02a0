//! Writing failed changes again, without undoing what was written since.

use alloc::vec::Vec;
use core::fmt::Debug;

use super::{adopted_readings::Adopted, context::Context, reorg_recovery::ReorgRecovery};
use crate::{config::WRITE_RETRY_PARTS, io::StoreOperation};

/// Writes those of the `failed` changes that are still wanted, followed by the current tip.
pub(super) fn retry<P: Copy + Ord + Debug>(
    ctx: &mut Context<P>,
    failed: Vec<StoreOperation>,
    recovery: &ReorgRecovery,
    adopted: &Adopted,
) {
    let mut operations = failed;
    let is_in_tree = |hash: &_| ctx.tree.block(hash).is_some();
    operations.retain(|operation| match operation {
        StoreOperation::DeleteBlock(hash) => !is_in_tree(hash) && !recovery.must_stay(hash),
        StoreOperation::DeleteRecovery(hash) => !recovery.is_protected(hash),
        StoreOperation::PutBlock(hash, _) => is_in_tree(hash) || recovery.must_stay(hash),
        StoreOperation::DeleteAdopted(id) => !adopted.contains(id),
        StoreOperation::PutAdopted(..)
        | StoreOperation::PutConfirmed(_)
        | StoreOperation::PutTip(_)
        | StoreOperation::PutJournal(..)
        | StoreOperation::PutKey(..)
        | StoreOperation::PutRecovery(_) => true,
    });
    operations.push(StoreOperation::PutTip(ctx.tree.tip().hash));
    // A change that can never be written blocks the others in its part, and the parts get smaller with each retry.
    let part = operations.len().div_ceil(WRITE_RETRY_PARTS);
    for part in operations.chunks(part) {
        ctx.write(part.to_vec());
    }
}
