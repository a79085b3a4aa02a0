//! The inputs that wait until another thread has verified their signatures, so that the thread of the machine stays free.
//!
//! Inputs of one peer stay in order: what it sent later waits behind. Inputs of others pass. If the other thread fails or is
//! late, or too much waits, the machine gets the inputs without a proof, and verifies the signatures itself.

use alloc::{collections::VecDeque, vec::Vec};

use heartchain_chain::{block::Block, reading::Reading, time::MonotonicMillis};

use crate::{
    config::Millis,
    io::Input,
    message::{GossipItem, MAX_RESPONSE_LEN, Response},
    verification::VerifiedBodies,
};

/// Inputs that may wait.
pub const MAX_WAITING_INPUTS: usize = 256;
/// Bytes of messages in the inputs that wait: some 15 of the longest answers.
pub const MAX_WAITING_BYTES: usize = 16 * 1_024 * 1_024;
/// How long the other thread may take for one task after the one before.
pub const VERIFIER_PATIENCE: Millis = 5_000;

/// Identifies a [`VerifierTask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VerifierTaskId(pub u64);

/// Bodies whose signatures the other thread verifies.
#[derive(Clone, Debug)]
pub struct VerifierTask {
    /// Returned to [`InputQueue::on_verified`].
    pub id: VerifierTaskId,
    /// A [`Response::Bodies`], for [`VerifiedBodies::verify_encoded`].
    pub bytes: Vec<u8>,
}

/// An input for [`Machine::handle_verified`](crate::Machine::handle_verified).
pub type VerifiedInput<P> = (Input<P>, Option<VerifiedBodies>);

/// The queue in front of a machine.
#[derive(Clone, Debug)]
pub struct InputQueue<P> {
    /// Inputs with fewer readings are not worth a task.
    min_readings: usize,
    /// In the order of arrival.
    waiting: VecDeque<Waiting<P>>,
    /// Bytes of what waits.
    bytes: usize,
    last_task: u64,
    /// When the other thread was last idle or completed a task.
    progress_at: MonotonicMillis,
}

#[derive(Clone, Debug)]
struct Waiting<P> {
    input: Input<P>,
    source: Option<Source<P>>,
    bytes: usize,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Verifying(VerifierTaskId),
    Ready(Option<VerifiedBodies>),
}

/// Whose inputs stay in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source<P> {
    Peer(P),
    /// The page that imports a file.
    Import,
}

impl<P: Copy + Eq> InputQueue<P> {
    /// An empty queue. Inputs with at least this many readings in bodies are verified by the other thread.
    #[must_use]
    pub const fn new(min_readings: usize) -> Self {
        Self {
            min_readings,
            waiting: VecDeque::new(),
            bytes: 0,
            last_task: 0,
            progress_at: MonotonicMillis::new(0),
        }
    }

