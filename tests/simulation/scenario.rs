//! Scenarios: which peers take part in a run, what they record and which faults occur. All of it follows from the seed.

use heartchain_test_support::{Rng, START};

use crate::{
    additional_faults,
    event::SimEvent,
    fault::Fault,
    id::Id,
    misbehaviour::Misbehaviour,
    node::Node,
    outcome::{Outcome, finish},
    room::{Kind, room},
    world::{Conditions, World},
};

/// A random run of 2 to 9 peers with faults of every kind.
pub(crate) fn random(seed: u64) -> Outcome {
    let mut rng = Rng::new(seed);
    let latency = [(1, 20), (20, 150), (5, 900)][usize::try_from(rng.below(3)).expect("small")];
    let conditions = Conditions {
        latency,
        loss: rng.pick(&[0, 0, 1, 5]).unwrap_or(0),
        duplication: rng.pick(&[0, 3, 20]).unwrap_or(0),
        disk_failure: rng.pick(&[0, 0, 0, 5]).unwrap_or(0),
        degree: usize::try_from(rng.between(2, 6)).expect("small"),
    };
    let peers = rng.between(2, 9);
    let kind = Kind::of_seed(seed);
    let mut world = World::new(&rng, kind.room(), conditions);
    let mut extra_rng = additional_faults::rng(seed);
    additional_faults::attackers(&mut world, &mut extra_rng);
    let first = world.nodes.len() as Id;
    for number in 0..peers {
        let mut node = Node::new(rng.bytes(), rng.between(60, 600));
        node.mines = number == 0 || !rng.one_in(8);
        node.has_key = kind.has_key(number);
        world.add(node);
    }
    if rng.one_in(2) {
        for _ in 0..rng.between(1, 1 + peers / 3) {
            let mut node = Node::new(rng.bytes(), rng.between(60, 600));
            node.misbehaviour = rng.pick(&Misbehaviour::ALL);
            let at = world.add(node);
            world.schedule_in(rng.below(20_000), SimEvent::MisbehaviourTurn { at });
        }
    }
    if rng.one_in(8) {
        // A copied browser profile: one key, two journals.
        let seed = world.node(first).key_seed;
        let mut twin = Node::new(seed, 200);
        twin.key_is_shared = true;
        world.node_mut(first).key_is_shared = true;
        world.add(twin);
    }
    let length = rng.between(20, 150) * 1_000;
    schedule_readings(&mut world, &mut rng, length);
    schedule_faults(&mut world, &mut rng, length);
    additional_faults::computers(&mut world, &mut extra_rng, length);
    additional_faults::faults(&mut world, &mut extra_rng, length);
    let length = additional_faults::departing_author(&mut world, &mut extra_rng, length);
    additional_faults::names(&mut world, &mut extra_rng, length);
    additional_faults::connections(&mut world, &mut extra_rng, length);
    finish(world, START + length)
}

fn schedule_readings(world: &mut World, rng: &mut Rng, length: u64) {
    for at in 0..world.nodes.len() as Id {
        if rng.one_in(5) {
            // As fast as the page's form allows.
            let from = rng.below(length);
            for number in 0..rng.between(1, 40) {
                world.schedule_in(from + number * 60, SimEvent::RecordReading { at });
            }
        }
        for _ in 0..rng.between(0, 12) {
            world.schedule_in(rng.below(length), SimEvent::RecordReading { at });
        }
    }
    if rng.one_in(3) {
        // All peers record at the same moment.
        let moment = rng.below(length);
        for at in 0..world.nodes.len() as Id {
            world.schedule_in(moment, SimEvent::RecordReading { at });
        }
    }
}

fn schedule_faults(world: &mut World, rng: &mut Rng, length: u64) {
    let peers = world.nodes.len() as u64;
    for _ in 0..rng.below(4) {
        let from = rng.below(length);
        world.schedule_in(from, SimEvent::Fault(Fault::Partition(rng.between(2, 3))));
        world.schedule_in(
            from + rng.between(1_000, 60_000),
            SimEvent::Fault(Fault::HealPartition),
        );
    }
    for _ in 0..rng.below(6) {
        world.schedule_in(rng.below(length), SimEvent::Fault(Fault::CutLink));
    }
    if rng.one_in(2) {
        for _ in 0..rng.below(4) {
            let (peer, from) = (rng.below(peers), rng.below(length));
            world.schedule_in(from, SimEvent::Fault(Fault::Crash(peer)));
            world.schedule_in(
                from + rng.between(500, 40_000),
                SimEvent::Fault(Fault::Restart(peer)),
            );
        }
    }
    if rng.one_in(3) {
        let (peer, from) = (rng.below(peers), rng.below(length));
        let hours = rng.between(1, 3) * 3_600_000;
        world.schedule_in(from, SimEvent::Fault(Fault::Sleep(peer)));
        world.schedule_in(
            from + if rng.one_in(2) { hours } else { 30_000 },
            SimEvent::Fault(Fault::Wake(peer)),
        );
    }
    if rng.one_in(3) {
        for peer in 0..peers {
            let off = i64::try_from(rng.below(120_000)).expect("small") - 60_000;
            world.inject(Fault::SetClock(peer, off));
        }
    }
    // Peers with clocks this far off wait for a long time. Persistent attackers would make such a run too slow.
    if rng.one_in(6) && !world.nodes.iter().any(|node| node.attack.is_some()) {
        for _ in 0..peers.div_ceil(5) {
            let off = rng.pick(&[-600_000, 600_000]).unwrap_or(0);
            world.inject(Fault::SetClock(rng.below(peers), off));
        }
    }
}

