//! What work a block needs: a linearly weighted moving average over median times, kept up in constant time and space a
//! header. It never reads a clock and never judges a header; the headers it is given are valid already.
//!
//! Median times, and not the blocks' own, because with those a clock skew of two seconds makes blocks come nearly three
//! times too fast, and one fast clock collapses the difficulty.

use ruint::{Uint, aliases::U256};

use crate::{
    header::Header,
    room::Room,
    time::UnixMillis,
    work::{CompactTarget, Target, compact_of_leading_bits},
};

/// Blocks that the average is taken over.
pub const LWMA_WINDOW: usize = 60;
/// Blocks whose times a median is taken of.
pub const MEDIAN_BLOCKS: usize = 11;
/// The longest time that one block counts for, in block intervals. Looser clamps oscillate.
pub const SOLVE_CLAMP: u64 = 6;
/// The factor by which a target may differ from its parent's.
pub const STEP_CLAMP: u64 = 4;
/// The shortest gap after which a room counts as quiet, in milliseconds.
pub const MIN_QUIET_MS: u64 = 60_000;
/// The shortest gap after which a room counts as quiet, in block intervals.
pub const QUIET_INTERVALS: u64 = 60;
/// Headers that a [`Window`] follows from: the average's, and the median's of the oldest one's parent, which is also as
/// far as one looks back to know whether the oldest one is quiet.
pub const WINDOW_HEADERS: usize = LWMA_WINDOW + MEDIAN_BLOCKS + 1;

/// Sum of the average's weights, 1 + 2 + ... + 60.
const WEIGHTS: u64 = (LWMA_WINDOW as u64) * (LWMA_WINDOW as u64 + 1) / 2;

/// A sum of 60 targets times a sum of weighted solve times takes at most 254 + 33 bits.
type Wide = Uint<320, 5>;

/// What the difficulty rule needs to know of a branch's last blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    floor: Target,
    floor_bits: CompactTarget,
    interval_ms: u64,
    tip_index: u64,
    tip_target: Target,
    tip_bits: CompactTarget,
    /// `mtp(tip)`
    tip_mtp: UnixMillis,
    /// The last blocks' times, each at its index modulo the length; genesis left out.
    times: [UnixMillis; MEDIAN_BLOCKS],
    /// The same, the earliest first.
    sorted_times: [UnixMillis; MEDIAN_BLOCKS],
    /// How many of `times` are known.
    times_known: usize,
    /// What the last blocks count with, each at its index modulo the length.
    entries: [Entry; LWMA_WINDOW],
    /// Sum of the entries' targets.
    targets: U256,
    /// Sum of the entries' solve times.
    solves_ms: u64,
    /// Sum of the entries' solve times, the oldest taken once, the newest 60 times.
    weighted_solves_ms: u64,
}

