//! Where each reading of an author that leaves for good is, and which of them the others must keep.

use std::collections::{BTreeSet, HashMap, HashSet};

use chain::{
    block::Block,
    hash::{BlockHash, ReadingId, RoomId},
    reading::Reading,
};
use sync::State;

use crate::{
    node::{Life, Node},
    trouble::REWRITE_PATIENCE,
    world::{Id, World},
};

/// A reading is confirmed when it is so deep ...
const DEPTH: u64 = 6;
/// ... for so long, ms: a minute by the rule, and time for the machine to see it.
const LASTS: u64 = 90_000;

/// What is known of the readings in blocks.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) looks: u64,
    /// Faults that were told already.
    pub(crate) told: BTreeSet<(Id, &'static str)>,
    noted: HashSet<BlockHash>,
    /// Blocks that have a reading, with their heights.
    places: HashMap<ReadingId, (Reading, Vec<(u64, BlockHash)>)>,
    deep_since: HashMap<(ReadingId, Id), u64>,
    /// Readings that must stay, with their authors.
    pub(crate) promised: BTreeSet<(Id, ReadingId)>,
}

impl Ledger {
    pub(crate) fn note_block(&mut self, room: RoomId, hash: BlockHash, block: &Block) {
        if !self.noted.insert(hash) {
            return;
        }
        for reading in &block.readings {
            let known = self.places.entry(reading.id(room));
            let (_, places) = known.or_insert_with(|| (*reading, Vec::new()));
            places.push((block.header.index, hash));
        }
    }
}

/// Whether what this peer keeps is counted on: its disk was never deleted, and it stays.
fn is_keeper(node: &Node) -> bool {
    node.is_honest() && !node.leaves && !node.gone && node.disk.emptied_at.is_none()
}

impl World {
    /// Whether some author of this run leaves for good.
    pub(crate) fn has_leavers(&self) -> bool {
        self.nodes.iter().any(|node| node.leaves)
    }

    /// Notes which readings of authors that leave are confirmed at a peer that stays.
    pub(crate) fn note_confirmed(&mut self) {
        let now = self.now;
        let leavers = self.nodes.iter().filter(|node| node.leaves);
        let wanted: Vec<(Id, ReadingId)> = leavers
            .flat_map(|node| node.accepted.iter().map(|(id, _)| (node.id, *id)))
            .filter(|wanted| !self.ledger.promised.contains(wanted))
            .collect();
        for (author, reading) in wanted {
            for at in 0..self.nodes.len() as Id {
                if !is_keeper(self.node(at)) {
                    continue;
                }
                let full = self.node(at).disk.full_until + REWRITE_PATIENCE > now;
                if full || !self.is_deep(at, &reading) {
                    self.ledger.deep_since.remove(&(reading, at));
                    continue;
                }
                let since = *self.ledger.deep_since.entry((reading, at)).or_insert(now);
                // A peer that starts counts from there.
                let since = since.max(self.node(at).watch.started_at);
                if since + LASTS <= now {
                    self.ledger.promised.insert((author, reading));
                }
            }
        }
    }

    fn is_deep(&self, at: Id, reading: &ReadingId) -> bool {
        let node = self.node(at);
        let Some((_, places)) = self.ledger.places.get(reading) else {
            return false;
        };
        let (Life::Awake, Some(machine)) = (node.life, &node.machine) else {
            return false;
        };
        let status = machine.status();
        status.state == State::Synced
            && places.iter().any(|(index, hash)| {
                index + DEPTH <= status.index + 1
                    && machine.best_hash(*index) == Some(*hash)
                    && node.disk.blocks.contains_key(hash)
            })
    }

    /// Each confirmed reading of an author that is gone must be somewhere.
    pub(crate) fn look_for_promised(&mut self) {
        let promised: Vec<_> = self.ledger.promised.iter().copied().collect();
        for (author, reading) in promised {
            if self.node(author).gone && !self.is_somewhere(&reading) {
                let text =
                    format!("its confirmed reading {reading} is on no chain, mempool or disk");
                self.exceed(author, "confirmed reading", &text);
            }
        }
    }

    fn is_somewhere(&self, id: &ReadingId) -> bool {
        let Some((reading, places)) = self.ledger.places.get(id) else {
            return false;
        };
        let honest = self
            .nodes
            .iter()
            .filter(|node| node.is_honest() && !node.gone);
        honest.into_iter().any(|node| {
            let disk = &node.disk;
            let on_disk =
                |hash: &BlockHash| disk.blocks.contains_key(hash) && !disk.garbled.contains(hash);
            let machine = node.machine.as_ref();
            places.iter().any(|(_, hash)| on_disk(hash))
                || disk.adopted.contains_key(id)
                || machine.is_some_and(|machine| machine.knows_reading(reading))
        })
    }
}
