//! The journal in memory: entries by position, the keys that signed them, and which of them the best branch lacks. Every
//! change costs the same however long the journal is and however many keys there were.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use chain::{
    bpm::Bpm,
    hash::RoomId,
    key::{Author, SecretKey},
    time::UnixMillis,
    tree::IdPrefix,
};
use litemap::LiteMap;

use super::{
    super::{key_conflict::ForeignReading, own_heights::OwnReadingHeights},
    id_of, is_same,
};
use crate::seam::JournalEntry;

/// What was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Entry {
    pub(in super::super) time: UnixMillis,
    pub(in super::super) bpm: Bpm,
}

/// An entry in memory, 16 bytes.
#[derive(Clone, Copy, Debug)]
struct Row {
    time: UnixMillis,
    /// `None`: the entry is lost.
    bpm: Option<Bpm>,
    prefix: IdPrefix,
}

/// The positions that one key signs.
#[derive(Clone, Debug)]
pub(in super::super) struct Era {
    pub(in super::super) key: SecretKey,
    pub(in super::super) author: Author,
    pub(in super::super) from: u64,
    /// The first position behind it; for the present key, the journal's end.
    pub(in super::super) until: u64,
}

/// The journal.
#[derive(Clone, Debug)]
pub(in super::super) struct Journal {
    rows: Vec<Row>,
    lost: u64,
    /// Keys that signed before, the oldest first.
    retired: Vec<Era>,
    present: Era,
    /// Where in the order of keys each author is.
    by_author: LiteMap<Author, usize>,
    /// Where an entry that was signed again stands now, by where it first stood.
    moved: BTreeMap<u64, u64>,
    /// The reverse.
    origins: BTreeMap<u64, u64>,
    /// Entries of retired keys that the best branch lacks.
    unlinked: BTreeSet<u64>,
    /// Entries of retired keys in whose place another reading stands.
    contested: BTreeMap<u64, ForeignReading>,
    /// The first reading by the present key on the best branch that was not recorded here.
    pub(in super::super) foreign: Option<ForeignReading>,
    pub(in super::super) heights: OwnReadingHeights,
    /// Whether the mempool may lack some of the readings.
    refill: bool,
}

impl Journal {
    pub(in super::super) fn new(key: SecretKey) -> Self {
        let author = key.author();
        let mut heights = OwnReadingHeights::default();
        heights.follow(author, Vec::new());
        Self {
            rows: Vec::new(),
            lost: 0,
            retired: Vec::new(),
            present: Era {
                key,
                author,
                from: 0,
                until: 0,
            },
            by_author: LiteMap::from_iter([(author, 0)]),
            moved: BTreeMap::new(),
            origins: BTreeMap::new(),
            unlinked: BTreeSet::new(),
            contested: BTreeMap::new(),
            foreign: None,
            heights,
            refill: false,
        }
    }

