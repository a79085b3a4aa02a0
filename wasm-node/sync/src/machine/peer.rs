//! What the machine knows of one peer, and how peers come and go.

use alloc::{collections::VecDeque, vec::Vec};
use core::fmt::Debug;

use chain::{
    hash::{BlockHash, ReadingId},
    time::MonotonicMillis,
};
use hashbrown::HashSet;

use super::{Machine, bucket::Bucket};
use crate::{
    config::{
        ANSWER_BURST, ANSWER_RATE, ANSWER_SHARE_BURST, ANSWER_SHARE_RATE, MAX_LACKING,
        MAX_OPEN_REQUESTS, MAX_PEERS, MAX_WANTED_READINGS, STATUS_BEHIND, STATUS_IDLE,
    },
    message::StatusMessage,
    seam::{DropReason, Event, Output, RequestId, Verdict},
};

/// One connected peer.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// When it connected.
    pub(super) came_at: MonotonicMillis,
    /// What it last said of its branch; `None` too after a claim that it did not make good.
    pub(super) status: Option<StatusMessage>,
    /// When its Status last came or was asked for.
    pub(super) status_at: MonotonicMillis,
    /// Its clock minus ours, ms.
    pub(super) clock_offset: Option<i64>,
    /// Requests of ours that it has not answered yet.
    pub(super) open_requests: usize,
    /// Of these, for bodies.
    pub(super) open_body_requests: usize,
    /// Of these, those that another peer was asked for, too, because they took so long.
    pub(super) overdue: usize,
    /// Whether it gave headers of a branch that outweighed ours.
    pub(super) gave_headers: bool,
    /// The order in which peers are asked for bodies: the lowest first. One that comes back, or was late, is behind all
    /// others, so that peers whose IDs are free cannot keep an honest one from being asked.
    pub(super) body_turn: u64,
    /// Whether its Status has to be asked for, or ours announced.
    pub(super) wants_status: bool,
    /// Whether its headers are wanted whatever it claims: it sent a block with an unknown parent.
    pub(super) wants_headers: bool,
    /// Not before this time are its headers asked for: nobody had the bodies of those it gave.
    pub(super) headers_from: MonotonicMillis,
    /// How many rows of its mempool came in the present listing.
    pub(super) listed: usize,
    /// Where to go on in its mempool's listing: `Some(None)` from the beginning.
    pub(super) wants_listing: Option<Option<(chain::key::Author, u64)>>,
    /// Readings that it has and we want.
    pub(super) wanted_readings: VecDeque<ReadingId>,
    /// Not before this time is it asked for lost bodies: it had none to give.
    pub(super) lost_from: MonotonicMillis,
    /// Blocks whose bodies it said it has not.
    pub(super) lacking: HashSet<BlockHash>,
    /// Requests for bodies in a row that it left unanswered: it is asked after all others.
    pub(super) stalls: u32,
    /// The order in which peers get their turns at giving headers: the lowest is next.
    pub(super) header_turn: u64,
    /// What it may still draw.
    pub(super) answers: Bucket,
    /// Of this, its share that other peers cannot draw.
    pub(super) share: Bucket,
}

impl Peer {
    pub(super) fn new(header_turn: u64, now: MonotonicMillis) -> Self {
        Self {
            came_at: now,
            status: None,
            status_at: now,
            clock_offset: None,
            open_requests: 0,
            open_body_requests: 0,
            overdue: 0,
            gave_headers: false,
            body_turn: header_turn,
            wants_status: true,
            wants_headers: false,
            headers_from: now,
            listed: 0,
            wants_listing: Some(None),
            wanted_readings: VecDeque::new(),
            lost_from: MonotonicMillis::new(0),
            lacking: HashSet::new(),
            stalls: 0,
            header_turn,
            answers: Bucket::full(ANSWER_RATE, ANSWER_BURST, now),
            share: Bucket::full(ANSWER_SHARE_RATE, ANSWER_SHARE_BURST, now),
        }
    }

    pub(super) fn may_be_asked(&self) -> bool {
        self.open_requests < MAX_OPEN_REQUESTS
    }

    /// When it is to be asked for its Status again: soon while it stands elsewhere than we, else now and then.
    pub(super) fn status_due(&self, tip: &BlockHash) -> MonotonicMillis {
        let level = self.status.is_some_and(|status| status.tip == *tip);
        self.status_at
            .saturating_add(if level { STATUS_IDLE } else { STATUS_BEHIND })
    }

    pub(super) fn note_lacking(&mut self, hash: BlockHash) {
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
    pub(super) fn peer_connected(&mut self, peer: P) {
        if let Some(until) = self.bans.until(&peer, self.now) {
            self.outputs.push(Output::Drop {
                peer,
                reason: DropReason::Banned,
                until: Some(until),
            });
            return;
        }
        if self.peers.len() < MAX_PEERS && !self.peers.contains_key(&peer) {
            // One that comes back is behind all others.
            let turn = self.next_header_turn();
            self.peers.insert(peer, Peer::new(turn, self.now));
            self.download.peers_changed();
            self.lost.peers_changed();
            self.outputs.push(Output::Tell(Event::Peers));
        }
    }

    pub(super) fn woke(&mut self) {
        for peer in self.peers.iter_mut().map(|(_, value)| value) {
            peer.wants_status = true;
            peer.wants_listing.get_or_insert(None);
        }
    }

    /// Drops what is known of a peer and gives its work to others.
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
                self.give_back(request.asked);
            }
        }
        if self.header_syncs.remove(&peer).is_some() {
            self.prune_many();
        }
        for id in self.held.end_verdicts_of(&peer) {
            self.outputs.push(Output::Judge {
                id,
                from: peer,
                verdict: Verdict::Ignore,
            });
        }
        self.download.peers_changed();
        self.lost.peers_changed();
        self.outputs.push(Output::Tell(Event::Peers));
    }

    /// Closes the connection of a peer that provably lied, and bans it.
    pub(super) fn ban(&mut self, peer: P, reason: DropReason) {
        let until = self.bans.ban(peer, self.now);
        self.forget_peer(peer);
        self.outputs.push(Output::Drop {
            peer,
            reason,
            until: Some(until),
        });
    }

    /// Closes the connection of a peer that is of no use, without a ban.
    pub(super) fn let_go(&mut self, peer: P, reason: DropReason) {
        self.forget_peer(peer);
        self.outputs.push(Output::Drop {
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
    fn blocks_that_a_peer_lacks_are_bounded() {
        let mut peer = Peer::new(0, MonotonicMillis::new(0));
        for number in 0..MAX_LACKING {
            peer.note_lacking(BlockHash::new(numbered(number)));
        }
        assert_eq!(peer.lacking.len(), MAX_LACKING);
        // Then it is asked for all of them again, which costs a question.
        let last = BlockHash::new(numbered(MAX_LACKING));
        peer.note_lacking(last);
        assert_eq!(peer.lacking, HashSet::from([last]));
    }

    #[test]
    fn readings_wanted_of_a_peer_are_bounded() {
        let mut peer = Peer::new(0, MonotonicMillis::new(0));
        for number in 0..=MAX_WANTED_READINGS {
            peer.want_reading(ReadingId::new(numbered(number)));
        }
        assert_eq!(peer.wanted_readings.len(), MAX_WANTED_READINGS);
    }
}
