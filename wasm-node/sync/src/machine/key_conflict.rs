//! When one's own key signs elsewhere too: a restored backup, a copied profile; or when a lost entry's seq blocks the way.
//!
//! Once that is certain, a fresh key takes over and signs again what the chain lacks. What retired keys signed is looked
//! after forever: it can leave the chain again.

use alloc::{boxed::Box, vec::Vec};
use core::fmt::Debug;

use chain::{key::SecretKey, mempool::MAX_AHEAD, time::MonotonicMillis};
use rand_core::Rng;

use super::{
    Machine,
    journal::{Entry, Era, Writing},
};
use crate::{
    config::{
        FOREIGN_DEPTH, FOREIGN_PATIENCE, JOURNAL_RETRY, LOST_SEQ_PATIENCE, MAX_CONTESTED_CHECKED,
        MAX_ERAS_CHECKED, MAX_LOST_SEQ_PATIENCE,
    },
    seam::{JournalEntry, StoreOperation},
};

/// A reading by one of our keys that we did not record, on the best branch.
#[derive(Clone, Copy, Debug)]
pub(super) struct ForeignReading {
    pub(super) seq: u64,
    /// The best branch's height when it was first seen.
    pub(super) seen_index: u64,
    pub(super) seen_at: MonotonicMillis,
}

