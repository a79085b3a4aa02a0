//! What a session needs of a network, and a network that has no peers.

use core::{convert::Infallible, fmt::Debug, future::pending};

use heartchain_chain::time::MonotonicMillis;
use heartchain_sync::{
    Input, Machine, driver,
    io::{GossipId, InboundId, RequestId, Verdict},
    message::{GossipItem, Request, Response},
};

/// An event of the network.
#[derive(Debug)]
pub enum NetworkEvent<P> {
    /// An input for the machine.
    Input(Input<P>),
    /// The connections or the relays changed.
    Changed,
    /// This peer can be dialed at this multiaddr.
    Listening(String),
    /// Something that a person should know, as a sentence.
    Fault(String),
}

/// What a session needs of the network: what performs the machine's outputs, and what happened next.
pub trait Network {
    /// What identifies a peer to the machine.
    type Peer: Copy + Ord + Debug + 'static;
    /// What performs the machine's outputs.
    type Outputs: driver::Network<Peer = Self::Peer>;

    /// Tells the machine its own ID before its first input.
    fn identify(&self, machine: &mut Machine<Self::Peer>);

    /// The next event. Dropping the future must lose nothing.
    fn next(&mut self) -> impl Future<Output = NetworkEvent<Self::Peer>>;

    /// What performs the machine's outputs.
    fn outputs(&mut self) -> &mut Self::Outputs;
}

/// No network: a keeper alone. There are no peers, so nothing ever happens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offline;

impl Network for Offline {
    type Peer = Infallible;
    type Outputs = Self;

    fn identify(&self, _: &mut Machine<Infallible>) {}

    async fn next(&mut self) -> NetworkEvent<Infallible> {
        pending().await
    }

    fn outputs(&mut self) -> &mut Self {
        self
    }
}

impl driver::Network for Offline {
    type Peer = Infallible;

    fn request(&mut self, peer: Infallible, _: RequestId, _: &Request, _: MonotonicMillis) {
        match peer {}
    }

    fn respond(&mut self, _: InboundId, _: &Response) {}

    fn refuse(&mut self, _: InboundId) {}

    fn publish(&mut self, _: &GossipItem) {}

    fn report_verdict(&mut self, _: GossipId, _: &Infallible, _: Verdict) {}

    fn on_proved_member(&mut self, peer: Infallible) {
        match peer {}
    }

    fn disconnect(&mut self, peer: Infallible, _: Option<MonotonicMillis>) {
        match peer {}
    }
}
