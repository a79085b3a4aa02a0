//! The machine under test, with a disk that completes jobs at once and peers that the test plays.

use std::collections::{BTreeMap, BTreeSet};

use heartchain_chain::{
    bpm::Bpm,
    hash::{BlockHash, ReadingId},
    reading::Reading,
    room::Room,
    time::{MonotonicMillis, UnixMillis},
};
use heartchain_sync::{
    Batch, Config, Event, Input, Machine, Now,
    io::{
        DisconnectReason, GossipId, InboundId, JournalEntry, RequestId, Ticket, Topic, Verdict,
        WriteId,
    },
    message::{MAX_HEADERS, Request, Response, StatusMessage},
};
use heartchain_test_support::{
    Branch, Driver, DriverState, PendingGossip, START, Start, key, now_at, room,
};

pub(crate) type Peer = u64;

/// An entry of the journal that replaces no other one.
pub(crate) const fn journal_entry(time: UnixMillis, bpm: Bpm) -> JournalEntry {
    JournalEntry {
        time,
        bpm,
        replaces: None,
        prefix: None,
    }
}

/// The machine under test and everything that its driver would hold.
pub(crate) struct Subject {
    pub(crate) machine: Machine<Peer>,
    pub(crate) state: DriverState<Peer>,
    /// The true time, which its monotonic clock shows.
    pub(crate) now: u64,
    /// How far its wall clock is ahead of the true time, ms.
    pub(crate) clock_offset: i64,
    pub(crate) events: Vec<Event>,
    pub(crate) verdicts: BTreeMap<GossipId, Verdict>,
    pub(crate) disconnections: Vec<(Peer, DisconnectReason, bool)>,
    pub(crate) published: Vec<(Topic, Vec<u8>)>,
    pub(crate) responses: BTreeMap<InboundId, Option<Response>>,
    first_key: u64,
    mines: bool,
    room: Room,
}

impl Driver<Peer> for Subject {
    fn state(&mut self) -> &mut DriverState<Peer> {
        &mut self.state
    }

    fn machine(&mut self) -> &mut Machine<Peer> {
        &mut self.machine
    }

    fn now(&self) -> Now {
        now_at(self.now, self.clock_offset)
    }

    fn send_response(&mut self, _: Peer, _: RequestId, id: InboundId, data: Option<Vec<u8>>) {
        let form = self.room.form();
        let decode = |data: Vec<u8>| Response::decode(form, &data).expect("an honest answer");
        self.responses.insert(id, data.map(decode));
    }

    fn publish(&mut self, topic: Topic, data: Vec<u8>) {
        self.published.push((topic, data));
    }

    fn judge(&mut self, id: GossipId, _: PendingGossip<Peer>, verdict: Verdict) {
        self.verdicts.insert(id, verdict);
    }

    fn emit(&mut self, event: Event) {
        self.events.push(event);
    }

