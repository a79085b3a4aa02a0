//! Headers-first sync: a better branch is verified by its headers before any of its bodies are fetched.
//!
//! Cheap headers must not fill the memory. So headers are stored as they arrive only while they are few, or once their
//! branch has more work than ours. If a branch still has less after [`MAX_HEADERS_AHEAD`] headers, presync adds up the work
//! of the rest without storing it, and the headers are downloaded again only if that is enough (see `header_presync`).

use alloc::vec::Vec;
use core::fmt::Debug;

use hashbrown::HashSet;
use heartchain_chain::{
    compact_sort, hash::BlockHash, header::Header, time::MonotonicMillis, tree::InsertError,
    tree::MAX_SIDE_BLOCKS, validate::Invalidates, work::Work,
};
use litemap::LiteMap;

use super::{
    context::Context,
    follow_up::FollowUp,
    header_presync::{HeaderPresync, PresyncError, pass_checkpoints},
    header_sync::{HeaderSync, Stage},
    peers::Peer,
    requests::RequestKind,
};
use crate::{
    config::{
        HEADER_TURN, MAX_CHECKPOINTS, MAX_HEADER_TURNS, MAX_HEADERS_AHEAD, MAX_SHARED_HEADERS,
        UNAVAILABLE_PATIENCE,
    },
    io::DisconnectReason,
    message::{MAX_HEADERS, Request, StatusMessage},
};

/// The header syncs, and whose turn is next.
#[derive(Clone, Debug)]
pub(crate) struct Headers<P> {
    syncs: LiteMap<P, HeaderSync>,
    peers: LiteMap<P, Turn>,
    last_turn: u64,
}

/// When a peer gets a turn to send headers.
#[derive(Clone, Copy, Debug)]
struct Turn {
    /// The order of the peers, lowest first.
    number: u64,
    /// Its headers are not requested before this time, because no peer had the bodies of its last ones.
    retry_at: MonotonicMillis,
    /// Whether to ask for its headers whatever it claims, because it sent a block with an unknown parent.
    is_wanted: bool,
}

impl<P: Copy + Ord + Debug> Headers<P> {
    pub(super) const fn new() -> Self {
        Self {
            syncs: LiteMap::new(),
            peers: LiteMap::new(),
            last_turn: 0,
        }
    }

    /// A peer that reconnects goes to the back of the queue.
    pub(super) fn on_peer_connected(&mut self, peer: P, now: MonotonicMillis) {
        let turn = Turn {
            number: self.next_turn(),
            retry_at: now,
            is_wanted: false,
        };
        self.peers.insert(peer, turn);
    }

    pub(super) fn on_peer_gone(&mut self, ctx: &mut Context<P>, peer: &P) {
        self.peers.remove(peer);
        if self.syncs.remove(peer).is_some() {
            ctx.prune_if_over_limit();
        }
    }

    /// A peer did not answer a request for headers.
    pub(super) fn on_failed(&mut self, ctx: &mut Context<P>, peer: &P) {
        self.syncs.remove(peer);
        ctx.peers.forget_claim(peer);
        ctx.prune_if_over_limit();
    }

    /// Asks a peer for its headers whatever it claims.
    pub(super) fn want(&mut self, peer: &P) {
        if let Some(turn) = self.peers.get_mut(peer) {
            turn.is_wanted = true;
        }
    }

    /// How many header syncs are in progress.
    pub(crate) fn len(&self) -> usize {
        self.syncs.len()
    }

    /// The leaves of branches that header syncs are extending.
    pub(super) fn leaves(&self) -> impl Iterator<Item = BlockHash> {
        self.syncs.values().filter_map(HeaderSync::last)
    }

    /// The last stored header of a branch that passed presync and is now downloaded again.
    pub(super) fn redownload_leaf(&self) -> Option<BlockHash> {
        self.syncs.values().find_map(HeaderSync::redownload_leaf)
    }

    fn next_turn(&mut self) -> u64 {
        self.last_turn += 1;
        self.last_turn
    }

