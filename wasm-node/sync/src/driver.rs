//! Performs the outputs of a machine in order, for every platform: a tab and a keeper differ in what acts, not in what an output
//! means.
//!
//! A platform's [`Driver`] brings what acts, a [`Network`], a [`Store`] and a [`Miner`], and waits for what happens next. It
//! passes that to [`step`]. Makes no decisions.

use alloc::{collections::VecDeque, vec::Vec};
use core::fmt::Debug;

use heartchain_chain::{hash::BlockHash, header::Header, reading::Reading, time::MonotonicMillis};

use crate::{
    io::{
        Batch, Event, GossipId, InboundId, Input, JobId, Now, Output, ReadId, RequestId, Verdict,
        WriteId,
    },
    machine::Machine,
    message::{GossipItem, Request, Response},
    verification::VerifiedBodies,
};

/// What the machine asks of a network.
pub trait Network {
    /// What identifies a peer to the machine.
    type Peer: Copy + Ord + Debug;

    /// Sends a request. It fails after the deadline, and at once if the peer is not connected.
    fn request(
        &mut self,
        peer: Self::Peer,
        id: RequestId,
        request: &Request,
        deadline: MonotonicMillis,
    );

    /// Answers a request of a peer.
    fn respond(&mut self, id: InboundId, response: &Response);

    /// Closes the stream of a peer's request without an answer.
    fn refuse(&mut self, id: InboundId);

    /// Publishes an item by gossip.
    fn publish(&mut self, item: &GossipItem);

    /// Gives the router of gossip the verdict on an item.
    fn report_verdict(&mut self, id: GossipId, from: &Self::Peer, verdict: Verdict);

    /// Keeps the place of a peer that proved that it has the key of this private room.
    fn on_proved_member(&mut self, peer: Self::Peer);

    /// Closes all connections to a peer. With `until`, bans it until then.
    fn disconnect(&mut self, peer: Self::Peer, until: Option<MonotonicMillis>);
}

/// What the machine asks of a store. Requests are served in order, and each gets a [`StoreAnswer`].
pub trait Store {
    /// Requests that a batch is written as one transaction.
    ///
    /// # Errors
    /// If too many requests wait. That is the answer.
    fn write(&mut self, id: WriteId, batch: Batch) -> Result<(), TooManyRequests>;

    /// Requests a read of bodies.
    ///
    /// # Errors
    /// If too many requests wait. That is the answer.
    fn read(&mut self, id: ReadId, hashes: Vec<BlockHash>) -> Result<(), TooManyRequests>;
}

/// A store refused a request at once, because too many wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests wait for the store")]
pub struct TooManyRequests;

/// The answer of a store to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAnswer {
    /// All changes of a batch are on disk.
    Written(WriteId),
    /// A batch could not be written; none of its changes are on disk.
    WriteFailed {
        /// The ID that the request had.
        id: WriteId,
        /// Whether there was no room.
        full: bool,
    },
    /// Bodies in the requested order; `None` where the store does not have one.
    Read(ReadId, Vec<Option<Vec<Reading>>>),
    /// Bodies could not be read.
    ReadFailed(ReadId),
}

impl<P> From<StoreAnswer> for Input<P> {
    fn from(answer: StoreAnswer) -> Self {
        match answer {
            StoreAnswer::Written(id) => Self::Written { id },
            StoreAnswer::WriteFailed { id, full } => Self::WriteFailed { id, full },
            StoreAnswer::Read(id, bodies) => Self::Read { id, bodies },
            StoreAnswer::ReadFailed(id) => Self::ReadFailed { id },
        }
    }
}

/// What the machine asks of a miner.
pub trait Miner {
    /// Searches a nonce for this header, in place of any earlier one.
    fn mine(&mut self, job: JobId, header: Header);

    /// Stops searching until there is another header.
    fn stop(&mut self);
}

/// What a platform brings. What each output does is said in [`step`].
pub trait Driver {
    /// What identifies a peer to the machine.
    type Peer: Copy + Ord + Debug;

    /// The time on both clocks.
    fn now(&self) -> Now;

    /// Gives the machine to a function, and returns what it returns.
    fn with_machine<T>(&mut self, function: impl FnOnce(&mut Machine<Self::Peer>) -> T) -> T;

    /// The network, between two waits for it.
    fn network(&mut self) -> &mut impl Network<Peer = Self::Peer>;

    /// The queue of requests to the store.
    fn store(&mut self) -> &mut impl Store;

    /// What searches for nonces.
    fn miner(&mut self) -> &mut impl Miner;

    /// Passes [`Input::Tick`] on at this time, and no more at any earlier one.
    fn wake_at(&mut self, at: MonotonicMillis);

    /// Tells the application, and answers its call if the event is the result of one.
    fn on_event(&mut self, event: &Event);

    /// Shows developers an input before the machine handles it.
    fn trace_input(&self, _: &Input<Self::Peer>) {}

    /// Shows developers an output before it is performed.
    fn trace_output(&self, _: &Output<Self::Peer>) {}
}

/// Passes an input to the machine and performs its outputs, then does the same for the inputs that these outputs caused at
/// once. `verified`: what proves the signatures in the input.
pub fn step<D: Driver>(driver: &mut D, input: Input<D::Peer>, verified: Option<VerifiedBodies>) {
    let mut verified = verified;
    let mut inputs = VecDeque::new();
    let mut next = Some(input);
    while let Some(input) = next {
        driver.trace_input(&input);
        let now = driver.now();
        let outputs = driver.with_machine(|machine| match verified.take() {
            Some(verified) => machine.handle_verified(input, verified, now),
            None => machine.handle(input, now),
        });
        for output in outputs {
            driver.trace_output(&output);
            inputs.extend(perform(driver, output));
        }
        next = inputs.pop_front();
    }
}

/// Performs one output. Returns the answer, if there is one at once.
fn perform<D: Driver>(driver: &mut D, output: Output<D::Peer>) -> Option<Input<D::Peer>> {
    match output {
        Output::Write { id, batch } => {
            let requested = driver.store().write(id, batch);
            let failed = StoreAnswer::WriteFailed { id, full: false };
            return requested.err().map(|_| failed.into());
        }
        Output::Read { id, hashes } => {
            let requested = driver.store().read(id, hashes);
            return requested.err().map(|_| StoreAnswer::ReadFailed(id).into());
        }
        Output::Request {
            peer,
            id,
            request,
            deadline,
        } => driver.network().request(peer, id, &request, deadline),
        Output::Respond { id, response } => driver.network().respond(id, &response),
        Output::Refuse { id } => driver.network().refuse(id),
        Output::Publish(item) => driver.network().publish(&item),
        Output::Verdict { id, from, verdict } => {
            driver.network().report_verdict(id, &from, verdict);
        }
        Output::Mine { job, header } => driver.miner().mine(job, header),
        Output::StopMining => driver.miner().stop(),
        Output::WakeAt(at) => driver.wake_at(at),
        Output::Emit(event) => driver.on_event(&event),
        Output::ProvedMember { peer } => driver.network().on_proved_member(peer),
        Output::Disconnect { peer, until, .. } => driver.network().disconnect(peer, until),
    }
    None
}
