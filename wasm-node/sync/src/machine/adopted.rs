//! Readings that another, closed tab of this computer signed: kept here, and offered until they are confirmed.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::fmt::Debug;

use chain::{
    hash::{ReadingId, RoomId},
    key::Author,
    mempool::MAX_AHEAD,
    reading::{Reading, verify_batch},
    tree::IdPrefix,
};
use litemap::LiteMap;

use super::Machine;
use crate::{
    config::{MAX_ADOPT, MAX_ADOPTED},
    seam::{AdoptError, Event, Output, StoreOperation, Ticket, WriteId},
};

/// The readings, and calls that wait for the disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Adopted {
    readings: BTreeMap<(Author, u64), Reading>,
    ids: BTreeSet<ReadingId>,
    writing: LiteMap<WriteId, (Ticket, Vec<Reading>)>,
}

impl Adopted {
    pub(super) fn len(&self) -> usize {
        let writing = self.writing.values().map(|(_, readings)| readings.len());
        self.readings.len() + writing.sum::<usize>()
    }

    /// Takes in one that is on disk, or about to be. Those beyond the bound stay there until the next start.
    pub(super) fn restore(&mut self, room: RoomId, reading: Reading) {
        if self.readings.len() < MAX_ADOPTED {
            self.ids.insert(reading.id(room));
            self.readings.insert((reading.author, reading.seq), reading);
        }
    }

    /// Whether a reading with this id is looked after.
    pub(super) fn contains(&self, id: &ReadingId) -> bool {
        self.ids.contains(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Reading> {
        self.readings.values()
    }

    fn authors(&self) -> Vec<Author> {
        let mut authors = Vec::new();
        let mut next = self.readings.first_key_value().map(|(at, _)| *at);
        while let Some((author, _)) = next {
            authors.push(author);
            let behind = (author, u64::MAX);
            let mut rest = self.readings.range((
                core::ops::Bound::Excluded(behind),
                core::ops::Bound::Unbounded,
            ));
            next = rest.next().map(|(at, _)| *at);
        }
        authors
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    pub(super) fn adopt(&mut self, ticket: Ticket, readings: Vec<Reading>) {
        let limit = MAX_ADOPTED;
        if readings.len() > MAX_ADOPT || self.adopted.len() + readings.len() > limit {
            return self.tell_adopted(ticket, Err(AdoptError::TooMany { limit }));
        }
        let room = self.tree.room().id();
        if let Err(error) = verify_batch(room, &readings, &mut self.rng) {
            return self.tell_adopted(ticket, Err(AdoptError::Reading(error.source)));
        }
        let new: Vec<Reading> = readings
            .into_iter()
            .filter(|reading| {
                let at = (reading.author, reading.seq);
                !self.adopted.readings.contains_key(&at)
                    && reading.author != self.journal.author()
                    && !self.is_beyond_change(reading, &reading.id(room))
            })
            .collect();
        if new.is_empty() {
            return self.tell_adopted(ticket, Ok(0));
        }
        let operations = new
            .iter()
            .map(|reading| StoreOperation::PutAdopted(reading.id(room), *reading))
            .collect();
        let id = self.write(operations, true);
        self.adopted.writing.insert(id, (ticket, new));
    }

    /// Returns whether this was a write of adopted readings.
    pub(super) fn adopted_written(&mut self, id: WriteId, stored: bool) -> bool {
        let Some((ticket, readings)) = self.adopted.writing.remove(&id) else {
            return false;
        };
        let result = if stored {
            let room = self.tree.room().id();
            for reading in &readings {
                self.adopted.restore(room, *reading);
            }
            self.journal.refill();
            Ok(readings.len())
        } else {
            Err(AdoptError::NotStored)
        };
        self.tell_adopted(ticket, result);
        true
    }

    fn tell_adopted(&mut self, ticket: Ticket, result: Result<usize, AdoptError>) {
        self.outputs
            .push(Output::Tell(Event::Adopted { ticket, result }));
    }

    /// Offers what the best branch lacks, as much as one author may have waiting.
    pub(super) fn refill_adopted(&mut self) {
        for author in self.adopted.authors() {
            let next = self.tree.next_seq(&author);
            let until = next.saturating_add(MAX_AHEAD);
            let lacking: Vec<Reading> = self
                .adopted
                .readings
                .range((author, next)..(author, until))
                .filter(|((author, seq), _)| !self.mempool.has_place(author, *seq))
                .map(|(_, reading)| *reading)
                .collect();
            for reading in lacking {
                if !self.return_to_mempool(&reading) {
                    break;
                }
            }
        }
    }

    /// Lets go of what is confirmed, and of what can never be.
    pub(super) fn forget_settled_adopted(&mut self) {
        if !self.confirmation.may_move() || self.unwritten.has_bodies() {
            return;
        }
        let room = self.tree.room().id();
        let mut gone: Vec<ReadingId> = Vec::new();
        for author in self.adopted.authors() {
            let settled = self.tree.settled_seq(&author);
            let over: Vec<Reading> = self
                .adopted
                .readings
                .range((author, 0)..(author, settled))
                .map(|(_, reading)| *reading)
                .filter(|reading| self.is_beyond_change(reading, &reading.id(room)))
                .collect();
            for reading in over {
                let id = reading.id(room);
                self.adopted.readings.remove(&(author, reading.seq));
                self.adopted.ids.remove(&id);
                gone.push(id);
            }
        }
        if !gone.is_empty() {
            // They go because they are confirmed, so that has to be on disk with it.
            let mark = self.confirmed_mark();
            let operations = gone.into_iter().map(StoreOperation::DeleteAdopted);
            let operations = mark.into_iter().chain(operations).collect();
            self.write(operations, false);
        }
    }

    /// Whether a reading is confirmed, or its seq was given to another one so deep that it can never be.
    pub(super) fn is_beyond_change(&self, reading: &Reading, id: &ReadingId) -> bool {
        let author = &reading.author;
        let linked = self.tree.linked_prefix(author, reading.seq);
        let deep_enough = if linked == Some(IdPrefix::from(id)) {
            self.tree.settled_seq(author)
        } else {
            self.tree.buried_seq(author)
        };
        reading.seq < deep_enough
    }
}
