//! The end of a run: all faults end except persistent attackers, the peers get time to converge, and everything is
//! checked.

use heartchain_sync::config::MAX_CLOCK_OFFSET;

use crate::{
    attack::Attack, checks, fault::Fault, id::Id, misbehaviour::Misbehaviour, node::RunState,
    world::World,
};

/// How long peers may take to converge once all faults have ended, ms.
///
/// A clock that is 10 minutes slow in a room too small to correct it delays its owner by that much, several times. A
/// peer whose neighbours mostly lie about the time also waits for blocks with timestamps from clocks that the liars
/// have moved.
const PATIENCE: u64 = MAX_CLOCK_OFFSET + 45 * 60 * 1_000;

/// The same limit for runs with persistent attackers, ms. It is shorter because no clock is far off in those runs.
const PATIENCE_UNDER_ATTACK: u64 = 30 * 60 * 1_000;

/// How long after the last change everything is on disk, ms.
const DISK_PATIENCE: u64 = 10_000;

/// How many violations of a run are printed.
const MAX_VIOLATIONS_SHOWN: usize = 12;

/// The result of a run: it has failed if there are any `violations`.
#[derive(Debug)]
pub(crate) struct Outcome {
    #[expect(dead_code, reason = "shown when a run fails")]
    pub(crate) misbehaviours: Vec<Misbehaviour>,
    pub(crate) attacks: Vec<Attack>,
    pub(crate) misbehaviour_bans: usize,
    pub(crate) honest_disconnects: Vec<String>,
    pub(crate) violations: Vec<String>,
    pub(crate) blocks: u64,
    pub(crate) readings: usize,
    pub(crate) messages: u64,
    /// Time from the end of all faults until the peers converged, ms.
    pub(crate) converged_after: u64,
}

/// Runs until `end`, ends all faults, waits until the peers converge, and checks the result.
pub(crate) fn finish(mut world: World, end: u64) -> Outcome {
    while world.now < end && world.violations.is_empty() {
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

/// Ends all faults now, waits up to `patience` ms until the peers converge, and checks the result. Persistent attackers
/// continue.
pub(crate) fn finish_within(mut world: World, patience: u64) -> Outcome {
    let end = world.now;
    world.inject(Fault::HealPartition);
    world.conditions.loss = 0;
    world.conditions.disk_failure = 0;
    for id in 0..world.nodes.len() as Id {
        world.node_mut(id).faults.full_until = 0;
        if world.is_closed_slot(id) {
            continue;
        }
        match world.node(id).run_state {
            RunState::Off => world.inject(Fault::Restart(id)),
            RunState::Asleep => world.inject(Fault::Wake(id)),
            RunState::Awake => {}
        }
    }
    world.misbehaviour_stopped = true;
    let mut waited = 0;
    // A violated invariant ends the run early.
    while waited < patience && world.violations.is_empty() {
        waited += if waited < 120_000 { 500 } else { 5_000 };
        world.run_until(end + waited);
        if checks::has_converged(&world) {
            // Give the last writes, and retries of failed ones, time to reach the disk.
            world.run_until(end + waited + DISK_PATIENCE);
            if checks::has_converged(&world) {
                break;
            }
            waited += DISK_PATIENCE;
        }
    }
    for id in 0..world.nodes.len() as Id {
        if world.node(id).is_honest() {
            world.check_mining_share(id);
        }
    }
    let converged = waited < patience;
    let mut violations = if world.violations.is_empty() {
        checks::violations(&world)
    } else {
        world.violations.clone()
    };
    // The first few violations are enough to diagnose a run.
    violations.truncate(MAX_VIOLATIONS_SHOWN);
    if !converged {
        violations.push(format!("not converged after {waited} ms"));
    }
    let blocks = world
        .nodes
        .iter()
        .filter_map(|node| node.machine.as_ref())
        .map(|machine| machine.status().index)
        .max();
    Outcome {
        misbehaviours: world
            .nodes
            .iter()
            .filter_map(|node| node.misbehaviour)
            .collect(),
        attacks: world
            .nodes
            .iter()
            .filter_map(|node| Some(node.attack.as_ref()?.attack))
            .collect(),
        misbehaviour_bans: world.proven.len(),
        honest_disconnects: world
            .disconnections
            .iter()
            .filter(|dropped| {
                !dropped.banned
                    && world.node(dropped.peer).is_honest()
                    && world.node(dropped.by).is_honest()
            })
            .map(|dropped| format!("{} by {}: {}", dropped.peer, dropped.by, dropped.reason))
            .collect(),
        violations,
        blocks: blocks.unwrap_or(0),
        readings: world.nodes.iter().map(|node| node.accepted.len()).sum(),
        messages: world.messages,
        converged_after: waited,
    }
}
