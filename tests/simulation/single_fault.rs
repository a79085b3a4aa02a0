//! Scenarios with one kind of fault each, so that a failure points to its cause. Attackers stay active until the end.

use heartchain_test_support::{Rng, START};

use crate::{
    attack::Attack,
    event::SimEvent,
    fault::Fault,
    id::Id,
    node::Node,
    outcome::{Outcome, finish_within},
    room::Kind,
    world::{Conditions, World},
};

const MINUTE: u64 = 60_000;
const YEAR: i64 = 365 * 24 * 60 * 60_000;

/// A reliable network with these attackers, which have the lowest IDs. Disks corrupt nothing.
fn network(seed: u64, attacks: &[Attack], peers: u64, rate: u64) -> (World, Rng, Vec<Id>) {
    network_in(seed, Kind::Open, attacks, peers, rate)
}

/// The same in a room of this kind.
fn network_in(
    seed: u64,
    kind: Kind,
    attacks: &[Attack],
    peers: u64,
    rate: u64,
) -> (World, Rng, Vec<Id>) {
    let mut rng = Rng::new(seed);
    let conditions = Conditions {
        latency: (20, 100),
        loss: 0,
        duplication: 0,
        disk_failure: 0,
        degree: 6,
    };
    let mut world = World::new(&rng, kind.room(), conditions);
    for attack in attacks {
        world.add_attacker(*attack);
    }
    let honest = (0..peers).map(|number| {
        let mut node = new_peer(&mut rng, rate);
        node.has_key = kind.has_key(number);
        world.add(node)
    });
    let honest = honest.collect();
    (world, rng, honest)
}

fn new_peer(rng: &mut Rng, rate: u64) -> Node {
    let mut node = Node::new(rng.bytes(), rate);
    node.faults.never_corrupts = true;
    node
}

/// Every `every` ms, a random one of these peers records a reading.
fn schedule_readings(
    world: &mut World,
    rng: &mut Rng,
    peers: &[Id],
    (from, to): (u64, u64),
    every: u64,
) {
    for moment in (from..to).step_by(usize::try_from(every).unwrap_or(1)) {
        if let Some(at) = rng.pick(peers) {
            world.schedule_in(moment, SimEvent::RecordReading { at });
        }
    }
}

fn inject_at(world: &mut World, at: u64, fault: Fault) {
    world.schedule_in(at, SimEvent::Fault(fault));
}

/// Runs until `until` ms after the start, or until an invariant is violated.
fn run(world: &mut World, until: u64) {
    while world.now < START + until && world.violations.is_empty() {
        let next = (world.now + 1_000).min(START + until);
        world.run_until(next);
    }
}

/// No fault: the baseline for the others. A new peer joins here, too.
pub(crate) fn no_attack(seed: u64) -> Outcome {
    header_stallers(seed, &[])
}

/// Fault 2: a peer offers branches of `headers` headers and withholds their bodies.
pub(crate) fn body_withholder(seed: u64, headers: usize) -> Outcome {
    let attack = Attack::BodyWithholder { headers };
    let (mut world, mut rng, honest) = network(seed, &[attack], 4, 250);
    schedule_readings(&mut world, &mut rng, &honest, (1_000, 240_000), 500);
    run(&mut world, 240_000);
    finish_within(world, 10 * MINUTE)
}

/// Fault 3: several peers claim the most work and send no headers, or send them slowly. A new peer joins.
pub(crate) fn header_stallers(seed: u64, attacks: &[Attack]) -> Outcome {
    let (mut world, mut rng, honest) = network(seed, attacks, 4, 250);
    schedule_readings(&mut world, &mut rng, &honest, (1_000, 100_000), 700);
    run(&mut world, 100_000);
    let newcomer = new_peer(&mut rng, 250);
    let newcomer = world.add(newcomer);
    world.schedule_in(1_000, SimEvent::RecordReading { at: newcomer });
    run(&mut world, 220_000);
    finish_within(world, 10 * MINUTE)
}

/// Fault 4: side blocks below the tip with readings that can never be mined. In the long run they must cost nothing.
pub(crate) fn side_junk(seed: u64, attack: Attack) -> Outcome {
    let (mut world, mut rng, honest) = network(seed, &[attack], 3, 3_000);
    schedule_readings(&mut world, &mut rng, &honest, (1_000, 300_000), 1_000);
    run(&mut world, 20 * MINUTE);
    finish_within(world, 10 * MINUTE)
}

/// Fault 7: blocks with unknown parents, sent by a peer that disconnects before their verdicts.
pub(crate) fn orphan_verdicts(seed: u64) -> Outcome {
    let (mut world, mut rng, honest) = network(seed, &[Attack::OrphanVerdicts], 3, 250);
    schedule_readings(&mut world, &mut rng, &honest, (1_000, 60_000), 2_000);
    run(&mut world, 60_000);
    finish_within(world, 10 * MINUTE)
}

