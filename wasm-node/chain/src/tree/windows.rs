//! The difficulty windows of branches that grow, kept ready; those of others are rebuilt from headers.

use alloc::vec::Vec;

use super::{
    Tree,
    node::{NONE, Slot},
};
use crate::{
    difficulty::{WINDOW_HEADERS, Window},
    hash::BlockHash,
    header::Header,
    work::Target,
};

/// Windows kept ready: the best tip's and a few rivals'.
const CACHED_WINDOWS: usize = 6;

impl Tree {
    /// What the difficulty rule needs to judge or build a block on the best tip.
    #[must_use]
    pub fn tip_window(&self) -> Window {
        self.window_at(self.tip_slot())
    }

    /// The same for a block on any block that is here.
    #[must_use]
    pub fn window(&self, hash: &BlockHash) -> Option<Window> {
        self.by_hash.get(hash).map(|&slot| self.window_at(slot))
    }

    pub(super) fn window_at(&self, slot: Slot) -> Window {
        self.windows
            .iter()
            .find(|(cached, _)| *cached == slot)
            .map_or_else(|| self.rebuild_window(slot), |(_, window)| window.clone())
    }

    /// Where the window of the branch that ends in `slot` is, made if it was not there.
    pub(super) fn ready_window(&mut self, slot: Slot) -> usize {
        let cached = self.windows.iter().rposition(|(cached, _)| *cached == slot);
        cached.unwrap_or_else(|| {
            let window = self.rebuild_window(slot);
            self.keep_window(slot, window);
            self.windows.len() - 1
        })
    }

    /// Turns the window of `parent`, number `at`, into that of the header that was put on it; the best tip's is needed
    /// for its own sake, so that one is copied.
    pub(super) fn push_window(
        &mut self,
        at: usize,
        parent: Slot,
        slot: Slot,
        header: &Header,
        target: Target,
    ) {
        if parent == self.tip_slot() {
            if let Some(mut window) = self.windows.get(at).map(|(_, window)| window.clone()) {
                window.push_judged(header, target);
                self.keep_window(slot, window);
            }
            return;
        }
        if let Some((cached, window)) = self.windows.get_mut(at) {
            *cached = slot;
            window.push_judged(header, target);
        }
        if let Some(newest) = self.windows.get_mut(at..) {
            newest.rotate_left(1);
        }
    }

    /// The newest last; the oldest goes, but never the best tip's.
    pub(super) fn keep_window(&mut self, slot: Slot, window: Window) {
        if self.windows.len() >= CACHED_WINDOWS {
            let tip = self.tip_slot();
            let oldest = self
                .windows
                .iter()
                .position(|(cached, _)| *cached != tip)
                .unwrap_or(0);
            self.windows.remove(oldest);
        }
        self.windows.push((slot, window));
    }

    pub(super) fn rebuild_window(&self, slot: Slot) -> Window {
        let mut headers = Vec::with_capacity(WINDOW_HEADERS);
        let mut at = slot;
        while at != NONE && headers.len() < WINDOW_HEADERS {
            headers.push(self.header_at(at));
            at = self.node(at).parent;
        }
        headers.reverse();
        Window::from_headers(&self.room, headers)
    }
}
