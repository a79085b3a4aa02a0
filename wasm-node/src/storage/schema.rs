//! The database's versions: what stores there are, how an older database becomes one of today, and what is done with
//! one that is neither. Reads and writes no record but to save what cannot be fetched again.

use std::{rc::Rc, time::Duration};

use futures::{
    channel::oneshot,
    future::{Either, select},
};
use idb::{
    Database, DatabaseEvent as _, Event as _, Factory, ObjectStoreParams, Request as _,
    Transaction, event::VersionChangeEvent,
};
use js_sys::Array;
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use wasm_bindgen_futures::spawn_local;
use web_sys::{IdbDatabase, IdbTransaction, IdbVersionChangeEvent};

use super::{ClosedBy, Closing, Reason, StoreError, rebuilding::Rebuilding};
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
/// Readings that other, closed tabs of this computer signed and that are not confirmed yet, by their ids.
pub(super) const ADOPTED: &str = "adopted";
/// All of them.
pub(super) const STORES: [&str; 8] = [
    META, KEYS, JOURNAL, RESCUE, BLOCKS, SHELVES, SUMMARIES, ADOPTED,
];
/// Those of version 1.
const FIRST_STORES: [&str; 6] = [META, KEYS, JOURNAL, RESCUE, BLOCKS, SHELVES];
/// What no peer could give back.
pub(super) const PRECIOUS: [&str; 4] = [META, KEYS, JOURNAL, ADOPTED];

#[wasm_bindgen]
extern "C" {
    /// A database whose transactions may be told how durable they must be; web-sys has that behind its unstable flag.
    type DurableDatabase;
    #[wasm_bindgen(method, catch, js_name = transaction)]
    fn open_transaction(
        this: &DurableDatabase,
        stores: &Array,
        mode: &str,
        options: &JsValue,
    ) -> Result<IdbTransaction, JsValue>;
}

/// Makes a database one version newer. The browser undoes all of it if it fails, or if the tab dies meanwhile.
pub(super) type Step = fn(&Database, &Transaction) -> Result<(), idb::Error>;

/// The step to each version: the first is to version 1. A step that has been released is never changed.
pub(super) const STEPS: &[Step] = &[create, add_summaries, add_adopted];

/// A database, open until `closing` says otherwise.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) database: IdbDatabase,
    /// Whether it was not as any version leaves it, and was made again around what is precious.
    pub(super) rebuilt: bool,
    pub(super) closing: Rc<Closing>,
    _on_version_change: Closure<dyn FnMut(IdbVersionChangeEvent)>,
    _on_close: Closure<dyn FnMut()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.database.set_onversionchange(None);
        self.database.set_onclose(None);
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

/// Journal records are not rewritten: those of versions 1 and 2 are shorter, and read as what they are (see `records`).
fn add_adopted(database: &Database, _: &Transaction) -> Result<(), idb::Error> {
    database
        .create_object_store(ADOPTED, ObjectStoreParams::new())
        .map(drop)
}

/// Opens a database, made or brought up to date as need be.
///
/// # Errors
/// If the browser refuses, or a newer version of this page was here.
pub(super) async fn open(name: &str, steps: &'static [Step]) -> Result<Connection, Reason> {
    let factory = Factory::new().map_err(|_| Reason::NoDatabase)?;
    let database = open_once(&factory, name, steps, config::OPEN_TIMEOUT).await?;
    let rebuilding = Rebuilding::new(&factory, name, steps);
    let rebuilt = if has_all_stores(&database) {
        rebuilding.resume(database).await
    } else {
        rebuilding.start(database).await
    };
    rebuilt.map_err(|_| Reason::Blocked)
}

fn has_all_stores(database: &Database) -> bool {
    let stores = database.store_names();
    let has = |store: &&str| stores.iter().any(|has| has == store);
    STORES.iter().all(has)
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
    let raw: IdbTransaction = transaction.into();
    let outcome = match Transaction::from(raw.clone()).commit() {
        Ok(committing) => committing.await,
        Err(error) => Err(error),
    };
    if outcome.is_ok_and(|outcome| outcome.is_committed()) {
        return Ok(());
    }
    let taken_back = || StoreError::Failed("the browser took it back".to_owned());
    Err(raw.error().map_or_else(taken_back, |error| {
        StoreError::of_exception(&error.name(), || error.message())
    }))
}

/// A transaction that reads.
pub(super) fn reading(database: &IdbDatabase, stores: &[&str]) -> Result<Transaction, StoreError> {
    transaction(database, stores, "readonly", false)
}

