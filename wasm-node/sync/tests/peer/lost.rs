//! Bodies that the disk garbled, and that are found to be so when the machine is at work: fetched again, or given up.

use chain::hash::BlockHash;
use sync::{
    Event, Input,
    config::{
        LOST_INTERVAL, LOST_LAST_ROUND, LOST_PATIENCE, LOST_PATIENCE_PER_BLOCK, MAX_LOST_PATIENCE,
        RECOVERY_MAX_INTERVAL, UNAVAILABLE_PATIENCE,
    },
    message::Request,
    seam::RequestFailure,
};

use crate::{
    branch::Branch,
    restoring::{not_looked_at, not_looked_at_beside},
    subject::{Peer, Subject, honest_answer, is_bodies, is_status},
};

/// How long a body with four blocks above it is waited for.
const PATIENCE: u64 = LOST_PATIENCE + 4 * LOST_PATIENCE_PER_BLOCK;

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
    subject.wait(RECOVERY_MAX_INTERVAL);
    assert!(waits(&subject), "it came again");
    assert_eq!(subject.machine.load().recovery, 4);
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
    let newcomer = branch.up_to(3);
    pass(&mut subject, PATIENCE - 1_000, &[(1, &newcomer)]);
    assert_eq!(subject.tip(), branch.tip(), "somebody may come back");
    pass(&mut subject, 3_000, &[(1, &newcomer)]);
    assert_eq!(subject.tip(), newcomer.tip());
    let mut events = subject.events.iter().rev();
    let change = events.find_map(|event| {
        let Event::Chain { from, to, reorg } = event else {
            return None;
        };
        Some((*from, *to, *reorg))
    });
    assert_eq!(change, Some((3, 3, true)));
    assert_eq!(subject.machine.load().lost, 0);
    assert_eq!(subject.blocks.len(), 7, "all that was on disk still is");
    // What stood above it waits for a place; what was in it is for its author to offer again.
    let waiting = subject.machine.pending().map(|reading| reading.seq);
    assert_eq!(waiting.collect::<Vec<_>>(), [4, 5, 6, 7]);

    // The whole branch is better still, once somebody has the body after all.
    subject.connect(2);
    let peers = [(1, &newcomer), (2, &branch)];
    pass(&mut subject, UNAVAILABLE_PATIENCE + 1_000, &peers);
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
    pass(&mut subject, PATIENCE + 3_000, &[(1, &other)]);
    assert_eq!(
        subject.tip(),
        other.tip(),
        "three blocks are less than five"
    );
    let waiting = subject.machine.pending().count();
    assert_eq!(waiting, 7, "but for the reading that is lost, all return");
}

#[test]
fn what_was_given_up_stays_so_after_a_start() {
    let (branch, other) = (Branch::of(1, 8), Branch::of(2, 5));
    let unknown = BlockHash::new([3; 32]);
    for (tip, expected) in [
        (other.tip(), other.tip()),
        (branch.tip(), branch.tip()),
        (unknown, branch.tip()),
    ] {
        let mut subject = not_looked_at_beside(&branch, &other, tip);
        assert_eq!(subject.tip(), branch.tip());
        let lost = branch.blocks[3].header.hash();
        subject.blocks.remove(&lost);
        subject.give(Input::Lost { hashes: vec![lost] });
        // Had it been there the tip would have been another: nobody has to be asked first.
        assert_eq!(subject.tip(), expected);
        assert_eq!(subject.blocks.len(), 12, "all that was on disk still is");
    }
}

#[test]
fn what_is_garbled_after_a_change_of_branch_is_waited_for() {
    let (mut branch, other) = (Branch::of(1, 8), Branch::of(2, 5));
    let mut subject = not_looked_at_beside(&branch, &other, other.tip());
    let lost = branch.blocks[3].header.hash();
    branch.grow(1, 1);
    subject.gossip_block(1, &branch.blocks[8]);
    subject.give(Input::Lost { hashes: vec![lost] });
    assert_eq!(subject.tip(), branch.tip());
}

#[test]
fn a_body_is_not_given_up_while_somebody_may_have_it() {
    let branch = Branch::of(1, 8);
    // Nobody is there whom newcomers could follow instead.
    let (mut subject, _) = without_body(&branch, 4);
    subject.wait(2 * MAX_LOST_PATIENCE);
    assert_eq!(subject.tip(), branch.tip());
    // One lacks it, and goes. After a while alone the time begins anew.
    let newcomer = branch.up_to(3);
    subject.connect(1);
    pass(&mut subject, PATIENCE - 2_000, &[(1, &newcomer)]);
    subject.disconnect(1);
    subject.wait(LOST_PATIENCE + 2_000);
    subject.connect(2);
    pass(&mut subject, PATIENCE - 2_000, &[(2, &newcomer)]);
    assert_eq!(subject.tip(), branch.tip());
    // Who lacked it before is asked a last time, and may have it now.
    pass(&mut subject, 10_000, &[(2, &branch)]);
    assert_whole(&subject, &branch);
}

#[test]
fn somebody_new_is_asked_before_a_body_is_given_up() {
    let branch = Branch::of(1, 8);
    let newcomer = branch.up_to(3);
    let (mut subject, _) = without_body(&branch, 4);
    subject.connect(1);
    pass(&mut subject, PATIENCE - 1_000, &[(1, &newcomer)]);
    subject.connect(2);
    pass(&mut subject, LOST_LAST_ROUND - 2_000, &[(1, &newcomer)]);
    assert_eq!(subject.tip(), branch.tip());
    subject.serve(2, &branch);
    assert_whole(&subject, &branch);
}

