//! Headers first: learning a better branch before any of its bodies.
//!
//! Headers are held as they come, while they are few or outweigh our branch. A branch that has not outweighed ours
//! after [`MAX_HEADERS_AHEAD`] of them is weighed first and held only if it is the heavier one (`weighing`).

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::fmt::Debug;

use chain::{
    hash::BlockHash,
    header::Header,
    time::MonotonicMillis,
    tree::{InsertError, MAX_SIDE_BLOCKS},
    validate::Condemns,
    work::Work,
};
use hashbrown::HashSet;

use super::{
    Machine,
    requests::Asked,
    weighing::{Mark, Unweighable, Weighing, pass_marks},
};
use crate::{
    config::{
        HEADER_TURN, MAX_HEADER_TURNS, MAX_HEADERS_AHEAD, MAX_MARKS, MAX_SHARED_HEADERS,
        UNAVAILABLE_PATIENCE,
    },
    message::{MAX_HEADERS, Request, StatusMessage},
    seam::DropReason,
};

/// One peer's headers on their way.
#[derive(Clone, Debug)]
pub(super) struct HeaderSync {
    /// What the peer claims of its branch; `None`: it claimed nothing, it only sent a block from it.
    claim: Option<StatusMessage>,
    /// The last header that is held, and its height.
    last: Option<(BlockHash, u64)>,
    /// How many headers off the best branch this sync has gone through in its present stage.
    held: usize,
    stage: Stage,
    /// Whether a request is open.
    asked: bool,
    /// Whether what is held of it outweighs our branch.
    heavier: bool,
    /// Until when it is this sync's turn; `None`: it waits for its next one.
    turn_ends: Option<MonotonicMillis>,
}

/// What becomes of a sync's headers.
#[derive(Clone, Debug)]
enum Stage {
    /// They are held as they come.
    Holding,
    /// Too many are held already: the rest is weighed first.
    Weighing(Box<Weighing>),
    /// They outweigh ours: those that were weighed are held now.
    Fetching(VecDeque<Mark>),
}

impl HeaderSync {
    fn new(claim: Option<StatusMessage>, turn_ends: MonotonicMillis) -> Self {
        Self {
            claim,
            last: None,
            held: 0,
            stage: Stage::Holding,
            asked: false,
            heavier: false,
            turn_ends: Some(turn_ends),
        }
    }

    /// Whether its branch was found to outweigh ours.
    fn is_heavier(&self) -> bool {
        self.heavier || matches!(self.stage, Stage::Fetching(_))
    }

    /// The last header that is held.
    pub(super) fn last(&self) -> Option<BlockHash> {
        self.last.map(|(hash, _)| hash)
    }

    /// The same, if what it belongs to was weighed and found heavier than ours.
    pub(super) fn promised(&self) -> Option<BlockHash> {
        match self.stage {
            Stage::Fetching(_) => self.last(),
            Stage::Holding | Stage::Weighing(_) => None,
        }
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// A number behind all that were given out: whose turn it was last goes to the back.
    pub(super) fn next_header_turn(&mut self) -> u64 {
        self.last_header_turn += 1;
        self.last_header_turn
    }

    /// Gives turns to peers that have more than we do, one after the other, and goes on with those whose turn it is.
    ///
    /// A turn is short, and [`MAX_HEADER_TURNS`] peers have one at a time. A sync whose turn ends waits for the next one
    /// with what it has. So a peer that is slow, or says nothing, holds up the others for one turn only; peer IDs
    /// are free, so a peer that comes back, under whatever ID, is behind all that are here.
    pub(super) fn settle_headers(&mut self) {
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
            if let Some(known) = self.peers.get_mut(&peer) {
                known.wants_headers = false;
            }
        }
        let waits = self.is_full_of_headers();
        let asking: Vec<P> = self
            .header_syncs
            .iter()
            .filter(|(_, sync)| !sync.asked && sync.turn_ends.is_some())
            // What comes of a lighter branch is bounded by itself, and weighing holds nothing.
            .filter(|(_, sync)| !waits || !sync.is_heavier())
            .map(|(peer, _)| *peer)
            .collect();
        for peer in asking {
            self.ask_headers(peer);
        }
    }

