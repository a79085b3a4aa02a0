//! One's own readings: written to the journal first, then signed, offered until the chain has them.
//!
//! A call of `record()` is answered when its journal entry is on disk. The journal is kept forever. Its positions fall
//! into eras, one for each key that signed here; within an era the entry at position `p` has seq `p - from`. Memory
//! keeps 16 bytes an entry and no signature: Ed25519 signs the same bytes the same way every time, so a reading is
//! signed whenever the mempool lacks it.
//!
//! An entry can be lost with the disk that held it. Its seq is used up all the same: a second reading with that seq
//! would contradict one that other peers may have.

mod eras;

use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};
use core::fmt::Debug;

use chain::{
    bpm::Bpm,
    hash::{ReadingId, RoomId},
    key::{Author, SecretKey, Signature},
    mempool::MAX_AHEAD,
    reading::Reading,
    tree::IdPrefix,
};

pub(super) use self::eras::{Entry, Era, Journal};
use super::Machine;
use crate::{
    config::{MAX_JOURNAL, MAX_PENDING_RECORDS},
    seam::{Event, JournalEntry, Output, RecordError, StoreOperation, Ticket, Topic, WriteId},
};

/// The id of the reading that an author's entry becomes with this seq, without the cost of signing it.
pub(super) fn id_of(room: RoomId, author: Author, seq: u64, entry: Entry) -> ReadingId {
    let unsigned = Reading {
        author,
        seq,
        time: entry.time,
        bpm: entry.bpm.get(),
        signature: Signature::new([0; Signature::LEN]),
    };
    unsigned.id(room)
}

/// What is on its way to the disk: one thing at a time, so that the journal never has a gap.
#[derive(Clone, Debug)]
pub(super) enum Writing {
    /// New entries.
    Entries(Vec<(Ticket, JournalEntry)>),
    /// A fresh key, with the entries that it signs again.
    Key(Box<SecretKey>, Vec<JournalEntry>),
    /// Entries of retired keys that the present one signs again.
    Again(Vec<JournalEntry>),
}

impl Writing {
    fn entries(&self) -> usize {
        match self {
            Self::Entries(entries) => entries.len(),
            Self::Key(_, entries) | Self::Again(entries) => entries.len(),
        }
    }
}

/// Calls of `record()` on their way to the journal.
#[derive(Clone, Debug, Default)]
pub(super) struct Recording {
    pending: VecDeque<(Ticket, Bpm)>,
    /// Whether the write under way is a second try, because the disk was full.
    retried: bool,
    pub(super) writing: Option<(WriteId, Writing)>,
}

