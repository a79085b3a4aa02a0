//! A body that was here and is nowhere any more: what stands on it stays, and waits until it comes again.

use alloc::vec::Vec;

use super::{
    Switch, Tree,
    node::{Body, GENESIS, Slot},
};
use crate::hash::BlockHash;

impl Tree {
    /// Notes that this block's body is not here any more. If it is on the best branch, that ends below it then, and
    /// the change is returned; [`advance`](Self::advance) finds whether another branch is better than what is left.
    /// The blocks above keep their bodies: with this one's, they are a branch like any other again.
    ///
    /// Leaves genesis and unknown blocks alone.
    pub fn lose_body(&mut self, hash: &BlockHash) -> Option<Switch> {
        self.settle_grown();
        let slot = *self.by_hash.get(hash).filter(|&&slot| slot != GENESIS)?;
        let switch = self.node(slot).on_best.then(|| self.leave_from(slot));
        self.unpin(slot);
        if let Body::Loose(entries) =
            core::mem::replace(&mut self.node_mut(slot).body, Body::Missing)
        {
            self.bodiless += 1;
            self.side_readings -= entries.len();
            for entry in &entries {
                self.authors.release(entry.author);
            }
        }
        self.withdraw_readiness(slot);
        switch
    }

    /// Ends the best branch below this block of it.
    pub(super) fn leave_from(&mut self, slot: Slot) -> Switch {
        let mut left = Vec::new();
        while self.node(slot).on_best {
            let tip = self.tip_slot();
            self.best.pop();
            left.push(self.unlink(tip));
        }
        Switch {
            fork_index: self.node(self.tip_slot()).index,
            left,
            joined: Vec::new(),
        }
    }

    /// Marks `slot` and what stands on it as not ready.
    pub(super) fn withdraw_readiness(&mut self, slot: Slot) {
        let mut open = alloc::vec![slot];
        while let Some(slot) = open.pop() {
            let node = self.node(slot);
            if !node.ready {
                continue;
            }
            let rank = node.rank();
            self.ready.remove(&rank);
            self.node_mut(slot).ready = false;
            open.extend(self.children(slot));
        }
    }
}
