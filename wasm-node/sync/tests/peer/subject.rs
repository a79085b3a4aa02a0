//! A machine with a disk that does at once what it is told, and peers that the test speaks for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chain::{
    block::Block,
    bpm::Bpm,
    hash::{BlockHash, ReadingId},
    key::SecretKey,
    reading::Reading,
    time::{MonotonicMillis, UnixMillis},
};
use sync::{
    Config, Event, Input, Machine, Now, Output, Restore, StoreOperation,
    message::{IdRow, Request, Response, StatusMessage},
    seam::{
        DropReason, GossipId, InboundId, JobId, JournalEntry, ReadId, RequestId, Ticket, Topic,
        Verdict, WriteId,
    },
};

use crate::branch::{Branch, START, key, room};

pub(crate) type Peer = u64;

/// Both clocks at this true time, the wall clock so far ahead of it.
pub(crate) fn at(now: u64, clock: i64) -> Now {
    Now {
        wall: UnixMillis::new(now.saturating_add_signed(clock)),
        monotonic: MonotonicMillis::new(now),
    }
}

/// The machine under test.
pub(crate) struct Subject {
    pub(crate) machine: Machine<Peer>,
    /// True time, which its monotonic clock shows.
    pub(crate) now: u64,
    /// How far its wall clock is ahead of that.
    pub(crate) clock: i64,
    pub(crate) blocks: HashMap<BlockHash, Block>,
    /// What it asked and has not been answered.
    pub(crate) asked: BTreeMap<RequestId, (Peer, Request)>,
    pub(crate) events: Vec<Event>,
    pub(crate) verdicts: BTreeMap<GossipId, Verdict>,
    pub(crate) dropped: Vec<(Peer, DropReason, bool)>,
    pub(crate) published: Vec<(Topic, Vec<u8>)>,
    pub(crate) answers: BTreeMap<InboundId, Option<Response>>,
    pub(crate) job: Option<(JobId, chain::header::Header)>,
    pub(crate) wake_at: Option<u64>,
    /// Writes that were neither done nor failed yet, if they are held.
    pub(crate) held_writes: Option<Vec<(WriteId, Vec<StoreOperation>)>>,
    /// Reads that were neither done nor failed yet, if they are held.
    pub(crate) held_reads: Option<Vec<(ReadId, Vec<BlockHash>)>>,
    /// What else is on its disk.
    pub(crate) protected: BTreeSet<BlockHash>,
    pub(crate) adopted: BTreeMap<ReadingId, Reading>,
    pub(crate) journal: BTreeMap<u64, JournalEntry>,
    pub(crate) keys: BTreeMap<u64, [u8; 32]>,
    pub(crate) stored_tip: Option<BlockHash>,
    pub(crate) confirmed: Option<BlockHash>,
    /// Bodies read from disk so far.
    pub(crate) bodies_read: usize,
    first_key: u64,
    mines: bool,
    names: u64,
}

impl Subject {
    /// A peer that does not mine.
    pub(crate) fn new() -> Self {
        Self::with(Config { mining: false }, 1_000)
    }

    pub(crate) fn miner(author: u64) -> Self {
        Self::with(Config { mining: true }, author)
    }

    fn with(config: Config, author: u64) -> Self {
        let mut seed = [5; 32];
        seed[..8].copy_from_slice(&author.to_le_bytes());
        Self {
            machine: Machine::new(config, room(), key(author), seed, at(START, 0)),
            now: START,
            clock: 0,
            blocks: HashMap::new(),
            asked: BTreeMap::new(),
            events: Vec::new(),
            verdicts: BTreeMap::new(),
            dropped: Vec::new(),
            published: Vec::new(),
            answers: BTreeMap::new(),
            job: None,
            wake_at: None,
            held_writes: None,
            held_reads: None,
            protected: BTreeSet::new(),
            adopted: BTreeMap::new(),
            journal: BTreeMap::new(),
            keys: BTreeMap::new(),
            stored_tip: None,
            confirmed: None,
            bodies_read: 0,
            first_key: author,
            mines: config.mining,
            names: 0,
        }
    }

