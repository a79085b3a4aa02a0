//! Every bound of the machine, at the bound.

use chain::hash::{BlockHash, ReadingId};
use sync::{
    Input,
    config::{
        ANSWER_BURST, EXCHANGE_INTERVAL, GAP_PATIENCE, HEADER_TURN, MAX_HEADER_TURNS,
        MAX_OPEN_REQUESTS, MAX_PEERS, NEWCOMER_FORWARD_BURST, NEWCOMER_FORWARD_RATE, STATUS_IDLE,
    },
    message::{IdRow, MAX_HEADERS, Request, Response},
    seam::Verdict,
};

use crate::{
    branch::{Branch, key, reading, room},
    subject::{Subject, is_headers, is_listing, is_readings, is_status},
};

#[test]
fn peers_are_bounded() {
    let mut subject = Subject::new();
    for (peer, count) in (0..).zip(1..=MAX_PEERS + 1) {
        subject.connect(peer);
        assert_eq!(subject.machine.load().peers, MAX_PEERS.min(count));
    }
}

#[test]
fn requests_open_at_one_peer_are_bounded() {
    let branch = Branch::of(1, 1_000);
    let mut subject = Subject::new();
    subject.connect(1);
    subject.answer(1, is_status, &Response::Status(branch.status()));
    let headers = branch.blocks.iter().map(|block| block.header).collect();
    subject.answer(1, is_headers, &Response::Headers(headers));
    subject.give(Input::Woke);
    assert_eq!(subject.asked.len(), MAX_OPEN_REQUESTS);
    assert_eq!(subject.machine.load().open_requests, MAX_OPEN_REQUESTS);
}

#[test]
fn header_syncs_are_bounded_and_the_patient_ones_get_their_turn() {
    let branch = Branch::of(1, 3);
    let mut subject = Subject::new();
    for peer in 1..=4 {
        subject.connect(peer);
        subject.answer(peer, is_status, &Response::Status(branch.status()));
    }
    assert_eq!(subject.machine.load().header_syncs, MAX_HEADER_TURNS);
    assert!(subject.open(3, is_headers).is_none());
    // The first two never answer.
    subject.wait(HEADER_TURN - 1);
    assert!(subject.open(3, is_headers).is_none());
    subject.wait(1);
    assert!(subject.open(3, is_headers).is_some() && subject.open(4, is_headers).is_some());
}

#[test]
fn answers_draw_on_a_bucket() {
    let branch = Branch::of(1, MAX_HEADERS as u64);
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &branch);
    let locator = vec![room().genesis_hash()];
    let mut drawn = 0;
    let mut answered = 0_u64;
    while let Some(answer) = subject.ask(
        1,
        &Request::Headers {
            locator: locator.clone(),
        },
    ) {
        drawn += answer.encode().len() as u64;
        answered += 1;
        assert!(answered < 1_000, "without end");
    }
    assert!(
        drawn <= ANSWER_BURST && drawn > ANSWER_BURST * 9 / 10,
        "{drawn} bytes drawn"
    );
    subject.wait(1_000);
    assert!(
        subject
            .ask(
                1,
                &Request::Headers {
                    locator: locator.clone()
                }
            )
            .is_some()
    );
    // Strangers share one.
    for stranger in 100..100 + 2 * answered {
        subject.ask(
            stranger,
            &Request::Headers {
                locator: locator.clone(),
            },
        );
    }
    assert!(subject.ask(99, &Request::Headers { locator }).is_none());
}

#[test]
fn newcomers_are_passed_on_at_a_bounded_rate() {
    let mut subject = Subject::new();
    subject.connect(1);
    let mut accepted = 0;
    for author in 0..NEWCOMER_FORWARD_BURST + 10 {
        let id = subject.gossip_reading(1, &reading(author, 0));
        accepted += u64::from(subject.verdict(id) == Some(Verdict::Accept));
    }
    assert_eq!(accepted, NEWCOMER_FORWARD_BURST);
    assert_eq!(
        subject.machine.load().mempool as u64,
        NEWCOMER_FORWARD_BURST + 10,
        "kept all the same"
    );
    subject.wait(1_000);
    let mut accepted = 0;
    for author in 5_000..5_000 + NEWCOMER_FORWARD_RATE + 10 {
        let id = subject.gossip_reading(1, &reading(author, 0));
        accepted += u64::from(subject.verdict(id) == Some(Verdict::Accept));
    }
    assert_eq!(accepted, NEWCOMER_FORWARD_RATE);
}

