//! Corrupt bodies that are discovered while the machine is running: they are fetched again, or abandoned if no peer has
//! them.

use heartchain_chain::hash::BlockHash;
use heartchain_sync::{
    Event, Input,
    config::{
        LAST_ROUND_TIMEOUT, MAX_MISSING_BODY_PATIENCE, MISSING_BODIES_INTERVAL,
        MISSING_BODY_PATIENCE, MISSING_BODY_PATIENCE_PER_BLOCK, RECOVERY_MAX_INTERVAL,
        UNAVAILABLE_PATIENCE,
    },
    io::RequestFailure,
    message::Request,
};
use heartchain_test_support::{Branch, Driver as _, Tampering as _};

use crate::{
    restoring::{unverified, unverified_with_side_branch},
    subject::{Peer, Subject, honest_response, is_bodies, is_status},
};

/// How long the machine waits for a missing body with four blocks above it.
const PATIENCE: u64 = MISSING_BODY_PATIENCE + 4 * MISSING_BODY_PATIENCE_PER_BLOCK;

#[test]
fn corrupt_body_found_later_is_fetched_again() {
    let branch = Branch::of(1, 8);
    let mut subject = unverified(&branch);
    let lost = branch.blocks[3].header.hash();
    let body = subject.state.disk.blocks.remove(&lost).expect("a block");
    subject.feed(Input::BodiesMissing { hashes: vec![lost] });
    assert_eq!(
        (subject.tip(), subject.machine.load().missing_bodies),
        (branch.tip(), 1)
    );

    // A peer that lacks it is asked only once.
    subject.connect(1);
    subject.serve(1, &branch.prefix(3));
    assert_eq!(subject.machine.load().missing_bodies, 1);
    subject.connect(2);
    subject.serve(2, &branch);
    assert_eq!(subject.machine.load().missing_bodies, 0);
    assert_eq!(subject.state.disk.blocks.get(&lost), Some(&body));
    assert_eq!(subject.tip(), branch.tip());
}

#[test]
fn left_block_readings_return_once_it_is_refetched() {
    let (branch, better) = (Branch::of(1, 4), Branch::of(2, 6));
    let mut subject = unverified(&branch);
    let lost = &branch.blocks[1];
    subject.state.disk.blocks.remove(&lost.header.hash());
    subject.connect(2);
    subject.serve(2, &better);
    assert_eq!(subject.tip(), better.tip());
    let waits = |subject: &Subject| {
        let mut pending = subject.machine.pending();
        pending.any(|reading| lost.readings.contains(reading))
    };
    assert!(!waits(&subject), "no peer has sent it");
    assert_eq!(subject.machine.load().missing_bodies, 1);

    subject.connect(1);
    subject.serve_all(&[(1, &branch), (2, &better)]);
    assert_eq!(subject.machine.load().missing_bodies, 0);
    subject.advance(RECOVERY_MAX_INTERVAL);
    assert!(waits(&subject), "it was fetched again");
    assert_eq!(subject.machine.load().recovery, 4);
}

#[test]
fn peer_sending_a_wrong_body_is_banned() {
    let branch = Branch::of(1, 4);
    let mut subject = unverified(&branch);
    let lost = branch.blocks[1].header.hash();
    subject.state.disk.blocks.remove(&lost);
    subject.feed(Input::BodiesMissing {
        hashes: vec![lost, BlockHash::new([3; 32])],
    });
    assert_eq!(subject.machine.load().missing_bodies, 1);
    let mut tampered = branch.clone();
    tampered.blocks[1].readings[0].tamper();
    subject.connect(1);
    subject.serve(1, &tampered);
    assert!(
        matches!(subject.disconnections[..], [(1, _, true)]),
        "{:?}",
        subject.disconnections
    );
    assert_eq!(subject.machine.load().missing_bodies, 1);
    assert!(!subject.state.disk.blocks.contains_key(&lost));
}

