//! The tree of all blocks known, and the branch of it that is best.
//!
//! Holds headers, work and, for each checked body, who is in it; never a body itself, and no clock.
//! Memory a block is small and constant, four to sixteen bytes a reading more.
//!
//! Fork choice (CHAIN.md, "Fork choice"): the branch with the greatest total work whose bodies are all valid;
//! on a tie the lower tip hash. A body's signatures are checked before it comes here
//! ([`check_body`](crate::block::check_body)); its readings' place in their authors' counts is checked here,
//! when a branch is about to become the best one, because only then is the count known.

mod views;

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};
use core::cmp::Reverse;

use hashbrown::{HashMap, HashSet};

use crate::{
    authors::AuthorTable,
    difficulty::{WINDOW_HEADERS, Window},
    hash::{BlockHash, ReadingId, ReadingsRoot},
    header::{HEADER_VERSION, Header},
    key::Author,
    reading::Reading,
    room::Room,
    time::UnixMillis,
    validate::{HeaderError, check_header},
    work::{CompactTarget, Target, Work},
};

pub use self::views::SideBranch;

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
/// Difficulty windows kept ready for branches that grow: the best tip and a few rivals. Others are rebuilt from headers.
const CACHED_WINDOWS: usize = 6;

/// Where a node is in the arena.
type Slot = u32;
const NONE: Slot = Slot::MAX;
const GENESIS: Slot = 0;

/// Greater is better: more work, then the lower hash.
type Rank = (Work, Reverse<BlockHash>);

/// One reading's place on a branch, as the tree remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who.
    pub author: Author,
    /// Its place in the author's count.
    pub seq: u64,
    /// The first bytes of its id: enough to tell a known reading from a second one with the same place.
    pub prefix: IdPrefix,
}

/// The first four bytes of a [`ReadingId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdPrefix(u32);

impl From<&ReadingId> for IdPrefix {
    fn from(id: &ReadingId) -> Self {
        let [a, b, c, d, ..] = *id.as_bytes();
        Self(u32::from_le_bytes([a, b, c, d]))
    }
}

#[derive(Clone, Copy, Debug)]
struct LooseEntry {
    author: u32,
    prefix: IdPrefix,
    seq: u64,
}

#[derive(Clone, Copy, Debug)]
struct LinkedEntry {
    author: u32,
    prefix: IdPrefix,
}

/// What is known of a block's body.
#[derive(Clone, Debug)]
enum Body {
    /// Nothing yet.
    Missing,
    /// Checked by itself; its place in the authors' counts is not.
    Loose(Box<[LooseEntry]>),
    /// On the best branch: the counts follow from the branch.
    Linked(Box<[LinkedEntry]>),
}

#[derive(Clone, Debug)]
struct Node {
    hash: BlockHash,
    readings_root: ReadingsRoot,
    total_work: Work,
    index: u64,
    time: UnixMillis,
    nonce: u64,
    bits: CompactTarget,
    parent: Slot,
    first_child: Slot,
    next_sibling: Slot,
    /// This body and all below it down to the best branch are here.
    ready: bool,
    on_best: bool,
    body: Body,
}

impl Node {
    fn rank(&self) -> Rank {
        (self.total_work, Reverse(self.hash))
    }
}

/// What a peer may say of a block without its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// The block's hash.
    pub hash: BlockHash,
    /// Its height.
    pub index: u64,
    /// Its time.
    pub time: UnixMillis,
    /// Work of its branch up to and with it.
    pub total_work: Work,
    /// Whether its body was checked and is kept.
    pub has_body: bool,
    /// Whether it is on the best branch.
    pub on_best: bool,
}

/// What [`Tree::insert_header`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inserted {
    /// The header's hash.
    pub hash: BlockHash,
    /// `false`: it was there already.
    pub new: bool,
}

/// Why a header was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InsertError {
    /// Its parent is not in the tree: condemns nothing.
    #[error("parent {parent} is not known")]
    UnknownParent {
        /// The hash it names.
        parent: BlockHash,
    },
    /// It, or a block below it, was condemned before.
    #[error("block {hash} is on a condemned branch")]
    Condemned {
        /// The header's hash.
        hash: BlockHash,
    },
    /// It breaks a rule.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

/// A reading in a block is not the next of its author on that branch (rule 7): condemns the block and its descendants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {hash}: reading of {author} has seq {found}, its next on this branch is {expected}")]
pub struct SequenceError {
    /// The block.
    pub hash: BlockHash,
    /// Whose reading.
    pub author: Author,
    /// The author's next on that branch.
    pub expected: u64,
    /// What the block holds.
    pub found: u64,
}

