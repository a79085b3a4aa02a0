//! Branches with more headers than are kept in memory at a time. Their work is verified in a first pass (header
//! presync) before they are fetched, and no hostile peer can make a machine keep more headers.

use std::sync::OnceLock;

use heartchain_chain::{block::Block, work::Work};
use heartchain_sync::{
    config::{MAX_HEADERS_AHEAD, UNAVAILABLE_PATIENCE},
    message::{MAX_HEADERS, Response, StatusMessage},
};

use heartchain_chain::tree::MAX_SIDE_BLOCKS;
use heartchain_test_support::{Branch, Driver as _, START, reading};

use crate::{
    fixtures::with_confirmed,
    subject::{Subject, honest_response, is_bodies, is_headers, is_status},
};

/// This many minimum-work headers have just a little more work than the heavy branch.
const LONG: usize = MAX_HEADERS_AHEAD + 3 * MAX_HEADERS + 500;

/// A branch of few blocks in quick succession, which have as much work as a very long branch of minimum work.
fn heavy() -> &'static Branch {
    static HEAVY: OnceLock<Branch> = OnceLock::new();
    HEAVY.get_or_init(|| {
        let wanted = floor_work(MAX_HEADERS_AHEAD + 2 * MAX_HEADERS + 100);
        let mut branch = Branch::new();
        let mut time = START - 2_000_000;
        for seq in 0.. {
            time += 300;
            let block = branch.mine_next(vec![reading(1, seq)], time);
            branch.append(block);
            if branch.total_work > wanted {
                break;
            }
        }
        assert!(branch.blocks.len() < 5_000);
        branch
    })
}

/// A very long branch of blocks two seconds apart, so that each has the minimum work. In total it has a little more
/// work than the heavy branch.
fn long() -> &'static Branch {
    static LONG_BRANCH: OnceLock<Branch> = OnceLock::new();
    LONG_BRANCH.get_or_init(|| {
        let branch = Branch::min_difficulty(START - 200_000_000, 2, LONG as u64);
        assert!(branch.total_work > heavy().total_work);
        branch
    })
}

/// The work of `blocks` blocks of minimum work.
fn floor_work(blocks: usize) -> Work {
    let one = Branch::of(3, 1).total_work;
    (0..blocks).fold(Work::ZERO, |sum, _| sum.saturating_add(one))
}

/// A subject that has the heavy branch while peer 1 claims the long one.
fn syncing() -> Subject {
    let mut subject = Subject::new();
    subject.connect(9);
    subject.serve(9, heavy());
    assert_eq!(subject.tip(), heavy().tip());
    subject.disconnect(9);
    subject.claim(1, long());
    subject
}

/// Answers the oldest open request as a peer with this branch does. Returns whether there was one.
fn step(subject: &mut Subject, branch: &Branch) -> bool {
    let Some((id, request)) = subject.open_request(1, |_| true) else {
        return false;
    };
    let answer = crate::subject::honest_response(branch, &request, |_| true);
    subject.respond(1, id, answer.encode());
    true
}

