//! Waits for work on a database, but not for long.

use std::{future::Future, time::Duration};

use futures::{
    channel::oneshot,
    future::{Either, select},
};
use wasm_bindgen_futures::spawn_local;

use crate::clock;

/// The result of the work; `None` if it is late. Late work goes on: dropping it would drop the callbacks of its transactions, which
/// the browser calls all the same, and each such call is an uncaught error. Its result goes to `late`.
pub(super) async fn within<T: 'static>(
    limit: Duration,
    work: impl Future<Output = T> + 'static,
    late: impl FnOnce(T) + 'static,
) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    spawn_local(async move {
        // After the limit, no one waits.
        if let Err(result) = sender.send(work.await) {
            late(result);
        }
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
        let in_time = within(limit, async { 7 }, |_| panic!("it is not late"));
        assert_eq!(in_time.await, Some(7));
        let ended = Rc::new(Cell::new(None));
        let note = ended.clone();
        let working = async {
            clock::sleep(Duration::from_millis(60)).await;
            8
        };
        let late = within(limit, working, move |result| note.set(Some(result)));
        assert_eq!(late.await, None);
        clock::sleep(Duration::from_millis(100)).await;
        assert_eq!(ended.get(), Some(8), "it went on");
    }
}
