//! The journal of readings recorded here: written to disk first, then signed, then offered to peers until the
//! chain has them.
//!
//! A call of `record()` is answered once its journal entry is on disk. The journal is kept forever. Its
//! positions are divided into eras, one per key that signed here. Within an era, the entry at position `p` has
//! sequence number `p - from`. Memory holds 16 bytes per entry and no signature: Ed25519 is deterministic, so a
//! reading is signed again whenever the mempool lacks it.
//!
//! The disk can lose an entry. Its sequence number stays used: a second reading with the same number would
//! contradict one that other peers may have.

mod eras;

use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};
use core::fmt::Debug;

use heartchain_chain::{
    bpm::Bpm,
    hash::{ReadingId, RoomId},
    key::{Author, SecretKey, Signature},
    mempool::MAX_AHEAD,
    reading::Reading,
    tree::IdPrefix,
};

pub(super) use self::eras::{Entry, Journal, KeyEra};
use super::Machine;
use crate::{
    config::{MAX_JOURNAL, MAX_PENDING_RECORDS},
    io::{Event, JournalEntry, Output, RecordError, StoreOperation, Ticket, Topic, WriteId},
};

/// The ID of the reading for an author's entry with this sequence number, without the cost of signing it.
pub(super) fn entry_reading_id(room: RoomId, author: Author, seq: u64, entry: Entry) -> ReadingId {
    let unsigned = Reading {
        author,
        seq,
        time: entry.time,
        bpm: entry.bpm.get(),
        signature: Signature::new([0; Signature::LEN]),
    };
    unsigned.id(room)
}

/// What is being written to the journal. One write at a time, so that the journal never has a gap.
#[derive(Clone, Debug)]
pub(super) enum JournalWrite {
    /// New entries, with the tickets of their calls.
    Entries(Vec<(Ticket, JournalEntry)>),
    /// A fresh key, with the entries that it signs again.
    Key(Box<SecretKey>, Vec<JournalEntry>),
    /// Entries of retired keys that the current key signs again.
    ReSigned(Vec<JournalEntry>),
}

impl JournalWrite {
    fn entries(&self) -> usize {
        match self {
            Self::Entries(entries) => entries.len(),
            Self::Key(_, entries) | Self::ReSigned(entries) => entries.len(),
        }
    }
}

/// Calls of `record()` that wait for the journal.
#[derive(Clone, Debug, Default)]
pub(super) struct Recording {
    pending: VecDeque<(Ticket, Bpm)>,
    /// Whether the write in progress is the second attempt, after room was made on a full disk.
    retried: bool,
    pub(super) writing: Option<(WriteId, JournalWrite)>,
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
                .push(Output::Emit(Event::RecordFailed { ticket, reason })),
            None => self.recording.pending.push_back((ticket, bpm)),
        }
    }

    pub(super) fn update_journal(&mut self) {
        self.start_journal_write();
        self.check_foreign_reading();
        self.check_lost_seq();
        self.check_retired();
        self.check_stuck_era();
        self.refill_mempool();
    }

    /// Writes all pending entries as one batch. One batch at a time, so that the journal never has a gap.
    fn start_journal_write(&mut self) {
        if self.recording.writing.is_some() || self.recording.pending.is_empty() {
            return;
        }
        let time = self.wall;
        let entries: Vec<(Ticket, JournalEntry)> = core::mem::take(&mut self.recording.pending)
            .into_iter()
            .map(|(ticket, bpm)| {
                let replaces = None;
                (
                    ticket,
                    JournalEntry {
                        time,
                        bpm,
                        replaces,
                    },
                )
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
        self.recording.writing = Some((id, JournalWrite::Entries(entries)));
    }

    /// Handles the end of a write. Returns whether it was one of the journal.
    pub(super) fn journal_written(&mut self, id: WriteId) -> bool {
        let Some((_, written)) = self
            .recording
            .writing
            .take_if(|(writing, _)| *writing == id)
        else {
            return false;
        };
        match written {
            JournalWrite::Entries(entries) => {
                for (ticket, entry) in entries {
                    let (id, seq) = self.publish_next(entry);
                    self.outputs
                        .push(Output::Emit(Event::Recorded { ticket, id, seq }));
                }
            }
            JournalWrite::Key(key, entries) => {
                self.switch_key(*key);
                for entry in entries {
                    self.publish_next(entry);
                }
                let author = self.journal.author();
                self.outputs
                    .push(Output::Emit(Event::KeyReplaced { author }));
            }
            JournalWrite::ReSigned(entries) => {
                for entry in entries {
                    self.publish_next(entry);
                }
            }
        }
        true
    }

    /// Handles a failed write. Returns whether it was one of the journal. A fresh key is retried automatically;
    /// new entries are retried once, if room was made for them.
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
            JournalWrite::Entries(entries) if made_room && first_try => {
                self.recording.retried = true;
                self.write_entries(entries);
            }
            JournalWrite::Entries(entries) => {
                for (ticket, _) in entries {
                    self.outputs.push(Output::Emit(Event::RecordFailed {
                        ticket,
                        reason: RecordError::NotStored,
                    }));
                }
            }
            JournalWrite::ReSigned(_) | JournalWrite::Key(..) => self.retry_conflict(),
        }
        true
    }

    /// Appends a stored entry to the journal in memory, then signs and publishes its reading.
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

    /// Adds our readings to the mempool that are neither there nor on the best branch.
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
            if self.mempool.contains_seq(&author, seq) {
                continue;
            }
            let reading = self.journal.key().sign(room, seq, entry.time, entry.bpm);
            let id = reading.id(room);
            if self.mempool.insert(&reading, id, next, self.now).is_ok() {
                self.outputs.push(Output::Emit(Event::Reading(reading)));
            }
        }
    }

    /// How many entries this peer's journal has, including lost ones.
    #[must_use]
    pub fn journal_len(&self) -> u64 {
        self.journal.len()
    }

    /// At most `limit` of our entries that the confirmed part of the best branch lacks, with their positions.
    #[must_use]
    pub fn unconfirmed_own_entries(&self, limit: usize) -> Vec<(u64, JournalEntry)> {
        let tree = &self.tree;
        let mut found = Vec::new();
        for era in self.journal.eras() {
            let author = era.author;
            let settled = tree.confirmed_seq(&author);
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

/// Signs the entries of a journal, in order, except for those that a later entry replaces.
///
/// `first` signs from position 0 on, and each of `keys` from the position given with it.
#[must_use]
pub fn sign_journal(
    room: &heartchain_chain::room::Room,
    first: &SecretKey,
    keys: &[(u64, SecretKey)],
    journal: &[(u64, JournalEntry)],
) -> Vec<Reading> {
    let mut eras: Vec<(u64, &SecretKey)> = [(0, first)]
        .into_iter()
        .chain(keys.iter().map(|(from, key)| (*from, key)))
        .collect();
    eras.sort_by_key(|(from, _)| *from);
    // The last position of each entry, by its first position.
    let mut moved: BTreeMap<u64, u64> = BTreeMap::new();
    let mut origins: BTreeMap<u64, u64> = BTreeMap::new();
    for (position, entry) in journal {
        if let Some(replaced) = entry.replaces {
            let origin = origins.get(&replaced).copied().unwrap_or(replaced);
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

/// Whether a linked reading with this prefix belongs to the entry.
pub(super) fn entry_matches(entry: Option<IdPrefix>, linked: IdPrefix) -> bool {
    // The content of a lost entry is unknown, so a reading by our key with its sequence number is assumed to be
    // its reading.
    entry.is_none_or(|prefix| prefix == linked)
}
