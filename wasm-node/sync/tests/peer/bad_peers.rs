//! Peers that lie in the sync protocol: each lie has its own reason, nothing changes, and the liar is dropped at once.

use chain::{hash::BlockHash, key::Author, work::Work};
use sync::{
    Input,
    config::FIRST_BAN,
    message::{IdRow, MAX_HEADERS, MAX_REQUEST_LEN, MAX_RESPONSE_LEN, Response},
    seam::{DropReason, RequestFailure},
};

use crate::{
    branch::{Branch, reading},
    subject::{Subject, is_bodies, is_headers, is_listing, is_readings, is_status},
};

/// A subject that stands at this branch; peer 1 claims a longer one.
fn tempted(branch: &Branch, longer: &Branch) -> Subject {
    let mut subject = Subject::new();
    subject.connect(9);
    subject.serve(9, branch);
    subject.disconnect(9);
    subject.connect(1);
    subject.answer(1, is_status, &Response::Status(longer.status()));
    subject
}

fn assert_banned(subject: &Subject, before: BlockHash, words: &str) {
    let reason = subject
        .was_banned(1)
        .unwrap_or_else(|| panic!("{words}: not banned"))
        .to_string();
    assert!(reason.contains(words), "{reason:?} does not say {words:?}");
    assert_eq!(subject.tip(), before);
    assert_eq!(subject.machine.load().peers, 0);
    assert_eq!(subject.machine.load().open_requests, 0);
}

#[test]
fn noise_in_place_of_an_answer() {
    let (branch, longer) = (Branch::of(1, 3), Branch::of(2, 5));
    for data in [vec![], vec![0xff; 40], vec![1, 9, 0, 0, 0]] {
        let mut subject = tempted(&branch, &longer);
        let (id, _) = subject.open(1, is_headers).expect("asked");
        subject.respond(1, id, data);
        assert_banned(&subject, branch.tip(), "do not decode");
    }
}

#[test]
fn answer_that_is_too_long() {
    let (branch, longer) = (Branch::of(1, 3), Branch::of(2, 5));
    let mut subject = tempted(&branch, &longer);
    let (id, _) = subject.open(1, is_headers).expect("asked");
    subject.respond(1, id, vec![0; MAX_RESPONSE_LEN + 1]);
    assert_banned(&subject, branch.tip(), "over the limit");

    let mut subject = tempted(&branch, &longer);
    let (id, _) = subject.open(1, is_headers).expect("asked");
    let failure = RequestFailure::Oversize;
    subject.give(Input::RequestFailed {
        peer: 1,
        id,
        failure,
    });
    assert_banned(&subject, branch.tip(), "over the limit");
}

#[test]
fn request_that_is_noise_or_too_long() {
    for (data, words) in [
        (vec![0xff; 9], "do not decode"),
        (vec![0; MAX_REQUEST_LEN + 1], "over the limit"),
    ] {
        let mut subject = tempted(&Branch::of(1, 3), &Branch::of(1, 3));
        let before = subject.tip();
        assert_eq!(subject.ask_bytes(1, data), None, "refused");
        assert_banned(&subject, before, words);
    }
}

#[test]
fn answer_to_another_question() {
    let (branch, longer) = (Branch::of(1, 3), Branch::of(2, 5));
    for other in [
        Response::Status(longer.status()),
        Response::Bodies(vec![]),
        Response::MempoolIds(vec![]),
        Response::Readings(vec![]),
    ] {
        let mut subject = tempted(&branch, &longer);
        subject.answer(1, is_headers, &other);
        assert_banned(&subject, branch.tip(), "not asked for");
    }
}

#[test]
fn headers_that_break_a_rule_or_do_not_follow_one_another() {
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
        (gap, "not asked for"),
        (swapped, "not asked for"),
    ] {
        let mut subject = tempted(&branch, &longer);
        subject.answer(1, is_headers, &Response::Headers(headers));
        assert_banned(&subject, branch.tip(), words);
    }
}

