//! A connected peer, as the page shows it.

use std::time::Duration;

use libp2p::PeerId;

use super::connections::{Path, Role};

/// A connected peer, as the page shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLink {
    /// The connected peer.
    pub peer: PeerId,
    /// What it is to this peer.
    pub role: Role,
    /// The best path to the peer.
    pub path: Path,
    /// The last round trip on that path; `None` until a ping is answered.
    pub rtt: Option<Duration>,
}
