//! What must hold all the time. The world looks once a second, and at what costs more every five seconds.

use std::{collections::BTreeSet, time::Duration};

use chain::hash::BlockHash;

use crate::{
    node::Life,
    trouble::REWRITE_PATIENCE,
    world::{Happening, Id, START, World},
};

/// The world looks so often, ms.
const LOOK: u64 = 1_000;
/// A gossip item gets its verdict within so long, ms.
const VERDICT: u64 = 5_000;
/// A miner may wait so long before it mines, ms: `OTHERS_WAIT`, its spread, and what rounding adds.
const MINING_WAIT: u64 = 6_000;
/// Nonces in a row that may become no block: its tip may change just then.
const MAX_WASTED: u64 = 20;
/// Shares of less time than this say nothing, ms.
const LEAST_DUE: u64 = 60_000;
/// A peer is in sync within so long, ms ...
const IN_SYNC: u64 = 60_000;
/// ... or so long when messages are lost, writes fail, or one of the old liars is at work: each may cost it time-outs.
const IN_SYNC_IN_TROUBLE: u64 = 180_000;
/// The last few blocks may differ.
const LAST_BLOCKS: u64 = 10;
/// Clocks that are further off than this make peers wait for blocks, ms.
const GOOD_CLOCK: u64 = 10_000;
/// A miner whose clock is further off than this may have to wait, ms.
const FAIR_CLOCK: u64 = 60_000;
/// Efforts are judged by so long a stretch of time, ms.
const STRETCH: u64 = 600_000;
/// Bodies that a machine may read for itself meanwhile: some reorganisations of all that a run mines.
const MAX_BODIES: u64 = 2_000;
/// Readings in these.
const MAX_READINGS: u64 = 40_000;
/// Real time that a machine may take for a simulated minute: very generous, because other processes use the cores, too.
/// What it does is counted beside that.
const MAX_CPU: Duration = Duration::from_secs(60);
/// Inputs and outputs of a machine in a simulated minute.
const MAX_STEPS: u64 = 200_000;
/// Bytes of its answers in a simulated minute.
const MAX_ANSWERED: u64 = 100 * 1024 * 1024;
const MINUTE: u64 = 60_000;

impl World {
    /// Notes a fault of this kind at this peer, once.
    pub(crate) fn exceed(&mut self, id: Id, kind: &'static str, text: &str) {
        if self.ledger.told.insert((id, kind)) {
            let at = self.now - START;
            self.exceeded.push(format!("{id} at {at}: {text}"));
        }
    }

    /// Whether it runs and is not an attacker.
    fn is_at_work(&self, id: Id) -> bool {
        let node = self.node(id);
        node.is_honest() && node.life == Life::Awake
    }

    pub(crate) fn look(&mut self) {
        self.after(LOOK, Happening::Look);
        self.ledger.looks += 1;
        for id in 0..self.nodes.len() as Id {
            if self.is_at_work(id) {
                self.look_at_verdicts(id);
                self.look_at_mining(id);
                self.look_at_effort(id);
            }
        }
        if self.ledger.looks.is_multiple_of(30) {
            for id in 0..self.nodes.len() as Id {
                if self.is_at_work(id) {
                    self.adopt_closed_slots(id);
                }
            }
        }
        if self.ledger.looks.is_multiple_of(5) {
            self.look_at_sync();
            self.look_at_journals();
            if self.has_leavers() {
                self.note_confirmed();
                self.look_for_promised();
            }
        }
    }

    fn look_at_verdicts(&mut self, id: Id) {
        let now = self.now;
        if let Some((since, from, topic)) = self.node(id).oldest_unjudged()
            && since + VERDICT < now
        {
            let age = now - since;
            let text = format!("a {topic:?} item of {from} has no verdict after {age} ms");
            self.exceed(id, "verdict", &text);
        }
    }

