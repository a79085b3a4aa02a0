//! A connected peer, as the page shows it.

use std::time::Duration;

use libp2p::PeerId;

use super::connections::{Path, Role};

/// A connected peer, as the page shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerLink {
    pub(crate) peer: PeerId,
    pub(crate) role: Role,
    /// The best path to the peer.
    pub(crate) path: Path,
    /// The last round trip on that path; `None` until a ping is answered.
    pub(crate) rtt: Option<Duration>,
}
