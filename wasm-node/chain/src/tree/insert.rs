//! Adding blocks to the tree: headers, which are checked here, and bodies, which the caller has checked. Adding never
//! changes the best branch; [`Tree::advance`] does.

use alloc::boxed::Box;

use crate::{
    hash::BlockHash, header::Header, reading::Reading, time::UnixMillis, validate::check_header,
    work::Work,
};

use super::{
    early_blocks::is_early,
    node::{Body, NONE, Node, SideEntry, Slot},
    results::{Entry, InsertError, Inserted},
    state::Tree,
};

impl Tree {
    /// Checks a header by rules 1 to 5 and adds it.
    ///
    /// # Errors
    /// If the header breaks a rule, or if its parent is unknown or invalid. The tree is unchanged then.
    pub fn insert_header(
        &mut self,
        header: &Header,
        now: UnixMillis,
    ) -> Result<Inserted, InsertError> {
        self.insert(header, now, false)
    }

    /// Like [`insert_header`](Self::insert_header), for a block that was accepted earlier. If it is ahead of the clock
    /// now, it is added and held back until it is due: the clock was set back in the meantime, or was wrong when the
    /// block was accepted.
    ///
    /// # Errors
    /// The same as for [`insert_header`](Self::insert_header), except that blocks ahead of the clock are no error.
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
        if self.invalid.contains(&hash) || self.invalid.contains(&header.prev_hash) {
            return Err(InsertError::Invalid { hash });
        }
        let Some(parent) = self.parent_of(header) else {
            return Err(InsertError::UnknownParent {
                parent: header.prev_hash,
            });
        };
        // Held-back blocks are exempt from bounds, because they were accepted earlier. Peers must not extend them.
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
        let work = header.bits.fast_work().unwrap_or_else(|| target.work());
        let total_work = parent_node.total_work.saturating_add(work);
        let slot = self.attach(parent, header, hash, total_work);
        self.push_window(at, parent, slot, header, target);
        if is_early {
            self.mark_early(slot);
        }
        Ok(Inserted { hash, new: true })
    }

    /// Adds a body that the caller has stored and checked by rules 1, 6, 7 and 8, except for the next `seq` of each
    /// author. Returns `false` if the body was here already or the block is not in the tree.
    pub fn insert_checked_body(&mut self, hash: &BlockHash, readings: &[Reading]) -> bool {
        let room = self.room.id();
        self.insert_known_body(
            hash,
            readings.iter().map(|reading| Entry::new(room, reading)),
        )
    }

    /// Like [`insert_checked_body`](Self::insert_checked_body), for a body that was checked earlier and whose entries
    /// were stored.
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
        self.flush_newest_leaf();
        let entries: Box<[SideEntry]> = entries
            .into_iter()
            .map(|entry| SideEntry {
                author: self.authors.intern(&entry.author),
                prefix: entry.prefix,
                seq: entry.seq,
            })
            .collect();
        self.side_readings += entries.len();
        self.bodiless -= 1;
        self.node_mut(slot).body = Body::Side(entries);
        self.pin(slot);
        self.mark_ready(slot);
        true
    }

    fn attach(&mut self, parent: Slot, header: &Header, hash: BlockHash, total_work: Work) -> Slot {
        if self.newest_leaf != Some(parent) {
            self.flush_newest_leaf();
            let parent_rank = self.node(parent).rank();
            self.leaves.remove(&(parent_rank, parent));
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
        self.newest_leaf = Some(slot);
        self.side_blocks += 1;
        self.bodiless += 1;
        slot
    }

    /// Moves the newest leaf to the other leaves.
    pub(super) fn flush_newest_leaf(&mut self) {
        if let Some(slot) = self.newest_leaf.take() {
            self.leaves.insert((self.node(slot).rank(), slot));
        }
    }

    /// The slot of a header's parent, which mostly is the newest block.
    fn parent_of(&self, header: &Header) -> Option<Slot> {
        let newest = self.windows.last().map(|(slot, _)| *slot);
        newest
            .filter(|slot| self.node(*slot).hash == header.prev_hash)
            .or_else(|| self.by_hash.get(&header.prev_hash).copied())
    }
}
