//! What peers ask, and what they are told. Bounded by a token bucket for each peer, and one for all.

use alloc::vec::Vec;
use core::fmt::Debug;

use chain::{block::check_root, hash::BlockHash, header::Header, reading::Reading};

use super::{Machine, requests::undecodable};
use crate::{
    config::{ANSWER_OVERHEAD, MAX_OPEN_READS, MAX_OPEN_REQUESTS},
    message::{IdRow, MAX_BODIES_LEN, MAX_HEADERS, MAX_IDS, Request, Response},
    seam::{InboundId, Output},
};

/// Bytes of an [`IdRow`].
const ID_ROW_LEN: usize = 32 + 8 + 32;

/// A peer's request that waits for storage.
#[derive(Clone, Debug)]
pub(super) struct PendingAnswer<P> {
    pub(super) peer: P,
    pub(super) inbound: InboundId,
    hashes: Vec<BlockHash>,
}

impl<P: Copy + Ord + Debug> Machine<P> {
    pub(super) fn answer_request(&mut self, from: P, id: InboundId, data: &[u8]) {
        let request = match Request::decode(data) {
            Ok(request) => request,
            Err(error) => {
                self.outputs.push(Output::Refuse { id });
                return self.ban(from, undecodable(&error));
            }
        };
        if !self.draws(from, self.estimate(&request), false) {
            self.outputs.push(Output::Refuse { id });
            return;
        }
        match request {
            Request::Status(status) => {
                self.note_status(from, status);
                let own = self.own_status();
                self.respond(from, id, &Response::Status(own));
            }
            Request::Headers { locator } => {
                let headers = self.tree.headers_after(&locator, MAX_HEADERS);
                self.respond(from, id, &Response::Headers(headers));
            }
            Request::Bodies { hashes } => self.start_bodies(from, id, &hashes),
            Request::MempoolIds { after } => {
                let rows = self.mempool.list_after(after, MAX_IDS);
                let rows = rows
                    .iter()
                    .map(|row| IdRow {
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

    /// Bytes that the answer to a request may have, before anything is done for it: what is refused must cost nothing.
    fn estimate(&self, request: &Request) -> u64 {
        let rows = |many: usize, len: usize| (many * len) as u64;
        let body = match request {
            // A Status says something, too; and bodies are read first.
            Request::Status(_) | Request::Bodies { .. } => 0,
            Request::Headers { .. } => rows(MAX_HEADERS, Header::LEN),
            Request::MempoolIds { .. } => rows(self.mempool.len().min(MAX_IDS), ID_ROW_LEN),
            Request::Readings { ids } => rows(ids.len(), Reading::LEN),
        };
        body.saturating_add(ANSWER_OVERHEAD)
    }

    /// Whether a peer may draw so many bytes; `takes`: it does.
    fn draws(&mut self, peer: P, bytes: u64, takes: bool) -> bool {
        let now = self.now;
        let Some(known) = self.peers.get_mut(&peer) else {
            let all = self.all_answers.left(now) >= bytes;
            return all
                && self.strangers.left(now) >= bytes
                && (!takes
                    || (self.strangers.take(bytes, now) && self.all_answers.take(bytes, now)));
        };
        let of_share = known.share.left(now) >= bytes;
        if known.answers.left(now) < bytes || (!of_share && self.all_answers.left(now) < bytes) {
            return false;
        }
        if takes {
            known.answers.take(bytes, now);
            if of_share {
                known.share.take(bytes, now);
            } else {
                self.all_answers.take(bytes, now);
            }
        }
        true
    }

    fn start_bodies(&mut self, peer: P, inbound: InboundId, hashes: &[BlockHash]) {
        let of_peer = self
            .answers
            .values()
            .filter(|pending| pending.peer == peer)
            .count();
        if self.answers.len() >= MAX_OPEN_READS || of_peer >= MAX_OPEN_REQUESTS {
            self.outputs.push(Output::Refuse { id: inbound });
            return;
        }
        // A prefix is a whole answer: from the first unknown one on there is nothing to read.
        let mut len = 0;
        let known = hashes
            .iter()
            .take_while(|hash| {
                // No more is read than the answer has room for, and the first in any case.
                let first = len == 0;
                let readings = self.tree.body_len(hash);
                len += readings.map_or(0, |readings| readings * Reading::LEN);
                readings.is_some() && (first || len <= MAX_BODIES_LEN)
            })
            .copied();
        let known: Vec<BlockHash> = known.collect();
        if known.is_empty() {
            let unknown = hashes.iter().take(1).map(|_| None).collect();
            return self.respond(peer, inbound, &Response::Bodies(unknown));
        }
        let read = self.read_bodies(known.clone());
        let pending = PendingAnswer {
            peer,
            inbound,
            hashes: known,
        };
        self.answers.insert(read, pending);
    }

    pub(super) fn answer_bodies(
        &mut self,
        pending: &PendingAnswer<P>,
        mut bodies: Vec<Option<Vec<Reading>>>,
    ) {
        // What the disk garbled is as good as lost; a peer would take it for a lie.
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
        let paid = self.draws(peer, cost, true);
        self.outputs.push(if paid {
            Output::Respond { id, data }
        } else {
            Output::Refuse { id }
        });
    }
}
