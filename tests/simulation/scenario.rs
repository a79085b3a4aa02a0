//! What happens in a run: who takes part, what they enter, what goes wrong. All of it follows from the seed.

use chain::room::{Room, RoomName, RoomParams};

use crate::{
    dice::Dice,
    liars::Lie,
    mixed,
    node::Node,
    outcome::{Outcome, finish},
    trouble::Trouble,
    world::{Happening, Id, START, Weather, World},
};

pub(crate) fn room(floor_bits: u8, interval: u64) -> Room {
    let name = RoomName::new("simulation").expect("a room name");
    Room::new(RoomParams::new(name, floor_bits, interval).expect("within bounds"))
}

/// A run of a class of 2 to 9 peers with trouble of every kind.
pub(crate) fn class(seed: u64) -> Outcome {
    let mut dice = Dice::new(seed);
    let latency = [(1, 20), (20, 150), (5, 900)][usize::try_from(dice.below(3)).expect("small")];
    let weather = Weather {
        latency,
        loss: dice.pick(&[0, 0, 1, 5]).unwrap_or(0),
        duplication: dice.pick(&[0, 3, 20]).unwrap_or(0),
        disk_failure: dice.pick(&[0, 0, 0, 5]).unwrap_or(0),
        degree: usize::try_from(dice.between(2, 6)).expect("small"),
    };
    let peers = dice.between(2, 9);
    let mut world = World::new(&dice, room(8, 1_000), weather);
    let mut more = mixed::dice(seed);
    mixed::attackers(&mut world, &mut more);
    let first = world.nodes.len() as Id;
    for number in 0..peers {
        let mut node = Node::new(dice.bytes(), dice.between(60, 600));
        node.mines = number == 0 || !dice.one_in(8);
        world.add(node);
    }
    if dice.one_in(2) {
        for _ in 0..dice.between(1, 1 + peers / 3) {
            let mut node = Node::new(dice.bytes(), dice.between(60, 600));
            node.lie = dice.pick(&Lie::ALL);
            let at = world.add(node);
            world.after(dice.below(20_000), Happening::LiarTurn { at });
        }
    }
    if dice.one_in(8) {
        // A copied profile: one key, two journals.
        let seed = world.node(first).key_seed;
        let mut twin = Node::new(seed, 200);
        twin.key_is_shared = true;
        world.node_mut(first).key_is_shared = true;
        world.add(twin);
    }
    let length = dice.between(20, 150) * 1_000;
    enter_readings(&mut world, &mut dice, length);
    make_trouble(&mut world, &mut dice, length);
    mixed::computers(&mut world, &mut more, length);
    mixed::trouble(&mut world, &mut more, length);
    let length = mixed::leavers(&mut world, &mut more, length);
    finish(world, START + length)
}

fn enter_readings(world: &mut World, dice: &mut Dice, length: u64) {
    for at in 0..world.nodes.len() as Id {
        if dice.one_in(5) {
            // As fast as a form allows.
            let from = dice.below(length);
            for number in 0..dice.between(1, 40) {
                world.after(from + number * 60, Happening::Entry { at });
            }
        }
        for _ in 0..dice.between(0, 12) {
            world.after(dice.below(length), Happening::Entry { at });
        }
    }
    if dice.one_in(3) {
        // All at the same moment.
        let moment = dice.below(length);
        for at in 0..world.nodes.len() as Id {
            world.after(moment, Happening::Entry { at });
        }
    }
}

fn make_trouble(world: &mut World, dice: &mut Dice, length: u64) {
    let peers = world.nodes.len() as u64;
    for _ in 0..dice.below(4) {
        let from = dice.below(length);
        world.after(from, Happening::Trouble(Trouble::Split(dice.between(2, 3))));
        world.after(
            from + dice.between(1_000, 60_000),
            Happening::Trouble(Trouble::Heal),
        );
    }
    for _ in 0..dice.below(6) {
        world.after(dice.below(length), Happening::Trouble(Trouble::Break));
    }
    if dice.one_in(2) {
        for _ in 0..dice.below(4) {
            let (peer, from) = (dice.below(peers), dice.below(length));
            world.after(from, Happening::Trouble(Trouble::Crash(peer)));
            world.after(
                from + dice.between(500, 40_000),
                Happening::Trouble(Trouble::Restart(peer)),
            );
        }
    }
    if dice.one_in(3) {
        let (peer, from) = (dice.below(peers), dice.below(length));
        let hours = dice.between(1, 3) * 3_600_000;
        world.after(from, Happening::Trouble(Trouble::Sleep(peer)));
        world.after(
            from + if dice.one_in(2) { hours } else { 30_000 },
            Happening::Trouble(Trouble::Wake(peer)),
        );
    }
    if dice.one_in(3) {
        for peer in 0..peers {
            let off = i64::try_from(dice.below(120_000)).expect("small") - 60_000;
            world.trouble(Trouble::SetClock(peer, off));
        }
    }
    // A peer with such a clock waits long. Standing attackers would make the run too slow.
    if dice.one_in(6) && !world.nodes.iter().any(|node| node.attack.is_some()) {
        for _ in 0..peers.div_ceil(5) {
            let off = dice.pick(&[-600_000, 600_000]).unwrap_or(0);
            world.trouble(Trouble::SetClock(dice.below(peers), off));
        }
    }
}

/// A strong miner alone for a while, its branch released at once: everybody goes over to it.
pub(crate) fn released_branch(seed: u64) -> Outcome {
    let (mut world, mut dice) = calm(seed, 6, 250);
    let length = 120_000;
    world.trouble(Trouble::SetRate(5, 4_000));
    world.isolate(5);
    for at in 0..6 {
        for _ in 0..30 {
            world.after(dice.below(length), Happening::Entry { at });
        }
    }
    finish(world, START + length)
}

