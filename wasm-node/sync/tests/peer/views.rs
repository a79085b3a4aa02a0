//! What a page may look at: one's own readings and where they stand, side branches.

use chain::reading::Reading;
use sync::{
    Config, Restore,
    config::{MAX_BRANCH_BLOCKS_SHOWN, MAX_BRANCHES_SHOWN},
    seam::JournalEntry,
};

use crate::{
    branch::{Branch, START, key, reading, room},
    subject::{Subject, at},
};

const US: u64 = 1_000;

/// Place in the count, heart rate, height.
fn own(subject: &Subject, limit: usize) -> Vec<(u64, u16, Option<u64>)> {
    let own = subject.machine.own_readings(limit);
    own.iter()
        .map(|own| (own.seq, own.bpm.get(), own.index))
        .collect()
}

#[test]
fn own_readings_wait_stand_in_a_block_and_wait_again_after_a_fork() {
    let mut subject = Subject::miner(US);
    for bpm in [71, 72] {
        subject.record(bpm);
    }
    assert_eq!(own(&subject, 10), [(1, 72, None), (0, 71, None)]);
    subject.wait(5_000);
    assert!(subject.find_nonce());
    subject.record(73);
    assert_eq!(
        own(&subject, 10),
        [(2, 73, None), (1, 72, Some(1)), (0, 71, Some(1))]
    );
    assert_eq!(own(&subject, 1), [(2, 73, None)]);
    assert!(own(&subject, 0).is_empty());

    let rival = Branch::of(2, 5);
    subject.connect(7);
    subject.hear_status(7, rival.status());
    subject.serve(7, &rival);
    assert_eq!(subject.machine.status().index, 5);
    assert_eq!(
        own(&subject, 10),
        [(2, 73, None), (1, 72, None), (0, 71, None)]
    );
    let [branch] = &subject.machine.side_branches()[..] else {
        panic!("the branch that was left is shown");
    };
    assert_eq!((branch.index, branch.fork_index), (1, 0));
    assert_eq!(
        branch
            .blocks
            .iter()
            .map(|(hash, _)| *hash)
            .collect::<Vec<_>>(),
        [branch.tip]
    );

    subject.wait(10_000);
    assert!(subject.find_nonce());
    assert_eq!(
        own(&subject, 10),
        [(2, 73, Some(6)), (1, 72, Some(6)), (0, 71, Some(6))]
    );
}

#[test]
fn another_reading_in_ones_place_is_not_ones_own() {
    let mut subject = Subject::miner(US);
    subject.record(71);
    let ours = subject.machine.own_readings(1)[0];
    let foreign: Reading = reading(US, 0);
    assert_ne!(ours.id, foreign.id(room().id()));
    let mut branch = Branch::new();
    let block = branch.push(vec![foreign]);
    subject.gossip_block(7, &block);
    assert_eq!(subject.tip(), block.header.hash());
    assert_eq!(own(&subject, 1), [(0, 71, None)]);
}

#[test]
fn after_a_start_from_disk_own_readings_stand_where_they_stood() {
    let mut branch = Branch::of(2, 3);
    branch.push(vec![reading(US, 0)]);
    branch.grow(2, 2);
    branch.push(vec![reading(US, 1)]);
    let now = at(START, 0);
    let config = Config { mining: false };
    let mut restore = Restore::<u64>::new(config, room(), key(US), [], [1; 32], now);
    restore.journal((0..3).map(|seq| {
        let Reading { time, bpm, .. } = reading(US, seq);
        let bpm = chain::bpm::Bpm::new(bpm).expect("a heart rate");
        let resigns = None;
        (seq, JournalEntry { time, bpm, resigns })
    }));
    restore.blocks(
        branch
            .blocks
            .iter()
            .map(|block| (block.header.hash(), block.clone())),
    );
    let machine = restore.finish();
    let heights: Vec<_> = machine
        .own_readings(10)
        .iter()
        .map(|own| own.index)
        .collect();
    assert_eq!(heights, [None, Some(7), Some(4)]);
}

#[test]
fn branches_shown_are_the_heaviest_and_cut() {
    let mut subject = Subject::new();
    let mut best = Branch::of(1, 2);
    let fork = best.clone();
    best.grow(1, 30);
    let mut tall = fork.clone();
    tall.grow(2, 29);
    for (peer, branch) in [(6, &tall), (7, &best)] {
        subject.connect(peer);
        subject.serve(peer, branch);
        assert_eq!(subject.tip(), branch.tip());
    }
    let near = best.blocks.len() - 4;
    for author in 3..23 {
        let mut rival = best.up_to(near);
        rival.grow(author, 1);
        subject.gossip_block(8, &rival.blocks[near]);
    }
    let shown = subject.machine.side_branches();
    assert_eq!(shown.len(), MAX_BRANCHES_SHOWN);
    let first = &shown[0];
    assert_eq!(
        (first.tip, first.index, first.fork_index),
        (tall.tip(), 31, 2)
    );
    let expected: Vec<_> = tall
        .blocks
        .iter()
        .rev()
        .take(MAX_BRANCH_BLOCKS_SHOWN)
        .collect();
    assert_eq!(first.blocks.len(), expected.len());
    for ((hash, header), block) in first.blocks.iter().zip(expected) {
        assert_eq!((*hash, *header), (block.header.hash(), block.header));
    }
    assert!(
        shown
            .iter()
            .skip(1)
            .all(|branch| branch.index == 29 && branch.blocks.len() == 1)
    );
}
