//! A machine under the fuzzer's hands: its disk, its miner, its peers' promises, and what must hold after every input.
//! Performs outputs as a driver does; never looks inside the machine.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use chain::{
    block::Block,
    bpm::Bpm,
    hash::{BlockHash, ReadingId},
    header::Header,
    key::{Author, SecretKey},
    reading::Reading,
    time::{MonotonicMillis, UnixMillis},
    work::Work,
};
use sync::{
    Batch, Config, Event, Input, Load, Machine, Now, Output, Restore, StoreOperation,
    config::{MAX_CLOCK_OFFSET, VERDICT_PATIENCE},
    message::{MAX_REQUEST_LEN, MAX_RESPONSE_LEN, Request, Response},
    seam::{
        GossipId, ImportPiece, InboundId, JobId, JournalEntry, ReadId, RequestId, Ticket, Topic,
        WriteId,
    },
    sign_journal,
};

use crate::pool::{OWN, START, key, room};

/// A peer's name.
pub type Peer = u8;

/// One that comes when everything else is over.
const LAST_PEER: Peer = u8::MAX;

/// What the disk is asked to do.
#[derive(Clone, Debug)]
enum Job {
    Write(WriteId, Batch),
    Read(ReadId, Vec<BlockHash>),
}

/// The same, and whether the disk was lost since: then it fails.
#[derive(Clone, Debug)]
struct Queued {
    job: Job,
    fails: bool,
}

/// What the disk holds.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// Bodies that were checked.
    pub blocks: HashMap<BlockHash, Block>,
    /// What the person recorded, for good.
    pub journal: BTreeMap<u64, JournalEntry>,
    /// Blocks that must stay.
    pub protected: BTreeSet<BlockHash>,
    /// Readings of other tabs.
    pub adopted: BTreeMap<ReadingId, Reading>,
    keys: BTreeMap<u64, [u8; 32]>,
    tip: Option<BlockHash>,
    confirmed: Option<BlockHash>,
    queue: VecDeque<Queued>,
}

/// The machine and all around it.
pub struct Stage {
    /// The machine.
    pub machine: Machine<Peer>,
    /// Its disk.
    pub disk: Disk,
    /// Its wall clock.
    pub wall: u64,
    /// Its other clock, which begins again with every life.
    monotonic: u64,
    /// The latest that the wall clock ever was.
    latest: u64,
    /// Every key that signed here.
    pub authors: BTreeSet<Author>,
    /// What it asked and has no answer to.
    pub asked: BTreeMap<RequestId, (Peer, Request)>,
    /// The template that it wants a nonce for.
    pub job: Option<(JobId, Header)>,
    wake_at: Option<u64>,
    /// Gossip items without a verdict, each with when it came.
    judging: BTreeMap<GossipId, u64>,
    inbound: BTreeSet<InboundId>,
    recording: BTreeSet<Ticket>,
    importing: BTreeSet<Ticket>,
    adopting: BTreeSet<Ticket>,
    connected: BTreeSet<Peer>,
    work: Work,
    /// Whether a body could ever not be read: a branch that nobody can follow is left for a lighter one.
    pub rotten: bool,
    /// Whether the disk was emptied in this life: bodies of the best branch may be nowhere.
    emptied: bool,
    /// Journal entries that are not to be lost: all that were on disk in this life.
    recorded: BTreeMap<u64, JournalEntry>,
    /// Readings of protected blocks and of other tabs that are not to be lost: all that were on disk in this life.
    promised: BTreeSet<ReadingId>,
    names: u64,
    lives: u8,
}

impl Stage {
    /// A new peer.
    #[must_use]
    pub fn new() -> Self {
        Self::over(Disk::default(), START)
    }

    /// A peer on what is on this disk.
    #[must_use]
    pub fn over(mut disk: Disk, wall: u64) -> Self {
        disk.queue.clear();
        let monotonic = 0;
        let machine = disk.restore(9, clocks(wall, monotonic));
        let recorded = disk.journal.clone();
        let mut stage = Self {
            authors: BTreeSet::from([key(OWN).author(), machine.author()]),
            machine,
            promised: ids(disk.promised()),
            disk,
            wall,
            monotonic,
            latest: wall,
            asked: BTreeMap::new(),
            job: None,
            wake_at: None,
            judging: BTreeMap::new(),
            inbound: BTreeSet::new(),
            recording: BTreeSet::new(),
            importing: BTreeSet::new(),
            adopting: BTreeSet::new(),
            connected: BTreeSet::new(),
            work: Work::ZERO,
            rotten: false,
            emptied: false,
            recorded,
            names: 0,
            lives: 1,
        };
        stage.authors.extend(stage.disk.authors());
        stage
    }

