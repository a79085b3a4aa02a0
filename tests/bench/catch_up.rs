//! Benchmarks of the sync machine as the chain grows: catching up, recording on top of a long chain, and a deep
//! reorganisation.
//!
//! Two machines exchange messages without latency. Bodies are stored outside the machine, as a tab's storage does. The
//! clock is the process's CPU time. When there are no messages left, the clock jumps to the next wake-up, because
//! responses are rate-limited per second.

use std::time::Duration;

use heartchain_chain::{bpm::Bpm, hash::BlockHash};
use heartchain_sync::Now;
use heartchain_test_support::{Branch, Disk, Driver as _, DriverState, Ending, START, now_at};
use peak_alloc::PeakAlloc;

use crate::{
    clock::clock_ms,
    network::{BenchPeer, Network, now, start},
    report::{Report, median},
    workload::{STEP, grow, room},
};

/// Readings per block.
const READINGS: u64 = 10;

/// The most idle time that one sync may skip, in milliseconds. A token bucket refills in less.
const MAX_JUMP: u64 = 120_000;

/// A time after every block, this many milliseconds later.
fn later(millis: u64) -> Now {
    now_at(START + 10_000_000 * STEP + millis, 0)
}

/// A peer whose machine and storage start with this branch.
fn peer_with(number: u8, branch: &Branch) -> BenchPeer {
    let disk = Disk::with_blocks(branch.with_hashes());
    let machine = start(&room(), number, false, &disk, now());
    BenchPeer::new(machine, DriverState::with_disk(disk))
}

/// A peer without a chain.
fn fresh_peer(number: u8) -> BenchPeer {
    let machine = start(&room(), number, false, &Disk::default(), now());
    BenchPeer::without_storage(machine)
}

/// Delivers messages between two peers until the second has this tip, or until more time would not help. Returns the
/// elapsed milliseconds.
fn sync_until(network: &mut Network, tip: BlockHash) -> f64 {
    let started = clock_ms();
    // Idle time that the clock has jumped over, in milliseconds.
    let mut skipped = 0;
    let clock = |skipped: u64| {
        let passed = Duration::from_secs_f64((clock_ms() - started) / 1e3);
        let passed = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        later(passed.saturating_add(skipped))
    };
    network.deliver(|| clock(skipped));
    while network.peers[1].machine.status().tip != tip && skipped < MAX_JUMP {
        let wakes = network.peers.iter().filter_map(|peer| peer.state.wake_at);
        let Some(next) = wakes.min() else { break };
        skipped += next.since(clock(skipped).monotonic).clamp(1, MAX_JUMP);
        network.tick();
        network.deliver(|| clock(skipped));
    }
    clock_ms() - started
}

/// Measures catching up and recording. `long` adds the chain of a million readings.
pub fn measure(report: &mut Report, heap: &PeakAlloc, long: bool) {
    let sizes: &[usize] = if long {
        &[1_000, 10_000, 100_000]
    } else {
        &[1_000, 10_000]
    };
    let each: Vec<f64> = sizes
        .iter()
        .map(|&blocks| catch_up(report, heap, blocks))
        .collect();
    if let (Some(shortest), Some(longest)) = (each.first(), each.last()) {
        let name = "catch-up, a reading of the longest chain";
        report.pair(name, "of the shortest", *longest, *shortest, "us", 1);
    }
}

/// Returns microseconds per reading.
fn catch_up(report: &mut Report, heap: &PeakAlloc, blocks: usize) -> f64 {
    let chain = grow(&room(), 0..READINGS, blocks);
    let tip = chain.tip();
    let runs = 3;
    let (mut times, mut recording) = (Vec::new(), Vec::new());
    let (mut peaks, mut kept) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let peers = vec![peer_with(0, &chain), fresh_peer(1)];
        let mut pair = Network::new(peers, now(), false);
        heap.reset_peak_usage();
        let before = heap.current_usage();
        times.push(sync_until(&mut pair, tip) / 1e3);
        peaks.push(heap.peak_usage().saturating_sub(before) as f64);
        kept.push(heap.current_usage().saturating_sub(before) as f64);
        assert_eq!(
            pair.peers[1].machine.status().index,
            blocks as u64,
            "the fresh peer caught up"
        );
        recording.push(record(&mut pair));
    }
    let readings = blocks as f64 * READINGS as f64;
    let seconds = median(&times);
    report.single(
        &format!("catch-up of {} readings", blocks as u64 * READINGS),
        &format!(
            "{seconds:.2} s, {:.1} us a reading, {:.1} MB at the most, then {:.0} bytes a block",
            seconds * 1e6 / readings,
            median(&peaks) / 1e6,
            median(&kept) / blocks as f64,
        ),
        runs,
    );
    report.single(
        &format!("record() with {blocks} blocks behind it"),
        &format!("{:.1} us", median(&recording)),
        runs,
    );
    seconds * 1e6 / readings
}

/// Microseconds from a call of `record()` to its answer, without the storage's time.
fn record(pair: &mut Network) -> f64 {
    let mut each = Vec::new();
    pair.now = now();
    for number in 1..=100 {
        let bpm = Bpm::new(72).expect("72");
        let start = clock_ms();
        let mut peer = pair.driver(1);
        peer.record(bpm);
        while let Some(input) = peer.state().disk.finish(Ending::Done) {
            peer.feed(input);
        }
        each.push((clock_ms() - start) * 1e3);
        assert_eq!(pair.peers[1].recorded, number, "record() was answered");
    }
    median(&each)
}

/// Measures a reorganisation that replaces all blocks of a machine's branch.
pub fn reorganise(report: &mut Report, depth: usize) {
    let short = grow(&room(), 0..READINGS, depth);
    let long = grow(&room(), 100..100 + READINGS, depth + 1);
    let tip = long.tip();
    let mut times = Vec::new();
    for _ in 0..5 {
        let peers = vec![peer_with(0, &long), peer_with(1, &short)];
        let mut pair = Network::new(peers, now(), false);
        times.push(sync_until(&mut pair, tip));
        let here = pair.peers[1].machine.status().tip;
        assert_eq!(here, tip, "the branch with more work won");
    }
    report.single(
        &format!("reorganisation of {depth} blocks of 10 readings, fetching them"),
        &format!("{:.0} ms", median(&times)),
        5,
    );
}
