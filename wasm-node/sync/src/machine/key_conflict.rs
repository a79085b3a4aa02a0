//! Resolving key conflicts: our key also signs elsewhere (a restored backup, a copied profile), or the chain
//! waits for the sequence number of a lost entry.
//!
//! Once a conflict is certain, a fresh key takes over and signs again what the chain lacks. Readings of retired
//! keys are tracked forever, because they can leave the chain again.

use alloc::vec::Vec;
use core::fmt::Debug;

use heartchain_chain::{content::Measurement, time::MonotonicMillis};
use rand_core::Rng;

use super::{
    context::Context,
    journal::Journal,
    journal_entry::{ForeignReading, KeyEra},
};
use crate::{
    config::{
        FOREIGN_DEPTH, FOREIGN_PATIENCE, JOURNAL_RETRY, LOST_SEQ_PATIENCE, MAX_CONTESTED_CHECKED,
        MAX_ERAS_CHECKED, MAX_LOST_SEQ_PATIENCE,
    },
    io::JournalEntry,
};

/// Since when the chain has been waiting for readings that no peer has.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyConflict {
    /// The reading of a lost entry of the current key.
    lost_seq_since: Option<MonotonicMillis>,
    /// The same for a retired key, with the first journal position of its era.
    stuck_era_since: Option<(u64, MonotonicMillis)>,
}

/// How a conflict is resolved. It takes effect once it is on disk.
#[derive(Debug)]
pub(super) enum Resolution {
    /// A fresh key takes over, and signs these entries again.
    ReplaceKey {
        /// The Ed25519 seed of the fresh key.
        seed: [u8; 32],
        entries: Vec<JournalEntry>,
    },
    /// The current key signs these entries of retired keys again.
    SignAgain(Vec<JournalEntry>),
}

/// What the checks look at.
#[derive(Debug)]
pub(super) struct Circumstances<'a, P> {
    pub(super) ctx: &'a mut Context<P>,
    pub(super) journal: &'a mut Journal,
    /// Whether the journal can be written to. Otherwise the checks only measure how long a conflict has lasted.
    pub(super) is_idle: bool,
    /// Whether bodies of a better branch are arriving.
    pub(super) is_fetching: bool,
}

impl KeyConflict {
    /// Looks for conflicts. Returns at most one resolution, because the journal has one write at a time.
    pub(super) fn poll<P: Copy + Ord + Debug>(
        &mut self,
        mut at: Circumstances<'_, P>,
    ) -> Option<Resolution> {
        let mut found = check_foreign(&mut at);
        at.is_idle &= found.is_none();
        found = found.or(self.check_lost_seq(&mut at));
        at.is_idle &= found.is_none();
        found = found.or(check_retired(&at));
        at.is_idle &= found.is_none();
        found.or(self.check_stuck_era(&mut at))
    }

