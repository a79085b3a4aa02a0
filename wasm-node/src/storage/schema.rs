//! The database's versions: what stores there are, how an older database becomes one of today, and what is done with
//! one that is neither. Reads and writes no record but to save what cannot be fetched again.

use std::{future::IntoFuture, time::Duration};

use futures::{
    channel::oneshot,
    future::{Either, select, try_join},
};
use idb::{
    Database, DatabaseEvent as _, Event as _, Factory, ObjectStoreParams, Request as _,
    Transaction, TransactionMode, event::VersionChangeEvent,
};
use wasm_bindgen::{JsCast, closure::Closure};
use wasm_bindgen_futures::spawn_local;
use web_sys::IdbDatabase;

use super::{Reason, StoreError};
use crate::{clock, config};

/// The first key, twice: nobody else has it. And the best tip.
pub(super) const META: &str = "meta";
/// Keys that took over, by the first journal entry that each signs.
pub(super) const KEYS: &str = "keys";
/// One's own readings, by their positions.
pub(super) const JOURNAL: &str = "journal";
/// Hashes of blocks whose readings have yet to return to the mempool.
pub(super) const RESCUE: &str = "rescue";
/// Blocks, by height and hash.
pub(super) const BLOCKS: &str = "blocks";
/// Settled blocks, many in one record, by the height of the first.
pub(super) const SHELVES: &str = "shelves";
/// What is known of the blocks on each shelf, by the same heights.
pub(super) const SUMMARIES: &str = "summaries";
/// All of them.
pub(super) const STORES: [&str; 7] = [META, KEYS, JOURNAL, RESCUE, BLOCKS, SHELVES, SUMMARIES];
/// Those of version 1.
const FIRST_STORES: [&str; 6] = [META, KEYS, JOURNAL, RESCUE, BLOCKS, SHELVES];
/// What no peer could give back.
const PRECIOUS: [&str; 3] = [META, KEYS, JOURNAL];

/// Makes a database one version newer. The browser undoes all of it if it fails, or if the tab dies meanwhile.
pub(super) type Step = fn(&Database, &Transaction) -> Result<(), idb::Error>;

/// The step to each version: the first is to version 1. A step that has been released is never changed.
pub(super) const STEPS: &[Step] = &[create, add_summaries];

/// A database, open.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) database: IdbDatabase,
    /// Whether it was not as any version leaves it, and was made anew around what is precious.
    pub(super) rebuilt: bool,
    _on_version_change: Closure<dyn FnMut()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.database.set_onversionchange(None);
        self.database.close();
    }
}

fn create(database: &Database, _: &Transaction) -> Result<(), idb::Error> {
    for store in FIRST_STORES {
        database.create_object_store(store, ObjectStoreParams::new())?;
    }
    Ok(())
}

/// What is missing in it is made from the shelves when they are checked.
fn add_summaries(database: &Database, _: &Transaction) -> Result<(), idb::Error> {
    database
        .create_object_store(SUMMARIES, ObjectStoreParams::new())
        .map(drop)
}

/// Opens a database, made or brought up to date as need be.
///
/// # Errors
/// If the browser refuses, or a newer version of this page was here.
pub(super) async fn open(name: &str, steps: &'static [Step]) -> Result<Connection, Reason> {
    let factory = Factory::new().map_err(|_| Reason::NoDatabase)?;
    let database = open_once(&factory, name, steps, config::OPEN_TIMEOUT).await?;
    let stores = database.store_names();
    if STORES
        .iter()
        .all(|store| stores.iter().any(|has| has == store))
    {
        return Ok(Connection::over(database, false));
    }
    let rebuilt = rebuild(&factory, name, database, steps).await;
    rebuilt.map_err(|_| Reason::Blocked)
}

/// Deletes a database that no version leaves so, and makes it anew with what no peer could give back.
async fn rebuild(
    factory: &Factory,
    name: &str,
    database: Database,
    steps: &'static [Step],
) -> Result<Connection, StoreError> {
    let mut saved = Vec::new();
    for store in PRECIOUS {
        if database.store_names().iter().any(|has| has == store) {
            let read = database.transaction(&[store], TransactionMode::ReadOnly)?;
            let read = read.object_store(store)?;
            let (keys, values) = (read.get_all_keys(None, None)?, read.get_all(None, None)?);
            let (keys, values) = try_join(keys.into_future(), values.into_future()).await?;
            saved.push((store, keys, values));
        }
    }
    database.close();
    factory.delete(name)?.await?;
    let failed = |_| StoreError::Failed("it could not be made anew".to_owned());
    let database = open_once(factory, name, steps, config::OPEN_TIMEOUT).await;
    let database = database.map_err(failed)?;
    let write = database.transaction(&PRECIOUS, TransactionMode::ReadWrite)?;
    for (store, keys, values) in saved {
        let store = write.object_store(store)?;
        for (key, value) in keys.iter().zip(&values) {
            store.put(value, Some(key))?;
        }
    }
    committed(write).await?;
    Ok(Connection::over(database, true))
}

