//! Branches of more headers than are held at a time: weighed first, then fetched, and no liar makes a peer hold more.

use std::sync::OnceLock;

use chain::work::Work;
use sync::{
    config::{MAX_HEADERS_AHEAD, UNAVAILABLE_PATIENCE},
    message::{MAX_HEADERS, Response},
};

use chain::tree::MAX_SIDE_BLOCKS;

use crate::{
    branch::{Branch, START, reading},
    subject::{Subject, is_bodies, is_headers, is_status},
};

/// So many headers hardly weigh what the heavy branch does.
const LONG: usize = MAX_HEADERS_AHEAD + 3 * MAX_HEADERS + 500;

/// A few hundred blocks in a hurry, which weigh as much as very many calm ones.
fn heavy() -> &'static Branch {
    static HEAVY: OnceLock<Branch> = OnceLock::new();
    HEAVY.get_or_init(|| {
        let wanted = floor_work(MAX_HEADERS_AHEAD + 2 * MAX_HEADERS + 100);
        let mut branch = Branch::new();
        let mut time = START - 2_000_000;
        for seq in 0.. {
            time += 300;
            let block = branch.next(vec![reading(1, seq)], time);
            branch.take(block);
            if branch.total_work > wanted {
                break;
            }
        }
        assert!(branch.blocks.len() < 5_000);
        branch
    })
}

/// Very many blocks two seconds apart, so that each has the least work there is; a little heavier in all.
fn long() -> &'static Branch {
    static LONG_BRANCH: OnceLock<Branch> = OnceLock::new();
    LONG_BRANCH.get_or_init(|| {
        let branch = Branch::calm(START - 200_000_000, 2, LONG as u64);
        assert!(branch.total_work > heavy().total_work);
        branch
    })
}

/// What so many blocks at the floor weigh.
fn floor_work(blocks: usize) -> Work {
    let one = Branch::of(3, 1).total_work;
    (0..blocks).fold(Work::ZERO, |sum, _| sum.saturating_add(one))
}

/// A subject that holds the heavy branch; peer 1 claims the long one.
fn tempted() -> Subject {
    let mut subject = Subject::new();
    subject.connect(9);
    subject.serve(9, heavy());
    assert_eq!(subject.tip(), heavy().tip());
    subject.disconnect(9);
    subject.connect(1);
    subject.answer(1, is_status, &Response::Status(long().status()));
    subject
}

/// Answers one request for headers as a peer with this branch does, and bodies as `gives` says; returns whether
/// anything was asked.
fn step(subject: &mut Subject, branch: &Branch) -> bool {
    let Some((id, request)) = subject.open(1, |_| true) else {
        return false;
    };
    let answer = crate::subject::honest_answer(branch, &request, |_| true);
    subject.respond(1, id, answer.encode());
    true
}

#[test]
fn branch_that_outweighs_ours_only_in_the_end_is_weighed_first_and_then_taken() {
    let mut subject = tempted();
    let mut most = 0;
    while step(&mut subject, long()) {
        let load = subject.machine.load();
        most = most.max(load.bodiless_blocks);
        let stored = subject.blocks.len() - heavy().blocks.len();
        assert!(
            load.side_blocks <= stored + MAX_HEADERS_AHEAD + MAX_HEADERS,
            "{load:?}"
        );
    }
    assert_eq!(subject.tip(), long().tip());
    assert_eq!(subject.machine.status().index, LONG as u64);
    assert!(
        (MAX_HEADERS_AHEAD..=MAX_HEADERS_AHEAD + MAX_HEADERS).contains(&most),
        "{most} headers without bodies at a time"
    );
    assert!(subject.dropped.is_empty());
    assert_eq!(subject.machine.load().bodiless_blocks, 0);
}

