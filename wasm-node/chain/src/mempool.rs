//! Readings that wait for a block.
//!
//! Every one of them has been verified before it comes here. Bounds are those of CHAIN.md, "Mempool": a flood
//! may delay others' readings, never displace one's own, and no author's readings can crowd out the rest.
//! Holds no clock; what time it is, and where each author's count stands on the best branch, come in as arguments.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use hashbrown::HashMap;

use crate::{hash::ReadingId, key::Author, reading::Reading, time::UnixMillis, tree::IdPrefix};

/// Readings in all: 1.9 MB of them.
pub const MAX_READINGS: usize = 16_384;
/// Readings of one author.
pub const MAX_PER_AUTHOR: usize = 1_024;
/// Places that all authors without a reading on the best branch share: keys cost nothing.
pub const MAX_NEWCOMER_READINGS: usize = 4_096;
/// Places of one author without a reading on the best branch.
pub const MAX_PER_NEWCOMER: usize = 32;
/// A reading ahead of a gap is held if it is less than so many places ahead of its author's next.
pub const MAX_AHEAD: u64 = 1_024;
/// One's own readings that a template takes before all others.
pub const OWN_FIRST: usize = 128;
/// Readings whose place the branch gave to another, kept in case it changes: 200 KB.
pub const MAX_ASIDE: usize = 1_024;
/// For so many blocks they are kept.
pub const ASIDE_BLOCKS: u64 = 1_000;

/// Why a reading was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MempoolError {
    /// It is here already.
    #[error("the reading is known")]
    Known,
    /// The branch has gone past its place.
    #[error("seq {found} is behind the author's next, {next}")]
    Past {
        /// The reading's.
        found: u64,
        /// The author's next on the best branch.
        next: u64,
    },
    /// Too far ahead of its author's next.
    #[error("seq {found} is {MAX_AHEAD} or more ahead of the author's next, {next}")]
    TooFarAhead {
        /// The reading's.
        found: u64,
        /// The author's next on the best branch.
        next: u64,
    },
    /// Another reading of the same author and place is here: its author signed two.
    #[error("its author signed another reading with seq {seq}: {other}")]
    Equivocation {
        /// The place.
        seq: u64,
        /// The one that is here.
        other: ReadingId,
    },
    /// Its author has as many waiting as one may have.
    #[error("its author has {limit} readings waiting")]
    AuthorFull {
        /// The limit that applies.
        limit: usize,
    },
    /// All places for authors without a reading on the chain are taken.
    #[error("all {MAX_NEWCOMER_READINGS} places for new authors are taken")]
    NewcomersFull,
    /// The mempool is full, and nobody has more waiting than this author.
    #[error("all {MAX_READINGS} places are taken")]
    Full,
}

#[derive(Clone, Debug)]
struct Waiting {
    reading: Reading,
    id: ReadingId,
    order: u64,
    since: UnixMillis,
}

/// One author's waiting readings.
#[derive(Clone, Debug)]
struct Queue {
    by_seq: BTreeMap<u64, Waiting>,
    /// The author's next place on the best branch.
    next: u64,
}

impl Queue {
    fn is_newcomer(&self) -> bool {
        self.next == 0
    }

    fn fullness(&self, author: Author) -> (usize, u64, Author) {
        let newest = self
            .by_seq
            .values()
            .map(|waiting| waiting.order)
            .max()
            .unwrap_or(0);
        (self.by_seq.len(), newest, author)
    }

    /// Readings that could be put into a block now, in order.
    fn minable(&self) -> impl Iterator<Item = &Waiting> {
        (self.next..)
            .zip(self.by_seq.range(self.next..))
            .take_while(|(want, (seq, _))| want == *seq)
            .map(|(_, (_, waiting))| waiting)
    }
}

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

/// The mempool.
#[derive(Clone, Debug)]
pub struct Mempool {
    own: Author,
    queues: BTreeMap<Author, Queue>,
    ids: HashMap<ReadingId, (Author, u64)>,
    newcomer_readings: usize,
    /// Queues by how full they are, then by their newest arrival. One's own is not among them.
    fullest: BTreeSet<(usize, u64, Author)>,
    /// Authors whose next reading is here, by when it came.
    heads: BTreeSet<(UnixMillis, Author)>,
    /// Authors who have readings here but not their next, by when the first came.
    gaps: BTreeSet<(UnixMillis, Author)>,
    aside: BTreeMap<ReadingId, (Reading, u64)>,
    arrivals: u64,
}

