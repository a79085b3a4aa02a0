//! What kind of fault a reading or block has, by a name that no wording changes: whoever tells it to a person has their own
//! words for each. Never judges.

use chain::{block::BodyError, reading::ReadingError, validate::HeaderError};
use sync::seam::DropReason;

use super::Useless;

/// Why something would not be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Here already.
    Known,
    /// On a block that is not here.
    UnknownParent,
    /// Ahead of the clock.
    TooEarly,
    /// On a branch with less work.
    Lighter,
    /// On a branch that is of no use.
    OffTheTree,
    /// Its author's count has gone past it.
    Past,
    /// Another reading has its place.
    Equivocation,
    /// The mempool is full.
    NoPlace,
    /// Bytes that mean nothing.
    Unreadable,
    /// Longer than allowed.
    TooLong,
    /// No heart rate.
    HeartRate,
    /// A reading's time is none.
    ReadingTime,
    /// A reading's author is none.
    Author,
    /// Not signed by its author.
    Signature,
    /// Of another version.
    Version,
    /// Does not follow the block that it names.
    Link,
    /// Another difficulty than the rules'.
    Difficulty,
    /// Not worked for.
    Work,
    /// Not later than the blocks before.
    Time,
    /// Without readings.
    Empty,
    /// Made for other readings.
    Root,
    /// A reading that is not its author's next.
    Sequence,
    /// Nothing of this, but shut out.
    Sender,
}

impl Kind {
    /// By which JavaScript knows it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::UnknownParent => "unknown-parent",
            Self::TooEarly => "too-early",
            Self::Lighter => "lighter",
            Self::OffTheTree => "off-the-tree",
            Self::Past => "past",
            Self::Equivocation => "equivocation",
            Self::NoPlace => "no-place",
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

impl From<&Useless> for Kind {
    fn from(useless: &Useless) -> Self {
        match useless {
            Useless::Known => Self::Known,
            Useless::UnknownParent { .. } => Self::UnknownParent,
            Useless::TooEarly => Self::TooEarly,
            Useless::Lighter => Self::Lighter,
            Useless::OffTheTree => Self::OffTheTree,
            Useless::Past { .. } => Self::Past,
            Useless::Equivocation { .. } => Self::Equivocation,
            Useless::NoPlace => Self::NoPlace,
        }
    }
}

impl From<&DropReason> for Kind {
    fn from(reason: &DropReason) -> Self {
        match reason {
            DropReason::Garbage(_) => Self::Unreadable,
            DropReason::Oversize => Self::TooLong,
            DropReason::BadReading(error) => error.into(),
            DropReason::BadHeader(error) => error.into(),
            DropReason::BadBody(error) => error.into(),
            DropReason::BadSequence(_) => Self::Sequence,
            // What follows is about peers that talk for longer, and whatever comes to be added.
            DropReason::WrongAnswer
            | DropReason::FalseClaim
            | DropReason::EndlessHeaders { .. }
            | DropReason::OtherRoom
            | DropReason::Banned
            | _ => Self::Sender,
        }
    }
}

impl From<&ReadingError> for Kind {
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

impl From<&HeaderError> for Kind {
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

impl From<&BodyError> for Kind {
    fn from(error: &BodyError) -> Self {
        match error {
            BodyError::TooFewReadings { .. } => Self::Empty,
            BodyError::TooManyReadings { .. } | BodyError::TooLong { .. } => Self::TooLong,
            BodyError::ReadingsRoot { .. } => Self::Root,
            BodyError::Reading { source, .. } => source.into(),
            BodyError::Seq { .. } => Self::Sequence,
            _ => Self::Sender,
        }
    }
}
