//! Performs a machine's outputs in place of the driver of a browser tab, and checks what every driver may rely on.
//!
//! Messages are bytes here, as they travel between peers. Only this file converts them to and from the payloads of
//! [`Input`] and [`Output`], as `net` does in a tab.

use core::fmt::{Debug, Display};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use heartchain_chain::{
    block::Block, bpm::Bpm, content::ReadingForm, header::Header, mining, profile::ProfileName,
    reading::Reading, time::MonotonicMillis,
};
use heartchain_sync::{
    Event, Input, Machine, Now, Output,
    io::{
        DisconnectReason, GossipId, ImportPiece, InboundId, JobId, RequestFailure, RequestId,
        Ticket, Topic, Verdict,
    },
    message::{self, MAX_REQUEST_LEN, MAX_RESPONSE_LEN, Request, Response},
};

use crate::{
    bounds::exceeded_bound,
    disk::{Disk, Ending, Job},
};

/// A gossip item that waits for its verdict.
#[derive(Clone, Debug)]
pub struct PendingGossip<P> {
    /// When it arrived, on the machine's monotonic clock.
    pub since: MonotonicMillis,
    /// The neighbour that forwarded it.
    pub from: P,
    /// The topic it was published on.
    pub topic: Topic,
    /// The encoded reading, block or profile.
    pub data: Rc<[u8]>,
}

/// What a page asks of its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// To record a heart rate.
    Record,
    /// To import a piece of a file.
    Import,
    /// To adopt readings of a closed tab.
    Adopt,
    /// To change the name that others see.
    SetName,
}

/// Everything that a driver holds for its machine.
#[derive(Clone, Debug)]
pub struct DriverState<P> {
    /// The machine's disk.
    pub disk: Disk,
    /// The template that is being mined.
    pub job: Option<(JobId, Header)>,
    /// When the machine must be woken, on its monotonic clock.
    pub wake_at: Option<MonotonicMillis>,
    /// The machine's requests without an answer.
    pub open_requests: BTreeMap<RequestId, (P, Request)>,
    /// Peers' requests without an answer: who asked, and under which ID.
    pub inbound: BTreeMap<InboundId, (P, RequestId)>,
    /// Gossip items without a verdict.
    pub gossip: BTreeMap<GossipId, PendingGossip<P>>,
    /// Calls without a result.
    pub calls: BTreeSet<(Call, Ticket)>,
    /// The peers that the machine considers connected.
    pub connected: BTreeSet<P>,
    /// The form of the room's readings.
    pub form: ReadingForm,
    last_id: u64,
}

impl<P> Default for DriverState<P> {
    fn default() -> Self {
        Self {
            disk: Disk::default(),
            job: None,
            wake_at: None,
            open_requests: BTreeMap::new(),
            inbound: BTreeMap::new(),
            gossip: BTreeMap::new(),
            calls: BTreeSet::new(),
            connected: BTreeSet::new(),
            form: ReadingForm::Open,
            last_id: 0,
        }
    }
}

impl<P: Copy + Ord> DriverState<P> {
    /// The state of a machine that was just started from this disk.
    #[must_use]
    pub fn with_disk(disk: Disk) -> Self {
        Self {
            disk,
            ..Self::default()
        }
    }

    /// The tab is killed: everything but the contents of the disk is lost.
    pub fn crash(&mut self) {
        let mut disk = core::mem::take(&mut self.disk);
        disk.crash();
        *self = Self {
            form: self.form,
            last_id: self.last_id,
            ..Self::with_disk(disk)
        };
    }

    /// An ID that this driver has not used before.
    pub const fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// A neighbour forwards a gossip item.
    pub fn receive_gossip(
        &mut self,
        from: P,
        topic: Topic,
        data: Rc<[u8]>,
        now: Now,
    ) -> (GossipId, Input<P>) {
        let id = GossipId(self.next_id());
        let input = Input::Gossip {
            from,
            id,
            item: message::GossipItem::decode(topic, self.form, &data),
        };
        let since = now.monotonic;
        let item = PendingGossip {
            since,
            from,
            topic,
            data,
        };
        self.gossip.insert(id, item);
        (id, input)
    }

    /// A peer sends a request, which it calls `request`.
    pub fn receive_request(
        &mut self,
        from: P,
        request: RequestId,
        data: &[u8],
    ) -> (InboundId, Input<P>) {
        let id = InboundId(self.next_id());
        self.inbound.insert(id, (from, request));
        let request = Request::decode(self.form, data);
        (id, Input::Request { from, id, request })
    }