    /// Whether no input waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many inputs wait, and the bytes of their messages.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        (self.waiting.len(), self.bytes)
    }

    /// An input arrived. Returns what the other thread must do before the machine gets it, if anything; the caller then calls
    /// [`Self::take_next`] until nothing is left.
    pub fn push(&mut self, input: Input<P>, now: MonotonicMillis) -> Option<VerifierTask> {
        let bodies = bodies(&input);
        let readings: usize = bodies.iter().map(|body| body.len()).sum();
        let mut task = (readings >= self.min_readings.max(1))
            .then(|| encode(&bodies))
            .filter(|bytes| bytes.len() <= MAX_RESPONSE_LEN)
            .map(|bytes| self.new_task(bytes));
        let bytes = task
            .as_ref()
            .map_or_else(|| len(&input), |task| task.bytes.len());
        if self.is_full(bytes) {
            self.give_up();
            task = None;
        }
        let state = task
            .as_ref()
            .map_or(State::Ready(None), |task| State::Verifying(task.id));
        self.add(input, bytes, state, now);
        task
    }

    /// An input arrived whose signatures were verified already. It waits only for what came before it.
    pub fn push_verified(
        &mut self,
        input: Input<P>,
        verified: VerifiedBodies,
        now: MonotonicMillis,
    ) {
        let bytes = len(&input);
        if self.is_full(bytes) {
            self.give_up();
        }
        self.add(input, bytes, State::Ready(Some(verified)), now);
    }

    fn is_full(&self, more: usize) -> bool {
        self.waiting.len() >= MAX_WAITING_INPUTS || self.bytes + more > MAX_WAITING_BYTES
    }

    fn add(&mut self, input: Input<P>, bytes: usize, state: State, now: MonotonicMillis) {
        if !self.is_verifying() {
            self.progress_at = now;
        }
        self.bytes += bytes;
        self.waiting.push_back(Waiting {
            source: source(&input),
            input,
            bytes,
            state,
        });
    }

    /// The other thread completed a task. A task that was given up is ignored.
    pub fn on_verified(
        &mut self,
        id: VerifierTaskId,
        verified: Option<VerifiedBodies>,
        now: MonotonicMillis,
    ) {
        self.progress_at = now;
        let mut waiting = self.waiting.iter_mut();
        if let Some(done) = waiting.find(|waiting| waiting.is_verified_by(id)) {
            done.state = State::Ready(verified);
        }
    }

    /// The other thread does not run. The machine verifies everything that waits.
    pub fn give_up(&mut self) {
        for waiting in &mut self.waiting {
            if let State::Verifying(_) = waiting.state {
                waiting.state = State::Ready(None);
            }
        }
    }

    /// When to call [`Self::give_up`] if nothing happens until then; `None` while the other thread has nothing to do.
    #[must_use]
    pub fn deadline(&self) -> Option<MonotonicMillis> {
        self.is_verifying()
            .then(|| self.progress_at.saturating_add(VERIFIER_PATIENCE))
    }

    /// Takes the first input that need not wait. `None` if all must wait.
    pub fn take_next(&mut self) -> Option<VerifiedInput<P>> {
        let mut held: Vec<Source<P>> = Vec::new();
        let at = self.waiting.iter().position(|waiting| {
            let is_free = waiting.source.is_none_or(|source| !held.contains(&source));
            if is_free && matches!(waiting.state, State::Ready(_)) {
                return true;
            }
            held.extend(waiting.source.filter(|_| is_free));
            false
        })?;
        let Waiting {
            input,
            bytes,
            state,
            ..
        } = self.waiting.remove(at)?;
        self.bytes -= bytes;
        match state {
            State::Ready(verified) => Some((input, verified)),
            State::Verifying(_) => None,
        }
    }

    fn is_verifying(&self) -> bool {
        let mut waiting = self.waiting.iter();
        waiting.any(|waiting| matches!(waiting.state, State::Verifying(_)))
    }

    const fn new_task(&mut self, bytes: Vec<u8>) -> VerifierTask {
        self.last_task += 1;
        let id = VerifierTaskId(self.last_task);
        VerifierTask { id, bytes }
    }
}

impl<P> Waiting<P> {
    fn is_verified_by(&self, id: VerifierTaskId) -> bool {
        matches!(self.state, State::Verifying(task) if task == id)
    }
}

/// The bodies in an input whose signatures cost much time.
fn bodies<P>(input: &Input<P>) -> Vec<&[Reading]> {
    if let Input::Response {
        response: Ok(Response::Bodies(bodies)),
        ..
    } = input
    {
        return bodies.iter().flatten().map(Vec::as_slice).collect();
    }
    if let Input::Import { piece, .. } = input {
        let blocks = piece.blocks.iter();
        return blocks.map(|block| block.readings.as_slice()).collect();
    }
    Vec::new()
}

fn encode(bodies: &[&[Reading]]) -> Vec<u8> {
    let bodies = bodies.iter().map(|body| Some(body.to_vec())).collect();
    Response::Bodies(bodies).encode()
}

fn source<P: Copy>(input: &Input<P>) -> Option<Source<P>> {
    match input {
        Input::PeerConnected { peer }
        | Input::PeerDisconnected { peer }
        | Input::PeerFlooded { peer }
        | Input::Gossip { from: peer, .. }
        | Input::Request { from: peer, .. }
        | Input::Response { peer, .. }
        | Input::RequestFailed { peer, .. } => Some(Source::Peer(*peer)),
        Input::Import { .. } => Some(Source::Import),
        Input::Record { .. }
        | Input::SetName { .. }
        | Input::Adopt { .. }
        | Input::Written { .. }
        | Input::WriteFailed { .. }
        | Input::StoreReset
        | Input::Read { .. }
        | Input::ReadFailed { .. }
        | Input::BodiesMissing { .. }
        | Input::Mined { .. }
        | Input::Resumed
        | Input::Tick => None,
    }
}

/// The length of the message in an input of a peer, in bytes.
fn len<P>(input: &Input<P>) -> usize {
    if let Input::Response {
        response: Ok(response),
        ..
    } = input
    {
        return response.encoded_len();
    }
    if let Input::Request {
        request: Ok(request),
        ..
    } = input
    {
        return request.encoded_len();
    }
    if let Input::Gossip {
        item: Ok(GossipItem::Block(block)),
        ..
    } = input
    {
        return block.encoded_len();
    }
    if let Input::Import { piece, .. } = input {
        let lengths = piece.blocks.iter().map(Block::encoded_len);
        return lengths.fold(0, usize::saturating_add);
    }
    0
}
