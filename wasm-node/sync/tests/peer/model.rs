//! A machine against fork choice and state as plainly as they can be said, under random trees of blocks told by peers
//! that each know one branch of it, in random orders.

use core::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use chain::{block::Block, hash::BlockHash, key::Author, reading::Reading};
use proptest::prelude::*;
use sync::config::UNAVAILABLE_PATIENCE;

use crate::{
    branch::{Branch, reading},
    subject::Subject,
};

/// How a tree grows: each block on an earlier branch (or genesis), with readings that mostly fit.
#[derive(Clone, Debug)]
struct Growth {
    parent: prop::sample::Index,
    readings: Vec<(u64, u64)>,
}

fn growth() -> impl Strategy<Value = Growth> {
    // Author, and how far off its right place: mostly not at all.
    let entry = (1_u64..5, prop_oneof![12 => Just(0_u64), 1 => 1_u64..3]);
    (
        any::<prop::sample::Index>(),
        prop::collection::vec(entry, 1..4),
    )
        .prop_map(|(parent, readings)| Growth { parent, readings })
}

/// Every branch of the tree, one for each of its blocks.
fn grow(steps: &[Growth]) -> Vec<Branch> {
    let mut branches = vec![Branch::new()];
    for (number, step) in (0..).zip(steps) {
        let mut branch = branches[step.parent.index(branches.len())].clone();
        let mut next: BTreeMap<u64, u64> = BTreeMap::new();
        let mut readings = Vec::new();
        for (author, off) in &step.readings {
            let next = next
                .entry(*author)
                .or_insert_with(|| branch.next_seq(*author) + off);
            readings.push(reading(*author, *next));
            *next += 1;
        }
        // No two blocks are alike, and none is early.
        let time = crate::branch::START - 10_000_000 + 1_000 * branch.blocks.len() as u64 + number;
        let block = branch.next(readings, time);
        branch.take(block);
        branches.push(branch);
    }
    branches.remove(0);
    branches
}

/// The blocks of a branch up to the first one in which some author's count is broken.
fn valid_part(branch: &Branch) -> &[Block] {
    let mut next: BTreeMap<Author, u64> = BTreeMap::new();
    let mut breaks = |reading: &Reading| {
        let next = next.entry(reading.author).or_default();
        *next += 1;
        reading.seq + 1 != *next
    };
    let broken = branch
        .blocks
        .iter()
        .position(|block| block.readings.iter().any(&mut breaks));
    &branch.blocks[..broken.unwrap_or(branch.blocks.len())]
}

/// The heaviest of the valid branches, the lower tip on a tie. A branch's valid part is another block's branch.
fn best(branches: &[Branch]) -> Vec<BlockHash> {
    let whole = branches
        .iter()
        .filter(|branch| valid_part(branch).len() == branch.blocks.len());
    whole
        .max_by_key(|branch| (branch.total_work, Reverse(branch.tip())))
        .map(|branch| {
            branch
                .blocks
                .iter()
                .map(|block| block.header.hash())
                .collect()
        })
        .unwrap_or_default()
}

/// The machine's best branch, genesis left out.
fn held(subject: &Subject) -> Vec<BlockHash> {
    (1..=subject.machine.status().index)
        .filter_map(|index| subject.machine.best_hash(index))
        .collect()
}

/// Answers whatever is asked, each peer from its own branch.
fn serve_all_told(subject: &mut Subject, told: &[usize], branches: &[Branch]) {
    let peers: Vec<(u64, &Branch)> = told
        .iter()
        .map(|number| (*number as u64, &branches[*number]))
        .collect();
    subject.serve_all(&peers);
    subject.wait(1_000);
    subject.serve_all(&peers);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn machine_holds_what_the_model_says(
        steps in prop::collection::vec(growth(), 1..16),
        order in prop::collection::vec(any::<prop::sample::Index>(), 16),
        by_gossip in prop::collection::vec(any::<bool>(), 16),
    ) {
        let branches = grow(&steps);
        let mut subject = Subject::new();
        let mut left: Vec<usize> = (0..branches.len()).collect();
        let mut told: Vec<usize> = Vec::new();
        // Places that were ever on the best branch: what stood there may not be lost.
        let mut joined: BTreeSet<(Author, u64)> = BTreeSet::new();
        for (pick, by_gossip) in order.iter().zip(by_gossip) {
            if left.is_empty() {
                break;
            }
            let number = left.remove(pick.index(left.len()));
            told.push(number);
            let (peer, branch) = (number as u64, &branches[number]);
            subject.connect(peer);
            if by_gossip {
                subject.gossip_block(peer, &branch.blocks[branch.blocks.len() - 1]);
            }
            serve_all_told(&mut subject, &told, &branches);
            for hash in held(&subject) {
                joined.extend(subject.blocks[&hash].readings.iter().map(|reading| (reading.author, reading.seq)));
            }
        }
        // What was left aside is asked for again after a while.
        for _ in 0..3 {
            subject.wait(UNAVAILABLE_PATIENCE / 2);
            serve_all_told(&mut subject, &told, &branches);
        }
        prop_assert_eq!(held(&subject), best(&branches), "dropped: {:?}", subject.dropped);
        let mut counts: BTreeMap<Author, u64> = BTreeMap::new();
        for hash in held(&subject) {
            for reading in &subject.blocks[&hash].readings {
                *counts.entry(reading.author).or_default() += 1;
            }
        }
        let mut waiting = BTreeSet::new();
        for reading in subject.machine.pending() {
            let count = counts.get(&reading.author).copied().unwrap_or_default();
            prop_assert!(reading.seq >= count, "{reading:?} is on the branch");
            prop_assert!(waiting.insert((reading.author, reading.seq)), "{reading:?} has a rival");
        }
        for (author, seq) in joined {
            let count = counts.get(&author).copied().unwrap_or_default();
            prop_assert!(seq < count || waiting.contains(&(author, seq)), "{author} {seq} is lost");
        }
    }
}
