//! Switching to a better branch, and invalidating blocks whose readings are out of sequence.
//!
//! A path is checked as a whole before anything changes, so the best branch is always valid.

use alloc::{boxed::Box, vec::Vec};

use hashbrown::HashMap;

use super::{
    node::{Body, ConnectedEntry, NONE, SideEntry, Slot},
    results::{Advance, Entry, Invalidated, MovedBlock, Removed, SequenceError, Switch},
    state::Tree,
};
use crate::hash::BlockHash;

/// Maximum number of remembered invalid hashes. The oldest are forgotten first. Each of them cost its miner real work.
pub const MAX_INVALID: usize = 4_096;

impl Tree {
    /// Switches to the branch with the most work whose bodies are all here, if it is better than the current one.
    /// Branches in which a reading is not its author's next are invalidated on the way.
    pub fn advance(&mut self) -> Advance {
        self.flush_newest_leaf();
        let mut invalid = Vec::new();
        loop {
            let Some((rank, candidate)) = self.ready.last() else {
                return Advance {
                    invalid,
                    switch: None,
                };
            };
            if rank <= self.node(self.tip_slot()).rank() {
                return Advance {
                    invalid,
                    switch: None,
                };
            }
            let path = self.path_to_best(candidate);
            match self.check_path(&path) {
                Ok(()) => {
                    let switch = Some(self.switch_to(&path));
                    return Advance { invalid, switch };
                }
                Err((slot, error)) => {
                    let removed = self.invalidate_slot(slot);
                    invalid.push(Invalidated { error, removed });
                }
            }
        }
    }

    /// Removes a block that breaks rule 7 and its descendants, and remembers them as invalid. Does nothing for blocks
    /// of the best branch and unknown blocks.
    pub fn invalidate(&mut self, hash: &BlockHash) -> Removed {
        self.flush_newest_leaf();
        match self.by_hash.get(hash) {
            Some(&slot) if !self.node(slot).on_best => self.invalidate_slot(slot),
            _ => Removed::default(),
        }
    }

    /// Checks that every reading of a side block and of its ancestors off the best branch is its author's next. Returns
    /// `None` if one of these bodies is missing, or if the block is on the best branch or unknown.
    ///
    /// # Errors
    /// Returns the first reading that is not its author's next.
    #[must_use]
    pub fn check_sequence(&self, hash: &BlockHash) -> Option<Result<(), SequenceError>> {
        let &slot = self.by_hash.get(hash)?;
        let path = self.path_to_best(slot);
        let is_complete = path
            .iter()
            .all(|&slot| matches!(self.node(slot).body, Body::Side(_)));
        (is_complete && !path.is_empty())
            .then(|| self.check_path(&path).map_err(|(_, error)| error))
    }

    /// Checks that every reading on this path is its author's next.
    pub(super) fn check_path(&self, path: &[Slot]) -> Result<(), (Slot, SequenceError)> {
        let fork = path
            .first()
            .map_or(self.tip_slot(), |&slot| self.node(slot).parent);
        let mut next: HashMap<u32, u64> = HashMap::new();
        for &slot in self.best.iter().rev().take_while(|&&slot| slot != fork) {
            if let Body::Connected(entries) = &self.node(slot).body {
                for entry in entries {
                    *next
                        .entry(entry.author)
                        .or_insert_with(|| self.authors.next_seq_of(entry.author)) -= 1;
                }
            }
        }
        for &slot in path {
            let Body::Side(entries) = &self.node(slot).body else {
                continue;
            };
            for entry in entries {
                let expected = next
                    .entry(entry.author)
                    .or_insert_with(|| self.authors.next_seq_of(entry.author));
                if *expected != entry.seq {
                    let error = SequenceError {
                        hash: self.node(slot).hash,
                        author: self.authors.key(entry.author),
                        expected: *expected,
                        found: entry.seq,
                    };
                    return Err((slot, error));
                }
                *expected += 1;
            }
        }
        Ok(())
    }

