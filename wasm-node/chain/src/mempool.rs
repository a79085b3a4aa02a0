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
mod queries;

use alloc::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;
use litemap::LiteMap;

use crate::{
    hash::ReadingId, key::Author, reading::Reading, time::MonotonicMillis, tree::IdPrefix,
};

pub use self::queries::ListEntry;

/// Maximum number of waiting readings: 1.9 MB.
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
/// Maximum number of this peer's own readings that a block template takes before all others.
pub const MAX_OWN_FIRST: usize = 128;
/// Maximum number of displaced readings: 200 KB. The best branch contains another reading with the same author and
/// `seq`, which a reorganization can undo.
pub const MAX_DISPLACED: usize = 1_024;
/// Number of blocks after which a displaced reading is dropped.
pub const DISPLACED_BLOCKS: u64 = 1_000;

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

/// A waiting reading, with its id and arrival.
#[derive(Clone, Debug)]
struct PoolEntry {
    reading: Reading,
    id: ReadingId,
    /// Number of readings that arrived before.
    order: u64,
    since: MonotonicMillis,
}

/// The waiting readings of one author.
#[derive(Clone, Debug)]
struct Queue {
    /// At most [`MAX_PER_AUTHOR`], because every change visits all of them.
    by_seq: LiteMap<u64, PoolEntry>,
    /// The author's next `seq` on the best branch.
    next: u64,
}

impl Queue {
    fn is_newcomer(&self) -> bool {
        self.next == 0
    }

    /// Sort key by which a full mempool finds the largest queue and, among equals, the newest reading.
    fn size_rank(&self, author: Author) -> (usize, u64, Author) {
        let newest = self
            .by_seq
            .values()
            .map(|waiting| waiting.order)
            .max()
            .unwrap_or(0);
        (self.by_seq.len(), newest, author)
    }

    /// The readings that a block could contain now, in order.
    fn minable(&self) -> impl Iterator<Item = &PoolEntry> {
        let waiting = self.by_seq.as_slice();
        let from = waiting.partition_point(|(seq, _)| *seq < self.next);
        (self.next..)
            .zip(waiting.iter().skip(from))
            .take_while(|(expected, (seq, _))| expected == seq)
            .map(|(_, (_, waiting))| waiting)
    }

    /// The readings behind a gap. They cannot be mined before a missing reading arrives.
    fn behind_gap(&self) -> &[(u64, PoolEntry)] {
        let waiting = self.by_seq.as_slice();
        let from = waiting.partition_point(|(seq, _)| *seq < self.next);
        let behind = from + self.minable().count();
        waiting.get(behind..).unwrap_or_default()
    }

    /// Whether a reading with this `seq` has no gap before it.
    fn is_contiguous(&self, seq: u64) -> bool {
        seq - self.next <= self.minable().count() as u64
    }
}

/// Verified readings that wait for a block, with the indexes for eviction and for block templates.
#[derive(Clone, Debug)]
pub struct Mempool {
    /// The key of this peer, whose readings are never evicted.
    own: Author,
    queues: BTreeMap<Author, Queue>,
    ids: HashMap<ReadingId, (Author, u64)>,
    newcomer_readings: usize,
    /// Number of newcomers' readings behind a gap.
    newcomer_gaps: usize,
    /// Queues of newcomers, ordered by [`Queue::size_rank`].
    fullest_newcomers: BTreeSet<(usize, u64, Author)>,
    /// Authors with a reading behind a gap, by the arrival of the first such reading. Without `own`.
    gapped: BTreeSet<(MonotonicMillis, Author)>,
    /// The newcomers in `gapped`.
    gapped_newcomers: BTreeSet<(MonotonicMillis, Author)>,
    /// Queues ordered by [`Queue::size_rank`]. Without `own`.
    fullest: BTreeSet<(usize, u64, Author)>,
    /// Authors whose next reading is waiting, by its arrival.
    heads: BTreeSet<(MonotonicMillis, Author)>,
    /// Authors with waiting readings but not their next one, by the arrival of the first.
    missing_next: BTreeSet<(MonotonicMillis, Author)>,
    /// Displaced readings, each with the height of the tip when it was displaced.
    displaced: LiteMap<ReadingId, (Reading, u64)>,
    /// Number of readings inserted so far.
    arrivals: u64,
    /// Secret random number, so peers cannot predict which newcomer is evicted.
    seed: u64,
}

impl Mempool {
    /// Creates an empty mempool. Readings of `own` are never evicted. `seed` determines which reading is evicted when
    /// all newcomers have one each, so it must be secret.
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
            missing_next: BTreeSet::new(),
            displaced: LiteMap::new(),
            arrivals: 0,
        }
    }

    /// Number of waiting readings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether no reading is waiting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether this reading is waiting.
    #[must_use]
    pub fn contains(&self, id: &ReadingId) -> bool {
        self.ids.contains_key(id)
    }

    /// A waiting or displaced reading.
    #[must_use]
    pub fn get(&self, id: &ReadingId) -> Option<&Reading> {
        match self.ids.get(id) {
            Some((author, seq)) => Some(&self.queues.get(author)?.by_seq.get(seq)?.reading),
            None => self.displaced.get(id).map(|(reading, _)| reading),
        }
    }

    /// Whether exactly these bytes, signature included, are waiting.
    #[must_use]
    pub fn contains_exact(&self, reading: &Reading) -> bool {
        self.queues
            .get(&reading.author)
            .and_then(|queue| queue.by_seq.get(&reading.seq))
            .is_some_and(|waiting| waiting.reading == *reading)
    }

    /// Whether any reading of the author with this `seq` is waiting.
    #[must_use]
    pub fn contains_seq(&self, author: &Author, seq: u64) -> bool {
        self.queues
            .get(author)
            .is_some_and(|queue| queue.by_seq.contains_key(&seq))
    }

    /// All waiting readings, ordered by author and `seq`.
    pub fn iter(&self) -> impl Iterator<Item = &Reading> {
        self.queues
            .values()
            .flat_map(|queue| queue.by_seq.values())
            .map(|waiting| &waiting.reading)
    }

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
