//! Invariants that must hold throughout a run. Cheap ones are checked every second, expensive ones every five seconds.

use std::{collections::BTreeSet, time::Duration};

use heartchain_chain::hash::BlockHash;
use heartchain_test_support::START;

use crate::{
    event::SimEvent, fault::REWRITE_PATIENCE, id::Id, metrics::ReadStats, node::RunState,
    world::World,
};

/// Time between two checks, ms.
const CHECK_INTERVAL: u64 = 1_000;
/// Every gossip item gets its verdict within this time, ms.
const VERDICT_DEADLINE: u64 = 5_000;
/// A machine knows within this time which peers are connected, ms: longer than what waits for a verifier.
const CONNECTION_DEADLINE: u64 = 10_000;
/// How long a miner may wait before it mines, ms: `OTHERS_WAIT`, its random spread, and rounding.
const MINING_WAIT: u64 = 6_000;
/// How many nonces in a row may lead to no block: the tip may change at the moment a nonce is found.
const MAX_WASTED_NONCES: u64 = 20;
/// A miner's share of active time is judged only once it should have mined for this long, ms.
const MIN_DUE: u64 = 60_000;
/// A peer catches up with its reachable peers within this time, ms ...
const SYNC_DEADLINE: u64 = 60_000;
/// ... or within this time when messages are lost, writes fail or a peer misbehaves, because each of these can cause
/// timeouts.
const SYNC_DEADLINE_WITH_FAULTS: u64 = 180_000;
/// Two peers count as level if they differ in no more than this many of their last blocks.
const LAST_BLOCKS: u64 = 10;
/// A clock that is further off than this makes peers wait for blocks, ms.
const GOOD_CLOCK_OFFSET: u64 = 10_000;
/// A miner whose clock is further off than this may have to wait, ms.
const FAIR_CLOCK_OFFSET: u64 = 60_000;
/// Disk reads are counted over this period, ms.
const READ_WINDOW: u64 = 600_000;
/// How many bodies a machine may read for itself in that period: a few reorganizations of the whole chain of a run.
const MAX_BODIES_READ: u64 = 2_000;
/// How many readings those bodies may contain.
const MAX_READINGS_READ: u64 = 40_000;
/// Real time that a machine may take for a simulated minute. It is very generous because other processes use the cores,
/// too; `MAX_STEPS` limits the work independently of the hardware.
const MAX_CPU: Duration = Duration::from_secs(60);
/// The most inputs and outputs of a machine in a simulated minute.
const MAX_STEPS: u64 = 200_000;
/// The most bytes that a machine sends as responses in a simulated minute.
const MAX_RESPONSE_BYTES: u64 = 100 * 1024 * 1024;
const MINUTE: u64 = 60_000;

impl World {
    /// Records a violation, once for each peer and kind.
    pub(crate) fn report_violation(&mut self, id: Id, kind: &'static str, text: &str) {
        if self.tracker.reported.insert((id, kind)) {
            let at = self.now - START;
            self.violations.push(format!("{id} at {at}: {text}"));
        }
    }

    /// Whether this peer is running and honest.
    fn is_active_honest(&self, id: Id) -> bool {
        let node = self.node(id);
        node.is_honest() && node.run_state == RunState::Awake
    }

    pub(crate) fn check_invariants(&mut self) {
        self.schedule_in(CHECK_INTERVAL, SimEvent::CheckInvariants);
        self.tracker.rounds += 1;
        for id in 0..self.nodes.len() as Id {
            if self.is_active_honest(id) {
                self.check_verdicts(id);
                self.check_connections(id);
                self.check_mining(id);
                self.check_resource_use(id);
            }
        }
        if self.tracker.rounds.is_multiple_of(30) {
            for id in 0..self.nodes.len() as Id {
                if self.is_active_honest(id) {
                    self.adopt_closed_slots(id);
                }
            }
        }
        if self.tracker.rounds.is_multiple_of(5) {
            self.check_sync();
            self.check_journals();
            if self.has_departing_authors() {
                self.note_confirmed();
                self.check_promised();
            }
        }
    }

    fn check_verdicts(&mut self, id: Id) {
        let node = self.node(id);
        let now = node.clock.both(self.now).monotonic;
        if let Some((since, from, topic)) = node.oldest_pending_verdict()
            && now.since(since) > VERDICT_DEADLINE
        {
            let age = now.since(since);
            let text = format!("a {topic:?} item of {from} has no verdict after {age} ms");
            self.report_violation(id, "verdict", &text);
        }
    }

