//! What peers' requests cost.

use chain::reading::Reading;
use sync::{
    Input,
    message::{MAX_BODIES, MAX_BODIES_LEN, Request},
    seam::InboundId,
};

use crate::{
    branch::{Branch, reading},
    setups::settled_at,
    subject::Subject,
};

// No more is read for a request than its answer has room for, though it names one hash again and again.
#[test]
fn body_asked_many_times_is_read_for_one_answer() {
    let mut branch = Branch::of(1, 3);
    let big: Vec<Reading> = (0..1_000).map(|seq| reading(60, seq)).collect();
    branch.push(big);
    let mut subject = settled_at(&branch);
    subject.held_reads = Some(Vec::new());
    for peer in 2..12 {
        subject.connect(peer);
        for _ in 0..4 {
            let id = InboundId(subject.name());
            let request = Request::Bodies {
                hashes: vec![branch.tip(); MAX_BODIES],
            };
            subject.give(Input::Request {
                from: peer,
                id,
                data: request.encode(),
            });
        }
    }
    let reads = subject.held_reads.take().unwrap_or_default();
    let bodies: usize = reads.iter().map(|(_, hashes)| hashes.len()).sum();
    let bytes = bodies * 1_000 * Reading::LEN;
    assert!(
        bytes <= 2 * reads.len() * MAX_BODIES_LEN,
        "{} reads of {bodies} bodies",
        reads.len()
    );
}

// A request is refused before its answer is made, and draws nothing: as soon as the peer may have one answer again, it
// is given, however often it asked meanwhile.
#[test]
fn refused_requests_draw_nothing() {
    let mut subject = Subject::new();
    subject.connect(1);
    subject.serve(1, &Branch::of(1, 3));
    for author in 0..1_000 {
        subject.gossip_reading(1, &reading(20_000 + author, 0));
    }
    assert!(subject.machine.load().mempool >= 1_000);
    let request = Request::MempoolIds { after: None }.encode();
    while subject.ask_bytes(1, request.clone()).is_some() {}
    for _ in 0..300 {
        assert!(subject.ask_bytes(1, request.clone()).is_none());
    }
    // One listing is 76 KB, and so much is added in 10 ms.
    subject.wait(15);
    assert!(subject.ask_bytes(1, request).is_some());
}
