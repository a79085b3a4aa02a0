//! Headers-first sync: a better branch is verified by its headers before any of its bodies are fetched.
//!
//! Cheap headers must not fill the memory. So headers are stored as they arrive only while they are few, or once their
//! branch has more work than ours. If a branch still has less after [`MAX_HEADERS_AHEAD`] headers, presync adds up the work
//! of the rest without storing it, and the headers are downloaded again only if that is enough (see `header_presync`).

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::fmt::Debug;

use hashbrown::HashSet;
use heartchain_chain::{
    hash::BlockHash,
    header::Header,
    time::MonotonicMillis,
    tree::{InsertError, MAX_SIDE_BLOCKS},
    validate::Invalidates,
    work::Work,
};

use super::{
    Machine,
    header_presync::{Checkpoint, HeaderPresync, PresyncError, pass_checkpoints},
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

/// The header sync with one peer.
#[derive(Clone, Debug)]
pub(super) struct HeaderSync {
    /// What the peer claims about its branch. `None` if it claims nothing and only sent a block of the branch.
    claim: Option<StatusMessage>,
    /// The last stored header and its height.
    last: Option<(BlockHash, u64)>,
    /// Headers off the best branch that this sync has processed in its current stage.
    side_headers: usize,
    stage: Stage,
    /// Whether a request is open.
    request_open: bool,
    /// Whether the headers stored so far have more work than our branch.
    heavier: bool,
    /// The end of this sync's turn. `None` while it waits for its next turn.
    turn_ends: Option<MonotonicMillis>,
}

/// What happens to the headers of a sync.
#[derive(Clone, Debug)]
enum Stage {
    /// They are stored as they arrive.
    Direct,
    /// Too many are stored already. The rest is verified without being stored, to find out how much work it has.
    Presync(Box<HeaderPresync>),
    /// Presync found more work than in our branch. The same headers are requested again, and stored.
    Redownload(VecDeque<Checkpoint>),
}

impl HeaderSync {
    fn new(claim: Option<StatusMessage>, turn_ends: MonotonicMillis) -> Self {
        Self {
            claim,
            last: None,
            side_headers: 0,
            stage: Stage::Direct,
            request_open: false,
            heavier: false,
            turn_ends: Some(turn_ends),
        }
    }

    /// Whether its branch was found to have more work than ours.
    fn is_heavier(&self) -> bool {
        self.heavier || matches!(self.stage, Stage::Redownload(_))
    }

    /// The last stored header.
    pub(super) fn last(&self) -> Option<BlockHash> {
        self.last.map(|(hash, _)| hash)
    }

    /// The last stored header of a branch that passed presync and is now downloaded again.
    pub(super) fn redownload_leaf(&self) -> Option<BlockHash> {
        match self.stage {
            Stage::Redownload(_) => self.last(),
            Stage::Direct | Stage::Presync(_) => None,
        }
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Returns the next turn number. A peer that had a turn goes to the back with it.
    pub(super) fn next_header_turn(&mut self) -> u64 {
        self.last_header_turn += 1;
        self.last_header_turn
    }

    /// Gives turns to peers that claim more work than we have, one after the other, and continues the syncs
    /// that have a turn.
    ///
    /// A turn is short, and at most [`MAX_HEADER_TURNS`] peers have one at a time. A sync whose turn ends keeps
    /// its state until its next turn. A slow or silent peer thus holds up the others for one turn only. Peer
    /// IDs are free, so a peer that reconnects, under whatever ID, goes behind all connected peers.
    pub(super) fn update_header_syncs(&mut self) {
        let next = self.next_for_headers();
        self.end_header_turns(!next.is_empty());
        let taken = self.header_turns();
        let free = MAX_HEADER_TURNS.saturating_sub(taken);
        let ends = self.now.saturating_add(HEADER_TURN);
        for (_, peer, claim) in next.into_iter().take(free) {
            if let Some(sync) = self.header_syncs.get_mut(&peer) {
                sync.turn_ends = Some(ends);
                continue;
            }
            self.header_syncs.insert(peer, HeaderSync::new(claim, ends));
            if let Some(state) = self.peers.get_mut(&peer) {
                state.wants_headers = false;
            }
        }
        let full = self.is_full_of_headers();
        let ready: Vec<P> = self
            .header_syncs
            .iter()
            .filter(|(_, sync)| !sync.request_open && sync.turn_ends.is_some())
            // Lighter branches have their own bound, and presync stores nothing.
            .filter(|(_, sync)| !full || !sync.is_heavier())
            .map(|(peer, _)| *peer)
            .collect();
        for peer in ready {
            self.request_headers(peer);
        }
    }

    /// Peers that could use a turn, in order: those that claim more work than we have, and syncs between two turns.
    fn next_for_headers(&self) -> Vec<(u64, P, Option<StatusMessage>)> {
        let mut next: Vec<(u64, P, Option<StatusMessage>)> = self
            .peers
            .iter()
            .filter(|(_, state)| state.headers_retry_at <= self.now)
            .filter_map(|(peer, state)| {
                let turn = state.header_turn;
                if let Some(sync) = self.header_syncs.get(peer) {
                    // A sync with an open request would waste its turn.
                    let waiting = sync.turn_ends.is_none() && !sync.request_open;
                    return waiting.then_some((turn, *peer, None));
                }
                let claim = state.status.filter(|status| {
                    self.is_better(status) && self.tree.block(&status.tip).is_none()
                });
                (claim.is_some() || state.wants_headers).then_some((turn, *peer, claim))
            })
            .collect();
        next.sort_unstable_by_key(|(turn, peer, _)| (*turn, *peer));
        next
    }

    /// Ends turns that have expired, if another peer waits for one.
    fn end_header_turns(&mut self, another_waits: bool) {
        if !another_waits {
            return;
        }
        let now = self.now;
        let over: Vec<P> = self
            .header_syncs
            .iter()
            .filter(|(_, sync)| sync.turn_ends.is_some_and(|at| at <= now))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in over {
            let turn = self.next_header_turn();
            if let Some(state) = self.peers.get_mut(&peer) {
                state.header_turn = turn;
            }
            if let Some(sync) = self.header_syncs.get_mut(&peer) {
                sync.turn_ends = None;
            }
        }
    }

    /// How many header syncs have a turn.
    pub(super) fn header_turns(&self) -> usize {
        self.header_syncs
            .values()
            .filter(|sync| sync.turn_ends.is_some())
            .count()
    }

    /// When the next turn ends. This matters only if another peer waits for a turn, but waking up costs little.
    pub(super) fn header_turn_due(&self) -> Option<MonotonicMillis> {
        let ends = self.header_syncs.values().filter_map(|sync| sync.turn_ends);
        ends.filter(|at| *at > self.now).min()
    }

    /// Whether so many headers wait for their bodies that even heavier branches have to wait.
    fn is_full_of_headers(&self) -> bool {
        let lighter: usize = self
            .header_syncs
            .values()
            .filter(|sync| !sync.is_heavier())
            .map(|sync| sync.side_headers)
            .sum();
        self.tree.bodiless_blocks() >= MAX_HEADERS_AHEAD + lighter
    }

    /// How many headers of a branch with no more work than ours one sync may store. The more syncs, the fewer.
    fn header_share(&self) -> usize {
        // The current sync is not in `header_syncs` now.
        match self.header_syncs.len() + 1 {
            0..=MAX_HEADER_TURNS => MAX_HEADERS_AHEAD,
            many => (MAX_SHARED_HEADERS / many).max(MAX_HEADERS),
        }
    }

    fn request_headers(&mut self, peer: P) {
        if !self
            .peers
            .get(&peer)
            .is_some_and(super::peer::PeerState::has_request_slot)
        {
            return;
        }
        let Some(sync) = self.header_syncs.get_mut(&peer) else {
            return;
        };
        sync.request_open = true;
        let locator = if let Stage::Presync(presync) = &sync.stage {
            alloc::vec![presync.last().hash]
        } else {
            // Before the first header, the heaviest known branch is the best guess: it may contain more of the
            // peer's branch than our best one.
            let from = sync
                .last()
                .or_else(|| self.tree.heaviest_leaf(|_| false).map(|leaf| leaf.hash));
            self.tree
                .locator(&from.unwrap_or_else(|| self.tree.tip().hash))
        };
        self.send_request(peer, &Request::Headers { locator }, RequestKind::Headers);
    }

    pub(super) fn on_headers(&mut self, peer: P, headers: &[Header]) {
        let Some(mut sync) = self.header_syncs.remove(&peer) else {
            return;
        };
        let result = match &mut sync.stage {
            Stage::Direct => self.insert_headers(&mut sync, headers),
            Stage::Presync(presync) => self.presync_headers(presync, headers),
            Stage::Redownload(_) => self.redownload_headers(&mut sync, headers),
        };
        match result {
            Ok(reached) => self.continue_header_sync(peer, sync, headers.len(), reached),
            Err(rejection) => {
                match rejection {
                    Rejection::TooEarly => self.forget_claim(peer),
                    Rejection::Invalid(reason) => self.ban(peer, reason),
                    Rejection::Useless => self.drop_peer(peer, DisconnectReason::FalseClaim),
                }
                self.prune_if_over_limit();
            }
        }
    }

    /// Stores headers that form a chain. Returns the total work of their branch.
    fn insert_headers(
        &mut self,
        sync: &mut HeaderSync,
        headers: &[Header],
    ) -> Result<Work, Rejection> {
        let now = self.latest_now();
        let mut new = 0;
        let mut previous = None;
        for header in headers {
            if previous.is_some_and(|hash| hash != header.prev_hash) {
                return Err(Rejection::Invalid(DisconnectReason::WrongAnswer));
            }
            let inserted = match self.tree.insert_header(header, now) {
                Ok(inserted) => inserted,
                Err(error) => {
                    self.mark_progress(new);
                    return Err(rejection(&error));
                }
            };
            previous = Some(inserted.hash);
            new += usize::from(inserted.new);
            // Headers that an earlier attempt stored count as well.
            let block = self.tree.block(&inserted.hash);
            sync.side_headers += usize::from(block.is_some_and(|block| !block.on_best));
        }
        self.mark_progress(new);
        let Some(info) = previous.and_then(|hash| self.tree.block(&hash)) else {
            return Ok(Work::ZERO);
        };
        if new == 0 && sync.last.is_some_and(|(_, height)| info.index <= height) {
            // Headers that were sent before, or older ones: the sync would never end.
            return Err(Rejection::Useless);
        }
        sync.last = Some((info.hash, info.index));
        Ok(info.total_work)
    }

    fn mark_progress(&mut self, new: usize) {
        if new > 0 {
            self.download.on_headers(self.now);
        }
    }

    /// Verifies headers without storing them. Returns the total work of their branch so far.
    fn presync_headers(
        &self,
        presync: &mut HeaderPresync,
        headers: &[Header],
    ) -> Result<Work, Rejection> {
        match presync.take(headers, self.latest_now()) {
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
    fn redownload_headers(
        &mut self,
        sync: &mut HeaderSync,
        headers: &[Header],
    ) -> Result<Work, Rejection> {
        let (Stage::Redownload(checkpoints), Some((last, _))) = (&mut sync.stage, sync.last) else {
            return Err(Rejection::Useless);
        };
        let passed = pass_checkpoints(checkpoints, &last, headers)
            .filter(|passed| *passed > 0)
            .ok_or(Rejection::Useless)?;
        let reached = self.insert_headers(sync, headers.get(..passed).unwrap_or(headers))?;
        if matches!(&sync.stage, Stage::Redownload(checkpoints) if checkpoints.is_empty()) {
            // All presynced headers are stored. Further ones are treated like those of any other branch.
            sync.stage = Stage::Direct;
            sync.side_headers = 0;
        }
        Ok(reached)
    }

    /// Decides how a sync continues: the next request, the next stage, or its end. A peer without the branch
    /// that it claims is disconnected.
    fn continue_header_sync(&mut self, peer: P, mut sync: HeaderSync, count: usize, reached: Work) {
        let best = self.tree.tip().total_work;
        let at_its_end = count < MAX_HEADERS;
        sync.heavier = reached > best;
        if let (true, Some(state)) = (sync.heavier, self.peers.get_mut(&peer)) {
            state.gave_better_headers = true;
        }
        match sync.stage {
            Stage::Presync(presync) if reached > best => {
                sync.stage = Stage::Redownload(presync.into_checkpoints());
                self.download.tree_changed();
            }
            Stage::Presync(ref presync) if presync.is_full() => {
                let limit = MAX_HEADERS_AHEAD + MAX_CHECKPOINTS * MAX_HEADERS;
                self.drop_peer(peer, DisconnectReason::LowWorkHeaders { limit });
                return self.prune_if_over_limit();
            }
            Stage::Direct
                if !at_its_end && sync.side_headers >= self.header_share() && reached <= best =>
            {
                let last = sync
                    .last()
                    .and_then(|last| Some((self.tree.block(&last)?, self.tree.window(&last)?)));
                let Some((last, window)) = last else {
                    return;
                };
                sync.stage = Stage::Presync(HeaderPresync::start_after(&last, window));
            }
            Stage::Redownload(_) => {}
            Stage::Direct | Stage::Presync(_) if at_its_end => {
                // The peer may have switched to a branch whose headers are stored already.
                let heaviest = self.tree.heaviest_leaf(|_| false);
                let heaviest_work = heaviest.map_or(best, |leaf| leaf.total_work);
                let short = sync.claim.is_some_and(|claim| {
                    reached.max(heaviest_work) < claim.total_work
                        && self.tree.block(&claim.tip).is_none()
                });
                if short {
                    self.drop_peer(peer, DisconnectReason::FalseClaim);
                }
                return self.prune_if_over_limit();
            }
            Stage::Direct | Stage::Presync(_) => {}
        }
        sync.request_open = false;
        self.header_syncs.insert(peer, sync);
    }

    /// Prunes at once if abandoned headers exceed the limit.
    pub(super) fn prune_if_over_limit(&mut self) {
        if self.tree.side_blocks() > MAX_SIDE_BLOCKS {
            self.prune();
        }
    }

    /// Reacts to a branch whose bodies no peer has. If there are many headers without bodies, those of this
    /// branch are removed, and peers that claim to have it are not asked for headers before others had their turn.
    pub(super) fn forget_headers_of(&mut self, leaf: &BlockHash) {
        if self.tree.bodiless_blocks() <= MAX_SIDE_BLOCKS {
            return;
        }
        let until = self.now.saturating_add(UNAVAILABLE_PATIENCE);
        let forgotten: HashSet<BlockHash> = self.tree.remove_bodiless(leaf).into_iter().collect();
        let of_it = |hash: &BlockHash| forgotten.contains(hash);
        for (peer, state) in &mut self.peers {
            let last = self.header_syncs.get(peer).and_then(HeaderSync::last);
            let claims = state.status.is_some_and(|status| of_it(&status.tip));
            if claims || last.is_some_and(|last| of_it(&last)) {
                state.headers_retry_at = until;
                self.header_syncs.remove(peer);
            }
        }
        self.download.tree_changed();
    }

    /// Ignores a peer's claim until the peer repeats it.
    pub(super) fn forget_claim(&mut self, peer: P) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.status = None;
        }
    }
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