/// A strong miner works in isolation for a while. When its branch is released, all other peers switch to it.
pub(crate) fn released_branch(seed: u64) -> Outcome {
    let (mut world, mut rng) = reliable_world(seed, 6, 250);
    let length = 120_000;
    world.inject(Fault::SetHashRate(5, 4_000));
    world.isolate(5);
    for at in 0..6 {
        for _ in 0..30 {
            world.schedule_in(rng.below(length), SimEvent::RecordReading { at });
        }
    }
    finish(world, START + length)
}

/// A room of 500 peers mines for three minutes, then all but one leave. Returns the outcome and how long the remaining
/// peer waited for each of its blocks, ms.
pub(crate) fn hash_rate_drop(seed: u64) -> (Outcome, Vec<u64>) {
    let (mut world, mut rng) = reliable_world(seed, 2, 256);
    let (together, alone) = (180_000, 300_000);
    // One peer with the hash rate of 499 stands for all that leave: the chain cannot tell the difference.
    world.inject(Fault::SetHashRate(1, 256 * 499));
    for moment in 0..together / 250 {
        let at = rng.below(2);
        world.schedule_in(moment * 250, SimEvent::RecordReading { at });
    }
    world.schedule_in(together, SimEvent::Fault(Fault::Sleep(1)));
    for moment in 0..alone / 500 {
        world.schedule_in(together + moment * 500, SimEvent::RecordReading { at: 0 });
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

/// Ten peers that always have readings to mine. Their clocks are spread over `spread` ms, and the last one is `fast` ms
/// fast. Returns the outcome and the mean time between blocks, ms.
pub(crate) fn block_interval(seed: u64, spread: u64, fast: i64) -> (Outcome, u64) {
    let (mut world, mut rng) = reliable_world(seed, 10, 256);
    for id in 0..9 {
        let off = i64::try_from(rng.below(spread + 1)).expect("small");
        world.inject(Fault::SetClock(id, off));
    }
    world.inject(Fault::SetClock(9, fast));
    let (warm_up, length) = (120_000, 420_000);
    for moment in 0..length / 100 {
        let at = rng.below(10);
        world.schedule_in(moment * 100, SimEvent::RecordReading { at });
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

/// Seven honest peers that always have readings to mine, and three that give all their blocks a timestamp as far in the
/// future as the rules allow. Returns the outcome, the mean time between blocks in ms, and the percentage of blocks
/// with a future timestamp.
pub(crate) fn stamped_ahead(seed: u64) -> (Outcome, u64, u64) {
    let (mut world, mut rng) = reliable_world(seed, 7, 256);
    for _ in 0..3 {
        let mut node = Node::new(rng.bytes(), 256);
        node.misbehaviour = Some(Misbehaviour::StampsAhead);
        node.mines = false;
        let at = world.add(node);
        world.schedule_in(0, SimEvent::MisbehaviourTurn { at });
    }
    let (warm_up, length) = (120_000, 420_000);
    for moment in 0..length / 100 {
        let at = rng.below(7);
        world.schedule_in(moment * 100, SimEvent::RecordReading { at });
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

/// One peer floods the room with readings of thousands of fresh keys, more than the mempool has room for.
pub(crate) fn spam(seed: u64) -> Outcome {
    let (mut world, mut rng) = reliable_world(seed, 6, 250);
    let mut node = Node::new(rng.bytes(), 0);
    node.misbehaviour = Some(Misbehaviour::Flood);
    node.flood = 400;
    let at = world.add(node);
    let length = 60_000;
    world.schedule_in(1_000, SimEvent::MisbehaviourTurn { at });
    for at in 0..6 {
        for _ in 0..20 {
            world.schedule_in(rng.below(length), SimEvent::RecordReading { at });
        }
    }
    finish(world, START + length)
}

/// A large network in which every peer records one reading.
pub(crate) fn large_network(seed: u64, peers: u64) -> Outcome {
    let (mut world, mut rng) = reliable_world(seed, peers, 60);
    for at in 0..peers {
        world.schedule_in(5_000 + rng.below(60_000), SimEvent::RecordReading { at });
    }
    for _ in 0..10 {
        let (peer, from) = (rng.below(peers), rng.below(60_000));
        world.schedule_in(from, SimEvent::Fault(Fault::Crash(peer)));
        world.schedule_in(from + 20_000, SimEvent::Fault(Fault::Restart(peer)));
    }
    world.schedule_in(20_000, SimEvent::Fault(Fault::Partition(2)));
    world.schedule_in(50_000, SimEvent::Fault(Fault::HealPartition));
    finish(world, START + 90_000)
}

/// A world with a reliable network and reliable disks.
fn reliable_world(seed: u64, peers: u64, rate: u64) -> (World, Rng) {
    let mut rng = Rng::new(seed);
    let conditions = Conditions {
        latency: (20, 100),
        loss: 0,
        duplication: 0,
        disk_failure: 0,
        degree: 6,
    };
    let mut world = World::new(&rng, room(8, 1_000), conditions);
    for _ in 0..peers {
        world.add(Node::new(rng.bytes(), rate));
    }
    (world, rng)
}
