//! Open requests in both directions: maps libp2p's request IDs to those of the sync state machine, and keeps the
//! deadline of each outbound request. It never sends.

use heartchain_chain::time::MonotonicMillis;
use heartchain_sync::io::{InboundId, RequestId};
use libp2p::{
    PeerId,
    request_response::{InboundRequestId, OutboundRequestId, ResponseChannel},
};
use litemap::LiteMap;

/// Requests of other peers that may wait for a response: 4 from each of 24 peers, and some that were abandoned.
const MAX_UNANSWERED_REQUESTS: usize = 128;

/// Requests of this tab that wait for a response. The state machine has at most 4 open with each peer.
#[derive(Debug, Default)]
pub(crate) struct OutboundRequests {
    open: LiteMap<OutboundRequestId, OutboundRequest>,
}

#[derive(Clone, Copy, Debug)]
struct OutboundRequest {
    peer: PeerId,
    id: RequestId,
    deadline: MonotonicMillis,
}

impl OutboundRequests {
    /// A request was sent.
    pub(crate) fn insert(
        &mut self,
        sent: OutboundRequestId,
        peer: PeerId,
        id: RequestId,
        deadline: MonotonicMillis,
    ) {
        self.open
            .insert(sent, OutboundRequest { peer, id, deadline });
    }

    /// Removes a request that has ended. Returns its peer and its ID in the state machine; `None` if it ended before.
    pub(crate) fn take(&mut self, sent: OutboundRequestId) -> Option<(PeerId, RequestId)> {
        let open = self.open.remove(&sent)?;
        Some((open.peer, open.id))
    }

    /// Removes all requests to a peer that is gone. No failures are reported for them: the disconnect says enough.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.open.retain(|_, open| open.peer != *peer);
    }

    /// Removes and returns the requests whose deadline has passed.
    pub(crate) fn take_expired(&mut self, now: MonotonicMillis) -> Vec<(PeerId, RequestId)> {
        let mut expired = Vec::new();
        self.open.retain(|_, open| {
            let is_expired = open.deadline <= now;
            if is_expired {
                expired.push((open.peer, open.id));
            }
            !is_expired
        });
        expired
    }

    /// The deadline of the request that expires next.
    pub(crate) fn due(&self) -> Option<MonotonicMillis> {
        self.open.values().map(|open| open.deadline).min()
    }
}

/// Requests of peers that wait for a response from this tab.
#[derive(Debug, Default)]
pub(crate) struct InboundRequests {
    next: u64,
    open: LiteMap<InboundId, (InboundRequestId, ResponseChannel<Vec<u8>>)>,
}

impl InboundRequests {
    /// Adds a request and returns its ID for the state machine. `None` if too many are open: the stream is closed then.
    pub(crate) fn insert(
        &mut self,
        received: InboundRequestId,
        channel: ResponseChannel<Vec<u8>>,
    ) -> Option<InboundId> {
        if self.open.len() >= MAX_UNANSWERED_REQUESTS {
            return None;
        }
        let id = InboundId(self.next);
        self.next = self.next.wrapping_add(1);
        self.open.insert(id, (received, channel));
        Some(id)
    }

    /// Removes a request and returns the channel for its response. Dropping the channel closes the stream.
    pub(crate) fn take(&mut self, id: InboundId) -> Option<ResponseChannel<Vec<u8>>> {
        self.open.remove(&id).map(|(_, channel)| channel)
    }

    /// Removes a request whose peer no longer waits for the response.
    pub(crate) fn forget(&mut self, received: InboundRequestId) {
        self.open.retain(|_, (open, _)| *open != received);
    }
}
