//! A signal that a database was closed. Browsers close a database while a tab uses it: when site data is cleared, when
//! the database is deleted in the developer tools, when its files are corrupt, and when a newer version of the page
//! upgrades it. Never reopens a database.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

/// Who closed a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// The browser, or a deletion of the database.
    Browser,
    /// A newer version of the page, to upgrade the database.
    NewerVersion,
}

/// Reports that a connection was closed. At most one task may wait for it at a time.
#[derive(Debug, Default)]
pub struct CloseSignal {
    by: Cell<Option<ClosedBy>>,
    waiting: RefCell<Option<Waker>>,
}

impl CloseSignal {
    pub(super) fn new() -> Rc<Self> {
        Rc::default()
    }

    /// Reports that the connection is closed. Only the first report counts.
    pub(super) fn set(&self, by: ClosedBy) {
        if self.by.get().is_some() {
            return;
        }
        self.by.set(Some(by));
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Who closed the connection, if it is closed.
    pub(super) fn closed(&self) -> Option<ClosedBy> {
        self.by.get()
    }

    /// Waits until the connection is closed.
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
    async fn close_is_noticed_at_once() {
        let close_signal = CloseSignal::new();
        assert_eq!(close_signal.closed(), None);
        assert_eq!(close_signal.wait().now_or_never(), None);
        let close = async { close_signal.set(ClosedBy::NewerVersion) };
        let (by, ()) = join(close_signal.wait(), close).await;
        assert_eq!(by, ClosedBy::NewerVersion);
        close_signal.set(ClosedBy::Browser);
        assert_eq!(close_signal.closed(), Some(ClosedBy::NewerVersion));
    }
}
