//! Entries of the journal and the keys that sign them.

use heartchain_chain::{
    content::{Measurement, ReadingForm},
    hash::ReadingId,
    key::{Author, SecretKey, Signature},
    reading::Reading,
    room::Room,
    time::MonotonicMillis,
    tree::IdPrefix,
};

use crate::config::FOREIGN_PATIENCE;

/// The range of positions that one key signs.
#[derive(Clone, Debug)]
pub(crate) struct KeyEra {
    pub(crate) key: SecretKey,
    pub(crate) author: Author,
    pub(crate) from: u64,
    /// The first position after the era. For the current key this is the end of the journal.
    pub(crate) until: u64,
}

/// A reading on the best branch that has our key but was not recorded here.
#[derive(Clone, Copy, Debug)]
pub(super) struct ForeignReading {
    pub(super) seq: u64,
    /// The best branch's height when the reading was first seen.
    pub(super) seen_index: u64,
    pub(super) seen_at: MonotonicMillis,
}

impl ForeignReading {
    /// When the reading has been on the best branch for so long that it is unlikely to leave it.
    pub(super) const fn is_certain_at(&self) -> MonotonicMillis {
        self.seen_at.saturating_add(FOREIGN_PATIENCE)
    }
}

/// The ID of the reading for an author's entry with this sequence number, without the cost of signing it. `None` if the
/// room is private and its key is not known.
pub(crate) fn entry_reading_id(
    room: &Room,
    author: Author,
    seq: u64,
    entry: Measurement,
) -> Option<ReadingId> {
    let unsigned = Reading {
        author,
        seq,
        content: room.seal(&author, seq, entry)?,
        signature: Signature::new([0; Signature::LEN]),
    };
    Some(unsigned.id(room.id()))
}

/// The prefix of that ID, as far as it is kept on disk: only a sealed reading is costly to compute again.
pub(super) fn kept_prefix(
    room: &Room,
    author: Author,
    seq: u64,
    entry: Measurement,
) -> Option<IdPrefix> {
    match room.form() {
        ReadingForm::Open => None,
        ReadingForm::Sealed => {
            entry_reading_id(room, author, seq, entry).map(|id| IdPrefix::from(&id))
        }
    }
}

/// Whether a linked reading with this prefix belongs to the entry.
pub(super) fn entry_matches(entry: Option<IdPrefix>, linked: IdPrefix) -> bool {
    // The content of a lost entry is unknown, so a reading by our key with its sequence number is assumed to be
    // its reading.
    entry.is_none_or(|prefix| prefix == linked)
}
