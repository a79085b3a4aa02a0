//! What the network reports, in the order in which it happened.

use std::collections::VecDeque;

use heartchain_sync::Input;
use libp2p::PeerId;

/// What happened on the network.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "almost every event is an input, and only a few wait at a time"
)]
pub enum NetworkEvent {
    /// An input for the state machine.
    Input(Input<PeerId>),
    /// What the page shows of relays and peers changed.
    Changed,
    /// This peer listens at this multiaddr, which ends in its peer ID.
    Listening(String),
    /// A listener failed, for this reason.
    ListeningFailed(String),
}

/// Events that wait to be taken. Every event of libp2p adds a few, and all are taken before the next.
#[derive(Debug, Default)]
pub(crate) struct Events(VecDeque<NetworkEvent>);

impl Events {
    /// Adds an input for the state machine.
    pub(crate) fn input(&mut self, input: Input<PeerId>) {
        self.0.push_back(NetworkEvent::Input(input));
    }

    /// Adds a change of what the page shows.
    pub(crate) fn changed(&mut self) {
        self.0.push_back(NetworkEvent::Changed);
    }

    /// Adds the outcome of listening.
    pub(crate) fn listening(&mut self, event: NetworkEvent) {
        self.0.push_back(event);
    }

    /// Takes the oldest event.
    pub(crate) fn next(&mut self) -> Option<NetworkEvent> {
        self.0.pop_front()
    }
}
