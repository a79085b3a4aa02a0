//! A peer's own readings and the keys that sign them.

use heartchain_chain::{bpm::Bpm, key::SecretKey, time::UnixMillis};
use heartchain_sync::{Input, config::FOREIGN_PATIENCE, message::Response, sign_journal};

use super::rounds::pass_rounds;
use heartchain_test_support::{Branch, Driver as _, START, Tampering as _, key, reading, room};

use crate::{
    fixtures::with_lost_journal_entries,
    subject::{Subject, honest_response},
};

// Another tab that adopts the journal signs only the latest version of an entry, and only that version is pending, even
// though two keys were copied and the store was rewritten.
#[test]
fn entry_signed_again_twice_is_one_reading() {
    let mut subject = Subject::miner(50);
    subject.record(60);
    let mut branch = Branch::new();
    branch.push(vec![reading(50, 0)]);
    branch.grow(1, 25);
    subject.connect(1);
    subject.serve(1, &branch);
    subject.advance(FOREIGN_PATIENCE + 1_000);
    assert_eq!(subject.state.disk.keys.len(), 1, "a second key");
    // The second key is copied, too.
    let seed = *subject.state.disk.keys.values().next().expect("it");
    let second = SecretKey::from_seed(seed);
    let bpm = Bpm::new(99).expect("a heart rate");
    branch.push(vec![second.sign(
        room().id(),
        0,
        UnixMillis::new(START),
        bpm,
    )]);
    branch.grow(1, 25);
    subject.receive_status(1, branch.status());
    subject.serve(1, &branch);
    subject.advance(FOREIGN_PATIENCE + 1_000);
    assert_eq!(subject.state.disk.keys.len(), 2, "a third key");
    assert_eq!(subject.state.disk.journal.len(), 3);
    let signed = |subject: &Subject| {
        let keys: Vec<(u64, SecretKey)> = subject
            .state
            .disk
            .keys
            .iter()
            .map(|(from, seed)| (*from, SecretKey::from_seed(*seed)))
            .collect();
        let journal: Vec<_> = subject
            .state
            .disk
            .journal
            .iter()
            .map(|(at, entry)| (*at, *entry))
            .collect();
        sign_journal(&room(), &key(50), &keys, &journal).len()
    };
    assert_eq!(signed(&subject), 1);
    subject.state.disk.blocks.clear();
    subject.state.disk.journal.clear();
    subject.state.disk.keys.clear();
    subject.state.disk.tip = None;
    subject.state.disk.confirmed = None;
    subject.feed(Input::StoreReset);
    for _ in 0..10 {
        subject.serve(1, &branch);
        subject.advance(1_000);
    }
    let other_tab = signed(&subject);
    let mut again = subject.reopen(0);
    again.advance(2 * FOREIGN_PATIENCE);
    let waiting = again
        .machine
        .pending()
        .filter(|waiting| waiting.bpm() == 60)
        .count();
    assert_eq!(
        (other_tab, waiting, again.state.disk.journal.len()),
        (1, 1, 3),
        "adoptable by another tab, pending, and the journal"
    );
}

/// Six journal entries are lost. Returns whether later entries are signed with a fresh key after 25 minutes.
fn takes_a_fresh_key(hostile: bool) -> bool {
    let (before, mut after) = with_lost_journal_entries();
    let mut branch = Branch::of(1, 3);
    let pending = before.machine.pending().filter(|own| own.seq < 4);
    branch.push(pending.copied().collect());
    after.connect(1);
    after.serve(1, &branch);
    after.record(99);
    pass_rounds(&mut after, &branch, 30, hostile);
    after.machine.author() != key(50).author()
}

// The wait for lost entries continues during a download, so that later readings can be mined.
#[test]
fn withheld_bodies_do_not_delay_a_fresh_key() {
    assert!(takes_a_fresh_key(false));
    assert!(takes_a_fresh_key(true), "with withheld bodies");
}

// While a better branch is downloaded, the wait for a lost entry is longer. The machine must sleep meanwhile.
#[test]
fn machine_sleeps_while_a_lost_entry_is_awaited() {
    let (before, mut after) = with_lost_journal_entries();
    let mut branch = Branch::of(1, 3);
    let pending = before.machine.pending().filter(|own| own.seq < 4);
    branch.push(pending.copied().collect());
    let mut better = branch.clone();
    better.grow(1, 60);
    after.connect(1);
    after.serve(1, &branch);
    after.connect(2);
    after.receive_status(2, better.status());
    let mut immediate = 0;
    // One body every 5 s.
    for _ in 0..30 {
        while let Some((id, request)) = after.open_request(2, |_| true) {
            let mut response = honest_response(&better, &request, |_| true);
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
        after.advance(5_000);
        let soon = after.now + 1;
        immediate += usize::from(after.state.wake_at.is_some_and(|at| at.get() <= soon));
    }
    assert_eq!(after.machine.author(), key(50).author(), "still waiting");
    assert!(immediate < 10, "{immediate} wake-ups within a millisecond");
}
