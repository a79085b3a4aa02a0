//! When a block counts as confirmed. From then on its readings may not be lost.
//!
//! A block is confirmed after it was at least [`CONFIRMED_DEPTH`] deep on the best branch for
//! [`CONFIRMED_AFTER`], or on it at any depth for [`CONFIRMED_AT_ANY_DEPTH_AFTER`], while no better branch was being
//! fetched. Depth alone is not enough: mining a few blocks is cheap, and a newcomer whose first peer lies would
//! keep invented blocks forever.

use alloc::collections::VecDeque;
use core::fmt::Debug;

use heartchain_chain::{hash::BlockHash, time::MonotonicMillis};

use super::Machine;
use crate::{
    config::{
        COMPETING_BLOCKS, CONFIRMED_AFTER, CONFIRMED_AT_ANY_DEPTH_AFTER, CONFIRMED_DEPTH,
        CONFIRMED_WRITE_INTERVAL, TIP_SAMPLE_INTERVAL,
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
#[derive(Clone, Debug, Default)]
pub(super) struct Confirmation {
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
    /// Whether a confirmed block is recorded on disk.
    is_stored: bool,
    /// The block that was confirmed before the clock was set back, if it is held back now.
    held_back: Option<BlockHash>,
}

impl Confirmation {
    /// The height up to which the best branch was confirmed before the current input changed it.
    pub(super) const fn index(&self) -> u64 {
        self.index
    }

    /// At startup, the best branch is confirmed up to this height.
    pub(super) fn restore(&mut self, index: u64, is_stored: bool) {
        self.index = index;
        self.written = index;
        self.shared = index;
        self.is_stored = is_stored;
    }

    /// Another peer's best branch contains our block at this height.
    pub(super) fn mark_shared(&mut self, index: u64) {
        self.shared = self.shared.max(index);
    }

    /// Whether the confirmed block on disk may change.
    pub(super) const fn may_advance(&self) -> bool {
        self.held_back.is_none()
    }

    /// The confirmed block could not be written.
    pub(super) fn write_failed(&mut self) {
        self.written = 0;
        self.is_stored = false;
    }

    /// A confirmed block is held back.
    pub(super) fn hold_back(&mut self, hash: BlockHash) {
        self.held_back.get_or_insert(hash);
    }

    /// The best branch changed above this height.
    pub(super) fn rewind_to(&mut self, fork_index: u64) {
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
    pub(super) fn sample_due(&self, tip: u64) -> Option<MonotonicMillis> {
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

    #[cfg(test)]
    fn samples(&self) -> usize {
        self.samples.len()
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Handles the release of a held-back confirmed block. If its branch is the best one again, it is still confirmed.
    pub(super) fn confirm_released(&mut self) {
        let Some(hash) = self.confirmation.held_back else {
            return;
        };
        if self.tree.is_held_back(&hash) {
            return;
        }
        self.confirmation.held_back = None;
        if let Some(info) = self.tree.block(&hash).filter(|info| info.on_best) {
            self.tree.confirm(info.index);
            self.confirmation.index = self.tree.confirmed_index();
        }
    }

    /// Confirms what is due, before the current input changes anything.
    pub(super) fn confirm(&mut self) {
        let confirmed = self.confirmation.confirmed(self.now);
        let confirmed = confirmed.min(self.confirmation.shared);
        let before = self.tree.confirmed_index();
        self.tree.confirm(confirmed);
        let index = self.tree.confirmed_index();
        self.confirmation.index = index;
        if index != before {
            self.forget_confirmed_adopted();
        }
        let is_due = self
            .now
            .since(self.confirmation.written_at)
            .ge(&CONFIRMED_WRITE_INTERVAL);
        // The branch that is held back may have been confirmed further up.
        if is_due && index > self.confirmation.written {
            self.write_confirmed();
        }
    }

    pub(super) fn write_confirmed(&mut self) {
        if let Some(operation) = self.put_confirmed() {
            self.write(alloc::vec![operation], false);
        }
    }

    /// Returns the operation that records the confirmed block. `None` if the one on disk may not change because
    /// it is held back.
    pub(super) fn put_confirmed(&mut self) -> Option<StoreOperation> {
        if self.confirmation.held_back.is_some() {
            return None;
        }
        // Blocks that are confirmed at startup must be on disk with their bodies.
        let lowest = self.unwritten.lowest_body().unwrap_or(u64::MAX);
        let index = self.confirmation.index.min(lowest.saturating_sub(1));
        let hash = self.tree.best_hash(index)?;
        self.confirmation.written = index;
        self.confirmation.is_stored = true;
        self.confirmation.written_at = self.now;
        Some(StoreOperation::PutConfirmed(hash))
    }

    /// The first such operation, written with the first tip. Without it, a start would assume that what it
    /// finds is confirmed.
    pub(super) fn first_put_confirmed(&mut self) -> Option<StoreOperation> {
        (!self.confirmation.is_stored)
            .then(|| self.put_confirmed())
            .flatten()
    }

    /// Samples the best branch after the current input.
    pub(super) fn sample_tip(&mut self) {
        let since = self.fetching_since.take();
        let longer = self
            .download
            .target
            .is_some_and(|target| target.index > self.tree.tip().index + COMPETING_BLOCKS);
        if longer && self.is_fetching() {
            let passed = since.map_or(0, |since| self.now.since(since));
            self.fetching_since = Some(self.now);
            if self.fetching_budget.drain(passed, self.now)
                && self.fetching_budget.available(self.now) > 0
            {
                return self.confirmation.restart_wait(self.now);
            }
        }
        let tip = self.tree.tip().index;
        self.confirmation.sample(tip, self.now);
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
        let mut confirmation = Confirmation::default();
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
        let mut confirmation = Confirmation::default();
        confirmation.sample(10, at(0));
        confirmation.restart_wait(at(CONFIRMED_AFTER - 1));
        assert_eq!(confirmation.confirmed(at(CONFIRMED_AFTER)), 0);
        confirmation.sample(10, at(CONFIRMED_AFTER));
        confirmation.restart_wait(at(2 * CONFIRMED_AFTER));
        assert_eq!(confirmation.confirmed(at(2 * CONFIRMED_AFTER)), 5);
    }

    #[test]
    fn samples_are_bounded() {
        let mut confirmation = Confirmation::default();
        for tip in 0..100_000 {
            let now = at(tip * 100);
            confirmation.sample(tip, now);
            confirmation.confirmed(now);
        }
        let most = CONFIRMED_AT_ANY_DEPTH_AFTER / TIP_SAMPLE_INTERVAL + 2;
        assert!(confirmation.samples() as u64 <= most);
    }
}
