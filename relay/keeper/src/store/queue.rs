//! Runs the requests to a store, in order, on a thread where they may block. Consecutive writes become one transaction.
//! Every request gets an answer, also if it fails.

use std::collections::VecDeque;

use heartchain_chain::{block::Block, hash::BlockHash, header::Header, reading::Reading};
use heartchain_sync::{
    Batch,
    driver::{self, StoreAnswer, TooManyRequests},
    io::{ReadId, WriteId},
};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, spawn_blocking},
};

use super::{
    error::StoreError,
    file::{BlockSnapshot, Storage},
};

/// Requests that may wait for the disk. The machine has a few dozen open at most; more means that the disk is stuck.
pub(crate) const MAX_QUEUED: usize = 1_024;
/// Requests that one visit of the thread serves, so that the first of many answers does not wait for the last.
const MAX_SERVED: usize = 64;
/// Writes that become one transaction. A disk needs milliseconds for each transaction, however small.
const MAX_GROUPED: usize = 16;

/// A request to the store.
#[derive(Debug)]
pub(crate) enum Job {
    /// To write a batch of the machine.
    Write(WriteId, Batch),
    /// To read bodies for the machine.
    Read(ReadId, Vec<BlockHash>),
    /// To read the bodies of blocks that are shown to a person. Those that are given are not on disk yet.
    Show(Vec<(BlockHash, Header, Option<Vec<Reading>>)>),
    /// To keep a view of all blocks for an export.
    Snapshot(oneshot::Sender<Result<BlockSnapshot, StoreError>>),
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// What the machine asked for.
    Machine(StoreAnswer),
    /// A write of the machine failed. A person reads why.
    WriteFailed(StoreAnswer, String),
    /// Blocks to be shown; those whose bodies could not be read are left out.
    Shown(Vec<(BlockHash, Block)>),
    /// Nothing that the session waits for.
    Nothing,
}

/// The store that has served requests, and its answers.
type Served = (Box<dyn Storage>, Vec<Answer>);

/// The queue of requests, and the store that serves them.
#[derive(Debug)]
pub(crate) struct Queue {
    /// `None` while the thread has it, and after it panicked.
    store: Option<Box<dyn Storage>>,
    jobs: VecDeque<Job>,
    running: Option<JoinHandle<Served>>,
    answers: VecDeque<Answer>,
}

/// The thread that served the store panicked, so the store is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the store stopped working; start the keeper again, everything that was reported is on disk"
)]
pub struct StoreLost;

impl Queue {
    pub(crate) fn new(store: Box<dyn Storage>) -> Self {
        Self {
            store: Some(store),
            jobs: VecDeque::new(),
            running: None,
            answers: VecDeque::new(),
        }
    }

    /// Adds a request. If the queue is full, the request fails at once.
    pub(crate) fn push(&mut self, job: Job) {
        if self.jobs.len() < MAX_QUEUED {
            return self.jobs.push_back(job);
        }
        self.answers.push_back(match job {
            Job::Write(id, _) => Answer::WriteFailed(
                StoreAnswer::WriteFailed { id, full: false },
                format!("the disk is too slow: {MAX_QUEUED} requests wait"),
            ),
            Job::Read(id, _) => Answer::Machine(StoreAnswer::ReadFailed(id)),
            // An export ends with an error when its sender is dropped.
            Job::Show(_) | Job::Snapshot(_) => Answer::Nothing,
        });
    }

    /// Whether no request waits and no answer is unread.
    pub(crate) fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.running.is_none() && self.answers.is_empty()
    }

    /// The next answer. Waits until there is one. Dropping the future loses nothing.
    ///
    /// # Errors
    /// If the thread panicked.
    pub(crate) async fn next(&mut self) -> Result<Answer, StoreLost> {
        loop {
            if let Some(answer) = self.answers.pop_front() {
                return Ok(answer);
            }
            self.start();
            let Some(running) = &mut self.running else {
                if self.store.is_none() {
                    return Err(StoreLost);
                }
                return std::future::pending().await;
            };
            let served = running.await;
            self.running = None;
            let (store, answers) = served.map_err(|_| StoreLost)?;
            self.store = Some(store);
            self.answers.extend(answers);
        }
    }

    /// Gives the thread what waits, if it has nothing to do.
    pub(crate) fn start(&mut self) {
        if self.running.is_some() || self.jobs.is_empty() {
            return;
        }
        if let Some(store) = self.store.take() {
            let served = self.jobs.len().min(MAX_SERVED);
            let jobs: Vec<Job> = self.jobs.drain(..served).collect();
            self.running = Some(spawn_blocking(move || serve(store, jobs)));
        }
    }
}

