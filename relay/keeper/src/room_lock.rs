//! A lock on the files of one room, so that two keepers cannot write them. The operating system releases it when the process
//! ends, however it ends, so the empty file may stay.

use std::{
    fs::{File, TryLockError},
    path::Path,
};

use crate::{
    atomic_file::{Existing, open_private},
    store::OpenError,
};

/// The lock, held until dropped.
#[derive(Debug)]
pub(crate) struct RoomLock(#[expect(dead_code, reason = "the lock ends when it is closed")] File);

impl RoomLock {
    /// Takes the lock at `path`, whose folder must exist.
    ///
    /// # Errors
    /// If another keeper holds it, or the file cannot be created.
    pub(crate) fn acquire(path: &Path) -> Result<Self, OpenError> {
        let file = open_private(path, Existing::Kept).map_err(OpenError::io("open", path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
                folder: path.parent().unwrap_or(path).to_owned(),
            }),
            Err(TryLockError::Error(error)) => Err(OpenError::io("lock", path)(error)),
        }
    }
}
