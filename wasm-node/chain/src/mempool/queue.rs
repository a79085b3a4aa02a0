//! The waiting readings of one author, and which of them a block could contain.

use litemap::LiteMap;

use crate::{hash::ReadingId, key::Author, reading::Reading, time::MonotonicMillis};

/// A waiting reading, with its id and arrival.
#[derive(Clone, Debug)]
pub(super) struct PoolEntry {
    pub(super) reading: Reading,
    pub(super) id: ReadingId,
    /// Number of readings that arrived before.
    pub(super) order: u64,
    pub(super) since: MonotonicMillis,
}

/// The waiting readings of one author.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    /// At most [`MAX_PER_AUTHOR`](super::MAX_PER_AUTHOR), because every change visits all of them.
    pub(super) by_seq: LiteMap<u64, PoolEntry>,
    /// The author's next `seq` on the best branch.
    pub(super) next: u64,
}

impl Queue {
    pub(super) fn is_newcomer(&self) -> bool {
        self.next == 0
    }

    /// Sort key by which a full mempool finds the largest queue and, among equals, the newest reading.
    pub(super) fn size_rank(&self, author: Author) -> (usize, u64, Author) {
        let newest = self
            .by_seq
            .values()
            .map(|waiting| waiting.order)
            .max()
            .unwrap_or(0);
        (self.by_seq.len(), newest, author)
    }

    /// The readings that a block could contain now, in order.
    pub(super) fn minable(&self) -> impl Iterator<Item = &PoolEntry> {
        let waiting = self.by_seq.as_slice();
        let from = waiting.partition_point(|(seq, _)| *seq < self.next);
        (self.next..)
            .zip(waiting.iter().skip(from))
            .take_while(|(expected, (seq, _))| expected == seq)
            .map(|(_, (_, waiting))| waiting)
    }

    /// The readings behind a gap. They cannot be mined before a missing reading arrives.
    pub(super) fn behind_gap(&self) -> &[(u64, PoolEntry)] {
        let waiting = self.by_seq.as_slice();
        let from = waiting.partition_point(|(seq, _)| *seq < self.next);
        let behind = from + self.minable().count();
        waiting.get(behind..).unwrap_or_default()
    }

    /// Whether a reading with this `seq` has no gap before it.
    pub(super) fn is_contiguous(&self, seq: u64) -> bool {
        seq - self.next <= self.minable().count() as u64
    }
}
