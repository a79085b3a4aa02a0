//! What is confirmed, when, and what a start finds confirmed.

use sync::config::CONFIRMED_AFTER;

use super::{is_gone, pass_rounds};
use crate::{
    branch::{Branch, START, reading},
    setups::{YEAR, settled_at},
    subject::Subject,
};

/// Whether a branch of 20 blocks is confirmed after an hour.
fn is_confirmed_after_an_hour(hostile: bool) -> bool {
    let branch = Branch::of(1, 20);
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &branch);
    pass_rounds(&mut subject, &branch, 72, hostile);
    subject.confirmed.is_some()
}

// A header says nothing of the blocks below its fork: they are confirmed though its body never comes.
#[test]
fn withheld_bodies_do_not_stop_confirmation() {
    assert!(is_confirmed_after_an_hour(false));
    assert!(
        is_confirmed_after_an_hour(true),
        "after an hour of withheld bodies"
    );
}

/// A reading is in the chain for an hour, a better branch without it takes over, and the tab is closed and opened.
/// Whether the reading is lost.
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
    // Its author has left the room for good.
    subject.disconnect(1);
    subject.connect(3);
    subject.serve(3, &better);
    assert_eq!(subject.tip(), better.tip());
    // Were its old block not protected, it would be in memory alone from now on.
    let mut again = subject.reopen(0);
    again.wait(1_000);
    is_gone(&again, &reading(77, 0))
}

// After an hour it was confirmed, so its old block stays until it is in the chain again.
#[test]
fn reading_confirmed_for_an_hour_outlives_its_branch() {
    assert!(!is_lost_with_its_branch(false));
    assert!(!is_lost_with_its_branch(true), "with withheld bodies");
}

// Without a mark on disk a start finds nothing confirmed, so that a reload takes no time off the wait: blocks that a
// newcomer met first and left soon are not kept.
#[test]
fn first_branch_met_is_not_confirmed_by_a_restart() {
    let junk = Branch::of(99, 300);
    let honest = Branch::of(1, 400);
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &junk);
    subject.wait(1_000);
    // The tab is reloaded a second later.
    let mut again = subject.reopen(0);
    again.connect(2);
    again.serve(2, &honest);
    assert_eq!(again.tip(), honest.tip());
    again.wait(10 * CONFIRMED_AFTER);
    let kept = again.protected.len();
    assert_eq!(kept, 0, "blocks protected of a branch that was left");
}

// A peer gives all bodies of a branch but the first. They are on disk without their parent, and a start protects none
// of them: what is above the height of the mark was never confirmed.
#[test]
fn bodies_above_a_gap_are_not_protected() {
    let honest = Branch::of(1, 400);
    let mut subject = Subject::new();
    let mut kept = Vec::new();
    for restart in 0..3_u64 {
        let mut junk = Branch::new();
        // Another branch each time.
        for seq in 0..100 {
            let block = junk.next(
                vec![reading(200 + restart, seq)],
                START - 10_000_000 + 1_000 * seq,
            );
            junk.take(block);
        }
        let first = junk.blocks[0].header.hash();
        subject.connect(10 + restart);
        subject.serve_some(10 + restart, &junk, |hash| *hash != first);
        subject = subject.reopen(0);
        kept.push(subject.protected.len());
    }
    subject.connect(2);
    for _ in 0..20 {
        subject.serve(2, &honest);
        subject.wait(1_000);
    }
    assert_eq!(subject.tip(), honest.tip());
    subject.wait(10 * CONFIRMED_AFTER);
    kept.push(subject.protected.len());
    assert_eq!(
        kept.last(),
        Some(&0),
        "protected after each restart: {kept:?}"
    );
}

/// `branch`, the blocks of which are marked as confirmed, with a reading of author 77 in the next one; minutes later a
/// start, and seconds after that a much longer branch from there.
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
        subject.wait(1_000);
        subject.serve(1, &branch);
    }
    assert_eq!(subject.tip(), branch.tip());
    for _ in 0..100 {
        subject.wait(9_000);
        subject.serve(1, &branch);
    }
    let mut again = subject.reopen(0);
    again.wait(1_000);
    let mut better = common;
    better.grow(78, 1_110);
    again.connect(3);
    again.serve(3, &better);
    assert_eq!(again.tip(), better.tip());
    let mut last = again.reopen(0);
    last.wait(1_000);
    last
}

/// Whether a reading that was in the chain for 15 minutes is lost, when a block is held back meanwhile.
fn is_lost_beside_a_held_back_block(held_back: bool) -> bool {
    let branch = Branch::of(1, 12);
    let mut subject = settled_at(&branch);
    assert!(subject.confirmed.is_some());
    if held_back {
        // The clock was wrong for a moment, and a block was mined meanwhile: it is held back for a year.
        subject.clock = YEAR;
        subject.record(70);
        subject.wait(1_000);
        assert!(subject.find_nonce());
        subject.clock = 0;
        subject.wait(1_000);
        let held = subject.machine.status().held_back;
        assert_eq!(held.map(|held| held.blocks), Some(1));
    }
    let again = leave_branch_soon_after_a_start(subject, branch);
    is_gone(&again, &reading(77, 0))
}

// A block ahead of the clock waits for a year, and the mark of what is confirmed below it is written meanwhile.
#[test]
fn held_back_block_does_not_stop_the_mark() {
    assert!(!is_lost_beside_a_held_back_block(false));
    assert!(
        !is_lost_beside_a_held_back_block(true),
        "15 minutes in the chain, 21 deep"
    );
}
