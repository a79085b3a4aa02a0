//! Peers that misbehave in the sync protocol: each kind of misbehaviour has its own reason, changes nothing, and leads
//! to an immediate disconnect.

use heartchain_chain::{hash::BlockHash, key::Author, work::Work};
use heartchain_sync::{
    Input,
    config::FIRST_BAN,
    io::{DisconnectReason, RequestFailure},
    message::{MAX_HEADERS, MAX_REQUEST_LEN, MAX_RESPONSE_LEN, MempoolRow, Response},
};
use heartchain_test_support::{Branch, Driver as _, Tampering as _, reading, room};

use crate::subject::{Subject, is_bodies, is_headers, is_listing, is_readings};

/// A subject that has `branch` while peer 1 claims the longer one.
fn syncing(branch: &Branch, longer: &Branch) -> Subject {
    let mut subject = Subject::new();
    subject.connect(9);
    subject.serve(9, branch);
    subject.disconnect(9);
    subject.claim(1, longer);
    subject
}

fn assert_banned(subject: &Subject, before: BlockHash, words: &str) {
    let reason = subject
        .ban_reason(1)
        .unwrap_or_else(|| panic!("{words}: not banned"))
        .to_string();
    assert!(
        reason.contains(words),
        "{reason:?} does not contain {words:?}"
    );
    assert_eq!(subject.tip(), before);
    assert_eq!(subject.machine.load().peers, 0);
    assert_eq!(subject.machine.load().open_requests, 0);
}

#[test]
fn undecodable_response_is_banned() {
    let (branch, longer) = (Branch::of(1, 3), Branch::of(2, 5));
    for data in [vec![], vec![0xff; 40], vec![1, 9, 0, 0, 0]] {
        let mut subject = syncing(&branch, &longer);
        let (id, _) = subject.open_request(1, is_headers).expect("asked");
        subject.respond(1, id, data);
        assert_banned(&subject, branch.tip(), "do not decode");
    }
}

#[test]
fn oversize_response_is_banned() {
    let (branch, longer) = (Branch::of(1, 3), Branch::of(2, 5));
    let mut subject = syncing(&branch, &longer);
    let (id, _) = subject.open_request(1, is_headers).expect("asked");
    subject.respond(1, id, vec![0; MAX_RESPONSE_LEN + 1]);
    assert_banned(&subject, branch.tip(), "over the limit");

    let mut subject = syncing(&branch, &longer);
    let (id, _) = subject.open_request(1, is_headers).expect("asked");
    subject.fail(1, id, RequestFailure::Oversize);
    assert_banned(&subject, branch.tip(), "over the limit");
}

#[test]
fn undecodable_or_oversize_request_is_banned() {
    for (data, words) in [
        (vec![0xff; 9], "do not decode"),
        (vec![0; MAX_REQUEST_LEN + 1], "over the limit"),
    ] {
        let mut subject = syncing(&Branch::of(1, 3), &Branch::of(1, 3));
        let before = subject.tip();
        assert_eq!(subject.handle_request_bytes(1, data), None, "refused");
        assert_banned(&subject, before, words);
    }
}

#[test]
fn response_of_another_kind_is_banned() {
    let (branch, longer) = (Branch::of(1, 3), Branch::of(2, 5));
    for other in [
        Response::Status(longer.status()),
        Response::Bodies(vec![]),
        Response::MempoolIds(vec![]),
        Response::Readings(vec![]),
        Response::Profiles(vec![]),
    ] {
        let mut subject = syncing(&branch, &longer);
        subject.answer(1, is_headers, &other);
        assert_banned(&subject, branch.tip(), "does not match the request");
    }
}

#[test]
fn invalid_or_unconnected_headers_are_banned() {
    let (branch, longer) = (Branch::of(1, 3), Branch::of(2, 5));
    let headers: Vec<_> = longer.blocks.iter().map(|block| block.header).collect();
    let mut no_work = headers.clone();
    while no_work[4]
        .bits
        .target()
        .expect("a target")
        .is_met_by(&no_work[4].hash())
    {
        no_work[4].nonce += 1;
    }
    let mut gap = headers.clone();
    gap.remove(2);
    let mut swapped = headers.clone();
    swapped.swap(1, 2);
    for (headers, words) in [
        (no_work, "exceeds the target"),
        (gap, "does not match the request"),
        (swapped, "does not match the request"),
    ] {
        let mut subject = syncing(&branch, &longer);
        subject.answer(1, is_headers, &Response::Headers(headers));
        assert_banned(&subject, branch.tip(), words);
    }
}