#[test]
fn long_heavier_branch_is_presynced_then_adopted() {
    let mut subject = syncing();
    let mut most = 0;
    while step(&mut subject, long()) {
        let load = subject.machine.load();
        most = most.max(load.bodiless_blocks);
        let stored = subject.state.disk.blocks.len() - heavy().blocks.len();
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
    assert!(subject.disconnections.is_empty());
    assert_eq!(subject.machine.load().bodiless_blocks, 0);
}

#[test]
fn second_pass_rejects_a_different_branch() {
    let mut subject = syncing();
    // Up to the start of the second pass, which requests headers again from the end of those in memory.
    let mut last_asked = 0;
    loop {
        let Some((id, request)) = subject.open_request(1, is_headers) else {
            // Bodies come first: the header limit has been reached.
            assert!(step(&mut subject, long()), "a request is open");
            continue;
        };
        let Response::Headers(headers) =
            crate::subject::honest_response(long(), &request, |_| true)
        else {
            panic!("expected a request for headers");
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
    // The same heights on the same parent, but different blocks, each with valid work.
    let mut other = long().prefix(MAX_HEADERS_AHEAD);
    other.grow(4, MAX_HEADERS as u64);
    let headers = other.blocks.iter().skip(MAX_HEADERS_AHEAD);
    let headers = headers.map(|block| block.header).collect();
    subject.answer(1, is_headers, &Response::Headers(headers));
    assert_eq!(subject.disconnections.len(), 1, "let go");
    assert_eq!(
        subject.ban_reason(1),
        None,
        "an honest peer may have switched branches"
    );
    assert!(subject.machine.load().bodiless_blocks <= MAX_SIDE_BLOCKS);
    assert_eq!(subject.tip(), heavy().tip());
}

#[test]
fn headers_with_less_work_than_claimed_are_dropped() {
    let short = long().prefix(MAX_HEADERS_AHEAD + MAX_HEADERS + 1);
    assert!(short.total_work < heavy().total_work);
    let mut subject = syncing();
    let mut most = 0;
    while step(&mut subject, &short) {
        most = most.max(subject.machine.load().side_blocks);
    }
    assert!(most <= MAX_HEADERS_AHEAD + MAX_HEADERS, "{most}");
    assert_eq!(
        subject.disconnections.len(),
        1,
        "its headers have less work than it claimed"
    );
    assert!(subject.machine.load().side_blocks <= MAX_SIDE_BLOCKS);
    assert_eq!(subject.tip(), heavy().tip());
}

#[test]
fn headers_of_a_disconnected_peer_are_dropped() {
    let mut subject = syncing();
    for _ in 0..=MAX_HEADERS_AHEAD / MAX_HEADERS {
        step(&mut subject, long());
    }
    assert!(subject.machine.load().side_blocks > MAX_SIDE_BLOCKS);
    subject.disconnect(1);
    assert!(subject.machine.load().side_blocks <= MAX_SIDE_BLOCKS);
}

#[test]
fn unavailable_bodies_free_room_for_other_headers() {
    let mut subject = Subject::new();
    let honest = Branch::of(1, 20);
    subject.connect(1);
    // A new peer keeps any headers with valid work, up to the limit, and requests their bodies.
    let mut most = 0;
    while let Some((id, request)) = subject
        .open_request(1, |request| !is_bodies(request))
        .or_else(|| subject.open_request(1, is_bodies))
    {
        let answer = crate::subject::honest_response(long(), &request, |_| false);
        subject.respond(1, id, answer.encode());
        most = most.max(subject.machine.load().bodiless_blocks);
    }
    assert!(
        (MAX_HEADERS_AHEAD..=MAX_HEADERS_AHEAD + MAX_HEADERS).contains(&most),
        "the limit is reached but not exceeded: {most}"
    );
    assert_eq!(subject.machine.load().bodiless_blocks, 0, "forgotten");
    subject.connect(2);
    for _ in 0..3 {
        subject.serve(2, &honest);
        subject.serve_with_bodies(1, long(), |_| false);
    }
    assert_eq!(subject.tip(), honest.tip());
    // The peer that sent those headers is not asked for them again at once, only after a while.
    subject.receive_status(1, long().status());
    assert!(subject.open_request(1, is_headers).is_none());
    subject.advance(UNAVAILABLE_PATIENCE);
    subject.receive_status(1, long().status());
    assert!(
        subject.open_request(1, is_headers).is_some(),
        "it may have the bodies by now"
    );
}

#[test]
fn confirmed_blocks_outlive_the_ban_of_a_liar() {
    let confirmed = Branch::of(1, 200);
    // A heavier branch whose last block repeats a sequence number. The blocks below it are better than ours.
    let mut invalid = Branch::new();
    while invalid.total_work <= floor_work(3 * MAX_HEADERS) {
        let time = START - 2_000_000 + 300 * invalid.blocks.len() as u64;
        invalid.push_at(vec![reading(2, invalid.next_seq(2))], time);
    }
    let valid = invalid.tip();
    let time = START - 2_000_000 + 300 * invalid.blocks.len() as u64;
    invalid.append(invalid.mine_next(vec![reading(2, 0)], time));
    let light = Branch::min_difficulty(START - 20_000_000, 3, 3 * MAX_HEADERS as u64);

    let mut subject = with_confirmed(&confirmed);
    let height = subject
        .state
        .disk
        .confirmed
        .map(|hash| confirmed.position(&hash));
    let kept = &confirmed.blocks[..=height.flatten().expect("a confirmed block")];
    assert!(kept.len() > 100);
    subject.connect(2);
    subject.serve_requests_of(2, &invalid, |request| !is_bodies(request));
    // The liar claims to have verified the invalid branch while its headers of another one are arriving.
    subject.connect(3);
    let claim = StatusMessage {
        total_work: invalid.total_work.saturating_add(invalid.total_work),
        ..light.status()
    };
    subject.answer(3, is_status, &Response::Status(claim));
    for _ in 0..3 {
        let (id, request) = subject.open_request(3, is_headers).expect("a request");
        subject.respond_with(3, id, &honest_response(&light, &request, |_| true));
    }
    assert_eq!(subject.machine.load().header_syncs, 1);
    subject.receive_status(3, invalid.status());
    assert!(subject.machine.load().side_blocks > MAX_SIDE_BLOCKS);

    // All other bodies arrive before the first ones, so that both branches are complete at once.
    let first = subject.open_request(2, is_bodies).expect("a request");
    while let Some((id, request)) = subject.open_request(2, |request| *request != first.1) {
        let response = honest_response(&invalid, &request, |_| true);
        subject.respond_with(2, id, &response);
    }
    assert_eq!(subject.tip(), confirmed.tip());
    let response = honest_response(&invalid, &first.1, |_| true);
    subject.respond_with(2, first.0, &response);
    assert!(subject.ban_reason(3).is_some());
    assert_eq!(subject.tip(), valid);
    let on_disk = |block: &Block| subject.state.disk.blocks.contains_key(&block.header.hash());
    assert!(kept.iter().all(on_disk));
}
