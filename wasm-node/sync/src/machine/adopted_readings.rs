//! Adopted readings: readings of closed tabs of this computer, which this tab stores and offers to peers until they are
//! confirmed, so that they are not held up until those tabs return.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::fmt::Debug;

use heartchain_chain::{
    hash::{ReadingId, RoomId},
    key::Author,
    mempool::MAX_AHEAD,
    reading::{Reading, verify_batch},
    tree::IdPrefix,
};
use litemap::LiteMap;

use super::Machine;
use crate::{
    config::{MAX_ADOPTED, MAX_READINGS_PER_ADOPT},
    io::{AdoptError, Event, Output, StoreOperation, Ticket, WriteId},
};

/// Adopted readings, and calls of `adopt()` that wait for the disk.
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

    /// Adds a reading that is on disk or about to be. Those beyond the limit stay on disk until the next start.
    pub(super) fn insert(&mut self, room: RoomId, reading: Reading) {
        if self.readings.len() < MAX_ADOPTED {
            self.ids.insert(reading.id(room));
            self.readings.insert((reading.author, reading.seq), reading);
        }
    }

    /// Whether a reading with this ID is tracked here.
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
        if readings.len() > MAX_READINGS_PER_ADOPT || self.adopted.len() + readings.len() > limit {
            return self.emit_adopted(ticket, Err(AdoptError::TooMany { limit }));
        }
        let room = self.tree.room().id();
        if let Err(error) = verify_batch(room, &readings, &mut self.rng) {
            return self.emit_adopted(ticket, Err(AdoptError::Reading(error.source)));
        }
        let new: Vec<Reading> = readings
            .into_iter()
            .filter(|reading| {
                let at = (reading.author, reading.seq);
                !self.adopted.readings.contains_key(&at)
                    && reading.author != self.journal.author()
                    && !self.is_final(reading, &reading.id(room))
            })
            .collect();
        if new.is_empty() {
            return self.emit_adopted(ticket, Ok(0));
        }
        let operations = new
            .iter()
            .map(|reading| StoreOperation::PutAdopted(reading.id(room), *reading))
            .collect();
        let id = self.write(operations, true);
        self.adopted.writing.insert(id, (ticket, new));
    }

    /// Handles the end of a write. Returns whether it was one of adopted readings.
    pub(super) fn adopted_written(&mut self, id: WriteId, stored: bool) -> bool {
        let Some((ticket, readings)) = self.adopted.writing.remove(&id) else {
            return false;
        };
        let result = if stored {
            let room = self.tree.room().id();
            for reading in &readings {
                self.adopted.insert(room, *reading);
            }
            self.journal.request_refill();
            Ok(readings.len())
        } else {
            Err(AdoptError::NotStored)
        };
        self.emit_adopted(ticket, result);
        true
    }

    fn emit_adopted(&mut self, ticket: Ticket, result: Result<usize, AdoptError>) {
        self.outputs
            .push(Output::Emit(Event::Adopted { ticket, result }));
    }

    /// Puts readings that the best branch lacks into the mempool, up to its limit per author.
    pub(super) fn refill_adopted(&mut self) {
        for author in self.adopted.authors() {
            let next = self.tree.next_seq(&author);
            let until = next.saturating_add(MAX_AHEAD);
            let lacking: Vec<Reading> = self
                .adopted
                .readings
                .range((author, next)..(author, until))
                .filter(|((author, seq), _)| !self.mempool.contains_seq(author, *seq))
                .map(|(_, reading)| *reading)
                .collect();
            for reading in lacking {
                if !self.return_to_mempool(&reading) {
                    break;
                }
            }
        }
    }

    /// Removes readings that are confirmed or can never be.
    pub(super) fn forget_confirmed_adopted(&mut self) {
        if !self.confirmation.may_advance() || self.unwritten.has_bodies() {
            return;
        }
        let room = self.tree.room().id();
        let mut gone: Vec<ReadingId> = Vec::new();
        for author in self.adopted.authors() {
            let settled = self.tree.confirmed_seq(&author);
            let over: Vec<Reading> = self
                .adopted
                .readings
                .range((author, 0)..(author, settled))
                .map(|(_, reading)| *reading)
                .filter(|reading| self.is_final(reading, &reading.id(room)))
                .collect();
            for reading in over {
                let id = reading.id(room);
                self.adopted.readings.remove(&(author, reading.seq));
                self.adopted.ids.remove(&id);
                gone.push(id);
            }
        }
        if !gone.is_empty() {
            // They are deleted because they are confirmed, so that fact has to be on disk in the same transaction.
            let confirmed = self.put_confirmed();
            let operations = gone.into_iter().map(StoreOperation::DeleteAdopted);
            let operations = confirmed.into_iter().chain(operations).collect();
            self.write(operations, false);
        }
    }

    /// Whether a reading's fate is final: it is confirmed, or another reading has its sequence number at a
    /// depth at which that will not change.
    pub(super) fn is_final(&self, reading: &Reading, id: &ReadingId) -> bool {
        let author = &reading.author;
        let linked = self.tree.best_prefix(author, reading.seq);
        let deep_enough = if linked == Some(IdPrefix::from(id)) {
            self.tree.confirmed_seq(author)
        } else {
            self.tree.buried_seq(author)
        };
        reading.seq < deep_enough
    }
}
