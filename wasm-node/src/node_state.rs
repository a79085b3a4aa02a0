//! The state that the driver and the page share. Contains no logic.

use std::{cell::Cell, rc::Rc};

use heartchain_peer::net::{PeerId, PeerLink, RelayView};
use heartchain_sync::Machine;

use crate::{document_reader::DocumentFault, miner::MinerFault, storage::Health};

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
    /// Why this tab cannot mine at present.
    pub(crate) miner_fault: Option<MinerFault>,
    /// Why the relay document was not read the last time.
    pub(crate) relay_document_fault: RelayDocumentFault,
    /// In memory: how many entries of the journal the last move file has.
    pub(crate) moved: Cell<Option<u64>>,
    /// Whether the page stopped the node.
    pub(crate) stopped: bool,
}

/// Set by each read of the relay document; `None` if the read succeeded, or if no document is needed.
pub(crate) type RelayDocumentFault = Rc<Cell<Option<DocumentFault>>>;

impl NodeState {
    /// Notes that the node was stopped: nothing is connected any more.
    pub(crate) fn note_stopped(&mut self) {
        self.stopped = true;
        self.links.clear();
        self.hashes_per_second = None;
        for relay in &mut self.relays {
            relay.connected = false;
            relay.reserved = false;
        }
    }
}

/// Settings that the page can change while the node runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    /// Whether the node is cut off from all peers and relays.
    pub(crate) isolated: bool,
    /// The most hashes per second that the miner tries; `None` is unlimited.
    pub(crate) mining_limit: Option<u32>,
}
