//! Learning a better branch, from honest peers, slow ones and such as keep bodies to themselves.

use std::collections::BTreeSet;

use chain::hash::BlockHash;
use sync::{
    Event,
    config::{BODY_LOOK_INTERVAL, BODY_PATIENCE, BODY_RANGE, CATCH_UP_PATIENCE},
    message::{MAX_HEADERS, Request, Response},
};

use crate::{
    branch::{Branch, reading},
    subject::{Subject, is_bodies, is_headers, is_status},
};

#[test]
fn late_peer_catches_up() {
    let branch = Branch::of(1, 300);
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &branch);
    assert_eq!(subject.tip(), branch.tip());
    assert_eq!(subject.machine.status().total_work, branch.total_work);
    assert_eq!(subject.blocks.len(), 300);
    assert_eq!(subject.machine.status().state, sync::State::Synced);
    assert!(subject.dropped.is_empty());
}

#[test]
fn ranges_spread_over_peers_and_every_body_is_asked_for_once() {
    let branch = Branch::of(1, 5 * BODY_RANGE as u64);
    let mut subject = Subject::new();
    for peer in 1..=3 {
        subject.connect(peer);
        subject.answer(peer, is_status, &Response::Status(branch.status()));
    }
    let (id, request) = subject.open(1, is_headers).expect("asked for headers");
    assert!(matches!(request, Request::Headers { .. }));
    let headers = branch.blocks.iter().map(|block| block.header).collect();
    subject.respond(1, id, Response::Headers(headers).encode());
    let mut asked = BTreeSet::new();
    for peer in 1..=3 {
        let of_peer: Vec<BlockHash> = bodies_asked(&subject, peer);
        assert!(
            of_peer.len() >= BODY_RANGE,
            "peer {peer} was asked for {}",
            of_peer.len()
        );
        for hash in of_peer {
            assert!(asked.insert(hash), "{hash} was asked for twice");
        }
    }
    for peer in 1..=3 {
        subject.serve(peer, &branch);
    }
    assert_eq!(subject.tip(), branch.tip());
}

#[test]
fn resumed_catch_up_does_not_ask_again() {
    let branch = Branch::of(1, 400);
    let mut subject = Subject::new();
    subject.connect(1);
    let have: BTreeSet<BlockHash> = branch
        .blocks
        .iter()
        .take(200)
        .map(|block| block.header.hash())
        .collect();
    subject.serve_some(1, &branch, |hash| have.contains(hash));
    assert_eq!(subject.machine.status().index, 200);
    subject.disconnect(1);
    subject.wait(120_000);
    subject.connect(2);
    subject.answer(2, is_status, &Response::Status(branch.status()));
    for hash in bodies_asked(&subject, 2) {
        assert!(!have.contains(&hash), "{hash} is here already");
    }
    subject.serve(2, &branch);
    assert_eq!(subject.tip(), branch.tip());
}

#[test]
fn stalled_peer_loses_its_range() {
    let branch = Branch::of(1, 10);
    let mut subject = Subject::new();
    subject.connect(1);
    subject.answer(1, is_status, &Response::Status(branch.status()));
    let headers = branch.blocks.iter().map(|block| block.header).collect();
    subject.answer(1, is_headers, &Response::Headers(headers));
    assert_eq!(bodies_asked(&subject, 1).len(), 10);
    subject.connect(2);
    subject.answer(2, is_status, &Response::Status(branch.status()));
    assert!(
        bodies_asked(&subject, 2).is_empty(),
        "they are on their way already"
    );
    subject.wait(BODY_PATIENCE - 1);
    assert!(bodies_asked(&subject, 2).is_empty());
    subject.wait(BODY_LOOK_INTERVAL);
    assert_eq!(bodies_asked(&subject, 2).len(), 10, "both are asked");
    assert_eq!(bodies_asked(&subject, 1).len(), 10);
    subject.serve(2, &branch);
    assert_eq!(subject.tip(), branch.tip());
    subject.serve(1, &branch);
    assert!(subject.dropped.is_empty(), "slow is no crime");
}

#[test]
fn withheld_bodies_leave_the_branch_aside() {
    let (heavy, light) = (Branch::of(1, 12), Branch::of(2, 10));
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve_some(1, &heavy, |_| false);
    assert_eq!(subject.machine.status().index, 0);
    subject.connect(2);
    subject.serve_some(1, &heavy, |_| false);
    subject.serve(2, &light);
    subject.serve_some(1, &heavy, |_| false);
    subject.serve(2, &light);
    assert_eq!(subject.tip(), light.tip(), "the next heaviest is taken");
    // Whoever has the bodies later is believed all the same.
    subject.wait(70_000);
    subject.serve_all(&[(1, &heavy), (2, &light)]);
    assert_eq!(subject.tip(), heavy.tip());
}

