//! A start never makes what is stored less: after any run, whatever the clock shows at the next start, a start with the right
//! clock has the same tip or a heavier one, and no reading is gone.

use core::cmp::Reverse;
use std::{collections::HashSet, sync::LazyLock};

use chain::{key::SecretKey, reading::Reading};
use proptest::{
    prelude::*,
    test_runner::{Config as Cases, TestRunner},
};
use sync::{
    Input,
    config::MAX_CLOCK_OFFSET,
    seam::{JournalEntry, Ticket},
    sign_journal,
};

use crate::{
    branch::{Branch, START, key, reading, room},
    setups::{YEAR, cases},
    subject::Subject,
};

/// Whose peer it is.
const OWN: u64 = 50;
const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;

/// One thing that happens in a run.
#[derive(Clone, Debug)]
enum Act {
    /// A peer comes that has this branch, and answers all that it is asked.
    Serve(u64, prop::sample::Index),
    Leave(u64),
    /// A neighbour passes on a block of this branch.
    Block(prop::sample::Index, prop::sample::Index),
    /// A neighbour passes on a reading of this author.
    Reading(u64, u64),
    Adopt(u64, u64),
    Record(u16),
    Mine,
    Wait(u64),
    /// The wall clock is so far ahead from now on.
    Clock(i64),
    /// Writes wait from now on.
    HoldWrites,
    /// Those that wait are done.
    FinishWrites,
    /// Those that wait fail.
    FailWrites(bool),
    /// All that is stored is deleted.
    Reset,
    /// The tab is killed and opened again when the clock is so far ahead.
    Reopen(i64),
}

fn clock() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => Just(0_i64),
        2 => -120 * SECOND..120 * SECOND,
        2 => -HOUR..HOUR,
        1 => Just(YEAR),
        2 => Just(-YEAR),
    ]
}

fn wait() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 1_u64..3_000, 3 => 3_000_u64..70_000, 1 => 70_000_u64..1_300_000]
}

fn act() -> impl Strategy<Value = Act> {
    let index = any::<prop::sample::Index>;
    let served = (1_u64..6, index());
    let of_others = (prop_oneof![Just(2_u64), Just(78), 500_u64..503], 0_u64..6);
    prop_oneof![
        6 => served.prop_map(|(peer, branch)| Act::Serve(peer, branch)),
        1 => (1_u64..6).prop_map(Act::Leave),
        3 => (index(), index()).prop_map(|(branch, block)| Act::Block(branch, block)),
        2 => of_others.clone().prop_map(|(author, seq)| Act::Reading(author, seq)),
        1 => of_others.prop_map(|(author, seq)| Act::Adopt(author, seq)),
        4 => (40_u16..200).prop_map(Act::Record),
        5 => Just(Act::Mine),
        8 => wait().prop_map(Act::Wait),
        2 => clock().prop_map(Act::Clock),
        1 => Just(Act::HoldWrites),
        1 => Just(Act::FinishWrites),
        1 => any::<bool>().prop_map(Act::FailWrites),
        1 => Just(Act::Reset),
        2 => clock().prop_map(Act::Reopen),
    ]
}

/// Rivals that share their beginning, one of one's own key, one whose last blocks are about to be due.
static BRANCHES: LazyLock<Vec<Branch>> = LazyLock::new(|| {
    let long = Branch::of(1, 30);
    let mut rival = long.up_to(20);
    rival.grow(2, 15);
    let mut other = long.up_to(24);
    other.grow(78, 20);
    let mut elsewhere = long.up_to(10);
    elsewhere.grow(OWN, 24);
    let soon = Branch::calm(START - 20_000, 3, 40);
    vec![long.up_to(12), long, rival, other, elsewhere, soon]
});

/// A run, and the latest clock that it showed.
struct Run {
    subject: Subject,
    latest: i64,
}

impl Run {
    fn new() -> Self {
        Self {
            subject: Subject::miner(OWN),
            latest: 0,
        }
    }

    fn take(&mut self, act: &Act) {
        let subject = &mut self.subject;
        match act {
            Act::Serve(peer, branch) => {
                let branch = branch.get(&BRANCHES);
                subject.connect(*peer);
                subject.hear_status(*peer, branch.status());
                subject.serve(*peer, branch);
            }
            Act::Leave(peer) => subject.disconnect(*peer),
            Act::Block(branch, block) => {
                let block = block.get(&branch.get(&BRANCHES).blocks);
                subject.gossip_block(9, block);
            }
            Act::Reading(author, seq) => {
                subject.gossip_reading(9, &reading(*author, *seq));
            }
            Act::Adopt(author, seq) => {
                let ticket = Ticket(subject.name());
                let readings = vec![reading(*author, *seq)];
                subject.give(Input::Adopt { ticket, readings });
            }
            Act::Record(bpm) => {
                subject.record(*bpm);
            }
            Act::Mine => {
                subject.find_nonce();
            }
            Act::Wait(ms) => subject.wait(*ms),
            Act::Clock(clock) => {
                subject.clock = *clock;
                self.latest = self.latest.max(*clock);
                subject.give(Input::Tick);
            }
            Act::HoldWrites => {
                subject.held_writes.get_or_insert_default();
            }
            Act::FinishWrites => {
                let held = subject.held_writes.take().unwrap_or_default();
                let mut done = Vec::new();
                for (id, operations) in held {
                    for operation in operations {
                        subject.apply(operation);
                    }
                    done.push(id);
                }
                for id in done {
                    subject.give(Input::Written { id });
                }
            }
            Act::FailWrites(full) => fail_writes(subject, *full),
            Act::Reset => {
                subject.blocks.clear();
                subject.protected.clear();
                subject.adopted.clear();
                subject.journal.clear();
                subject.keys.clear();
                (subject.stored_tip, subject.confirmed) = (None, None);
                fail_writes(subject, false);
                subject.give(Input::StoreReset);
            }
            Act::Reopen(clock) => {
                *subject = subject.reopen(*clock);
                self.latest = self.latest.max(*clock);
            }
        }
    }
}

