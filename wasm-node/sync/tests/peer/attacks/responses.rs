//! The cost of answering peers' requests.

use heartchain_chain::{content::ReadingForm, reading::Reading};
use heartchain_sync::message::{MAX_BODIES, MAX_BODIES_LEN, Request};
use heartchain_test_support::{Branch, Driver as _, reading};

use crate::{fixtures::with_confirmed, subject::Subject};

// A request that names one hash repeatedly causes no more reads than one response has room for.
#[test]
fn repeated_hash_is_read_for_one_response_only() {
    let mut branch = Branch::of(1, 3);
    let big: Vec<Reading> = (0..1_000).map(|at| reading(60 + at % 8, at / 8)).collect();
    branch.push(big);
    let mut subject = with_confirmed(&branch);
    subject.state.disk.held_reads = Some(Vec::new());
    for peer in 2..12 {
        subject.connect(peer);
        for _ in 0..4 {
            let request = Request::Bodies {
                hashes: vec![branch.tip(); MAX_BODIES],
            };
            subject.ask(peer, request.encode());
        }
    }
    let reads = subject.state.disk.held_reads.take().unwrap_or_default();
    let bodies: usize = reads.iter().map(|(_, hashes)| hashes.len()).sum();
    let bytes = bodies * 1_000 * ReadingForm::Open.reading_len();
    assert!(
        bytes <= 2 * reads.len() * MAX_BODIES_LEN,
        "{} reads of {bodies} bodies",
        reads.len()
    );
}

// A request is refused before its response is built, and uses no tokens: as soon as the peer's bucket allows a
// response, it gets one, however many requests it sent in the meantime.
#[test]
fn refused_requests_use_no_tokens() {
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &Branch::of(1, 3));
    for author in 0..1_000 {
        subject.gossip_reading(1, &reading(20_000 + author, 0));
    }
    assert!(subject.machine.load().mempool >= 1_000);
    let request = Request::MempoolIds { after: None }.encode();
    while subject.handle_request_bytes(1, request.clone()).is_some() {}
    for _ in 0..300 {
        assert!(subject.handle_request_bytes(1, request.clone()).is_none());
    }
    // One listing is 76 KB, which the bucket regains in 10 ms.
    subject.advance(15);
    assert!(subject.handle_request_bytes(1, request).is_some());
}