#[test]
fn claim_that_the_headers_do_not_reach_is_no_reason_for_a_ban_but_for_a_parting() {
    let (branch, longer) = (Branch::of(1, 3), Branch::of(2, 5));
    let mut claim = longer.status();
    claim.total_work = Work::from_le_bytes([0x7f; 32]);
    claim.tip = BlockHash::new([1; 32]);
    for count in [0, 5] {
        let mut subject = tempted(&branch, &branch);
        subject.hear_status(1, claim);
        let headers = longer
            .blocks
            .iter()
            .take(count)
            .map(|block| block.header)
            .collect();
        subject.answer(1, is_headers, &Response::Headers(headers));
        assert_eq!(
            subject.dropped,
            [(1, DropReason::FalseClaim, false)],
            "{count} headers"
        );
        assert_eq!(subject.tip(), branch.tip());
    }
}

#[test]
fn same_headers_again_end_the_sync() {
    let longer = Branch::of(2, MAX_HEADERS as u64 + 10);
    let headers: Vec<_> = longer
        .blocks
        .iter()
        .take(MAX_HEADERS)
        .map(|block| block.header)
        .collect();
    let mut subject = tempted(&Branch::new(), &longer);
    subject.answer(1, is_headers, &Response::Headers(headers.clone()));
    subject.answer(1, is_headers, &Response::Headers(headers));
    assert_eq!(subject.dropped, [(1, DropReason::FalseClaim, false)]);
    assert_eq!(subject.open(1, is_headers), None);
}

#[test]
fn body_that_is_not_its_headers() {
    let (branch, longer) = (Branch::of(1, 3), Branch::of(2, 5));
    let headers: Vec<_> = longer.blocks.iter().map(|block| block.header).collect();
    let mut bodies: Vec<_> = longer
        .blocks
        .iter()
        .map(|block| Some(block.readings.clone()))
        .collect();
    bodies[2] = Some(vec![reading(3, 0)]);
    let mut subject = tempted(&branch, &longer);
    subject.answer(1, is_headers, &Response::Headers(headers));
    subject.answer(1, is_bodies, &Response::Bodies(bodies));
    assert_banned(&subject, branch.tip(), "readings root");
    // The header stands, and an honest peer's body is taken.
    subject.connect(2);
    subject.serve(2, &longer);
    assert_eq!(subject.tip(), longer.tip());
}