#[test]
fn silence_about_bodies_does_not_stop_mining() {
    let mut heavy = Branch::of(1, 12);
    let mut subject = Subject::miner(7);
    subject.connect(1);
    subject.answer(1, is_status, &Response::Status(heavy.status()));
    let headers = heavy.blocks.iter().map(|block| block.header).collect();
    subject.answer(1, is_headers, &Response::Headers(headers));
    subject.record(72);
    assert_eq!(subject.job, None, "a better branch is on its way");
    subject.wait(CATCH_UP_PATIENCE + 1);
    assert!(subject.job.is_some(), "its bodies do not come");
    // Claims alone do not stop it again.
    heavy.grow(1, 1);
    subject.hear_status(1, heavy.status());
    subject.wait(100);
    assert!(subject.job.is_some());
    // And no more do headers, whether they come before the bodies are given up or after.
    for _ in 0..60 {
        let headers = heavy.blocks.last().map(|block| block.header);
        if subject.open(1, is_headers).is_some() {
            let headers = headers.into_iter().collect();
            subject.answer(1, is_headers, &Response::Headers(headers));
            heavy.grow(1, 1);
        }
        subject.hear_status(1, heavy.status());
        subject.wait(1_000);
        assert!(subject.job.is_some());
    }
    assert!(heavy.blocks.len() > 30, "headers came all the time");
}

#[test]
fn branch_without_bodies_is_asked_for_again_and_again_but_not_without_pause() {
    let branch = Branch::of(1, 5);
    let mut subject = Subject::new();
    subject.connect(1);
    let mut asked = 0;
    for _ in 0..600 {
        while let Some((id, request)) = subject.open(1, |request| !is_bodies(request)) {
            let response = match request {
                Request::Status(_) => Response::Status(branch.status()),
                Request::Headers { .. } => {
                    Response::Headers(branch.blocks.iter().map(|block| block.header).collect())
                }
                Request::MempoolIds { .. } => Response::MempoolIds(Vec::new()),
                Request::Bodies { .. } | Request::Readings { .. } => continue,
            };
            subject.respond(1, id, response.encode());
        }
        asked += subject
            .asked
            .values()
            .filter(|(_, request)| is_bodies(request))
            .count();
        subject.asked.retain(|_, (_, request)| !is_bodies(request));
        subject.wait(1_000);
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
fn reading_that_both_branches_have_does_not_return() {
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
fn branch_of_any_depth_is_left_and_returned_to() {
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
        subject.hear_status(1, first.status());
        subject.serve_all(&[(1, &first), (2, &second)]);
        assert_eq!(subject.tip(), first.tip(), "depth {depth}");
    }
}

#[test]
fn tie_goes_to_the_lower_hash_everywhere() {
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
fn both_readings_survive_a_simultaneous_record() {
    let mut peers = [Subject::miner(1), Subject::miner(2)];
    for (at, bpm) in [(0, 72), (1, 144)] {
        peers[at].record(bpm);
        assert!(peers[at].find_nonce(), "a calm room mines at once");
        assert_eq!(peers[at].machine.status().index, 1);
    }
    // They meet, and what each published reaches the other.
    peers[0].connect(1);
    peers[1].connect(0);
    for round in 0..40 {
        for at in [0, 1] {
            for (topic, data) in core::mem::take(&mut peers[at].published) {
                let from = at as u64;
                peers[1 - at].gossip(from, topic, data);
            }
            let asked = core::mem::take(&mut peers[at].asked);
            for (id, (to, request)) in asked {
                let answer = peers[1 - at].ask(at as u64, &request).expect("an answer");
                peers[at].respond(to, id, answer.encode());
            }
            peers[at].find_nonce();
            peers[at].wait(100 + round);
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
            peers[0].blocks[&hash]
                .readings
                .iter()
                .map(|reading| reading.bpm),
        );
    }
    bpms.sort_unstable();
    assert_eq!(bpms, [72, 144]);
}

fn bodies_asked(subject: &Subject, peer: u64) -> Vec<BlockHash> {
    subject
        .asked
        .values()
        .filter(|(asked, _)| *asked == peer)
        .filter_map(|(_, request)| match request {
            Request::Bodies { hashes } => Some(hashes.clone()),
            Request::Status(_)
            | Request::Headers { .. }
            | Request::MempoolIds { .. }
            | Request::Readings { .. } => None,
        })
        .flatten()
        .collect()
}

#[test]
fn branch_of_many_batches_is_learnt_while_the_present_one_grows() {
    let (mut present, better) = (Branch::of(1, 4_200), Branch::of(2, 4_500));
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &present);
    assert_eq!(subject.tip(), present.tip());
    subject.connect(2);
    subject.answer(2, is_status, &Response::Status(better.status()));
    for batch in 0..2 {
        let headers = better
            .blocks
            .iter()
            .skip(batch * MAX_HEADERS)
            .take(MAX_HEADERS);
        let headers = headers.map(|block| block.header).collect();
        subject.answer(2, is_headers, &Response::Headers(headers));
        // A new tip: side branches far below it are let go, but not the one that is being learnt.
        present.grow(1, 1);
        let block = present.blocks.last().expect("grown").clone();
        subject.gossip_block(1, &block);
        assert_eq!(subject.tip(), present.tip());
    }
    subject.serve_all(&[(1, &present), (2, &better)]);
    assert_eq!(subject.tip(), better.tip());
    assert!(subject.dropped.is_empty());
}
