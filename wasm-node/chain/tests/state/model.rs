//! A simple model of fork choice and the mempool, compared with the real ones on random trees of blocks that arrive in
//! random order.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use heartchain_chain::{
    block::Block,
    hash::BlockHash,
    header::Header,
    key::Author,
    mempool::Mempool,
    reading::Reading,
    tree::{IdPrefix, Switch, Tree},
    work::Work,
};
use proptest::prelude::*;

use crate::fixtures::{ARRIVAL, NOW, key, mine, reading, room};

/// All headers and bodies that have arrived, without any index.
#[derive(Default)]
struct Model {
    headers: BTreeMap<BlockHash, Header>,
    bodies: BTreeMap<BlockHash, Vec<Reading>>,
}

impl Model {
    /// The branch from genesis' child to this block, if all bodies are here and every reading is its author's next.
    fn branch(&self, mut hash: BlockHash) -> Option<Vec<BlockHash>> {
        let mut branch = Vec::new();
        while hash != room().genesis_hash() {
            branch.push(hash);
            self.bodies.get(&hash)?;
            hash = self.headers.get(&hash)?.prev_hash;
        }
        branch.reverse();
        let mut next: BTreeMap<Author, u64> = BTreeMap::new();
        for reading in branch.iter().flat_map(|hash| &self.bodies[hash]) {
            let next = next.entry(reading.author).or_default();
            if reading.seq != *next {
                return None;
            }
            *next += 1;
        }
        Some(branch)
    }

    fn work(&self, branch: &[BlockHash]) -> Work {
        branch
            .iter()
            .map(|hash| self.headers[hash].bits.target().expect("a target").work())
            .fold(Work::ZERO, Work::saturating_add)
    }

    /// The valid branch with the most work, or the lower tip hash on a tie.
    fn best(&self) -> Vec<BlockHash> {
        self.headers
            .keys()
            .filter_map(|hash| self.branch(*hash))
            .max_by_key(|branch| (self.work(branch), Reverse(branch.last().copied())))
            .unwrap_or_default()
    }

    fn counts(&self, branch: &[BlockHash]) -> BTreeMap<Author, u64> {
        let mut counts = BTreeMap::new();
        for reading in branch.iter().flat_map(|hash| &self.bodies[hash]) {
            *counts.entry(reading.author).or_default() += 1;
        }
        counts
    }
}

/// A block of a random tree: it builds on an earlier block or genesis, and its readings mostly have the right `seq`.
#[derive(Clone, Debug)]
struct Growth {
    parent: prop::sample::Index,
    authors: Vec<(u8, u64, u64)>,
    gap: u64,
}

fn growth() -> impl Strategy<Value = Growth> {
    // Author, the offset from the right `seq` (mostly 0), and which of two readings with that `seq`.
    let entry = (
        1_u8..5,
        prop_oneof![9 => Just(0_u64), 1 => 1_u64..3],
        0_u64..2,
    );
    let gap = prop_oneof![Just(100_u64), Just(1_000), Just(5_000), Just(70_000)];
    (
        any::<prop::sample::Index>(),
        prop::collection::vec(entry, 1..4),
        gap,
    )
        .prop_map(|(parent, authors, gap)| Growth {
            parent,
            authors,
            gap,
        })
}

/// Mines the blocks. Each body is valid on its own, but a reading need not be its author's next on the branch.
fn grow(steps: &[Growth]) -> Vec<Block> {
    let mut branches: Vec<Vec<Block>> = vec![Vec::new()];
    let mut blocks = Vec::new();
    for step in steps {
        let mut branch = branches[step.parent.index(branches.len())].clone();
        let mut counts: BTreeMap<u8, u64> = BTreeMap::new();
        let mut readings: Vec<Reading> = Vec::new();
        for (author, offset, variant) in &step.authors {
            let before = branch
                .iter()
                .flat_map(|block: &Block| &block.readings)
                .filter(|reading| reading.author == key(*author).author())
                .count() as u64;
            let more = counts.entry(*author).or_insert_with(|| before + offset);
            readings.push(reading(*author, *more, *variant));
            *more += 1;
        }
        let headers: Vec<Header> = branch.iter().map(|block| block.header).collect();
        let block = mine(&headers, readings, step.gap);
        branch.push(block.clone());
        branches.push(branch);
        blocks.push(block);
    }
    blocks
}

/// Sometimes picks a block whose body is here, to lose the body.
fn losable<'a>(
    losses: &mut u32,
    model: &Model,
    blocks: &'a [Block],
    pick: &prop::sample::Index,
) -> Option<&'a Block> {
    if *losses == 0 || pick.index(6) != 0 {
        return None;
    }
    let here: Vec<&Block> = blocks
        .iter()
        .filter(|block| model.bodies.contains_key(&block.header.hash()))
        .collect();
    *losses -= 1;
    here.get(pick.index(here.len().max(1))).copied()
}

