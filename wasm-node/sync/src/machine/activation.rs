//! Going over to a better branch. Every reading that it lacks comes back by `recovery`.
//!
//! Nothing that was confirmed is lost: a block that was, and leaves the best branch, is protected in the same transaction as
//! the change of branch. The others stay on disk while the tree keeps them.

use alloc::vec::Vec;
use core::fmt::Debug;

use chain::{
    hash::BlockHash,
    tree::{Advance, Invalidated, SequenceError, Switch},
};

use super::{Machine, headers::HeaderSync};
use crate::seam::{DropReason, Event, Output, StoreOperation};

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Goes over to the best branch whose bodies are here; a change is announced by Status.
    pub(super) fn advance(&mut self) {
        let advance = self.tree.advance();
        if advance.switch.is_some() {
            self.rounds.announce();
        }
        self.apply(advance);
    }

    /// The same for a block that came by gossip, which announces itself if it becomes the tip.
    /// Returns why the block was condemned, if it was.
    pub(super) fn advance_by_gossip(&mut self, hash: &BlockHash) -> Option<SequenceError> {
        let advance = self.tree.advance();
        if advance.switch.is_some() && self.tree.tip().hash != *hash {
            self.rounds.announce();
        }
        let error = advance
            .condemned
            .iter()
            .find(|invalid| invalid.removed.hashes.contains(hash))
            .map(|invalid| invalid.error);
        self.apply(advance);
        error
    }

    /// Condemns a block with its descendants (rule 7).
    pub(super) fn condemn(&mut self, hash: &BlockHash) {
        let removed = self.tree.condemn(hash);
        self.delete_blocks(removed.with_body);
        self.download.tree_changed();
    }

    pub(super) fn apply(&mut self, advance: Advance) {
        for Invalidated { error, removed } in advance.condemned {
            let liars: Vec<P> = self
                .peers
                .iter()
                .filter(|(_, known)| {
                    known
                        .status
                        .is_some_and(|status| removed.hashes.contains(&status.tip))
                })
                .map(|(peer, _)| *peer)
                .collect();
            self.delete_blocks(removed.with_body);
            self.download.tree_changed();
            // A peer's Status speaks of its fully validated branch only.
            for peer in liars {
                self.ban(peer, DropReason::BadSequence(error));
            }
        }
        if let Some(switch) = advance.switch {
            self.switched(&switch);
        }
    }

    pub(super) fn switched(&mut self, switch: &Switch) {
        let tip = self.tree.tip();
        for moved in &switch.left {
            for entry in moved.entries.iter().rev() {
                self.mempool.unlink(&entry.author, entry.seq);
                self.journal.heights.unlinked(&entry.author);
                self.journal.note_unlinked(&entry.author, entry.seq);
            }
        }
        let seen = self.seen_now();
        for (index, moved) in (switch.fork_index + 1..).zip(&switch.joined) {
            for entry in &moved.entries {
                self.journal.heights.linked(&entry.author, index);
                let (author, seq) = (entry.author, entry.seq);
                if self
                    .mempool
                    .link(&author, seq, entry.prefix, tip.index)
                    .is_some()
                {
                    self.tell_equivocation(author, seq);
                }
                self.journal.note_linked(&author, seq, entry.prefix, seen);
            }
        }
        self.lost.note_written_tip(None);
        let mut operations = alloc::vec![StoreOperation::PutTip(tip.hash)];
        // Lowest first, so that an author's readings come back in the order of its count.
        let left = switch.left.iter().rev().map(|moved| moved.hash);
        let confirmed = self.confirmation.index().saturating_sub(switch.fork_index);
        let many = usize::try_from(confirmed).unwrap_or(usize::MAX);
        operations.extend(left.clone().take(many).map(StoreOperation::PutRescue));
        operations.extend(self.first_mark());
        self.write(operations, false);
        self.recover(left.clone().take(many), true);
        self.recover(left.skip(many), false);
        if !switch.left.is_empty() {
            self.confirmation.left(switch.fork_index);
        }
        self.prune();
        let tree = &self.tree;
        for reading in self
            .mempool
            .take_revivable(tip.index, |author| tree.next_seq(author))
        {
            if !self.return_to_mempool(&reading) {
                // It had a place aside until just now.
                let id = reading.id(self.tree.room().id());
                let _ = self.mempool.set_aside(&reading, id, tip.index);
            }
        }
        let statuses = self.peers.values().filter_map(|known| known.status);
        let tips: Vec<BlockHash> = statuses.map(|status| status.tip).collect();
        for tip in tips {
            self.note_shared(&tip);
        }
        self.journal.refill();
        self.mining.tip_changed();
        self.download.tree_changed();
        self.outputs.push(Output::Tell(Event::Chain {
            // Where nothing was joined, the new tip is what there is to see.
            from: (switch.fork_index + 1).min(tip.index),
            to: tip.index,
            reorg: !switch.left.is_empty(),
        }));
    }

    /// Deletes blocks that are not in the tree any more, but for those that are protected.
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

    /// The ends of branches that header syncs and imports stand on.
    pub(super) fn growing(&self) -> Vec<BlockHash> {
        self.header_syncs
            .values()
            .filter_map(HeaderSync::last)
            .chain(self.importing.last())
            .collect()
    }

    /// Lets go of side blocks that are too many or too deep, but of none that a header sync or an import stands on.
    pub(super) fn prune(&mut self) {
        let growing = self.growing();
        let removed = self.tree.prune(&growing);
        self.delete_blocks(removed);
        self.download.tree_changed();
    }
}
