//! The journal in memory: entries by position, the keys that signed them, and which of them the best branch lacks.
//!
//! The cost of a change depends neither on the length of the journal nor on the number of keys.

use alloc::{collections::BTreeSet, vec::Vec};

use hashbrown::HashMap;
use heartchain_chain::{
    bpm::Bpm,
    content::{Measurement, ReadingForm},
    key::{Author, SecretKey},
    room::Room,
    time::UnixMillis,
    tree::{IdPrefix, Switch},
};
use litemap::LiteMap;

use super::{
    journal_entry::{ForeignReading, KeyEra, entry_matches, entry_reading_id},
    own_heights::OwnReadingHeights,
};
use crate::io::JournalEntry;

/// An entry in memory: 16 bytes.
#[derive(Clone, Copy, Debug)]
struct Row {
    time: UnixMillis,
    /// `None` if the entry is lost.
    bpm: Option<Bpm>,
    prefix: IdPrefix,
}

/// The journal in memory.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    rows: Vec<Row>,
    lost: u64,
    /// Eras of the keys that signed before, oldest first.
    retired: Vec<KeyEra>,
    current: KeyEra,
    /// The index of each author's era; the current one comes after the retired ones.
    by_author: LiteMap<Author, usize>,
    /// The current position of each entry that was signed again, by its first position.
    moved: HashMap<u64, u64>,
    /// The first position of each entry that was signed again, by its later positions.
    origins: HashMap<u64, u64>,
    /// Positions of retired keys' entries that the best branch lacks.
    unlinked: BTreeSet<u64>,
    /// Positions of retired keys' entries whose sequence number another reading has on the best branch.
    contested: BTreeSet<u64>,
    /// That other reading, by these positions.
    contested_by: HashMap<u64, ForeignReading>,
    /// The first reading by the current key on the best branch that was not recorded here.
    foreign: Option<ForeignReading>,
    heights: OwnReadingHeights,
    /// Whether the mempool may lack some of our readings.
    refill_requested: bool,
    /// Whether prefixes are stored, because the room is private.
    keeps_prefixes: bool,
}

impl Journal {
    pub(super) fn new(key: SecretKey) -> Self {
        let author = key.author();
        let mut heights = OwnReadingHeights::default();
        heights.follow(author, Vec::new());
        let mut by_author = LiteMap::new();
        by_author.insert(author, 0);
        Self {
            rows: Vec::new(),
            lost: 0,
            retired: Vec::new(),
            current: KeyEra {
                key,
                author,
                from: 0,
                until: 0,
            },
            by_author,
            moved: HashMap::new(),
            origins: HashMap::new(),
            unlinked: BTreeSet::new(),
            contested: BTreeSet::new(),
            contested_by: HashMap::new(),
            foreign: None,
            heights,
            refill_requested: false,
            keeps_prefixes: false,
        }
    }

