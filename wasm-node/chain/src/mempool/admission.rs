//! Admission and eviction: the limits, which reading is accepted, and which one makes way for it.

use super::{pool::Mempool, queue::Queue};
use crate::{hash::ReadingId, key::Author, reading::Reading, time::MonotonicMillis};

/// Maximum number of waiting readings: 2.2 MB.
pub const MAX_READINGS: usize = 16_384;
/// Maximum number of waiting readings of one author.
pub const MAX_PER_AUTHOR: usize = 1_024;
/// Maximum number of waiting readings of all newcomers together, because author keys are free. A newcomer is an author
/// without a reading on the best branch.
pub const MAX_NEWCOMER_READINGS: usize = 4_096;
/// Maximum number of waiting readings of one newcomer.
pub const MAX_PER_NEWCOMER: usize = 32;
/// Maximum number of newcomers' readings behind a gap in their author's sequence. Such a reading cannot be mined, so
/// without this bound a flood of them would fill the newcomers' quota and never leave. Some must be allowed, because
/// gossip can reorder two readings.
pub const MAX_NEWCOMER_GAPS: usize = 256;
/// After this many milliseconds behind a gap in its author's sequence, a reading is the first to be evicted when the
/// mempool is full.
pub const STALE_GAP_MS: u64 = 10 * 60 * 1_000;
/// A reading is accepted only if its `seq` is less than this far ahead of its author's next.
pub const MAX_AHEAD: u64 = 1_024;

/// Why a reading was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the field names say it")]
pub enum MempoolError {
    /// The reading is waiting already.
    #[error("the reading is already in the mempool")]
    Known,
    /// The best branch already has a reading with this `seq`.
    #[error("seq {found} is behind the author's next, {next}")]
    Past { found: u64, next: u64 },
    /// The `seq` is too far ahead of the author's next.
    #[error("seq {found} is {MAX_AHEAD} or more ahead of the author's next, {next}")]
    TooFarAhead { found: u64, next: u64 },
    /// The author signed another reading with the same `seq`, which is waiting.
    #[error("its author signed another reading with seq {seq}: {other}")]
    Equivocation {
        seq: u64,
        /// The reading that is waiting.
        other: ReadingId,
    },
    /// The author has reached its quota.
    #[error("its author has the maximum of {limit} readings waiting")]
    AuthorFull { limit: usize },
    /// The newcomers have reached their common quota.
    #[error("new authors have the maximum of {MAX_NEWCOMER_READINGS} readings waiting")]
    NewcomersFull,
    /// The mempool is full, and no author has more readings waiting than this one.
    #[error("the mempool is full with {MAX_READINGS} readings")]
    Full,
}

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
        let oldest_gap = self.gapped_newcomers.first();
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
        let fuller = self.fullest_newcomers.last();
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
        let chosen = self.fullest_newcomers.starting_at(from).next();
        chosen.or(Some(oldest)).map(|(_, _, author)| author)
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
            return Ok(other);
        }
        let waiting = queue.map_or(0, |queue| queue.by_seq.len());
        let fullest = self.fullest.iter().rev();
        let fuller = fullest
            .map(|(count, _, other)| (count, other))
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
}