/// A full queue answers later, with what a person reads about it.
impl driver::Store for Queue {
    fn write(&mut self, id: WriteId, batch: Batch) -> Result<(), TooManyRequests> {
        self.push(Job::Write(id, batch));
        Ok(())
    }

    fn read(&mut self, id: ReadId, hashes: Vec<BlockHash>) -> Result<(), TooManyRequests> {
        self.push(Job::Read(id, hashes));
        Ok(())
    }
}

fn serve(mut store: Box<dyn Storage>, jobs: Vec<Job>) -> (Box<dyn Storage>, Vec<Answer>) {
    let mut answers = Vec::with_capacity(jobs.len());
    let mut writes: (Vec<WriteId>, Vec<Batch>) = (Vec::new(), Vec::new());
    for job in jobs {
        if let Job::Write(id, batch) = job {
            writes.0.push(id);
            writes.1.push(batch);
            if writes.0.len() >= MAX_GROUPED {
                write(&mut *store, std::mem::take(&mut writes), &mut answers);
            }
            continue;
        }
        write(&mut *store, std::mem::take(&mut writes), &mut answers);
        answers.push(match job {
            Job::Read(id, hashes) => Answer::Machine(match store.bodies(&hashes) {
                Ok(bodies) => StoreAnswer::Read(id, bodies),
                Err(_) => StoreAnswer::ReadFailed(id),
            }),
            Job::Show(blocks) => Answer::Shown(show(&mut *store, blocks)),
            Job::Snapshot(reply) => {
                // The export may have been given up.
                let _ = reply.send(store.snapshot());
                Answer::Nothing
            }
            Job::Write(..) => Answer::Nothing,
        });
    }
    write(&mut *store, writes, &mut answers);
    (store, answers)
}

/// Writes batches as one transaction. If that fails, each is written alone, so that one cannot make the others fail.
fn write(
    store: &mut dyn Storage,
    (ids, batches): (Vec<WriteId>, Vec<Batch>),
    answers: &mut Vec<Answer>,
) {
    if batches.len() > 1 && store.write(&batches).is_ok() {
        let written = ids.into_iter().map(StoreAnswer::Written);
        answers.extend(written.map(Answer::Machine));
        return;
    }
    for (id, batch) in ids.into_iter().zip(&batches) {
        answers.push(match store.write(std::slice::from_ref(batch)) {
            Ok(()) => Answer::Machine(StoreAnswer::Written(id)),
            Err(error) => {
                let full = error.is_full();
                Answer::WriteFailed(StoreAnswer::WriteFailed { id, full }, error.to_string())
            }
        });
    }
}

