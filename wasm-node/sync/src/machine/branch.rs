//! Changes of the tree that the mempool follows: new bodies, a better branch, blocks that are invalid or ahead of the clock.
//!
//! The tree and the mempool change together. Everything else follows through [`FollowUp`]s.

use alloc::{boxed::Box, vec::Vec};
use core::fmt::Debug;

use heartchain_chain::{
    block::{Block, BodyError, check_body, check_root},
    hash::BlockHash,
    reading::Reading,
    tree::{Advance, Invalidated, MAX_SIDE_BLOCKS, SequenceError, Switch},
    validate::Invalidates,
};

use super::{context::Context, follow_up::FollowUp};
use crate::io::{DisconnectReason, Event, StoreOperation};

impl<P: Copy + Ord + Debug> Context<P> {
    /// Verifies a body against its header (Merkle root, fields, signatures, number of readings) and inserts it
    /// into the tree. Returns how to store it, if it is new or was missing.
    pub(super) fn insert_body(
        &mut self,
        hash: &BlockHash,
        readings: Vec<Reading>,
    ) -> Result<Option<StoreOperation>, BodyError> {
        let Some(header) = self.tree.header(hash) else {
            return Ok(None);
        };
        let was_lost = self.lost_bodies.contains(hash);
        if !was_lost && self.tree.block(hash).is_some_and(|info| info.has_body) {
            // An invalid body must be noticed even if gossip delivered the valid one first.
            return check_root(&header, &readings).map(|()| None);
        }
        let room = self.room();
        let mempool = &self.mempool;
        // The check compares this root with that of the readings first.
        let root = &header.readings_root;
        let is_verified = self
            .verified
            .as_ref()
            .is_some_and(|proof| proof.covers(room, root));
        if let Err(error) = check_body(
            room,
            &header,
            &readings,
            |reading| is_verified || mempool.contains_exact(reading),
            &mut self.rng,
        ) {
            if error.invalidates() == Invalidates::Descendants {
                self.invalidate(hash);
            }
            return Err(error);
        }
        if was_lost && self.lost_bodies.remove(hash) {
            self.emit(Event::Status);
        } else {
            self.tree.insert_checked_body(hash, &readings);
            self.tree_changed();
        }
        Ok(Some(StoreOperation::PutBlock(
            *hash,
            Block { header, readings },
        )))
    }

    /// Switches to the best branch with all bodies in memory or storage. A new tip is announced by Status.
    pub(super) fn advance(&mut self) {
        let advance = self.tree.advance();
        self.apply_advance(advance, true);
    }

    /// The same after these blocks arrived. If gossip announced one of them and it becomes the tip, it is not announced again.
    /// Returns why one of them is invalid, if one is.
    pub(super) fn advance_with(
        &mut self,
        new: &[BlockHash],
        by_gossip: bool,
    ) -> Option<SequenceError> {
        let advance = self.tree.advance();
        let error = advance
            .invalid
            .iter()
            .find(|invalid| invalid.removed.hashes.iter().any(|hash| new.contains(hash)))
            .map(|invalid| invalid.error);
        let is_announced = by_gossip && new.contains(&self.tree.tip().hash);
        self.apply_advance(advance, !is_announced);
        error
    }

    /// Follows an advance of the tree. Peers that lied are banned last: what follows from a ban may prune side blocks, so the
    /// blocks that left the best branch must be protected before.
    fn apply_advance(&mut self, advance: Advance, announce: bool) {
        let mut liars = Vec::new();
        for Invalidated { error, removed } in advance.invalid {
            // A peer's Status covers only its fully validated branch, so these peers lied.
            let statuses = self.peers.statuses();
            let lied = statuses.filter(|(_, status)| removed.hashes.contains(&status.tip));
            liars.extend(lied.map(|(peer, _)| (peer, error)));
            self.follow_up(FollowUp::Delete(removed.with_body));
            self.tree_changed();
        }
        if let Some(switch) = advance.switch {
            self.follow_switch(switch, announce);
        }
        for (peer, error) in liars {
            self.ban(peer, DisconnectReason::BadSequence(error));
        }
    }

    /// Marks a block and its descendants as invalid.
    pub(super) fn invalidate(&mut self, hash: &BlockHash) {
        let removed = self.tree.invalidate(hash);
        self.follow_up(FollowUp::Delete(removed.with_body));
        self.tree_changed();
    }

    /// Marks a block's body as missing: it is fetched if its branch turns out to be the better one. If it was on the best
    /// branch, that branch ends below it.
    pub(super) fn leave_body(&mut self, hash: &BlockHash) {
        if let Some(switch) = self.tree.mark_body_missing(hash) {
            self.follow_switch(switch, true);
        }
        self.tree_changed();
    }

    /// Blocks that are ahead of the clock leave the best branch until they are due.
    pub(super) fn hold_back_early_blocks(&mut self) {
        let confirmed = self.tree.best_hash(self.tree.confirmed_index());
        if let Some(switch) = self.tree.hold_back(self.clock.latest()) {
            if let Some(hash) = confirmed.filter(|hash| self.tree.is_held_back(hash)) {
                self.follow_up(FollowUp::ConfirmedHeldBack(hash));
            }
            self.follow_switch(switch, true);
        }
        self.tree_changed();
        self.follow_up(FollowUp::Advance);
    }

    /// Has side blocks pruned at once if abandoned headers exceed the limit.
    pub(super) fn prune_if_over_limit(&mut self) {
        if self.tree.side_blocks() > MAX_SIDE_BLOCKS {
            self.follow_up(FollowUp::Prune);
        }
    }

    /// Tells the mempool which sequence numbers are next. Readings of blocks that left return to it later, when they are read.
    fn follow_switch(&mut self, switch: Switch, announce: bool) {
        debug_assert!(
            !self.follow_ups().iter().any(FollowUp::may_prune),
            "blocks that left the best branch could be pruned before they are protected"
        );
        let tip = self.tree.tip().index;
        for moved in &switch.disconnected {
            for entry in moved.entries.iter().rev() {
                self.mempool.on_disconnected(&entry.author, entry.seq);
            }
        }
        for entry in switch.connected.iter().flat_map(|moved| &moved.entries) {
            let (author, seq) = (entry.author, entry.seq);
            let mempool = &mut self.mempool;
            let replaced = mempool.on_connected(&author, seq, entry.prefix, tip);
            if replaced.is_some() {
                self.follow_up(FollowUp::Equivocation { author, seq });
            }
        }
        let switch = Box::new(switch);
        self.follow_up(FollowUp::Switched { switch, announce });
    }

    /// Returns readings to the mempool whose sequence number the best branch no longer gives to another reading.
    pub(super) fn return_displaced(&mut self) {
        let tip = self.tree.tip().index;
        let tree = &self.tree;
        let next_seq = |author: &_| tree.next_seq(author);
        for reading in self.mempool.take_minable_displaced(tip, next_seq) {
            if !self.return_to_mempool(&reading) {
                // There was room for it until a moment ago.
                let id = reading.id(self.room());
                let _ = self.mempool.keep_displaced(&reading, id, tip);
            }
        }
    }
}
