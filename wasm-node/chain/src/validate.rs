//! The rules for headers, cheapest first, and what a failure condemns. It never looks for a parent: whoever knows the
//! branch brings it along.

use thiserror::Error;

use crate::{
    difficulty::Window,
    hash::BlockHash,
    header::{HEADER_VERSION, Header},
    time::UnixMillis,
    work::{CompactTarget, CompactTargetError, Target},
};

/// How far a block's time may be ahead of the clock, in milliseconds: more than honest clocks differ, and too little to
/// gain by.
pub const MAX_FUTURE_MS: u64 = 30_000;

/// What a failure says about more than the bytes at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condemns {
    /// Nothing: it may become valid, or was asked about the wrong parent.
    Nothing,
    /// This copy: another peer may have an honest one with the same hash.
    Copy,
    /// The header, and so whatever builds on it.
    Header,
    /// The hash, header and all, and whatever builds on it.
    Descendants,
}

/// Why a header is not valid on a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Rule 1.
    #[error("block version {found} is not {expected}")]
    Version {
        /// [`HEADER_VERSION`].
        expected: u8,
        /// The header's version.
        found: u8,
    },
    /// Rule 2: it builds on another block.
    #[error("block builds on {found}, not on {expected}")]
    PrevHash {
        /// The parent's hash.
        expected: BlockHash,
        /// What the header says.
        found: BlockHash,
    },
    /// Rule 2.
    #[error("block index {found} does not follow its parent's {parent}")]
    Index {
        /// The parent's index.
        parent: u64,
        /// The header's index; the parent's + 1 was expected.
        found: u64,
    },
    /// Rule 3: another target is in force on this parent at this time.
    #[error("block bits {found} are not the {expected} that the difficulty asks for")]
    Bits {
        /// What the difficulty rule says.
        expected: CompactTarget,
        /// What the header says.
        found: CompactTarget,
    },
    /// Rule 3: the bits are no target at all.
    #[error(transparent)]
    NoTarget(#[from] CompactTargetError),
    /// Rule 4.
    #[error("block hash {found} exceeds the target {expected}")]
    Work {
        /// The greatest hash allowed.
        expected: Target,
        /// The header's hash.
        found: BlockHash,
    },
    /// Rule 5: it is not later than the median of its parent and that one's ancestors.
    #[error("block time {found} is not after the median time past, {mtp}")]
    NotAfterMedian {
        /// The parent's median time past.
        mtp: UnixMillis,
        /// The header's time.
        found: UnixMillis,
    },
    /// Rule 5: it is ahead of the clock. It is to be held and tried again when it is due.
    #[error("block time {time} is later than {limit}")]
    TooEarly {
        /// The header's time.
        time: UnixMillis,
        /// The latest time allowed now.
        limit: UnixMillis,
    },
}

impl HeaderError {
    /// What this failure condemns.
    #[must_use]
    pub const fn condemns(&self) -> Condemns {
        match self {
            Self::PrevHash { .. } | Self::TooEarly { .. } => Condemns::Nothing,
            Self::Version { .. } => Condemns::Copy,
            Self::Index { .. }
            | Self::Bits { .. }
            | Self::NoTarget(_)
            | Self::Work { .. }
            | Self::NotAfterMedian { .. } => Condemns::Header,
        }
    }

    /// From when on a header that came too early may be tried again.
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

/// Checks `header`, whose hash is `hash`, on the parent that `window` ends with, by rules 1 to 5, and returns the
/// target in force. `now` is the clock, adjusted to the peers'.
///
/// # Errors
/// The first rule broken.
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

    /// A room's first header, mined, and what the rules say of it at [`NOW`].
    fn judge_first(time: UnixMillis) -> Result<Target, HeaderError> {
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
        assert!(judge_first(limit).is_ok());
        let time = limit.saturating_add(1);
        let error = judge_first(time).expect_err("it is too early");
        assert_eq!(error, HeaderError::TooEarly { time, limit });
        assert_eq!(error.condemns(), Condemns::Nothing);
        assert_eq!(error.due(), Some(NOW.saturating_add(1)));
    }

    #[test]
    fn first_block_is_later_than_the_epoch() {
        assert!(judge_first(UnixMillis::new(1)).is_ok());
        let found = UnixMillis::new(0);
        let error = judge_first(found).expect_err("genesis' median is 0");
        assert_eq!(error, HeaderError::NotAfterMedian { mtp: found, found });
        assert_eq!(error.condemns(), Condemns::Header);
        assert_eq!(error.due(), None);
    }
}