/// A transaction that writes: strictly, if the disk must have it before it is done.
pub(super) fn writing(
    database: &IdbDatabase,
    stores: &[&str],
    strict: bool,
) -> Result<Transaction, StoreError> {
    transaction(database, stores, "readwrite", strict)
}

/// A transaction, told how durable it must be.
fn transaction(
    database: &IdbDatabase,
    stores: &[&str],
    mode: &str,
    strict: bool,
) -> Result<Transaction, StoreError> {
    let names: Array = stores.iter().map(|name| JsValue::from_str(name)).collect();
    let options = js_sys::Object::new();
    let durability = if strict { "strict" } else { "relaxed" };
    // Setting a field of one's own new object cannot fail.
    let _ = js_sys::Reflect::set(&options, &"durability".into(), &durability.into());
    let database: &DurableDatabase = database.unchecked_ref();
    database
        .open_transaction(&names, mode, &options)
        .map(Transaction::from)
        .map_err(|error| StoreError::from(idb::Error::TransactionOpenFailed(error)))
}

pub(super) async fn open_once(
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
    pub(super) fn over(database: Database, rebuilt: bool) -> Self {
        let database: IdbDatabase = database.into();
        let closing = Closing::new();
        let (makes_way, told) = (database.clone(), closing.clone());
        // A newer version of the page, or who deletes the database, waits until it is closed.
        let on_version_change = Closure::new(move |event: IdbVersionChangeEvent| {
            makes_way.close();
            told.note(match event.new_version() {
                Some(_) => ClosedBy::NewerVersion,
                None => ClosedBy::Browser,
            });
        });
        database.set_onversionchange(Some(on_version_change.as_ref().unchecked_ref()));
        let told = closing.clone();
        let on_close = Closure::new(move || told.note(ClosedBy::Browser));
        database.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        Self {
            database,
            rebuilt,
            closing,
            _on_version_change: on_version_change,
            _on_close: on_close,
        }
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const NEXT: &[Step] = &[create, add_summaries, add_adopted, |database, _| {
        database
            .create_object_store("next", ObjectStoreParams::new())
            .map(drop)
    }];
    const AFTER_NEXT: &[Step] = &[create, add_summaries, add_adopted, NEXT[3], |_, _| Ok(())];
    const BROKEN: &[Step] = &[create, add_summaries, add_adopted, |database, _| {
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
            Ok((3.0, STORES.len()))
        );
        assert_eq!(
            version_of("schema new", STEPS).await,
            Ok((3.0, STORES.len()))
        );
    }

    #[test]
    async fn an_older_database_is_brought_up_to_date() {
        assert_eq!(
            version_of("schema older", STEPS).await,
            Ok((3.0, STORES.len()))
        );
        assert_eq!(
            version_of("schema older", NEXT).await,
            Ok((4.0, STORES.len() + 1))
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
            Ok((4.0, STORES.len() + 1))
        );
        assert_eq!(
            version_of("schema newer", STEPS).await,
            Err(Reason::NewerVersion)
        );
        assert_eq!(
            version_of("schema newer", NEXT).await,
            Ok((4.0, STORES.len() + 1))
        );
    }

    #[test]
    async fn a_migration_that_fails_half_way_changes_nothing() {
        assert_eq!(
            version_of("schema broken", STEPS).await,
            Ok((3.0, STORES.len()))
        );
        assert_eq!(
            version_of("schema broken", BROKEN).await,
            Err(Reason::Blocked)
        );
        assert_eq!(
            version_of("schema broken", STEPS).await,
            Ok((3.0, STORES.len()))
        );
    }

    #[test]
    async fn an_open_tab_makes_way_for_a_newer_version() {
        let older = open("schema open", STEPS).await.expect("it opens");
        assert_eq!(older.closing.closed(), None);
        assert_eq!(
            version_of("schema open", NEXT).await,
            Ok((4.0, STORES.len() + 1))
        );
        assert_eq!(older.closing.closed(), Some(ClosedBy::NewerVersion));
        let stores = Array::of1(&META.into());
        assert!(
            older
                .database
                .transaction_with_str_sequence(&stores)
                .is_err()
        );
    }

    #[test]
    async fn a_deleted_database_is_noticed_at_once() {
        let open = open("schema deleted", STEPS).await.expect("it opens");
        let factory = Factory::new().expect("a browser");
        let deleting = factory.delete("schema deleted").expect("a request");
        deleting.await.expect("it is free");
        assert_eq!(open.closing.closed(), Some(ClosedBy::Browser));
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
            let names = Array::of1(&store.into());
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
