//! Readings whose place the best branch gave to another of the same author: kept for a while, in case it changes.

use alloc::vec::Vec;

use super::{ASIDE_BLOCKS, MAX_ASIDE, Mempool};
use crate::{hash::ReadingId, key::Author, reading::Reading};

impl Mempool {
    /// Keeps a reading whose place the branch gave to another. Returns `false` if there is no room for it.
    #[must_use]
    pub fn set_aside(&mut self, reading: &Reading, id: ReadingId, tip_index: u64) -> bool {
        let room = self.aside.len() < MAX_ASIDE || self.aside.contains_key(&id);
        if room {
            self.aside.entry(id).or_insert((*reading, tip_index));
        }
        room
    }

    /// How many readings are set aside.
    #[must_use]
    pub fn aside(&self) -> usize {
        self.aside.len()
    }

    /// Readings set aside whose place is free again, and those set aside for too long: both are taken out,
    /// the former are returned.
    pub fn take_revivable(
        &mut self,
        tip_index: u64,
        next_seq: impl Fn(&Author) -> u64,
    ) -> Vec<Reading> {
        self.aside
            .retain(|_, (_, since)| tip_index.saturating_sub(*since) <= ASIDE_BLOCKS);
        let free: Vec<ReadingId> = self
            .aside
            .iter()
            .filter(|(_, (reading, _))| reading.seq >= next_seq(&reading.author))
            .map(|(id, _)| *id)
            .collect();
        free.iter()
            .filter_map(|id| self.aside.remove(id))
            .map(|(reading, _)| reading)
            .collect()
    }
}
