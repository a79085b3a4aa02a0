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

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::fmt::Debug;

use heartchain_chain::{
    bpm::Bpm,
    content::Measurement,
    hash::ReadingId,
    key::{Author, SecretKey},
    mempool::MAX_AHEAD,
    room::Room,
    time::MonotonicMillis,
    tree::Switch,
};

use super::{
    context::Context,
    journal::Journal,
    journal_entry::kept_prefix,
    key_conflict::{Circumstances, KeyConflict, Resolution, seen_now},
};
use crate::{
    config::{MAX_JOURNAL, MAX_PENDING_RECORDS},
    io::{Event, JournalEntry, Output, RecordError, StoreOperation, Ticket, WriteId},
    message::GossipItem,
};

/// What is being written to the journal. One write at a time, so that the journal never has a gap.
#[derive(Clone, Debug)]
enum JournalWrite {
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

/// The journal, and calls of `record()` that wait for it.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    journal: Journal,
    conflict: KeyConflict,
    pending: VecDeque<(Ticket, Bpm)>,
    /// One write at a time, so that the journal never has a gap.
    writing: Option<(WriteId, JournalWrite)>,
    /// Whether the write in progress is the second attempt, after room was made on a full disk.
    retried: bool,
}

impl Recorder {
    pub(super) fn new(key: SecretKey) -> Self {
        Self {
            journal: Journal::new(key),
            conflict: KeyConflict::default(),
            pending: VecDeque::new(),
            writing: None,
            retried: false,
        }
    }

    pub(crate) const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The journal, to restore it at startup.
    pub(crate) fn journal_mut(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// The author of what is recorded now.
    pub(crate) const fn author(&self) -> Author {
        self.journal.author()
    }

    /// Entries of the journal, and those that are on their way to it.
    pub(crate) fn len(&self) -> usize {
        let writing = self.writing.as_ref().map_or(0, |(_, what)| what.entries());
        self.journal.entries() + writing + self.pending.len()
    }

    pub(super) fn record<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        ticket: Ticket,
        bpm: Bpm,
    ) {
        let refused = if !ctx.tree.room().is_member() {
            Some(RecordError::NoKey)
        } else if self.pending.len() >= MAX_PENDING_RECORDS {
            let limit = MAX_PENDING_RECORDS;
            Some(RecordError::TooMany { limit })
        } else if self.len() >= MAX_JOURNAL {
            let limit = MAX_JOURNAL;
            Some(RecordError::JournalFull { limit })
        } else {
            None
        };
        match refused {
            Some(reason) => ctx.emit(Event::RecordFailed { ticket, reason }),
            None => self.pending.push_back((ticket, bpm)),
        }
    }

    /// Writes what was recorded, and resolves conflicts of our keys. `is_fetching` says whether bodies of a better branch are
    /// arriving.
    pub(super) fn poll<P: Copy + Ord + Debug>(&mut self, ctx: &mut Context<P>, is_fetching: bool) {
        self.start_write(ctx);
        let found = self.conflict.poll(Circumstances {
            ctx,
            journal: &mut self.journal,
            is_idle: self.writing.is_none(),
            is_fetching,
        });
        match found {
            Some(Resolution::ReplaceKey { seed, entries }) => self.write_key(ctx, seed, entries),
            Some(Resolution::SignAgain(entries)) => self.write_again(ctx, entries),
            None => {}
        }
    }

    /// When a key conflict is certain, unless a write is in progress.
    pub(super) fn next_deadline(&self, is_fetching: bool) -> Option<MonotonicMillis> {
        let is_idle = self.writing.is_none();
        let due = is_idle.then(|| self.conflict.next_deadline(&self.journal, is_fetching));
        due.flatten()
    }

    /// Writes all pending entries as one batch.
    fn start_write<P: Copy + Ord + Debug>(&mut self, ctx: &mut Context<P>) {
        if self.writing.is_some() || self.pending.is_empty() {
            return;
        }
        let time = ctx.clock.wall();
        let entries: Vec<(Ticket, JournalEntry)> = self
            .pending
            .drain(..)
            .map(|(ticket, bpm)| {
                let entry = JournalEntry {
                    time,
                    bpm,
                    replaces: None,
                    prefix: None,
                };
                (ticket, entry)
            })
            .collect();
        self.retried = false;
        self.write_entries(ctx, entries);
    }

