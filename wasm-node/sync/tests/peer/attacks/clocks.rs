//! Peers that lie about the time.

use crate::{
    branch::{Branch, START},
    hostile::serve_with_clock,
    subject::Subject,
};

/// Almost an hour: as far off as a peer's clock counts.
const FAR: i64 = 3_500_000;

// A block is taken if the wall clock allows it, whatever peers say about the time.
#[test]
fn slow_liars_do_not_keep_a_newcomer_out() {
    let branch = Branch::calm(START - 100_000, 1, 50);
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
        subject.wait(500);
    }
    assert_eq!(subject.machine.status().index, 50, "after a minute");
}

/// Blocks of a miner with one honest peer and 23 liars about the time that an honest peer's clock lets it take, and
/// nonces found, in a minute.
fn mined_among_liars(ahead: i64) -> (u64, u64) {
    let branch = Branch::calm(START - 100_000, 1, 50);
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
        subject.wait(1_000);
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

// Blocks are stamped no earlier than their parents, and taken by the wall clock.
#[test]
fn slow_liars_do_not_stop_mining() {
    let (good, found) = mined_among_liars(-FAR);
    assert!(good * 2 >= found, "{good} good blocks of {found} nonces");
}

// Blocks are stamped by the earlier of the two clocks, so honest peers take them.
#[test]
fn fast_liars_do_not_stop_mining() {
    let (good, found) = mined_among_liars(FAR);
    assert!(good * 2 >= found, "{good} good blocks of {found} nonces");
}
