//! Displaced readings: the best branch contains another reading with the same author and `seq`. They are kept for a
//! while, because a reorganization can make them valid again.

use alloc::vec::Vec;

use super::pool::Mempool;
use crate::{hash::ReadingId, key::Author, reading::Reading};

/// Maximum number of displaced readings: 200 KB. The best branch contains another reading with the same author and
/// `seq`, which a reorganization can undo.
pub const MAX_DISPLACED: usize = 1_024;
/// Number of blocks after which a displaced reading is dropped.
pub const DISPLACED_BLOCKS: u64 = 1_000;

impl Mempool {
    /// Keeps a displaced reading. Returns `false` if there are [`MAX_DISPLACED`] already.
    #[must_use]
    pub fn keep_displaced(&mut self, reading: &Reading, id: ReadingId, tip_index: u64) -> bool {
        let has_room = self.displaced.len() < MAX_DISPLACED || self.displaced.contains_key(&id);
        if has_room {
            self.displaced.entry(id).or_insert((*reading, tip_index));
        }
        has_room
    }

    /// Number of displaced readings.
    #[must_use]
    pub fn displaced_len(&self) -> usize {
        self.displaced.len()
    }

    /// Removes and returns the displaced readings whose `seq` is free again on the best branch, and drops those
    /// displaced more than [`DISPLACED_BLOCKS`] ago.
    pub fn take_minable_displaced(
        &mut self,
        tip_index: u64,
        next_seq: impl Fn(&Author) -> u64,
    ) -> Vec<Reading> {
        self.displaced
            .retain(|_, (_, since)| tip_index.saturating_sub(*since) <= DISPLACED_BLOCKS);
        let free: Vec<ReadingId> = self
            .displaced
            .iter()
            .filter(|(_, (reading, _))| reading.seq >= next_seq(&reading.author))
            .map(|(id, _)| *id)
            .collect();
        free.iter()
            .filter_map(|id| self.displaced.remove(id))
            .map(|(reading, _)| reading)
            .collect()
    }
}
