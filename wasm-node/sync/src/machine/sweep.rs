//! After the store was lost: looking on disk for the bodies of all blocks in memory, a few at a time.

use alloc::vec::Vec;

use heartchain_chain::{hash::BlockHash, tree::Tree};

use crate::{config::BODY_RANGE, io::ReadId};

/// The bodies to look for, and the read in progress.
#[derive(Clone, Debug, Default)]
pub(super) struct Sweep {
    /// Heights of the best branch, from the first to the tip at the time of the reset.
    heights: Option<(u64, u64)>,
    /// Blocks of side branches.
    beside: Vec<BlockHash>,
    reading: Option<(ReadId, Vec<BlockHash>)>,
}

impl Sweep {
    /// Looks for all bodies of the best branch up to `tip`, and for those of these side blocks.
    pub(super) fn start(tip: u64, beside: Vec<BlockHash>) -> Self {
        Self {
            heights: Some((1, tip)),
            beside,
            reading: None,
        }
    }

    /// Whether this is the read in progress.
    pub(super) fn is_reading(&self, id: ReadId) -> bool {
        self.reading
            .as_ref()
            .is_some_and(|(reading, _)| *reading == id)
    }

    /// Takes the next blocks whose bodies to read, if no read is in progress.
    pub(super) fn next_chunk(&mut self, tree: &Tree) -> Vec<BlockHash> {
        let mut hashes = Vec::new();
        if self.reading.is_some() {
            return hashes;
        }
        if let Some((from, tip)) = self.heights {
            let until = from
                .saturating_add(BODY_RANGE as u64)
                .min(tip.saturating_add(1));
            hashes.extend((from..until).filter_map(|index| tree.best_hash(index)));
            self.heights = (until <= tip).then_some((until, tip));
        }
        if hashes.is_empty() {
            let many = self.beside.len().saturating_sub(BODY_RANGE);
            hashes = self.beside.split_off(many);
        }
        hashes
    }

    pub(super) fn on_read_started(&mut self, id: ReadId, hashes: Vec<BlockHash>) {
        self.reading = Some((id, hashes));
    }

    /// The read ended. Returns the blocks whose bodies were read.
    pub(super) fn on_read(&mut self) -> Vec<BlockHash> {
        self.reading.take().map_or(Vec::new(), |(_, hashes)| hashes)
    }

    /// The read failed. The same bodies are read again later.
    pub(super) fn on_read_failed(&mut self) {
        let hashes = self.on_read();
        self.beside.extend(hashes);
    }
}
