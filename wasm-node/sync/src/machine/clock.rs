//! The times that blocks and readings are judged by: the local clocks, and the wall clock as corrected by those of peers. Reads no
//! clock.

use alloc::vec::Vec;

use heartchain_chain::{
    compact_sort,
    time::{MonotonicMillis, UnixMillis},
};

use crate::{
    config::{MAX_CLOCK_OFFSET, MIN_CLOCK_OFFSET, MIN_CLOCKS, Millis},
    io::Now,
};

/// Both clocks at the current input, and by how much peers correct the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started_at: MonotonicMillis,
    monotonic: MonotonicMillis,
    wall: UnixMillis,
    offset: Option<i64>,
}

impl Clock {
    pub(super) const fn new(now: Now) -> Self {
        Self {
            started_at: now.monotonic,
            monotonic: now.monotonic,
            wall: now.wall,
            offset: None,
        }
    }

    /// A monotonic clock that goes back is broken. Treating it as standing still is the best that can be done.
    pub(super) fn advance(&mut self, now: Now) {
        self.monotonic = self.monotonic.max(now.monotonic);
        self.wall = now.wall;
    }

    /// Sets the median of the peers' clock offsets.
    pub(super) fn correct(&mut self, offset: Option<i64>) {
        self.offset = offset;
    }

    /// The median of the peers' clocks minus ours in ms, if enough are known.
    pub(crate) const fn offset(&self) -> Option<i64> {
        self.offset
    }

    pub(super) const fn now(&self) -> MonotonicMillis {
        self.monotonic
    }

    pub(crate) const fn wall(&self) -> UnixMillis {
        self.wall
    }

    /// When the machine has been running for this long in ms.
    pub(crate) const fn after_start(&self, ms: Millis) -> MonotonicMillis {
        self.started_at.saturating_add(ms)
    }

    /// The wall clock as corrected by those of peers.
    pub(super) fn corrected(&self) -> UnixMillis {
        adjusted(self.wall, self.offset)
    }

    /// The later of the wall clock and the corrected clock, to check blocks with. Peers with slow clocks, or
    /// that claim to have them, cannot make this peer refuse blocks that its own clock accepts.
    pub(super) fn latest(&self) -> UnixMillis {
        self.wall.max(adjusted(self.wall, self.offset))
    }

    /// The earlier of the two, to timestamp blocks with. Peers with fast clocks, or that claim to have them,
    /// cannot make this peer mine blocks that others refuse.
    pub(super) fn earliest(&self) -> UnixMillis {
        self.wall.min(adjusted(self.wall, self.offset))
    }

    /// The monotonic time at which a block with this timestamp is due, as far as can be known now.
    pub(super) fn due(&self, at: UnixMillis) -> MonotonicMillis {
        self.monotonic.saturating_add(at.since(self.latest()))
    }
}

/// The median of the peers' clock offsets (their clock minus ours, in ms) and our own offset 0, if enough peers
/// are known. Of the two middle values of an even number, it takes the one nearer to 0, so that liars must be
/// the majority to move the clock.
pub(super) fn median_offset(offsets: impl Iterator<Item = i64>) -> Option<i64> {
    let mut offsets: Vec<i64> = offsets.collect();
    if offsets.len() < MIN_CLOCKS {
        return None;
    }
    offsets.push(0);
    compact_sort::sort(&mut offsets);
    let upper = offsets.get(offsets.len() / 2).copied()?;
    let lower = offsets.get((offsets.len() - 1) / 2).copied()?;
    Some(core::cmp::min_by_key(lower, upper, |offset| {
        offset.unsigned_abs()
    }))
}

/// The time to judge by: the local clock, corrected by the median offset if that is neither negligible nor so
/// large that a person must set the clock. Larger offsets are ignored instead of clamped. Otherwise the boldest
/// liars would gain most.
fn adjusted(now: UnixMillis, offset: Option<i64>) -> UnixMillis {
    match offset.map(|offset| (offset < 0, offset.unsigned_abs())) {
        Some((slower, by)) if (MIN_CLOCK_OFFSET + 1..=MAX_CLOCK_OFFSET).contains(&by) => {
            if slower {
                now.saturating_sub(by)
            } else {
                now.saturating_add(by)
            }
        }
        _ => now,
    }
}

/// A peer's clock minus ours in ms, if its clock showed `theirs` between `sent` and `received` on ours.
pub(super) fn offset(theirs: UnixMillis, sent: UnixMillis, received: UnixMillis) -> i64 {
    let middle = sent.get() / 2 + received.get() / 2;
    i64::try_from(i128::from(theirs.get()) - i128::from(middle)).unwrap_or(
        if theirs.get() > middle {
            i64::MAX
        } else {
            i64::MIN
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minority_of_liars_does_not_move_clock() {
        assert_eq!(median_offset([0, 10, 3_600_000].into_iter()), Some(0));
        assert_eq!(
            median_offset([10, 3_600_000, 3_600_000].into_iter()),
            Some(10)
        );
        assert_eq!(
            median_offset([-3_600_000, -10, -3_600_000].into_iter()),
            Some(-10)
        );
    }

    #[test]
    fn majority_corrects_own_clock() {
        assert_eq!(
            median_offset([600_000, 600_003, 0, 600_001].into_iter()),
            Some(600_000)
        );
        assert_eq!(
            median_offset([-600_000, -600_003, -600_001].into_iter()),
            Some(-600_000)
        );
    }

    #[test]
    fn two_clocks_are_not_enough() {
        assert_eq!(median_offset([60_000, 60_000].into_iter()), None);
    }

    #[test]
    fn small_and_large_offsets_are_not_corrected() {
        let now = UnixMillis::new(10_000_000_000);
        let most = i64::try_from(MAX_CLOCK_OFFSET).expect("an hour");
        for (offset, corrected) in [
            (5_000, now),
            (-5_001, now.saturating_sub(5_001)),
            (most, now.saturating_add(MAX_CLOCK_OFFSET)),
            (-most, now.saturating_sub(MAX_CLOCK_OFFSET)),
            (most + 1, now),
            (i64::MIN, now),
            (i64::MAX, now),
        ] {
            assert_eq!(adjusted(now, Some(offset)), corrected, "{offset}");
        }
    }

    #[test]
    fn offset_uses_round_trip_midpoint() {
        assert_eq!(
            offset(
                UnixMillis::new(1_150),
                UnixMillis::new(1_000),
                UnixMillis::new(1_100)
            ),
            100
        );
        assert_eq!(
            offset(
                UnixMillis::new(u64::MAX),
                UnixMillis::new(0),
                UnixMillis::new(0)
            ),
            i64::MAX
        );
    }
}
