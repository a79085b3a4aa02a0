//! Restarts never lose stored data. After any run, and whatever the clock shows at the next start, a later start with a
//! correct clock has the same tip or one with more work, and no reading is lost.

use core::cmp::Reverse;
use std::{collections::HashSet, sync::LazyLock};

use heartchain_chain::reading::Reading;
use heartchain_sync::{Input, config::MAX_CLOCK_OFFSET};
use heartchain_test_support::{Branch, Driver as _, START, key, reading, room};
use proptest::{
    prelude::*,
    test_runner::{Config as Cases, TestRunner},
};

use crate::{
    fixtures::{YEAR, cases},
    subject::Subject,
};

/// The author number of the peer under test.
const OWN: u64 = 50;
const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;

/// One random action of a run. The order is part of the random test.
#[derive(Clone, Debug)]
enum Action {
    /// A peer with this branch connects and answers all requests.
    Serve(u64, prop::sample::Index),
    Leave(u64),
    /// A neighbour forwards a block of this branch.
    Block(prop::sample::Index, prop::sample::Index),
    /// A neighbour forwards a reading of this author.
    Reading(u64, u64),
    Adopt(u64, u64),
    Record(u16),
    Mine,
    Wait(u64),
    /// The wall clock is set this many ms ahead of the true time.
    Clock(i64),
    /// Writes are held from now on.
    HoldWrites,
    /// All held writes complete.
    FinishWrites,
    /// All held writes fail, because the disk is full if true.
    FailWrites(bool),
    /// The database is deleted.
    Reset,
    /// The tab is killed and opened again with the wall clock this many ms ahead.
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

fn action() -> impl Strategy<Value = Action> {
    let index = any::<prop::sample::Index>;
    let served = (1_u64..6, index());
    let foreign = (prop_oneof![Just(2_u64), Just(78), 500_u64..503], 0_u64..6);
    prop_oneof![
        6 => served.prop_map(|(peer, branch)| Action::Serve(peer, branch)),
        1 => (1_u64..6).prop_map(Action::Leave),
        3 => (index(), index()).prop_map(|(branch, block)| Action::Block(branch, block)),
        2 => foreign.clone().prop_map(|(author, seq)| Action::Reading(author, seq)),
        1 => foreign.prop_map(|(author, seq)| Action::Adopt(author, seq)),
        4 => (40_u16..200).prop_map(Action::Record),
        5 => Just(Action::Mine),
        8 => wait().prop_map(Action::Wait),
        2 => clock().prop_map(Action::Clock),
        1 => Just(Action::HoldWrites),
        1 => Just(Action::FinishWrites),
        1 => any::<bool>().prop_map(Action::FailWrites),
        1 => Just(Action::Reset),
        2 => clock().prop_map(Action::Reopen),
    ]
}

/// Competing branches with a common prefix. One has readings signed with the peer's own key. The last blocks of another
/// one have timestamps that are just about to be reached.
static BRANCHES: LazyLock<Vec<Branch>> = LazyLock::new(|| {
    let long = Branch::of(1, 30);
    let mut rival = long.prefix(20);
    rival.grow(2, 15);
    let mut other = long.prefix(24);
    other.grow(78, 20);
    let mut copied_key = long.prefix(10);
    copied_key.grow(OWN, 24);
    let soon = Branch::min_difficulty(START - 20_000, 3, 40);
    vec![long.prefix(12), long, rival, other, copied_key, soon]
});

/// A run, and the largest clock offset that occurred in it.
struct Run {
    subject: Subject,
    latest_offset: i64,
}

impl Run {
    fn new() -> Self {
        Self {
            subject: Subject::miner(OWN),
            latest_offset: 0,
        }
    }

