//! The readings of blocks that were left: back to the mempool, or into a queue on disk until there is place for them.
//!
//! Bodies are in storage, so they are read back a few at a time; one that the disk garbled is waited for. Deletes none
//! before all of its readings have returned.

use alloc::{collections::VecDeque, vec::Vec};
use core::fmt::Debug;

use chain::{
    hash::BlockHash,
    mempool::MempoolError,
    reading::{Reading, verify_batch},
    time::UnixMillis,
    tree::IdPrefix,
};
use hashbrown::HashSet;

use super::Machine;
use crate::{
    config::{MAX_RESCUE_QUEUE, RESCUE_CHUNK, RESCUE_INTERVAL},
    seam::{Event, Output, ReadId, StoreOperation},
};

/// Blocks whose readings have yet to return to the mempool: the queue on disk, as far as memory holds it.
#[derive(Clone, Debug, Default)]
pub(super) struct Rescue {
    queue: VecDeque<BlockHash>,
    /// The same, to be found.
    queued: HashSet<BlockHash>,
    /// How many are in the queue on disk alone, until the next start.
    on_disk: u64,
    reading: Option<(ReadId, Vec<BlockHash>)>,
    retry_at: Option<UnixMillis>,
}

impl Rescue {
    pub(super) fn is_reading(&self, id: ReadId) -> bool {
        self.reading
            .as_ref()
            .is_some_and(|(reading, _)| *reading == id)
    }

    /// Puts a block into the queue; `false`: there is no place, and it waits on disk alone.
    fn push(&mut self, hash: BlockHash) -> bool {
        if self.queued.contains(&hash) {
            return true;
        }
        if self.queue.len() >= MAX_RESCUE_QUEUE {
            self.on_disk += 1;
            return false;
        }
        self.queued.insert(hash);
        self.queue.push_back(hash);
        true
    }

    fn pop_some(&mut self, many: usize) -> Vec<BlockHash> {
        let many = many.min(self.queue.len());
        let hashes: Vec<BlockHash> = self.queue.drain(..many).collect();
        for hash in &hashes {
            self.queued.remove(hash);
        }
        hashes
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether the disk must not forget this block; more often than need be once some are on disk alone.
    pub(super) fn is_queued(&self, hash: &BlockHash) -> bool {
        self.on_disk > 0
            || self.queued.contains(hash)
            || self
                .reading
                .as_ref()
                .is_some_and(|(_, hashes)| hashes.contains(hash))
    }

    pub(super) fn next_due(&self) -> Option<UnixMillis> {
        self.retry_at
            .filter(|_| !self.queue.is_empty() && self.reading.is_none())
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// The readings of these blocks are to return.
    pub(super) fn rescue_blocks(&mut self, hashes: Vec<BlockHash>) {
        if hashes.is_empty() {
            return;
        }
        let operations = hashes
            .iter()
            .map(|hash| StoreOperation::PutRescue(*hash))
            .collect();
        self.write(operations, false);
        self.rescue_left(hashes);
    }

    /// The same for blocks that the queue on disk has already.
    pub(super) fn rescue_left(&mut self, hashes: impl IntoIterator<Item = BlockHash>) {
        let before = self.rescue.on_disk;
        for hash in hashes {
            self.rescue.push(hash);
        }
        self.rescue.retry_at = None;
        let blocks = self.rescue.on_disk;
        if blocks > before {
            self.outputs
                .push(Output::Tell(Event::WaitsOnDisk { blocks }));
        }
    }

    /// Reads back the next bodies of blocks whose readings have yet to return.
    pub(super) fn settle_rescue(&mut self) {
        let waits = self.rescue.retry_at.is_some_and(|at| at > self.now);
        if self.rescue.reading.is_some() || self.rescue.queue.is_empty() || waits {
            return;
        }
        let hashes = self.rescue.pop_some(RESCUE_CHUNK);
        let id = self.read_bodies(hashes.clone());
        self.rescue.reading = Some((id, hashes));
    }

    pub(super) fn rescued(&mut self, bodies: Vec<Option<Vec<Reading>>>) {
        let Some((_, hashes)) = self.rescue.reading.take() else {
            return;
        };
        let mut operations = Vec::new();
        let mut all_placed = true;
        for (hash, body) in hashes.iter().zip(bodies) {
            let body = body.or_else(|| self.unwritten.body(hash).map(<[Reading]>::to_vec));
            let mut placed = body.is_some() || !self.note_garbled(hash);
            for reading in self.verified(body.unwrap_or_default()) {
                placed &= self.return_to_mempool(&reading);
            }
            if !placed {
                all_placed = false;
                self.rescue.push(*hash);
                continue;
            }
            operations.push(StoreOperation::DeleteRescue(*hash));
            if self.tree.block(hash).is_none() {
                operations.push(StoreOperation::DeleteBlock(*hash));
            }
        }
        if !all_placed {
            self.rescue.retry_at = Some(self.now.saturating_add(RESCUE_INTERVAL));
        }
        if !operations.is_empty() {
            self.write(operations, false);
        }
    }

    /// Storage did not give this body. Returns whether it should have: then it is fetched again, and worth waiting for.
    fn note_garbled(&mut self, hash: &BlockHash) -> bool {
        self.lost(&[*hash]);
        self.tree.block(hash).is_some_and(|info| info.has_body)
    }

    /// Those readings that are valid: bytes from disk are as untrusted as bytes from a peer.
    fn verified(&mut self, mut readings: Vec<Reading>) -> Vec<Reading> {
        let room = self.tree.room().id();
        if verify_batch(room, &readings, &mut self.rng).is_err() {
            readings.retain(|reading| reading.verify(room).is_ok());
        }
        readings
    }

    pub(super) fn rescue_failed(&mut self) {
        if let Some((_, hashes)) = self.rescue.reading.take() {
            for hash in hashes {
                self.rescue.push(hash);
            }
            self.rescue.retry_at = Some(self.now.saturating_add(RESCUE_INTERVAL));
        }
    }

    /// Gives a reading of a checked body its place again. Returns `false` when there is none for it now.
    pub(super) fn return_to_mempool(&mut self, reading: &Reading) -> bool {
        let id = reading.id(self.tree.room().id());
        let next = self.tree.next_seq(&reading.author);
        match self.mempool.insert(reading, id, next, self.now) {
            Ok(()) => {
                self.outputs.push(Output::Tell(Event::Reading(*reading)));
                true
            }
            Err(MempoolError::Known | MempoolError::Equivocation { .. }) => true,
            Err(MempoolError::Past { .. }) => {
                let linked = self.tree.linked_prefix(&reading.author, reading.seq);
                let tip = self.tree.tip().index;
                linked == Some(IdPrefix::from(&id)) || self.mempool.set_aside(reading, id, tip)
            }
            Err(_) => false,
        }
    }
}