    /// Gives an input and does what comes of it.
    pub(crate) fn give(&mut self, input: Input<Peer>) {
        let mut inputs = vec![input];
        while !inputs.is_empty() {
            for input in core::mem::take(&mut inputs) {
                let outputs: Vec<_> = self
                    .machine
                    .handle(input, at(self.now, self.clock))
                    .collect();
                inputs.extend(
                    outputs
                        .into_iter()
                        .filter_map(|output| self.perform(output)),
                );
            }
        }
    }

    fn perform(&mut self, output: Output<Peer>) -> Option<Input<Peer>> {
        match output {
            Output::Write { id, batch } => {
                if let Some(held) = &mut self.held_writes {
                    held.push((id, batch.operations));
                    return None;
                }
                batch
                    .operations
                    .into_iter()
                    .for_each(|operation| self.apply(operation));
                return Some(Input::Written { id });
            }
            Output::Read { id, hashes } => {
                self.bodies_read += hashes.len();
                if let Some(held) = &mut self.held_reads {
                    held.push((id, hashes));
                    return None;
                }
                let body = |hash| self.blocks.get(hash).map(|block| block.readings.clone());
                return Some(Input::Read {
                    id,
                    bodies: hashes.iter().map(body).collect(),
                });
            }
            Output::Request { peer, id, data, .. } => {
                let request = Request::decode(&data).expect("an honest request");
                self.asked.insert(id, (peer, request));
            }
            Output::Respond { id, data } => {
                self.answers
                    .insert(id, Some(Response::decode(&data).expect("an honest answer")));
            }
            Output::Refuse { id } => {
                self.answers.insert(id, None);
            }
            Output::Publish { topic, data } => self.published.push((topic, data)),
            Output::Judge { id, verdict, .. } => {
                assert_eq!(self.verdicts.insert(id, verdict), None, "judged twice");
            }
            Output::Mine { job, header } => self.job = Some((job, header)),
            Output::StopMining => self.job = None,
            Output::WakeAt(at) => self.wake_at = Some(at.get()),
            Output::Tell(event) => self.events.push(event),
            Output::Drop {
                peer,
                reason,
                until,
            } => {
                self.asked.retain(|_, (asked, _)| *asked != peer);
                self.dropped.push((peer, reason, until.is_some()));
            }
        }
        None
    }

