//! What the machine knows about a peer, and what happens when peers connect and disconnect.

use alloc::{collections::VecDeque, vec::Vec};
use core::fmt::Debug;

use hashbrown::HashSet;
use heartchain_chain::{
    hash::{BlockHash, ReadingId},
    time::MonotonicMillis,
};

use super::{Machine, token_bucket::TokenBucket};
use crate::{
    config::{
        ANSWER_BURST, ANSWER_RATE, ANSWER_SHARE_BURST, ANSWER_SHARE_RATE, MAX_LACKING,
        MAX_OPEN_REQUESTS, MAX_PEERS, MAX_WANTED_READINGS, STATUS_BEHIND, STATUS_IDLE,
    },
    io::{DisconnectReason, Event, Output, RequestId, Verdict},
    message::StatusMessage,
};

/// The state of one connected peer.
#[derive(Clone, Debug)]
pub(super) struct PeerState {
    pub(super) connected_at: MonotonicMillis,
    /// Its last Status. `None` before the first one, and after a claim that its headers did not support.
    pub(super) status: Option<StatusMessage>,
    /// When its Status last arrived or was requested.
    pub(super) status_at: MonotonicMillis,
    /// Its wall clock minus ours, in ms.
    pub(super) clock_offset: Option<i64>,
    /// Requests to this peer without an answer so far.
    pub(super) open_requests: usize,
    /// The open requests that are for bodies.
    pub(super) open_body_requests: usize,
    /// The open requests for bodies that took so long that another peer was asked as well.
    pub(super) overdue: usize,
    /// Whether it sent headers of a branch with more work than ours.
    pub(super) gave_better_headers: bool,
    /// The order in which peers are asked for bodies, lowest first. A peer that reconnects or answers late goes
    /// to the back. Peer IDs are free, so without this rule new ones could keep an honest peer from ever being asked.
    pub(super) body_turn: u64,
    /// Whether to send it our Status and ask for its own.
    pub(super) wants_status: bool,
    /// Whether to ask for its headers whatever it claims, because it sent a block with an unknown parent.
    pub(super) wants_headers: bool,
    /// Its headers are not requested before this time, because no peer had the bodies of its last ones.
    pub(super) headers_retry_at: MonotonicMillis,
    /// Rows of its mempool received in the current listing.
    pub(super) listed_rows: usize,
    /// Where to continue the listing of its mempool; `Some(None)` starts at the beginning.
    pub(super) wants_listing: Option<Option<(heartchain_chain::key::Author, u64)>>,
    /// Readings that it has and we want.
    pub(super) wanted_readings: VecDeque<ReadingId>,
    /// It is not asked for missing bodies before this time, because it had none to give.
    pub(super) missing_bodies_retry_at: MonotonicMillis,
    /// Blocks whose bodies it said it lacks.
    pub(super) lacking: HashSet<BlockHash>,
    /// Requests for bodies in a row that it left unanswered. Peers with more stalls are asked later.
    pub(super) stalls: u32,
    /// The order in which peers get a turn to send headers, lowest first.
    pub(super) header_turn: u64,
    /// Bytes of answers that it may still request.
    pub(super) answer_budget: TokenBucket,
    /// The part of its budget that is reserved for it, independent of what other peers use.
    pub(super) reserved_budget: TokenBucket,
}

impl PeerState {
    pub(super) fn new(header_turn: u64, now: MonotonicMillis) -> Self {
        Self {
            connected_at: now,
            status: None,
            status_at: now,
            clock_offset: None,
            open_requests: 0,
            open_body_requests: 0,
            overdue: 0,
            gave_better_headers: false,
            body_turn: header_turn,
            wants_status: true,
            wants_headers: false,
            headers_retry_at: now,
            listed_rows: 0,
            wants_listing: Some(None),
            wanted_readings: VecDeque::new(),
            missing_bodies_retry_at: MonotonicMillis::new(0),
            lacking: HashSet::new(),
            stalls: 0,
            header_turn,
            answer_budget: TokenBucket::full(ANSWER_RATE, ANSWER_BURST, now),
            reserved_budget: TokenBucket::full(ANSWER_SHARE_RATE, ANSWER_SHARE_BURST, now),
        }
    }