impl Recording {
    /// Entries that are not in the journal yet.
    pub(super) fn len(&self) -> usize {
        let writing = self.writing.as_ref().map_or(0, |(_, what)| what.entries());
        writing + self.pending.len()
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    pub(super) fn record(&mut self, ticket: Ticket, bpm: Bpm) {
        let refused = if self.recording.pending.len() >= MAX_PENDING_RECORDS {
            let limit = MAX_PENDING_RECORDS;
            Some(RecordError::TooMany { limit })
        } else if self.journal.entries() + self.recording.len() >= MAX_JOURNAL {
            let limit = MAX_JOURNAL;
            Some(RecordError::JournalFull { limit })
        } else {
            None
        };
        match refused {
            Some(reason) => self
                .outputs
                .push(Output::Tell(Event::RecordFailed { ticket, reason })),
            None => self.recording.pending.push_back((ticket, bpm)),
        }
    }

    pub(super) fn settle_own(&mut self) {
        self.start_journal_write();
        self.check_foreign();
        self.check_lost_seq();
        self.check_retired();
        self.check_stuck_era();
        self.refill_mempool();
    }

    /// Writes all that waits as one batch; one batch at a time, so that the journal never has a gap.
    fn start_journal_write(&mut self) {
        if self.recording.writing.is_some() || self.recording.pending.is_empty() {
            return;
        }
        let time = self.wall;
        let entries: Vec<(Ticket, JournalEntry)> = core::mem::take(&mut self.recording.pending)
            .into_iter()
            .map(|(ticket, bpm)| {
                let resigns = None;
                (ticket, JournalEntry { time, bpm, resigns })
            })
            .collect();
        self.recording.retried = false;
        self.write_entries(entries);
    }

    fn write_entries(&mut self, entries: Vec<(Ticket, JournalEntry)>) {
        let operations = (self.journal.len()..)
            .zip(&entries)
            .map(|(position, (_, entry))| StoreOperation::PutJournal(position, *entry))
            .collect();
        let id = self.write(operations, true);
        self.recording.writing = Some((id, Writing::Entries(entries)));
    }

    /// Returns whether this was a write of the journal.
    pub(super) fn journal_written(&mut self, id: WriteId) -> bool {
        let Some((_, written)) = self
            .recording
            .writing
            .take_if(|(writing, _)| *writing == id)
        else {
            return false;
        };
        match written {
            Writing::Entries(entries) => {
                for (ticket, entry) in entries {
                    let (id, seq) = self.publish_next(entry);
                    self.outputs
                        .push(Output::Tell(Event::Recorded { ticket, id, seq }));
                }
            }
            Writing::Key(key, entries) => {
                self.take_key(*key);
                for entry in entries {
                    self.publish_next(entry);
                }
                let author = self.journal.author();
                self.outputs
                    .push(Output::Tell(Event::KeyReplaced { author }));
            }
            Writing::Again(entries) => {
                for entry in entries {
                    self.publish_next(entry);
                }
            }
        }
        true
    }

    /// Returns whether this was a write of the journal. A fresh key is tried again automatically; new entries once, if room was
    /// made for them.
    pub(super) fn journal_write_failed(&mut self, id: WriteId, made_room: bool) -> bool {
        let Some((_, failed)) = self
            .recording
            .writing
            .take_if(|(writing, _)| *writing == id)
        else {
            return false;
        };
        let first_try = !core::mem::replace(&mut self.recording.retried, false);
        match failed {
            Writing::Entries(entries) if made_room && first_try => {
                self.recording.retried = true;
                self.write_entries(entries);
            }
            Writing::Entries(entries) => {
                for (ticket, _) in entries {
                    self.outputs.push(Output::Tell(Event::RecordFailed {
                        ticket,
                        reason: RecordError::NotStored,
                    }));
                }
            }
            Writing::Again(_) | Writing::Key(..) => self.retry_conflict(),
        }
        true
    }

    /// The entry stands at the journal's next position: signs and publishes it.
    fn publish_next(&mut self, entry: JournalEntry) -> (ReadingId, u64) {
        let room = self.tree.room().id();
        let seq = self.journal.next_seq();
        self.journal.push(room, entry);
        let key = self.journal.key();
        let reading = key.sign(room, seq, entry.time, entry.bpm);
        self.outputs.push(Output::Publish {
            topic: Topic::Readings,
            data: reading.to_bytes().to_vec(),
        });
        (reading.id(room), seq)
    }

    /// Puts those of our readings into the mempool that neither it nor the best branch has.
    fn refill_mempool(&mut self) {
        if !self.journal.take_refill() {
            return;
        }
        self.refill_retired();
        self.refill_adopted();
        let author = self.journal.author();
        let next = self.tree.next_seq(&author);
        let room = self.tree.room().id();
        for seq in next..next.saturating_add(MAX_AHEAD) {
            let Some(entry) = self.journal.current_entry(seq) else {
                if seq >= self.journal.next_seq() {
                    break;
                }
                continue;
            };
            if self.mempool.has_place(&author, seq) {
                continue;
            }
            let reading = self.journal.key().sign(room, seq, entry.time, entry.bpm);
            let id = reading.id(room);
            if self.mempool.insert(&reading, id, next, self.now).is_ok() {
                self.outputs.push(Output::Tell(Event::Reading(reading)));
            }
        }
    }

    /// How many entries the journal of this peer has, lost ones included.
    #[must_use]
    pub fn journal_len(&self) -> u64 {
        self.journal.len()
    }

    /// Own entries that the confirmed part of the best branch lacks, by position, at most `limit`.
    #[must_use]
    pub fn unsettled_own(&self, limit: usize) -> Vec<(u64, JournalEntry)> {
        let tree = &self.tree;
        let mut found = Vec::new();
        for era in self.journal.eras() {
            let author = era.author;
            let settled = tree.settled_seq(&author);
            let first = era.from.saturating_add(settled);
            let contested = self.journal.contested_below(era, first);
            for position in contested.into_iter().chain(first..era.until) {
                if found.len() >= limit {
                    return found;
                }
                if let Some(entry) = self.journal.stored_entry(position)
                    && self.journal.is_current(position)
                {
                    found.push((position, entry));
                }
            }
        }
        found
    }
}

/// What the keys of a journal sign, in the journal's order. Entries that a later one resigns are left out.
///
/// `first` signs from position 0 on, and each of `keys` from the position that it comes with.
#[must_use]
pub fn sign_journal(
    room: &chain::room::Room,
    first: &SecretKey,
    keys: &[(u64, SecretKey)],
    journal: &[(u64, JournalEntry)],
) -> Vec<Reading> {
    let mut eras: Vec<(u64, &SecretKey)> = [(0, first)]
        .into_iter()
        .chain(keys.iter().map(|(from, key)| (*from, key)))
        .collect();
    eras.sort_by_key(|(from, _)| *from);
    // Where each entry stands last, by where it first stood.
    let mut moved: BTreeMap<u64, u64> = BTreeMap::new();
    let mut origins: BTreeMap<u64, u64> = BTreeMap::new();
    for (position, entry) in journal {
        if let Some(resigned) = entry.resigns {
            let origin = origins.get(&resigned).copied().unwrap_or(resigned);
            origins.insert(*position, origin);
            moved.insert(origin, *position);
        }
    }
    journal
        .iter()
        .filter(|(position, _)| {
            let origin = origins.get(position).unwrap_or(position);
            moved.get(origin).unwrap_or(origin) == position
        })
        .filter_map(|(position, entry)| {
            let at = eras.partition_point(|(from, _)| from <= position);
            let (from, key) = eras.get(at.checked_sub(1)?)?;
            Some(key.sign(room.id(), position - from, entry.time, entry.bpm))
        })
        .collect()
}

/// Whether a linked reading with this prefix is the entry's.
pub(super) fn is_same(entry: Option<IdPrefix>, linked: IdPrefix) -> bool {
    // What a lost entry was is not known; a reading by our key with its seq is taken for it.
    entry.is_none_or(|prefix| prefix == linked)
}
