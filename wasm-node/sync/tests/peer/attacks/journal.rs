//! One's own readings, and the keys that sign them.

use chain::{bpm::Bpm, key::SecretKey, time::UnixMillis};
use sync::{Input, config::FOREIGN_PATIENCE, sign_journal};

use super::pass_rounds;
use crate::{
    branch::{Branch, START, key, reading, room},
    setups::with_lost_entries,
    subject::Subject,
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
