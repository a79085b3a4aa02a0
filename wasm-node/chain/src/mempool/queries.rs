//! Read-only queries: the block template, and the ordered listing by which two peers compare their mempools.

use alloc::{boxed::Box, vec::Vec};

use super::{
    pool::Mempool,
    queue::{PoolEntry, Queue},
};
use crate::{
    block::MAX_AUTHOR_READINGS, compact_sort, hash::ReadingId, key::Author, reading::Reading,
    time::MonotonicMillis,
};

/// An entry of the listing by which two peers compare their mempools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListEntry {
    /// The author of the reading.
    pub author: Author,
    /// Sequence number among the author's readings.
    pub seq: u64,
    /// Id of the reading in this room.
    pub id: ReadingId,
}

impl Mempool {
    /// Whether the next block could contain one of this peer's own readings.
    #[must_use]
    pub fn own_is_minable(&self) -> bool {
        self.queues
            .get(&self.own)
            .is_some_and(|queue| queue.minable().next().is_some())
    }

    /// Arrival of the oldest reading of another author that the next block could contain.
    #[must_use]
    pub fn oldest_minable_of_others(&self) -> Option<MonotonicMillis> {
        self.heads
            .iter()
            .find(|(_, author)| *author != self.own)
            .map(|(since, _)| since)
    }

    /// Start of the oldest gap that began after `asked`. A gap means that a later reading of an author is waiting, but
    /// not its next one.
    #[must_use]
    pub fn oldest_gap_since(&self, asked: MonotonicMillis) -> Option<MonotonicMillis> {
        let from = (asked.saturating_add(1), Author::new([0; 32]));
        self.missing_next
            .starting_at(from)
            .next()
            .map(|(since, _)| since)
    }

    /// The readings for the next block, at most [`MAX_AUTHOR_READINGS`] of an author: first this peer's own, then round
    /// robin, one reading an author, in the order in which the authors' next readings arrived. They are sorted by author and
    /// `seq`, so that a block does not tell who made it.
    #[must_use]
    pub fn template(&self, limit: usize) -> Vec<Reading> {
        let own = self.queues.get(&self.own);
        let own = own.into_iter().flat_map(Queue::minable);
        let own = own.take(MAX_AUTHOR_READINGS.min(limit));
        let mut readings: Vec<Reading> = own.map(|waiting| waiting.reading).collect();
        let mut turns: Vec<_> = self
            .heads
            .iter()
            .filter(|(_, author)| *author != self.own)
            .filter_map(|(_, author)| self.queues.get(&author))
            .map(|queue| {
                let minable = queue.minable().take(MAX_AUTHOR_READINGS);
                Box::new(minable) as Box<dyn Iterator<Item = &PoolEntry>>
            })
            .collect();
        while !turns.is_empty() && readings.len() < limit {
            turns.retain_mut(|turn| match turn.next() {
                Some(waiting) if readings.len() < limit => {
                    readings.push(waiting.reading);
                    true
                }
                _ => false,
            });
        }
        compact_sort::sort_by_key(&mut readings, |reading| (reading.author, reading.seq));
        readings
    }

    /// Waiting readings ordered by author and `seq`, starting after `after`, at most `limit`.
    #[must_use]
    pub fn list_after(&self, after: Option<(Author, u64)>, limit: usize) -> Vec<ListEntry> {
        let from = after.map_or(Author::new([0; 32]), |(author, _)| author);
        self.authors
            .starting_at(from)
            .filter_map(|author| Some((author, self.queues.get(&author)?)))
            .flat_map(|(author, queue)| {
                queue.by_seq.iter().map(move |(seq, waiting)| ListEntry {
                    author,
                    seq: *seq,
                    id: waiting.id,
                })
            })
            .filter(|row| after.is_none_or(|after| (row.author, row.seq) > after))
            .take(limit)
            .collect()
    }
}
