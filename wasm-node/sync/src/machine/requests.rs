//! Requests to peers, and their answers.

use alloc::{collections::BTreeSet, vec::Vec};
use core::{cmp::Reverse, fmt::Debug};

use heartchain_chain::{
    hash::{BlockHash, ReadingId},
    key::Author,
    time::{MonotonicMillis, UnixMillis},
};

use super::{Machine, clock, peer::PeerState};
use crate::{
    config::{MISSING_BODIES_INTERVAL, REQUEST_TIMEOUT},
    io::{DisconnectReason, Event, Output, RequestFailure, RequestId},
    message::{MAX_READINGS, MessageError, Request, Response, StatusMessage},
};

/// A request that waits for its answer.
#[derive(Clone, Debug)]
pub(super) struct OpenRequest<P> {
    pub(super) peer: P,
    pub(super) kind: RequestKind,
    /// The wall-clock time, to measure the peer's clock offset.
    pub(super) sent_at: UnixMillis,
    pub(super) deadline: MonotonicMillis,
    /// Whether another peer was asked for the same bodies because this answer is late.
    pub(super) overdue: bool,
}

/// The kind of a request, with what is needed to check the answer.
#[derive(Clone, Debug)]
pub(super) enum RequestKind {
    Status,
    Headers,
    Bodies(Vec<BlockHash>),
    MempoolIds { after: Option<(Author, u64)> },
    Readings(Vec<ReadingId>),
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Whether a peer with this status has a better branch than ours.
    pub(super) fn is_better(&self, status: &StatusMessage) -> bool {
        let tip = self.tree.tip();
        (status.total_work, Reverse(status.tip)) > (tip.total_work, Reverse(tip.hash))
    }

    pub(super) fn own_status(&self) -> StatusMessage {
        let tip = self.tree.tip();
        StatusMessage {
            tip: tip.hash,
            index: tip.index,
            total_work: tip.total_work,
            now: self.wall,
        }
    }

    /// Sends a request to a connected peer. The caller checks that the peer has a free request slot.
    pub(super) fn send_request(
        &mut self,
        peer: P,
        request: &Request,
        kind: RequestKind,
    ) -> Option<RequestId> {
        let id = RequestId(self.next_handle());
        let state = self.peers.get_mut(&peer)?;
        state.open_requests += 1;
        if matches!(kind, RequestKind::Bodies(_)) {
            state.open_body_requests += 1;
        }
        let deadline = self.now.saturating_add(REQUEST_TIMEOUT);
        self.requests.insert(
            id,
            OpenRequest {
                peer,
                kind,
                sent_at: self.wall,
                deadline,
                overdue: false,
            },
        );
        self.outputs.push(Output::Request {
            peer,
            id,
            data: request.encode(),
            deadline,
        });
        Some(id)
    }

    /// Sends pending small requests: Status, mempool listings and readings.
    pub(super) fn send_small_requests(&mut self) {
        let peers: Vec<P> = self.peers.keys().copied().collect();
        for peer in peers {
            loop {
                let mempool = &self.mempool;
                let state = self.peers.get_mut(&peer);
                let next =
                    state.and_then(|state| next_small_request(state, |id| !mempool.contains(id)));
                let Some((request, kind)) = next else {
                    break;
                };
                let request = request.unwrap_or_else(|| Request::Status(self.own_status()));
                self.send_request(peer, &request, kind);
            }
        }
    }

    pub(super) fn on_response(&mut self, peer: P, id: RequestId, data: &[u8]) {
        let Some(request) = self.close_request(peer, id) else {
            return;
        };
        let response = match Response::decode(data) {
            Ok(response) => response,
            Err(error) => {
                self.requeue(request.kind);
                return self.ban(peer, decode_failure(&error));
            }
        };
        match (request.kind, response) {
            (RequestKind::Status, Response::Status(status)) => {
                let offset = clock::offset(status.now, request.sent_at, self.wall);
                if let Some(state) = self.peers.get_mut(&peer) {
                    state.clock_offset = Some(offset);
                }
                self.on_status(peer, status);
            }
            (RequestKind::Headers, Response::Headers(headers)) => self.on_headers(peer, &headers),
            (RequestKind::Bodies(hashes), Response::Bodies(bodies)) => {
                self.on_bodies(peer, &hashes, bodies)
            }
            (RequestKind::MempoolIds { after }, Response::MempoolIds(rows)) => {
                self.on_mempool_ids(peer, after, &rows)
            }
            (RequestKind::Readings(ids), Response::Readings(readings)) => {
                self.on_readings(peer, &ids, &readings)
            }
            (kind, _) => {
                self.requeue(kind);
                self.ban(peer, DisconnectReason::WrongAnswer);
            }
        }
    }

    pub(super) fn on_request_failed(&mut self, peer: P, id: RequestId, failure: RequestFailure) {
        let Some(request) = self.close_request(peer, id) else {
            return;
        };
        self.penalize_stall(peer, &request.kind);
        self.requeue(request.kind);
        match failure {
            RequestFailure::Timeout | RequestFailure::Closed => {}
            RequestFailure::Unsupported => self.drop_peer(peer, DisconnectReason::OtherRoom),
            RequestFailure::Oversize => self.ban(peer, DisconnectReason::Oversize),
        }
    }

