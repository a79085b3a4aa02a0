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
mod growing;
mod holding_back;
mod losing;
mod node;
mod outcome;
mod paths;
mod pruning;
mod settling;
mod views;
mod windows;

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};

use hashbrown::{HashMap, HashSet};

use crate::{
    authors::AuthorTable,
    difficulty::Window,
    hash::BlockHash,
    header::{HEADER_VERSION, Header},
    key::Author,
    room::Room,
    time::UnixMillis,
    work::Work,
};

use self::node::{Body, GENESIS, NONE, Node, Rank, Slot};
pub use self::{
    outcome::{
        Advance, BlockInfo, Entry, IdPrefix, InsertError, Inserted, Invalidated, Moved, Removed,
        SequenceError, Switch,
    },
    settling::BURIED_BLOCKS,
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
    /// Blocks ahead of the clock, by when they are due.
    early: BTreeSet<(UnixMillis, Slot)>,
    /// Side blocks that are held back and have a body, and their readings: no bound makes these go.
    pinned_blocks: usize,
    pinned_readings: usize,
    authors: AuthorTable,
    /// The height up to which the best branch is confirmed.
    settled_index: u64,
    /// The height up to which it is buried so deep that it is final.
    buried_index: u64,
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
            held_back: false,
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
            early: BTreeSet::new(),
            pinned_blocks: 0,
            pinned_readings: 0,
            authors: AuthorTable::default(),
            settled_index: 0,
            buried_index: 0,
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

    /// How many blocks are off the best branch, those that are held back left out.
    #[must_use]
    pub const fn side_blocks(&self) -> usize {
        self.side_blocks - self.pinned_blocks
    }

    /// How many readings these have.
    #[must_use]
    pub const fn side_readings(&self) -> usize {
        self.side_readings - self.pinned_readings
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

    fn children(&self, slot: Slot) -> Vec<Slot> {
        let mut children = Vec::new();
        let mut child = self.node(slot).first_child;
        while child != NONE {
            children.push(child);
            child = self.node(child).next_sibling;
        }
        children
    }
}
