//! The request queue of a store. Requests are executed in order, so reads see earlier writes, and senders do not wait
//! for the disk. Every request gets a response, even if it fails.

use std::{any::Any, cell::Cell, future::pending, pin::pin, rc::Rc, time::Duration};

use futures::{
    FutureExt, SinkExt, StreamExt,
    channel::{mpsc, oneshot},
    future::{Either, Fuse, select},
    select_biased,
};
use futures_timer::Delay;
use heartchain_chain::{hash::BlockHash, reading::Reading};
use heartchain_sync::{
    Batch,
    driver::{StoreAnswer, TooManyRequests},
    io::{ReadId, WriteId},
};
use wasm_bindgen_futures::spawn_local;

use super::{
    close_signal::{CloseSignal, ClosedBy},
    health::Health,
    store::{CheckProgress, Reopened, Storage, StoreError},
};
use crate::{clock, next_task::Pauses};

/// Requests that may wait for the store. The machine has a few dozen open at most; more means that storage is stuck.
const MAX_QUEUED_STORE_REQUESTS: usize = 1_024;
/// Queued writes that are grouped into one transaction: eight ranges of bodies and the records that follow from each,
/// or 1.3 MB at 10 readings per block.
const MAX_GROUPED_WRITES: usize = 16;
/// How long to wait for pending transactions after the browser closed the database. A version change lets transactions
/// finish, which takes milliseconds; a forced close leaves some without an answer.
const CLOSING_GRACE: Duration = Duration::from_secs(1);
/// Waits between attempts to reopen a database that the browser has closed. A deletion in progress takes a moment; a
/// failing disk needs a person.
const REOPEN_RETRY: &[Duration] = &[
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
];
/// How long to wait before an interrupted check of the segments continues.
const CHECK_RETRY: Duration = Duration::from_secs(10);

/// Bodies in the requested order; `None` for each that the store does not have.
pub(crate) type Bodies = Vec<Option<Vec<Reading>>>;

/// A response to a request of the machine, or a change in the state of the store.
#[derive(Debug)]
pub(crate) enum Answer {
    /// What the machine asked for.
    Machine(StoreAnswer),
    /// Some more of the stored bodies were checked. The bodies of these blocks are missing.
    Checked(Vec<BlockHash>),
    /// The browser closed the store.
    Closed,
    /// The store could not be reopened so far.
    ReopenFailed,
    /// The store is open again, with all its data.
    Reopened,
    /// The store is open again, but data is missing. Writes of an earlier epoch fail.
    Reset(Epoch),
}

/// Counts how often the store has lost data. Writes requested before a loss must not reach the store after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epoch(u32);

enum Request {
    Write(WriteId, Batch, Epoch),
    Read(ReadId, Vec<BlockHash>),
    ReadForPage(Vec<BlockHash>, oneshot::Sender<Result<Bodies, StoreError>>),
    Release(Box<dyn Any>),
}

/// A handle to a store. Its clones share one queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    requests: mpsc::Sender<Request>,
    released: Rc<Cell<bool>>,
    epoch: Epoch,
}

impl Queue {
    /// Starts a task that serves the store until the last clone of the queue is dropped. The receiver gets the
    /// responses.
    pub(crate) fn new(
        store: impl Storage + 'static,
        health: Rc<Health>,
    ) -> (Self, mpsc::Receiver<Answer>) {
        let (requests, waiting) = mpsc::channel(MAX_QUEUED_STORE_REQUESTS);
        let (answers, answered) = mpsc::channel(MAX_QUEUED_STORE_REQUESTS);
        let released = Rc::new(Cell::new(false));
        let task = StoreTask {
            store,
            health,
            released: released.clone(),
            answers,
            delays: Delays::default(),
            epoch: Epoch::default(),
            pauses: Pauses::new(),
        };
        spawn_local(task.run(waiting));
        let epoch = Epoch::default();
        let queue = Self {
            requests,
            released,
            epoch,
        };
        (queue, answered)
    }

    /// Requests a write of a batch.
    ///
    /// # Errors
    /// If too many requests wait.
    pub(crate) fn write(&mut self, id: WriteId, batch: Batch) -> Result<(), TooManyRequests> {
        let request = Request::Write(id, batch, self.epoch);
        let sent = self.requests.try_send(request);
        sent.map_err(|_| TooManyRequests)
    }

