//! Whether a database is still open. Browsers close one under a tab: when its site data is cleared, when it is deleted in
//! the developer tools, when its files are damaged, and when a newer version of the page upgrades it. Never reopens one.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

/// Who closed a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// The browser, or somebody who deletes the database.
    Browser,
    /// A newer version of the page, which upgrades the database.
    NewerVersion,
}

/// Tells that a connection was closed. One task at a time may wait for it.
#[derive(Debug, Default)]
pub struct Closing {
    by: Cell<Option<ClosedBy>>,
    waiting: RefCell<Option<Waker>>,
}

impl Closing {
    pub(super) fn new() -> Rc<Self> {
        Rc::default()
    }

    /// Notes that the connection is closed. What was noted first stays.
    pub(super) fn note(&self, by: ClosedBy) {
        if self.by.get().is_some() {
            return;
        }
        self.by.set(Some(by));
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Who closed it, if it is closed.
    pub(super) fn closed(&self) -> Option<ClosedBy> {
        self.by.get()
    }

    /// Waits until it is closed.
    pub(super) async fn wait(&self) -> ClosedBy {
        poll_fn(|context| match self.by.get() {
            Some(by) => Poll::Ready(by),
            None => {
                self.waiting.replace(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::join};
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    async fn a_closed_connection_is_noticed_at_once() {
        let closing = Closing::new();
        assert_eq!(closing.closed(), None);
        assert_eq!(closing.wait().now_or_never(), None);
        let close = async { closing.note(ClosedBy::NewerVersion) };
        let (by, ()) = join(closing.wait(), close).await;
        assert_eq!(by, ClosedBy::NewerVersion);
        closing.note(ClosedBy::Browser);
        assert_eq!(closing.closed(), Some(ClosedBy::NewerVersion));
    }
}
