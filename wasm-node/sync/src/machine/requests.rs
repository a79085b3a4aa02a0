//! What is asked of peers, and what comes back.

use alloc::{collections::BTreeSet, vec::Vec};
use core::{cmp::Reverse, fmt::Debug};

use chain::{
    hash::{BlockHash, ReadingId},
    key::Author,
    time::{MonotonicMillis, UnixMillis},
};

use super::{Machine, clock, peer::Peer};
use crate::{
    config::{LOST_INTERVAL, REQUEST_TIMEOUT},
    message::{MAX_READINGS, MessageError, Request, Response, StatusMessage},
    seam::{DropReason, Event, Output, RequestFailure, RequestId},
};

/// A request that waits for its answer.
#[derive(Clone, Debug)]
pub(super) struct OpenRequest<P> {
    pub(super) peer: P,
    pub(super) asked: Asked,
    /// By the wall clock.
    pub(super) sent_at: UnixMillis,
    pub(super) deadline: MonotonicMillis,
    /// Whether another peer is asked for the same because the answer was late.
    pub(super) overdue: bool,
}

/// What was asked, as far as it is needed to judge the answer.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Status,
    Headers,
    Bodies(Vec<BlockHash>),
    Listing { after: Option<(Author, u64)> },
    Readings(Vec<ReadingId>),
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Whether a peer that says this of itself has a better branch than ours.
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

    /// Asks a connected peer; the caller has seen that it may be asked.
    pub(super) fn ask(&mut self, peer: P, request: &Request, asked: Asked) -> Option<RequestId> {
        let id = RequestId(self.next_handle());
        let known = self.peers.get_mut(&peer)?;
        known.open_requests += 1;
        if matches!(asked, Asked::Bodies(_)) {
            known.open_body_requests += 1;
        }
        let deadline = self.now.saturating_add(REQUEST_TIMEOUT);
        self.requests.insert(
            id,
            OpenRequest {
                peer,
                asked,
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

    /// Sends the small questions that wait: Status, mempool listings, readings.
    pub(super) fn ask_peers(&mut self) {
        let peers: Vec<P> = self.peers.keys().copied().collect();
        for peer in peers {
            loop {
                let mempool = &self.mempool;
                let known = self.peers.get_mut(&peer);
                let question =
                    known.and_then(|known| next_question(known, |id| !mempool.contains(id)));
                let Some((request, asked)) = question else {
                    break;
                };
                let request = request.unwrap_or_else(|| Request::Status(self.own_status()));
                self.ask(peer, &request, asked);
            }
        }
    }

    pub(super) fn response(&mut self, peer: P, id: RequestId, data: &[u8]) {
        let Some(request) = self.close_request(peer, id) else {
            return;
        };
        let response = match Response::decode(data) {
            Ok(response) => response,
            Err(error) => {
                self.give_back(request.asked);
                return self.ban(peer, undecodable(&error));
            }
        };
        match (request.asked, response) {
            (Asked::Status, Response::Status(status)) => {
                let offset = clock::offset(status.now, request.sent_at, self.wall);
                if let Some(known) = self.peers.get_mut(&peer) {
                    known.clock_offset = Some(offset);
                }
                self.note_status(peer, status);
            }
            (Asked::Headers, Response::Headers(headers)) => self.headers_came(peer, &headers),
            (Asked::Bodies(hashes), Response::Bodies(bodies)) => {
                self.bodies_came(peer, &hashes, bodies)
            }
            (Asked::Listing { after }, Response::MempoolIds(rows)) => {
                self.listing_came(peer, after, &rows)
            }
            (Asked::Readings(ids), Response::Readings(readings)) => {
                self.readings_came(peer, &ids, &readings)
            }
            (asked, _) => {
                self.give_back(asked);
                self.ban(peer, DropReason::WrongAnswer);
            }
        }
    }

    pub(super) fn request_failed(&mut self, peer: P, id: RequestId, failure: RequestFailure) {
        let Some(request) = self.close_request(peer, id) else {
            return;
        };
        self.note_stall(peer, &request.asked);
        self.give_back(request.asked);
        match failure {
            RequestFailure::Timeout | RequestFailure::Closed => {}
            RequestFailure::Unsupported => self.let_go(peer, DropReason::OtherRoom),
            RequestFailure::Oversize => self.ban(peer, DropReason::Oversize),
        }
    }

    /// Requests past their deadline have failed, whether or not the driver says so.
    pub(super) fn expire_requests(&mut self) {
        let late: Vec<(RequestId, P)> = self
            .requests
            .iter()
            .filter(|(_, request)| request.deadline <= self.now)
            .map(|(id, request)| (*id, request.peer))
            .collect();
        for (id, peer) in late {
            self.request_failed(peer, id, RequestFailure::Timeout);
        }
    }

    /// What a peer said of its branch, in a question or an answer.
    pub(super) fn note_status(&mut self, peer: P, status: StatusMessage) {
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        known.status_at = self.now;
        if known.status.is_none_or(|before| before.tip != status.tip) {
            if self.download.asks_again(self.now) {
                known.lacking.clear();
            }
            self.download.peers_changed();
            self.lost.peers_changed();
            self.outputs.push(Output::Tell(Event::Peers));
        }
        if let Some(known) = self.peers.get_mut(&peer) {
            known.status = Some(status);
        }
        self.note_shared(&status.tip);
    }

    /// A peer's best branch ends in this block.
    pub(super) fn note_shared(&mut self, tip: &BlockHash) {
        if let Some(info) = self.tree.block(tip).filter(|info| info.on_best) {
            self.confirmation.note_shared(info.index);
        }
    }

    /// Work that an unanswered request leaves undone goes back to where it came from.
    pub(super) fn give_back(&mut self, asked: Asked) {
        match asked {
            Asked::Bodies(hashes) => {
                self.lost.answered(&hashes);
                self.download.give_back(&hashes);
            }
            // Asked again by their own clocks.
            Asked::Status | Asked::Headers | Asked::Listing { .. } | Asked::Readings(_) => {}
        }
    }

    /// Who does not answer is asked after others, about that kind of thing.
    fn note_stall(&mut self, peer: P, asked: &Asked) {
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        match asked {
            Asked::Headers => {
                self.header_syncs.remove(&peer);
                self.forget_claim(peer);
                self.prune_many();
            }
            Asked::Bodies(hashes) => {
                known.stalls = known.stalls.saturating_add(1);
                if self.lost.is_asked(hashes) {
                    known.lost_from = self.now.saturating_add(LOST_INTERVAL);
                }
            }
            Asked::Status | Asked::Listing { .. } | Asked::Readings(_) => {}
        }
    }

    fn close_request(&mut self, peer: P, id: RequestId) -> Option<OpenRequest<P>> {
        if self.requests.get(&id)?.peer != peer {
            return None;
        }
        let request = self.requests.remove(&id)?;
        if let Some(known) = self.peers.get_mut(&peer) {
            known.overdue = known.overdue.saturating_sub(usize::from(request.overdue));
            known.open_requests = known.open_requests.saturating_sub(1);
            if matches!(request.asked, Asked::Bodies(_)) {
                known.open_body_requests = known.open_body_requests.saturating_sub(1);
            }
        }
        Some(request)
    }
}

/// The next small question to this peer, if it may be asked one; `None` for the request stands for our Status.
///
/// Readings that are not `wanted` any more, because another peer gave them, are left out.
fn next_question(
    peer: &mut Peer,
    wanted: impl Fn(&ReadingId) -> bool,
) -> Option<(Option<Request>, Asked)> {
    if !peer.may_be_asked() {
        return None;
    }
    if peer.wants_status {
        peer.wants_status = false;
        return Some((None, Asked::Status));
    }
    while !peer.wanted_readings.is_empty() {
        let many = peer.wanted_readings.len().min(MAX_READINGS);
        // Two listings may have named the same one.
        let mut named = BTreeSet::new();
        let ids: Vec<ReadingId> = peer
            .wanted_readings
            .drain(..many)
            .filter(|id| wanted(id) && named.insert(*id))
            .collect();
        if ids.is_empty() {
            continue;
        }
        return Some((
            Some(Request::Readings { ids: ids.clone() }),
            Asked::Readings(ids),
        ));
    }
    let after = peer.wants_listing.take()?;
    Some((
        Some(Request::MempoolIds { after }),
        Asked::Listing { after },
    ))
}

/// Why a peer that sent undecodable bytes is dropped.
pub(super) fn undecodable(error: &MessageError) -> DropReason {
    match error {
        MessageError::TooLong { .. } | MessageError::TooMany { .. } => DropReason::Oversize,
        MessageError::Malformed => DropReason::Garbage("a message of the sync protocol"),
    }
}