    /// Sets the epoch of later writes, after a [`Answer::Reset`].
    pub(crate) fn enter(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// Requests a read of these bodies.
    ///
    /// # Errors
    /// If too many requests wait.
    pub(crate) fn read(
        &mut self,
        id: ReadId,
        hashes: Vec<BlockHash>,
    ) -> Result<(), TooManyRequests> {
        let sent = self.requests.try_send(Request::Read(id, hashes));
        sent.map_err(|_| TooManyRequests)
    }

    /// Drops the lock on the store once all earlier requests are done. Reads still work afterwards; checks and
    /// compaction stop at once.
    pub(crate) fn release(&mut self, lock: Box<dyn Any>) {
        self.released.set(true);
        // Each sender has a slot of its own in the channel, so a new clone can send even if the queue is full. The lock
        // must not be dropped before the earlier requests are done.
        let _ = self.requests.clone().try_send(Request::Release(lock));
    }

    /// Reads bodies for the page. Sees all earlier writes.
    ///
    /// # Errors
    /// If the store failed, or the queue is full.
    pub(crate) async fn bodies(&mut self, hashes: Vec<BlockHash>) -> Result<Bodies, StoreError> {
        let (reply, answer) = oneshot::channel();
        let busy = StoreError::Busy {
            limit: MAX_QUEUED_STORE_REQUESTS,
        };
        self.requests
            .try_send(Request::ReadForPage(hashes, reply))
            .map_err(|_| busy)?;
        answer
            .await
            .unwrap_or_else(|_| Err(StoreError::Failed("the store was closed".to_owned())))
    }
}

/// The task that executes the requests.
struct StoreTask<S> {
    store: S,
    health: Rc<Health>,
    released: Rc<Cell<bool>>,
    answers: mpsc::Sender<Answer>,
    delays: Delays,
    epoch: Epoch,
    pauses: Pauses,
}

/// The delays of the task.
#[derive(Clone, Copy, Debug)]
struct Delays {
    check_retry: Duration,
    reopen_retry: &'static [Duration],
    closing_grace: Duration,
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            check_retry: CHECK_RETRY,
            reopen_retry: REOPEN_RETRY,
            closing_grace: CLOSING_GRACE,
        }
    }
}

/// The state of a store that is closed.
struct ClosedState {
    /// The number of failed attempts to reopen it.
    attempts: usize,
    /// The time until the next attempt; `None` for never.
    retry_in: Option<Duration>,
}

impl<S: Storage> StoreTask<S> {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let (mut checking, mut may_compact) = (true, true);
        // A timer, not a time of day, because the clock may be set back.
        let mut check_timer = Fuse::terminated();
        let mut deferred = None;
        let (mut closed_state, mut reopen_timer) = (None, Fuse::terminated());
        loop {
            if closed_state.is_none() && self.closed().is_some() && !self.released.get() {
                closed_state = self.reopen(0).await;
                reopen_timer = closed_state
                    .as_ref()
                    .map_or_else(Fuse::terminated, ClosedState::retry_timer);
                continue;
            }
            let idle = closed_state.is_none() && !self.released.get();
            let request = match deferred
                .take()
                .map(Some)
                .or_else(|| requests.next().now_or_never())
            {
                Some(request) => request,
                // The queue is empty: check bodies that were not read at the start.
                None if checking && idle => {
                    match self.check().await {
                        CheckProgress::Missing(lost) => self.answer(Answer::Checked(lost)).await,
                        CheckProgress::Later => {
                            checking = false;
                            check_timer = clock::sleep(self.delays.check_retry).fuse();
                        }
                        CheckProgress::Done => checking = false,
                    }
                    continue;
                }
                None if may_compact && idle => {
                    may_compact = self.compact().await;
                    continue;
                }
                None => {
                    let mut close_signal =
                        pin!(wait_until_closed(self.store.close_signal(), idle).fuse());
                    select_biased! {
                        request = requests.next() => request,
                        () = close_signal => continue,
                        () = reopen_timer => {
                            let attempts = closed_state.map_or(0, |state| state.attempts);
                            closed_state = self.reopen(attempts).await;
                            reopen_timer = closed_state
                                .as_ref()
                                .map_or_else(Fuse::terminated, ClosedState::retry_timer);
                            continue;
                        }
                        () = check_timer => {
                            checking = true;
                            continue;
                        }
                    }
                }
            };
            let Some(request) = request else { return };
            // What is written is encoded first, and what is read is decoded.
            self.pauses.pause_if_due().await;
            match request {
                Request::Write(id, batch, epoch) => {
                    let mut group = vec![(id, batch, epoch)];
                    deferred = group_writes(&mut group, &mut requests);
                    self.write(group).await;
                }
                Request::Read(id, hashes) => {
                    let answer = match self.bodies(&hashes).await {
                        Ok(bodies) => Answer::Machine(StoreAnswer::Read(id, bodies)),
                        Err(_) => Answer::Machine(StoreAnswer::ReadFailed(id)),
                    };
                    self.answer(answer).await;
                }
                Request::ReadForPage(hashes, reply) => {
                    // This fails if the page stopped waiting.
                    let _ = reply.send(self.bodies(&hashes).await);
                    continue;
                }
                Request::Release(lock) => {
                    // From now on, another tab may use the store.
                    drop(lock);
                    continue;
                }
            }
            may_compact = !self.released.get() && self.compact().await;
        }
    }

    /// Sends a response. This fails once the node has stopped; the page may still read.
    async fn answer(&mut self, answer: Answer) {
        let _ = self.answers.send(answer).await;
    }

    fn closed(&self) -> Option<ClosedBy> {
        self.store.close_signal()?.closed()
    }

    /// Tries to reopen the store, after `tries` failed attempts. Returns the new state if the store stays closed.
    async fn reopen(&mut self, attempts: usize) -> Option<ClosedState> {
        if attempts == 0 {
            self.health.note_closed(self.closed());
            self.answer(Answer::Closed).await;
        }
        match self.store.reopen().await {
            Ok(reopened) => {
                self.health.note_closed(None);
                let answer = match reopened {
                    Reopened::Intact => Answer::Reopened,
                    Reopened::Reset => {
                        self.epoch = Epoch(self.epoch.0.wrapping_add(1));
                        Answer::Reset(self.epoch)
                    }
                };
                self.answer(answer).await;
                None
            }
            Err(StoreError::NewerVersion) => {
                self.health.note_closed(Some(ClosedBy::NewerVersion));
                self.answer(Answer::ReopenFailed).await;
                // From now on, the newer version uses the store.
                Some(ClosedState {
                    attempts,
                    retry_in: None,
                })
            }
            Err(_) => {
                if attempts == 0 {
                    self.answer(Answer::ReopenFailed).await;
                }
                let waits = self.delays.reopen_retry;
                Some(ClosedState {
                    attempts: attempts.saturating_add(1),
                    retry_in: waits.get(attempts).or(waits.last()).copied(),
                })
            }
        }
    }

    /// Writes these batches as one, or one by one if that fails.
    async fn write(&mut self, group: Vec<(WriteId, Batch, Epoch)>) {
        let (group, late): (Vec<_>, Vec<_>) = group
            .into_iter()
            .partition(|(.., epoch)| *epoch == self.epoch);
        for (id, ..) in late {
            self.answer(Answer::Machine(StoreAnswer::WriteFailed {
                id,
                full: false,
            }))
            .await;
        }
        if group.len() > 1 {
            let batches = group.iter().flat_map(|(_, batch, _)| &batch.operations);
            let all = Batch {
                operations: batches.cloned().collect(),
                strict: false,
            };
            if self.write_one(all).await.is_ok() {
                self.health.note_write(None);
                for (id, ..) in group {
                    self.answer(Answer::Machine(StoreAnswer::Written(id))).await;
                }
                return;
            }
        }
        for (id, batch, _) in group {
            let written = self.write_one(batch).await;
            self.health.note_write(written.as_ref().err());
            let answer = match written {
                Ok(()) => Answer::Machine(StoreAnswer::Written(id)),
                Err(error) => Answer::Machine(StoreAnswer::WriteFailed {
                    id,
                    full: error.is_full(),
                }),
            };
            self.answer(answer).await;
        }
    }

    async fn write_one(&mut self, batch: Batch) -> Result<(), StoreError> {
        let close_signal = self.store.close_signal();
        unless_closed(close_signal, self.delays, self.store.write(batch)).await?
    }

    async fn bodies(&self, hashes: &[BlockHash]) -> Result<Bodies, StoreError> {
        unless_closed(
            self.store.close_signal(),
            self.delays,
            self.store.bodies(hashes),
        )
        .await?
    }

    async fn check(&mut self) -> CheckProgress {
        let close_signal = self.store.close_signal();
        let checked = unless_closed(close_signal, self.delays, self.store.check()).await;
        checked.unwrap_or(CheckProgress::Later)
    }

    async fn compact(&mut self) -> bool {
        let close_signal = self.store.close_signal();
        let compacted = unless_closed(close_signal, self.delays, self.store.compact()).await;
        compacted.unwrap_or(false)
    }
}

