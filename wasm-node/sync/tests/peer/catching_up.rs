//! Sync to a better branch, from honest peers, slow peers and peers that withhold bodies.

use std::collections::BTreeSet;

use heartchain_chain::hash::BlockHash;
use heartchain_sync::{
    Event,
    config::{
        BODY_PATIENCE, BODY_RANGE, CATCH_UP_PATIENCE, FAILURE_PAUSE, LACKING_PATIENCE,
        LATE_BODIES_CHECK_INTERVAL, MAX_STALLS, REQUEST_TIMEOUT, UNAVAILABLE_PATIENCE,
    },
    io::RequestFailure,
    message::{MAX_HEADERS, Request, Response},
};
use heartchain_test_support::{Branch, Driver as _, Tampering as _, reading};

use crate::subject::{Subject, is_bodies, is_headers};

#[test]
fn late_peer_catches_up() {
    let branch = Branch::of(1, 300);
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &branch);
    assert_eq!(subject.tip(), branch.tip());
    assert_eq!(subject.machine.status().total_work, branch.total_work);
    assert_eq!(subject.state.disk.blocks.len(), 300);
    assert_eq!(
        subject.machine.status().state,
        heartchain_sync::SyncState::Synced
    );
    assert!(subject.disconnections.is_empty());
}

#[test]
fn body_requests_are_spread_over_peers() {
    let branch = Branch::of(1, 5 * BODY_RANGE as u64);
    let mut subject = Subject::new();
    for peer in 1..=3 {
        subject.claim(peer, &branch);
    }
    let (id, request) = subject
        .open_request(1, is_headers)
        .expect("asked for headers");
    assert!(matches!(request, Request::Headers { .. }));
    let headers = branch.blocks.iter().map(|block| block.header).collect();
    subject.respond(1, id, Response::Headers(headers).encode());
    let mut asked = BTreeSet::new();
    for peer in 1..=3 {
        let of_peer: Vec<BlockHash> = requested_bodies(&subject, peer);
        assert!(
            of_peer.len() >= BODY_RANGE,
            "peer {peer} got requests for {} bodies",
            of_peer.len()
        );
        for hash in of_peer {
            assert!(asked.insert(hash), "{hash} was requested twice");
        }
    }
    for peer in 1..=3 {
        subject.serve(peer, &branch);
    }
    assert_eq!(subject.tip(), branch.tip());
}

#[test]
fn resumed_sync_requests_no_body_twice() {
    let branch = Branch::of(1, 400);
    let mut subject = Subject::new();
    subject.connect(1);
    let have: BTreeSet<BlockHash> = branch
        .blocks
        .iter()
        .take(200)
        .map(|block| block.header.hash())
        .collect();
    subject.serve_with_bodies(1, &branch, |hash| have.contains(hash));
    assert_eq!(subject.machine.status().index, 200);
    subject.disconnect(1);
    subject.advance(120_000);
    subject.claim(2, &branch);
    for hash in requested_bodies(&subject, 2) {
        assert!(!have.contains(&hash), "{hash} is already stored");
    }
    subject.serve(2, &branch);
    assert_eq!(subject.tip(), branch.tip());
}

#[test]
fn stalled_peer_loses_its_range() {
    let branch = Branch::of(1, 10);
    let mut subject = Subject::offered(&branch, 1);
    assert_eq!(requested_bodies(&subject, 1).len(), 10);
    subject.claim(2, &branch);
    assert!(
        requested_bodies(&subject, 2).is_empty(),
        "they are already requested"
    );
    subject.advance(BODY_PATIENCE - 1);
    assert!(requested_bodies(&subject, 2).is_empty());
    subject.advance(LATE_BODIES_CHECK_INTERVAL);
    assert_eq!(
        requested_bodies(&subject, 2).len(),
        10,
        "both peers are asked"
    );
    assert_eq!(requested_bodies(&subject, 1).len(), 10);
    subject.serve(2, &branch);
    assert_eq!(subject.tip(), branch.tip());
    subject.serve(1, &branch);
    assert!(
        subject.disconnections.is_empty(),
        "a slow peer is not disconnected"
    );
}

