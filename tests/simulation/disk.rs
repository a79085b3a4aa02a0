//! One peer's simulated disk: what has been written, and a queue of pending jobs. A crash loses the pending jobs.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use heartchain_chain::{
    block::Block,
    hash::{BlockHash, ReadingId},
    reading::Reading,
};
use heartchain_sync::{
    Batch, Input, StoreOperation,
    io::{JournalEntry, ReadId, WriteId},
};

/// A read or write that the disk has accepted.
#[derive(Debug)]
pub(crate) enum Job {
    Write { id: WriteId, batch: Batch },
    Read { id: ReadId, hashes: Vec<BlockHash> },
}

/// The stored state of one peer, and its pending jobs.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) blocks: HashMap<BlockHash, Block>,
    pub(crate) tip: Option<BlockHash>,
    pub(crate) journal: BTreeMap<u64, JournalEntry>,
    /// Seeds of replacement keys, by the first journal entry that each one signs.
    pub(crate) keys: BTreeMap<u64, [u8; 32]>,
    pub(crate) recovery: BTreeSet<BlockHash>,
    /// The last confirmed block of the best branch.
    pub(crate) confirmed: Option<BlockHash>,
    /// Readings adopted from other slots of the same computer.
    pub(crate) adopted: BTreeMap<ReadingId, Reading>,
    /// Blocks whose bodies are corrupt. Their headers and index entries are stored separately and stay intact.
    pub(crate) corrupt: BTreeSet<BlockHash>,
    /// Whether the disk never corrupts bodies when the peer starts.
    pub(crate) never_corrupts: bool,
    /// The disk is full until this time, so every write fails.
    pub(crate) full_until: u64,
    /// When the database was last deleted while the peer was running.
    pub(crate) emptied_at: Option<u64>,
    queue: VecDeque<Job>,
    busy_until: u64,
}

impl Disk {
    /// Queues a job that takes `duration` ms; returns when it will be done. Jobs run one after another.
    pub(crate) fn accept(&mut self, job: Job, now: u64, duration: u64) -> u64 {
        self.queue.push_back(job);
        self.busy_until = self.busy_until.max(now) + duration;
        self.busy_until
    }

    /// Completes or fails the oldest job; `None` if a crash has cleared the queue.
    pub(crate) fn finish<P>(&mut self, fails: bool, full: bool) -> Option<Input<P>> {
        Some(match self.queue.pop_front()? {
            Job::Write { id, .. } if fails => Input::WriteFailed { id, full },
            Job::Read { id, .. } if fails => Input::ReadFailed { id },
            Job::Write { id, batch } => {
                for operation in batch.operations {
                    self.apply(operation);
                }
                Input::Written { id }
            }
            Job::Read { id, hashes } => Input::Read {
                id,
                bodies: hashes.iter().map(|hash| self.body(hash)).collect(),
            },
        })
    }

    /// Whether the oldest job is a write that fails because the disk is full.
    pub(crate) fn has_no_room(&self, now: u64) -> bool {
        now < self.full_until && matches!(self.queue.front(), Some(Job::Write { .. }))
    }

    /// Deletes the database. Pending jobs still complete.
    pub(crate) fn empty(&mut self, now: u64) {
        self.blocks.clear();
        self.tip = None;
        self.journal.clear();
        self.keys.clear();
        self.recovery.clear();
        self.corrupt.clear();
        self.confirmed = None;
        self.adopted.clear();
        self.emptied_at = Some(now);
    }

    /// Power loss: all pending jobs are dropped.
    pub(crate) fn crash(&mut self) {
        self.queue.clear();
        self.busy_until = 0;
    }

    /// Corrupts about one in eight of the stored bodies; `pattern` selects which.
    pub(crate) fn corrupt_bodies(&mut self, pattern: u8) {
        let hit = |hash: &&BlockHash| {
            let last = hash.as_bytes().last().copied().unwrap_or_default();
            (last ^ pattern).is_multiple_of(8)
        };
        self.corrupt.extend(self.blocks.keys().filter(hit));
    }

    fn body(&self, hash: &BlockHash) -> Option<Vec<Reading>> {
        if self.corrupt.contains(hash) {
            return None;
        }
        self.blocks.get(hash).map(|block| block.readings.clone())
    }

    fn apply(&mut self, operation: StoreOperation) {
        match operation {
            StoreOperation::PutBlock(hash, block) => {
                self.corrupt.remove(&hash);
                self.blocks.insert(hash, block);
            }
            StoreOperation::DeleteBlock(hash) => {
                self.corrupt.remove(&hash);
                self.blocks.remove(&hash);
            }
            StoreOperation::PutTip(tip) => self.tip = Some(tip),
            StoreOperation::PutJournal(position, entry) => {
                self.journal.insert(position, entry);
            }
            StoreOperation::PutKey(seed, from) => {
                self.keys.insert(from, seed);
            }
            StoreOperation::PutRecovery(hash) => {
                self.recovery.insert(hash);
            }
            StoreOperation::DeleteRecovery(hash) => {
                self.recovery.remove(&hash);
            }
            StoreOperation::PutConfirmed(hash) => self.confirmed = Some(hash),
            StoreOperation::PutAdopted(id, reading) => {
                self.adopted.insert(id, reading);
            }
            StoreOperation::DeleteAdopted(id) => {
                self.adopted.remove(&id);
            }
        }
    }
}
