//! Rebuilding a store that was lost while the peer ran: what is in memory is written again, the rest is fetched
//! from peers.

use alloc::vec::Vec;
use core::fmt::Debug;

use heartchain_chain::reading::Reading;

use super::Machine;
use crate::{
    config::{MAX_ADOPTED, RESET_BATCH},
    io::StoreOperation,
};

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Writes keys, journal, adopted readings and the tip to the new store. Bodies were only in storage, so
    /// those of the best branch are fetched from peers. Pending readings of other authors are only in memory,
    /// since the block on disk that protected them is gone. They are therefore stored like adopted ones.
    pub(super) fn on_store_reset(&mut self) {
        let room = self.tree.room().id();
        let own = self.journal.author();
        let free = MAX_ADOPTED.saturating_sub(self.adopted.len());
        let waiting: Vec<Reading> = self
            .mempool
            .iter()
            .filter(|reading| reading.author != own)
            .take(free)
            .copied()
            .collect();
        for reading in waiting {
            self.adopted.insert(room, reading);
        }
        let keys = self.journal.eras().skip(1);
        let keys = keys.map(|era| StoreOperation::PutKey(era.key.seed(), era.from));
        let journal = (0..self.journal.len()).filter_map(|position| {
            let entry = self.journal.stored_entry(position)?;
            Some(StoreOperation::PutJournal(position, entry))
        });
        let adopted = self.adopted.iter();
        let adopted = adopted.map(|reading| StoreOperation::PutAdopted(reading.id(room), *reading));
        let tip = StoreOperation::PutTip(self.tree.tip().hash);
        let operations: Vec<StoreOperation> =
            keys.chain(journal).chain(adopted).chain([tip]).collect();
        for batch in operations.chunks(RESET_BATCH) {
            self.write(batch.to_vec(), false);
        }
        self.write_confirmed();
        let beside = self.tree.side_bodies();
        self.missing_bodies.sweep(self.tree.tip().index, beside);
    }
}