/// What one block counts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    target: CompactTarget,
    /// Half as wide as other times, so that a window takes half the room.
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
    /// Before a room's first block.
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
            times_known: 0,
            entries: [Entry::new(room.floor().to_compact(), 0); LWMA_WINDOW],
            targets: U256::ZERO,
            solves_ms: 0,
            weighted_solves_ms: 0,
        };
        window.start_calm();
        window
    }

    /// From the newest [`WINDOW_HEADERS`] of a branch's headers, or all of them, genesis included, if there are fewer;
    /// oldest first. It equals the window that extending from genesis gives; of fewer headers without genesis it
    /// could not know that.
    #[must_use]
    pub fn from_headers(room: &Room, headers: impl IntoIterator<Item = Header>) -> Self {
        let mut window = Self::genesis(room);
        for header in headers {
            window.push(&header);
        }
        window
    }

    /// Extends the branch by a header that has been judged valid, in constant time.
    pub fn push(&mut self, header: &Header) {
        // A valid header's bits are a target.
        self.push_judged(header, header.bits.target().unwrap_or(self.floor));
    }

    /// The same, the header's target known already.
    pub(crate) fn push_judged(&mut self, header: &Header, target: Target) {
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
            self.start_calm();
        }
        if index >= 2 {
            let longest = SOLVE_CLAMP.saturating_mul(self.interval_ms);
            let solve_ms = self.tip_mtp.since(parent_mtp).min(longest);
            self.push_entry(Entry::new(bits, solve_ms), target);
        }
    }

    /// Index of the block that comes next.
    #[must_use]
    pub const fn next_index(&self) -> u64 {
        self.tip_index.saturating_add(1)
    }

    /// Median time past: the times of the newest block and up to ten ancestors, genesis left out, sorted, the one in
    /// the middle. Of genesis the epoch. It never decreases along a branch.
    #[must_use]
    pub const fn mtp(&self) -> UnixMillis {
        self.tip_mtp
    }

    /// Whether a next block of this time comes after so long a silence that it needs only the floor's work.
    #[must_use]
    pub fn is_quiet(&self, time: UnixMillis) -> bool {
        self.next_index() >= 2 && self.gap_is_quiet(time)
    }

    /// The bits that the next block must have if it has this time.
    #[must_use]
    pub fn next_bits(&self, time: UnixMillis) -> CompactTarget {
        if self.is_quiet(time) {
            return self.floor_bits;
        }
        let product = self.product();
        self.quick_average(&product)
            .unwrap_or_else(|| self.average(&product).to_compact())
    }

    fn product(&self) -> Wide {
        self.targets
            .widening_mul(Uint::<64, 1>::from(self.weighted_solves_ms))
    }

    /// What the average is a share of; below 2^36, with the longest block interval.
    fn divisor(&self) -> u64 {
        (LWMA_WINDOW as u64)
            .saturating_mul(WEIGHTS)
            .saturating_mul(self.interval_ms)
    }

    /// The same as [`Self::average`] as compact bits, but by one division of 64 bits, where these tell: compact bits
    /// are a number's leading digits, and those of a quotient follow from those of the dividend, because rounding
    /// down twice is rounding down once. `None` where the clamps may matter or the product is short.
    fn quick_average(&self, product: &Wide) -> Option<CompactTarget> {
        let (leading, exponent) = product.most_significant_bits();
        if exponent == 0 {
            return None;
        }
        let average = leading.checked_div(self.divisor())?;
        let average = compact_of_leading_bits(average, exponent)?;
        average
            .is_within_a_quarter_and_four_times(self.tip_bits)
            .then(|| average.min_canonical(self.floor_bits))
    }

    /// The target that follows from the last blocks, clamped.
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
        self.times_known
            .checked_sub(1)
            .and_then(|last| self.sorted_times.get(last))
            .is_some_and(|latest| time.since(*latest) > limit)
    }

    /// Takes the newest block's time, and the median with it.
    fn push_time(&mut self, time: UnixMillis) {
        // The first block, of index 1, is first in the ring.
        let Some(place) = self
            .times
            .get_mut(ring_place(self.tip_index - 1, MEDIAN_BLOCKS))
        else {
            return;
        };
        let oldest = core::mem::replace(place, time);
        let sorted = &mut self.sorted_times;
        // Where there is room: behind the last one; else in place of the oldest one.
        let mut at = self.times_known;
        if at == MEDIAN_BLOCKS {
            at = sorted
                .iter()
                .position(|known| *known == oldest)
                .unwrap_or(0);
        }
        self.times_known = MEDIAN_BLOCKS.min(self.times_known + 1);
        if let Some(place) = sorted.get_mut(at) {
            *place = time;
        }
        while at + 1 < self.times_known && sorted.get(at) > sorted.get(at + 1) {
            sorted.swap(at, at + 1);
            at += 1;
        }
        while at > 0 && sorted.get(at - 1) > sorted.get(at) {
            sorted.swap(at - 1, at);
            at -= 1;
        }
        self.tip_mtp = sorted
            .get(self.times_known / 2)
            .copied()
            .unwrap_or_default();
    }

    /// Makes all entries count as if blocks had come in time at the floor.
    fn start_calm(&mut self) {
        let interval_ms = self.interval_ms;
        self.entries = [Entry::new(self.floor_bits, interval_ms); LWMA_WINDOW];
        self.targets = self.floor.to_uint().saturating_mul(U256::from(LWMA_WINDOW));
        self.solves_ms = interval_ms.saturating_mul(LWMA_WINDOW as u64);
        self.weighted_solves_ms = interval_ms.saturating_mul(WEIGHTS);
    }

    /// Puts the newest block's entry, of this target, in the place of the oldest one.
    fn push_entry(&mut self, entry: Entry, target: Target) {
        let Some(place) = self
            .entries
            .get_mut(ring_place(self.tip_index, LWMA_WINDOW))
        else {
            return;
        };
        let oldest = core::mem::replace(place, entry);
        if oldest.target != entry.target {
            let oldest = oldest.target.target().unwrap_or(self.floor);
            self.targets = self.targets - oldest.to_uint() + target.to_uint();
        }
        let newest = u64::from(entry.solve_ms);
        // Every entry's weight falls by one, which takes the oldest out.
        self.weighted_solves_ms =
            self.weighted_solves_ms - self.solves_ms + newest * LWMA_WINDOW as u64;
        self.solves_ms = self.solves_ms - u64::from(oldest.solve_ms) + newest;
    }
}

/// Where a ring of so many places keeps what belongs to this index.
fn ring_place(index: u64, places: usize) -> usize {
    usize::try_from(index % places as u64).unwrap_or_default()
}
