//! Bodies that the disk garbled, and that are found to be so when the machine is at work: fetched again, or given up.

use chain::hash::BlockHash;
use sync::{
    Input,
    config::{
        LOST_PATIENCE, LOST_PATIENCE_PER_BLOCK, MAX_LOST_PATIENCE, MAX_STALLS, REQUEST_TIMEOUT,
        RESCUE_INTERVAL, UNAVAILABLE_PATIENCE,
    },
};

use crate::{
    branch::Branch,
    restoring::not_looked_at,
    subject::{Peer, Subject, is_status},
};

#[test]
fn a_body_that_proves_damaged_later_is_fetched_again_and_nothing_is_cut_off() {
    let branch = Branch::of(1, 8);
    let mut subject = not_looked_at(&branch);
    let lost = branch.blocks[3].header.hash();
    let body = subject.blocks.remove(&lost).expect("a block");
    subject.give(Input::Lost { hashes: vec![lost] });
    assert_eq!(
        (subject.tip(), subject.machine.load().lost),
        (branch.tip(), 1)
    );

    // Who lacks it is asked once.
    subject.connect(1);
    subject.serve(1, &branch.up_to(3));
    assert_eq!(subject.machine.load().lost, 1);
    subject.connect(2);
    subject.serve(2, &branch);
    assert_eq!(subject.machine.load().lost, 0);
    assert_eq!(subject.blocks.get(&lost), Some(&body));
    assert_eq!(subject.tip(), branch.tip());
}

#[test]
fn readings_of_a_left_block_that_the_disk_garbled_return_once_it_was_fetched_again() {
    let (branch, better) = (Branch::of(1, 4), Branch::of(2, 6));
    let mut subject = not_looked_at(&branch);
    let lost = &branch.blocks[1];
    subject.blocks.remove(&lost.header.hash());
    subject.connect(2);
    subject.serve(2, &better);
    assert_eq!(subject.tip(), better.tip());
    let waits = |subject: &Subject| {
        let mut pending = subject.machine.pending();
        pending.any(|reading| lost.readings.contains(reading))
    };
    assert!(!waits(&subject), "nobody gave it");
    assert_eq!(subject.machine.load().lost, 1);

    subject.connect(1);
    subject.serve_all(&[(1, &branch), (2, &better)]);
    assert_eq!(subject.machine.load().lost, 0);
    subject.wait(RESCUE_INTERVAL);
    assert!(waits(&subject), "it came again");
    assert_eq!(subject.machine.load().rescue, 0);
}

#[test]
fn who_sends_another_body_for_a_lost_one_is_dropped() {
    let branch = Branch::of(1, 4);
    let mut subject = not_looked_at(&branch);
    let lost = branch.blocks[1].header.hash();
    subject.blocks.remove(&lost);
    subject.give(Input::Lost {
        hashes: vec![lost, BlockHash::new([3; 32])],
    });
    assert_eq!(subject.machine.load().lost, 1);
    let mut liar = branch.clone();
    liar.blocks[1].readings[0].bpm += 1;
    subject.connect(1);
    subject.serve(1, &liar);
    assert!(
        matches!(subject.dropped[..], [(1, _, true)]),
        "{:?}",
        subject.dropped
    );
    assert_eq!(subject.machine.load().lost, 1);
    assert!(!subject.blocks.contains_key(&lost));
}

#[test]
fn a_best_branch_with_a_body_that_nobody_has_is_left_below_it() {
    let branch = Branch::of(1, 8);
    let (mut subject, lost) = without_body(&branch, 4);
    subject.connect(1);
    // Something of it is left on disk.
    subject.blocks.insert(lost, branch.blocks[0].clone());
    let patience = LOST_PATIENCE + 4 * LOST_PATIENCE_PER_BLOCK;
    pass(&mut subject, patience - 1_000, &[(1, &branch.up_to(3))]);
    assert_eq!(subject.tip(), branch.tip(), "somebody may come back");
    pass(&mut subject, 2_000, &[(1, &branch.up_to(3))]);
    assert_eq!(subject.tip(), branch.up_to(3).tip());
    assert_eq!(subject.machine.load().lost, 0);
    assert!(!subject.blocks.contains_key(&lost));
    // What stood above it waits for a place; what was in it is for its author to offer again.
    let waiting: Vec<u64> = subject
        .machine
        .pending()
        .map(|reading| reading.seq)
        .collect();
    assert_eq!(waiting, [4, 5, 6, 7]);

    // The whole branch is better still, once somebody has the body after all.
    subject.connect(2);
    pass(
        &mut subject,
        UNAVAILABLE_PATIENCE,
        &[(1, &branch.up_to(3)), (2, &branch)],
    );
    assert_eq!(subject.tip(), branch.tip());
    assert_eq!(subject.machine.pending().count(), 0);
    assert!(subject.blocks.contains_key(&lost));
}

