//! Slow connections, heavy requesters and full tables do not lock out honest peers.

use std::collections::BTreeMap;

use heartchain_chain::tree::MAX_SIDE_BLOCKS;
use heartchain_sync::{config::REQUEST_TIMEOUT, io::RequestId, message::Request};
use heartchain_test_support::{Branch, Driver as _, START, reading, room};

use crate::subject::{Subject, honest_response, is_bodies};

/// How often a peer with a slow connection is asked for the same bodies while it is still answering.
#[test]
fn slow_peer_is_asked_once_for_the_same_bodies() {
    let branch = Branch::of(1, 100);
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve_requests_of(1, &branch, |request| !is_bodies(request));
    for _ in 0..18 {
        subject.advance(500);
        subject.serve_requests_of(1, &branch, |request| !is_bodies(request));
    }
    let first = branch.blocks[0].header.hash();
    let asked = subject
        .state
        .open_requests
        .values()
        .filter(
            |(_, request)| matches!(request, Request::Bodies { hashes } if hashes.contains(&first)),
        )
        .count();
    assert_eq!(asked, 1, "open requests for the first body at the one peer");
}

/// Some peers request as much as they may. A new honest peer must still get headers.
#[test]
fn heavy_requesters_leave_each_peer_its_share() {
    let branch = Branch::of(1, 2_100);
    let mut subject = Subject::new();
    subject.connect(1);
    for _ in 0..20 {
        subject.serve(1, &branch);
        subject.advance(200);
    }
    assert_eq!(subject.tip(), branch.tip());
    let greedy: Vec<u64> = (10..20).collect();
    for peer in &greedy {
        subject.connect(*peer);
    }
    subject.connect(99);
    let headers = Request::Headers {
        locator: vec![room().genesis_hash()],
    };
    let status = Request::Status(branch.status());
    let mut answered = 0;
    let mut refused = 0;
    for round in 0..600 {
        subject.now += 50;
        for peer in &greedy {
            for _ in 0..40 {
                if subject.handle_request(*peer, &headers).is_none() {
                    break;
                }
            }
            for _ in 0..100 {
                if subject.handle_request(*peer, &status).is_none() {
                    break;
                }
            }
        }
        let came = subject.handle_request(99, &headers).is_some();
        if round < 200 {
            continue;
        }
        match came {
            true => answered += 1,
            false => refused += 1,
        }
    }
    assert!(
        answered > 0,
        "refused {refused} times in the last 20 s, answered {answered} times"
    );
}

/// How long a new peer takes to get 100 bodies from peers whose connections need six seconds for one such response and
/// share their bandwidth among all responses in flight. `None` means longer than ten minutes.
fn time_on_slow_lines(peers: u64) -> Option<u64> {
    const STEP: u64 = 100;
    const WORK: f64 = 6_000.0;
    let branch = Branch::of(1, 100);
    let mut subject = Subject::new();
    for peer in 1..=peers {
        subject.connect(peer);
    }
    let begun = subject.now;
    let mut sent: BTreeMap<RequestId, f64> = BTreeMap::new();
    let mut begun_at: BTreeMap<RequestId, u64> = BTreeMap::new();
    while subject.now < begun + 600_000 {
        for peer in 1..=peers {
            subject.serve_requests_of(peer, &branch, |request| !is_bodies(request));
            let open: Vec<RequestId> = subject
                .state
                .open_requests
                .iter()
                .filter(|(_, (asked, request))| *asked == peer && is_bodies(request))
                .map(|(id, _)| *id)
                .collect();
            for id in &open {
                let share = STEP as f64 / open.len() as f64;
                let done = sent.entry(*id).or_default();
                *done += share;
                if *done >= WORK {
                    let (_, request) = subject.state.open_requests[id].clone();
                    let answer = honest_response(&branch, &request, |_| true);
                    subject.respond(peer, *id, answer.encode());
                }
            }
        }
        if subject.tip() == branch.tip() {
            return Some(subject.now - begun);
        }
        subject.advance(STEP);
        // As in the driver, a request that times out is abandoned and uses no more bandwidth.
        let now = subject.now;
        for id in subject.state.open_requests.keys() {
            begun_at.entry(*id).or_insert(now - STEP);
        }
        subject
            .state
            .open_requests
            .retain(|id, _| begun_at.get(id).is_none_or(|at| now - at < REQUEST_TIMEOUT));
    }
    None
}

#[test]
fn newcomer_with_a_slow_line_catches_up() {
    let took: Vec<Option<u64>> = [1, 2, 3].map(time_on_slow_lines).into();
    assert!(
        took.iter().flatten().filter(|took| **took < 30_000).count() == 3,
        "1, 2 and 3 peers: {took:?} ms; one request at a time takes 6,000"
    );
}

/// The slots for side blocks are full of competitors of the tip. Then the room switches to a branch that forks one
/// block below the tip.
#[test]
fn full_side_slots_do_not_block_gossip() {
    let base = Branch::of(1, 10);
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &base);
    let below = base.prefix(9);
    for number in 0..MAX_SIDE_BLOCKS as u64 {
        let author = 10_000 + number;
        let block = below.mine_next(vec![reading(author, 0)], START - 10_000_000 + 10_000);
        subject.gossip_block(1, &block);
    }
    assert!(subject.machine.load().side_blocks >= MAX_SIDE_BLOCKS);
    let before = subject.tip();
    let mut better = below.clone();
    let mut told = Vec::new();
    for seq in 0..3 {
        let block = better.push(vec![reading(5, seq)]);
        let id = subject.gossip_block(1, &block);
        told.push(subject.verdict(id));
        subject.advance(100);
    }
    assert_ne!(before, better.tip());
    assert_eq!(subject.tip(), better.tip(), "gossip was judged {told:?}");
}
