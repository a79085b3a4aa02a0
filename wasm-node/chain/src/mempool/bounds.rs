//! Who has a place, and who gives one up: every change of a queue goes through here, and through its indexes.

use litemap::LiteMap;

use super::{
    MAX_NEWCOMER_READINGS, MAX_PER_AUTHOR, MAX_PER_NEWCOMER, Mempool, MempoolError, Queue,
};
use crate::key::Author;

impl Mempool {
    pub(super) fn check_bounds(
        &self,
        author: &Author,
        waiting: usize,
        next: u64,
    ) -> Result<(), MempoolError> {
        let newcomer = next == 0 && *author != self.own;
        let limit = if newcomer {
            MAX_PER_NEWCOMER
        } else {
            MAX_PER_AUTHOR
        };
        if waiting >= limit {
            return Err(MempoolError::AuthorFull { limit });
        }
        if newcomer && self.newcomer_readings >= MAX_NEWCOMER_READINGS {
            return Err(MempoolError::NewcomersFull);
        }
        Ok(())
    }

    /// Makes one place: the newest reading of the fullest other author goes.
    pub(super) fn displace_for(
        &mut self,
        author: &Author,
        waiting: usize,
        seq: u64,
        last: Option<u64>,
    ) -> Result<(), MempoolError> {
        let victim = self
            .fullest
            .iter()
            .rev()
            .find(|(_, _, other)| other != author)
            .copied();
        let fuller = victim.filter(|(count, ..)| *author == self.own || *count > waiting);
        match fuller {
            Some((_, _, victim)) => self.displace_last(victim),
            None if last.is_some_and(|last| last > seq) => self.displace_last(*author),
            None => return Err(MempoolError::Full),
        }
        Ok(())
    }

    /// An author's last reading goes.
    pub(super) fn displace_last(&mut self, author: Author) {
        let Some(next) = self.queues.get(&author).map(|queue| queue.next) else {
            return;
        };
        let mut gone = None;
        self.change(author, next, |queue| {
            let last = queue.by_seq.last().map(|(seq, _)| *seq);
            gone = last.and_then(|last| queue.by_seq.remove(&last));
        });
        if let Some(gone) = gone {
            self.ids.remove(&gone.id);
        }
    }

    /// The one place where a queue changes: takes its rows out of every index, applies, puts them back.
    pub(super) fn change(&mut self, author: Author, next: u64, apply: impl FnOnce(&mut Queue)) {
        let mut queue = self.queues.remove(&author).unwrap_or(Queue {
            by_seq: LiteMap::new(),
            next,
        });
        self.unindex(author, &queue);
        apply(&mut queue);
        if !queue.by_seq.is_empty() {
            self.index(author, &queue);
            self.queues.insert(author, queue);
        }
    }

    pub(super) fn unindex(&mut self, author: Author, queue: &Queue) {
        let Some((first, waiting)) = queue.by_seq.first() else {
            return;
        };
        self.fullest.remove(&queue.fullness(author));
        let rows = if *first == queue.next {
            &mut self.heads
        } else {
            &mut self.gaps
        };
        rows.remove(&(waiting.since, author));
        if queue.is_newcomer() && author != self.own {
            self.newcomer_readings -= queue.by_seq.len();
        }
    }

    pub(super) fn index(&mut self, author: Author, queue: &Queue) {
        let Some((first, waiting)) = queue.by_seq.first() else {
            return;
        };
        if author != self.own {
            self.fullest.insert(queue.fullness(author));
            if queue.is_newcomer() {
                self.newcomer_readings += queue.by_seq.len();
            }
        }
        let rows = if *first == queue.next {
            &mut self.heads
        } else {
            &mut self.gaps
        };
        rows.insert((waiting.since, author));
    }
}