    /// Positions used so far, lost entries included.
    pub(in super::super) fn len(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Entries in memory, for the bound.
    pub(in super::super) fn entries(&self) -> usize {
        self.rows.len()
    }

    /// Entries that are lost.
    pub(in super::super) const fn lost(&self) -> u64 {
        self.lost
    }

    /// The present key.
    pub(in super::super) const fn key(&self) -> &SecretKey {
        &self.present.key
    }

    pub(in super::super) const fn author(&self) -> Author {
        self.present.author
    }

    /// The positions of each key, the oldest first, the present one last.
    pub(in super::super) fn eras(&self) -> impl Iterator<Item = &Era> {
        self.retired.iter().chain([&self.present])
    }

    pub(in super::super) const fn present(&self) -> &Era {
        &self.present
    }

    /// How many keys signed before the present one.
    pub(in super::super) fn retired(&self) -> usize {
        self.retired.len()
    }

    /// The seq of the next entry.
    pub(in super::super) fn next_seq(&self) -> u64 {
        self.len() - self.present.from
    }

    fn row(&self, position: u64) -> Option<&Row> {
        self.rows.get(usize::try_from(position).ok()?)
    }

    /// What stands at this position, unless it is lost.
    pub(in super::super) fn entry(&self, position: u64) -> Option<Entry> {
        let row = self.row(position)?;
        Some(Entry {
            time: row.time,
            bpm: row.bpm?,
        })
    }

    /// The same with its origin, as it is stored.
    pub(in super::super) fn stored_entry(&self, position: u64) -> Option<JournalEntry> {
        let Entry { time, bpm } = self.entry(position)?;
        let resigns = self.origins.get(&position).copied();
        Some(JournalEntry { time, bpm, resigns })
    }

    /// What the present key signs with this seq.
    pub(in super::super) fn current_entry(&self, seq: u64) -> Option<Entry> {
        self.entry(self.present.from.saturating_add(seq))
    }

    /// The prefix of the entry's reading: `None` where there is no such position, `Some(None)` where the entry is lost.
    fn prefix(&self, position: u64) -> Option<Option<IdPrefix>> {
        let row = self.row(position)?;
        Some(row.bpm.map(|_| row.prefix))
    }

    /// Whether no later entry stands in place of this one.
    pub(in super::super) fn is_current(&self, position: u64) -> bool {
        let origin = self.origins.get(&position).unwrap_or(&position);
        self.moved.get(origin).unwrap_or(origin) == &position
    }

    /// Positions of entries as they were recorded, newest first, each with where it stands now.
    pub(in super::super) fn newest_first(&self) -> impl Iterator<Item = (u64, u64)> {
        (0..self.len())
            .rev()
            .filter(|position| !self.origins.contains_key(position))
            .map(|origin| {
                let now = self.moved.get(&origin).copied();
                (origin, now.unwrap_or(origin))
            })
    }

    /// The era of a position.
    pub(in super::super) fn era_of(&self, position: u64) -> Option<&Era> {
        if position >= self.present.from {
            return Some(&self.present);
        }
        let at = self.retired.partition_point(|era| era.from <= position);
        self.retired.get(at.checked_sub(1)?)
    }

    fn era_by(&self, author: &Author) -> Option<&Era> {
        let at = *self.by_author.get(author)?;
        self.retired
            .get(at)
            .or_else(|| (at == self.retired.len()).then_some(&self.present))
    }

    /// The next entry, signed by the present key.
    pub(in super::super) fn push(&mut self, room: RoomId, entry: JournalEntry) {
        let position = self.len();
        if let Some(resigned) = entry.resigns {
            let origin = self.origins.get(&resigned).copied().unwrap_or(resigned);
            let before = self.moved.insert(origin, position).unwrap_or(origin);
            self.origins.insert(position, origin);
            for earlier in [before, resigned] {
                self.unlinked.remove(&earlier);
                self.contested.remove(&earlier);
            }
        }
        let JournalEntry { time, bpm, .. } = entry;
        let id = id_of(room, self.author(), self.next_seq(), Entry { time, bpm });
        self.push_row(Row {
            time,
            bpm: Some(bpm),
            prefix: IdPrefix::from(&id),
        });
    }

    /// The next entry is lost; its seq is used up.
    pub(in super::super) fn push_lost(&mut self) {
        self.lost += 1;
        self.push_row(Row {
            time: UnixMillis::new(0),
            bpm: None,
            prefix: IdPrefix::from_bits(0),
        });
    }

    fn push_row(&mut self, row: Row) {
        self.rows.push(row);
        self.present.until = self.len();
        self.refill = true;
    }

    /// A fresh key signs from the next position on. `heights` is where the best branch has readings of it already.
    pub(in super::super) fn begin_era(&mut self, key: SecretKey, heights: Vec<u64>) {
        let author = key.author();
        let from = self.len();
        self.by_author.insert(author, self.retired.len() + 1);
        self.heights.follow(author, heights);
        let present = Era {
            key,
            author,
            from,
            until: from,
        };
        self.retired
            .push(core::mem::replace(&mut self.present, present));
        self.foreign = None;
    }

    /// Compares all entries of a retired key with the best branch, of which `linked` tells.
    pub(in super::super) fn compare(
        &mut self,
        era: usize,
        linked: impl Fn(&Author, u64) -> Option<IdPrefix>,
        seen: ForeignReading,
    ) {
        let Some(&Era {
            author,
            from,
            until,
            ..
        }) = self.retired.get(era)
        else {
            return;
        };
        for position in from..until {
            match linked(&author, position - from) {
                Some(prefix) => self.note_linked(&author, position - from, prefix, seen),
                None => self.note_unlinked(&author, position - from),
            }
        }
    }

    /// A reading by one of our keys joined the best branch.
    pub(in super::super) fn note_linked(
        &mut self,
        author: &Author,
        seq: u64,
        prefix: IdPrefix,
        seen: ForeignReading,
    ) {
        let Some(&Era { from, until, .. }) = self.era_by(author) else {
            return;
        };
        let position = from.saturating_add(seq);
        let is_present = *author == self.author();
        let own = (position < until).then(|| self.prefix(position)).flatten();
        let same = own.is_some_and(|entry| is_same(entry, prefix));
        self.unlinked.remove(&position);
        self.contested.remove(&position);
        if same {
            return;
        }
        if is_present {
            // They join in order of their seqs.
            self.foreign.get_or_insert(ForeignReading { seq, ..seen });
        } else if position < until && self.is_current(position) {
            self.contested
                .insert(position, ForeignReading { seq, ..seen });
        }
    }

    /// A reading by one of our keys left the best branch.
    pub(in super::super) fn note_unlinked(&mut self, author: &Author, seq: u64) {
        let Some(&Era { from, until, .. }) = self.era_by(author) else {
            return;
        };
        let position = from.saturating_add(seq);
        if *author == self.author() {
            // What stood behind it leaves with it: another one may be the first foreign one then.
            self.foreign.take_if(|foreign| foreign.seq >= seq);
            return;
        }
        if position >= until {
            return;
        }
        self.contested.remove(&position);
        if self.entry(position).is_some() && self.is_current(position) {
            self.unlinked.insert(position);
        }
    }

    /// Whether the best branch has our own reading with this seq of the present key, given what it has there.
    pub(in super::super) fn is_own(&self, seq: u64, linked: Option<IdPrefix>) -> bool {
        let position = self.present.from.saturating_add(seq);
        match (self.prefix(position), linked) {
            (Some(entry), Some(linked)) => is_same(entry, linked),
            (_, None) => false,
            (None, Some(_)) => false,
        }
    }

    /// Whether the present key's entry with this seq was recorded and is lost.
    pub(in super::super) fn is_lost(&self, seq: u64) -> bool {
        let position = self.present.from.saturating_add(seq);
        matches!(self.prefix(position), Some(None))
    }

    /// Entries of retired keys that the best branch lacks, from this position on.
    pub(in super::super) fn unlinked_from(&self, position: u64) -> impl Iterator<Item = u64> {
        self.unlinked.range(position..).copied()
    }

    /// Whether this is one of them.
    pub(in super::super) fn is_unlinked(&self, position: u64) -> bool {
        self.unlinked.contains(&position)
    }

    /// Retired keys that have some, the oldest first.
    pub(in super::super) fn unlinked_eras(&self) -> impl Iterator<Item = &Era> {
        let from = |position: u64| {
            let first = self.unlinked_from(position).next()?;
            self.era_of(first)
        };
        core::iter::successors(from(0), move |era| from(era.until))
    }

    /// Entries of retired keys whose place another reading has, with when that was first seen.
    pub(in super::super) fn contested(
        &self,
    ) -> impl DoubleEndedIterator<Item = (u64, ForeignReading)> {
        self.contested.iter().map(|(at, seen)| (*at, *seen))
    }

    /// Those of one era below a position.
    pub(in super::super) fn contested_below(&self, era: &Era, below: u64) -> Vec<u64> {
        let below = below.max(era.from);
        let range = self.contested.range(era.from..below);
        range.map(|(position, _)| *position).collect()
    }

    /// Begins the wait for certainty again, for what is contested now.
    pub(in super::super) fn see_again(&mut self, seen: ForeignReading) {
        if let Some(foreign) = &mut self.foreign {
            *foreign = ForeignReading {
                seq: foreign.seq,
                ..seen
            };
        }
        for foreign in self.contested.values_mut() {
            *foreign = ForeignReading {
                seq: foreign.seq,
                ..seen
            };
        }
    }

    /// The mempool may lack some of one's readings.
    pub(in super::super) fn refill(&mut self) {
        self.refill = true;
    }

    pub(in super::super) fn take_refill(&mut self) -> bool {
        core::mem::take(&mut self.refill)
    }
}
