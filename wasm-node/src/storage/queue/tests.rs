use std::cell::RefCell;

use async_trait::async_trait;
use heartchain_sync::StoreOperation;
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::storage::{Reason, fault_injector::FaultInjector};

fn health() -> Rc<Health> {
    Health::new(Err(Reason::Requested))
}

/// A store whose disk is always full.
struct FullStore;

#[async_trait(?Send)]
impl Storage for FullStore {
    async fn write(&mut self, _: Batch) -> Result<(), StoreError> {
        Err(StoreError::Failed("full".to_owned()))
    }

    async fn bodies(&self, _: &[BlockHash]) -> Result<Bodies, StoreError> {
        Err(StoreError::Failed("full".to_owned()))
    }
}

/// A store with this many steps of compaction to do.
struct CompactingStore(Rc<Cell<usize>>);

#[async_trait(?Send)]
impl Storage for CompactingStore {
    async fn write(&mut self, _: Batch) -> Result<(), StoreError> {
        self.0.set(3);
        Ok(())
    }

    async fn bodies(&self, _: &[BlockHash]) -> Result<Bodies, StoreError> {
        Ok(Vec::new())
    }

    async fn compact(&mut self) -> bool {
        self.0.set(self.0.get().saturating_sub(1));
        self.0.get() > 0
    }
}

#[test]
async fn compaction_stops_at_release() {
    let left = Rc::new(Cell::new(3));
    let (mut queue, mut answers) = Queue::new(CompactingStore(left.clone()), health());
    // A request is executed before compaction is complete.
    assert!(queue.write(WriteId(1), Batch::default()).is_ok());
    assert!(matches!(
        answers.next().await,
        Some(Answer::Machine(StoreAnswer::Written(_)))
    ));
    while left.get() > 0 {
        clock::sleep(Duration::from_millis(1)).await;
    }
    assert!(queue.write(WriteId(2), Batch::default()).is_ok());
    queue.release(Box::new(()));
    assert!(queue.read(ReadId(3), Vec::new()).is_ok());
    assert!(matches!(
        answers.next().await,
        Some(Answer::Machine(StoreAnswer::Written(_)))
    ));
    assert!(matches!(
        answers.next().await,
        Some(Answer::Machine(StoreAnswer::Read(..)))
    ));
    // There was no compaction even between the write and the release.
    assert_eq!(left.get(), 3);
}

#[test]
async fn lock_is_dropped_after_all_requests() {
    /// A lock that reports when it is dropped.
    struct DropFlag(Rc<Cell<bool>>);

    impl Drop for DropFlag {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }

    let store = crate::storage::MemoryStore::default();
    let (mut queue, mut answers) = Queue::new(store, health());
    let mut sent = 0;
    while queue.write(WriteId(sent), Batch::default()).is_ok() {
        sent += 1;
    }
    let gone = Rc::new(Cell::new(false));
    queue.release(Box::new(DropFlag(gone.clone())));
    for id in 0..sent {
        assert!(!gone.get(), "gone before {id} of {sent} was done");
        let answer = answers.next().await;
        assert!(
            matches!(answer, Some(Answer::Machine(StoreAnswer::Written(WriteId(other)))) if other == id)
        );
    }
    while !gone.get() {
        clock::sleep(Duration::from_millis(1)).await;
    }
}

/// A store whose first check must be repeated later.
struct CheckLaterStore(Rc<Cell<usize>>);

#[async_trait(?Send)]
impl Storage for CheckLaterStore {
    async fn write(&mut self, _: Batch) -> Result<(), StoreError> {
        Ok(())
    }

    async fn bodies(&self, _: &[BlockHash]) -> Result<Bodies, StoreError> {
        Ok(Vec::new())
    }

    async fn check(&mut self) -> CheckProgress {
        self.0.set(self.0.get() + 1);
        if self.0.get() == 1 {
            CheckProgress::Later
        } else {
            CheckProgress::Done
        }
    }
}

/// Serves a store with shorter delays.
fn serve(store: impl Storage + 'static, delays: Delays) -> (Queue, mpsc::Receiver<Answer>) {
    let (requests, waiting) = mpsc::channel(8);
    let (answers, answered) = mpsc::channel(8);
    let task = StoreTask {
        store,
        health: health(),
        released: Rc::default(),
        answers,
        delays,
        epoch: Epoch::default(),
        pauses: Pauses::new(),
    };
    spawn_local(task.run(waiting));
    let queue = Queue {
        requests,
        released: Rc::default(),
        epoch: Epoch::default(),
    };
    (queue, answered)
}

