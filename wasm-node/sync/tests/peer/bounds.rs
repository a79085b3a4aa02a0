//! The limits of the machine, each tested at the limit.

use heartchain_chain::hash::{BlockHash, ReadingId};
use heartchain_sync::{
    Input,
    config::{
        ANSWER_BURST, GAP_INTERVAL, GAP_PATIENCE, HEADER_TURN, MAX_HEADER_TURNS, MAX_OPEN_REQUESTS,
        MAX_PEERS, MEMPOOL_SYNC_INTERVAL, NEWCOMER_FORWARD_BURST, NEWCOMER_FORWARD_RATE,
        STATUS_IDLE,
    },
    io::Verdict,
    message::{MAX_HEADERS, MempoolRow, Request, Response},
};
use heartchain_test_support::{Branch, Driver as _, Tampering as _, key, reading, room};

use crate::subject::{Subject, is_headers, is_listing, is_readings, is_status};

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
    let mut subject = Subject::offered(&branch, 1);
    subject.feed(Input::Resumed);
    assert_eq!(subject.state.open_requests.len(), MAX_OPEN_REQUESTS);
    assert_eq!(subject.machine.load().open_requests, MAX_OPEN_REQUESTS);
}

#[test]
fn header_syncs_are_bounded_and_take_turns() {
    let branch = Branch::of(1, 3);
    let mut subject = Subject::new();
    for peer in 1..=4 {
        subject.claim(peer, &branch);
    }
    assert_eq!(subject.machine.load().header_syncs, MAX_HEADER_TURNS);
    assert!(subject.open_request(3, is_headers).is_none());
    // The first two peers never answer.
    subject.advance(HEADER_TURN - 1);
    assert!(subject.open_request(3, is_headers).is_none());
    subject.advance(1);
    assert!(
        subject.open_request(3, is_headers).is_some()
            && subject.open_request(4, is_headers).is_some()
    );
}

#[test]
fn responses_draw_on_a_token_bucket() {
    let branch = Branch::of(1, MAX_HEADERS as u64);
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &branch);
    let locator = vec![room().genesis_hash()];
    let mut drawn = 0;
    let mut answered = 0_u64;
    while let Some(answer) = subject.handle_request(
        1,
        &Request::Headers {
            locator: locator.clone(),
        },
    ) {
        drawn += answer.encode().len() as u64;
        answered += 1;
        assert!(answered < 1_000, "answers are not limited");
    }
    assert!(
        drawn <= ANSWER_BURST && drawn > ANSWER_BURST * 9 / 10,
        "{drawn} bytes drawn"
    );
    subject.advance(1_000);
    assert!(
        subject
            .handle_request(
                1,
                &Request::Headers {
                    locator: locator.clone()
                }
            )
            .is_some()
    );
    // Peers that are not connected share one bucket.
    for stranger in 100..100 + 2 * answered {
        subject.handle_request(
            stranger,
            &Request::Headers {
                locator: locator.clone(),
            },
        );
    }
    assert!(
        subject
            .handle_request(99, &Request::Headers { locator })
            .is_none()
    );
}

#[test]
fn readings_of_new_authors_are_rate_limited() {
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
        "they are kept although they are not forwarded"
    );
    subject.advance(1_000);
    let mut accepted = 0;
    for author in 5_000..5_000 + NEWCOMER_FORWARD_RATE + 10 {
        let id = subject.gossip_reading(1, &reading(author, 0));
        accepted += u64::from(subject.verdict(id) == Some(Verdict::Accept));
    }
    assert_eq!(accepted, NEWCOMER_FORWARD_RATE);
}

#[test]
fn seq_gap_triggers_one_mempool_comparison() {
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &Branch::new());
    subject.gossip_reading(1, &reading(2, 1));
    subject.advance(GAP_PATIENCE - 1);
    assert!(subject.open_request(1, is_listing).is_none());
    subject.advance(1);
    assert!(subject.open_request(1, is_listing).is_some());
    let mut asked = 0;
    for _ in 0..300 {
        asked += u64::from(subject.open_request(1, is_listing).is_some());
        subject.serve(1, &Branch::new());
        subject.advance(1_000);
    }
    assert!(
        asked <= 2 + 300_000 / MEMPOOL_SYNC_INTERVAL,
        "asked {asked} times in five minutes"
    );
}