#[test]
fn unmet_work_claim_disconnects_without_a_ban() {
    let (branch, longer) = (Branch::of(1, 3), Branch::of(2, 5));
    let mut claim = longer.status();
    claim.total_work = Work::from_le_bytes([0x7f; 32]);
    claim.tip = BlockHash::new([1; 32]);
    for count in [0, 5] {
        let mut subject = syncing(&branch, &branch);
        subject.receive_status(1, claim);
        let headers = longer
            .blocks
            .iter()
            .take(count)
            .map(|block| block.header)
            .collect();
        subject.answer(1, is_headers, &Response::Headers(headers));
        assert_eq!(
            subject.disconnections,
            [(1, DisconnectReason::FalseClaim, false)],
            "{count} headers"
        );
        assert_eq!(subject.tip(), branch.tip());
    }
}

#[test]
fn repeated_headers_end_the_sync() {
    let longer = Branch::of(2, MAX_HEADERS as u64 + 10);
    let headers: Vec<_> = longer
        .blocks
        .iter()
        .take(MAX_HEADERS)
        .map(|block| block.header)
        .collect();
    let mut subject = syncing(&Branch::new(), &longer);
    subject.answer(1, is_headers, &Response::Headers(headers.clone()));
    subject.answer(1, is_headers, &Response::Headers(headers));
    assert_eq!(
        subject.disconnections,
        [(1, DisconnectReason::FalseClaim, false)]
    );
    assert_eq!(subject.open_request(1, is_headers), None);
}

#[test]
fn body_not_matching_its_header_is_banned() {
    let (branch, longer) = (Branch::of(1, 3), Branch::of(2, 5));
    let headers: Vec<_> = longer.blocks.iter().map(|block| block.header).collect();
    let mut bodies: Vec<_> = longer
        .blocks
        .iter()
        .map(|block| Some(block.readings.clone()))
        .collect();
    bodies[2] = Some(vec![reading(3, 0)]);
    let mut subject = syncing(&branch, &longer);
    subject.answer(1, is_headers, &Response::Headers(headers));
    subject.answer(1, is_bodies, &Response::Bodies(bodies));
    assert_banned(&subject, branch.tip(), "readings root");
    // The header remains valid, and an honest peer's body is accepted.
    subject.connect(2);
    subject.serve(2, &longer);
    assert_eq!(subject.tip(), longer.tip());
}

#[test]
fn wrong_body_is_banned_though_gossip_had_the_right() {
    let (branch, longer) = (Branch::of(1, 3), Branch::of(1, 4));
    let next = longer.blocks.last().expect("four blocks");
    let mut subject = syncing(&branch, &longer);
    subject.answer(1, is_headers, &Response::Headers(vec![next.header]));
    subject.connect(2);
    subject.gossip_block(2, next);
    assert_eq!(subject.tip(), longer.tip());
    subject.disconnect(2);
    let junk = Response::Bodies(vec![Some(vec![reading(3, 0)])]);
    subject.answer(1, is_bodies, &junk);
    assert_banned(&subject, longer.tip(), "readings root");
}

#[test]
fn branch_with_an_invalid_reading_is_marked_invalid() {
    let branch = Branch::of(1, 3);
    let mut forged = reading(2, 1);
    forged = forged.with_bpm(99);
    for (bad, words) in [
        (forged, "is not author"),
        (reading(2, 3), "its next on this branch is 1"),
    ] {
        let mut longer = Branch::of(2, 1);
        longer.push(vec![bad]);
        longer.grow(3, 3);
        let mut subject = syncing(&branch, &longer);
        let headers: Vec<_> = longer.blocks.iter().map(|block| block.header).collect();
        let bodies = longer
            .blocks
            .iter()
            .map(|block| Some(block.readings.clone()))
            .collect();
        subject.answer(1, is_headers, &Response::Headers(headers));
        subject.answer(1, is_bodies, &Response::Bodies(bodies));
        assert_banned(&subject, branch.tip(), words);
        // No other peer can offer the same branch again.
        subject.connect(2);
        subject.serve(2, &longer);
        assert_eq!(subject.tip(), branch.tip());
    }
}

#[test]
fn surplus_bodies_are_banned() {
    let (branch, longer) = (Branch::of(1, 3), Branch::of(2, 5));
    let mut subject = syncing(&branch, &longer);
    subject.send_headers(1, &longer);
    subject.answer(1, is_bodies, &Response::Bodies(vec![None; 6]));
    assert_banned(&subject, branch.tip(), "does not match the request");
}

