//! Tracks the readings of authors that leave permanently: which of them the remaining peers must keep because they were
//! confirmed.

use heartchain_chain::hash::{BlockHash, ReadingId};
use heartchain_sync::SyncState;

use crate::{
    fault::REWRITE_PATIENCE,
    id::Id,
    node::{Node, RunState},
    world::World,
};

/// A reading counts as confirmed once it is this many blocks deep ...
const CONFIRM_DEPTH: u64 = 6;
/// ... for this long, ms: the protocol asks for one minute, and the machine needs some time to notice.
const CONFIRM_TIME: u64 = 90_000;

/// Whether this peer must keep confirmed readings: it stays in the network, and its database was never deleted.
fn must_keep(node: &Node) -> bool {
    node.is_honest() && !node.will_leave && !node.gone && node.faults.emptied_at.is_none()
}

impl World {
    /// Whether an author leaves permanently in this run.
    pub(crate) fn has_departing_authors(&self) -> bool {
        self.nodes.iter().any(|node| node.will_leave)
    }

    /// Records which readings of departing authors are confirmed at a peer that stays.
    pub(crate) fn note_confirmed(&mut self) {
        let now = self.now;
        let departing = self.nodes.iter().filter(|node| node.will_leave);
        let wanted: Vec<(Id, ReadingId)> = departing
            .flat_map(|node| node.accepted.iter().map(|(id, _)| (node.id, *id)))
            .filter(|wanted| !self.tracker.promised.contains(wanted))
            .collect();
        for (author, reading) in wanted {
            for at in 0..self.nodes.len() as Id {
                if !must_keep(self.node(at)) {
                    continue;
                }
                let full = self.node(at).faults.full_until + REWRITE_PATIENCE > now;
                if full || !self.is_deep(at, &reading) {
                    self.tracker.deep_since.remove(&(reading, at));
                    continue;
                }
                let since = *self.tracker.deep_since.entry((reading, at)).or_insert(now);
                // A restarted peer counts the time from its start.
                let since = since.max(self.node(at).metrics.started_at);
                if since + CONFIRM_TIME <= now {
                    self.tracker.promised.insert((author, reading));
                }
            }
        }
    }

    fn is_deep(&self, at: Id, reading: &ReadingId) -> bool {
        let node = self.node(at);
        let Some((_, blocks)) = self.tracker.blocks.get(reading) else {
            return false;
        };
        let (RunState::Awake, Some(machine)) = (node.run_state, &node.machine) else {
            return false;
        };
        let status = machine.status();
        status.state == SyncState::Synced
            && blocks.iter().any(|(index, hash)| {
                index + CONFIRM_DEPTH <= status.index + 1
                    && machine.best_hash(*index) == Some(*hash)
                    && node.state.disk.blocks.contains_key(hash)
            })
    }

    /// Checks that each confirmed reading of an author that has left is still stored on some peer.
    pub(crate) fn check_promised(&mut self) {
        let promised: Vec<_> = self.tracker.promised.iter().copied().collect();
        for (author, reading) in promised {
            if self.node(author).gone && !self.is_stored_anywhere(&reading) {
                let text =
                    format!("its confirmed reading {reading} is in no chain, mempool or disk");
                self.report_violation(author, "confirmed reading", &text);
            }
        }
    }

    fn is_stored_anywhere(&self, id: &ReadingId) -> bool {
        let Some((reading, blocks)) = self.tracker.blocks.get(id) else {
            return false;
        };
        let honest = self
            .nodes
            .iter()
            .filter(|node| node.is_honest() && !node.gone);
        honest.into_iter().any(|node| {
            let disk = &node.state.disk;
            let on_disk = |hash: &BlockHash| disk.block(hash).is_some();
            let machine = node.machine.as_ref();
            blocks.iter().any(|(_, hash)| on_disk(hash))
                || disk.adopted.contains_key(id)
                || machine.is_some_and(|machine| machine.contains_reading(reading))
        })
    }
}