    /// Both clocks.
    #[must_use]
    pub const fn now(&self) -> Now {
        clocks(self.wall, self.monotonic)
    }

    /// A wall clock by which no block is too early that was ever accepted: peers may have moved the clock that it was judged
    /// by.
    #[must_use]
    pub const fn right_clock(&self) -> u64 {
        self.latest + MAX_CLOCK_OFFSET + 120_000
    }

    /// Gives an input, performs what comes of it, and checks what must hold.
    pub fn give(&mut self, input: Input<Peer>) {
        let outputs = self.machine.handle(input, self.now());
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
        self.judging.insert(id, self.monotonic);
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

    /// Readings come from a closed tab.
    pub fn adopt(&mut self, readings: Vec<Reading>) {
        let ticket = Ticket(self.name());
        self.adopting.insert(ticket);
        self.give(Input::Adopt { ticket, readings });
    }

    /// How many pieces are not answered.
    #[must_use]
    pub fn importing(&self) -> usize {
        self.importing.len()
    }

    /// The disk does the oldest job, or fails it.
    pub fn disk(&mut self, fails: bool) -> bool {
        let Some(Queued { job, fails: lost }) = self.disk.queue.pop_front() else {
            return false;
        };
        let fails = fails || lost;
        let input = match job {
            Job::Write(id, _) if fails => Input::WriteFailed { id, full: false },
            Job::Read(id, _) if fails => Input::ReadFailed { id },
            Job::Write(id, batch) => {
                for operation in batch.operations {
                    self.disk.apply(operation);
                }
                self.note_kept();
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

    /// There is no room for the oldest write, if that is the oldest job.
    pub fn disk_full(&mut self) {
        if let Some(Job::Write(id, _)) = self.disk.queue.front().map(|queued| &queued.job) {
            let id = *id;
            self.disk.queue.pop_front();
            self.give(Input::WriteFailed { id, full: true });
        }
    }

    /// The disk gives these bodies in place of what the oldest read asks for, if that is the oldest job.
    pub fn rot(&mut self, bodies: Vec<Option<Vec<Reading>>>) {
        if let Some(Job::Read(id, _)) = self.disk.queue.front().map(|queued| &queued.job) {
            let id = *id;
            self.disk.queue.pop_front();
            self.rotten = true;
            self.give(Input::Read { id, bodies });
        }
    }

    /// All that is on disk is gone, and what is under way fails.
    pub fn reset(&mut self) {
        let mut queue = core::mem::take(&mut self.disk.queue);
        for queued in &mut queue {
            queued.fails = true;
        }
        self.disk = Disk {
            queue,
            ..Disk::default()
        };
        (self.rotten, self.emptied) = (true, true);
        self.give(Input::StoreReset);
    }

    /// What is on disk now is not to be lost in this life.
    fn note_kept(&mut self) {
        self.recorded.extend(&self.disk.journal);
        self.promised.extend(ids(self.disk.promised()));
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

    /// Time passes.
    pub fn pass(&mut self, ms: u64) {
        self.wall += ms;
        self.monotonic += ms;
        self.latest = self.latest.max(self.wall);
        self.give(Input::Tick);
    }

    /// The wall clock is set ahead or back.
    pub fn set_clock(&mut self, seconds: i32) {
        self.wall = self.wall.saturating_add_signed(i64::from(seconds) * 1_000);
        self.latest = self.latest.max(self.wall);
        if seconds < 0 {
            // What is ahead of the clock now is not on the best branch for the time being.
            self.work = Work::ZERO;
        }
        self.give(Input::Tick);
    }

    /// The tab is killed and opened again: all is lost but what is on disk. The wall clock was set meanwhile.
    pub fn crash(&mut self, seconds: i32) {
        self.disk.queue.clear();
        self.asked.clear();
        self.judging.clear();
        self.inbound.clear();
        self.recording.clear();
        self.importing.clear();
        self.adopting.clear();
        self.connected.clear();
        self.job = None;
        self.wake_at = None;
        self.work = Work::ZERO;
        self.emptied = false;
        self.recorded = self.disk.journal.clone();
        self.promised = ids(self.disk.promised());
        self.lives = self.lives.wrapping_add(1);
        self.monotonic = 0;
        self.wall = self.wall.saturating_add_signed(i64::from(seconds) * 1_000);
        self.latest = self.latest.max(self.wall);
        self.machine = self.disk.restore(self.lives, self.now());
        self.authors.insert(self.machine.author());
        self.give(Input::Tick);
    }

    /// Everybody goes, the clock is set right, the disk works, time passes and the miner mines, until all that was recorded
    /// is in the chain.
    pub fn settle(&mut self) {
        self.rest();
        if self.lost().is_empty() && !self.emptied {
            return;
        }
        // Bodies may be waited for for hours: a start takes up what is here. What the disk lost of the journal is waited for
        // while there are no peers.
        self.crash(0);
        self.connect(LAST_PEER);
        self.rest();
    }

    fn rest(&mut self) {
        for peer in self.connected.clone() {
            if peer != LAST_PEER {
                self.disconnect(peer);
            }
        }
        // Later than whatever was stamped while the clock was ahead, and a silence that makes mining easy.
        self.wall = self.right_clock();
        self.pass(120_000);
        for _ in 0..400 {
            while self.disk(false) {}
            self.mine();
            while self.disk(false) {}
            self.answer_last_peer();
            if self.lost().is_empty() && self.machine.load().unwritten == 0 {
                return;
            }
            let wait = self.wake_at.unwrap_or(0).saturating_sub(self.monotonic);
            self.pass(wait.clamp(1_000, 10_000));
        }
    }

    /// A peer that has nothing.
    fn answer_last_peer(&mut self) {
        while let Some((id, (peer, request))) = self.asked.pop_first() {
            let response = match request {
                Request::Status(_) => {
                    Response::Status(crate::pool::Branch::default().status(self.wall))
                }
                Request::Headers { .. } => Response::Headers(Vec::new()),
                Request::Bodies { hashes } => Response::Bodies(vec![None; hashes.len()]),
                Request::MempoolIds { .. } => Response::MempoolIds(Vec::new()),
                Request::Readings { .. } => Response::Readings(Vec::new()),
            };
            let data = response.encode();
            self.give(Input::Response { peer, id, data });
        }
    }

    /// Journal entries that were on disk and are not in the chain.
    #[must_use]
    pub fn lost(&self) -> Vec<JournalEntry> {
        let chained: BTreeSet<(u64, u16)> = self
            .chain()
            .into_iter()
            .filter(|reading| self.authors.contains(&reading.author))
            .map(|reading| (reading.time.get(), reading.bpm))
            .collect();
        let entries = self.recorded.values();
        entries
            .filter(|entry| !chained.contains(&(entry.time.get(), entry.bpm.get())))
            .copied()
            .collect()
    }

    /// Nothing that was on disk, and was to stay, is gone.
    pub fn check_kept(&self) {
        let lost = self.lost();
        assert!(lost.is_empty(), "recorded and lost: {lost:?}");
        if self.emptied {
            return;
        }
        let mut kept: BTreeSet<ReadingId> = ids(&self.chain());
        kept.extend(ids(self.disk.promised()));
        let gone: Vec<_> = self.promised.difference(&kept).collect();
        assert!(gone.is_empty(), "protected or adopted, and gone: {gone:?}");
    }

    /// The best branch's readings as the disk has them.
    #[must_use]
    pub fn chain(&self) -> Vec<Reading> {
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
            Output::Write { id, batch } => self.disk.push(Job::Write(id, batch)),
            Output::Read { id, hashes } => self.disk.push(Job::Read(id, hashes)),
            Output::Request {
                peer,
                id,
                data,
                deadline,
            } => {
                assert!(data.len() <= MAX_REQUEST_LEN && deadline.get() > self.monotonic);
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
                assert!(
                    self.judging.remove(&id).is_some(),
                    "judged once, and only what came"
                );
            }
            Output::Mine { job, header } => self.job = Some((job, header)),
            Output::StopMining => self.job = None,
            Output::WakeAt(at) => {
                assert!(at.get() > self.monotonic, "wakes in the future");
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
            Output::Tell(Event::Adopted { ticket, .. }) => {
                assert!(
                    self.adopting.remove(&ticket),
                    "adopted once, and only what came"
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
        if let Some(fault) = too_much(&self.machine.load()) {
            panic!("{fault}");
        }
        let late = self
            .judging
            .iter()
            .find(|(_, came)| *came + VERDICT_PATIENCE <= self.monotonic);
        assert!(late.is_none(), "no verdict on {late:?}");
        let work = self.machine.status().total_work;
        assert!(
            work >= self.work || self.rotten,
            "the best branch never gets lighter"
        );
        self.work = work;
    }
}

const fn clocks(wall: u64, monotonic: u64) -> Now {
    Now {
        wall: UnixMillis::new(wall),
        monotonic: MonotonicMillis::new(monotonic),
    }
}

/// What these readings are called.
pub fn ids<'a>(readings: impl IntoIterator<Item = &'a Reading>) -> BTreeSet<ReadingId> {
    let id = |reading: &Reading| reading.id(room().id());
    readings.into_iter().map(id).collect()
}

/// A bound of the machine that it exceeds, in words.
fn too_much(load: &Load) -> Option<String> {
    use sync::config::{
        BODY_RANGE, MAX_ADOPTED, MAX_HEADERS_AHEAD, MAX_HELD_BLOCKS, MAX_JOURNAL, MAX_LOST,
        MAX_OPEN_BODY_REQUESTS, MAX_OPEN_READS, MAX_OPEN_REQUESTS, MAX_PEERS, MAX_RECOVERY_QUEUE,
        MAX_UNWRITTEN,
    };
    let headers = 6 * MAX_HEADERS_AHEAD;
    // Bodies may be on their way when there is no room for more, and so may be what comes of them.
    let bodies = MAX_PEERS * MAX_OPEN_BODY_REQUESTS * BODY_RANGE;
    [
        ("peers", load.peers, MAX_PEERS),
        (
            "open requests",
            load.open_requests,
            load.peers * MAX_OPEN_REQUESTS,
        ),
        ("open reads", load.open_reads, MAX_OPEN_READS),
        ("held blocks", load.held_blocks, MAX_HELD_BLOCKS),
        ("header syncs", load.header_syncs, MAX_PEERS),
        ("headers without bodies", load.bodiless_blocks, headers),
        (
            "side blocks",
            load.side_blocks,
            chain::tree::MAX_SIDE_BLOCKS + headers,
        ),
        (
            "readings in side blocks",
            load.side_readings,
            chain::tree::MAX_SIDE_READINGS,
        ),
        (
            "waiting readings",
            load.mempool,
            chain::mempool::MAX_READINGS,
        ),
        ("readings set aside", load.aside, chain::mempool::MAX_ASIDE),
        ("unwritten changes", load.unwritten, MAX_UNWRITTEN + bodies),
        ("left blocks", load.recovery, MAX_RECOVERY_QUEUE),
        ("lost bodies", load.lost, MAX_LOST),
        ("journal entries", load.journal, MAX_JOURNAL),
        ("adopted readings", load.adopted, MAX_ADOPTED),
    ]
    .into_iter()
    .find(|(_, found, limit)| found > limit)
    .map(|(what, found, limit)| format!("{found} {what}, at most {limit} allowed"))
}

impl Disk {
    /// A machine on what is here.
    #[must_use]
    pub fn restore(&self, seed: u8, now: Now) -> Machine<Peer> {
        let keys = self
            .keys
            .iter()
            .map(|(from, seed)| (*from, SecretKey::from_seed(*seed)));
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
        restore.rescue(self.protected.iter().copied());
        restore.adopted(self.adopted.values().copied());
        restore.tip(self.tip);
        restore.confirmed(self.confirmed);
        restore.finish()
    }

    /// Readings that must stay, beside the journal's and the best branch's.
    pub fn promised(&self) -> impl Iterator<Item = &Reading> {
        let blocks = self
            .protected
            .iter()
            .filter_map(|hash| self.blocks.get(hash));
        let readings = blocks.flat_map(|block| &block.readings);
        readings.chain(self.adopted.values())
    }

    /// What the journal's keys signed, entries included that others stand for now.
    #[must_use]
    pub fn signed(&self) -> Vec<Reading> {
        let keys = self.keys.iter();
        let keys: Vec<_> = keys
            .map(|(from, seed)| (*from, SecretKey::from_seed(*seed)))
            .collect();
        let entry = |(at, entry): (&u64, &JournalEntry)| {
            let resigns = None;
            (*at, JournalEntry { resigns, ..*entry })
        };
        let journal: Vec<_> = self.journal.iter().map(entry).collect();
        sign_journal(room(), key(OWN), &keys, &journal)
    }

    /// Every key that took over.
    fn authors(&self) -> impl Iterator<Item = Author> {
        let keys = self.keys.values();
        keys.map(|seed| SecretKey::from_seed(*seed).author())
    }

    fn push(&mut self, job: Job) {
        self.queue.push_back(Queued { job, fails: false });
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
                self.protected.insert(hash);
            }
            StoreOperation::DeleteRescue(hash) => {
                self.protected.remove(&hash);
            }
            StoreOperation::PutAdopted(id, reading) => {
                self.adopted.insert(id, reading);
            }
            StoreOperation::DeleteAdopted(id) => {
                self.adopted.remove(&id);
            }
            StoreOperation::PutConfirmed(hash) => self.confirmed = Some(hash),
        }
    }
}