#[test]
fn who_never_answers_is_not_waited_for_without_end() {
    let branch = Branch::of(1, 8);
    let newcomer = branch.up_to(3);
    // Silent about bodies, and about everything.
    for says_status in [true, false] {
        let (mut subject, _) = without_body(&branch, 4);
        subject.connect(1);
        subject.connect(2);
        for _ in 0..(PATIENCE + 3 * LOST_LAST_ROUND) / 1_000 {
            subject.serve(1, &newcomer);
            if says_status {
                subject.serve_some_of(2, &branch, is_status);
            }
            subject.wait(1_000);
        }
        assert_eq!(subject.tip(), newcomer.tip(), "says status: {says_status}");
    }
}

#[test]
fn who_has_none_to_give_does_not_keep_others_from_being_asked() {
    let branch = Branch::of(1, 8);
    let mut subject = all_lost(&branch);
    subject.connect(1);
    subject.hear_status(1, branch.up_to(1).status());
    subject.connect(2);
    subject.hear_status(2, branch.status());
    // The first has news with each answer, so it may have got some meanwhile.
    for round in 0..20 {
        subject.hear_status(1, branch.up_to(round % 2).status());
        if let Some((id, request)) = subject.open(1, is_bodies) {
            let nothing = honest_answer(&Branch::new(), &request, |_| true);
            subject.respond(1, id, nothing.encode());
        }
    }
    assert!(subject.open(2, is_bodies).is_some());
    subject.serve(2, &branch);
    assert_eq!(subject.machine.load().lost, 0);
}

#[test]
fn who_has_none_to_give_is_asked_once_a_second() {
    let branch = Branch::of(1, 8);
    let mut subject = all_lost(&branch);
    subject.connect(1);
    subject.hear_status(1, branch.up_to(1).status());
    let mut asked = 0;
    for round in 0..100 {
        subject.hear_status(1, branch.up_to(round % 2).status());
        asked += usize::from(subject.open(1, is_bodies).is_some());
        subject.serve_some_of(1, &Branch::new(), is_bodies);
        subject.wait(100);
    }
    assert!(
        (5..=12).contains(&asked),
        "asked {asked} times in ten seconds"
    );
}

#[test]
fn who_refuses_is_asked_again_later_for_less() {
    let branch = Branch::of(1, 8);
    let mut subject = all_lost(&branch);
    subject.connect(1);
    subject.hear_status(1, branch.status());
    for _ in 0..10 {
        if let Some((id, _)) = subject.open(1, is_bodies) {
            subject.asked.remove(&id);
            let failure = RequestFailure::Closed;
            subject.give(Input::RequestFailed {
                peer: 1,
                id,
                failure,
            });
        }
    }
    subject.wait(LOST_INTERVAL);
    let request = subject.open(1, is_bodies).map(|(_, request)| request);
    assert!(
        matches!(&request, Some(Request::Bodies { hashes }) if hashes.len() == 1),
        "{request:?}"
    );
    subject.serve(1, &branch);
    assert_eq!(subject.machine.load().lost, 0);
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
    let hash = |height: usize| branch.blocks[height - 1].header.hash();
    let mut subject = all_lost(&branch);
    subject.connect(1);
    // Its answers end where it has nothing, as ours do.
    for _ in 0..5 {
        subject.serve_some_of(1, &branch, |request| !is_bodies(request));
        while let Some((id, request)) = subject.open(1, is_bodies) {
            let Request::Bodies { hashes } = &request else {
                panic!("{request:?}");
            };
            let has = |asked: &BlockHash| *asked != hash(3) && *asked != hash(6);
            let many = hashes.iter().take_while(|asked| has(asked)).count().max(1);
            let asked = Request::Bodies {
                hashes: hashes[..many].to_vec(),
            };
            let response = honest_answer(&branch, &asked, has);
            subject.respond(1, id, response.encode());
        }
        subject.wait(LOST_INTERVAL);
    }
    assert_eq!(subject.machine.load().lost, 2);
    subject.connect(2);
    subject.serve_some(2, &branch, |asked| *asked != hash(3));
    subject.wait(LOST_INTERVAL);
    subject.serve_some(2, &branch, |asked| *asked != hash(3));
    assert_eq!(subject.machine.load().lost, 1);
}

#[test]
fn who_was_too_slow_is_asked_for_the_last_time_too() {
    let branch = Branch::of(1, 8);
    let (mut subject, _) = without_body(&branch, 4);
    subject.connect(1);
    for _ in 0..PATIENCE / 1_000 + 20 {
        subject.serve_some_of(1, &branch, is_status);
        subject.wait(1_000);
    }
    pass(&mut subject, LOST_LAST_ROUND, &[(1, &branch)]);
    assert_whole(&subject, &branch);
    let left = |event: &Event| matches!(event, Event::Chain { reorg: true, .. });
    assert!(
        !subject.events.iter().any(left),
        "it was not left for a moment"
    );
}

/// A subject with this branch, whose disk garbled all of it.
fn all_lost(branch: &Branch) -> Subject {
    let mut subject = not_looked_at(branch);
    let hashes: Vec<BlockHash> = subject.blocks.drain().map(|(hash, _)| hash).collect();
    subject.give(Input::Lost { hashes });
    assert_eq!(subject.machine.load().lost, branch.blocks.len());
    subject
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

/// Nothing is lost any more, and nothing was left for it.
fn assert_whole(subject: &Subject, branch: &Branch) {
    assert_eq!(subject.machine.load().lost, 0);
    assert_eq!(subject.tip(), branch.tip());
}

/// Lets time pass, in which these peers answer.
fn pass(subject: &mut Subject, ms: u64, peers: &[(Peer, &Branch)]) {
    for _ in 0..ms / 1_000 {
        subject.serve_all(peers);
        subject.wait(1_000);
    }
}
