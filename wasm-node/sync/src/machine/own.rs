//! One's own readings: kept first, then signed, offered until the chain has them.
//!
//! A call of `record()` is answered when its journal entry is on disk. The journal is kept for good; entry after
//! entry is signed with the next place of the key's count.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::fmt::Debug;

use chain::{
    bpm::Bpm,
    hash::ReadingId,
    key::{Author, SecretKey},
    mempool::MAX_AHEAD,
    reading::Reading,
    time::UnixMillis,
    tree::IdPrefix,
};
use rand_core::Rng;

use super::Machine;
use crate::{
    config::{FOREIGN_DEPTH, FOREIGN_PATIENCE, JOURNAL_RETRY, MAX_PENDING_RECORDS},
    seam::{Event, JournalEntry, Output, RecordError, StoreOperation, Ticket, Topic, WriteId},
};

/// A journal entry that was signed with the present key; its place in the count is its place in the list.
#[derive(Clone, Copy, Debug)]
struct Signed {
    entry: JournalEntry,
    reading: Reading,
    id: ReadingId,
}

/// A reading by our key that we did not record, on the best branch.
#[derive(Clone, Copy, Debug)]
struct Foreign {
    seq: u64,
    seen_index: u64,
    seen_at: UnixMillis,
}

/// What is on its way to the journal: one thing at a time, so that it never has a gap.
#[derive(Debug)]
enum Writing {
    /// New entries.
    Entries(Vec<(Ticket, JournalEntry)>),
    /// A fresh key, with the entries that it is to sign again.
    Key(Box<SecretKey>, Vec<JournalEntry>),
    /// Entries of former keys that the present one is to sign again.
    Again(Vec<Former>),
}

/// A journal entry that a former key signed and the chain took.
#[derive(Debug)]
struct Former {
    signed: Signed,
    /// Since when another reading stands in its place.
    lost: Option<Foreign>,
}

/// The journal and the key.
#[derive(Debug)]
pub(super) struct Own {
    key: SecretKey,
    author: Author,
    /// How many entries the journal on disk has.
    journal_len: u64,
    last_time: UnixMillis,
    signed: Vec<Signed>,
    former: Vec<Former>,
    pending: VecDeque<(Ticket, Bpm)>,
    writing: Option<(WriteId, Writing)>,
    foreign: Option<Foreign>,
    /// Whether some of one's readings may be missing from the mempool.
    refill: bool,
}

