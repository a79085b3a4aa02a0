//! When a block counts as confirmed: its readings may not be lost from then on.
//!
//! A block is confirmed once it was on the best branch [`CONFIRMED_DEPTH`] deep for [`CONFIRMED_AFTER`], or at any depth
//! for [`CONFIRMED_ANYWAY_AFTER`], while no better branch was being fetched. The time matters beside the depth: to
//! hash some blocks is cheap, and a newcomer that first met a liar would keep what that one made up forever.

use alloc::collections::VecDeque;
use core::fmt::Debug;

use chain::{hash::BlockHash, time::MonotonicMillis};

use super::Machine;
use crate::{
    config::{
        COMPETING_BLOCKS, CONFIRMED_AFTER, CONFIRMED_ANYWAY_AFTER, CONFIRMED_DEPTH,
        CONFIRMED_WRITE_INTERVAL, TIP_SAMPLE_INTERVAL,
    },
    seam::StoreOperation,
};

/// The best branch as it was at one moment, as far as it has not changed since.
#[derive(Clone, Copy, Debug)]
struct TipSample {
    at: MonotonicMillis,
    /// The height of the highest block that was deep enough.
    deep: u64,
    tip: u64,
}

/// What is confirmed, and what is on its way there.
#[derive(Clone, Debug, Default)]
pub(super) struct Confirmation {
    /// The oldest first. Heights never fall from one to the next.
    samples: VecDeque<TipSample>,
    /// The height up to which the best branch was confirmed before the input at hand.
    index: u64,
    /// The height that was written last, and when.
    written: u64,
    written_at: MonotonicMillis,
    /// The height up to which some peer has the best branch, too: only such a part is confirmed, because what no other peer has
    /// seen has to be shared first.
    shared: u64,
    /// Whether the disk has such a mark at all.
    is_marked: bool,
    /// What was confirmed before the clock was set back, if that part of the branch is held back now.
    held_back: Option<BlockHash>,
}

impl Confirmation {
    /// The height up to which the best branch was confirmed before the input at hand changed it.
    pub(super) const fn index(&self) -> u64 {
        self.index
    }

    /// A start finds the best branch confirmed up to this height.
    pub(super) fn restore(&mut self, index: u64, is_marked: bool) {
        self.index = index;
        self.written = index;
        self.shared = index;
        self.is_marked = is_marked;
    }

    /// A peer's best branch has this block of ours.
    pub(super) fn note_shared(&mut self, index: u64) {
        self.shared = self.shared.max(index);
    }

    /// Whether the mark on disk may change.
    pub(super) const fn may_move(&self) -> bool {
        self.held_back.is_none()
    }

    /// The mark did not reach the disk.
    pub(super) fn write_failed(&mut self) {
        self.written = 0;
        self.is_marked = false;
    }

    /// This confirmed block is held back.
    pub(super) fn hold_back(&mut self, hash: BlockHash) {
        self.held_back.get_or_insert(hash);
    }

    /// The best branch is another one above this height.
    pub(super) fn left(&mut self, fork_index: u64) {
        for sample in &mut self.samples {
            sample.deep = sample.deep.min(fork_index);
            sample.tip = sample.tip.min(fork_index);
        }
        self.index = self.index.min(fork_index);
        self.shared = self.shared.min(fork_index);
        self.written = self.written.min(fork_index);
    }

