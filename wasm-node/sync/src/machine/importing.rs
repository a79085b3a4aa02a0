//! Taking in a file, piece by piece, by the same rules as what a peer sends: headers on known parents, their work, bodies,
//! signatures, the authors' counts; and the same fork choice. What breaks a rule ends the import; what came before it
//! broke none, and stays.
//!
//! A piece is answered once it is on disk, so the giver of pieces is never faster than the disk.

use alloc::vec::Vec;
use core::fmt::Debug;

use chain::{
    block::{Block, BodyError},
    hash::BlockHash,
    reading::{Reading, verify_batch},
    tree::InsertError,
};
use litemap::LiteMap;

use super::Machine;
use crate::{
    config::{MAX_IMPORT_BLOCKS, MAX_IMPORT_READINGS, MAX_PENDING_IMPORTS},
    seam::{Event, ImportError, ImportPiece, Imported, Output, StoreOperation, Ticket, WriteId},
};

/// Pieces of files on their way to the disk, and the branch that is being imported.
#[derive(Clone, Debug, Default)]
pub(super) struct Importing {
    writing: LiteMap<WriteId, (Ticket, Result<Imported, ImportError>)>,
    /// The last block that came: its branch is growing, and is not to be pruned for being light.
    last: Option<BlockHash>,
}

impl Importing {
    pub(super) const fn last(&self) -> Option<BlockHash> {
        self.last
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    pub(super) fn import(&mut self, ticket: Ticket, piece: ImportPiece) {
        if let Err(error) = self.may_import(&piece) {
            return self.tell_imported(ticket, Err(error));
        }
        let ends = piece.ends;
        let (result, write) = self.import_blocks(piece);
        if ends || result.is_err() {
            self.end_import();
        }
        match write {
            Some(id) => {
                self.importing.writing.insert(id, (ticket, result));
            }
            None => self.tell_imported(ticket, result),
        }
    }

    /// A write ended. If it was of an imported piece, whoever waits for it hears of it.
    pub(super) fn import_written(&mut self, id: WriteId, stored: bool) {
        let Some((ticket, result)) = self.importing.writing.remove(&id) else {
            return;
        };
        let result = if stored {
            result
        } else {
            result.and(Err(ImportError::NotStored))
        };
        self.tell_imported(ticket, result);
    }

    fn may_import(&self, piece: &ImportPiece) -> Result<(), ImportError> {
        let limit = MAX_PENDING_IMPORTS;
        if self.importing.writing.len() >= limit {
            return Err(ImportError::Busy { limit });
        }
        let (blocks, readings) = (piece.blocks.len(), piece.readings.len());
        if blocks > MAX_IMPORT_BLOCKS || readings > MAX_IMPORT_READINGS {
            return Err(ImportError::TooLarge { blocks, readings });
        }
        Ok(())
    }

    fn import_blocks(
        &mut self,
        piece: ImportPiece,
    ) -> (Result<Imported, ImportError>, Option<WriteId>) {
        let mut imported = Imported::default();
        let mut operations = Vec::new();
        let mut came = Vec::new();
        let mut result = Ok(());
        for block in piece.blocks {
            let (index, readings) = (block.header.index, block.readings.len());
            let new = block
                .readings
                .iter()
                .filter(|reading| !self.knows_reading(reading))
                .count();
            match self.import_block(block) {
                Ok((hash, operation)) => {
                    imported.blocks += 1;
                    imported.readings += readings;
                    if let Some(operation) = operation {
                        imported.new_blocks += 1;
                        imported.new_readings += new;
                        operations.push(operation);
                    }
                    came.push(hash);
                }
                Err(error) => {
                    result = Err(error.at(index));
                    break;
                }
            }
        }
        self.importing.last = came.last().copied().or(self.importing.last);
        let write = (!operations.is_empty()).then(|| self.write(operations, false));
        let result = result
            .and(self.go_over(&came))
            .and_then(|()| self.import_readings(&piece.readings, &mut imported));
        (result.map(|()| imported), write)
    }

    fn import_block(
        &mut self,
        block: Block,
    ) -> Result<(BlockHash, Option<StoreOperation>), Refusal> {
        let now = self.latest_now();
        let inserted = self.tree.insert_header(&block.header, now)?;
        let operation = self.take_body(&inserted.hash, block.readings)?;
        Ok((inserted.hash, operation))
    }

    /// Goes over to the imported branch, if it is better by now.
    fn go_over(&mut self, came: &[BlockHash]) -> Result<(), ImportError> {
        let advance = self.tree.advance();
        if advance.switch.is_some() {
            self.rounds.announce();
        }
        let broken = advance
            .condemned
            .iter()
            .find(|invalid| {
                invalid
                    .removed
                    .hashes
                    .iter()
                    .any(|hash| came.contains(hash))
            })
            .map(|invalid| ImportError::Sequence(invalid.error));
        self.apply(advance);
        broken.map_or(Ok(()), Err)
    }

    fn import_readings(
        &mut self,
        readings: &[Reading],
        imported: &mut Imported,
    ) -> Result<(), ImportError> {
        let room = self.tree.room().id();
        verify_batch(room, readings, &mut self.rng)?;
        for reading in readings {
            imported.readings += 1;
            let next = self.tree.next_seq(&reading.author);
            let id = reading.id(room);
            // What finds no place is somebody else's to keep, as with what peers send.
            if self.mempool.insert(reading, id, next, self.now).is_ok() {
                imported.new_readings += 1;
                self.outputs.push(Output::Tell(Event::Reading(*reading)));
            }
        }
        Ok(())
    }

    /// What stands beside the best branch in the end gives its readings to those that wait, as a branch that was left.
    fn end_import(&mut self) {
        let Some(last) = self.importing.last.take() else {
            return;
        };
        // A person gave it, so it is as good as confirmed.
        let beside = self.tree.beside_best(&last);
        self.protect(beside);
        self.prune();
    }

    fn tell_imported(&mut self, ticket: Ticket, result: Result<Imported, ImportError>) {
        self.outputs
            .push(Output::Tell(Event::Imported { ticket, result }));
    }
}

/// Why a block was not taken.
enum Refusal {
    Header(InsertError),
    Body(BodyError),
}

impl Refusal {
    fn at(self, index: u64) -> ImportError {
        match self {
            Self::Header(source) => ImportError::Header { index, source },
            Self::Body(source) => ImportError::Body { index, source },
        }
    }
}

impl From<InsertError> for Refusal {
    fn from(error: InsertError) -> Self {
        Self::Header(error)
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}
