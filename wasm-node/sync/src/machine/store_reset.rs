//! Rebuilding a store that was lost while the peer ran: what is in memory is written again, the rest is fetched
//! from peers.

use alloc::vec::Vec;
use core::fmt::Debug;

use heartchain_chain::{hash::BlockHash, reading::Reading};

use super::{adopted_readings::Adopted, context::Context, journal::Journal};
use crate::{
    config::{MAX_ADOPTED, RESET_BATCH},
    io::StoreOperation,
};

/// Writes keys, journal, adopted readings, the protection of blocks and the tip to the new store. Bodies were only in storage, so
/// those of the best branch are fetched from peers. Pending readings of other authors are only in memory,
/// since the block on disk that protected them is gone. They are therefore stored like adopted ones.
pub(super) fn rewrite_store<P: Copy + Ord + Debug>(
    ctx: &mut Context<P>,
    journal: &Journal,
    adopted: &mut Adopted,
    protected: impl Iterator<Item = BlockHash>,
) {
    let room = ctx.room();
    let own = journal.author();
    let free = MAX_ADOPTED.saturating_sub(adopted.len());
    let waiting = ctx.mempool.iter();
    let waiting: Vec<Reading> = waiting
        .filter(|reading| {
            reading.author != own && !adopted.has_number(&reading.author, reading.seq)
        })
        .take(free)
        .copied()
        .collect();
    for reading in waiting {
        adopted.insert(room, reading);
    }
    let keys = journal.eras().skip(1);
    let keys = keys.map(|era| StoreOperation::PutKey(era.key.seed(), era.from));
    let entries = (0..journal.len()).filter_map(|position| {
        let entry = journal.stored_entry(position)?;
        Some(StoreOperation::PutJournal(position, entry))
    });
    let readings = adopted.iter();
    let readings = readings.map(|reading| StoreOperation::PutAdopted(reading.id(room), *reading));
    let tip = StoreOperation::PutTip(ctx.tree.tip().hash);
    let protected = protected.map(StoreOperation::PutRecovery);
    let operations: Vec<StoreOperation> = keys
        .chain(entries)
        .chain(readings)
        .chain(protected)
        .chain([tip])
        .collect();
    for batch in operations.chunks(RESET_BATCH) {
        ctx.write(batch.to_vec());
    }
}