    fn look_at_mining(&mut self, id: Id) {
        let now = self.now;
        let node = self.node_mut(id);
        let wrong = node.clock.offset.unsigned_abs() > FAIR_CLOCK;
        if !node.mines || node.rate == 0 || wrong {
            node.watch.minable_since = None;
            node.watch.wasted = 0;
            return;
        }
        if node.has_job() {
            node.watch.minable_since = None;
            node.watch.due += LOOK;
            node.watch.mined += LOOK;
        } else if node.has_minable() {
            let since = *node.watch.minable_since.get_or_insert(now);
            if since + MINING_WAIT < now {
                node.watch.due += LOOK;
            }
        } else {
            node.watch.minable_since = None;
        }
        let wasted = self.node(id).watch.wasted;
        let wrong = self.node(id).clock.offset.unsigned_abs() > GOOD_CLOCK;
        if wrong {
            self.node_mut(id).watch.wasted = 0;
        } else if wasted > MAX_WASTED {
            let text = format!("found {wasted} nonces in a row that became no block");
            self.exceed(id, "nonces", &text);
        }
        if self.node(id).watch.due >= 2 * LEAST_DUE {
            self.judge_mining(id);
        }
    }

    /// Says so if a peer that had something to mine did so for less than half of the time.
    pub(crate) fn judge_mining(&mut self, id: Id) {
        let (due, mined) = (self.node(id).watch.due, self.node(id).watch.mined);
        if due >= LEAST_DUE && mined * 2 < due {
            let text = format!("mines {mined} of {due} ms in which it has something to mine");
            self.exceed(id, "mining", &text);
        }
    }

    fn look_at_effort(&mut self, id: Id) {
        let now = self.now;
        let watch = &mut self.node_mut(id).watch;
        let (cpu, steps, answered) = (watch.cpu, watch.steps, watch.answered);
        let (bodies, readings) = (watch.effort.bodies, watch.effort.readings);
        if watch.cpu_from + MINUTE <= now {
            (watch.cpu, watch.cpu_from) = (Duration::ZERO, now);
            (watch.steps, watch.answered) = (0, 0);
        }
        if watch.effort.from + STRETCH <= now {
            watch.effort = crate::watch::Effort::default();
            watch.effort.from = now;
        }
        if cpu > MAX_CPU || steps > MAX_STEPS {
            let text = format!("takes {cpu:?} and {steps} steps in a minute");
            self.exceed(id, "cpu", &text);
        }
        if answered > MAX_ANSWERED {
            let text = format!("answers {answered} bytes in a minute");
            self.exceed(id, "answers", &text);
        }
        if bodies > MAX_BODIES || readings > MAX_READINGS {
            let text =
                format!("reads {bodies} bodies with {readings} readings for itself in 10 minutes");
            self.exceed(id, "reads", &text);
        }
    }

    /// What was accepted stands in the journal on disk; a deleted one is written again.
    fn look_at_journals(&mut self) {
        for id in 0..self.nodes.len() as Id {
            let node = self.node(id);
            let disk = &node.disk;
            let (accepted, kept) = (node.accepted.len(), disk.journal.len());
            let due = disk.emptied_at.unwrap_or(0).max(disk.full_until);
            let due = due.max(node.watch.started_at) + REWRITE_PATIENCE;
            let judged = node.is_honest() && !node.gone && node.life != Life::Asleep;
            if judged && due < self.now && kept < accepted {
                let text = format!("its journal on disk has {kept} of {accepted} readings");
                self.exceed(id, "journal", &text);
            }
            // A deleted database gets back the blocks, too.
            let node = self.node(id);
            let first = node
                .machine
                .as_ref()
                .and_then(|machine| machine.best_hash(1));
            let emptied = node.disk.emptied_at.is_some() && self.is_whole();
            let lacks = first.is_some_and(|first| {
                !node.disk.blocks.contains_key(&first) && self.is_supplied(id, first)
            });
            let now = self.now;
            let watch = &mut self.node_mut(id).watch;
            if !(emptied && judged && lacks) {
                watch.supplied_since = None;
                continue;
            }
            let since = *watch.supplied_since.get_or_insert(now);
            if due < now && since + REWRITE_PATIENCE < now {
                self.exceed(id, "rewritten", "its disk lacks block 1");
            }
        }
    }

