//! Readings that wait for a block.
//!
//! Every one of them has been verified before it comes here. Bounds are those of CHAIN.md, "Mempool": a flood
//! may delay others' readings, never displace one's own, and no author's readings can crowd out the rest.
//! Holds no clock; what time it is, and where each author's count stands on the best branch, come in as arguments.

mod aside;
mod bounds;
mod listing;

use alloc::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;
use litemap::LiteMap;

use crate::{
    hash::ReadingId, key::Author, reading::Reading, time::MonotonicMillis, tree::IdPrefix,
};

pub use self::listing::Listed;

/// Readings in all: 1.9 MB of them.
pub const MAX_READINGS: usize = 16_384;
/// Readings of one author.
pub const MAX_PER_AUTHOR: usize = 1_024;
/// Places that all authors without a reading on the best branch share: keys cost nothing.
pub const MAX_NEWCOMER_READINGS: usize = 4_096;
/// Places of one author without a reading on the best branch.
pub const MAX_PER_NEWCOMER: usize = 32;
/// Of the places of new authors, those for readings behind a gap in their author's count. Such a reading cannot be mined,
/// so without this bound a flood of them would take all places and keep them. Some have to be allowed, because
/// gossip may turn the order of two readings around.
pub const MAX_NEWCOMER_GAPS: usize = 256;
/// A reading that waits for so long, in milliseconds, behind a gap in its author's count is the first to go when places
/// run out.
pub const STALE_GAP_MS: u64 = 10 * 60 * 1_000;
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
    since: MonotonicMillis,
}

/// One author's waiting readings.
#[derive(Clone, Debug)]
struct Queue {
    /// At most [`MAX_PER_AUTHOR`], and all of them are gone through for each change.
    by_seq: LiteMap<u64, Waiting>,
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
        let waiting = self.by_seq.as_slice();
        let from = waiting.partition_point(|(seq, _)| *seq < self.next);
        (self.next..)
            .zip(waiting.iter().skip(from))
            .take_while(|(want, (seq, _))| want == seq)
            .map(|(_, (_, waiting))| waiting)
    }

    /// Readings behind a gap: they cannot be mined before another one comes.
    fn behind_gap(&self) -> &[(u64, Waiting)] {
        let waiting = self.by_seq.as_slice();
        let from = waiting.partition_point(|(seq, _)| *seq < self.next);
        let behind = from + self.minable().count();
        waiting.get(behind..).unwrap_or_default()
    }

    /// Whether a reading with this seq could be mined once those that wait are.
    fn closes_up(&self, seq: u64) -> bool {
        seq - self.next <= self.minable().count() as u64
    }
}

/// The mempool.
#[derive(Clone, Debug)]
pub struct Mempool {
    own: Author,
    queues: BTreeMap<Author, Queue>,
    ids: HashMap<ReadingId, (Author, u64)>,
    newcomer_readings: usize,
    /// Of these, readings behind a gap.
    newcomer_gaps: usize,
    /// Queues of new authors by how full they are, then by their newest arrival.
    fullest_newcomers: BTreeSet<(usize, u64, Author)>,
    /// Authors with a reading behind a gap, by when the first of these came. One's own is not among them.
    gapped: BTreeSet<(MonotonicMillis, Author)>,
    /// The same for new authors.
    gapped_newcomers: BTreeSet<(MonotonicMillis, Author)>,
    /// Queues by how full they are, then by their newest arrival. One's own is not among them.
    fullest: BTreeSet<(usize, u64, Author)>,
    /// Authors whose next reading is here, by when it came.
    heads: BTreeSet<(MonotonicMillis, Author)>,
    /// Authors who have readings here but not their next, by when the first came.
    gaps: BTreeSet<(MonotonicMillis, Author)>,
    aside: LiteMap<ReadingId, (Reading, u64)>,
    arrivals: u64,
    seed: u64,
}

impl Mempool {
    /// Empty; readings of `own` are never displaced. Which reading goes when all new authors have one each follows from
    /// `seed`, which others must not know.
    #[must_use]
    pub fn new(own: Author, seed: u64) -> Self {
        Self {
            own,
            seed,
            queues: BTreeMap::new(),
            ids: HashMap::new(),
            newcomer_readings: 0,
            newcomer_gaps: 0,
            fullest_newcomers: BTreeSet::new(),
            gapped: BTreeSet::new(),
            gapped_newcomers: BTreeSet::new(),
            fullest: BTreeSet::new(),
            heads: BTreeSet::new(),
            gaps: BTreeSet::new(),
            aside: LiteMap::new(),
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

    /// Whether a reading would be taken in, if it proves valid: to be asked before its signature is verified. `next` is its
    /// author's next seq on the best branch.
    ///
    /// # Errors
    /// Says why it would not be taken.
    pub fn check(
        &self,
        reading: &Reading,
        id: ReadingId,
        next: u64,
        now: MonotonicMillis,
    ) -> Result<(), MempoolError> {
        self.admit(reading, id, next, now).map(drop)
    }

    /// Takes in a verified reading. `next` is its author's next seq on the best branch.
    ///
    /// # Errors
    /// Says why it was not taken; the mempool is as before then.
    pub fn insert(
        &mut self,
        reading: &Reading,
        id: ReadingId,
        next: u64,
        now: MonotonicMillis,
    ) -> Result<(), MempoolError> {
        if let Some(author) = self.admit(reading, id, next, now)? {
            self.displace_last(author);
        }
        let (author, seq) = (reading.author, reading.seq);
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
}