/// Between full mempools, what a comparison brings displaces other readings and so makes new gaps.
#[test]
fn new_gaps_trigger_one_comparison_in_an_interval() {
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &Branch::new());
    let mut asked = 0;
    for author in 2..302 {
        subject.gossip_reading(1, &reading(author, 1));
        subject.advance(100);
        asked += u64::from(subject.open_request(1, is_listing).is_some());
        subject.serve(1, &Branch::new());
    }
    let intervals = 30_000 / GAP_INTERVAL + 30_000 / MEMPOOL_SYNC_INTERVAL;
    assert!((2..=1 + intervals).contains(&asked), "asked {asked} times");
}

#[test]
fn reading_in_two_listings_is_requested_once() {
    let mut subject = Subject::new();
    subject.connect(1);
    let id = reading(2, 0).id(room().id());
    let rows = vec![MempoolRow {
        author: key(2).author(),
        seq: 0,
        id,
    }];
    subject.answer(1, is_listing, &Response::MempoolIds(rows.clone()));
    subject.feed(Input::Resumed);
    subject.answer(1, is_listing, &Response::MempoolIds(rows));
    let (_, request) = subject.open_request(1, is_readings).expect("asked");
    assert_eq!(request, Request::Readings { ids: vec![id] });
    subject.answer(1, is_readings, &Response::Readings(vec![reading(2, 0)]));
    assert_eq!(subject.machine.load().mempool, 1);
    assert!(subject.disconnections.is_empty());
}

#[test]
fn unknown_items_are_answered_as_unknown() {
    let mut subject = Subject::new();
    subject.connect(1);
    let unknown = BlockHash::new([1; 32]);
    assert_eq!(
        subject.handle_request(
            1,
            &Request::Headers {
                locator: vec![unknown]
            }
        ),
        Some(Response::Headers(vec![]))
    );
    assert_eq!(
        subject.handle_request(1, &Request::Headers { locator: vec![] }),
        Some(Response::Headers(vec![]))
    );
    let bodies = |hashes| Request::Bodies { hashes };
    assert_eq!(
        subject.handle_request(1, &bodies(vec![unknown])),
        Some(Response::Bodies(vec![None]))
    );
    assert_eq!(
        subject.handle_request(1, &bodies(vec![])),
        Some(Response::Bodies(vec![]))
    );
    let ids = vec![ReadingId::new([1; 32])];
    assert_eq!(
        subject.handle_request(1, &Request::Readings { ids }),
        Some(Response::Readings(vec![]))
    );
}

#[test]
fn responses_are_what_honest_peers_expect() {
    let branch = Branch::of(1, 20);
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &branch);
    let hashes: Vec<BlockHash> = branch
        .blocks
        .iter()
        .map(|block| block.header.hash())
        .collect();
    let answer = subject.handle_request(
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
    let answer = subject.handle_request(
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
    // A corrupt body counts as missing.
    subject
        .state
        .disk
        .blocks
        .get_mut(&hashes[2])
        .expect("kept")
        .readings[0]
        .tamper();
    let answer = subject.handle_request(
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
    subject.advance(STATUS_IDLE - 1);
    assert!(subject.open_request(1, is_status).is_none());
    subject.advance(1);
    assert!(subject.open_request(1, is_status).is_some());
}

#[test]
fn resuming_asks_all_peers() {
    let mut subject = Subject::new();
    for peer in 1..=3 {
        subject.connect(peer);
        subject.serve(peer, &Branch::new());
    }
    subject.feed(Input::Resumed);
    for peer in 1..=3 {
        assert!(subject.open_request(peer, is_status).is_some());
        assert!(subject.open_request(peer, is_listing).is_some());
    }
}
