//! The tree of all blocks known, and the branch of it that is best.
//!
//! Holds headers, work and, for each checked body, who is in it; never a body itself, and no clock.
//! Memory a block is small and constant, four to sixteen bytes a reading more.
//!
//! Fork choice (CHAIN.md, "Fork choice"): the branch with the greatest total work whose bodies are all valid;
//! on a tie the lower tip hash. A body's signatures are checked before it comes here
//! ([`check_body`](crate::block::check_body)); its readings' place in their authors' counts is checked here,
//! when a branch is about to become the best one, because only then is the count known.

mod best;
mod node;
mod outcome;
mod paths;
mod pruning;
mod views;
mod windows;

use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};

use hashbrown::{HashMap, HashSet};

use crate::{
    authors::AuthorTable,
    difficulty::Window,
    hash::BlockHash,
    header::{HEADER_VERSION, Header},
    key::Author,
    reading::Reading,
    room::Room,
    time::UnixMillis,
    validate::check_header,
    work::Work,
};

use self::node::{Body, GENESIS, LooseEntry, NONE, Node, Rank, Slot};
pub use self::{
    outcome::{
        Advance, BlockInfo, Entry, IdPrefix, InsertError, Inserted, Moved, SequenceError, Switch,
    },
    views::SideBranch,
};

/// A side block is kept while its own height is within so many blocks of the best tip.
pub const MAX_SIDE_DEPTH: u64 = 1_000;
/// So many side blocks are kept in all, the least total work first to go: 1 MB of headers.
pub const MAX_SIDE_BLOCKS: usize = 4_096;
/// So many readings of side blocks are kept indexed in all (16 bytes each: 4 MB).
pub const MAX_SIDE_READINGS: usize = 262_144;
/// So many condemned hashes are remembered, the oldest first to go: each cost its maker real work.
pub const MAX_CONDEMNED: usize = 4_096;
/// Hashes in a locator: doubling steps reach genesis from any height below 2^50 in fewer.
pub const MAX_LOCATOR: usize = 64;

/// The tree.
#[derive(Clone, Debug)]
pub struct Tree {
    room: Room,
    nodes: Vec<Node>,
    free: Vec<Slot>,
    by_hash: HashMap<BlockHash, Slot>,
    /// The best branch by height; genesis is number 0.
    best: Vec<Slot>,
    /// Nodes off the best branch that have no children, but for `grown`.
    leaves: BTreeMap<Rank, Slot>,
    /// The newest node, while it is one of these and has no body: a branch that is learnt header by header would else
    /// go in and out of `leaves` with each.
    grown: Option<Slot>,
    /// Nodes off the best branch that could be switched to.
    ready: BTreeMap<Rank, Slot>,
    side_blocks: usize,
    side_readings: usize,
    bodiless: usize,
    authors: AuthorTable,
    windows: Vec<(Slot, Window)>,
    condemned: HashSet<BlockHash>,
    condemned_order: VecDeque<BlockHash>,
}

impl Tree {
    /// A tree that holds the room's genesis alone.
    #[must_use]
    pub fn new(room: Room) -> Self {
        let genesis = *room.genesis();
        let hash = room.genesis_hash();
        let node = Node {
            hash,
            readings_root: genesis.readings_root,
            total_work: Work::ZERO,
            index: 0,
            time: genesis.time,
            nonce: genesis.nonce,
            bits: genesis.bits,
            parent: NONE,
            first_child: NONE,
            next_sibling: NONE,
            ready: true,
            on_best: true,
            body: Body::Linked(Box::new([])),
        };
        let window = Window::genesis(&room);
        Self {
            room,
            nodes: alloc::vec![node],
            free: Vec::new(),
            by_hash: HashMap::from_iter([(hash, GENESIS)]),
            best: alloc::vec![GENESIS],
            leaves: BTreeMap::new(),
            grown: None,
            ready: BTreeMap::new(),
            side_blocks: 0,
            side_readings: 0,
            bodiless: 0,
            authors: AuthorTable::default(),
            windows: alloc::vec![(GENESIS, window)],
            condemned: HashSet::new(),
            condemned_order: VecDeque::new(),
        }
    }

    /// The room whose blocks these are.
    #[must_use]
    pub const fn room(&self) -> &Room {
        &self.room
    }

    /// The tip of the best branch.
    #[must_use]
    pub fn tip(&self) -> BlockInfo {
        self.info(self.tip_slot())
    }

    /// What is known of a block.
    #[must_use]
    pub fn block(&self, hash: &BlockHash) -> Option<BlockInfo> {
        self.by_hash.get(hash).map(|&slot| self.info(slot))
    }

    /// Whether this hash was condemned with its descendants, as far as remembered.
    #[must_use]
    pub fn is_condemned(&self, hash: &BlockHash) -> bool {
        self.condemned.contains(hash)
    }

