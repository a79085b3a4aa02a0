//! Locks for browsers without Web Locks, as over plain http from another machine: an open connection to a database. A
//! browser upgrades a database only while no other page is connected to it, and a connection ends with its page, even
//! after a crash. So a page that has upgraded a lock's database, and keeps the connection, holds the lock. A frozen page keeps
//! it, too: nothing depends on timers or answers.

use std::{cell::Cell, rc::Rc, time::Duration};

use futures::{
    channel::oneshot,
    future::{Either, select},
};
use idb::{Database, Factory};
use wasm_bindgen_futures::spawn_local;

use super::health::Reason;
use crate::clock;

/// Attempts to take a lock that another page has just taken or given back, and the pause between two of them.
const MAX_RETRIES: usize = 25;
const RETRY: Duration = Duration::from_millis(20);

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(super) struct DatabaseLock(Database);

impl Drop for DatabaseLock {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The name of a lock's database.
pub(super) fn database_of(lock: &str) -> String {
    format!("{lock}/lock")
}

/// Takes a lock. With `wait`, a lock that another page holds may become free within `limit`. `None` if it is held.
///
/// # Errors
/// If the browser has no databases here.
pub(super) async fn take(
    name: &str,
    wait: bool,
    limit: Duration,
) -> Result<Option<DatabaseLock>, Reason> {
    let (sender, receiver) = oneshot::channel();
    let name = database_of(name);
    let (blocked, is_blocked) = oneshot::channel::<()>();
    // A request cannot be canceled: it is answered when the other page is gone. The lock is then given back.
    spawn_local(async move {
        let blocked = Rc::new(Cell::new(Some(blocked)));
        let mut taken = open(&name, &blocked).await;
        // Requests of tabs that have given up are granted first, and these tabs give the lock back at once.
        for _ in 0..MAX_RETRIES {
            if !matches!(taken, Ok(None)) || sender.is_canceled() {
                break;
            }
            clock::sleep(RETRY).await;
            taken = open(&name, &blocked).await;
        }
        let _ = sender.send(taken);
    });
    let blocked = async {
        // The sender is dropped once the last attempt has ended.
        if wait || is_blocked.await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let given_up = select(Box::pin(blocked), Box::pin(clock::sleep(limit)));
    match select(receiver, given_up).await {
        Either::Left((Ok(taken), _)) => taken,
        Either::Left((Err(_), _)) => Err(Reason::NoDatabase),
        Either::Right(_) => Ok(None),
    }
}

/// Connects to the lock's database and upgrades it. `None` if another page did so at the same time.
async fn open(
    name: &str,
    blocked: &Rc<Cell<Option<oneshot::Sender<()>>>>,
) -> Result<Option<DatabaseLock>, Reason> {
    let factory = Factory::new().map_err(|_| Reason::NoDatabase)?;
    let opening = factory.open(name, None).map_err(|_| Reason::Blocked)?;
    let found = opening.await.map_err(|_| Reason::Blocked)?;
    let version = found.version();
    found.close();
    let next = version.map_err(|_| Reason::Blocked)?.saturating_add(1);
    let mut upgrading = factory
        .open(name, Some(next))
        .map_err(|_| Reason::Blocked)?;
    let upgraded = Rc::new(Cell::new(false));
    let mark = upgraded.clone();
    upgrading.on_upgrade_needed(move |_| mark.set(true));
    let blocked = blocked.clone();
    upgrading.on_blocked(move |_| {
        if let Some(blocked) = blocked.take() {
            let _ = blocked.send(());
        }
    });
    // An older version than the current one is refused: another page has upgraded the database in between.
    let Ok(database) = upgrading.await else {
        return Ok(None);
    };
    let lock = DatabaseLock(database);
    Ok(upgraded.get().then_some(lock))
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(2);

    async fn try_take(name: &str) -> Option<DatabaseLock> {
        take(name, false, LIMIT).await.expect("a database")
    }

    #[test]
    async fn lock_is_held_by_one_page() {
        let name = "database lock, one";
        let first = try_take(name).await.expect("it is free");
        assert!(try_take(name).await.is_none());
        assert!(try_take(name).await.is_none());
        drop(first);
        let waited = take(name, true, LIMIT).await.expect("a database");
        assert!(waited.is_some(), "it is free again");
    }

    #[test]
    async fn only_one_of_many_at_once_gets_the_lock() {
        let name = "database lock, many";
        let all = futures::future::join_all((0..8).map(|_| try_take(name))).await;
        assert_eq!(all.iter().flatten().count(), 1);
    }

    #[test]
    async fn waiting_for_a_lock_ends() {
        let name = "database lock, waiting";
        let _held = try_take(name).await.expect("it is free");
        let started = clock::monotonic();
        let waited = take(name, true, Duration::from_millis(50)).await;
        assert!(waited.expect("a database").is_none());
        assert!(clock::monotonic().get() - started.get() >= 50);
    }
}
