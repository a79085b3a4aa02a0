//! What a random run may add to the faults of `fault`: wrong clocks, attackers that never stop, and several or half-open connections
//! between two peers.

use heartchain_test_support::Rng;

use crate::{
    attack::Attack,
    event::SimEvent,
    fault::Fault,
    id::Id,
    node::Node,
    world::{Redundancy, World},
};

const YEAR: i64 = 365 * 24 * 60 * 60_000;

/// A separate generator, so that these draws do not change the other draws of a run.
pub(crate) fn rng(seed: u64) -> Rng {
    Rng::new(seed ^ 0x4845_4152_5443_4841)
}

/// Adds an attacker to some runs. It comes before the honest peers and therefore has the lowest ID.
pub(crate) fn attackers(world: &mut World, rng: &mut Rng) {
    if rng.one_in(6)
        && let Some(attack) = rng.pick(&Attack::ALL)
    {
        world.add_attacker(attack);
    }
}

/// Adds a computer with several slots to some runs.
pub(crate) fn computers(world: &mut World, rng: &mut Rng, length: u64) {
    if !rng.one_in(8) {
        return;
    }
    let slots = (0..rng.between(2, 3)).map(|_| Node::new(rng.bytes(), 200));
    let slots = slots.collect();
    let computer = world.add_computer(slots);
    let slots = world.computers[computer].slots.clone();
    world.open_tab(computer);
    for _ in 0..rng.between(1, 5) {
        let at = rng.below(length);
        world.schedule_in(at, SimEvent::Fault(Fault::OpenTab(computer)));
        if let Some(slot) = rng.pick(&slots) {
            let at = rng.below(length);
            world.schedule_in(at, SimEvent::Fault(Fault::CloseTab(slot)));
        }
    }
    for at in slots {
        for _ in 0..rng.below(4) {
            world.schedule_in(rng.below(length), SimEvent::RecordReading { at });
        }
    }
}

/// Lets people choose, change and erase their names in most runs.
pub(crate) fn names(world: &mut World, rng: &mut Rng, length: u64) {
    for at in 0..world.nodes.len() as Id {
        if world.node(at).is_honest() {
            for _ in 0..rng.below(4) {
                world.schedule_in(rng.below(length), SimEvent::SetName { at });
            }
        }
    }
}

/// Makes an author leave permanently in some runs. Returns the length of the run, which is extended so that the
/// author's readings can be confirmed first.
pub(crate) fn departing_author(world: &mut World, rng: &mut Rng, length: u64) -> u64 {
    let candidates: Vec<Id> = (1..world.nodes.len() as Id)
        .filter(|id| world.node(*id).is_honest() && !world.node(*id).key_is_shared)
        .collect();
    let (true, Some(leaver)) = (rng.one_in(6), rng.pick(&candidates)) else {
        return length;
    };
    world.node_mut(leaver).will_leave = true;
    for node in &mut world.nodes {
        node.faults.never_corrupts = true;
    }
    for _ in 0..rng.between(1, 6) {
        world.schedule_in(rng.below(40_000), SimEvent::RecordReading { at: leaver });
    }
    let goes = rng.between(100_000, 180_000);
    world.schedule_in(goes, SimEvent::Fault(Fault::Leave(leaver)));
    length.max(goes + rng.between(10_000, 60_000))
}

/// Adds clock jumps, starts with wrong clocks, and temporarily full or deleted disks.
pub(crate) fn faults(world: &mut World, rng: &mut Rng, length: u64) {
    let peers: Vec<Id> = (0..world.nodes.len() as Id)
        .filter(|id| world.node(*id).is_honest() && world.node(*id).computer.is_none())
        .collect();
    let jumps = [
        YEAR, -YEAR, 3_600_000, -3_600_000, 600_000, -600_000, 40_000, -40_000,
    ];
    let inject_at = |world: &mut World, at: u64, fault: Fault| {
        world.schedule_in(at.min(length), SimEvent::Fault(fault));
    };
    if rng.one_in(5)
        && let (Some(id), Some(jump)) = (rng.pick(&peers), rng.pick(&jumps))
    {
        let from = rng.below(length);
        inject_at(world, from, Fault::SetClock(id, jump));
        let until = from + rng.between(1_000, 60_000);
        inject_at(world, until, Fault::SetClock(id, 0));
    }
    if rng.one_in(5)
        && let (Some(id), Some(jump)) = (rng.pick(&peers), rng.pick(&jumps))
    {
        let from = rng.below(length);
        inject_at(world, from, Fault::Crash(id));
        inject_at(world, from + 1_000, Fault::StartWithClock(id, jump));
        let until = from + rng.between(2_000, 60_000);
        inject_at(world, until, Fault::Crash(id));
        inject_at(world, until + 1_000, Fault::SetClock(id, 0));
        inject_at(world, until + 1_000, Fault::StartWithClock(id, 0));
    }
    if rng.one_in(8)
        && let Some(id) = rng.pick(&peers)
    {
        let time = rng.between(5_000, 60_000);
        inject_at(world, rng.below(length), Fault::FillDisk(id, time));
    }
    if rng.one_in(12)
        && let Some(id) = rng.pick(&peers)
    {
        inject_at(world, rng.below(length), Fault::DeleteDatabase(id));
    }
}

/// Gives pairs of peers several or half-open connections in half of the runs.
pub(crate) fn connections(world: &mut World, rng: &mut Rng, length: u64) {
    if rng.one_in(2) {
        return;
    }
    let redundancy = Redundancy {
        parallel: rng.pick(&[0, 30, 100]).unwrap_or(0),
        half_open: !rng.one_in(3),
        ordered: rng.one_in(2),
    };
    world.redundancy = redundancy;
    let mut inject = |fault: Fault, most: u64| {
        for _ in 0..rng.below(most) {
            world.schedule_in(rng.below(length), SimEvent::Fault(fault));
        }
    };
    inject(Fault::RedundantLink, 12);
    inject(Fault::CutLink, 20);
    if redundancy.half_open {
        inject(Fault::HalfOpen, 16);
    }
}
