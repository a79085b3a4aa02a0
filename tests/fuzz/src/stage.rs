//! A machine under the fuzzer's hands: its disk, its miner, its peers' promises, and what must hold after every input.
//! Performs outputs as a driver does; never looks inside the machine.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use chain::{
    block::Block,
    bpm::Bpm,
    hash::BlockHash,
    header::Header,
    key::{Author, SecretKey},
    reading::Reading,
    time::UnixMillis,
    work::Work,
};
use sync::{
    Batch, Config, Event, Input, Machine, Output, Restore, StoreOperation,
    message::{MAX_REQUEST_LEN, MAX_RESPONSE_LEN, Request, Response},
    seam::{
        GossipId, ImportPiece, InboundId, JobId, JournalEntry, ReadId, RequestId, Ticket, Topic,
        WriteId,
    },
};

use crate::pool::{OWN, START, key, room};

/// A peer's name.
pub type Peer = u8;

/// What the disk is asked to do.
#[derive(Debug)]
enum Job {
    Write(WriteId, Batch),
    Read(ReadId, Vec<BlockHash>),
}

/// What the disk holds.
#[derive(Debug, Default)]
pub struct Disk {
    /// Bodies that were checked.
    pub blocks: HashMap<BlockHash, Block>,
    /// What the person recorded, for good.
    pub journal: BTreeMap<u64, JournalEntry>,
    keys: BTreeMap<u64, [u8; 32]>,
    rescue: BTreeSet<BlockHash>,
    tip: Option<BlockHash>,
    queue: VecDeque<Job>,
}

/// The machine and all around it.
pub struct Stage {
    /// The machine.
    pub machine: Machine<Peer>,
    /// Its disk.
    pub disk: Disk,
    /// Its clock.
    pub now: u64,
    /// The latest that the clock ever was.
    pub latest: u64,
    /// Every key that signed here.
    pub authors: BTreeSet<Author>,
    /// What it asked and has no answer to.
    pub asked: BTreeMap<RequestId, (Peer, Request)>,
    /// The template that it wants a nonce for.
    pub job: Option<(JobId, Header)>,
    wake_at: Option<u64>,
    judging: BTreeSet<GossipId>,
    inbound: BTreeSet<InboundId>,
    recording: BTreeSet<Ticket>,
    importing: BTreeSet<Ticket>,
    connected: BTreeSet<Peer>,
    work: Work,
    /// Whether a body could ever not be read: a branch that nobody can follow is left for a lighter one.
    rotten: bool,
    /// Whether a life ever began before the time of a block on disk: that is left aside, and what it says returns.
    early: bool,
    names: u64,
    lives: u8,
}

impl Stage {
    /// A new peer.
    #[must_use]
    pub fn new() -> Self {
        let now = UnixMillis::new(START);
        let (room, key) = (room().clone(), key(OWN).clone());
        let machine = Machine::new(Config { mining: true }, room, key, [9; 32], now);
        Self {
            authors: BTreeSet::from([machine.author()]),
            machine,
            disk: Disk::default(),
            now: START,
            latest: START,
            asked: BTreeMap::new(),
            job: None,
            wake_at: None,
            judging: BTreeSet::new(),
            inbound: BTreeSet::new(),
            recording: BTreeSet::new(),
            importing: BTreeSet::new(),
            connected: BTreeSet::new(),
            work: Work::ZERO,
            rotten: false,
            early: false,
            names: 0,
            lives: 1,
        }
    }

    /// Gives an input, performs what comes of it, and checks what must hold.
    pub fn give(&mut self, input: Input<Peer>) {
        let outputs = self.machine.handle(input, UnixMillis::new(self.now));
        for output in outputs {
            self.perform(output);
        }
        self.authors.insert(self.machine.author());
        self.check();
    }

    /// A peer comes.
    pub fn connect(&mut self, peer: Peer) {
        if self.connected.insert(peer) {
            self.give(Input::PeerConnected { peer });
        }
    }

    /// A peer goes.
    pub fn disconnect(&mut self, peer: Peer) {
        if self.connected.remove(&peer) {
            self.asked.retain(|_, (asked, _)| *asked != peer);
            self.give(Input::PeerDisconnected { peer });
        }
    }

    /// A gossip item comes.
    pub fn gossip(&mut self, from: Peer, topic: Topic, data: Vec<u8>) {
        let id = GossipId(self.name());
        self.judging.insert(id);
        self.give(Input::Gossip {
            from,
            id,
            topic,
            data,
        });
    }

    /// A peer asks.
    pub fn ask(&mut self, from: Peer, data: Vec<u8>) {
        let id = InboundId(self.name());
        self.inbound.insert(id);
        self.give(Input::Request { from, id, data });
    }