#[test]
fn body_that_is_not_its_headers_when_gossip_brought_the_true_one_before() {
    let (branch, longer) = (Branch::of(1, 3), Branch::of(1, 4));
    let next = longer.blocks.last().expect("four blocks");
    let mut subject = tempted(&branch, &longer);
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
fn branch_with_a_forged_reading_or_a_skipped_place_is_condemned() {
    let branch = Branch::of(1, 3);
    let mut forged = reading(2, 1);
    forged.bpm = 99;
    for (bad, words) in [
        (forged, "is not author"),
        (reading(2, 3), "its next on this branch is 1"),
    ] {
        let mut longer = Branch::of(2, 1);
        longer.push(vec![bad]);
        longer.grow(3, 3);
        let mut subject = tempted(&branch, &longer);
        let headers: Vec<_> = longer.blocks.iter().map(|block| block.header).collect();
        let bodies = longer
            .blocks
            .iter()
            .map(|block| Some(block.readings.clone()))
            .collect();
        subject.answer(1, is_headers, &Response::Headers(headers));
        subject.answer(1, is_bodies, &Response::Bodies(bodies));
        assert_banned(&subject, branch.tip(), words);
        // Nobody else can sell the same branch.
        subject.connect(2);
        subject.serve(2, &longer);
        assert_eq!(subject.tip(), branch.tip());
    }
}

#[test]
fn more_bodies_than_were_asked_for() {
    let (branch, longer) = (Branch::of(1, 3), Branch::of(2, 5));
    let mut subject = tempted(&branch, &longer);
    let headers: Vec<_> = longer.blocks.iter().map(|block| block.header).collect();
    subject.answer(1, is_headers, &Response::Headers(headers));
    subject.answer(1, is_bodies, &Response::Bodies(vec![None; 6]));
    assert_banned(&subject, branch.tip(), "not asked for");
}

#[test]
fn listing_out_of_order_or_twice_the_same() {
    let row = |author: u8, seq| IdRow {
        author: Author::new([author; 32]),
        seq,
        id: reading(1, 0).id(crate::branch::room().id()),
    };
    for rows in [
        vec![row(2, 0), row(1, 0)],
        vec![row(1, 1), row(1, 0)],
        vec![row(1, 0), row(1, 0)],
    ] {
        let branch = Branch::of(1, 3);
        let mut subject = tempted(&branch, &branch);
        subject.answer(1, is_listing, &Response::MempoolIds(rows));
        assert_banned(&subject, branch.tip(), "not asked for");
    }
}

#[test]
fn readings_that_were_not_asked_for_or_are_forged() {
    let room = crate::branch::room().id();
    let mut forged = reading(2, 0);
    forged.signature = chain::key::Signature::new([1; 64]);
    let wanted = [reading(2, 0), reading(3, 0)];
    for (readings, words) in [
        (vec![reading(4, 0)], "not asked for"),
        (vec![wanted[0], wanted[0]], "not asked for"),
        (vec![forged, wanted[1]], "is not author"),
    ] {
        let branch = Branch::of(1, 3);
        let mut subject = tempted(&branch, &branch);
        let mut rows: Vec<_> = wanted
            .iter()
            .map(|reading| IdRow {
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
fn what_may_be_honest_is_never_punished() {
    let branch = Branch::of(1, 3);
    let mut subject = tempted(&branch, &Branch::of(2, 5));
    for failure in [RequestFailure::Timeout, RequestFailure::Closed] {
        while let Some((id, _)) = subject.open(1, |_| true) {
            subject.asked.remove(&id);
            subject.give(Input::RequestFailed {
                peer: 1,
                id,
                failure,
            });
        }
        subject.wait(40_000);
    }
    assert!(subject.dropped.is_empty());
    subject.asked.clear();
    subject.wait(40_000);
    let (id, _) = subject.asked.pop_last().expect("asked again");
    let failure = RequestFailure::Unsupported;
    subject.give(Input::RequestFailed {
        peer: 1,
        id,
        failure,
    });
    assert_eq!(
        subject.dropped,
        [(1, DropReason::OtherRoom, false)],
        "let go, not banned"
    );
}

#[test]
fn banned_peer_is_dropped_at_the_door_until_its_time_is_over() {
    let mut subject = tempted(&Branch::of(1, 3), &Branch::of(1, 3));
    subject.ask_bytes(1, vec![0xff]);
    subject.dropped.clear();
    subject.wait(FIRST_BAN - 1);
    subject.connect(1);
    assert_eq!(subject.dropped, [(1, DropReason::Banned, true)]);
    assert_eq!(subject.machine.load().peers, 0);
    subject.wait(1);
    subject.connect(1);
    assert_eq!(subject.machine.load().peers, 1);
    // The second ban is twice as long.
    subject.ask_bytes(1, vec![0xff]);
    subject.wait(2 * FIRST_BAN - 1);
    subject.connect(1);
    assert_eq!(subject.machine.load().peers, 0);
}

#[test]
fn late_answers_and_answers_of_others_mean_nothing() {
    let (branch, longer) = (Branch::of(1, 3), Branch::of(2, 5));
    let mut subject = tempted(&branch, &longer);
    let (id, _) = subject.open(1, is_headers).expect("asked");
    subject.connect(2);
    subject.respond(2, id, vec![0xff]);
    assert!(subject.dropped.is_empty(), "2 was not asked");
    subject.wait(10_000);
    subject.respond(1, id, vec![0xff]);
    assert!(subject.dropped.is_empty(), "it is too late to matter");
}
