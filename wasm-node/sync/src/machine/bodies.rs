//! Bodies of a better branch, in ranges, from several peers at once.
//!
//! What is missing is `download`'s to say. A peer that is slow or has not what it is asked for loses its range to
//! another; one that sends junk is dropped.

use alloc::vec::Vec;
use core::{cmp::Reverse, fmt::Debug};

use chain::{
    block::{Block, BodyError, check_body, check_root},
    hash::BlockHash,
    reading::Reading,
    validate::Condemns,
};

use super::{Machine, headers::HeaderSync, peer::Peer, requests::Asked};
use crate::{
    config::{BODY_RANGE, LOST_INTERVAL, MAX_OPEN_BODY_REQUESTS, MAX_STALLS, MAX_UNAVAILABLE},
    message::Request,
    seam::{DropReason, Event, Output, StoreOperation},
};

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
            self.hand_out_ranges();
            let stuck = !self.download.queue.is_empty()
                && self.download.asked.is_empty()
                && self.everybody_lacks_the_first();
            if !stuck {
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

    fn everybody_lacks_the_first(&self) -> bool {
        !self.peers.is_empty()
            && self.download.queue.front().is_some_and(|first| {
                self.peers
                    .values()
                    .all(|peer| peer.stalls >= MAX_STALLS || peer.lacking.contains(first))
            })
    }

    fn hand_out_ranges(&mut self) {
        if self.unwritten.is_full() {
            return;
        }
        let Some(target) = self.download.target else {
            return;
        };
        // Who claims less than the branch weighs hardly has it.
        let claims_less = |known: &Peer| {
            known
                .status
                .is_none_or(|status| status.total_work < target.total_work)
        };
        let mut peers: Vec<(u32, bool, usize, P)> = self
            .peers
            .iter()
            .map(|(peer, known)| {
                let (stalls, open) = (known.stalls, known.open_body_requests);
                (stalls, claims_less(known), open, *peer)
            })
            .collect();
        peers.sort_unstable();
        // One request each in turn, so that ranges spread over all who can serve.
        for _ in 0..MAX_OPEN_BODY_REQUESTS {
            for &(_, _, _, peer) in &peers {
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
        if busy || known.stalls >= MAX_STALLS {
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

    /// Whether a branch that outweighs ours is being fetched from somebody: mining on ours would be for nothing.
    /// If its bodies do not come, mining goes on: who withholds them must not stop the room.
    pub(super) fn is_catching_up(&self) -> bool {
        let tip = self.tree.tip();
        !self.peers.is_empty()
            && self.now < self.download.patience_ends()
            && self.download.target.is_some_and(|target| {
                (target.total_work, Reverse(target.hash)) > (tip.total_work, Reverse(tip.hash))
            })
    }
}
