//! The connected peers: what each claims, which of our requests it has not answered yet, and which peers are banned.

use alloc::vec::Vec;

use heartchain_chain::{compact_sort, hash::BlockHash, time::MonotonicMillis};
use litemap::LiteMap;

use super::{
    bans::Bans,
    clock::Clock,
    identity::PeerIdentity,
    requests::{OpenRequest, RequestKind},
};
use crate::{
    config::{MAX_OPEN_BODY_REQUESTS, MAX_OPEN_REQUESTS, MAX_PEERS, REQUEST_TIMEOUT},
    io::RequestId,
    message::StatusMessage,
};

/// What a connected peer claims, and what it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    connected_at: MonotonicMillis,
    /// `None` before the first Status, and after a claim that its headers did not support.
    status: Option<StatusMessage>,
    identity: PeerIdentity,
    /// At most [`MAX_OPEN_REQUESTS`].
    requests: LiteMap<RequestId, OpenRequest>,
}

impl Peer {
    pub(super) const fn connected_at(&self) -> MonotonicMillis {
        self.connected_at
    }

    /// Its last Status. `None` before the first one, and after a claim that its headers did not support.
    pub(crate) const fn status(&self) -> Option<StatusMessage> {
        self.status
    }

    /// What it has proved about itself.
    pub(crate) const fn identity(&self) -> PeerIdentity {
        self.identity
    }

    pub(super) fn has_request_slot(&self) -> bool {
        self.requests.len() < MAX_OPEN_REQUESTS
    }

    /// Whether it has answered all our requests.
    pub(super) fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    /// Whether it may be asked for bodies now.
    pub(super) fn has_body_slot(&self) -> bool {
        self.has_request_slot() && self.open_body_requests() < MAX_OPEN_BODY_REQUESTS
    }

    pub(super) fn open_body_requests(&self) -> usize {
        let bodies = self.requests.values().filter_map(OpenRequest::bodies);
        bodies.count()
    }

    /// Whether another peer was asked for bodies that this one is late with.
    pub(super) fn is_overdue(&self) -> bool {
        self.requests.values().any(|request| request.overdue)
    }

    /// Whether it was asked for this body and has not answered yet.
    pub(super) fn is_sending(&self, hash: &BlockHash) -> bool {
        let mut bodies = self.requests.values().filter_map(OpenRequest::bodies);
        bodies.any(|hashes| hashes.contains(hash))
    }
}

/// All connected peers that are tracked, and all bans.
#[derive(Clone, Debug)]
pub(crate) struct Peers<P> {
    table: LiteMap<P, Peer>,
    bans: Bans<P>,
}

impl<P: Copy + Ord> Peers<P> {
    pub(super) const fn new() -> Self {
        Self {
            table: LiteMap::new(),
            bans: Bans::new(),
        }
    }

    /// Tracks a peer that connected. Returns `false` if it is tracked already, or if there is no room.
    pub(super) fn connect(&mut self, peer: P, now: MonotonicMillis) -> bool {
        if self.table.len() >= MAX_PEERS || self.table.contains_key(&peer) {
            return false;
        }
        let state = Peer {
            connected_at: now,
            status: None,
            identity: PeerIdentity::default(),
            requests: LiteMap::new(),
        };
        self.table.insert(peer, state);
        true
    }

    /// Stops tracking a peer. Returns its open requests, or `None` if it was not tracked.
    pub(super) fn remove(&mut self, peer: &P) -> Option<Vec<RequestKind>> {
        let removed = self.table.remove(peer)?;
        let requests = removed.requests.into_iter();
        Some(requests.map(|(_, request)| request.kind).collect())
    }

    /// Bans a peer. Returns the end of its ban.
    pub(super) fn ban(&mut self, peer: P, now: MonotonicMillis) -> MonotonicMillis {
        self.bans.ban(peer, now)
    }

