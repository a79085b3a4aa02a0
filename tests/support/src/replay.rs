//! Passes recorded inputs to the driver of a platform, and writes down what it performs.

use core::{
    cell::RefCell,
    fmt::{Debug, Write as _},
    marker::PhantomData,
};
use std::{collections::BTreeMap, rc::Rc};

use heartchain_chain::{hash::BlockHash, header::Header, time::MonotonicMillis};
use heartchain_sync::{
    Batch, Event, Input, Machine, Now, Output, driver,
    io::{DisconnectReason, GossipId, InboundId, JobId, ReadId, RequestId, Verdict, WriteId},
    message::{GossipItem, Request, Response},
    verification::VerifiedBodies,
};
use sha2::{Digest as _, Sha256};

use crate::{branch::START, clock::now_at};

/// The digest of what a driver does with the recording, if the peers are those of [`SEEDS`].
pub const RECORDED_DIGEST: &str =
    "4085f1d1162bbe9db36b2cb2db2f0b5f60adb48dd76bae883e70f653fb993f21";

/// The seeds of the keys of the peers in recordings of platforms.
pub const SEEDS: [[u8; 32]; 4] = [[1; 32], [2; 32], [3; 32], [4; 32]];

/// The kinds of outputs that go to a network.
const NETWORK_KINDS: [&str; 7] = [
    "Request",
    "Respond",
    "Refuse",
    "Publish",
    "Verdict",
    "ProvedMember",
    "Disconnect",
];

/// The kinds of outputs.
pub const OUTPUT_KINDS: [&str; 13] = [
    "Write",
    "Read",
    "Request",
    "Respond",
    "Refuse",
    "Publish",
    "Verdict",
    "Mine",
    "StopMining",
    "WakeAt",
    "Emit",
    "ProvedMember",
    "Disconnect",
];

fn kind(line: &str) -> &str {
    let mut words = line.split(|letter: char| !letter.is_alphanumeric());
    words.next().unwrap_or_default()
}

/// How many lines there are of each kind of output.
#[must_use]
pub fn kinds(lines: &[String]) -> BTreeMap<&str, usize> {
    let mut kinds = BTreeMap::new();
    for line in lines {
        *kinds.entry(kind(line)).or_default() += 1;
    }
    kinds
}

/// The lines of those outputs that go to a network.
#[must_use]
pub fn for_networks(lines: &[String]) -> Vec<String> {
    let is_for_one = |line: &&String| NETWORK_KINDS.contains(&kind(line));
    let lines = lines.iter().filter(is_for_one);
    lines.cloned().collect()
}

/// Of the requests to a store, each of this number is refused at once, as if too many waited.
const REFUSED: usize = 29;

/// Counts requests to a store, and says which ones are refused.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StoreRequests(usize);

impl StoreRequests {
    /// Whether the next request is refused.
    pub(crate) const fn refuses_next(&mut self) -> bool {
        self.0 += 1;
        self.0.is_multiple_of(REFUSED)
    }
}

/// What the lines ask of a store, in order: the text of each batch that is written, and of the hashes that are read. Requests that
/// are refused do not reach it. The lines must be all of a recording.
#[must_use]
pub fn for_stores(lines: &[String]) -> Vec<String> {
    let mut requests = StoreRequests::default();
    let asked = lines
        .iter()
        .filter(|line| matches!(kind(line), "Write" | "Read") && !requests.refuses_next());
    let asked = asked.filter_map(|line| {
        let (_, asked) = match kind(line) {
            "Write" => line.split_once("batch: ")?,
            "Read" => line.split_once("hashes: ")?,
            _ => return None,
        };
        asked.strip_suffix(" }")
    });
    asked.map(str::to_owned).collect()
}

/// The changes in the text of a batch. Some stores write several batches as one.
#[must_use]
pub fn changes(asked: &str) -> &str {
    let changes = asked.strip_prefix("Batch { operations: [");
    let changes = changes.and_then(|rest| rest.rsplit_once("], strict: "));
    changes.map_or(asked, |(changes, _)| changes)
}

