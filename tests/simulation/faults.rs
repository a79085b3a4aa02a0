//! Runs for one kind of trouble each, so that a failure names it. Attackers are at work until the end.

use crate::{
    attackers::Attack,
    dice::Dice,
    node::Node,
    outcome::{Outcome, finish_within},
    scenario::room,
    trouble::Trouble,
    world::{Happening, Id, START, Weather, World},
};

const MINUTE: u64 = 60_000;
const YEAR: i64 = 365 * 24 * 60 * 60_000;

/// A world in good weather with these attackers, who have the lowest names. Disks damage nothing.
fn attacked(seed: u64, attacks: &[Attack], peers: u64, rate: u64) -> (World, Dice, Vec<Id>) {
    let mut dice = Dice::new(seed);
    let weather = Weather {
        latency: (20, 100),
        loss: 0,
        duplication: 0,
        disk_failure: 0,
        degree: 6,
    };
    let mut world = World::new(&dice, room(8, 1_000), weather);
    for attack in attacks {
        world.add_attacker(*attack);
    }
    let honest = (0..peers).map(|_| world.add(peer(&mut dice, rate)));
    let honest = honest.collect();
    (world, dice, honest)
}

fn peer(dice: &mut Dice, rate: u64) -> Node {
    let mut node = Node::new(dice.bytes(), rate);
    node.disk.is_sound = true;
    node
}

/// One of these peers records something every so often.
fn record(world: &mut World, dice: &mut Dice, peers: &[Id], (from, to): (u64, u64), every: u64) {
    for moment in (from..to).step_by(usize::try_from(every).unwrap_or(1)) {
        if let Some(at) = dice.pick(peers) {
            world.after(moment, Happening::Entry { at });
        }
    }
}

fn later(world: &mut World, at: u64, trouble: Trouble) {
    world.after(at, Happening::Trouble(trouble));
}

/// Runs until then, or until something went wrong.
fn run(world: &mut World, until: u64) {
    while world.now < START + until && world.exceeded.is_empty() {
        let next = (world.now + 1_000).min(START + until);
        world.run_until(next);
    }
}

/// No fault: what the others are held against. A newcomer comes here, too.
pub(crate) fn calm_room(seed: u64) -> Outcome {
    header_stallers(seed, &[])
}

/// Fault 2: a peer offers branches of so many headers and holds back their bodies.
pub(crate) fn body_withholder(seed: u64, headers: usize) -> Outcome {
    let attack = Attack::BodyWithholder { headers };
    let (mut world, mut dice, honest) = attacked(seed, &[attack], 4, 250);
    record(&mut world, &mut dice, &honest, (1_000, 240_000), 500);
    run(&mut world, 240_000);
    finish_within(world, 10 * MINUTE)
}

/// Fault 3: several peers claim most work and give no headers, or give them slowly. A newcomer comes.
pub(crate) fn header_stallers(seed: u64, attacks: &[Attack]) -> Outcome {
    let (mut world, mut dice, honest) = attacked(seed, attacks, 4, 250);
    record(&mut world, &mut dice, &honest, (1_000, 100_000), 700);
    run(&mut world, 100_000);
    let newcomer = peer(&mut dice, 250);
    let newcomer = world.add(newcomer);
    world.after(1_000, Happening::Entry { at: newcomer });
    run(&mut world, 220_000);
    finish_within(world, 10 * MINUTE)
}

/// Fault 4: side blocks below the tip with readings that can never be mined. Long after, they must cost nothing.
pub(crate) fn side_junk(seed: u64, attack: Attack) -> Outcome {
    let (mut world, mut dice, honest) = attacked(seed, &[attack], 3, 3_000);
    record(&mut world, &mut dice, &honest, (1_000, 300_000), 1_000);
    run(&mut world, 20 * MINUTE);
    finish_within(world, 10 * MINUTE)
}

/// Fault 7: blocks of unknown parents, each from a peer that leaves before their verdicts.
pub(crate) fn orphan_verdicts(seed: u64) -> Outcome {
    let (mut world, mut dice, honest) = attacked(seed, &[Attack::OrphanVerdicts], 3, 250);
    record(&mut world, &mut dice, &honest, (1_000, 60_000), 2_000);
    run(&mut world, 60_000);
    finish_within(world, 10 * MINUTE)
}

