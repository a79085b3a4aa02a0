//! Going over from one branch to a better one, and condemning what breaks an author's count on the way.
//!
//! A path is judged as a whole before anything changes, so the best branch is valid at every moment.

use alloc::{boxed::Box, vec::Vec};

use hashbrown::HashMap;

use super::{
    Advance, Entry, Invalidated, MAX_CONDEMNED, Moved, Removed, SequenceError, Switch, Tree,
    node::{Body, LinkedEntry, LooseEntry, NONE, Slot},
};
use crate::hash::BlockHash;

impl Tree {
    /// Goes over to the best branch whose bodies are all here, if there is a better one than the present.
    /// A branch in which an author's count is broken is condemned on the way.
    pub fn advance(&mut self) -> Advance {
        self.settle_grown();
        let mut condemned = Vec::new();
        loop {
            let Some((&rank, &candidate)) = self.ready.last_key_value() else {
                return Advance {
                    condemned,
                    switch: None,
                };
            };
            if rank <= self.node(self.tip_slot()).rank() {
                return Advance {
                    condemned,
                    switch: None,
                };
            }
            let path = self.path_to_best(candidate);
            match self.judge_path(&path) {
                Ok(()) => {
                    let switch = Some(self.switch_along(&path));
                    return Advance { condemned, switch };
                }
                Err((slot, error)) => {
                    let removed = self.condemn_slot(slot);
                    condemned.push(Invalidated { error, removed });
                }
            }
        }
    }

    /// Condemns a block with its descendants (rule 7) and returns all that were removed.
    /// Blocks of the best branch and unknown ones are left alone.
    pub fn condemn(&mut self, hash: &BlockHash) -> Removed {
        self.settle_grown();
        match self.by_hash.get(hash) {
            Some(&slot) if !self.node(slot).on_best => self.condemn_slot(slot),
            _ => Removed::default(),
        }
    }

    /// Checks that every reading of a side block, and of those below it down to the best branch, is its author's next.
    /// `None`: a body of these is not here, or the block is on the best branch or unknown.
    ///
    /// # Errors
    /// Says which block breaks an author's count.
    #[must_use]
    pub fn judge(&self, hash: &BlockHash) -> Option<Result<(), SequenceError>> {
        let &slot = self.by_hash.get(hash)?;
        let path = self.path_to_best(slot);
        let whole = path
            .iter()
            .all(|&slot| matches!(self.node(slot).body, Body::Loose(_)));
        (whole && !path.is_empty()).then(|| self.judge_path(&path).map_err(|(_, error)| error))
    }

    /// Checks that on this path every reading is its author's next.
    pub(super) fn judge_path(&self, path: &[Slot]) -> Result<(), (Slot, SequenceError)> {
        let fork = path
            .first()
            .map_or(self.tip_slot(), |&slot| self.node(slot).parent);
        let mut next: HashMap<u32, u64> = HashMap::new();
        for &slot in self.best.iter().rev().take_while(|&&slot| slot != fork) {
            if let Body::Linked(entries) = &self.node(slot).body {
                for entry in entries {
                    *next
                        .entry(entry.author)
                        .or_insert_with(|| self.authors.linked(entry.author)) -= 1;
                }
            }
        }
        for &slot in path {
            let Body::Loose(entries) = &self.node(slot).body else {
                continue;
            };
            for entry in entries {
                let expected = next
                    .entry(entry.author)
                    .or_insert_with(|| self.authors.linked(entry.author));
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

    /// Makes `path` part of the best branch in place of what stands on its fork.
    pub(super) fn switch_along(&mut self, path: &[Slot]) -> Switch {
        let fork = path
            .first()
            .map_or(self.tip_slot(), |&slot| self.node(slot).parent);
        let mut left = Vec::new();
        while self.tip_slot() != fork {
            let slot = self.tip_slot();
            self.best.pop();
            left.push(self.unlink(slot));
        }
        let joined = path
            .iter()
            .map(|&slot| {
                self.best.push(slot);
                self.link(slot)
            })
            .collect();
        Switch {
            fork_index: self.node(fork).index,
            left,
            joined,
        }
    }

    pub(super) fn link(&mut self, slot: Slot) -> Moved {
        let mut loose: Box<[LooseEntry]> = Box::new([]);
        if let Body::Loose(entries) =
            core::mem::replace(&mut self.node_mut(slot).body, Body::Missing)
        {
            loose = entries;
        }
        let linked = loose
            .iter()
            .map(|entry| {
                self.authors.link_next(entry.author, entry.prefix);
                LinkedEntry {
                    author: entry.author,
                    prefix: entry.prefix,
                }
            })
            .collect();
        let moved = self.moved(slot, &loose);
        self.side_blocks -= 1;
        self.side_readings -= loose.len();
        let node = self.node_mut(slot);
        node.body = Body::Linked(linked);
        node.on_best = true;
        let rank = node.rank();
        self.ready.remove(&rank);
        self.leaves.remove(&rank);
        moved
    }

    pub(super) fn unlink(&mut self, slot: Slot) -> Moved {
        self.unsettle(slot);
        let mut loose = Vec::new();
        if let Body::Linked(linked) =
            core::mem::replace(&mut self.node_mut(slot).body, Body::Missing)
        {
            for entry in linked.iter().rev() {
                let seq = self.authors.unlink_last(entry.author);
                loose.push(LooseEntry {
                    author: entry.author,
                    prefix: entry.prefix,
                    seq,
                });
            }
        }
        loose.reverse();
        let moved = self.moved(slot, &loose);
        self.side_blocks += 1;
        self.side_readings += loose.len();
        let has_children = self.node(slot).first_child != NONE;
        let node = self.node_mut(slot);
        node.body = Body::Loose(loose.into_boxed_slice());
        node.on_best = false;
        let rank = node.rank();
        self.ready.insert(rank, slot);
        if !has_children {
            self.leaves.insert(rank, slot);
        }
        moved
    }

    pub(super) fn moved(&self, slot: Slot, entries: &[LooseEntry]) -> Moved {
        let entries = entries
            .iter()
            .map(|entry| Entry {
                author: self.authors.key(entry.author),
                seq: entry.seq,
                prefix: entry.prefix,
            })
            .collect();
        Moved {
            hash: self.node(slot).hash,
            entries,
        }
    }

    pub(super) fn condemn_slot(&mut self, slot: Slot) -> Removed {
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
            if self.condemned.insert(hash) {
                self.condemned_order.push_back(hash);
            }
        }
        while self.condemned_order.len() > MAX_CONDEMNED {
            if let Some(oldest) = self.condemned_order.pop_front() {
                self.condemned.remove(&oldest);
            }
        }
        removed
    }

    /// Marks `slot` and what stands on it as ready, as far as bodies are here.
    pub(super) fn spread_readiness(&mut self, slot: Slot) {
        let mut open = alloc::vec![slot];
        while let Some(slot) = open.pop() {
            let node = self.node(slot);
            let parent_ready = node.parent == NONE || self.node(node.parent).ready;
            let waits = node.held_back || matches!(node.body, Body::Missing);
            if node.ready || !parent_ready || waits {
                continue;
            }
            let rank = node.rank();
            self.node_mut(slot).ready = true;
            self.ready.insert(rank, slot);
            open.extend(self.children(slot));
        }
    }
}
