//! What a store is: its requests, and why one may fail.

use std::rc::Rc;

use async_trait::async_trait;
use heartchain_chain::{hash::BlockHash, reading::Reading};
use heartchain_sync::Batch;
use wasm_bindgen::JsCast;
use web_sys::DomException;

use super::close_signal::CloseSignal;

/// Why a request to a store failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The browser reported an error.
    #[error("storage failed: {0}")]
    Failed(String),
    /// The browser closed the database. Its data may be gone.
    #[error("storage was closed by the browser")]
    Closed,
    /// A newer version of the page closed the database and upgraded it.
    #[error("storage was upgraded by a newer version of this page")]
    NewerVersion,
    /// The disk or the browser's storage quota is full (`QuotaExceededError`).
    #[error("storage is full")]
    Full,
    /// Too many requests are waiting already.
    #[error("storage is too slow: {limit} requests are waiting")]
    Busy {
        /// The greatest number of requests that may wait.
        limit: usize,
    },
    /// The remaining space is reserved for own readings.
    #[error("storage is full: {left} bytes are left for own readings")]
    Reserved {
        /// The remaining space in bytes.
        left: u64,
    },
}

impl StoreError {
    /// Whether the disk or the storage quota is full.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full | Self::Reserved { .. })
    }

    pub(super) fn unanswered() -> Self {
        Self::Failed("the browser does not answer".to_owned())
    }

    /// Maps a `DOMException` by its name.
    pub(super) fn from_exception(name: &str, message: impl FnOnce() -> String) -> Self {
        match name {
            "QuotaExceededError" => Self::Full,
            "InvalidStateError" => Self::Closed,
            _ => Self::Failed(message()),
        }
    }
}

impl From<idb::Error> for StoreError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the idb crate may add variants"
    )]
    fn from(error: idb::Error) -> Self {
        let name = match &error {
            idb::Error::DomException(exception) => exception.name(),
            idb::Error::TransactionOpenFailed(thrown) => thrown
                .dyn_ref::<DomException>()
                .map(DomException::name)
                .unwrap_or_default(),
            _ => String::new(),
        };
        Self::from_exception(&name, || error.to_string())
    }
}

/// The state of a store after it was reopened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reopened {
    /// All data that was written is still there.
    Intact,
    /// Some or all data is missing.
    Reset,
}

/// The result of one step of checking the bodies that were not read when the store was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckProgress {
    /// Some more bodies were checked. The bodies of these blocks are missing or corrupt.
    Missing(Vec<BlockHash>),
    /// Checking pauses: the store does not respond, or enough missing bodies must be fetched again first.
    Later,
    /// All bodies are checked.
    Done,
}

/// A store of blocks, and of the records that a restart needs.
#[async_trait(?Send)]
pub trait Storage {
    /// Writes the whole batch, in its order, or nothing.
    ///
    /// # Errors
    /// If the write failed. Then nothing was written.
    async fn write(&mut self, batch: Batch) -> Result<(), StoreError>;

    /// The bodies of these blocks, in this order; `None` for a block that the store does not have. Sees every earlier
    /// write.
    ///
    /// # Errors
    /// If the read failed.
    async fn bodies(&self, hashes: &[BlockHash]) -> Result<Vec<Option<Vec<Reading>>>, StoreError>;

    /// Checks some more of the bodies that were not read when the store was opened.
    async fn check(&mut self) -> CheckProgress {
        CheckProgress::Done
    }

    /// Does one step of background compaction. Reads return the same as before. Returns whether there is more to do.
    async fn compact(&mut self) -> bool {
        false
    }

    /// A signal that is set when the browser closes the store. `None` if that cannot happen.
    fn close_signal(&self) -> Option<Rc<CloseSignal>> {
        None
    }

    /// Opens the store again after it was closed.
    ///
    /// # Errors
    /// If it cannot be opened at the moment.
    async fn reopen(&mut self) -> Result<Reopened, StoreError> {
        Ok(Reopened::Intact)
    }
}

#[async_trait(?Send)]
impl<S: Storage + ?Sized> Storage for Box<S> {
    async fn write(&mut self, batch: Batch) -> Result<(), StoreError> {
        (**self).write(batch).await
    }

    async fn bodies(&self, hashes: &[BlockHash]) -> Result<Vec<Option<Vec<Reading>>>, StoreError> {
        (**self).bodies(hashes).await
    }

    async fn check(&mut self) -> CheckProgress {
        (**self).check().await
    }

    async fn compact(&mut self) -> bool {
        (**self).compact().await
    }

    fn close_signal(&self) -> Option<Rc<CloseSignal>> {
        (**self).close_signal()
    }

    async fn reopen(&mut self) -> Result<Reopened, StoreError> {
        (**self).reopen().await
    }
}
