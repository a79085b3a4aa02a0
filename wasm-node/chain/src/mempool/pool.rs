//! What the mempool stores: the queues of all authors and the indexes over them. Every change of a queue goes through
//! [`Mempool::update_queue`], which keeps the indexes consistent.

use hashbrown::HashMap;
use litemap::LiteMap;

use super::queue::Queue;
use crate::{
    hash::ReadingId, key::Author, ordered::OrderedSet, reading::Reading, time::MonotonicMillis,
};

/// Verified readings that wait for a block, with the indexes for eviction and for block templates.
#[derive(Clone, Debug)]
pub struct Mempool {
    /// The key of this peer, whose readings are never evicted.
    pub(super) own: Author,
    pub(super) queues: HashMap<Author, Queue>,
    /// The authors of all queues.
    pub(super) authors: OrderedSet<Author>,
    pub(super) ids: HashMap<ReadingId, (Author, u64)>,
    pub(super) newcomer_readings: usize,
    /// Number of newcomers' readings behind a gap.
    pub(super) newcomer_gaps: usize,
    /// Queues of newcomers, ordered by [`Queue::size_rank`].
    pub(super) fullest_newcomers: OrderedSet<(usize, u64, Author)>,
    /// Authors with a reading behind a gap, by the arrival of the first such reading. Without `own`.
    pub(super) gapped: OrderedSet<(MonotonicMillis, Author)>,
    /// The newcomers in `gapped`.
    pub(super) gapped_newcomers: OrderedSet<(MonotonicMillis, Author)>,
    /// Queues ordered by [`Queue::size_rank`]. Without `own`.
    pub(super) fullest: OrderedSet<(usize, u64, Author)>,
    /// Authors whose next reading is waiting, by its arrival.
    pub(super) heads: OrderedSet<(MonotonicMillis, Author)>,
    /// Authors with waiting readings but not their next one, by the arrival of the first.
    pub(super) missing_next: OrderedSet<(MonotonicMillis, Author)>,
    /// Displaced readings, each with the height of the tip when it was displaced.
    pub(super) displaced: LiteMap<ReadingId, (Reading, u64)>,
    /// Number of readings inserted so far.
    pub(super) arrivals: u64,
    /// Secret random number, so peers cannot predict which newcomer is evicted.
    pub(super) seed: u64,
}

impl Mempool {
    /// Creates an empty mempool. Readings of `own` are never evicted. `seed` determines which reading is evicted when
    /// all newcomers have one each, so it must be secret.
    #[must_use]
    pub fn new(own: Author, seed: u64) -> Self {
        Self {
            own,
            seed,
            queues: HashMap::new(),
            authors: OrderedSet::default(),
            ids: HashMap::new(),
            newcomer_readings: 0,
            newcomer_gaps: 0,
            fullest_newcomers: OrderedSet::default(),
            gapped: OrderedSet::default(),
            gapped_newcomers: OrderedSet::default(),
            fullest: OrderedSet::default(),
            heads: OrderedSet::default(),
            missing_next: OrderedSet::default(),
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
        self.authors
            .iter()
            .filter_map(|author| self.queues.get(&author))
            .flat_map(|queue| queue.by_seq.values())
            .map(|waiting| &waiting.reading)
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
        if queue.by_seq.is_empty() {
            self.authors.remove(&author);
        } else {
            self.authors.insert(author);
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
