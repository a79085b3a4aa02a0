//! Events for the application, and the results of its calls: recording, importing and adopting readings.

use heartchain_chain::{hash::ReadingId, key::Author, reading::Reading};

use super::handles::Ticket;
use crate::config::Millis;

/// Something the page may want to show.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// `record()` succeeded: the reading is on disk.
    Recorded {
        /// The ticket of the call.
        ticket: Ticket,
        /// The ID of the new reading.
        id: ReadingId,
        /// The reading's sequence number for its author.
        seq: u64,
    },
    /// `record()` failed, and nothing was recorded.
    RecordFailed {
        /// The ticket of the call.
        ticket: Ticket,
        /// Why nothing was recorded.
        reason: RecordError,
    },
    /// A piece of a file was imported and is on disk, or the import ends with an error.
    Imported {
        /// The ticket of the piece.
        ticket: Ticket,
        /// What was imported, or why the import ends.
        result: Result<Imported, ImportError>,
    },
    /// Readings of another tab of this computer were adopted and are on disk
    /// ([`Input::Adopt`](super::Input::Adopt)).
    Adopted {
        /// The ticket of the call.
        ticket: Ticket,
        /// How many readings are new here, or why none was adopted.
        result: Result<usize, AdoptError>,
    },
    /// Our name is on disk, and peers are told.
    NameSet {
        /// The ticket of the call.
        ticket: Ticket,
    },
    /// Our name was not changed.
    NameFailed {
        /// The ticket of the call.
        ticket: Ticket,
        /// Why it was not changed.
        reason: NameError,
    },
    /// [`Machine::names`](crate::Machine::names) returns something new.
    Names,
    /// The wall clock was set back while the peer ran.
    ClockSetBack {
        /// By how many milliseconds it moved.
        by: Millis,
    },
    /// The wall clock was set ahead while the peer ran, and the peers' clocks disagree with it.
    ClockSetAhead {
        /// How many milliseconds it is ahead of the median of the peers' clocks.
        by: Millis,
    },
    /// The mempool has a new reading, recorded here or by another peer.
    Reading(Reading),
    /// The best branch changed: blocks `from..=to` are new, and those above `to` are gone.
    Chain {
        /// The first height that changed.
        from: u64,
        /// The height of the new tip.
        to: u64,
        /// Whether blocks left the best branch.
        reorg: bool,
    },
    /// [`Machine::status`](crate::Machine::status) returns something new.
    Status,
    /// [`Machine::peers`](crate::Machine::peers) returns something new.
    Peers,
    /// An author signed two readings with the same sequence number. At most one of them can be in the chain.
    Equivocation {
        /// The author of both readings.
        author: Author,
        /// The sequence number that both readings have.
        seq: u64,
    },
    /// Blocks that left the best branch in reorganisations wait on disk until the next start, because memory
    /// cannot track more of them. None of their readings are lost.
    RecoveryQueueFull {
        /// How many blocks wait.
        blocks: u64,
    },
    /// The best branch has a reading by our key that was not recorded here, and a fresh key has replaced ours.
    KeyReplaced {
        /// The public key that signs from now on.
        author: Author,
    },
}

/// Why a reading was not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The disk refused the write.
    #[error(
        "the reading could not be kept on this computer, so it was not recorded; make room and enter it again"
    )]
    NotStored,
    /// The journal of this room is full.
    #[error(
        "you have recorded {limit} readings in this room, which is the limit; continue in another room"
    )]
    JournalFull {
        /// How many entries a journal holds.
        limit: usize,
    },
    /// Too many calls wait for the disk.
    #[error(
        "too many readings at once: {limit} already wait to be kept; wait a moment and enter it again"
    )]
    TooMany {
        /// How many calls may wait.
        limit: usize,
    },
    /// The room is private, and this peer does not have its key.
    #[error("this tab does not have the key of the room: open the room with its complete link")]
    NoKey,
}

/// Why a name was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The disk refused the write.
    #[error(
        "the name could not be kept on this computer, so it was not changed; make room and enter it again"
    )]
    NotStored,
    /// Too many calls wait for the disk.
    #[error(
        "too many names at once: {limit} already wait to be kept; wait a moment and enter it again"
    )]
    TooMany {
        /// How many calls may wait.
        limit: usize,
    },
    /// The room is private, and this peer does not have its key.
    #[error("this tab does not have the key of the room: open the room with its complete link")]
    NoKey,
    /// Peers' clocks show that this computer's is far off, or it shows a time that no profile can have.
    #[error("this computer's clock is wrong: set it to the current time and enter the name again")]
    Clock,
}

/// Why readings of another tab were not adopted. The caller still has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// The disk refused the write.
    #[error("the readings of others could not be kept on this computer")]
    NotStored,
    /// The limit of adopted readings that are not yet confirmed is reached.
    #[error(
        "{limit} readings of others already wait for a block here, and no more are kept: wait until they are in blocks"
    )]
    TooMany {
        /// How many adopted readings may wait.
        limit: usize,
    },
    /// A reading breaks a rule: the records of the other tab, or the file, are damaged.
    #[error("a reading of another author breaks the rules: {0}")]
    Reading(#[from] heartchain_chain::reading::ReadingError),
}

/// What one piece of a file contained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Blocks in the piece.
    pub blocks: usize,
    /// Blocks that were not known before.
    pub new_blocks: usize,
    /// Readings in the piece, both in blocks and pending.
    pub readings: usize,
    /// Readings that were neither pending nor on the best branch before.
    pub new_readings: usize,
}

/// Why an import ends. Everything imported before that is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A block's header breaks a rule.
    #[error("block {index} breaks the rules: {source}")]
    Header {
        /// The height in the block's header.
        index: u64,
        /// The rule that the header breaks.
        source: heartchain_chain::tree::InsertError,
    },
    /// A block's readings break a rule.
    #[error("block {index} breaks the rules: {source}")]
    Body {
        /// The height in the block's header.
        index: u64,
        /// The rule that the readings break.
        source: heartchain_chain::block::BodyError,
    },
    /// A reading in a block does not have its author's next sequence number.
    #[error(transparent)]
    Sequence(heartchain_chain::tree::SequenceError),
    /// A pending reading breaks a rule.
    #[error("a waiting reading breaks the rules: {0}")]
    Reading(#[from] heartchain_chain::reading::BatchError),
    /// A profile breaks a rule.
    #[error("a name breaks the rules: {0}")]
    Profile(#[from] heartchain_chain::profile::ProfileError),
    /// The disk refused the write.
    #[error(
        "what was read could not be kept on this computer; make room and import the file again"
    )]
    NotStored,
    /// The piece exceeds the limit of blocks, readings or profiles.
    #[error(
        "{blocks} blocks, {readings} readings and {profiles} names exceed the limits for one piece of a file"
    )]
    TooLarge {
        /// How many blocks the piece has.
        blocks: usize,
        /// How many pending readings the piece has.
        readings: usize,
        /// How many profiles the piece has.
        profiles: usize,
    },
    /// Too many pieces wait for the disk.
    #[error(
        "{limit} pieces of imported files already wait to be written; wait a moment and try again"
    )]
    Busy {
        /// How many pieces may wait.
        limit: usize,
    },
}