/// The SHA-256 of the lines, in hexadecimal: platforms that cannot be compared in one process have the same.
#[must_use]
pub fn digest(lines: &[String]) -> String {
    let mut hash = Sha256::new();
    for line in lines {
        hash.update(line);
        hash.update("\n");
    }
    let mut text = String::new();
    for byte in hash.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Checks that two drivers did the same.
///
/// # Panics
/// At the first difference.
pub fn assert_same(found: &[String], expected: &[String], whose: &str) {
    let pairs = found.iter().zip(expected).enumerate();
    for (number, (found, expected)) in pairs {
        assert_eq!(found, expected, "output {number} of {whose}");
    }
    assert_eq!(found.len(), expected.len(), "the outputs of {whose}");
}

/// A network that does nothing but write down what it is asked, a line for each output.
#[derive(Debug)]
pub struct NetworkLog<P> {
    lines: Rc<RefCell<Vec<String>>>,
    peers: PhantomData<P>,
}

impl<P> NetworkLog<P> {
    /// A network that writes here.
    #[must_use]
    pub const fn new(lines: Rc<RefCell<Vec<String>>>) -> Self {
        let peers = PhantomData;
        Self { lines, peers }
    }
}

impl<P: Debug> NetworkLog<P> {
    fn note(&self, output: &Output<P>) {
        self.lines.borrow_mut().push(line(output));
    }
}

/// A driver of the machine of a recording, whose clock shows the time of each input, and which writes down what is performed before
/// the driver performs it.
#[derive(Debug)]
pub struct Replay<D: driver::Driver> {
    /// The driver of the platform.
    pub driver: D,
    /// What it was asked to perform, a line for each output.
    lines: Rc<RefCell<Vec<String>>>,
    log: NetworkLog<D::Peer>,
    requests: StoreRequests,
    /// Requests that reached the store.
    accepted: usize,
    now: Now,
}

impl<D: driver::Driver> Replay<D> {
    /// No input has been replayed.
    pub fn new(driver: D) -> Self {
        let lines = Rc::<RefCell<Vec<String>>>::default();
        Self {
            driver,
            log: NetworkLog::new(Rc::clone(&lines)),
            lines,
            requests: StoreRequests::default(),
            accepted: 0,
            now: now_at(START, 0),
        }
    }

    /// Passes an input to the machine, and performs the outputs. Returns how many requests reached the store.
    pub fn input(&mut self, input: RecordedInput<D::Peer>) -> usize {
        let before = self.accepted;
        self.now = input.now;
        driver::step(self, input.input, input.verified);
        self.accepted - before
    }

    /// What was performed so far, a line for each output.
    pub fn lines(&self) -> Vec<String> {
        self.lines.borrow().clone()
    }

    fn note(&self, output: &Output<D::Peer>) {
        self.log.note(output);
    }
}

/// An input of a recording.
#[derive(Clone, Debug)]
pub struct RecordedInput<P> {
    /// What the clocks showed when it came.
    pub now: Now,
    /// What the machine gets.
    pub input: Input<P>,
    /// What proves signatures in it.
    pub verified: Option<VerifiedBodies>,
}

/// An output as drivers perform it: none of them uses the reason of a disconnection.
pub(crate) fn line<P: Debug>(output: &Output<P>) -> String {
    match output {
        Output::Disconnect { peer, until, .. } => format!("Disconnect {peer:?} until {until:?}"),
        other @ (Output::Write { .. }
        | Output::Read { .. }
        | Output::Request { .. }
        | Output::Respond { .. }
        | Output::Refuse { .. }
        | Output::Publish(_)
        | Output::Verdict { .. }
        | Output::Mine { .. }
        | Output::StopMining
        | Output::WakeAt(_)
        | Output::Emit(_)
        | Output::ProvedMember { .. }) => format!("{other:?}"),
    }
}

impl<D: driver::Driver> driver::Driver for Replay<D> {
    type Peer = D::Peer;

    fn now(&self) -> Now {
        self.now
    }

    fn with_machine<T>(&mut self, function: impl FnOnce(&mut Machine<D::Peer>) -> T) -> T {
        self.driver.with_machine(function)
    }

    fn network(&mut self) -> &mut impl driver::Network<Peer = D::Peer> {
        self
    }

    fn store(&mut self) -> &mut impl driver::Store {
        self
    }

    fn miner(&mut self) -> &mut impl driver::Miner {
        self
    }

    fn wake_at(&mut self, at: MonotonicMillis) {
        self.note(&Output::WakeAt(at));
        self.driver.wake_at(at);
    }

    fn on_event(&mut self, event: &Event) {
        self.note(&Output::Emit(event.clone()));
        self.driver.on_event(event);
    }
}

impl<P: Copy + Ord + Debug> driver::Network for NetworkLog<P> {
    type Peer = P;

    fn request(&mut self, peer: P, id: RequestId, request: &Request, deadline: MonotonicMillis) {
        self.note(&Output::Request {
            peer,
            id,
            request: request.clone(),
            deadline,
        });
    }

    fn respond(&mut self, id: InboundId, response: &Response) {
        let response = response.clone();
        self.note(&Output::Respond { id, response });
    }

    fn refuse(&mut self, id: InboundId) {
        self.note(&Output::Refuse { id });
    }

    fn publish(&mut self, item: &GossipItem) {
        self.note(&Output::Publish(item.clone()));
    }

    fn report_verdict(&mut self, id: GossipId, from: &P, verdict: Verdict) {
        let from = *from;
        self.note(&Output::Verdict { id, from, verdict });
    }

    fn on_proved_member(&mut self, peer: P) {
        self.note(&Output::ProvedMember { peer });
    }

    fn disconnect(&mut self, peer: P, until: Option<MonotonicMillis>) {
        self.note(&disconnect(peer, until));
    }
}

impl<D: driver::Driver> driver::Network for Replay<D> {
    type Peer = D::Peer;

    fn request(
        &mut self,
        peer: D::Peer,
        id: RequestId,
        request: &Request,
        deadline: MonotonicMillis,
    ) {
        self.log.request(peer, id, request, deadline);
        self.driver.network().request(peer, id, request, deadline);
    }

    fn respond(&mut self, id: InboundId, response: &Response) {
        self.log.respond(id, response);
        self.driver.network().respond(id, response);
    }

    fn refuse(&mut self, id: InboundId) {
        self.log.refuse(id);
        self.driver.network().refuse(id);
    }

    fn publish(&mut self, item: &GossipItem) {
        self.log.publish(item);
        self.driver.network().publish(item);
    }

    fn report_verdict(&mut self, id: GossipId, from: &D::Peer, verdict: Verdict) {
        self.log.report_verdict(id, from, verdict);
        self.driver.network().report_verdict(id, from, verdict);
    }

    fn on_proved_member(&mut self, peer: D::Peer) {
        self.log.on_proved_member(peer);
        self.driver.network().on_proved_member(peer);
    }

    fn disconnect(&mut self, peer: D::Peer, until: Option<MonotonicMillis>) {
        self.log.disconnect(peer, until);
        self.driver.network().disconnect(peer, until);
    }
}

/// The reason does not reach a network.
pub(crate) const fn disconnect<P>(peer: P, until: Option<MonotonicMillis>) -> Output<P> {
    let reason = DisconnectReason::Banned;
    Output::Disconnect {
        peer,
        reason,
        until,
    }
}

impl<D: driver::Driver> driver::Store for Replay<D> {
    fn write(&mut self, id: WriteId, batch: Batch) -> Result<(), driver::TooManyRequests> {
        let again = batch.clone();
        self.note(&Output::Write { id, batch: again });
        if self.requests.refuses_next() {
            return Err(driver::TooManyRequests);
        }
        self.accepted += 1;
        self.driver.store().write(id, batch)
    }

    fn read(&mut self, id: ReadId, hashes: Vec<BlockHash>) -> Result<(), driver::TooManyRequests> {
        let again = hashes.clone();
        self.note(&Output::Read { id, hashes: again });
        if self.requests.refuses_next() {
            return Err(driver::TooManyRequests);
        }
        self.accepted += 1;
        self.driver.store().read(id, hashes)
    }
}

impl<D: driver::Driver> driver::Miner for Replay<D> {
    fn mine(&mut self, job: JobId, header: Header) {
        self.note(&Output::Mine { job, header });
        self.driver.miner().mine(job, header);
    }

    fn stop(&mut self) {
        self.note(&Output::StopMining);
        self.driver.miner().stop();
    }
}
