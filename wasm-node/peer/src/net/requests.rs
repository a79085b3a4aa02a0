//! Open requests of sync in both directions: maps libp2p's request IDs to those of the sync state machine, and keeps the
//! deadline of each outbound request. Messages are bytes on libp2p's side and values on the machine's. This module converts
//! them, but never judges what it reads: bytes that do not decode reach the machine as an error.

use heartchain_chain::{content::ReadingForm, time::MonotonicMillis};
use heartchain_sync::{
    Input,
    io::{InboundId, RequestFailure, RequestId},
    message::{Request, Response},
};
use libp2p::{
    PeerId,
    request_response::{
        Behaviour, Event, InboundRequestId, Message, OutboundFailure, OutboundRequestId,
        ResponseChannel,
    },
};
use litemap::LiteMap;

use super::codec::{FrameCodec, FrameError, FrameEvent};

/// Requests of other peers that may wait for a response: 4 from each of 24 peers, and some that were abandoned.
const MAX_UNANSWERED_REQUESTS: usize = 128;

/// The open requests of this tab and of its peers.
#[derive(Debug)]
pub(crate) struct Requests {
    /// The form of the room's readings.
    form: ReadingForm,
    /// Requests of this tab that wait for a response. The state machine has at most 4 open with each peer.
    outbound: LiteMap<OutboundRequestId, OutboundRequest>,
    /// Requests of peers that wait for a response from this tab, and the stream of each.
    inbound: LiteMap<InboundId, (InboundRequestId, ResponseChannel<Vec<u8>>)>,
    next_inbound: u64,
}

#[derive(Clone, Copy, Debug)]
struct OutboundRequest {
    peer: PeerId,
    id: RequestId,
    deadline: MonotonicMillis,
}

/// The peer whose request has arrived with this event, if one has.
pub(crate) fn requester(event: &FrameEvent) -> Option<PeerId> {
    if let Event::Message {
        peer,
        message: Message::Request { .. },
        ..
    } = event
    {
        Some(*peer)
    } else {
        None
    }
}

impl Requests {
    /// No request is open.
    pub(crate) fn new(form: ReadingForm) -> Self {
        Self {
            form,
            outbound: LiteMap::new(),
            inbound: LiteMap::new(),
            next_inbound: 0,
        }
    }

    /// Sends a request to a connected peer.
    pub(crate) fn send(
        &mut self,
        protocol: &mut Behaviour<FrameCodec>,
        peer: PeerId,
        id: RequestId,
        request: &Request,
        deadline: MonotonicMillis,
    ) {
        let sent = protocol.send_request(&peer, request.encode());
        let open = OutboundRequest { peer, id, deadline };
        self.outbound.insert(sent, open);
    }

    /// Responds to a peer's request.
    pub(crate) fn respond(
        &mut self,
        protocol: &mut Behaviour<FrameCodec>,
        id: InboundId,
        response: &Response,
    ) {
        if let Some((_, channel)) = self.inbound.remove(&id) {
            // This fails only if the peer is gone or has given up, and then the response is not missed.
            let _ = protocol.send_response(channel, response.encode());
        }
    }

    /// Closes the stream of a peer's request without a response.
    pub(crate) fn refuse(&mut self, id: InboundId) {
        self.inbound.remove(&id);
    }

    /// Handles an event of the protocol. If too many requests are open, closes the stream of another one.
    pub(crate) fn on_event(&mut self, event: FrameEvent) -> Option<Input<PeerId>> {
        match event {
            Event::Message {
                peer: from,
                message:
                    Message::Request {
                        request_id,
                        request,
                        channel,
                    },
                ..
            } => {
                let id = self.insert_inbound(request_id, channel)?;
                let request = Request::decode(self.form, &request);
                Some(Input::Request { from, id, request })
            }
            Event::Message {
                message:
                    Message::Response {
                        request_id,
                        response,
                    },
                ..
            } => {
                let OutboundRequest { peer, id, .. } = self.outbound.remove(&request_id)?;
                let response = Response::decode(self.form, &response);
                Some(Input::Response { peer, id, response })
            }
            Event::OutboundFailure {
                request_id, error, ..
            } => {
                let OutboundRequest { peer, id, .. } = self.outbound.remove(&request_id)?;
                let failure = failure(&error);
                Some(Input::RequestFailed { peer, id, failure })
            }
            Event::InboundFailure { request_id, .. } => {
                // The peer no longer waits for the response.
                self.inbound.retain(|_, (open, _)| *open != request_id);
                None
            }
            Event::ResponseSent { .. } => None,
        }
    }

    fn insert_inbound(
        &mut self,
        received: InboundRequestId,
        channel: ResponseChannel<Vec<u8>>,
    ) -> Option<InboundId> {
        if self.inbound.len() >= MAX_UNANSWERED_REQUESTS {
            return None;
        }
        let id = InboundId(self.next_inbound);
        self.next_inbound = self.next_inbound.wrapping_add(1);
        self.inbound.insert(id, (received, channel));
        Some(id)
    }

    /// Forgets the requests to a peer that is gone. No failures are reported for them: the disconnect says enough.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.outbound.retain(|_, open| open.peer != *peer);
    }

    /// Ends the requests whose deadline has passed.
    pub(crate) fn poll(&mut self, now: MonotonicMillis) -> Vec<Input<PeerId>> {
        let mut expired = Vec::new();
        self.outbound.retain(|_, open| {
            let is_expired = open.deadline <= now;
            if is_expired {
                expired.push(Input::RequestFailed {
                    peer: open.peer,
                    id: open.id,
                    failure: RequestFailure::Timeout,
                });
            }
            !is_expired
        });
        expired
    }

    /// When [`Self::poll`] is next due.
    pub(crate) fn next_deadline(&self) -> Option<MonotonicMillis> {
        self.outbound.values().map(|open| open.deadline).min()
    }
}

fn failure(error: &OutboundFailure) -> RequestFailure {
    match error {
        OutboundFailure::Timeout => RequestFailure::Timeout,
        OutboundFailure::UnsupportedProtocols => RequestFailure::Unsupported,
        OutboundFailure::DialFailure | OutboundFailure::ConnectionClosed => RequestFailure::Closed,
        OutboundFailure::Io(error) => match error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<FrameError>())
        {
            Some(FrameError::Oversize { .. }) => RequestFailure::Oversize,
            Some(FrameError::Truncated { .. }) | None => RequestFailure::Closed,
        },
    }
}
