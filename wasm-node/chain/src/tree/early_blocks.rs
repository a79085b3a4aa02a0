//! Accepted blocks that are ahead of the clock now. They stay in the tree, but they are held back from the best branch
//! until they are due.
//!
//! This happens when the clock is set back, or was wrong when a block was accepted. By the rules such a block is too
//! early now and becomes valid later. Blocks that peers send too early are not added to the tree at all.

use super::{
    node::{Body, NONE, Slot},
    results::Switch,
    state::Tree,
};
use crate::{hash::BlockHash, time::UnixMillis, validate::MAX_FUTURE_MS};

/// Whether a block with this time is ahead of the clock (rule 5).
pub(super) const fn is_early(time: UnixMillis, now: UnixMillis) -> bool {
    time.get() > now.saturating_add(MAX_FUTURE_MS).get()
}

const fn due(time: UnixMillis) -> UnixMillis {
    time.saturating_sub(MAX_FUTURE_MS)
}

impl Tree {
    /// Holds back every block that is ahead of the clock now, with its descendants. If the best branch contains such a
    /// block, the branch is cut below it, and the change is returned. This visits every block, so call it only when the
    /// clock was set back.
    pub fn hold_back(&mut self, now: UnixMillis) -> Option<Switch> {
        self.flush_newest_leaf();
        let early: alloc::vec::Vec<Slot> = self
            .by_hash
            .values()
            .copied()
            .filter(|&slot| is_early(self.node(slot).time, now))
            .collect();
        let lowest = early
            .iter()
            .copied()
            .filter(|&slot| self.node(slot).on_best)
            .min_by_key(|&slot| self.node(slot).index);
        let switch = lowest.map(|slot| self.disconnect_from(slot));
        for slot in early {
            self.mark_early(slot);
        }
        switch
    }

    /// Releases the held-back blocks that are due, and returns whether there were any. Call [`advance`](Self::advance)
    /// afterwards, because a better branch may be available.
    pub fn release_due(&mut self, now: UnixMillis) -> bool {
        let mut released = false;
        while let Some((at, slot)) = self.early.first().filter(|(at, _)| *at <= now) {
            self.early.remove(&(at, slot));
            self.release_from(slot);
            released = true;
        }
        released
    }

    /// Number of blocks with a body that are held back.
    #[must_use]
    pub const fn held_back_blocks(&self) -> usize {
        self.pinned_blocks
    }

    /// When the next held-back block is due.
    #[must_use]
    pub fn held_back_until(&self) -> Option<UnixMillis> {
        self.early.first().map(|(at, _)| at)
    }

    /// Whether this block is held back.
    #[must_use]
    pub fn is_held_back(&self, hash: &BlockHash) -> bool {
        self.by_hash
            .get(hash)
            .is_some_and(|&slot| self.node(slot).held_back)
    }

    pub(super) fn mark_early(&mut self, slot: Slot) {
        self.early.insert((due(self.node(slot).time), slot));
        self.clear_ready(slot);
        let mut open = alloc::vec![slot];
        while let Some(slot) = open.pop() {
            if self.node(slot).held_back {
                continue;
            }
            self.node_mut(slot).held_back = true;
            self.pin(slot);
            open.extend(self.children(slot));
        }
    }

    pub(super) fn forget_early(&mut self, slot: Slot) {
        if self.node(slot).held_back {
            let at = due(self.node(slot).time);
            self.early.remove(&(at, slot));
        }
    }

    /// Releases a block that is due and its descendants, except those that another block holds back.
    fn release_from(&mut self, slot: Slot) {
        let parent = self.node(slot).parent;
        if parent != NONE && self.node(parent).held_back {
            return;
        }
        let mut open = alloc::vec![slot];
        while let Some(slot) = open.pop() {
            let at = due(self.node(slot).time);
            if self.early.contains(&(at, slot)) {
                continue;
            }
            self.unpin(slot);
            self.node_mut(slot).held_back = false;
            open.extend(self.children(slot));
        }
        self.mark_ready(slot);
    }

    /// Whether this block is exempt from all bounds.
    pub(super) fn is_pinned(&self, slot: Slot) -> bool {
        self.node(slot).held_back && matches!(self.node(slot).body, Body::Side(_))
    }

    /// Counts the block as pinned if it is. Call it after the body or the held-back flag is set.
    pub(super) fn pin(&mut self, slot: Slot) {
        if let (true, Body::Side(entries)) = (self.node(slot).held_back, &self.node(slot).body) {
            let readings = entries.len();
            self.pinned_blocks += 1;
            self.pinned_readings += readings;
        }
    }

    /// Undoes [`pin`](Self::pin). Call it before the body or the held-back flag is removed.
    pub(super) fn unpin(&mut self, slot: Slot) {
        if let (true, Body::Side(entries)) = (self.node(slot).held_back, &self.node(slot).body) {
            let readings = entries.len();
            self.pinned_blocks -= 1;
            self.pinned_readings -= readings;
        }
    }
}
