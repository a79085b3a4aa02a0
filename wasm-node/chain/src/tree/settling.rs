//! How far the best branch is confirmed, and how far it is buried: what a reader of an author's count may rely on. Says
//! not when a block is confirmed; that takes a clock.

use super::{
    Tree,
    node::{Body, Slot},
};
use crate::key::Author;

/// A place that the best branch gave to another reading so many blocks ago is not expected to become free again.
pub const BURIED_BLOCKS: u64 = 1_000;

impl Tree {
    /// The best branch is confirmed up to and with this height; never less than before, and never above the tip.
    pub fn settle(&mut self, index: u64) {
        let index = index.min(self.tip().index);
        while self.settled_index < index {
            self.settled_index += 1;
            self.count_settled(self.settled_index, |row| &mut row.settled);
        }
        let buried = self.tip().index.saturating_sub(BURIED_BLOCKS);
        while self.buried_index < buried {
            self.buried_index += 1;
            self.count_settled(self.buried_index, |row| &mut row.buried);
        }
    }

    /// The height up to which the best branch is confirmed.
    #[must_use]
    pub const fn settled_index(&self) -> u64 {
        self.settled_index
    }

    /// How many of the author's readings the confirmed part of the best branch has: all with a lower seq.
    #[must_use]
    pub fn settled_seq(&self, author: &Author) -> u64 {
        self.authors.row_of(author).map_or(0, |row| row.settled)
    }

    /// How many of the author's readings stand [`BURIED_BLOCKS`] or more below the tip: all with a lower seq.
    #[must_use]
    pub fn buried_seq(&self, author: &Author) -> u64 {
        self.authors.row_of(author).map_or(0, |row| row.buried)
    }

    fn count_settled(&mut self, index: u64, count: impl Fn(&mut crate::authors::Row) -> &mut u64) {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(&slot) = self.best.get(at) else {
            return;
        };
        let authors: alloc::vec::Vec<u32> = match &self.node(slot).body {
            Body::Linked(entries) => entries.iter().map(|entry| entry.author).collect(),
            Body::Loose(_) | Body::Missing => return,
        };
        for author in authors {
            *count(self.authors.row_mut(author)) += 1;
        }
    }

    /// The block leaves the best branch, of which it is the tip.
    pub(super) fn unsettle(&mut self, slot: Slot) {
        let index = self.node(slot).index;
        let (settled, buried) = (index <= self.settled_index, index <= self.buried_index);
        if !settled && !buried {
            return;
        }
        if let Body::Linked(entries) = &self.node(slot).body {
            let authors: alloc::vec::Vec<u32> = entries.iter().map(|entry| entry.author).collect();
            for author in authors {
                let row = self.authors.row_mut(author);
                row.settled -= u64::from(settled);
                row.buried -= u64::from(buried);
            }
        }
        self.settled_index = self.settled_index.min(index.saturating_sub(1));
        self.buried_index = self.buried_index.min(index.saturating_sub(1));
    }
}