    pub(crate) fn apply(&mut self, operation: StoreOperation) {
        match operation {
            StoreOperation::PutBlock(hash, block) => {
                self.blocks.insert(hash, block);
            }
            StoreOperation::DeleteBlock(hash) => {
                self.blocks.remove(&hash);
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
            StoreOperation::PutTip(hash) => self.stored_tip = Some(hash),
            StoreOperation::PutConfirmed(hash) => self.confirmed = Some(hash),
            StoreOperation::PutJournal(position, entry) => {
                self.journal.insert(position, entry);
            }
            StoreOperation::PutKey(seed, from) => {
                self.keys.insert(from, seed);
            }
        }
    }

    /// The tab is closed, and opened again when its wall clock is so far ahead of the true time.
    pub(crate) fn reopen(&self, clock: i64) -> Self {
        let config = Config { mining: self.mines };
        let keys = self.keys.iter();
        let keys = keys.map(|(from, seed)| (*from, SecretKey::from_seed(*seed)));
        let mut restore: Restore<Peer> = Restore::new(
            config,
            room(),
            key(self.first_key),
            keys,
            [9; 32],
            at(self.now, clock),
        );
        restore.journal(self.journal.iter().map(|(at, entry)| (*at, *entry)));
        let mut blocks: Vec<_> = self.blocks.iter().collect();
        blocks.sort_by_key(|(hash, block)| (block.header.index, **hash));
        restore.blocks(
            blocks
                .into_iter()
                .map(|(hash, block)| (*hash, block.clone())),
        );
        restore.rescue(self.protected.iter().copied());
        restore.adopted(self.adopted.values().copied());
        restore.tip(self.stored_tip);
        restore.confirmed(self.confirmed);
        let mut subject = Self {
            machine: restore.finish(),
            now: self.now,
            clock,
            blocks: self.blocks.clone(),
            protected: self.protected.clone(),
            adopted: self.adopted.clone(),
            journal: self.journal.clone(),
            keys: self.keys.clone(),
            stored_tip: self.stored_tip,
            confirmed: self.confirmed,
            ..Self::with(config, self.first_key)
        };
        subject.give(Input::Tick);
        subject
    }

    /// Every reading on disk, in memory or on the chain.
    pub(crate) fn readings(&self) -> BTreeSet<ReadingId> {
        let id = |reading: &Reading| reading.id(room().id());
        let blocks = self.blocks.values().flat_map(|block| &block.readings);
        blocks
            .chain(self.machine.pending())
            .chain(self.adopted.values())
            .map(id)
            .collect()
    }

    /// Writes what was held back; what comes from now on is written at once.
    pub(crate) fn finish_held_writes(&mut self) {
        for (id, operations) in self.held_writes.take().unwrap_or_default() {
            for operation in operations {
                self.apply(operation);
            }
            self.give(Input::Written { id });
        }
    }

    pub(crate) fn name(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    /// Lets time pass; the machine is woken whenever it wishes.
    pub(crate) fn wait(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(at) = self.wake_at.filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.wake_at = None;
            self.give(Input::Tick);
        }
        self.now = end;
        self.give(Input::Tick);
    }

    pub(crate) fn connect(&mut self, peer: Peer) {
        self.give(Input::PeerConnected { peer });
    }

    pub(crate) fn disconnect(&mut self, peer: Peer) {
        self.asked.retain(|_, (asked, _)| *asked != peer);
        self.give(Input::PeerDisconnected { peer });
    }

    pub(crate) fn record(&mut self, bpm: u16) -> Ticket {
        let ticket = Ticket(self.name());
        let bpm = Bpm::new(bpm).expect("a heart rate");
        self.give(Input::Record { ticket, bpm });
        ticket
    }

    pub(crate) fn gossip(&mut self, from: Peer, topic: Topic, data: Vec<u8>) -> GossipId {
        let id = GossipId(self.name());
        self.give(Input::Gossip {
            from,
            id,
            topic,
            data,
        });
        id
    }

    pub(crate) fn gossip_block(&mut self, from: Peer, block: &Block) -> GossipId {
        self.gossip(from, Topic::Blocks, block.encode())
    }

    pub(crate) fn gossip_reading(&mut self, from: Peer, reading: &Reading) -> GossipId {
        self.gossip(from, Topic::Readings, reading.to_bytes().to_vec())
    }

    pub(crate) fn verdict(&self, id: GossipId) -> Option<Verdict> {
        self.verdicts.get(&id).copied()
    }

    /// A peer asks; what it is told, `None` if it is refused.
    pub(crate) fn ask(&mut self, from: Peer, request: &Request) -> Option<Response> {
        self.ask_bytes(from, request.encode())
    }

    pub(crate) fn ask_bytes(&mut self, from: Peer, data: Vec<u8>) -> Option<Response> {
        let id = InboundId(self.name());
        self.give(Input::Request { from, id, data });
        self.answers
            .remove(&id)
            .expect("an answer or a refusal at once")
    }

    /// A peer tells its Status of its own accord.
    pub(crate) fn hear_status(&mut self, from: Peer, status: StatusMessage) {
        self.ask(from, &Request::Status(status));
    }

    /// The oldest open request of this kind to a peer.
    pub(crate) fn open(
        &self,
        peer: Peer,
        kind: impl Fn(&Request) -> bool,
    ) -> Option<(RequestId, Request)> {
        self.asked
            .iter()
            .find(|(_, (asked, request))| *asked == peer && kind(request))
            .map(|(id, (_, request))| (*id, request.clone()))
    }

    pub(crate) fn respond(&mut self, peer: Peer, id: RequestId, data: Vec<u8>) {
        self.asked.remove(&id);
        self.give(Input::Response { peer, id, data });
    }

    /// Answers the oldest open request of this kind to a peer with these bytes.
    pub(crate) fn answer(
        &mut self,
        peer: Peer,
        kind: impl Fn(&Request) -> bool,
        response: &Response,
    ) {
        let (id, _) = self.open(peer, kind).expect("such a request is open");
        self.respond(peer, id, response.encode());
    }

    /// Answers everything asked of a peer as an honest one that holds this branch does; `gives` says which bodies.
    pub(crate) fn serve_some(
        &mut self,
        peer: Peer,
        branch: &Branch,
        gives: impl Fn(&BlockHash) -> bool,
    ) {
        while let Some((id, request)) = self.open(peer, |_| true) {
            let response = honest_answer(branch, &request, &gives);
            self.respond(peer, id, response.encode());
        }
    }

    /// Answers what is asked of a peer of this kind, and nothing else.
    pub(crate) fn serve_some_of(
        &mut self,
        peer: Peer,
        branch: &Branch,
        kind: impl Fn(&Request) -> bool,
    ) {
        while let Some((id, request)) = self.open(peer, &kind) {
            let response = honest_answer(branch, &request, |_| true);
            self.respond(peer, id, response.encode());
        }
    }

    /// Answers everything asked of several peers.
    pub(crate) fn serve_all(&mut self, peers: &[(Peer, &Branch)]) {
        while peers
            .iter()
            .any(|(peer, _)| self.open(*peer, |_| true).is_some())
        {
            for (peer, branch) in peers {
                self.serve(*peer, branch);
            }
        }
    }

    pub(crate) fn serve(&mut self, peer: Peer, branch: &Branch) {
        self.serve_some(peer, branch, |_| true);
    }

    /// Finds the nonce that it looks for.
    pub(crate) fn find_nonce(&mut self) -> bool {
        let Some((job, mut header)) = self.job.take() else {
            return false;
        };
        crate::branch::work(&mut header);
        self.give(Input::Mined {
            job,
            nonce: header.nonce,
        });
        true
    }

    pub(crate) fn tip(&self) -> BlockHash {
        self.machine.status().tip
    }

    pub(crate) fn was_banned(&self, peer: Peer) -> Option<&DropReason> {
        self.dropped
            .iter()
            .find(|(dropped, _, banned)| *dropped == peer && *banned)
            .map(|(_, reason, _)| reason)
    }
}

pub(crate) fn is_status(request: &Request) -> bool {
    matches!(request, Request::Status(_))
}

pub(crate) fn is_headers(request: &Request) -> bool {
    matches!(request, Request::Headers { .. })
}

pub(crate) fn is_bodies(request: &Request) -> bool {
    matches!(request, Request::Bodies { .. })
}

pub(crate) fn is_listing(request: &Request) -> bool {
    matches!(request, Request::MempoolIds { .. })
}

pub(crate) fn is_readings(request: &Request) -> bool {
    matches!(request, Request::Readings { .. })
}

pub(crate) fn honest_answer(
    branch: &Branch,
    request: &Request,
    gives: impl Fn(&BlockHash) -> bool,
) -> Response {
    match request {
        Request::Status(_) => Response::Status(branch.status()),
        Request::Headers { locator } => {
            let known = locator.iter().find_map(|hash| branch.place(hash));
            let next = known.map_or(0, |at| at + 1);
            let headers = branch.blocks.iter().skip(next).map(|block| block.header);
            Response::Headers(headers.take(sync::message::MAX_HEADERS).collect())
        }
        Request::Bodies { hashes } => {
            let body = |hash: &BlockHash| {
                let place = branch.place(hash).filter(|_| gives(hash))?;
                Some(branch.blocks[place].readings.clone())
            };
            Response::Bodies(hashes.iter().map(body).collect())
        }
        Request::MempoolIds { .. } => Response::MempoolIds(Vec::<IdRow>::new()),
        Request::Readings { .. } => Response::Readings(Vec::new()),
    }
}