    /// When a conflict is certain, or is given up.
    pub(super) fn next_deadline(
        &self,
        journal: &Journal,
        is_fetching: bool,
    ) -> Option<MonotonicMillis> {
        // Few entries have the earliest time, and a conflict is resolved as a whole, so the first one will do.
        let contested = journal.contested().map(|(_, foreign)| foreign).next();
        let deadline = |since| lost_seq_deadline(since, is_fetching);
        [
            contested.map(|foreign| foreign.is_certain_at()),
            journal.foreign().map(|foreign| foreign.is_certain_at()),
            self.lost_seq_since.map(deadline),
            self.stuck_era_since.map(|(_, since)| deadline(since)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Replaces our key if the chain waits for the reading of a lost entry that no peer has. No later reading
    /// of this key could be mined.
    fn check_lost_seq<P: Copy + Ord + Debug>(
        &mut self,
        at: &mut Circumstances<'_, P>,
    ) -> Option<Resolution> {
        let (ctx, journal) = (&mut *at.ctx, &*at.journal);
        if journal.lost() == 0 {
            return None;
        }
        let author = journal.author();
        let next = ctx.tree.next_seq(&author);
        let is_stuck = journal.is_lost(next) && !ctx.mempool.contains_seq(&author, next);
        // Without peers or during a catch-up, the chain may turn out to have the reading. But peers cannot
        // delay this forever.
        if !is_stuck || ctx.peers.is_empty() {
            self.lost_seq_since = None;
            return None;
        }
        let since = *self.lost_seq_since.get_or_insert(ctx.now());
        if lost_seq_deadline(since, at.is_fetching) > ctx.now() || !at.is_idle {
            return None;
        }
        self.lost_seq_since = None;
        Some(replace_key(ctx, journal))
    }

    /// Signs entries of a retired key again with the current key if the chain waits for an earlier reading of the
    /// retired key that no peer has. The entry of that reading is lost, or it was signed again because a foreign
    /// reading had its sequence number, and the foreign reading is gone.
    fn check_stuck_era<P: Copy + Ord + Debug>(
        &mut self,
        at: &mut Circumstances<'_, P>,
    ) -> Option<Resolution> {
        let (ctx, journal) = (&mut *at.ctx, &*at.journal);
        let stuck = stuck_era(ctx, journal).filter(|_| !ctx.peers.is_empty());
        let Some((from, until)) = stuck else {
            self.stuck_era_since = None;
            return None;
        };
        let same = self.stuck_era_since.filter(|(era, _)| *era == from);
        let stuck_since = same.unwrap_or((from, ctx.now()));
        let (_, since) = *self.stuck_era_since.insert(stuck_since);
        if lost_seq_deadline(since, at.is_fetching) > ctx.now() || !at.is_idle {
            return None;
        }
        let unlinked = journal.unlinked_from(from);
        let entries: Vec<JournalEntry> = unlinked
            .take_while(|position| *position < until)
            .take(MAX_CONTESTED_CHECKED)
            .filter_map(|position| entry_again(journal, position))
            .collect();
        sign_again(entries)
    }

    /// Retries soon after the disk refused a fresh key or entries to be signed again.
    pub(super) fn retry<P: Copy + Ord + Debug>(&mut self, ctx: &Context<P>, journal: &mut Journal) {
        let patience = FOREIGN_PATIENCE.saturating_sub(JOURNAL_RETRY);
        let seen_at = ctx.now().saturating_sub(patience);
        let seen = seen_now(ctx);
        journal.restart_foreign_wait(ForeignReading { seen_at, ..seen });
        self.stuck_era_since = None;
    }
}

/// A foreign reading seen now, with the sequence number still to be filled in.
pub(super) fn seen_now<P: Copy + Ord + Debug>(ctx: &Context<P>) -> ForeignReading {
    ForeignReading {
        seq: 0,
        seen_index: ctx.tree.tip().index,
        seen_at: ctx.now(),
    }
}

/// Replaces our key once it is certain that it also signs elsewhere. The fresh key signs again what the
/// chain lacks.
fn check_foreign<P: Copy + Ord + Debug>(at: &mut Circumstances<'_, P>) -> Option<Resolution> {
    let (ctx, journal) = (&mut *at.ctx, &mut *at.journal);
    let foreign = journal.foreign()?;
    let author = journal.author();
    let is_foreign = |seq: &u64| {
        let linked = ctx.tree.best_prefix(&author, *seq);
        linked.is_some() && !journal.is_own(*seq, linked)
    };
    if !is_foreign(&foreign.seq) {
        // The identical reading has been recorded here since; later ones may be foreign.
        let mut later = foreign.seq..ctx.tree.next_seq(&author);
        let seen = seen_now(ctx);
        let next = later.find(is_foreign);
        journal.set_foreign(next.map(|seq| ForeignReading { seq, ..seen }));
        return None;
    }
    (at.is_idle && is_certain(ctx, &foreign)).then(|| replace_key(ctx, journal))
}

/// Signs readings of retired keys again if a foreign reading has had their sequence number for long enough.
fn check_retired<P: Copy + Ord + Debug>(at: &Circumstances<'_, P>) -> Option<Resolution> {
    let (ctx, journal) = (&*at.ctx, &*at.journal);
    if !at.is_idle {
        return None;
    }
    let entries: Vec<JournalEntry> = journal
        .contested()
        .take(MAX_CONTESTED_CHECKED)
        .filter(|(_, foreign)| is_certain(ctx, foreign))
        .filter_map(|(position, _)| entry_again(journal, position))
        .collect();
    sign_again(entries)
}

/// When to give up on a reading that the chain has been waiting for since then.
const fn lost_seq_deadline(since: MonotonicMillis, is_fetching: bool) -> MonotonicMillis {
    since.saturating_add(if is_fetching {
        MAX_LOST_SEQ_PATIENCE
    } else {
        LOST_SEQ_PATIENCE
    })
}

/// The era of the first retired key whose next reading is neither ours to offer nor in the mempool.
fn stuck_era<P>(ctx: &Context<P>, journal: &Journal) -> Option<(u64, u64)> {
    let is_stuck = |era: &&KeyEra| {
        let next = ctx.tree.next_seq(&era.author);
        let waits = ctx.mempool.contains_seq(&era.author, next);
        !waits && !journal.is_unlinked(era.from.saturating_add(next))
    };
    let mut eras = journal.unlinked_eras().take(MAX_ERAS_CHECKED);
    eras.find(is_stuck).map(|era| (era.from, era.until))
}

/// Whether a foreign reading has been on the best branch for so long that it is unlikely to leave it.
fn is_certain<P: Copy + Ord + Debug>(ctx: &Context<P>, foreign: &ForeignReading) -> bool {
    ctx.tree.tip().index >= foreign.seen_index.saturating_add(FOREIGN_DEPTH)
        || foreign.is_certain_at() <= ctx.now()
}

/// A fresh key, with the entries of the current one that the best branch lacks.
fn replace_key<P: Copy + Ord + Debug>(ctx: &mut Context<P>, journal: &Journal) -> Resolution {
    let mut seed = [0; 32];
    ctx.rng.fill_bytes(&mut seed);
    let author = journal.author();
    let era = journal.current();
    let entries = (era.from..era.until)
        .filter(|position| {
            let seq = position - era.from;
            let linked = ctx.tree.best_prefix(&author, seq);
            !journal.is_own(seq, linked) && journal.is_current(*position)
        })
        .filter_map(|position| entry_again(journal, position))
        .collect();
    Resolution::ReplaceKey { seed, entries }
}

fn sign_again(entries: Vec<JournalEntry>) -> Option<Resolution> {
    (!entries.is_empty()).then_some(Resolution::SignAgain(entries))
}

/// The entry that replaces the one at this position.
fn entry_again(journal: &Journal, position: u64) -> Option<JournalEntry> {
    let Measurement { time, bpm } = journal.entry(position)?;
    Some(JournalEntry {
        time,
        bpm,
        replaces: Some(position),
        prefix: None,
    })
}
