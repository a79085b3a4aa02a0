//! The mining worker, seen from the page's thread: starts it when there is something to mine, hands it the
//! newest template, starts it again when it fails. Never hashes here, and never chooses what to mine.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use chain::{header::Header, time::MonotonicMillis};
use futures::task::AtomicWaker;
use js_sys::{Object, Reflect, Uint8Array};
use sync::seam::JobId;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{ErrorEvent, MessageEvent, Worker, WorkerOptions, WorkerType};

use crate::{
    clock::{self, Alarm, chance, millis},
    config,
    net::Backoff,
};

/// Messages of the worker that may wait to be read: it sends one a second, and one for each nonce.
const MAX_WAITING: usize = 64;

/// What the worker says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Event {
    /// It found a nonce.
    Found(JobId, u64),
    /// How fast it is, in hashes a second; `None` because it failed.
    Speed(Option<f64>),
}

/// The worker, or the place where it will be.
#[derive(Debug)]
pub(crate) struct Miner {
    /// Where its script is; without one nothing is mined here.
    url: Option<String>,
    /// The compiled wasm, so that the worker need not load it again.
    module: JsValue,
    running: Option<Running>,
    job: Option<(JobId, Header)>,
    /// Hashes a second that may be tried; `None`: as many as can be.
    limit: Option<u32>,
    restart: Backoff,
    /// Rings when a worker that failed may be started again.
    restart_alarm: Alarm,
    resting: bool,
    inbox: Rc<Inbox>,
}

/// What the worker said and nobody has read yet.
#[derive(Debug, Default)]
struct Inbox {
    messages: RefCell<VecDeque<Message>>,
    waker: AtomicWaker,
}

#[derive(Debug)]
enum Message {
    Ready,
    Found { id: f64, nonce: u64 },
    Progress { id: f64, hashes: f64, ms: f64 },
    Failed,
}

#[derive(Debug)]
struct Running {
    worker: Worker,
    ready: bool,
    // The worker calls these for as long as it lives.
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_error: Closure<dyn FnMut(ErrorEvent)>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.worker.set_onmessage(None);
        self.worker.set_onerror(None);
        self.worker.terminate();
    }
}

impl Miner {
    /// A miner whose worker's script is at `url`; nothing is started yet.
    pub(crate) fn new(url: Option<String>, module: JsValue) -> Self {
        Self {
            url,
            module,
            running: None,
            job: None,
            limit: None,
            restart: Backoff::new(config::MINER_RESTART),
            restart_alarm: Alarm::default(),
            resting: false,
            inbox: Rc::default(),
        }
    }

    /// Starts the worker before there is work: its script comes from the server of the page, which may be gone by then.
    pub(crate) fn prepare(&mut self) {
        if self.running.is_none() && !self.resting {
            self.start();
        }
    }

    /// Searches a nonce for this header, in place of any other.
    pub(crate) fn mine(&mut self, job: JobId, header: Header) {
        self.job = Some((job, header));
        self.prepare();
        self.order();
    }

    /// From now on tries so many hashes a second at most.
    pub(crate) fn limit(&mut self, limit: Option<u32>) {
        self.limit = limit;
        self.order_limit();
    }

    /// Searches no longer. The worker stays: the next template will come.
    pub(crate) fn stop(&mut self) {
        self.job = None;
        self.order();
    }