#[test]
fn unsorted_or_repeated_listing_is_banned() {
    let row = |author: u8, seq| MempoolRow {
        author: Author::new([author; 32]),
        seq,
        id: reading(1, 0).id(room().id()),
    };
    for rows in [
        vec![row(2, 0), row(1, 0)],
        vec![row(1, 1), row(1, 0)],
        vec![row(1, 0), row(1, 0)],
    ] {
        let branch = Branch::of(1, 3);
        let mut subject = syncing(&branch, &branch);
        subject.answer(1, is_listing, &Response::MempoolIds(rows));
        assert_banned(&subject, branch.tip(), "does not match the request");
    }
}

#[test]
fn unrequested_or_forged_readings_are_banned() {
    let room = room().id();
    let mut forged = reading(2, 0);
    forged.signature = heartchain_chain::key::Signature::new([1; 64]);
    let wanted = [reading(2, 0), reading(3, 0)];
    for (readings, words) in [
        (vec![reading(4, 0)], "does not match the request"),
        (vec![wanted[0], wanted[0]], "does not match the request"),
        (vec![forged, wanted[1]], "is not author"),
    ] {
        let branch = Branch::of(1, 3);
        let mut subject = syncing(&branch, &branch);
        let mut rows: Vec<_> = wanted
            .iter()
            .map(|reading| MempoolRow {
                author: reading.author,
                seq: 0,
                id: reading.id(room),
            })
            .collect();
        rows.sort_by_key(|row| row.author);
        subject.answer(1, is_listing, &Response::MempoolIds(rows));
        subject.answer(1, is_readings, &Response::Readings(readings));
        assert_banned(&subject, branch.tip(), words);
        assert_eq!(subject.machine.load().mempool, 0);
    }
}

#[test]
fn possibly_honest_failures_are_never_banned() {
    let branch = Branch::of(1, 3);
    let mut subject = syncing(&branch, &Branch::of(2, 5));
    for failure in [RequestFailure::Timeout, RequestFailure::Closed] {
        while let Some((id, _)) = subject.open_request(1, |_| true) {
            subject.fail(1, id, failure);
        }
        subject.advance(40_000);
    }
    assert!(subject.disconnections.is_empty());
    subject.state.open_requests.clear();
    subject.advance(40_000);
    let (id, _) = subject.state.open_requests.pop_last().expect("asked again");
    subject.fail(1, id, RequestFailure::Unsupported);
    assert_eq!(
        subject.disconnections,
        [(1, DisconnectReason::OtherRoom, false)],
        "disconnected, not banned"
    );
}

#[test]
fn banned_peer_is_refused_until_its_ban_ends() {
    let mut subject = syncing(&Branch::of(1, 3), &Branch::of(1, 3));
    subject.handle_request_bytes(1, vec![0xff]);
    subject.disconnections.clear();
    subject.advance(FIRST_BAN - 1);
    subject.connect(1);
    assert_eq!(
        subject.disconnections,
        [(1, DisconnectReason::Banned, true)]
    );
    assert_eq!(subject.machine.load().peers, 0);
    subject.advance(1);
    subject.connect(1);
    assert_eq!(subject.machine.load().peers, 1);
    // The second ban lasts twice as long.
    subject.handle_request_bytes(1, vec![0xff]);
    subject.advance(2 * FIRST_BAN - 1);
    subject.connect(1);
    assert_eq!(subject.machine.load().peers, 0);
}

#[test]
fn flooding_peer_is_banned_even_if_unknown() {
    let branch = Branch::of(1, 3);
    let mut subject = syncing(&branch, &branch);
    subject.feed(Input::PeerFlooded { peer: 1 });
    assert_banned(&subject, branch.tip(), "a flood");
    // The connection that it flooded may be closed already.
    subject.feed(Input::PeerFlooded { peer: 2 });
    subject.connect(2);
    let reasons = [
        (1, DisconnectReason::Flood, true),
        (2, DisconnectReason::Flood, true),
        (2, DisconnectReason::Banned, true),
    ];
    assert_eq!(subject.disconnections, reasons);
}

#[test]
fn late_or_unrelated_responses_are_ignored() {
    let (branch, longer) = (Branch::of(1, 3), Branch::of(2, 5));
    let mut subject = syncing(&branch, &longer);
    let (id, _) = subject.open_request(1, is_headers).expect("asked");
    subject.connect(2);
    subject.respond(2, id, vec![0xff]);
    assert!(subject.disconnections.is_empty(), "peer 2 was not asked");
    subject.advance(10_000);
    subject.respond(1, id, vec![0xff]);
    assert!(
        subject.disconnections.is_empty(),
        "a late response is ignored"
    );
}
