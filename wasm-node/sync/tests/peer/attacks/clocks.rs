//! Peers that lie about the time.
use heartchain_test_support::{Branch, Driver as _, START};

use crate::{hostile::serve_with_clock, subject::Subject};

/// Almost an hour, ms: the largest clock offset of a peer that is taken into account.
const FAR: i64 = 3_500_000;

// A block is accepted if the local wall clock allows it, whatever peers say about the time.
#[test]
fn slow_false_clocks_do_not_block_new_peers() {
    let branch = Branch::min_difficulty(START - 100_000, 1, 50);
    let mut subject = Subject::new();
    for peer in 1..24 {
        subject.connect(peer);
        serve_with_clock(&mut subject, peer, &Branch::new(), -FAR);
    }
    subject.connect(24);
    for _ in 0..120 {
        for peer in 1..24 {
            serve_with_clock(&mut subject, peer, &Branch::new(), -FAR);
        }
        serve_with_clock(&mut subject, 24, &branch, 0);
        subject.advance(500);
    }
    assert_eq!(subject.machine.status().index, 50, "after a minute");
}

/// A miner has one honest peer and 23 peers that lie about the time. Returns how many of its blocks of one minute a
/// peer with a correct clock accepts, and how many nonces it found.
fn mined_among_false_clocks(ahead: i64) -> (u64, u64) {
    let branch = Branch::min_difficulty(START - 100_000, 1, 50);
    let mut subject = Subject::miner(50);
    subject.connect(24);
    subject.serve(24, &branch);
    assert_eq!(subject.tip(), branch.tip());
    for peer in 1..24 {
        subject.connect(peer);
    }
    subject.record(72);
    let (mut good, mut found) = (0, 0);
    for _ in 0..60 {
        for peer in 1..24 {
            serve_with_clock(&mut subject, peer, &branch, ahead);
        }
        serve_with_clock(&mut subject, 24, &branch, 0);
        subject.advance(1_000);
        let before = subject.machine.status().index;
        if subject.find_nonce() {
            found += 1;
            let status = subject.machine.status();
            let header = subject.machine.header(&status.tip);
            let taken = header.is_some_and(|header| header.time.get() <= subject.now + 30_000);
            good += u64::from(status.index > before && taken);
        }
        subject.record(72);
    }
    (good, found)
}

// Blocks get timestamps no earlier than their parents', and are validated by the wall clock.
#[test]
fn slow_false_clocks_do_not_stop_mining() {
    let (good, found) = mined_among_false_clocks(-FAR);
    assert!(good * 2 >= found, "{good} good blocks of {found} nonces");
}

// Timestamps come from the earlier of the two clocks, so honest peers accept the blocks.
#[test]
fn fast_false_clocks_do_not_stop_mining() {
    let (good, found) = mined_among_false_clocks(FAR);
    assert!(good * 2 >= found, "{good} good blocks of {found} nonces");
}