#[test]
fn best_branch_is_cut_below_an_unavailable_body() {
    let branch = Branch::of(1, 8);
    let (mut subject, lost) = without_body(&branch, 4);
    subject.connect(1);
    let newcomer = branch.prefix(3);
    advance_and_serve(&mut subject, PATIENCE - 1_000, &[(1, &newcomer)]);
    assert_eq!(
        subject.tip(),
        branch.tip(),
        "a peer with the body may come back"
    );
    advance_and_serve(&mut subject, 3_000, &[(1, &newcomer)]);
    assert_eq!(subject.tip(), newcomer.tip());
    let mut events = subject.events.iter().rev();
    let change = events.find_map(|event| {
        let Event::Chain { from, to, reorg } = event else {
            return None;
        };
        Some((*from, *to, *reorg))
    });
    assert_eq!(change, Some((3, 3, true)));
    assert_eq!(subject.machine.load().missing_bodies, 0);
    assert_eq!(
        subject.state.disk.blocks.len(),
        7,
        "all that was on disk still is"
    );
    // The readings above the missing block are pending again. Its author has to offer its own reading again.
    let waiting = subject.machine.pending().map(|reading| reading.seq);
    assert_eq!(waiting.collect::<Vec<_>>(), [4, 5, 6, 7]);

    // The whole branch is better again once a peer has the body after all.
    subject.connect(2);
    let peers = [(1, &newcomer), (2, &branch)];
    advance_and_serve(&mut subject, UNAVAILABLE_PATIENCE + 1_000, &peers);
    assert_eq!(subject.tip(), branch.tip());
    assert_eq!(subject.machine.pending().count(), 0);
    assert!(subject.state.disk.blocks.contains_key(&lost));
}

#[test]
fn abandoned_body_switches_to_the_next_best_branch() {
    let (branch, other) = (Branch::of(1, 8), Branch::of(2, 5));
    let (mut subject, _) = without_body(&branch, 4);
    for block in &other.blocks {
        subject.gossip_block(1, block);
    }
    subject.connect(1);
    advance_and_serve(&mut subject, PATIENCE + 3_000, &[(1, &other)]);
    assert_eq!(
        subject.tip(),
        other.tip(),
        "three blocks have less work than five"
    );
    let waiting = subject.machine.pending().count();
    assert_eq!(waiting, 7, "all readings return except the lost one");
}

#[test]
fn abandoned_body_stays_abandoned_after_restart() {
    let (branch, other) = (Branch::of(1, 8), Branch::of(2, 5));
    let unknown = BlockHash::new([3; 32]);
    for (tip, expected) in [
        (other.tip(), other.tip()),
        (branch.tip(), branch.tip()),
        (unknown, branch.tip()),
    ] {
        let mut subject = unverified_with_side_branch(&branch, &other, tip);
        assert_eq!(subject.tip(), branch.tip());
        let lost = branch.blocks[3].header.hash();
        subject.state.disk.blocks.remove(&lost);
        subject.feed(Input::BodiesMissing { hashes: vec![lost] });
        // The stored tip shows that the body was already abandoned before the restart, so no peer has to be asked
        // first.
        assert_eq!(subject.tip(), expected);
        assert_eq!(
            subject.state.disk.blocks.len(),
            12,
            "all that was on disk still is"
        );
    }
}

#[test]
fn corrupt_body_after_a_reorg_is_waited_for() {
    let (mut branch, other) = (Branch::of(1, 8), Branch::of(2, 5));
    let mut subject = unverified_with_side_branch(&branch, &other, other.tip());
    let lost = branch.blocks[3].header.hash();
    branch.grow(1, 1);
    subject.gossip_block(1, &branch.blocks[8]);
    subject.feed(Input::BodiesMissing { hashes: vec![lost] });
    assert_eq!(subject.tip(), branch.tip());
}

#[test]
fn body_is_not_abandoned_while_a_peer_may_have_it() {
    let branch = Branch::of(1, 8);
    // Without peers, the machine waits.
    let (mut subject, _) = without_body(&branch, 4);
    subject.advance(2 * MAX_MISSING_BODY_PATIENCE);
    assert_eq!(subject.tip(), branch.tip());
    // A peer that lacks it connects and leaves. After a while without peers, the wait starts again.
    let newcomer = branch.prefix(3);
    subject.connect(1);
    advance_and_serve(&mut subject, PATIENCE - 2_000, &[(1, &newcomer)]);
    subject.disconnect(1);
    subject.advance(MISSING_BODY_PATIENCE + 2_000);
    subject.connect(2);
    advance_and_serve(&mut subject, PATIENCE - 2_000, &[(2, &newcomer)]);
    assert_eq!(subject.tip(), branch.tip());
    // A peer that lacked the body is asked one last time, and may have it now.
    advance_and_serve(&mut subject, 10_000, &[(2, &branch)]);
    assert_complete(&subject, &branch);
}

