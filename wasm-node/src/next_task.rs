//! Learns when the browser begins its next task. Until then it neither draws nor handles input: what futures do meanwhile
//! is part of the same task. So all long work of a thread shares the time of a task: an answer of the disk may wake the
//! driver, which wakes an import, and together they must not take longer than one of them.
//!
//! A message through a channel arrives in a task of its own. Unlike a timer, it is not delayed in a hidden tab.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use heartchain_chain::time::MonotonicMillis;
use wasm_bindgen::{JsCast as _, JsValue, closure::Closure};
use web_sys::{MessageChannel, MessagePort};

use crate::clock;

/// In ms. Work that is done in a task before the browser gets its turn: half a frame.
const MAX_WORK_MS: u64 = 8;

thread_local! {
    /// The work of the task that runs. `None` if the browser has no message channels.
    static CURRENT: Option<CurrentTask> = CurrentTask::new();
}

/// When the work of a task began, whichever part of the node began it.
struct CurrentTask {
    /// `None` before the first work.
    began: Rc<Cell<Option<MonotonicMillis>>>,
    next_task: NextTask,
}

impl CurrentTask {
    fn new() -> Option<Self> {
        let began = Rc::new(Cell::new(None));
        let next_task = NextTask::calling({
            let began = began.clone();
            move || began.set(None)
        })?;
        Some(Self { began, next_task })
    }

    /// Whether the work of this task has taken long enough. The first call begins it.
    fn is_used_up(&self) -> bool {
        let now = clock::monotonic();
        let Some(began) = self.began.get() else {
            self.began.set(Some(now));
            self.next_task.request();
            return false;
        };
        now.since(began) >= MAX_WORK_MS
    }

    /// Another task has begun.
    fn ended(&self) {
        self.began.set(None);
    }
}

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
        Self::calling(|| ())
    }

    /// Calls a function whenever a task begins that was requested, before it wakes anything.
    fn calling(on_begin: impl Fn() + 'static) -> Option<Self> {
        let channel = MessageChannel::new().ok()?;
        let state = Rc::new(RefCell::new(State::default()));
        let on_message = {
            let state = state.clone();
            Closure::new(move || {
                on_begin();
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
}

impl Pauses {
    pub(crate) fn new() -> Self {
        let end_task = || CURRENT.with(|task| task.iter().for_each(CurrentTask::ended));
        Self {
            next_task: NextTask::calling(end_task),
        }
    }

    /// Whether the work in this task, of this and of all others, has taken long enough.
    pub(crate) fn is_due(&self) -> bool {
        CURRENT.with(|task| task.as_ref().is_some_and(CurrentTask::is_used_up))
    }

    /// Waits for the next task, if [`Self::is_due`]. Called before each piece of work, so that what was done before counts.
    pub(crate) async fn pause_if_due(&mut self) {
        if self.is_due()
            && let Some(next_task) = &self.next_task
        {
            next_task.begun().await;
            // The work of the new task begins now.
            self.is_due();
        }
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

    /// Works until the time of a task is used up.
    fn work() {
        let began = clock::monotonic();
        while clock::monotonic().since(began) <= MAX_WORK_MS {}
    }

    #[test]
    async fn long_work_is_paused() {
        let mut pauses = Pauses::new();
        pauses.pause_if_due().await;
        assert!(!pauses.is_due(), "little was done");
        work();
        let next_task = NextTask::new().expect("a browser");
        next_task.request();
        pauses.pause_if_due().await;
        assert!(next_task.has_begun());
        assert!(!pauses.is_due(), "another task has begun");
    }

    #[test]
    async fn work_after_a_pause_counts() {
        let mut pauses = Pauses::new();
        pauses.pause_if_due().await;
        work();
        pauses.pause_if_due().await;
        work();
        assert!(pauses.is_due());
    }

    #[test]
    async fn time_of_a_task_is_shared() {
        let (mut first, mut second) = (Pauses::new(), Pauses::new());
        first.pause_if_due().await;
        work();
        let next_task = NextTask::new().expect("a browser");
        next_task.request();
        second.pause_if_due().await;
        assert!(next_task.has_begun(), "the first one used the task up");
    }

    #[test]
    async fn task_without_pause_ends_too() {
        let pauses = Pauses::new();
        pauses.is_due();
        work();
        assert!(pauses.is_due());
        clock::sleep(std::time::Duration::from_millis(1)).await;
        assert!(!pauses.is_due());
    }
}