/// Fails all open requests for bodies. Returns how many there were.
fn fail_bodies(subject: &mut Subject, failure: RequestFailure) -> usize {
    let mut failed = 0;
    while let Some((id, _)) = subject.open_request(1, is_bodies) {
        subject.fail(1, id, failure);
        failed += 1;
    }
    failed
}

/// A busy peer refuses within milliseconds, and a peer that comes back under the same ID takes the requests on its old connections
/// with it.
#[test]
fn refused_requests_are_repeated_soon() {
    let branch = Branch::of(1, 12);
    let mut subject = Subject::offered(&branch, 1);
    for _ in 0..3 * MAX_STALLS {
        assert_eq!(fail_bodies(&mut subject, RequestFailure::Closed), 1);
        subject.advance(FAILURE_PAUSE);
    }
    subject.serve(1, &branch);
    assert_eq!(subject.tip(), branch.tip());
}

#[test]
fn requests_that_fail_together_count_once() {
    let blocks = 3 * BODY_RANGE as u64;
    let branch = Branch::of(1, blocks);
    let mut subject = Subject::offered(&branch, 1);
    assert_eq!(fail_bodies(&mut subject, RequestFailure::Timeout), 3);
    subject.advance(FAILURE_PAUSE);
    subject.serve(1, &branch);
    assert_eq!(subject.tip(), branch.tip());
}

/// Peer IDs are free, so two that refuse in turns must not keep the third one from being asked.
#[test]
fn peers_that_refuse_are_asked_after_others() {
    let branch = Branch::of(1, 12);
    let mut subject = Subject::offered(&branch, 2);
    subject.connect(3);
    subject.receive_status(3, branch.status());
    for peer in [1, 2] {
        subject.advance(BODY_PATIENCE - 100);
        let (id, _) = subject.open_request(peer, is_bodies).expect("its turn");
        subject.fail(peer, id, RequestFailure::Closed);
    }
    subject.serve(3, &branch);
    assert_eq!(subject.tip(), branch.tip());
}

#[test]
fn peer_that_only_refuses_is_given_up() {
    let branch = Branch::of(1, 12);
    let mut subject = Subject::offered(&branch, 1);
    let mut refused = 0;
    for _ in 0..LACKING_PATIENCE / FAILURE_PAUSE + u64::from(MAX_STALLS) {
        refused += fail_bodies(&mut subject, RequestFailure::Closed);
        subject.advance(FAILURE_PAUSE);
    }
    assert!((30..=33).contains(&refused), "{refused}");
    subject.advance(UNAVAILABLE_PATIENCE - 2 * REQUEST_TIMEOUT);
    assert_eq!(fail_bodies(&mut subject, RequestFailure::Closed), 0);
    subject.advance(3 * REQUEST_TIMEOUT);
    subject.serve(1, &branch);
    assert_eq!(subject.tip(), branch.tip(), "it is asked again");
}

#[test]
fn branch_with_withheld_bodies_is_set_aside() {
    let (heavy, light) = (Branch::of(1, 12), Branch::of(2, 10));
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve_with_bodies(1, &heavy, |_| false);
    assert_eq!(subject.machine.status().index, 0);
    subject.connect(2);
    subject.serve_with_bodies(1, &heavy, |_| false);
    subject.serve(2, &light);
    subject.serve_with_bodies(1, &heavy, |_| false);
    subject.serve(2, &light);
    assert_eq!(
        subject.tip(),
        light.tip(),
        "the branch with the next most work is adopted"
    );
    // A peer that has the bodies later is still believed.
    subject.advance(UNAVAILABLE_PATIENCE + 5_000);
    subject.serve_all(&[(1, &heavy), (2, &light)]);
    assert_eq!(subject.tip(), heavy.tip());
}

