//! The end of a run: all trouble ends but for standing attackers, the peers have time to agree, and all is checked.

use sync::config::MAX_CLOCK_OFFSET;

use crate::{
    attackers::Attack,
    checks,
    liars::Lie,
    node::Life,
    trouble::Trouble,
    world::{Id, World},
};

/// How long peers may take to agree once all trouble is over, ms: a clock 10 minutes slow in a room too small to correct
/// it holds its owner back by so much, several times over; and who has more liars about the time around it than others
/// waits for blocks stamped by clocks that those have moved.
const PATIENCE: u64 = MAX_CLOCK_OFFSET + 45 * 60 * 1_000;

/// The same while standing attackers are at work: no clock is far off then, ms.
const PATIENCE_UNDER_ATTACK: u64 = 30 * 60 * 1_000;

/// So long after the last change everything is on disk, ms.
const DISK_PATIENCE: u64 = 10_000;

/// Faults of a run that are shown.
const MAX_FAULTS_SHOWN: usize = 12;

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    #[expect(dead_code, reason = "shown when a run fails")]
    pub(crate) lies: Vec<Lie>,
    pub(crate) attacks: Vec<Attack>,
    pub(crate) liars_banned: usize,
    pub(crate) let_go: Vec<String>,
    pub(crate) faults: Vec<String>,
    pub(crate) blocks: u64,
    pub(crate) readings: usize,
    pub(crate) messages: u64,
    /// Ms from the end of all trouble to agreement.
    pub(crate) settled_after: u64,
}

/// Ends all trouble, waits for agreement, checks.
pub(crate) fn finish(mut world: World, end: u64) -> Outcome {
    while world.now < end && world.exceeded.is_empty() {
        let next = (world.now + 1_000).min(end);
        world.run_until(next);
    }
    let attacked = world.nodes.iter().any(|node| node.attack.is_some());
    let patience = if attacked {
        PATIENCE_UNDER_ATTACK
    } else {
        PATIENCE
    };
    finish_within(world, patience)
}

/// The same from now on, for so long. Standing attackers stay at work.
pub(crate) fn finish_within(mut world: World, patience: u64) -> Outcome {
    let end = world.now;
    world.trouble(Trouble::Heal);
    world.weather.loss = 0;
    world.weather.disk_failure = 0;
    for id in 0..world.nodes.len() as Id {
        world.node_mut(id).disk.full_until = 0;
        if world.is_closed_slot(id) {
            continue;
        }
        match world.node(id).life {
            Life::Off => world.trouble(Trouble::Restart(id)),
            Life::Asleep => world.trouble(Trouble::Wake(id)),
            Life::Awake => {}
        }
    }
    world.liars_rest = true;
    let mut waited = 0;
    // What must hold all the time and did not is enough to know.
    while waited < patience && world.exceeded.is_empty() {
        waited += if waited < 120_000 { 500 } else { 5_000 };
        world.run_until(end + waited);
        if checks::is_settled(&world) {
            // What was written last reaches the disk, what failed at the second try.
            world.run_until(end + waited + DISK_PATIENCE);
            if checks::is_settled(&world) {
                break;
            }
            waited += DISK_PATIENCE;
        }
    }
    for id in 0..world.nodes.len() as Id {
        if world.node(id).is_honest() {
            world.judge_mining(id);
        }
    }
    let settled = waited < patience;
    let mut faults = if world.exceeded.is_empty() {
        checks::faults(&world)
    } else {
        world.exceeded.clone()
    };
    // The first ones say enough.
    faults.truncate(MAX_FAULTS_SHOWN);
    if !settled {
        faults.push(format!("not settled after {waited} ms"));
    }
    let blocks = world
        .nodes
        .iter()
        .filter_map(|node| node.machine.as_ref())
        .map(|machine| machine.status().index)
        .max();
    Outcome {
        lies: world.nodes.iter().filter_map(|node| node.lie).collect(),
        attacks: world
            .nodes
            .iter()
            .filter_map(|node| Some(node.attack.as_ref()?.attack))
            .collect(),
        liars_banned: world.lied.len(),
        let_go: world
            .dropped
            .iter()
            .filter(|dropped| {
                !dropped.banned
                    && world.node(dropped.whom).is_honest()
                    && world.node(dropped.by).is_honest()
            })
            .map(|dropped| format!("{} by {}: {}", dropped.whom, dropped.by, dropped.reason))
            .collect(),
        faults,
        blocks: blocks.unwrap_or(0),
        readings: world.nodes.iter().map(|node| node.accepted.len()).sum(),
        messages: world.messages,
        settled_after: waited,
    }
}
