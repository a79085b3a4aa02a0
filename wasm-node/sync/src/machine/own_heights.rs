//! The height on the best branch of each of our readings. Kept up to date on every switch instead of looked up.

use alloc::vec::Vec;

use heartchain_chain::key::Author;
use litemap::LiteMap;

/// Heights per author, ordered by sequence number: four bytes per reading recorded here. No tree holds 2^32 blocks.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnReadingHeights(LiteMap<Author, Vec<u32>>);

impl OwnReadingHeights {
    /// Tracks another author, whose readings are at these heights now.
    pub(super) fn follow(&mut self, author: Author, heights: Vec<u64>) {
        self.0
            .insert(author, heights.into_iter().map(to_u32).collect());
    }

    /// The author's next reading joined the best branch at this height.
    pub(super) fn linked(&mut self, author: &Author, index: u64) {
        if let Some(heights) = self.0.get_mut(author) {
            heights.push(to_u32(index));
        }
    }

    /// The author's last reading left the best branch.
    pub(super) fn unlinked(&mut self, author: &Author) {
        if let Some(heights) = self.0.get_mut(author) {
            heights.pop();
        }
    }

    /// The height of the block with the author's reading of this sequence number.
    pub(super) fn height(&self, author: &Author, seq: u64) -> Option<u64> {
        let heights = self.0.get(author)?;
        heights
            .get(usize::try_from(seq).ok()?)
            .copied()
            .map(u64::from)
    }
}

fn to_u32(index: u64) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