    /// A peer answers a request; whether it was asked does not matter.
    pub fn receive_response(&mut self, peer: P, id: RequestId, data: &[u8]) -> Input<P> {
        self.close_request(peer, id);
        let response = Response::decode(self.form, data);
        Input::Response { peer, id, response }
    }

    /// One of the machine's requests fails.
    pub fn fail_request(&mut self, peer: P, id: RequestId, failure: RequestFailure) -> Input<P> {
        self.close_request(peer, id);
        Input::RequestFailed { peer, id, failure }
    }

    fn close_request(&mut self, peer: P, id: RequestId) {
        if self
            .open_requests
            .get(&id)
            .is_some_and(|(asked, _)| *asked == peer)
        {
            self.open_requests.remove(&id);
        }
    }

    /// The oldest open request to a peer that matches `kind`.
    pub fn open_request(
        &self,
        peer: P,
        kind: impl Fn(&Request) -> bool,
    ) -> Option<(RequestId, Request)> {
        self.open_requests
            .iter()
            .find(|(_, (asked, request))| *asked == peer && kind(request))
            .map(|(id, (_, request))| (*id, request.clone()))
    }

    /// Searches a nonce for the current template with at most `tries` tries. If there is one, the job ends.
    pub fn find_nonce(&mut self, tries: u32) -> Option<Input<P>> {
        let (job, header) = self.job?;
        let target = header.bits.target().ok()?;
        let nonce = mining::Job::new(&header, target).search(header.nonce, tries)?;
        self.job = None;
        Some(Input::Mined { job, nonce })
    }

    fn drop_peer(&mut self, peer: P) {
        self.connected.remove(&peer);
        self.open_requests.retain(|_, (asked, _)| *asked != peer);
    }

    /// Keeps track of what the input begins or ends.
    fn note(&mut self, input: &Input<P>) {
        match input {
            Input::Record { ticket, .. } => {
                self.calls.insert((Call::Record, *ticket));
            }
            Input::Import { ticket, .. } => {
                self.calls.insert((Call::Import, *ticket));
            }
            Input::Adopt { ticket, .. } => {
                self.calls.insert((Call::Adopt, *ticket));
            }
            Input::SetName { ticket, .. } => {
                self.calls.insert((Call::SetName, *ticket));
            }
            Input::PeerConnected { peer } => {
                self.connected.insert(*peer);
            }
            Input::PeerDisconnected { peer } => self.drop_peer(*peer),
            Input::PeerFlooded { .. }
            | Input::Gossip { .. }
            | Input::Request { .. }
            | Input::Response { .. }
            | Input::RequestFailed { .. }
            | Input::Written { .. }
            | Input::WriteFailed { .. }
            | Input::StoreReset
            | Input::Read { .. }
            | Input::ReadFailed { .. }
            | Input::BodiesMissing { .. }
            | Input::Mined { .. }
            | Input::Resumed
            | Input::Tick => {}
        }
    }
}

/// The driver of a machine. Implementations say how messages travel and when disk jobs end; what an output means is said
/// here once.
pub trait Driver<P: Copy + Ord + Debug + Display> {
    /// What the driver holds.
    fn state(&mut self) -> &mut DriverState<P>;

    /// The machine, which runs.
    fn machine(&mut self) -> &mut Machine<P>;

    /// What the machine's clocks show.
    fn now(&self) -> Now;

    /// Passes an input to the machine.
    fn handle(&mut self, input: Input<P>) -> Vec<Output<P>> {
        let now = self.now();
        self.machine().handle(input, now).collect()
    }

    /// The machine did what it must not do.
    fn violation(&mut self, text: String) {
        panic!("{text}");
    }

    /// Checks more than the bounds after an input.
    fn inspect(&mut self) {}

    /// Checks that the machine exceeds no bound.
    fn check_bounds(&mut self) {
        if let Some(text) = exceeded_bound(&self.machine().load()) {
            self.violation(text);
        }
    }

    /// The machine gives the disk a job.
    fn accept_job(&mut self, job: Job) {
        self.state().disk.accept(job);
    }

    /// The result of a disk job that is over as soon as all outputs are performed.
    fn finish_job(&mut self) -> Option<Input<P>> {
        self.state().disk.finish(Ending::Done)
    }