    /// A person enters a heart rate.
    pub fn record(&mut self, bpm: Bpm) {
        let ticket = Ticket(self.name());
        self.recording.insert(ticket);
        self.give(Input::Record { ticket, bpm });
    }

    /// A piece of a file comes.
    pub fn import(&mut self, piece: ImportPiece) {
        let ticket = Ticket(self.name());
        self.importing.insert(ticket);
        self.give(Input::Import { ticket, piece });
    }

    /// How many pieces are not answered.
    #[must_use]
    pub fn importing(&self) -> usize {
        self.importing.len()
    }

    /// The disk does the oldest job, or fails it.
    pub fn disk(&mut self, fails: bool) -> bool {
        let Some(job) = self.disk.queue.pop_front() else {
            return false;
        };
        let input = match job {
            Job::Write(id, _) if fails => Input::WriteFailed { id },
            Job::Read(id, _) if fails => Input::ReadFailed { id },
            Job::Write(id, batch) => {
                for operation in batch.operations {
                    self.disk.apply(operation);
                }
                Input::Written { id }
            }
            Job::Read(id, hashes) => {
                let body = |hash| {
                    self.disk
                        .blocks
                        .get(hash)
                        .map(|block| block.readings.clone())
                };
                let bodies = hashes.iter().map(body).collect();
                Input::Read { id, bodies }
            }
        };
        self.give(input);
        true
    }

    /// The disk gives these bodies in place of what the oldest read asks for, if that is the oldest job.
    pub fn rot(&mut self, bodies: Vec<Option<Vec<Reading>>>) {
        if let Some(Job::Read(id, _)) = self.disk.queue.front() {
            let id = *id;
            self.disk.queue.pop_front();
            self.rotten = true;
            self.give(Input::Read { id, bodies });
        }
    }

    /// The miner finds what it looks for, if it is not too hard for a fuzzer.
    pub fn mine(&mut self) {
        let Some((job, header)) = self.job else {
            return;
        };
        let target = header.bits.target().expect("a template's target");
        let search = chain::mining::Job::new(&header, target);
        if let Some(nonce) = search.search(header.nonce, 1 << 14) {
            self.job = None;
            self.give(Input::Mined { job, nonce });
        }
    }

    /// The clock shows this time from now on.
    pub fn set_clock(&mut self, now: u64) {
        self.now = now;
        self.latest = self.latest.max(now);
        self.give(Input::Tick);
    }

    /// The tab is killed and opened again: all is lost but what is on disk.
    pub fn crash(&mut self) {
        self.disk.queue.clear();
        self.asked.clear();
        self.judging.clear();
        self.inbound.clear();
        self.recording.clear();
        self.importing.clear();
        self.connected.clear();
        self.job = None;
        self.wake_at = None;
        self.work = Work::ZERO;
        self.lives = self.lives.wrapping_add(1);
        let mut blocks = self.disk.blocks.values();
        self.early |= blocks.any(|block| block.header.time.get() > self.now);
        self.machine = self.disk.restore(self.lives, self.now);
        self.authors.insert(self.machine.author());
        self.give(Input::Tick);
    }

    /// Everybody goes, the disk works, time passes and the miner mines, until all that was recorded is in the chain.
    pub fn settle(&mut self) {
        for peer in self.connected.clone() {
            self.disconnect(peer);
        }
        // Later than whatever was stamped while the clock was ahead, and a silence that makes mining easy.
        self.set_clock(self.latest + 120_000);
        for _ in 0..400 {
            while self.disk(false) {}
            self.mine();
            while self.disk(false) {}
            if self.lost().is_empty() {
                return;
            }
            let due = self
                .wake_at
                .unwrap_or(0)
                .clamp(self.now + 1_000, self.now + 10_000);
            self.set_clock(due);
        }
    }

    /// Journal entries that are on disk and not in the chain.
    #[must_use]
    pub fn lost(&self) -> Vec<JournalEntry> {
        let chained: BTreeSet<(u64, u16)> = self
            .chain()
            .into_iter()
            .filter(|reading| self.authors.contains(&reading.author))
            .map(|reading| (reading.time.get(), reading.bpm))
            .collect();
        let entries = self.disk.journal.values();
        entries
            .filter(|entry| !chained.contains(&(entry.time.get(), entry.bpm.get())))
            .copied()
            .collect()
    }

    /// Whether something on disk was ever out of the machine's sight.
    #[must_use]
    pub fn hid(&self) -> bool {
        self.rotten || self.early
    }

    /// The best branch's readings as the disk has them.
    fn chain(&self) -> Vec<Reading> {
        (1..=self.machine.status().index)
            .filter_map(|index| self.machine.best_hash(index))
            .filter_map(|hash| self.disk.blocks.get(&hash))
            .flat_map(|block| block.readings.clone())
            .collect()
    }

