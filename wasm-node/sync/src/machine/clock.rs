//! What time it is, by one's own clock and by what peers say of theirs. Reads no clock.

use alloc::vec::Vec;

use chain::time::UnixMillis;

use crate::config::{MAX_CLOCK_OFFSET, MIN_CLOCK_OFFSET, MIN_CLOCKS};

/// The median of the peers' offsets (their clock minus ours, ms), if enough are known.
pub(super) fn median_offset(offsets: impl Iterator<Item = i64>) -> Option<i64> {
    let mut offsets: Vec<i64> = offsets.collect();
    if offsets.len() < MIN_CLOCKS {
        return None;
    }
    offsets.sort_unstable();
    offsets.get(offsets.len() / 2).copied()
}

/// The time to judge by: the local clock, corrected by a median offset that is worth correcting.
pub(super) fn adjusted(now: UnixMillis, offset: Option<i64>) -> UnixMillis {
    let Some(offset) = offset.filter(|offset| offset.unsigned_abs() > MIN_CLOCK_OFFSET) else {
        return now;
    };
    let by = offset.unsigned_abs().min(MAX_CLOCK_OFFSET);
    if offset < 0 {
        now.saturating_sub(by)
    } else {
        now.saturating_add(by)
    }
}

/// A peer's clock minus ours, when it said `theirs` between `sent` and `received`.
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
    fn one_liar_among_three_does_not_move_the_clock() {
        assert_eq!(median_offset([0, 10, 3_600_000].into_iter()), Some(10));
    }

    #[test]
    fn two_clocks_are_not_enough() {
        assert_eq!(median_offset([60_000, 60_000].into_iter()), None);
    }

    #[test]
    fn small_offsets_are_left_alone_and_large_ones_capped() {
        let now = UnixMillis::new(10_000_000_000);
        assert_eq!(adjusted(now, Some(5_000)), now);
        assert_eq!(adjusted(now, Some(-5_001)), now.saturating_sub(5_001));
        assert_eq!(
            adjusted(now, Some(i64::MIN)),
            now.saturating_sub(MAX_CLOCK_OFFSET)
        );
        assert_eq!(
            adjusted(now, Some(i64::MAX)),
            now.saturating_add(MAX_CLOCK_OFFSET)
        );
    }

    #[test]
    fn offset_is_measured_at_the_middle_of_the_round_trip() {
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
