//! Gossiped blocks that cannot be judged yet: their parent is unknown, or they are ahead of the clock.

use alloc::vec::Vec;
use core::fmt::Debug;

use chain::{block::Block, hash::BlockHash, time::MonotonicMillis};

use super::Machine;
use crate::{
    config::{MAX_HELD_BLOCKS, MAX_HELD_BLOCKS_PER_PEER, MAX_HELD_FOR, VERDICT_PATIENCE},
    seam::{GossipId, Output, Verdict},
};

/// What a held block waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// Its parent's header.
    Parent(BlockHash),
    /// A time by the local clock.
    Time(MonotonicMillis),
}

#[derive(Clone, Debug)]
struct Held<P> {
    block: Block,
    from: P,
    /// The gossip item that still waits for its verdict.
    verdict: Option<GossipId>,
    waits_for: WaitsFor,
    /// Local clock: when the verdict is given, judged or not.
    verdict_due: MonotonicMillis,
}

/// The blocks held.
#[derive(Clone, Debug)]
pub(super) struct HeldBlocks<P> {
    blocks: Vec<Held<P>>,
}

impl<P: Copy + Ord> HeldBlocks<P> {
    pub(super) const fn new() -> Self {
        Self { blocks: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Holds a block, if there is a place; gives it back otherwise.
    pub(super) fn hold(
        &mut self,
        block: Block,
        from: P,
        verdict: Option<GossipId>,
        waits_for: WaitsFor,
        now: MonotonicMillis,
    ) -> bool {
        let from_peer = self.blocks.iter().filter(|held| held.from == from).count();
        let too_far = matches!(waits_for, WaitsFor::Time(at) if at.since(now) > MAX_HELD_FOR);
        if too_far || self.blocks.len() >= MAX_HELD_BLOCKS || from_peer >= MAX_HELD_BLOCKS_PER_PEER
        {
            return false;
        }
        let verdict_due = now.saturating_add(VERDICT_PATIENCE);
        self.blocks.push(Held {
            block,
            from,
            verdict,
            waits_for,
            verdict_due,
        });
        true
    }

    /// The peer is gone: what it passed on is judged now, because every item gets one verdict. Returns whose verdicts are
    /// due; blocks that wait for their time stay.
    pub(super) fn end_verdicts_of(&mut self, peer: &P) -> Vec<GossipId> {
        let mut ended = Vec::new();
        self.blocks.retain_mut(|held| {
            if held.from != *peer {
                return true;
            }
            ended.extend(held.verdict.take());
            matches!(held.waits_for, WaitsFor::Time(_))
        });
        ended
    }

    pub(super) fn next_due(&self) -> Option<MonotonicMillis> {
        self.blocks
            .iter()
            .map(|held| match (held.verdict, held.waits_for) {
                (None, WaitsFor::Time(at)) => at,
                (Some(_), WaitsFor::Time(at)) => at.min(held.verdict_due),
                (_, WaitsFor::Parent(_)) => held.verdict_due,
            })
            .min()
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Judges what can be judged now, and gives verdicts that are due.
    pub(super) fn retry_held(&mut self) {
        let now = self.now;
        let (ready, waiting): (Vec<_>, Vec<_>) = core::mem::take(&mut self.held.blocks)
            .into_iter()
            .partition(|held| match held.waits_for {
                WaitsFor::Parent(parent) => self.tree.block(&parent).is_some(),
                WaitsFor::Time(at) => at <= now,
            });
        self.held.blocks = waiting;
        for held in ready {
            self.judge_block(held.from, held.verdict, held.block);
        }
        let mut verdicts = Vec::new();
        self.held.blocks.retain_mut(|held| {
            if held.verdict_due > now {
                return true;
            }
            verdicts.extend(held.verdict.take().map(|id| (held.from, id)));
            matches!(held.waits_for, WaitsFor::Time(_))
        });
        for (from, id) in verdicts {
            self.outputs.push(Output::Judge {
                id,
                from,
                verdict: Verdict::Ignore,
            });
        }
    }
}
