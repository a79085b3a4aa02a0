//! The difficulty rule: a linearly weighted moving average (LWMA) over median times. A [`Window`] is updated in
//! constant time and space for each header. It never reads a clock and does not check headers: those pushed are already
//! valid. Specified in docs/chain.md, "Difficulty".
//!
//! With T as the room's block interval, the rule for the next target is:
//!
//! - A block whose time is more than [`QUIET_INTERVALS`] intervals, and more than [`MIN_QUIET_MS`], after the latest of
//!   the last [`MEDIAN_BLOCKS`] block times is *quiet*: it needs only the room's floor, and the average starts over
//!   with it.
//! - Otherwise the target is the sum of the last [`LWMA_WINDOW`] targets times the weighted sum of their solve times,
//!   divided by 60 * (1 + 2 + ... + 60) * T. The newest block has weight 60, the oldest weight 1.
//! - A solve time is the difference of two median times, clamped to [`SOLVE_CLAMP`] * T.
//! - Where a branch is too short, and before its latest quiet block, blocks count as on time at the floor.
//! - The result stays within a factor of [`STEP_CLAMP`] of the parent's target and never exceeds the floor.
//!
//! The rule uses median times, not the blocks' own times. With the latter, a clock skew of two seconds makes blocks
//! come nearly three times too fast, and one fast clock collapses the difficulty.

use ruint::{Uint, aliases::U256};

use crate::{
    header::Header,
    room::Room,
    time::UnixMillis,
    work::{CompactTarget, Target, compact_from_leading_bits},
};

/// Number of blocks in the moving average.
pub const LWMA_WINDOW: usize = 60;
/// Number of block times in a median.
pub const MEDIAN_BLOCKS: usize = 11;
/// Maximum solve time of a block, in block intervals. With a looser clamp the difficulty oscillates.
pub const SOLVE_CLAMP: u64 = 6;
/// Maximum factor between a target and its parent's.
pub const STEP_CLAMP: u64 = 4;
/// A gap must exceed this many milliseconds to make the next block quiet.
pub const MIN_QUIET_MS: u64 = 60_000;
/// A gap must also exceed this many block intervals to make the next block quiet.
pub const QUIET_INTERVALS: u64 = 60;
/// Number of headers that determine a [`Window`]: those in the average, and those in the median time of the parent of
/// the oldest of these. The latter also decide whether the oldest block is quiet.
pub const WINDOW_HEADERS: usize = LWMA_WINDOW + MEDIAN_BLOCKS + 1;

/// Sum of the weights in the average: 1 + 2 + ... + 60.
const WEIGHTS: u64 = (LWMA_WINDOW as u64) * (LWMA_WINDOW as u64 + 1) / 2;

/// The product of the sum of 60 targets and the sum of weighted solve times takes at most 254 + 33 bits.
type Wide = Uint<320, 5>;

/// The state of the difficulty rule at the tip of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    floor: Target,
    floor_bits: CompactTarget,
    interval_ms: u64,
    tip_index: u64,
    tip_target: Target,
    tip_bits: CompactTarget,
    /// Median time past of the tip, see [`Window::mtp`].
    tip_mtp: UnixMillis,
    /// Ring buffer with the times of the last blocks, without genesis.
    times: [UnixMillis; MEDIAN_BLOCKS],
    /// The same times, sorted.
    sorted_times: [UnixMillis; MEDIAN_BLOCKS],
    /// Number of `times` in use.
    time_count: usize,
    /// Ring buffer with what the last blocks contribute to the average.
    entries: [Entry; LWMA_WINDOW],
    /// Sum of the entries' targets.
    targets: U256,
    /// Sum of the entries' solve times.
    solves_ms: u64,
    /// Sum of the entries' solve times, with weight 1 for the oldest and 60 for the newest.
    weighted_solves_ms: u64,
}

/// What one block contributes to the average.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    target: CompactTarget,
    /// 32 bits instead of 64, to halve the size of a window.
    solve_ms: u32,
}

impl Entry {
    /// `solve_ms` is at most [`SOLVE_CLAMP`] times the longest block interval, 3,600,000 ms.
    fn new(target: CompactTarget, solve_ms: u64) -> Self {
        let solve_ms = u32::try_from(solve_ms).unwrap_or(u32::MAX);
        Self { target, solve_ms }
    }
}

