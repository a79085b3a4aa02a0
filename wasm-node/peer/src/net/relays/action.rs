//! What is due for a relay.

use libp2p::{Multiaddr, PeerId, core::transport::ListenerId, swarm::ConnectionId};

use crate::net::{address::RelayAddress, rendezvous::message::Cookie};

/// Identifies a relay of this tab, for as long as the tab lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkId(pub(super) usize);

/// An action that is due for a relay.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Read its document, which is below this URL or (`None`) that of the page's relay, and report back with
    /// `Relays::document`.
    ReadDocument(LinkId, Option<String>),
    /// Dial it, and report back with `Relays::dialing` or `Relays::dial_not_started`.
    Dial(LinkId, RelayAddress),
    /// Close its connection, because better relays are back.
    Leave(ConnectionId),
    /// Request a reservation by listening on this address, and report back with `Relays::listening`.
    Reserve(LinkId, Multiaddr),
    /// Close the listener of a reservation that was not granted in time.
    StopListening(ListenerId),
    /// Register this tab in the room's rendezvous namespace.
    Register(PeerId),
    /// Discover the peers registered there, with the cookie of the last response.
    Discover(PeerId, Option<Cookie>),
}