/// Fault 9: readings of many new keys whose first readings are missing. A new peer that does not mine records a
/// reading.
pub(crate) fn newcomer_flood(seed: u64) -> Outcome {
    let (mut world, mut rng, honest) = network(seed, &[Attack::NewcomerFlood], 3, 250);
    schedule_readings(&mut world, &mut rng, &honest, (1_000, 60_000), 2_000);
    run(&mut world, 60_000);
    let mut newcomer = new_peer(&mut rng, 0);
    newcomer.mines = false;
    let newcomer = world.add(newcomer);
    world.schedule_in(5_000, SimEvent::RecordReading { at: newcomer });
    run(&mut world, 70_000);
    finish_within(world, 12 * MINUTE)
}

/// Fault 10: a peer whose mempool listing never ends.
pub(crate) fn endless_listing(seed: u64) -> Outcome {
    let (mut world, mut rng, honest) = network(seed, &[Attack::EndlessListing], 2, 250);
    schedule_readings(&mut world, &mut rng, &honest, (1_000, 30_000), 2_000);
    run(&mut world, 40_000);
    finish_within(world, 10 * MINUTE)
}

/// Names are attacked in a room of each kind while people choose, change and erase theirs. Peers restart, and one joins.
pub(crate) fn profile_attacks(seed: u64) -> Outcome {
    let attacks = [Attack::ProfileFlood, Attack::EndlessProfiles];
    let kind = Kind::of_seed(seed);
    let (mut world, mut rng, honest) = network_in(seed, kind, &attacks, 6, 250);
    schedule_readings(&mut world, &mut rng, &honest, (1_000, 60_000), 1_000);
    for moment in (2_000..400_000).step_by(5_000) {
        if let Some(at) = rng.pick(&honest) {
            world.schedule_in(moment, SimEvent::SetName { at });
        }
    }
    for at in [100_000, 200_000] {
        let id = rng.pick(&honest).unwrap_or_default();
        inject_at(&mut world, at, Fault::Crash(id));
        inject_at(&mut world, at + 20_000, Fault::Restart(id));
    }
    run(&mut world, 300_000);
    let newcomer = new_peer(&mut rng, 250);
    let newcomer = world.add(newcomer);
    world.schedule_in(1_000, SimEvent::RecordReading { at: newcomer });
    world.schedule_in(1_500, SimEvent::SetName { at: newcomer });
    run(&mut world, 420_000);
    let names = honest.iter().filter(|id| world.node(**id).name.is_some());
    assert!(names.count() > 1, "seed {seed}: people chose names");
    finish_within(world, 30 * MINUTE)
}

/// Fault 1: authors leave permanently. The peer that keeps their readings starts with a wrong clock, later with a
/// correct one.
pub(crate) fn wrong_clock_start(seed: u64) -> Outcome {
    let (mut world, mut rng, honest) = network(seed, &[], 3, 250);
    for leaver in [1, 2] {
        world.node_mut(leaver).will_leave = true;
    }
    schedule_readings(&mut world, &mut rng, &honest, (1_000, 60_000), 1_000);
    schedule_readings(&mut world, &mut rng, &[0], (60_000, 70_000), 1_000);
    run(&mut world, 190_000);
    for leaver in [1, 2] {
        world.inject(Fault::Leave(leaver));
    }
    let wrong_clocks = [-YEAR, -YEAR, YEAR, -600_000, -120_000, 600_000];
    let mut at = 1_000;
    for _ in 0..rng.between(1, 3) {
        let offset = rng.pick(&wrong_clocks).unwrap_or(-YEAR);
        inject_at(&mut world, at, Fault::Crash(0));
        inject_at(&mut world, at + 500, Fault::StartWithClock(0, offset));
        // A tab that is closed soon after it opened loses whatever is only in memory.
        let open = rng.pick(&[2_500, 4_000, 60_000]).unwrap_or(4_000);
        at += 500 + rng.between(500, open);
    }
    inject_at(&mut world, at, Fault::Crash(0));
    inject_at(&mut world, at + 500, Fault::StartWithClock(0, 0));
    run(&mut world, 190_000 + at + 10_000);
    finish_within(world, 5 * MINUTE)
}

/// Fault 5: a computer with several slots whose tabs are opened and closed, online and offline.
pub(crate) fn closed_slots(seed: u64) -> Outcome {
    let (mut world, mut rng, honest) = network(seed, &[], 3, 250);
    let slots = (0..rng.between(2, 3)).map(|_| new_peer(&mut rng, 250));
    let slots = slots.collect();
    let computer = world.add_computer(slots);
    schedule_readings(&mut world, &mut rng, &honest, (1_000, 100_000), 3_000);
    let mut now = 2_000;
    let slots = world.computers[computer].slots.clone();
    for _ in 0..rng.between(3, 8) {
        run(&mut world, now);
        now += rng.between(2_000, 15_000);
        if rng.one_in(2)
            && let Some(opened) = world.open_tab(computer)
        {
            if rng.one_in(2) {
                world.isolate(opened);
            }
            for _ in 0..rng.between(1, 3) {
                world.schedule_in(
                    rng.between(100, 1_500),
                    SimEvent::RecordReading { at: opened },
                );
            }
        } else if let Some(open) = rng.pick(&slots) {
            world.close_tab(open);
        }
    }
    run(&mut world, now);
    for slot in slots {
        world.close_tab(slot);
    }
    world.inject(Fault::HealPartition);
    inject_at(&mut world, 2_000, Fault::OpenTab(computer));
    run(&mut world, now + 5_000);
    finish_within(world, 10 * MINUTE)
}

