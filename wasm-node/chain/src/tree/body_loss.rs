//! Handling of a body that is lost, for instance because it is corrupt on disk. Its descendants stay in the tree and
//! wait until the body is here again.

use alloc::vec::Vec;

use super::{
    node::{Body, GENESIS, Slot},
    results::Switch,
    state::Tree,
};
use crate::hash::BlockHash;

impl Tree {
    /// Marks the body of this block as missing. If the block is on the best branch, the branch is cut below it, and the
    /// change is returned. Call [`advance`](Self::advance) afterwards, because another branch may be better than what
    /// is disconnected. The blocks above keep their bodies, so they can be connected as soon as this body is here again.
    ///
    /// Does nothing for genesis and unknown blocks.
    pub fn mark_body_missing(&mut self, hash: &BlockHash) -> Option<Switch> {
        self.flush_newest_leaf();
        let slot = *self.by_hash.get(hash).filter(|&&slot| slot != GENESIS)?;
        let switch = self.node(slot).on_best.then(|| self.disconnect_from(slot));
        self.unpin(slot);
        if let Body::Side(entries) =
            core::mem::replace(&mut self.node_mut(slot).body, Body::Missing)
        {
            self.bodiless += 1;
            self.side_readings -= entries.len();
            for entry in &entries {
                self.authors.release(entry.author);
            }
        }
        self.clear_ready(slot);
        switch
    }

    /// Cuts the best branch below this block, which is on it.
    pub(super) fn disconnect_from(&mut self, slot: Slot) -> Switch {
        let mut disconnected = Vec::new();
        while self.node(slot).on_best {
            let tip = self.tip_slot();
            self.best.pop();
            disconnected.push(self.disconnect(tip));
        }
        Switch {
            fork_index: self.node(self.tip_slot()).index,
            disconnected,
            connected: Vec::new(),
        }
    }

    /// Marks `slot` and its descendants as not ready.
    pub(super) fn clear_ready(&mut self, slot: Slot) {
        let mut open = alloc::vec![slot];
        while let Some(slot) = open.pop() {
            let node = self.node(slot);
            if !node.ready {
                continue;
            }
            let rank = node.rank();
            self.ready.remove(&(rank, slot));
            self.node_mut(slot).ready = false;
            open.extend(self.children(slot));
        }
    }
}
