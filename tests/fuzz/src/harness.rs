//! The harness that drives a machine: its disk, its miner, its open requests, and the invariants that are checked after
//! every input. Performs outputs as a driver does, and uses only the machine's public API.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use heartchain_chain::{
    block::Block,
    bpm::Bpm,
    hash::{BlockHash, ReadingId},
    header::Header,
    key::{Author, SecretKey},
    reading::Reading,
    time::{MonotonicMillis, UnixMillis},
    work::Work,
};
use heartchain_sync::{
    Batch, Config, Event, Input, Load, Machine, Now, Output, Restore, StoreOperation,
    config::{MAX_CLOCK_OFFSET, VERDICT_PATIENCE},
    io::{
        GossipId, ImportPiece, InboundId, JobId, JournalEntry, ReadId, RequestId, Ticket, Topic,
        WriteId,
    },
    message::{MAX_REQUEST_LEN, MAX_RESPONSE_LEN, Request, Response},
    sign_journal,
};

use crate::pool::{OWN, START, key, room};

/// A peer, identified by a number.
pub type Peer = u8;

/// The peer that connects after everything else has happened.
const LAST_PEER: Peer = u8::MAX;

/// A job that the machine gives to the disk.
#[derive(Clone, Debug)]
enum Job {
    Write(WriteId, Batch),
    Read(ReadId, Vec<BlockHash>),
}

/// A job in the disk's queue.
#[derive(Clone, Debug)]
struct QueuedJob {
    job: Job,
    fails: bool,
}

/// The contents of the disk, and its job queue.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// The stored blocks, by hash.
    pub blocks: HashMap<BlockHash, Block>,
    /// The journal of recorded readings, by position.
    pub journal: BTreeMap<u64, JournalEntry>,
    /// Blocks that must not be deleted, because their readings still wait for another block.
    pub protected: BTreeSet<BlockHash>,
    /// Readings adopted from other tabs.
    pub adopted: BTreeMap<ReadingId, Reading>,
    keys: BTreeMap<u64, [u8; 32]>,
    tip: Option<BlockHash>,
    confirmed: Option<BlockHash>,
    queue: VecDeque<QueuedJob>,
}

/// The machine and its environment.
pub struct Harness {
    /// The machine under test.
    pub machine: Machine<Peer>,
    /// The machine's disk.
    pub disk: Disk,
    /// The wall clock, in Unix milliseconds.
    pub wall: u64,
    /// The monotonic clock in milliseconds; it restarts with every start.
    monotonic: u64,
    /// The latest time that the wall clock has ever shown.
    latest: u64,
    /// Authors of all keys that have signed on this machine.
    pub authors: BTreeSet<Author>,
    /// The machine's requests without a response.
    pub open_requests: BTreeMap<RequestId, (Peer, Request)>,
    /// The mining job that waits for a nonce.
    pub job: Option<(JobId, Header)>,
    wake_at: Option<u64>,
    /// Gossip items without a verdict, with their arrival times.
    awaiting_verdict: BTreeMap<GossipId, u64>,
    inbound: BTreeSet<InboundId>,
    recording: BTreeSet<Ticket>,
    importing: BTreeSet<Ticket>,
    adopting: BTreeSet<Ticket>,
    connected: BTreeSet<Peer>,
    work: Work,
    /// Whether any read has returned wrong or missing bodies. The machine may then leave an unreadable branch for one
    /// with less work.
    pub has_unreadable_bodies: bool,
    /// Whether the disk was cleared since the last start, so that bodies of the best branch may be lost everywhere.
    was_cleared: bool,
    /// Journal entries that must not get lost: all that were on disk since the last start.
    recorded: BTreeMap<u64, JournalEntry>,
    /// Readings that must not get lost: those of protected blocks and of other tabs that were on disk since the last
    /// start.
    must_stay: BTreeSet<ReadingId>,
    last_id: u64,
    starts: u8,
}

