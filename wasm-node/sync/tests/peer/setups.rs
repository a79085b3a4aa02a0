//! What several tests begin with.

use sync::{Config, Input, Restore, config::CONFIRMED_AFTER};

use crate::{
    branch::{Branch, key, room},
    subject::{Subject, at},
};

/// Milliseconds.
pub(crate) const YEAR: i64 = 365 * 24 * 3_600_000;

/// How many cases a random test runs: `HEARTCHAIN_CASES`, or so many.
pub(crate) fn cases(default: u32) -> u32 {
    let cases = std::env::var("HEARTCHAIN_CASES").ok();
    cases
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(default)
}

/// A machine that has this branch, and has had it for so long that all but its last blocks are confirmed.
pub(crate) fn settled_at(branch: &Branch) -> Subject {
    let mut subject = Subject::miner(50);
    subject.connect(1);
    subject.serve(1, branch);
    assert_eq!(subject.tip(), branch.tip());
    subject.wait(CONFIRMED_AFTER);
    subject.serve(1, branch);
    subject.disconnect(1);
    subject.wait(20_000);
    subject
}

/// A miner that recorded ten readings, and itself after a start: its disk lost all but the first four entries of the
/// journal, and a copy outside says that there were ten.
pub(crate) fn with_lost_entries() -> (Subject, Subject) {
    let mut before = Subject::miner(50);
    for bpm in 60..70 {
        before.record(bpm);
    }
    let now = at(before.now, 0);
    let mut restore = Restore::new(Config { mining: true }, room(), key(50), [], [1; 32], now);
    let entries = before.journal.iter().take(4);
    restore.journal(entries.map(|(at, entry)| (*at, *entry)));
    restore.journal_len(10);
    let mut after = Subject::miner(50);
    after.machine = restore.finish();
    after.give(Input::Tick);
    (before, after)
}
