//! The header rules, cheapest first, and what a failure invalidates. The caller looks up the parent and its window.
//! The numbers are those in docs/chain.md, "Rules".
//!
//! - Rule 1: the version is [`HEADER_VERSION`].
//! - Rule 2: the header names its parent's hash, and its index is the parent's plus one.
//! - Rule 3: the bits are the ones that [`Window::next_bits`] returns for the header's time.
//! - Rule 4: the hash is at most the target.
//! - Rule 5: the time is later than the parent's median time past and at most [`MAX_FUTURE_MS`] ahead of the clock.

use thiserror::Error;

use crate::{
    difficulty::Window,
    hash::BlockHash,
    header::{HEADER_VERSION, Header},
    time::UnixMillis,
    work::{CompactTarget, CompactTargetError, Target},
};

/// How far a block's time may be ahead of the clock, in milliseconds. Honest clocks differ by less, and a dishonest
/// miner gains nothing from so little.
pub const MAX_FUTURE_MS: u64 = 30_000;

/// How much a failed check of a block invalidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Invalidates {
    /// Nothing: the block may become valid later, or was checked against the wrong parent.
    Nothing,
    /// This copy: another peer may have an honest one with the same hash.
    Copy,
    /// The header, and every header that builds on it.
    Header,
    /// The block hash, and every block that builds on it.
    Descendants,
}

/// Why a header is not valid on its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the field names say it")]
pub enum HeaderError {
    /// Rule 1: the version is not [`HEADER_VERSION`].
    #[error("block version {found} is not {expected}")]
    Version { expected: u8, found: u8 },
    /// Rule 2: the header builds on another block.
    #[error("block builds on {found}, not on {expected}")]
    PrevHash {
        expected: BlockHash,
        found: BlockHash,
    },
    /// Rule 2: the index is not the parent's plus one.
    #[error("block index {found} does not follow its parent's {parent}")]
    Index {
        /// The parent's index; the header's must be one more.
        parent: u64,
        /// The header's index.
        found: u64,
    },
    /// Rule 3: the difficulty rule gives another target for this parent and this time.
    #[error("block bits {found} are not the {expected} that the difficulty asks for")]
    Bits {
        expected: CompactTarget,
        found: CompactTarget,
    },
    /// Rule 3: the bits do not represent a target.
    #[error(transparent)]
    NoTarget(#[from] CompactTargetError),
    /// Rule 4: the hash does not meet the target.
    #[error("block hash {found} exceeds the target {expected}")]
    Work { expected: Target, found: BlockHash },
    /// Rule 5: the time is not later than the parent's median time past.
    #[error("block time {found} is not after the median time past, {mtp}")]
    NotAfterMedian {
        /// The parent's median time past.
        mtp: UnixMillis,
        found: UnixMillis,
    },
    /// Rule 5: the time is too far ahead of the clock. Check the header again at [`HeaderError::due`].
    #[error("block time {time} is later than {limit}")]
    TooEarly {
        /// The time in the header.
        time: UnixMillis,
        /// The latest time that is valid now.
        limit: UnixMillis,
    },
}

impl HeaderError {
    /// What this failure invalidates.
    #[must_use]
    pub const fn invalidates(&self) -> Invalidates {
        match self {
            Self::PrevHash { .. } | Self::TooEarly { .. } => Invalidates::Nothing,
            Self::Version { .. } => Invalidates::Copy,
            Self::Index { .. }
            | Self::Bits { .. }
            | Self::NoTarget(_)
            | Self::Work { .. }
            | Self::NotAfterMedian { .. } => Invalidates::Header,
        }
    }

    /// When a header that came too early becomes valid; `None` for all other errors.
    #[must_use]
    pub const fn due(&self) -> Option<UnixMillis> {
        match self {
            Self::TooEarly { time, .. } => Some(time.saturating_sub(MAX_FUTURE_MS)),
            Self::Version { .. }
            | Self::PrevHash { .. }
            | Self::Index { .. }
            | Self::Bits { .. }
            | Self::NoTarget(_)
            | Self::Work { .. }
            | Self::NotAfterMedian { .. } => None,
        }
    }
}

/// Checks a header, whose hash is `hash`, by rules 1 to 5 and returns its target. `window` is the difficulty window
/// that ends with the parent. `now` is the wall clock, adjusted to the peers' clocks.
///
/// # Errors
/// Returns the first rule that the header breaks.
pub fn check_header(
    window: &Window,
    parent_hash: BlockHash,
    parent_index: u64,
    header: &Header,
    hash: &BlockHash,
    now: UnixMillis,
) -> Result<Target, HeaderError> {
    if header.version != HEADER_VERSION {
        return Err(HeaderError::Version {
            expected: HEADER_VERSION,
            found: header.version,
        });
    }
    if header.prev_hash != parent_hash {
        return Err(HeaderError::PrevHash {
            expected: parent_hash,
            found: header.prev_hash,
        });
    }
    if Some(header.index) != parent_index.checked_add(1) {
        return Err(HeaderError::Index {
            parent: parent_index,
            found: header.index,
        });
    }
    let bits = window.next_bits(header.time);
    if header.bits != bits {
        return Err(HeaderError::Bits {
            expected: bits,
            found: header.bits,
        });
    }
    let target = header.bits.target()?;
    if !target.is_met_by(hash) {
        return Err(HeaderError::Work {
            expected: target,
            found: *hash,
        });
    }
    if header.time <= window.mtp() {
        return Err(HeaderError::NotAfterMedian {
            mtp: window.mtp(),
            found: header.time,
        });
    }
    let limit = now.saturating_add(MAX_FUTURE_MS);
    if header.time > limit {
        return Err(HeaderError::TooEarly {
            time: header.time,
            limit,
        });
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        mining,
        room::{Room, RoomName, RoomParams},
    };

    const NOW: UnixMillis = UnixMillis::new(1_700_000_000_000);

    /// Mines the first header of a room and checks it at [`NOW`].
    fn check_first(time: UnixMillis) -> Result<Target, HeaderError> {
        let name = RoomName::new("clocks").expect("a room name");
        let room = Room::new(RoomParams::new(name, 8, 1000).expect("in bounds"));
        let window = Window::genesis(&room);
        let template = mining::template(&window, room.genesis_hash(), time, &[]);
        let header = mining::mine(template, 1 << 20).expect("the room is easy");
        check_header(
            &window,
            room.genesis_hash(),
            0,
            &header,
            &header.hash(),
            NOW,
        )
    }

    #[test]
    fn header_ahead_of_the_clock_waits_until_it_is_due() {
        let limit = NOW.saturating_add(30_000);
        assert!(check_first(limit).is_ok());
        let time = limit.saturating_add(1);
        let error = check_first(time).expect_err("it is too early");
        assert_eq!(error, HeaderError::TooEarly { time, limit });
        assert_eq!(error.invalidates(), Invalidates::Nothing);
        assert_eq!(error.due(), Some(NOW.saturating_add(1)));
    }

    #[test]
    fn first_block_is_later_than_the_epoch() {
        assert!(check_first(UnixMillis::new(1)).is_ok());
        let found = UnixMillis::new(0);
        let error = check_first(found).expect_err("genesis' median is 0");
        assert_eq!(error, HeaderError::NotAfterMedian { mtp: found, found });
        assert_eq!(error.invalidates(), Invalidates::Header);
        assert_eq!(error.due(), None);
    }
}