impl Harness {
    /// A harness with an empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::on_disk(Disk::default(), START)
    }

    /// A harness whose machine starts from this disk.
    #[must_use]
    pub fn on_disk(mut disk: Disk, wall: u64) -> Self {
        disk.queue.clear();
        let monotonic = 0;
        let machine = disk.restore(9, clocks(wall, monotonic));
        let recorded = disk.journal.clone();
        let mut harness = Self {
            authors: BTreeSet::from([key(OWN).author(), machine.author()]),
            machine,
            must_stay: ids(disk.must_stay()),
            disk,
            wall,
            monotonic,
            latest: wall,
            open_requests: BTreeMap::new(),
            job: None,
            wake_at: None,
            awaiting_verdict: BTreeMap::new(),
            inbound: BTreeSet::new(),
            recording: BTreeSet::new(),
            importing: BTreeSet::new(),
            adopting: BTreeSet::new(),
            connected: BTreeSet::new(),
            work: Work::ZERO,
            has_unreadable_bodies: false,
            was_cleared: false,
            recorded,
            last_id: 0,
            starts: 1,
        };
        harness.authors.extend(harness.disk.authors());
        harness
    }

    /// The current reading of both clocks.
    #[must_use]
    pub const fn now(&self) -> Now {
        clocks(self.wall, self.monotonic)
    }

    /// A wall clock late enough that no block that was ever accepted counts as too early. Peers may have moved the
    /// clock by which it was checked.
    #[must_use]
    pub const fn latest_valid_clock(&self) -> u64 {
        self.latest + MAX_CLOCK_OFFSET + 120_000
    }

    /// Feeds an input, performs its outputs, and checks the invariants.
    pub fn feed(&mut self, input: Input<Peer>) {
        let outputs = self.machine.handle(input, self.now());
        for output in outputs {
            self.perform(output);
        }
        self.authors.insert(self.machine.author());
        self.check();
    }

    /// Connects a peer, unless it is connected.
    pub fn connect(&mut self, peer: Peer) {
        if self.connected.insert(peer) {
            self.feed(Input::PeerConnected { peer });
        }
    }

    /// Disconnects a peer.
    pub fn disconnect(&mut self, peer: Peer) {
        if self.connected.remove(&peer) {
            self.open_requests.retain(|_, (to, _)| *to != peer);
            self.feed(Input::PeerDisconnected { peer });
        }
    }

    /// Delivers a gossip item.
    pub fn gossip(&mut self, from: Peer, topic: Topic, data: Vec<u8>) {
        let id = GossipId(self.next_id());
        self.awaiting_verdict.insert(id, self.monotonic);
        self.feed(Input::Gossip {
            from,
            id,
            topic,
            data,
        });
    }

    /// Delivers a peer's request.
    pub fn receive_request(&mut self, from: Peer, data: Vec<u8>) {
        let id = InboundId(self.next_id());
        self.inbound.insert(id);
        self.feed(Input::Request { from, id, data });
    }

    /// Records a heart rate.
    pub fn record(&mut self, bpm: Bpm) {
        let ticket = Ticket(self.next_id());
        self.recording.insert(ticket);
        self.feed(Input::Record { ticket, bpm });
    }

    /// Imports a piece of a file.
    pub fn import(&mut self, piece: ImportPiece) {
        let ticket = Ticket(self.next_id());
        self.importing.insert(ticket);
        self.feed(Input::Import { ticket, piece });
    }

    /// Adopts the readings of a closed tab.
    pub fn adopt(&mut self, readings: Vec<Reading>) {
        let ticket = Ticket(self.next_id());
        self.adopting.insert(ticket);
        self.feed(Input::Adopt { ticket, readings });
    }

    /// Number of imported pieces without a result.
    #[must_use]
    pub fn importing(&self) -> usize {
        self.importing.len()
    }

    /// Completes or fails the oldest disk job. Returns whether there was one.
    pub fn disk(&mut self, fails: bool) -> bool {
        let Some(QueuedJob { job, fails: lost }) = self.disk.queue.pop_front() else {
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
                self.remember_stored();
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
        self.feed(input);
        true
    }

    /// Fails the oldest job because the disk is full, if it is a write.
    pub fn disk_full(&mut self) {
        if let Some(Job::Write(id, _)) = self.disk.queue.front().map(|queued| &queued.job) {
            let id = *id;
            self.disk.queue.pop_front();
            self.feed(Input::WriteFailed { id, full: true });
        }
    }

    /// Completes the oldest job with these bodies instead of the stored ones, if it is a read.
    pub fn corrupt_read(&mut self, bodies: Vec<Option<Vec<Reading>>>) {
        if let Some(Job::Read(id, _)) = self.disk.queue.front().map(|queued| &queued.job) {
            let id = *id;
            self.disk.queue.pop_front();
            self.has_unreadable_bodies = true;
            self.feed(Input::Read { id, bodies });
        }
    }

    /// Deletes everything on disk and fails the jobs in progress.
    pub fn reset(&mut self) {
        let mut queue = core::mem::take(&mut self.disk.queue);
        for queued in &mut queue {
            queued.fails = true;
        }
        self.disk = Disk {
            queue,
            ..Disk::default()
        };
        (self.has_unreadable_bodies, self.was_cleared) = (true, true);
        self.feed(Input::StoreReset);
    }

    /// Remembers what is on disk now, because it must not get lost until the next start.
    fn remember_stored(&mut self) {
        self.recorded.extend(&self.disk.journal);
        self.must_stay.extend(ids(self.disk.must_stay()));
    }

    /// Mines the current job, if its difficulty is low enough for a fuzzer.
    pub fn mine(&mut self) {
        let Some((job, header)) = self.job else {
            return;
        };
        let target = header.bits.target().expect("a template's target");
        let search = heartchain_chain::mining::Job::new(&header, target);
        if let Some(nonce) = search.search(header.nonce, 1 << 14) {
            self.job = None;
            self.feed(Input::Mined { job, nonce });
        }
    }

    /// Advances both clocks.
    pub fn advance(&mut self, ms: u64) {
        self.wall += ms;
        self.monotonic += ms;
        self.latest = self.latest.max(self.wall);
        self.feed(Input::Tick);
    }

    /// Sets the wall clock ahead or back.
    pub fn set_clock(&mut self, seconds: i32) {
        self.wall = self.wall.saturating_add_signed(i64::from(seconds) * 1_000);
        self.latest = self.latest.max(self.wall);
        if seconds < 0 {
            // Blocks that are now ahead of the clock leave the best branch for the time being.
            self.work = Work::ZERO;
        }
        self.feed(Input::Tick);
    }

    /// Kills the tab and opens it again: everything but the disk is lost. The wall clock is set in between.
    pub fn crash(&mut self, seconds: i32) {
        self.disk.queue.clear();
        self.open_requests.clear();
        self.awaiting_verdict.clear();
        self.inbound.clear();
        self.recording.clear();
        self.importing.clear();
        self.adopting.clear();
        self.connected.clear();
        self.job = None;
        self.wake_at = None;
        self.work = Work::ZERO;
        self.was_cleared = false;
        self.recorded = self.disk.journal.clone();
        self.must_stay = ids(self.disk.must_stay());
        self.starts = self.starts.wrapping_add(1);
        self.monotonic = 0;
        self.wall = self.wall.saturating_add_signed(i64::from(seconds) * 1_000);
        self.latest = self.latest.max(self.wall);
        self.machine = self.disk.restore(self.starts, self.now());
        self.authors.insert(self.machine.author());
        self.feed(Input::Tick);
    }

    /// Disconnects all peers, sets a valid clock, and lets disk, time and miner run until everything that was recorded
    /// is in the chain.
    pub fn settle(&mut self) {
        self.run_until_settled();
        if self.lost().is_empty() && !self.was_cleared {
            return;
        }
        // The machine may wait hours for missing bodies; a restart uses what is on disk. It waits for lost journal
        // entries as long as it has no peers.
        self.crash(0);
        self.connect(LAST_PEER);
        self.run_until_settled();
    }

    fn run_until_settled(&mut self) {
        for peer in self.connected.clone() {
            if peer != LAST_PEER {
                self.disconnect(peer);
            }
        }
        // Later than any timestamp made while the clock was ahead, and a gap that resets the difficulty.
        self.wall = self.latest_valid_clock();
        self.advance(120_000);
        for _ in 0..400 {
            while self.disk(false) {}
            self.mine();
            while self.disk(false) {}
            self.respond_as_last_peer();
            if self.lost().is_empty() && self.machine.load().unwritten == 0 {
                return;
            }
            let wait = self.wake_at.unwrap_or(0).saturating_sub(self.monotonic);
            self.advance(wait.clamp(1_000, 10_000));
        }
    }

    /// Answers all open requests like a peer without any data.
    fn respond_as_last_peer(&mut self) {
        while let Some((id, (peer, request))) = self.open_requests.pop_first() {
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
            self.feed(Input::Response { peer, id, data });
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

    /// Panics if anything that was on disk and must stay is lost.
    pub fn check_nothing_lost(&self) {
        let lost = self.lost();
        assert!(lost.is_empty(), "recorded and lost: {lost:?}");
        if self.was_cleared {
            return;
        }
        let mut kept: BTreeSet<ReadingId> = ids(&self.chain());
        kept.extend(ids(self.disk.must_stay()));
        let gone: Vec<_> = self.must_stay.difference(&kept).collect();
        assert!(gone.is_empty(), "protected or adopted, and lost: {gone:?}");
    }

    /// The readings of the best branch's stored blocks.
    #[must_use]
    pub fn chain(&self) -> Vec<Reading> {
        (1..=self.machine.status().index)
            .filter_map(|index| self.machine.best_hash(index))
            .filter_map(|hash| self.disk.blocks.get(&hash))
            .flat_map(|block| block.readings.clone())
            .collect()
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
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
                assert!(
                    self.connected.contains(&peer),
                    "requests only from connected peers"
                );
                let request = Request::decode(&data).expect("the machine's requests are valid");
                assert!(self.open_requests.insert(id, (peer, request)).is_none());
            }
            Output::Respond { id, data } => {
                assert!(self.inbound.remove(&id), "one response per request");
                assert!(data.len() <= MAX_RESPONSE_LEN);
                Response::decode(&data).expect("the machine's responses are valid");
            }
            Output::Refuse { id } => {
                assert!(self.inbound.remove(&id), "one refusal per request");
            }
            Output::Verdict { id, .. } => {
                assert!(
                    self.awaiting_verdict.remove(&id).is_some(),
                    "one verdict per gossip item"
                );
            }
            Output::Mine { job, header } => self.job = Some((job, header)),
            Output::StopMining => self.job = None,
            Output::WakeAt(at) => {
                assert!(at.get() > self.monotonic, "wakes in the future");
                self.wake_at = Some(at.get());
            }
            Output::Emit(Event::Recorded { ticket, .. }) => {
                assert!(self.recording.remove(&ticket), "one result per recording");
                let recorded = self.disk.journal.len();
                assert!(recorded > 0, "confirmed before it is on disk");
            }
            Output::Emit(Event::RecordFailed { ticket, .. }) => {
                assert!(self.recording.remove(&ticket), "one failure per recording");
            }
            Output::Emit(Event::Imported { ticket, .. }) => {
                assert!(
                    self.importing.remove(&ticket),
                    "one result per imported piece"
                );
            }
            Output::Emit(Event::Adopted { ticket, .. }) => {
                assert!(self.adopting.remove(&ticket), "one result per adoption");
            }
            Output::Disconnect { peer, .. } => {
                self.connected.remove(&peer);
                self.open_requests.retain(|_, (to, _)| *to != peer);
            }
            Output::Publish { .. } | Output::Emit(_) => {}
        }
    }

    fn check(&mut self) {
        if let Some(fault) = exceeded_bound(&self.machine.load()) {
            panic!("{fault}");
        }
        let late = self
            .awaiting_verdict
            .iter()
            .find(|(_, came)| *came + VERDICT_PATIENCE <= self.monotonic);
        assert!(late.is_none(), "no verdict on {late:?}");
        let work = self.machine.status().total_work;
        assert!(
            work >= self.work || self.has_unreadable_bodies,
            "the best branch never loses work"
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

/// The IDs of these readings.
pub fn ids<'a>(readings: impl IntoIterator<Item = &'a Reading>) -> BTreeSet<ReadingId> {
    let id = |reading: &Reading| reading.id(room().id());
    readings.into_iter().map(id).collect()
}

/// Describes a bound that the machine exceeds, if any.
fn exceeded_bound(load: &Load) -> Option<String> {
    use heartchain_sync::config::{
        BODY_RANGE, MAX_ADOPTED, MAX_HEADERS_AHEAD, MAX_JOURNAL, MAX_MISSING_BODIES,
        MAX_OPEN_BODY_REQUESTS, MAX_OPEN_READS, MAX_OPEN_REQUESTS, MAX_ORPHANS, MAX_PEERS,
        MAX_RECOVERY_QUEUE, MAX_UNWRITTEN,
    };
    let headers = 6 * MAX_HEADERS_AHEAD;
    // Requested bodies may arrive when the write queue is full, and cause more writes.
    let bodies = MAX_PEERS * MAX_OPEN_BODY_REQUESTS * BODY_RANGE;
    [
        ("peers", load.peers, MAX_PEERS),
        (
            "open requests",
            load.open_requests,
            load.peers * MAX_OPEN_REQUESTS,
        ),
        ("open reads", load.open_reads, MAX_OPEN_READS),
        ("orphan blocks", load.orphans, MAX_ORPHANS),
        ("header syncs", load.header_syncs, MAX_PEERS),
        ("headers without bodies", load.bodiless_blocks, headers),
        (
            "side blocks",
            load.side_blocks,
            heartchain_chain::tree::MAX_SIDE_BLOCKS + headers,
        ),
        (
            "readings in side blocks",
            load.side_readings,
            heartchain_chain::tree::MAX_SIDE_READINGS,
        ),
        (
            "waiting readings",
            load.mempool,
            heartchain_chain::mempool::MAX_READINGS,
        ),
        (
            "displaced readings",
            load.displaced,
            heartchain_chain::mempool::MAX_DISPLACED,
        ),
        ("unwritten changes", load.unwritten, MAX_UNWRITTEN + bodies),
        ("blocks to recover", load.recovery, MAX_RECOVERY_QUEUE),
        ("missing bodies", load.missing_bodies, MAX_MISSING_BODIES),
        ("journal entries", load.journal, MAX_JOURNAL),
        ("adopted readings", load.adopted, MAX_ADOPTED),
    ]
    .into_iter()
    .find(|(_, found, limit)| found > limit)
    .map(|(what, found, limit)| format!("{found} {what}, at most {limit} allowed"))
}

impl Disk {
    /// Starts a machine from this disk.
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
        restore.recovery(self.protected.iter().copied());
        restore.adopted(self.adopted.values().copied());
        restore.tip(self.tip);
        restore.confirmed(self.confirmed);
        restore.finish()
    }

    /// Readings that must stay, in addition to those of the journal and the best branch.
    pub fn must_stay(&self) -> impl Iterator<Item = &Reading> {
        let blocks = self
            .protected
            .iter()
            .filter_map(|hash| self.blocks.get(hash));
        let readings = blocks.flat_map(|block| &block.readings);
        readings.chain(self.adopted.values())
    }

    /// The readings that the journal's keys have signed, including entries that others have replaced.
    #[must_use]
    pub fn signed(&self) -> Vec<Reading> {
        let keys = self.keys.iter();
        let keys: Vec<_> = keys
            .map(|(from, seed)| (*from, SecretKey::from_seed(*seed)))
            .collect();
        let entry = |(at, entry): (&u64, &JournalEntry)| {
            let replaces = None;
            (*at, JournalEntry { replaces, ..*entry })
        };
        let journal: Vec<_> = self.journal.iter().map(entry).collect();
        sign_journal(room(), key(OWN), &keys, &journal)
    }

    /// Authors of all keys that replaced the first one.
    fn authors(&self) -> impl Iterator<Item = Author> {
        let keys = self.keys.values();
        keys.map(|seed| SecretKey::from_seed(*seed).author())
    }

    fn push(&mut self, job: Job) {
        self.queue.push_back(QueuedJob { job, fails: false });
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
            StoreOperation::PutRecovery(hash) => {
                self.protected.insert(hash);
            }
            StoreOperation::DeleteRecovery(hash) => {
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
