//! Answering peers' requests. Token buckets, one per peer and one for all peers, bound the bytes of answers.

use alloc::vec::Vec;
use core::fmt::Debug;

use heartchain_chain::{
    block::check_root, hash::BlockHash, header::Header, profile::MAX_PROFILE_LEN, reading::Reading,
    time::MonotonicMillis,
};
use litemap::LiteMap;

use super::{
    context::Context, follow_up::FollowUp, profile_table::ProfileTable, requests::decode_failure,
    token_bucket::TokenBucket,
};
use crate::{
    config::{
        ALL_ANSWERS_BURST, ALL_ANSWERS_RATE, ANSWER_BURST, ANSWER_OVERHEAD, ANSWER_RATE,
        ANSWER_SHARE_BURST, ANSWER_SHARE_RATE, ANSWERED_BODIES_LEN, MAX_OPEN_READS,
        MAX_OPEN_REQUESTS,
    },
    io::{InboundId, Output, ReadId},
    message::{
        MAX_HEADERS, MAX_IDS, MAX_LISTED_PROFILES, MempoolRow, MessageError, Request, Response,
    },
};

/// Encoded length of an [`MempoolRow`] in bytes.
const ID_ROW_LEN: usize = 32 + 8 + 32;

/// Answers in progress, and how much each peer may still request.
#[derive(Clone, Debug)]
pub(crate) struct Answers<P> {
    pending: LiteMap<ReadId, PendingAnswer<P>>,
    budgets: LiteMap<P, Budget>,
    /// Bytes of answers left for all untracked peers together.
    untracked: TokenBucket,
    /// Bytes of answers left for all peers together.
    total: TokenBucket,
}

/// Bytes of answers that a peer may still request.
#[derive(Clone, Debug)]
struct Budget {
    own: TokenBucket,
    /// The part that is reserved for it, independent of what other peers use.
    reserved: TokenBucket,
}

/// A peer's request for bodies that waits for storage.
#[derive(Clone, Debug)]
struct PendingAnswer<P> {
    peer: P,
    inbound: InboundId,
    hashes: Vec<BlockHash>,
}

impl<P: Copy + Ord + Debug> Answers<P> {
    pub(super) fn new(now: MonotonicMillis) -> Self {
        Self {
            pending: LiteMap::new(),
            budgets: LiteMap::new(),
            untracked: TokenBucket::full(ANSWER_RATE, ANSWER_BURST, now),
            total: TokenBucket::full(ALL_ANSWERS_RATE, ALL_ANSWERS_BURST, now),
        }
    }

    pub(super) fn on_peer_connected(&mut self, peer: P, now: MonotonicMillis) {
        let budget = Budget {
            own: TokenBucket::full(ANSWER_RATE, ANSWER_BURST, now),
            reserved: TokenBucket::full(ANSWER_SHARE_RATE, ANSWER_SHARE_BURST, now),
        };
        self.budgets.insert(peer, budget);
    }

    pub(super) fn on_peer_gone(&mut self, peer: &P) {
        self.budgets.remove(peer);
    }

