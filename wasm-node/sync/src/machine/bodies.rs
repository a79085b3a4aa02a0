//! Downloading the bodies of a better branch, in ranges, from several peers at once.
//!
//! `download` decides which bodies are missing. A peer that is slow or lacks a body loses its range to another
//! peer. A peer that sends invalid bodies is banned.

use alloc::vec::Vec;
use core::fmt::Debug;

use heartchain_chain::{
    compact_sort,
    content::ReadingForm,
    hash::BlockHash,
    reading::Reading,
    time::MonotonicMillis,
    tree::{BlockInfo, MAX_SIDE_READINGS},
};

use super::{
    context::Context, download::Download, follow_up::FollowUp, peers::Peer, requests::RequestKind,
    suppliers::Suppliers,
};
use crate::{
    config::{BODY_PATIENCE, COMPETING_BLOCKS, MAX_OPEN_BODY_REQUESTS},
    io::{DisconnectReason, RequestFailure},
    message::{MAX_BODIES_LEN, Request},
};

/// The priority by which peers are asked for bodies, lowest first: has late answers, number of stalls, failed the last request, sent
/// no headers of a better branch, claims less work than the branch has, turn.
type BodyPriority = (bool, u32, bool, bool, bool, u64);

/// Upper bound of the readings in one answer. Those of open rooms are the shortest.
const MAX_ANSWER_READINGS: usize = MAX_BODIES_LEN / ReadingForm::Open.reading_len();

/// The bodies of the branch being fetched.
#[derive(Clone, Debug)]
pub(crate) struct Bodies<P> {
    download: Download,
    suppliers: Suppliers<P>,
}

/// A peer's answer to a request for bodies.
pub(super) struct BodiesAnswer<P> {
    pub(super) peer: P,
    /// What was requested.
    pub(super) hashes: Vec<BlockHash>,
    pub(super) bodies: Vec<Option<Vec<Reading>>>,
    /// Whether the bodies were requested because the disk lost them. Such bodies are scattered: a peer that lacks one may have
    /// others. On a branch, a peer that lacks a block also lacks those above it.
    pub(super) were_lost: bool,
}

impl<P: Copy + Ord + Debug> Bodies<P> {
    pub(super) fn new() -> Self {
        Self {
            download: Download::new(),
            suppliers: Suppliers::new(),
        }
    }

    /// What peers have shown about the bodies they can send.
    pub(super) fn suppliers(&mut self) -> &mut Suppliers<P> {
        &mut self.suppliers
    }

    /// The height of the branch being fetched.
    pub(crate) fn target_index(&self) -> Option<u64> {
        self.download.target().map(|target| target.index)
    }

