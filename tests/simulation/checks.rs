//! Checks at the end of a run: the honest peers have converged, no reading is lost, and provable misbehaviour led to a ban.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use heartchain_chain::{hash::BlockHash, key::Author, reading::Reading};
use heartchain_sync::io::JournalEntry;

use crate::{
    id::Id,
    names,
    node::{Node, RunState},
    world::World,
};

/// Whether all honest peers have the same tip, and no reading of theirs waits for a block.
pub(crate) fn has_converged(world: &World) -> bool {
    let mut tips = BTreeSet::new();
    for node in present(world) {
        if node.run_state != RunState::Awake {
            return false;
        }
        tips.insert(node.machine().status().tip);
    }
    // The chain is checked too: a reading whose key turned out to be in use elsewhere is in no mempool until it is
    // signed again.
    tips.len() == 1
        && present(world).all(|node| check_chain(world, node.id).is_empty())
        && !readings_wait(world)
        && names_disagree(world).is_empty()
}

/// What the honest peers that run do not agree on in the names of authors.
fn names_disagree(world: &World) -> Vec<String> {
    let running: Vec<&Node> = present(world)
        .filter(|node| node.machine.is_some())
        .collect();
    let flooding = names::flooding_authors(world);
    names::disagreements(&world.room, world.now, &running, &flooding)
}

/// Whether readings of honest peers wait for a block. Readings of peers that have left do not count: they may wait
/// forever behind a reading that no other peer received. `ReadingTracker` covers their confirmed readings.
fn readings_wait(world: &World) -> bool {
    let honest = world
        .nodes
        .iter()
        .filter(|node| node.is_honest() && !node.gone);
    let authors: HashSet<Author> = honest.flat_map(|node| node.authors.clone()).collect();
    present(world).any(|node| {
        let mut pending = node.machine().pending();
        pending.any(|reading| authors.contains(&reading.author))
    })
}

/// The honest peers that should be running: all except those that have left and closed slots of a computer that has an
/// open one.
fn present(world: &World) -> impl Iterator<Item = &Node> {
    let nodes = world.nodes.iter().filter(|node| node.is_honest());
    nodes.filter(|node| !node.gone && !world.is_closed_slot(node.id))
}

/// All violations of a run, as text.
pub(crate) fn violations(world: &World) -> Vec<String> {
    let mut violations = world.violations.clone();
    let honest: Vec<_> = present(world).collect();
    for dropped in &world.disconnections {
        let both_honest = [dropped.by, dropped.peer]
            .iter()
            .all(|id| world.node(*id).is_honest());
        if both_honest && dropped.banned {
            violations.push(format!(
                "honest peer {} was banned by {}: {}",
                dropped.peer, dropped.by, dropped.reason
            ));
        }
    }
    for (sender, to) in &world.proven {
        let dropped = world
            .disconnections
            .iter()
            .any(|dropped| (dropped.by, dropped.peer, dropped.banned) == (*to, *sender, true));
        if world.node(*to).is_honest() && !dropped {
            violations.push(format!(
                "{sender} provably misbehaved ({:?}) towards {to} and was not banned",
                world.node(*sender).misbehaviour
            ));
        }
    }
    let mut tips: BTreeMap<BlockHash, Vec<Id>> = BTreeMap::new();
    for node in &honest {
        if let Some(machine) = &node.machine {
            tips.entry(machine.status().tip).or_default().push(node.id);
        }
    }
    if tips.len() != 1 {
        violations.push(format!("tips differ: {tips:?}"));
    }
    for node in &honest {
        violations.extend(check_chain(world, node.id));
    }
    violations.extend(names_disagree(world));
    violations
}

/// The readings of a peer's best branch, oldest first, read from its disk.
fn chain_of(world: &World, id: Id) -> Result<Vec<Reading>, String> {
    let node = world.node(id);
    let Some(machine) = &node.machine else {
        return Err(format!("{id} does not run"));
    };
    let mut readings = Vec::new();
    let mut parent = world.room.genesis_hash();
    for index in 1..=machine.status().index {
        let hash = machine
            .best_hash(index)
            .ok_or(format!("{id} has no block {index}"))?;
        let block = node
            .state
            .disk
            .block(&hash)
            .ok_or(format!("{id} does not have block {index} on disk"))?;
        if block.header.hash() != hash
            || block.header.prev_hash != parent
            || block.header.index != index
        {
            return Err(format!("{id}'s block {index} does not extend its parent"));
        }
        parent = hash;
        readings.extend_from_slice(&block.readings);
    }
    Ok(readings)
}

fn check_chain(world: &World, id: Id) -> Vec<String> {
    let readings = match chain_of(world, id) {
        Ok(readings) => readings,
        Err(violation) => return vec![violation],
    };
    let mut violations = Vec::new();
    let mut counts: BTreeMap<Author, u64> = BTreeMap::new();
    for reading in &readings {
        let next = counts.entry(reading.author).or_default();
        if reading.seq != *next {
            violations.push(format!(
                "{id}'s chain has reading {} {} twice or out of order",
                reading.author, reading.seq
            ));
        }
        *next += 1;
    }
    let (node, room) = (world.node(id), &world.room);
    if node.key_replaced > 0 && !node.key_is_shared {
        violations.push(format!(
            "{id} replaced its key although no other peer uses it"
        ));
    }
    // Every reading in the peer's own journal is in the chain exactly once.
    for entry in node.state.disk.journal.values() {
        let times = readings
            .iter()
            .filter(|reading| node.authors.contains(&reading.author))
            .filter(|reading| {
                let opened = room.open(reading);
                opened.is_ok_and(|opened| (opened.time, opened.bpm) == (entry.time, entry.bpm))
            })
            .count();
        // Two journal entries may have the same time and heart rate.
        let entries = node.state.disk.journal.values();
        let content = |entry: &JournalEntry| (entry.time, entry.bpm, entry.replaces);
        let equal = entries
            .filter(|other| content(other) == content(entry))
            .count();
        if times == 0 || (times > equal && !node.key_is_shared) {
            violations.push(format!(
                "{id}'s reading of {} is in its chain {times} times",
                entry.time
            ));
        }
    }
    let room = room.id();
    let ids: BTreeSet<_> = readings.iter().map(|reading| reading.id(room)).collect();
    for (accepted, seq) in &node.accepted {
        if !node.key_is_shared && !ids.contains(accepted) {
            violations.push(format!(
                "{id}'s accepted reading {seq} {accepted} is not in its chain"
            ));
        }
    }
    let closed = world.nodes.iter();
    for closed in closed.filter(|node| world.is_closed_slot(node.id)) {
        for (accepted, seq) in &closed.accepted {
            if !ids.contains(accepted) {
                let slot = closed.id;
                violations.push(format!(
                    "closed slot {slot}'s accepted reading {seq} {accepted} is not in {id}'s chain"
                ));
            }
        }
    }
    for (author, promised) in &world.tracker.promised {
        if world.node(*author).gone && !ids.contains(promised) {
            violations.push(format!(
                "{author} is gone, and its confirmed reading {promised} is not in {id}'s chain"
            ));
        }
    }
    violations
}