#[test]
fn gap_makes_mempools_be_compared_once_then_only_in_rounds() {
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &Branch::new());
    subject.gossip_reading(1, &reading(2, 1));
    subject.wait(GAP_PATIENCE - 1);
    assert!(subject.open(1, is_listing).is_none());
    subject.wait(1);
    assert!(subject.open(1, is_listing).is_some());
    let mut asked = 0;
    for _ in 0..300 {
        asked += u64::from(subject.open(1, is_listing).is_some());
        subject.serve(1, &Branch::new());
        subject.wait(1_000);
    }
    assert!(
        asked <= 2 + 300_000 / EXCHANGE_INTERVAL,
        "asked {asked} times in five minutes"
    );
}

#[test]
fn reading_named_in_two_listings_is_asked_for_once() {
    let mut subject = Subject::new();
    subject.connect(1);
    let id = reading(2, 0).id(room().id());
    let rows = vec![IdRow {
        author: key(2).author(),
        seq: 0,
        id,
    }];
    subject.answer(1, is_listing, &Response::MempoolIds(rows.clone()));
    subject.give(Input::Woke);
    subject.answer(1, is_listing, &Response::MempoolIds(rows));
    let (_, request) = subject.open(1, is_readings).expect("asked");
    assert_eq!(request, Request::Readings { ids: vec![id] });
    subject.answer(1, is_readings, &Response::Readings(vec![reading(2, 0)]));
    assert_eq!(subject.machine.load().mempool, 1);
    assert!(subject.dropped.is_empty());
}

#[test]
fn what_is_not_known_is_answered_as_such() {
    let mut subject = Subject::new();
    subject.connect(1);
    let unknown = BlockHash::new([1; 32]);
    assert_eq!(
        subject.ask(
            1,
            &Request::Headers {
                locator: vec![unknown]
            }
        ),
        Some(Response::Headers(vec![]))
    );
    assert_eq!(
        subject.ask(1, &Request::Headers { locator: vec![] }),
        Some(Response::Headers(vec![]))
    );
    let bodies = |hashes| Request::Bodies { hashes };
    assert_eq!(
        subject.ask(1, &bodies(vec![unknown])),
        Some(Response::Bodies(vec![None]))
    );
    assert_eq!(
        subject.ask(1, &bodies(vec![])),
        Some(Response::Bodies(vec![]))
    );
    let ids = vec![ReadingId::new([1; 32])];
    assert_eq!(
        subject.ask(1, &Request::Readings { ids }),
        Some(Response::Readings(vec![]))
    );
}

#[test]
fn answers_are_what_honest_peers_expect() {
    let branch = Branch::of(1, 20);
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &branch);
    let hashes: Vec<BlockHash> = branch
        .blocks
        .iter()
        .map(|block| block.header.hash())
        .collect();
    let answer = subject.ask(
        2,
        &Request::Headers {
            locator: vec![hashes[4]],
        },
    );
    let headers = branch
        .blocks
        .iter()
        .skip(5)
        .map(|block| block.header)
        .collect();
    assert_eq!(answer, Some(Response::Headers(headers)));
    let answer = subject.ask(
        2,
        &Request::Bodies {
            hashes: vec![hashes[0], BlockHash::new([1; 32]), hashes[1]],
        },
    );
    assert_eq!(
        answer,
        Some(Response::Bodies(vec![Some(
            branch.blocks[0].readings.clone()
        )])),
        "a prefix"
    );
    // What the disk garbled is as good as lost.
    subject.blocks.get_mut(&hashes[2]).expect("kept").readings[0].bpm ^= 1;
    let answer = subject.ask(
        2,
        &Request::Bodies {
            hashes: vec![hashes[2]],
        },
    );
    assert_eq!(answer, Some(Response::Bodies(vec![None])));
}

#[test]
fn silent_peer_is_asked_for_its_status() {
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &Branch::new());
    subject.wait(STATUS_IDLE - 1);
    assert!(subject.open(1, is_status).is_none());
    subject.wait(1);
    assert!(subject.open(1, is_status).is_some());
}

#[test]
fn waking_asks_everybody() {
    let mut subject = Subject::new();
    for peer in 1..=3 {
        subject.connect(peer);
        subject.serve(peer, &Branch::new());
    }
    subject.give(Input::Woke);
    for peer in 1..=3 {
        assert!(subject.open(peer, is_status).is_some());
        assert!(subject.open(peer, is_listing).is_some());
    }
}