    /// A block's header.
    #[must_use]
    pub fn header(&self, hash: &BlockHash) -> Option<Header> {
        self.by_hash.get(hash).map(|&slot| self.header_at(slot))
    }

    /// The hash of the best branch's block at this height.
    #[must_use]
    pub fn best_hash(&self, index: u64) -> Option<BlockHash> {
        let index = usize::try_from(index).ok()?;
        self.best.get(index).map(|&slot| self.node(slot).hash)
    }

    /// How many blocks are off the best branch.
    #[must_use]
    pub const fn side_blocks(&self) -> usize {
        self.side_blocks
    }

    /// How many readings blocks off the best branch have.
    #[must_use]
    pub const fn side_readings(&self) -> usize {
        self.side_readings
    }

    /// How many blocks are here without their body.
    #[must_use]
    pub const fn bodiless_blocks(&self) -> usize {
        self.bodiless
    }

    /// The author's next place on the best branch.
    #[must_use]
    pub fn next_seq(&self, author: &Author) -> u64 {
        self.authors.next_seq(author)
    }

    /// The id's first bytes of the reading that the best branch has at this place of the author's count.
    #[must_use]
    pub fn linked_prefix(&self, author: &Author, seq: u64) -> Option<IdPrefix> {
        self.authors.linked_prefix(author, seq)
    }

    /// How many different authors the newest `blocks` blocks of the best branch hold.
    #[must_use]
    pub fn distinct_authors(&self, blocks: usize) -> usize {
        let mut seen = HashSet::new();
        for &slot in self.best.iter().rev().take(blocks) {
            if let Body::Linked(entries) = &self.node(slot).body {
                seen.extend(entries.iter().map(|entry| entry.author));
            }
        }
        seen.len()
    }

    /// Checks a header (rules 1 to 5) on its parent and keeps it.
    ///
    /// # Errors
    /// Says which rule it breaks, or that the parent is unknown or condemned; nothing is kept then.
    pub fn insert_header(
        &mut self,
        header: &Header,
        now: UnixMillis,
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
        let at = self.ready_window(parent);
        let Some((_, window)) = self.windows.get(at) else {
            return Err(InsertError::UnknownParent {
                parent: header.prev_hash,
            });
        };
        let parent_node = self.node(parent);
        let target = check_header(
            window,
            parent_node.hash,
            parent_node.index,
            header,
            &hash,
            now,
        )?;
        let work = header.bits.quick_work().unwrap_or_else(|| target.work());
        let total_work = parent_node.total_work.saturating_add(work);
        let slot = self.attach(parent, header, hash, total_work);
        self.push_window(at, parent, slot, header, target);
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
        self.spread_readiness(slot);
        true
    }

    // From here on: by slot. Slots come from this tree alone and stay valid while their node is in it.

    #[expect(
        clippy::indexing_slicing,
        reason = "a slot is an index that this arena gave out"
    )]
    fn node(&self, slot: Slot) -> &Node {
        &self.nodes[slot as usize]
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "a slot is an index that this arena gave out"
    )]
    fn node_mut(&mut self, slot: Slot) -> &mut Node {
        &mut self.nodes[slot as usize]
    }

    fn tip_slot(&self) -> Slot {
        self.best.last().copied().unwrap_or(GENESIS)
    }

    fn info(&self, slot: Slot) -> BlockInfo {
        let node = self.node(slot);
        BlockInfo {
            hash: node.hash,
            index: node.index,
            time: node.time,
            total_work: node.total_work,
            has_body: !matches!(node.body, Body::Missing),
            on_best: node.on_best,
        }
    }

    fn header_at(&self, slot: Slot) -> Header {
        let node = self.node(slot);
        Header {
            version: HEADER_VERSION,
            index: node.index,
            time: node.time,
            prev_hash: if node.parent == NONE {
                self.room.genesis().prev_hash
            } else {
                self.node(node.parent).hash
            },
            readings_root: node.readings_root,
            bits: node.bits,
            nonce: node.nonce,
        }
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
    fn settle_grown(&mut self) {
        if let Some(slot) = self.grown.take() {
            self.leaves.insert(self.node(slot).rank(), slot);
        }
    }

    fn children(&self, slot: Slot) -> Vec<Slot> {
        let mut children = Vec::new();
        let mut child = self.node(slot).first_child;
        while child != NONE {
            children.push(child);
            child = self.node(child).next_sibling;
        }
        children
    }

    /// The slot of a header's parent: mostly the newest block that there is.
    fn parent_of(&self, header: &Header) -> Option<Slot> {
        let newest = self.windows.last().map(|(slot, _)| *slot);
        newest
            .filter(|slot| self.node(*slot).hash == header.prev_hash)
            .or_else(|| self.by_hash.get(&header.prev_hash).copied())
    }
}