    /// Positions used so far, including lost entries.
    pub(crate) fn len(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Entries in memory, for [`Load`](crate::Load).
    pub(crate) fn entries(&self) -> usize {
        self.rows.len()
    }

    /// How many entries are lost.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    /// The key that signs now.
    pub(crate) const fn key(&self) -> &SecretKey {
        &self.current.key
    }

    pub(crate) const fn author(&self) -> Author {
        self.current.author
    }

    /// All eras, oldest first. The current one is last.
    pub(crate) fn eras(&self) -> impl Iterator<Item = &KeyEra> {
        self.retired.iter().chain([&self.current])
    }

    pub(super) const fn current(&self) -> &KeyEra {
        &self.current
    }

    /// How many keys have been retired.
    pub(super) fn retired(&self) -> usize {
        self.retired.len()
    }

    /// The sequence number of the next entry.
    pub(super) fn next_seq(&self) -> u64 {
        self.len() - self.current.from
    }

    fn row(&self, position: u64) -> Option<&Row> {
        self.rows.get(usize::try_from(position).ok()?)
    }

    /// The entry at this position, unless it is lost.
    pub(crate) fn entry(&self, position: u64) -> Option<Measurement> {
        let row = self.row(position)?;
        Some(Measurement {
            time: row.time,
            bpm: row.bpm?,
        })
    }

    /// The entry at this position as it is stored, with the position it replaces.
    pub(crate) fn stored_entry(&self, position: u64) -> Option<JournalEntry> {
        let Row { time, bpm, prefix } = *self.row(position)?;
        let replaces = self.origins.get(&position).copied();
        Some(JournalEntry {
            time,
            bpm: bpm?,
            replaces,
            prefix: self.keeps_prefixes.then_some(prefix),
        })
    }

    /// The entry that the current key signs with this sequence number.
    pub(super) fn current_entry(&self, seq: u64) -> Option<Measurement> {
        self.entry(self.current.from.saturating_add(seq))
    }

    /// The ID prefix of the entry's reading: `None` beyond the end, `Some(None)` for a lost entry.
    fn prefix(&self, position: u64) -> Option<Option<IdPrefix>> {
        let row = self.row(position)?;
        Some(row.bpm.map(|_| row.prefix))
    }

    /// Whether no later entry replaces this one.
    pub(crate) fn is_current(&self, position: u64) -> bool {
        let origin = self.origins.get(&position).unwrap_or(&position);
        self.moved.get(origin).unwrap_or(origin) == &position
    }

    /// First positions of all entries, newest first, each with its current position.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = (u64, u64)> {
        (0..self.len())
            .rev()
            .filter(|position| !self.origins.contains_key(position))
            .map(|origin| {
                let now = self.moved.get(&origin).copied();
                (origin, now.unwrap_or(origin))
            })
    }

    /// The era that a position belongs to.
    pub(crate) fn era_of(&self, position: u64) -> Option<&KeyEra> {
        if position >= self.current.from {
            return Some(&self.current);
        }
        let at = self.retired.partition_point(|era| era.from <= position);
        self.retired.get(at.checked_sub(1)?)
    }

    fn era_by(&self, author: &Author) -> Option<&KeyEra> {
        let at = *self.by_author.get(author)?;
        self.retired
            .get(at)
            .or_else(|| (at == self.retired.len()).then_some(&self.current))
    }

    /// Appends an entry, signed by the current key. If the room's key is not known, the entry counts as lost.
    pub(crate) fn push(&mut self, room: &Room, entry: JournalEntry) {
        let position = self.len();
        if let Some(replaced) = entry.replaces {
            let origin = self.origins.get(&replaced).copied().unwrap_or(replaced);
            let before = self.moved.insert(origin, position).unwrap_or(origin);
            self.origins.insert(position, origin);
            for earlier in [before, replaced] {
                self.unlinked.remove(&earlier);
                self.forget_contested(earlier);
            }
        }
        let JournalEntry {
            time, bpm, prefix, ..
        } = entry;
        let computed = || {
            let measured = Measurement { time, bpm };
            let id = entry_reading_id(room, self.author(), self.next_seq(), measured)?;
            Some(IdPrefix::from(&id))
        };
        let Some(prefix) = prefix.or_else(computed) else {
            return self.push_lost();
        };
        self.keeps_prefixes = room.form() == ReadingForm::Sealed;
        self.push_row(Row {
            time,
            bpm: Some(bpm),
            prefix,
        });
    }

    /// Appends a lost entry. Its sequence number is used up.
    pub(crate) fn push_lost(&mut self) {
        self.lost += 1;
        self.push_row(Row {
            time: UnixMillis::new(0),
            bpm: None,
            prefix: IdPrefix::from_bits(0),
        });
    }

    fn push_row(&mut self, row: Row) {
        self.rows.push(row);
        self.current.until = self.len();
        self.refill_requested = true;
    }

