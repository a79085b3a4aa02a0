//! Activating a better branch. Readings that it lacks return through `reorg_recovery`.
//!
//! No confirmed reading is lost: a confirmed block that leaves the best branch is protected in the same
//! transaction as the switch. Other blocks stay on disk while the tree keeps them.

use alloc::vec::Vec;
use core::fmt::Debug;

use heartchain_chain::{
    hash::BlockHash,
    tree::{Advance, Invalidated, SequenceError, Switch},
};

use super::{Machine, headers::HeaderSync};
use crate::io::{DisconnectReason, Event, Output, StoreOperation};

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Switches to the best branch with all bodies in memory or storage. A new tip is announced by Status.
    pub(super) fn advance(&mut self) {
        let advance = self.tree.advance();
        if advance.switch.is_some() {
            self.mempool_sync.announce();
        }
        self.apply_advance(advance);
    }

    /// The same after a block arrived by gossip. If that block becomes the tip, gossip announces it already.
    /// Returns why the block is invalid, if it is.
    pub(super) fn advance_after_gossip(&mut self, hash: &BlockHash) -> Option<SequenceError> {
        let advance = self.tree.advance();
        if advance.switch.is_some() && self.tree.tip().hash != *hash {
            self.mempool_sync.announce();
        }
        let error = advance
            .invalid
            .iter()
            .find(|invalid| invalid.removed.hashes.contains(hash))
            .map(|invalid| invalid.error);
        self.apply_advance(advance);
        error
    }

    /// Marks a block and its descendants as invalid.
    pub(super) fn invalidate(&mut self, hash: &BlockHash) {
        let removed = self.tree.invalidate(hash);
        self.delete_blocks(removed.with_body);
        self.download.tree_changed();
    }

    pub(super) fn apply_advance(&mut self, advance: Advance) {
        for Invalidated { error, removed } in advance.invalid {
            let liars: Vec<P> = self
                .peers
                .iter()
                .filter(|(_, state)| {
                    state
                        .status
                        .is_some_and(|status| removed.hashes.contains(&status.tip))
                })
                .map(|(peer, _)| *peer)
                .collect();
            self.delete_blocks(removed.with_body);
            self.download.tree_changed();
            // A peer's Status covers only its fully validated branch, so these peers lied.
            for peer in liars {
                self.ban(peer, DisconnectReason::BadSequence(error));
            }
        }
        if let Some(switch) = advance.switch {
            self.apply_switch(&switch);
        }
    }

    pub(super) fn apply_switch(&mut self, switch: &Switch) {
        let tip = self.tree.tip();
        for moved in &switch.disconnected {
            for entry in moved.entries.iter().rev() {
                self.mempool.on_disconnected(&entry.author, entry.seq);
                self.journal.heights.unlinked(&entry.author);
                self.journal.on_unlinked(&entry.author, entry.seq);
            }
        }
        let seen = self.seen_now();
        for (index, moved) in (switch.fork_index + 1..).zip(&switch.connected) {
            for entry in &moved.entries {
                self.journal.heights.linked(&entry.author, index);
                let (author, seq) = (entry.author, entry.seq);
                if self
                    .mempool
                    .on_connected(&author, seq, entry.prefix, tip.index)
                    .is_some()
                {
                    self.emit_equivocation(author, seq);
                }
                self.journal.on_linked(&author, seq, entry.prefix, seen);
            }
        }
        self.missing_bodies.set_written_tip(None);
        let mut operations = alloc::vec![StoreOperation::PutTip(tip.hash)];
        // Lowest first, so that an author's readings return in the order of their sequence numbers.
        let left = switch.disconnected.iter().rev().map(|moved| moved.hash);
        let confirmed = self.confirmation.index().saturating_sub(switch.fork_index);
        let many = usize::try_from(confirmed).unwrap_or(usize::MAX);
        operations.extend(left.clone().take(many).map(StoreOperation::PutRecovery));
        operations.extend(self.first_put_confirmed());
        self.write(operations, false);
        self.queue_for_recovery(left.clone().take(many), true);
        self.queue_for_recovery(left.skip(many), false);
        if !switch.disconnected.is_empty() {
            self.confirmation.rewind_to(switch.fork_index);
        }
        self.prune();
        let tree = &self.tree;
        for reading in self
            .mempool
            .take_minable_displaced(tip.index, |author| tree.next_seq(author))
        {
            if !self.return_to_mempool(&reading) {
                // There was room for it until a moment ago.
                let id = reading.id(self.tree.room().id());
                let _ = self.mempool.keep_displaced(&reading, id, tip.index);
            }
        }
        let statuses = self.peers.values().filter_map(|state| state.status);
        let tips: Vec<BlockHash> = statuses.map(|status| status.tip).collect();
        for tip in tips {
            self.mark_shared(&tip);
        }
        self.journal.request_refill();
        self.mining.tip_changed();
        self.download.tree_changed();
        self.outputs.push(Output::Emit(Event::Chain {
            // If no block joined, the page shows the new tip.
            from: (switch.fork_index + 1).min(tip.index),
            to: tip.index,
            reorg: !switch.disconnected.is_empty(),
        }));
    }

    /// Deletes blocks that are no longer in the tree, unless they are protected.
    pub(super) fn delete_blocks(&mut self, hashes: Vec<BlockHash>) {
        let operations: Vec<StoreOperation> = hashes
            .into_iter()
            .filter(|hash| !self.recovery.is_protected(hash))
            .map(StoreOperation::DeleteBlock)
            .collect();
        if !operations.is_empty() {
            self.write(operations, false);
        }
    }

    /// The leaves of branches that header syncs and imports are extending.
    pub(super) fn leaves_in_use(&self) -> Vec<BlockHash> {
        self.header_syncs
            .values()
            .filter_map(HeaderSync::last)
            .chain(self.importing.last())
            .collect()
    }

    /// Prunes side blocks that are too many or too deep, except for branches that a header sync or an import extends.
    pub(super) fn prune(&mut self) {
        let leaves_in_use = self.leaves_in_use();
        let removed = self.tree.prune(&leaves_in_use);
        self.delete_blocks(removed);
        self.download.tree_changed();
    }
}