impl Window {
    /// The state at genesis, before the room's first block.
    #[must_use]
    pub fn genesis(room: &Room) -> Self {
        let mut window = Self {
            floor: room.floor(),
            floor_bits: room.floor().to_compact(),
            interval_ms: room.block_interval_ms(),
            tip_index: 0,
            tip_target: room.floor(),
            tip_bits: room.floor().to_compact(),
            tip_mtp: UnixMillis::default(),
            times: [UnixMillis::default(); MEDIAN_BLOCKS],
            sorted_times: [UnixMillis::default(); MEDIAN_BLOCKS],
            time_count: 0,
            entries: [Entry::new(room.floor().to_compact(), 0); LWMA_WINDOW],
            targets: U256::ZERO,
            solves_ms: 0,
            weighted_solves_ms: 0,
        };
        window.reset_to_floor();
        window
    }

    /// Computes the state from headers of a branch, oldest first: its newest [`WINDOW_HEADERS`], or all of them
    /// including genesis if the branch is shorter. The result equals the window obtained by pushing every header since
    /// genesis. Fewer headers without genesis do not determine the window.
    #[must_use]
    pub fn from_headers(room: &Room, headers: impl IntoIterator<Item = Header>) -> Self {
        let mut window = Self::genesis(room);
        for header in headers {
            window.push(&header);
        }
        window
    }

    /// Extends the branch by a valid header, in constant time.
    pub fn push(&mut self, header: &Header) {
        // The bits of a valid header always decode to a target.
        self.push_with_target(header, header.bits.target().unwrap_or(self.floor));
    }

    /// Like [`Self::push`], with the target already decoded from the header.
    pub(crate) fn push_with_target(&mut self, header: &Header, target: Target) {
        let Header {
            index, time, bits, ..
        } = *header;
        if index == 0 {
            return;
        }
        let quiet = index >= 2 && self.gap_is_quiet(time);
        let parent_mtp = self.tip_mtp;
        self.tip_index = index;
        self.tip_target = target;
        self.tip_bits = bits;
        self.push_time(time);
        if quiet {
            self.reset_to_floor();
        }
        if index >= 2 {
            let longest = SOLVE_CLAMP.saturating_mul(self.interval_ms);
            let solve_ms = self.tip_mtp.since(parent_mtp).min(longest);
            self.push_entry(Entry::new(bits, solve_ms), target);
        }
    }

    /// Index of the next block.
    #[must_use]
    pub const fn next_index(&self) -> u64 {
        self.tip_index.saturating_add(1)
    }

    /// Median time past: the median of the times of the newest block and up to ten ancestors, without genesis. At
    /// genesis it is the Unix epoch. It never decreases along a branch.
    #[must_use]
    pub const fn mtp(&self) -> UnixMillis {
        self.tip_mtp
    }

    /// Whether a next block with this time comes after a gap long enough that it needs only the floor's work.
    #[must_use]
    pub fn is_quiet(&self, time: UnixMillis) -> bool {
        self.next_index() >= 2 && self.gap_is_quiet(time)
    }

    /// The bits that the next block must have if its time is `time`.
    #[must_use]
    pub fn next_bits(&self, time: UnixMillis) -> CompactTarget {
        if self.is_quiet(time) {
            return self.floor_bits;
        }
        let product = self.product();
        self.fast_average(&product)
            .unwrap_or_else(|| self.average(&product).to_compact())
    }

    fn product(&self) -> Wide {
        self.targets
            .widening_mul(Uint::<64, 1>::from(self.weighted_solves_ms))
    }

    /// The divisor of the average. It is below 2^36 even with the longest block interval.
    fn divisor(&self) -> u64 {
        (LWMA_WINDOW as u64)
            .saturating_mul(WEIGHTS)
            .saturating_mul(self.interval_ms)
    }

