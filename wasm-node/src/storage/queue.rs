//! The queue before a store: orders are carried out one after the other, so reads see earlier writes, and
//! nobody who gives an order waits for the disk. Never drops an order without saying so.

use std::{any::Any, cell::Cell, future::pending, pin::pin, rc::Rc, time::Duration};

use chain::{hash::BlockHash, reading::Reading};
use futures::{
    FutureExt, SinkExt, StreamExt,
    channel::{mpsc, oneshot},
    future::{Either, Fuse, select},
    select_biased,
};
use futures_timer::Delay;
use sync::{
    Batch,
    seam::{ReadId, WriteId},
};
use wasm_bindgen_futures::spawn_local;

use super::{Check, ClosedBy, Closing, Health, Reopened, Storage, StoreError};
use crate::{
    clock,
    config::{
        CHECK_RETRY, CLOSING_GRACE, MAX_GROUPED_WRITES, MAX_WAITING_STORE_ORDERS, REOPEN_RETRY,
    },
};

/// Bodies, in the order asked for; `None` where one is not there.
pub(crate) type Bodies = Vec<Option<Vec<Reading>>>;

/// What became of an order of the machine's, or of the store.
#[derive(Debug)]
pub(crate) enum Answer {
    Written(WriteId),
    WriteFailed {
        id: WriteId,
        /// Whether there is no room.
        full: bool,
    },
    Read(ReadId, Bodies),
    ReadFailed(ReadId),
    /// Some more of what was on disk at the start was checked; the bodies of these blocks are lost.
    Checked(Vec<BlockHash>),
    /// The store was closed under the tab.
    Closed,
    /// It could not be opened again so far.
    StaysClosed,
    /// It is open again, with all that was written.
    Reopened,
    /// It is open again, with less or nothing. Writes of an earlier epoch fail.
    Reset(Epoch),
}

/// Counts how often the store was lost: what was ordered before must not be written into what is there now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epoch(u32);

enum Order {
    Write(WriteId, Batch, Epoch),
    Read(ReadId, Vec<BlockHash>),
    ReadForPage(Vec<BlockHash>, oneshot::Sender<Result<Bodies, StoreError>>),
    Release(Box<dyn Any>),
}

/// The way to the store. Its copies share one queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    orders: mpsc::Sender<Order>,
    released: Rc<Cell<bool>>,
    epoch: Epoch,
}

impl Queue {
    /// Starts to serve a store, until the last copy of the queue is gone; answers come by the receiver.
    pub(crate) fn new(
        store: impl Storage + 'static,
        health: Rc<Health>,
    ) -> (Self, mpsc::Receiver<Answer>) {
        let (orders, waiting) = mpsc::channel(MAX_WAITING_STORE_ORDERS);
        let (answers, answered) = mpsc::channel(MAX_WAITING_STORE_ORDERS);
        let released = Rc::new(Cell::new(false));
        let serving = Serving {
            store,
            health,
            released: released.clone(),
            answers,
            times: Times::default(),
            epoch: Epoch::default(),
        };
        spawn_local(serving.serve(waiting));
        let epoch = Epoch::default();
        let queue = Self {
            orders,
            released,
            epoch,
        };
        (queue, answered)
    }

    /// Orders a write. If too many wait already, the answer is here at once.
    pub(crate) fn write(&mut self, id: WriteId, batch: Batch) -> Option<Answer> {
        let order = Order::Write(id, batch, self.epoch);
        let failed = self.orders.try_send(order).err();
        failed.map(|_| Answer::WriteFailed { id, full: false })
    }

