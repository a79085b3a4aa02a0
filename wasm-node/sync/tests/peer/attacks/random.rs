//! Random events on one machine. Each case is its seed, so that every run has the same ones; `HEARTCHAIN_CASES` says
//! how many.

use std::collections::BTreeMap;

use chain::{
    hash::{BlockHash, ReadingId},
    reading::Reading,
};
use sync::Input;

use crate::{
    branch::{Branch, START, reading, room},
    setups::cases,
    subject::Subject,
};

/// Random numbers from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    fn is_one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    /// How far a clock is ahead, at most so far either way, ms.
    fn clock(&mut self, most: i64) -> i64 {
        let ahead = self.below(2 * most.unsigned_abs());
        i64::try_from(ahead).unwrap_or(0) - most
    }
}

/// Runs a case for each seed; a failure says which.
fn each_seed<T>(default: u32, run: impl Fn(u64) -> T + std::panic::RefUnwindSafe) -> Vec<T> {
    let seeds = 0..u64::from(cases(default));
    seeds
        .map(|seed| {
            std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|_| panic!("seed {seed}"))
        })
        .collect()
}

/// Blocks of a small tree with times about now, clocks, restarts, failed writes, lost bodies, a lost store.
fn run_any(seed: u64) {
    let mut dice = Dice(seed);
    let mut branches = vec![Branch::calm(START - 20_000, 1, 8)];
    for number in 0..24 {
        let at = dice.index(branches.len());
        let base = branches[at].clone();
        let cut = base.blocks.len() - dice.index(4).min(base.blocks.len() - 1);
        let mut branch = base.up_to(cut);
        for _ in 0..1 + dice.below(3) {
            let author = 1 + dice.below(4);
            let many = 1 + dice.below(3);
            let next = branch.next_seq(author) + u64::from(dice.is_one_in(12));
            let readings = (next..next + many)
                .map(|seq| reading(author, seq))
                .collect();
            let last = branch
                .blocks
                .last()
                .map_or(START, |block| block.header.time.get());
            let time = last + 1 + dice.below(20_000);
            let block = branch.next(readings, time + number);
            branch.take(block);
        }
        branches.push(branch);
    }
    let mut subject = Subject::miner(2);
    for _ in 0..120 {
        let branch = branches[dice.index(branches.len())].clone();
        let peer = 1 + dice.below(5);
        match dice.below(16) {
            0..=2 => {
                let at = dice.index(branch.blocks.len());
                subject.connect(peer);
                subject.gossip_block(peer, &branch.blocks[at]);
            }
            3 => {
                subject.connect(peer);
                for block in &branch.blocks {
                    subject.gossip_block(peer, block);
                }
            }
            4 | 5 => {
                subject.connect(peer);
                subject.hear_status(peer, branch.status());
                let odd = dice.roll();
                subject.serve_some(peer, &branch, |hash| {
                    !(u64::from(hash.as_bytes()[3]) ^ odd).is_multiple_of(5)
                });
            }
            6 => {
                subject.connect(peer);
                subject.hear_status(peer, branch.status());
                subject.serve(peer, &branch);
            }
            7 => subject.clock = dice.clock(120_000),
            8 => subject.clock = 0,
            9 => {
                let clock = dice.clock(120_000);
                subject = subject.reopen(clock);
            }
            10 => {
                subject.record(60);
                subject.wait(1_000);
                subject.find_nonce();
            }
            11 => {
                let hashes: Vec<BlockHash> = subject
                    .blocks
                    .keys()
                    .copied()
                    .filter(|hash| hash.as_bytes()[5].is_multiple_of(4))
                    .collect();
                for hash in &hashes {
                    subject.blocks.remove(hash);
                }
                subject.give(Input::Lost { hashes });
            }
            12 if dice.is_one_in(6) => {
                subject.blocks.clear();
                subject.protected.clear();
                subject.journal.clear();
                subject.adopted.clear();
                subject.stored_tip = None;
                subject.confirmed = None;
                subject.give(Input::StoreReset);
            }
            13 => {
                subject.held_writes = Some(Vec::new());
                subject.wait(1_000);
                for block in &branch.blocks {
                    subject.gossip_block(peer, block);
                }
                for (id, _) in subject.held_writes.take().unwrap_or_default() {
                    let full = dice.is_one_in(2);
                    subject.give(Input::WriteFailed { id, full });
                }
            }
            14 => subject.wait(dice.below(90_000)),
            _ => subject.disconnect(peer),
        }
        let load = subject.machine.load();
        assert!(
            load.side_blocks < 1_000 && load.side_readings < 10_000,
            "{load:?}"
        );
    }
}

