//! The readings of blocks that left the best branch: back to the mempool, and on disk until they are confirmed again.
//!
//! Every block that leaves is read once and its readings are offered again. One that was confirmed is protected beside
//! that: it stays on disk, whatever else goes, until each of its readings is in the confirmed part of the best branch, or
//! can never be. To be in the mempool is not enough, because that is memory. Bodies are in storage, so they are read a few
//! at a time; protected ones again and again, ever more rarely while nothing comes of it.

use alloc::{collections::VecDeque, vec::Vec};
use core::fmt::Debug;

use chain::{
    block::check_root,
    hash::BlockHash,
    mempool::MempoolError,
    reading::{Reading, verify_batch},
    time::MonotonicMillis,
    tree::IdPrefix,
};
use hashbrown::HashMap;

use super::Machine;
use crate::{
    config::{
        MAX_RECOVERY_QUEUE, Millis, RECOVERY_CHUNK, RECOVERY_INTERVAL, RECOVERY_MAX_INTERVAL,
        WRITE_RETRY,
    },
    seam::{Event, Output, ReadId, StoreOperation},
};

/// Blocks to be read: those that are protected on disk, as far as memory holds them, and those that left just now.
#[derive(Clone, Debug, Default)]
pub(super) struct Recovery {
    /// To be read for the first time.
    fresh: VecDeque<BlockHash>,
    /// Protected ones that were read before, the longest ago first.
    read: VecDeque<BlockHash>,
    /// All of these, and whether each is protected.
    known: HashMap<BlockHash, bool>,
    /// How many are protected on disk and not known here, until the next start.
    on_disk: u64,
    reading: Option<(ReadId, Vec<BlockHash>)>,
    /// When those that were read before are read again, and the wait after that.
    next_look: MonotonicMillis,
    pace: Millis,
    /// A read failed: none is tried before this time.
    paused_until: MonotonicMillis,
}

impl Recovery {
    pub(super) fn is_reading(&self, id: ReadId) -> bool {
        self.reading
            .as_ref()
            .is_some_and(|(reading, _)| *reading == id)
    }

    /// Takes a block in; `false`: there is no place, and if it is protected it waits on disk alone.
    fn push(&mut self, hash: BlockHash, protected: bool) -> bool {
        if let Some(known) = self.known.get_mut(&hash) {
            *known |= protected;
            return true;
        }
        if self.known.len() >= MAX_RECOVERY_QUEUE {
            self.on_disk += u64::from(protected);
            return false;
        }
        self.known.insert(hash, protected);
        self.fresh.push_back(hash);
        true
    }

    fn forget(&mut self, hash: &BlockHash) {
        self.known.remove(hash);
    }

    /// The next to be read. Those that left just now come first: nothing that waits for long can hold them up.
    fn next_chunk(&mut self, now: MonotonicMillis) -> Vec<BlockHash> {
        if self.paused_until > now {
            return Vec::new();
        }
        if self.fresh.is_empty() && !self.read.is_empty() && self.next_look <= now {
            self.next_look = now.saturating_add(self.pace);
            self.pace = (self.pace * 2).clamp(RECOVERY_INTERVAL, RECOVERY_MAX_INTERVAL);
            let many = RECOVERY_CHUNK.min(self.read.len());
            return self.read.drain(..many).collect();
        }
        let many = RECOVERY_CHUNK.min(self.fresh.len());
        self.fresh.drain(..many).collect()
    }

    /// Something came of reading: more may, soon.
    fn hurry(&mut self, now: MonotonicMillis) {
        self.pace = RECOVERY_INTERVAL;
        self.next_look = self.next_look.min(now.saturating_add(RECOVERY_INTERVAL));
    }

    /// Blocks that are known here.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether the disk must not forget this block; more often than need be once some are on disk alone.
    pub(super) fn is_protected(&self, hash: &BlockHash) -> bool {
        self.on_disk > 0 || self.known.get(hash).copied().unwrap_or(false)
    }

