//! When one's own key signs elsewhere too: a restored backup, a copied profile.
//!
//! Once that is certain, a fresh key takes over and signs anew what the chain lacks. What former keys signed is looked
//! after for good: it can leave the chain again.

use alloc::{boxed::Box, vec::Vec};
use core::fmt::Debug;

use chain::{
    key::{Author, SecretKey},
    mempool::MAX_PER_AUTHOR,
    reading::Reading,
    time::UnixMillis,
    tree::IdPrefix,
};
use rand_core::Rng;

use super::{
    Machine,
    own::{Own, Signed, Writing},
};
use crate::{
    config::{FOREIGN_DEPTH, FOREIGN_PATIENCE, JOURNAL_RETRY},
    seam::{JournalEntry, StoreOperation},
};

/// A reading by our key that we did not record, on the best branch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Foreign {
    seq: u64,
    seen_index: u64,
    seen_at: UnixMillis,
}

/// A journal entry that a former key signed and the chain took.
#[derive(Clone, Debug)]
pub(super) struct Former {
    /// Which of the former keys, and the entry's place in its count.
    pub(super) key: usize,
    pub(super) seq: u64,
    pub(super) signed: Signed,
    /// Since when another reading stands in its place.
    lost: Option<Foreign>,
}

impl Own {
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
        let lost = self.former.values().filter_map(|former| former.lost);
        lost.chain(self.foreign)
            .map(|foreign| foreign.seen_at.saturating_add(FOREIGN_PATIENCE))
            .min()
    }

    fn prefix_at(&self, seq: u64) -> Option<IdPrefix> {
        self.signed
            .get(usize::try_from(seq).ok()?)
            .map(|signed| signed.prefix)
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Our key signs elsewhere too: once that is certain, what the chain lacks is signed with a fresh one.
    pub(super) fn check_foreign(&mut self) {
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
    pub(super) fn check_former(&mut self) {
        let due = |former: &Former| former.lost.is_some_and(|lost| self.is_certain(&lost));
        if !self.own.refill && !self.own.former.values().any(due) {
            return;
        }
        let mut former = core::mem::take(&mut self.own.former);
        let tip = self.tree.tip().index;
        let free = self.own.writing.is_none();
        let again = former.extract_if(.., |_, former| {
            let linked = self
                .former_author(former.key)
                .and_then(|author| self.tree.linked_prefix(&author, former.seq));
            if linked.is_none_or(|prefix| prefix == former.signed.prefix) {
                former.lost = None;
                return false;
            }
            let lost = former.lost.get_or_insert(Foreign {
                seq: former.seq,
                seen_index: tip,
                seen_at: self.now,
            });
            free && self.is_certain(lost)
        });
        let again: Vec<Former> = again.map(|(_, former)| former).collect();
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

    /// What former keys signed and the best branch lacks is offered again, as much as one author may have waiting.
    pub(super) fn refill_former(&mut self) {
        let (tree, mempool) = (&self.tree, &self.mempool);
        let places = self.own.former.values().filter_map(|former| {
            let key = self.own.former_keys.get(former.key)?;
            let author = key.author();
            let lacks =
                former.seq >= tree.next_seq(&author) && !mempool.has_place(&author, former.seq);
            lacks.then_some((key, former))
        });
        let room = tree.room().id();
        let readings: Vec<Reading> = places
            .take(MAX_PER_AUTHOR)
            .map(|(key, former)| {
                let JournalEntry { time, bpm } = former.signed.entry;
                key.sign(room, former.seq, time, bpm)
            })
            .collect();
        for reading in readings {
            self.return_to_mempool(&reading);
        }
    }

    fn former_author(&self, key: usize) -> Option<Author> {
        self.own.former_keys.get(key).map(SecretKey::author)
    }

    /// The fresh key signs only once it is on disk; what it signs again is journalled again behind it.
    fn replace_key(&mut self) {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let author = self.own.author;
        let missing: Vec<JournalEntry> = (0..)
            .zip(&self.own.signed)
            .filter(|(seq, signed)| self.tree.linked_prefix(&author, *seq) != Some(signed.prefix))
            .map(|(_, signed)| signed.entry)
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

    /// The disk refused the fresh key: tried again soon.
    pub(super) fn retry_key(&mut self) {
        let (seen_at, seen_index) = self.seen_for_a_retry();
        if let Some(foreign) = &mut self.own.foreign {
            (foreign.seen_at, foreign.seen_index) = (seen_at, seen_index);
        }
    }

    /// The disk refused entries that were to be signed anew: tried again soon.
    pub(super) fn retry_again(&mut self, again: Vec<Former>) {
        let (seen_at, seen_index) = self.seen_for_a_retry();
        for mut former in again {
            if let Some(lost) = &mut former.lost {
                (lost.seen_at, lost.seen_index) = (seen_at, seen_index);
            }
            self.own.former.insert(former.signed.entry.time, former);
        }
    }

    /// Since when, and at which height, something must have been seen to be certain when the retry is due.
    fn seen_for_a_retry(&self) -> (UnixMillis, u64) {
        let patience = FOREIGN_PATIENCE.saturating_sub(JOURNAL_RETRY);
        (self.now.saturating_sub(patience), self.tree.tip().index)
    }

    /// `again`: the entries that the fresh key signs in the old one's place.
    pub(super) fn take_key(&mut self, key: SecretKey, again: &[JournalEntry]) {
        let mut again: Vec<UnixMillis> = again.iter().map(|entry| entry.time).collect();
        again.sort_unstable();
        let former = core::mem::replace(&mut self.own.key, key);
        let number = self.own.former_keys.len();
        self.own.former_keys.push(former);
        self.own.author = self.own.key.author();
        let heights = self.tree.heights_of(&self.own.author);
        self.own.places.follow(self.own.author, heights);
        let signed = core::mem::take(&mut self.own.signed);
        let kept = (0..)
            .zip(signed)
            .filter(|(_, signed)| again.binary_search(&signed.entry.time).is_err())
            .map(|(seq, signed)| {
                let former = Former {
                    key: number,
                    seq,
                    signed,
                    lost: None,
                };
                (signed.entry.time, former)
            });
        self.own.former.extend(kept);
        self.own.foreign = None;
        self.mempool.set_own(self.own.author);
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