#[test]
fn unanswered_body_requests_do_not_stop_mining() {
    let mut heavy = Branch::of(1, 12);
    let mut subject = Subject::miner(7);
    subject.claim(1, &heavy);
    subject.send_headers(1, &heavy);
    subject.record(72);
    assert_eq!(subject.state.job, None, "a better branch is being fetched");
    subject.advance(CATCH_UP_PATIENCE + 1);
    assert!(subject.state.job.is_some(), "its bodies do not arrive");
    // Claims alone do not stop mining again.
    heavy.grow(1, 1);
    subject.receive_status(1, heavy.status());
    subject.advance(100);
    assert!(subject.state.job.is_some());
    // Neither do headers, whether they arrive before or after the bodies are given up.
    for _ in 0..60 {
        let headers = heavy.blocks.last().map(|block| block.header);
        if subject.open_request(1, is_headers).is_some() {
            let headers = headers.into_iter().collect();
            subject.answer(1, is_headers, &Response::Headers(headers));
            heavy.grow(1, 1);
        }
        subject.receive_status(1, heavy.status());
        subject.advance(1_000);
        assert!(subject.state.job.is_some());
    }
    assert!(heavy.blocks.len() > 30, "headers kept arriving");
}

#[test]
fn unavailable_branch_is_retried_with_pauses() {
    let branch = Branch::of(1, 5);
    let mut subject = Subject::new();
    subject.connect(1);
    let mut asked = 0;
    for _ in 0..600 {
        while let Some((id, request)) = subject.open_request(1, |request| !is_bodies(request)) {
            let response = match request {
                Request::Status(_) => Response::Status(branch.status()),
                Request::Headers { .. } => {
                    Response::Headers(branch.blocks.iter().map(|block| block.header).collect())
                }
                Request::MempoolIds { .. } => Response::MempoolIds(Vec::new()),
                Request::Profiles { .. } => Response::Profiles(Vec::new()),
                Request::Bodies { .. } | Request::Readings { .. } => continue,
            };
            subject.respond(1, id, response.encode());
        }
        asked += subject
            .state
            .open_requests
            .values()
            .filter(|(_, request)| is_bodies(request))
            .count();
        subject
            .state
            .open_requests
            .retain(|_, (_, request)| !is_bodies(request));
        subject.advance(1_000);
    }
    assert!(
        (6..=30).contains(&asked),
        "asked {asked} times in ten minutes"
    );
}

#[test]
fn left_branch_returns_its_readings() {
    let (left, joined) = (Branch::of(1, 3), Branch::of(2, 4));
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &left);
    assert_eq!(subject.tip(), left.tip());
    subject.connect(2);
    subject.serve_all(&[(1, &left), (2, &joined)]);
    assert_eq!(subject.tip(), joined.tip());
    let waiting: Vec<_> = subject.machine.pending().copied().collect();
    assert_eq!(
        waiting,
        (0..3).map(|seq| reading(1, seq)).collect::<Vec<_>>()
    );
    assert!(subject.events.contains(&Event::Chain {
        from: 1,
        to: 4,
        reorg: true
    }));
}

#[test]
fn reading_on_both_branches_does_not_return() {
    let mut left = Branch::new();
    left.push(vec![reading(1, 0), reading(2, 0)]);
    let mut joined = Branch::new();
    joined.push(vec![reading(2, 0)]);
    joined.push(vec![reading(3, 0)]);
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &left);
    subject.connect(2);
    subject.serve_all(&[(1, &left), (2, &joined)]);
    let waiting: Vec<_> = subject.machine.pending().copied().collect();
    assert_eq!(waiting, [reading(1, 0)]);
}

#[test]
fn reorgs_work_at_any_depth() {
    for depth in [1, 2, 10, 100, 1_500] {
        let mut first = Branch::of(1, depth);
        let second = Branch::of(2, depth + 1);
        let mut subject = Subject::new();
        subject.connect(1);
        subject.serve(1, &first);
        assert_eq!(subject.tip(), first.tip(), "depth {depth}");
        subject.connect(2);
        subject.serve_all(&[(1, &first), (2, &second)]);
        assert_eq!(subject.tip(), second.tip(), "depth {depth}");
        assert_eq!(
            subject.machine.load().mempool as u64,
            depth.min(32),
            "depth {depth}"
        );
        first.grow(1, 2);
        subject.receive_status(1, first.status());
        subject.serve_all(&[(1, &first), (2, &second)]);
        assert_eq!(subject.tip(), first.tip(), "depth {depth}");
    }
}

