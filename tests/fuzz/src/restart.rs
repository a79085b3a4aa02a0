//! Checks that a restart never loses data, whatever the wall clock shows. Knows nothing of the fuzzer's steps.

use core::cmp::Reverse;

use heartchain_chain::{bpm::Bpm, reading::Reading};

use heartchain_test_support::{Disk, Driver as _};

use crate::{
    harness::Harness,
    pool::{OWN, Pool, key},
};

/// The most events between the two restarts.
const MAX_EVENTS: usize = 48;

/// The most rounds until all readings are back.
const MAX_RETURN_ROUNDS: usize = 60;

/// Restarts on a run's disk with an arbitrary clock, runs some events, and restarts with a valid clock. The tip must be
/// the same or one with more work, and no reading may be lost.
pub fn restart_loses_nothing(pool: &'static Pool, disk: &Disk, valid_clock: u64, data: &[u8]) {
    let before = Harness::on_disk(pool, disk.clone(), valid_clock);
    let mut other = Harness::on_disk(pool, disk.clone(), any_clock(valid_clock, data));
    other.advance(0);
    for byte in data.iter().rev().take(MAX_EVENTS) {
        run_event(&mut other, *byte);
    }
    let mut after = Harness::on_disk(pool, other.state.disk, valid_clock);
    // Of branches with equal work, the one with the lower tip hash wins.
    let (was, is) = (before.machine.status(), after.machine.status());
    assert!(
        (is.total_work, Reverse(is.tip)) >= (was.total_work, Reverse(was.tip)),
        "the branch lost work: {is:?}, not {was:?}"
    );
    for (position, entry) in &before.state.disk.journal {
        assert_eq!(after.state.disk.journal.get(position), Some(entry));
    }
    let mut here = before.chain();
    here.extend(before.state.disk.kept_readings());
    // A newcomer's readings return a few at a time, as its mempool quota allows.
    for _ in 0..MAX_RETURN_ROUNDS {
        here.retain(|reading| !is_kept(&after, reading));
        if here.is_empty() {
            return;
        }
        after.advance(5_000);
        after.mine();
        while after.disk(false) {}
    }
    panic!("lost: {here:?}");
}

/// Whether a reading is stored permanently or still pending. A reading whose sequence number another reading has taken
/// may be in any block on disk.
fn is_kept(harness: &Harness, reading: &Reading) -> bool {
    let disk = &harness.state.disk;
    let (chain, signed) = (
        harness.chain(),
        disk.ever_signed(&harness.pool.room, key(OWN)),
    );
    let kept = chain.iter().chain(&signed).chain(disk.kept_readings());
    let kept: Vec<&Reading> = kept.chain(harness.machine.pending()).collect();
    let has_same_seq =
        |other: &&Reading| (other.author, other.seq) == (reading.author, reading.seq);
    let mut blocks = disk.blocks.values();
    kept.contains(&reading)
        || kept.iter().any(has_same_seq) && blocks.any(|block| block.readings.contains(reading))
}

/// A clock that is right, or off by milliseconds up to years in either direction.
fn any_clock(valid_clock: u64, data: &[u8]) -> u64 {
    let Some((unit, seconds)) = data
        .last_chunk::<3>()
        .map(|[unit, low, high]| (unit % 4, i64::from(i16::from_le_bytes([*low, *high]))))
    else {
        return valid_clock;
    };
    let unit = [0, 1_000, 60_000, 86_400_000][usize::from(unit)];
    valid_clock.saturating_add_signed(seconds * unit)
}

/// Runs one event that involves no peers.
fn run_event(harness: &mut Harness, byte: u8) {
    let more = u64::from(byte / 8);
    match byte % 8 {
        0 => harness.advance(more * 100),
        1 => harness.advance(more * 20_000),
        2 | 3 => {
            harness.advance(5_000);
            harness.mine();
        }
        4 => while harness.disk(false) {},
        5 if more < 4 => harness.disk_full(),
        5 => {
            harness.disk(more % 4 == 0);
        }
        6 => {
            harness.record(Bpm::new(60 + u16::from(byte)).expect("60 to 315"));
        }
        _ => {
            let seconds = i32::from(byte / 8) - 16;
            harness.set_clock(seconds * 40);
        }
    }
}
