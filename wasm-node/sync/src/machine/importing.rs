//! Importing a file, piece by piece.
//!
//! The same rules apply as for blocks from peers (headers with known parents, proof of work, bodies,
//! signatures, authors' sequence numbers), and the same fork choice. The first error ends the import.
//! Everything before it is valid and stays.
//!
//! A piece is answered once it is on disk, so that the importer never outruns the disk.

use alloc::vec::Vec;
use core::fmt::Debug;

use hashbrown::HashSet;
use heartchain_chain::{
    block::{Block, BodyError},
    hash::BlockHash,
    profile::Profile,
    reading::{Reading, verify_batch},
    tree::InsertError,
};
use litemap::LiteMap;

use super::{context::Context, follow_up::FollowUp};
use crate::{
    config::{MAX_IMPORT_BLOCKS, MAX_IMPORT_PROFILES, MAX_IMPORT_READINGS, MAX_PENDING_IMPORTS},
    io::{Event, ImportError, ImportPiece, Imported, StoreOperation, Ticket, WriteId},
};

/// Pieces on their way to the disk, and the branch being imported.
#[derive(Clone, Debug, Default)]
pub(crate) struct Importing {
    writing: LiteMap<WriteId, (Ticket, Result<Imported, ImportError>)>,
    /// The last block imported. Its branch is still growing and must not be pruned for having little work.
    last: Option<BlockHash>,
}

impl Importing {
    /// The last block of the branch being imported.
    pub(super) const fn last(&self) -> Option<BlockHash> {
        self.last
    }

    pub(super) fn on_piece<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        ticket: Ticket,
        piece: ImportPiece,
    ) {
        if let Err(error) = self.check_limits(&piece) {
            return emit(ctx, ticket, Err(error));
        }
        let ends = piece.is_last;
        let (result, write) = self.import(ctx, piece);
        if ends || result.is_err() {
            ctx.follow_up(FollowUp::ImportEnded);
        }
        match write {
            Some(id) => {
                self.writing.insert(id, (ticket, result));
            }
            None => emit(ctx, ticket, result),
        }
    }

    /// A write ended. If it belongs to an imported piece, the piece is answered.
    pub(super) fn on_written<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        id: WriteId,
        stored: bool,
    ) {
        let Some((ticket, result)) = self.writing.remove(&id) else {
            return;
        };
        let result = if stored {
            result
        } else {
            result.and(Err(ImportError::NotStored))
        };
        emit(ctx, ticket, result);
    }

    fn check_limits(&self, piece: &ImportPiece) -> Result<(), ImportError> {
        let limit = MAX_PENDING_IMPORTS;
        if self.writing.len() >= limit {
            return Err(ImportError::Busy { limit });
        }
        let (blocks, readings) = (piece.blocks.len(), piece.readings.len());
        let profiles = piece.profiles.len();
        if blocks > MAX_IMPORT_BLOCKS
            || readings > MAX_IMPORT_READINGS
            || profiles > MAX_IMPORT_PROFILES
        {
            return Err(ImportError::TooLarge {
                blocks,
                readings,
                profiles,
            });
        }
        Ok(())
    }

    fn import<P: Copy + Ord + Debug>(
        &mut self,
        ctx: &mut Context<P>,
        piece: ImportPiece,
    ) -> (Result<Imported, ImportError>, Option<WriteId>) {
        let mut imported = Imported::default();
        let mut operations = Vec::new();
        let mut imported_hashes = Vec::new();
        let mut result = Ok(());
        // Blocks of two branches may have the same reading.
        let mut found = HashSet::new();
        for block in piece.blocks {
            let (index, readings) = (block.header.index, block.readings.len());
            let new = block
                .readings
                .iter()
                .filter(|reading| !ctx.contains_reading(reading) && found.insert(**reading))
                .count();
            match import_block(ctx, block) {
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
        self.last = imported_hashes.last().copied().or(self.last);
        let write = (!operations.is_empty()).then(|| ctx.write(operations));
        // Switches to the imported branch if it is better by now.
        let invalid = ctx.advance_with(&imported_hashes, false);
        let result = result
            .and(invalid.map_or(Ok(()), |error| Err(ImportError::Sequence(error))))
            .and_then(|()| import_readings(ctx, &piece.readings, &mut imported))
            .and_then(|()| import_profiles(ctx, piece.profiles));
        (result.map(|()| imported), write)
    }

    /// Ends the import. Returns the imported blocks off the best branch. A person chose the file, so they are protected as if they
    /// were confirmed, and their readings return to the mempool, as after a reorg.
    pub(super) fn end<P>(&mut self, ctx: &Context<P>) -> Vec<BlockHash> {
        let last = self.last.take();
        last.map_or(Vec::new(), |last| ctx.tree.path_from_best(&last))
    }
}

fn import_block<P: Copy + Ord + Debug>(
    ctx: &mut Context<P>,
    block: Block,
) -> Result<(BlockHash, Option<StoreOperation>), BlockError> {
    let latest = ctx.clock.latest();
    let inserted = ctx.tree.insert_header(&block.header, latest)?;
    let operation = ctx.insert_body(&inserted.hash, block.readings)?;
    Ok((inserted.hash, operation))
}

fn import_readings<P: Copy + Ord + Debug>(
    ctx: &mut Context<P>,
    readings: &[Reading],
    imported: &mut Imported,
) -> Result<(), ImportError> {
    let room = ctx.room();
    verify_batch(room, readings, &mut ctx.rng)?;
    for reading in readings {
        imported.readings += 1;
        if !ctx.is_readable(reading) {
            continue;
        }
        let next = ctx.tree.next_seq(&reading.author);
        let id = reading.id(room);
        // The mempool has no room for it. It is left to other peers, as with readings that peers send.
        if ctx
            .mempool
            .insert(reading, id, next, ctx.clock.now())
            .is_ok()
        {
            imported.new_readings += 1;
            ctx.emit(Event::Reading(*reading));
        }
    }
    Ok(())
}

fn import_profiles<P: Copy + Ord + Debug>(
    ctx: &mut Context<P>,
    profiles: Vec<Profile>,
) -> Result<(), ImportError> {
    for profile in &profiles {
        profile.verify(ctx.room())?;
    }
    if !profiles.is_empty() {
        ctx.follow_up(FollowUp::ImportedProfiles(profiles));
    }
    Ok(())
}

fn emit<P: Copy + Ord + Debug>(
    ctx: &mut Context<P>,
    ticket: Ticket,
    result: Result<Imported, ImportError>,
) {
    ctx.emit(Event::Imported { ticket, result });
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
