//! Attacks that were found by reading the machine, each as what holds in spite of it.

mod answers;
mod bodies;
mod bounds;
mod clocks;
mod confirmation;
mod durability;
mod journal;
mod lines;
mod random;
mod store;

use chain::reading::Reading;

use crate::{
    branch::{Branch, START, reading, room},
    hostile::tempt,
    subject::Subject,
};

/// Whether the reading is nowhere: not on disk, not waiting, not taken over.
fn is_gone(subject: &Subject, reading: &Reading) -> bool {
    !subject.readings().contains(&reading.id(room().id()))
}

/// So many rounds of 50 s beside an honest peer. If `hostile`, another peer begins each round with a header that
/// outweighs the tip, and does not give its body.
fn pass_rounds(subject: &mut Subject, branch: &Branch, rounds: u64, hostile: bool) {
    for round in 0..rounds {
        if hostile {
            offer_header(subject, branch, round);
        }
        for _ in 0..10 {
            subject.wait(5_000);
            subject.serve(1, branch);
        }
    }
}

fn offer_header(subject: &mut Subject, branch: &Branch, round: u64) {
    let peer = 10_000 + round;
    subject.connect(peer);
    let mut rival = branch.clone();
    let time = START - 10_000_000 + 1_000 * branch.blocks.len() as u64 + 500 + round;
    let block = rival.next(vec![reading(99, 0)], time);
    rival.take(block.clone());
    subject.hear_status(peer, rival.status());
    for _ in 0..5 {
        tempt(subject, peer, rival.status(), core::slice::from_ref(&block));
        subject.serve(1, branch);
    }
    subject.disconnect(peer);
}
