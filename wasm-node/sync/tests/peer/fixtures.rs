//! Initial states and constants that several tests share.

use heartchain_sync::{Config, Input, Restore, config::CONFIRMED_AFTER};
use heartchain_test_support::{Branch, Driver as _, key, now_at, room};

use crate::subject::Subject;

/// One year in milliseconds.
pub(crate) const YEAR: i64 = 365 * 24 * 3_600_000;

/// How many cases a random test runs: `HEARTCHAIN_CASES`, or `default` if it is not set.
pub(crate) fn cases(default: u32) -> u32 {
    let cases = std::env::var("HEARTCHAIN_CASES").ok();
    cases
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(default)
}

/// A machine that has had this branch for so long that all but its last blocks are confirmed.
pub(crate) fn with_confirmed(branch: &Branch) -> Subject {
    let mut subject = Subject::miner(50);
    subject.connect(1);
    subject.serve(1, branch);
    assert_eq!(subject.tip(), branch.tip());
    subject.advance(CONFIRMED_AFTER);
    subject.serve(1, branch);
    subject.disconnect(1);
    subject.advance(20_000);
    subject
}

/// A miner that recorded ten readings, and the same miner after a restart. In between its disk lost all but the first
/// four journal entries, while the journal length that is stored elsewhere still says ten.
pub(crate) fn with_lost_journal_entries() -> (Subject, Subject) {
    let mut before = Subject::miner(50);
    for bpm in 60..70 {
        before.record(bpm);
    }
    let now = now_at(before.now, 0);
    let mut restore = Restore::new(Config { mining: true }, room(), key(50), [], [1; 32], now);
    let entries = before.state.disk.journal.iter().take(4);
    restore.journal(entries.map(|(at, entry)| (*at, *entry)));
    restore.journal_len(10);
    let mut after = Subject::miner(50);
    after.machine = restore.finish();
    after.feed(Input::Tick);
    (before, after)
}
