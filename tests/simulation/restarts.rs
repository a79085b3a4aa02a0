//! Restarts never lose stored data, whatever the wall clock shows at the start and however long the peer runs.

use std::collections::BTreeSet;

use heartchain_chain::{hash::ReadingId, reading::Reading, work::Work};
use heartchain_test_support::{Rng, START};

use crate::{
    event::SimEvent,
    fault::Fault,
    id::Id,
    node::Node,
    outcome::{Outcome, finish_within},
    room::Kind,
    world::{Conditions, World},
};

const MINUTE: u64 = 60_000;
const DAY: i64 = 24 * 60 * 60_000;
/// The peer whose stored data is checked.
const SUBJECT: Id = 0;

/// What a peer has stored, as seen with a correct clock.
struct Stored {
    total_work: Work,
    readings: Vec<Reading>,
}

/// Starts the subject with a correct clock, reads its state, and stops it before it writes anything.
fn stored(world: &mut World) -> Stored {
    world.inject(Fault::StartWithClock(SUBJECT, 0));
    let stored = Stored {
        total_work: world.node(SUBJECT).machine().status().total_work,
        readings: world.chain_readings(SUBJECT).copied().collect(),
    };
    world.inject(Fault::Crash(SUBJECT));
    stored
}

fn random_clock_offset(rng: &mut Rng) -> i64 {
    let small = |rng: &mut Rng, bound: u64| i64::try_from(rng.below(bound)).unwrap_or(0);
    let off = match rng.below(4) {
        0 => small(rng, 60_000),
        1 => small(rng, 3_600_000),
        2 => small(rng, 30) * DAY,
        _ => 365 * DAY,
    };
    if rng.one_in(3) { off } else { -off }
}

/// A few peers build a chain, and all but one leave. The last one restarts with random clock offsets, then with a
/// correct clock.
pub(crate) fn restart_never_loses_stored_data(seed: u64) -> Outcome {
    let mut rng = Rng::new(seed);
    let conditions = Conditions {
        latency: (5, 50),
        loss: 0,
        duplication: 0,
        // A failed write would lose a block without any restart.
        disk_failure: 0,
        degree: 3,
    };
    let mut world = World::new(&rng, Kind::of_seed(seed).room(), conditions);
    let peers = rng.between(1, 3);
    for _ in 0..peers {
        let mut node = Node::new(rng.bytes(), rng.between(100, 600));
        node.faults.never_corrupts = true;
        world.add(node);
    }
    let length = rng.between(5_000, 40_000);
    for _ in 0..rng.between(3, 30) {
        let at = rng.below(peers);
        world.schedule_in(rng.below(length), SimEvent::RecordReading { at });
    }
    if rng.one_in(3) {
        let split = SimEvent::Fault(Fault::Partition(2));
        world.schedule_in(rng.below(length / 2), split);
        world.schedule_in(length * 3 / 4, SimEvent::Fault(Fault::HealPartition));
    }
    world.run_until(START + length);
    for other in 1..peers {
        world.inject(Fault::Leave(other));
    }
    world.inject(Fault::Crash(SUBJECT));
    let before = stored(&mut world);
    for _ in 0..rng.between(1, 2) {
        let clock = random_clock_offset(&mut rng);
        world.inject(Fault::StartWithClock(SUBJECT, clock));
        for _ in 0..rng.below(4) {
            world.schedule_in(rng.below(5_000), SimEvent::RecordReading { at: SUBJECT });
        }
        let until = world.now + rng.between(100, 45_000);
        world.run_until(until);
        world.inject(Fault::Crash(SUBJECT));
    }
    let until = world.now + 2_000;
    world.run_until(until);
    world.inject(Fault::StartWithClock(SUBJECT, 0));
    let until = world.now + 30_000;
    world.run_until(until);
    let mut shrunk = Vec::new();
    let machine = world.node(SUBJECT).machine();
    let after = machine.status();
    if after.total_work < before.total_work {
        shrunk.push(format!(
            "the branch had work {} and now has {}",
            before.total_work, after.total_work
        ));
    }
    let room = world.room.id();
    let gone = before.readings.iter();
    let gone = gone.filter(|reading| !machine.contains_reading(reading));
    let gone: BTreeSet<ReadingId> = gone.map(|reading| reading.id(room)).collect();
    if !gone.is_empty() {
        let (gone, all) = (gone.len(), before.readings.len());
        shrunk.push(format!("{gone} of {all} readings are lost"));
    }
    let mut outcome = finish_within(world, 10 * MINUTE);
    outcome.violations.extend(shrunk);
    outcome
}
