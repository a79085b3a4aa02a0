//! The mempool: verified readings that wait for a block.
//!
//! The caller verifies a reading before it inserts it. The mempool has no clock: the time, and each author's next `seq`
//! on the best branch, are arguments.
//!
//! Author keys are free, so the mempool is bounded against floods:
//!
//! - A flood can delay the readings of others, but it never evicts this peer's own.
//! - Each author has a quota, and a full mempool evicts from the author with the most readings.
//! - Authors without a reading on the best branch ("newcomers") have a smaller quota each, and share one among them.
//! - Readings behind a gap in their author's sequence cannot be mined. Those of newcomers have a bound of their own,
//!   and those that wait too long are evicted first.

mod admission;
mod displaced;
mod pool;
mod queries;
mod queue;

pub use self::{
    admission::{
        MAX_AHEAD, MAX_NEWCOMER_GAPS, MAX_NEWCOMER_READINGS, MAX_PER_AUTHOR, MAX_PER_NEWCOMER,
        MAX_READINGS, MempoolError, STALE_GAP_MS,
    },
    displaced::{DISPLACED_BLOCKS, MAX_DISPLACED},
    pool::Mempool,
    queries::ListEntry,
};

use self::queue::PoolEntry;
use crate::{
    hash::{IdPrefix, ReadingId},
    key::Author,
    reading::Reading,
    time::MonotonicMillis,
};

impl Mempool {
    /// Checks whether [`Self::insert`] would accept a reading, so the caller can skip verifying the signature if not.
    /// `next` is its author's next `seq` on the best branch.
    ///
    /// # Errors
    /// Returns why the reading would be rejected.
    pub fn check(
        &self,
        reading: &Reading,
        id: ReadingId,
        next: u64,
        now: MonotonicMillis,
    ) -> Result<(), MempoolError> {
        self.admit(reading, id, next, now).map(drop)
    }

    /// Inserts a verified reading. This may evict another one. `next` is its author's next `seq` on the best branch.
    ///
    /// # Errors
    /// Returns why the reading was rejected. The mempool is unchanged then.
    pub fn insert(
        &mut self,
        reading: &Reading,
        id: ReadingId,
        next: u64,
        now: MonotonicMillis,
    ) -> Result<(), MempoolError> {
        if let Some(author) = self.admit(reading, id, next, now)? {
            self.evict_last(author);
        }
        let (author, seq) = (reading.author, reading.seq);
        self.displaced.remove(&id);
        self.ids.insert(id, (author, seq));
        let entry = PoolEntry {
            reading: *reading,
            id,
            order: self.arrivals,
            since: now,
        };
        self.arrivals += 1;
        self.update_queue(author, next, |queue| {
            queue.by_seq.insert(seq, entry);
        });
        Ok(())
    }

    /// Removes the reading with this author and `seq`, because one joined the best branch. If the waiting reading is
    /// another one, its author signed two: the waiting one is kept as displaced and returned. If there are
    /// [`MAX_DISPLACED`] already, the one displaced longest ago is dropped.
    pub fn on_connected(
        &mut self,
        author: &Author,
        seq: u64,
        prefix: IdPrefix,
        tip_index: u64,
    ) -> Option<Reading> {
        let mut taken = None;
        if self.queues.contains_key(author) {
            self.update_queue(*author, seq + 1, |queue| {
                queue.next = seq + 1;
                taken = queue.by_seq.remove(&seq);
            });
        }
        let taken = taken?;
        self.ids.remove(&taken.id);
        if IdPrefix::from(&taken.id) == prefix {
            return None;
        }
        if self.displaced.len() >= MAX_DISPLACED {
            let longest = self.displaced.iter().min_by_key(|(_, (_, since))| *since);
            let longest = longest.map(|(id, _)| *id);
            longest.map(|id| self.displaced.remove(&id));
        }
        self.displaced.insert(taken.id, (taken.reading, tip_index));
        Some(taken.reading)
    }

    /// Resets the author's next `seq` to `seq`, because the reading with it left the best branch.
    pub fn on_disconnected(&mut self, author: &Author, seq: u64) {
        if self.queues.contains_key(author) {
            self.update_queue(*author, seq, |queue| queue.next = seq);
        }
    }

    /// Changes the author whose readings are never evicted, when this peer switches to a new key.
    pub fn set_own(&mut self, own: Author) {
        let affected =
            [self.own, own].map(|author| self.queues.remove(&author).map(|queue| (author, queue)));
        for (author, queue) in affected.iter().flatten() {
            self.unindex(*author, queue);
        }
        self.own = own;
        for (author, queue) in affected.into_iter().flatten() {
            self.index(author, &queue);
            self.queues.insert(author, queue);
        }
    }
}
