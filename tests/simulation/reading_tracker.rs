//! Which blocks contain which readings, and which readings are confirmed.

use std::collections::{BTreeSet, HashMap, HashSet};

use heartchain_chain::{
    block::Block,
    hash::{BlockHash, ReadingId, RoomId},
    reading::Reading,
};

use crate::id::Id;

/// State that the invariants keep between checks.
#[derive(Debug, Default)]
pub(crate) struct ReadingTracker {
    pub(crate) rounds: u64,
    /// Violations that were already reported, by peer and kind.
    pub(crate) reported: BTreeSet<(Id, &'static str)>,
    seen_blocks: HashSet<BlockHash>,
    /// Each reading with the heights and hashes of the blocks that contain it.
    pub(crate) blocks: HashMap<ReadingId, (Reading, Vec<(u64, BlockHash)>)>,
    /// Since when a reading has been deep enough at a peer, by the true time.
    pub(crate) deep_since: HashMap<(ReadingId, Id), u64>,
    /// Confirmed readings, with the peers that recorded them: they must not be lost.
    pub(crate) promised: BTreeSet<(Id, ReadingId)>,
}

impl ReadingTracker {
    /// Notes which readings a block contains.
    pub(crate) fn note_block(&mut self, room: RoomId, hash: BlockHash, block: &Block) {
        if !self.seen_blocks.insert(hash) {
            return;
        }
        for reading in &block.readings {
            let entry = self.blocks.entry(reading.id(room));
            let (_, blocks) = entry.or_insert_with(|| (*reading, Vec::new()));
            blocks.push((block.header.index, hash));
        }
    }
}
