//! Recovering the readings of blocks that left the best branch: they return to the mempool, and stay on disk
//! until they are confirmed again.
//!
//! Every block that leaves is read once, and its readings are offered again. A block that was confirmed is also
//! protected: it stays on disk until each of its readings is in the confirmed part of the best branch, or can
//! never be. Being in the mempool is not enough, since that is memory only. Bodies are in storage, so they are
//! read a few at a time. Protected blocks are read repeatedly, with a backoff while nothing comes of it.

use alloc::{collections::VecDeque, vec::Vec};
use core::fmt::Debug;

use hashbrown::HashMap;
use heartchain_chain::{
    block::check_root,
    hash::BlockHash,
    mempool::MempoolError,
    reading::{Reading, verify_batch},
    time::MonotonicMillis,
    tree::IdPrefix,
};

use super::Machine;
use crate::{
    config::{
        MAX_RECOVERY_QUEUE, Millis, RECOVERY_CHUNK, RECOVERY_INTERVAL, RECOVERY_MAX_INTERVAL,
        WRITE_RETRY,
    },
    io::{Event, Output, ReadId, StoreOperation},
};

/// Blocks to read: protected ones, as far as memory tracks them, and those that left the best branch recently.
#[derive(Clone, Debug, Default)]
pub(super) struct ReorgRecovery {
    /// Blocks that have not been read yet.
    fresh: VecDeque<BlockHash>,
    /// Protected blocks that were read before, least recently read first.
    read: VecDeque<BlockHash>,
    /// All tracked blocks, and whether each is protected.
    tracked: HashMap<BlockHash, bool>,
    /// How many protected blocks are on disk only. They are not tracked until the next start.
    on_disk: u64,
    reading: Option<(ReadId, Vec<BlockHash>)>,
    /// When protected blocks are read again, and the interval after that.
    next_reread: MonotonicMillis,
    reread_interval: Millis,
    /// After a failed read, no read is tried before this time.
    paused_until: MonotonicMillis,
}

impl ReorgRecovery {
    pub(super) fn is_reading(&self, id: ReadId) -> bool {
        self.reading
            .as_ref()
            .is_some_and(|(reading, _)| *reading == id)
    }

    /// Adds a block. Returns `false` if there is no room; if it is protected, it waits on disk until the next start.
    fn push(&mut self, hash: BlockHash, protected: bool) -> bool {
        if let Some(is_protected) = self.tracked.get_mut(&hash) {
            *is_protected |= protected;
            return true;
        }
        if self.tracked.len() >= MAX_RECOVERY_QUEUE {
            self.on_disk += u64::from(protected);
            return false;
        }
        self.tracked.insert(hash, protected);
        self.fresh.push_back(hash);
        true
    }

    fn forget(&mut self, hash: &BlockHash) {
        self.tracked.remove(hash);
    }

    /// The next blocks to read. Blocks that have not been read come first, so that long-waiting ones cannot delay them.
    fn next_chunk(&mut self, now: MonotonicMillis) -> Vec<BlockHash> {
        if self.paused_until > now {
            return Vec::new();
        }
        if self.fresh.is_empty() && !self.read.is_empty() && self.next_reread <= now {
            self.next_reread = now.saturating_add(self.reread_interval);
            self.reread_interval =
                (self.reread_interval * 2).clamp(RECOVERY_INTERVAL, RECOVERY_MAX_INTERVAL);
            let many = RECOVERY_CHUNK.min(self.read.len());
            return self.read.drain(..many).collect();
        }
        let many = RECOVERY_CHUNK.min(self.fresh.len());
        self.fresh.drain(..many).collect()
    }

    /// The last read yielded something, so the next one comes soon.
    fn reset_backoff(&mut self, now: MonotonicMillis) {
        self.reread_interval = RECOVERY_INTERVAL;
        self.next_reread = self.next_reread.min(now.saturating_add(RECOVERY_INTERVAL));
    }

    /// How many blocks are tracked.
    pub(super) fn len(&self) -> usize {
        self.tracked.len()
    }

    /// Whether this block must stay on disk. Once some protected blocks are not tracked, this is true for every block.
    pub(super) fn is_protected(&self, hash: &BlockHash) -> bool {
        self.on_disk > 0 || self.tracked.get(hash).copied().unwrap_or(false)
    }

