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
mod tests {
    use std::cell::RefCell;

    use async_trait::async_trait;
    use sync::StoreOperation;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::storage::{Reason, misfortune::Misfortune};

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
        // Not even between the write and the release.
        assert_eq!(left.get(), 3);
    }

    #[test]
    async fn a_store_is_kept_from_others_until_all_is_done_however_much_that_is() {
        /// What tells when it is gone.
        struct Hold(Rc<Cell<bool>>);

        impl Drop for Hold {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }

        let store = crate::storage::MemoryStore::default();
        let (mut queue, mut answers) = Queue::new(store, health());
        let mut ordered = 0;
        while queue.write(WriteId(ordered), Batch::default()).is_none() {
            ordered += 1;
        }
        let gone = Rc::new(Cell::new(false));
        queue.release(Box::new(Hold(gone.clone())));
        for id in 0..ordered {
            assert!(!gone.get(), "gone before {id} of {ordered} was done");
            let answer = answers.next().await;
            assert!(matches!(answer, Some(Answer::Written(WriteId(other))) if other == id));
        }
        while !gone.get() {
            clock::sleep(Duration::from_millis(1)).await;
        }
    }

    /// A store that cannot be checked the first time.
    struct Doubtful(Rc<Cell<usize>>);

    #[async_trait(?Send)]
    impl Storage for Doubtful {
        async fn write(&mut self, _: Batch) -> Result<(), StoreError> {
            Ok(())
        }

        async fn bodies(&self, _: &[BlockHash]) -> Result<Bodies, StoreError> {
            Ok(Vec::new())
        }

        async fn check(&mut self) -> Check {
            self.0.set(self.0.get() + 1);
            if self.0.get() == 1 {
                Check::Later
            } else {
                Check::Done
            }
        }
    }

    #[test]
    async fn a_check_is_taken_up_again_though_the_clock_is_put_back() {
        let checks = Rc::new(Cell::new(0));
        let (_orders, waiting) = mpsc::channel(1);
        let (answers, _answered) = mpsc::channel(1);
        spawn_local(serve(
            Doubtful(checks.clone()),
            health(),
            Rc::default(),
            (waiting, answers),
            Duration::from_millis(20),
        ));
        clock::sleep(Duration::from_millis(1)).await;
        assert_eq!(checks.get(), 1);
        let _earlier = Misfortune::clock_put_back(Duration::from_secs(3_600));
        // Half a minute, on a busy machine.
        for _ in 0..3_000 {
            if checks.get() == 2 {
                return;
            }
            clock::sleep(Duration::from_millis(10)).await;
        }
        panic!("it was not checked again");
    }

    /// A store that notes how many changes each batch has, and takes no more than so many.
    struct Narrow(Rc<RefCell<Vec<usize>>>, usize);

    #[async_trait(?Send)]
    impl Storage for Narrow {
        async fn write(&mut self, batch: Batch) -> Result<(), StoreError> {
            let len = batch.operations.len();
            self.0.borrow_mut().push(len);
            if len > self.1 {
                return Err(StoreError::Failed("full".to_owned()));
            }
            Ok(())
        }

        async fn bodies(&self, _: &[BlockHash]) -> Result<Bodies, StoreError> {
            Ok(Vec::new())
        }
    }

    fn changes(count: usize, strict: bool) -> Batch {
        let change = StoreOperation::PutTip(BlockHash::new([0; 32]));
        Batch {
            operations: vec![change; count],
            strict,
        }
    }

    #[test]
    async fn what_waits_to_be_written_is_written_as_one_up_to_a_bound() {
        let written = Rc::new(RefCell::new(Vec::new()));
        let (mut queue, mut answers) = Queue::new(Narrow(written.clone(), usize::MAX), health());
        let count = MAX_GROUPED_WRITES as u64 + 3;
        for id in 0..count {
            assert!(queue.write(WriteId(id), changes(1, false)).is_none());
        }
        assert!(queue.read(ReadId(1), Vec::new()).is_none());
        assert!(queue.write(WriteId(count), changes(1, false)).is_none());
        assert!(queue.write(WriteId(count + 1), changes(1, true)).is_none());
        assert!(queue.write(WriteId(count + 2), changes(1, false)).is_none());
        for id in 0..count {
            assert!(
                matches!(answers.next().await, Some(Answer::Written(WriteId(other))) if other == id)
            );
        }
        assert!(matches!(answers.next().await, Some(Answer::Read(..))));
        for id in count..count + 3 {
            assert!(
                matches!(answers.next().await, Some(Answer::Written(WriteId(other))) if other == id)
            );
        }
        assert_eq!(*written.borrow(), [MAX_GROUPED_WRITES, 3, 1, 1, 1]);
    }

    #[test]
    async fn of_several_that_wait_only_what_cannot_be_written_fails() {
        let written = Rc::new(RefCell::new(Vec::new()));
        let (mut queue, mut answers) = Queue::new(Narrow(written.clone(), 2), health());
        for (id, count) in [(1, 1), (2, 3), (3, 2)] {
            assert!(queue.write(WriteId(id), changes(count, false)).is_none());
        }
        assert!(matches!(
            answers.next().await,
            Some(Answer::Written(WriteId(1)))
        ));
        assert!(matches!(
            answers.next().await,
            Some(Answer::WriteFailed(WriteId(2)))
        ));
        assert!(matches!(
            answers.next().await,
            Some(Answer::Written(WriteId(3)))
        ));
        assert_eq!(*written.borrow(), [6, 1, 3, 2]);
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