/// Applies a change of the best branch to the mempool, as the sync machine does.
fn follow(
    mempool: &mut Mempool,
    tree: &Tree,
    switch: &Switch,
    kept: &BTreeMap<BlockHash, Vec<Reading>>,
    offered: &mut Vec<Reading>,
) {
    let tip = tree.tip();
    for moved in &switch.disconnected {
        for entry in moved.entries.iter().rev() {
            mempool.on_disconnected(&entry.author, entry.seq);
        }
    }
    for entry in switch.connected.iter().flat_map(|moved| &moved.entries) {
        mempool.on_connected(&entry.author, entry.seq, entry.prefix, tip.index);
    }
    for moved in switch.disconnected.iter().rev() {
        for reading in kept.get(&moved.hash).into_iter().flatten() {
            let next = tree.next_seq(&reading.author);
            let _ = mempool.insert(reading, reading.id(room().id()), next, ARRIVAL);
            offered.push(*reading);
        }
    }
    for reading in mempool.take_minable_displaced(tip.index, |author| tree.next_seq(author)) {
        let next = tree.next_seq(&reading.author);
        let _ = mempool.insert(&reading, reading.id(room().id()), next, ARRIVAL);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn tree_and_mempool_match_the_model(
        steps in prop::collection::vec(growth(), 1..25),
        order in prop::collection::vec(any::<prop::sample::Index>(), 60),
        waiting in prop::collection::vec((1_u8..5, 0_u64..6, 0_u64..2), 0..12),
        losses in 0_u32..4,
    ) {
        let blocks = grow(&steps);
        let mut model = Model::default();
        let mut tree = Tree::new(room());
        let mut mempool = Mempool::new(key(1).author(), 7);
        let mut offered: Vec<Reading> = Vec::new();
        for (author, seq, variant) in waiting {
            let reading = reading(author, seq, variant);
            if mempool.insert(&reading, reading.id(room().id()), 0, ARRIVAL).is_ok() {
                offered.push(reading);
            }
        }
        // Headers arrive in random order, parents first. Bodies arrive in random order after their header.
        let mut headers: Vec<&Block> = blocks.iter().collect();
        let mut bodies: Vec<&Block> = Vec::new();
        let mut kept: BTreeMap<BlockHash, Vec<Reading>> = BTreeMap::new();
        let mut losses = losses;
        for pick in order.iter().cycle() {
            if headers.is_empty() && bodies.is_empty() {
                break;
            }
            let has_parent = |block: &&Block| {
                block.header.prev_hash == room().genesis_hash() || model.headers.contains_key(&block.header.prev_hash)
            };
            let next_header = headers.iter().position(has_parent);
            let take_header = next_header.filter(|_| bodies.is_empty() || pick.index(2) == 0);
            if let Some(block) = losable(&mut losses, &model, &blocks, pick) {
                // The body may arrive again, like any other.
                let hash = block.header.hash();
                if tree.block(&hash).is_some() {
                    bodies.push(block);
                }
                model.bodies.remove(&hash);
                kept.remove(&hash);
                // A waiting reading with the same author and `seq` was displaced when this block was connected.
                let author_seq = |reading: &Reading| (reading.author, reading.seq);
                let keys: BTreeSet<_> = block.readings.iter().map(author_seq).collect();
                offered.retain(|reading| !keys.contains(&author_seq(reading)));
                if let Some(switch) = tree.mark_body_missing(&hash) {
                    follow(&mut mempool, &tree, &switch, &kept, &mut offered);
                }
                prop_assert!(tree.block(&hash).is_none_or(|info| !info.has_body && !info.on_best));
            } else if let Some(at) = take_header {
                let block = headers.remove(at);
                let hash = block.header.hash();
                // The tree rejects headers on an invalid branch. The model does not remember invalid branches.
                let _ = tree.insert_header(&block.header, NOW);
                model.headers.insert(hash, block.header);
                bodies.push(block);
            } else if !bodies.is_empty() {
                let block = bodies.remove(pick.index(bodies.len()));
                let hash = block.header.hash();
                tree.insert_checked_body(&hash, &block.readings);
                model.bodies.insert(hash, block.readings.clone());
                kept.insert(hash, block.readings.clone());
            }
            if let Some(switch) = tree.advance().switch {
                follow(&mut mempool, &tree, &switch, &kept, &mut offered);
            }

            let best = model.best();
            let tip = best.last().copied().unwrap_or(room().genesis_hash());
            prop_assert_eq!(tree.tip().hash, tip);
            prop_assert_eq!(tree.tip().total_work, model.work(&best));
            for (height, hash) in (1..).zip(&best) {
                prop_assert_eq!(tree.best_hash(height), Some(*hash));
            }
            // Without invalid blocks, which only the tree removes.
            let side = model.bodies.iter().filter(|(hash, _)| {
                tree.block(hash).is_some_and(|info| info.has_body && !info.on_best)
            });
            let side: usize = side.map(|(_, body)| body.len()).sum();
            prop_assert_eq!(tree.side_readings(), side);
            let counts = model.counts(&best);
            for author in 1..5 {
                let author = key(author).author();
                let count = counts.get(&author).copied().unwrap_or(0);
                prop_assert_eq!(tree.next_seq(&author), count);
            }
            for reading in best.iter().flat_map(|hash| &model.bodies[hash]) {
                let prefix = IdPrefix::from(&reading.id(room().id()));
                prop_assert_eq!(tree.best_prefix(&reading.author, reading.seq), Some(prefix));
            }
            // No waiting reading is on the branch or has a rival with the same `seq`, and no valid offered reading is
            // lost.
            let chained: BTreeSet<_> =
                best.iter().flat_map(|hash| &model.bodies[hash]).map(|reading| (reading.author, reading.seq)).collect();
            let mut keys = BTreeSet::new();
            for reading in mempool.iter() {
                prop_assert!(!chained.contains(&(reading.author, reading.seq)), "{reading:?} is on the branch");
                prop_assert!(keys.insert((reading.author, reading.seq)), "{reading:?} has a rival");
            }
            for reading in &offered {
                let author_seq = (reading.author, reading.seq);
                prop_assert!(chained.contains(&author_seq) || keys.contains(&author_seq), "{reading:?} is lost");
            }
            // A block with the template is valid.
            let mut next = counts.clone();
            for reading in mempool.template(1_024) {
                let next = next.entry(reading.author).or_default();
                prop_assert_eq!(reading.seq, *next);
                *next += 1;
            }
        }
    }
}
