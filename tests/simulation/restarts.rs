//! A start never makes smaller what is stored: whatever the clock shows then, and however long the peer runs.

use std::collections::BTreeSet;

use chain::{hash::ReadingId, reading::Reading, work::Work};

use crate::{
    dice::Dice,
    node::Node,
    outcome::{Outcome, finish_within},
    scenario::room,
    trouble::Trouble,
    world::{Happening, Id, START, Weather, World},
};

const MINUTE: u64 = 60_000;
const DAY: i64 = 24 * 60 * 60_000;
/// The peer whose disk is looked at.
const SUBJECT: Id = 0;

/// What a peer has with the right clock.
struct Stored {
    total_work: Work,
    readings: Vec<Reading>,
}

/// Starts the subject with the right clock, looks, and stops it before anything of that reaches the disk.
fn stored(world: &mut World) -> Stored {
    world.trouble(Trouble::StartWithClock(SUBJECT, 0));
    let stored = Stored {
        total_work: world.node(SUBJECT).machine().status().total_work,
        readings: world.chain_readings(SUBJECT).copied().collect(),
    };
    world.trouble(Trouble::Crash(SUBJECT));
    stored
}

fn any_clock(dice: &mut Dice) -> i64 {
    let small = |dice: &mut Dice, bound: u64| i64::try_from(dice.below(bound)).unwrap_or(0);
    let off = match dice.below(4) {
        0 => small(dice, 60_000),
        1 => small(dice, 3_600_000),
        2 => small(dice, 30) * DAY,
        _ => 365 * DAY,
    };
    if dice.one_in(3) { off } else { -off }
}

/// Some peers make a chain, and all but one leave. That one starts with any clocks, then with the right one.
pub(crate) fn start_never_shrinks(seed: u64) -> Outcome {
    let mut dice = Dice::new(seed);
    let weather = Weather {
        latency: (5, 50),
        loss: 0,
        duplication: 0,
        // A block that never reached the disk is no start's fault.
        disk_failure: 0,
        degree: 3,
    };
    let mut world = World::new(&dice, room(8, 1_000), weather);
    let peers = dice.between(1, 3);
    for _ in 0..peers {
        let mut node = Node::new(dice.bytes(), dice.between(100, 600));
        node.disk.is_sound = true;
        world.add(node);
    }
    let length = dice.between(5_000, 40_000);
    for _ in 0..dice.between(3, 30) {
        let at = dice.below(peers);
        world.after(dice.below(length), Happening::Entry { at });
    }
    if dice.one_in(3) {
        let split = Happening::Trouble(Trouble::Split(2));
        world.after(dice.below(length / 2), split);
        world.after(length * 3 / 4, Happening::Trouble(Trouble::Heal));
    }
    world.run_until(START + length);
    for other in 1..peers {
        world.trouble(Trouble::Leave(other));
    }
    world.trouble(Trouble::Crash(SUBJECT));
    let before = stored(&mut world);
    for _ in 0..dice.between(1, 2) {
        let clock = any_clock(&mut dice);
        world.trouble(Trouble::StartWithClock(SUBJECT, clock));
        for _ in 0..dice.below(4) {
            world.after(dice.below(5_000), Happening::Entry { at: SUBJECT });
        }
        let until = world.now + dice.between(100, 45_000);
        world.run_until(until);
        world.trouble(Trouble::Crash(SUBJECT));
    }
    let until = world.now + 2_000;
    world.run_until(until);
    world.trouble(Trouble::StartWithClock(SUBJECT, 0));
    let until = world.now + 30_000;
    world.run_until(until);
    let mut shrunk = Vec::new();
    let machine = world.node(SUBJECT).machine();
    let after = machine.status();
    if after.total_work < before.total_work {
        shrunk.push(format!(
            "the branch weighed {} and weighs {}",
            before.total_work, after.total_work
        ));
    }
    let room = world.room.id();
    let gone = before.readings.iter();
    let gone = gone.filter(|reading| !machine.knows_reading(reading));
    let gone: BTreeSet<ReadingId> = gone.map(|reading| reading.id(room)).collect();
    if !gone.is_empty() {
        let (gone, all) = (gone.len(), before.readings.len());
        shrunk.push(format!("{gone} of {all} readings are gone"));
    }
    let mut outcome = finish_within(world, 10 * MINUTE);
    outcome.faults.extend(shrunk);
    outcome
}
