//! A lock on the data folder, so that two relays cannot run with the same identity.
//!
//! The operating system releases it when the process ends, however it ends. So the file may stay.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// File name of the lock in the data folder. The file is empty.
const LOCK_FILE: &str = "relay.lock";

/// The lock, held until dropped.
#[derive(Debug)]
pub(crate) struct DataLock(#[allow(dead_code)] File); // Never read: its lock ends when it is closed.

/// Why the data folder could not be locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another relay uses the folder.
    #[error(
        "another relay uses the data folder {}: stop it, or choose another folder with --data-dir",
        folder.display()
    )]
    InUse {
        /// The data folder that is in use.
        folder: PathBuf,
    },
    /// The file could not be created or locked.
    #[error("cannot lock {}", path.display())]
    Io {
        /// The path of the lock file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl DataLock {
    /// Locks `folder`, which must exist.
    pub(crate) fn acquire(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join(LOCK_FILE);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let opened = options.open(&path);
        let file = opened.map_err(|source| LockError::Io {
            path: path.clone(),
            source,
        })?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(LockError::InUse {
                folder: folder.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(LockError::Io { path, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_folder::TestFolder;

    #[test]
    fn folder_has_one_user_at_a_time() {
        let folder = TestFolder::new();
        let first = DataLock::acquire(folder.path()).expect("a free folder");
        let error = DataLock::acquire(folder.path()).expect_err("in use");
        assert!(error.to_string().contains("--data-dir"), "{error}");
        drop(first);
        DataLock::acquire(folder.path()).expect("free again");
    }
}