    /// The end of this peer's ban, if it is banned now.
    pub(super) fn banned_until(&self, peer: &P, now: MonotonicMillis) -> Option<MonotonicMillis> {
        self.bans.until(peer, now)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn contains(&self, peer: &P) -> bool {
        self.table.contains_key(peer)
    }

    pub(super) fn get(&self, peer: &P) -> Option<&Peer> {
        self.table.get(peer)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (P, &Peer)> {
        self.table.iter().map(|(peer, state)| (*peer, state))
    }

    pub(super) fn ids(&self) -> Vec<P> {
        self.table.keys().copied().collect()
    }

    /// The Status of every peer that sent one.
    pub(crate) fn statuses(&self) -> impl Iterator<Item = (P, StatusMessage)> {
        self.iter()
            .filter_map(|(peer, state)| Some((peer, state.status?)))
    }

    /// Stores a peer's Status. Returns whether its tip is another one than before.
    pub(super) fn set_status(&mut self, peer: &P, status: StatusMessage) -> bool {
        let Some(state) = self.table.get_mut(peer) else {
            return false;
        };
        let before = state.status.replace(status);
        before.is_none_or(|before| before.tip != status.tip)
    }

    /// What a peer has proved about itself, if it is tracked.
    pub(super) fn identity(&self, peer: &P) -> Option<PeerIdentity> {
        self.table.get(peer).map(Peer::identity)
    }

    pub(super) fn set_identity(&mut self, peer: &P, identity: PeerIdentity) {
        if let Some(state) = self.table.get_mut(peer) {
            state.identity = identity;
        }
    }

    /// Ignores a peer's claim until the peer repeats it.
    pub(super) fn forget_claim(&mut self, peer: &P) {
        if let Some(state) = self.table.get_mut(peer) {
            state.status = None;
        }
    }

    /// Notes that a request was sent. Returns its deadline, or `None` if the peer is not tracked.
    pub(super) fn open_request(
        &mut self,
        peer: P,
        id: RequestId,
        kind: RequestKind,
        clock: &Clock,
    ) -> Option<MonotonicMillis> {
        let state = self.table.get_mut(&peer)?;
        let deadline = clock.now().saturating_add(REQUEST_TIMEOUT);
        let request = OpenRequest {
            kind,
            sent_at: clock.wall(),
            deadline,
            overdue: false,
        };
        state.requests.insert(id, request);
        Some(deadline)
    }

    /// Ends a request. `None` if this peer has no such request.
    pub(super) fn close_request(&mut self, peer: &P, id: RequestId) -> Option<OpenRequest> {
        self.table.get_mut(peer)?.requests.remove(&id)
    }

    /// Requests that are past their deadline, in the order in which they were sent.
    pub(super) fn expired_requests(&self, now: MonotonicMillis) -> Vec<(RequestId, P)> {
        let requests = self.requests();
        let expired = requests.filter(|(_, _, request)| request.deadline <= now);
        let mut expired: Vec<(RequestId, P)> = expired.map(|(peer, id, _)| (id, peer)).collect();
        compact_sort::sort(&mut expired);
        expired
    }

    /// Marks requests as overdue that ask for any of these bodies and have been open for longer than `patience` in ms.
    pub(super) fn mark_overdue(
        &mut self,
        bodies: &[BlockHash],
        patience: u64,
        now: MonotonicMillis,
    ) -> Vec<(P, Vec<BlockHash>)> {
        let mut late = Vec::new();
        for (peer, state) in &mut self.table {
            for request in state.requests.iter_mut().map(|(_, request)| request) {
                if !request.is_late(patience, now) {
                    continue;
                }
                let hashes = request.bodies().unwrap_or_default();
                if hashes.iter().any(|hash| bodies.contains(hash)) {
                    late.push((*peer, hashes.to_vec()));
                    request.overdue = true;
                }
            }
        }
        late
    }

    /// Whether any request has been open for longer than `patience` in ms and is not marked as overdue.
    pub(super) fn any_late(&self, patience: u64, now: MonotonicMillis) -> bool {
        self.requests()
            .any(|(_, _, request)| request.is_late(patience, now))
    }

    /// When the next request expires.
    pub(super) fn next_deadline(&self) -> Option<MonotonicMillis> {
        self.requests()
            .map(|(_, _, request)| request.deadline)
            .min()
    }

    pub(crate) fn open_requests(&self) -> usize {
        self.table.values().map(|state| state.requests.len()).sum()
    }

    pub(super) fn open_body_requests(&self) -> usize {
        self.table.values().map(Peer::open_body_requests).sum()
    }

    fn requests(&self) -> impl Iterator<Item = (P, RequestId, &OpenRequest)> {
        self.iter().flat_map(|(peer, state)| {
            let requests = state.requests.iter();
            requests.map(move |(id, request)| (peer, *id, request))
        })
    }
}
