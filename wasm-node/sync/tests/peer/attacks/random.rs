//! Random events on one machine. Each case is defined by its seed, so every run has the same cases; `HEARTCHAIN_CASES`
//! sets their number.

use std::collections::BTreeMap;

use heartchain_chain::{
    hash::{BlockHash, ReadingId},
    reading::Reading,
};
use heartchain_sync::Input;
use heartchain_test_support::{Branch, Driver as _, Rng, START, reading, room};

use crate::{fixtures::cases, subject::Subject};

fn index(rng: &mut Rng, len: usize) -> usize {
    usize::try_from(rng.below(len as u64)).unwrap_or(0)
}

/// A clock offset of at most `most` ms in either direction.
fn clock(rng: &mut Rng, most: i64) -> i64 {
    let ahead = rng.below(2 * most.unsigned_abs());
    i64::try_from(ahead).unwrap_or(0) - most
}

/// Runs one case for each seed; a failure names its seed.
fn each_seed<T>(default: u32, run: impl Fn(u64) -> T + std::panic::RefUnwindSafe) -> Vec<T> {
    let seeds = 0..u64::from(cases(default));
    seeds
        .map(|seed| {
            std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|_| panic!("seed {seed}"))
        })
        .collect()
}

/// Feeds blocks of a small tree with timestamps around now, clock changes, restarts, failed writes, missing bodies and
/// store resets.
fn run_random_events(seed: u64) {
    let mut rng = Rng::new(seed);
    let mut branches = vec![Branch::min_difficulty(START - 20_000, 1, 8)];
    for number in 0..24 {
        let at = index(&mut rng, branches.len());
        let base = branches[at].clone();
        let cut = base.blocks.len() - index(&mut rng, 4).min(base.blocks.len() - 1);
        let mut branch = base.prefix(cut);
        for _ in 0..1 + rng.below(3) {
            let author = 1 + rng.below(4);
            let many = 1 + rng.below(3);
            let next = branch.next_seq(author) + u64::from(rng.one_in(12));
            let readings = (next..next + many)
                .map(|seq| reading(author, seq))
                .collect();
            let last = branch
                .blocks
                .last()
                .map_or(START, |block| block.header.time.get());
            let time = last + 1 + rng.below(20_000);
            let block = branch.mine_next(readings, time + number);
            branch.append(block);
        }
        branches.push(branch);
    }
    let mut subject = Subject::miner(2);
    for _ in 0..120 {
        let branch = branches[index(&mut rng, branches.len())].clone();
        let peer = 1 + rng.below(5);
        match rng.below(16) {
            0..=2 => {
                let at = index(&mut rng, branch.blocks.len());
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
                subject.receive_status(peer, branch.status());
                let odd = rng.next_u64();
                subject.serve_with_bodies(peer, &branch, |hash| {
                    !(u64::from(hash.as_bytes()[3]) ^ odd).is_multiple_of(5)
                });
            }
            6 => {
                subject.connect(peer);
                subject.receive_status(peer, branch.status());
                subject.serve(peer, &branch);
            }
            7 => subject.clock_offset = clock(&mut rng, 120_000),
            8 => subject.clock_offset = 0,
            9 => {
                let clock = clock(&mut rng, 120_000);
                subject = subject.reopen(clock);
            }
            10 => {
                subject.record(60);
                subject.advance(1_000);
                subject.find_nonce();
            }
            11 => {
                let hashes: Vec<BlockHash> = subject
                    .state
                    .disk
                    .blocks
                    .keys()
                    .copied()
                    .filter(|hash| hash.as_bytes()[5].is_multiple_of(4))
                    .collect();
                for hash in &hashes {
                    subject.state.disk.blocks.remove(hash);
                }
                subject.feed(Input::BodiesMissing { hashes });
            }
            12 if rng.one_in(6) => {
                let keys = subject.state.disk.keys.clone();
                subject.state.disk.clear();
                subject.state.disk.keys = keys;
                subject.feed(Input::StoreReset);
            }
            13 => {
                subject.state.disk.held_writes = Some(Vec::new());
                subject.advance(1_000);
                for block in &branch.blocks {
                    subject.gossip_block(peer, block);
                }
                for (id, _) in subject.take_held_writes() {
                    let full = rng.one_in(2);
                    subject.feed(Input::WriteFailed { id, full });
                }
            }
            14 => subject.advance(rng.below(90_000)),
            _ => subject.disconnect(peer),
        }
        let load = subject.machine.load();
        assert!(
            load.side_blocks < 1_000 && load.side_readings < 10_000,
            "{load:?}"
        );
    }
}

