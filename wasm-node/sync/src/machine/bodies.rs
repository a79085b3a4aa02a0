//! Downloading the bodies of a better branch, in ranges, from several peers at once.
//!
//! `download` decides which bodies are missing. A peer that is slow or lacks a body loses its range to another
//! peer. A peer that sends invalid bodies is banned.

use alloc::vec::Vec;
use core::fmt::Debug;

use heartchain_chain::{
    block::{Block, BodyError, check_body, check_root},
    hash::BlockHash,
    reading::Reading,
    tree::MAX_SIDE_READINGS,
    validate::Invalidates,
};

use super::{
    Machine,
    headers::HeaderSync,
    peer::PeerState,
    requests::{OpenRequest, RequestKind},
};
use crate::{
    config::{
        BODY_PATIENCE, BODY_RANGE, COMPETING_BLOCKS, LATE_BODIES_CHECK_INTERVAL,
        MAX_OPEN_BODY_REQUESTS, MAX_STALLS, MAX_UNAVAILABLE, MISSING_BODIES_INTERVAL,
        REQUEST_TIMEOUT,
    },
    io::{DisconnectReason, Event, Output, RequestId, StoreOperation},
    message::{MAX_BODIES_LEN, Request},
};

/// The priority by which peers are asked for bodies, lowest first: has late answers, number of stalls, sent no
/// headers of a better branch, claims less work than the branch has, turn.
type BodyPriority = (bool, u32, bool, bool, u64);