impl Own {
    pub(super) fn new(key: SecretKey) -> Self {
        Self {
            author: key.author(),
            key,
            journal_len: 0,
            last_time: UnixMillis::new(0),
            signed: Vec::new(),
            former: Vec::new(),
            pending: VecDeque::new(),
            writing: None,
            foreign: None,
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

    /// A reading by our key joined the best branch.
    pub(super) fn note_linked(&mut self, seq: u64, prefix: IdPrefix, index: u64, now: UnixMillis) {
        if self.prefix_at(seq) != Some(prefix) && self.foreign.is_none() {
            self.foreign = Some(Foreign {
                seq,
                seen_index: index,
                seen_at: now,
            });
        }
    }

    pub(super) fn next_due(&self) -> Option<UnixMillis> {
        if self.writing.is_some() {
            return None;
        }
        let lost = self.former.iter().filter_map(|former| former.lost);
        lost.chain(self.foreign)
            .map(|foreign| foreign.seen_at.saturating_add(FOREIGN_PATIENCE))
            .min()
    }

    fn prefix_at(&self, seq: u64) -> Option<IdPrefix> {
        self.signed
            .get(usize::try_from(seq).ok()?)
            .map(|signed| IdPrefix::from(&signed.id))
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    pub(super) fn record(&mut self, ticket: Ticket, bpm: Bpm) {
        if self.own.pending.len() >= MAX_PENDING_RECORDS {
            let reason = RecordError::TooMany {
                limit: MAX_PENDING_RECORDS,
            };
            self.outputs
                .push(Output::Tell(Event::RecordFailed { ticket, reason }));
            return;
        }
        self.own.pending.push_back((ticket, bpm));
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
            Writing::Again(mut again) => {
                let patience = FOREIGN_PATIENCE.saturating_sub(JOURNAL_RETRY);
                for lost in again.iter_mut().filter_map(|former| former.lost.as_mut()) {
                    lost.seen_at = self.now.saturating_sub(patience);
                    lost.seen_index = self.tree.tip().index;
                }
                self.own.former.append(&mut again);
            }
            Writing::Key(..) => {
                let patience = FOREIGN_PATIENCE.saturating_sub(JOURNAL_RETRY);
                if let Some(foreign) = &mut self.own.foreign {
                    foreign.seen_at = self.now.saturating_sub(patience);
                    foreign.seen_index = self.tree.tip().index;
                }
            }
        }
        true
    }

    fn publish_next(&mut self, entry: JournalEntry) -> (ReadingId, u64) {
        let (reading, id) = self.sign_next(entry);
        self.outputs.push(Output::Publish {
            topic: Topic::Readings,
            data: reading.to_bytes().to_vec(),
        });
        (id, reading.seq)
    }

    fn sign_next(&mut self, entry: JournalEntry) -> (Reading, ReadingId) {
        let room = self.tree.room().id();
        let reading = self
            .own
            .key
            .sign(room, self.own.signed.len() as u64, entry.time, entry.bpm);
        let id = reading.id(room);
        self.own.signed.push(Signed { entry, reading, id });
        self.own.refill = true;
        (reading, id)
    }

    /// Puts those of our readings into the mempool that neither it nor the best branch has.
    fn refill_mempool(&mut self) {
        if !core::mem::take(&mut self.own.refill) {
            return;
        }
        let former: Vec<Reading> = self
            .own
            .former
            .iter()
            .map(|former| former.signed.reading)
            .filter(|reading| reading.seq >= self.tree.next_seq(&reading.author))
            .collect();
        for reading in former {
            self.return_to_mempool(&reading);
        }
        let next = self.tree.next_seq(&self.own.author);
        let from = usize::try_from(next).unwrap_or(usize::MAX);
        let limit = usize::try_from(MAX_AHEAD).unwrap_or(usize::MAX);
        for signed in self.own.signed.iter().skip(from).take(limit) {
            if self
                .mempool
                .insert(&signed.reading, signed.id, next, self.now)
                .is_ok()
            {
                self.outputs
                    .push(Output::Tell(Event::Reading(signed.reading)));
            }
        }
    }

    /// Our key signs elsewhere too: once that is certain, what the chain lacks is signed with a fresh one.
    fn check_foreign(&mut self) {
        let Some(foreign) = self.own.foreign else {
            return;
        };
        let linked = self.tree.linked_prefix(&self.own.author, foreign.seq);
        if linked.is_none() || linked == self.own.prefix_at(foreign.seq) {
            self.own.foreign = None;
            return;
        }
        if self.own.writing.is_none() && self.is_certain(&foreign) {
            self.replace_key();
        }
    }

    /// Whether a foreign reading has been on the best branch for so long that it will hardly leave it.
    fn is_certain(&self, foreign: &Foreign) -> bool {
        self.tree.tip().index >= foreign.seen_index.saturating_add(FOREIGN_DEPTH)
            || foreign.seen_at.saturating_add(FOREIGN_PATIENCE) <= self.now
    }

    /// What former keys signed can leave the chain again: it is offered again, and signed anew if its place is taken.
    fn check_former(&mut self) {
        let due = |former: &Former| former.lost.is_some_and(|lost| self.is_certain(&lost));
        if !self.own.refill && !self.own.former.iter().any(due) {
            return;
        }
        let mut former = core::mem::take(&mut self.own.former);
        let tip = self.tree.tip().index;
        let free = self.own.writing.is_none();
        let again = former.extract_if(.., |former| {
            let author = former.signed.reading.author;
            let linked = self.tree.linked_prefix(&author, former.signed.reading.seq);
            if linked.is_none_or(|prefix| prefix == IdPrefix::from(&former.signed.id)) {
                former.lost = None;
                return false;
            }
            let lost = former.lost.get_or_insert(Foreign {
                seq: former.signed.reading.seq,
                seen_index: tip,
                seen_at: self.now,
            });
            free && self.is_certain(lost)
        });
        let again: Vec<Former> = again.collect();
        self.own.former = former;
        if again.is_empty() {
            return;
        }
        let operations = (self.own.journal_len..)
            .zip(&again)
            .map(|(position, former)| StoreOperation::PutJournal(position, former.signed.entry))
            .collect();
        let id = self.write(operations, true);
        self.own.writing = Some((id, Writing::Again(again)));
    }

    /// The fresh key signs only once it is on disk; what it signs again is journalled again behind it.
    fn replace_key(&mut self) {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let author = self.own.author;
        let missing: Vec<JournalEntry> = self
            .own
            .signed
            .iter()
            .filter(|signed| {
                self.tree.linked_prefix(&author, signed.reading.seq)
                    != Some(IdPrefix::from(&signed.id))
            })
            .map(|signed| signed.entry)
            .collect();
        let from = self.own.journal_len;
        let mut operations = alloc::vec![StoreOperation::PutKey(seed, from)];
        operations.extend(
            (from..)
                .zip(&missing)
                .map(|(position, entry)| StoreOperation::PutJournal(position, *entry)),
        );
        let id = self.write(operations, true);
        self.own.writing = Some((
            id,
            Writing::Key(Box::new(SecretKey::from_seed(seed)), missing),
        ));
    }

    /// `again`: the entries that the fresh key signs in the old one's place.
    fn take_key(&mut self, key: SecretKey, again: &[JournalEntry]) {
        self.own.author = key.author();
        self.own.key = key;
        let signed = core::mem::take(&mut self.own.signed);
        let kept = signed
            .into_iter()
            .filter(|signed| !again.contains(&signed.entry));
        self.own
            .former
            .extend(kept.map(|signed| Former { signed, lost: None }));
        self.own.foreign = None;
        self.mempool.set_own(self.own.author);
    }

    /// Takes in the next entry of a journal that was on disk.
    pub(super) fn restore_entry(&mut self, position: u64, entry: JournalEntry) {
        self.own.journal_len = position.saturating_add(1);
        self.own.last_time = self.own.last_time.max(entry.time);
        // An entry that stands in the journal again is this one's to care for.
        self.own
            .former
            .retain(|former| former.signed.entry != entry);
        self.sign_next(entry);
    }

    /// The next key of a journal that was on disk signs from here on.
    pub(super) fn restore_key(&mut self, key: SecretKey) {
        self.take_key(key, &[]);
    }

    /// Looks for readings by our key on the best branch that the journal lacks, after a start from disk.
    pub(super) fn look_for_foreign(&mut self) {
        let author = self.own.author;
        for seq in 0..self.tree.next_seq(&author) {
            if let Some(prefix) = self.tree.linked_prefix(&author, seq) {
                self.own
                    .note_linked(seq, prefix, self.tree.tip().index, self.now);
            }
        }
    }
}
