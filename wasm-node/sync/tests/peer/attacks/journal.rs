//! One's own readings, and the keys that sign them.

use chain::{bpm::Bpm, key::SecretKey, time::UnixMillis};
use sync::{Input, config::FOREIGN_PATIENCE, message::Response, sign_journal};

use super::pass_rounds;
use crate::{
    branch::{Branch, START, key, reading, room},
    setups::with_lost_entries,
    subject::{Subject, honest_answer},
};

// Another tab that takes over the journal signs only the last form of an entry, and only that one waits, though two
// keys were copied and the store was written again.
#[test]
fn entry_signed_again_twice_is_one_reading() {
    let mut subject = Subject::miner(50);
    subject.record(60);
    let mut branch = Branch::new();
    branch.push(vec![reading(50, 0)]);
    branch.grow(1, 25);
    subject.connect(1);
    subject.serve(1, &branch);
    subject.wait(FOREIGN_PATIENCE + 1_000);
    assert_eq!(subject.keys.len(), 1, "a second key");
    // The second key is copied, too.
    let seed = *subject.keys.values().next().expect("it");
    let second = SecretKey::from_seed(seed);
    let bpm = Bpm::new(99).expect("a heart rate");
    branch.push(vec![second.sign(
        room().id(),
        0,
        UnixMillis::new(START),
        bpm,
    )]);
    branch.grow(1, 25);
    subject.hear_status(1, branch.status());
    subject.serve(1, &branch);
    subject.wait(FOREIGN_PATIENCE + 1_000);
    assert_eq!(subject.keys.len(), 2, "a third key");
    assert_eq!(subject.journal.len(), 3);
    let signed = |subject: &Subject| {
        let keys: Vec<(u64, SecretKey)> = subject
            .keys
            .iter()
            .map(|(from, seed)| (*from, SecretKey::from_seed(*seed)))
            .collect();
        let journal: Vec<_> = subject
            .journal
            .iter()
            .map(|(at, entry)| (*at, *entry))
            .collect();
        sign_journal(&room(), &key(50), &keys, &journal).len()
    };
    assert_eq!(signed(&subject), 1);
    subject.blocks.clear();
    subject.journal.clear();
    subject.keys.clear();
    subject.stored_tip = None;
    subject.confirmed = None;
    subject.give(Input::StoreReset);
    for _ in 0..10 {
        subject.serve(1, &branch);
        subject.wait(1_000);
    }
    let other_tab = signed(&subject);
    let mut again = subject.reopen(0);
    again.wait(2 * FOREIGN_PATIENCE);
    let waiting = again
        .machine
        .pending()
        .filter(|waiting| waiting.bpm == 60)
        .count();
    assert_eq!(
        (other_tab, waiting, again.journal.len()),
        (1, 1, 3),
        "what another tab would take over, what waits, and the journal"
    );
}

/// Six entries of the journal are lost; whether a fresh key signs what comes later, after 25 minutes.
fn takes_a_fresh_key(hostile: bool) -> bool {
    let (before, mut after) = with_lost_entries();
    let mut branch = Branch::of(1, 3);
    let pending = before.machine.pending().filter(|own| own.seq < 4);
    branch.push(pending.copied().collect());
    after.connect(1);
    after.serve(1, &branch);
    after.record(99);
    pass_rounds(&mut after, &branch, 30, hostile);
    after.machine.author() != key(50).author()
}

// The wait for lost entries goes on while something is being fetched, so that what is recorded later can be mined.
#[test]
fn withheld_bodies_do_not_delay_a_fresh_key() {
    assert!(takes_a_fresh_key(false));
    assert!(takes_a_fresh_key(true), "with withheld bodies");
}

// While bodies of a better branch come, the wait for a lost entry is longer, and the machine sleeps meanwhile.
#[test]
fn longer_wait_for_a_lost_entry_is_slept_through() {
    let (before, mut after) = with_lost_entries();
    let mut branch = Branch::of(1, 3);
    let pending = before.machine.pending().filter(|own| own.seq < 4);
    branch.push(pending.copied().collect());
    let mut better = branch.clone();
    better.grow(1, 60);
    after.connect(1);
    after.serve(1, &branch);
    after.connect(2);
    after.hear_status(2, better.status());
    let mut short = 0;
    // One body every 5 s.
    for _ in 0..30 {
        while let Some((id, request)) = after.open(2, |_| true) {
            let mut response = honest_answer(&better, &request, |_| true);
            let bodies = matches!(response, Response::Bodies(_));
            if let Response::Bodies(bodies) = &mut response {
                bodies.truncate(1);
            }
            after.respond(2, id, response.encode());
            if bodies {
                break;
            }
        }
        after.serve(1, &branch);
        after.wait(5_000);
        let soon = after.now + 1;
        short += usize::from(after.wake_at.is_some_and(|at| at <= soon));
    }
    assert_eq!(after.machine.author(), key(50).author(), "it still waits");
    assert!(short < 10, "{short} times it wakes at once");
}