    fn name(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    fn perform(&mut self, output: Output<Peer>) {
        match output {
            Output::Write { id, batch } => self.disk.queue.push_back(Job::Write(id, batch)),
            Output::Read { id, hashes } => self.disk.queue.push_back(Job::Read(id, hashes)),
            Output::Request {
                peer,
                id,
                data,
                deadline,
            } => {
                assert!(data.len() <= MAX_REQUEST_LEN && deadline.get() > self.now);
                assert!(self.connected.contains(&peer), "asks who is not there");
                let request = Request::decode(&data).expect("an honest request");
                assert!(self.asked.insert(id, (peer, request)).is_none());
            }
            Output::Respond { id, data } => {
                assert!(
                    self.inbound.remove(&id),
                    "answered once, and only what was asked"
                );
                assert!(data.len() <= MAX_RESPONSE_LEN);
                Response::decode(&data).expect("an honest answer");
            }
            Output::Refuse { id } => {
                assert!(
                    self.inbound.remove(&id),
                    "refused once, and only what was asked"
                );
            }
            Output::Judge { id, .. } => {
                assert!(self.judging.remove(&id), "judged once, and only what came");
            }
            Output::Mine { job, header } => self.job = Some((job, header)),
            Output::StopMining => self.job = None,
            Output::WakeAt(at) => {
                assert!(at.get() > self.now, "wakes in the future");
                self.wake_at = Some(at.get());
            }
            Output::Tell(Event::Recorded { ticket, .. }) => {
                assert!(
                    self.recording.remove(&ticket),
                    "recorded once, and only what was entered"
                );
                let recorded = self.disk.journal.len();
                assert!(recorded > 0, "recorded before it is on disk");
            }
            Output::Tell(Event::RecordFailed { ticket, .. }) => {
                assert!(
                    self.recording.remove(&ticket),
                    "failed once, and only what was entered"
                );
            }
            Output::Tell(Event::Imported { ticket, .. }) => {
                assert!(
                    self.importing.remove(&ticket),
                    "imported once, and only what came"
                );
            }
            Output::Drop { peer, .. } => {
                self.connected.remove(&peer);
                self.asked.retain(|_, (asked, _)| *asked != peer);
            }
            Output::Publish { .. } | Output::Tell(_) => {}
        }
    }

    fn check(&mut self) {
        use sync::config::{
            MAX_HEADER_SYNCS, MAX_HELD_BLOCKS, MAX_OPEN_READS, MAX_OPEN_REQUESTS, MAX_PEERS,
            MAX_RESCUE_QUEUE,
        };
        let load = self.machine.load();
        assert!(load.peers <= MAX_PEERS, "{load:?}");
        assert!(
            load.open_requests <= load.peers * MAX_OPEN_REQUESTS,
            "{load:?}"
        );
        assert!(load.open_reads <= MAX_OPEN_READS, "{load:?}");
        assert!(load.held_blocks <= MAX_HELD_BLOCKS, "{load:?}");
        assert!(load.header_syncs <= MAX_HEADER_SYNCS, "{load:?}");
        assert!(load.mempool <= chain::mempool::MAX_READINGS, "{load:?}");
        assert!(load.rescue <= MAX_RESCUE_QUEUE, "{load:?}");
        assert!(
            load.side_readings <= chain::tree::MAX_SIDE_READINGS,
            "{load:?}"
        );
        let work = self.machine.status().total_work;
        assert!(
            work >= self.work || self.rotten,
            "the best branch never gets lighter"
        );
        self.work = work;
    }
}

impl Disk {
    /// A machine on what is here.
    #[must_use]
    pub fn restore(&self, seed: u8, now: u64) -> Machine<Peer> {
        let keys = self
            .keys
            .iter()
            .map(|(from, seed)| (*from, SecretKey::from_seed(*seed)));
        let now = UnixMillis::new(now);
        let config = Config { mining: true };
        let mut restore = Restore::new(
            config,
            room().clone(),
            key(OWN).clone(),
            keys,
            [seed; 32],
            now,
        );
        restore.journal(
            self.journal
                .iter()
                .map(|(position, entry)| (*position, *entry)),
        );
        let mut blocks: Vec<_> = self.blocks.iter().collect();
        blocks.sort_by_key(|(hash, block)| (block.header.index, **hash));
        restore.blocks(
            blocks
                .into_iter()
                .map(|(hash, block)| (*hash, block.clone())),
        );
        restore.rescue(self.rescue.iter().copied());
        restore.tip(self.tip);
        restore.finish()
    }

    fn apply(&mut self, operation: StoreOperation) {
        match operation {
            StoreOperation::PutBlock(hash, block) => {
                self.blocks.insert(hash, block);
            }
            StoreOperation::DeleteBlock(hash) => {
                self.blocks.remove(&hash);
            }
            StoreOperation::PutTip(hash) => self.tip = Some(hash),
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
        }
    }
}