    /// Gives turns to peers that claim more work than we have, one after the other, and continues the syncs
    /// that have a turn.
    ///
    /// A turn is short, and at most [`MAX_HEADER_TURNS`] peers have one at a time. A sync whose turn ends keeps
    /// its state until its next turn. A slow or silent peer thus holds up the others for one turn only. Peer
    /// IDs are free, so a peer that reconnects, under whatever ID, goes behind all connected peers.
    pub(super) fn poll(&mut self, ctx: &mut Context<P>) {
        let next = self.next_peers(ctx);
        if !next.is_empty() {
            self.end_turns(ctx.now());
        }
        let taken = self.syncs.values().filter(|sync| sync.turn_ends.is_some());
        let free = MAX_HEADER_TURNS.saturating_sub(taken.count());
        let ends = ctx.now().saturating_add(HEADER_TURN);
        for (_, peer, claim) in next.into_iter().take(free) {
            if let Some(sync) = self.syncs.get_mut(&peer) {
                sync.turn_ends = Some(ends);
                continue;
            }
            self.syncs.insert(peer, HeaderSync::new(claim, ends));
            if let Some(turn) = self.peers.get_mut(&peer) {
                turn.is_wanted = false;
            }
        }
        let full = self.is_full(ctx);
        let ready: Vec<P> = self
            .syncs
            .iter()
            .filter(|(_, sync)| !sync.request_open && sync.turn_ends.is_some())
            // Lighter branches have their own bound, and presync stores nothing.
            .filter(|(_, sync)| !full || !sync.is_heavier())
            .map(|(peer, _)| *peer)
            .collect();
        for peer in ready {
            self.request(ctx, peer);
        }
    }

    /// Peers that could use a turn, in order: those that claim more work than we have, and syncs between two turns.
    fn next_peers(&self, ctx: &Context<P>) -> Vec<(u64, P, Option<StatusMessage>)> {
        let turns = self
            .peers
            .iter()
            .filter(|(_, turn)| turn.retry_at <= ctx.now());
        let mut next: Vec<(u64, P, Option<StatusMessage>)> = turns
            .filter_map(|(peer, turn)| {
                let number = turn.number;
                if let Some(sync) = self.syncs.get(peer) {
                    // A sync with an open request would waste its turn.
                    let waiting = sync.turn_ends.is_none() && !sync.request_open;
                    return waiting.then_some((number, *peer, None));
                }
                let claim = ctx.peers.get(peer)?.status().filter(|status| {
                    ctx.is_better(status) && ctx.tree.block(&status.tip).is_none()
                });
                (claim.is_some() || turn.is_wanted).then_some((number, *peer, claim))
            })
            .collect();
        compact_sort::sort_by_key(&mut next, |(turn, peer, _)| (*turn, *peer));
        next
    }

    /// Ends turns that have expired.
    fn end_turns(&mut self, now: MonotonicMillis) {
        for (peer, sync) in &mut self.syncs {
            if sync.turn_ends.take_if(|at| *at <= now).is_none() {
                continue;
            }
            self.last_turn += 1;
            if let Some(turn) = self.peers.get_mut(peer) {
                turn.number = self.last_turn;
            }
        }
    }

    /// When the next turn ends. This matters only if another peer waits for a turn, but waking up costs little.
    pub(super) fn next_deadline(&self, now: MonotonicMillis) -> Option<MonotonicMillis> {
        let ends = self.syncs.values().filter_map(|sync| sync.turn_ends);
        ends.filter(|at| *at > now).min()
    }

    /// Whether so many headers wait for their bodies that even heavier branches have to wait.
    fn is_full(&self, ctx: &Context<P>) -> bool {
        let lighter = self.syncs.values().filter(|sync| !sync.is_heavier());
        let lighter: usize = lighter.map(|sync| sync.side_headers).sum();
        ctx.tree.bodiless_blocks() >= MAX_HEADERS_AHEAD + lighter
    }

    /// How many headers of a branch with no more work than ours one sync may store. The more syncs, the fewer.
    fn share(&self) -> usize {
        // The current sync is not in `syncs` now.
        match self.syncs.len() + 1 {
            0..=MAX_HEADER_TURNS => MAX_HEADERS_AHEAD,
            many => (MAX_SHARED_HEADERS / many).max(MAX_HEADERS),
        }
    }

    fn request(&mut self, ctx: &mut Context<P>, peer: P) {
        let Some(sync) = self.syncs.get_mut(&peer) else {
            return;
        };
        if !ctx.peers.get(&peer).is_some_and(Peer::has_request_slot) {
            return;
        }
        sync.request_open = true;
        let locator = if let Stage::Presync(presync) = &sync.stage {
            alloc::vec![presync.last().hash]
        } else {
            // Before the first header, the heaviest known branch is the best guess: it may contain more of the
            // peer's branch than our best one.
            let heaviest = || ctx.tree.heaviest_leaf(|_| false).map(|leaf| leaf.hash);
            let from = sync.last().or_else(heaviest);
            ctx.tree
                .locator(&from.unwrap_or_else(|| ctx.tree.tip().hash))
        };
        ctx.request(peer, Request::Headers { locator }, RequestKind::Headers);
    }