/// A change of the best branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The highest block that both branches share.
    pub fork_index: u64,
    /// Blocks left, the old tip first.
    pub left: Vec<Moved>,
    /// Blocks joined, the lowest first.
    pub joined: Vec<Moved>,
}

/// A block that left or joined the best branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The block.
    pub hash: BlockHash,
    /// Its readings, in block order.
    pub entries: Vec<Entry>,
}

/// What [`Tree::advance`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advance {
    /// Branches that proved invalid on the way, and every block removed with them.
    pub condemned: Vec<(SequenceError, Vec<BlockHash>)>,
    /// The change of the best branch, if there was one.
    pub switch: Option<Switch>,
}

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
    condemned_order: alloc::collections::VecDeque<BlockHash>,
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
            condemned_order: alloc::collections::VecDeque::new(),
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
        let Some(&slot) = self.by_hash.get(hash) else {
            return false;
        };
        if !matches!(self.node(slot).body, Body::Missing) {
            return false;
        }
        self.settle_grown();
        let room = self.room.id();
        let entries = readings
            .iter()
            .map(|reading| LooseEntry {
                author: self.authors.intern(&reading.author),
                prefix: IdPrefix::from(&reading.id(room)),
                seq: reading.seq,
            })
            .collect();
        self.side_readings += readings.len();
        self.bodiless -= 1;
        self.node_mut(slot).body = Body::Loose(entries);
        self.spread_readiness(slot);
        true
    }

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
                Err((slot, error)) => condemned.push((error, self.condemn_slot(slot))),
            }
        }
    }

    /// Condemns a block with its descendants (rule 7) and returns all that were removed.
    /// Blocks of the best branch and unknown ones are left alone.
    pub fn condemn(&mut self, hash: &BlockHash) -> Vec<BlockHash> {
        self.settle_grown();
        match self.by_hash.get(hash) {
            Some(&slot) if !self.node(slot).on_best => self.condemn_slot(slot),
            _ => Vec::new(),
        }
    }

    /// The best leaf that outweighs (or ties and beats) the best tip by headers alone and that `skip` lets pass.
    pub fn heaviest_leaf(&self, skip: impl Fn(&BlockHash) -> bool) -> Option<BlockInfo> {
        let tip = self.node(self.tip_slot()).rank();
        let passes = |slot: &Slot| !skip(&self.node(*slot).hash);
        let settled = self
            .leaves
            .iter()
            .rev()
            .take_while(|(rank, _)| **rank > tip)
            .map(|(rank, &slot)| (*rank, slot))
            .find(|(_, slot)| passes(slot));
        let grown = self
            .grown
            .map(|slot| (self.node(slot).rank(), slot))
            .filter(|(rank, slot)| *rank > tip && passes(slot));
        settled.max(grown).map(|(_, slot)| self.info(slot))
    }

    /// Blocks without a body on the way from the best branch to `leaf`, lowest first, at most `limit`.
    #[must_use]
    pub fn missing_bodies(&self, leaf: &BlockHash, limit: usize) -> Vec<BlockHash> {
        let Some(&slot) = self.by_hash.get(leaf) else {
            return Vec::new();
        };
        let path = self.path_to_best(slot);
        path.iter()
            .map(|&slot| self.node(slot))
            .filter(|node| matches!(node.body, Body::Missing))
            .take(limit)
            .map(|node| node.hash)
            .collect()
    }

    /// Whether `leaf` is `ancestor` or stands on it; `false` where either is not in the tree.
    #[must_use]
    pub fn is_descendant(&self, leaf: &BlockHash, ancestor: &BlockHash) -> bool {
        let (Some(&leaf), Some(&ancestor)) = (self.by_hash.get(leaf), self.by_hash.get(ancestor))
        else {
            return false;
        };
        let height = self.node(ancestor).index;
        let mut slot = leaf;
        while self.node(slot).index > height {
            if self.node(slot).on_best {
                return self.node(ancestor).on_best;
            }
            slot = self.node(slot).parent;
        }
        slot == ancestor
    }

    /// Hashes by which a peer finds what it shares with the branch that ends in `from`:
    /// newest first, in doubling steps, genesis last.
    #[must_use]
    pub fn locator(&self, from: &BlockHash) -> Vec<BlockHash> {
        let mut slot = self
            .by_hash
            .get(from)
            .copied()
            .unwrap_or_else(|| self.tip_slot());
        let mut hashes = Vec::new();
        let mut step = 1_u64;
        while slot != GENESIS && hashes.len() + 1 < MAX_LOCATOR {
            hashes.push(self.node(slot).hash);
            slot = self.ancestor(slot, step);
            if hashes.len() >= 8 {
                step = step.saturating_mul(2);
            }
        }
        hashes.push(self.node(GENESIS).hash);
        hashes
    }

    /// Headers of the best branch above the first hash of `locator` that is on it, at most `limit`.
    #[must_use]
    pub fn headers_after(&self, locator: &[BlockHash], limit: usize) -> Vec<Header> {
        let shared = locator
            .iter()
            .filter_map(|hash| self.by_hash.get(hash))
            .find(|&&slot| self.node(slot).on_best);
        let Some(&shared) = shared else {
            return Vec::new();
        };
        let next = usize::try_from(self.node(shared).index + 1).unwrap_or(usize::MAX);
        self.best
            .iter()
            .skip(next)
            .take(limit)
            .map(|&slot| self.header_at(slot))
            .collect()
    }

    /// Lets go of side blocks that are too deep, and of the lightest when there are too many; of branches that end in
    /// one of `growing` only once they have ended. Returns the removed ones whose body was kept.
    pub fn prune(&mut self, growing: &[BlockHash]) -> Vec<BlockHash> {
        self.settle_grown();
        let growing: Vec<Slot> = growing
            .iter()
            .filter_map(|hash| self.by_hash.get(hash).copied())
            .collect();
        let tip = self.info(self.tip_slot());
        let deep: Vec<Slot> = self
            .leaves
            .values()
            .copied()
            .filter(|slot| !growing.contains(slot))
            .filter(|&slot| self.node(slot).index + MAX_SIDE_DEPTH < tip.index)
            .collect();
        let mut removed = Vec::new();
        for leaf in deep {
            let mut slot = leaf;
            while self.is_removable_leaf(slot) && self.node(slot).index + MAX_SIDE_DEPTH < tip.index
            {
                slot = self.remove_leaf(slot, &mut removed);
            }
        }
        while self.side_blocks > MAX_SIDE_BLOCKS || self.side_readings > MAX_SIDE_READINGS {
            let lightest = self
                .leaves
                .values()
                .copied()
                .find(|slot| !growing.contains(slot));
            let Some(slot) = lightest.filter(|&slot| self.is_removable_leaf(slot)) else {
                break;
            };
            self.remove_leaf(slot, &mut removed);
        }
        removed
    }

    /// Lets go of the headers that end in `leaf` and whose body is not here, down to the first block that has one or
    /// that another branch stands on. Returns their hashes, the highest first.
    pub fn forget_bodiless(&mut self, leaf: &BlockHash) -> Vec<BlockHash> {
        self.settle_grown();
        let mut forgotten = Vec::new();
        let Some(&(mut slot)) = self.by_hash.get(leaf) else {
            return forgotten;
        };
        loop {
            let node = self.node(slot);
            let goes =
                !node.on_best && node.first_child == NONE && matches!(node.body, Body::Missing);
            if !goes {
                return forgotten;
            }
            forgotten.push(node.hash);
            slot = self.remove_leaf(slot, &mut Vec::new());
        }
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

    /// The ancestor `steps` below, genesis at the lowest.
    fn ancestor(&self, mut slot: Slot, steps: u64) -> Slot {
        let height = self.node(slot).index.saturating_sub(steps);
        while self.node(slot).index > height {
            if self.node(slot).on_best {
                let at = usize::try_from(height).unwrap_or(usize::MAX);
                return self.best.get(at).copied().unwrap_or(GENESIS);
            }
            slot = self.node(slot).parent;
        }
        slot
    }

    /// Nodes off the best branch from the fork to `slot`, lowest first.
    fn path_to_best(&self, mut slot: Slot) -> Vec<Slot> {
        let mut path = Vec::new();
        while !self.node(slot).on_best {
            path.push(slot);
            slot = self.node(slot).parent;
        }
        path.reverse();
        path
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

    /// Marks `slot` and what stands on it as ready, as far as bodies are here.
    fn spread_readiness(&mut self, slot: Slot) {
        let mut open = alloc::vec![slot];
        while let Some(slot) = open.pop() {
            let node = self.node(slot);
            let parent_ready = node.parent == NONE || self.node(node.parent).ready;
            if node.ready || !parent_ready || matches!(node.body, Body::Missing) {
                continue;
            }
            let rank = node.rank();
            self.node_mut(slot).ready = true;
            self.ready.insert(rank, slot);
            open.extend(self.children(slot));
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

    /// Checks that on this path every reading is its author's next.
    fn judge_path(&self, path: &[Slot]) -> Result<(), (Slot, SequenceError)> {
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
    fn switch_along(&mut self, path: &[Slot]) -> Switch {
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

    fn unlink(&mut self, slot: Slot) -> Moved {
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

    fn link(&mut self, slot: Slot) -> Moved {
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

    fn moved(&self, slot: Slot, entries: &[LooseEntry]) -> Moved {
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

    fn condemn_slot(&mut self, slot: Slot) -> Vec<BlockHash> {
        let mut subtree = alloc::vec![slot];
        let mut next = 0;
        while let Some(&slot) = subtree.get(next) {
            subtree.extend(self.children(slot));
            next += 1;
        }
        let mut removed = Vec::new();
        let mut with_body = Vec::new();
        for &slot in subtree.iter().rev() {
            let hash = self.node(slot).hash;
            removed.push(hash);
            self.remove_leaf(slot, &mut with_body);
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

    /// A leaf may go when it is off the best branch and does not outweigh it.
    fn is_removable_leaf(&self, slot: Slot) -> bool {
        let node = self.node(slot);
        !node.on_best && node.first_child == NONE && node.rank() < self.node(self.tip_slot()).rank()
    }

    /// Removes a node that has no children and is off the best branch; returns its parent.
    fn remove_leaf(&mut self, slot: Slot, with_body: &mut Vec<BlockHash>) -> Slot {
        let node = self.node(slot);
        let (hash, rank, parent, sibling) =
            (node.hash, node.rank(), node.parent, node.next_sibling);
        if let Body::Loose(entries) =
            core::mem::replace(&mut self.node_mut(slot).body, Body::Missing)
        {
            with_body.push(hash);
            self.side_readings -= entries.len();
            for entry in &entries {
                self.authors.release(entry.author);
            }
        } else {
            self.bodiless -= 1;
        }
        self.by_hash.remove(&hash);
        self.leaves.remove(&rank);
        self.ready.remove(&rank);
        self.windows.retain(|(cached, _)| *cached != slot);
        self.side_blocks -= 1;
        self.detach_from_parent(slot, parent, sibling);
        self.free.push(slot);
        let parent_node = self.node(parent);
        if !parent_node.on_best && parent_node.first_child == NONE {
            let rank = parent_node.rank();
            self.leaves.insert(rank, parent);
        }
        parent
    }

    fn detach_from_parent(&mut self, slot: Slot, parent: Slot, sibling: Slot) {
        if self.node(parent).first_child == slot {
            self.node_mut(parent).first_child = sibling;
            return;
        }
        let mut before = self.node(parent).first_child;
        while before != NONE {
            let after = self.node(before).next_sibling;
            if after == slot {
                self.node_mut(before).next_sibling = sibling;
                return;
            }
            before = after;
        }
    }

    fn window_at(&self, slot: Slot) -> Window {
        self.windows
            .iter()
            .find(|(cached, _)| *cached == slot)
            .map_or_else(|| self.rebuild_window(slot), |(_, window)| window.clone())
    }

    /// The slot of a header's parent: mostly the newest block that there is.
    fn parent_of(&self, header: &Header) -> Option<Slot> {
        let newest = self.windows.last().map(|(slot, _)| *slot);
        newest
            .filter(|slot| self.node(*slot).hash == header.prev_hash)
            .or_else(|| self.by_hash.get(&header.prev_hash).copied())
    }

    /// Where the window of the branch that ends in `slot` is, made if it was not there.
    fn ready_window(&mut self, slot: Slot) -> usize {
        let cached = self.windows.iter().rposition(|(cached, _)| *cached == slot);
        cached.unwrap_or_else(|| {
            let window = self.rebuild_window(slot);
            self.keep_window(slot, window);
            self.windows.len() - 1
        })
    }

    /// Turns the window of `parent`, number `at`, into that of the header that was put on it; the best tip's is needed
    /// for its own sake, so that one is copied.
    fn push_window(
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
    fn keep_window(&mut self, slot: Slot, window: Window) {
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

    fn rebuild_window(&self, slot: Slot) -> Window {
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
