//! Waits for work on a database, but not for long.

use std::{future::Future, time::Duration};

use futures::{
    channel::oneshot,
    future::{Either, select},
};
use wasm_bindgen_futures::spawn_local;

use crate::clock;

/// The result of the work; `None` if it is late. Late work goes on: dropping it would drop the callbacks of its transactions, which
/// the browser calls all the same, and each such call is an uncaught error.
pub(super) async fn within<T: 'static>(
    limit: Duration,
    work: impl Future<Output = T> + 'static,
) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    spawn_local(async move {
        // After the limit, no one waits.
        let _ = sender.send(work.await);
    });
    match select(receiver, clock::sleep(limit)).await {
        Either::Left((done, _)) => done.ok(),
        Either::Right(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    async fn late_work_is_not_dropped() {
        let limit = Duration::from_millis(20);
        assert_eq!(within(limit, async { 7 }).await, Some(7));
        let ended = Rc::new(Cell::new(false));
        let note = ended.clone();
        let late = within(limit, async move {
            clock::sleep(Duration::from_millis(60)).await;
            note.set(true);
        });
        assert_eq!(late.await, None);
        clock::sleep(Duration::from_millis(100)).await;
        assert!(ended.get(), "it went on");
    }
}
