//! The handle of a running session: what others may ask of it, from any thread.

use std::collections::HashMap;

use heartchain_chain::{
    block::Block,
    bpm::Bpm,
    hash::{BlockHash, ReadingId},
    key::Author,
    profile::Profile,
    reading::Reading,
    room::Room,
};
use heartchain_sync::{
    ReadingPlaces, Status, Waiting,
    io::{AdoptError, ImportError, ImportPiece, Imported, RecordError},
};
use tokio::sync::{mpsc, oneshot};

use crate::store::{BlockSnapshot, StoreError};

/// Commands that may wait for the session. Callers wait for a place.
pub const MAX_COMMANDS: usize = 64;

/// The session ended before it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the keeper has stopped")]
pub struct Stopped;

/// A reading that was recorded and is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The ID, by which exports name it.
    pub id: ReadingId,
    /// Its number among all readings of its author.
    pub seq: u64,
}

/// What a session is and does.
#[derive(Clone, Debug)]
pub struct KeeperStatus {
    /// The room that it keeps.
    pub room: Room,
    /// Who signs what is recorded here.
    pub author: Author,
    /// The machine's view: tip, readings that wait, and whether it is synced.
    pub machine: Status,
    /// How many peers are connected.
    pub peers: usize,
    /// Why the disk refuses writes; `None` while it takes them.
    pub storage_failing: Option<String>,
}

/// The best branch, all waiting readings and the names at one moment. Bodies are read from the store.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) room: Room,
    pub(crate) tip: (u64, BlockHash),
    pub(crate) total_work: String,
    /// The blocks of the best branch from height 1 on.
    pub(crate) hashes: Vec<BlockHash>,
    /// Those of them that may not be on disk yet. The machine bounds how many.
    pub(crate) unwritten: HashMap<BlockHash, Block>,
    pub(crate) waiting: Waiting,
    pub(crate) profiles: Vec<Profile>,
    /// The blocks on disk.
    pub(crate) blocks: oneshot::Receiver<Result<BlockSnapshot, StoreError>>,
}

pub(crate) type Reply<T> = oneshot::Sender<T>;

/// What others ask of a session.
#[derive(Debug)]
pub(crate) enum Command {
    Record(Bpm, Reply<Result<Recorded, RecordError>>),
    Import(Box<ImportPiece>, Reply<Result<Imported, ImportError>>),
    Adopt(Vec<Reading>, Reply<Result<usize, AdoptError>>),
    Places(Vec<Reading>, Reply<ReadingPlaces>),
    Status(Reply<KeeperStatus>),
    Snapshot(Reply<Snapshot>),
    Stop,
}

/// A handle of a running session. Clones are cheap; the session ends when all are gone.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
}

/// A handle, and the session's end of it.
pub(crate) fn channel() -> (Handle, mpsc::Receiver<Command>) {
    let (commands, receiver) = mpsc::channel(MAX_COMMANDS);
    (Handle { commands }, receiver)
}

impl Handle {
    /// Records a heart rate. When this returns, the reading is on disk.
    ///
    /// # Errors
    /// If the session has stopped, or (inner) if the reading was not recorded.
    pub async fn record(&self, bpm: Bpm) -> Result<Result<Recorded, RecordError>, Stopped> {
        self.ask(|reply| Command::Record(bpm, reply)).await
    }

    /// The status of the session.
    ///
    /// # Errors
    /// If the session has stopped.
    pub async fn status(&self) -> Result<KeeperStatus, Stopped> {
        self.ask(Command::Status).await
    }

    /// Asks the session to end. It ends once all that was asked before is on disk.
    pub async fn stop(&self) {
        // A session that has ended needs no command.
        let _ = self.commands.send(Command::Stop).await;
    }

    /// Imports a piece of a file. When this returns, it is on disk.
    ///
    /// # Errors
    /// If the session has stopped, or (inner) if the piece breaks a rule or could not be written.
    pub async fn import(
        &self,
        piece: ImportPiece,
    ) -> Result<Result<Imported, ImportError>, Stopped> {
        self.ask(|reply| Command::Import(Box::new(piece), reply))
            .await
    }

    /// Keeps readings of others until they are confirmed. When this returns, they are on disk.
    ///
    /// # Errors
    /// If the session has stopped, or (inner) if a reading breaks a rule or could not be written.
    pub(crate) async fn adopt(
        &self,
        readings: Vec<Reading>,
    ) -> Result<Result<usize, AdoptError>, Stopped> {
        self.ask(|reply| Command::Adopt(readings, reply)).await
    }

    /// Where these readings are.
    ///
    /// # Errors
    /// If the session has stopped.
    pub(crate) async fn places(&self, readings: Vec<Reading>) -> Result<ReadingPlaces, Stopped> {
        self.ask(|reply| Command::Places(readings, reply)).await
    }

    /// What an export contains.
    ///
    /// # Errors
    /// If the session has stopped.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, Stopped> {
        self.ask(Command::Snapshot).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(command(reply)).await;
        sent.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }
}
