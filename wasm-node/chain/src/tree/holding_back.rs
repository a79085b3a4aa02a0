//! Blocks ahead of the clock that were accepted before: they stay, and cannot be on the best branch until they are due.
//!
//! A clock can be set back, or have been wrong when a block was accepted. In both cases the rules say that the block is
//! too early now, and that it is as good as any other later. Blocks of peers that are too early never come here.

use super::{
    Switch, Tree,
    node::{Body, Slot},
};
use crate::{hash::BlockHash, time::UnixMillis, validate::MAX_FUTURE_MS};

/// Whether a block of this time is ahead of the clock (rule 5).
pub(super) const fn is_early(time: UnixMillis, now: UnixMillis) -> bool {
    time.get() > now.saturating_add(MAX_FUTURE_MS).get()
}

const fn due(time: UnixMillis) -> UnixMillis {
    time.saturating_sub(MAX_FUTURE_MS)
}

impl Tree {
    /// Holds back every block that is ahead of the clock now, with all that stands on it. If the best branch has one, it
    /// ends below it, and the change is returned. Looks at every block: for clocks that were set back only.
    pub fn hold_back(&mut self, now: UnixMillis) -> Option<Switch> {
        self.settle_grown();
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
        let switch = lowest.map(|slot| self.leave_from(slot));
        for slot in early {
            self.mark_early(slot);
        }
        switch
    }

    /// Lets go of what is due. Returns whether there was any; [`advance`](Self::advance) finds whether a better branch
    /// comes of it.
    pub fn release_due(&mut self, now: UnixMillis) -> bool {
        let mut released = false;
        while let Some(&(at, slot)) = self.early.first().filter(|(at, _)| *at <= now) {
            self.early.remove(&(at, slot));
            self.release_from(slot);
            released = true;
        }
        released
    }

    /// How many blocks with a body are held back.
    #[must_use]
    pub const fn held_back_blocks(&self) -> usize {
        self.pinned_blocks
    }

    /// When the first of them is due.
    #[must_use]
    pub fn held_back_until(&self) -> Option<UnixMillis> {
        self.early.first().map(|(at, _)| *at)
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
        self.withdraw_readiness(slot);
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

    /// The block is due: it, and what stands on it, go on unless another one holds them back.
    fn release_from(&mut self, slot: Slot) {
        let parent = self.node(slot).parent;
        if parent != super::NONE && self.node(parent).held_back {
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
        self.spread_readiness(slot);
    }

    /// Whether no bound makes this block go.
    pub(super) fn is_pinned(&self, slot: Slot) -> bool {
        self.node(slot).held_back && matches!(self.node(slot).body, Body::Loose(_))
    }

    /// Counts the block, if it is pinned from now on.
    pub(super) fn pin(&mut self, slot: Slot) {
        if let (true, Body::Loose(entries)) = (self.node(slot).held_back, &self.node(slot).body) {
            let readings = entries.len();
            self.pinned_blocks += 1;
            self.pinned_readings += readings;
        }
    }

    /// Does not count the block any more, if it was pinned; what pinned it is still there.
    pub(super) fn unpin(&mut self, slot: Slot) {
        if let (true, Body::Loose(entries)) = (self.node(slot).held_back, &self.node(slot).body) {
            let readings = entries.len();
            self.pinned_blocks -= 1;
            self.pinned_readings -= readings;
        }
    }
}
