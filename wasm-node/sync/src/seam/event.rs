//! What a page is told, and how calls that somebody waits for ended. Knows no page.

use chain::{hash::ReadingId, key::Author, reading::Reading};

use super::Ticket;
use crate::config::Millis;

/// What the page may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// `record()` is done: its reading is on disk.
    Recorded {
        /// Which call.
        ticket: Ticket,
        /// The reading's id.
        id: ReadingId,
        /// Its place in the author's count.
        seq: u64,
    },
    /// `record()` failed; nothing was recorded.
    RecordFailed {
        /// Which call.
        ticket: Ticket,
        /// Why.
        reason: RecordError,
    },
    /// A piece of a file was taken in, and is on disk; or the import ends with it.
    Imported {
        /// Which piece.
        ticket: Ticket,
        /// What came of it.
        result: Result<Imported, ImportError>,
    },
    /// Readings of another tab of this computer were taken over ([`Input::Adopt`](super::Input::Adopt)), and are on disk.
    Adopted {
        /// Which call.
        ticket: Ticket,
        /// How many were new here, or why none was taken.
        result: Result<usize, AdoptError>,
    },
    /// The wall clock was set back while the peer ran.
    ClockSetBack {
        /// By how many milliseconds.
        by: Millis,
    },
    /// The wall clock was set ahead while the peer ran, and the clocks of peers do not agree.
    ClockSetAhead {
        /// By how many milliseconds it is ahead of the peers' median.
        by: Millis,
    },
    /// A reading is new in the mempool, one's own or another's.
    Reading(Reading),
    /// The best branch changed: blocks `from..=to` are new, and those above `to` are gone.
    Chain {
        /// First index that changed.
        from: u64,
        /// The new tip's index.
        to: u64,
        /// Whether blocks were left.
        reorg: bool,
    },
    /// Something that [`Machine::status`](crate::Machine::status) shows changed.
    Status,
    /// What is known of a peer changed.
    Peers,
    /// An author signed two readings with one place: one of them will never be in the chain.
    Equivocation {
        /// Who.
        author: Author,
        /// Which place of its count.
        seq: u64,
    },
    /// So many blocks, left in reorganisations, wait on disk with their readings until the next start: memory has no
    /// place for more of them. Nothing of them is lost.
    WaitsOnDisk {
        /// How many.
        blocks: u64,
    },
    /// A reading by one's own key that was not recorded here is deep in the chain; from now on this key signs.
    KeyReplaced {
        /// The new public key.
        author: Author,
    },
}

/// Why a reading was not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The disk refused.
    #[error(
        "the reading could not be kept on this computer, so it was not recorded; make room and enter it again"
    )]
    NotStored,
    /// The journal of this room is full.
    #[error(
        "you have recorded {limit} readings in this room, and there is no place for more; go on in another room"
    )]
    JournalFull {
        /// How many entries it takes.
        limit: usize,
    },
    /// Too many calls wait for the disk.
    #[error(
        "too many readings at once: {limit} already wait to be kept; wait a moment and enter it again"
    )]
    TooMany {
        /// How many may wait.
        limit: usize,
    },
}

/// Why readings of another tab were not taken over. The caller still has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// The disk refused.
    #[error("the readings of another tab could not be kept on this computer")]
    NotStored,
    /// As many were taken over as may wait.
    #[error("{limit} readings of other tabs already wait for a block")]
    TooMany {
        /// How many may wait.
        limit: usize,
    },
    /// One of them breaks a rule: the other tab's records are damaged.
    #[error("a reading of another tab breaks the rules: {0}")]
    Reading(#[from] chain::reading::ReadingError),
}

/// What came of a piece of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Blocks in it.
    pub blocks: usize,
    /// Of these, those that were not known.
    pub new_blocks: usize,
    /// Readings in it, in blocks and waiting.
    pub readings: usize,
    /// Of these, those that neither waited nor were on the best branch.
    pub new_readings: usize,
}

/// Why a file was not taken in further. What came before is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A block cannot stand where it says.
    #[error("block {index} breaks the rules: {source}")]
    Header {
        /// Its height, as it says.
        index: u64,
        /// The rule.
        source: chain::tree::InsertError,
    },
    /// A block's readings break the rules.
    #[error("block {index} breaks the rules: {source}")]
    Body {
        /// Its height.
        index: u64,
        /// The rule.
        source: chain::block::BodyError,
    },
    /// A block has a reading that is not its author's next.
    #[error(transparent)]
    Sequence(chain::tree::SequenceError),
    /// A waiting reading breaks the rules.
    #[error("a waiting reading breaks the rules: {0}")]
    Reading(#[from] chain::reading::BatchError),
    /// The disk refused.
    #[error(
        "what was read could not be kept on this computer; make room and import the file again"
    )]
    NotStored,
    /// More than one piece may have.
    #[error("{blocks} blocks and {readings} readings are more than one piece of a file may have")]
    TooLarge {
        /// How many blocks it has.
        blocks: usize,
        /// How many readings wait in it.
        readings: usize,
    },
    /// Too many wait for the disk.
    #[error("{limit} pieces of files already wait to be kept; wait until they are")]
    Busy {
        /// How many may wait.
        limit: usize,
    },
}
