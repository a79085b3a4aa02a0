//! What a start may do to what is on disk: whatever the clock shows, it never becomes less. Knows no steps.

use core::cmp::Reverse;

use chain::{bpm::Bpm, reading::Reading};

use crate::stage::{Disk, Stage};

/// So much happens between the two starts at the most.
const MAX_LIFE: usize = 48;

/// So often time passes, until all readings have returned.
const MAX_RETURN: usize = 60;

/// Starts with any clock on what a run left, lets the peer live for a while, and starts with the right clock: the tip is the
/// same or a heavier one, and no reading is gone.
pub fn start_never_shrinks(disk: &Disk, right: u64, chance: &[u8]) {
    let before = Stage::over(disk.clone(), right);
    let mut other = Stage::over(disk.clone(), any_clock(right, chance));
    other.pass(0);
    for byte in chance.iter().rev().take(MAX_LIFE) {
        live(&mut other, *byte);
    }
    let mut after = Stage::over(other.disk, right);
    // Of branches of one weight the lower tip is the better one.
    let (was, is) = (before.machine.status(), after.machine.status());
    assert!(
        (is.total_work, Reverse(is.tip)) >= (was.total_work, Reverse(was.tip)),
        "the branch became less: {is:?}, not {was:?}"
    );
    for (position, entry) in &before.disk.journal {
        assert_eq!(after.disk.journal.get(position), Some(entry));
    }
    let mut here = before.chain();
    here.extend(before.disk.promised());
    // A newcomer's readings return some at a time, as they find a place.
    for _ in 0..MAX_RETURN {
        here.retain(|reading| !is_kept(&after, reading));
        if here.is_empty() {
            return;
        }
        after.pass(5_000);
        after.mine();
        while after.disk(false) {}
    }
    panic!("gone: {here:?}");
}

/// Whether a reading is where it lasts, or will go to a block. One whose seq another reading has may be in any block on disk.
fn is_kept(stage: &Stage, reading: &Reading) -> bool {
    let disk = &stage.disk;
    let (chain, signed) = (stage.chain(), disk.signed());
    let kept = chain.iter().chain(&signed).chain(disk.promised());
    let kept: Vec<&Reading> = kept.chain(stage.machine.pending()).collect();
    let rival = |other: &&Reading| (other.author, other.seq) == (reading.author, reading.seq);
    let mut blocks = disk.blocks.values();
    kept.contains(&reading)
        || kept.iter().any(rival) && blocks.any(|block| block.readings.contains(reading))
}

/// Right, wrong by some seconds, or by years, either way.
fn any_clock(right: u64, chance: &[u8]) -> u64 {
    let Some((unit, seconds)) = chance
        .last_chunk::<3>()
        .map(|[unit, low, high]| (unit % 4, i64::from(i16::from_le_bytes([*low, *high]))))
    else {
        return right;
    };
    let unit = [0, 1_000, 60_000, 86_400_000][usize::from(unit)];
    right.saturating_add_signed(seconds * unit)
}

/// One thing that happens without peers.
fn live(stage: &mut Stage, byte: u8) {
    let more = u64::from(byte / 8);
    match byte % 8 {
        0 => stage.pass(more * 100),
        1 => stage.pass(more * 20_000),
        2 | 3 => {
            stage.pass(5_000);
            stage.mine();
        }
        4 => while stage.disk(false) {},
        5 if more < 4 => stage.disk_full(),
        5 => {
            stage.disk(more % 4 == 0);
        }
        6 => stage.record(Bpm::new(60 + u16::from(byte)).expect("60 to 315")),
        _ => {
            let seconds = i32::from(byte / 8) - 16;
            stage.set_clock(seconds * 40);
        }
    }
}