/// Fault 9: readings of many keys that lack their first ones. A newcomer that does not mine records something.
pub(crate) fn newcomer_flood(seed: u64) -> Outcome {
    let (mut world, mut dice, honest) = attacked(seed, &[Attack::NewcomerFlood], 3, 250);
    record(&mut world, &mut dice, &honest, (1_000, 60_000), 2_000);
    run(&mut world, 60_000);
    let mut newcomer = peer(&mut dice, 0);
    newcomer.mines = false;
    let newcomer = world.add(newcomer);
    world.after(5_000, Happening::Entry { at: newcomer });
    run(&mut world, 70_000);
    finish_within(world, 12 * MINUTE)
}

/// Fault 10: a listing of a mempool that never ends.
pub(crate) fn endless_listing(seed: u64) -> Outcome {
    let (mut world, mut dice, honest) = attacked(seed, &[Attack::EndlessListing], 2, 250);
    record(&mut world, &mut dice, &honest, (1_000, 30_000), 2_000);
    run(&mut world, 40_000);
    finish_within(world, 10 * MINUTE)
}

/// Fault 1: authors leave for good, the one that keeps their readings starts with a wrong clock, later with the right one.
pub(crate) fn wrong_clock_start(seed: u64) -> Outcome {
    let (mut world, mut dice, honest) = attacked(seed, &[], 3, 250);
    for leaver in [1, 2] {
        world.node_mut(leaver).leaves = true;
    }
    record(&mut world, &mut dice, &honest, (1_000, 60_000), 1_000);
    record(&mut world, &mut dice, &[0], (60_000, 70_000), 1_000);
    run(&mut world, 190_000);
    for leaver in [1, 2] {
        world.trouble(Trouble::Leave(leaver));
    }
    let wrong = [-YEAR, -YEAR, YEAR, -600_000, -120_000, 600_000];
    let mut at = 1_000;
    for _ in 0..dice.between(1, 3) {
        let offset = dice.pick(&wrong).unwrap_or(-YEAR);
        later(&mut world, at, Trouble::Crash(0));
        later(&mut world, at + 500, Trouble::StartWithClock(0, offset));
        // A tab that is closed again soon loses what is in memory only.
        let open = dice.pick(&[2_500, 4_000, 60_000]).unwrap_or(4_000);
        at += 500 + dice.between(500, open);
    }
    later(&mut world, at, Trouble::Crash(0));
    later(&mut world, at + 500, Trouble::StartWithClock(0, 0));
    run(&mut world, 190_000 + at + 10_000);
    finish_within(world, 5 * MINUTE)
}

/// Fault 5: a computer with several slots whose tabs are opened and closed, with and without a network.
pub(crate) fn closed_slots(seed: u64) -> Outcome {
    let (mut world, mut dice, honest) = attacked(seed, &[], 3, 250);
    let slots = (0..dice.between(2, 3)).map(|_| peer(&mut dice, 250));
    let slots = slots.collect();
    let computer = world.add_computer(slots);
    record(&mut world, &mut dice, &honest, (1_000, 100_000), 3_000);
    let mut now = 2_000;
    let slots = world.computers[computer].slots.clone();
    for _ in 0..dice.between(3, 8) {
        run(&mut world, now);
        now += dice.between(2_000, 15_000);
        if dice.one_in(2)
            && let Some(opened) = world.open_tab(computer)
        {
            if dice.one_in(2) {
                world.isolate(opened);
            }
            for _ in 0..dice.between(1, 3) {
                world.after(dice.between(100, 1_500), Happening::Entry { at: opened });
            }
        } else if let Some(open) = dice.pick(&slots) {
            world.close_tab(open);
        }
    }
    run(&mut world, now);
    for slot in slots {
        world.close_tab(slot);
    }
    world.trouble(Trouble::Heal);
    later(&mut world, 2_000, Trouble::OpenTab(computer));
    run(&mut world, now + 5_000);
    finish_within(world, 10 * MINUTE)
}

