//! Imports the waiting readings of a file, for every platform: what is new is stored until it is confirmed, and what is not stored is
//! counted with its reason.
//!
//! A platform brings an [`ImportTarget`], which passes calls to its machine. Where each reading is before and after says what became
//! of it, so that tabs and keepers count alike.

use alloc::vec::Vec;
use core::fmt::Debug;

use hashbrown::HashSet;
use heartchain_chain::{key::Author, reading::Reading, tree::IdPrefix};

use crate::{
    config::{MAX_ADOPTED, MAX_IMPORT_READINGS, MAX_READINGS_PER_ADOPT},
    io::{AdoptError, ImportPiece, Imported},
    machine::Machine,
};

/// Readings that are imported at a time.
const MAX_READINGS_AT_A_TIME: usize = if MAX_IMPORT_READINGS < MAX_READINGS_PER_ADOPT {
    MAX_IMPORT_READINGS
} else {
    MAX_READINGS_PER_ADOPT
};

/// Where a waiting reading of a file is in this peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadingPlace {
    /// On the best branch, in the journal, or stored until it is confirmed.
    Stored,
    /// In the mempool only, which is memory.
    Mempool,
    /// Neither on disk nor in memory.
    Absent,
    /// Not stored: its key signs here, but it was not recorded here. Only what was recorded here may use the numbers of the key.
    OwnKey,
    /// Not stored: another reading has its number.
    NumberTaken,
    /// Not stored: the key of the room does not open it.
    Unreadable,
}

/// Where readings are, and how many more can be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadingPlaces {
    /// One for each reading, in the order of the question.
    pub each: Vec<ReadingPlace>,
    /// How many readings of others can be stored in addition, at most [`MAX_ADOPTED`].
    pub room: usize,
}

/// What an import found in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportSummary {
    /// Blocks in the file.
    pub blocks: usize,
    /// Blocks that were not here before.
    pub new_blocks: usize,
    /// Readings in the file, in blocks and waiting.
    pub readings: usize,
    /// Readings that were not here before and are stored now.
    pub new_readings: usize,
    /// Waiting readings that are not stored.
    pub not_stored: NotStored,
}

/// How many waiting readings of a file are not stored, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotStored {
    /// Their key signs here, but they were not recorded here.
    pub own_key: usize,
    /// Another reading has their number, in a block for good or among the readings that are stored until they are confirmed.
    pub number_taken: usize,
    /// The key of the room does not open them.
    pub unreadable: usize,
    /// As many readings of others as can be stored wait already.
    pub no_room: usize,
}

impl NotStored {
    /// How many there are together.
    #[must_use]
    pub const fn total(&self) -> usize {
        let Self {
            own_key,
            number_taken,
            unreadable,
            no_room,
        } = self;
        *own_key + *number_taken + *unreadable + *no_room
    }
}

impl ImportSummary {
    /// Adds what a piece with blocks contained.
    pub const fn add(&mut self, imported: &Imported) {
        let Imported {
            blocks,
            new_blocks,
            readings,
            new_readings,
        } = imported;
        self.blocks += *blocks;
        self.new_blocks += *new_blocks;
        self.readings += *readings;
        self.new_readings += *new_readings;
    }

    /// Readings of the file that were here before.
    #[must_use]
    pub const fn known_readings(&self) -> usize {
        let others = self.new_readings + self.not_stored.total();
        self.readings.saturating_sub(others)
    }

    /// Adds a waiting reading.
    const fn count(&mut self, before: ReadingPlace, after: ReadingPlace) {
        self.readings += 1;
        match (before, after) {
            (ReadingPlace::Absent, ReadingPlace::Stored) => self.new_readings += 1,
            (_, ReadingPlace::Stored) => {}
            (_, ReadingPlace::OwnKey) => self.not_stored.own_key += 1,
            (_, ReadingPlace::NumberTaken) => self.not_stored.number_taken += 1,
            (_, ReadingPlace::Unreadable) => self.not_stored.unreadable += 1,
            (_, ReadingPlace::Mempool | ReadingPlace::Absent) => self.not_stored.no_room += 1,
        }
    }
}

