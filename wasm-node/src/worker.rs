//! A worker of the browser: starts its script, posts to it, and passes on its messages and its failure. Knows no message.

use std::{
    cell::RefCell,
    collections::VecDeque,
    task::{Context, Poll},
};

use futures::task::AtomicWaker;
use js_sys::{Object, Reflect};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{ErrorEvent, MessageEvent, Worker, WorkerOptions, WorkerType};

/// A worker that runs. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct RunningWorker {
    worker: Worker,
    // The worker calls these for as long as it lives.
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_error: Closure<dyn FnMut(ErrorEvent)>,
}

impl RunningWorker {
    /// Starts the module at `url` and posts the `first` message. `on_message` gets the data of its messages, and `None` when it
    /// fails.
    ///
    /// # Errors
    /// If the browser does not create the worker. It prints the reason on the console.
    pub(crate) fn start(
        url: &str,
        first: &JsValue,
        on_message: impl Fn(Option<&JsValue>) + Clone + 'static,
    ) -> Result<Self, JsValue> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        let worker = Worker::new_with_options(url, &options)?;
        let on_error = Closure::<dyn FnMut(ErrorEvent)>::new({
            let on_message = on_message.clone();
            move |event: ErrorEvent| {
                // The error is handled, so the browser must not report it as uncaught.
                event.prevent_default();
                on_message(None);
            }
        });
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            on_message(Some(&event.data()));
        });
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        let running = Self {
            worker,
            _on_message: on_message,
            _on_error: on_error,
        };
        running.post(first);
        Ok(running)
    }

    pub(crate) fn post(&self, message: &JsValue) {
        // This fails only for values that cannot be cloned, and the messages contain none.
        let _ = self.worker.post_message(message);
    }
}

impl Drop for RunningWorker {
    fn drop(&mut self) {
        self.worker.set_onmessage(None);
        self.worker.set_onerror(None);
        self.worker.terminate();
    }
}

/// Messages of a worker that are not handled yet.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    messages: RefCell<VecDeque<T>>,
    waker: AtomicWaker,
    limit: usize,
}

impl<T> Inbox<T> {
    /// An empty inbox. Messages beyond the limit are dropped.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            messages: RefCell::default(),
            waker: AtomicWaker::new(),
            limit,
        }
    }

    pub(crate) fn push(&self, message: T) {
        let mut messages = self.messages.borrow_mut();
        if messages.len() < self.limit {
            messages.push_back(message);
            self.waker.wake();
        }
    }

    /// Takes the oldest message, or wakes the caller when there is one.
    pub(crate) fn poll_next(&self, context: &Context<'_>) -> Poll<T> {
        self.waker.register(context.waker());
        let message = self.messages.borrow_mut().pop_front();
        message.map_or(Poll::Pending, Poll::Ready)
    }

    /// Forgets the messages of a worker that has ended.
    pub(crate) fn clear(&self) {
        self.messages.borrow_mut().clear();
    }
}

/// A message with these fields.
pub(crate) fn message<const N: usize>(fields: [(&str, JsValue); N]) -> JsValue {
    let message = Object::new();
    for (name, value) in fields {
        // A plain object accepts any field.
        let _ = Reflect::set(&message, &name.into(), &value);
    }
    message.into()
}

/// A field of a message; `None` if it is missing.
pub(crate) fn field(message: &JsValue, name: &str) -> Option<JsValue> {
    Reflect::get(message, &name.into())
        .ok()
        .filter(|value| !value.is_undefined())
}
