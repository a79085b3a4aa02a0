//! What waits, in the order in which it is mined and in that in which mempools are compared. Changes nothing.

use alloc::{boxed::Box, vec::Vec};

use super::{Mempool, OWN_FIRST, Waiting};
use crate::{hash::ReadingId, key::Author, reading::Reading, time::MonotonicMillis};

/// A row of the listing by which mempools are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Who.
    pub author: Author,
    /// Its place.
    pub seq: u64,
    /// Its id.
    pub id: ReadingId,
}

impl Mempool {
    /// Whether one of one's own readings could be in the next block.
    #[must_use]
    pub fn own_is_minable(&self) -> bool {
        self.queues
            .get(&self.own)
            .is_some_and(|queue| queue.minable().next().is_some())
    }

    /// Since when the longest-waiting reading of somebody else that could be in the next block has waited.
    #[must_use]
    pub fn oldest_minable_of_others(&self) -> Option<MonotonicMillis> {
        self.heads
            .iter()
            .find(|(_, author)| *author != self.own)
            .map(|(since, _)| *since)
    }

    /// Since when the oldest gap that began after `asked` has lasted: an author's later reading is here and its next
    /// is not.
    #[must_use]
    pub fn oldest_gap_since(&self, asked: MonotonicMillis) -> Option<MonotonicMillis> {
        let from = (asked.saturating_add(1), Author::new([0; 32]));
        self.gaps.range(from..).next().map(|(since, _)| *since)
    }

    /// What goes into the next block: one's own first, then one reading an author in turn, authors by oldest arrival.
    #[must_use]
    pub fn template(&self, limit: usize) -> Vec<Reading> {
        let mut readings: Vec<Reading> = Vec::new();
        let mut own_left = None;
        if let Some(queue) = self.queues.get(&self.own) {
            let mut minable = queue.minable();
            readings.extend(
                minable
                    .by_ref()
                    .take(OWN_FIRST.min(limit))
                    .map(|waiting| waiting.reading),
            );
            own_left = Some(minable);
        }
        let mut turns: Vec<_> = self
            .heads
            .iter()
            .filter(|(_, author)| *author != self.own)
            .filter_map(|(_, author)| self.queues.get(author))
            .map(|queue| Box::new(queue.minable()) as Box<dyn Iterator<Item = &Waiting>>)
            .collect();
        if let Some(minable) = own_left {
            turns.push(Box::new(minable));
        }
        while !turns.is_empty() && readings.len() < limit {
            turns.retain_mut(|turn| match turn.next() {
                Some(waiting) if readings.len() < limit => {
                    readings.push(waiting.reading);
                    true
                }
                _ => false,
            });
        }
        readings
    }

    /// Waiting readings in order of author and place, from behind `after` on, at most `limit`.
    #[must_use]
    pub fn list_after(&self, after: Option<(Author, u64)>, limit: usize) -> Vec<Listed> {
        let from = after.map_or(Author::new([0; 32]), |(author, _)| author);
        self.queues
            .range(from..)
            .flat_map(|(author, queue)| {
                queue.by_seq.iter().map(|(seq, waiting)| Listed {
                    author: *author,
                    seq: *seq,
                    id: waiting.id,
                })
            })
            .filter(|row| after.is_none_or(|after| (row.author, row.seq) > after))
            .take(limit)
            .collect()
    }
}
