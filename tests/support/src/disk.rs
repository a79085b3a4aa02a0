//! A fake disk: what is stored, and a queue of reads and writes that complete or fail one after another.

use core::fmt::Debug;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use heartchain_chain::{
    block::Block,
    hash::{BlockHash, ReadingId},
    key::{Author, SecretKey},
    profile::Profile,
    reading::Reading,
    room::Room,
    tree::Entry,
};
use heartchain_sync::{
    Batch, Config, IndexedBlock, Input, Machine, Now, Restore, StoreOperation, StoredBlock,
    io::{JournalEntry, ReadId, WriteId},
    sign_journal,
};

/// How many blocks a start reads at a time.
const BLOCKS_AT_A_TIME: usize = 64;

/// A read or a write that a machine gave to its disk.
#[derive(Clone, Debug)]
pub enum Job {
    /// Write a batch as one transaction.
    Write {
        /// The machine's ID of the write.
        id: WriteId,
        /// The changes; either all are applied or none.
        batch: Batch,
    },
    /// Read the bodies of some blocks.
    Read {
        /// The machine's ID of the read.
        id: ReadId,
        /// The blocks whose bodies to read.
        hashes: Vec<BlockHash>,
    },
}

/// How a disk ends a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It succeeds, with what is stored now.
    Done,
    /// It fails, and changes nothing.
    Failed,
    /// A write fails because the disk is full. A read fails as with [`Failed`](Self::Failed).
    Full,
}

/// What a machine is started with, apart from what is on its disk.
#[derive(Clone, Debug)]
pub struct Start {
    /// Whether the machine mines.
    pub mining: bool,
    /// The room that it joins.
    pub room: Room,
    /// The key that signs until another one takes over.
    pub first_key: SecretKey,
    /// The seed of its randomness.
    pub seed: [u8; 32],
    /// The time of the start.
    pub now: Now,
    /// Whether the start trusts the stored index and reads bodies only if the journal has gaps.
    pub skips_bodies: bool,
}

#[derive(Clone, Debug)]
struct QueuedJob {
    job: Job,
    fails: bool,
}

/// What one peer has stored, and its jobs in progress.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// The stored blocks, by hash.
    pub blocks: HashMap<BlockHash, Block>,
    /// The last tip that was written.
    pub tip: Option<BlockHash>,
    /// The last block of the best branch that was confirmed.
    pub confirmed: Option<BlockHash>,
    /// The journal of recorded readings, by position.
    pub journal: BTreeMap<u64, JournalEntry>,
    /// Seeds of keys that took over, by the first journal entry that each one signs.
    pub keys: BTreeMap<u64, [u8; 32]>,
    /// Blocks that left the best branch and are protected until their readings are confirmed again.
    pub recovery: BTreeSet<BlockHash>,
    /// Readings adopted from other tabs.
    pub adopted: BTreeMap<ReadingId, Reading>,
    /// The names of authors.
    pub profiles: BTreeMap<Author, Profile>,
    /// Blocks whose bodies are corrupt. Their headers and index entries are stored separately and stay intact.
    pub corrupt: BTreeSet<BlockHash>,
    /// Accepts blocks without storing them, so that they do not count as a peer's memory.
    pub drops_blocks: bool,
    /// If set, writes are held here instead of being queued.
    pub held_writes: Option<Vec<(WriteId, Batch)>>,
    /// If set, reads are held here instead of being queued.
    pub held_reads: Option<Vec<(ReadId, Vec<BlockHash>)>>,
    /// How many bodies were requested so far.
    pub bodies_read: usize,
    queue: VecDeque<QueuedJob>,
}