    /// What is written from now on is for the store that is there since this answer.
    pub(crate) fn enter(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// Orders a read. If too many wait already, the answer is here at once.
    pub(crate) fn read(&mut self, id: ReadId, hashes: Vec<BlockHash>) -> Option<Answer> {
        self.orders
            .try_send(Order::Read(id, hashes))
            .err()
            .map(|_| Answer::ReadFailed(id))
    }

    /// Drops what keeps others from the store, once all that was ordered before is done. Reading goes on, and nothing is
    /// changed any more that nobody ordered.
    pub(crate) fn release(&mut self, hold: Box<dyn Any>) {
        self.released.set(true);
        // However many orders wait, each sender has a place of its own, and a new one's is free: what keeps others from the
        // store must not be gone before they are done.
        let _ = self.orders.clone().try_send(Order::Release(hold));
    }

    /// Reads bodies for the page; sees all that was ordered before.
    ///
    /// # Errors
    /// If the store failed, or too many orders wait.
    pub(crate) async fn bodies(&mut self, hashes: Vec<BlockHash>) -> Result<Bodies, StoreError> {
        let (reply, answer) = oneshot::channel();
        let busy = StoreError::Busy {
            limit: MAX_WAITING_STORE_ORDERS,
        };
        self.orders
            .try_send(Order::ReadForPage(hashes, reply))
            .map_err(|_| busy)?;
        answer
            .await
            .unwrap_or_else(|_| Err(StoreError::Failed("it was closed".to_owned())))
    }
}

/// What the store is done for.
struct Serving<S> {
    store: S,
    health: Rc<Health>,
    released: Rc<Cell<bool>>,
    answers: mpsc::Sender<Answer>,
    times: Times,
    epoch: Epoch,
}

/// How long it waits.
#[derive(Clone, Copy, Debug)]
struct Times {
    check_retry: Duration,
    reopen_retry: &'static [Duration],
    closing_grace: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            check_retry: CHECK_RETRY,
            reopen_retry: REOPEN_RETRY,
            closing_grace: CLOSING_GRACE,
        }
    }
}

/// A store that is closed.
struct Shut {
    /// How often it could not be opened again.
    tries: usize,
    /// When it is tried again. `None`: never.
    wait: Option<Duration>,
}

impl<S: Storage> Serving<S> {
    async fn serve(mut self, mut orders: mpsc::Receiver<Order>) {
        let (mut checking, mut untidy) = (true, true);
        // A wait, not a time of day: the clock may be put back.
        let mut again = Fuse::terminated();
        let mut held = None;
        let (mut shut, mut reopening) = (None, Fuse::terminated());
        loop {
            if shut.is_none() && self.closed().is_some() && !self.released.get() {
                shut = self.reopen(0).await;
                reopening = shut.as_ref().map_or_else(Fuse::terminated, Shut::waiting);
                continue;
            }
            let idle = shut.is_none() && !self.released.get();
            let order = match held
                .take()
                .map(Some)
                .or_else(|| orders.next().now_or_never())
            {
                Some(order) => order,
                // Nothing waits: what was taken on trust at the start is looked at.
                None if checking && idle => {
                    match self.check().await {
                        Check::Lost(lost) => self.answer(Answer::Checked(lost)).await,
                        Check::Later => {
                            checking = false;
                            again = clock::sleep(self.times.check_retry).fuse();
                        }
                        Check::Done => checking = false,
                    }
                    continue;
                }
                None if untidy && idle => {
                    untidy = self.tidy().await;
                    continue;
                }
                None => {
                    let mut closing = pin!(wait_for(self.store.closing(), idle).fuse());
                    select_biased! {
                        order = orders.next() => order,
                        () = closing => continue,
                        () = reopening => {
                            shut = self.reopen(shut.map_or(0, |shut| shut.tries)).await;
                            reopening = shut.as_ref().map_or_else(Fuse::terminated, Shut::waiting);
                            continue;
                        }
                        () = again => {
                            checking = true;
                            continue;
                        }
                    }
                }
            };
            let Some(order) = order else { return };
            match order {
                Order::Write(id, batch, epoch) => {
                    let mut group = vec![(id, batch, epoch)];
                    held = gather(&mut group, &mut orders);
                    self.write(group).await;
                }
                Order::Read(id, hashes) => {
                    let answer = match self.bodies(&hashes).await {
                        Ok(bodies) => Answer::Read(id, bodies),
                        Err(_) => Answer::ReadFailed(id),
                    };
                    self.answer(answer).await;
                }
                Order::ReadForPage(hashes, reply) => {
                    // It fails if the page stopped waiting.
                    let _ = reply.send(self.bodies(&hashes).await);
                    continue;
                }
                Order::Release(hold) => {
                    // From now on it may be another tab's.
                    drop(hold);
                    continue;
                }
            }
            untidy = !self.released.get() && self.tidy().await;
        }
    }

    /// Once the node has stopped no answer is taken any more; the page may still read.
    async fn answer(&mut self, answer: Answer) {
        let _ = self.answers.send(answer).await;
    }