    /// A machine counts exactly those peers as connected to which there is a connection, however many there are and were.
    fn check_connections(&mut self, id: Id) {
        let now = self.now;
        let node = self.node_mut(id);
        let open: BTreeSet<Id> = node.swarm.peers().collect();
        let differ: BTreeSet<Id> = node
            .state
            .connected
            .symmetric_difference(&open)
            .copied()
            .collect();
        let since = &mut node.metrics.disagree_since;
        since.retain(|peer, _| differ.contains(peer));
        for peer in differ {
            since.entry(peer).or_insert(now);
        }
        let late = since
            .iter()
            .find(|(_, since)| **since + CONNECTION_DEADLINE < now);
        if let Some((&peer, since)) = late {
            let (counts, time) = (!open.contains(&peer), now - since);
            let text =
                format!("its machine counts {peer} as connected: {counts}, wrongly for {time} ms");
            self.report_violation(id, "connections", &text);
        }
    }

    fn check_mining(&mut self, id: Id) {
        let now = self.now;
        let node = self.node_mut(id);
        let wrong = node.clock.offset.unsigned_abs() > FAIR_CLOCK_OFFSET;
        if !node.mines || !node.has_key || node.hash_rate == 0 || wrong {
            node.metrics.minable_since = None;
            node.metrics.wasted = 0;
            return;
        }
        if node.has_job() {
            node.metrics.minable_since = None;
            node.metrics.due += CHECK_INTERVAL;
            node.metrics.mined += CHECK_INTERVAL;
        } else if node.has_minable() {
            let since = *node.metrics.minable_since.get_or_insert(now);
            if since + MINING_WAIT < now {
                node.metrics.due += CHECK_INTERVAL;
            }
        } else {
            node.metrics.minable_since = None;
        }
        let wasted = self.node(id).metrics.wasted;
        let wrong = self.node(id).clock.offset.unsigned_abs() > GOOD_CLOCK_OFFSET;
        if wrong {
            self.node_mut(id).metrics.wasted = 0;
        } else if wasted > MAX_WASTED_NONCES {
            let text = format!("found {wasted} nonces in a row that became no block");
            self.report_violation(id, "nonces", &text);
        }
        if self.node(id).metrics.due >= 2 * MIN_DUE {
            self.check_mining_share(id);
        }
    }

    /// Reports a peer that mined for less than half of the time in which it had something to mine.
    pub(crate) fn check_mining_share(&mut self, id: Id) {
        let (due, mined) = (self.node(id).metrics.due, self.node(id).metrics.mined);
        if due >= MIN_DUE && mined * 2 < due {
            let text = format!("mines {mined} of {due} ms in which it has something to mine");
            self.report_violation(id, "mining", &text);
        }
    }

    fn check_resource_use(&mut self, id: Id) {
        let now = self.now;
        let metrics = &mut self.node_mut(id).metrics;
        let (cpu, steps, answered) = (metrics.cpu, metrics.steps, metrics.answered);
        let (bodies, readings) = (metrics.read_stats.bodies, metrics.read_stats.readings);
        if metrics.cpu_from + MINUTE <= now {
            (metrics.cpu, metrics.cpu_from) = (Duration::ZERO, now);
            (metrics.steps, metrics.answered) = (0, 0);
        }
        if metrics.read_stats.from + READ_WINDOW <= now {
            metrics.read_stats = ReadStats::default();
            metrics.read_stats.from = now;
        }
        if cpu > MAX_CPU || steps > MAX_STEPS {
            let text = format!("takes {cpu:?} and {steps} steps in a minute");
            self.report_violation(id, "cpu", &text);
        }
        if answered > MAX_RESPONSE_BYTES {
            let text = format!("answers {answered} bytes in a minute");
            self.report_violation(id, "answers", &text);
        }
        if bodies > MAX_BODIES_READ || readings > MAX_READINGS_READ {
            let text =
                format!("reads {bodies} bodies with {readings} readings for itself in 10 minutes");
            self.report_violation(id, "reads", &text);
        }
    }

    /// Every recorded reading is in the journal on disk, and a deleted database is rewritten.
    fn check_journals(&mut self) {
        for id in 0..self.nodes.len() as Id {
            let node = self.node(id);
            let disk = &node.state.disk;
            let (accepted, kept) = (node.accepted.len(), disk.journal.len());
            let due = node
                .faults
                .emptied_at
                .unwrap_or(0)
                .max(node.faults.full_until);
            let due = due.max(node.metrics.started_at) + REWRITE_PATIENCE;
            let due_for_check =
                node.is_honest() && !node.gone && node.run_state != RunState::Asleep;
            if due_for_check && due < self.now && kept < accepted {
                let text = format!("its journal on disk has {kept} of {accepted} readings");
                self.report_violation(id, "journal", &text);
            }
            // Blocks of a deleted database are restored, too. Block 1 stands for all of them.
            let node = self.node(id);
            let first = node
                .machine
                .as_ref()
                .and_then(|machine| machine.best_hash(1));
            let emptied = node.faults.emptied_at.is_some() && self.is_whole();
            let lacks = first.is_some_and(|first| {
                !node.state.disk.blocks.contains_key(&first) && self.is_supplied(id, first)
            });
            let now = self.now;
            let metrics = &mut self.node_mut(id).metrics;
            if !(emptied && due_for_check && lacks) {
                metrics.supplied_since = None;
                continue;
            }
            let since = *metrics.supplied_since.get_or_insert(now);
            if due < now && since + REWRITE_PATIENCE < now {
                self.report_violation(id, "rewritten", "its disk lacks block 1");
            }
        }
    }