impl ClosedState {
    fn retry_timer(&self) -> Fuse<Delay> {
        self.retry_in
            .map_or_else(Fuse::terminated, |wait| clock::sleep(wait).fuse())
    }
}

/// Waits until the store is closed; waits forever unless `wanted`.
async fn wait_until_closed(close_signal: Option<Rc<CloseSignal>>, wanted: bool) {
    match close_signal.filter(|_| wanted) {
        Some(close_signal) => drop(close_signal.wait().await),
        None => pending().await,
    }
}

/// Runs an operation of the store. Fails if the browser closes the store and the operation then does not complete.
async fn unless_closed<T>(
    close_signal: Option<Rc<CloseSignal>>,
    delays: Delays,
    work: impl Future<Output = T>,
) -> Result<T, StoreError> {
    let closed = async {
        wait_until_closed(close_signal, true).await;
        clock::sleep(delays.closing_grace).await;
    };
    match select(pin!(work), pin!(closed)).await {
        Either::Left((done, _)) => Ok(done),
        Either::Right(_) => Err(StoreError::Closed),
    }
}

/// Collects further waiting writes into the group. Returns the next request that does not belong to it.
fn group_writes(
    group: &mut Vec<(WriteId, Batch, Epoch)>,
    requests: &mut mpsc::Receiver<Request>,
) -> Option<Request> {
    // A strict write is not grouped, because its sender waits for it.
    while group.len() < MAX_GROUPED_WRITES && group.iter().all(|(_, batch, _)| !batch.strict) {
        match requests.next().now_or_never().flatten()? {
            Request::Write(id, batch, epoch) if !batch.strict => group.push((id, batch, epoch)),
            other @ (Request::Write(..)
            | Request::Read(..)
            | Request::ReadForPage(..)
            | Request::Release(_)) => return Some(other),
        }
    }
    None
}

#[cfg(test)]
mod tests;