    fn closed(&self) -> Option<ClosedBy> {
        self.store.closing()?.closed()
    }

    /// Opens the store again; `tries` were in vain so far. Returns how it stays closed, if it does.
    async fn reopen(&mut self, tries: usize) -> Option<Shut> {
        if tries == 0 {
            self.health.note_closed(self.closed());
            self.answer(Answer::Closed).await;
        }
        match self.store.reopen().await {
            Ok(reopened) => {
                self.health.note_closed(None);
                let answer = match reopened {
                    Reopened::Whole => Answer::Reopened,
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
                self.answer(Answer::StaysClosed).await;
                // It is that version's from now on.
                Some(Shut { tries, wait: None })
            }
            Err(_) => {
                if tries == 0 {
                    self.answer(Answer::StaysClosed).await;
                }
                let waits = self.times.reopen_retry;
                Some(Shut {
                    tries: tries.saturating_add(1),
                    wait: waits.get(tries).or(waits.last()).copied(),
                })
            }
        }
    }

    /// Writes these as one batch, or each apart if that cannot be done.
    async fn write(&mut self, group: Vec<(WriteId, Batch, Epoch)>) {
        let (group, late): (Vec<_>, Vec<_>) = group
            .into_iter()
            .partition(|(.., epoch)| *epoch == self.epoch);
        for (id, ..) in late {
            self.answer(Answer::WriteFailed { id, full: false }).await;
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
                    self.answer(Answer::Written(id)).await;
                }
                return;
            }
        }
        for (id, batch, _) in group {
            let written = self.write_one(batch).await;
            self.health.note_write(written.as_ref().err());
            let answer = match written {
                Ok(()) => Answer::Written(id),
                Err(error) => Answer::WriteFailed {
                    id,
                    full: error.is_full(),
                },
            };
            self.answer(answer).await;
        }
    }

    async fn write_one(&mut self, batch: Batch) -> Result<(), StoreError> {
        let closing = self.store.closing();
        in_time(closing, self.times, self.store.write(batch)).await?
    }

    async fn bodies(&self, hashes: &[BlockHash]) -> Result<Bodies, StoreError> {
        in_time(self.store.closing(), self.times, self.store.bodies(hashes)).await?
    }

    async fn check(&mut self) -> Check {
        let closing = self.store.closing();
        let checked = in_time(closing, self.times, self.store.check()).await;
        checked.unwrap_or(Check::Later)
    }

    async fn tidy(&mut self) -> bool {
        let closing = self.store.closing();
        let tidied = in_time(closing, self.times, self.store.tidy()).await;
        tidied.unwrap_or(false)
    }
}

impl Shut {
    fn waiting(&self) -> Fuse<Delay> {
        self.wait
            .map_or_else(Fuse::terminated, |wait| clock::sleep(wait).fuse())
    }
}

/// Waits until the store is closed, if that is to be waited for.
async fn wait_for(closing: Option<Rc<Closing>>, wanted: bool) {
    match closing.filter(|_| wanted) {
        Some(closing) => drop(closing.wait().await),
        None => pending().await,
    }
}

/// What the store does, unless the browser closes it meanwhile and then says no more.
async fn in_time<T>(
    closing: Option<Rc<Closing>>,
    times: Times,
    work: impl Future<Output = T>,
) -> Result<T, StoreError> {
    let closed = async {
        wait_for(closing, true).await;
        clock::sleep(times.closing_grace).await;
    };
    match select(pin!(work), pin!(closed)).await {
        Either::Left((done, _)) => Ok(done),
        Either::Right(_) => Err(StoreError::Closed),
    }
}

/// Takes in what else waits to be written. Returns the order behind it.
fn gather(
    group: &mut Vec<(WriteId, Batch, Epoch)>,
    orders: &mut mpsc::Receiver<Order>,
) -> Option<Order> {
    // Somebody waits for what is strict.
    while group.len() < MAX_GROUPED_WRITES && group.iter().all(|(_, batch, _)| !batch.strict) {
        match orders.next().now_or_never().flatten()? {
            Order::Write(id, batch, epoch) if !batch.strict => group.push((id, batch, epoch)),
            other @ (Order::Write(..)
            | Order::Read(..)
            | Order::ReadForPage(..)
            | Order::Release(_)) => return Some(other),
        }
    }
    None
}

#[cfg(test)]
mod tests;