/// Waits until all that a transaction was told is done; if the telling failed, takes back what it was told so far.
pub(super) async fn all_or_nothing<T>(
    transaction: Transaction,
    told: Result<T, idb::Error>,
) -> Result<T, StoreError> {
    match told {
        Ok(told) => committed(transaction).await.map(|()| told),
        Err(error) => {
            // If that fails it was taken back already.
            let _ = transaction.abort();
            Err(error.into())
        }
    }
}

/// Waits until all that a transaction was told is done.
pub(super) async fn committed(transaction: Transaction) -> Result<(), StoreError> {
    if transaction.commit()?.await?.is_committed() {
        Ok(())
    } else {
        Err(StoreError::Failed("the browser took it back".to_owned()))
    }
}

async fn open_once(
    factory: &Factory,
    name: &str,
    steps: &'static [Step],
    limit: Duration,
) -> Result<Database, Reason> {
    let version = u32::try_from(steps.len()).map_err(|_| Reason::Blocked)?;
    let mut request = factory
        .open(name, Some(version))
        .map_err(|_| Reason::Blocked)?;
    request.on_upgrade_needed(move |event| {
        // A step that failed has aborted the upgrade, and the request fails with it.
        let _ = upgrade(&event, steps);
    });
    let (tell, told) = oneshot::channel();
    spawn_local(async move {
        // Where nobody waits any longer it must not stand in the way of others.
        if let Err(Ok(late)) = tell.send(request.await) {
            late.close();
        }
    });
    match select(told, clock::sleep(limit)).await {
        Either::Left((Ok(Ok(database)), _)) => Ok(database),
        Either::Left((Ok(Err(idb::Error::DomException(error))), _))
            if error.name() == "VersionError" =>
        {
            Err(Reason::NewerVersion)
        }
        Either::Left(_) | Either::Right(_) => Err(Reason::Blocked),
    }
}

/// Takes the steps from the version that is there to the last.
fn upgrade(event: &VersionChangeEvent, steps: &[Step]) -> Result<(), idb::Error> {
    let database = event.database()?;
    let transaction = event
        .target()?
        .transaction()
        .ok_or(idb::Error::EventTargetNotFound)?;
    let done = usize::try_from(event.old_version()?).unwrap_or(usize::MAX);
    for step in steps.iter().skip(done) {
        if let Err(error) = step(&database, &transaction) {
            transaction.abort()?;
            return Err(error);
        }
    }
    Ok(())
}

