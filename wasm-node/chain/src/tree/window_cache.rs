//! A small cache of difficulty windows at the tips of branches that grow. Other windows are rebuilt from headers.

use alloc::vec::Vec;

use super::{
    node::{NONE, Slot},
    state::Tree,
};
use crate::{
    difficulty::{WINDOW_HEADERS, Window},
    hash::BlockHash,
    header::Header,
    work::Target,
};

/// Maximum number of cached windows: that of the best tip and those of a few competing branches.
const CACHED_WINDOWS: usize = 6;

impl Tree {
    /// The difficulty window for a block on the best tip.
    #[must_use]
    pub fn tip_window(&self) -> Window {
        self.window_at(self.tip_slot())
    }

    /// The difficulty window for a block on any block of the tree.
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

    /// The index in the cache of the window that ends in `slot`, which is computed if it is not cached.
    pub(super) fn ready_window(&mut self, slot: Slot) -> usize {
        let cached = self.windows.iter().rposition(|(cached, _)| *cached == slot);
        cached.unwrap_or_else(|| {
            let window = self.rebuild_window(slot);
            self.keep_window(slot, window);
            self.windows.len() - 1
        })
    }

    /// Extends the cached window of `parent`, at index `at`, by a header on it. The window of the best tip is still
    /// needed for other blocks, so it is copied instead.
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
                window.push_with_target(header, target);
                self.keep_window(slot, window);
            }
            return;
        }
        if let Some((cached, window)) = self.windows.get_mut(at) {
            *cached = slot;
            window.push_with_target(header, target);
        }
        if let Some(newest) = self.windows.get_mut(at..) {
            newest.rotate_left(1);
        }
    }

    /// Appends a window. If the cache is full, the oldest one is dropped, but never that of the best tip.
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