/// The numbers of some readings. No two readings that are stored have the same.
#[derive(Debug, Default)]
struct Numbers(HashSet<(Author, u64)>);

impl Numbers {
    /// Returns whether the number of this reading is new.
    fn insert(&mut self, reading: &Reading) -> bool {
        self.0.insert((reading.author, reading.seq))
    }
}

/// What passes the calls of an import to a machine, and waits for the answers.
pub trait ImportTarget {
    /// Why an import ends.
    type Error: From<AdoptError>;

    /// Asks the machine where readings are ([`Machine::places`]).
    fn places(
        &self,
        readings: Vec<Reading>,
    ) -> impl Future<Output = Result<ReadingPlaces, Self::Error>>;

    /// Imports a piece ([`Input::Import`](crate::Input::Import)).
    fn import(&self, piece: ImportPiece) -> impl Future<Output = Result<Imported, Self::Error>>;

    /// Stores readings of others ([`Input::Adopt`](crate::Input::Adopt)).
    fn adopt(
        &self,
        readings: Vec<Reading>,
    ) -> impl Future<Output = Result<Result<usize, AdoptError>, Self::Error>>;
}

/// Imports waiting readings, after the blocks of their file. What is new and of others is stored until it is confirmed, because the
/// mempool has room for some only.
///
/// # Errors
/// If a reading breaks a rule or the disk refuses it. What came before is kept.
pub async fn import_waiting<T: ImportTarget>(
    target: &T,
    readings: &[Reading],
    summary: &mut ImportSummary,
) -> Result<(), T::Error> {
    for readings in readings.chunks(MAX_READINGS_AT_A_TIME) {
        let before = target.places(readings.to_vec()).await?;
        let piece = ImportPiece {
            readings: readings.to_vec(),
            ..ImportPiece::default()
        };
        // It verifies all of them, and offers them to peers.
        target.import(piece).await?;
        let mut numbers = Numbers::default();
        let new = readings
            .iter()
            .zip(&before.each)
            .filter(|(_, place)| matches!(place, ReadingPlace::Absent | ReadingPlace::Mempool))
            .filter(|(reading, _)| numbers.insert(reading));
        let new: Vec<Reading> = new.map(|(reading, _)| *reading).take(before.room).collect();
        if !new.is_empty() {
            match target.adopt(new).await? {
                // Others may have taken the room meanwhile.
                Ok(_) | Err(AdoptError::TooMany { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let after = target.places(readings.to_vec()).await?;
        let mut stored = Numbers::default();
        for ((reading, before), after) in readings.iter().zip(before.each).zip(after.each) {
            let is_again = after == ReadingPlace::Stored && !stored.insert(reading);
            // What is twice in the file was here when it came again.
            summary.count(if is_again { after } else { before }, after);
        }
    }
    Ok(())
}

impl<P: Copy + Ord + Debug> Machine<P> {
    /// Where these waiting readings are. Does not verify them.
    #[must_use]
    pub fn places(&self, readings: &[Reading]) -> ReadingPlaces {
        let adopted = self.parts.adopted.len();
        ReadingPlaces {
            each: readings.iter().map(|reading| self.place(reading)).collect(),
            room: MAX_ADOPTED.saturating_sub(adopted),
        }
    }

    fn place(&self, reading: &Reading) -> ReadingPlace {
        let ctx = &self.parts.ctx;
        let (journal, adopted) = (self.parts.recorder.journal(), &self.parts.adopted);
        let Reading { author, seq, .. } = *reading;
        let id = reading.id(self.room().id());
        let prefix = IdPrefix::from(&id);
        if ctx.tree.best_prefix(&author, seq) == Some(prefix)
            || journal.is_recorded(&author, seq, prefix)
            || adopted.contains(&id)
        {
            ReadingPlace::Stored
        } else if author == journal.author() {
            ReadingPlace::OwnKey
        } else if !ctx.is_readable(reading) {
            ReadingPlace::Unreadable
        } else if ctx.is_final(reading, &id) || adopted.has_number(&author, seq) {
            ReadingPlace::NumberTaken
        } else if ctx.mempool.contains(&id) {
            ReadingPlace::Mempool
        } else {
            ReadingPlace::Absent
        }
    }
}
