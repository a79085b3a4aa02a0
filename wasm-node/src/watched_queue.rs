//! The queue of requests to the store as the machine uses it: it also measures how long the store takes.

use heartchain_chain::hash::BlockHash;
use heartchain_sync::{
    Batch,
    driver::{Store, TooManyRequests},
    io::{ReadId, WriteId},
};

use crate::{clock, slow_writes::SlowWriteMonitor, storage::Queue};

/// The queue, and since when its requests wait.
#[derive(Debug)]
pub(crate) struct WatchedQueue {
    pub(crate) queue: Queue,
    pub(crate) slow_writes: SlowWriteMonitor,
}

impl WatchedQueue {
    /// The store answers what is accepted, and a refusal is the answer.
    fn watch(&mut self, requested: Result<(), TooManyRequests>) -> Result<(), TooManyRequests> {
        if requested.is_ok() {
            self.slow_writes.requested(clock::monotonic());
        }
        requested
    }
}

impl Store for WatchedQueue {
    fn write(&mut self, id: WriteId, batch: Batch) -> Result<(), TooManyRequests> {
        let requested = self.queue.write(id, batch);
        self.watch(requested)
    }

    fn read(&mut self, id: ReadId, hashes: Vec<BlockHash>) -> Result<(), TooManyRequests> {
        let requested = self.queue.read(id, hashes);
        self.watch(requested)
    }
}
