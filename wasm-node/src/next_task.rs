//! Learns when the browser begins its next task. Until then it neither draws nor handles input: what futures do meanwhile
//! is part of the same task.
//!
//! A message through a channel arrives in a task of its own. Unlike a timer, it is not delayed in a hidden tab.

use std::{
    cell::RefCell,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use heartchain_chain::time::MonotonicMillis;
use wasm_bindgen::{JsCast as _, JsValue, closure::Closure};
use web_sys::{MessageChannel, MessagePort};

use crate::clock;

/// In ms. Work that is done before the browser gets its turn. What the browser does in between takes time, too, so shorter
/// turns would make long work longer.
const MAX_WORK_MS: u64 = 16;

/// Tells when the next task has begun.
pub(crate) struct NextTask {
    sender: MessagePort,
    receiver: MessagePort,
    state: Rc<RefCell<State>>,
    _on_message: Closure<dyn FnMut()>,
}

#[derive(Debug, Default)]
struct State {
    is_requested: bool,
    has_begun: bool,
    waker: Option<Waker>,
}

impl NextTask {
    /// `None` if the browser has no message channels.
    pub(crate) fn new() -> Option<Self> {
        let channel = MessageChannel::new().ok()?;
        let state = Rc::new(RefCell::new(State::default()));
        let on_message = {
            let state = state.clone();
            Closure::new(move || {
                let waker = {
                    let mut state = state.borrow_mut();
                    state.is_requested = false;
                    state.has_begun = true;
                    state.waker.take()
                };
                if let Some(waker) = waker {
                    waker.wake();
                }
            })
        };
        let receiver = channel.port1();
        receiver.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        Some(Self {
            sender: channel.port2(),
            receiver,
            state,
            _on_message: on_message,
        })
    }

    /// Requests to be told when the next task begins.
    pub(crate) fn request(&self) {
        let mut state = self.state.borrow_mut();
        // Posting fails only for values that cannot be copied.
        if !state.is_requested && self.sender.post_message(&JsValue::NULL).is_ok() {
            state.is_requested = true;
        }
    }

    /// Whether another task has begun since the request. Returns it once.
    pub(crate) fn has_begun(&self) -> bool {
        std::mem::take(&mut self.state.borrow_mut().has_begun)
    }

    /// Wakes the caller when the next task begins.
    pub(crate) fn wake(&self, context: &Context<'_>) {
        self.request();
        self.state.borrow_mut().waker = Some(context.waker().clone());
    }

    /// Waits until the next task has begun.
    async fn begun(&self) {
        poll_fn(|context| {
            if self.has_begun() {
                return Poll::Ready(());
            }
            self.wake(context);
            Poll::Pending
        })
        .await;
    }
}

/// Pauses long work, so that the browser can draw and handle input.
pub(crate) struct Pauses {
    /// `None` if the browser has no message channels: then there are no pauses.
    next_task: Option<NextTask>,
    began: MonotonicMillis,
}

impl Pauses {
    /// The work begins now.
    pub(crate) fn new() -> Self {
        Self {
            next_task: NextTask::new(),
            began: clock::monotonic(),
        }
    }

    /// The work begins now, after a wait for something else.
    pub(crate) fn restart(&mut self) {
        self.began = clock::monotonic();
    }

    /// Whether the work since the last pause has taken long enough.
    pub(crate) fn is_due(&self) -> bool {
        clock::monotonic().since(self.began) >= MAX_WORK_MS
    }

    /// Waits for the next task, if [`Self::is_due`].
    pub(crate) async fn pause_if_due(&mut self) {
        if !self.is_due() {
            return;
        }
        if let Some(next_task) = &self.next_task {
            next_task.begun().await;
        }
        self.began = clock::monotonic();
    }
}

impl Drop for NextTask {
    fn drop(&mut self) {
        self.receiver.set_onmessage(None);
        self.receiver.close();
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    async fn next_task_begins_after_the_current_one() {
        let next_task = NextTask::new().expect("a browser");
        for _ in 0..3 {
            next_task.request();
            next_task.request();
            // A promise that is resolved runs in the same task.
            let resolved = js_sys::Promise::resolve(&JsValue::NULL);
            assert!(wasm_bindgen_futures::JsFuture::from(resolved).await.is_ok());
            assert!(!next_task.has_begun());
            next_task.begun().await;
            assert!(!next_task.has_begun(), "told once");
        }
    }

    #[test]
    async fn long_work_is_paused() {
        let next_task = NextTask::new().expect("a browser");
        let mut pauses = Pauses::new();
        next_task.request();
        pauses.pause_if_due().await;
        assert!(!next_task.has_begun(), "little was done");
        let began = clock::monotonic();
        while clock::monotonic().since(began) <= MAX_WORK_MS {}
        pauses.pause_if_due().await;
        assert!(next_task.has_begun());
    }
}