    /// A better branch is being fetched: what is not confirmed yet has to wait from the beginning.
    fn begin_again(&mut self, now: MonotonicMillis) {
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

    /// When a tip that came too soon after the last note is to be noted.
    pub(super) fn sample_due(&self, tip: u64) -> Option<MonotonicMillis> {
        let last = self.samples.back().filter(|sample| sample.tip != tip)?;
        Some(last.at.saturating_add(TIP_SAMPLE_INTERVAL))
    }

    /// The height up to which the best branch is confirmed by now.
    fn confirmed(&mut self, now: MonotonicMillis) -> u64 {
        let old = |sample: &&TipSample, age| now.since(sample.at) >= age;
        // Only the newest of those that are as old as can matter says something.
        while self
            .samples
            .get(1)
            .is_some_and(|second| old(&second, CONFIRMED_ANYWAY_AFTER))
        {
            self.samples.pop_front();
        }
        let anyway = self
            .samples
            .front()
            .filter(|sample| old(sample, CONFIRMED_ANYWAY_AFTER))
            .map_or(0, |sample| sample.tip);
        let young = self
            .samples
            .partition_point(|sample| old(&sample, CONFIRMED_AFTER));
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
    /// What was held back is due: if the branch that was confirmed is the best one again, it still is confirmed.
    pub(super) fn confirm_released(&mut self) {
        let Some(hash) = self.confirmation.held_back else {
            return;
        };
        if self.tree.is_held_back(&hash) {
            return;
        }
        self.confirmation.held_back = None;
        if let Some(info) = self.tree.block(&hash).filter(|info| info.on_best) {
            self.tree.settle(info.index);
            self.confirmation.index = self.tree.settled_index();
        }
    }

    /// Confirms what is due, before the input at hand changes anything.
    pub(super) fn confirm(&mut self) {
        let confirmed = self.confirmation.confirmed(self.now);
        let confirmed = confirmed.min(self.confirmation.shared);
        let before = self.tree.settled_index();
        self.tree.settle(confirmed);
        let index = self.tree.settled_index();
        self.confirmation.index = index;
        if index != before {
            self.forget_settled_adopted();
        }
        let is_due = self
            .now
            .since(self.confirmation.written_at)
            .ge(&CONFIRMED_WRITE_INTERVAL);
        // What is held back may have been confirmed further than that.
        if is_due && index > self.confirmation.written {
            self.write_confirmed();
        }
    }

    pub(super) fn write_confirmed(&mut self) {
        if let Some(mark) = self.confirmed_mark() {
            self.write(alloc::vec![mark], false);
        }
    }

    /// The mark to be written, of how far the best branch is confirmed; `None` if the one on disk may not change, because its
    /// block is held back.
    pub(super) fn confirmed_mark(&mut self) -> Option<StoreOperation> {
        if self.confirmation.held_back.is_some() {
            return None;
        }
        // What a start finds confirmed must be there.
        let lowest = self.unwritten.lowest_body().unwrap_or(u64::MAX);
        let index = self.confirmation.index.min(lowest.saturating_sub(1));
        let hash = self.tree.best_hash(index)?;
        self.confirmation.written = index;
        self.confirmation.is_marked = true;
        self.confirmation.written_at = self.now;
        Some(StoreOperation::PutConfirmed(hash))
    }

    /// The first mark, beside the first tip: without one, a start takes what it finds for confirmed.
    pub(super) fn first_mark(&mut self) -> Option<StoreOperation> {
        (!self.confirmation.is_marked)
            .then(|| self.confirmed_mark())
            .flatten()
    }

    /// Notes the best branch as it is after the input at hand.
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
                && self.fetching_budget.left(self.now) > 0
            {
                return self.confirmation.begin_again(self.now);
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
    fn depth_and_time_confirm_and_a_fork_undoes() {
        let mut confirmation = Confirmation::default();
        confirmation.sample(10, at(0));
        assert_eq!(confirmation.confirmed(at(CONFIRMED_AFTER - 1)), 0);
        assert_eq!(confirmation.confirmed(at(CONFIRMED_AFTER)), 5);
        confirmation.sample(12, at(CONFIRMED_AFTER));
        assert_eq!(confirmation.confirmed(at(CONFIRMED_AFTER)), 5);
        let anyway = at(CONFIRMED_ANYWAY_AFTER);
        assert_eq!(confirmation.clone().confirmed(anyway), 10);
        confirmation.left(3);
        assert_eq!(confirmation.confirmed(anyway), 3);
    }

    #[test]
    fn fetching_begins_the_wait_again() {
        let mut confirmation = Confirmation::default();
        confirmation.sample(10, at(0));
        confirmation.begin_again(at(CONFIRMED_AFTER - 1));
        assert_eq!(confirmation.confirmed(at(CONFIRMED_AFTER)), 0);
        confirmation.sample(10, at(CONFIRMED_AFTER));
        confirmation.begin_again(at(2 * CONFIRMED_AFTER));
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
        let most = CONFIRMED_ANYWAY_AFTER / TIP_SAMPLE_INTERVAL + 2;
        assert!(confirmation.samples() as u64 <= most);
    }
}