fn show(
    store: &mut dyn Storage,
    blocks: Vec<(BlockHash, Header, Option<Vec<Reading>>)>,
) -> Vec<(BlockHash, Block)> {
    let mut shown = Vec::with_capacity(blocks.len());
    for (hash, header, body) in blocks {
        let body = body.or_else(|| store.bodies(&[hash]).ok()?.pop()?);
        if let Some(readings) = body {
            shown.push((hash, Block { header, readings }));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use heartchain_sync::StoreOperation;

    use super::*;
    use crate::store::Bodies;

    /// Writes the numbers of its transactions' batches down, and fails where it is told to.
    #[derive(Debug)]
    struct Scripted {
        log: Arc<Mutex<Vec<usize>>>,
        fails: fn(&[Batch]) -> bool,
        panics: bool,
    }

    impl Storage for Scripted {
        fn write(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
            assert!(!self.panics, "as told");
            if (self.fails)(batches) {
                return Err(StoreError::Full);
            }
            self.log.lock().expect("a log").push(batches.len());
            Ok(())
        }

        fn bodies(&mut self, hashes: &[BlockHash]) -> Result<Bodies, StoreError> {
            self.log.lock().expect("a log").push(0);
            Ok(vec![None; hashes.len()])
        }

        fn snapshot(&mut self) -> Result<BlockSnapshot, StoreError> {
            Err(StoreError::Full)
        }
    }

    fn queue(fails: fn(&[Batch]) -> bool, panics: bool) -> (Queue, Arc<Mutex<Vec<usize>>>) {
        let log = Arc::default();
        let store = Scripted {
            log: Arc::clone(&log),
            fails,
            panics,
        };
        (Queue::new(Box::new(store)), log)
    }

    fn batch(operations: usize) -> Batch {
        Batch {
            operations: vec![StoreOperation::PutTip(BlockHash::new([0; 32])); operations],
            strict: false,
        }
    }

    async fn answers(queue: &mut Queue) -> Vec<String> {
        let mut answers = Vec::new();
        while !queue.is_idle() {
            answers.push(match queue.next().await.expect("a store") {
                Answer::Machine(answer) | Answer::WriteFailed(answer, _) => words(&answer),
                other @ (Answer::Shown(_) | Answer::Nothing) => format!("{other:?}"),
            });
        }
        answers
    }

    fn words(answer: &StoreAnswer) -> String {
        match answer {
            StoreAnswer::Written(id) => format!("written {}", id.0),
            StoreAnswer::WriteFailed { id, full } => format!("failed {} {full}", id.0),
            StoreAnswer::Read(id, bodies) => format!("read {} {}", id.0, bodies.len()),
            StoreAnswer::ReadFailed(id) => format!("read failed {}", id.0),
        }
    }

    #[tokio::test]
    async fn writes_are_grouped_and_stay_in_order() {
        let (mut queue, log) = queue(|_| false, false);
        for id in 0..MAX_GROUPED as u64 + 2 {
            queue.push(Job::Write(WriteId(id), batch(1)));
        }
        queue.push(Job::Read(ReadId(7), vec![BlockHash::new([1; 32])]));
        queue.push(Job::Write(WriteId(99), batch(1)));
        let answers = answers(&mut queue).await;
        assert_eq!(answers.len(), MAX_GROUPED + 4);
        assert_eq!(answers.first().map(String::as_str), Some("written 0"));
        assert_eq!(answers[MAX_GROUPED + 2..], ["read 7 1", "written 99"]);
        assert_eq!(*log.lock().expect("a log"), [MAX_GROUPED, 2, 0, 1]);
    }

    #[tokio::test]
    async fn failed_write_does_not_take_others_along() {
        let (mut queue, _) = queue(
            |batches| batches.iter().any(|batch| batch.operations.len() > 1),
            false,
        );
        for id in 0..3 {
            queue.push(Job::Write(WriteId(id), batch(1 + usize::from(id == 1))));
        }
        let expected = ["written 0", "failed 1 true", "written 2"];
        assert_eq!(answers(&mut queue).await, expected);
    }

    #[tokio::test]
    async fn full_queue_refuses_at_once() {
        let (mut queue, _) = queue(|_| false, false);
        for id in 0..=MAX_QUEUED as u64 {
            queue.push(Job::Write(WriteId(id), batch(1)));
        }
        let answers = answers(&mut queue).await;
        assert_eq!(answers.len(), MAX_QUEUED + 1);
        let refused = format!("failed {MAX_QUEUED} false");
        assert_eq!(answers.first(), Some(&refused), "the last one, at once");
        assert_eq!(
            answers
                .iter()
                .filter(|text| text.starts_with("failed"))
                .count(),
            1
        );
    }

    #[tokio::test]
    async fn panic_of_the_store_ends_the_queue() {
        let (mut queue, _) = queue(|_| false, true);
        queue.push(Job::Write(WriteId(0), batch(1)));
        assert_eq!(queue.next().await.err(), Some(StoreLost));
        assert_eq!(queue.next().await.err(), Some(StoreLost));
    }
}
