//! The data that a page can display: the user's own readings with their heights, and side branches.

use heartchain_chain::{content::Measurement, reading::Reading};
use heartchain_sync::{
    Config, Restore,
    config::{MAX_BRANCH_BLOCKS_SHOWN, MAX_BRANCHES_SHOWN},
};
use heartchain_test_support::{Branch, Driver as _, START, key, now_at, reading, room};

use crate::subject::{Subject, journal_entry};

const US: u64 = 1_000;

/// Own readings as sequence number, heart rate and height.
fn own(subject: &Subject, limit: usize) -> Vec<(u64, u16, Option<u64>)> {
    let own = subject.machine.own_readings(limit);
    own.iter()
        .map(|own| (own.seq, own.bpm.get(), own.index))
        .collect()
}

#[test]
fn own_readings_follow_reorgs() {
    let mut subject = Subject::miner(US);
    for bpm in [71, 72] {
        subject.record(bpm);
    }
    assert_eq!(own(&subject, 10), [(1, 72, None), (0, 71, None)]);
    subject.advance(5_000);
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
    subject.receive_status(7, rival.status());
    subject.serve(7, &rival);
    assert_eq!(subject.machine.status().index, 5);
    assert_eq!(
        own(&subject, 10),
        [(2, 73, None), (1, 72, None), (0, 71, None)]
    );
    let [branch] = &subject.machine.side_branches()[..] else {
        panic!("the left branch is not shown");
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

    subject.advance(10_000);
    assert!(subject.find_nonce());
    assert_eq!(
        own(&subject, 10),
        [(2, 73, Some(6)), (1, 72, Some(6)), (0, 71, Some(6))]
    );
}

#[test]
fn conflicting_reading_is_not_shown_as_own() {
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
fn own_readings_keep_their_heights_after_restart() {
    let mut branch = Branch::of(2, 3);
    branch.push(vec![reading(US, 0)]);
    branch.grow(2, 2);
    branch.push(vec![reading(US, 1)]);
    let now = now_at(START, 0);
    let config = Config { mining: false };
    let mut restore = Restore::<u64>::new(config, room(), key(US), [], [1; 32], now);
    restore.journal((0..3).map(|seq| {
        let Measurement { time, bpm } = room().open(&reading(US, seq)).expect("open");
        (seq, journal_entry(time, bpm))
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
fn shown_branches_are_heaviest_and_truncated() {
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
        let mut rival = best.prefix(near);
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