    fn write_entries<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        mut entries: Vec<(Ticket, JournalEntry)>,
    ) {
        let (author, from) = (self.author(), self.journal.current().from);
        let put = entries.iter_mut().map(|(_, entry)| entry);
        let operations = self.put_next(ctx.tree.room(), author, from, put);
        let id = ctx.write_strictly(operations);
        self.writing = Some((id, JournalWrite::Entries(entries)));
    }

    /// Writes a fresh key, followed by the entries that it signs again. The key signs only once it is on disk.
    fn write_key<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        seed: [u8; 32],
        mut entries: Vec<JournalEntry>,
    ) {
        let key = Box::new(SecretKey::from_seed(seed));
        let from = self.journal.len();
        let mut operations = alloc::vec![StoreOperation::PutKey(seed, from)];
        let put = entries.iter_mut();
        operations.extend(self.put_next(ctx.tree.room(), key.author(), from, put));
        let id = ctx.write_strictly(operations);
        self.writing = Some((id, JournalWrite::Key(key, entries)));
    }

    fn write_again<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        mut entries: Vec<JournalEntry>,
    ) {
        let (author, from) = (self.author(), self.journal.current().from);
        let put = entries.iter_mut();
        let id = ctx.write_strictly(self.put_next(ctx.tree.room(), author, from, put));
        self.writing = Some((id, JournalWrite::ReSigned(entries)));
    }

    /// How to store these entries at the end of the journal, where `author` signs them. Its first position is `from`. In a
    /// private room, each entry is given the prefix of its reading's ID.
    fn put_next<'a>(
        &self,
        room: &Room,
        author: Author,
        from: u64,
        entries: impl Iterator<Item = &'a mut JournalEntry>,
    ) -> Vec<StoreOperation> {
        let mut operations = Vec::new();
        for (position, entry) in (self.journal.len()..).zip(entries) {
            let JournalEntry { time, bpm, .. } = *entry;
            let measured = Measurement { time, bpm };
            entry.prefix = kept_prefix(room, author, position.saturating_sub(from), measured);
            operations.push(StoreOperation::PutJournal(position, *entry));
        }
        operations
    }

    /// Handles the end of a write. Returns whether it was one of the journal.
    pub(super) fn on_written<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        id: WriteId,
    ) -> bool {
        let Some((_, written)) = self.writing.take_if(|(writing, _)| *writing == id) else {
            return false;
        };
        match written {
            JournalWrite::Entries(entries) => {
                for (ticket, entry) in entries {
                    let reason = RecordError::NoKey;
                    let failed = Event::RecordFailed { ticket, reason };
                    let published = self.publish_next(ctx, entry);
                    ctx.emit(published.map_or(failed, |(id, seq)| Event::Recorded {
                        ticket,
                        id,
                        seq,
                    }));
                }
            }
            JournalWrite::Key(key, entries) => {
                self.switch_key(ctx, *key);
                for entry in entries {
                    self.publish_next(ctx, entry);
                }
                let author = self.journal.author();
                ctx.emit(Event::KeyReplaced { author });
            }
            JournalWrite::ReSigned(entries) => {
                for entry in entries {
                    self.publish_next(ctx, entry);
                }
            }
        }
        true
    }

    /// Handles a failed write. Returns whether it was one of the journal. A fresh key is retried automatically;
    /// new entries are retried once, if room was made for them.
    pub(super) fn on_write_failed<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        id: WriteId,
        made_room: bool,
    ) -> bool {
        let Some((_, failed)) = self.writing.take_if(|(writing, _)| *writing == id) else {
            return false;
        };
        let first_try = !core::mem::replace(&mut self.retried, false);
        match failed {
            JournalWrite::Entries(entries) if made_room && first_try => {
                self.retried = true;
                self.write_entries(ctx, entries);
            }
            JournalWrite::Entries(entries) => {
                for (ticket, _) in entries {
                    let reason = RecordError::NotStored;
                    ctx.emit(Event::RecordFailed { ticket, reason });
                }
            }
            JournalWrite::ReSigned(_) | JournalWrite::Key(..) => {
                self.conflict.retry(ctx, &mut self.journal);
            }
        }
        true
    }

    /// Appends a stored entry to the journal in memory, then signs and publishes its reading. `None` if the room's key is
    /// not known, without which nothing is recorded.
    fn publish_next<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        entry: JournalEntry,
    ) -> Option<(ReadingId, u64)> {
        let room = ctx.tree.room();
        let seq = self.journal.next_seq();
        self.journal.push(room, entry);
        let JournalEntry { time, bpm, .. } = entry;
        let reading = room.sign(self.journal.key(), seq, Measurement { time, bpm })?;
        let id = reading.id(room.id());
        ctx.output(Output::Publish(GossipItem::Reading(reading)));
        Some((id, seq))
    }

    /// A fresh key signs from the next journal entry on.
    pub(crate) fn switch_key<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        key: SecretKey,
    ) {
        let author = key.author();
        let heights = ctx.tree.heights_of(&author);
        let retired = self.journal.retired();
        ctx.bind(&key);
        self.journal.begin_era(key, heights);
        ctx.mempool.set_own(author);
        let linked = |author: &Author, seq| ctx.tree.best_prefix(author, seq);
        self.journal.compare_era(retired, linked, seen_now(ctx));
    }

    /// After a start from disk, looks for our readings on the best branch: their heights, and those that are not in the journal.
    pub(crate) fn scan_best_branch<P: Copy + Ord + Debug>(&mut self, ctx: &Context<P>) {
        let authors: Vec<Author> = self.journal.eras().map(|era| era.author).collect();
        for author in authors {
            let heights = ctx.tree.heights_of(&author);
            self.journal.set_heights(author, heights);
        }
        let seen = seen_now(ctx);
        let author = self.journal.author();
        for seq in 0..ctx.tree.next_seq(&author) {
            if let Some(prefix) = ctx.tree.best_prefix(&author, seq) {
                self.journal.on_linked(&author, seq, prefix, seen);
            }
        }
        for era in 0..self.journal.retired() {
            let linked = |author: &Author, seq| ctx.tree.best_prefix(author, seq);
            self.journal.compare_era(era, linked, seen);
        }
        self.journal.request_refill();
    }

    /// The best branch changed.
    pub(super) fn on_switch<P: Copy + Ord + Debug>(&mut self, ctx: &Context<P>, switch: &Switch) {
        self.journal.on_switch(switch, seen_now(ctx));
    }

    /// The mempool may lack some of our readings.
    pub(super) fn request_refill(&mut self) {
        self.journal.request_refill();
    }

    /// Whether the mempool may lack some of our readings since the last call.
    pub(super) fn take_refill(&mut self) -> bool {
        self.journal.take_refill()
    }

    /// Offers readings of retired keys that the best branch lacks, up to the mempool's limit per author.
    pub(super) fn refill_retired<P: Copy + Ord + Debug>(&self, ctx: &mut Context<P>) {
        let mut at = 0;
        loop {
            let first = self.journal.unlinked_from(at).next();
            let Some(first) = first else {
                return;
            };
            let Some(era) = self.journal.era_of(first) else {
                return;
            };
            let next = ctx.tree.next_seq(&era.author);
            let from = era.from.saturating_add(next);
            let until = era.until.min(from.saturating_add(MAX_AHEAD));
            let lacking = self.journal.unlinked_from(from);
            for position in lacking.take_while(|position| *position < until) {
                let seq = position - era.from;
                let Some(entry) = self.journal.entry(position) else {
                    continue;
                };
                if ctx.mempool.contains_seq(&era.author, seq) {
                    continue;
                }
                let Some(reading) = ctx.tree.room().sign(&era.key, seq, entry) else {
                    return;
                };
                if !ctx.return_to_mempool(&reading) {
                    break;
                }
            }
            at = era.until.max(first.saturating_add(1));
        }
    }

    /// Adds readings of the current key to the mempool that are neither there nor on the best branch.
    pub(super) fn refill_current<P: Copy + Ord + Debug>(&self, ctx: &mut Context<P>) {
        let author = self.journal.author();
        let next = ctx.tree.next_seq(&author);
        for seq in next..next.saturating_add(MAX_AHEAD) {
            let Some(entry) = self.journal.current_entry(seq) else {
                if seq >= self.journal.next_seq() {
                    break;
                }
                continue;
            };
            if ctx.mempool.contains_seq(&author, seq) {
                continue;
            }
            let Some(reading) = ctx.tree.room().sign(self.journal.key(), seq, entry) else {
                return;
            };
            let id = reading.id(ctx.room());
            if ctx
                .mempool
                .insert(&reading, id, next, ctx.clock.now())
                .is_ok()
            {
                ctx.emit(Event::Reading(reading));
            }
        }
    }
}
