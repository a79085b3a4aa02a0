//! One's own readings: kept first, then signed, offered until the chain has them.
//!
//! A call of `record()` is answered when its journal entry is on disk. The journal is kept for good; entry after
//! entry is signed with the next place of the key's count. Memory keeps 16 bytes an entry and no signature: Ed25519
//! signs the same bytes the same way every time, so a reading is signed whenever the mempool lacks it.

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
    time::UnixMillis,
    tree::IdPrefix,
};

use super::{
    Machine,
    elsewhere::{Foreign, Former},
    places::Places,
};
use crate::{
    config::{MAX_JOURNAL, MAX_PENDING_RECORDS},
    seam::{Event, JournalEntry, Output, RecordError, StoreOperation, Ticket, Topic, WriteId},
};

/// A journal entry that was signed with the present key; its place in the count is its place in the list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed {
    pub(super) entry: JournalEntry,
    pub(super) prefix: IdPrefix,
}

impl Signed {
    pub(super) fn new(room: RoomId, author: Author, seq: u64, entry: JournalEntry) -> Self {
        let prefix = IdPrefix::from(&id_of(room, author, seq, entry));
        Self { entry, prefix }
    }
}

/// The id of the reading that an author's entry becomes at this place of its count, without the cost of signing it.
pub(super) fn id_of(room: RoomId, author: Author, seq: u64, entry: JournalEntry) -> ReadingId {
    let unsigned = Reading {
        author,
        seq,
        time: entry.time,
        bpm: entry.bpm.get(),
        signature: Signature::new([0; Signature::LEN]),
    };
    unsigned.id(room)
}

/// What is on its way to the journal: one thing at a time, so that it never has a gap.
#[derive(Clone, Debug)]
pub(super) enum Writing {
    /// New entries.
    Entries(Vec<(Ticket, JournalEntry)>),
    /// A fresh key, with the entries that it is to sign again.
    Key(Box<SecretKey>, Vec<JournalEntry>),
    /// Entries of former keys that the present one is to sign again.
    Again(Vec<Former>),
}

impl Writing {
    fn entries(&self) -> usize {
        match self {
            Self::Entries(entries) => entries.len(),
            Self::Key(_, entries) => entries.len(),
            Self::Again(again) => again.len(),
        }
    }
}

/// The journal and the key.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) key: SecretKey,
    pub(super) author: Author,
    /// How many entries the journal on disk has.
    pub(super) journal_len: u64,
    last_time: UnixMillis,
    pub(super) signed: Vec<Signed>,
    /// Keys that signed before, the oldest first: one for each time that this one's key was found to live elsewhere.
    pub(super) former_keys: Vec<SecretKey>,
    /// What they signed and the present key does not, by its time, which is unique in the journal.
    pub(super) former: BTreeMap<UnixMillis, Former>,
    pending: VecDeque<(Ticket, Bpm)>,
    pub(super) writing: Option<(WriteId, Writing)>,
    pub(super) foreign: Option<Foreign>,
    /// Where the readings of the present key and of former ones stand.
    pub(super) places: Places,
    /// Whether some of one's readings may be missing from the mempool.
    pub(super) refill: bool,
}

impl Own {
    pub(super) fn new(key: SecretKey) -> Self {
        let mut places = Places::default();
        places.follow(key.author(), Vec::new());
        Self {
            author: key.author(),
            key,
            journal_len: 0,
            last_time: UnixMillis::new(0),
            signed: Vec::new(),
            former_keys: Vec::new(),
            former: BTreeMap::new(),
            pending: VecDeque::new(),
            writing: None,
            foreign: None,
            places,
            refill: false,
        }
    }

    pub(super) const fn author(&self) -> Author {
        self.author
    }

    /// The best branch changed: readings of ours may have left it.
    pub(super) fn refill(&mut self) {
        self.refill = true;
    }

