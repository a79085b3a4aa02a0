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

/// Serves a store that waits for shorter times.
fn serve(store: impl Storage + 'static, times: Times) -> (Queue, mpsc::Receiver<Answer>) {
    let (orders, waiting) = mpsc::channel(8);
    let (answers, answered) = mpsc::channel(8);
    let serving = Serving {
        store,
        health: health(),
        released: Rc::default(),
        answers,
        times,
        epoch: Epoch::default(),
    };
    spawn_local(serving.serve(waiting));
    let queue = Queue {
        orders,
        released: Rc::default(),
        epoch: Epoch::default(),
    };
    (queue, answered)
}

#[test]
async fn a_check_is_taken_up_again_though_the_clock_is_put_back() {
    let checks = Rc::new(Cell::new(0));
    let _serving = serve(
        Doubtful(checks.clone()),
        Times {
            check_retry: Duration::from_millis(20),
            ..Times::default()
        },
    );
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

/// A store that the browser closes, and does not open again for so many tries.
struct Shutting {
    closing: Rc<RefCell<Rc<Closing>>>,
    tries: usize,
    then: Result<Reopened, StoreError>,
    /// Whether a write never ends.
    hangs: bool,
}

#[async_trait(?Send)]
impl Storage for Shutting {
    async fn write(&mut self, _: Batch) -> Result<(), StoreError> {
        if self.hangs {
            pending::<()>().await;
        }
        match self.closing.borrow().closed() {
            None => Ok(()),
            Some(_) => Err(StoreError::Closed),
        }
    }

    async fn bodies(&self, _: &[BlockHash]) -> Result<Bodies, StoreError> {
        Ok(Vec::new())
    }

    fn closing(&self) -> Option<Rc<Closing>> {
        Some(self.closing.borrow().clone())
    }

    async fn reopen(&mut self) -> Result<Reopened, StoreError> {
        if self.tries > 0 {
            self.tries -= 1;
            return Err(StoreError::Failed("not yet".to_owned()));
        }
        if self.then.is_ok() {
            self.closing.replace(Closing::new());
            self.hangs = false;
        }
        self.then.clone()
    }
}

const SOON: &[Duration] = &[Duration::from_millis(1)];

fn shutting(
    tries: usize,
    then: Result<Reopened, StoreError>,
    hangs: bool,
) -> (Queue, mpsc::Receiver<Answer>, Rc<Closing>) {
    let closing = Closing::new();
    let store = Shutting {
        closing: Rc::new(RefCell::new(closing.clone())),
        tries,
        then,
        hangs,
    };
    let soon = Duration::from_millis(1);
    let times = Times {
        reopen_retry: SOON,
        closing_grace: soon,
        ..Times::default()
    };
    let (queue, answers) = serve(store, times);
    (queue, answers, closing)
}

#[test]
async fn a_closed_store_is_opened_again_without_an_order() {
    let (mut queue, mut answers, closing) = shutting(2, Ok(Reopened::Whole), false);
    clock::sleep(Duration::from_millis(1)).await;
    closing.note(ClosedBy::Browser);
    assert!(matches!(answers.next().await, Some(Answer::Closed)));
    assert!(matches!(answers.next().await, Some(Answer::StaysClosed)));
    assert!(matches!(answers.next().await, Some(Answer::Reopened)));
    assert!(queue.write(WriteId(1), Batch::default()).is_none());
    assert!(matches!(answers.next().await, Some(Answer::Written(_))));
}

#[test]
async fn orders_before_a_loss_are_not_written_after_it() {
    let (mut queue, mut answers, closing) = shutting(0, Ok(Reopened::Reset), false);
    closing.note(ClosedBy::Browser);
    assert!(queue.write(WriteId(1), Batch::default()).is_none());
    assert!(matches!(answers.next().await, Some(Answer::Closed)));
    let Some(Answer::Reset(epoch)) = answers.next().await else {
        panic!("it is open again")
    };
    let refused = answers.next().await;
    assert!(matches!(
        refused,
        Some(Answer::WriteFailed {
            id: WriteId(1),
            full: false
        })
    ));
    queue.enter(epoch);
    assert!(queue.write(WriteId(2), Batch::default()).is_none());
    let written = answers.next().await;
    assert!(matches!(written, Some(Answer::Written(WriteId(2)))));
}

#[test]
async fn a_write_that_a_closed_store_never_answers_fails() {
    let (mut queue, mut answers, closing) = shutting(0, Ok(Reopened::Whole), true);
    assert!(queue.write(WriteId(1), Batch::default()).is_none());
    clock::sleep(Duration::from_millis(1)).await;
    closing.note(ClosedBy::Browser);
    let failed = answers.next().await;
    assert!(matches!(
        failed,
        Some(Answer::WriteFailed { id: WriteId(1), .. })
    ));
    assert!(matches!(answers.next().await, Some(Answer::Closed)));
    assert!(matches!(answers.next().await, Some(Answer::Reopened)));
}

#[test]
async fn a_newer_versions_store_is_not_tried_again() {
    let (mut queue, mut answers, closing) = shutting(0, Err(StoreError::NewerVersion), false);
    clock::sleep(Duration::from_millis(1)).await;
    closing.note(ClosedBy::NewerVersion);
    assert!(matches!(answers.next().await, Some(Answer::Closed)));
    assert!(matches!(answers.next().await, Some(Answer::StaysClosed)));
    assert!(queue.write(WriteId(1), Batch::default()).is_none());
    let failed = answers.next().await;
    assert!(matches!(failed, Some(Answer::WriteFailed { .. })));
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
        Some(Answer::WriteFailed { id: WriteId(2), .. })
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
        Some(Answer::WriteFailed { id: WriteId(1), .. })
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