// Nothing panics, with overflow checks enabled, and the number of side blocks stays small.
#[test]
fn random_events_do_not_panic() {
    each_seed(15, run_random_events);
}

/// Readings of the branch up to the confirmation mark on disk.
fn confirmed_readings(subject: &Subject) -> Vec<Reading> {
    let mut at = subject.state.disk.confirmed;
    let mut readings = Vec::new();
    while let Some(block) = at.and_then(|hash| subject.state.disk.blocks.get(&hash)) {
        readings.extend(&block.readings);
        at = Some(block.header.prev_hash);
    }
    readings
}

/// Clock changes, restarts, crashes between writes, failed writes and full disks. Checks after each event that the
/// machine still has every reading that was ever marked as confirmed on disk; returns how many there are.
fn run_confirmed(seed: u64) -> usize {
    let mut rng = Rng::new(seed);
    let mut branches = vec![Branch::min_difficulty(START - 30_000, 1, 9)];
    for number in 0..16 {
        let at = index(&mut rng, branches.len());
        let base = branches[at].clone();
        let cut = base.blocks.len() - index(&mut rng, 8).min(base.blocks.len() - 1);
        let mut branch = base.prefix(cut);
        for _ in 0..1 + rng.below(10) {
            let author = 1 + rng.below(6);
            let next = branch.next_seq(author);
            let last = branch
                .blocks
                .last()
                .map_or(START, |block| block.header.time.get());
            let time = last + 1 + rng.below(4_000);
            let block = branch.mine_next(vec![reading(author, next)], time + number);
            branch.append(block);
        }
        branches.push(branch);
    }
    let mut subject = Subject::miner(90);
    let mut protected: BTreeMap<ReadingId, Reading> = BTreeMap::new();
    let mut log = Vec::new();
    for _ in 0..60 {
        let branch = branches[index(&mut rng, branches.len())].clone();
        let peer = 1 + rng.below(5);
        let what = rng.below(10);
        log.push(what);
        match what {
            0 | 1 => {
                subject.connect(peer);
                subject.receive_status(peer, branch.status());
                subject.serve(peer, &branch);
            }
            2 => {
                subject.connect(peer);
                for block in &branch.blocks {
                    subject.gossip_block(peer, block);
                }
            }
            3 | 4 => {
                for _ in 0..rng.below(10) {
                    subject.advance(15_000);
                }
            }
            5 => subject.clock_offset = clock(&mut rng, 100_000),
            6 => subject.clock_offset = 0,
            7 => {
                // A crash: only some of the writes completed.
                subject.state.disk.held_writes = Some(Vec::new());
                subject.connect(peer);
                subject.receive_status(peer, branch.status());
                subject.serve(peer, &branch);
                for _ in 0..rng.below(5) {
                    subject.advance(20_000);
                }
                let held = subject.take_held_writes();
                let done = index(&mut rng, held.len() + 1);
                for (_, batch) in held.into_iter().take(done) {
                    subject.state.disk.apply(batch);
                }
                let clock = if rng.one_in(2) { 0 } else { -60_000 };
                subject = subject.reopen(clock);
            }
            8 => {
                subject = subject.reopen(clock(&mut rng, 100_000));
                subject.advance(500);
            }
            _ => {
                subject.state.disk.held_writes = Some(Vec::new());
                subject.connect(peer);
                subject.receive_status(peer, branch.status());
                subject.serve(peer, &branch);
                subject.advance(1_000);
                for (id, batch) in subject.take_held_writes() {
                    if rng.one_in(3) {
                        subject.finish_write(id, batch);
                    } else {
                        let full = rng.one_in(2);
                        subject.feed(Input::WriteFailed { id, full });
                    }
                }
            }
        }
        protected.extend(
            confirmed_readings(&subject)
                .iter()
                .map(|reading| (reading.id(room().id()), *reading)),
        );
        let here = subject.readings();
        for (id, reading) in &protected {
            assert!(
                here.contains(id),
                "seq {} of {} is lost after {log:?}",
                reading.seq,
                reading.author
            );
        }
    }
    protected.len()
}

// Readings that were once marked as confirmed on disk are never lost.
#[test]
fn random_events_lose_nothing_confirmed() {
    let confirmed_readings: usize = each_seed(30, run_confirmed).into_iter().sum();
    assert!(confirmed_readings > 0);
}