#[test]
async fn check_resumes_despite_clock_change() {
    let checks = Rc::new(Cell::new(0));
    let _serving = serve(
        CheckLaterStore(checks.clone()),
        Delays {
            check_retry: Duration::from_millis(20),
            ..Delays::default()
        },
    );
    clock::sleep(Duration::from_millis(1)).await;
    assert_eq!(checks.get(), 1);
    let _earlier = FaultInjector::clock_set_back(Duration::from_secs(3_600));
    // At most half a minute, for a busy machine.
    for _ in 0..3_000 {
        if checks.get() == 2 {
            return;
        }
        clock::sleep(Duration::from_millis(10)).await;
    }
    panic!("it was not checked again");
}

/// A store that the browser closes, and that can be reopened only after this many attempts.
struct ClosingStore {
    close_signal: Rc<RefCell<Rc<CloseSignal>>>,
    attempts: usize,
    then: Result<Reopened, StoreError>,
    /// Whether a write never ends.
    hangs: bool,
}

#[async_trait(?Send)]
impl Storage for ClosingStore {
    async fn write(&mut self, _: Batch) -> Result<(), StoreError> {
        if self.hangs {
            pending::<()>().await;
        }
        match self.close_signal.borrow().closed() {
            None => Ok(()),
            Some(_) => Err(StoreError::Closed),
        }
    }

    async fn bodies(&self, _: &[BlockHash]) -> Result<Bodies, StoreError> {
        Ok(Vec::new())
    }

    fn close_signal(&self) -> Option<Rc<CloseSignal>> {
        Some(self.close_signal.borrow().clone())
    }

    async fn reopen(&mut self) -> Result<Reopened, StoreError> {
        if self.attempts > 0 {
            self.attempts -= 1;
            return Err(StoreError::Failed("not yet".to_owned()));
        }
        if self.then.is_ok() {
            self.close_signal.replace(CloseSignal::new());
            self.hangs = false;
        }
        self.then.clone()
    }
}

const SOON: &[Duration] = &[Duration::from_millis(1)];

fn closing_store(
    attempts: usize,
    then: Result<Reopened, StoreError>,
    hangs: bool,
) -> (Queue, mpsc::Receiver<Answer>, Rc<CloseSignal>) {
    let close_signal = CloseSignal::new();
    let store = ClosingStore {
        close_signal: Rc::new(RefCell::new(close_signal.clone())),
        attempts,
        then,
        hangs,
    };
    let soon = Duration::from_millis(1);
    let delays = Delays {
        reopen_retry: SOON,
        closing_grace: soon,
        ..Delays::default()
    };
    let (queue, answers) = serve(store, delays);
    (queue, answers, close_signal)
}

#[test]
async fn closed_store_is_reopened_without_a_request() {
    let (mut queue, mut answers, close_signal) = closing_store(2, Ok(Reopened::Intact), false);
    clock::sleep(Duration::from_millis(1)).await;
    close_signal.set(ClosedBy::Browser);
    assert!(matches!(answers.next().await, Some(Answer::Closed)));
    assert!(matches!(answers.next().await, Some(Answer::ReopenFailed)));
    assert!(matches!(answers.next().await, Some(Answer::Reopened)));
    assert!(queue.write(WriteId(1), Batch::default()).is_ok());
    assert!(matches!(
        answers.next().await,
        Some(Answer::Machine(StoreAnswer::Written(_)))
    ));
}

#[test]
async fn writes_before_a_reset_are_refused() {
    let (mut queue, mut answers, close_signal) = closing_store(0, Ok(Reopened::Reset), false);
    close_signal.set(ClosedBy::Browser);
    assert!(queue.write(WriteId(1), Batch::default()).is_ok());
    assert!(matches!(answers.next().await, Some(Answer::Closed)));
    let Some(Answer::Reset(epoch)) = answers.next().await else {
        panic!("it is open again")
    };
    let refused = answers.next().await;
    assert!(matches!(
        refused,
        Some(Answer::Machine(StoreAnswer::WriteFailed {
            id: WriteId(1),
            full: false
        }))
    ));
    queue.enter(epoch);
    assert!(queue.write(WriteId(2), Batch::default()).is_ok());
    let written = answers.next().await;
    assert!(matches!(
        written,
        Some(Answer::Machine(StoreAnswer::Written(WriteId(2))))
    ));
}

#[test]
async fn hanging_write_fails_once_store_is_closed() {
    let (mut queue, mut answers, close_signal) = closing_store(0, Ok(Reopened::Intact), true);
    assert!(queue.write(WriteId(1), Batch::default()).is_ok());
    clock::sleep(Duration::from_millis(1)).await;
    close_signal.set(ClosedBy::Browser);
    let failed = answers.next().await;
    assert!(matches!(
        failed,
        Some(Answer::Machine(StoreAnswer::WriteFailed {
            id: WriteId(1),
            ..
        }))
    ));
    assert!(matches!(answers.next().await, Some(Answer::Closed)));
    assert!(matches!(answers.next().await, Some(Answer::Reopened)));
}

