//! Recovering the readings of blocks that left the best branch: they return to the mempool, and stay on disk
//! until they are confirmed again.
//!
//! Every block that leaves stays on disk until it is read once, and its readings are offered again. A block that was confirmed is also
//! protected: it stays on disk until each of its readings is in the confirmed part of the best branch, or can
//! never be. Being in the mempool is not enough, since that is memory only. Bodies are in storage, so they are
//! read a few at a time. Protected blocks are read repeatedly, with a backoff while nothing comes of it.

use alloc::{collections::VecDeque, vec::Vec};
use core::fmt::Debug;

use hashbrown::HashMap;
use heartchain_chain::{
    block::check_root,
    hash::BlockHash,
    reading::{Reading, verify_batch},
    time::MonotonicMillis,
};

use super::context::Context;
use crate::{
    config::{
        MAX_RECOVERY_QUEUE, Millis, RECOVERY_CHUNK, RECOVERY_INTERVAL, RECOVERY_MAX_INTERVAL,
        WRITE_RETRY,
    },
    io::{Event, ReadId, StoreOperation},
};

/// Blocks to read: protected ones, as far as memory tracks them, and those that left the best branch recently.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReorgRecovery {
    /// Blocks that have not been read yet.
    fresh: VecDeque<BlockHash>,
    /// Protected blocks that were read before, least recently read first.
    read: VecDeque<BlockHash>,
    /// All blocks of both queues, and of the read in progress.
    tracked: HashMap<BlockHash, Tracked>,
    /// How many protected blocks are on disk only. They are not tracked until the next start.
    on_disk: u64,
    reading: Option<(ReadId, Vec<BlockHash>)>,
    /// When protected blocks are read again, and the interval after that.
    next_reread: MonotonicMillis,
    reread_interval: Millis,
    /// After a failed read, no read is tried before this time.
    paused_until: MonotonicMillis,
}

#[derive(Clone, Copy, Debug)]
struct Tracked {
    is_protected: bool,
    /// Whether its readings have been offered again.
    was_read: bool,
}

impl ReorgRecovery {
    pub(super) fn is_reading(&self, id: ReadId) -> bool {
        self.reading
            .as_ref()
            .is_some_and(|(reading, _)| *reading == id)
    }

    /// Adds a block. Returns `false` if there is no room; if it is protected, it waits on disk until the next start.
    fn push(&mut self, hash: BlockHash, protected: bool) -> bool {
        if let Some(tracked) = self.tracked.get_mut(&hash) {
            tracked.is_protected |= protected;
            return true;
        }
        if self.tracked.len() >= MAX_RECOVERY_QUEUE {
            self.on_disk += u64::from(protected);
            return false;
        }
        let tracked = Tracked {
            is_protected: protected,
            was_read: false,
        };
        self.tracked.insert(hash, tracked);
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
    pub(crate) fn len(&self) -> usize {
        self.tracked.len()
    }

    /// Whether this block must stay on disk, because it is protected or its readings have not been offered again yet.
    pub(super) fn must_stay(&self, hash: &BlockHash) -> bool {
        let tracked = self.tracked.get(hash);
        self.is_protected(hash) || tracked.is_some_and(|tracked| !tracked.was_read)
    }

    /// Whether this block is protected. Once some protected blocks are not tracked, this is true for every block.
    pub(crate) fn is_protected(&self, hash: &BlockHash) -> bool {
        let tracked = self.tracked.get(hash);
        self.on_disk > 0 || tracked.is_some_and(|tracked| tracked.is_protected)
    }

    /// When the next blocks are read.
    pub(super) fn next_deadline(&self, now: MonotonicMillis) -> Option<MonotonicMillis> {
        let next = match (self.fresh.is_empty(), self.read.is_empty()) {
            _ if self.reading.is_some() => None,
            (false, _) => Some(now),
            (true, false) => Some(self.next_reread),
            (true, true) => None,
        };
        next.map(|at| at.max(self.paused_until))
    }

    /// Protects these blocks, in memory and on disk.
    pub(crate) fn protect<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        hashes: Vec<BlockHash>,
    ) {
        if hashes.is_empty() {
            return;
        }
        let operations = hashes.iter().copied().map(StoreOperation::PutRecovery);
        ctx.write(operations.collect());
        self.queue(ctx, hashes, true);
    }

