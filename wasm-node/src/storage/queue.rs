//! The queue before a store: orders are carried out one after the other, so reads see earlier writes, and
//! nobody who gives an order waits for the disk. Never drops an order without saying so.

use std::{any::Any, rc::Rc};

use chain::{hash::BlockHash, reading::Reading};
use futures::{
    FutureExt, SinkExt, StreamExt,
    channel::{mpsc, oneshot},
};
use sync::{
    Batch,
    seam::{ReadId, WriteId},
};
use wasm_bindgen_futures::spawn_local;

use super::{Health, Storage, StoreError};
use crate::config::MAX_WAITING_STORE_ORDERS;

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
}

impl Queue {
    /// Starts to serve a store, until the last copy of the queue is gone; answers come by the receiver.
    pub(crate) fn new(
        store: impl Storage + 'static,
        health: Rc<Health>,
    ) -> (Self, mpsc::Receiver<Answer>) {
        let (orders, waiting) = mpsc::channel(MAX_WAITING_STORE_ORDERS);
        let (answers, answered) = mpsc::channel(MAX_WAITING_STORE_ORDERS);
        spawn_local(serve(store, health, waiting, answers));
        (Self { orders }, answered)
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

    /// Drops what keeps others from the store, once all that was ordered before is done. Reading goes on.
    pub(crate) fn release(&mut self, hold: Box<dyn Any>) {
        // If too many orders wait it is dropped at once: the browser does them in order all the same.
        let _ = self.orders.try_send(Order::Release(hold));
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
    mut orders: mpsc::Receiver<Order>,
    mut answers: mpsc::Sender<Answer>,
) {
    let (mut checking, mut untidy, mut released) = (true, true, false);
    loop {
        let order = match orders.next().now_or_never() {
            Some(order) => order,
            // Nobody waits: what was taken on trust at the start is looked at.
            None if checking => {
                if let Some(lost) = store.check().await {
                    // As below.
                    let _ = answers.send(Answer::Checked(lost)).await;
                } else {
                    checking = false;
                }
                continue;
            }
            None if untidy => {
                untidy = store.tidy().await;
                continue;
            }
            None => orders.next().await,
        };
        let Some(order) = order else { return };
        let answer = match order {
            Order::Write(id, batch) => {
                let written = store.write(batch).await;
                health.note_write(written.is_err());
                match written {
                    Ok(()) => Answer::Written(id),
                    Err(_) => Answer::WriteFailed(id),
                }
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
                (checking, untidy, released) = (false, false, true);
                drop(hold);
                continue;
            }
        };
        // Nobody waits for answers once the node has stopped; the page may still read.
        let _ = answers.send(answer).await;
        untidy = !released && store.tidy().await;
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::Duration};

    use async_trait::async_trait;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::{clock, storage::Reason};

    fn health() -> Rc<Health> {
        Health::new(Err(Reason::Asked))
    }

    /// A store whose disk is always full.
    struct Full;

    #[async_trait(?Send)]
    impl Storage for Full {
        async fn write(&mut self, _: Batch) -> Result<(), StoreError> {
            Err(StoreError::Failed("full".to_owned()))
        }

        async fn bodies(&self, _: &[BlockHash]) -> Result<Bodies, StoreError> {
            Err(StoreError::Failed("full".to_owned()))
        }
    }

    /// A store with so much to tidy.
    struct Untidy(Rc<Cell<usize>>);

    #[async_trait(?Send)]
    impl Storage for Untidy {
        async fn write(&mut self, _: Batch) -> Result<(), StoreError> {
            self.0.set(3);
            Ok(())
        }

        async fn bodies(&self, _: &[BlockHash]) -> Result<Bodies, StoreError> {
            Ok(Vec::new())
        }

        async fn tidy(&mut self) -> bool {
            self.0.set(self.0.get().saturating_sub(1));
            self.0.get() > 0
        }
    }

    #[test]
    async fn a_store_is_tidied_to_the_end_but_not_when_it_may_be_anothers() {
        let left = Rc::new(Cell::new(3));
        let (mut queue, mut answers) = Queue::new(Untidy(left.clone()), health());
        // An order is done before all of it is.
        assert!(queue.write(WriteId(1), Batch::default()).is_none());
        assert!(matches!(answers.next().await, Some(Answer::Written(_))));
        while left.get() > 0 {
            clock::sleep(Duration::from_millis(1)).await;
        }
        assert!(queue.write(WriteId(2), Batch::default()).is_none());
        queue.release(Box::new(()));
        assert!(queue.read(ReadId(3), Vec::new()).is_none());
        assert!(matches!(answers.next().await, Some(Answer::Written(_))));
        assert!(matches!(answers.next().await, Some(Answer::Read(..))));
        // Once, between the write and the release.
        assert_eq!(left.get(), 2);
    }

    #[test]
    async fn every_order_is_answered_in_turn() {
        let (mut queue, mut answers) = Queue::new(crate::storage::MemoryStore::default(), health());
        assert!(queue.write(WriteId(1), Batch::default()).is_none());
        assert!(queue.read(ReadId(2), Vec::new()).is_none());
        assert!(queue.write(WriteId(3), Batch::default()).is_none());
        assert!(matches!(
            answers.next().await,
            Some(Answer::Written(WriteId(1)))
        ));
        assert!(
            matches!(answers.next().await, Some(Answer::Read(ReadId(2), bodies)) if bodies.is_empty())
        );
        assert!(matches!(
            answers.next().await,
            Some(Answer::Written(WriteId(3)))
        ));
    }

    #[test]
    async fn failures_are_told() {
        let health = health();
        let (mut queue, mut answers) = Queue::new(Full, health.clone());
        assert!(queue.write(WriteId(1), Batch::default()).is_none());
        assert!(matches!(
            answers.next().await,
            Some(Answer::WriteFailed(WriteId(1)))
        ));
        assert!(health.failing());
        assert_eq!(
            queue.bodies(Vec::new()).await,
            Err(StoreError::Failed("full".to_owned()))
        );
    }

    #[test]
    async fn an_order_too_many_fails_at_once() {
        let (mut queue, _answers) = Queue::new(crate::storage::MemoryStore::default(), health());
        // The channel holds its bound and one more for the sender; nothing is served before we await.
        let failed = (0..MAX_WAITING_STORE_ORDERS + 2)
            .filter_map(|id| {
                queue.write(
                    WriteId(u64::try_from(id).unwrap_or_default()),
                    Batch::default(),
                )
            })
            .count();
        assert_eq!(failed, 1);
    }
}