#[test]
fn ties_go_to_the_lower_hash() {
    let (a, b) = (Branch::of(1, 1), Branch::of(2, 1));
    assert_eq!(a.total_work, b.total_work);
    let lower = a.tip().min(b.tip());
    for order in [[&a, &b], [&b, &a]] {
        let mut subject = Subject::new();
        for (peer, branch) in (1..).zip(order) {
            subject.connect(peer);
            subject.serve_all(&[(1, order[0]), (peer, branch)]);
        }
        assert_eq!(subject.tip(), lower);
    }
}

#[test]
fn simultaneous_readings_both_survive() {
    let mut peers = [Subject::miner(1), Subject::miner(2)];
    for (at, bpm) in [(0, 72), (1, 144)] {
        peers[at].record(bpm);
        assert!(peers[at].find_nonce(), "an idle room mines at once");
        assert_eq!(peers[at].machine.status().index, 1);
    }
    // The peers connect, and what each has published reaches the other.
    peers[0].connect(1);
    peers[1].connect(0);
    for round in 0..40 {
        for at in [0, 1] {
            for (topic, data) in core::mem::take(&mut peers[at].published) {
                let from = at as u64;
                peers[1 - at].gossip(from, topic, data);
            }
            let asked = core::mem::take(&mut peers[at].state.open_requests);
            for (id, (to, request)) in asked {
                let answer = peers[1 - at]
                    .handle_request(at as u64, &request)
                    .expect("an answer");
                peers[at].respond(to, id, answer.encode());
            }
            peers[at].find_nonce();
            peers[at].advance(100 + round);
        }
    }
    assert_eq!(peers[0].tip(), peers[1].tip());
    let mut bpms: Vec<u16> = Vec::new();
    for index in 1..=peers[0].machine.status().index {
        let hash = peers[0]
            .machine
            .best_hash(index)
            .expect("on the best branch");
        bpms.extend(
            peers[0].state.disk.blocks[&hash]
                .readings
                .iter()
                .map(|reading| reading.bpm()),
        );
    }
    bpms.sort_unstable();
    assert_eq!(bpms, [72, 144]);
}

fn requested_bodies(subject: &Subject, peer: u64) -> Vec<BlockHash> {
    subject
        .state
        .open_requests
        .values()
        .filter(|(asked, _)| *asked == peer)
        .filter_map(|(_, request)| match request {
            Request::Bodies { hashes } => Some(hashes.clone()),
            Request::Status(_)
            | Request::Headers { .. }
            | Request::MempoolIds { .. }
            | Request::Readings { .. }
            | Request::Profiles { .. } => None,
        })
        .flatten()
        .collect()
}

#[test]
fn long_branch_syncs_while_the_current_one_grows() {
    let (mut present, better) = (Branch::of(1, 4_200), Branch::of(2, 4_500));
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &present);
    assert_eq!(subject.tip(), present.tip());
    subject.claim(2, &better);
    for batch in 0..2 {
        let headers = better
            .blocks
            .iter()
            .skip(batch * MAX_HEADERS)
            .take(MAX_HEADERS);
        let headers = headers.map(|block| block.header).collect();
        subject.answer(2, is_headers, &Response::Headers(headers));
        // A new tip prunes side branches far below it, but not the one that is being fetched.
        present.grow(1, 1);
        let block = present.blocks.last().expect("grown").clone();
        subject.gossip_block(1, &block);
        assert_eq!(subject.tip(), present.tip());
    }
    subject.serve_all(&[(1, &present), (2, &better)]);
    assert_eq!(subject.tip(), better.tip());
    assert!(subject.disconnections.is_empty());
}
