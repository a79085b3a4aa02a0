//! When a block counts as confirmed. From then on its readings may not be lost.
//!
//! A block is confirmed after it was at least [`CONFIRMED_DEPTH`] deep on the best branch for
//! [`CONFIRMED_AFTER`], or on it at any depth for [`CONFIRMED_AT_ANY_DEPTH_AFTER`], while no better branch was being
//! fetched. Depth alone is not enough: mining a few blocks is cheap, and a newcomer whose first peer lies would
//! keep invented blocks forever.

use alloc::{collections::VecDeque, vec::Vec};
use core::fmt::Debug;

use heartchain_chain::{
    hash::BlockHash,
    time::MonotonicMillis,
    tree::{Switch, Tree},
};

use super::{context::Context, token_bucket::TokenBucket};
use crate::{
    config::{
        CONFIRMED_AFTER, CONFIRMED_AT_ANY_DEPTH_AFTER, CONFIRMED_DEPTH, CONFIRMED_WRITE_INTERVAL,
        FETCHING_BUDGET, FETCHING_BUDGET_RATE, TIP_SAMPLE_INTERVAL,
    },
    io::StoreOperation,
};

/// The best branch at one moment, lowered by reorgs since then.
#[derive(Clone, Copy, Debug)]
struct TipSample {
    at: MonotonicMillis,
    /// The height of the highest block that was deep enough.
    deep: u64,
    tip: u64,
}

/// What is confirmed, and the samples that confirm more with time.
#[derive(Clone, Debug)]
pub(crate) struct Confirmation {
    /// Oldest first. Heights never decrease from one sample to the next.
    samples: VecDeque<TipSample>,
    /// The confirmed height before the current input.
    index: u64,
    /// The height that was written last, and when.
    written: u64,
    written_at: MonotonicMillis,
    /// The height up to which another peer has the best branch as well. Nothing above it is confirmed, because
    /// a branch that no other peer has seen must be shared first.
    shared: u64,
    /// Whether a confirmed block is recorded on disk, as far as writes have succeeded.
    is_stored: bool,
    /// The block that was confirmed before the clock was set back, if it is held back now.
    held_back: Option<BlockHash>,
    /// When the machine last saw that a better branch was being fetched, if it still is.
    fetching_since: Option<MonotonicMillis>,
    /// How long peers may still delay confirmation, in ms.
    fetching_budget: TokenBucket,
}

/// Blocks that left the best branch, lowest first, so that an author's readings return in the order of their sequence numbers.
#[derive(Debug)]
pub(super) struct Left {
    /// Those that were confirmed. They are protected on disk.
    pub(super) confirmed: Vec<BlockHash>,
    pub(super) others: Vec<BlockHash>,
}

impl Confirmation {
    pub(super) fn new(now: MonotonicMillis) -> Self {
        Self {
            samples: VecDeque::new(),
            index: 0,
            written: 0,
            written_at: MonotonicMillis::default(),
            shared: 0,
            is_stored: false,
            held_back: None,
            fetching_since: None,
            fetching_budget: TokenBucket::full(FETCHING_BUDGET_RATE, FETCHING_BUDGET, now),
        }
    }

    /// At startup, the best branch is confirmed up to this height.
    pub(crate) fn restore(&mut self, index: u64, is_stored: bool) {
        self.index = index;
        self.written = index;
        self.shared = index;
        self.is_stored = is_stored;
    }

    /// A peer's best branch ends in this block, so our branch up to it is known to others.
    pub(super) fn mark_shared(&mut self, tree: &Tree, tip: &BlockHash) {
        if let Some(info) = tree.block(tip).filter(|info| info.on_best) {
            self.shared = self.shared.max(info.index);
        }
    }

    /// Whether the confirmed block on disk may change.
    pub(super) const fn may_advance(&self) -> bool {
        self.held_back.is_none()
    }

    /// The confirmed block was written.
    pub(super) fn on_written(&mut self) {
        self.is_stored = true;
    }

    /// The confirmed block could not be written.
    pub(super) fn on_write_failed(&mut self) {
        self.written = 0;
        self.is_stored = false;
    }

    /// A confirmed block is held back.
    pub(crate) fn hold_back(&mut self, hash: BlockHash) {
        self.held_back.get_or_insert(hash);
    }

    /// The best branch changed above this height.
    fn rewind_to(&mut self, fork_index: u64) {
        for sample in &mut self.samples {
            sample.deep = sample.deep.min(fork_index);
            sample.tip = sample.tip.min(fork_index);
        }
        self.index = self.index.min(fork_index);
        self.shared = self.shared.min(fork_index);
        self.written = self.written.min(fork_index);
    }

