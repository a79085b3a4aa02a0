//! What the tree stores: the arena of nodes and its indexes, and how blocks are looked up.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};

use hashbrown::{HashMap, HashSet};

use super::{
    node::{Body, GENESIS, NONE, Node, Rank, Slot},
    results::BlockInfo,
};
use crate::{
    authors::AuthorTable,
    difficulty::Window,
    hash::{BlockHash, IdPrefix},
    header::{HEADER_VERSION, Header},
    key::Author,
    ordered::OrderedSet,
    room::Room,
    time::UnixMillis,
    work::Work,
};

/// All known blocks of a room, and the best branch among them.
#[derive(Clone, Debug)]
pub struct Tree {
    pub(super) room: Room,
    pub(super) nodes: Vec<Node>,
    pub(super) free: Vec<Slot>,
    pub(super) by_hash: HashMap<BlockHash, Slot>,
    /// The best branch by height, from genesis at 0.
    pub(super) best: Vec<Slot>,
    /// Nodes off the best branch that have no children, except `newest_leaf`.
    pub(super) leaves: OrderedSet<(Rank, Slot)>,
    /// The newest node, while it is a leaf without a body. Otherwise a branch received header by header would insert
    /// and remove an entry of `leaves` with each header.
    pub(super) newest_leaf: Option<Slot>,
    /// Nodes off the best branch that could become its tip.
    pub(super) ready: OrderedSet<(Rank, Slot)>,
    pub(super) side_blocks: usize,
    pub(super) side_readings: usize,
    pub(super) bodiless: usize,
    /// Blocks ahead of the clock, by when they become valid.
    pub(super) early: OrderedSet<(UnixMillis, Slot)>,
    /// Number of side blocks that are held back and have a body, and of their readings. They are exempt from all
    /// bounds.
    pub(super) pinned_blocks: usize,
    pub(super) pinned_readings: usize,
    pub(super) authors: AuthorTable,
    /// The height up to which the best branch is confirmed.
    pub(super) confirmed_index: u64,
    /// The height up to which the best branch is [`BURIED_BLOCKS`](super::BURIED_BLOCKS) deep, so it is considered final.
    pub(super) buried_index: u64,
    pub(super) windows: Vec<(Slot, Window)>,
    pub(super) invalid: HashSet<BlockHash>,
    pub(super) invalid_order: VecDeque<BlockHash>,
}

impl Tree {
    /// Creates a tree that holds only the room's genesis.
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
            body: Body::Connected(Box::new([])),
        };
        let window = Window::genesis(&room);
        Self {
            room,
            nodes: alloc::vec![node],
            free: Vec::new(),
            by_hash: HashMap::from_iter([(hash, GENESIS)]),
            best: alloc::vec![GENESIS],
            leaves: OrderedSet::default(),
            newest_leaf: None,
            ready: OrderedSet::default(),
            side_blocks: 0,
            side_readings: 0,
            bodiless: 0,
            early: OrderedSet::default(),
            pinned_blocks: 0,
            pinned_readings: 0,
            authors: AuthorTable::default(),
            confirmed_index: 0,
            buried_index: 0,
            windows: alloc::vec![(GENESIS, window)],
            invalid: HashSet::new(),
            invalid_order: VecDeque::new(),
        }
    }

    /// The nodes of `leaves`, that with the least work first.
    pub(super) fn leaf_slots(&self) -> impl DoubleEndedIterator<Item = Slot> {
        self.leaves.iter().map(|(_, slot)| slot)
    }

    /// The room that the blocks belong to.
    #[must_use]
    pub const fn room(&self) -> &Room {
        &self.room
    }

    /// The tip of the best branch.
    #[must_use]
    pub fn tip(&self) -> BlockInfo {
        self.info(self.tip_slot())
    }

    /// A summary of a block, if it is in the tree.
    #[must_use]
    pub fn block(&self, hash: &BlockHash) -> Option<BlockInfo> {
        self.by_hash.get(hash).map(|&slot| self.info(slot))
    }

    /// Whether this block is remembered as invalid. At most [`MAX_INVALID`](super::MAX_INVALID)
    /// hashes are.
    #[must_use]
    pub fn is_invalid(&self, hash: &BlockHash) -> bool {
        self.invalid.contains(hash)
    }

    /// The header of a block, if it is in the tree.
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

    /// Number of blocks off the best branch, without those that are held back.
    #[must_use]
    pub const fn side_blocks(&self) -> usize {
        self.side_blocks - self.pinned_blocks
    }

    /// Number of readings in [`Self::side_blocks`].
    #[must_use]
    pub const fn side_readings(&self) -> usize {
        self.side_readings - self.pinned_readings
    }

    /// Number of blocks whose body is missing.
    #[must_use]
    pub const fn bodiless_blocks(&self) -> usize {
        self.bodiless
    }

    /// The author's next `seq` on the best branch.
    #[must_use]
    pub fn next_seq(&self, author: &Author) -> u64 {
        self.authors.next_seq(author)
    }

    /// The id prefix of the author's reading with this `seq` on the best branch.
    #[must_use]
    pub fn best_prefix(&self, author: &Author, seq: u64) -> Option<IdPrefix> {
        self.authors.best_prefix(author, seq)
    }

    /// Number of distinct authors in the newest `blocks` blocks of the best branch.
    #[must_use]
    pub fn distinct_authors(&self, blocks: usize) -> usize {
        let mut seen = HashSet::new();
        for &slot in self.best.iter().rev().take(blocks) {
            if let Body::Connected(entries) = &self.node(slot).body {
                seen.extend(entries.iter().map(|entry| entry.author));
            }
        }
        seen.len()
    }

    // The methods below take slots. A slot comes from this tree and stays valid while its node is in it.

    #[expect(
        clippy::indexing_slicing,
        reason = "a slot is an index that this arena gave out"
    )]
    pub(super) fn node(&self, slot: Slot) -> &Node {
        &self.nodes[slot as usize]
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "a slot is an index that this arena gave out"
    )]
    pub(super) fn node_mut(&mut self, slot: Slot) -> &mut Node {
        &mut self.nodes[slot as usize]
    }

    pub(super) fn tip_slot(&self) -> Slot {
        self.best.last().copied().unwrap_or(GENESIS)
    }

    pub(super) fn info(&self, slot: Slot) -> BlockInfo {
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

    pub(super) fn header_at(&self, slot: Slot) -> Header {
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

    pub(super) fn children(&self, slot: Slot) -> Vec<Slot> {
        let mut children = Vec::new();
        let mut child = self.node(slot).first_child;
        while child != NONE {
            children.push(child);
            child = self.node(child).next_sibling;
        }
        children
    }
}
