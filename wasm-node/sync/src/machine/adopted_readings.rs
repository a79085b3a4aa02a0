//! Adopted readings: readings of closed tabs of this computer and waiting readings of imported files, which this peer stores and
//! offers to others until they are confirmed.

use alloc::vec::Vec;
use core::{fmt::Debug, ops::Range};

use hashbrown::{HashMap, HashSet};
use heartchain_chain::{
    hash::{ReadingId, RoomId},
    key::Author,
    mempool::MAX_AHEAD,
    ordered::OrderedSet,
    reading::{Reading, verify_batch},
};
use litemap::LiteMap;

use super::{context::Context, follow_up::FollowUp};
use crate::{
    config::{MAX_ADOPTED, MAX_READINGS_PER_ADOPT},
    io::{AdoptError, Event, StoreOperation, Ticket, WriteId},
};

/// Adopted readings, and calls of `adopt()` that wait for the disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Adopted {
    readings: HashMap<(Author, u64), Reading>,
    /// The authors and sequence numbers of these readings.
    ordered: OrderedSet<(Author, u64)>,
    ids: HashSet<ReadingId>,
    writing: LiteMap<WriteId, (Ticket, Vec<Reading>)>,
}

impl Adopted {
    pub(crate) fn len(&self) -> usize {
        let writing = self.writing.values().map(|(_, readings)| readings.len());
        self.readings.len() + writing.sum::<usize>()
    }

    /// Adds a reading that is on disk or about to be, unless another one has its number. Those beyond the limit, and of two with a
    /// number the second one, stay on disk until a later start.
    pub(crate) fn insert(&mut self, room: RoomId, reading: Reading) {
        let at = (reading.author, reading.seq);
        if self.readings.len() < MAX_ADOPTED && !self.readings.contains_key(&at) {
            self.ids.insert(reading.id(room));
            self.ordered.insert(at);
            self.readings.insert(at, reading);
        }
    }

    /// Whether a reading with this ID is tracked here.
    pub(crate) fn contains(&self, id: &ReadingId) -> bool {
        self.ids.contains(id)
    }

    /// Whether a reading of this author with this sequence number is tracked here.
    pub(crate) fn has_number(&self, author: &Author, seq: u64) -> bool {
        self.readings.contains_key(&(*author, seq))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Reading> {
        self.ordered.iter().filter_map(|at| self.readings.get(&at))
    }

    /// The readings of an author whose sequence numbers are in this range, in order.
    fn of_author(&self, author: Author, seqs: Range<u64>) -> impl Iterator<Item = &Reading> {
        let from = self.ordered.starting_at((author, seqs.start));
        from.take_while(move |(other, seq)| *other == author && *seq < seqs.end)
            .filter_map(|at| self.readings.get(&at))
    }

    fn authors(&self) -> Vec<Author> {
        let mut authors = Vec::new();
        let mut next = self.ordered.first();
        while let Some((author, _)) = next {
            authors.push(author);
            let mut rest = self.ordered.starting_at((author, u64::MAX));
            next = rest.find(|(other, _)| *other != author);
        }
        authors
    }

    /// Writes readings that another tab signed, unless their fate is final. Of several with a number, it writes the first. `own` is
    /// the author of this tab.
    pub(super) fn adopt<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        own: &Author,
        ticket: Ticket,
        readings: Vec<Reading>,
    ) {
        let limit = MAX_ADOPTED;
        if readings.len() > MAX_READINGS_PER_ADOPT || self.len() + readings.len() > limit {
            return emit(ctx, ticket, Err(AdoptError::TooMany { limit }));
        }
        let room = ctx.room();
        if let Err(error) = verify_batch(room, &readings, &mut ctx.rng) {
            return emit(ctx, ticket, Err(AdoptError::Reading(error.source)));
        }
        let mut numbers = HashSet::new();
        let new: Vec<Reading> = readings
            .into_iter()
            .filter(|reading| {
                let at = (reading.author, reading.seq);
                !self.readings.contains_key(&at)
                    && reading.author != *own
                    && !ctx.is_final(reading, &reading.id(room))
                    && numbers.insert(at)
            })
            .collect();
        if new.is_empty() {
            return emit(ctx, ticket, Ok(0));
        }
        let operations = new
            .iter()
            .map(|reading| StoreOperation::PutAdopted(reading.id(room), *reading));
        let id = ctx.write_strictly(operations.collect());
        self.writing.insert(id, (ticket, new));
    }

    /// Handles the end of a write, if it is one of adopted readings.
    pub(super) fn on_written<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        id: WriteId,
        stored: bool,
    ) {
        let Some((ticket, readings)) = self.writing.remove(&id) else {
            return;
        };
        let result = if stored {
            let room = ctx.room();
            let before = self.readings.len();
            let mut taken = Vec::new();
            for reading in readings {
                self.insert(room, reading);
                let id = reading.id(room);
                // A call that was written at the same time may have stored another one with its number.
                if !self.contains(&id) && self.has_number(&reading.author, reading.seq) {
                    taken.push(StoreOperation::DeleteAdopted(id));
                }
            }
            if !taken.is_empty() {
                ctx.write(taken);
            }
            ctx.follow_up(FollowUp::RefillMempool);
            Ok(self.readings.len() - before)
        } else {
            Err(AdoptError::NotStored)
        };
        emit(ctx, ticket, result);
    }

    /// Puts readings that the best branch lacks into the mempool, up to its limit per author.
    pub(super) fn refill<P: Copy + Ord + Debug>(&self, ctx: &mut Context<P>) {
        for author in self.authors() {
            let next = ctx.tree.next_seq(&author);
            let until = next.saturating_add(MAX_AHEAD);
            let lacking: Vec<Reading> = self
                .of_author(author, next..until)
                .filter(|reading| !ctx.mempool.contains_seq(&author, reading.seq))
                .copied()
                .collect();
            for reading in lacking {
                if !ctx.return_to_mempool(&reading) {
                    break;
                }
            }
        }
    }

    /// Removes readings that are confirmed or can never be. Returns how to delete them.
    pub(super) fn take_final<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &Context<P>,
    ) -> Vec<StoreOperation> {
        let room = ctx.room();
        let mut gone = Vec::new();
        for author in self.authors() {
            let settled = ctx.tree.confirmed_seq(&author);
            let over: Vec<Reading> = self
                .of_author(author, 0..settled)
                .copied()
                .filter(|reading| ctx.is_final(reading, &reading.id(room)))
                .collect();
            for reading in over {
                let id = reading.id(room);
                self.ordered.remove(&(author, reading.seq));
                self.readings.remove(&(author, reading.seq));
                self.ids.remove(&id);
                gone.push(StoreOperation::DeleteAdopted(id));
            }
        }
        gone
    }
}

fn emit<P: Copy + Ord + Debug>(
    ctx: &mut Context<P>,
    ticket: Ticket,
    result: Result<usize, AdoptError>,
) {
    ctx.emit(Event::Adopted { ticket, result });
}