    /// Queues blocks for reading, to offer their readings again. `protected` says that the disk already protects them.
    pub(crate) fn queue<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        hashes: impl IntoIterator<Item = BlockHash>,
        protected: bool,
    ) {
        let before = self.on_disk;
        for hash in hashes {
            self.push(hash, protected);
        }
        let blocks = self.on_disk;
        if blocks > before {
            ctx.emit(Event::RecoveryQueueFull { blocks });
        }
    }

    /// The protected blocks that memory tracks.
    pub(super) fn protected(&self) -> impl Iterator<Item = BlockHash> {
        let protected = self
            .tracked
            .iter()
            .filter(|(_, tracked)| tracked.is_protected);
        protected.map(|(hash, _)| *hash)
    }

    /// Deletes blocks that left the tree, unless they must stay or are back. Returns whether there were any.
    pub(crate) fn delete_removed<P: Copy + Ord + Debug>(
        &self,
        ctx: &mut Context<P>,
        hashes: Vec<BlockHash>,
    ) -> bool {
        let is_back = |hash: &BlockHash| ctx.tree.block(hash).is_some_and(|info| info.has_body);
        let gone = hashes
            .into_iter()
            .filter(|hash| !self.must_stay(hash) && !is_back(hash));
        let operations: Vec<StoreOperation> = gone.map(StoreOperation::DeleteBlock).collect();
        let any = !operations.is_empty();
        if any {
            ctx.write(operations);
        }
        any
    }

    /// Starts the next read, unless one is in progress.
    pub(super) fn poll<P: Copy + Ord + Debug>(&mut self, ctx: &mut Context<P>) {
        if self.reading.is_some() {
            return;
        }
        let hashes = self.next_chunk(ctx.now());
        if !hashes.is_empty() {
            let id = ctx.read_bodies(hashes.clone());
            self.reading = Some((id, hashes));
        }
    }

    /// The blocks of the read in progress whose bodies storage did not return, and that are not on their way to it either.
    pub(super) fn lost<P>(
        &self,
        ctx: &Context<P>,
        bodies: &[Option<Vec<Reading>>],
    ) -> Vec<BlockHash> {
        let reading = self.reading.iter().flat_map(|(_, hashes)| hashes);
        let lost = reading.zip(bodies).filter(|(_, body)| body.is_none());
        let lost = lost.map(|(hash, _)| *hash);
        lost.filter(|hash| ctx.writes.body(hash).is_none())
            .collect()
    }

    /// Offers the readings of these bodies again. `may_finish` says whether everything that is confirmed is on disk. Returns the
    /// changes that end the protection of blocks, because their readings are confirmed.
    pub(super) fn on_read<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        bodies: Vec<Option<Vec<Reading>>>,
        may_finish: bool,
    ) -> Vec<StoreOperation> {
        let mut operations = Vec::new();
        let Some((_, hashes)) = self.reading.take() else {
            return operations;
        };
        let before = ctx.mempool.len();
        for (hash, body) in hashes.iter().zip(bodies) {
            let tracked = self.tracked.get(hash);
            let protected = tracked.is_some_and(|tracked| tracked.is_protected);
            let body = body.or_else(|| ctx.writes.body(hash).map(<[Reading]>::to_vec));
            let has_body = ctx.tree.block(hash).is_some_and(|info| info.has_body);
            let is_done = match body {
                Some(readings) => reoffer(ctx, hash, readings, protected) && may_finish,
                // Damaged bodies are fetched again, so this block is not done.
                None => !has_body,
            };
            if (protected || has_body) && !is_done {
                if let Some(tracked) = self.tracked.get_mut(hash) {
                    tracked.was_read = true;
                }
                self.read.push_back(*hash);
                continue;
            }
            self.forget(hash);
            if protected {
                operations.push(StoreOperation::DeleteRecovery(*hash));
            }
            // It left the tree while it had to stay on disk. Its header may be back, without the body.
            if !has_body && (protected || !self.must_stay(hash)) {
                operations.push(StoreOperation::DeleteBlock(*hash));
            }
        }
        if ctx.mempool.len() > before || !operations.is_empty() {
            self.reset_backoff(ctx.now());
        }
        operations
    }

    pub(super) fn on_read_failed(&mut self, now: MonotonicMillis) {
        if let Some((_, hashes)) = self.reading.take() {
            self.fresh.extend(hashes);
            self.paused_until = now.saturating_add(WRITE_RETRY);
        }
    }
}

/// Offers the readings of a block again. Returns whether all of them are final: confirmed, or never to be. What a member
/// cannot read is offered only if the block was confirmed, because what was confirmed once is never lost.
fn reoffer<P: Copy + Ord + Debug>(
    ctx: &mut Context<P>,
    hash: &BlockHash,
    readings: Vec<Reading>,
    was_confirmed: bool,
) -> bool {
    let room = ctx.room();
    let mut are_final = true;
    for reading in valid_readings(ctx, hash, readings) {
        if !ctx.is_final(&reading, &reading.id(room)) {
            are_final = false;
            if was_confirmed || ctx.is_readable(&reading) {
                ctx.return_to_mempool(&reading);
            }
        }
    }
    are_final
}

/// The valid readings of a body. Bytes from disk are trusted no more than bytes from a peer. If the header
/// is known, its Merkle root covers the readings including their signatures.
fn valid_readings<P: Copy + Ord + Debug>(
    ctx: &mut Context<P>,
    hash: &BlockHash,
    mut readings: Vec<Reading>,
) -> Vec<Reading> {
    let header = ctx.tree.header(hash);
    if header.is_some_and(|header| check_root(&header, &readings).is_ok()) {
        return readings;
    }
    let room = ctx.room();
    if verify_batch(room, &readings, &mut ctx.rng).is_err() {
        readings.retain(|reading| reading.verify(room).is_ok());
    }
    readings
}