    fn disconnect_peer(
        &mut self,
        peer: Peer,
        reason: DisconnectReason,
        until: Option<MonotonicMillis>,
    ) {
        self.disconnections.push((peer, reason, until.is_some()));
    }
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
        Self::in_room(&room(), config, author)
    }

    /// A peer in this room.
    pub(crate) fn in_room(room: &Room, config: Config, author: u64) -> Self {
        let mut seed = [5; 32];
        seed[..8].copy_from_slice(&author.to_le_bytes());
        let machine = Machine::new(config, room.clone(), key(author), seed, now_at(START, 0));
        Self {
            first_key: author,
            mines: config.mining,
            ..Self::running(machine)
        }
    }

    /// A peer that does not mine. Peers 1 to `peers` claim this branch, and the first one sends its headers, so that its bodies are
    /// asked for.
    pub(crate) fn offered(branch: &Branch, peers: Peer) -> Self {
        let mut subject = Self::new();
        for peer in 1..=peers {
            subject.claim(peer, branch);
        }
        subject.send_headers(1, branch);
        subject
    }

    /// A peer without anything on its disk that runs this machine.
    pub(crate) fn running(machine: Machine<Peer>) -> Self {
        let room = machine.room().clone();
        let mut state = DriverState::default();
        state.form = room.form();
        Self {
            machine,
            state,
            room,
            now: START,
            clock_offset: 0,
            events: Vec::new(),
            verdicts: BTreeMap::new(),
            disconnections: Vec::new(),
            published: Vec::new(),
            responses: BTreeMap::new(),
            first_key: 1_000,
            mines: false,
        }
    }

    /// Closes the tab and opens it again with a wall clock `clock` ms ahead of the true time.
    pub(crate) fn reopen(&self, clock: i64) -> Self {
        let mut state = DriverState::with_disk(self.state.disk.clone());
        state.form = self.room.form();
        state.disk.crash();
        let machine = state.disk.restore(Start {
            mining: self.mines,
            room: self.room.clone(),
            first_key: key(self.first_key),
            seed: [9; 32],
            now: now_at(self.now, clock),
            skips_bodies: false,
        });
        let mut subject = Self {
            state,
            now: self.now,
            clock_offset: clock,
            first_key: self.first_key,
            mines: self.mines,
            ..Self::running(machine)
        };
        subject.feed(Input::Tick);
        subject
    }

    /// All readings in stored blocks, in the mempool, or adopted from other tabs.
    pub(crate) fn readings(&self) -> BTreeSet<ReadingId> {
        let id = |reading: &Reading| reading.id(self.room.id());
        let disk = &self.state.disk;
        let blocks = disk.blocks.values().flat_map(|block| &block.readings);
        blocks
            .chain(self.machine.pending())
            .chain(disk.adopted.values())
            .map(id)
            .collect()
    }

    /// Takes the writes that are held, and holds no more.
    pub(crate) fn take_held_writes(&mut self) -> Vec<(WriteId, Batch)> {
        self.state.disk.held_writes.take().unwrap_or_default()
    }

    /// Completes all held writes. Later writes complete at once.
    pub(crate) fn finish_held_writes(&mut self) {
        for (id, batch) in self.take_held_writes() {
            self.finish_write(id, batch);
        }
    }

    /// Completes a write that was held.
    pub(crate) fn finish_write(&mut self, id: WriteId, batch: Batch) {
        self.state.disk.apply(batch);
        self.feed(Input::Written { id });
    }

    /// Fails all held writes. Later writes complete at once.
    pub(crate) fn fail_held_writes(&mut self, full: bool) {
        for (id, _) in self.take_held_writes() {
            self.feed(Input::WriteFailed { id, full });
        }
    }

    /// Advances the time; the machine is woken whenever it asked for it.
    pub(crate) fn advance(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(at) = self.state.wake_at.filter(|at| at.get() <= end) {
            self.now = self.now.max(at.get());
            self.state.wake_at = None;
            self.feed(Input::Tick);
        }
        self.now = end;
        self.feed(Input::Tick);
    }

    pub(crate) fn record(&mut self, bpm: u16) -> Ticket {
        Driver::record(self, Bpm::new(bpm).expect("a heart rate"))
    }

    pub(crate) fn verdict(&self, id: GossipId) -> Option<Verdict> {
        self.verdicts.get(&id).copied()
    }

    /// A peer sends a request. Returns the machine's response, or `None` if it refuses.
    pub(crate) fn handle_request(&mut self, from: Peer, request: &Request) -> Option<Response> {
        self.handle_request_bytes(from, request.encode())
    }

    pub(crate) fn handle_request_bytes(&mut self, from: Peer, data: Vec<u8>) -> Option<Response> {
        let id = self.ask(from, data);
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
        self.state.open_request(peer, kind)
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
        self.respond_with(peer, id, response);
    }

    /// Connects a peer that claims this branch.
    pub(crate) fn claim(&mut self, peer: Peer, branch: &Branch) {
        self.connect(peer);
        self.answer(peer, is_status, &Response::Status(branch.status()));
    }

    /// Answers open requests of a peer with all headers of this branch.
    pub(crate) fn send_headers(&mut self, peer: Peer, branch: &Branch) {
        for batch in branch.blocks.chunks(MAX_HEADERS) {
            let headers = batch.iter().map(|block| block.header).collect();
            self.answer(peer, is_headers, &Response::Headers(headers));
        }
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
            self.respond_with(peer, id, &response);
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
            self.respond_with(peer, id, &response);
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
        Driver::find_nonce(self, u32::MAX)
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

pub(crate) fn is_profiles(request: &Request) -> bool {
    matches!(request, Request::Profiles { .. })
}

/// The answer of an honest peer with this branch, but with only those bodies that match `has_body`.
pub(crate) fn honest_response(
    branch: &Branch,
    request: &Request,
    has_body: impl Fn(&BlockHash) -> bool,
) -> Response {
    let mut response = branch.answer(request, START);
    if let (Request::Bodies { hashes }, Response::Bodies(bodies)) = (request, &mut response) {
        let withheld = hashes.iter().zip(bodies);
        withheld
            .filter(|(hash, _)| !has_body(hash))
            .for_each(|(_, body)| *body = None);
    }
    response
}
