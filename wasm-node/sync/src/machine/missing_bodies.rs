//! Stored bodies that the disk lost or corrupted: they are fetched again, one range at a time.
//!
//! Such a block stays on its branch at first. Its header is intact, and what consensus needs of its readings
//! (authors and sequence numbers) is in memory. Only peers that ask for the readings have to wait. A body that
//! arrives is verified like any other.
//!
//! However, no newcomer can follow a best branch with a body that no peer has. Some time after a peer first
//! says that it lacks such a body, all peers are asked one last time. If none has it, the machine leaves the
//! branch below that block, and the readings above return to the mempool. Everything stays on disk. Should the
//! body turn up later, the branch is an ordinary branch to catch up with.

use alloc::vec::Vec;
use core::fmt::Debug;

use heartchain_chain::{compact_sort, hash::BlockHash, reading::Reading, time::MonotonicMillis};
use litemap::LiteMap;

use super::{
    context::Context,
    follow_up::FollowUp,
    last_round::{Action, LastRound, patience},
    requests::RequestKind,
    suppliers::Suppliers,
    sweep::Sweep,
};
use crate::{
    config::{BODY_RANGE, MAX_LACKING, MAX_MISSING_BODIES, MISSING_BODIES_INTERVAL},
    io::ReadId,
    message::Request,
};

/// Fetching the bodies again that the disk lost.
#[derive(Clone, Debug)]
pub(crate) struct MissingBodies<P> {
    /// The bodies that a peer has been asked for.
    in_flight: Vec<BlockHash>,
    /// A peer is not asked before this time, because it had none to give.
    retry_at: LiteMap<P, MonotonicMillis>,
    last_round: LastRound<P>,
    /// There is nothing to request or to abandon before this time, unless something changes.
    next_check: MonotonicMillis,
    /// The best tip that the store had at startup, until the tip changes.
    written_tip: Option<BlockHash>,
    sweep: Sweep,
}

impl<P: Copy + Ord + Debug> MissingBodies<P> {
    pub(super) fn new() -> Self {
        Self {
            in_flight: Vec::new(),
            retry_at: LiteMap::new(),
            last_round: LastRound::new(),
            next_check: MonotonicMillis::new(0),
            written_tip: None,
            sweep: Sweep::default(),
        }
    }

    /// Sets the best tip found on disk at startup; `None` once the tip has changed.
    pub(crate) fn set_written_tip(&mut self, tip: Option<BlockHash>) {
        self.written_tip = tip;
    }

    /// A peer connected or sent a new Status: there may be a peer to ask.
    pub(super) fn peers_changed(&mut self) {
        self.next_check = MonotonicMillis::new(0);
    }

    pub(super) fn on_peer_gone(&mut self, peer: &P) {
        self.retry_at.remove(peer);
        self.peers_changed();
    }

    /// Whether bodies are missing and no request for them is open.
    fn is_idle(&self, ctx: &Context<P>) -> bool {
        !ctx.lost_bodies.is_empty() && self.in_flight.is_empty()
    }

    /// When to ask or to abandon next.
    pub(super) fn next_deadline(&self, ctx: &Context<P>) -> Option<MonotonicMillis> {
        let is_idle = self.is_idle(ctx) && !ctx.peers.is_empty();
        Some(self.next_check).filter(|at| is_idle && *at > ctx.now())
    }

    /// Whether these are the bodies of the open request.
    fn is_in_flight(&self, hashes: &[BlockHash]) -> bool {
        !self.in_flight.is_empty() && self.in_flight == hashes
    }

    /// The request for these bodies ended without an answer.
    pub(super) fn give_back(&mut self, hashes: &[BlockHash]) {
        if self.is_in_flight(hashes) {
            self.in_flight.clear();
            self.next_check = MonotonicMillis::new(0);
        }
    }

    /// A peer answered a request for bodies, or let it fail. `served` says whether it sent any. Returns whether they were
    /// requested here.
    pub(super) fn on_answer(
        &mut self,
        peer: P,
        hashes: &[BlockHash],
        served: bool,
        now: MonotonicMillis,
    ) -> bool {
        let were_requested = self.is_in_flight(hashes);
        if were_requested && !served {
            let at = now.saturating_add(MISSING_BODIES_INTERVAL);
            self.retry_at.insert(peer, at);
        }
        self.give_back(hashes);
        were_requested
    }

    fn want(&mut self, ctx: &mut Context<P>, index: u64, hash: BlockHash) {
        if ctx.lost_bodies.insert(index, hash) {
            self.next_check = MonotonicMillis::new(0);
        }
    }

    /// The best tip that the store had at startup, if the tip has not changed since.
    pub(super) fn written_tip(&self, ctx: &Context<P>) -> Option<BlockHash> {
        let is_known = |tip: &BlockHash| ctx.tree.block(tip).is_some();
        self.written_tip.filter(is_known)
    }

    /// This body is no longer on disk. `written_tip` is the one from before the bodies were reported.
    pub(super) fn on_missing(
        &mut self,
        ctx: &mut Context<P>,
        written_tip: Option<BlockHash>,
        hash: &BlockHash,
    ) {
        let block = ctx.tree.block(hash).filter(|info| info.has_body);
        let block = block.filter(|_| ctx.writes.body(hash).is_none());
        let Some(info) = block else {
            return;
        };
        // Before the start another branch was best because this body was missing. That has not changed.
        if info.on_best && written_tip.is_some_and(|tip| !ctx.tree.is_descendant(&tip, hash)) {
            give_up(ctx, hash);
        } else {
            self.want(ctx, info.index, *hash);
        }
    }

