//! Why a store cannot be opened, and why a request to an open store failed.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use heartchain_chain::key::Author;

use super::{limit_reached::LimitReached, schema::STORE_VERSION};
use crate::network::OnlineError;

/// Why a keeper's files cannot be opened. Nothing in them was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another keeper has the room open.
    #[error(
        "another keeper keeps this room in {}: stop it, or choose another folder with --data-dir",
        folder.display()
    )]
    InUse {
        /// The folder with the files.
        folder: PathBuf,
    },
    /// A newer keeper has written the store.
    #[error(
        "{} was written by a newer keeper (version {found} of the store; this one reads {STORE_VERSION}): use the newest keeper",
        path.display()
    )]
    NewerVersion {
        /// The path of the store.
        path: PathBuf,
        /// The version that the store has.
        found: u64,
    },
    /// The store is damaged, or is not a store.
    #[error(
        "{} is damaged or not a store of a keeper ({reason}): restore it from a backup, or move it away; then the keeper fetches the room again from its peers, and what was recorded here and never shared is in the moved file only",
        path.display()
    )]
    Damaged {
        /// The path of the store.
        path: PathBuf,
        /// What was found, in the words of the database.
        reason: String,
    },
    /// The file is the store of another room.
    #[error("{} is the store of another room: move it away", path.display())]
    OtherRoom {
        /// The path of the store.
        path: PathBuf,
    },
    /// The store has readings of another author than the key's.
    #[error(
        "{} has the readings of author {expected}, and the key is that of {found}: use the same --seed as before, or none, or restore the key file",
        path.display()
    )]
    OtherAuthor {
        /// The path of the store.
        path: PathBuf,
        /// The author that the store was made for.
        expected: Author,
        /// The author of the key that was given.
        found: Author,
    },
    /// There is a store, but the file with its author's key is gone.
    #[error(
        "the key file {} is missing, but its store is there: restore the key from a backup, or move the store away to begin as a new author",
        path.display()
    )]
    KeyMissing {
        /// The path of the key file.
        path: PathBuf,
    },
    /// The key file does not hold a key.
    #[error(
        "{} is damaged or not the key of a keeper: restore it from a backup, or move it and its store away to begin as a new author",
        path.display()
    )]
    KeyDamaged {
        /// The path of the key file.
        path: PathBuf,
    },
    /// The stores are as large as they may be.
    #[error("cannot open {}: {reached}", path.display())]
    LimitReached {
        /// The path of the store.
        path: PathBuf,
        /// The limit, and what is needed.
        reached: LimitReached,
    },
    /// The disk has no room for the files.
    #[error("the disk of {} is full: make room and start the keeper again", path.display())]
    Full {
        /// The file that could not be written.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {verb} {}: {source}", path.display())]
    Io {
        /// What failed, as a verb.
        verb: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The network cannot be set up.
    #[error(transparent)]
    Network(#[from] OnlineError),
    /// A certificate for WebRTC could not be made.
    #[error("no certificate for WebRTC could be made: {0}")]
    Certificate(String),
    /// The operating system gives no random numbers.
    #[error("this system gives no random numbers: {0}")]
    Entropy(#[from] getrandom::Error),
}

impl OpenError {
    /// An error of the operating system, for `map_err`.
    pub(crate) fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match is_full(&source) {
            true => Self::Full {
                path: path.to_owned(),
            },
            false => Self::Io {
                verb,
                path: path.to_owned(),
                source,
            },
        }
    }

    /// An error of the database while it is opened.
    pub(crate) fn database(path: &Path, error: redb::Error) -> Self {
        match StoreError::from(error) {
            StoreError::Full => Self::Full {
                path: path.to_owned(),
            },
            StoreError::LimitReached(reached) => Self::LimitReached {
                path: path.to_owned(),
                reached,
            },
            StoreError::Damaged(reason) => Self::Damaged {
                path: path.to_owned(),
                reason,
            },
            StoreError::Io(source) => Self::Io {
                verb: "open",
                path: path.to_owned(),
                source,
            },
            StoreError::InUse => Self::InUse {
                folder: path.parent().unwrap_or(path).to_owned(),
            },
        }
    }
}

/// Why a request to a store failed. A failed write has changed nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk, or what this user may have of it, is full.
    #[error("the disk is full")]
    Full,
    /// The stores are as large as they may be.
    #[error(transparent)]
    LimitReached(LimitReached),
    /// The file is damaged.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// Another program has the file open.
    #[error("another program uses the store")]
    InUse,
    /// The operating system refused.
    #[error("the disk failed: {0}")]
    Io(io::Error),
}

impl StoreError {
    /// Whether room would help.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full | Self::LimitReached(_))
    }

    /// The same error for another request that fails for this reason.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::Full => Self::Full,
            Self::LimitReached(reached) => Self::LimitReached(*reached),
            Self::Damaged(reason) => Self::Damaged(reason.clone()),
            Self::InUse => Self::InUse,
            Self::Io(error) => Self::Io(io::Error::new(error.kind(), error.to_string())),
        }
    }
}

impl From<redb::Error> for StoreError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "redb may add variants; all others say that the file is not as it was written"
    )]
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::DatabaseAlreadyOpen => Self::InUse,
            redb::Error::Io(error) if is_full(&error) => {
                let reached = error.get_ref().and_then(|inner| inner.downcast_ref());
                reached.map_or(Self::Full, |&reached| Self::LimitReached(reached))
            }
            redb::Error::Io(error)
                if !matches!(
                    error.kind(),
                    ErrorKind::InvalidData | ErrorKind::UnexpectedEof
                ) =>
            {
                Self::Io(error)
            }
            error => Self::Damaged(error.to_string()),
        }
    }
}

/// Whether the operating system refused a write because there is no room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_disk_is_told_from_a_broken_one() {
        for (kind, full) in [
            (ErrorKind::StorageFull, true),
            (ErrorKind::QuotaExceeded, true),
            (ErrorKind::FileTooLarge, true),
            (ErrorKind::PermissionDenied, false),
            (ErrorKind::UnexpectedEof, false),
        ] {
            let error = StoreError::from(redb::Error::Io(kind.into()));
            assert_eq!(error.is_full(), full, "{kind}");
        }
        let damaged = StoreError::from(redb::Error::Corrupted("a page".to_owned()));
        assert!(matches!(damaged, StoreError::Damaged(reason) if reason.contains("a page")));
    }
}
