//! Stable codes for the reasons why a reading or block would not be forwarded. The page has a text of its own for each
//! code, in each of its languages.

use heartchain_chain::{block::BodyError, reading::ReadingError, validate::HeaderError};
use heartchain_sync::io::DisconnectReason;

use super::ignore_reason::IgnoreReason;

/// Why an item would not be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The tab has the item already.
    AlreadyKnown,
    /// The block's parent is unknown.
    UnknownParent,
    /// The block's time is ahead of the clock.
    TooEarly,
    /// The block's branch has no more work than the best one.
    Lighter,
    /// The block's branch is invalid, or too far below the tip.
    OffTheTree,
    /// The chain has gone past the reading's sequence number.
    Past,
    /// Another reading has the same author and sequence number.
    Equivocation,
    /// The mempool has no room for the reading.
    NoRoom,
    /// The reading is not sealed with the room's key.
    OtherKey,
    /// The bytes cannot be decoded.
    Unreadable,
    /// The item is longer than allowed.
    TooLong,
    /// The heart rate is out of range.
    HeartRate,
    /// The reading's time is out of range.
    ReadingTime,
    /// The reading's author is not a valid public key.
    Author,
    /// The author's signature does not match.
    Signature,
    /// The header has an unknown version.
    Version,
    /// The block does not follow its parent.
    Link,
    /// The block's bits are not those that the difficulty rule requires.
    Difficulty,
    /// The block's hash exceeds its target.
    Work,
    /// The block's time is not later than the median time past.
    Time,
    /// The block has no readings.
    Empty,
    /// The readings do not match the header's Merkle root.
    Root,
    /// A reading does not have its author's next sequence number.
    Sequence,
    /// Another fault of the sender, for which it would be banned.
    Sender,
}

impl FaultKind {
    /// The code that JavaScript gets.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::AlreadyKnown => "known",
            Self::UnknownParent => "unknown-parent",
            Self::TooEarly => "too-early",
            Self::Lighter => "lighter",
            Self::OffTheTree => "off-the-tree",
            Self::Past => "past",
            Self::Equivocation => "equivocation",
            Self::NoRoom => "no-place",
            Self::OtherKey => "other-key",
            Self::Unreadable => "unreadable",
            Self::TooLong => "too-long",
            Self::HeartRate => "heart-rate",
            Self::ReadingTime => "reading-time",
            Self::Author => "author",
            Self::Signature => "signature",
            Self::Version => "version",
            Self::Link => "link",
            Self::Difficulty => "difficulty",
            Self::Work => "work",
            Self::Time => "time",
            Self::Empty => "empty",
            Self::Root => "root",
            Self::Sequence => "sequence",
            Self::Sender => "sender",
        }
    }
}

impl From<&IgnoreReason> for FaultKind {
    fn from(reason: &IgnoreReason) -> Self {
        match reason {
            IgnoreReason::AlreadyKnown => Self::AlreadyKnown,
            IgnoreReason::UnknownParent { .. } => Self::UnknownParent,
            IgnoreReason::TooEarly => Self::TooEarly,
            IgnoreReason::Lighter => Self::Lighter,
            IgnoreReason::OffTheTree => Self::OffTheTree,
            IgnoreReason::Past { .. } => Self::Past,
            IgnoreReason::Equivocation { .. } => Self::Equivocation,
            IgnoreReason::NoRoom => Self::NoRoom,
            IgnoreReason::Unreadable => Self::OtherKey,
        }
    }
}

impl From<&DisconnectReason> for FaultKind {
    fn from(reason: &DisconnectReason) -> Self {
        match reason {
            DisconnectReason::Undecodable(_) => Self::Unreadable,
            DisconnectReason::Oversize => Self::TooLong,
            DisconnectReason::BadReading(error) => error.into(),
            DisconnectReason::BadHeader(error) => error.into(),
            DisconnectReason::BadBody(error) => error.into(),
            DisconnectReason::BadSequence(_) => Self::Sequence,
            // These reasons need a longer exchange than one item; reasons that are added later also count as this.
            DisconnectReason::WrongAnswer
            | DisconnectReason::FalseClaim
            | DisconnectReason::LowWorkHeaders { .. }
            | DisconnectReason::Flood
            | DisconnectReason::OtherRoom
            | DisconnectReason::Stranger
            | DisconnectReason::Banned
            | _ => Self::Sender,
        }
    }
}

impl From<&ReadingError> for FaultKind {
    fn from(error: &ReadingError) -> Self {
        match error {
            ReadingError::Bpm(_) => Self::HeartRate,
            ReadingError::Time { .. } => Self::ReadingTime,
            ReadingError::AuthorNotCanonical { .. }
            | ReadingError::AuthorSmallOrder { .. }
            | ReadingError::AuthorNotAPoint { .. } => Self::Author,
            ReadingError::Signature { .. } => Self::Signature,
            _ => Self::Sender,
        }
    }
}

impl From<&HeaderError> for FaultKind {
    fn from(error: &HeaderError) -> Self {
        match error {
            HeaderError::Version { .. } => Self::Version,
            HeaderError::PrevHash { .. } | HeaderError::Index { .. } => Self::Link,
            HeaderError::Bits { .. } | HeaderError::NoTarget(_) => Self::Difficulty,
            HeaderError::Work { .. } => Self::Work,
            HeaderError::NotAfterMedian { .. } => Self::Time,
            HeaderError::TooEarly { .. } => Self::TooEarly,
            _ => Self::Sender,
        }
    }
}

impl From<&BodyError> for FaultKind {
    fn from(error: &BodyError) -> Self {
        match error {
            BodyError::TooFewReadings { .. } => Self::Empty,
            BodyError::TooManyReadings { .. }
            | BodyError::TooLong { .. }
            | BodyError::TooManyOfAuthor { .. } => Self::TooLong,
            BodyError::ReadingsRoot { .. } => Self::Root,
            BodyError::Reading { source, .. } => source.into(),
            BodyError::Seq { .. } => Self::Sequence,
            _ => Self::Sender,
        }
    }
}