    /// Asks a peer that may have missing bodies, with one request at a time, since better branches have
    /// priority. Abandons a branch with a body that no peer has.
    pub(super) fn poll(&mut self, ctx: &mut Context<P>, suppliers: &mut Suppliers<P>) {
        self.sweep_next(ctx);
        if !self.is_idle(ctx) || self.next_check > ctx.now() {
            return;
        }
        self.next_check = ctx.now().saturating_add(MISSING_BODIES_INTERVAL);
        let is_gone = |hash: &BlockHash| !ctx.tree.block(hash).is_some_and(|info| info.has_body);
        let lost = ctx.lost_bodies.iter().map(|(_, hash)| hash);
        let gone: Vec<BlockHash> = lost.filter(is_gone).collect();
        for hash in &gone {
            ctx.lost_bodies.remove(hash);
        }
        let on_best = |hash: &BlockHash| ctx.tree.block(hash).is_some_and(|info| info.on_best);
        let first = ctx.lost_bodies.iter().find(|(_, hash)| on_best(hash));
        if let Some((index, first)) = first {
            match self.next_action(ctx, suppliers, index, first) {
                Action::Wait => {}
                Action::StartLastRound => {
                    suppliers.start_last_round(&first);
                    self.retry_at.clear();
                }
                Action::GiveUp => return give_up(ctx, &first),
            }
        }
        self.request(ctx, suppliers, first.map(|(_, hash)| hash));
    }

    fn next_action(
        &mut self,
        ctx: &Context<P>,
        suppliers: &Suppliers<P>,
        index: u64,
        first: BlockHash,
    ) -> Action {
        let peers = ctx.peers.iter().map(|(peer, _)| {
            let supplier = suppliers.get(&peer);
            let lacks = supplier.is_some_and(|supplier| supplier.cannot_give(&first));
            (peer, lacks)
        });
        let peers: Vec<(P, bool)> = peers.collect();
        let above = ctx.tree.tip().index.saturating_sub(index);
        let round = &mut self.last_round;
        round.next_action(first, &peers, patience(above), ctx.now())
    }

    /// Asks one peer for lost bodies, `first` of all for the lowest one on the best branch.
    fn request(
        &mut self,
        ctx: &mut Context<P>,
        suppliers: &Suppliers<P>,
        first: Option<BlockHash>,
    ) {
        if ctx.writes.is_full() {
            return;
        }
        let askable = ctx.peers.iter().filter_map(|(peer, state)| {
            let supplier = suppliers.get(&peer)?;
            let is_askable = state.status().is_some()
                && self.retry_at.get(&peer).is_none_or(|at| *at <= ctx.now())
                && state.has_body_slot()
                && !supplier.is_stalled();
            let slowness = (supplier.stalls(), supplier.has_failed());
            is_askable.then(|| (slowness, state.open_body_requests(), peer))
        });
        let mut askable: Vec<((u32, bool), usize, P)> = askable.collect();
        compact_sort::sort(&mut askable);
        for (_, _, peer) in askable {
            let Some(supplier) = suppliers.get(&peer) else {
                continue;
            };
            let lost = ctx.lost_bodies.iter().map(|(_, hash)| hash);
            let others = lost.filter(|hash| Some(*hash) != first);
            let hashes: Vec<BlockHash> = first
                .into_iter()
                .chain(others)
                .take(MAX_LACKING)
                .filter(|hash| !supplier.lacks(hash))
                // A slow peer may still manage a single body.
                .take(if supplier.has_failed() { 1 } else { BODY_RANGE })
                .collect();
            if hashes.is_empty() {
                continue;
            }
            self.in_flight.clone_from(&hashes);
            let request = Request::Bodies {
                hashes: hashes.clone(),
            };
            return ctx.request(peer, request, RequestKind::Bodies(hashes));
        }
    }

    /// After the store was lost, looks on disk for all bodies. Peers are asked only for those that are gone.
    pub(super) fn start_sweep(&mut self, ctx: &Context<P>) {
        self.sweep = Sweep::start(ctx.tree.tip().index, ctx.tree.side_bodies());
        self.next_check = MonotonicMillis::new(0);
    }

    fn sweep_next(&mut self, ctx: &mut Context<P>) {
        if ctx.lost_bodies.len() > MAX_MISSING_BODIES / 2 {
            return;
        }
        let hashes = self.sweep.next_chunk(&ctx.tree);
        if !hashes.is_empty() {
            let id = ctx.read_bodies(hashes.clone());
            self.sweep.on_read_started(id, hashes);
        }
    }

    /// Whether this is a read of bodies that may be lost.
    pub(super) fn is_reading(&self, id: ReadId) -> bool {
        self.sweep.is_reading(id)
    }

    /// Storage returned these bodies, and `None` for those it lost.
    pub(super) fn on_read(&mut self, ctx: &mut Context<P>, bodies: &[Option<Vec<Reading>>]) {
        for (hash, body) in self.sweep.on_read().iter().zip(bodies) {
            let block = ctx.tree.block(hash).filter(|info| info.has_body);
            let Some(info) = block.filter(|_| body.is_none()) else {
                continue;
            };
            if ctx.writes.body(hash).is_some() {
                continue;
            }
            if info.on_best {
                self.want(ctx, info.index, *hash);
            } else {
                ctx.leave_body(hash);
            }
        }
        self.next_check = MonotonicMillis::new(0);
    }

    pub(super) fn on_read_failed(&mut self) {
        self.sweep.on_read_failed();
    }
}

/// Leaves the best branch below this block.
fn give_up<P: Copy + Ord + Debug>(ctx: &mut Context<P>, hash: &BlockHash) {
    ctx.lost_bodies.remove(hash);
    ctx.leave_body(hash);
    ctx.follow_up(FollowUp::Advance);
}