    /// Disconnects the best branch down to the fork and connects `path`.
    pub(super) fn switch_to(&mut self, path: &[Slot]) -> Switch {
        let fork = path
            .first()
            .map_or(self.tip_slot(), |&slot| self.node(slot).parent);
        let mut disconnected = Vec::new();
        while self.tip_slot() != fork {
            let slot = self.tip_slot();
            self.best.pop();
            disconnected.push(self.disconnect(slot));
        }
        let connected = path
            .iter()
            .map(|&slot| {
                self.best.push(slot);
                self.connect(slot)
            })
            .collect();
        Switch {
            fork_index: self.node(fork).index,
            disconnected,
            connected,
        }
    }

    pub(super) fn connect(&mut self, slot: Slot) -> MovedBlock {
        let mut side: Box<[SideEntry]> = Box::new([]);
        if let Body::Side(entries) =
            core::mem::replace(&mut self.node_mut(slot).body, Body::Missing)
        {
            side = entries;
        }
        let connected = side
            .iter()
            .map(|entry| {
                self.authors.push(entry.author, entry.prefix);
                ConnectedEntry {
                    author: entry.author,
                    prefix: entry.prefix,
                }
            })
            .collect();
        let moved = self.moved(slot, &side);
        self.side_blocks -= 1;
        self.side_readings -= side.len();
        let node = self.node_mut(slot);
        node.body = Body::Connected(connected);
        node.on_best = true;
        let rank = node.rank();
        self.ready.remove(&(rank, slot));
        self.leaves.remove(&(rank, slot));
        moved
    }

    pub(super) fn disconnect(&mut self, slot: Slot) -> MovedBlock {
        self.unconfirm(slot);
        let mut side = Vec::new();
        if let Body::Connected(connected) =
            core::mem::replace(&mut self.node_mut(slot).body, Body::Missing)
        {
            for entry in connected.iter().rev() {
                let seq = self.authors.pop(entry.author);
                side.push(SideEntry {
                    author: entry.author,
                    prefix: entry.prefix,
                    seq,
                });
            }
        }
        side.reverse();
        let moved = self.moved(slot, &side);
        self.side_blocks += 1;
        self.side_readings += side.len();
        let has_children = self.node(slot).first_child != NONE;
        let node = self.node_mut(slot);
        node.body = Body::Side(side.into_boxed_slice());
        node.on_best = false;
        let rank = node.rank();
        self.ready.insert((rank, slot));
        if !has_children {
            self.leaves.insert((rank, slot));
        }
        moved
    }

    pub(super) fn moved(&self, slot: Slot, entries: &[SideEntry]) -> MovedBlock {
        let entries = entries
            .iter()
            .map(|entry| Entry {
                author: self.authors.key(entry.author),
                seq: entry.seq,
                prefix: entry.prefix,
            })
            .collect();
        MovedBlock {
            hash: self.node(slot).hash,
            entries,
        }
    }

    pub(super) fn invalidate_slot(&mut self, slot: Slot) -> Removed {
        let mut subtree = alloc::vec![slot];
        let mut next = 0;
        while let Some(&slot) = subtree.get(next) {
            subtree.extend(self.children(slot));
            next += 1;
        }
        let mut removed = Removed::default();
        for &slot in subtree.iter().rev() {
            let hash = self.node(slot).hash;
            removed.hashes.push(hash);
            self.remove_leaf(slot, &mut removed.with_body);
            if self.invalid.insert(hash) {
                self.invalid_order.push_back(hash);
            }
        }
        while self.invalid_order.len() > MAX_INVALID {
            if let Some(oldest) = self.invalid_order.pop_front() {
                self.invalid.remove(&oldest);
            }
        }
        removed
    }

    /// Marks `slot` and its descendants as ready, as far as their bodies are here.
    pub(super) fn mark_ready(&mut self, slot: Slot) {
        let mut open = alloc::vec![slot];
        while let Some(slot) = open.pop() {
            let node = self.node(slot);
            let parent_ready = node.parent == NONE || self.node(node.parent).ready;
            let is_blocked = node.held_back || matches!(node.body, Body::Missing);
            if node.ready || !parent_ready || is_blocked {
                continue;
            }
            let rank = node.rank();
            self.node_mut(slot).ready = true;
            self.ready.insert((rank, slot));
            open.extend(self.children(slot));
        }
    }
}