impl Mempool {
    /// Empty; readings of `own` are never displaced.
    #[must_use]
    pub fn new(own: Author) -> Self {
        Self {
            own,
            queues: BTreeMap::new(),
            ids: HashMap::new(),
            newcomer_readings: 0,
            fullest: BTreeSet::new(),
            heads: BTreeSet::new(),
            gaps: BTreeSet::new(),
            aside: BTreeMap::new(),
            arrivals: 0,
        }
    }

    /// How many readings wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether this reading waits here.
    #[must_use]
    pub fn contains(&self, id: &ReadingId) -> bool {
        self.ids.contains_key(id)
    }

    /// A waiting reading, or one set aside.
    #[must_use]
    pub fn get(&self, id: &ReadingId) -> Option<&Reading> {
        match self.ids.get(id) {
            Some((author, seq)) => Some(&self.queues.get(author)?.by_seq.get(seq)?.reading),
            None => self.aside.get(id).map(|(reading, _)| reading),
        }
    }

    /// Whether these very bytes, signature included, wait here.
    #[must_use]
    pub fn holds(&self, reading: &Reading) -> bool {
        self.queues
            .get(&reading.author)
            .and_then(|queue| queue.by_seq.get(&reading.seq))
            .is_some_and(|waiting| waiting.reading == *reading)
    }

    /// Whether a reading waits for this place of its author's count, whichever it is.
    #[must_use]
    pub fn has_place(&self, author: &Author, seq: u64) -> bool {
        self.queues
            .get(author)
            .is_some_and(|queue| queue.by_seq.contains_key(&seq))
    }

    /// All waiting readings, by author and place.
    pub fn iter(&self) -> impl Iterator<Item = &Reading> {
        self.queues
            .values()
            .flat_map(|queue| queue.by_seq.values())
            .map(|waiting| &waiting.reading)
    }

    /// Whether one of one's own readings could be in the next block.
    #[must_use]
    pub fn own_is_minable(&self) -> bool {
        self.queues
            .get(&self.own)
            .is_some_and(|queue| queue.minable().next().is_some())
    }

    /// Since when the longest-waiting reading of somebody else that could be in the next block has waited.
    #[must_use]
    pub fn oldest_minable_of_others(&self) -> Option<UnixMillis> {
        self.heads
            .iter()
            .find(|(_, author)| *author != self.own)
            .map(|(since, _)| *since)
    }

    /// Since when the oldest gap that began after `asked` has lasted: an author's later reading is here and its next
    /// is not.
    #[must_use]
    pub fn oldest_gap_since(&self, asked: UnixMillis) -> Option<UnixMillis> {
        let from = (asked.saturating_add(1), Author::new([0; 32]));
        self.gaps.range(from..).next().map(|(since, _)| *since)
    }

    /// Takes in a verified reading. `next` is its author's next place on the best branch.
    ///
    /// # Errors
    /// Says why it was not taken; the mempool is as before then.
    pub fn insert(
        &mut self,
        reading: &Reading,
        id: ReadingId,
        next: u64,
        now: UnixMillis,
    ) -> Result<(), MempoolError> {
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
        let waiting = queue.map_or(0, |queue| queue.by_seq.len());
        let last = queue.and_then(|queue| queue.by_seq.last_key_value());
        let last = last.map(|(seq, _)| *seq);
        let bounds = self.check_bounds(&author, waiting, next);
        if bounds.is_ok() && self.ids.len() >= MAX_READINGS {
            self.displace_for(&author, waiting, seq, last)?;
        } else if let Err(error) = bounds {
            // What comes first in the author's count takes the place of what comes last: a gap must be able to close.
            if last.is_none_or(|last| last < seq) {
                return Err(error);
            }
            self.displace_last(author);
        }
        self.aside.remove(&id);
        self.ids.insert(id, (author, seq));
        let entry = Waiting {
            reading: *reading,
            id,
            order: self.arrivals,
            since: now,
        };
        self.arrivals += 1;
        self.change(author, next, |queue| {
            queue.by_seq.insert(seq, entry);
        });
        Ok(())
    }