#[test]
fn second_pass_takes_no_other_branch_than_the_first_weighed() {
    let mut subject = tempted();
    // Up to the moment when the second pass begins: it asks again from where the held ones end.
    let mut last_asked = 0;
    loop {
        let Some((id, request)) = subject.open(1, is_headers) else {
            // Bodies first: as many headers are held as may be.
            assert!(step(&mut subject, long()), "something is asked for");
            continue;
        };
        let Response::Headers(headers) = crate::subject::honest_answer(long(), &request, |_| true)
        else {
            panic!("headers were asked for");
        };
        let first = headers.first().map_or(0, |header| header.index);
        if first < last_asked {
            break;
        }
        last_asked = first;
        subject.respond(1, id, Response::Headers(headers).encode());
    }
    let before = subject.machine.load();
    assert!(before.bodiless_blocks <= MAX_HEADERS_AHEAD, "{before:?}");
    // The same heights again, on the very same ground, but other blocks, each with its work.
    let mut other = long().up_to(MAX_HEADERS_AHEAD);
    other.grow(4, MAX_HEADERS as u64);
    let headers = other.blocks.iter().skip(MAX_HEADERS_AHEAD);
    let headers = headers.map(|block| block.header).collect();
    subject.answer(1, is_headers, &Response::Headers(headers));
    assert_eq!(subject.dropped.len(), 1, "let go");
    assert_eq!(subject.was_banned(1), None, "it may have changed its mind");
    assert!(subject.machine.load().bodiless_blocks <= MAX_SIDE_BLOCKS);
    assert_eq!(subject.tip(), heavy().tip());
}

#[test]
fn headers_that_weigh_less_than_was_claimed_are_forgotten() {
    let short = long().up_to(MAX_HEADERS_AHEAD + MAX_HEADERS + 1);
    assert!(short.total_work < heavy().total_work);
    let mut subject = tempted();
    let mut most = 0;
    while step(&mut subject, &short) {
        most = most.max(subject.machine.load().side_blocks);
    }
    assert!(most <= MAX_HEADERS_AHEAD + MAX_HEADERS, "{most}");
    assert_eq!(subject.dropped.len(), 1, "it has not what it claims");
    assert!(subject.machine.load().side_blocks <= MAX_SIDE_BLOCKS);
    assert_eq!(subject.tip(), heavy().tip());
}

#[test]
fn peer_that_leaves_takes_its_headers_along() {
    let mut subject = tempted();
    for _ in 0..=MAX_HEADERS_AHEAD / MAX_HEADERS {
        step(&mut subject, long());
    }
    assert!(subject.machine.load().side_blocks > MAX_SIDE_BLOCKS);
    subject.disconnect(1);
    assert!(subject.machine.load().side_blocks <= MAX_SIDE_BLOCKS);
}

#[test]
fn headers_whose_bodies_nobody_has_make_room_for_those_whose_bodies_come() {
    let mut subject = Subject::new();
    let honest = Branch::of(1, 20);
    subject.connect(1);
    // A fresh peer holds anything that has work, up to the bound, and asks for the bodies.
    let mut most = 0;
    while let Some((id, request)) = subject
        .open(1, |request| !is_bodies(request))
        .or_else(|| subject.open(1, is_bodies))
    {
        let answer = crate::subject::honest_answer(long(), &request, |_| false);
        subject.respond(1, id, answer.encode());
        most = most.max(subject.machine.load().bodiless_blocks);
    }
    assert!(
        (MAX_HEADERS_AHEAD..=MAX_HEADERS_AHEAD + MAX_HEADERS).contains(&most),
        "the bound is reached and kept: {most}"
    );
    assert_eq!(subject.machine.load().bodiless_blocks, 0, "forgotten");
    subject.connect(2);
    for _ in 0..3 {
        subject.serve(2, &honest);
        subject.serve_some(1, long(), |_| false);
    }
    assert_eq!(subject.tip(), honest.tip());
    // Whoever gave them is not asked for them again at once, but it is in the end.
    subject.hear_status(1, long().status());
    assert!(subject.open(1, is_headers).is_none());
    subject.wait(UNAVAILABLE_PATIENCE);
    subject.hear_status(1, long().status());
    assert!(
        subject.open(1, is_headers).is_some(),
        "it may have the bodies by now"
    );
}