    /// How many answers wait for storage.
    pub(crate) fn open_reads(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn on_request(
        &mut self,
        ctx: &mut Context<P>,
        profiles: &ProfileTable,
        (from, id): (P, InboundId),
        request: Result<Request, MessageError>,
    ) {
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                ctx.output(Output::Refuse { id });
                return ctx.ban(from, decode_failure(&error));
            }
        };
        if !self.within_budget(ctx.now(), from, estimate(ctx, profiles, &request), false) {
            return ctx.output(Output::Refuse { id });
        }
        let response = match request {
            Request::Status(status) => {
                ctx.follow_up(FollowUp::Status { peer: from, status });
                Response::Status(ctx.own_status())
            }
            Request::Headers { locator } => {
                Response::Headers(ctx.tree.headers_after(&locator, MAX_HEADERS))
            }
            Request::Bodies { hashes } => return self.start_bodies(ctx, from, id, &hashes),
            Request::MempoolIds { after } => {
                let rows = ctx.mempool.list_after(after, MAX_IDS);
                let rows = rows.iter().map(|row| MempoolRow {
                    author: row.author,
                    seq: row.seq,
                    id: row.id,
                });
                Response::MempoolIds(rows.collect())
            }
            Request::Readings { ids } => {
                let readings = ids.iter().filter_map(|id| ctx.mempool.get(id));
                Response::Readings(readings.copied().collect())
            }
            Request::Profiles { after } => {
                Response::Profiles(profiles.list_after(after, MAX_LISTED_PROFILES))
            }
        };
        self.respond(ctx, from, id, response);
    }

    /// Whether the budgets allow a peer this many bytes. With `spend`, the bytes are also deducted.
    fn within_budget(&mut self, now: MonotonicMillis, peer: P, bytes: u64, spend: bool) -> bool {
        let Some(budget) = self.budgets.get_mut(&peer) else {
            let all = self.total.available(now) >= bytes;
            return all
                && self.untracked.available(now) >= bytes
                && (!spend || (self.untracked.take(bytes, now) && self.total.take(bytes, now)));
        };
        let from_reserved = budget.reserved.available(now) >= bytes;
        if budget.own.available(now) < bytes
            || (!from_reserved && self.total.available(now) < bytes)
        {
            return false;
        }
        if spend {
            budget.own.take(bytes, now);
            if from_reserved {
                budget.reserved.take(bytes, now);
            } else {
                self.total.take(bytes, now);
            }
        }
        true
    }

    fn start_bodies(
        &mut self,
        ctx: &mut Context<P>,
        peer: P,
        inbound: InboundId,
        hashes: &[BlockHash],
    ) {
        let of_peer = self
            .pending
            .values()
            .filter(|pending| pending.peer == peer)
            .count();
        if self.pending.len() >= MAX_OPEN_READS || of_peer >= MAX_OPEN_REQUESTS {
            return ctx.output(Output::Refuse { id: inbound });
        }
        // The answer may be a prefix of what was asked, so it ends before the first unknown block.
        let mut len = 0;
        let known_hashes = hashes
            .iter()
            .take_while(|hash| {
                // Read no more than fits into the answer, but always the first body.
                let first = len == 0;
                let readings = ctx.tree.body_len(hash);
                len += readings.map_or(0, |readings| readings * reading_len(ctx));
                readings.is_some() && (first || len <= ANSWERED_BODIES_LEN)
            })
            .copied();
        let known_hashes: Vec<BlockHash> = known_hashes.collect();
        if known_hashes.is_empty() {
            let unknown = hashes.iter().take(1).map(|_| None).collect();
            return self.respond(ctx, peer, inbound, Response::Bodies(unknown));
        }
        let read = ctx.read_bodies(known_hashes.clone());
        let pending = PendingAnswer {
            peer,
            inbound,
            hashes: known_hashes,
        };
        self.pending.insert(read, pending);
    }

    /// Whether an answer waits for this read.
    pub(super) fn is_reading(&self, id: ReadId) -> bool {
        self.pending.contains_key(&id)
    }

    pub(super) fn on_read(
        &mut self,
        ctx: &mut Context<P>,
        id: ReadId,
        mut bodies: Vec<Option<Vec<Reading>>>,
    ) {
        let Some(pending) = self.pending.remove(&id) else {
            return;
        };
        // A body that the disk corrupted counts as missing; a peer would take it for a lie.
        for (hash, body) in pending.hashes.iter().zip(&mut bodies) {
            let header = ctx.tree.header(hash);
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
                    .map_or(0, |readings| readings.len() * reading_len(ctx));
                len <= ANSWERED_BODIES_LEN
            })
            .count();
        bodies.truncate(fitting);
        let response = Response::Bodies(bodies);
        self.respond(ctx, pending.peer, pending.inbound, response);
    }

    pub(super) fn on_read_failed(&mut self, ctx: &mut Context<P>, id: ReadId) {
        if let Some(pending) = self.pending.remove(&id) {
            let id = pending.inbound;
            ctx.output(Output::Refuse { id });
        }
    }

    fn respond(&mut self, ctx: &mut Context<P>, peer: P, id: InboundId, response: Response) {
        let cost = ANSWER_OVERHEAD.saturating_add(response.encoded_len() as u64);
        let paid = self.within_budget(ctx.now(), peer, cost, true);
        ctx.output(if paid {
            Output::Respond { id, response }
        } else {
            Output::Refuse { id }
        });
    }
}

/// The encoded length of a reading in this room, in bytes.
const fn reading_len<P>(ctx: &Context<P>) -> usize {
    ctx.tree.room().form().reading_len()
}

/// Estimates how many bytes the answer has, before doing any work for it: a refused request must cost nothing.
fn estimate<P>(ctx: &Context<P>, profiles: &ProfileTable, request: &Request) -> u64 {
    let rows = |many: usize, len: usize| (many * len) as u64;
    let body = match request {
        // A peer's Status is useful to us as well, and the size of bodies is known only once they are read.
        Request::Status(_) | Request::Bodies { .. } => 0,
        Request::Headers { .. } => rows(MAX_HEADERS, Header::LEN),
        Request::MempoolIds { .. } => rows(ctx.mempool.len().min(MAX_IDS), ID_ROW_LEN),
        Request::Readings { ids } => rows(ids.len(), reading_len(ctx)),
        Request::Profiles { .. } => rows(profiles.len().min(MAX_LISTED_PROFILES), MAX_PROFILE_LEN),
    };
    body.saturating_add(ANSWER_OVERHEAD)
}
