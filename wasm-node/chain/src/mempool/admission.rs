//! Admission and eviction. Every change of a queue goes through [`Mempool::update_queue`], which keeps the indexes
//! consistent.

use litemap::LiteMap;

use super::{
    MAX_AHEAD, MAX_NEWCOMER_GAPS, MAX_NEWCOMER_READINGS, MAX_PER_AUTHOR, MAX_PER_NEWCOMER,
    MAX_READINGS, Mempool, MempoolError, Queue, STALE_GAP_MS,
};
use crate::{hash::ReadingId, key::Author, reading::Reading, time::MonotonicMillis};

/// How a reading can be admitted.
#[derive(Clone, Copy, Debug)]
enum Admission {
    /// There is a free slot.
    Free,
    /// The last reading of this author has to be evicted.
    Evict(Author),
}

/// Replaces the author's last reading by an earlier one, because it must be possible to close a gap.
fn evict_authors_last(author: Author, queue: Option<&Queue>, seq: u64) -> Option<Admission> {
    let last = queue.and_then(|queue| queue.by_seq.last());
    last.filter(|(last, _)| **last > seq)
        .map(|_| Admission::Evict(author))
}

/// The output function of SplitMix64, which turns a counter into pseudorandom numbers.
const fn splitmix64(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn is_stale(since: MonotonicMillis, now: MonotonicMillis) -> bool {
    now.since(since) >= STALE_GAP_MS
}

impl Mempool {
    /// Checks whether a reading can be admitted. Returns the author whose last reading has to be evicted, if any.
    pub(super) fn admit(
        &self,
        reading: &Reading,
        id: ReadingId,
        next: u64,
        now: MonotonicMillis,
    ) -> Result<Option<Author>, MempoolError> {
        let (author, seq) = (reading.author, reading.seq);
        if self.ids.contains_key(&id) {
            return Err(MempoolError::Known);
        }
        if seq < next {
            return Err(MempoolError::Past { found: seq, next });
        }
        if seq - next >= MAX_AHEAD {
            return Err(MempoolError::TooFarAhead { found: seq, next });
        }
        let queue = self.queues.get(&author);
        if let Some(other) = queue.and_then(|queue| queue.by_seq.get(&seq)) {
            return Err(MempoolError::Equivocation {
                seq,
                other: other.id,
            });
        }
        let newcomer = next == 0 && author != self.own;
        let admission = if newcomer {
            self.admit_newcomer(author, queue, seq, now)?
        } else {
            self.admit_established(author, queue, seq)?
        };
        match admission {
            Admission::Free if self.ids.len() >= MAX_READINGS => {
                self.admit_to_full(author, queue, seq, now).map(Some)
            }
            Admission::Free => Ok(None),
            Admission::Evict(author) => Ok(Some(author)),
        }
    }

    fn admit_established(
        &self,
        author: Author,
        queue: Option<&Queue>,
        seq: u64,
    ) -> Result<Admission, MempoolError> {
        if queue.map_or(0, |queue| queue.by_seq.len()) < MAX_PER_AUTHOR {
            return Ok(Admission::Free);
        }
        evict_authors_last(author, queue, seq).ok_or(MempoolError::AuthorFull {
            limit: MAX_PER_AUTHOR,
        })
    }

    fn admit_newcomer(
        &self,
        author: Author,
        queue: Option<&Queue>,
        seq: u64,
        now: MonotonicMillis,
    ) -> Result<Admission, MempoolError> {
        let waiting = queue.map_or(0, |queue| queue.by_seq.len());
        if waiting >= MAX_PER_NEWCOMER {
            return evict_authors_last(author, queue, seq).ok_or(MempoolError::AuthorFull {
                limit: MAX_PER_NEWCOMER,
            });
        }
        let is_contiguous = queue.map_or(seq == 0, |queue| queue.is_contiguous(seq));
        let oldest_gap = self.gapped_newcomers.first().copied();
        if !is_contiguous && self.newcomer_gaps >= MAX_NEWCOMER_GAPS {
            let oldest = oldest_gap.filter(|(_, other)| *other != author);
            return oldest.map_or(Err(MempoolError::NewcomersFull), |(_, other)| {
                Ok(Admission::Evict(other))
            });
        }
        if self.newcomer_readings < MAX_NEWCOMER_READINGS {
            return Ok(Admission::Free);
        }
        let stale = oldest_gap.filter(|(since, other)| is_stale(*since, now) && *other != author);
        if let Some((_, other)) = stale {
            return Ok(Admission::Evict(other));
        }
        let fuller = self.fullest_newcomers.last().copied();
        match fuller.filter(|(count, _, other)| *other != author && *count > waiting + 1) {
            Some((_, _, other)) => Ok(Admission::Evict(other)),
            None if waiting == 0 => self
                .random_newcomer()
                .map(Admission::Evict)
                .ok_or(MempoolError::NewcomersFull),
            None => evict_authors_last(author, queue, seq).ok_or(MempoolError::NewcomersFull),
        }
    }

    /// Picks a newcomer at random, so that an attacker who keeps filling the quota cannot keep a newcomer out. All
    /// newcomers have one reading each.
    fn random_newcomer(&self) -> Option<Author> {
        let (oldest, newest) = (
            self.fullest_newcomers.first()?,
            self.fullest_newcomers.last()?,
        );
        let span = newest.1.saturating_sub(oldest.1).saturating_add(1);
        let within = splitmix64(self.seed.wrapping_add(self.arrivals)) % span;
        let from = (1, oldest.1 + within, Author::new([0; 32]));
        let chosen = self.fullest_newcomers.range(from..).next();
        chosen.or(Some(oldest)).map(|(_, _, author)| *author)
    }

    /// Picks the author whose last reading is evicted from a full mempool: one with a reading that is stale behind a
    /// gap, else the other author with the most readings, and among equals the one with the newest.
    fn admit_to_full(
        &self,
        author: Author,
        queue: Option<&Queue>,
        seq: u64,
        now: MonotonicMillis,
    ) -> Result<Author, MempoolError> {
        let oldest_gap = self.gapped.iter().find(|(_, other)| *other != author);
        if let Some((_, other)) = oldest_gap.filter(|(since, _)| is_stale(*since, now)) {
            return Ok(*other);
        }
        let waiting = queue.map_or(0, |queue| queue.by_seq.len());
        let fullest = self.fullest.iter().rev();
        let fuller = fullest
            .map(|(count, _, other)| (*count, *other))
            .find(|(_, other)| *other != author)
            .filter(|(count, _)| author == self.own || *count > waiting);
        match fuller {
            Some((_, other)) => Ok(other),
            None => match evict_authors_last(author, queue, seq) {
                Some(Admission::Evict(author)) => Ok(author),
                Some(Admission::Free) | None => Err(MempoolError::Full),
            },
        }
    }

    /// Evicts the author's last reading.
    pub(super) fn evict_last(&mut self, author: Author) {
        let Some(next) = self.queues.get(&author).map(|queue| queue.next) else {
            return;
        };
        let mut evicted = None;
        self.update_queue(author, next, |queue| {
            let last = queue.by_seq.last().map(|(seq, _)| *seq);
            evicted = last.and_then(|last| queue.by_seq.remove(&last));
        });
        if let Some(evicted) = evicted {
            self.ids.remove(&evicted.id);
        }
    }

    /// Applies a change to a queue: removes it from every index, applies the change, and inserts it again. Nothing else
    /// changes a queue.
    pub(super) fn update_queue(
        &mut self,
        author: Author,
        next: u64,
        apply: impl FnOnce(&mut Queue),
    ) {
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
        let size_rank = queue.size_rank(author);
        self.fullest.remove(&size_rank);
        self.fullest_newcomers.remove(&size_rank);
        let rows = if *first == queue.next {
            &mut self.heads
        } else {
            &mut self.missing_next
        };
        rows.remove(&(waiting.since, author));
        if author == self.own {
            return;
        }
        let behind = queue.behind_gap();
        if let Some((_, first)) = behind.first() {
            self.gapped.remove(&(first.since, author));
            self.gapped_newcomers.remove(&(first.since, author));
        }
        if queue.is_newcomer() {
            self.newcomer_readings -= queue.by_seq.len();
            self.newcomer_gaps -= behind.len();
        }
    }

    pub(super) fn index(&mut self, author: Author, queue: &Queue) {
        let Some((first, waiting)) = queue.by_seq.first() else {
            return;
        };
        if author != self.own {
            let size_rank = queue.size_rank(author);
            self.fullest.insert(size_rank);
            let behind = queue.behind_gap();
            let gap = behind.first().map(|(_, first)| (first.since, author));
            self.gapped.extend(gap);
            if queue.is_newcomer() {
                self.newcomer_readings += queue.by_seq.len();
                self.newcomer_gaps += behind.len();
                self.fullest_newcomers.insert(size_rank);
                self.gapped_newcomers.extend(gap);
            }
        }
        let rows = if *first == queue.next {
            &mut self.heads
        } else {
            &mut self.missing_next
        };
        rows.insert((waiting.since, author));
    }
}
