//! Controls the mining worker from the page's thread: starts it, sends it the newest block template, and restarts it
//! after a failure. Hashing happens in the worker, and the machine chooses what to mine.

use std::{future::poll_fn, rc::Rc, time::Duration};

use futures::future::{Either, select};
use heartchain_chain::{hash::RoomId, header::Header, time::MonotonicMillis};
use heartchain_peer::net::Backoff;
use heartchain_sync::{driver, io::JobId};
use js_sys::Uint8Array;
use wasm_bindgen::JsValue;

use crate::{
    clock::{self, Alarm, millis, random_u64},
    worker::{Inbox, RunningWorker, field, message},
};

/// Waits before a failed mining worker is restarted.
const MINER_RESTART: &[Duration] = &[
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
];

/// Unread messages of the worker that are kept: it sends one per second, and one for each nonce.
const MAX_UNREAD: usize = 64;

/// An event for the driver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Event {
    /// The worker found a nonce that solves the job.
    Found(JobId, u64),
    /// The worker's speed in hashes per second.
    Speed(f64),
    /// The worker failed, or `None`: it works again.
    Fault(Option<MinerFault>),
}

/// Why this tab cannot mine. It tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MinerFault {
    /// The browser has no workers here, or does not allow this one.
    NoWorker,
    /// The worker's script could not be loaded, or failed before it was ready.
    NotLoaded,
    /// The worker failed while it mined.
    Crashed,
}

impl MinerFault {
    /// The name in `status().minerError`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NoWorker => "no-worker",
            Self::NotLoaded => "not-loaded",
            Self::Crashed => "crashed",
        }
    }
}

/// The mining worker and its restarts.
#[derive(Debug)]
pub(crate) struct Miner {
    /// The URL of the worker's script; without one this tab does not mine.
    url: Option<String>,
    /// The compiled wasm, so that the worker need not load it again.
    module: JsValue,
    /// The name of the Web Lock under which the tabs of this browser mine in turns.
    lock: String,
    running: Option<Running>,
    job: Option<(JobId, Header)>,
    /// The most hashes per second that the worker tries; `None` is unlimited.
    limit: Option<u32>,
    restart: Backoff,
    /// Fires when a failed worker may be restarted.
    restart_alarm: Alarm,
    /// Whether the worker failed and the restart is not due yet.
    backing_off: bool,
    /// Why the worker failed; `None` once it is ready.
    fault: Option<MinerFault>,
    inbox: Rc<Inbox<Message>>,
}

#[derive(Debug)]
enum Message {
    Ready,
    Found {
        id: f64,
        nonce: u64,
    },
    Progress {
        id: f64,
        hashes: f64,
        ms: f64,
    },
    Failed,
    /// The browser did not create the worker.
    NoWorker,
}

#[derive(Debug)]
struct Running {
    worker: RunningWorker,
    ready: bool,
}

impl Miner {
    /// Creates a miner for a room, whose worker's script is at `url`. Does not start the worker yet.
    pub(crate) fn new(url: Option<String>, module: JsValue, room: RoomId) -> Self {
        Self {
            url,
            module,
            lock: format!("heartchain/{room}/mining"),
            running: None,
            job: None,
            limit: None,
            restart: Backoff::new(MINER_RESTART),
            restart_alarm: Alarm::default(),
            backing_off: false,
            fault: None,
            inbox: Rc::new(Inbox::new(MAX_UNREAD)),
        }
    }

    /// Starts the worker before there is a job: its script comes from the page's server, which may be gone later.
    pub(crate) fn prepare(&mut self) {
        if self.running.is_none() && !self.backing_off {
            self.start();
        }
    }

    /// Limits the hashes per second from now on; `None` is unlimited.
    pub(crate) fn limit(&mut self, limit: Option<u32>) {
        self.limit = limit;
        self.send_limit();
    }

