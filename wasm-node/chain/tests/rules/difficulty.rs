//! The incrementally updated window agrees with the reference implementation of the rule on any branch.

use heartchain_chain::{
    difficulty::{WINDOW_HEADERS, Window},
    hash::{BlockHash, ReadingsRoot},
    header::{HEADER_VERSION, Header},
    room::{Room, RoomName, RoomParams},
    time::UnixMillis,
    work::CompactTarget,
};
use proptest::prelude::*;

use crate::reference;

/// A room, for the crate and for the reference implementation.
pub(crate) fn room(floor_bits: u8, interval: u64) -> (Room, reference::Room) {
    let name = RoomName::new("difficulty").expect("a room name");
    let params = RoomParams::new(name, floor_bits, interval).expect("in bounds");
    (
        Room::new(params),
        reference::Room {
            floor_bits,
            interval,
        },
    )
}

/// A header with the fields that the difficulty rule reads.
pub(crate) fn header(index: usize, time: u64, bits: u32) -> Header {
    Header {
        version: HEADER_VERSION,
        index: index as u64,
        time: UnixMillis::new(time),
        prev_hash: BlockHash::new([0; 32]),
        readings_root: ReadingsRoot::new([0; 32]),
        bits: CompactTarget::from_bits(bits),
        nonce: 0,
    }
}

/// A branch, maintained by the crate and for the reference implementation side by side.
struct Branch {
    room: Room,
    reference_room: reference::Room,
    window: Window,
    headers: Vec<Header>,
    blocks: Vec<reference::Block>,
}

impl Branch {
    fn new(floor_bits: u8, interval: u64) -> Self {
        let (room, reference_room) = room(floor_bits, interval);
        Self {
            window: Window::genesis(&room),
            headers: vec![*room.genesis()],
            blocks: vec![reference_room.genesis()],
            room,
            reference_room,
        }
    }

    fn assert_agreement(&self, time: u64) -> u32 {
        let bits = reference::next_bits(self.reference_room, &self.blocks, time);
        assert_eq!(
            self.window.next_bits(UnixMillis::new(time)).to_bits(),
            bits,
            "bits at {time}"
        );
        let mut with_next = self.blocks.clone();
        with_next.push(reference::Block { time, bits });
        let quiet = reference::is_quiet(self.reference_room, &with_next, self.blocks.len());
        assert_eq!(
            self.window.is_quiet(UnixMillis::new(time)),
            quiet,
            "quiet at {time}"
        );
        assert_eq!(
            self.window.mtp().get(),
            reference::mtp(&self.blocks, self.blocks.len() - 1)
        );
        assert_eq!(self.window.next_index(), self.blocks.len() as u64);
        bits
    }

    fn extend(&mut self, time: u64) {
        let bits = self.assert_agreement(time);
        let header = header(self.blocks.len(), time, bits);
        self.window.push(&header);
        self.headers.push(header);
        self.blocks.push(reference::Block { time, bits });
    }

    fn rewind(&mut self, blocks: usize) {
        let keep = self.blocks.len().saturating_sub(blocks).max(1);
        self.headers.truncate(keep);
        self.blocks.truncate(keep);
        self.window = self.rebuilt();
    }

    /// The window computed from no more headers than necessary.
    fn rebuilt(&self) -> Window {
        let newest = self.headers.len().saturating_sub(WINDOW_HEADERS);
        Window::from_headers(&self.room, self.headers[newest..].iter().copied())
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A block this many milliseconds after its parent, or later if needed to be valid.
    After(i64),
    /// A block after the longest gap that is not quiet, plus this many milliseconds.
    Gap(i64),
    /// This many blocks as fast as valid.
    Burst(u8),
    /// A reorganization that removes this many blocks.
    Rewind(usize),
}

fn steps(interval: u64) -> impl Strategy<Value = Vec<Step>> {
    let interval = interval as i64;
    let step = prop_oneof![
        8 => (0..4 * interval).prop_map(Step::After),
        3 => (-20 * interval..20 * interval).prop_map(Step::After),
        1 => (-2_i64..3).prop_map(Step::Gap),
        1 => (1_u8..40).prop_map(Step::Burst),
        1 => (1_usize..90).prop_map(Step::Rewind),
    ];
    prop::collection::vec(step, 1..160)
}

fn params_and_steps() -> impl Strategy<Value = (u8, u64, Vec<Step>)> {
    let interval = prop_oneof![Just(100), Just(1000), 100..=600_000_u64];
    (8..=64_u8, interval)
        .prop_flat_map(|(floor_bits, interval)| (Just(floor_bits), Just(interval), steps(interval)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn window_matches_the_reference_rule(
        (floor_bits, interval, steps) in params_and_steps(),
        start in 1_u64..8_000_000_000_000,
    ) {
        let mut branch = Branch::new(floor_bits, interval);
        branch.extend(start);
        for step in steps {
            let past = branch.window.mtp().get() + 1;
            let times = branch.blocks.iter().rev().take(11).map(|block| block.time);
            let latest = times.max().unwrap_or(start);
            let parent = branch.blocks.last().map_or(start, |block| block.time);
            match step {
                Step::After(ms) => branch.extend(parent.saturating_add_signed(ms).max(past)),
                Step::Gap(ms) => {
                    let gap = (60 * interval).max(60_000);
                    branch.extend((latest + gap).saturating_add_signed(ms).max(past));
                }
                Step::Burst(blocks) => (0..blocks).for_each(|_| {
                    let past = branch.window.mtp().get() + 1;
                    branch.extend(past);
                }),
                Step::Rewind(blocks) => branch.rewind(blocks),
            }
        }
        prop_assert_eq!(&branch.rebuilt(), &branch.window);
        prop_assert_eq!(&Window::from_headers(&branch.room, branch.headers.iter().copied()), &branch.window);
    }
}

#[test]
fn rebuilt_window_equals_the_extended_one() {
    let mut branch = Branch::new(16, 1000);
    let mut time = 1_700_000_000_000;
    for index in 1..300_u64 {
        // A quiet gap every 37 blocks, otherwise times that go back and forth.
        time += if index % 37 == 0 { 70_000 } else { 900 };
        branch.extend(time - (index * 7919) % 800);
        assert_eq!(branch.rebuilt(), branch.window, "after block {index}");
    }
}

#[test]
fn quiet_gap_resets_difficulty_to_the_floor() {
    let mut branch = Branch::new(16, 1000);
    for index in 1..200 {
        branch.extend(1_700_000_000_000 + 100 * index);
    }
    let floor = branch.room.floor();
    let latest = 1_700_000_000_000 + 100 * 199;
    let target = |time| {
        let bits = branch.window.next_bits(UnixMillis::new(time));
        bits.target().expect("the rule returns valid bits")
    };
    assert!(target(latest + 100).work() > floor.work().saturating_add(floor.work()));
    assert!(target(latest + 60_000) < floor, "not quiet yet");
    assert_eq!(target(latest + 60_001), floor, "quiet");
}

#[test]
fn hardest_branch_keeps_valid_targets() {
    let mut branch = Branch::new(64, 600_000);
    for index in 1..400 {
        branch.extend(index);
    }
    let bits = branch.window.next_bits(UnixMillis::new(400));
    assert!(bits.target().is_ok());
}