    /// Journal entries in memory or on their way there.
    pub(super) fn len(&self) -> usize {
        let writing = self.writing.as_ref().map_or(0, |(_, what)| what.entries());
        self.signed.len() + self.former.len() + writing + self.pending.len()
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    pub(super) fn record(&mut self, ticket: Ticket, bpm: Bpm) {
        let refused = if self.own.pending.len() >= MAX_PENDING_RECORDS {
            let limit = MAX_PENDING_RECORDS;
            Some(RecordError::TooMany { limit })
        } else if self.own.len() >= MAX_JOURNAL {
            let limit = MAX_JOURNAL;
            Some(RecordError::JournalFull { limit })
        } else {
            None
        };
        match refused {
            Some(reason) => self
                .outputs
                .push(Output::Tell(Event::RecordFailed { ticket, reason })),
            None => self.own.pending.push_back((ticket, bpm)),
        }
    }

    pub(super) fn settle_own(&mut self) {
        self.start_journal_write();
        self.check_foreign();
        self.check_former();
        self.refill_mempool();
    }

    /// Writes all that waits as one batch; one batch at a time, so that the journal never has a gap.
    fn start_journal_write(&mut self) {
        if self.own.writing.is_some() || self.own.pending.is_empty() {
            return;
        }
        let mut operations = Vec::new();
        let mut entries = Vec::new();
        for (ticket, bpm) in core::mem::take(&mut self.own.pending) {
            let time = self.now.max(self.own.last_time.saturating_add(1));
            self.own.last_time = time;
            let entry = JournalEntry { time, bpm };
            operations.push(StoreOperation::PutJournal(
                self.own.journal_len + entries.len() as u64,
                entry,
            ));
            entries.push((ticket, entry));
        }
        let id = self.write(operations, true);
        self.own.writing = Some((id, Writing::Entries(entries)));
    }

    /// Returns whether this was a write of the journal.
    pub(super) fn journal_written(&mut self, id: WriteId) -> bool {
        let Some((_, written)) = self.own.writing.take_if(|(writing, _)| *writing == id) else {
            return false;
        };
        match written {
            Writing::Entries(entries) => {
                self.own.journal_len += entries.len() as u64;
                for (ticket, entry) in entries {
                    let (id, seq) = self.publish_next(entry);
                    self.outputs
                        .push(Output::Tell(Event::Recorded { ticket, id, seq }));
                }
            }
            Writing::Key(key, entries) => {
                self.own.journal_len += entries.len() as u64;
                self.take_key(*key, &entries);
                for entry in entries {
                    self.publish_next(entry);
                }
                self.outputs.push(Output::Tell(Event::KeyReplaced {
                    author: self.own.author,
                }));
            }
            Writing::Again(again) => {
                self.own.journal_len += again.len() as u64;
                for former in again {
                    self.publish_next(former.signed.entry);
                }
            }
        }
        true
    }

    /// Returns whether this was a write of the journal. A fresh key is tried again by itself.
    pub(super) fn journal_write_failed(&mut self, id: WriteId) -> bool {
        let Some((_, failed)) = self.own.writing.take_if(|(writing, _)| *writing == id) else {
            return false;
        };
        match failed {
            Writing::Entries(entries) => {
                for (ticket, _) in entries {
                    self.outputs.push(Output::Tell(Event::RecordFailed {
                        ticket,
                        reason: RecordError::NotStored,
                    }));
                }
            }
            Writing::Again(again) => self.retry_again(again),
            Writing::Key(..) => self.retry_key(),
        }
        true
    }

    fn publish_next(&mut self, entry: JournalEntry) -> (ReadingId, u64) {
        let room = self.tree.room().id();
        let seq = self.own.signed.len() as u64;
        self.note_signed(entry);
        let reading = self.own.key.sign(room, seq, entry.time, entry.bpm);
        self.outputs.push(Output::Publish {
            topic: Topic::Readings,
            data: reading.to_bytes().to_vec(),
        });
        (reading.id(room), seq)
    }

    /// The entry stands at the next place of the present key's count.
    fn note_signed(&mut self, entry: JournalEntry) {
        let (room, seq) = (self.tree.room().id(), self.own.signed.len() as u64);
        let signed = Signed::new(room, self.own.author, seq, entry);
        self.own.signed.push(signed);
        self.own.refill = true;
    }

    /// Puts those of our readings into the mempool that neither it nor the best branch has.
    fn refill_mempool(&mut self) {
        if !core::mem::take(&mut self.own.refill) {
            return;
        }
        self.refill_former();
        let author = self.own.author;
        let next = self.tree.next_seq(&author);
        let from = usize::try_from(next).unwrap_or(usize::MAX);
        let limit = usize::try_from(MAX_AHEAD).unwrap_or(usize::MAX);
        let room = self.tree.room().id();
        for (seq, signed) in (next..).zip(self.own.signed.iter().skip(from).take(limit)) {
            if self.mempool.has_place(&author, seq) {
                continue;
            }
            let reading = self
                .own
                .key
                .sign(room, seq, signed.entry.time, signed.entry.bpm);
            if self
                .mempool
                .insert(&reading, reading.id(room), next, self.now)
                .is_ok()
            {
                self.outputs.push(Output::Tell(Event::Reading(reading)));
            }
        }
    }

    /// Takes in the next entry of a journal that was on disk.
    pub(super) fn restore_entry(&mut self, position: u64, entry: JournalEntry) {
        self.own.journal_len = position.saturating_add(1);
        self.own.last_time = self.own.last_time.max(entry.time);
        // An entry that stands in the journal again is this one's to care for.
        self.own.former.remove(&entry.time);
        self.note_signed(entry);
    }

    /// The next key of a journal that was on disk signs from here on.
    pub(super) fn restore_key(&mut self, key: SecretKey) {
        self.take_key(key, &[]);
    }
}
