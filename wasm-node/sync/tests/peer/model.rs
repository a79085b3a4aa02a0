//! Compares a machine with a simple model of fork choice and chain state. The blocks form random trees; each peer knows
//! one branch, and the peers announce their branches in random order.

use core::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use heartchain_chain::{block::Block, hash::BlockHash, key::Author, reading::Reading};
use heartchain_sync::config::UNAVAILABLE_PATIENCE;
use heartchain_test_support::{Branch, Driver as _, START, reading};
use proptest::prelude::*;

use crate::subject::Subject;

/// How a tree grows by one block: on an earlier branch or genesis, with readings that are mostly in sequence.
#[derive(Clone, Debug)]
struct Growth {
    parent: prop::sample::Index,
    readings: Vec<(u64, u64)>,
}

fn growth() -> impl Strategy<Value = Growth> {
    // The author, and how far its reading is out of sequence: mostly not at all.
    let entry = (1_u64..5, prop_oneof![12 => Just(0_u64), 1 => 1_u64..3]);
    (
        any::<prop::sample::Index>(),
        prop::collection::vec(entry, 1..4),
    )
        .prop_map(|(parent, readings)| Growth { parent, readings })
}

/// All branches of the tree, one for each of its blocks.
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
        // All blocks differ, and no timestamp is in the future.
        let time = START - 10_000_000 + 1_000 * branch.blocks.len() as u64 + number;
        let block = branch.mine_next(readings, time);
        branch.append(block);
        branches.push(branch);
    }
    branches.remove(0);
    branches
}

/// The blocks of a branch before the first one that breaks an author's sequence.
fn valid_prefix(branch: &Branch) -> &[Block] {
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

/// The valid branch with the most work, or with the lower tip hash on a tie. The valid prefix of an invalid branch need
/// not be considered: it is itself one of the branches.
fn best(branches: &[Branch]) -> Vec<BlockHash> {
    let whole = branches
        .iter()
        .filter(|branch| valid_prefix(branch).len() == branch.blocks.len());
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

/// The machine's best branch without genesis.
fn best_chain(subject: &Subject) -> Vec<BlockHash> {
    (1..=subject.machine.status().index)
        .filter_map(|index| subject.machine.best_hash(index))
        .collect()
}

/// Answers all requests to the announced peers, each from its own branch.
fn serve_announced(subject: &mut Subject, announced: &[usize], branches: &[Branch]) {
    let peers: Vec<(u64, &Branch)> = announced
        .iter()
        .map(|number| (*number as u64, &branches[*number]))
        .collect();
    subject.serve_all(&peers);
    subject.advance(1_000);
    subject.serve_all(&peers);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn machine_matches_the_model(
        steps in prop::collection::vec(growth(), 1..16),
        order in prop::collection::vec(any::<prop::sample::Index>(), 16),
        by_gossip in prop::collection::vec(any::<bool>(), 16),
    ) {
        let branches = grow(&steps);
        let mut subject = Subject::new();
        let mut left: Vec<usize> = (0..branches.len()).collect();
        let mut announced: Vec<usize> = Vec::new();
        // Authors and sequence numbers that were ever on the best branch: they must not be lost.
        let mut joined: BTreeSet<(Author, u64)> = BTreeSet::new();
        for (pick, by_gossip) in order.iter().zip(by_gossip) {
            if left.is_empty() {
                break;
            }
            let number = left.remove(pick.index(left.len()));
            announced.push(number);
            let (peer, branch) = (number as u64, &branches[number]);
            subject.connect(peer);
            if by_gossip {
                subject.gossip_block(peer, &branch.blocks[branch.blocks.len() - 1]);
            }
            serve_announced(&mut subject, &announced, &branches);
            for hash in best_chain(&subject) {
                joined.extend(subject.state.disk.blocks[&hash].readings.iter().map(|reading| (reading.author, reading.seq)));
            }
        }
        // Branches that were set aside are requested again after a while.
        for _ in 0..3 {
            subject.advance(UNAVAILABLE_PATIENCE / 2);
            serve_announced(&mut subject, &announced, &branches);
        }
        prop_assert_eq!(best_chain(&subject), best(&branches), "disconnections: {:?}", subject.disconnections);
        let mut counts: BTreeMap<Author, u64> = BTreeMap::new();
        for hash in best_chain(&subject) {
            for reading in &subject.state.disk.blocks[&hash].readings {
                *counts.entry(reading.author).or_default() += 1;
            }
        }
        let mut waiting = BTreeSet::new();
        for reading in subject.machine.pending() {
            let count = counts.get(&reading.author).copied().unwrap_or_default();
            prop_assert!(reading.seq >= count, "{reading:?} is on the branch");
                        prop_assert!(waiting.insert((reading.author, reading.seq)), "{reading:?} conflicts");
        }
        for (author, seq) in joined {
            let count = counts.get(&author).copied().unwrap_or_default();
            prop_assert!(seq < count || waiting.contains(&(author, seq)), "{author} {seq} is lost");
        }
    }
}
