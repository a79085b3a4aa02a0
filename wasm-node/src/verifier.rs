//! Controls the verification worker from the page's thread: starts it when there is work, and ends it when it fails or is
//! late. Verifying happens in the worker; what waits for it, the queue in front of the machine decides.

use std::{future::poll_fn, rc::Rc, time::Duration};

use heartchain_chain::{content::ReadingForm, hash::RoomId, room::Room, time::MonotonicMillis};
use heartchain_peer::net::Backoff;
use heartchain_sync::{
    input_queue::{MAX_WAITING_INPUTS, VerifierTask, VerifierTaskId},
    verification::VerifiedBodies,
};
use js_sys::Uint8Array;
use wasm_bindgen::{JsCast as _, JsValue};

use crate::{
    clock::{self, millis, random_u64},
    worker::{Inbox, RunningWorker, field, message},
};

/// Waits before a failed verification worker is started again.
const VERIFIER_RESTART: &[Duration] = &[
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(300),
];

/// An event for the driver.
#[derive(Debug)]
pub(crate) enum Event {
    /// The worker completed a task. `None`: it could not read it.
    Verified(VerifierTaskId, Option<VerifiedBodies>),
    /// The worker failed. It completes none of its tasks.
    Failed,
}

/// How to start a verification worker.
#[derive(Clone, Debug)]
pub(crate) struct VerifierScript {
    /// The URL of the worker's script; without one everything is verified on the page's thread.
    url: Option<String>,
    /// The compiled wasm, so that the worker need not load it again.
    module: JsValue,
    room: RoomId,
    pub(crate) form: ReadingForm,
}

impl VerifierScript {
    /// Starts a worker. `on_message` gets the data of its messages, and `None` when it fails. `None` if there is no script, or
    /// the browser does not create the worker.
    pub(crate) fn start(
        &self,
        on_message: impl Fn(Option<&JsValue>) + Clone + 'static,
    ) -> Option<RunningWorker> {
        let room = Uint8Array::from(self.room.as_bytes().as_slice());
        let start = message([
            ("module", self.module.clone()),
            ("room", room.into()),
            ("sealed", (self.form == ReadingForm::Sealed).into()),
        ]);
        RunningWorker::start(self.url.as_ref()?, &start, on_message).ok()
    }
}

/// The verification worker and its restarts.
#[derive(Debug)]
pub(crate) struct Verifier {
    script: VerifierScript,
    running: Option<RunningWorker>,
    restart: Backoff,
    /// When a failed worker may be started again.
    restart_at: MonotonicMillis,
    /// The worker sends one message for each task.
    inbox: Rc<Inbox<Event>>,
}

impl Verifier {
    /// Creates a verifier for a room, whose worker's script is at `url`. Does not start the worker yet.
    pub(crate) fn new(url: Option<String>, module: JsValue, room: &Room) -> Self {
        Self {
            script: VerifierScript {
                url,
                module,
                room: room.id(),
                form: room.form(),
            },
            running: None,
            restart: Backoff::new(VERIFIER_RESTART),
            restart_at: MonotonicMillis::new(0),
            inbox: Rc::new(Inbox::new(MAX_WAITING_INPUTS)),
        }
    }

    /// How to start another such worker.
    pub(crate) const fn script(&self) -> &VerifierScript {
        &self.script
    }

    /// Whether there is a worker, or one can be started.
    pub(crate) fn is_available(&self) -> bool {
        self.script.url.is_some()
            && (self.running.is_some() || self.restart_at <= clock::monotonic())
    }

    /// Gives the worker a task. Returns `false` if there is no worker.
    pub(crate) fn verify(&mut self, task: &VerifierTask) -> bool {
        if self.running.is_none() && self.is_available() {
            self.start();
        }
        let Some(running) = &self.running else {
            return false;
        };
        running.post(&message([
            ("id", number(task.id).into()),
            ("bodies", Uint8Array::from(task.bytes.as_slice()).into()),
        ]));
        true
    }

    /// Ends the worker, which failed or is late. Another one may be started after a while.
    pub(crate) fn end(&mut self) {
        self.running = None;
        self.inbox.clear();
        let wait = self.restart.failed(random_u64());
        self.restart_at = clock::monotonic().saturating_add(millis(wait));
    }

    /// Waits for the next event. Cancel-safe: no event is lost if the future is dropped.
    pub(crate) async fn next(&mut self) -> Event {
        let event = poll_fn(|context| self.inbox.poll_next(context)).await;
        if let Event::Verified(..) = event {
            self.restart.reset();
        }
        event
    }

    fn start(&mut self) {
        let inbox = self.inbox.clone();
        self.running = self.script.start(move |data| {
            if let Some(event) = data.map_or(Some(Event::Failed), read_message) {
                inbox.push(event);
            }
        });
        if self.running.is_none() {
            self.end();
        }
    }
}

/// Reads a message that the worker posted; `None` if it is unknown.
fn read_message(data: &JsValue) -> Option<Event> {
    if field(data, "error").is_some() {
        return Some(Event::Failed);
    }
    let id = field(data, "id")?.as_f64()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates; ids count up from zero"
    )]
    let id = VerifierTaskId(id as u64);
    let verified = field(data, "verified");
    let bytes = verified.and_then(|bytes| bytes.dyn_into::<Uint8Array>().ok());
    let verified = bytes.and_then(|bytes| VerifiedBodies::from_own_thread(&bytes.to_vec()));
    Some(Event::Verified(id, verified))
}

/// A task's id as a JavaScript number. Ids count up from zero and never reach 2^53.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn number(task: VerifierTaskId) -> f64 {
    task.0 as f64
}