/// A hall of 500 works for three minutes, then leaves one behind, who goes on alone. Returns the run and how long the
/// one waited for each of its blocks, ms.
pub(crate) fn hall_leaves(seed: u64) -> (Outcome, Vec<u64>) {
    let (mut world, mut dice) = calm(seed, 2, 256);
    let (together, alone) = (180_000, 300_000);
    // 499 of them in one: the chain cannot tell.
    world.trouble(Trouble::SetRate(1, 256 * 499));
    for moment in 0..together / 250 {
        let at = dice.below(2);
        world.after(moment * 250, Happening::Entry { at });
    }
    world.after(together, Happening::Trouble(Trouble::Sleep(1)));
    for moment in 0..alone / 500 {
        world.after(together + moment * 500, Happening::Entry { at: 0 });
    }
    let mut seen = world.node(0).machine().status().index;
    let mut since = START + together;
    let mut waits = Vec::new();
    world.run_until(since);
    while world.now < START + together + alone {
        let next = world.now + 100;
        world.run_until(next);
        let index = world.node(0).machine().status().index;
        if index != seen {
            if next > START + together + 2_000 {
                waits.push(next - since);
            }
            (seen, since) = (index, next);
        }
    }
    let end = world.now;
    (finish(world, end), waits)
}

/// Ten peers that always have something to record, with clocks spread over so many ms, the last so many ms fast.
/// Returns the run and the mean time between blocks, ms.
pub(crate) fn pace(seed: u64, spread: u64, fast: i64) -> (Outcome, u64) {
    let (mut world, mut dice) = calm(seed, 10, 256);
    for id in 0..9 {
        let off = i64::try_from(dice.below(spread + 1)).expect("small");
        world.trouble(Trouble::SetClock(id, off));
    }
    world.trouble(Trouble::SetClock(9, fast));
    let (warm_up, length) = (120_000, 420_000);
    for moment in 0..length / 100 {
        let at = dice.below(10);
        world.after(moment * 100, Happening::Entry { at });
    }
    world.run_until(START + warm_up);
    let before = world.node(0).machine().status().index;
    world.run_until(START + length);
    let after = world.node(0).machine().status().index;
    (
        finish(world, START + length),
        (length - warm_up) / (after - before).max(1),
    )
}

/// Seven honest peers that always have something to record, and three that stamp every block of theirs as far ahead of
/// the clock as the rules allow. Returns the run, the mean time between blocks, ms, and how many of a hundred blocks were
/// stamped ahead.
pub(crate) fn stamped_ahead(seed: u64) -> (Outcome, u64, u64) {
    let (mut world, mut dice) = calm(seed, 7, 256);
    for _ in 0..3 {
        let mut node = Node::new(dice.bytes(), 256);
        node.lie = Some(Lie::StampsAhead);
        node.mines = false;
        let at = world.add(node);
        world.after(0, Happening::LiarTurn { at });
    }
    let (warm_up, length) = (120_000, 420_000);
    for moment in 0..length / 100 {
        let at = dice.below(7);
        world.after(moment * 100, Happening::Entry { at });
    }
    world.run_until(START + warm_up);
    let before = world.node(0).machine().status().index;
    let (mut seen, mut ahead) = (before, 0);
    while world.now < START + length {
        let next = world.now + 100;
        world.run_until(next);
        let machine = world.node(0).machine();
        let index = machine.status().index;
        for height in seen + 1..=index {
            let header = machine
                .best_hash(height)
                .and_then(|hash| machine.header(&hash));
            ahead += u64::from(header.is_some_and(|header| header.time.get() > next + 20_000));
        }
        seen = seen.max(index);
    }
    let blocks = (seen - before).max(1);
    let end = world.now;
    (
        finish(world, end),
        (length - warm_up) / blocks,
        100 * ahead / blocks,
    )
}

/// A class in which one floods the room with readings of thousands of fresh keys: more than there are places for.
pub(crate) fn spam(seed: u64) -> Outcome {
    let (mut world, mut dice) = calm(seed, 6, 250);
    let mut node = Node::new(dice.bytes(), 0);
    node.lie = Some(Lie::Flood);
    node.flood = 400;
    let at = world.add(node);
    let length = 60_000;
    world.after(1_000, Happening::LiarTurn { at });
    for at in 0..6 {
        for _ in 0..20 {
            world.after(dice.below(length), Happening::Entry { at });
        }
    }
    finish(world, START + length)
}

/// Very many peers, each with a reading.
pub(crate) fn crowd(seed: u64, peers: u64) -> Outcome {
    let (mut world, mut dice) = calm(seed, peers, 60);
    for at in 0..peers {
        world.after(5_000 + dice.below(60_000), Happening::Entry { at });
    }
    for _ in 0..10 {
        let (peer, from) = (dice.below(peers), dice.below(60_000));
        world.after(from, Happening::Trouble(Trouble::Crash(peer)));
        world.after(from + 20_000, Happening::Trouble(Trouble::Restart(peer)));
    }
    world.after(20_000, Happening::Trouble(Trouble::Split(2)));
    world.after(50_000, Happening::Trouble(Trouble::Heal));
    finish(world, START + 90_000)
}

/// A world without trouble.
fn calm(seed: u64, peers: u64, rate: u64) -> (World, Dice) {
    let mut dice = Dice::new(seed);
    let weather = Weather {
        latency: (20, 100),
        loss: 0,
        duplication: 0,
        disk_failure: 0,
        degree: 6,
    };
    let mut world = World::new(&dice, room(8, 1_000), weather);
    for _ in 0..peers {
        world.add(Node::new(dice.bytes(), rate));
    }
    (world, dice)
}