    pub(super) fn on_headers(&mut self, ctx: &mut Context<P>, peer: P, headers: &[Header]) {
        let Some(mut sync) = self.syncs.remove(&peer) else {
            return;
        };
        let result = match &mut sync.stage {
            Stage::Direct => insert_headers(ctx, &mut sync, headers),
            Stage::Presync(presync) => presync_headers(ctx, presync, headers),
            Stage::Redownload(_) => redownload_headers(ctx, &mut sync, headers),
        };
        match result {
            Ok(reached) => self.go_on(ctx, peer, sync, headers.len(), reached),
            Err(rejection) => {
                match rejection {
                    Rejection::TooEarly => ctx.peers.forget_claim(&peer),
                    Rejection::Invalid(reason) => ctx.ban(peer, reason),
                    Rejection::Useless => ctx.drop_peer(peer, DisconnectReason::FalseClaim),
                }
                ctx.prune_if_over_limit();
            }
        }
    }

    /// Decides how a sync continues: the next request, the next stage, or its end. A peer without the branch
    /// that it claims is disconnected.
    fn go_on(
        &mut self,
        ctx: &mut Context<P>,
        peer: P,
        mut sync: HeaderSync,
        count: usize,
        reached: Work,
    ) {
        let best = ctx.tree.tip().total_work;
        let at_its_end = count < MAX_HEADERS;
        sync.heavier = reached > best;
        if sync.heavier {
            ctx.follow_up(FollowUp::BetterHeaders(peer));
        }
        match sync.stage {
            Stage::Presync(presync) if reached > best => {
                sync.stage = Stage::Redownload(presync.into_checkpoints());
                ctx.tree_changed();
            }
            Stage::Presync(ref presync) if presync.is_full() => {
                let limit = MAX_HEADERS_AHEAD + MAX_CHECKPOINTS * MAX_HEADERS;
                ctx.drop_peer(peer, DisconnectReason::LowWorkHeaders { limit });
                return ctx.prune_if_over_limit();
            }
            Stage::Direct
                if !at_its_end && sync.side_headers >= self.share() && reached <= best =>
            {
                let last = sync
                    .last()
                    .and_then(|last| Some((ctx.tree.block(&last)?, ctx.tree.window(&last)?)));
                let Some((last, window)) = last else {
                    return;
                };
                sync.stage = Stage::Presync(HeaderPresync::start_after(&last, window));
            }
            Stage::Redownload(_) => {}
            Stage::Direct | Stage::Presync(_) if at_its_end => {
                // The peer may have switched to a branch whose headers are stored already.
                let heaviest = ctx.tree.heaviest_leaf(|_| false);
                let heaviest_work = heaviest.map_or(best, |leaf| leaf.total_work);
                let short = sync.claim.is_some_and(|claim| {
                    reached.max(heaviest_work) < claim.total_work
                        && ctx.tree.block(&claim.tip).is_none()
                });
                if short {
                    ctx.drop_peer(peer, DisconnectReason::FalseClaim);
                }
                return ctx.prune_if_over_limit();
            }
            Stage::Direct | Stage::Presync(_) => {}
        }
        sync.request_open = false;
        self.syncs.insert(peer, sync);
    }

    /// Reacts to a branch whose bodies no peer has. If there are many headers without bodies, those of this
    /// branch are removed, and peers that claim to have it are not asked for headers before others had their turn.
    pub(super) fn forget_branch(&mut self, ctx: &mut Context<P>, leaf: &BlockHash) {
        if ctx.tree.bodiless_blocks() <= MAX_SIDE_BLOCKS {
            return;
        }
        let until = ctx.now().saturating_add(UNAVAILABLE_PATIENCE);
        let forgotten: HashSet<BlockHash> = ctx.tree.remove_bodiless(leaf).into_iter().collect();
        for (peer, turn) in &mut self.peers {
            let last = self.syncs.get(peer).and_then(HeaderSync::last);
            let status = ctx.peers.get(peer).and_then(Peer::status);
            let tips = status.map(|status| status.tip).into_iter().chain(last);
            if tips.into_iter().any(|tip| forgotten.contains(&tip)) {
                turn.retry_at = until;
                self.syncs.remove(peer);
            }
        }
        ctx.tree_changed();
    }
}

