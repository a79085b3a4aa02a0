//! Waits for work on a database, but not for long.

use std::{cell::Cell, future::Future, rc::Rc, time::Duration};

use futures::{
    FutureExt as _,
    channel::oneshot,
    future::{Either, LocalBoxFuture, select},
};
use wasm_bindgen_futures::spawn_local;

use crate::clock;

/// Once this much work of the page is late, no more is begun: only a browser that is stuck is late with so much.
const MAX_LATE: usize = 16;

thread_local! {
    /// How much work is late now.
    static LATE: Cell<usize> = const { Cell::new(0) };
}

/// The result of the work; `None` if it is late, or is not begun because [`MAX_LATE`] others are. Late work goes on: dropping it
/// would drop the callbacks of its transactions, which the browser calls all the same, and each such call is an uncaught error. Its
/// result goes to `late`.
pub(super) async fn within<T: 'static>(
    limit: Duration,
    work: impl Future<Output = T> + 'static,
    late: impl FnOnce(T) + 'static,
) -> Option<T> {
    if LATE.get() >= MAX_LATE {
        return None;
    }
    let (sender, mut receiver) = oneshot::channel();
    let working = async move {
        // After the limit, no one waits.
        if let Err(result) = sender.send(work.await) {
            late(result);
        }
    };
    match ends_within(limit, working.boxed_local()).await {
        true => receiver.try_recv().ok().flatten(),
        false => None,
    }
}

/// Whether the work ends in time. Apart, because each kind of work has a copy of [`within`] in the wasm.
async fn ends_within(limit: Duration, work: LocalBoxFuture<'static, ()>) -> bool {
    let (ended, has_ended) = oneshot::channel();
    let is_counted = Rc::new(Cell::new(false));
    let was_counted = is_counted.clone();
    spawn_local(async move {
        work.await;
        if was_counted.get() {
            LATE.set(LATE.get() - 1);
        }
        let _ = ended.send(());
    });
    match select(has_ended, clock::sleep(limit)).await {
        Either::Left(_) => true,
        Either::Right(_) => {
            is_counted.set(true);
            LATE.set(LATE.get() + 1);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
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

    #[test]
    async fn stuck_browser_gets_no_more_work() {
        let limit = Duration::from_millis(1);
        let (unstick, is_stuck) = oneshot::channel::<()>();
        let is_stuck = is_stuck.shared();
        let all = (0..MAX_LATE).map(|_| within(limit, is_stuck.clone(), drop));
        assert!(join_all(all).await.iter().all(Option::is_none));
        let work = async { unreachable!("it is not begun") };
        assert_eq!(within::<()>(limit, work, drop).await, None);

        unstick.send(()).expect("work waits for it");
        clock::sleep(Duration::from_millis(20)).await;
        assert_eq!(within(limit, async { 7 }, drop).await, Some(7));
        assert_eq!(LATE.get(), 0);
    }
}
