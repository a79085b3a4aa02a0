//! Bodies of a better branch, in ranges, from several peers at once.
//!
//! What is missing is `download`'s to say. A peer that is slow or has not what it is asked for loses its range to
//! another; one that sends junk is dropped.

use alloc::vec::Vec;
use core::fmt::Debug;

use chain::{
    block::{Block, BodyError, check_body, check_root},
    hash::BlockHash,
    reading::Reading,
    tree::MAX_SIDE_READINGS,
    validate::Condemns,
};

use super::{
    Machine,
    headers::HeaderSync,
    peer::Peer,
    requests::{Asked, OpenRequest},
};
use crate::{
    config::{
        BODY_LOOK_INTERVAL, BODY_PATIENCE, BODY_RANGE, COMPETING_BLOCKS, LOST_INTERVAL,
        MAX_OPEN_BODY_REQUESTS, MAX_STALLS, MAX_UNAVAILABLE, REQUEST_TIMEOUT,
    },
    message::{MAX_BODIES_LEN, Request},
    seam::{DropReason, Event, Output, RequestId, StoreOperation},
};

/// Whom to ask first for bodies: peers without late answers, with few stalls, that gave headers of such a
/// branch, that claim to have it, by turn.
type BodyOrder = (bool, u32, bool, bool, u64);