    /// Sends a request. It is open until it is answered or fails.
    fn send_request(
        &mut self,
        _peer: P,
        _id: RequestId,
        _data: Vec<u8>,
        _deadline: MonotonicMillis,
    ) {
    }

    /// Answers a peer's request, or refuses to (`None`). `request` is the ID that the peer uses.
    fn send_response(
        &mut self,
        _peer: P,
        _request: RequestId,
        _id: InboundId,
        _data: Option<Vec<u8>>,
    ) {
    }

    /// Publishes a gossip item.
    fn publish(&mut self, _topic: Topic, _data: Vec<u8>) {}

    /// Acts on the verdict on a gossip item.
    fn judge(&mut self, _id: GossipId, _item: PendingGossip<P>, _verdict: Verdict) {}

    /// Starts mining the current template.
    fn mine(&mut self, _job: JobId, _header: Header) {}

    /// The machine stops mining for now.
    fn stop_mining(&mut self) {}

    /// Sets the timer, which replaces any earlier one.
    fn set_timer(&mut self, _at: MonotonicMillis) {}

    /// A peer proved that it has the room's key.
    fn on_proved_member(&mut self, _peer: P) {}

    /// Notes an event for the page.
    fn emit(&mut self, _event: Event) {}

    /// Closes all connections to a peer, and refuses new ones until its ban ends.
    fn disconnect_peer(
        &mut self,
        _peer: P,
        _reason: DisconnectReason,
        _until: Option<MonotonicMillis>,
    ) {
    }

    /// Feeds an input, performs all resulting outputs, and checks the machine.
    fn feed(&mut self, input: Input<P>) {
        let mut next = Some(input);
        while let Some(input) = next {
            self.state().note(&input);
            for output in self.handle(input) {
                self.perform(output);
            }
            self.check_bounds();
            self.inspect();
            next = self.finish_job();
        }
    }

    /// Performs one output.
    fn perform(&mut self, output: Output<P>) {
        match output {
            Output::Write { id, batch } => self.accept_job(Job::Write { id, batch }),
            Output::Read { id, hashes } => self.accept_job(Job::Read { id, hashes }),
            Output::Request {
                peer,
                id,
                request,
                deadline,
            } => {
                let data = request.encode();
                let late = deadline <= self.now().monotonic;
                let unknown = !self.state().connected.contains(&peer);
                if late || unknown || data.len() > MAX_REQUEST_LEN {
                    let len = data.len();
                    self.violation(format!(
                        "a request of {len} bytes to {peer}, late: {late}, not connected: {unknown}"
                    ));
                }
                if Request::decode(self.state().form, &data).as_ref() != Ok(&request) {
                    let len = data.len();
                    self.violation(format!("a request of {len} bytes that no peer accepts"));
                }
                let open = &mut self.state().open_requests;
                if open.insert(id, (peer, request)).is_some() {
                    self.violation(format!("two requests with {id:?}"));
                }
                self.send_request(peer, id, data, deadline);
            }
            Output::Respond { id, response } => self.respond_to(id, Some(response.encode())),
            Output::Refuse { id } => self.respond_to(id, None),
            Output::Publish(item) => self.publish(item.topic(), item.encode()),
            Output::Verdict { id, from, verdict } => match self.state().gossip.remove(&id) {
                Some(item) => self.judge(id, item, verdict),
                None => self.violation(format!("two verdicts on {id:?} from {from}")),
            },
            Output::Mine { job, header } => {
                self.state().job = Some((job, header));
                self.mine(job, header);
            }
            Output::StopMining => {
                self.state().job = None;
                self.stop_mining();
            }
            Output::WakeAt(at) => {
                if at <= self.now().monotonic {
                    self.violation(format!("a timer that has already passed: {at}"));
                }
                self.state().wake_at = Some(at);
                self.set_timer(at);
            }
            Output::Emit(event) => {
                if let Some(call) = answered_call(&event)
                    && !self.state().calls.remove(&call)
                {
                    self.violation(format!("two results for {call:?}"));
                }
                self.emit(event);
            }
            Output::ProvedMember { peer } => {
                if !self.state().connected.contains(&peer) {
                    self.violation(format!("{peer} is not connected, and proved something"));
                }
                self.on_proved_member(peer);
            }
            Output::Disconnect {
                peer,
                reason,
                until,
            } => {
                self.state().drop_peer(peer);
                self.disconnect_peer(peer, reason, until);
            }
        }
    }

