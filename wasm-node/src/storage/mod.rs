//! Where a peer keeps what it knows: its key, its journal, blocks. A store does what it is told and judges nothing;
//! what comes out of one is as untrusted as what comes from a peer.
//!
//! In reading order: `opening` finds a tab the place where it keeps things, with `slot`, one of this browser's, and
//! starts the machine from what is there; `indexed_db` is a store on disk, with `schema`, `records`, `shelves`, `summary`,
//! `packing`, `loading`, `checking` and `spare`; `memory` is one without; `queue` stands before either; `health` is what the page may know of it.

mod checking;
mod health;
mod indexed_db;
mod loading;
mod memory;
#[cfg(test)]
mod misfortune;
mod opening;
mod packing;
mod queue;
mod records;
mod schema;
mod shelves;
mod slot;
mod spare;
#[doc(hidden)]
pub mod suite;
mod summary;

use async_trait::async_trait;
use chain::{hash::BlockHash, reading::Reading};
use sync::Batch;

pub(crate) use health::{Health, Reason};
pub use indexed_db::IndexedDb;
pub use memory::MemoryStore;
pub(crate) use opening::{Opened, open};
pub(crate) use queue::{Answer, Bodies, Queue};

/// Why a store did not do what it was told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It refused, or broke.
    #[error("storage failed: {0}")]
    Failed(String),
    /// Too much is waiting for it already.
    #[error("storage is too slow: {limit} orders wait for it")]
    Busy {
        /// How many may wait.
        limit: usize,
    },
    /// What is left is kept for one's own readings.
    #[error("storage is full: {left} bytes are left for own readings")]
    Full {
        /// Bytes left.
        left: u64,
    },
}

impl From<idb::Error> for StoreError {
    fn from(error: idb::Error) -> Self {
        Self::Failed(error.to_string())
    }
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
}
