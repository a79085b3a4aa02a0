//! Going over to a better branch. Every reading that it lacks comes back by `rescue`.
//!
//! Nothing is lost: before a body may be deleted, each of its readings is on the best branch, in the mempool, or its
//! block is in the rescue queue, which is on disk and written in the same transaction as the change of branch.

use alloc::vec::Vec;
use core::fmt::Debug;

use chain::{
    hash::BlockHash,
    tree::{Advance, SequenceError, Switch},
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
            .find(|(_, removed)| removed.contains(hash))
            .map(|(error, _)| *error);
        self.apply(advance);
        error
    }

    /// Condemns a block with its descendants (rule 7).
    pub(super) fn condemn(&mut self, hash: &BlockHash) {
        let removed = self.tree.condemn(hash);
        self.rescue_blocks(removed);
        self.download.tree_changed();
    }

    pub(super) fn apply(&mut self, advance: Advance) {
        for (error, removed) in advance.condemned {
            let liars: Vec<P> = self
                .peers
                .iter()
                .filter(|(_, known)| {
                    known
                        .status
                        .is_some_and(|status| removed.contains(&status.tip))
                })
                .map(|(peer, _)| *peer)
                .collect();
            self.rescue_blocks(removed);
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
                self.own.places.unlinked(&entry.author);
            }
        }
        let own = self.own.author();
        for (index, moved) in (switch.fork_index + 1..).zip(&switch.joined) {
            for entry in &moved.entries {
                self.own.places.linked(&entry.author, index);
                let (author, seq) = (entry.author, entry.seq);
                if self
                    .mempool
                    .link(&author, seq, entry.prefix, tip.index)
                    .is_some()
                {
                    self.outputs
                        .push(Output::Tell(Event::Equivocation { author, seq }));
                }
                if entry.author == own {
                    self.own
                        .note_linked(entry.seq, entry.prefix, tip.index, self.now);
                }
            }
        }
        self.lost.note_written_tip(None);
        let mut operations = alloc::vec![StoreOperation::PutTip(tip.hash)];
        // Lowest first, so that an author's readings come back in the order of its count.
        for moved in switch.left.iter().rev() {
            operations.push(StoreOperation::PutRescue(moved.hash));
        }
        self.write(operations, false);
        self.rescue_left(switch.left.iter().rev().map(|moved| moved.hash));
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
        self.own.refill();
        self.mining.tip_changed();
        self.download.tree_changed();
        self.outputs.push(Output::Tell(Event::Chain {
            // Where nothing was joined, the new tip is what there is to see.
            from: (switch.fork_index + 1).min(tip.index),
            to: tip.index,
            reorg: !switch.left.is_empty(),
        }));
    }

    /// Lets go of side blocks that are too many or too deep, but of none that a header sync or an import stands on.
    pub(super) fn prune(&mut self) {
        let growing: Vec<BlockHash> = self
            .header_syncs
            .values()
            .filter_map(HeaderSync::last)
            .chain(self.importing.last())
            .collect();
        let removed = self.tree.prune(&growing);
        self.rescue_blocks(removed);
        self.download.tree_changed();
    }
}
