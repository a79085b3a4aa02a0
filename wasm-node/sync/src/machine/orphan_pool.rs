//! Gossiped blocks that cannot be checked yet: their parent is unknown, or they are ahead of the clock.

use alloc::vec::Vec;
use core::fmt::Debug;

use heartchain_chain::{block::Block, hash::BlockHash, time::MonotonicMillis};

use super::Machine;
use crate::{
    config::{MAX_ORPHAN_WAIT, MAX_ORPHANS, MAX_ORPHANS_PER_PEER, VERDICT_PATIENCE},
    io::{GossipId, Output, Verdict},
};

/// What a block in the pool waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// Its parent's header.
    Parent(BlockHash),
    /// The monotonic time at which it is due.
    Time(MonotonicMillis),
}

#[derive(Clone, Debug)]
struct Orphan<P> {
    block: Block,
    from: P,
    /// The gossip item that still waits for its verdict.
    verdict: Option<GossipId>,
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
        block: Block,
        from: P,
        verdict: Option<GossipId>,
        waits_for: WaitsFor,
        now: MonotonicMillis,
    ) -> bool {
        let from_peer = self
            .blocks
            .iter()
            .filter(|orphan| orphan.from == from)
            .count();
        let too_far = matches!(waits_for, WaitsFor::Time(at) if at.since(now) > MAX_ORPHAN_WAIT);
        if too_far || self.blocks.len() >= MAX_ORPHANS || from_peer >= MAX_ORPHANS_PER_PEER {
            return false;
        }
        let verdict_due = now.saturating_add(VERDICT_PATIENCE);
        self.blocks.push(Orphan {
            block,
            from,
            verdict,
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
            if orphan.from != *peer {
                return true;
            }
            ended.extend(orphan.verdict.take());
            matches!(orphan.waits_for, WaitsFor::Time(_))
        });
        ended
    }

    pub(super) fn next_due(&self) -> Option<MonotonicMillis> {
        self.blocks
            .iter()
            .map(|orphan| match (orphan.verdict, orphan.waits_for) {
                (None, WaitsFor::Time(at)) => at,
                (Some(_), WaitsFor::Time(at)) => at.min(orphan.verdict_due),
                (_, WaitsFor::Parent(_)) => orphan.verdict_due,
            })
            .min()
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Processes blocks that no longer have to wait, and gives verdicts that are due.
    pub(super) fn retry_orphans(&mut self) {
        let now = self.now;
        let (ready, waiting): (Vec<_>, Vec<_>) = core::mem::take(&mut self.orphans.blocks)
            .into_iter()
            .partition(|orphan| match orphan.waits_for {
                WaitsFor::Parent(parent) => self.tree.block(&parent).is_some(),
                WaitsFor::Time(at) => at <= now,
            });
        self.orphans.blocks = waiting;
        for orphan in ready {
            self.process_block(orphan.from, orphan.verdict, orphan.block);
        }
        let mut verdicts = Vec::new();
        self.orphans.blocks.retain_mut(|orphan| {
            if orphan.verdict_due > now {
                return true;
            }
            verdicts.extend(orphan.verdict.take().map(|id| (orphan.from, id)));
            matches!(orphan.waits_for, WaitsFor::Time(_))
        });
        for (from, id) in verdicts {
            self.outputs.push(Output::Verdict {
                id,
                from,
                verdict: Verdict::Ignore,
            });
        }
    }
}
