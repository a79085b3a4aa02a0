//! The state that the event loop records: connections, and what is known about their peers.

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

/// All open connections, and the state of the gossip measurement.
#[derive(Debug, Default)]
pub(crate) struct Table {
    links: Vec<Link>,
    pub(crate) gossip_peers: usize,
    /// The gossip message in flight, and the channel that gets the time of its return.
    pub(crate) awaited: Option<(Vec<u8>, oneshot::Sender<f64>)>,
}

/// A connection, in the format that JavaScript gets.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Link {
    #[serde(skip)]
    pub(crate) id: ConnectionId,
    #[serde(skip)]
    pub(crate) peer: PeerId,
    pub(crate) direct: bool,
    pub(crate) dialer: bool,
    /// When the connection was established, in milliseconds since the page was opened.
    pub(crate) opened: f64,
    /// The round-trip time of the last ping, in milliseconds.
    pub(crate) ping_ms: Option<f64>,
    /// The agent version from identify.
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

    /// Completes the measurement if `data` is the message in flight.
    pub(crate) fn gossip_returned(&mut self, data: &[u8]) {
        if self
            .awaited
            .as_ref()
            .is_some_and(|(awaited, _)| awaited == data)
            && let Some((_, waiter)) = self.awaited.take()
        {
            // Fails if the caller no longer waits.
            let _ = waiter.send(now_ms());
        }
    }
}