    /// A reading joined the best branch: it leaves the mempool. Another one of the same place is set aside, in place of
    /// the one that has been aside for longest if need be, and returned: its author signed two.
    pub fn link(
        &mut self,
        author: &Author,
        seq: u64,
        prefix: IdPrefix,
        tip_index: u64,
    ) -> Option<Reading> {
        let mut taken = None;
        if self.queues.contains_key(author) {
            self.change(*author, seq + 1, |queue| {
                queue.next = seq + 1;
                taken = queue.by_seq.remove(&seq);
            });
        }
        let taken = taken?;
        self.ids.remove(&taken.id);
        if IdPrefix::from(&taken.id) == prefix {
            return None;
        }
        if self.aside.len() >= MAX_ASIDE {
            let longest = self.aside.iter().min_by_key(|(_, (_, since))| *since);
            let longest = longest.map(|(id, _)| *id);
            longest.map(|id| self.aside.remove(&id));
        }
        self.aside.insert(taken.id, (taken.reading, tip_index));
        Some(taken.reading)
    }

    /// A reading left the best branch: its author's count stands at its place again.
    pub fn unlink(&mut self, author: &Author, seq: u64) {
        if self.queues.contains_key(author) {
            self.change(*author, seq, |queue| queue.next = seq);
        }
    }

    /// Keeps a reading whose place the branch gave to another. Returns `false` if there is no room for it.
    #[must_use]
    pub fn set_aside(&mut self, reading: &Reading, id: ReadingId, tip_index: u64) -> bool {
        let room = self.aside.len() < MAX_ASIDE || self.aside.contains_key(&id);
        if room {
            self.aside.entry(id).or_insert((*reading, tip_index));
        }
        room
    }

    /// How many readings are set aside.
    #[must_use]
    pub fn aside(&self) -> usize {
        self.aside.len()
    }

    /// Readings set aside whose place is free again, and those set aside for too long: both are taken out,
    /// the former are returned.
    pub fn take_revivable(
        &mut self,
        tip_index: u64,
        next_seq: impl Fn(&Author) -> u64,
    ) -> Vec<Reading> {
        self.aside
            .retain(|_, (_, since)| tip_index.saturating_sub(*since) <= ASIDE_BLOCKS);
        let free: Vec<ReadingId> = self
            .aside
            .iter()
            .filter(|(_, (reading, _))| reading.seq >= next_seq(&reading.author))
            .map(|(id, _)| *id)
            .collect();
        free.iter()
            .filter_map(|id| self.aside.remove(id))
            .map(|(reading, _)| reading)
            .collect()
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
            .map(|queue| {
                alloc::boxed::Box::new(queue.minable())
                    as alloc::boxed::Box<dyn Iterator<Item = &Waiting>>
            })
            .collect();
        if let Some(minable) = own_left {
            turns.push(alloc::boxed::Box::new(minable));
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

    /// Changes whose readings are never displaced (a fresh key took over).
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

    fn check_bounds(&self, author: &Author, waiting: usize, next: u64) -> Result<(), MempoolError> {
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
    fn displace_for(
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
    fn displace_last(&mut self, author: Author) {
        let Some(next) = self.queues.get(&author).map(|queue| queue.next) else {
            return;
        };
        let mut gone = None;
        self.change(author, next, |queue| gone = queue.by_seq.pop_last());
        if let Some((_, gone)) = gone {
            self.ids.remove(&gone.id);
        }
    }

    /// The one place where a queue changes: takes its rows out of every index, applies, puts them back.
    fn change(&mut self, author: Author, next: u64, apply: impl FnOnce(&mut Queue)) {
        let mut queue = self.queues.remove(&author).unwrap_or(Queue {
            by_seq: BTreeMap::new(),
            next,
        });
        self.unindex(author, &queue);
        apply(&mut queue);
        if !queue.by_seq.is_empty() {
            self.index(author, &queue);
            self.queues.insert(author, queue);
        }
    }

    fn unindex(&mut self, author: Author, queue: &Queue) {
        let Some((first, waiting)) = queue.by_seq.first_key_value() else {
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

    fn index(&mut self, author: Author, queue: &Queue) {
        let Some((first, waiting)) = queue.by_seq.first_key_value() else {
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