/// Fault 6: an author leaves for good while its room is split. The other part's branch weighs more, and peers restart.
pub(crate) fn author_that_leaves(seed: u64) -> Outcome {
    let (mut world, mut dice, _) = attacked(seed, &[], 5, 150);
    world.node_mut(0).leaves = true;
    for strong in [3, 4] {
        world.trouble(Trouble::SetRate(strong, 600));
    }
    for lazy in [1, 2] {
        world.node_mut(lazy).mines = dice.one_in(2);
    }
    let part = |id: usize| if id < 3 { 1 } else { 2 };
    for id in 0..5 {
        world.parts[id] = part(id);
    }
    world.cut_across();
    record(&mut world, &mut dice, &[0], (2_000, 30_000), 3_000);
    record(&mut world, &mut dice, &[0, 1], (30_000, 60_000), 2_000);
    record(&mut world, &mut dice, &[3, 4], (1_000, 170_000), 700);
    run(&mut world, 175_000);
    world.trouble(Trouble::Leave(0));
    later(&mut world, 2_000, Trouble::Heal);
    // Both restart soon after they went over to the other part's branch.
    let mut restarts = vec![1, 2];
    for step in 875..1_200 {
        run(&mut world, step * 200);
        restarts.retain(|&id| {
            let switched = world.node(id).machine().status().index > 100;
            if switched {
                let down = dice.between(50, 2_500);
                later(&mut world, down, Trouble::Crash(id));
                later(
                    &mut world,
                    down + dice.between(500, 15_000),
                    Trouble::Restart(id),
                );
            }
            !switched
        });
    }
    finish_within(world, 10 * MINUTE)
}

/// Fault 8: a clock jumps while a peer is alone and mines, and is set right while it runs.
pub(crate) fn clock_set_back(seed: u64) -> Outcome {
    let (mut world, mut dice, honest) = attacked(seed, &[], 5, 250);
    // In a quiet room the branch of the one that is alone weighs most.
    let quiet = dice.one_in(2);
    let until = if quiet { 15_000 } else { 180_000 };
    record(&mut world, &mut dice, &honest, (1_000, until), 1_500);
    let jump = dice.pick(&[YEAR, YEAR, 600_000, -YEAR, -600_000]);
    let jump = jump.unwrap_or(YEAR);
    run(&mut world, 20_000);
    if quiet || dice.one_in(2) {
        world.isolate(4);
    }
    world.trouble(Trouble::SetClock(4, jump));
    record(&mut world, &mut dice, &[4], (1_000, 30_000), 1_000);
    run(&mut world, 20_000 + dice.between(20_000, 50_000));
    world.trouble(Trouble::SetClock(4, 0));
    world.trouble(Trouble::Heal);
    record(&mut world, &mut dice, &honest, (5_000, 20_000), 3_000);
    run(&mut world, 180_000);
    finish_within(world, 5 * MINUTE)
}

/// A peer without others sleeps while it mines, and goes on when it wakes.
pub(crate) fn sleeper_alone(seed: u64) -> Outcome {
    let (mut world, mut dice, peers) = attacked(seed, &[], 1, 60);
    record(&mut world, &mut dice, &peers, (0, 10_000), 1_000);
    later(&mut world, 5_000, Trouble::Sleep(peers[0]));
    later(&mut world, 65_000, Trouble::Wake(peers[0]));
    run(&mut world, 70_000);
    finish_within(world, 5 * MINUTE)
}

/// A disk is full for a while, then has room again.
pub(crate) fn full_disk(seed: u64) -> Outcome {
    let (mut world, mut dice, honest) = attacked(seed, &[], 4, 250);
    record(&mut world, &mut dice, &honest, (1_000, 120_000), 700);
    for _ in 0..dice.between(1, 3) {
        let (id, time) = (dice.below(4), dice.between(5_000, 90_000));
        later(&mut world, dice.below(100_000), Trouble::FillDisk(id, time));
    }
    run(&mut world, 120_000);
    finish_within(world, 10 * MINUTE)
}

/// A database is deleted while its peer runs; later the peer starts again.
pub(crate) fn deleted_database(seed: u64) -> Outcome {
    let (mut world, mut dice, honest) = attacked(seed, &[], 3, 250);
    record(&mut world, &mut dice, &honest, (1_000, 60_000), 1_000);
    let id = dice.below(3);
    let at = dice.between(20_000, 50_000);
    later(&mut world, at, Trouble::EmptyDisk(id));
    later(&mut world, at + 40_000, Trouble::Crash(id));
    later(&mut world, at + 45_000, Trouble::Restart(id));
    run(&mut world, 120_000);
    finish_within(world, 10 * MINUTE)
}