    /// A better branch is being fetched, so the wait of unconfirmed blocks starts over.
    fn restart_wait(&mut self, now: MonotonicMillis) {
        while self
            .samples
            .back()
            .is_some_and(|sample| now.since(sample.at) < CONFIRMED_AFTER)
        {
            self.samples.pop_back();
        }
    }

    fn sample(&mut self, tip: u64, now: MonotonicMillis) {
        let last = self.samples.back();
        let is_known = last.is_some_and(|sample| sample.tip == tip);
        let is_soon = last.is_some_and(|sample| now.since(sample.at) < TIP_SAMPLE_INTERVAL);
        if !is_known && !is_soon {
            let deep = (tip + 1).saturating_sub(CONFIRMED_DEPTH);
            self.samples.push_back(TipSample { at: now, deep, tip });
        }
    }

    /// When to sample a tip that came too soon after the last sample.
    pub(super) fn next_deadline(&self, tip: u64) -> Option<MonotonicMillis> {
        let last = self.samples.back().filter(|sample| sample.tip != tip)?;
        Some(last.at.saturating_add(TIP_SAMPLE_INTERVAL))
    }

    /// The height up to which the best branch is confirmed now.
    fn confirmed(&mut self, now: MonotonicMillis) -> u64 {
        let is_older = |sample: &&TipSample, age| now.since(sample.at) >= age;
        // Of the samples older than the longest wait, only the newest matters.
        while self
            .samples
            .get(1)
            .is_some_and(|second| is_older(&second, CONFIRMED_AT_ANY_DEPTH_AFTER))
        {
            self.samples.pop_front();
        }
        let anyway = self
            .samples
            .front()
            .filter(|sample| is_older(sample, CONFIRMED_AT_ANY_DEPTH_AFTER))
            .map_or(0, |sample| sample.tip);
        let young = self
            .samples
            .partition_point(|sample| is_older(&sample, CONFIRMED_AFTER));
        let deep = young
            .checked_sub(1)
            .and_then(|at| self.samples.get(at))
            .map_or(0, |sample| sample.deep);
        anyway.max(deep)
    }

    /// Handles the release of a held-back confirmed block. If its branch is the best one again, it is still confirmed. If not, it
    /// left, and is returned.
    pub(super) fn on_released(&mut self, tree: &mut Tree) -> Option<BlockHash> {
        let hash = self.held_back.take_if(|hash| !tree.is_held_back(hash))?;
        match tree.block(&hash) {
            Some(info) if info.on_best => {
                tree.confirm(info.index);
                self.index = tree.confirmed_index();
                None
            }
            _ => Some(hash),
        }
    }

    /// Confirms what is due, before the current input changes anything. Returns whether more is confirmed than before.
    pub(super) fn poll<P: Copy + Ord + Debug>(&mut self, ctx: &mut Context<P>) -> bool {
        let confirmed = self.confirmed(ctx.now()).min(self.shared);
        let before = ctx.tree.confirmed_index();
        ctx.tree.confirm(confirmed);
        self.index = ctx.tree.confirmed_index();
        self.index != before
    }

    /// Writes the confirmed block now and then.
    pub(super) fn write_if_due<P: Copy + Ord + Debug>(&mut self, ctx: &mut Context<P>) {
        let is_due = ctx.now().since(self.written_at) >= CONFIRMED_WRITE_INTERVAL;
        // The branch that is held back may have been confirmed further up.
        if is_due && self.index > self.written {
            self.write(ctx);
        }
    }

    /// The disk lost what was recorded.
    pub(super) fn on_store_reset<P: Copy + Ord + Debug>(&mut self, ctx: &mut Context<P>) {
        self.written = 0;
        self.is_stored = false;
        self.write(ctx);
    }

    fn write<P: Copy + Ord + Debug>(&mut self, ctx: &mut Context<P>) {
        if let Some(operation) = self.put_confirmed(ctx) {
            ctx.write(alloc::vec![operation]);
        }
    }

