//! The state that the driver and the page share. Contains no logic.

use std::rc::Rc;

use heartchain_sync::Machine;

use crate::{
    net::{PeerId, PeerLink, RelayView},
    storage::Health,
};

/// The state that the driver updates and the page reads. The driver borrows it mutably only while the machine works,
/// and delivers no events meanwhile, so the page's getters always find it free.
#[derive(Debug)]
pub(crate) struct NodeState {
    pub(crate) local_peer_id: PeerId,
    pub(crate) machine: Machine<PeerId>,
    pub(crate) relays: Vec<RelayView>,
    pub(crate) links: Vec<PeerLink>,
    pub(crate) hashes_per_second: Option<f64>,
    pub(crate) storage: Rc<Health>,
    pub(crate) settings: Settings,
}

/// Settings that the page can change while the node runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    /// Whether the node is cut off from all peers and relays.
    pub(crate) isolated: bool,
    /// The most hashes per second that the miner tries; `None` is unlimited.
    pub(crate) mining_limit: Option<u32>,
}