#[test]
fn a_better_branch_is_gone_over_to_when_a_body_is_given_up() {
    let (branch, other) = (Branch::of(1, 8), Branch::of(2, 5));
    let (mut subject, _) = without_body(&branch, 4);
    for block in &other.blocks {
        subject.gossip_block(1, block);
    }
    subject.connect(1);
    pass(&mut subject, LOST_PATIENCE + 10_000, &[(1, &other)]);
    assert_eq!(
        subject.tip(),
        other.tip(),
        "three blocks are less than five"
    );
    let waiting = subject.machine.pending().count();
    assert_eq!(waiting, 7, "but for the reading that is lost, all return");
}

#[test]
fn a_body_is_not_given_up_while_somebody_may_have_it() {
    let branch = Branch::of(1, 8);
    // Nobody is there, whom newcomers could follow instead.
    let (mut subject, _) = without_body(&branch, 4);
    subject.wait(2 * MAX_LOST_PATIENCE);
    assert_eq!(subject.tip(), branch.tip());
    // One lacks it, and goes; the time begins anew with the next.
    subject.connect(1);
    pass(&mut subject, LOST_PATIENCE, &[(1, &branch.up_to(3))]);
    subject.disconnect(1);
    subject.connect(2);
    pass(&mut subject, LOST_PATIENCE, &[(2, &branch.up_to(2))]);
    assert_eq!(subject.tip(), branch.tip());
    // Somebody new is asked before.
    subject.connect(3);
    subject.wait(REQUEST_TIMEOUT - 1_000);
    assert_eq!(subject.tip(), branch.tip());
    subject.serve(3, &branch);
    assert_eq!(subject.machine.load().lost, 0);
    assert_eq!(subject.tip(), branch.tip());
}

#[test]
fn who_never_answers_is_not_waited_for_without_end() {
    let branch = Branch::of(1, 8);
    let (mut subject, _) = without_body(&branch, 4);
    subject.connect(1);
    let status = branch.up_to(3);
    let silence = u64::from(MAX_STALLS) * REQUEST_TIMEOUT;
    for _ in 0..(silence + LOST_PATIENCE + 10_000) / 1_000 {
        while subject.open(1, is_status).is_some() {
            subject.serve_some_of(1, &status, is_status);
        }
        subject.wait(1_000);
    }
    assert_eq!(subject.tip(), branch.up_to(3).tip());
}

#[test]
fn what_is_on_its_way_to_the_disk_is_not_lost() {
    let branch = Branch::of(1, 8);
    let (mut subject, lost) = without_body(&branch, 4);
    subject.held_writes = Some(Vec::new());
    subject.connect(1);
    subject.serve(1, &branch);
    // The disk has looked at what was there before.
    subject.give(Input::Lost { hashes: vec![lost] });
    assert_eq!(subject.machine.load().lost, 0);
    subject.finish_held_writes();
    assert!(subject.blocks.contains_key(&lost));
}

#[test]
fn one_lost_body_that_a_peer_lacks_does_not_hold_up_the_others() {
    let branch = Branch::of(1, 8);
    let mut subject = not_looked_at(&branch);
    let lost: Vec<BlockHash> = branch
        .blocks
        .iter()
        .map(|block| block.header.hash())
        .collect();
    for hash in &lost {
        subject.blocks.remove(hash);
    }
    subject.give(Input::Lost {
        hashes: lost.clone(),
    });
    subject.connect(1);
    subject.serve_some(1, &branch, |hash| *hash != lost[2] && *hash != lost[5]);
    assert_eq!(subject.machine.load().lost, 2);
    subject.connect(2);
    subject.serve_some(2, &branch, |hash| *hash != lost[2]);
    assert_eq!(subject.machine.load().lost, 1);
}

/// A subject with this branch, whose disk garbled the body at this height.
fn without_body(branch: &Branch, height: usize) -> (Subject, BlockHash) {
    let mut subject = not_looked_at(branch);
    let lost = branch.blocks[height - 1].header.hash();
    subject.blocks.remove(&lost);
    subject.give(Input::Lost { hashes: vec![lost] });
    assert_eq!(subject.machine.load().lost, 1);
    (subject, lost)
}

/// Lets time pass, in which these peers answer.
fn pass(subject: &mut Subject, ms: u64, peers: &[(Peer, &Branch)]) {
    for _ in 0..ms / 1_000 {
        subject.serve_all(peers);
        subject.wait(1_000);
    }
}
