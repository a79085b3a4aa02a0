//! Gossiped blocks that cannot be checked yet: their parent is unknown, or they are ahead of the clock.

use alloc::vec::Vec;
use heartchain_chain::{block::Block, hash::BlockHash, time::MonotonicMillis};

use crate::{
    config::{MAX_ORPHAN_WAIT, MAX_ORPHANS, MAX_ORPHANS_PER_PEER, VERDICT_PATIENCE},
    io::GossipId,
};

/// What a block in the pool waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// Its parent's header.
    Parent(BlockHash),
    /// The monotonic time at which it is due.
    Time(MonotonicMillis),
}

/// A block as it came by gossip, before anything about it is known.
#[derive(Clone, Debug)]
pub(super) struct GossipedBlock<P> {
    /// The neighbour that forwarded it.
    pub(super) from: P,
    /// The gossip item. `None` if its verdict was given before the block could be checked.
    pub(super) id: Option<GossipId>,
    pub(super) block: Block,
    /// When the verdict is given at the latest. `None` before the block has waited.
    verdict_due: Option<MonotonicMillis>,
}

impl<P> GossipedBlock<P> {
    pub(super) const fn new(from: P, id: GossipId, block: Block) -> Self {
        let id = Some(id);
        Self {
            from,
            id,
            block,
            verdict_due: None,
        }
    }
}

#[derive(Clone, Debug)]
struct Orphan<P> {
    gossiped: GossipedBlock<P>,
    waits_for: WaitsFor,
    /// When the verdict is given, even if the block could not be checked by then.
    verdict_due: MonotonicMillis,
}

/// Blocks that wait for their parent or for the clock.
#[derive(Clone, Debug)]
pub(super) struct OrphanPool<P> {
    blocks: Vec<Orphan<P>>,
}

impl<P: Copy + Ord> OrphanPool<P> {
    pub(super) const fn new() -> Self {
        Self { blocks: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Adds a block. Returns `false` if there is no room for it.
    pub(super) fn insert(
        &mut self,
        gossiped: GossipedBlock<P>,
        waits_for: WaitsFor,
        now: MonotonicMillis,
    ) -> bool {
        let from_peer = self
            .blocks
            .iter()
            .filter(|orphan| orphan.gossiped.from == gossiped.from)
            .count();
        let too_far = matches!(waits_for, WaitsFor::Time(at) if at.since(now) > MAX_ORPHAN_WAIT);
        if too_far || self.blocks.len() >= MAX_ORPHANS || from_peer >= MAX_ORPHANS_PER_PEER {
            return false;
        }
        // A block may wait for its parent first and then for the clock.
        let verdict_due = gossiped.verdict_due;
        let verdict_due = verdict_due.unwrap_or(now.saturating_add(VERDICT_PATIENCE));
        self.blocks.push(Orphan {
            gossiped,
            waits_for,
            verdict_due,
        });
        true
    }

    /// Takes the open verdicts on a disconnected peer's items, because every item gets exactly one verdict. Of
    /// its blocks, only those that wait for the clock stay.
    pub(super) fn take_verdicts_of(&mut self, peer: &P) -> Vec<GossipId> {
        let mut ended = Vec::new();
        self.blocks.retain_mut(|orphan| {
            if orphan.gossiped.from != *peer {
                return true;
            }
            ended.extend(orphan.gossiped.id.take());
            matches!(orphan.waits_for, WaitsFor::Time(_))
        });
        ended
    }

    /// Takes the blocks that no longer have to wait, because their parent is known or their time has come.
    pub(super) fn take_ready(
        &mut self,
        is_known: impl Fn(&BlockHash) -> bool,
        now: MonotonicMillis,
    ) -> Vec<GossipedBlock<P>> {
        let ready = |orphan: &mut Orphan<P>| match orphan.waits_for {
            WaitsFor::Parent(parent) => is_known(&parent),
            WaitsFor::Time(at) => at <= now,
        };
        let ready = self.blocks.extract_if(.., ready);
        let ready = ready.map(|orphan| GossipedBlock {
            verdict_due: Some(orphan.verdict_due),
            ..orphan.gossiped
        });
        ready.collect()
    }

    /// Takes the verdicts that are due. Blocks that wait for their parent wait no longer.
    pub(super) fn take_due_verdicts(&mut self, now: MonotonicMillis) -> Vec<(P, GossipId)> {
        let mut verdicts = Vec::new();
        self.blocks.retain_mut(|orphan| {
            if orphan.verdict_due > now {
                return true;
            }
            let from = orphan.gossiped.from;
            verdicts.extend(orphan.gossiped.id.take().map(|id| (from, id)));
            matches!(orphan.waits_for, WaitsFor::Time(_))
        });
        verdicts
    }

    pub(super) fn next_deadline(&self) -> Option<MonotonicMillis> {
        self.blocks
            .iter()
            .map(|orphan| match (orphan.gossiped.id, orphan.waits_for) {
                (None, WaitsFor::Time(at)) => at,
                (Some(_), WaitsFor::Time(at)) => at.min(orphan.verdict_due),
                (_, WaitsFor::Parent(_)) => orphan.verdict_due,
            })
            .min()
    }
}