    /// Whether a connected honest peer at work has this block of its best branch on disk. Nobody else can give back what
    /// was deleted: alone, a peer waits, and what its neighbours lack it gives up in time.
    fn is_supplied(&self, id: Id, first: BlockHash) -> bool {
        self.neighbours(id).into_iter().any(|other| {
            let connected = self.node(id).is_connected(other) && self.node(other).is_connected(id);
            connected && self.is_at_work(other) && {
                let node = self.node(other);
                let disk = &node.disk;
                node.machine().best_hash(1) == Some(first)
                    && disk.blocks.contains_key(&first)
                    && !disk.garbled.contains(&first)
            }
        })
    }

    /// Whether every peer can reach every other, and none lies.
    fn is_whole(&self) -> bool {
        let one_part = self
            .parts
            .iter()
            .all(|part| Some(part) == self.parts.first());
        one_part && self.weather.loss == 0 && self.nodes.iter().all(|node| node.lie.is_none())
    }

    /// A peer that can reach others over honest peers stands where they do, soon.
    fn look_at_sync(&mut self) {
        let now = self.now;
        let at_work: Vec<Id> = (0..self.nodes.len() as Id)
            .filter(|id| self.is_at_work(*id))
            .collect();
        let good = |id: &Id| self.node(*id).clock.offset.unsigned_abs() <= GOOD_CLOCK;
        let all_good = at_work.iter().all(good);
        let liars = self.nodes.iter().any(|node| node.lie.is_some());
        let weather = self.weather.loss > 0 || self.weather.disk_failure > 0;
        let patience = if liars || weather {
            IN_SYNC_IN_TROUBLE
        } else {
            IN_SYNC
        };
        for &id in &at_work {
            let full = self.node(id).disk.full_until + IN_SYNC > now;
            let behind = all_good && !full && self.is_behind(id);
            let index = self.node(id).machine().status().index;
            let watch = &mut self.node_mut(id).watch;
            if !behind {
                watch.behind_since = None;
                continue;
            }
            let since = *watch.behind_since.get_or_insert(now);
            if since + patience < now {
                let behind = now - since;
                let text = format!("at height {index}, is behind peers for {behind} ms");
                self.exceed(id, "sync", &text);
            }
        }
    }

    fn is_behind(&self, id: Id) -> bool {
        let own = self.node(id).machine().status();
        let heavier = |other: &Id| {
            let status = self.node(*other).machine().status();
            status.total_work > own.total_work && !self.are_level(id, *other)
        };
        let candidates: Vec<Id> = (0..self.nodes.len() as Id)
            .filter(|other| *other != id && self.is_at_work(*other) && heavier(other))
            .collect();
        if candidates.is_empty() {
            return false;
        }
        // A heavier peer that it can reach over honest peers.
        let mut reached = BTreeSet::from([id]);
        let mut edge = vec![id];
        while let Some(at) = edge.pop() {
            for next in self.neighbours(at) {
                let connected =
                    self.node(at).is_connected(next) && self.node(next).is_connected(at);
                if connected && self.is_at_work(next) && reached.insert(next) {
                    edge.push(next);
                }
            }
        }
        candidates.iter().any(|other| reached.contains(other))
    }

    /// Whether two peers have the same branch but for the last few blocks.
    fn are_level(&self, a: Id, b: Id) -> bool {
        let (a, b) = (self.node(a).machine(), self.node(b).machine());
        let (low, high) = {
            let (a, b) = (a.status().index, b.status().index);
            (a.min(b), a.max(b))
        };
        let shared = low.saturating_sub(LAST_BLOCKS);
        high - low <= LAST_BLOCKS && a.best_hash(shared) == b.best_hash(shared)
    }
}
