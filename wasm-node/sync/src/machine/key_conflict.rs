//! Resolving key conflicts: our key also signs elsewhere (a restored backup, a copied profile), or the chain
//! waits for the sequence number of a lost entry.
//!
//! Once a conflict is certain, a fresh key takes over and signs again what the chain lacks. Readings of retired
//! keys are tracked forever, because they can leave the chain again.

use alloc::{boxed::Box, vec::Vec};
use core::fmt::Debug;

use heartchain_chain::{key::SecretKey, mempool::MAX_AHEAD, time::MonotonicMillis};
use rand_core::Rng;

use super::{
    Machine,
    journal::{Entry, JournalWrite, KeyEra},
};
use crate::{
    config::{
        FOREIGN_DEPTH, FOREIGN_PATIENCE, JOURNAL_RETRY, LOST_SEQ_PATIENCE, MAX_CONTESTED_CHECKED,
        MAX_ERAS_CHECKED, MAX_LOST_SEQ_PATIENCE,
    },
    io::{JournalEntry, StoreOperation},
};

/// A reading on the best branch that has our key but was not recorded here.
#[derive(Clone, Copy, Debug)]
pub(super) struct ForeignReading {
    pub(super) seq: u64,
    /// The best branch's height when the reading was first seen.
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
        // Few entries have the earliest time, and a conflict is resolved as a whole, so the first one will do.
        let contested = self.journal.contested().map(|(_, foreign)| foreign).next();
        [
            contested.map(|foreign| foreign.is_certain_at()),
            self.journal.foreign.map(|foreign| foreign.is_certain_at()),
            self.lost_seq_since
                .map(|since| self.lost_seq_deadline(since)),
            self.stuck_era_since
                .map(|(_, since)| self.lost_seq_deadline(since)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// A foreign reading seen now, with the sequence number still to be filled in.
    pub(super) fn seen_now(&self) -> ForeignReading {
        ForeignReading {
            seq: 0,
            seen_index: self.tree.tip().index,
            seen_at: self.now,
        }
    }

    /// Replaces our key once it is certain that it also signs elsewhere. The fresh key signs again what the
    /// chain lacks.
    pub(super) fn check_foreign_reading(&mut self) {
        let Some(foreign) = self.journal.foreign else {
            return;
        };
        let author = self.journal.author();
        let is_foreign = |seq: &u64| {
            let linked = self.tree.best_prefix(&author, *seq);
            linked.is_some() && !self.journal.is_own(*seq, linked)
        };
        if !is_foreign(&foreign.seq) {
            // The identical reading has been recorded here since; later ones may be foreign.
            let mut later = foreign.seq..self.tree.next_seq(&author);
            let seen = self.seen_now();
            let next = later.find(is_foreign);
            self.journal.foreign = next.map(|seq| ForeignReading { seq, ..seen });
            return;
        }
        if self.recording.writing.is_none() && self.is_certain(&foreign) {
            self.replace_key();
        }
    }

    /// Replaces our key if the chain waits for the reading of a lost entry that no peer has. No later reading
    /// of this key could be mined.
    pub(super) fn check_lost_seq(&mut self) {
        if self.journal.lost() == 0 {
            return;
        }
        let author = self.journal.author();
        let next = self.tree.next_seq(&author);
        let is_stuck = self.journal.is_lost(next) && !self.mempool.contains_seq(&author, next);
        // Without peers or during a catch-up, the chain may turn out to have the reading. But peers cannot
        // delay this forever.
        if !is_stuck || self.peers.is_empty() {
            self.lost_seq_since = None;
            return;
        }
        let since = *self.lost_seq_since.get_or_insert(self.now);
        if self.lost_seq_deadline(since) <= self.now && self.recording.writing.is_none() {
            self.lost_seq_since = None;
            self.replace_key();
        }
    }

    /// When to give up on a reading that the chain has been waiting for since then.
    fn lost_seq_deadline(&self, since: MonotonicMillis) -> MonotonicMillis {
        let patience = if self.is_fetching() {
            MAX_LOST_SEQ_PATIENCE
        } else {
            LOST_SEQ_PATIENCE
        };
        since.saturating_add(patience)
    }

    /// Signs entries of a retired key again with the current key if the chain waits for an earlier reading of the
    /// retired key that no peer has. The entry of that reading is lost, or it was signed again because a foreign
    /// reading had its sequence number, and the foreign reading is gone.
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
        if self.lost_seq_deadline(since) <= self.now && self.recording.writing.is_none() {
            let unlinked = self.journal.unlinked_from(from);
            let re_signed = unlinked
                .take_while(|position| *position < until)
                .take(MAX_CONTESTED_CHECKED)
                .filter_map(|position| self.re_signed_entry(position))
                .collect();
            self.re_sign(re_signed);
        }
    }

    /// The era of the first retired key whose next reading is neither ours to offer nor in the mempool.
    fn stuck_era(&self) -> Option<(u64, u64)> {
        let is_stuck = |era: &&KeyEra| {
            let next = self.tree.next_seq(&era.author);
            let waits = self.mempool.contains_seq(&era.author, next);
            !waits && !self.journal.is_unlinked(era.from.saturating_add(next))
        };
        let mut eras = self.journal.unlinked_eras().take(MAX_ERAS_CHECKED);
        eras.find(is_stuck).map(|era| (era.from, era.until))
    }

    /// Whether a foreign reading has been on the best branch for so long that it is unlikely to leave it.
    fn is_certain(&self, foreign: &ForeignReading) -> bool {
        self.tree.tip().index >= foreign.seen_index.saturating_add(FOREIGN_DEPTH)
            || foreign.is_certain_at() <= self.now
    }

    /// Signs readings of retired keys again if a foreign reading has had their sequence number for long enough.
    pub(super) fn check_retired(&mut self) {
        if self.recording.writing.is_some() {
            return;
        }
        let re_signed: Vec<JournalEntry> = self
            .journal
            .contested()
            .take(MAX_CONTESTED_CHECKED)
            .filter(|(_, foreign)| self.is_certain(foreign))
            .filter_map(|(position, _)| self.re_signed_entry(position))
            .collect();
        self.re_sign(re_signed);
    }

    fn re_sign(&mut self, re_signed: Vec<JournalEntry>) {
        if re_signed.is_empty() {
            return;
        }
        let operations = (self.journal.len()..)
            .zip(&re_signed)
            .map(|(position, entry)| StoreOperation::PutJournal(position, *entry))
            .collect();
        let id = self.write(operations, true);
        self.recording.writing = Some((id, JournalWrite::ReSigned(re_signed)));
    }

    /// The entry that replaces the one at this position.
    fn re_signed_entry(&self, position: u64) -> Option<JournalEntry> {
        let Entry { time, bpm } = self.journal.entry(position)?;
        Some(JournalEntry {
            time,
            bpm,
            replaces: Some(position),
        })
    }

    /// Offers readings of retired keys that the best branch lacks, up to the mempool's limit per author.
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
                if self.mempool.contains_seq(&era.author, seq) {
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

    /// Writes a fresh key, followed by the entries that it signs again. The key signs only once it is on disk.
    fn replace_key(&mut self) {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let author = self.journal.author();
        let era = self.journal.current();
        let missing: Vec<JournalEntry> = (era.from..era.until)
            .filter(|position| {
                let seq = position - era.from;
                let linked = self.tree.best_prefix(&author, seq);
                !self.journal.is_own(seq, linked) && self.journal.is_current(*position)
            })
            .filter_map(|position| self.re_signed_entry(position))
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
            JournalWrite::Key(Box::new(SecretKey::from_seed(seed)), missing),
        ));
    }

