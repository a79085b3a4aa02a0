//! Importing a file, piece by piece.
//!
//! The same rules apply as for blocks from peers (headers with known parents, proof of work, bodies,
//! signatures, authors' sequence numbers), and the same fork choice. The first error ends the import.
//! Everything before it is valid and stays.
//!
//! A piece is answered once it is on disk, so that the importer never outruns the disk.

use alloc::vec::Vec;
use core::fmt::Debug;

use heartchain_chain::{
    block::{Block, BodyError},
    hash::BlockHash,
    reading::{Reading, verify_batch},
    tree::InsertError,
};
use litemap::LiteMap;

use super::Machine;
use crate::{
    config::{MAX_IMPORT_BLOCKS, MAX_IMPORT_READINGS, MAX_PENDING_IMPORTS},
    io::{Event, ImportError, ImportPiece, Imported, Output, StoreOperation, Ticket, WriteId},
};

/// Pieces on their way to the disk, and the branch being imported.
#[derive(Clone, Debug, Default)]
pub(super) struct Importing {
    writing: LiteMap<WriteId, (Ticket, Result<Imported, ImportError>)>,
    /// The last block imported. Its branch is still growing and must not be pruned for having little work.
    last: Option<BlockHash>,
}

impl Importing {
    pub(super) const fn last(&self) -> Option<BlockHash> {
        self.last
    }
}

impl<P: Copy + Ord + Debug> Machine<P> {
    pub(super) fn import(&mut self, ticket: Ticket, piece: ImportPiece) {
        if let Err(error) = self.check_import_limits(&piece) {
            return self.emit_imported(ticket, Err(error));
        }
        let ends = piece.is_last;
        let (result, write) = self.import_blocks(piece);
        if ends || result.is_err() {
            self.end_import();
        }
        match write {
            Some(id) => {
                self.importing.writing.insert(id, (ticket, result));
            }
            None => self.emit_imported(ticket, result),
        }
    }

    /// A write ended. If it belongs to an imported piece, the piece is answered.
    pub(super) fn import_written(&mut self, id: WriteId, stored: bool) {
        let Some((ticket, result)) = self.importing.writing.remove(&id) else {
            return;
        };
        let result = if stored {
            result
        } else {
            result.and(Err(ImportError::NotStored))
        };
        self.emit_imported(ticket, result);
    }

    fn check_import_limits(&self, piece: &ImportPiece) -> Result<(), ImportError> {
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
        let mut imported_hashes = Vec::new();
        let mut result = Ok(());
        for block in piece.blocks {
            let (index, readings) = (block.header.index, block.readings.len());
            let new = block
                .readings
                .iter()
                .filter(|reading| !self.contains_reading(reading))
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
                    imported_hashes.push(hash);
                }
                Err(error) => {
                    result = Err(error.at(index));
                    break;
                }
            }
        }
        self.importing.last = imported_hashes.last().copied().or(self.importing.last);
        let write = (!operations.is_empty()).then(|| self.write(operations, false));
        let result = result
            .and(self.activate_imported(&imported_hashes))
            .and_then(|()| self.import_readings(&piece.readings, &mut imported));
        (result.map(|()| imported), write)
    }

    fn import_block(
        &mut self,
        block: Block,
    ) -> Result<(BlockHash, Option<StoreOperation>), BlockError> {
        let now = self.latest_now();
        let inserted = self.tree.insert_header(&block.header, now)?;
        let operation = self.insert_body(&inserted.hash, block.readings)?;
        Ok((inserted.hash, operation))
    }

    /// Switches to the imported branch if it is better by now.
    fn activate_imported(&mut self, imported_hashes: &[BlockHash]) -> Result<(), ImportError> {
        let advance = self.tree.advance();
        if advance.switch.is_some() {
            self.mempool_sync.announce();
        }
        let broken = advance
            .invalid
            .iter()
            .find(|invalid| {
                invalid
                    .removed
                    .hashes
                    .iter()
                    .any(|hash| imported_hashes.contains(hash))
            })
            .map(|invalid| ImportError::Sequence(invalid.error));
        self.apply_advance(advance);
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
            // The mempool has no room for it. It is left to other peers, as with readings that peers send.
            if self.mempool.insert(reading, id, next, self.now).is_ok() {
                imported.new_readings += 1;
                self.outputs.push(Output::Emit(Event::Reading(*reading)));
            }
        }
        Ok(())
    }

    /// Ends the import. Readings of imported blocks off the best branch return to the mempool, as after a reorg.
    fn end_import(&mut self) {
        let Some(last) = self.importing.last.take() else {
            return;
        };
        // A person chose the file, so its blocks are protected as if they were confirmed.
        let beside = self.tree.path_from_best(&last);
        self.protect(beside);
        self.prune();
    }

    fn emit_imported(&mut self, ticket: Ticket, result: Result<Imported, ImportError>) {
        self.outputs
            .push(Output::Emit(Event::Imported { ticket, result }));
    }
}

/// Why a block was not imported.
enum BlockError {
    Header(InsertError),
    Body(BodyError),
}

impl BlockError {
    fn at(self, index: u64) -> ImportError {
        match self {
            Self::Header(source) => ImportError::Header { index, source },
            Self::Body(source) => ImportError::Body { index, source },
        }
    }
}

impl From<InsertError> for BlockError {
    fn from(error: InsertError) -> Self {
        Self::Header(error)
    }
}

impl From<BodyError> for BlockError {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}
