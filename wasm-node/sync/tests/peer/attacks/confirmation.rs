//! When readings become confirmed, and what counts as confirmed after a restart.

use heartchain_sync::config::CONFIRMED_AFTER;

use super::rounds::{is_gone, pass_rounds};
use heartchain_test_support::{Branch, Driver as _, START, reading};

use crate::{
    fixtures::{YEAR, with_confirmed},
    subject::Subject,
};

/// Whether a branch of 20 blocks is confirmed after an hour.
fn is_confirmed_after_an_hour(hostile: bool) -> bool {
    let branch = Branch::of(1, 20);
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &branch);
    pass_rounds(&mut subject, &branch, 72, hostile);
    subject.state.disk.confirmed.is_some()
}

// A header does not concern the blocks below its fork point: they get confirmed even if its body never arrives.
#[test]
fn withheld_bodies_do_not_stop_confirmation() {
    assert!(is_confirmed_after_an_hour(false));
    assert!(
        is_confirmed_after_an_hour(true),
        "after an hour of withheld bodies"
    );
}

/// A reading is in the chain for an hour, then a better branch without it wins, and the tab is closed and opened again.
/// Returns whether the reading is lost.
fn is_lost_with_its_branch(hostile: bool) -> bool {
    let common = Branch::of(1, 3);
    let (mut branch, mut better) = (common.clone(), common);
    branch.push(vec![reading(77, 0)]);
    branch.grow(1, 20);
    better.grow(78, 1_110);
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &branch);
    pass_rounds(&mut subject, &branch, 72, hostile);
    assert_eq!(subject.tip(), branch.tip());
    // Its author has left the room permanently.
    subject.disconnect(1);
    subject.connect(3);
    subject.serve(3, &better);
    assert_eq!(subject.tip(), better.tip());
    // If its old block were not protected, the reading would be only in memory from now on.
    let mut again = subject.reopen(0);
    again.advance(1_000);
    is_gone(&again, &reading(77, 0))
}

// After an hour the reading is confirmed, so its old block is kept until the reading is in the chain again.
#[test]
fn reading_confirmed_for_an_hour_outlives_its_branch() {
    assert!(!is_lost_with_its_branch(false));
    assert!(!is_lost_with_its_branch(true), "with withheld bodies");
}

// Without a confirmation mark on disk, a start treats nothing as confirmed, so that a reload does not shorten the wait:
// blocks of the first branch that a new peer met and soon left are not kept.
#[test]
fn first_branch_met_is_not_confirmed_by_a_restart() {
    let junk = Branch::of(99, 300);
    let honest = Branch::of(1, 400);
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &junk);
    subject.advance(1_000);
    // The tab is reloaded a second later.
    let mut again = subject.reopen(0);
    again.connect(2);
    again.serve(2, &honest);
    assert_eq!(again.tip(), honest.tip());
    again.advance(10 * CONFIRMED_AFTER);
    let kept = again.state.disk.recovery.len();
    assert_eq!(kept, 0, "blocks of a left branch are protected");
}

// A peer sends all bodies of a branch except the first. They are on disk without their parent, and a start protects
// none of them: nothing above the height of the confirmation mark was ever confirmed.
#[test]
fn bodies_above_a_gap_are_not_protected() {
    let honest = Branch::of(1, 400);
    let mut subject = Subject::new();
    let mut kept = Vec::new();
    for restart in 0..3_u64 {
        let mut junk = Branch::new();
        // A different branch each time.
        for seq in 0..100 {
            let block = junk.mine_next(
                vec![reading(200 + restart, seq)],
                START - 10_000_000 + 1_000 * seq,
            );
            junk.append(block);
        }
        let first = junk.blocks[0].header.hash();
        subject.connect(10 + restart);
        subject.serve_with_bodies(10 + restart, &junk, |hash| *hash != first);
        subject = subject.reopen(0);
        kept.push(subject.state.disk.recovery.len());
    }
    subject.connect(2);
    for _ in 0..20 {
        subject.serve(2, &honest);
        subject.advance(1_000);
    }
    assert_eq!(subject.tip(), honest.tip());
    subject.advance(10 * CONFIRMED_AFTER);
    kept.push(subject.state.disk.recovery.len());
    assert_eq!(
        kept.last(),
        Some(&0),
        "protected after each restart: {kept:?}"
    );
}

/// The blocks of `branch` are marked as confirmed, and the next block has a reading of author 77. Minutes later the tab
/// restarts, and seconds after that a much longer branch forks off at that point.
fn leave_branch_soon_after_a_start(mut subject: Subject, mut branch: Branch) -> Subject {
    let common = branch.clone();
    subject.connect(1);
    let mut blocks = vec![branch.push(vec![reading(77, 0)])];
    for _ in 0..20 {
        let seq = branch.next_seq(1);
        blocks.push(branch.push(vec![reading(1, seq)]));
    }
    for block in &blocks {
        subject.gossip_block(1, block);
        subject.advance(1_000);
        subject.serve(1, &branch);
    }
    assert_eq!(subject.tip(), branch.tip());
    for _ in 0..100 {
        subject.advance(9_000);
        subject.serve(1, &branch);
    }
    let mut again = subject.reopen(0);
    again.advance(1_000);
    let mut better = common;
    better.grow(78, 1_110);
    again.connect(3);
    again.serve(3, &better);
    assert_eq!(again.tip(), better.tip());
    let mut last = again.reopen(0);
    last.advance(1_000);
    last
}

/// Whether a reading that was in the chain for 15 minutes is lost if a block is held back during that time.
fn is_lost_beside_a_held_back_block(held_back: bool) -> bool {
    let branch = Branch::of(1, 12);
    let mut subject = with_confirmed(&branch);
    assert!(subject.state.disk.confirmed.is_some());
    if held_back {
        // The clock was wrong for a moment, and a block mined in that moment is held back for a year.
        subject.clock_offset = YEAR;
        subject.record(70);
        subject.advance(1_000);
        assert!(subject.find_nonce());
        subject.clock_offset = 0;
        subject.advance(1_000);
        let held = subject.machine.status().held_back;
        assert_eq!(held.map(|held| held.blocks), Some(1));
    }
    let again = leave_branch_soon_after_a_start(subject, branch);
    is_gone(&again, &reading(77, 0))
}

// A block from the future waits for a year, while the confirmation mark below it is still written.
#[test]
fn held_back_block_does_not_stop_confirmation() {
    assert!(!is_lost_beside_a_held_back_block(false));
    assert!(
        !is_lost_beside_a_held_back_block(true),
        "15 minutes in the chain, 21 deep"
    );
}
