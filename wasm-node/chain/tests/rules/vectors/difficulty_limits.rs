//! Short branches that reach the limits of the difficulty rule: both clamps, the target 1, the look back of a quiet
//! block, and its gap with other block intervals. The targets become so small that every rounding shows.

use heartchain_chain::{difficulty::Window, time::UnixMillis};
use serde_json::{Value, json};

use crate::{
    difficulty::{header, room},
    reference,
};

/// The time that the first step of each branch counts from, in Unix milliseconds.
const START: u64 = 1_700_000_000_000;

/// A branch in a room with this floor and interval. Each step is a number of blocks, and the milliseconds from each to
/// the one below it. The blocks in `rows` are written to the vectors.
struct Branch {
    name: &'static str,
    floor_bits: u8,
    interval: u64,
    steps: &'static [(usize, i64)],
    rows: &'static [usize],
    quiet: &'static [usize],
}

impl Branch {
    const fn short(name: &'static str, steps: &'static [(usize, i64)]) -> Self {
        Self {
            name,
            floor_bits: 16,
            interval: 1000,
            steps,
            rows: &[1, 2, 13, 20, 21, 22, 23, 24, 25, 26, 27, 28],
            quiet: &[],
        }
    }

    fn with_interval(self, interval: u64) -> Self {
        Self { interval, ..self }
    }

    fn with_quiet(self, quiet: &'static [usize]) -> Self {
        Self { quiet, ..self }
    }

    fn vector(&self) -> Value {
        let (room, reference_room) = room(self.floor_bits, self.interval);
        let mut window = Window::genesis(&room);
        let mut blocks = vec![reference_room.genesis()];
        let (mut time, mut rows, mut quiet) = (START, Vec::new(), Vec::new());
        let deltas = self.steps.iter();
        for delta in deltas.flat_map(|(count, delta)| vec![*delta; *count]) {
            let index = blocks.len();
            time = time.saturating_add_signed(delta);
            assert!(time > window.mtp().get(), "{}: block {index}", self.name);
            if window.is_quiet(UnixMillis::new(time)) {
                quiet.push(index);
            }
            let bits = window.next_bits(UnixMillis::new(time)).to_bits();
            let expected = reference::next_bits(reference_room, &blocks, time);
            assert_eq!(bits, expected, "{}: block {index}", self.name);
            window.push(&header(index, time, bits));
            blocks.push(reference::Block { time, bits });
            if self.rows.contains(&index) {
                rows.push(json!([index, time, bits, window.mtp().get()]));
            }
        }
        assert_eq!(quiet, self.quiet, "{}", self.name);
        json!({
            "name": self.name,
            "floor_bits": self.floor_bits,
            "block_interval_ms": self.interval,
            "steps": self.steps,
            "quiet_blocks": quiet,
            "rows": rows,
        })
    }
}

/// Fast blocks down to the target 1, and then slow ones: the result is clamped to a quarter from block 62 on, to 1 from
/// block 528 on, and to four times from block 548 on. The small targets after it, and their quarters from block 667 on,
/// show how each division rounds.
const FALL_AND_RISE: Branch = Branch {
    name: "fall to the target 1, rise, and fall",
    floor_bits: 64,
    interval: 600_000,
    steps: &[(1, 0), (540, 1), (60, 3_700_000), (75, 1)],
    rows: &[
        1, 2, 3, 11, 30, 60, 61, 62, 63, 64, 65, 66, 67, 120, 300, 500, 527, 528, 529, 541, 547,
        548, 549, 550, 551, 552, 553, 554, 555, 556, 557, 558, 559, 560, 580, 601, 602, 630, 660,
        666, 667, 668, 669, 670, 671, 676,
    ],
    quiet: &[],
};

/// Fast blocks to a quarter, and slow ones to four times, with targets that compact bits round.
const QUARTER_AND_FOUR_TIMES: Branch = Branch {
    name: "a quarter, and four times",
    floor_bits: 16,
    interval: 600_000,
    steps: &[(1, 0), (64, 1), (16, 3_700_000)],
    rows: &[
        1, 2, 30, 60, 61, 62, 63, 64, 65, 66, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81,
    ],
    quiet: &[],
};

pub(super) fn vectors() -> Value {
    let branches = [
        FALL_AND_RISE,
        QUARTER_AND_FOUR_TIMES,
        // Below 1,000 ms the gap is 60,000 ms, and above it 60 intervals.
        Branch::short(
            "gap of 60,000 ms at 999 ms",
            &[(1, 0), (20, 250), (1, 60_000), (2, 250)],
        )
        .with_interval(999),
        Branch::short(
            "gap of 60,001 ms at 999 ms",
            &[(1, 0), (20, 250), (1, 60_001), (2, 250)],
        )
        .with_interval(999)
        .with_quiet(&[22]),
        Branch::short(
            "gap of 60 intervals at 1,001 ms",
            &[(1, 0), (20, 250), (1, 60_060), (2, 250)],
        )
        .with_interval(1001),
        Branch::short(
            "gap of 60 intervals and 1 ms at 1,001 ms",
            &[(1, 0), (20, 250), (1, 60_061), (2, 250)],
        )
        .with_interval(1001)
        .with_quiet(&[22]),
        Branch::short(
            "gap of 60 intervals at 600,000 ms",
            &[(1, 0), (20, 150_000), (1, 36_000_000), (2, 150_000)],
        )
        .with_interval(600_000),
        Branch::short(
            "gap of 60 intervals and 1 ms at 600,000 ms",
            &[(1, 0), (20, 150_000), (1, 36_000_001), (2, 150_000)],
        )
        .with_interval(600_000)
        .with_quiet(&[22]),
        // Block 14 is ahead of its successors. It is the 11th below block 25, and the 12th below block 26.
        Branch::short(
            "latest time in the 11th block below",
            &[
                (1, 0),
                (12, 250),
                (1, 20_000),
                (1, -19_900),
                (9, 100),
                (1, 79_000),
                (2, 250),
            ],
        ),
        Branch::short(
            "latest time in the 12th block below",
            &[
                (1, 0),
                (12, 250),
                (1, 20_000),
                (1, -19_900),
                (10, 100),
                (1, 60_001),
                (2, 250),
            ],
        )
        .with_quiet(&[26]),
        Branch::short(
            "two quiet blocks",
            &[
                (1, 0),
                (20, 250),
                (1, 60_001),
                (3, 250),
                (1, 60_001),
                (2, 250),
            ],
        )
        .with_quiet(&[22, 26]),
    ];
    json!({
        "start": START,
        "columns": ["index", "time", "bits", "mtp"],
        "branches": branches.map(|branch| branch.vector()),
    })
}