    pub(super) fn next_due(&self, now: MonotonicMillis) -> Option<MonotonicMillis> {
        let next = match (self.fresh.is_empty(), self.read.is_empty()) {
            _ if self.reading.is_some() => None,
            (false, _) => Some(now),
            (true, false) => Some(self.next_reread),
            (true, true) => None,
        };
        next.map(|at| at.max(self.paused_until))
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Protects these blocks, in memory and on disk.
    pub(super) fn protect(&mut self, hashes: Vec<BlockHash>) {
        if hashes.is_empty() {
            return;
        }
        let operations = hashes.iter().copied().map(StoreOperation::PutRecovery);
        let operations = operations.collect();
        self.write(operations, false);
        self.queue_for_recovery(hashes, true);
    }

    /// Queues blocks for reading, to offer their readings again. `protected` says that the disk already protects them.
    pub(super) fn queue_for_recovery(
        &mut self,
        hashes: impl IntoIterator<Item = BlockHash>,
        protected: bool,
    ) {
        let before = self.recovery.on_disk;
        for hash in hashes {
            self.recovery.push(hash, protected);
        }
        let blocks = self.recovery.on_disk;
        if blocks > before {
            self.outputs
                .push(Output::Emit(Event::RecoveryQueueFull { blocks }));
        }
    }

    /// Starts the next read, unless one is in progress.
    pub(super) fn continue_recovery(&mut self) {
        if self.recovery.reading.is_some() {
            return;
        }
        let hashes = self.recovery.next_chunk(self.now);
        if !hashes.is_empty() {
            let id = self.read_bodies(hashes.clone());
            self.recovery.reading = Some((id, hashes));
        }
    }

    pub(super) fn on_recovery_read(&mut self, bodies: Vec<Option<Vec<Reading>>>) {
        let Some((_, hashes)) = self.recovery.reading.take() else {
            return;
        };
        let mut operations = Vec::new();
        let mut waiting = self.mempool.len();
        for (hash, body) in hashes.iter().zip(bodies) {
            let protected = self.recovery.tracked.get(hash).copied().unwrap_or(false);
            let body = body.or_else(|| self.unwritten.body(hash).map(<[Reading]>::to_vec));
            let is_done = match body {
                Some(readings) => self.reoffer(hash, readings),
                // Damaged bodies are fetched again, so this block is not done.
                None => !self.report_missing_body(hash),
            };
            let is_kept = protected || self.tree.block(hash).is_some_and(|info| info.has_body);
            if is_kept && !is_done {
                self.recovery.read.push_back(*hash);
                continue;
            }
            self.recovery.forget(hash);
            if protected {
                operations.push(StoreOperation::DeleteRecovery(*hash));
                if self.tree.block(hash).is_none() {
                    operations.push(StoreOperation::DeleteBlock(*hash));
                }
            }
        }
        waiting = self.mempool.len().saturating_sub(waiting);
        if waiting > 0 || !operations.is_empty() {
            self.recovery.reset_backoff(self.now);
        }
        if operations.is_empty() {
            return;
        }
        // These blocks lose their protection because their readings are confirmed, so that fact has to be on
        // disk in the same transaction.
        let confirmed = self.put_confirmed();
        operations.splice(0..0, confirmed);
        self.write(operations, false);
    }

    /// Offers the readings of a block again. Returns whether all of them are final: confirmed, or never to be.
    fn reoffer(&mut self, hash: &BlockHash, readings: Vec<Reading>) -> bool {
        let room = self.tree.room().id();
        let mut is_done = self.confirmation.may_advance() && !self.unwritten.has_bodies();
        for reading in self.valid_readings(hash, readings) {
            if !self.is_final(&reading, &reading.id(room)) {
                is_done = false;
                self.return_to_mempool(&reading);
            }
        }
        is_done
    }

    /// Handles a body that storage did not return. Returns whether storage should have had it.
    fn report_missing_body(&mut self, hash: &BlockHash) -> bool {
        self.on_bodies_missing(&[*hash]);
        self.tree.block(hash).is_some_and(|info| info.has_body)
    }

    /// The valid readings of a body. Bytes from disk are trusted no more than bytes from a peer. If the header
    /// is known, its Merkle root covers the readings including their signatures.
    fn valid_readings(&mut self, hash: &BlockHash, mut readings: Vec<Reading>) -> Vec<Reading> {
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

    pub(super) fn on_recovery_read_failed(&mut self) {
        if let Some((_, hashes)) = self.recovery.reading.take() {
            self.recovery.fresh.extend(hashes);
            self.recovery.paused_until = self.now.saturating_add(WRITE_RETRY);
        }
    }

    /// Puts a reading of a verified body back into the mempool. Returns `false` if there is no room for it now.
    pub(super) fn return_to_mempool(&mut self, reading: &Reading) -> bool {
        let id = reading.id(self.tree.room().id());
        let next = self.tree.next_seq(&reading.author);
        match self.mempool.insert(reading, id, next, self.now) {
            Ok(()) => {
                self.outputs.push(Output::Emit(Event::Reading(*reading)));
                true
            }
            Err(MempoolError::Known | MempoolError::Equivocation { .. }) => true,
            Err(MempoolError::Past { .. }) => {
                let linked = self.tree.best_prefix(&reading.author, reading.seq);
                let tip = self.tree.tip().index;
                linked == Some(IdPrefix::from(&id)) || self.mempool.keep_displaced(reading, id, tip)
            }
            Err(_) => false,
        }
    }
}
