//! The commands that need no network: export, import and verify. Each opens what it needs, and ends.

use std::path::Path;

use heartchain_sync::ImportSummary;

use crate::{
    archive::{
        self, DocumentError, ExportError, Exported, TransferError, Verified, VerifyError,
        document::Document, transfer,
    },
    cli::{CliError, PlaceArgs},
    network::Offline,
    opening::{Opened, has_store, open},
    room_link::open_room,
    session::{Handle, SessionError},
    store::OpenError,
};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// A flag is not valid.
    #[error(transparent)]
    Cli(#[from] CliError),
    /// The files of the room cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Nothing is stored of the room.
    #[error("nothing is stored of this room in {folder}: check its name or link, and --data-dir")]
    NoStore {
        /// The folder in which it was looked for.
        folder: String,
    },
    /// The file is not an export.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The export was not written.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The import ended with an error.
    #[error("{0} (what came before it in the file is imported)")]
    Import(#[from] TransferError),
    /// The file is not valid.
    #[error("not valid: {0}")]
    Verify(#[from] VerifyError),
    /// The session failed.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// Writes what is stored of a room to a file.
///
/// # Errors
/// If there is no such room, or the file cannot be written.
pub async fn export(file: &Path, place: &PlaceArgs) -> Result<Exported, CommandError> {
    let room = match place.room()? {
        Some(room) => room,
        None => open_room("lobby").map_err(CliError::from)?,
    };
    let options = place.files.options(room)?;
    if !has_store(&options)? {
        return Err(CommandError::NoStore {
            folder: options.data_folder.display().to_string(),
        });
    }
    let opened = open(options, Offline)?;
    let exported = with_session(opened, async |handle| archive::export(handle, file).await);
    Ok(exported.await??)
}

/// Adds what a file has to the stored room.
///
/// # Errors
/// If the file is not an export or breaks a rule, or the room cannot be opened or written.
pub async fn import(file: &Path, place: &PlaceArgs) -> Result<ImportSummary, CommandError> {
    let document = Document::open(file)?;
    let room = match place.room()? {
        Some(room) if room.id() != document.room.id() => {
            return Err(TransferError::OtherRoom.into());
        }
        Some(room) => room,
        None => document.room.clone(),
    };
    let opened = open(place.files.options(room)?, Offline)?;
    let imported = with_session(opened, async |handle| {
        transfer::import(handle, document).await
    });
    Ok(imported.await??)
}

/// Verifies a file.
///
/// # Errors
/// The first rule that the file breaks.
pub fn verify(file: &Path) -> Result<Verified, CommandError> {
    Ok(archive::verify(file)?)
}

/// Does something with a session, and ends it.
async fn with_session<T>(
    opened: Opened<Offline>,
    work: impl AsyncFnOnce(&Handle) -> T,
) -> Result<T, SessionError> {
    let Opened {
        session,
        handle,
        events,
    } = opened;
    drop(events);
    let work = async {
        let result = work(&handle).await;
        handle.stop().await;
        result
    };
    let (ended, result) = tokio::join!(session.run(), work);
    ended.map(|()| result)
}