    /// What the worker says next. May be dropped and called again; nothing is lost.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            let message = self.inbox.messages.borrow_mut().pop_front();
            match message {
                Some(message) => {
                    if let Some(event) = self.on_message(&message) {
                        return event;
                    }
                }
                None => self.wait().await,
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
                    self.order_limit();
                }
                self.order();
                None
            }
            Message::Found { id, nonce } => {
                self.restart.reset();
                let (job, _) = self.job.take_if(|(job, _)| number(*job) == id)?;
                Some(Event::Found(job, nonce))
            }
            Message::Progress { id, hashes, ms } => {
                let current = self.job.is_some_and(|(job, _)| number(job) == id);
                (current && ms > 0.0).then(|| Event::Speed(Some(hashes * 1_000.0 / ms)))
            }
            Message::Failed => {
                self.rest(clock::monotonic());
                Some(Event::Speed(None))
            }
        }
    }

    /// Waits for a message, or for the end of a rest.
    async fn wait(&mut self) {
        let Self {
            inbox,
            restart_alarm,
            ..
        } = self;
        let message = std::future::poll_fn(|context| {
            inbox.waker.register(context.waker());
            if inbox.messages.borrow().is_empty() {
                std::task::Poll::Pending
            } else {
                std::task::Poll::Ready(())
            }
        });
        if let futures::future::Either::Right(_) =
            futures::future::select(message, restart_alarm).await
        {
            self.resting = false;
            if self.job.is_some() {
                self.start();
            }
        }
    }

    fn start(&mut self) {
        let Some(url) = &self.url else { return };
        // What an earlier worker said is about an earlier worker.
        self.inbox.messages.borrow_mut().clear();
        match Running::start(url, &self.module, &self.inbox) {
            Ok(running) => self.running = Some(running),
            // The reason is the browser's to print; here it is one more failure.
            Err(_) => self.rest(clock::monotonic()),
        }
    }

    fn rest(&mut self, now: MonotonicMillis) {
        self.running = None;
        self.resting = true;
        let wait = self.restart.failed(chance());
        self.restart_alarm.set(now.saturating_add(millis(wait)));
    }

    /// Tells a worker that listens how fast it may be.
    fn order_limit(&self) {
        if let Some(running) = self.running.as_ref().filter(|running| running.ready) {
            let limit = self.limit.map_or(JsValue::NULL, JsValue::from);
            running.post(&message([("limit", limit)]));
        }
    }

    /// Tells a worker that listens what there is to do.
    fn order(&self) {
        let Some(running) = self.running.as_ref().filter(|running| running.ready) else {
            return;
        };
        let order = match &self.job {
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
        running.post(&order);
    }
}

impl Running {
    fn start(url: &str, module: &JsValue, inbox: &Rc<Inbox>) -> Result<Self, JsValue> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        let worker = Worker::new_with_options(url, &options)?;
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new({
            let inbox = inbox.clone();
            move |event: MessageEvent| inbox.push(Message::read(&event.data()))
        });
        let on_error = Closure::<dyn FnMut(ErrorEvent)>::new({
            let inbox = inbox.clone();
            move |event: ErrorEvent| {
                // It is dealt with, so it is no uncaught error of the page's.
                event.prevent_default();
                inbox.push(Some(Message::Failed));
            }
        });
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        let running = Self {
            worker,
            ready: false,
            _on_message: on_message,
            _on_error: on_error,
        };
        running.post(&message([("module", module.clone())]));
        Ok(running)
    }

    fn post(&self, order: &JsValue) {
        // Only what cannot be cloned makes this fail, and all of this can be.
        let _ = self.worker.post_message(order);
    }
}

impl Inbox {
    fn push(&self, message: Option<Message>) {
        let mut messages = self.messages.borrow_mut();
        if let Some(message) = message
            && messages.len() < MAX_WAITING
        {
            messages.push_back(message);
            self.waker.wake();
        }
    }
}

impl Message {
    /// What the worker posted; `None` if it is nothing that we know.
    fn read(data: &JsValue) -> Option<Self> {
        let field = |name: &str| {
            Reflect::get(data, &name.into())
                .ok()
                .filter(|value| !value.is_undefined())
        };
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

fn message<const N: usize>(fields: [(&str, JsValue); N]) -> JsValue {
    let message = Object::new();
    for (name, value) in fields {
        // A plain object takes any field.
        let _ = Reflect::set(&message, &name.into(), &value);
    }
    message.into()
}

/// A job as the worker knows it. Jobs are counted up from zero, and never reach 2^53.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn number(job: JobId) -> f64 {
    job.0 as f64
}