impl ForeignReading {
    fn is_certain_at(&self) -> MonotonicMillis {
        self.seen_at.saturating_add(FOREIGN_PATIENCE)
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    pub(super) fn conflict_due(&self) -> Option<MonotonicMillis> {
        if self.recording.writing.is_some() {
            return None;
        }
        // Those seen first are few: a conflict is resolved as a whole.
        let contested = self.journal.contested().map(|(_, foreign)| foreign).next();
        [
            contested.map(|foreign| foreign.is_certain_at()),
            self.journal.foreign.map(|foreign| foreign.is_certain_at()),
            self.lost_seq_since.map(|since| self.is_lost_at(since)),
            self.stuck_era_since
                .map(|(_, since)| self.is_lost_at(since)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What is seen now, for a reading whose seq is filled in.
    pub(super) fn seen_now(&self) -> ForeignReading {
        ForeignReading {
            seq: 0,
            seen_index: self.tree.tip().index,
            seen_at: self.now,
        }
    }

    /// Our key signs elsewhere too: once that is certain, what the chain lacks is signed with a fresh one.
    pub(super) fn check_foreign(&mut self) {
        let Some(foreign) = self.journal.foreign else {
            return;
        };
        let author = self.journal.author();
        let is_foreign = |seq: &u64| {
            let linked = self.tree.linked_prefix(&author, *seq);
            linked.is_some() && !self.journal.is_own(*seq, linked)
        };
        if !is_foreign(&foreign.seq) {
            // The very same was recorded here since then; others may stand behind it.
            let mut behind = foreign.seq..self.tree.next_seq(&author);
            let seen = self.seen_now();
            let next = behind.find(is_foreign);
            self.journal.foreign = next.map(|seq| ForeignReading { seq, ..seen });
            return;
        }
        if self.recording.writing.is_none() && self.is_certain(&foreign) {
            self.replace_key();
        }
    }

    /// The chain's next seq of our key is that of an entry that is lost, and other peers do not give its reading: no
    /// later reading of this key can be mined, so a fresh key takes over.
    pub(super) fn check_lost_seq(&mut self) {
        if self.journal.lost() == 0 {
            return;
        }
        let author = self.journal.author();
        let next = self.tree.next_seq(&author);
        let is_stuck = self.journal.is_lost(next) && !self.mempool.has_place(&author, next);
        // Alone, or while catching up, the chain may have it all the same; but no peer keeps this waiting forever.
        if !is_stuck || self.peers.is_empty() {
            self.lost_seq_since = None;
            return;
        }
        let since = *self.lost_seq_since.get_or_insert(self.now);
        if self.is_lost_at(since) <= self.now && self.recording.writing.is_none() {
            self.lost_seq_since = None;
            self.replace_key();
        }
    }

    /// From when on a reading that the chain has waited for since then is done without.
    fn is_lost_at(&self, since: MonotonicMillis) -> MonotonicMillis {
        let patience = if self.is_fetching() {
            MAX_LOST_SEQ_PATIENCE
        } else {
            LOST_SEQ_PATIENCE
        };
        since.saturating_add(patience)
    }

    /// The same for a retired key: what it signed behind a seq whose reading nobody has is signed again by the present
    /// one. That seq's entry is lost, or was signed again when another peer's reading had its place, and that one is gone.
    pub(super) fn check_stuck_era(&mut self) {
        let stuck = self.stuck_era().filter(|_| !self.peers.is_empty());
        let Some((from, until)) = stuck else {
            self.stuck_era_since = None;
            return;
        };
        let same = self.stuck_era_since.filter(|(era, _)| *era == from);
        let (_, since) = *self
            .stuck_era_since
            .insert(same.unwrap_or((from, self.now)));
        if self.is_lost_at(since) <= self.now && self.recording.writing.is_none() {
            let unlinked = self.journal.unlinked_from(from);
            let again = unlinked
                .take_while(|position| *position < until)
                .take(MAX_CONTESTED_CHECKED)
                .filter_map(|position| self.resigned(position))
                .collect();
            self.sign_again(again);
        }
    }

    /// The positions of the first retired key whose next reading is neither ours to offer nor offered by others.
    fn stuck_era(&self) -> Option<(u64, u64)> {
        let is_stuck = |era: &&Era| {
            let next = self.tree.next_seq(&era.author);
            let waits = self.mempool.has_place(&era.author, next);
            !waits && !self.journal.is_unlinked(era.from.saturating_add(next))
        };
        let mut eras = self.journal.unlinked_eras().take(MAX_ERAS_CHECKED);
        eras.find(is_stuck).map(|era| (era.from, era.until))
    }

    /// Whether a foreign reading has been on the best branch for so long that it will hardly leave it.
    fn is_certain(&self, foreign: &ForeignReading) -> bool {
        self.tree.tip().index >= foreign.seen_index.saturating_add(FOREIGN_DEPTH)
            || foreign.is_certain_at() <= self.now
    }

    /// What retired keys signed is signed again once another reading has its place for good.
    pub(super) fn check_retired(&mut self) {
        if self.recording.writing.is_some() {
            return;
        }
        let again: Vec<JournalEntry> = self
            .journal
            .contested()
            .take(MAX_CONTESTED_CHECKED)
            .filter(|(_, foreign)| self.is_certain(foreign))
            .filter_map(|(position, _)| self.resigned(position))
            .collect();
        self.sign_again(again);
    }

    fn sign_again(&mut self, again: Vec<JournalEntry>) {
        if again.is_empty() {
            return;
        }
        let operations = (self.journal.len()..)
            .zip(&again)
            .map(|(position, entry)| StoreOperation::PutJournal(position, *entry))
            .collect();
        let id = self.write(operations, true);
        self.recording.writing = Some((id, Writing::Again(again)));
    }

    /// The entry that stands for this one at a later position.
    fn resigned(&self, position: u64) -> Option<JournalEntry> {
        let Entry { time, bpm } = self.journal.entry(position)?;
        Some(JournalEntry {
            time,
            bpm,
            resigns: Some(position),
        })
    }

    /// What retired keys signed and the best branch lacks is offered again, as much as one author may have waiting.
    pub(super) fn refill_retired(&mut self) {
        let room = self.tree.room().id();
        let mut at = 0;
        loop {
            let first = self.journal.unlinked_from(at).next();
            let Some(first) = first else {
                return;
            };
            let Some(era) = self.journal.era_of(first).cloned() else {
                return;
            };
            let next = self.tree.next_seq(&era.author);
            let from = era.from.saturating_add(next);
            let until = era.until.min(from.saturating_add(MAX_AHEAD));
            let lacking: Vec<u64> = self
                .journal
                .unlinked_from(from)
                .take_while(|position| *position < until)
                .collect();
            for position in lacking {
                let seq = position - era.from;
                let Some(Entry { time, bpm }) = self.journal.entry(position) else {
                    continue;
                };
                if self.mempool.has_place(&era.author, seq) {
                    continue;
                }
                let reading = era.key.sign(room, seq, time, bpm);
                if !self.return_to_mempool(&reading) {
                    break;
                }
            }
            at = era.until.max(first.saturating_add(1));
        }
    }

    /// The fresh key signs only once it is on disk; what it signs again is journalled again behind it.
    fn replace_key(&mut self) {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let author = self.journal.author();
        let era = self.journal.present();
        let missing: Vec<JournalEntry> = (era.from..era.until)
            .filter(|position| {
                let seq = position - era.from;
                let linked = self.tree.linked_prefix(&author, seq);
                !self.journal.is_own(seq, linked) && self.journal.is_current(*position)
            })
            .filter_map(|position| self.resigned(position))
            .collect();
        let from = self.journal.len();
        let mut operations = alloc::vec![StoreOperation::PutKey(seed, from)];
        operations.extend(
            (from..)
                .zip(&missing)
                .map(|(position, entry)| StoreOperation::PutJournal(position, *entry)),
        );
        let id = self.write(operations, true);
        self.recording.writing = Some((
            id,
            Writing::Key(Box::new(SecretKey::from_seed(seed)), missing),
        ));
    }

    /// The disk refused a fresh key, or entries that were to be signed again: tried again soon.
    pub(super) fn retry_conflict(&mut self) {
        let patience = FOREIGN_PATIENCE.saturating_sub(JOURNAL_RETRY);
        let seen_at = self.now.saturating_sub(patience);
        let seen = ForeignReading {
            seen_at,
            ..self.seen_now()
        };
        self.journal.see_again(seen);
        self.stuck_era_since = None;
    }

    /// A fresh key signs from here on.
    pub(super) fn take_key(&mut self, key: SecretKey) {
        let author = key.author();
        let heights = self.tree.heights_of(&author);
        let retired = self.journal.retired();
        self.journal.begin_era(key, heights);
        self.mempool.set_own(author);
        let seen = self.seen_now();
        let tree = &self.tree;
        let linked = |author: &chain::key::Author, seq| tree.linked_prefix(author, seq);
        self.journal.compare(retired, linked, seen);
    }

    /// Looks for readings by our keys on the best branch that the journal lacks, after a start from disk.
    pub(super) fn look_for_foreign(&mut self) {
        let seen = self.seen_now();
        let author = self.journal.author();
        for seq in 0..self.tree.next_seq(&author) {
            if let Some(prefix) = self.tree.linked_prefix(&author, seq) {
                self.journal.note_linked(&author, seq, prefix, seen);
            }
        }
        for era in 0..self.journal.retired() {
            let tree = &self.tree;
            let linked = |author: &chain::key::Author, seq| tree.linked_prefix(author, seq);
            self.journal.compare(era, linked, seen);
        }
    }
}