    /// Starts a new era: `key` signs from the next position on. `heights` are the heights at which the best
    /// branch already has readings of it.
    pub(super) fn begin_era(&mut self, key: SecretKey, heights: Vec<u64>) {
        let author = key.author();
        let from = self.len();
        self.by_author.insert(author, self.retired.len() + 1);
        self.heights.follow(author, heights);
        let current = KeyEra {
            key,
            author,
            from,
            until: from,
        };
        self.retired
            .push(core::mem::replace(&mut self.current, current));
        self.foreign = None;
    }

    /// Compares all entries of a retired key with the best branch. `linked` returns what the branch has at a
    /// sequence number.
    pub(super) fn compare_era(
        &mut self,
        era: usize,
        linked: impl Fn(&Author, u64) -> Option<IdPrefix>,
        seen: ForeignReading,
    ) {
        let Some(&KeyEra {
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
                Some(prefix) => self.on_linked(&author, position - from, prefix, seen),
                None => self.on_unlinked(&author, position - from),
            }
        }
    }

    /// A reading by one of our keys joined the best branch.
    pub(super) fn on_linked(
        &mut self,
        author: &Author,
        seq: u64,
        prefix: IdPrefix,
        seen: ForeignReading,
    ) {
        let Some(&KeyEra { from, until, .. }) = self.era_by(author) else {
            return;
        };
        let position = from.saturating_add(seq);
        let is_current_key = *author == self.author();
        let own = (position < until).then(|| self.prefix(position)).flatten();
        let same = own.is_some_and(|entry| entry_matches(entry, prefix));
        self.unlinked.remove(&position);
        self.forget_contested(position);
        if same {
            return;
        }
        if is_current_key {
            self.foreign.get_or_insert(ForeignReading { seq, ..seen });
        } else if position < until && self.is_current(position) {
            self.contested.insert(position);
            self.contested_by
                .insert(position, ForeignReading { seq, ..seen });
        }
    }

    /// A reading by one of our keys left the best branch.
    pub(super) fn on_unlinked(&mut self, author: &Author, seq: u64) {
        let Some(&KeyEra { from, until, .. }) = self.era_by(author) else {
            return;
        };
        let position = from.saturating_add(seq);
        if *author == self.author() {
            // The readings above it leave too, so another one may become the first foreign reading.
            self.foreign.take_if(|foreign| foreign.seq >= seq);
            return;
        }
        if position >= until {
            return;
        }
        self.forget_contested(position);
        if self.entry(position).is_some() && self.is_current(position) {
            self.unlinked.insert(position);
        }
    }

    /// The first reading by the current key on the best branch that was not recorded here.
    pub(super) const fn foreign(&self) -> Option<ForeignReading> {
        self.foreign
    }

    /// Corrects which reading that is.
    pub(super) fn set_foreign(&mut self, foreign: Option<ForeignReading>) {
        self.foreign = foreign;
    }

    /// The height on the best branch of an author's reading with this sequence number.
    pub(crate) fn height(&self, author: &Author, seq: u64) -> Option<u64> {
        self.heights.height(author, seq)
    }

    /// Takes over the heights at which the best branch has an author's readings.
    pub(crate) fn set_heights(&mut self, author: Author, heights: Vec<u64>) {
        self.heights.follow(author, heights);
    }

    /// The best branch changed. `seen` is what a foreign reading on it is remembered as.
    pub(super) fn on_switch(&mut self, switch: &Switch, seen: ForeignReading) {
        for moved in &switch.disconnected {
            for entry in moved.entries.iter().rev() {
                self.heights.unlinked(&entry.author);
                self.on_unlinked(&entry.author, entry.seq);
            }
        }
        for (index, moved) in (switch.fork_index + 1..).zip(&switch.connected) {
            for entry in &moved.entries {
                self.heights.linked(&entry.author, index);
                self.on_linked(&entry.author, entry.seq, entry.prefix, seen);
            }
        }
        self.request_refill();
    }