fn fail_writes(subject: &mut Subject, full: bool) {
    for (id, _) in subject.held_writes.take().unwrap_or_default() {
        subject.give(Input::WriteFailed { id, full });
    }
}

/// Readings that a start with the right clock may not lose: on the best branch, protected, or of other tabs.
fn kept(subject: &Subject) -> Vec<Reading> {
    let best =
        (1..=subject.machine.status().index).filter_map(|index| subject.machine.best_hash(index));
    let blocks = best
        .chain(subject.protected.iter().copied())
        .filter_map(|hash| subject.blocks.get(&hash));
    let readings = blocks.flat_map(|block| &block.readings);
    readings.chain(subject.adopted.values()).copied().collect()
}

/// What the journal's keys signed, entries included that others stand for now.
fn signed(subject: &Subject) -> Vec<Reading> {
    let keys = subject.keys.iter();
    let keys: Vec<_> = keys
        .map(|(from, seed)| (*from, SecretKey::from_seed(*seed)))
        .collect();
    let entry = |(at, entry): (&u64, &JournalEntry)| {
        let resigns = None;
        (*at, JournalEntry { resigns, ..*entry })
    };
    let journal: Vec<_> = subject.journal.iter().map(entry).collect();
    sign_journal(&room(), &key(OWN), &keys, &journal)
}

/// A reading that is nowhere where it lasts, nor waits for a block. One whose seq another reading has may be in any block.
fn gone(before: &Subject, after: &Subject) -> Option<Reading> {
    let mut found = kept(after);
    found.extend(signed(after));
    found.extend(after.machine.pending());
    let seqs: HashSet<_> = found
        .iter()
        .map(|found| (found.author, found.seq))
        .collect();
    let blocks = after.blocks.values();
    let stored: Vec<&Reading> = blocks.flat_map(|block| &block.readings).collect();
    kept(before).into_iter().find(|reading| {
        let rivals = seqs.contains(&(reading.author, reading.seq));
        !(found.contains(reading) || rivals && stored.contains(&reading))
    })
}

fn check(run: &[Act], clock: i64, life: &[(u64, bool, bool)]) -> Result<(), TestCaseError> {
    let mut first = Run::new();
    for act in run {
        first.take(act);
    }
    // By then all is due that was ever accepted: peers may have moved the clock that it was judged by.
    let right = first.latest + i64::try_from(MAX_CLOCK_OFFSET).unwrap_or(0) + 2 * HOUR;
    let before = first.subject.reopen(right);
    let mut other = first.subject.reopen(clock);
    for (ms, mines, full) in life {
        if *full {
            other.held_writes.get_or_insert_default();
        }
        other.wait(*ms);
        if *mines {
            other.find_nonce();
        }
        if *full {
            fail_writes(&mut other, true);
        }
    }
    let mut after = other.reopen(right);
    // Of branches of one weight the lower tip is the better one.
    let (was, is) = (before.machine.status(), after.machine.status());
    prop_assert!(
        (is.total_work, Reverse(is.tip)) >= (was.total_work, Reverse(was.tip)),
        "the branch became less: {is:?}, not {was:?}"
    );
    for (position, entry) in &first.subject.journal {
        prop_assert_eq!(after.journal.get(position), Some(entry));
    }
    // A newcomer's readings return some at a time, as they find a place.
    let mut lacking = gone(&before, &after);
    for _ in 0..60 {
        if lacking.is_none() {
            break;
        }
        after.wait(5_000);
        after.find_nonce();
        lacking = gone(&before, &after);
    }
    prop_assert!(lacking.is_none(), "gone: {lacking:?}");
    Ok(())
}

/// `HEARTCHAIN_CASES` says how many.
#[test]
fn start_never_shrinks() {
    let mut runner = TestRunner::new(Cases {
        cases: cases(200),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Cases::default()
    });
    let run = prop::collection::vec(act(), 0..60);
    let life = prop::collection::vec((wait(), any::<bool>(), prop::bool::weighted(0.1)), 0..20);
    runner
        .run(&(run, clock(), life), |(run, clock, life)| {
            check(&run, clock, &life)
        })
        .expect("a start never makes less of what is stored");
}