    /// Answers or refuses a peer's request.
    fn respond_to(&mut self, id: InboundId, data: Option<Vec<u8>>) {
        let len = data.as_ref().map_or(0, Vec::len);
        if len > MAX_RESPONSE_LEN {
            self.violation(format!("a response of {len} bytes"));
        }
        match self.state().inbound.remove(&id) {
            Some((peer, request)) => self.send_response(peer, request, id, data),
            None => self.violation(format!("two responses to {id:?}")),
        }
    }

    /// A peer of the room connects.
    fn connect(&mut self, peer: P) {
        self.feed(Input::PeerConnected { peer });
    }

    /// The last connection to a peer closes.
    fn disconnect(&mut self, peer: P) {
        self.feed(Input::PeerDisconnected { peer });
    }

    /// A person records a heart rate.
    fn record(&mut self, bpm: Bpm) -> Ticket {
        let ticket = Ticket(self.state().next_id());
        self.feed(Input::Record { ticket, bpm });
        ticket
    }

    /// A person chooses the name that others see.
    fn set_name(&mut self, name: ProfileName) -> Ticket {
        let ticket = Ticket(self.state().next_id());
        self.feed(Input::SetName { ticket, name });
        ticket
    }

    /// A piece of a file is imported.
    fn import(&mut self, piece: ImportPiece) -> Ticket {
        let ticket = Ticket(self.state().next_id());
        self.feed(Input::Import { ticket, piece });
        ticket
    }

    /// The readings of a closed tab are adopted.
    fn adopt(&mut self, readings: Vec<Reading>) -> Ticket {
        let ticket = Ticket(self.state().next_id());
        self.feed(Input::Adopt { ticket, readings });
        ticket
    }

    /// A neighbour forwards a gossip item.
    fn gossip(&mut self, from: P, topic: Topic, data: Vec<u8>) -> GossipId {
        let now = self.now();
        let (id, input) = self.state().receive_gossip(from, topic, data.into(), now);
        self.feed(input);
        id
    }

    /// A neighbour forwards a block.
    fn gossip_block(&mut self, from: P, block: &Block) -> GossipId {
        self.gossip(from, Topic::Blocks, block.encode())
    }

    /// A neighbour forwards a reading.
    fn gossip_reading(&mut self, from: P, reading: &Reading) -> GossipId {
        self.gossip(from, Topic::Readings, reading.to_bytes().to_vec())
    }

    /// A peer sends a request.
    fn ask(&mut self, from: P, data: Vec<u8>) -> InboundId {
        let id = RequestId(self.state().next_id());
        let (id, input) = self.state().receive_request(from, id, &data);
        self.feed(input);
        id
    }

    /// A peer answers one of the machine's requests.
    fn respond_with(&mut self, peer: P, id: RequestId, response: &Response) {
        self.respond(peer, id, response.encode());
    }

    /// A peer answers one of the machine's requests with these bytes.
    fn respond(&mut self, peer: P, id: RequestId, data: Vec<u8>) {
        let input = self.state().receive_response(peer, id, &data);
        self.feed(input);
    }

    /// One of the machine's requests fails.
    fn fail(&mut self, peer: P, id: RequestId, failure: RequestFailure) {
        let input = self.state().fail_request(peer, id, failure);
        self.feed(input);
    }

    /// Searches a nonce for the current template with at most `tries` tries. Returns whether it found one.
    fn find_nonce(&mut self, tries: u32) -> bool {
        let mined = self.state().find_nonce(tries);
        let found = mined.is_some();
        mined.into_iter().for_each(|input| self.feed(input));
        found
    }
}

/// The call whose result this event is.
const fn answered_call(event: &Event) -> Option<(Call, Ticket)> {
    if let Event::Recorded { ticket, .. } | Event::RecordFailed { ticket, .. } = event {
        Some((Call::Record, *ticket))
    } else if let Event::Imported { ticket, .. } = event {
        Some((Call::Import, *ticket))
    } else if let Event::Adopted { ticket, .. } = event {
        Some((Call::Adopt, *ticket))
    } else if let Event::NameSet { ticket } | Event::NameFailed { ticket, .. } = event {
        Some((Call::SetName, *ticket))
    } else {
        None
    }
}