impl Disk {
    /// A disk with these blocks.
    #[must_use]
    pub fn with_blocks(blocks: impl IntoIterator<Item = (BlockHash, Block)>) -> Self {
        Self {
            blocks: blocks.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Queues or holds a job.
    pub fn accept(&mut self, job: Job) {
        if let Job::Read { hashes, .. } = &job {
            self.bodies_read += hashes.len();
        }
        match (job, &mut self.held_writes, &mut self.held_reads) {
            (Job::Write { id, batch }, Some(held), _) => held.push((id, batch)),
            (Job::Read { id, hashes }, _, Some(held)) => held.push((id, hashes)),
            (job, _, _) => self.queue.push_back(QueuedJob { job, fails: false }),
        }
    }

    /// The oldest job in the queue.
    #[must_use]
    pub fn oldest_job(&self) -> Option<&Job> {
        self.queue.front().map(|queued| &queued.job)
    }

    /// Ends the oldest job in the queue; `None` if the queue is empty.
    pub fn finish<P>(&mut self, ending: Ending) -> Option<Input<P>> {
        let QueuedJob { job, fails } = self.queue.pop_front()?;
        let fails = fails || ending != Ending::Done;
        let full = ending == Ending::Full;
        Some(match job {
            Job::Write { id, .. } if fails => Input::WriteFailed { id, full },
            Job::Read { id, .. } if fails => Input::ReadFailed { id },
            Job::Write { id, batch } => {
                self.apply(batch);
                Input::Written { id }
            }
            Job::Read { id, hashes } => {
                let bodies = hashes.iter().map(|hash| self.body(hash)).collect();
                Input::Read { id, bodies }
            }
        })
    }

    /// Ends the oldest job with these bodies instead of the stored ones, if it is a read.
    pub fn finish_read_with<P>(&mut self, bodies: Vec<Option<Vec<Reading>>>) -> Option<Input<P>> {
        let Job::Read { id, .. } = *self.oldest_job()? else {
            return None;
        };
        self.queue.pop_front();
        Some(Input::Read { id, bodies })
    }

    /// All jobs in the queue will fail.
    pub fn fail_queued(&mut self) {
        for queued in &mut self.queue {
            queued.fails = true;
        }
    }

    /// Power loss: all jobs are dropped, queued and held ones.
    pub fn crash(&mut self) {
        self.queue.clear();
        (self.held_writes, self.held_reads) = (None, None);
    }

    /// Deletes everything that is stored. Jobs in the queue are not affected.
    pub fn clear(&mut self) {
        let stored = core::mem::take(self);
        *self = Self {
            drops_blocks: stored.drops_blocks,
            held_writes: stored.held_writes,
            held_reads: stored.held_reads,
            bodies_read: stored.bodies_read,
            queue: stored.queue,
            ..Self::default()
        };
    }

    /// The body of a block, unless it is missing or corrupt.
    #[must_use]
    pub fn body(&self, hash: &BlockHash) -> Option<Vec<Reading>> {
        let block = self.block(hash)?;
        Some(block.readings.clone())
    }

    /// A block, unless it is missing or its body is corrupt.
    #[must_use]
    pub fn block(&self, hash: &BlockHash) -> Option<&Block> {
        let block = self.blocks.get(hash)?;
        (!self.corrupt.contains(hash)).then_some(block)
    }

    /// Applies all changes of a batch.
    pub fn apply(&mut self, batch: Batch) {
        for operation in batch.operations {
            self.apply_operation(operation);
        }
    }

    fn apply_operation(&mut self, operation: StoreOperation) {
        match operation {
            StoreOperation::PutBlock(hash, block) => {
                self.corrupt.remove(&hash);
                if !self.drops_blocks {
                    self.blocks.insert(hash, block);
                }
            }
            StoreOperation::DeleteBlock(hash) => {
                self.corrupt.remove(&hash);
                self.blocks.remove(&hash);
            }
            StoreOperation::PutTip(hash) => self.tip = Some(hash),
            StoreOperation::PutConfirmed(hash) => self.confirmed = Some(hash),
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
            StoreOperation::PutAdopted(id, reading) => {
                self.adopted.insert(id, reading);
            }
            StoreOperation::DeleteAdopted(id) => {
                self.adopted.remove(&id);
            }
            StoreOperation::PutProfile(profile) => {
                self.profiles.insert(profile.author, profile);
            }
            StoreOperation::DeleteProfile(author) => {
                self.profiles.remove(&author);
            }
        }
    }

    /// Starts a machine from what is stored. Its first outputs come with its first input.
    #[must_use]
    pub fn restore<P: Copy + Ord + Debug>(&self, start: Start) -> Machine<P> {
        let config = Config {
            mining: start.mining,
        };
        let room = start.room.id();
        let mut restore = Restore::new(
            config,
            start.room,
            start.first_key,
            self.keys(),
            start.seed,
            start.now,
        );
        restore.journal(self.journal.iter().map(|(at, entry)| (*at, *entry)));
        let skips_bodies = start.skips_bodies && !restore.needs_bodies();
        let mut blocks: Vec<_> = self.blocks.iter().collect();
        blocks.sort_by_key(|(hash, block)| (block.header.index, **hash));
        for part in blocks.chunks(BLOCKS_AT_A_TIME) {
            restore.stored(part.iter().map(|(hash, block)| {
                if skips_bodies || self.corrupt.contains(*hash) {
                    let entries = block.readings.iter();
                    StoredBlock::Indexed(IndexedBlock {
                        hash: **hash,
                        header: block.header,
                        entries: entries.map(|reading| Entry::new(room, reading)).collect(),
                    })
                } else {
                    StoredBlock::Full(**hash, (*block).clone())
                }
            }));
        }
        restore.tip(self.tip);
        restore.confirmed(self.confirmed);
        restore.adopted(self.adopted.values().copied());
        restore.profiles(self.profiles.values().cloned());
        restore.recovery(self.recovery.iter().copied());
        restore.finish()
    }

    /// The keys that took over, each with the position of the first journal entry that it signs.
    pub fn keys(&self) -> impl Iterator<Item = (u64, SecretKey)> {
        let keys = self.keys.iter();
        keys.map(|(from, seed)| (*from, SecretKey::from_seed(*seed)))
    }

    /// The readings of the journal, signed as the driver signs them for another tab.
    #[must_use]
    pub fn signed(&self, room: &Room, first_key: &SecretKey) -> Vec<Reading> {
        let keys: Vec<_> = self.keys().collect();
        let journal: Vec<_> = self
            .journal
            .iter()
            .map(|(at, entry)| (*at, *entry))
            .collect();
        sign_journal(room, first_key, &keys, &journal)
    }

    /// All readings that the journal's keys signed, including entries that were signed again later.
    #[must_use]
    pub fn ever_signed(&self, room: &Room, first_key: &SecretKey) -> Vec<Reading> {
        let mut journal = self.journal.clone();
        for entry in journal.values_mut() {
            entry.replaces = None;
        }
        let all = Self {
            journal,
            keys: self.keys.clone(),
            ..Self::default()
        };
        all.signed(room, first_key)
    }

    /// The readings of the machine's best branch whose blocks are stored, oldest first.
    pub fn chain_readings<'a, P: Copy + Ord + Debug>(
        &'a self,
        machine: &'a Machine<P>,
    ) -> impl Iterator<Item = &'a Reading> {
        (1..=machine.status().index)
            .filter_map(|index| self.blocks.get(&machine.best_hash(index)?))
            .flat_map(|block| &block.readings)
    }

    /// The readings of protected blocks, and those adopted from other tabs.
    pub fn kept_readings(&self) -> impl Iterator<Item = &Reading> {
        let blocks = self.recovery.iter();
        blocks
            .filter_map(|hash| self.blocks.get(hash))
            .flat_map(|block| &block.readings)
            .chain(self.adopted.values())
    }
}
