//! Answering peers' requests. Token buckets, one per peer and one for all peers, bound the bytes of answers.

use alloc::vec::Vec;
use core::fmt::Debug;

use heartchain_chain::{block::check_root, hash::BlockHash, header::Header, reading::Reading};

use super::{Machine, requests::decode_failure};
use crate::{
    config::{ANSWER_OVERHEAD, MAX_OPEN_READS, MAX_OPEN_REQUESTS},
    io::{InboundId, Output},
    message::{MAX_BODIES_LEN, MAX_HEADERS, MAX_IDS, MempoolRow, Request, Response},
};

/// Encoded length of an [`MempoolRow`] in bytes.
const ID_ROW_LEN: usize = 32 + 8 + 32;

/// A peer's request for bodies that waits for storage.
#[derive(Clone, Debug)]
pub(super) struct PendingAnswer<P> {
    pub(super) peer: P,
    pub(super) inbound: InboundId,
    hashes: Vec<BlockHash>,
}

impl<P: Copy + Ord + Debug> Machine<P> {
    pub(super) fn on_request(&mut self, from: P, id: InboundId, data: &[u8]) {
        let request = match Request::decode(data) {
            Ok(request) => request,
            Err(error) => {
                self.outputs.push(Output::Refuse { id });
                return self.ban(from, decode_failure(&error));
            }
        };
        if !self.within_answer_budget(from, self.estimate(&request), false) {
            self.outputs.push(Output::Refuse { id });
            return;
        }
        match request {
            Request::Status(status) => {
                self.on_status(from, status);
                let own = self.own_status();
                self.respond(from, id, &Response::Status(own));
            }
            Request::Headers { locator } => {
                let headers = self.tree.headers_after(&locator, MAX_HEADERS);
                self.respond(from, id, &Response::Headers(headers));
            }
            Request::Bodies { hashes } => self.start_bodies_answer(from, id, &hashes),
            Request::MempoolIds { after } => {
                let rows = self.mempool.list_after(after, MAX_IDS);
                let rows = rows
                    .iter()
                    .map(|row| MempoolRow {
                        author: row.author,
                        seq: row.seq,
                        id: row.id,
                    })
                    .collect();
                self.respond(from, id, &Response::MempoolIds(rows));
            }
            Request::Readings { ids } => {
                let readings = ids
                    .iter()
                    .filter_map(|id| self.mempool.get(id))
                    .copied()
                    .collect();
                self.respond(from, id, &Response::Readings(readings));
            }
        }
    }

    /// Estimates how many bytes the answer has, before doing any work for it: a refused request must cost nothing.
    fn estimate(&self, request: &Request) -> u64 {
        let rows = |many: usize, len: usize| (many * len) as u64;
        let body = match request {
            // A peer's Status is useful to us as well, and the size of bodies is known only once they are read.
            Request::Status(_) | Request::Bodies { .. } => 0,
            Request::Headers { .. } => rows(MAX_HEADERS, Header::LEN),
            Request::MempoolIds { .. } => rows(self.mempool.len().min(MAX_IDS), ID_ROW_LEN),
            Request::Readings { ids } => rows(ids.len(), Reading::LEN),
        };
        body.saturating_add(ANSWER_OVERHEAD)
    }

    /// Whether the answer budgets allow a peer this many bytes. With `spend`, the bytes are also deducted.
    fn within_answer_budget(&mut self, peer: P, bytes: u64, spend: bool) -> bool {
        let now = self.now;
        let Some(state) = self.peers.get_mut(&peer) else {
            let all = self.total_answer_budget.available(now) >= bytes;
            return all
                && self.untracked_answer_budget.available(now) >= bytes
                && (!spend
                    || (self.untracked_answer_budget.take(bytes, now)
                        && self.total_answer_budget.take(bytes, now)));
        };
        let from_reserved = state.reserved_budget.available(now) >= bytes;
        if state.answer_budget.available(now) < bytes
            || (!from_reserved && self.total_answer_budget.available(now) < bytes)
        {
            return false;
        }
        if spend {
            state.answer_budget.take(bytes, now);
            if from_reserved {
                state.reserved_budget.take(bytes, now);
            } else {
                self.total_answer_budget.take(bytes, now);
            }
        }
        true
    }

    fn start_bodies_answer(&mut self, peer: P, inbound: InboundId, hashes: &[BlockHash]) {
        let of_peer = self
            .pending_answers
            .values()
            .filter(|pending| pending.peer == peer)
            .count();
        if self.pending_answers.len() >= MAX_OPEN_READS || of_peer >= MAX_OPEN_REQUESTS {
            self.outputs.push(Output::Refuse { id: inbound });
            return;
        }
        // The answer may be a prefix of what was asked, so it ends before the first unknown block.
        let mut len = 0;
        let known_hashes = hashes
            .iter()
            .take_while(|hash| {
                // Read no more than fits into the answer, but always the first body.
                let first = len == 0;
                let readings = self.tree.body_len(hash);
                len += readings.map_or(0, |readings| readings * Reading::LEN);
                readings.is_some() && (first || len <= MAX_BODIES_LEN)
            })
            .copied();
        let known_hashes: Vec<BlockHash> = known_hashes.collect();
        if known_hashes.is_empty() {
            let unknown = hashes.iter().take(1).map(|_| None).collect();
            return self.respond(peer, inbound, &Response::Bodies(unknown));
        }
        let read = self.read_bodies(known_hashes.clone());
        let pending = PendingAnswer {
            peer,
            inbound,
            hashes: known_hashes,
        };
        self.pending_answers.insert(read, pending);
    }

    pub(super) fn answer_bodies(
        &mut self,
        pending: &PendingAnswer<P>,
        mut bodies: Vec<Option<Vec<Reading>>>,
    ) {
        // A body that the disk corrupted counts as missing; a peer would take it for a lie.
        for (hash, body) in pending.hashes.iter().zip(&mut bodies) {
            let header = self.tree.header(hash);
            *body = body.take().filter(|readings| {
                header.is_some_and(|header| check_root(&header, readings).is_ok())
            });
        }
        let mut len = 0_usize;
        let fitting = bodies
            .iter()
            .take_while(|body| {
                len += 5 + body
                    .as_ref()
                    .map_or(0, |readings| readings.len() * Reading::LEN);
                len <= MAX_BODIES_LEN
            })
            .count();
        bodies.truncate(fitting);
        self.respond(pending.peer, pending.inbound, &Response::Bodies(bodies));
    }

    fn respond(&mut self, peer: P, id: InboundId, response: &Response) {
        let data = response.encode();
        let cost = ANSWER_OVERHEAD.saturating_add(data.len() as u64);
        let paid = self.within_answer_budget(peer, cost, true);
        self.outputs.push(if paid {
            Output::Respond { id, data }
        } else {
            Output::Refuse { id }
        });
    }
}
