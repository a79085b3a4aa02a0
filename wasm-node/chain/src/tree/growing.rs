//! How blocks come into the tree: headers that are judged here, and bodies that were checked elsewhere. Makes none the
//! best.

use alloc::boxed::Box;

use crate::{
    hash::BlockHash, header::Header, reading::Reading, time::UnixMillis, validate::check_header,
    work::Work,
};

use super::{
    Entry, InsertError, Inserted, Tree,
    holding_back::is_early,
    node::{Body, LooseEntry, NONE, Node, Slot},
};

impl Tree {
    /// Checks a header (rules 1 to 5) on its parent and keeps it.
    ///
    /// # Errors
    /// Says which rule it breaks, or that the parent is unknown or condemned; nothing is kept then.
    pub fn insert_header(
        &mut self,
        header: &Header,
        now: UnixMillis,
    ) -> Result<Inserted, InsertError> {
        self.insert(header, now, false)
    }

    /// The same for a block that was accepted before. One that is ahead of the clock now is kept, and held back until it is
    /// due: the clock was set back meanwhile, or was wrong when the block was accepted.
    ///
    /// # Errors
    /// As [`insert_header`](Self::insert_header), but for blocks ahead of the clock.
    pub fn insert_accepted_header(
        &mut self,
        header: &Header,
        now: UnixMillis,
    ) -> Result<Inserted, InsertError> {
        self.insert(header, now, true)
    }

    fn insert(
        &mut self,
        header: &Header,
        now: UnixMillis,
        may_be_early: bool,
    ) -> Result<Inserted, InsertError> {
        let hash = header.hash();
        if self.by_hash.contains_key(&hash) {
            return Ok(Inserted { hash, new: false });
        }
        if self.condemned.contains(&hash) || self.condemned.contains(&header.prev_hash) {
            return Err(InsertError::Condemned { hash });
        }
        let Some(parent) = self.parent_of(header) else {
            return Err(InsertError::UnknownParent {
                parent: header.prev_hash,
            });
        };
        // What is held back is exempt from bounds, because it was accepted before: others may not add to it.
        if self.node(parent).held_back && !may_be_early {
            return Err(InsertError::HeldBack { hash });
        }
        let at = self.ready_window(parent);
        let Some((_, window)) = self.windows.get(at) else {
            return Err(InsertError::UnknownParent {
                parent: header.prev_hash,
            });
        };
        let parent_node = self.node(parent);
        let is_early = may_be_early && is_early(header.time, now);
        let target = check_header(
            window,
            parent_node.hash,
            parent_node.index,
            header,
            &hash,
            if is_early { header.time } else { now },
        )?;
        let work = header.bits.quick_work().unwrap_or_else(|| target.work());
        let total_work = parent_node.total_work.saturating_add(work);
        let slot = self.attach(parent, header, hash, total_work);
        self.push_window(at, parent, slot, header, target);
        if is_early {
            self.mark_early(slot);
        }
        Ok(Inserted { hash, new: true })
    }

    /// Notes that this block's body was checked (rules 1, 6 and 7 but for the authors' counts) and is kept.
    /// Returns whether that was news; a block that is not in the tree is none.
    pub fn insert_checked_body(&mut self, hash: &BlockHash, readings: &[Reading]) -> bool {
        let room = self.room.id();
        self.insert_known_body(
            hash,
            readings.iter().map(|reading| Entry::new(room, reading)),
        )
    }

    /// The same for a body that was checked before, and of which this is remembered.
    pub fn insert_known_body(
        &mut self,
        hash: &BlockHash,
        entries: impl IntoIterator<Item = Entry>,
    ) -> bool {
        let Some(&slot) = self.by_hash.get(hash) else {
            return false;
        };
        if !matches!(self.node(slot).body, Body::Missing) {
            return false;
        }
        self.settle_grown();
        let entries: Box<[LooseEntry]> = entries
            .into_iter()
            .map(|entry| LooseEntry {
                author: self.authors.intern(&entry.author),
                prefix: entry.prefix,
                seq: entry.seq,
            })
            .collect();
        self.side_readings += entries.len();
        self.bodiless -= 1;
        self.node_mut(slot).body = Body::Loose(entries);
        self.pin(slot);
        self.spread_readiness(slot);
        true
    }

    fn attach(&mut self, parent: Slot, header: &Header, hash: BlockHash, total_work: Work) -> Slot {
        if self.grown != Some(parent) {
            self.settle_grown();
            let parent_rank = self.node(parent).rank();
            self.leaves.remove(&parent_rank);
        }
        let node = Node {
            hash,
            readings_root: header.readings_root,
            total_work,
            index: header.index,
            time: header.time,
            nonce: header.nonce,
            bits: header.bits,
            parent,
            first_child: NONE,
            next_sibling: self.node(parent).first_child,
            ready: false,
            on_best: false,
            held_back: self.node(parent).held_back,
            body: Body::Missing,
        };
        let slot = if let Some(slot) = self.free.pop() {
            *self.node_mut(slot) = node;
            slot
        } else {
            self.nodes.push(node);
            Slot::try_from(self.nodes.len() - 1).unwrap_or(NONE)
        };
        self.node_mut(parent).first_child = slot;
        self.by_hash.insert(hash, slot);
        self.grown = Some(slot);
        self.side_blocks += 1;
        self.bodiless += 1;
        slot
    }

    /// Puts the newest node where the other leaves are.
    pub(super) fn settle_grown(&mut self) {
        if let Some(slot) = self.grown.take() {
            self.leaves.insert(self.node(slot).rank(), slot);
        }
    }

    /// The slot of a header's parent: mostly the newest block that there is.
    fn parent_of(&self, header: &Header) -> Option<Slot> {
        let newest = self.windows.last().map(|(slot, _)| *slot);
        newest
            .filter(|slot| self.node(*slot).hash == header.prev_hash)
            .or_else(|| self.by_hash.get(&header.prev_hash).copied())
    }
}
