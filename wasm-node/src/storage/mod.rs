//! Where blocks are kept. A store does what it is told and judges nothing; what comes out of one is as
//! untrusted as what comes from a peer.

mod memory;
mod queue;
#[doc(hidden)]
pub mod suite;

use async_trait::async_trait;
use chain::{hash::BlockHash, reading::Reading};
use sync::Batch;

pub use memory::MemoryStore;
pub(crate) use queue::{Answer, Queue};

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
}