    /// Retries soon after the disk refused a fresh key or entries to be signed again.
    pub(super) fn retry_conflict(&mut self) {
        let patience = FOREIGN_PATIENCE.saturating_sub(JOURNAL_RETRY);
        let seen_at = self.now.saturating_sub(patience);
        let seen = ForeignReading {
            seen_at,
            ..self.seen_now()
        };
        self.journal.restart_foreign_wait(seen);
        self.stuck_era_since = None;
    }

    /// A fresh key signs from the next journal entry on.
    pub(super) fn switch_key(&mut self, key: SecretKey) {
        let author = key.author();
        let heights = self.tree.heights_of(&author);
        let retired = self.journal.retired();
        self.journal.begin_era(key, heights);
        self.mempool.set_own(author);
        let seen = self.seen_now();
        let tree = &self.tree;
        let linked = |author: &heartchain_chain::key::Author, seq| tree.best_prefix(author, seq);
        self.journal.compare_era(retired, linked, seen);
    }

    /// After a start from disk, looks for readings by our keys on the best branch that are not in the journal.
    pub(super) fn scan_for_foreign_readings(&mut self) {
        let seen = self.seen_now();
        let author = self.journal.author();
        for seq in 0..self.tree.next_seq(&author) {
            if let Some(prefix) = self.tree.best_prefix(&author, seq) {
                self.journal.on_linked(&author, seq, prefix, seen);
            }
        }
        for era in 0..self.journal.retired() {
            let tree = &self.tree;
            let linked =
                |author: &heartchain_chain::key::Author, seq| tree.best_prefix(author, seq);
            self.journal.compare_era(era, linked, seen);
        }
    }
}