    /// Whether the best branch has the current key's own reading with this sequence number, given what is
    /// `linked` there.
    pub(crate) fn is_own(&self, seq: u64, linked: Option<IdPrefix>) -> bool {
        let position = self.current.from.saturating_add(seq);
        match (self.prefix(position), linked) {
            (Some(entry), Some(linked)) => entry_matches(entry, linked),
            (_, None) => false,
            (None, Some(_)) => false,
        }
    }

    /// Whether this reading was recorded here and is not lost.
    pub(crate) fn is_recorded(&self, author: &Author, seq: u64, prefix: IdPrefix) -> bool {
        let mut eras = self.eras().filter(|era| era.author == *author);
        eras.any(|era| {
            let position = era.from.saturating_add(seq);
            position < era.until && self.prefix(position) == Some(Some(prefix))
        })
    }

    /// Whether the current key's entry with this sequence number was recorded and then lost.
    pub(super) fn is_lost(&self, seq: u64) -> bool {
        let position = self.current.from.saturating_add(seq);
        matches!(self.prefix(position), Some(None))
    }

    /// Entries of retired keys that the best branch lacks, from this position on.
    pub(super) fn unlinked_from(&self, position: u64) -> impl Iterator<Item = u64> {
        self.unlinked.range(position..).copied()
    }

    /// Whether this is the entry of a retired key that the best branch lacks.
    pub(super) fn is_unlinked(&self, position: u64) -> bool {
        self.unlinked.contains(&position)
    }

    /// Eras of retired keys with entries that the best branch lacks, oldest first.
    pub(super) fn unlinked_eras(&self) -> impl Iterator<Item = &KeyEra> {
        let from = |position: u64| {
            let first = self.unlinked_from(position).next()?;
            self.era_of(first)
        };
        core::iter::successors(from(0), move |era| from(era.until))
    }

    /// Entries of retired keys whose sequence number another reading has, with when that was first seen.
    pub(super) fn contested(&self) -> impl DoubleEndedIterator<Item = (u64, ForeignReading)> {
        self.contested
            .iter()
            .filter_map(|at| Some((*at, *self.contested_by.get(at)?)))
    }

    /// How many entries have a number that another reading has on the best branch, up to the current key's `next` there. `linked`
    /// returns what the branch has at one of these numbers.
    pub(crate) fn contested_entries(
        &self,
        next: u64,
        linked: impl Fn(u64) -> Option<IdPrefix>,
    ) -> usize {
        let retired = self.contested.iter();
        let retired = retired.filter(|position| self.is_current(**position));
        let current = self.foreign.map_or(0, |foreign| {
            let below = next.min(self.next_seq());
            let is_contested =
                |seq: &u64| self.current_entry(*seq).is_some() && !self.is_own(*seq, linked(*seq));
            (foreign.seq..below).filter(is_contested).count()
        });
        retired.count() + current
    }

    fn forget_contested(&mut self, position: u64) {
        self.contested.remove(&position);
        self.contested_by.remove(&position);
    }

    /// Contested entries of one era below a position.
    pub(crate) fn contested_below(&self, era: &KeyEra, below: u64) -> Vec<u64> {
        let below = below.max(era.from);
        self.contested.range(era.from..below).copied().collect()
    }

    /// Restarts the wait until foreign readings are considered certain.
    pub(super) fn restart_foreign_wait(&mut self, seen: ForeignReading) {
        if let Some(foreign) = &mut self.foreign {
            *foreign = ForeignReading {
                seq: foreign.seq,
                ..seen
            };
        }
        for foreign in self.contested_by.values_mut() {
            *foreign = ForeignReading {
                seq: foreign.seq,
                ..seen
            };
        }
    }

    /// Requests a refill: the mempool may lack some of our readings.
    pub(super) fn request_refill(&mut self) {
        self.refill_requested = true;
    }

    pub(super) fn take_refill(&mut self) -> bool {
        core::mem::take(&mut self.refill_requested)
    }
}
