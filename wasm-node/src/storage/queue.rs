//! The queue before a store: orders are carried out one after the other, so reads see earlier writes, and
//! nobody who gives an order waits for the disk. Never drops an order without saying so.

use std::{any::Any, cell::Cell, rc::Rc, time::Duration};

use chain::{hash::BlockHash, reading::Reading};
use futures::{
    FutureExt, SinkExt, StreamExt,
    channel::{mpsc, oneshot},
    future::Fuse,
    select_biased,
};
use sync::{
    Batch,
    seam::{ReadId, WriteId},
};
use wasm_bindgen_futures::spawn_local;

use super::{Check, Health, Storage, StoreError};
use crate::{
    clock,
    config::{CHECK_RETRY, MAX_GROUPED_WRITES, MAX_WAITING_STORE_ORDERS},
};

/// Bodies, in the order asked for; `None` where one is not there.
pub(crate) type Bodies = Vec<Option<Vec<Reading>>>;

/// What became of an order of the machine's.
#[derive(Debug)]
pub(crate) enum Answer {
    Written(WriteId),
    WriteFailed(WriteId),
    Read(ReadId, Bodies),
    ReadFailed(ReadId),
    /// Some more of what was on disk at the start was checked; the bodies of these blocks are lost.
    Checked(Vec<BlockHash>),
}

enum Order {
    Write(WriteId, Batch),
    Read(ReadId, Vec<BlockHash>),
    ReadForPage(Vec<BlockHash>, oneshot::Sender<Result<Bodies, StoreError>>),
    Release(Box<dyn Any>),
}

/// The way to the store. Its copies share one queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    orders: mpsc::Sender<Order>,
    released: Rc<Cell<bool>>,
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
        let serving = serve(
            store,
            health,
            released.clone(),
            (waiting, answers),
            CHECK_RETRY,
        );
        spawn_local(serving);
        (Self { orders, released }, answered)
    }

    /// Orders a write. If too many wait already, the answer is here at once.
    pub(crate) fn write(&mut self, id: WriteId, batch: Batch) -> Option<Answer> {
        self.orders
            .try_send(Order::Write(id, batch))
            .err()
            .map(|_| Answer::WriteFailed(id))
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

async fn serve(
    mut store: impl Storage,
    health: Rc<Health>,
    released: Rc<Cell<bool>>,
    (mut orders, mut answers): (mpsc::Receiver<Order>, mpsc::Sender<Answer>),
    check_retry: Duration,
) {
    let (mut checking, mut untidy) = (true, true);
    // A wait, not a time of day: the clock may be put back.
    let mut again = Fuse::terminated();
    let mut held = None;
    loop {
        let order = match held
            .take()
            .map(Some)
            .or_else(|| orders.next().now_or_never())
        {
            Some(order) => order,
            // Nobody waits: what was taken on trust at the start is looked at.
            None if checking && !released.get() => {
                match store.check().await {
                    Check::Lost(lost) => {
                        // As below.
                        let _ = answers.send(Answer::Checked(lost)).await;
                    }
                    Check::Later => {
                        checking = false;
                        again = clock::sleep(check_retry).fuse();
                    }
                    Check::Done => checking = false,
                }
                continue;
            }
            None if untidy && !released.get() => {
                untidy = store.tidy().await;
                continue;
            }
            None => select_biased! {
                order = orders.next() => order,
                () = again => {
                    checking = true;
                    continue;
                }
            },
        };
        let Some(order) = order else { return };
        let answer = match order {
            Order::Write(id, batch) => {
                let mut group = vec![(id, batch)];
                held = gather(&mut group, &mut orders);
                for answer in write(&mut store, group, &health).await {
                    // As below.
                    let _ = answers.send(answer).await;
                }
                untidy = !released.get() && store.tidy().await;
                continue;
            }
            Order::Read(id, hashes) => match store.bodies(&hashes).await {
                Ok(bodies) => Answer::Read(id, bodies),
                Err(_) => Answer::ReadFailed(id),
            },
            Order::ReadForPage(hashes, reply) => {
                // Nobody waits any longer if this fails.
                let _ = reply.send(store.bodies(&hashes).await);
                continue;
            }
            Order::Release(hold) => {
                // From now on it may be another tab's.
                drop(hold);
                continue;
            }
        };
        // Nobody waits for answers once the node has stopped; the page may still read.
        let _ = answers.send(answer).await;
        untidy = !released.get() && store.tidy().await;
    }
}

/// Takes in what else waits to be written. Returns the order behind it.
fn gather(group: &mut Vec<(WriteId, Batch)>, orders: &mut mpsc::Receiver<Order>) -> Option<Order> {
    // Somebody waits for what is strict.
    while group.len() < MAX_GROUPED_WRITES && group.iter().all(|(_, batch)| !batch.strict) {
        match orders.next().now_or_never().flatten()? {
            Order::Write(id, batch) if !batch.strict => group.push((id, batch)),
            other @ (Order::Write(..)
            | Order::Read(..)
            | Order::ReadForPage(..)
            | Order::Release(_)) => return Some(other),
        }
    }
    None
}

/// Writes these as one batch, or each by itself if that cannot be done.
async fn write(
    store: &mut impl Storage,
    group: Vec<(WriteId, Batch)>,
    health: &Health,
) -> Vec<Answer> {
    if group.len() > 1 {
        let batches = group.iter().flat_map(|(_, batch)| &batch.operations);
        let all = Batch {
            operations: batches.cloned().collect(),
            strict: false,
        };
        if store.write(all).await.is_ok() {
            health.note_write(false);
            return group
                .into_iter()
                .map(|(id, _)| Answer::Written(id))
                .collect();
        }
    }
    let mut answers = Vec::with_capacity(group.len());
    for (id, batch) in group {
        let written = store.write(batch).await;
        // What was refused for want of room is told by itself.
        health.note_write(matches!(
            written,
            Err(StoreError::Failed(_) | StoreError::Busy { .. })
        ));
        answers.push(match written {
            Ok(()) => Answer::Written(id),
            Err(_) => Answer::WriteFailed(id),
        });
    }
    answers
}

#[cfg(test)]
mod tests;
