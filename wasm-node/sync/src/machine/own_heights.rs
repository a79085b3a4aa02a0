//! At which height of the best branch each of one's own readings stands. Follows the branch; never looks anything up.

use alloc::vec::Vec;

use chain::key::Author;
use litemap::LiteMap;

/// Heights by author, in the order of the author's count: four bytes a reading recorded here. No tree holds 2^32 blocks.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnReadingHeights(LiteMap<Author, Vec<u32>>);

impl OwnReadingHeights {
    /// Follows this author too; so far its readings stand at these heights.
    pub(super) fn follow(&mut self, author: Author, heights: Vec<u64>) {
        self.0
            .insert(author, heights.into_iter().map(small).collect());
    }

    /// The author's next reading joined the best branch.
    pub(super) fn linked(&mut self, author: &Author, index: u64) {
        if let Some(heights) = self.0.get_mut(author) {
            heights.push(small(index));
        }
    }

    /// The author's last reading left it.
    pub(super) fn unlinked(&mut self, author: &Author) {
        if let Some(heights) = self.0.get_mut(author) {
            heights.pop();
        }
    }

    /// The height of the block that has the author's reading with this seq.
    pub(super) fn height(&self, author: &Author, seq: u64) -> Option<u64> {
        let heights = self.0.get(author)?;
        heights
            .get(usize::try_from(seq).ok()?)
            .copied()
            .map(u64::from)
    }
}

fn small(index: u64) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