/// Stores headers that form a chain. Returns the total work of their branch.
fn insert_headers<P: Copy + Ord + Debug>(
    ctx: &mut Context<P>,
    sync: &mut HeaderSync,
    headers: &[Header],
) -> Result<Work, Rejection> {
    let now = ctx.clock.latest();
    let mut new = 0;
    let mut previous = None;
    for header in headers {
        if previous.is_some_and(|hash| hash != header.prev_hash) {
            return Err(Rejection::Invalid(DisconnectReason::WrongAnswer));
        }
        let inserted = match ctx.tree.insert_header(header, now) {
            Ok(inserted) => inserted,
            Err(error) => {
                mark_progress(ctx, new);
                return Err(rejection(&error));
            }
        };
        previous = Some(inserted.hash);
        new += usize::from(inserted.new);
        // Headers that an earlier attempt stored count as well.
        let block = ctx.tree.block(&inserted.hash);
        sync.side_headers += usize::from(block.is_some_and(|block| !block.on_best));
    }
    mark_progress(ctx, new);
    let Some(info) = previous.and_then(|hash| ctx.tree.block(&hash)) else {
        return Ok(Work::ZERO);
    };
    if new == 0 && sync.last.is_some_and(|(_, height)| info.index <= height) {
        // Headers that were sent before, or older ones: the sync would never end.
        return Err(Rejection::Useless);
    }
    sync.last = Some((info.hash, info.index));
    Ok(info.total_work)
}

fn mark_progress<P: Copy + Ord + Debug>(ctx: &mut Context<P>, new: usize) {
    if new > 0 {
        ctx.tree_changed();
        ctx.follow_up(FollowUp::NewHeaders);
    }
}

/// Verifies headers without storing them. Returns the total work of their branch so far.
fn presync_headers<P>(
    ctx: &Context<P>,
    presync: &mut HeaderPresync,
    headers: &[Header],
) -> Result<Work, Rejection> {
    match presync.take(headers, ctx.clock.latest()) {
        Ok(()) => Ok(presync.total_work()),
        Err(PresyncError::Header(error)) if error.invalidates() == Invalidates::Nothing => {
            Err(Rejection::TooEarly)
        }
        Err(PresyncError::Header(error)) => {
            Err(Rejection::Invalid(DisconnectReason::BadHeader(error)))
        }
        Err(PresyncError::NotConnected) => Err(Rejection::Useless),
    }
}

/// Stores headers that passed presync before. Returns the total work of their branch so far.
fn redownload_headers<P: Copy + Ord + Debug>(
    ctx: &mut Context<P>,
    sync: &mut HeaderSync,
    headers: &[Header],
) -> Result<Work, Rejection> {
    let (Stage::Redownload(checkpoints), Some((last, _))) = (&mut sync.stage, sync.last) else {
        return Err(Rejection::Useless);
    };
    let passed = pass_checkpoints(checkpoints, &last, headers)
        .filter(|passed| *passed > 0)
        .ok_or(Rejection::Useless)?;
    let reached = insert_headers(ctx, sync, headers.get(..passed).unwrap_or(headers))?;
    if matches!(&sync.stage, Stage::Redownload(checkpoints) if checkpoints.is_empty()) {
        // All presynced headers are stored. Further ones are treated like those of any other branch.
        sync.stage = Stage::Direct;
        sync.side_headers = 0;
    }
    Ok(reached)
}

/// Why headers were not accepted.
enum Rejection {
    /// A header is ahead of the clock. It is requested again when the peer claims more work again.
    TooEarly,
    /// A header or the answer breaks a rule.
    Invalid(DisconnectReason),
    /// The headers do not lead to a better branch.
    Useless,
}

fn rejection(error: &InsertError) -> Rejection {
    match error {
        InsertError::Header(error) if error.invalidates() == Invalidates::Nothing => {
            Rejection::TooEarly
        }
        InsertError::HeldBack { .. } => Rejection::TooEarly,
        InsertError::Header(error) => Rejection::Invalid(DisconnectReason::BadHeader(*error)),
        InsertError::UnknownParent { .. } | InsertError::Invalid { .. } | _ => Rejection::Useless,
    }
}
