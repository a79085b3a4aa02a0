//! Which of libp2p's requests is which of the machine's, and until when an answer counts. Never sends.

use chain::time::MonotonicMillis;
use libp2p::{
    PeerId,
    request_response::{InboundRequestId, OutboundRequestId, ResponseChannel},
};
use litemap::LiteMap;
use sync::seam::{InboundId, RequestId};

use crate::config;

/// Requests of ours that wait for an answer. The machine has at most 4 open with each peer.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    open: LiteMap<OutboundRequestId, Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    peer: PeerId,
    id: RequestId,
    deadline: MonotonicMillis,
}

impl Asked {
    /// A request is under way.
    pub(crate) fn insert(
        &mut self,
        sent: OutboundRequestId,
        peer: PeerId,
        id: RequestId,
        deadline: MonotonicMillis,
    ) {
        self.open.insert(sent, Open { peer, id, deadline });
    }

    /// It is over: whom it was to, and which of the machine's it was. `None` if it was over before.
    pub(crate) fn take(&mut self, sent: OutboundRequestId) -> Option<(PeerId, RequestId)> {
        let open = self.open.remove(&sent)?;
        Some((open.peer, open.id))
    }

    /// The peer is gone, and that says all.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.open.retain(|_, open| open.peer != *peer);
    }

    /// Those whose time is up; they are over.
    pub(crate) fn late(&mut self, now: MonotonicMillis) -> Vec<(PeerId, RequestId)> {
        let mut late = Vec::new();
        self.open.retain(|_, open| {
            let is_late = open.deadline <= now;
            if is_late {
                late.push((open.peer, open.id));
            }
            !is_late
        });
        late
    }

    /// The next deadline.
    pub(crate) fn due(&self) -> Option<MonotonicMillis> {
        self.open.values().map(|open| open.deadline).min()
    }
}

/// Requests of others that wait for our answer.
#[derive(Debug, Default)]
pub(crate) struct Unanswered {
    next: u64,
    open: LiteMap<InboundId, (InboundRequestId, ResponseChannel<Vec<u8>>)>,
}

impl Unanswered {
    /// A request came: its name for the machine. `None` if too many wait; the stream closes then.
    pub(crate) fn insert(
        &mut self,
        came: InboundRequestId,
        channel: ResponseChannel<Vec<u8>>,
    ) -> Option<InboundId> {
        if self.open.len() >= config::MAX_UNANSWERED {
            return None;
        }
        let id = InboundId(self.next);
        self.next = self.next.wrapping_add(1);
        self.open.insert(id, (came, channel));
        Some(id)
    }

    /// Where the answer goes; dropping it closes the stream.
    pub(crate) fn take(&mut self, id: InboundId) -> Option<ResponseChannel<Vec<u8>>> {
        self.open.remove(&id).map(|(_, channel)| channel)
    }

    /// The peer waits no longer.
    pub(crate) fn forget(&mut self, came: InboundRequestId) {
        self.open.retain(|_, (open, _)| *open != came);
    }
}
