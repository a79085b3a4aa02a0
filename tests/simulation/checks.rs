//! What must hold after every run.

use std::collections::{BTreeMap, BTreeSet};

use chain::{
    hash::BlockHash,
    key::Author,
    mempool::{MAX_ASIDE, MAX_READINGS},
    reading::Reading,
    tree::{MAX_SIDE_BLOCKS, MAX_SIDE_READINGS},
};
use sync::{
    Load,
    config::{
        BODY_RANGE, MAX_HEADER_SYNCS, MAX_HEADERS_AHEAD, MAX_HELD_BLOCKS, MAX_JOURNAL,
        MAX_OPEN_BODY_REQUESTS, MAX_OPEN_READS, MAX_OPEN_REQUESTS, MAX_PEERS, MAX_RESCUE_QUEUE,
        MAX_UNWRITTEN, RESCUE_CHUNK,
    },
    message::MAX_HEADERS,
};

use crate::{
    node::Life,
    world::{Id, World},
};

/// Whether the honest peers agree and wait for nothing.
pub(crate) fn is_settled(world: &World) -> bool {
    let mut tips = BTreeSet::new();
    for node in world.nodes.iter().filter(|node| node.is_honest()) {
        if node.life != Life::Awake {
            return false;
        }
        tips.insert(node.machine().status().tip);
        let own_waits = node.machine().pending().any(|reading| {
            world
                .nodes
                .iter()
                .any(|other| other.is_honest() && other.authors.contains(&reading.author))
        });
        if own_waits {
            return false;
        }
    }
    // A reading whose key proved to live elsewhere waits in no mempool until it is signed anew.
    tips.len() == 1
        && world
            .nodes
            .iter()
            .filter(|node| node.is_honest())
            .all(|node| check_chain(world, node.id).is_empty())
}

/// A bound of the machine that it exceeds, in words.
pub(crate) fn too_much(load: &Load) -> Option<String> {
    // Batches of headers may be on their way when the bound is reached.
    let headers = (1 + MAX_HEADER_SYNCS) * MAX_HEADERS_AHEAD + MAX_HEADER_SYNCS * MAX_HEADERS;
    // So may bodies, and what comes of them.
    let bodies = MAX_PEERS * MAX_OPEN_BODY_REQUESTS * BODY_RANGE;
    [
        ("peers", load.peers, MAX_PEERS),
        (
            "open requests",
            load.open_requests,
            load.peers * MAX_OPEN_REQUESTS,
        ),
        ("open reads", load.open_reads, MAX_OPEN_READS),
        ("held blocks", load.held_blocks, MAX_HELD_BLOCKS),
        ("header syncs", load.header_syncs, MAX_HEADER_SYNCS),
        ("headers without bodies", load.bodiless_blocks, headers),
        ("side blocks", load.side_blocks, MAX_SIDE_BLOCKS + headers),
        (
            "readings in side blocks",
            load.side_readings,
            MAX_SIDE_READINGS,
        ),
        ("waiting readings", load.mempool, MAX_READINGS),
        ("readings set aside", load.aside, MAX_ASIDE),
        ("unwritten changes", load.unwritten, MAX_UNWRITTEN + bodies),
        ("left blocks", load.rescue, MAX_RESCUE_QUEUE + RESCUE_CHUNK),
        ("journal entries", load.journal, MAX_JOURNAL),
    ]
    .into_iter()
    .find(|(_, found, limit)| found > limit)
    .map(|(what, found, limit)| format!("{found} {what}, at most {limit} allowed"))
}

/// All that is wrong with a run, in words.
pub(crate) fn faults(world: &World) -> Vec<String> {
    let mut faults = world.exceeded.clone();
    let honest: Vec<_> = world.nodes.iter().filter(|node| node.is_honest()).collect();
    for dropped in &world.dropped {
        let both_honest = [dropped.by, dropped.whom]
            .iter()
            .all(|id| world.node(*id).is_honest());
        if both_honest && dropped.banned {
            faults.push(format!(
                "honest {} was banned by {}: {}",
                dropped.whom, dropped.by, dropped.reason
            ));
        }
    }
    for (liar, to) in &world.lied {
        let dropped = world
            .dropped
            .iter()
            .any(|dropped| (dropped.by, dropped.whom, dropped.banned) == (*to, *liar, true));
        if world.node(*to).is_honest() && !dropped {
            faults.push(format!(
                "{liar} lied ({:?}) to {to} and was not banned",
                world.node(*liar).lie
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
        faults.push(format!("tips differ: {tips:?}"));
    }
    for node in &honest {
        faults.extend(check_chain(world, node.id));
    }
    faults
}

/// The readings of one peer's best branch, oldest first, from its disk.
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
            .disk
            .blocks
            .get(&hash)
            .filter(|_| !node.disk.garbled.contains(&hash))
            .ok_or(format!("{id} has not kept block {index}"))?;
        if block.header.hash() != hash
            || block.header.prev_hash != parent
            || block.header.index != index
        {
            return Err(format!("{id}'s block {index} does not fit"));
        }
        parent = hash;
        readings.extend_from_slice(&block.readings);
    }
    Ok(readings)
}

fn check_chain(world: &World, id: Id) -> Vec<String> {
    let readings = match chain_of(world, id) {
        Ok(readings) => readings,
        Err(fault) => return vec![fault],
    };
    let mut faults = Vec::new();
    let mut counts: BTreeMap<Author, u64> = BTreeMap::new();
    for reading in &readings {
        let next = counts.entry(reading.author).or_default();
        if reading.seq != *next {
            faults.push(format!(
                "{id}'s chain has {} {} twice or too early",
                reading.author, reading.seq
            ));
        }
        *next += 1;
    }
    let node = world.node(id);
    if node.key_replaced > 0 && !node.key_is_shared {
        faults.push(format!(
            "{id} took a fresh key though nobody else has its own"
        ));
    }
    // Every reading that this very peer accepted is there, once.
    for entry in node.disk.journal.values() {
        let times = readings
            .iter()
            .filter(|reading| node.authors.contains(&reading.author))
            .filter(|reading| (reading.time, reading.bpm) == (entry.time, entry.bpm.get()))
            .count();
        if times == 0 || (times > 1 && !node.key_is_shared) {
            faults.push(format!(
                "{id}'s reading of {} is in its chain {times} times",
                entry.time
            ));
        }
    }
    let room = world.room.id();
    let ids: BTreeSet<_> = readings.iter().map(|reading| reading.id(room)).collect();
    for (accepted, seq) in &node.accepted {
        if !node.key_is_shared && !ids.contains(accepted) {
            faults.push(format!(
                "{id}'s accepted reading {seq} {accepted} is not in its chain"
            ));
        }
    }
    faults
}