/// Upper bound of the readings in one answer.
const MAX_ANSWER_READINGS: usize = MAX_BODIES_LEN / Reading::LEN;

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Updates the plan, and assigns ranges to peers with free request slots.
    pub(super) fn update_download(&mut self) {
        // Each round sends a request, marks a branch unavailable, or ends the loop.
        for _ in 0..=MAX_UNAVAILABLE {
            let redownload_leaf = self
                .header_syncs
                .values()
                .find_map(HeaderSync::redownload_leaf);
            self.download.plan(&self.tree, redownload_leaf, self.now);
            let Some(target) = self.download.target else {
                return;
            };
            self.retry_late_first_range();
            self.assign_ranges();
            let stuck = !self.download.queue.is_empty()
                && self.download.in_flight.is_empty()
                && self.no_peer_has_first();
            if !stuck && !self.no_lasting_peer_has_first() {
                return;
            }
            self.download.mark_unavailable(target.hash, self.now);
            self.forget_headers_of(&target.hash);
            for state in self.peers.iter_mut().map(|(_, state)| state) {
                state.stalls = 0;
                state.lacking.clear();
            }
        }
    }

    /// Plans the lowest missing bodies again for another peer, if their answer is late.
    fn retry_late_first_range(&mut self) {
        if self.download.next_late_check > self.now {
            return;
        }
        self.download.next_late_check = self.now.saturating_add(LATE_BODIES_CHECK_INTERVAL);
        let Some(target) = self.download.target else {
            return;
        };
        let now = self.now;
        let is_late = |request: &OpenRequest<P>| {
            let sent = request.deadline.saturating_sub(REQUEST_TIMEOUT);
            !request.overdue && sent.saturating_add(BODY_PATIENCE) <= now
        };
        if !self.requests.values().any(is_late) {
            return;
        }
        let first = self.tree.missing_bodies(&target.hash, 1);
        let late: Vec<(RequestId, P, Vec<BlockHash>)> = self
            .requests
            .iter()
            .filter(|(_, request)| is_late(request))
            .filter_map(|(id, request)| match &request.kind {
                RequestKind::Bodies(hashes) if first.iter().any(|first| hashes.contains(first)) => {
                    Some((*id, request.peer, hashes.clone()))
                }
                RequestKind::Bodies(_)
                | RequestKind::Status
                | RequestKind::Headers
                | RequestKind::MempoolIds { .. }
                | RequestKind::Readings(_) => None,
            })
            .collect();
        for (id, peer, hashes) in late {
            if let Some(request) = self.requests.get_mut(&id) {
                request.overdue = true;
            }
            let turn = self.next_header_turn();
            if let Some(state) = self.peers.get_mut(&peer) {
                state.overdue += 1;
                state.body_turn = turn;
            }
            self.download.requeue(&hashes);
        }
        let redownload_leaf = self
            .header_syncs
            .values()
            .find_map(HeaderSync::redownload_leaf);
        self.download.plan(&self.tree, redownload_leaf, self.now);
        self.race_first_range();
    }

    /// Asks two peers for the same first range, which halves the time lost to silent peers.
    fn race_first_range(&mut self) {
        let first: Vec<BlockHash> = self
            .download
            .queue
            .iter()
            .take(BODY_RANGE)
            .copied()
            .collect();
        if first.is_empty() || self.unwritten.is_full() {
            return;
        }
        let free = self.peers_by_body_priority().into_iter().filter(|peer| {
            self.peers.get(peer).is_some_and(|state| {
                state.has_request_slot()
                    && state.open_body_requests < MAX_OPEN_BODY_REQUESTS
                    && state.stalls < MAX_STALLS
                    && state.overdue == 0
                    && !state.lacking.contains(&first[0])
            })
        });
        let two: Vec<P> = free.take(2).collect();
        if two.is_empty() {
            return;
        }
        self.download.queue.drain(..first.len());
        self.download.in_flight.extend(&first);
        for peer in two {
            let hashes = first.clone();
            let request = Request::Bodies {
                hashes: hashes.clone(),
            };
            self.send_request(peer, &request, RequestKind::Bodies(hashes));
        }
    }

    fn no_peer_has_first(&self) -> bool {
        !self.peers.is_empty()
            && self.download.queue.front().is_some_and(|first| {
                self.peers
                    .values()
                    .all(|peer| peer.stalls >= MAX_STALLS || peer.lacking.contains(first))
            })
    }

    /// Whether no peer that was connected all the time has the first body, once it has been missing for too long.
    /// Newer peers do not count. Peer IDs are free, so peers that keep reconnecting could otherwise keep a branch
    /// without bodies as the target forever.
    fn no_lasting_peer_has_first(&mut self) -> bool {
        let Some((first, since)) = self.download.long_missing(self.now) else {
            return false;
        };
        if self.tree.block(&first).is_none_or(|block| block.has_body) {
            return false;
        }
        let is_lasting = |peer: &&PeerState| peer.connected_at <= since;
        let mut lasting = self.peers.values().filter(is_lasting).peekable();
        if lasting.peek().is_none() {
            self.download.restart_patience(self.now);
            return false;
        }
        lasting.all(|peer| peer.stalls >= MAX_STALLS || peer.lacking.contains(&first))
    }

    /// Peers in the order in which they are asked for bodies.
    fn peers_by_body_priority(&self) -> Vec<P> {
        let Some(target) = self.download.target else {
            return Vec::new();
        };
        let mut peers: Vec<(BodyPriority, P)> = self
            .peers
            .iter()
            .map(|(peer, state)| {
                // A peer that claims less work than the branch has is unlikely to have the branch.
                let claims_less = state
                    .status
                    .is_none_or(|status| status.total_work < target.total_work);
                let late = state.overdue > 0;
                let (stalls, silent) = (state.stalls, !state.gave_better_headers);
                ((late, stalls, silent, claims_less, state.body_turn), *peer)
            })
            .collect();
        peers.sort_unstable();
        peers.into_iter().map(|(_, peer)| peer).collect()
    }

    fn assign_ranges(&mut self) {
        if self.unwritten.is_full() {
            return;
        }
        let peers = self.peers_by_body_priority();
        // One request per peer and round, so that ranges spread over all peers.
        for _ in 0..MAX_OPEN_BODY_REQUESTS {
            for &peer in &peers {
                if self.download.queue.is_empty() {
                    return;
                }
                self.request_range(peer);
            }
        }
    }

    fn request_range(&mut self, peer: P) {
        let Some(state) = self.peers.get(&peer) else {
            return;
        };
        let busy = !state.has_request_slot() || state.open_body_requests >= MAX_OPEN_BODY_REQUESTS;
        if busy || state.stalls >= MAX_STALLS || !self.has_room_for_bodies() {
            return;
        }
        // The peer is already sending this range. Asking again would only slow down its link.
        let is_sending = |first: &BlockHash| {
            let mut open = self.requests.values().filter(|open| open.peer == peer);
            open.any(
                |open| matches!(&open.kind, RequestKind::Bodies(hashes) if hashes.contains(first)),
            )
        };
        if self.download.queue.front().is_some_and(is_sending) {
            return;
        }
        let queue = &mut self.download.queue;
        // A peer that lacks a block also lacks those above it.
        let offered = queue
            .iter()
            .take_while(|hash| !state.lacking.contains(*hash));
        let many = offered.take(BODY_RANGE).count();
        let hashes: Vec<BlockHash> = queue.drain(..many).collect();
        if hashes.is_empty() {
            return;
        }
        self.download.in_flight.extend(&hashes);
        self.send_request(
            peer,
            &Request::Bodies {
                hashes: hashes.clone(),
            },
            RequestKind::Bodies(hashes),
        );
    }

    /// Whether the readings of one more answer fit into the limit if they do not join the best branch at once.
    /// Bodies that connect to the fork without a gap do not count, because their branch has more work. The
    /// first missing bodies may always be requested.
    fn has_room_for_bodies(&self) -> bool {
        if self.download.in_flight.is_empty() {
            return true;
        }
        let open: usize = self
            .peers
            .values()
            .map(|state| state.open_body_requests)
            .sum();
        let side = self.side_readings();
        side + (open + 2) * MAX_ANSWER_READINGS <= MAX_SIDE_READINGS
    }

    /// Readings of side blocks in memory, except for those of the branch being fetched that connect to the fork
    /// without a gap.
    pub(super) fn side_readings(&self) -> usize {
        let all = self.tree.side_readings();
        all.saturating_sub(self.download.ready_readings)
    }

    pub(super) fn on_bodies(
        &mut self,
        peer: P,
        hashes: &[BlockHash],
        bodies: Vec<Option<Vec<Reading>>>,
    ) {
        let were_missing = self.missing_bodies.is_in_flight(hashes);
        self.missing_bodies.clear_in_flight(hashes);
        if bodies.len() > hashes.len() {
            self.download.requeue(hashes);
            return self.ban(peer, DisconnectReason::WrongAnswer);
        }
        if bodies.len() == hashes.len() && bodies.iter().all(Option::is_some) {
            self.download.remove_in_flight(hashes);
        } else {
            self.download.requeue(hashes);
        }
        let served = bodies.iter().take_while(|body| body.is_some()).count();
        if let Some(state) = self.peers.get_mut(&peer) {
            if served > 0 {
                state.stalls = 0;
            } else if were_missing {
                state.missing_bodies_retry_at = self.now.saturating_add(MISSING_BODIES_INTERVAL);
            }
            if served == 0 || served < bodies.len() {
                // On a branch, a peer that lacks a block also lacks those above it. Missing bodies are
                // scattered, so it may have others.
                let many = if were_missing { 1 } else { usize::MAX };
                let lacking = hashes.iter().skip(served).take(many);
                lacking.for_each(|hash| state.add_lacking(*hash));
            }
        }
        let mut operations = Vec::new();
        let mut invalid = None;
        for (hash, body) in hashes.iter().zip(bodies) {
            let Some(readings) = body else {
                continue;
            };
            match self.insert_body(hash, readings) {
                Ok(operation) => operations.extend(operation),
                Err(error) => {
                    self.download.requeue(hashes);
                    invalid = Some(DisconnectReason::BadBody(error));
                    break;
                }
            }
        }
        if !operations.is_empty() {
            self.download.last_progress_at = self.now;
            self.download.last_bodies_at = Some(self.now);
            operations.extend(self.first_put_confirmed());
            self.write(operations, false);
        }
        self.advance();
        if let Some(reason) = invalid {
            self.ban(peer, reason);
        }
    }

    /// Verifies a body against its header (Merkle root, fields, signatures, number of readings) and inserts it
    /// into the tree. Returns how to store it, if it is new or was missing.
    pub(super) fn insert_body(
        &mut self,
        hash: &BlockHash,
        readings: Vec<Reading>,
    ) -> Result<Option<StoreOperation>, BodyError> {
        let Some(header) = self.tree.header(hash) else {
            return Ok(None);
        };
        let was_missing = self.missing_bodies.contains(hash);
        if !was_missing && self.tree.block(hash).is_some_and(|info| info.has_body) {
            // An invalid body must be noticed even if gossip delivered the valid one first.
            return check_root(&header, &readings).map(|()| None);
        }
        let room = self.tree.room().id();
        let mempool = &self.mempool;
        if let Err(error) = check_body(
            room,
            &header,
            &readings,
            |reading| mempool.contains_exact(reading),
            &mut self.rng,
        ) {
            if error.invalidates() == Invalidates::Descendants {
                self.invalidate(hash);
            }
            return Err(error);
        }
        if was_missing && self.missing_bodies.forget(hash) {
            self.outputs.push(Output::Emit(Event::Status));
        } else {
            self.tree.insert_checked_body(hash, &readings);
            self.download.tree_changed();
        }
        Ok(Some(StoreOperation::PutBlock(
            *hash,
            Block { header, readings },
        )))
    }

    /// Whether bodies of a better branch are arriving. Headers do not count: a peer can produce some without bodies.
    pub(super) fn is_fetching(&self) -> bool {
        let last = self.download.last_bodies_at;
        !self.peers.is_empty()
            && self.download.target.is_some()
            && last.is_some_and(|last| self.now < last.saturating_add(REQUEST_TIMEOUT))
    }

    /// Whether mining should wait for a much longer branch, because blocks mined on ours would be lost. A
    /// branch that is longer by a few blocks is no reason to wait: such blocks compete, and a peer could offer
    /// some repeatedly.
    pub(super) fn is_catching_up(&self) -> bool {
        let tip = self.tree.tip();
        !self.peers.is_empty()
            && self.now < self.download.catch_up_deadline()
            && self
                .download
                .target
                .is_some_and(|target| target.index > tip.index + COMPETING_BLOCKS)
    }
}
