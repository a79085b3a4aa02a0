//! Nodes of this page that are on their way out: stopped, or canceled while they started. A node that starts waits for them,
//! so that it gets their slot and is the same peer again.

use std::{cell::RefCell, time::Duration};

use futures::{
    FutureExt as _,
    channel::oneshot,
    future::{Either, Shared, join_all, select},
};
use js_sys::Promise;
use wasm_bindgen::{JsCast as _, JsValue, closure::Closure};
use wasm_bindgen_futures::spawn_local;
use web_sys::AbortSignal;

use crate::clock;

/// The longest wait: a disk that does not answer keeps a node from leaving.
const MAX_WAIT: Duration = Duration::from_secs(4);

thread_local! {
    static LEAVING: RefCell<Vec<Shared<oneshot::Receiver<()>>>> = const { RefCell::new(Vec::new()) };
}

/// Runs a node's last work, for which later nodes wait. The future resolves when it is done.
pub(crate) fn leave(work: impl Future<Output = ()> + 'static) -> impl Future<Output = ()> {
    let (left, leaving) = oneshot::channel();
    let leaving = leaving.shared();
    LEAVING.with_borrow_mut(|all| {
        all.retain(|other| other.peek().is_none());
        all.push(leaving.clone());
    });
    spawn_local(async move {
        work.await;
        let _ = left.send(());
    });
    leaving.map(drop)
}

/// Waits until all nodes that are leaving have left, at most [`MAX_WAIT`].
pub(crate) async fn all_have_left() {
    let all = LEAVING.with_borrow(Clone::clone);
    if !all.is_empty() {
        select(join_all(all), clock::sleep(MAX_WAIT)).await;
    }
}

/// Runs a start until it ends or the signal aborts it.
///
/// # Errors
/// The signal's reason. The start then runs to its end in the background, and `undo` undoes what it has made.
pub(crate) async fn unless_aborted<T: 'static, F: Future<Output = ()> + 'static>(
    signal: Option<AbortSignal>,
    start: impl Future<Output = T> + 'static,
    undo: impl FnOnce(T) -> F + 'static,
) -> Result<T, JsValue> {
    let Some(signal) = signal else {
        return Ok(start.await);
    };
    if signal.aborted() {
        return Err(signal.reason());
    }
    let aborted = Aborted::new(&signal);
    match select(Box::pin(start), aborted).await {
        Either::Left((started, _)) => Ok(started),
        Either::Right(((), start)) => {
            drop(leave(async move { undo(start.await).await }));
            Err(signal.reason())
        }
    }
}

/// Resolves when a signal aborts. Stops listening when it is dropped.
struct Aborted {
    signal: AbortSignal,
    listener: Closure<dyn FnMut()>,
    aborted: oneshot::Receiver<()>,
}

impl Aborted {
    fn new(signal: &AbortSignal) -> Self {
        let (abort, aborted) = oneshot::channel();
        let mut abort = Some(abort);
        let listener = Closure::new(move || {
            if let Some(abort) = abort.take() {
                let _ = abort.send(());
            }
        });
        let listened = Self {
            signal: signal.clone(),
            listener,
            aborted,
        };
        // A signal accepts any listener.
        let _ = signal.add_event_listener_with_callback("abort", listened.callback());
        listened
    }

    fn callback(&self) -> &js_sys::Function {
        self.listener.as_ref().unchecked_ref()
    }
}

impl Future for Aborted {
    type Output = ();

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<()> {
        self.aborted.poll_unpin(context).map(drop)
    }
}

impl Drop for Aborted {
    fn drop(&mut self) {
        let _ = self
            .signal
            .remove_event_listener_with_callback("abort", self.callback());
    }
}

/// A promise of what a future resolves to.
pub(crate) fn promise_of(work: impl Future<Output = ()> + 'static) -> Promise {
    wasm_bindgen_futures::future_to_promise(async move {
        work.await;
        Ok(JsValue::UNDEFINED)
    })
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use wasm_bindgen_test::wasm_bindgen_test as test;
    use web_sys::AbortController;

    use super::*;

    #[test]
    async fn later_start_waits_for_nodes_that_leave() {
        let done = Rc::new(Cell::new(false));
        let finished = done.clone();
        let left = leave(async move {
            clock::sleep(Duration::from_millis(30)).await;
            finished.set(true);
        });
        all_have_left().await;
        assert!(done.get());
        left.await;
        all_have_left().await;
    }

    #[test]
    async fn aborted_start_is_undone() {
        let controller = AbortController::new().expect("a controller");
        let (finish, finished) = oneshot::channel::<u8>();
        let undone = Rc::new(Cell::new(0));
        let undo = {
            let undone = undone.clone();
            move |value: Option<u8>| async move { undone.set(value.unwrap_or_default()) }
        };
        let start = unless_aborted(Some(controller.signal()), finished.map(Result::ok), undo);
        let aborting = async {
            controller.abort();
        };
        let (result, ()) = futures::join!(start, aborting);
        let reason: js_sys::Error = result.expect_err("aborted").unchecked_into();
        assert_eq!(reason.name(), "AbortError");
        finish.send(7).expect("the start still runs");
        all_have_left().await;
        assert_eq!(undone.get(), 7);

        let never = |_: ()| async {};
        let late = unless_aborted(Some(controller.signal()), async {}, never).await;
        assert!(late.is_err(), "the signal was aborted before");
        let other = AbortController::new().expect("a controller");
        let fine = unless_aborted(Some(other.signal()), async { 5 }, |_| async {}).await;
        assert_eq!(fine.ok(), Some(5));
    }
}