impl Connection {
    fn over(database: Database, rebuilt: bool) -> Self {
        let database: IdbDatabase = database.into();
        let closing = database.clone();
        // A newer version of the page waits for it. What is written from now on fails, and the page says so.
        let on_version_change = Closure::new(move || closing.close());
        database.set_onversionchange(Some(on_version_change.as_ref().unchecked_ref()));
        Self {
            database,
            rebuilt,
            _on_version_change: on_version_change,
        }
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen::JsValue;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const NEXT: &[Step] = &[create, add_summaries, |database, _| {
        database
            .create_object_store("next", ObjectStoreParams::new())
            .map(drop)
    }];
    const AFTER_NEXT: &[Step] = &[create, add_summaries, NEXT[2], |_, _| Ok(())];
    const BROKEN: &[Step] = &[create, add_summaries, |database, _| {
        database.create_object_store("next", ObjectStoreParams::new())?;
        database
            .create_object_store("next", ObjectStoreParams::new())
            .map(drop)
    }];

    fn stores(connection: &Connection) -> usize {
        let names = connection.database.object_store_names();
        usize::try_from(names.length()).unwrap_or(0)
    }

    async fn version_of(name: &str, steps: &'static [Step]) -> Result<(f64, usize), Reason> {
        let connection = open(name, steps).await?;
        Ok((connection.database.version(), stores(&connection)))
    }

    #[test]
    async fn a_new_database_has_every_store() {
        assert_eq!(
            version_of("schema new", STEPS).await,
            Ok((2.0, STORES.len()))
        );
        assert_eq!(
            version_of("schema new", STEPS).await,
            Ok((2.0, STORES.len()))
        );
    }

    #[test]
    async fn an_older_database_is_brought_up_to_date() {
        assert_eq!(
            version_of("schema older", STEPS).await,
            Ok((2.0, STORES.len()))
        );
        assert_eq!(
            version_of("schema older", NEXT).await,
            Ok((3.0, STORES.len() + 1))
        );
    }

    #[test]
    async fn a_database_of_the_first_version_gets_a_store_for_summaries() {
        let factory = Factory::new().expect("a browser");
        let first = open_once(&factory, "schema first", &STEPS[..1], config::OPEN_TIMEOUT);
        let first = first.await.expect("it opens");
        assert_eq!(first.store_names().len(), FIRST_STORES.len());
        first.close();
        let now = open("schema first", STEPS).await.expect("it opens");
        assert_eq!((now.rebuilt, stores(&now)), (false, STORES.len()));
    }

    #[test]
    async fn a_newer_database_is_left_alone() {
        assert_eq!(
            version_of("schema newer", NEXT).await,
            Ok((3.0, STORES.len() + 1))
        );
        assert_eq!(
            version_of("schema newer", STEPS).await,
            Err(Reason::NewerVersion)
        );
        assert_eq!(
            version_of("schema newer", NEXT).await,
            Ok((3.0, STORES.len() + 1))
        );
    }

    #[test]
    async fn a_migration_that_fails_half_way_changes_nothing() {
        assert_eq!(
            version_of("schema broken", STEPS).await,
            Ok((2.0, STORES.len()))
        );
        assert_eq!(
            version_of("schema broken", BROKEN).await,
            Err(Reason::Blocked)
        );
        assert_eq!(
            version_of("schema broken", STEPS).await,
            Ok((2.0, STORES.len()))
        );
    }

    #[test]
    async fn an_open_tab_makes_way_for_a_newer_version() {
        let older = open("schema open", STEPS).await.expect("it opens");
        assert_eq!(
            version_of("schema open", NEXT).await,
            Ok((3.0, STORES.len() + 1))
        );
        let stores = js_sys::Array::of1(&META.into());
        assert!(
            older
                .database
                .transaction_with_str_sequence(&stores)
                .is_err()
        );
    }

    #[test]
    async fn a_database_that_opens_too_late_stands_in_nobodys_way() {
        let name = "schema late";
        let factory = Factory::new().expect("a browser");
        // Whoever has it open does not make way for a newer version.
        let older = open_once(&factory, name, STEPS, config::OPEN_TIMEOUT).await;
        let older = older.expect("it opens");
        let soon = Duration::from_millis(50);
        let late = open_once(&factory, name, NEXT, soon).await;
        assert_eq!(late.map(drop), Err(Reason::Blocked));
        older.close();
        let now = open_once(&factory, name, AFTER_NEXT, config::OPEN_TIMEOUT).await;
        assert!(now.is_ok_and(|database| database.store_names().len() == STORES.len() + 1));
    }

    #[test]
    async fn what_no_version_leaves_so_is_made_anew_around_what_is_precious() {
        let factory = Factory::new().expect("a browser");
        let mut request = factory.open("schema half", Some(1)).expect("a request");
        request.on_upgrade_needed(|event| {
            let database = event.database().expect("a database");
            for store in [META, JOURNAL] {
                let store = database
                    .create_object_store(store, ObjectStoreParams::new())
                    .expect("a store");
                store
                    .put(&JsValue::from(7), Some(&JsValue::from(3)))
                    .expect("a record");
            }
        });
        request.await.expect("a database").close();
        let rebuilt = open("schema half", STEPS).await.expect("it opens");
        assert!(rebuilt.rebuilt);
        assert_eq!(stores(&rebuilt), STORES.len());
        for store in [META, JOURNAL] {
            let names = js_sys::Array::of1(&store.into());
            let read = rebuilt
                .database
                .transaction_with_str_sequence(&names)
                .expect("open");
            let read = Transaction::from(read)
                .object_store(store)
                .expect("the store");
            let kept = read
                .get(JsValue::from(3))
                .expect("a request")
                .await
                .expect("an answer");
            assert_eq!(kept, Some(JsValue::from(7)), "{store}");
        }
        drop(rebuilt);
        assert!(!open("schema half", STEPS).await.expect("it opens").rebuilt);
    }
}