    /// Writes changes that are right because of what is confirmed, in one transaction with that fact.
    pub(super) fn write_with<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        operations: Vec<StoreOperation>,
    ) {
        if operations.is_empty() {
            return;
        }
        let confirmed = self.put_confirmed(ctx).into_iter();
        ctx.write(confirmed.chain(operations).collect());
    }

    /// Writes new bodies. The first ones come with the confirmed block: without it, a start would assume that what it
    /// finds is confirmed.
    pub(super) fn write_bodies<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        mut operations: Vec<StoreOperation>,
    ) {
        operations.extend(self.first_put_confirmed(ctx));
        ctx.write(operations);
    }

    /// Returns the operation that records the confirmed block. `None` if the one on disk may not change, because it is held back
    /// or blocks that left the best branch are not protected on disk yet.
    pub(super) fn put_confirmed<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &Context<P>,
    ) -> Option<StoreOperation> {
        if self.held_back.is_some() || ctx.writes.has_protection() {
            return None;
        }
        // Blocks that are confirmed at startup must be on disk with their bodies. A body below the recorded block that is written
        // again was there before.
        let on_best = |hash: &BlockHash| ctx.tree.block(hash).is_some_and(|info| info.on_best);
        let lowest = ctx.writes.lowest_body(on_best).unwrap_or(u64::MAX);
        let recorded = self.written.min(self.index);
        let index = self.index.min(lowest.saturating_sub(1)).max(recorded);
        let hash = ctx.tree.best_hash(index)?;
        self.written = index;
        self.written_at = ctx.now();
        Some(StoreOperation::PutConfirmed(hash))
    }

    fn first_put_confirmed<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &Context<P>,
    ) -> Option<StoreOperation> {
        (!self.is_stored).then(|| self.put_confirmed(ctx)).flatten()
    }

    /// The best branch changed. Writes the new tip and protects the confirmed blocks that left, in one transaction, so that no
    /// confirmed reading is lost.
    pub(super) fn on_switch<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        switch: &Switch,
    ) -> Left {
        let left = switch.disconnected.iter().rev().map(|moved| moved.hash);
        let mut confirmed: Vec<BlockHash> = left.collect();
        let many = self.index.saturating_sub(switch.fork_index);
        let many = usize::try_from(many).unwrap_or(usize::MAX);
        let others = confirmed.split_off(many.min(confirmed.len()));
        // First of all: no block above the fork is confirmed on the new branch.
        if !switch.disconnected.is_empty() {
            self.rewind_to(switch.fork_index);
        }
        let mut operations = alloc::vec![StoreOperation::PutTip(ctx.tree.tip().hash)];
        operations.extend(confirmed.iter().copied().map(StoreOperation::PutRecovery));
        operations.extend(self.first_put_confirmed(ctx));
        ctx.write(operations);
        Left { confirmed, others }
    }

    /// Samples the best branch after the current input. `is_fetching` says whether bodies of a longer branch are arriving.
    pub(super) fn sample_tip<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &Context<P>,
        is_fetching: bool,
    ) {
        let now = ctx.now();
        let since = self.fetching_since.take();
        if is_fetching {
            let passed = since.map_or(0, |since| now.since(since));
            self.fetching_since = Some(now);
            if self.fetching_budget.drain(passed, now) && self.fetching_budget.available(now) > 0 {
                return self.restart_wait(now);
            }
        }
        self.sample(ctx.tree.tip().index, now);
    }

    #[cfg(test)]
    fn samples(&self) -> usize {
        self.samples.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> MonotonicMillis {
        MonotonicMillis::new(ms)
    }

    #[test]
    fn depth_and_age_confirm_until_a_reorg() {
        let mut confirmation = Confirmation::new(at(0));
        confirmation.sample(10, at(0));
        assert_eq!(confirmation.confirmed(at(CONFIRMED_AFTER - 1)), 0);
        assert_eq!(confirmation.confirmed(at(CONFIRMED_AFTER)), 5);
        confirmation.sample(12, at(CONFIRMED_AFTER));
        assert_eq!(confirmation.confirmed(at(CONFIRMED_AFTER)), 5);
        let anyway = at(CONFIRMED_AT_ANY_DEPTH_AFTER);
        assert_eq!(confirmation.clone().confirmed(anyway), 10);
        confirmation.rewind_to(3);
        assert_eq!(confirmation.confirmed(anyway), 3);
    }

    #[test]
    fn fetching_restarts_the_wait() {
        let mut confirmation = Confirmation::new(at(0));
        confirmation.sample(10, at(0));
        confirmation.restart_wait(at(CONFIRMED_AFTER - 1));
        assert_eq!(confirmation.confirmed(at(CONFIRMED_AFTER)), 0);
        confirmation.sample(10, at(CONFIRMED_AFTER));
        confirmation.restart_wait(at(2 * CONFIRMED_AFTER));
        assert_eq!(confirmation.confirmed(at(2 * CONFIRMED_AFTER)), 5);
    }

    #[test]
    fn samples_are_bounded() {
        let mut confirmation = Confirmation::new(at(0));
        for tip in 0..100_000 {
            let now = at(tip * 100);
            confirmation.sample(tip, now);
            confirmation.confirmed(now);
        }
        let most = CONFIRMED_AT_ANY_DEPTH_AFTER / TIP_SAMPLE_INTERVAL + 2;
        assert!(confirmation.samples() as u64 <= most);
    }
}