#[test]
fn new_peer_is_asked_before_a_body_is_abandoned() {
    let branch = Branch::of(1, 8);
    let newcomer = branch.prefix(3);
    let (mut subject, _) = without_body(&branch, 4);
    subject.connect(1);
    advance_and_serve(&mut subject, PATIENCE - 1_000, &[(1, &newcomer)]);
    subject.connect(2);
    advance_and_serve(&mut subject, LAST_ROUND_TIMEOUT - 2_000, &[(1, &newcomer)]);
    assert_eq!(subject.tip(), branch.tip());
    subject.serve(2, &branch);
    assert_complete(&subject, &branch);
}

#[test]
fn silent_peer_is_not_waited_for_forever() {
    let branch = Branch::of(1, 8);
    let newcomer = branch.prefix(3);
    // Peer 2 never answers body requests; in the second case it answers nothing at all.
    for says_status in [true, false] {
        let (mut subject, _) = without_body(&branch, 4);
        subject.connect(1);
        subject.connect(2);
        for _ in 0..(PATIENCE + 3 * LAST_ROUND_TIMEOUT) / 1_000 {
            subject.serve(1, &newcomer);
            if says_status {
                subject.serve_requests_of(2, &branch, is_status);
            }
            subject.advance(1_000);
        }
        assert_eq!(subject.tip(), newcomer.tip(), "says status: {says_status}");
    }
}

#[test]
fn peer_without_bodies_does_not_block_other_peers() {
    let branch = Branch::of(1, 8);
    let mut subject = without_any_body(&branch);
    subject.connect(1);
    subject.receive_status(1, branch.prefix(1).status());
    subject.connect(2);
    subject.receive_status(2, branch.status());
    // The first peer's status changes with each answer, so it may have received bodies in the meantime.
    for round in 0..20 {
        subject.receive_status(1, branch.prefix(round % 2).status());
        if let Some((id, request)) = subject.open_request(1, is_bodies) {
            let nothing = honest_response(&Branch::new(), &request, |_| true);
            subject.respond(1, id, nothing.encode());
        }
    }
    assert!(subject.open_request(2, is_bodies).is_some());
    subject.serve(2, &branch);
    assert_eq!(subject.machine.load().missing_bodies, 0);
}

#[test]
fn peer_without_bodies_is_asked_once_a_second() {
    let branch = Branch::of(1, 8);
    let mut subject = without_any_body(&branch);
    subject.connect(1);
    subject.receive_status(1, branch.prefix(1).status());
    let mut asked = 0;
    for round in 0..100 {
        subject.receive_status(1, branch.prefix(round % 2).status());
        asked += usize::from(subject.open_request(1, is_bodies).is_some());
        subject.serve_requests_of(1, &Branch::new(), is_bodies);
        subject.advance(100);
    }
    assert!(
        (5..=12).contains(&asked),
        "asked {asked} times in ten seconds"
    );
}

#[test]
fn refusing_peer_is_asked_again_later_for_less() {
    let branch = Branch::of(1, 8);
    let mut subject = without_any_body(&branch);
    subject.connect(1);
    subject.receive_status(1, branch.status());
    for _ in 0..10 {
        if let Some((id, _)) = subject.open_request(1, is_bodies) {
            subject.fail(1, id, RequestFailure::Closed);
        }
    }
    subject.advance(MISSING_BODIES_INTERVAL);
    let request = subject
        .open_request(1, is_bodies)
        .map(|(_, request)| request);
    assert!(
        matches!(&request, Some(Request::Bodies { hashes }) if hashes.len() == 1),
        "{request:?}"
    );
    subject.serve(1, &branch);
    assert_eq!(subject.machine.load().missing_bodies, 0);
}