// Nothing panics, with checks of overflows, and side blocks stay few.
#[test]
fn random_events_do_not_panic() {
    each_seed(15, run_any);
}

/// Readings of the branch that ends in what is marked as confirmed on disk.
fn marked(subject: &Subject) -> Vec<Reading> {
    let mut at = subject.confirmed;
    let mut readings = Vec::new();
    while let Some(block) = at.and_then(|hash| subject.blocks.get(&hash)) {
        readings.extend(&block.readings);
        at = Some(block.header.prev_hash);
    }
    readings
}

/// Clocks, restarts, crashes between writes, failed writes and full disks. Checks after each event that every reading
/// that was ever marked as confirmed on disk is here; returns how many those are.
fn run_marked(seed: u64) -> usize {
    let mut dice = Dice(seed);
    let mut branches = vec![Branch::calm(START - 30_000, 1, 9)];
    for number in 0..16 {
        let at = dice.index(branches.len());
        let base = branches[at].clone();
        let cut = base.blocks.len() - dice.index(8).min(base.blocks.len() - 1);
        let mut branch = base.up_to(cut);
        for _ in 0..1 + dice.below(10) {
            let author = 1 + dice.below(6);
            let next = branch.next_seq(author);
            let last = branch
                .blocks
                .last()
                .map_or(START, |block| block.header.time.get());
            let time = last + 1 + dice.below(4_000);
            let block = branch.next(vec![reading(author, next)], time + number);
            branch.take(block);
        }
        branches.push(branch);
    }
    let mut subject = Subject::miner(90);
    let mut must: BTreeMap<ReadingId, Reading> = BTreeMap::new();
    let mut log = Vec::new();
    for _ in 0..60 {
        let branch = branches[dice.index(branches.len())].clone();
        let peer = 1 + dice.below(5);
        let what = dice.below(10);
        log.push(what);
        match what {
            0 | 1 => {
                subject.connect(peer);
                subject.hear_status(peer, branch.status());
                subject.serve(peer, &branch);
            }
            2 => {
                subject.connect(peer);
                for block in &branch.blocks {
                    subject.gossip_block(peer, block);
                }
            }
            3 | 4 => {
                for _ in 0..dice.below(10) {
                    subject.wait(15_000);
                }
            }
            5 => subject.clock = dice.clock(100_000),
            6 => subject.clock = 0,
            7 => {
                // A crash: only some of the writes were done.
                subject.held_writes = Some(Vec::new());
                subject.connect(peer);
                subject.hear_status(peer, branch.status());
                subject.serve(peer, &branch);
                for _ in 0..dice.below(5) {
                    subject.wait(20_000);
                }
                let held = subject.held_writes.take().unwrap_or_default();
                let done = dice.index(held.len() + 1);
                for (_, operations) in held.into_iter().take(done) {
                    operations
                        .into_iter()
                        .for_each(|operation| subject.apply(operation));
                }
                let clock = if dice.is_one_in(2) { 0 } else { -60_000 };
                subject = subject.reopen(clock);
            }
            8 => {
                subject = subject.reopen(dice.clock(100_000));
                subject.wait(500);
            }
            _ => {
                subject.held_writes = Some(Vec::new());
                subject.connect(peer);
                subject.hear_status(peer, branch.status());
                subject.serve(peer, &branch);
                subject.wait(1_000);
                for (id, operations) in subject.held_writes.take().unwrap_or_default() {
                    if dice.is_one_in(3) {
                        operations
                            .into_iter()
                            .for_each(|operation| subject.apply(operation));
                        subject.give(Input::Written { id });
                    } else {
                        let full = dice.is_one_in(2);
                        subject.give(Input::WriteFailed { id, full });
                    }
                }
            }
        }
        must.extend(
            marked(&subject)
                .iter()
                .map(|reading| (reading.id(room().id()), *reading)),
        );
        let here = subject.readings();
        for (id, reading) in &must {
            assert!(
                here.contains(id),
                "seq {} of {} is gone after {log:?}",
                reading.seq,
                reading.author
            );
        }
    }
    must.len()
}

// What was once marked as confirmed on disk is never lost.
#[test]
fn random_events_lose_nothing_confirmed() {
    let marked: usize = each_seed(30, run_marked).into_iter().sum();
    assert!(marked > 0);
}