    /// The compact form of [`Self::average`] by one 64-bit division. Compact bits are the leading digits of a number,
    /// and those of a quotient follow from those of the dividend, because rounding down twice equals rounding down
    /// once. Returns `None` if a clamp may apply or the product is short.
    fn fast_average(&self, product: &Wide) -> Option<CompactTarget> {
        let (leading, exponent) = product.most_significant_bits();
        if exponent == 0 {
            return None;
        }
        let average = leading.checked_div(self.divisor())?;
        let average = compact_from_leading_bits(average, exponent)?;
        average
            .is_within_step_clamp(self.tip_bits)
            .then(|| average.min_canonical(self.floor_bits))
    }

    /// The average over the last blocks, clamped to [`STEP_CLAMP`] and the floor.
    fn average(&self, product: &Wide) -> Target {
        let average: U256 = (*product / Wide::from(self.divisor())).saturating_to();

        let parent = self.tip_target.to_uint();
        let step = U256::from(STEP_CLAMP);
        let average = average.clamp(parent / step, parent.saturating_mul(step));
        Target::from_uint(average.min(self.floor.to_uint()))
    }

    fn gap_is_quiet(&self, time: UnixMillis) -> bool {
        let limit = QUIET_INTERVALS
            .saturating_mul(self.interval_ms)
            .max(MIN_QUIET_MS);
        self.time_count
            .checked_sub(1)
            .and_then(|last| self.sorted_times.get(last))
            .is_some_and(|latest| time.since(*latest) > limit)
    }

    /// Adds the newest block's time and updates the median.
    fn push_time(&mut self, time: UnixMillis) {
        // The block with index 1 is the first in the ring.
        let Some(slot) = self
            .times
            .get_mut(ring_index(self.tip_index - 1, MEDIAN_BLOCKS))
        else {
            return;
        };
        let oldest = core::mem::replace(slot, time);
        let sorted = &mut self.sorted_times;
        // Append while there is space, else replace the oldest one.
        let mut at = self.time_count;
        if at == MEDIAN_BLOCKS {
            at = sorted
                .iter()
                .position(|other| *other == oldest)
                .unwrap_or(0);
        }
        self.time_count = MEDIAN_BLOCKS.min(self.time_count + 1);
        if let Some(slot) = sorted.get_mut(at) {
            *slot = time;
        }
        while at + 1 < self.time_count && sorted.get(at) > sorted.get(at + 1) {
            sorted.swap(at, at + 1);
            at += 1;
        }
        while at > 0 && sorted.get(at - 1) > sorted.get(at) {
            sorted.swap(at - 1, at);
            at -= 1;
        }
        self.tip_mtp = sorted.get(self.time_count / 2).copied().unwrap_or_default();
    }

    /// Resets all entries, as if the last blocks had come exactly on time at the floor.
    fn reset_to_floor(&mut self) {
        let interval_ms = self.interval_ms;
        self.entries = [Entry::new(self.floor_bits, interval_ms); LWMA_WINDOW];
        self.targets = self.floor.to_uint().saturating_mul(U256::from(LWMA_WINDOW));
        self.solves_ms = interval_ms.saturating_mul(LWMA_WINDOW as u64);
        self.weighted_solves_ms = interval_ms.saturating_mul(WEIGHTS);
    }

    /// Replaces the oldest entry with the newest block's, whose target is `target`.
    fn push_entry(&mut self, entry: Entry, target: Target) {
        let Some(slot) = self
            .entries
            .get_mut(ring_index(self.tip_index, LWMA_WINDOW))
        else {
            return;
        };
        let oldest = core::mem::replace(slot, entry);
        if oldest.target != entry.target {
            let oldest = oldest.target.target().unwrap_or(self.floor);
            self.targets = self.targets - oldest.to_uint() + target.to_uint();
        }
        let newest = u64::from(entry.solve_ms);
        // The weight of every entry falls by one, which removes the oldest.
        self.weighted_solves_ms =
            self.weighted_solves_ms - self.solves_ms + newest * LWMA_WINDOW as u64;
        self.solves_ms = self.solves_ms - u64::from(oldest.solve_ms) + newest;
    }
}

/// The slot for this block index in a ring buffer of length `len`.
fn ring_index(index: u64, len: usize) -> usize {
    usize::try_from(index % len as u64).unwrap_or_default()
}