    /// Fails requests that are past their deadline, even if the driver does not report a timeout.
    pub(super) fn expire_requests(&mut self) {
        let late: Vec<(RequestId, P)> = self
            .requests
            .iter()
            .filter(|(_, request)| request.deadline <= self.now)
            .map(|(id, request)| (*id, request.peer))
            .collect();
        for (id, peer) in late {
            self.on_request_failed(peer, id, RequestFailure::Timeout);
        }
    }

    /// Processes a peer's Status, which comes in a request or in an answer.
    pub(super) fn on_status(&mut self, peer: P, status: StatusMessage) {
        let Some(state) = self.peers.get_mut(&peer) else {
            return;
        };
        state.status_at = self.now;
        if state.status.is_none_or(|before| before.tip != status.tip) {
            if self.download.may_ask_again(self.now) {
                state.lacking.clear();
            }
            self.download.peers_changed();
            self.missing_bodies.peers_changed();
            self.outputs.push(Output::Emit(Event::Peers));
        }
        if let Some(state) = self.peers.get_mut(&peer) {
            state.status = Some(status);
        }
        self.mark_shared(&status.tip);
    }

    /// Notes that a peer's best branch ends in this block, so that our branch up to it is known to others.
    pub(super) fn mark_shared(&mut self, tip: &BlockHash) {
        if let Some(info) = self.tree.block(tip).filter(|info| info.on_best) {
            self.confirmation.mark_shared(info.index);
        }
    }

    /// Requeues the work of a request that was not answered.
    pub(super) fn requeue(&mut self, kind: RequestKind) {
        match kind {
            RequestKind::Bodies(hashes) => {
                self.missing_bodies.clear_in_flight(&hashes);
                self.download.requeue(&hashes);
            }
            // These have timers of their own.
            RequestKind::Status
            | RequestKind::Headers
            | RequestKind::MempoolIds { .. }
            | RequestKind::Readings(_) => {}
        }
    }

    /// Gives a peer that did not answer a lower priority for requests of that kind.
    fn penalize_stall(&mut self, peer: P, kind: &RequestKind) {
        let Some(state) = self.peers.get_mut(&peer) else {
            return;
        };
        match kind {
            RequestKind::Headers => {
                self.header_syncs.remove(&peer);
                self.forget_claim(peer);
                self.prune_if_over_limit();
            }
            RequestKind::Bodies(hashes) => {
                state.stalls = state.stalls.saturating_add(1);
                if self.missing_bodies.is_in_flight(hashes) {
                    state.missing_bodies_retry_at =
                        self.now.saturating_add(MISSING_BODIES_INTERVAL);
                }
            }
            RequestKind::Status | RequestKind::MempoolIds { .. } | RequestKind::Readings(_) => {}
        }
    }

    fn close_request(&mut self, peer: P, id: RequestId) -> Option<OpenRequest<P>> {
        if self.requests.get(&id)?.peer != peer {
            return None;
        }
        let request = self.requests.remove(&id)?;
        if let Some(state) = self.peers.get_mut(&peer) {
            state.overdue = state.overdue.saturating_sub(usize::from(request.overdue));
            state.open_requests = state.open_requests.saturating_sub(1);
            if matches!(request.kind, RequestKind::Bodies(_)) {
                state.open_body_requests = state.open_body_requests.saturating_sub(1);
            }
        }
        Some(request)
    }
}

/// The next small request to a peer with a free request slot. The request is `None` for our Status, which the
/// caller fills in.
///
/// Readings that are no longer `wanted`, because another peer sent them, are left out.
fn next_small_request(
    peer: &mut PeerState,
    wanted: impl Fn(&ReadingId) -> bool,
) -> Option<(Option<Request>, RequestKind)> {
    if !peer.has_request_slot() {
        return None;
    }
    if peer.wants_status {
        peer.wants_status = false;
        return Some((None, RequestKind::Status));
    }
    while !peer.wanted_readings.is_empty() {
        let many = peer.wanted_readings.len().min(MAX_READINGS);
        // Two listings may have contained the same ID.
        let mut seen = BTreeSet::new();
        let ids: Vec<ReadingId> = peer
            .wanted_readings
            .drain(..many)
            .filter(|id| wanted(id) && seen.insert(*id))
            .collect();
        if ids.is_empty() {
            continue;
        }
        return Some((
            Some(Request::Readings { ids: ids.clone() }),
            RequestKind::Readings(ids),
        ));
    }
    let after = peer.wants_listing.take()?;
    Some((
        Some(Request::MempoolIds { after }),
        RequestKind::MempoolIds { after },
    ))
}

/// Why a peer that sent undecodable bytes is disconnected.
pub(super) fn decode_failure(error: &MessageError) -> DisconnectReason {
    match error {
        MessageError::TooLong { .. } | MessageError::TooMany { .. } => DisconnectReason::Oversize,
        MessageError::Malformed => DisconnectReason::Undecodable("a message of the sync protocol"),
    }
}
