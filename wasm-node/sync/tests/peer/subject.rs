//! The machine under test, with a disk that completes jobs at once and peers that the test plays.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use heartchain_chain::{
    block::Block,
    bpm::Bpm,
    hash::{BlockHash, ReadingId},
    key::SecretKey,
    reading::Reading,
    time::{MonotonicMillis, UnixMillis},
};
use heartchain_sync::{
    Config, Event, Input, Machine, Now, Output, Restore, StoreOperation,
    io::{
        DisconnectReason, GossipId, InboundId, JobId, JournalEntry, ReadId, RequestId, Ticket,
        Topic, Verdict, WriteId,
    },
    message::{MempoolRow, Request, Response, StatusMessage},
};

use crate::branch::{Branch, START, key, room};

pub(crate) type Peer = u64;

/// Both clocks at true time `now`, with the wall clock `clock` ms ahead.
pub(crate) fn now_at(now: u64, clock: i64) -> Now {
    Now {
        wall: UnixMillis::new(now.saturating_add_signed(clock)),
        monotonic: MonotonicMillis::new(now),
    }
}

/// The machine under test and everything that its driver would hold.
pub(crate) struct Subject {
    pub(crate) machine: Machine<Peer>,
    /// The true time, which its monotonic clock shows.
    pub(crate) now: u64,
    /// How far its wall clock is ahead of the true time, ms.
    pub(crate) clock_offset: i64,
    pub(crate) blocks: HashMap<BlockHash, Block>,
    /// Requests that it sent and that have not been answered.
    pub(crate) open_requests: BTreeMap<RequestId, (Peer, Request)>,
    pub(crate) events: Vec<Event>,
    pub(crate) verdicts: BTreeMap<GossipId, Verdict>,
    pub(crate) disconnections: Vec<(Peer, DisconnectReason, bool)>,
    pub(crate) published: Vec<(Topic, Vec<u8>)>,
    pub(crate) responses: BTreeMap<InboundId, Option<Response>>,
    pub(crate) job: Option<(JobId, heartchain_chain::header::Header)>,
    pub(crate) wake_at: Option<u64>,
    /// If set, writes are held here instead of being completed.
    pub(crate) held_writes: Option<Vec<(WriteId, Vec<StoreOperation>)>>,
    /// If set, reads are held here instead of being completed.
    pub(crate) held_reads: Option<Vec<(ReadId, Vec<BlockHash>)>>,
    /// Left blocks that its disk keeps until their readings are recovered.
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
    last_id: u64,
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
            machine: Machine::new(config, room(), key(author), seed, now_at(START, 0)),
            now: START,
            clock_offset: 0,
            blocks: HashMap::new(),
            open_requests: BTreeMap::new(),
            events: Vec::new(),
            verdicts: BTreeMap::new(),
            disconnections: Vec::new(),
            published: Vec::new(),
            responses: BTreeMap::new(),
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
            last_id: 0,
        }
    }

    /// Feeds an input and performs all resulting outputs.
    pub(crate) fn feed(&mut self, input: Input<Peer>) {
        let mut inputs = vec![input];
        while !inputs.is_empty() {
            for input in core::mem::take(&mut inputs) {
                let outputs: Vec<_> = self
                    .machine
                    .handle(input, now_at(self.now, self.clock_offset))
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
                self.open_requests.insert(id, (peer, request));
            }
            Output::Respond { id, data } => {
                self.responses
                    .insert(id, Some(Response::decode(&data).expect("an honest answer")));
            }
            Output::Refuse { id } => {
                self.responses.insert(id, None);
            }
            Output::Publish { topic, data } => self.published.push((topic, data)),
            Output::Verdict { id, verdict, .. } => {
                assert_eq!(self.verdicts.insert(id, verdict), None, "judged twice");
            }
            Output::Mine { job, header } => self.job = Some((job, header)),
            Output::StopMining => self.job = None,
            Output::WakeAt(at) => self.wake_at = Some(at.get()),
            Output::Emit(event) => self.events.push(event),
            Output::Disconnect {
                peer,
                reason,
                until,
            } => {
                self.open_requests.retain(|_, (asked, _)| *asked != peer);
                self.disconnections.push((peer, reason, until.is_some()));
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

    /// Closes the tab and opens it again with a wall clock `clock` ms ahead of the true time.
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
            now_at(self.now, clock),
        );
        restore.journal(self.journal.iter().map(|(at, entry)| (*at, *entry)));
        let mut blocks: Vec<_> = self.blocks.iter().collect();
        blocks.sort_by_key(|(hash, block)| (block.header.index, **hash));
        restore.blocks(
            blocks
                .into_iter()
                .map(|(hash, block)| (*hash, block.clone())),
        );
        restore.recovery(self.protected.iter().copied());
        restore.adopted(self.adopted.values().copied());
        restore.tip(self.stored_tip);
        restore.confirmed(self.confirmed);
        let mut subject = Self {
            machine: restore.finish(),
            now: self.now,
            clock_offset: clock,
            blocks: self.blocks.clone(),
            protected: self.protected.clone(),
            adopted: self.adopted.clone(),
            journal: self.journal.clone(),
            keys: self.keys.clone(),
            stored_tip: self.stored_tip,
            confirmed: self.confirmed,
            ..Self::with(config, self.first_key)
        };
        subject.feed(Input::Tick);
        subject
    }

    /// All readings in stored blocks, in the mempool, or adopted from other tabs.
    pub(crate) fn readings(&self) -> BTreeSet<ReadingId> {
        let id = |reading: &Reading| reading.id(room().id());
        let blocks = self.blocks.values().flat_map(|block| &block.readings);
        blocks
            .chain(self.machine.pending())
            .chain(self.adopted.values())
            .map(id)
            .collect()
    }

    /// Completes all held writes. Later writes complete at once.
    pub(crate) fn finish_held_writes(&mut self) {
        for (id, operations) in self.held_writes.take().unwrap_or_default() {
            for operation in operations {
                self.apply(operation);
            }
            self.feed(Input::Written { id });
        }
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Advances the time; the machine is woken whenever it asked for it.
    pub(crate) fn advance(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(at) = self.wake_at.filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.wake_at = None;
            self.feed(Input::Tick);
        }
        self.now = end;
        self.feed(Input::Tick);
    }

    pub(crate) fn connect(&mut self, peer: Peer) {
        self.feed(Input::PeerConnected { peer });
    }

    pub(crate) fn disconnect(&mut self, peer: Peer) {
        self.open_requests.retain(|_, (asked, _)| *asked != peer);
        self.feed(Input::PeerDisconnected { peer });
    }

    pub(crate) fn record(&mut self, bpm: u16) -> Ticket {
        let ticket = Ticket(self.next_id());
        let bpm = Bpm::new(bpm).expect("a heart rate");
        self.feed(Input::Record { ticket, bpm });
        ticket
    }

    pub(crate) fn gossip(&mut self, from: Peer, topic: Topic, data: Vec<u8>) -> GossipId {
        let id = GossipId(self.next_id());
        self.feed(Input::Gossip {
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

    /// A peer sends a request. Returns the machine's response, or `None` if it refuses.
    pub(crate) fn handle_request(&mut self, from: Peer, request: &Request) -> Option<Response> {
        self.handle_request_bytes(from, request.encode())
    }

    pub(crate) fn handle_request_bytes(&mut self, from: Peer, data: Vec<u8>) -> Option<Response> {
        let id = InboundId(self.next_id());
        self.feed(Input::Request { from, id, data });
        self.responses
            .remove(&id)
            .expect("an answer or a refusal at once")
    }

    /// A peer sends its status unasked.
    pub(crate) fn receive_status(&mut self, from: Peer, status: StatusMessage) {
        self.handle_request(from, &Request::Status(status));
    }

    /// The oldest open request to a peer that matches `kind`.
    pub(crate) fn open_request(
        &self,
        peer: Peer,
        kind: impl Fn(&Request) -> bool,
    ) -> Option<(RequestId, Request)> {
        self.open_requests
            .iter()
            .find(|(_, (asked, request))| *asked == peer && kind(request))
            .map(|(id, (_, request))| (*id, request.clone()))
    }

    pub(crate) fn respond(&mut self, peer: Peer, id: RequestId, data: Vec<u8>) {
        self.open_requests.remove(&id);
        self.feed(Input::Response { peer, id, data });
    }

    /// Answers the oldest open request to a peer that matches `kind`.
    pub(crate) fn answer(
        &mut self,
        peer: Peer,
        kind: impl Fn(&Request) -> bool,
        response: &Response,
    ) {
        let (id, _) = self
            .open_request(peer, kind)
            .expect("such a request is open");
        self.respond(peer, id, response.encode());
    }

    /// Answers all open requests to a peer as an honest peer with this branch would, but with only those bodies that
    /// match `has_body`.
    pub(crate) fn serve_with_bodies(
        &mut self,
        peer: Peer,
        branch: &Branch,
        has_body: impl Fn(&BlockHash) -> bool,
    ) {
        while let Some((id, request)) = self.open_request(peer, |_| true) {
            let response = honest_response(branch, &request, &has_body);
            self.respond(peer, id, response.encode());
        }
    }

    /// Answers only those open requests to a peer that match `kind`.
    pub(crate) fn serve_requests_of(
        &mut self,
        peer: Peer,
        branch: &Branch,
        kind: impl Fn(&Request) -> bool,
    ) {
        while let Some((id, request)) = self.open_request(peer, &kind) {
            let response = honest_response(branch, &request, |_| true);
            self.respond(peer, id, response.encode());
        }
    }

    /// Answers all open requests to several peers.
    pub(crate) fn serve_all(&mut self, peers: &[(Peer, &Branch)]) {
        while peers
            .iter()
            .any(|(peer, _)| self.open_request(*peer, |_| true).is_some())
        {
            for (peer, branch) in peers {
                self.serve(*peer, branch);
            }
        }
    }

    pub(crate) fn serve(&mut self, peer: Peer, branch: &Branch) {
        self.serve_with_bodies(peer, branch, |_| true);
    }

    /// Mines the current job, if there is one. Returns whether there was one.
    pub(crate) fn find_nonce(&mut self) -> bool {
        let Some((job, mut header)) = self.job.take() else {
            return false;
        };
        crate::branch::solve(&mut header);
        self.feed(Input::Mined {
            job,
            nonce: header.nonce,
        });
        true
    }

    pub(crate) fn tip(&self) -> BlockHash {
        self.machine.status().tip
    }

    pub(crate) fn ban_reason(&self, peer: Peer) -> Option<&DisconnectReason> {
        self.disconnections
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

pub(crate) fn honest_response(
    branch: &Branch,
    request: &Request,
    has_body: impl Fn(&BlockHash) -> bool,
) -> Response {
    match request {
        Request::Status(_) => Response::Status(branch.status()),
        Request::Headers { locator } => {
            let common = locator.iter().find_map(|hash| branch.position(hash));
            let next = common.map_or(0, |position| position + 1);
            let headers = branch.blocks.iter().skip(next).map(|block| block.header);
            Response::Headers(
                headers
                    .take(heartchain_sync::message::MAX_HEADERS)
                    .collect(),
            )
        }
        Request::Bodies { hashes } => {
            let body = |hash: &BlockHash| {
                let position = branch.position(hash).filter(|_| has_body(hash))?;
                Some(branch.blocks[position].readings.clone())
            };
            Response::Bodies(hashes.iter().map(body).collect())
        }
        Request::MempoolIds { .. } => Response::MempoolIds(Vec::<MempoolRow>::new()),
        Request::Readings { .. } => Response::Readings(Vec::new()),
    }
}