    /// When something is due although nothing arrives.
    pub(super) fn next_deadline(&self, now: MonotonicMillis) -> Option<MonotonicMillis> {
        let rest_end = self.download.first().and(self.suppliers.next_rest_end(now));
        [self.download.next_deadline(now), rest_end]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn on_peer_connected(&mut self, peer: P) {
        self.suppliers.on_peer_connected(peer);
        self.download.peers_changed();
    }

    pub(super) fn on_peer_gone(&mut self, peer: &P) {
        self.suppliers.on_peer_gone(peer);
        self.download.peers_changed();
    }

    /// A peer has another tip than before, so it may have blocks that it lacked. It is not asked again for the first body
    /// forever: claims are free.
    pub(super) fn on_new_tip(&mut self, peer: &P, now: MonotonicMillis) {
        if self.download.may_ask_again(now) {
            self.suppliers.forget_lacking(peer);
        }
        self.download.peers_changed();
    }

    /// A peer did not answer a request for these bodies. A peer that only refuses is asked again for about as long as a silent one:
    /// it may be busy, or the connection ended but not the peer. `were_lost`: the disk lost the bodies, so there is no hurry.
    pub(super) fn on_failed(
        &mut self,
        peer: &P,
        hashes: &[BlockHash],
        failure: RequestFailure,
        were_lost: bool,
        now: MonotonicMillis,
    ) {
        let may_ask_again = !were_lost && self.download.may_ask_again(now);
        let is_stall = failure != RequestFailure::Closed || !may_ask_again;
        self.suppliers.on_failure(peer, is_stall, now);
        self.give_back(hashes);
    }

    /// New headers are in the tree.
    pub(super) fn on_headers(&mut self, now: MonotonicMillis) {
        self.download.on_headers(now);
    }

    /// The request for these bodies was not answered. They are planned again.
    pub(super) fn give_back(&mut self, hashes: &[BlockHash]) {
        self.download.requeue(hashes);
    }

    /// Updates the plan, and assigns ranges to peers with free request slots. `redownload` is the last header of a branch that
    /// passed presync. Returns the tip of a branch that was given up because no peer has its bodies. Then there may be another one to
    /// fetch, so the caller calls this again.
    pub(super) fn poll(
        &mut self,
        ctx: &mut Context<P>,
        redownload: Option<BlockHash>,
    ) -> Option<BlockHash> {
        self.plan(ctx, redownload);
        let target = self.download.target()?;
        self.retry_late_first_range(ctx, &target, redownload);
        self.assign_ranges(ctx);
        let stuck = self.download.is_idle() && self.no_peer_has_first(ctx);
        if !stuck && !self.no_lasting_peer_has_first(ctx) {
            return None;
        }
        self.download.mark_unavailable(target.hash, ctx.now());
        self.suppliers.start_over();
        Some(target.hash)
    }

    fn plan(&mut self, ctx: &Context<P>, redownload: Option<BlockHash>) {
        let revision = ctx.tree_revision();
        self.download
            .plan(&ctx.tree, revision, redownload, ctx.now());
    }

    /// Plans the lowest missing bodies again for another peer, if their answer is late.
    fn retry_late_first_range(
        &mut self,
        ctx: &mut Context<P>,
        target: &BlockInfo,
        redownload: Option<BlockHash>,
    ) {
        let now = ctx.now();
        if !self.download.take_late_check(now) || !ctx.peers.any_late(BODY_PATIENCE, now) {
            return;
        }
        let first = ctx.tree.missing_bodies(&target.hash, 1);
        for (peer, hashes) in ctx.peers.mark_overdue(&first, BODY_PATIENCE, now) {
            self.suppliers.on_late(&peer);
            self.download.requeue(&hashes);
        }
        self.plan(ctx, redownload);
        self.race_first_range(ctx);
    }

    /// Asks two peers for the same first range, which halves the time lost to silent peers.
    fn race_first_range(&mut self, ctx: &mut Context<P>) {
        let Some(first) = self.download.first().filter(|_| !ctx.writes.is_full()) else {
            return;
        };
        let free = self.by_priority(ctx).into_iter().filter(|peer| {
            let is_free = |state: &Peer| state.has_body_slot() && !state.is_overdue();
            ctx.peers.get(peer).is_some_and(is_free)
                && self.suppliers.get(peer).is_some_and(|supplier| {
                    !supplier.cannot_give(first) && !supplier.is_resting(ctx.now())
                })
        });
        let two: Vec<P> = free.take(2).collect();
        if two.is_empty() {
            return;
        }
        let hashes = self.download.take_range(|_| true);
        for peer in two {
            request(ctx, peer, hashes.clone());
        }
    }

    fn no_peer_has_first(&self, ctx: &Context<P>) -> bool {
        !ctx.peers.is_empty()
            && self.download.first().is_some_and(|first| {
                ctx.peers
                    .iter()
                    .all(|(peer, _)| cannot_give(&self.suppliers, &peer, first))
            })
    }

    /// Whether no peer that was connected all the time has the first body, once it has been missing for too long.
    /// Newer peers do not count. Peer IDs are free, so peers that keep reconnecting could otherwise keep a branch
    /// without bodies as the target forever.
    fn no_lasting_peer_has_first(&mut self, ctx: &Context<P>) -> bool {
        let Some((first, since)) = self.download.long_missing(ctx.now()) else {
            return false;
        };
        if ctx.tree.block(&first).is_none_or(|block| block.has_body) {
            return false;
        }
        let lasting = ctx.peers.iter();
        let mut lasting = lasting
            .filter(|(_, state)| state.connected_at() <= since)
            .peekable();
        if lasting.peek().is_none() {
            self.download.restart_patience(ctx.now());
            return false;
        }
        lasting.all(|(peer, _)| cannot_give(&self.suppliers, &peer, &first))
    }

    /// Peers in the order in which they are asked for bodies.
    fn by_priority(&self, ctx: &Context<P>) -> Vec<P> {
        let Some(target) = self.download.target() else {
            return Vec::new();
        };
        let peers = ctx.peers.iter().filter_map(|(peer, state)| {
            let supplier = self.suppliers.get(&peer)?;
            // A peer that claims less work than the branch has is unlikely to have the branch.
            let claims_less = state
                .status()
                .is_none_or(|status| status.total_work < target.total_work);
            let late = state.is_overdue();
            let (stalls, failed) = (supplier.stalls(), supplier.has_failed());
            let silent = !supplier.gave_better_headers();
            let turn = supplier.turn();
            Some(((late, stalls, failed, silent, claims_less, turn), peer))
        });
        let mut peers: Vec<(BodyPriority, P)> = peers.collect();
        compact_sort::sort(&mut peers);
        peers.into_iter().map(|(_, peer)| peer).collect()
    }

    fn assign_ranges(&mut self, ctx: &mut Context<P>) {
        if ctx.writes.is_full() {
            return;
        }
        let peers = self.by_priority(ctx);
        // One request per peer and round, so that ranges spread over all peers.
        for _ in 0..MAX_OPEN_BODY_REQUESTS {
            for &peer in &peers {
                if self.download.first().is_none() {
                    return;
                }
                self.request_range(ctx, peer);
            }
        }
    }

    fn request_range(&mut self, ctx: &mut Context<P>, peer: P) {
        let (Some(state), Some(supplier)) = (ctx.peers.get(&peer), self.suppliers.get(&peer))
        else {
            return;
        };
        let waits = supplier.is_stalled() || supplier.is_resting(ctx.now());
        if !state.has_body_slot() || waits || !self.has_room(ctx) {
            return;
        }
        // The peer is already sending this range. Asking again would only slow down its link.
        if self
            .download
            .first()
            .is_some_and(|first| state.is_sending(first))
        {
            return;
        }
        // A peer that lacks a block also lacks those above it.
        let hashes = self.download.take_range(|hash| !supplier.lacks(hash));
        if !hashes.is_empty() {
            request(ctx, peer, hashes);
        }
    }

    /// Whether the readings of one more answer fit into the limit if they do not join the best branch at once.
    /// Bodies that connect to the fork without a gap do not count, because their branch has more work. The
    /// first missing bodies may always be requested.
    fn has_room(&self, ctx: &Context<P>) -> bool {
        let answers = ctx.peers.open_body_requests() + 2;
        self.download.is_idle()
            || self.side_readings(ctx) + answers * MAX_ANSWER_READINGS <= MAX_SIDE_READINGS
    }

    /// Readings of side blocks in memory, except for those of the branch being fetched that connect to the fork
    /// without a gap.
    pub(crate) fn side_readings(&self, ctx: &Context<P>) -> usize {
        let all = ctx.tree.side_readings();
        all.saturating_sub(self.download.ready_readings())
    }

    /// Inserts the bodies that a peer sent.
    pub(super) fn on_answer(&mut self, ctx: &mut Context<P>, answer: BodiesAnswer<P>) {
        let BodiesAnswer {
            peer,
            hashes,
            bodies,
            were_lost,
        } = answer;
        if bodies.len() > hashes.len() {
            self.download.requeue(&hashes);
            return ctx.ban(peer, DisconnectReason::WrongAnswer);
        }
        if bodies.len() == hashes.len() && bodies.iter().all(Option::is_some) {
            self.download.remove_in_flight(&hashes);
        } else {
            self.download.requeue(&hashes);
        }
        let served = bodies.iter().take_while(|body| body.is_some()).count();
        if served > 0 {
            self.suppliers.on_served(&peer);
        }
        if served == 0 || served < bodies.len() {
            let many = if were_lost { 1 } else { usize::MAX };
            self.suppliers
                .on_lacking(&peer, hashes.iter().skip(served).take(many));
        }
        let mut operations = Vec::new();
        let mut invalid = None;
        for (hash, body) in hashes.iter().zip(bodies) {
            let Some(readings) = body else {
                continue;
            };
            match ctx.insert_body(hash, readings) {
                Ok(operation) => operations.extend(operation),
                Err(error) => {
                    self.download.requeue(&hashes);
                    invalid = Some(DisconnectReason::BadBody(error));
                    break;
                }
            }
        }
        if !operations.is_empty() {
            self.download.on_bodies(ctx.now());
            ctx.follow_up(FollowUp::StoreBodies(operations));
        }
        ctx.follow_up(FollowUp::Advance);
        if let Some(reason) = invalid {
            ctx.ban(peer, reason);
        }
    }

    /// Whether bodies of a better branch are arriving. Headers do not count: a peer can produce some without bodies.
    pub(super) fn is_fetching(&self, ctx: &Context<P>) -> bool {
        !ctx.peers.is_empty() && self.download.is_arriving(ctx.now())
    }

    /// Whether bodies of a much longer branch are arriving, so that ours may turn out not to be the best one.
    pub(super) fn is_fetching_longer(&self, ctx: &Context<P>) -> bool {
        self.is_longer(ctx) && self.is_fetching(ctx)
    }

    /// Until when mining should wait for a much longer branch, because blocks mined on ours would be lost. A
    /// branch that is longer by a few blocks is no reason to wait: such blocks compete, and a peer could offer
    /// some repeatedly.
    pub(super) fn catching_up_until(&self, ctx: &Context<P>) -> Option<MonotonicMillis> {
        let until = self.download.catch_up_deadline();
        let waits = !ctx.peers.is_empty() && ctx.now() < until && self.is_longer(ctx);
        waits.then_some(until)
    }

    /// Whether the branch being fetched is longer than ours by more than a few blocks.
    fn is_longer(&self, ctx: &Context<P>) -> bool {
        let limit = ctx.tree.tip().index + COMPETING_BLOCKS;
        self.download
            .target()
            .is_some_and(|target| target.index > limit)
    }
}

fn cannot_give<P: Copy + Ord + Debug>(
    suppliers: &Suppliers<P>,
    peer: &P,
    hash: &BlockHash,
) -> bool {
    let supplier = suppliers.get(peer);
    supplier.is_some_and(|supplier| supplier.cannot_give(hash))
}

fn request<P: Copy + Ord + Debug>(ctx: &mut Context<P>, peer: P, hashes: Vec<BlockHash>) {
    let request = Request::Bodies {
        hashes: hashes.clone(),
    };
    ctx.request(peer, request, RequestKind::Bodies(hashes));
}