    pub(super) fn next_due(&self, now: MonotonicMillis) -> Option<MonotonicMillis> {
        let next = match (self.fresh.is_empty(), self.read.is_empty()) {
            _ if self.reading.is_some() => None,
            (false, _) => Some(now),
            (true, false) => Some(self.next_look),
            (true, true) => None,
        };
        next.map(|at| at.max(self.paused_until))
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Protects these blocks, on disk too.
    pub(super) fn protect(&mut self, hashes: Vec<BlockHash>) {
        if hashes.is_empty() {
            return;
        }
        let operations = hashes.iter().copied().map(StoreOperation::PutRescue);
        let operations = operations.collect();
        self.write(operations, false);
        self.recover(hashes, true);
    }

    /// Has the readings of these blocks offered again. If `protected`, the disk knows that already.
    pub(super) fn recover(&mut self, hashes: impl IntoIterator<Item = BlockHash>, protected: bool) {
        let before = self.recovery.on_disk;
        for hash in hashes {
            self.recovery.push(hash, protected);
        }
        let blocks = self.recovery.on_disk;
        if blocks > before {
            self.outputs
                .push(Output::Tell(Event::WaitsOnDisk { blocks }));
        }
    }

    /// Reads the next bodies.
    pub(super) fn settle_recovery(&mut self) {
        if self.recovery.reading.is_some() {
            return;
        }
        let hashes = self.recovery.next_chunk(self.now);
        if !hashes.is_empty() {
            let id = self.read_bodies(hashes.clone());
            self.recovery.reading = Some((id, hashes));
        }
    }

    pub(super) fn recovery_read(&mut self, bodies: Vec<Option<Vec<Reading>>>) {
        let Some((_, hashes)) = self.recovery.reading.take() else {
            return;
        };
        let mut operations = Vec::new();
        let mut waiting = self.mempool.len();
        for (hash, body) in hashes.iter().zip(bodies) {
            let protected = self.recovery.known.get(hash).copied().unwrap_or(false);
            let body = body.or_else(|| self.unwritten.body(hash).map(<[Reading]>::to_vec));
            let is_over = match body {
                Some(readings) => self.offer_again(hash, readings),
                // Damaged bodies are fetched again, and worth waiting for.
                None => !self.note_missing(hash),
            };
            let is_kept = protected || self.tree.block(hash).is_some_and(|info| info.has_body);
            if is_kept && !is_over {
                self.recovery.read.push_back(*hash);
                continue;
            }
            self.recovery.forget(hash);
            if protected {
                operations.push(StoreOperation::DeleteRescue(*hash));
                if self.tree.block(hash).is_none() {
                    operations.push(StoreOperation::DeleteBlock(*hash));
                }
            }
        }
        waiting = self.mempool.len().saturating_sub(waiting);
        if waiting > 0 || !operations.is_empty() {
            self.recovery.hurry(self.now);
        }
        if operations.is_empty() {
            return;
        }
        // They go because their readings are confirmed, so that has to be on disk with it.
        let mark = self.confirmed_mark();
        operations.splice(0..0, mark);
        self.write(operations, false);
    }

    /// Offers the readings of a block again. Returns whether all are confirmed, or can never be.
    fn offer_again(&mut self, hash: &BlockHash, readings: Vec<Reading>) -> bool {
        let room = self.tree.room().id();
        let mut is_over = self.confirmation.may_move() && !self.unwritten.has_bodies();
        for reading in self.verified(hash, readings) {
            if !self.is_beyond_change(&reading, &reading.id(room)) {
                is_over = false;
                self.return_to_mempool(&reading);
            }
        }
        is_over
    }

    /// Storage did not give this body. Returns whether it should have.
    fn note_missing(&mut self, hash: &BlockHash) -> bool {
        self.lost(&[*hash]);
        self.tree.block(hash).is_some_and(|info| info.has_body)
    }

    /// Those readings that are valid: bytes from disk are as untrusted as bytes from a peer. Where the header is known its
    /// Merkle root covers them, signatures included.
    fn verified(&mut self, hash: &BlockHash, mut readings: Vec<Reading>) -> Vec<Reading> {
        let header = self.tree.header(hash);
        if header.is_some_and(|header| check_root(&header, &readings).is_ok()) {
            return readings;
        }
        let room = self.tree.room().id();
        if verify_batch(room, &readings, &mut self.rng).is_err() {
            readings.retain(|reading| reading.verify(room).is_ok());
        }
        readings
    }

    pub(super) fn recovery_read_failed(&mut self) {
        if let Some((_, hashes)) = self.recovery.reading.take() {
            self.recovery.fresh.extend(hashes);
            self.recovery.paused_until = self.now.saturating_add(WRITE_RETRY);
        }
    }

    /// Gives a reading of a checked body its place again. Returns `false` when there is no place for it now.
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
