//! How far the best branch is confirmed, and how far it is buried: which readings of an author can be relied on.
//!
//! When a block is confirmed depends on the clock, so the caller decides it.

use super::{
    node::{Body, Slot},
    state::Tree,
};
use crate::key::Author;

/// A block this far below the tip is considered final. If it contains another reading with the `seq` of a waiting one,
/// the waiting one is not expected to be mined any more.
pub const BURIED_BLOCKS: u64 = 1_000;

impl Tree {
    /// Marks the best branch as confirmed up to and including this height, limited to the tip. A lower height than
    /// before is ignored.
    pub fn confirm(&mut self, index: u64) {
        let index = index.min(self.tip().index);
        while self.confirmed_index < index {
            self.confirmed_index += 1;
            self.count_confirmed(self.confirmed_index, |row| &mut row.confirmed);
        }
        let buried = self.tip().index.saturating_sub(BURIED_BLOCKS);
        while self.buried_index < buried {
            self.buried_index += 1;
            self.count_confirmed(self.buried_index, |row| &mut row.buried);
        }
    }

    /// The height up to which the best branch is confirmed.
    #[must_use]
    pub const fn confirmed_index(&self) -> u64 {
        self.confirmed_index
    }

    /// Number of the author's readings in the confirmed part of the best branch. They are exactly those with a lower
    /// `seq`.
    #[must_use]
    pub fn confirmed_seq(&self, author: &Author) -> u64 {
        self.authors.row_of(author).map_or(0, |row| row.confirmed)
    }

    /// Number of the author's readings that are [`BURIED_BLOCKS`] or more below the tip. They are
    /// exactly those with a lower `seq`.
    #[must_use]
    pub fn buried_seq(&self, author: &Author) -> u64 {
        self.authors.row_of(author).map_or(0, |row| row.buried)
    }

    fn count_confirmed(
        &mut self,
        index: u64,
        count: impl Fn(&mut crate::authors::Row) -> &mut u64,
    ) {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(&slot) = self.best.get(at) else {
            return;
        };
        let authors: alloc::vec::Vec<u32> = match &self.node(slot).body {
            Body::Connected(entries) => entries.iter().map(|entry| entry.author).collect(),
            Body::Side(_) | Body::Missing => return,
        };
        for author in authors {
            *count(self.authors.row_mut(author)) += 1;
        }
    }

    /// Updates the counts before the tip of the best branch is disconnected.
    pub(super) fn unconfirm(&mut self, slot: Slot) {
        let index = self.node(slot).index;
        let (settled, buried) = (index <= self.confirmed_index, index <= self.buried_index);
        if !settled && !buried {
            return;
        }
        if let Body::Connected(entries) = &self.node(slot).body {
            let authors: alloc::vec::Vec<u32> = entries.iter().map(|entry| entry.author).collect();
            for author in authors {
                let row = self.authors.row_mut(author);
                row.confirmed -= u64::from(settled);
                row.buried -= u64::from(buried);
            }
        }
        self.confirmed_index = self.confirmed_index.min(index.saturating_sub(1));
        self.buried_index = self.buried_index.min(index.saturating_sub(1));
    }
}
