//! What a page may look at besides the status: one's own readings, side branches, the rules on any block. Changes
//! nothing.

use alloc::vec::Vec;
use core::{cmp::Reverse, fmt::Debug};

use chain::{
    difficulty::Window,
    hash::{BlockHash, ReadingId},
    key::Author,
    reading::Reading,
    tree::{IdPrefix, SideBranch},
};

use super::{
    Machine,
    own::{Signed, id_of},
};
use crate::{
    config::{MAX_BRANCH_BLOCKS_SHOWN, MAX_BRANCHES_SHOWN},
    seam::JournalEntry,
};

/// What became of a reading that was recorded here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnReading {
    /// Its id.
    pub id: ReadingId,
    /// Its place in the count of the key that signed it.
    pub seq: u64,
    /// When, and what.
    pub entry: JournalEntry,
    /// The height of the best branch's block that has it; `None`: it waits for one.
    pub index: Option<u64>,
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// The readings recorded here, the newest first, at most `limit`.
    #[must_use]
    pub fn own_readings(&self, limit: usize) -> Vec<OwnReading> {
        let own = &self.own;
        let former = own.former.values().filter_map(|former| {
            let key = own.former_keys.get(former.key)?;
            Some((key.author(), former.seq, former.signed))
        });
        let signed = (0..own.signed.len() as u64).zip(&own.signed);
        let signed = signed.map(|(seq, signed)| (own.author, seq, *signed));
        // What a fresh key signed again is older than its place in the count says.
        let mut all: Vec<(Author, u64, Signed)> = if own.former_keys.is_empty() {
            let newest = own.signed.len().saturating_sub(limit);
            signed.skip(newest).collect()
        } else {
            former.chain(signed).collect()
        };
        all.sort_by_key(|(_, _, signed)| Reverse(signed.entry.time));
        let room = self.tree.room().id();
        all.into_iter()
            .take(limit)
            .map(|(author, seq, Signed { entry, prefix })| {
                // The branch may have given the place to another reading by the same key.
                let linked = self.tree.linked_prefix(&author, seq) == Some(prefix);
                OwnReading {
                    id: id_of(room, author, seq, entry),
                    seq,
                    entry,
                    index: linked.then(|| own.places.height(&author, seq)).flatten(),
                }
            })
            .collect()
    }

    /// The heaviest branches beside the best one.
    #[must_use]
    pub fn side_branches(&self) -> Vec<SideBranch> {
        self.tree
            .side_branches(MAX_BRANCHES_SHOWN, MAX_BRANCH_BLOCKS_SHOWN)
    }

    /// The author's next place on the best branch.
    #[must_use]
    pub fn next_seq(&self, author: &Author) -> u64 {
        self.tree.next_seq(author)
    }

    /// Whether this reading waits here, or is on the best branch.
    #[must_use]
    pub fn knows_reading(&self, reading: &Reading) -> bool {
        let id = reading.id(self.tree.room().id());
        let linked = self.tree.linked_prefix(&reading.author, reading.seq);
        self.mempool.contains(&id) || linked == Some(IdPrefix::from(&id))
    }

    /// What the rules for headers need to judge a block on this one, if it is known.
    #[must_use]
    pub fn window_on(&self, parent: &BlockHash) -> Option<Window> {
        self.tree.window_on(parent)
    }
}
