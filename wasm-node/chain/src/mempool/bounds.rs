//! Who has a place, and who gives one up: every change of a queue goes through here, and through its indexes.

use litemap::LiteMap;

use super::{
    MAX_AHEAD, MAX_NEWCOMER_GAPS, MAX_NEWCOMER_READINGS, MAX_PER_AUTHOR, MAX_PER_NEWCOMER,
    MAX_READINGS, Mempool, MempoolError, Queue, STALE_GAP_MS,
};
use crate::{hash::ReadingId, key::Author, reading::Reading, time::MonotonicMillis};

/// Where a reading finds its place.
#[derive(Clone, Copy, Debug)]
enum Room {
    Free,
    /// In place of this author's last reading.
    Of(Author),
}

/// What comes first in the author's count takes the place of what comes last: a gap must be able to close.
fn instead_of_own_last(author: Author, queue: Option<&Queue>, seq: u64) -> Option<Room> {
    let last = queue.and_then(|queue| queue.by_seq.last());
    last.filter(|(last, _)| **last > seq)
        .map(|_| Room::Of(author))
}

/// SplitMix64's output function: spreads a counter over all numbers.
const fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn is_stale(since: MonotonicMillis, now: MonotonicMillis) -> bool {
    now.since(since) >= STALE_GAP_MS
}

impl Mempool {
    /// Whether there is a place for a reading, and whose last reading goes for it, if one has to.
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
        let room = if newcomer {
            self.admit_newcomer(author, queue, seq, now)?
        } else {
            self.admit_known(author, queue, seq)?
        };
        match room {
            Room::Free if self.ids.len() >= MAX_READINGS => {
                self.admit_to_full(author, queue, seq, now).map(Some)
            }
            Room::Free => Ok(None),
            Room::Of(author) => Ok(Some(author)),
        }
    }

    fn admit_known(
        &self,
        author: Author,
        queue: Option<&Queue>,
        seq: u64,
    ) -> Result<Room, MempoolError> {
        if queue.map_or(0, |queue| queue.by_seq.len()) < MAX_PER_AUTHOR {
            return Ok(Room::Free);
        }
        instead_of_own_last(author, queue, seq).ok_or(MempoolError::AuthorFull {
            limit: MAX_PER_AUTHOR,
        })
    }

    fn admit_newcomer(
        &self,
        author: Author,
        queue: Option<&Queue>,
        seq: u64,
        now: MonotonicMillis,
    ) -> Result<Room, MempoolError> {
        let waiting = queue.map_or(0, |queue| queue.by_seq.len());
        if waiting >= MAX_PER_NEWCOMER {
            return instead_of_own_last(author, queue, seq).ok_or(MempoolError::AuthorFull {
                limit: MAX_PER_NEWCOMER,
            });
        }
        let closes_up = queue.map_or(seq == 0, |queue| queue.closes_up(seq));
        let oldest_gap = self.gapped_newcomers.first().copied();
        if !closes_up && self.newcomer_gaps >= MAX_NEWCOMER_GAPS {
            let oldest = oldest_gap.filter(|(_, other)| *other != author);
            return oldest.map_or(Err(MempoolError::NewcomersFull), |(_, other)| {
                Ok(Room::Of(other))
            });
        }
        if self.newcomer_readings < MAX_NEWCOMER_READINGS {
            return Ok(Room::Free);
        }
        let stale = oldest_gap.filter(|(since, other)| is_stale(*since, now) && *other != author);
        if let Some((_, other)) = stale {
            return Ok(Room::Of(other));
        }
        let fuller = self.fullest_newcomers.last().copied();
        match fuller.filter(|(count, _, other)| *other != author && *count > waiting + 1) {
            Some((_, _, other)) => Ok(Room::Of(other)),
            None if waiting == 0 => self
                .random_newcomer()
                .map(Room::Of)
                .ok_or(MempoolError::NewcomersFull),
            None => instead_of_own_last(author, queue, seq).ok_or(MempoolError::NewcomersFull),
        }
    }

    /// A new author, at random: one that fills the places again and again must not keep another one out. All have one
    /// reading each.
    fn random_newcomer(&self) -> Option<Author> {
        let (oldest, newest) = (
            self.fullest_newcomers.first()?,
            self.fullest_newcomers.last()?,
        );
        let span = newest.1.saturating_sub(oldest.1).saturating_add(1);
        let within = mixed(self.seed.wrapping_add(self.arrivals)) % span;
        let from = (1, oldest.1 + within, Author::new([0; 32]));
        let chosen = self.fullest_newcomers.range(from..).next();
        chosen.or(Some(oldest)).map(|(_, _, author)| *author)
    }

    /// Whose last reading goes when all places are taken: one that has waited behind a gap for long, else the newest of the
    /// fullest other author.
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
            None => match instead_of_own_last(author, queue, seq) {
                Some(Room::Of(author)) => Ok(author),
                Some(Room::Free) | None => Err(MempoolError::Full),
            },
        }
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
        let fullness = queue.fullness(author);
        self.fullest.remove(&fullness);
        self.fullest_newcomers.remove(&fullness);
        let rows = if *first == queue.next {
            &mut self.heads
        } else {
            &mut self.gaps
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
            let fullness = queue.fullness(author);
            self.fullest.insert(fullness);
            let behind = queue.behind_gap();
            let gap = behind.first().map(|(_, first)| (first.since, author));
            self.gapped.extend(gap);
            if queue.is_newcomer() {
                self.newcomer_readings += queue.by_seq.len();
                self.newcomer_gaps += behind.len();
                self.fullest_newcomers.insert(fullness);
                self.gapped_newcomers.extend(gap);
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
