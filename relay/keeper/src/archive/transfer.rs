//! Exports a running session to a file, and imports a file into one.

use std::path::{Path, PathBuf};

use heartchain_chain::reading::Reading;
use heartchain_sync::{
    ImportSummary, ImportTarget, ReadingPlaces,
    config::{MAX_IMPORT_BLOCKS, MAX_IMPORT_PROFILES},
    import_waiting,
    io::{AdoptError, ImportError, ImportPiece, Imported},
};
use tokio::{sync::mpsc, task::spawn_blocking};

use super::{
    document::{Document, DocumentError, ReadError, Row},
    verifying::{Verified, VerifyError, verify},
    writing::{WriteError, write},
};
use crate::{
    atomic_file::AtomicFile,
    session::handle::{Handle, Stopped},
};

/// Readings that are enough for a piece of an import. Its last block may have that many, too.
const PIECE_READINGS: usize = 512;
/// Pieces of an import that are read ahead.
const PIECES_AHEAD: usize = 2;

/// Why an export failed. The file that had its name before, if any, is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The session has ended.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The path of the file.
        path: PathBuf,
        /// What failed, the store or the file.
        source: WriteError,
    },
    /// What was written is not valid, so it did not get its name.
    #[error("what was written is not a valid export, and was removed: {0}")]
    Invalid(#[from] VerifyError),
}

/// Why an import ended. Everything before the error is valid and is kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The session has ended.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The file cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The file is of another room.
    #[error(
        "this file is of another room than the one that was chosen: leave the room out, or choose that of the file"
    )]
    OtherRoom,
    /// A block, a reading or a name breaks a rule, or could not be written.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// Waiting readings could not be kept.
    #[error(transparent)]
    Adopt(#[from] AdoptError),
}

/// What an export contains, and what it had to leave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// What the file contains.
    pub found: Verified,
    /// Readings that were recorded here and are not in the file, because others have their numbers. They are signed again if that
    /// stays so.
    pub contested: usize,
}

impl Exported {
    /// What a person reads about readings that are not in the file, if there are any.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let contested = self.contested;
        (contested > 0).then(|| {
            format!(
                "{contested} readings that were recorded here are not in the file, because their key is used in another place, too. They are signed again with another key: export once more later"
            )
        })
    }
}

/// Writes everything that the session knows to `path`, verifies it, and only then gives the file its name.
///
/// # Errors
/// If the session ends, or the file cannot be written or is not valid.
pub async fn export(handle: &Handle, path: &Path) -> Result<Exported, ExportError> {
    let mut snapshot = handle.snapshot().await?;
    let contested = snapshot.waiting.contested;
    let write_error = |path: &Path| {
        let path = path.to_owned();
        move |source: WriteError| ExportError::Write { path, source }
    };
    let blocks = (&mut snapshot.blocks).await.map_err(|_| Stopped)?;
    let blocks = blocks
        .map_err(WriteError::from)
        .map_err(write_error(path))?;
    let path = path.to_owned();
    let written = spawn_blocking(move || {
        let file = AtomicFile::create(&path).and_then(|mut file| {
            let exported_at = heartchain_peer::clock::now();
            let written = write(&snapshot, &blocks, exported_at, file.writer()?);
            Ok((file, written))
        });
        let (mut file, written) = file.map_err(WriteError::from).map_err(write_error(&path))?;
        written.map_err(write_error(&path))?;
        let draft = file.finish().map_err(WriteError::from);
        let found = verify(draft.map_err(write_error(&path))?)?;
        let placed = file.place().map_err(WriteError::from);
        placed.map_err(write_error(&path))?;
        Ok(Exported { found, contested })
    });
    // The thread ends with the process only.
    written.await.unwrap_or(Err(ExportError::Stopped(Stopped)))
}

/// A part of a file, in the order in which it is imported.
enum Part {
    Piece(ImportPiece),
    Waiting(Vec<Reading>),
}

impl Default for Part {
    fn default() -> Self {
        Self::Piece(ImportPiece::default())
    }
}