#[test]
fn pending_write_is_not_missing() {
    let branch = Branch::of(1, 8);
    let (mut subject, lost) = without_body(&branch, 4);
    subject.state.disk.held_writes = Some(Vec::new());
    subject.connect(1);
    subject.serve(1, &branch);
    // The disk has only checked the blocks that were stored before.
    subject.feed(Input::BodiesMissing { hashes: vec![lost] });
    assert_eq!(subject.machine.load().missing_bodies, 0);
    subject.finish_held_writes();
    assert!(subject.state.disk.blocks.contains_key(&lost));
}

#[test]
fn one_unavailable_body_does_not_block_others() {
    let branch = Branch::of(1, 8);
    let hash = |height: usize| branch.blocks[height - 1].header.hash();
    let mut subject = without_any_body(&branch);
    subject.connect(1);
    // Its responses end at the first body that it lacks, as ours do.
    for _ in 0..5 {
        subject.serve_requests_of(1, &branch, |request| !is_bodies(request));
        while let Some((id, request)) = subject.open_request(1, is_bodies) {
            let Request::Bodies { hashes } = &request else {
                panic!("{request:?}");
            };
            let has = |asked: &BlockHash| *asked != hash(3) && *asked != hash(6);
            let many = hashes.iter().take_while(|asked| has(asked)).count().max(1);
            let asked = Request::Bodies {
                hashes: hashes[..many].to_vec(),
            };
            let response = honest_response(&branch, &asked, has);
            subject.respond(1, id, response.encode());
        }
        subject.advance(MISSING_BODIES_INTERVAL);
    }
    assert_eq!(subject.machine.load().missing_bodies, 2);
    subject.connect(2);
    subject.serve_with_bodies(2, &branch, |asked| *asked != hash(3));
    subject.advance(MISSING_BODIES_INTERVAL);
    subject.serve_with_bodies(2, &branch, |asked| *asked != hash(3));
    assert_eq!(subject.machine.load().missing_bodies, 1);
}

#[test]
fn slow_peer_is_asked_one_last_time() {
    let branch = Branch::of(1, 8);
    let (mut subject, _) = without_body(&branch, 4);
    subject.connect(1);
    for _ in 0..PATIENCE / 1_000 + 20 {
        subject.serve_requests_of(1, &branch, is_status);
        subject.advance(1_000);
    }
    advance_and_serve(&mut subject, LAST_ROUND_TIMEOUT, &[(1, &branch)]);
    assert_complete(&subject, &branch);
    let left = |event: &Event| matches!(event, Event::Chain { reorg: true, .. });
    assert!(
        !subject.events.iter().any(left),
        "the branch was never left"
    );
}

/// A subject with this branch, all of whose bodies are corrupt on disk.
fn without_any_body(branch: &Branch) -> Subject {
    let mut subject = unverified(branch);
    let hashes: Vec<BlockHash> = subject
        .state
        .disk
        .blocks
        .drain()
        .map(|(hash, _)| hash)
        .collect();
    subject.feed(Input::BodiesMissing { hashes });
    assert_eq!(subject.machine.load().missing_bodies, branch.blocks.len());
    subject
}

/// A subject with this branch, whose body at this height is corrupt on disk.
fn without_body(branch: &Branch, height: usize) -> (Subject, BlockHash) {
    let mut subject = unverified(branch);
    let lost = branch.blocks[height - 1].header.hash();
    subject.state.disk.blocks.remove(&lost);
    subject.feed(Input::BodiesMissing { hashes: vec![lost] });
    assert_eq!(subject.machine.load().missing_bodies, 1);
    (subject, lost)
}

/// Asserts that no body is missing any more and that the branch was not left.
fn assert_complete(subject: &Subject, branch: &Branch) {
    assert_eq!(subject.machine.load().missing_bodies, 0);
    assert_eq!(subject.tip(), branch.tip());
}

/// Advances the time while these peers answer all requests.
fn advance_and_serve(subject: &mut Subject, ms: u64, peers: &[(Peer, &Branch)]) {
    for _ in 0..ms / 1_000 {
        subject.serve_all(peers);
        subject.advance(1_000);
    }
}
