//! What the loop has seen: connections, and what their far ends said.

use futures::channel::oneshot;
use libp2p::PeerId;
use libp2p::swarm::ConnectionId;
use serde::Serialize;

/// Milliseconds since the page was opened.
pub(crate) fn now_ms() -> f64 {
    performance::now()
}

mod performance {
    use wasm_bindgen::prelude::wasm_bindgen;

    #[wasm_bindgen]
    extern "C" {
        #[wasm_bindgen(js_namespace = performance)]
        pub(crate) fn now() -> f64;
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Table {
    links: Vec<Link>,
    pub(crate) gossip_peers: usize,
    /// The gossip message that is under way, and who waits to hear when it is back.
    pub(crate) awaited: Option<(Vec<u8>, oneshot::Sender<f64>)>,
}

/// One connection, in JavaScript's words.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Link {
    #[serde(skip)]
    pub(crate) id: ConnectionId,
    #[serde(skip)]
    pub(crate) peer: PeerId,
    pub(crate) direct: bool,
    pub(crate) dialer: bool,
    /// When, in milliseconds since the page was opened.
    pub(crate) opened: f64,
    /// The last ping's round trip.
    pub(crate) ping_ms: Option<f64>,
    /// What identify brought.
    pub(crate) agent: Option<String>,
    pub(crate) protocols: Vec<String>,
}

impl Table {
    pub(crate) fn opened(&mut self, id: ConnectionId, peer: PeerId, direct: bool, dialer: bool) {
        self.links.push(Link {
            id,
            peer,
            direct,
            dialer,
            opened: now_ms(),
            ping_ms: None,
            agent: None,
            protocols: Vec::new(),
        });
    }

    pub(crate) fn closed(&mut self, id: ConnectionId) {
        self.links.retain(|link| link.id != id);
    }

    pub(crate) fn link_mut(&mut self, id: ConnectionId) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.id == id)
    }

    pub(crate) fn links_with(&self, peer: &PeerId) -> Vec<Link> {
        let mut links = self.links.clone();
        links.retain(|link| link.peer == *peer);
        links
    }

    /// A gossip message came back.
    pub(crate) fn returned(&mut self, data: &[u8]) {
        if self
            .awaited
            .as_ref()
            .is_some_and(|(awaited, _)| awaited == data)
            && let Some((_, waiter)) = self.awaited.take()
        {
            // It fails if nobody waits any more.
            let _ = waiter.send(now_ms());
        }
    }
}