    /// Peers that could use a turn, the next one first: those that claim more than we have, and syncs between two turns.
    fn next_for_headers(&self) -> Vec<(u64, P, Option<StatusMessage>)> {
        let mut next: Vec<(u64, P, Option<StatusMessage>)> = self
            .peers
            .iter()
            .filter(|(_, known)| known.headers_from <= self.now)
            .filter_map(|(peer, known)| {
                let turn = known.header_turn;
                if let Some(sync) = self.header_syncs.get(peer) {
                    // One that still owes an answer would waste its turn.
                    let waits = sync.turn_ends.is_none() && !sync.asked;
                    return waits.then_some((turn, *peer, None));
                }
                let claim = known.status.filter(|status| {
                    self.is_better(status) && self.tree.block(&status.tip).is_none()
                });
                (claim.is_some() || known.wants_headers).then_some((turn, *peer, claim))
            })
            .collect();
        next.sort_unstable_by_key(|(turn, peer, _)| (*turn, *peer));
        next
    }

    /// Ends turns that are over, if another peer waits for one.
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
            if let Some(known) = self.peers.get_mut(&peer) {
                known.header_turn = turn;
            }
            if let Some(sync) = self.header_syncs.get_mut(&peer) {
                sync.turn_ends = None;
            }
        }
    }

    /// Header syncs whose turn it is.
    pub(super) fn header_turns(&self) -> usize {
        self.header_syncs
            .values()
            .filter(|sync| sync.turn_ends.is_some())
            .count()
    }

    /// When the next turn ends; it matters only where another peer waits, but costs nothing where none does.
    pub(super) fn header_turn_due(&self) -> Option<MonotonicMillis> {
        let ends = self.header_syncs.values().filter_map(|sync| sync.turn_ends);
        ends.filter(|at| *at > self.now).min()
    }

    /// Whether so many headers wait for their bodies that those of heavier branches wait, too.
    fn is_full_of_headers(&self) -> bool {
        let lighter: usize = self
            .header_syncs
            .values()
            .filter(|sync| !sync.is_heavier())
            .map(|sync| sync.held)
            .sum();
        self.tree.bodiless_blocks() >= MAX_HEADERS_AHEAD + lighter
    }

    /// Headers of a branch that does not outweigh ours that one sync may hold: the more syncs, the fewer.
    fn header_share(&self) -> usize {
        // The sync at hand is not among these.
        match self.header_syncs.len() + 1 {
            0..=MAX_HEADER_TURNS => MAX_HEADERS_AHEAD,
            many => (MAX_SHARED_HEADERS / many).max(MAX_HEADERS),
        }
    }

    fn ask_headers(&mut self, peer: P) {
        if !self
            .peers
            .get(&peer)
            .is_some_and(super::peer::Peer::may_be_asked)
        {
            return;
        }
        let Some(sync) = self.header_syncs.get_mut(&peer) else {
            return;
        };
        sync.asked = true;
        let locator = if let Stage::Weighing(weighing) = &sync.stage {
            alloc::vec![weighing.last().hash]
        } else {
            // Where no header came yet: what is known of the peer's branch may be more than our best one.
            let from = sync
                .last()
                .or_else(|| self.tree.heaviest_leaf(|_| false).map(|leaf| leaf.hash));
            self.tree
                .locator(&from.unwrap_or_else(|| self.tree.tip().hash))
        };
        self.ask(peer, &Request::Headers { locator }, Asked::Headers);
    }

    pub(super) fn headers_came(&mut self, peer: P, headers: &[Header]) {
        let Some(mut sync) = self.header_syncs.remove(&peer) else {
            return;
        };
        let came = match &mut sync.stage {
            Stage::Holding => self.hold_headers(&mut sync, headers),
            Stage::Weighing(weighing) => self.weigh_headers(weighing, headers),
            Stage::Fetching(_) => self.fetch_headers(&mut sync, headers),
        };
        match came {
            Ok(reached) => self.go_on(peer, sync, headers.len(), reached),
            Err(refused) => {
                match refused {
                    Refused::TooEarly => self.forget_claim(peer),
                    Refused::Lie(reason) => self.ban(peer, reason),
                    Refused::Useless => self.let_go(peer, DropReason::FalseClaim),
                }
                self.prune_many();
            }
        }
    }

    /// Keeps headers, as long as each stands on the one before; returns what their branch weighs.
    fn hold_headers(&mut self, sync: &mut HeaderSync, headers: &[Header]) -> Result<Work, Refused> {
        let now = self.latest_now();
        let mut new = 0;
        let mut previous = None;
        for header in headers {
            if previous.is_some_and(|hash| hash != header.prev_hash) {
                return Err(Refused::Lie(DropReason::WrongAnswer));
            }
            let inserted = match self.tree.insert_header(header, now) {
                Ok(inserted) => inserted,
                Err(error) => {
                    self.note_progress(new);
                    return Err(refused(&error));
                }
            };
            previous = Some(inserted.hash);
            new += usize::from(inserted.new);
            // What was here already, from an earlier try, counts all the same.
            let block = self.tree.block(&inserted.hash);
            sync.held += usize::from(block.is_some_and(|block| !block.on_best));
        }
        self.note_progress(new);
        let Some(info) = previous.and_then(|hash| self.tree.block(&hash)) else {
            return Ok(Work::ZERO);
        };
        if new == 0 && sync.last.is_some_and(|(_, height)| info.index <= height) {
            // The same again, or older ones: nothing would ever come of it.
            return Err(Refused::Useless);
        }
        sync.last = Some((info.hash, info.index));
        Ok(info.total_work)
    }

    fn note_progress(&mut self, new: usize) {
        if new > 0 {
            self.download.headers_came(self.now);
        }
    }

    /// Weighs headers without keeping them; returns what their branch weighs.
    fn weigh_headers(&self, weighing: &mut Weighing, headers: &[Header]) -> Result<Work, Refused> {
        match weighing.take(headers, self.latest_now()) {
            Ok(()) => Ok(weighing.total_work()),
            Err(Unweighable::Header(error)) if error.condemns() == Condemns::Nothing => {
                Err(Refused::TooEarly)
            }
            Err(Unweighable::Header(error)) => Err(Refused::Lie(DropReason::BadHeader(error))),
            Err(Unweighable::Elsewhere) => Err(Refused::Useless),
        }
    }

    /// Keeps headers that were weighed before; returns what their branch weighs.
    fn fetch_headers(
        &mut self,
        sync: &mut HeaderSync,
        headers: &[Header],
    ) -> Result<Work, Refused> {
        let (Stage::Fetching(marks), Some((last, _))) = (&mut sync.stage, sync.last) else {
            return Err(Refused::Useless);
        };
        let passed = pass_marks(marks, &last, headers)
            .filter(|passed| *passed > 0)
            .ok_or(Refused::Useless)?;
        let reached = self.hold_headers(sync, headers.get(..passed).unwrap_or(headers))?;
        if matches!(&sync.stage, Stage::Fetching(marks) if marks.is_empty()) {
            // Whatever comes now is judged like any other branch's.
            sync.stage = Stage::Holding;
            sync.held = 0;
        }
        Ok(reached)
    }

    /// Asks on, goes over to the next stage, ends the sync, or lets a peer go that does not have what it claims.
    fn go_on(&mut self, peer: P, mut sync: HeaderSync, count: usize, reached: Work) {
        let best = self.tree.tip().total_work;
        let at_its_end = count < MAX_HEADERS;
        sync.heavier = reached > best;
        if let (true, Some(known)) = (sync.heavier, self.peers.get_mut(&peer)) {
            known.gave_headers = true;
        }
        match sync.stage {
            Stage::Weighing(weighing) if reached > best => {
                sync.stage = Stage::Fetching(weighing.into_marks());
                self.download.tree_changed();
            }
            Stage::Weighing(ref weighing) if weighing.is_full() => {
                let limit = MAX_HEADERS_AHEAD + MAX_MARKS * MAX_HEADERS;
                self.let_go(peer, DropReason::EndlessHeaders { limit });
                return self.prune_many();
            }
            Stage::Holding
                if !at_its_end && sync.held >= self.header_share() && reached <= best =>
            {
                let held = sync
                    .last()
                    .and_then(|last| Some((self.tree.block(&last)?, self.tree.window(&last)?)));
                let Some((last, window)) = held else {
                    return;
                };
                sync.stage = Stage::Weighing(Weighing::behind(&last, window));
            }
            Stage::Fetching(_) => {}
            Stage::Holding | Stage::Weighing(_) if at_its_end => {
                // It may have gone over to a branch whose headers we have already.
                let heaviest = self.tree.heaviest_leaf(|_| false);
                let known = heaviest.map_or(best, |leaf| leaf.total_work);
                let short = sync.claim.is_some_and(|claim| {
                    reached.max(known) < claim.total_work && self.tree.block(&claim.tip).is_none()
                });
                if short {
                    self.let_go(peer, DropReason::FalseClaim);
                }
                return self.prune_many();
            }
            Stage::Holding | Stage::Weighing(_) => {}
        }
        sync.asked = false;
        self.header_syncs.insert(peer, sync);
    }

    /// Headers that came to nothing are let go of at once, if they are many.
    pub(super) fn prune_many(&mut self) {
        if self.tree.side_blocks() > MAX_SIDE_BLOCKS {
            self.prune();
        }
    }

    /// Nobody has the bodies of this branch. Of many headers without bodies none is held meanwhile, and whoever
    /// claims to have the branch is not asked for it again before the others had their turn.
    pub(super) fn forget_headers_of(&mut self, leaf: &BlockHash) {
        if self.tree.bodiless_blocks() <= MAX_SIDE_BLOCKS {
            return;
        }
        let until = self.now.saturating_add(UNAVAILABLE_PATIENCE);
        let forgotten: HashSet<BlockHash> = self.tree.forget_bodiless(leaf).into_iter().collect();
        let of_it = |hash: &BlockHash| forgotten.contains(hash);
        for (peer, known) in &mut self.peers {
            let last = self.header_syncs.get(peer).and_then(HeaderSync::last);
            let claims = known.status.is_some_and(|status| of_it(&status.tip));
            if claims || last.is_some_and(|last| of_it(&last)) {
                known.headers_from = until;
                self.header_syncs.remove(peer);
            }
        }
        self.download.tree_changed();
    }

    /// The claim is not worth acting on until the peer repeats it.
    pub(super) fn forget_claim(&mut self, peer: P) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.status = None;
        }
    }
}

/// Why headers were not taken.
enum Refused {
    /// One is ahead of the clock: it will be asked for again when the peer says again that it has more.
    TooEarly,
    /// The peer made it up.
    Lie(DropReason),
    /// It leads nowhere.
    Useless,
}

fn refused(error: &InsertError) -> Refused {
    match error {
        InsertError::Header(error) if error.condemns() == Condemns::Nothing => Refused::TooEarly,
        InsertError::HeldBack { .. } => Refused::TooEarly,
        InsertError::Header(error) => Refused::Lie(DropReason::BadHeader(*error)),
        InsertError::UnknownParent { .. } | InsertError::Condemned { .. } | _ => Refused::Useless,
    }
}
