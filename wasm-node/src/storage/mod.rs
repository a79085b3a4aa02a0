//! Where a peer keeps what it knows: its key, its journal, blocks. A store does what it is told and judges nothing;
//! what comes out of one is as untrusted as what comes from a peer.
//!
//! In reading order: `opening` finds a tab the place where it keeps things, with `slot`, one of this browser's, and
//! starts the machine from what is there; `indexed_db` is a store on disk, with `schema`, `records`, `shelves`, `summary`,
//! `packing`, `loading` and `checking`; `closing`, `reopening` and `rebuilding` are for one that the browser closes, loses or
//! leaves half-made, and `mirror` is a copy of what no peer could give back; `memory` is a store without a disk; `queue` stands
//! before either; `health` is what the page may know of it; `adoption` finds, with `peek`, what closed tabs have not shared.

mod adoption;
mod checking;
mod closing;
mod health;
mod indexed_db;
mod loading;
mod memory;
mod mirror;
mod mirror_page;
#[cfg(test)]
mod misfortune;
mod opening;
mod packing;
mod peek;
mod queue;
mod rebuilding;
mod records;
mod reopening;
mod schema;
mod shelves;
mod slot;
#[doc(hidden)]
pub mod suite;
mod summary;

use std::rc::Rc;

use async_trait::async_trait;
use chain::{hash::BlockHash, reading::Reading};
use sync::Batch;
use wasm_bindgen::JsCast;
use web_sys::DomException;

pub(crate) use adoption::{Adoption, Unshared};
pub use closing::{ClosedBy, Closing};
pub(crate) use health::{Failing, Health, Reason};
pub use indexed_db::IndexedDb;
pub(crate) use loading::Loss;
pub use memory::MemoryStore;
pub(crate) use mirror::Mirror;
pub(crate) use opening::{Opened, open};
pub(crate) use queue::{Answer, Bodies, Queue};

/// Why a store did not do what it was told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It refused, or broke.
    #[error("storage failed: {0}")]
    Failed(String),
    /// The browser closed it: what it held may be gone.
    #[error("storage was closed by the browser")]
    Closed,
    /// A newer version of the page closed it, and has upgraded it.
    #[error("storage was upgraded by a newer version of this page")]
    NewerVersion,
    /// The disk is full, or what the browser allows of it (`QuotaExceededError`).
    #[error("storage is full")]
    Full,
    /// Too much is waiting for it already.
    #[error("storage is too slow: {limit} orders wait for it")]
    Busy {
        /// How many may wait.
        limit: usize,
    },
    /// What is left is kept for one's own readings.
    #[error("storage is full: {left} bytes are left for own readings")]
    Reserved {
        /// Bytes left.
        left: u64,
    },
}

impl StoreError {
    /// Whether the disk, or what the browser allows of it, is full.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full | Self::Reserved { .. })
    }

    /// What a browser's exception of this name means.
    fn of_exception(name: &str, words: impl FnOnce() -> String) -> Self {
        match name {
            "QuotaExceededError" => Self::Full,
            "InvalidStateError" => Self::Closed,
            _ => Self::Failed(words()),
        }
    }
}

impl From<idb::Error> for StoreError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "another library's list, which may grow"
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
        Self::of_exception(&name, || error.to_string())
    }
}

/// What a store had when it was open again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reopened {
    /// All that was written.
    Whole,
    /// Less, or nothing.
    Reset,
}

/// What a look at what was taken on trust has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Some more of it was looked at: the bodies of these blocks are lost.
    Lost(Vec<BlockHash>),
    /// Nothing more for now: the store does not answer, or enough is lost to be fetched again first.
    Later,
    /// All of it was looked at.
    Done,
}

/// A place for blocks.
#[async_trait(?Send)]
pub trait Storage {
    /// Writes all of the batch, in its order, or nothing of it.
    ///
    /// # Errors
    /// If it could not; then nothing was written.
    async fn write(&mut self, batch: Batch) -> Result<(), StoreError>;

    /// The bodies of these blocks, in this order; `None` where a block is not there. Sees every earlier write.
    ///
    /// # Errors
    /// If it could not read.
    async fn bodies(&self, hashes: &[BlockHash]) -> Result<Vec<Option<Vec<Reading>>>, StoreError>;

    /// Checks some more of what was taken on trust when the store was opened.
    async fn check(&mut self) -> Check {
        Check::Done
    }

    /// Does some of what could wait until nobody does. Changes nothing of what can be read. Returns whether there is more.
    async fn tidy(&mut self) -> bool {
        false
    }

    /// Tells when the store is closed under its owner. `None`: it never is.
    fn closing(&self) -> Option<Rc<Closing>> {
        None
    }

    /// Opens the store again after it was closed.
    ///
    /// # Errors
    /// If it cannot be opened for now.
    async fn reopen(&mut self) -> Result<Reopened, StoreError> {
        Ok(Reopened::Whole)
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

    async fn check(&mut self) -> Check {
        (**self).check().await
    }

    async fn tidy(&mut self) -> bool {
        (**self).tidy().await
    }

    fn closing(&self) -> Option<Rc<Closing>> {
        (**self).closing()
    }

    async fn reopen(&mut self) -> Result<Reopened, StoreError> {
        (**self).reopen().await
    }
}