    /// Waits for the next event. Cancel-safe: no event is lost if the future is dropped.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            let message = self.next_message().await;
            if let Some(event) = message.and_then(|message| self.on_message(&message)) {
                return event;
            }
        }
    }

    fn on_message(&mut self, message: &Message) -> Option<Event> {
        match *message {
            Message::Ready => {
                if let Some(running) = &mut self.running {
                    running.ready = true;
                }
                if self.limit.is_some() {
                    self.send_limit();
                }
                self.send_job();
                self.fault.take().map(|_| Event::Fault(None))
            }
            Message::Found { id, nonce } => {
                self.restart.reset();
                let (job, _) = self.job.take_if(|(job, _)| number(*job) == id)?;
                Some(Event::Found(job, nonce))
            }
            Message::Progress { id, hashes, ms } => {
                let current = self.job.is_some_and(|(job, _)| number(job) == id);
                (current && ms > 0.0).then(|| Event::Speed(hashes * 1_000.0 / ms))
            }
            Message::Failed => {
                let was_ready = self.running.as_ref().is_some_and(|running| running.ready);
                Some(self.on_failure(if was_ready {
                    MinerFault::Crashed
                } else {
                    MinerFault::NotLoaded
                }))
            }
            Message::NoWorker => Some(self.on_failure(MinerFault::NoWorker)),
        }
    }

    fn on_failure(&mut self, fault: MinerFault) -> Event {
        self.schedule_restart(clock::monotonic());
        self.fault = Some(fault);
        Event::Fault(self.fault)
    }

    /// Waits for a message, or until a failed worker was started again.
    async fn next_message(&mut self) -> Option<Message> {
        let message = poll_fn(|context| self.inbox.poll_next(context));
        match select(message, &mut self.restart_alarm).await {
            Either::Left((message, _)) => Some(message),
            Either::Right(_) => {
                self.backing_off = false;
                if self.job.is_some() {
                    self.start();
                }
                None
            }
        }
    }

    fn start(&mut self) {
        let Some(url) = &self.url else { return };
        // These messages came from the previous worker.
        self.inbox.clear();
        let start = message([
            ("module", self.module.clone()),
            ("lock", self.lock.as_str().into()),
        ]);
        let inbox = self.inbox.clone();
        let started = RunningWorker::start(url, &start, move |data| {
            if let Some(message) = data.map_or(Some(Message::Failed), Message::read) {
                inbox.push(message);
            }
        });
        match started {
            Ok(worker) => {
                let ready = false;
                self.running = Some(Running { worker, ready });
            }
            // The browser prints the reason on the console.
            Err(_) => {
                self.backing_off = true;
                self.inbox.push(Message::NoWorker);
            }
        }
    }

    fn schedule_restart(&mut self, now: MonotonicMillis) {
        self.running = None;
        self.backing_off = true;
        let wait = self.restart.failed(random_u64());
        self.restart_alarm.set(now.saturating_add(millis(wait)));
    }

    /// Sends the limit to the worker if it is ready.
    fn send_limit(&self) {
        if let Some(running) = self.running.as_ref().filter(|running| running.ready) {
            let limit = self.limit.map_or(JsValue::NULL, JsValue::from);
            running.worker.post(&message([("limit", limit)]));
        }
    }

    /// Sends the job, or the order to stop, to the worker if it is ready.
    fn send_job(&self) {
        let Some(running) = self.running.as_ref().filter(|running| running.ready) else {
            return;
        };
        let message = match &self.job {
            Some((job, header)) => message([
                ("id", number(*job).into()),
                (
                    "header",
                    Uint8Array::from(header.to_bytes().as_slice()).into(),
                ),
                ("start", header.nonce.to_string().into()),
            ]),
            None => message([("stop", true.into())]),
        };
        running.worker.post(&message);
    }
}

impl driver::Miner for Miner {
    fn mine(&mut self, job: JobId, header: Header) {
        self.job = Some((job, header));
        self.prepare();
        self.send_job();
    }

    /// The worker keeps running, ready for the next template.
    fn stop(&mut self) {
        self.job = None;
        self.send_job();
    }
}

impl Message {
    /// Parses a message that the worker posted; `None` if it is unknown.
    fn read(data: &JsValue) -> Option<Self> {
        let field = |name| field(data, name);
        if field("error").is_some() {
            return Some(Self::Failed);
        }
        if field("ready").is_some() {
            return Some(Self::Ready);
        }
        let id = field("id")?.as_f64()?;
        if let Some(nonce) = field("nonce") {
            return Some(Self::Found {
                id,
                nonce: nonce.as_string()?.parse().ok()?,
            });
        }
        Some(Self::Progress {
            id,
            hashes: field("hashes")?.as_f64()?,
            ms: field("ms")?.as_f64()?,
        })
    }
}

/// A job's id as a JavaScript number. Ids count up from zero and never reach 2^53.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn number(job: JobId) -> f64 {
    job.0 as f64
}