/// Readings in one answer at the most.
const MAX_ANSWER_READINGS: usize = MAX_BODIES_LEN / Reading::LEN;

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Plans, and hands ranges to peers that have a place free.
    pub(super) fn settle_download(&mut self) {
        // Each round either asks somebody, leaves a branch aside, or ends it.
        for _ in 0..=MAX_UNAVAILABLE {
            let promised = self.header_syncs.values().find_map(HeaderSync::promised);
            self.download.plan(&self.tree, promised, self.now);
            let Some(target) = self.download.target else {
                return;
            };
            self.ask_another_for_the_first();
            self.hand_out_ranges();
            let stuck = !self.download.queue.is_empty()
                && self.download.asked.is_empty()
                && self.everybody_lacks_the_first();
            if !stuck && !self.all_that_stayed_lack_the_first() {
                return;
            }
            self.download.leave_aside(target.hash, self.now);
            self.forget_headers_of(&target.hash);
            for known in self.peers.iter_mut().map(|(_, value)| value) {
                known.stalls = 0;
                known.lacking.clear();
            }
        }
    }

    /// The lowest missing bodies are late: they are planned again, for another peer.
    fn ask_another_for_the_first(&mut self) {
        if self.download.late_look_at > self.now {
            return;
        }
        self.download.late_look_at = self.now.saturating_add(BODY_LOOK_INTERVAL);
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
            .filter_map(|(id, request)| match &request.asked {
                Asked::Bodies(hashes) if first.iter().any(|first| hashes.contains(first)) => {
                    Some((*id, request.peer, hashes.clone()))
                }
                Asked::Bodies(_)
                | Asked::Status
                | Asked::Headers
                | Asked::Listing { .. }
                | Asked::Readings(_) => None,
            })
            .collect();
        for (id, peer, hashes) in late {
            if let Some(request) = self.requests.get_mut(&id) {
                request.overdue = true;
            }
            let turn = self.next_header_turn();
            if let Some(known) = self.peers.get_mut(&peer) {
                known.overdue += 1;
                known.body_turn = turn;
            }
            self.download.give_back(&hashes);
        }
        let promised = self.header_syncs.values().find_map(HeaderSync::promised);
        self.download.plan(&self.tree, promised, self.now);
        self.ask_two_for_the_first();
    }

    /// Two peers are asked for the same, so that half as many silent ones in a row cost half the time.
    fn ask_two_for_the_first(&mut self) {
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
        let free = self.body_order().into_iter().filter(|peer| {
            self.peers.get(peer).is_some_and(|known| {
                known.may_be_asked()
                    && known.open_body_requests < MAX_OPEN_BODY_REQUESTS
                    && known.stalls < MAX_STALLS
                    && known.overdue == 0
                    && !known.lacking.contains(&first[0])
            })
        });
        let two: Vec<P> = free.take(2).collect();
        if two.is_empty() {
            return;
        }
        self.download.queue.drain(..first.len());
        self.download.asked.extend(&first);
        for peer in two {
            let hashes = first.clone();
            let request = Request::Bodies {
                hashes: hashes.clone(),
            };
            self.ask(peer, &request, Asked::Bodies(hashes));
        }
    }

    fn everybody_lacks_the_first(&self) -> bool {
        !self.peers.is_empty()
            && self.download.queue.front().is_some_and(|first| {
                self.peers
                    .values()
                    .all(|peer| peer.stalls >= MAX_STALLS || peer.lacking.contains(first))
            })
    }

    /// The same after a long time, whatever those that came meanwhile might say: IDs are free, so a few peers that come and go
    /// could keep a branch that nobody has from being left aside.
    fn all_that_stayed_lack_the_first(&mut self) -> bool {
        let Some((first, since)) = self.download.overdue(self.now) else {
            return false;
        };
        if self.tree.block(&first).is_none_or(|block| block.has_body) {
            return false;
        }
        let stayed = |peer: &&Peer| peer.came_at <= since;
        let mut stayed = self.peers.values().filter(stayed).peekable();
        if stayed.peek().is_none() {
            self.download.restart(self.now);
            return false;
        }
        stayed.all(|peer| peer.stalls >= MAX_STALLS || peer.lacking.contains(&first))
    }

    /// Peers, the one to be asked first for bodies first.
    fn body_order(&self) -> Vec<P> {
        let Some(target) = self.download.target else {
            return Vec::new();
        };
        let mut peers: Vec<(BodyOrder, P)> = self
            .peers
            .iter()
            .map(|(peer, known)| {
                // A peer that claims less than the branch weighs hardly has it.
                let claims_less = known
                    .status
                    .is_none_or(|status| status.total_work < target.total_work);
                let late = known.overdue > 0;
                let (stalls, silent) = (known.stalls, !known.gave_headers);
                ((late, stalls, silent, claims_less, known.body_turn), *peer)
            })
            .collect();
        peers.sort_unstable();
        peers.into_iter().map(|(_, peer)| peer).collect()
    }

    fn hand_out_ranges(&mut self) {
        if self.unwritten.is_full() {
            return;
        }
        let peers = self.body_order();
        // One request each in turn, so that ranges spread over all who can serve.
        for _ in 0..MAX_OPEN_BODY_REQUESTS {
            for &peer in &peers {
                if self.download.queue.is_empty() {
                    return;
                }
                self.ask_range(peer);
            }
        }
    }

    fn ask_range(&mut self, peer: P) {
        let Some(known) = self.peers.get(&peer) else {
            return;
        };
        let busy = !known.may_be_asked() || known.open_body_requests >= MAX_OPEN_BODY_REQUESTS;
        if busy || known.stalls >= MAX_STALLS || !self.has_room_for_bodies() {
            return;
        }
        // Its answer is on its way: the same once more would only make its line slower.
        let is_sending = |first: &BlockHash| {
            let mut open = self.requests.values().filter(|open| open.peer == peer);
            open.any(|open| matches!(&open.asked, Asked::Bodies(hashes) if hashes.contains(first)))
        };
        if self.download.queue.front().is_some_and(is_sending) {
            return;
        }
        let queue = &mut self.download.queue;
        // Who has not a block has none of those above it.
        let served = queue
            .iter()
            .take_while(|hash| !known.lacking.contains(*hash));
        let many = served.take(BODY_RANGE).count();
        let hashes: Vec<BlockHash> = queue.drain(..many).collect();
        if hashes.is_empty() {
            return;
        }
        self.download.asked.extend(&hashes);
        self.ask(
            peer,
            &Request::Bodies {
                hashes: hashes.clone(),
            },
            Asked::Bodies(hashes),
        );
    }

    /// Whether the readings of one more answer can be held, should they not join the best branch at once. Bodies that go on
    /// from the fork without a gap do not count: theirs is the heavier branch. The first that are missing always have room.
    fn has_room_for_bodies(&self) -> bool {
        if self.download.asked.is_empty() {
            return true;
        }
        let open: usize = self
            .peers
            .values()
            .map(|known| known.open_body_requests)
            .sum();
        let held = self.side_readings();
        held + (open + 2) * MAX_ANSWER_READINGS <= MAX_SIDE_READINGS
    }

    /// Readings of side blocks in memory, but for those of the branch that is being fetched, as far as it goes on from the
    /// fork without a gap.
    pub(super) fn side_readings(&self) -> usize {
        let all = self.tree.side_readings();
        all.saturating_sub(self.download.ready_readings)
    }

    pub(super) fn bodies_came(
        &mut self,
        peer: P,
        hashes: &[BlockHash],
        bodies: Vec<Option<Vec<Reading>>>,
    ) {
        let were_lost = self.lost.is_asked(hashes);
        self.lost.answered(hashes);
        if bodies.len() > hashes.len() {
            self.download.give_back(hashes);
            return self.ban(peer, DropReason::WrongAnswer);
        }
        if bodies.len() == hashes.len() && bodies.iter().all(Option::is_some) {
            self.download.answered(hashes);
        } else {
            self.download.give_back(hashes);
        }
        let here = bodies.iter().take_while(|body| body.is_some()).count();
        if let Some(known) = self.peers.get_mut(&peer) {
            if here > 0 {
                known.stalls = 0;
            } else if were_lost {
                known.lost_from = self.now.saturating_add(LOST_INTERVAL);
            }
            if here == 0 || here < bodies.len() {
                // Of a branch, who has not a block has none of those above it; of scattered blocks it may have others.
                let many = if were_lost { 1 } else { usize::MAX };
                let lacking = hashes.iter().skip(here).take(many);
                lacking.for_each(|hash| known.note_lacking(*hash));
            }
        }
        let mut operations = Vec::new();
        let mut lie = None;
        for (hash, body) in hashes.iter().zip(bodies) {
            let Some(readings) = body else {
                continue;
            };
            match self.take_body(hash, readings) {
                Ok(operation) => operations.extend(operation),
                Err(error) => {
                    self.download.give_back(hashes);
                    lie = Some(DropReason::BadBody(error));
                    break;
                }
            }
        }
        if !operations.is_empty() {
            self.download.progress_at = self.now;
            self.download.bodies_at = Some(self.now);
            operations.extend(self.first_mark());
            self.write(operations, false);
        }
        self.advance();
        if let Some(reason) = lie {
            self.ban(peer, reason);
        }
    }

    /// Checks a body against its header (rules 1, 6, 7) and notes it; returns how to keep it, if it is news, or lost.
    pub(super) fn take_body(
        &mut self,
        hash: &BlockHash,
        readings: Vec<Reading>,
    ) -> Result<Option<StoreOperation>, BodyError> {
        let Some(header) = self.tree.header(hash) else {
            return Ok(None);
        };
        let lost = self.lost.contains(hash);
        if !lost && self.tree.block(hash).is_some_and(|info| info.has_body) {
            // Junk is junk, also where gossip was quicker with the true one.
            return check_root(&header, &readings).map(|()| None);
        }
        let room = self.tree.room().id();
        let mempool = &self.mempool;
        if let Err(error) = check_body(
            room,
            &header,
            &readings,
            |reading| mempool.holds(reading),
            &mut self.rng,
        ) {
            if error.condemns() == Condemns::Descendants {
                self.condemn(hash);
            }
            return Err(error);
        }
        if lost && self.lost.forget(hash) {
            self.outputs.push(Output::Tell(Event::Status));
        } else {
            self.tree.insert_checked_body(hash, &readings);
            self.download.tree_changed();
        }
        Ok(Some(StoreOperation::PutBlock(
            *hash,
            Block { header, readings },
        )))
    }

    /// Whether the bodies of a better branch are coming. Headers say nothing: a peer can make some without bodies.
    pub(super) fn is_fetching(&self) -> bool {
        let came = self.download.bodies_at;
        !self.peers.is_empty()
            && self.download.target.is_some()
            && came.is_some_and(|came| self.now < came.saturating_add(REQUEST_TIMEOUT))
    }

    /// Whether it is worth waiting for a much longer branch, because mining on ours would be for nothing. A few blocks are
    /// no reason: they compete, and a peer could offer some again and again.
    pub(super) fn is_catching_up(&self) -> bool {
        let tip = self.tree.tip();
        !self.peers.is_empty()
            && self.now < self.download.patience_ends()
            && self
                .download
                .target
                .is_some_and(|target| target.index > tip.index + COMPETING_BLOCKS)
    }
}
