//! Fork choice, state and mempool as plainly as they can be said, against the real ones, under random trees of blocks
//! that come in random orders.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use chain::{
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

use crate::branch::{ARRIVAL, NOW, key, mine, reading, room};

/// All blocks whose header and body have come, and nothing clever.
#[derive(Default)]
struct Model {
    headers: BTreeMap<BlockHash, Header>,
    bodies: BTreeMap<BlockHash, Vec<Reading>>,
}

impl Model {
    /// The branch from genesis' child to this block, if it is whole and every author's count on it is.
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

    /// The heaviest valid branch, the lower tip on a tie.
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

/// How a random tree grows: each block on an earlier one (or genesis), with readings that mostly fit.
#[derive(Clone, Debug)]
struct Growth {
    parent: prop::sample::Index,
    authors: Vec<(u8, u64, u64)>,
    gap: u64,
}

fn growth() -> impl Strategy<Value = Growth> {
    // Author, how far off its right place (mostly not at all), and which of two readings for that place.
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

/// Makes the blocks; their bodies are valid by themselves, their authors' counts need not be.
fn grow(steps: &[Growth]) -> Vec<Block> {
    let mut branches: Vec<Vec<Block>> = vec![Vec::new()];
    let mut blocks = Vec::new();
    for step in steps {
        let mut branch = branches[step.parent.index(branches.len())].clone();
        let mut counts: BTreeMap<u8, u64> = BTreeMap::new();
        let mut readings: Vec<Reading> = Vec::new();
        for (author, off, variant) in &step.authors {
            let before = branch
                .iter()
                .flat_map(|block: &Block| &block.readings)
                .filter(|reading| reading.author == key(*author).author())
                .count() as u64;
            let more = counts.entry(*author).or_insert_with(|| before + off);
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

/// Now and then a block whose body is here, to lose it.
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

/// Gives the mempool what a change of the best branch means for it, as the machine does.
fn follow(
    mempool: &mut Mempool,
    tree: &Tree,
    switch: &Switch,
    kept: &BTreeMap<BlockHash, Vec<Reading>>,
    offered: &mut Vec<Reading>,
) {
    let tip = tree.tip();
    for moved in &switch.left {
        for entry in moved.entries.iter().rev() {
            mempool.unlink(&entry.author, entry.seq);
        }
    }
    for entry in switch.joined.iter().flat_map(|moved| &moved.entries) {
        mempool.link(&entry.author, entry.seq, entry.prefix, tip.index);
    }
    for moved in switch.left.iter().rev() {
        for reading in kept.get(&moved.hash).into_iter().flatten() {
            let next = tree.next_seq(&reading.author);
            let _ = mempool.insert(reading, reading.id(room().id()), next, ARRIVAL);
            offered.push(*reading);
        }
    }
    for reading in mempool.take_revivable(tip.index, |author| tree.next_seq(author)) {
        let next = tree.next_seq(&reading.author);
        let _ = mempool.insert(&reading, reading.id(room().id()), next, ARRIVAL);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn tree_and_mempool_are_what_the_model_says(
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
        // Headers come parents first, at random; bodies come at random among those whose header is here.
        let mut headers: Vec<&Block> = blocks.iter().collect();
        let mut bodies: Vec<&Block> = Vec::new();
        let mut kept: BTreeMap<BlockHash, Vec<Reading>> = BTreeMap::new();
        let mut losses = losses;
        for pick in order.iter().cycle() {
            if headers.is_empty() && bodies.is_empty() {
                break;
            }
            let known = |block: &&Block| {
                block.header.prev_hash == room().genesis_hash() || model.headers.contains_key(&block.header.prev_hash)
            };
            let next_header = headers.iter().position(known);
            let take_header = next_header.filter(|_| bodies.is_empty() || pick.index(2) == 0);
            if let Some(block) = losable(&mut losses, &model, &blocks, pick) {
                // It may come again, like any other.
                let hash = block.header.hash();
                if tree.block(&hash).is_some() {
                    bodies.push(block);
                }
                model.bodies.remove(&hash);
                kept.remove(&hash);
                // A rival for its place gave way to it when it was linked.
                let place = |reading: &Reading| (reading.author, reading.seq);
                let places: BTreeSet<_> = block.readings.iter().map(place).collect();
                offered.retain(|reading| !places.contains(&place(reading)));
                if let Some(switch) = tree.lose_body(&hash) {
                    follow(&mut mempool, &tree, &switch, &kept, &mut offered);
                }
                prop_assert!(tree.block(&hash).is_none_or(|info| !info.has_body && !info.on_best));
            } else if let Some(at) = take_header {
                let block = headers.remove(at);
                let hash = block.header.hash();
                // On a condemned branch the tree takes nothing; the model needs no such memory.
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
            // But for what was condemned, which the tree alone forgets.
            let beside = model.bodies.iter().filter(|(hash, _)| {
                tree.block(hash).is_some_and(|info| info.has_body && !info.on_best)
            });
            let beside: usize = beside.map(|(_, body)| body.len()).sum();
            prop_assert_eq!(tree.side_readings(), beside);
            let counts = model.counts(&best);
            for author in 1..5 {
                let author = key(author).author();
                let count = counts.get(&author).copied().unwrap_or(0);
                prop_assert_eq!(tree.next_seq(&author), count);
            }
            for reading in best.iter().flat_map(|hash| &model.bodies[hash]) {
                let prefix = IdPrefix::from(&reading.id(room().id()));
                prop_assert_eq!(tree.linked_prefix(&reading.author, reading.seq), Some(prefix));
            }
            // What waits is beyond its author's count, one for a place; what was offered and fits is not lost.
            let chained: BTreeSet<_> =
                best.iter().flat_map(|hash| &model.bodies[hash]).map(|reading| (reading.author, reading.seq)).collect();
            let mut places = BTreeSet::new();
            for reading in mempool.iter() {
                prop_assert!(!chained.contains(&(reading.author, reading.seq)), "{reading:?} is on the branch");
                prop_assert!(places.insert((reading.author, reading.seq)), "{reading:?} has a rival");
            }
            for reading in &offered {
                let place = (reading.author, reading.seq);
                prop_assert!(chained.contains(&place) || places.contains(&place), "{reading:?} is lost");
            }
            // A block of it is valid as it is.
            let mut next = counts.clone();
            for reading in mempool.template(1_024) {
                let next = next.entry(reading.author).or_default();
                prop_assert_eq!(reading.seq, *next);
                *next += 1;
            }
        }
    }
}
