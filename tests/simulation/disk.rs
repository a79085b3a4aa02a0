//! One peer's disk: what was written in full, and what is still on its way. A crash loses what is on its way.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use chain::{
    block::Block,
    hash::{BlockHash, ReadingId},
    reading::Reading,
};
use sync::{
    Batch, Input, StoreOperation,
    seam::{JournalEntry, ReadId, WriteId},
};

/// What the disk is asked to do.
#[derive(Debug)]
pub(crate) enum Job {
    Write { id: WriteId, batch: Batch },
    Read { id: ReadId, hashes: Vec<BlockHash> },
}

/// The disk.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) blocks: HashMap<BlockHash, Block>,
    pub(crate) tip: Option<BlockHash>,
    pub(crate) journal: BTreeMap<u64, JournalEntry>,
    /// Seeds of keys that took over, by the first journal entry that they sign.
    pub(crate) keys: BTreeMap<u64, [u8; 32]>,
    pub(crate) rescue: BTreeSet<BlockHash>,
    /// The last block of the best branch that is confirmed.
    pub(crate) confirmed: Option<BlockHash>,
    /// Readings of other slots.
    pub(crate) adopted: BTreeMap<ReadingId, Reading>,
    /// Blocks whose bodies it garbled; what was known of them stands in another place.
    pub(crate) garbled: BTreeSet<BlockHash>,
    /// It damages no body when the peer starts.
    pub(crate) is_sound: bool,
    /// Every write fails until then: it is full.
    pub(crate) full_until: u64,
    /// When its database was last deleted under the running peer.
    pub(crate) emptied_at: Option<u64>,
    queue: VecDeque<Job>,
    busy_until: u64,
}

impl Disk {
    /// Takes a job that takes `duration`; returns when it will be done. One after the other.
    pub(crate) fn accept(&mut self, job: Job, now: u64, duration: u64) -> u64 {
        self.queue.push_back(job);
        self.busy_until = self.busy_until.max(now) + duration;
        self.busy_until
    }

    /// Does the oldest job, or fails it; `None` if a crash took it.
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

    /// Whether the oldest job is a write that a full disk fails.
    pub(crate) fn has_no_room(&self, now: u64) -> bool {
        now < self.full_until && matches!(self.queue.front(), Some(Job::Write { .. }))
    }

    /// The database is deleted. What is on its way still comes.
    pub(crate) fn empty(&mut self, now: u64) {
        self.blocks.clear();
        self.tip = None;
        self.journal.clear();
        self.keys.clear();
        self.rescue.clear();
        self.garbled.clear();
        self.confirmed = None;
        self.adopted.clear();
        self.emptied_at = Some(now);
    }

    /// The power fails.
    pub(crate) fn crash(&mut self) {
        self.queue.clear();
        self.busy_until = 0;
    }

    /// Garbles some bodies, one in eight of those that are there; which ones is up to chance.
    pub(crate) fn garble(&mut self, chance: u8) {
        let hit = |hash: &&BlockHash| {
            let last = hash.as_bytes().last().copied().unwrap_or_default();
            (last ^ chance).is_multiple_of(8)
        };
        self.garbled.extend(self.blocks.keys().filter(hit));
    }

    fn body(&self, hash: &BlockHash) -> Option<Vec<Reading>> {
        if self.garbled.contains(hash) {
            return None;
        }
        self.blocks.get(hash).map(|block| block.readings.clone())
    }

    fn apply(&mut self, operation: StoreOperation) {
        match operation {
            StoreOperation::PutBlock(hash, block) => {
                self.garbled.remove(&hash);
                self.blocks.insert(hash, block);
            }
            StoreOperation::DeleteBlock(hash) => {
                self.garbled.remove(&hash);
                self.blocks.remove(&hash);
            }
            StoreOperation::PutTip(tip) => self.tip = Some(tip),
            StoreOperation::PutJournal(position, entry) => {
                self.journal.insert(position, entry);
            }
            StoreOperation::PutKey(seed, from) => {
                self.keys.insert(from, seed);
            }
            StoreOperation::PutRescue(hash) => {
                self.rescue.insert(hash);
            }
            StoreOperation::DeleteRescue(hash) => {
                self.rescue.remove(&hash);
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