    fn apply(&mut self, action: &Action) {
        let subject = &mut self.subject;
        match action {
            Action::Serve(peer, branch) => {
                let branch = branch.get(&BRANCHES);
                subject.connect(*peer);
                subject.receive_status(*peer, branch.status());
                subject.serve(*peer, branch);
            }
            Action::Leave(peer) => subject.disconnect(*peer),
            Action::Block(branch, block) => {
                let block = block.get(&branch.get(&BRANCHES).blocks);
                subject.gossip_block(9, block);
            }
            Action::Reading(author, seq) => {
                subject.gossip_reading(9, &reading(*author, *seq));
            }
            Action::Adopt(author, seq) => {
                subject.adopt(vec![reading(*author, *seq)]);
            }
            Action::Record(bpm) => {
                subject.record(*bpm);
            }
            Action::Mine => {
                subject.find_nonce();
            }
            Action::Wait(ms) => subject.advance(*ms),
            Action::Clock(clock) => {
                subject.clock_offset = *clock;
                self.latest_offset = self.latest_offset.max(*clock);
                subject.feed(Input::Tick);
            }
            Action::HoldWrites => {
                subject.state.disk.held_writes.get_or_insert_default();
            }
            Action::FinishWrites => {
                let mut done = Vec::new();
                for (id, batch) in subject.take_held_writes() {
                    subject.state.disk.apply(batch);
                    done.push(id);
                }
                for id in done {
                    subject.feed(Input::Written { id });
                }
            }
            Action::FailWrites(full) => subject.fail_held_writes(*full),
            Action::Reset => {
                subject.state.disk.clear();
                subject.fail_held_writes(false);
                subject.feed(Input::StoreReset);
            }
            Action::Reopen(clock) => {
                *subject = subject.reopen(*clock);
                self.latest_offset = self.latest_offset.max(*clock);
            }
        }
    }
}

/// Readings that a start with a correct clock must not lose: on the best branch, in protected blocks, or adopted from
/// other tabs.
fn kept(subject: &Subject) -> Vec<Reading> {
    let disk = &subject.state.disk;
    let chain = disk.chain_readings(&subject.machine);
    chain.chain(disk.kept_readings()).copied().collect()
}

/// A reading of `before` that `after` has lost: it is neither stored permanently nor pending. If a different reading
/// has its sequence number, it may also be in any stored block.
fn lost_reading(before: &Subject, after: &Subject) -> Option<Reading> {
    let mut found = kept(after);
    found.extend(after.state.disk.ever_signed(&room(), &key(OWN)));
    found.extend(after.machine.pending());
    let seqs: HashSet<_> = found
        .iter()
        .map(|found| (found.author, found.seq))
        .collect();
    let blocks = after.state.disk.blocks.values();
    let stored: Vec<&Reading> = blocks.flat_map(|block| &block.readings).collect();
    kept(before).into_iter().find(|reading| {
        let rivals = seqs.contains(&(reading.author, reading.seq));
        !(found.contains(reading) || rivals && stored.contains(&reading))
    })
}

fn check_run(
    run: &[Action],
    clock: i64,
    uptime: &[(u64, bool, bool)],
) -> Result<(), TestCaseError> {
    let mut first = Run::new();
    for action in run {
        first.apply(action);
    }
    // This clock is late enough for every block that was ever accepted, even if peers had moved the clock by which
    // those blocks were judged.
    let correct = first.latest_offset + i64::try_from(MAX_CLOCK_OFFSET).unwrap_or(0) + 2 * HOUR;
    let before = first.subject.reopen(correct);
    let mut other = first.subject.reopen(clock);
    for (ms, mines, full) in uptime {
        if *full {
            other.state.disk.held_writes.get_or_insert_default();
        }
        other.advance(*ms);
        if *mines {
            other.find_nonce();
        }
        if *full {
            other.fail_held_writes(true);
        }
    }
    let mut after = other.reopen(correct);
    // Of branches with equal work, the one with the lower tip hash is better.
    let (was, is) = (before.machine.status(), after.machine.status());
    prop_assert!(
        (is.total_work, Reverse(is.tip)) >= (was.total_work, Reverse(was.tip)),
        "the branch got worse: {is:?} instead of {was:?}"
    );
    for (position, entry) in &first.subject.state.disk.journal {
        prop_assert_eq!(after.state.disk.journal.get(position), Some(entry));
    }
    // Readings of new authors return gradually, as mempool slots become free.
    let mut lost = lost_reading(&before, &after);
    for _ in 0..60 {
        if lost.is_none() {
            break;
        }
        after.advance(5_000);
        after.find_nonce();
        lost = lost_reading(&before, &after);
    }
    prop_assert!(lost.is_none(), "lost: {lost:?}");
    Ok(())
}

/// `HEARTCHAIN_CASES` sets the number of cases.
#[test]
fn restart_never_loses_stored_data() {
    let mut runner = TestRunner::new(Cases {
        cases: cases(200),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Cases::default()
    });
    let run = prop::collection::vec(action(), 0..60);
    let uptime = prop::collection::vec((wait(), any::<bool>(), prop::bool::weighted(0.1)), 0..20);
    runner
        .run(&(run, clock(), uptime), |(run, clock, uptime)| {
            check_run(&run, clock, &uptime)
        })
        .expect("a restart never loses stored data");
}