#[test]
async fn newer_version_store_is_not_retried() {
    let (mut queue, mut answers, close_signal) =
        closing_store(0, Err(StoreError::NewerVersion), false);
    clock::sleep(Duration::from_millis(1)).await;
    close_signal.set(ClosedBy::NewerVersion);
    assert!(matches!(answers.next().await, Some(Answer::Closed)));
    assert!(matches!(answers.next().await, Some(Answer::ReopenFailed)));
    assert!(queue.write(WriteId(1), Batch::default()).is_ok());
    let failed = answers.next().await;
    assert!(matches!(
        failed,
        Some(Answer::Machine(StoreAnswer::WriteFailed { .. }))
    ));
}

/// A store that logs the number of operations of each batch, and refuses batches above a limit.
struct LimitedStore(Rc<RefCell<Vec<usize>>>, usize);

#[async_trait(?Send)]
impl Storage for LimitedStore {
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
async fn waiting_writes_are_grouped_up_to_a_limit() {
    let written = Rc::new(RefCell::new(Vec::new()));
    let (mut queue, mut answers) = Queue::new(LimitedStore(written.clone(), usize::MAX), health());
    let count = MAX_GROUPED_WRITES as u64 + 3;
    for id in 0..count {
        assert!(queue.write(WriteId(id), changes(1, false)).is_ok());
    }
    assert!(queue.read(ReadId(1), Vec::new()).is_ok());
    assert!(queue.write(WriteId(count), changes(1, false)).is_ok());
    assert!(queue.write(WriteId(count + 1), changes(1, true)).is_ok());
    assert!(queue.write(WriteId(count + 2), changes(1, false)).is_ok());
    for id in 0..count {
        assert!(
            matches!(answers.next().await, Some(Answer::Machine(StoreAnswer::Written(WriteId(other)))) if other == id)
        );
    }
    assert!(matches!(
        answers.next().await,
        Some(Answer::Machine(StoreAnswer::Read(..)))
    ));
    for id in count..count + 3 {
        assert!(
            matches!(answers.next().await, Some(Answer::Machine(StoreAnswer::Written(WriteId(other)))) if other == id)
        );
    }
    assert_eq!(*written.borrow(), [MAX_GROUPED_WRITES, 3, 1, 1, 1]);
}

#[test]
async fn failed_group_is_written_one_by_one() {
    let written = Rc::new(RefCell::new(Vec::new()));
    let (mut queue, mut answers) = Queue::new(LimitedStore(written.clone(), 2), health());
    for (id, count) in [(1, 1), (2, 3), (3, 2)] {
        assert!(queue.write(WriteId(id), changes(count, false)).is_ok());
    }
    assert!(matches!(
        answers.next().await,
        Some(Answer::Machine(StoreAnswer::Written(WriteId(1))))
    ));
    assert!(matches!(
        answers.next().await,
        Some(Answer::Machine(StoreAnswer::WriteFailed {
            id: WriteId(2),
            ..
        }))
    ));
    assert!(matches!(
        answers.next().await,
        Some(Answer::Machine(StoreAnswer::Written(WriteId(3))))
    ));
    assert_eq!(*written.borrow(), [6, 1, 3, 2]);
}

#[test]
async fn requests_are_answered_in_order() {
    let (mut queue, mut answers) = Queue::new(crate::storage::MemoryStore::default(), health());
    assert!(queue.write(WriteId(1), Batch::default()).is_ok());
    assert!(queue.read(ReadId(2), Vec::new()).is_ok());
    assert!(queue.write(WriteId(3), Batch::default()).is_ok());
    assert!(matches!(
        answers.next().await,
        Some(Answer::Machine(StoreAnswer::Written(WriteId(1))))
    ));
    assert!(
        matches!(answers.next().await, Some(Answer::Machine(StoreAnswer::Read(ReadId(2), bodies))) if bodies.is_empty())
    );
    assert!(matches!(
        answers.next().await,
        Some(Answer::Machine(StoreAnswer::Written(WriteId(3))))
    ));
}

#[test]
async fn failures_are_reported() {
    let health = health();
    let (mut queue, mut answers) = Queue::new(FullStore, health.clone());
    assert!(queue.write(WriteId(1), Batch::default()).is_ok());
    assert!(matches!(
        answers.next().await,
        Some(Answer::Machine(StoreAnswer::WriteFailed {
            id: WriteId(1),
            ..
        }))
    ));
    assert!(health.failing());
    assert_eq!(
        queue.bodies(Vec::new()).await,
        Err(StoreError::Failed("full".to_owned()))
    );
}

#[test]
async fn full_queue_refuses_at_once() {
    let (mut queue, _answers) = Queue::new(crate::storage::MemoryStore::default(), health());
    // The channel holds its bound and one more for the sender; nothing is served before we await.
    let failed = (0..MAX_QUEUED_STORE_REQUESTS + 2)
        .filter(|id| {
            let id = WriteId(u64::try_from(*id).unwrap_or_default());
            queue.write(id, Batch::default()).is_err()
        })
        .count();
    assert_eq!(failed, 1);
}