/// Imports an open document. Waiting readings of others are stored until they are confirmed.
///
/// # Errors
/// At the first row that breaks a rule. What came before it is kept.
pub(crate) async fn import(
    handle: &Handle,
    document: Document,
) -> Result<ImportSummary, TransferError> {
    let (sender, mut parts) = mpsc::channel(PIECES_AHEAD);
    let reading = spawn_blocking(move || read_parts(&document, &sender));
    let mut summary = ImportSummary::default();
    let mut result = Ok(());
    while let Some(part) = parts.recv().await {
        result = import_part(handle, part, &mut summary).await;
        if result.is_err() {
            break;
        }
    }
    drop(parts);
    // The machine is told that the import is over, whether it succeeded or not.
    let last = ImportPiece {
        is_last: true,
        ..ImportPiece::default()
    };
    let ended = handle.import(last).await?;
    result?;
    reading.await.map_err(|_| Stopped)??;
    ended?;
    Ok(summary)
}

/// Reads a document into parts. Ends when no one takes them.
fn read_parts(document: &Document, sender: &mpsc::Sender<Part>) -> Result<(), DocumentError> {
    let mut part = Part::default();
    let mut readings = 0;
    let flush = |part: &mut Part| {
        let full = core::mem::take(part);
        sender.blocking_send(full).map_err(|_| Stopped)
    };
    let read = document.read(|row| {
        if !fits(&part, &row, readings) {
            flush(&mut part)?;
            readings = 0;
        }
        readings += add(&mut part, row);
        Ok(())
    });
    match read {
        Ok(()) => {
            // The one who imports may have given up.
            let _ = flush(&mut part);
            Ok(())
        }
        Err(ReadError::Document(error)) => {
            // What was read before the error is imported.
            let _ = flush(&mut part);
            Err(error)
        }
        Err(ReadError::Stopped(Stopped)) => Ok(()),
    }
}

/// Whether a row belongs into this part, which has so many readings.
fn fits(part: &Part, row: &Row, readings: usize) -> bool {
    match (part, row) {
        (Part::Piece(piece), Row::Block(_)) => {
            piece.profiles.is_empty()
                && piece.blocks.len() < MAX_IMPORT_BLOCKS
                && readings < PIECE_READINGS
        }
        (Part::Piece(piece), Row::Profile(_)) => {
            piece.blocks.is_empty() && piece.profiles.len() < MAX_IMPORT_PROFILES
        }
        (Part::Waiting(waiting), Row::Waiting(_)) => waiting.len() < PIECE_READINGS,
        (Part::Piece(_), Row::Waiting(_)) | (Part::Waiting(_), Row::Block(_) | Row::Profile(_)) => {
            false
        }
    }
}

/// Adds a row to a part that it fits into, or to an empty one. Returns how many readings it has.
fn add(part: &mut Part, row: Row) -> usize {
    match (part, row) {
        (Part::Waiting(waiting), Row::Waiting(reading)) => {
            waiting.push(reading);
            1
        }
        (part, Row::Waiting(reading)) => {
            *part = Part::Waiting(vec![reading]);
            1
        }
        (Part::Piece(piece), Row::Block(block)) => {
            let readings = block.readings.len();
            piece.blocks.push(block);
            readings
        }
        (Part::Piece(piece), Row::Profile(profile)) => {
            piece.profiles.push(profile);
            0
        }
        (part, row @ (Row::Block(_) | Row::Profile(_))) => {
            *part = Part::default();
            add(part, row)
        }
    }
}

async fn import_part(
    handle: &Handle,
    part: Part,
    summary: &mut ImportSummary,
) -> Result<(), TransferError> {
    match part {
        Part::Piece(piece) => {
            summary.add(&handle.import(piece).await??);
            Ok(())
        }
        Part::Waiting(waiting) => import_waiting(handle, &waiting, summary).await,
    }
}

impl ImportTarget for Handle {
    type Error = TransferError;

    async fn places(&self, readings: Vec<Reading>) -> Result<ReadingPlaces, TransferError> {
        Ok(Self::places(self, readings).await?)
    }

    async fn import(&self, piece: ImportPiece) -> Result<Imported, TransferError> {
        Ok(Self::import(self, piece).await??)
    }

    async fn adopt(
        &self,
        readings: Vec<Reading>,
    ) -> Result<Result<usize, AdoptError>, TransferError> {
        Ok(Self::adopt(self, readings).await?)
    }
}
