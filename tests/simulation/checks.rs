//! What must hold after every run.

use std::collections::{BTreeMap, BTreeSet, HashSet};

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
        BODY_RANGE, MAX_ADOPTED, MAX_HEADERS_HELD, MAX_HELD_BLOCKS, MAX_JOURNAL,
        MAX_OPEN_BODY_REQUESTS, MAX_OPEN_READS, MAX_OPEN_REQUESTS, MAX_PEERS, MAX_RECOVERY_QUEUE,
        MAX_UNWRITTEN,
    },
};

use crate::{
    node::{Life, Node},
    world::{Id, World},
};

/// Whether the honest peers agree and wait for nothing.
pub(crate) fn is_settled(world: &World) -> bool {
    let mut tips = BTreeSet::new();
    for node in present(world) {
        if node.life != Life::Awake {
            return false;
        }
        tips.insert(node.machine().status().tip);
    }
    // A reading whose key proved to live elsewhere waits in no mempool until it is signed again.
    tips.len() == 1
        && present(world).all(|node| check_chain(world, node.id).is_empty())
        && !readings_wait(world)
}

/// Whether readings of honest peers wait for a block. What one that is gone recorded may wait behind a reading that no other
/// peer got; what others confirmed of it is looked for elsewhere.
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

/// The honest peers that run, or should: those that are not gone, nor closed slots of a computer that has an open one.
fn present(world: &World) -> impl Iterator<Item = &Node> {
    let nodes = world.nodes.iter().filter(|node| node.is_honest());
    nodes.filter(|node| !node.gone && !world.is_closed_slot(node.id))
}

/// A bound of the machine that it exceeds, in words.
pub(crate) fn too_much(load: &Load) -> Option<String> {
    let headers = MAX_HEADERS_HELD;
    // Bodies may be on their way when the bound is reached, and what comes of them.
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
        ("header syncs", load.header_syncs, load.peers),
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
        ("left blocks", load.recovery, MAX_RECOVERY_QUEUE),
        ("adopted readings", load.adopted, MAX_ADOPTED),
        ("journal entries", load.journal, MAX_JOURNAL),
    ]
    .into_iter()
    .find(|(_, found, limit)| found > limit)
    .map(|(what, found, limit)| format!("{found} {what}, at most {limit} allowed"))
}

/// All that is wrong with a run, in words.
pub(crate) fn faults(world: &World) -> Vec<String> {
    let mut faults = world.exceeded.clone();
    let honest: Vec<_> = present(world).collect();
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
        // Two entries may be equal in all they say.
        let entries = node.disk.journal.values();
        let equal = entries.filter(|other| *other == entry).count();
        if times == 0 || (times > equal && !node.key_is_shared) {
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
    let closed = world.nodes.iter();
    for closed in closed.filter(|node| world.is_closed_slot(node.id)) {
        for (accepted, seq) in &closed.accepted {
            if !ids.contains(accepted) {
                let slot = closed.id;
                faults.push(format!(
                    "closed slot {slot}'s accepted reading {seq} {accepted} is not in {id}'s chain"
                ));
            }
        }
    }
    for (author, promised) in &world.ledger.promised {
        if world.node(*author).gone && !ids.contains(promised) {
            faults.push(format!(
                "{author} is gone, and its confirmed reading {promised} is not in {id}'s chain"
            ));
        }
    }
    faults
}
