//! Everything that waits for a block, for exports: the mempool has room for some readings of an author only, the disk for all.

use alloc::vec::Vec;
use core::fmt::Debug;

use heartchain_chain::{
    content::Measurement,
    key::{Author, SecretKey},
    reading::Reading,
    room::Room,
};

use crate::machine::Machine;

/// Readings that are in no block of the best branch.
#[derive(Clone, Debug, Default)]
pub struct Waiting {
    /// Those of the mempool, and those of others that are kept until they are confirmed.
    pub readings: Vec<Reading>,
    /// Those that were recorded here and that the mempool has no room for, by key and in order.
    own: Vec<(SecretKey, Vec<(u64, Measurement)>)>,
    /// Readings that were recorded here and whose number another reading has on the best branch. They are signed again with another
    /// key if that stays so, and cannot be in a file before.
    pub contested: usize,
}

impl Waiting {
    /// How many readings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let own = self.own.iter().map(|(_, entries)| entries.len());
        self.readings.len() + own.sum::<usize>()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All readings. Those that were recorded here are signed when their turn comes: some 10 µs each.
    pub fn iter(&self, room: &Room) -> impl Iterator<Item = Reading> {
        let own = self.own.iter().flat_map(move |(key, entries)| {
            let signed = entries
                .iter()
                .map(move |(seq, entry)| room.sign(key, *seq, *entry));
            signed.flatten()
        });
        self.readings.iter().copied().chain(own)
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Everything that waits for a block, on disk or in the mempool.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        let ctx = &self.parts.ctx;
        let journal = self.parts.recorder.journal();
        // A file may have brought readings of an earlier key of our own.
        let is_journaled = |author: &Author, seq: u64| {
            let mut eras = journal.eras().filter(|era| era.author == *author);
            eras.any(|era| {
                let position = era.from.saturating_add(seq);
                position < era.until
                    && journal.is_current(position)
                    && journal.entry(position).is_some()
            })
        };
        let mut readings: Vec<Reading> = ctx.mempool.iter().copied().collect();
        let adopted = self.parts.adopted.iter().filter(|reading| {
            let Reading { author, seq, .. } = **reading;
            seq >= ctx.tree.next_seq(&author)
                && !ctx.mempool.contains_seq(&author, seq)
                && !is_journaled(&author, seq)
        });
        readings.extend(adopted.copied());
        let mut waiting = Waiting {
            readings,
            ..Waiting::default()
        };
        for era in journal.eras() {
            let next = ctx.tree.next_seq(&era.author);
            let positions = era.from.saturating_add(next)..era.until;
            let entries = positions
                .filter(|position| journal.is_current(*position))
                .map(|position| (position - era.from, journal.entry(position)))
                .filter(|(seq, _)| !ctx.mempool.contains_seq(&era.author, *seq))
                .filter_map(|(seq, entry)| Some((seq, entry?)));
            let entries: Vec<_> = entries.collect();
            if !entries.is_empty() {
                waiting.own.push((era.key.clone(), entries));
            }
        }
        let own = journal.author();
        let linked = |seq| ctx.tree.best_prefix(&own, seq);
        waiting.contested = journal.contested_entries(ctx.tree.next_seq(&own), linked);
        waiting
    }
}
