//! What peers ask, and what they are told. Bounded by each peer's token bucket.

use alloc::vec::Vec;
use core::fmt::Debug;

use chain::{block::check_root, hash::BlockHash, reading::Reading};

use super::{Machine, requests::undecodable};
use crate::{
    config::{ANSWER_OVERHEAD, MAX_OPEN_READS, MAX_OPEN_REQUESTS},
    message::{IdRow, MAX_BODIES_LEN, MAX_HEADERS, MAX_IDS, Request, Response},
    seam::{InboundId, Output},
};

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
        let known = hashes
            .iter()
            .take_while(|hash| self.tree.block(hash).is_some_and(|info| info.has_body))
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
        let now = self.now;
        let paid = self
            .peers
            .get_mut(&peer)
            .map_or(&mut self.strangers, |known| &mut known.answers)
            .take(cost, now);
        self.outputs.push(if paid {
            Output::Respond { id, data }
        } else {
            Output::Refuse { id }
        });
    }
}