    pub(super) fn has_request_slot(&self) -> bool {
        self.open_requests < MAX_OPEN_REQUESTS
    }

    /// When to ask for its Status again: soon while its tip differs from ours, otherwise rarely.
    pub(super) fn status_due(&self, tip: &BlockHash) -> MonotonicMillis {
        let level = self.status.is_some_and(|status| status.tip == *tip);
        self.status_at
            .saturating_add(if level { STATUS_IDLE } else { STATUS_BEHIND })
    }

    pub(super) fn add_lacking(&mut self, hash: BlockHash) {
        if self.lacking.len() >= MAX_LACKING {
            self.lacking.clear();
        }
        self.lacking.insert(hash);
    }

    pub(super) fn want_reading(&mut self, id: ReadingId) {
        if self.wanted_readings.len() < MAX_WANTED_READINGS {
            self.wanted_readings.push_back(id);
        }
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    pub(super) fn on_peer_connected(&mut self, peer: P) {
        if let Some(until) = self.bans.until(&peer, self.now) {
            self.outputs.push(Output::Disconnect {
                peer,
                reason: DisconnectReason::Banned,
                until: Some(until),
            });
            return;
        }
        if self.peers.len() < MAX_PEERS && !self.peers.contains_key(&peer) {
            // A peer that reconnects goes to the back of the queue.
            let turn = self.next_header_turn();
            self.peers.insert(peer, PeerState::new(turn, self.now));
            self.download.peers_changed();
            self.missing_bodies.peers_changed();
            self.outputs.push(Output::Emit(Event::Peers));
        }
    }

    pub(super) fn on_resumed(&mut self) {
        for peer in self.peers.iter_mut().map(|(_, value)| value) {
            peer.wants_status = true;
            peer.wants_listing.get_or_insert(None);
        }
    }

    /// Removes a peer and gives its work to others.
    pub(super) fn forget_peer(&mut self, peer: P) {
        if self.peers.remove(&peer).is_none() {
            return;
        }
        let gone: Vec<RequestId> = self
            .requests
            .iter()
            .filter(|(_, request)| request.peer == peer)
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            if let Some(request) = self.requests.remove(&id) {
                self.requeue(request.kind);
            }
        }
        if self.header_syncs.remove(&peer).is_some() {
            self.prune_if_over_limit();
        }
        for id in self.orphans.take_verdicts_of(&peer) {
            self.outputs.push(Output::Verdict {
                id,
                from: peer,
                verdict: Verdict::Ignore,
            });
        }
        self.download.peers_changed();
        self.missing_bodies.peers_changed();
        self.outputs.push(Output::Emit(Event::Peers));
    }

    /// Bans a peer that provably lied, and disconnects it.
    pub(super) fn ban(&mut self, peer: P, reason: DisconnectReason) {
        let until = self.bans.ban(peer, self.now);
        self.forget_peer(peer);
        self.outputs.push(Output::Disconnect {
            peer,
            reason,
            until: Some(until),
        });
    }

    /// Disconnects a peer that is of no use, without a ban.
    pub(super) fn drop_peer(&mut self, peer: P, reason: DisconnectReason) {
        self.forget_peer(peer);
        self.outputs.push(Output::Disconnect {
            peer,
            reason,
            until: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(number: usize) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
        bytes
    }

    #[test]
    fn lacking_blocks_are_bounded() {
        let mut peer = PeerState::new(0, MonotonicMillis::new(0));
        for number in 0..MAX_LACKING {
            peer.add_lacking(BlockHash::new(numbered(number)));
        }
        assert_eq!(peer.lacking.len(), MAX_LACKING);
        // At the limit the set is cleared, and the peer is asked for all of them again. That costs one request.
        let last = BlockHash::new(numbered(MAX_LACKING));
        peer.add_lacking(last);
        assert_eq!(peer.lacking, HashSet::from([last]));
    }

    #[test]
    fn wanted_readings_are_bounded() {
        let mut peer = PeerState::new(0, MonotonicMillis::new(0));
        for number in 0..=MAX_WANTED_READINGS {
            peer.want_reading(ReadingId::new(numbered(number)));
        }
        assert_eq!(peer.wanted_readings.len(), MAX_WANTED_READINGS);
    }
}
