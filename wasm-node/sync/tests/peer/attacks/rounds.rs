//! Test helpers: rounds with an honest peer, with or without a hostile one, and what is lost in them.

use heartchain_chain::reading::Reading;
use heartchain_test_support::{Branch, Driver as _, START, reading, room};

use crate::{hostile::serve_claim_without_bodies, subject::Subject};

/// Whether the reading is lost: not on disk, not pending and not adopted.
pub(super) fn is_gone(subject: &Subject, reading: &Reading) -> bool {
    !subject.readings().contains(&reading.id(room().id()))
}

/// Runs `rounds` rounds of 50 s with an honest peer. If `hostile`, another peer starts each round with a header that
/// has more work than the tip, and withholds its body.
pub(super) fn pass_rounds(subject: &mut Subject, branch: &Branch, rounds: u64, hostile: bool) {
    for round in 0..rounds {
        if hostile {
            offer_header(subject, branch, round);
        }
        for _ in 0..10 {
            subject.advance(5_000);
            subject.serve(1, branch);
        }
    }
}

fn offer_header(subject: &mut Subject, branch: &Branch, round: u64) {
    let peer = 10_000 + round;
    subject.connect(peer);
    let mut rival = branch.clone();
    let time = START - 10_000_000 + 1_000 * branch.blocks.len() as u64 + 500 + round;
    let block = rival.mine_next(vec![reading(99, 0)], time);
    rival.append(block.clone());
    subject.receive_status(peer, rival.status());
    for _ in 0..5 {
        serve_claim_without_bodies(subject, peer, rival.status(), core::slice::from_ref(&block));
        subject.serve(1, branch);
    }
    subject.disconnect(peer);
}