    /// Whether a connected, active honest peer has this first block of its best branch on disk. Only such a peer can
    /// return what was deleted: a peer without neighbours waits, and blocks that all its neighbours lack are given up
    /// in time.
    fn is_supplied(&self, id: Id, first: BlockHash) -> bool {
        self.neighbours(id).into_iter().any(|other| {
            let connected = self.are_connected(id, other);
            connected && self.is_active_honest(other) && {
                let node = self.node(other);
                let disk = &node.state.disk;
                node.machine().best_hash(1) == Some(first) && disk.block(&first).is_some()
            }
        })
    }

    /// Whether the machines of both peers count the other as connected.
    fn are_connected(&self, a: Id, b: Id) -> bool {
        self.node(a).swarm.is_member(b) && self.node(b).swarm.is_member(a)
    }

    /// Whether the network is unpartitioned and lossless, and no peer misbehaves.
    fn is_whole(&self) -> bool {
        let one_partition = self
            .partitions
            .iter()
            .all(|partition| Some(partition) == self.partitions.first());
        one_partition
            && self.conditions.loss == 0
            && self.nodes.iter().all(|node| node.misbehaviour.is_none())
    }

    /// A peer catches up in time with all peers that it can reach through honest peers.
    fn check_sync(&mut self) {
        let now = self.now;
        let active: Vec<Id> = (0..self.nodes.len() as Id)
            .filter(|id| self.is_active_honest(*id))
            .collect();
        let good = |id: &Id| self.node(*id).clock.offset.unsigned_abs() <= GOOD_CLOCK_OFFSET;
        let all_good = active.iter().all(good);
        let misbehaving = self.nodes.iter().any(|node| node.misbehaviour.is_some());
        let unreliable = self.conditions.loss > 0 || self.conditions.disk_failure > 0;
        let patience = if misbehaving || unreliable {
            SYNC_DEADLINE_WITH_FAULTS
        } else {
            SYNC_DEADLINE
        };
        for &id in &active {
            let full = self.node(id).faults.full_until + SYNC_DEADLINE > now;
            let behind = all_good && !full && self.is_behind(id);
            let index = self.node(id).machine().status().index;
            let metrics = &mut self.node_mut(id).metrics;
            if !behind {
                metrics.behind_since = None;
                continue;
            }
            let since = *metrics.behind_since.get_or_insert(now);
            if since + patience < now {
                let behind = now - since;
                let text = format!("at height {index}, is behind peers for {behind} ms");
                self.report_violation(id, "sync", &text);
            }
        }
    }

    fn is_behind(&self, id: Id) -> bool {
        let own = self.node(id).machine().status();
        let heavier = |other: &Id| {
            let status = self.node(*other).machine().status();
            status.total_work > own.total_work && !self.share_branch(id, *other)
        };
        let candidates: Vec<Id> = (0..self.nodes.len() as Id)
            .filter(|other| *other != id && self.is_active_honest(*other) && heavier(other))
            .collect();
        if candidates.is_empty() {
            return false;
        }
        // Find out which peers it can reach through honest peers.
        let mut reached = BTreeSet::from([id]);
        let mut edge = vec![id];
        while let Some(at) = edge.pop() {
            for next in self.neighbours(at) {
                let connected = self.are_connected(at, next);
                if connected && self.is_active_honest(next) && reached.insert(next) {
                    edge.push(next);
                }
            }
        }
        candidates.iter().any(|other| reached.contains(other))
    }

    /// Whether two peers have the same branch except for the last few blocks.
    fn share_branch(&self, a: Id, b: Id) -> bool {
        let (a, b) = (self.node(a).machine(), self.node(b).machine());
        let (low, high) = {
            let (a, b) = (a.status().index, b.status().index);
            (a.min(b), a.max(b))
        };
        let shared = low.saturating_sub(LAST_BLOCKS);
        high - low <= LAST_BLOCKS && a.best_hash(shared) == b.best_hash(shared)
    }
}