/// Fault 6: an author leaves permanently while the network is partitioned. The other partition's branch has more work,
/// and peers restart right after they switched to it.
pub(crate) fn departing_author(seed: u64) -> Outcome {
    let (mut world, mut rng, _) = network(seed, &[], 5, 150);
    world.node_mut(0).will_leave = true;
    for strong in [3, 4] {
        world.inject(Fault::SetHashRate(strong, 600));
    }
    for lazy in [1, 2] {
        world.node_mut(lazy).mines = rng.one_in(2);
    }
    let partition = |id: usize| if id < 3 { 1 } else { 2 };
    for id in 0..5 {
        world.partitions[id] = partition(id);
    }
    world.cut_partition_links();
    schedule_readings(&mut world, &mut rng, &[0], (2_000, 30_000), 3_000);
    schedule_readings(&mut world, &mut rng, &[0, 1], (30_000, 60_000), 2_000);
    schedule_readings(&mut world, &mut rng, &[3, 4], (1_000, 170_000), 700);
    run(&mut world, 175_000);
    world.inject(Fault::Leave(0));
    inject_at(&mut world, 2_000, Fault::HealPartition);
    // Both restart soon after they switched to the other partition's branch.
    let mut restarts = vec![1, 2];
    for step in 875..1_200 {
        run(&mut world, step * 200);
        restarts.retain(|&id| {
            let switched = world.node(id).machine().status().index > 100;
            if switched {
                let down = rng.between(50, 2_500);
                inject_at(&mut world, down, Fault::Crash(id));
                inject_at(
                    &mut world,
                    down + rng.between(500, 15_000),
                    Fault::Restart(id),
                );
            }
            !switched
        });
    }
    finish_within(world, 10 * MINUTE)
}

/// Fault 8: the clock of a peer that mines alone jumps, and is corrected while the peer runs.
pub(crate) fn clock_jump(seed: u64) -> Outcome {
    let (mut world, mut rng, honest) = network(seed, &[], 5, 250);
    // If the other peers are idle, the branch of the isolated peer has the most work.
    let idle = rng.one_in(2);
    let until = if idle { 15_000 } else { 180_000 };
    schedule_readings(&mut world, &mut rng, &honest, (1_000, until), 1_500);
    let jump = rng.pick(&[YEAR, YEAR, 600_000, -YEAR, -600_000]);
    let jump = jump.unwrap_or(YEAR);
    run(&mut world, 20_000);
    if idle || rng.one_in(2) {
        world.isolate(4);
    }
    world.inject(Fault::SetClock(4, jump));
    schedule_readings(&mut world, &mut rng, &[4], (1_000, 30_000), 1_000);
    run(&mut world, 20_000 + rng.between(20_000, 50_000));
    world.inject(Fault::SetClock(4, 0));
    world.inject(Fault::HealPartition);
    schedule_readings(&mut world, &mut rng, &honest, (5_000, 20_000), 3_000);
    run(&mut world, 180_000);
    finish_within(world, 5 * MINUTE)
}

/// A peer without other peers sleeps while it mines, and continues when it wakes.
pub(crate) fn lone_sleeper(seed: u64) -> Outcome {
    let (mut world, mut rng, peers) = network(seed, &[], 1, 60);
    schedule_readings(&mut world, &mut rng, &peers, (0, 10_000), 1_000);
    inject_at(&mut world, 5_000, Fault::Sleep(peers[0]));
    inject_at(&mut world, 65_000, Fault::Wake(peers[0]));
    run(&mut world, 70_000);
    finish_within(world, 5 * MINUTE)
}

/// A disk is full for a while, then has room again.
pub(crate) fn full_disk(seed: u64) -> Outcome {
    let (mut world, mut rng, honest) = network(seed, &[], 4, 250);
    schedule_readings(&mut world, &mut rng, &honest, (1_000, 120_000), 700);
    for _ in 0..rng.between(1, 3) {
        let (id, time) = (rng.below(4), rng.between(5_000, 90_000));
        inject_at(&mut world, rng.below(100_000), Fault::FillDisk(id, time));
    }
    run(&mut world, 120_000);
    finish_within(world, 10 * MINUTE)
}

/// A database is deleted while its peer runs. Later the peer restarts.
pub(crate) fn deleted_database(seed: u64) -> Outcome {
    let (mut world, mut rng, honest) = network(seed, &[], 3, 250);
    schedule_readings(&mut world, &mut rng, &honest, (1_000, 60_000), 1_000);
    let id = rng.below(3);
    let at = rng.between(20_000, 50_000);
    inject_at(&mut world, at, Fault::DeleteDatabase(id));
    inject_at(&mut world, at + 40_000, Fault::Crash(id));
    inject_at(&mut world, at + 45_000, Fault::Restart(id));
    run(&mut world, 120_000);
    finish_within(world, 10 * MINUTE)
}
