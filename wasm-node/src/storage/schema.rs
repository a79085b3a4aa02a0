//! The database schema: its object stores, the migrations from older versions, and transactions. Reads and writes no
//! records. `database` opens a database whatever state it is in.

use std::{rc::Rc, time::Duration};

use idb::{
    Database, DatabaseEvent as _, Event as _, Factory, ObjectStoreParams, Request as _,
    Transaction, event::VersionChangeEvent,
};
use js_sys::Array;
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use web_sys::{IdbDatabase, IdbTransaction, IdbVersionChangeEvent};

use super::{
    close_signal::{CloseSignal, ClosedBy},
    health::Reason,
    patience::within,
    store::StoreError,
};

/// How long opening a database may take. It takes a moment unless the browser is stuck.
pub(crate) const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// Entries of any other kind that are read at a time.
pub(crate) const LOADED_ENTRIES: u32 = 4_096;

/// Two copies of the first key, the best tip and the newest confirmed block.
pub(super) const META: &str = "meta";
/// Later keys, by the position of the first journal entry that each signs.
pub(super) const KEYS: &str = "keys";
/// Own readings, by journal position.
pub(super) const JOURNAL: &str = "journal";
/// Hashes of confirmed blocks that left the best branch and whose readings are not all confirmed again.
pub(super) const RECOVERY: &str = "rescue";
/// Blocks that are not in a segment, by height and hash.
pub(super) const BLOCKS: &str = "blocks";
/// Segments: many settled blocks in one record, by the height of the first block.
pub(super) const SEGMENTS: &str = "shelves";
/// The summary of each segment, by the same height.
pub(super) const SUMMARIES: &str = "summaries";
/// Unconfirmed readings of closed tabs of this browser, by reading ID.
pub(super) const ADOPTED: &str = "adopted";
/// The names of authors, by author.
pub(super) const PROFILES: &str = "profiles";
/// All object stores of the current version.
pub(super) const STORES: [&str; 9] = [
    META, KEYS, JOURNAL, RECOVERY, BLOCKS, SEGMENTS, SUMMARIES, ADOPTED, PROFILES,
];
/// The object stores of version 1.
const V1_STORES: [&str; 6] = [META, KEYS, JOURNAL, RECOVERY, BLOCKS, SEGMENTS];
/// The object stores whose data peers cannot restore.
pub(super) const IRREPLACEABLE: [&str; 4] = [META, KEYS, JOURNAL, ADOPTED];

/// The names of the two copies of the first key in `meta`.
pub(super) const FIRST_KEY: [&str; 2] = ["key", "key again"];

/// The name of the best tip in `meta`.
pub(super) const TIP: &str = "tip";

/// The name, in `meta`, of the newest confirmed block of the best branch.
pub(super) const CONFIRMED: &str = "confirmed";

/// The name, in `meta`, of what opens the room: a second copy of what the list of rooms has.
pub(super) const ACCESS: &str = "room";

/// The name, in `meta`, of the length of the journal that the last move file has.
pub(super) const MOVED: &str = "moved";

#[wasm_bindgen]
extern "C" {
    /// A database with the `durability` option of transactions, which web-sys has only behind its unstable flag.
    type DurableDatabase;
    #[wasm_bindgen(method, catch, js_name = transaction)]
    fn open_transaction(
        this: &DurableDatabase,
        stores: &Array,
        mode: &str,
        options: &JsValue,
    ) -> Result<IdbTransaction, JsValue>;
}

/// Upgrades a database by one version. The browser undoes the upgrade if it fails or the tab dies.
pub(super) type Migration = fn(&Database, &Transaction) -> Result<(), idb::Error>;

/// The migration to each version, starting with version 1. A released migration never changes.
pub(super) const MIGRATIONS: &[Migration] = &[create, add_summaries, add_adopted, add_profiles];

/// An open database, until `close_signal` is set.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) database: IdbDatabase,
    /// Whether stores were missing, so that the database was rebuilt with its irreplaceable data.
    pub(super) rebuilt: bool,
    pub(super) close_signal: Rc<CloseSignal>,
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
    for store in V1_STORES {
        database.create_object_store(store, ObjectStoreParams::new())?;
    }
    Ok(())
}

/// Missing summaries are written when their segments are checked.
fn add_summaries(database: &Database, _: &Transaction) -> Result<(), idb::Error> {
    database
        .create_object_store(SUMMARIES, ObjectStoreParams::new())
        .map(drop)
}

/// Journal records are not rewritten: those of versions 1 and 2 are shorter, and `records` reads both formats.
fn add_adopted(database: &Database, _: &Transaction) -> Result<(), idb::Error> {
    database
        .create_object_store(ADOPTED, ObjectStoreParams::new())
        .map(drop)
}

/// Peers have the names.
fn add_profiles(database: &Database, _: &Transaction) -> Result<(), idb::Error> {
    database
        .create_object_store(PROFILES, ObjectStoreParams::new())
        .map(drop)
}

/// Commits a transaction if its requests could be made; otherwise aborts it.
pub(super) async fn commit_or_abort<T>(
    transaction: Transaction,
    requested: Result<T, idb::Error>,
) -> Result<T, StoreError> {
    match requested {
        Ok(value) => commit(transaction).await.map(|()| value),
        Err(error) => {
            // Aborting fails only if the transaction is aborted already.
            let _ = transaction.abort();
            Err(error.into())
        }
    }
}

/// Commits a transaction and waits until it is complete.
pub(super) async fn commit(transaction: Transaction) -> Result<(), StoreError> {
    let raw: IdbTransaction = transaction.into();
    let outcome = match Transaction::from(raw.clone()).commit() {
        Ok(committing) => committing.await,
        Err(error) => Err(error),
    };
    if outcome.is_ok_and(|outcome| outcome.is_committed()) {
        return Ok(());
    }
    let aborted = || StoreError::Failed("the browser aborted the transaction".to_owned());
    Err(raw.error().map_or_else(aborted, |error| {
        StoreError::from_exception(&error.name(), || error.message())
    }))
}

/// A read-only transaction.
pub(super) fn read_transaction(
    database: &IdbDatabase,
    stores: &[&str],
) -> Result<Transaction, StoreError> {
    transaction(database, stores, "readonly", false)
}

/// A read-write transaction. If `strict`, it completes only when the data is on the disk.
pub(super) fn write_transaction(
    database: &IdbDatabase,
    stores: &[&str],
    strict: bool,
) -> Result<Transaction, StoreError> {
    transaction(database, stores, "readwrite", strict)
}

/// Opens a transaction with the given durability.
fn transaction(
    database: &IdbDatabase,
    stores: &[&str],
    mode: &str,
    strict: bool,
) -> Result<Transaction, StoreError> {
    let names: Array = stores.iter().map(|name| JsValue::from_str(name)).collect();
    let options = js_sys::Object::new();
    let durability = if strict { "strict" } else { "relaxed" };
    // Setting a field of a new object cannot fail.
    let _ = js_sys::Reflect::set(&options, &"durability".into(), &durability.into());
    let database: &DurableDatabase = database.unchecked_ref();
    database
        .open_transaction(&names, mode, &options)
        .map(Transaction::from)
        .map_err(|error| StoreError::from(idb::Error::TransactionOpenFailed(error)))
}

pub(super) async fn open_with_timeout(
    factory: &Factory,
    name: &str,
    migrations: &'static [Migration],
    limit: Duration,
) -> Result<Database, Reason> {
    let version = u32::try_from(migrations.len()).map_err(|_| Reason::Blocked)?;
    let (factory, name) = (factory.clone(), name.to_owned());
    let opening = async move {
        let mut request = factory.open(&name, Some(version))?;
        request.on_upgrade_needed(move |event| {
            // A failed migration has aborted the upgrade, and the request fails with it.
            let _ = upgrade(&event, migrations);
        });
        request.await
    };
    match within(limit, opening, close_late).await {
        Some(Ok(database)) => Ok(database),
        Some(Err(idb::Error::DomException(error))) if error.name() == "VersionError" => {
            Err(Reason::NewerVersion)
        }
        Some(Err(_)) | None => Err(Reason::Blocked),
    }
}

/// Closes a database that has opened too late: it would only block other tabs.
pub(super) fn close_late(opened: Result<Database, idb::Error>) {
    if let Ok(late) = opened {
        late.close();
    }
}

/// Runs the migrations from the database's version to the newest.
fn upgrade(event: &VersionChangeEvent, migrations: &[Migration]) -> Result<(), idb::Error> {
    let database = event.database()?;
    let transaction = event
        .target()?
        .transaction()
        .ok_or(idb::Error::EventTargetNotFound)?;
    let done = usize::try_from(event.old_version()?).unwrap_or(usize::MAX);
    for migration in migrations.iter().skip(done) {
        if let Err(error) = migration(&database, &transaction) {
            transaction.abort()?;
            return Err(error);
        }
    }
    Ok(())
}

impl Connection {
    pub(super) fn new(database: Database, rebuilt: bool) -> Self {
        let database: IdbDatabase = database.into();
        let close_signal = CloseSignal::new();
        let (connection, signal) = (database.clone(), close_signal.clone());
        // An upgrade by a newer page, or a deletion of the database, waits until this connection is closed.
        let on_version_change = Closure::new(move |event: IdbVersionChangeEvent| {
            connection.close();
            signal.set(match event.new_version() {
                Some(_) => ClosedBy::NewerVersion,
                None => ClosedBy::Browser,
            });
        });
        database.set_onversionchange(Some(on_version_change.as_ref().unchecked_ref()));
        let signal = close_signal.clone();
        let on_close = Closure::new(move || signal.set(ClosedBy::Browser));
        database.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        Self {
            database,
            rebuilt,
            close_signal,
            _on_version_change: on_version_change,
            _on_close: on_close,
        }
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::storage::database::open;

    const NEXT: &[Migration] = &[
        create,
        add_summaries,
        add_adopted,
        add_profiles,
        |database, _| {
            database
                .create_object_store("next", ObjectStoreParams::new())
                .map(drop)
        },
    ];
    const AFTER_NEXT: &[Migration] = &[
        create,
        add_summaries,
        add_adopted,
        add_profiles,
        NEXT[4],
        |_, _| Ok(()),
    ];
    const BROKEN: &[Migration] = &[
        create,
        add_summaries,
        add_adopted,
        add_profiles,
        |database, _| {
            database.create_object_store("next", ObjectStoreParams::new())?;
            database
                .create_object_store("next", ObjectStoreParams::new())
                .map(drop)
        },
    ];

    fn stores(connection: &Connection) -> usize {
        let names = connection.database.object_store_names();
        usize::try_from(names.length()).unwrap_or(0)
    }

    async fn version_of(
        name: &str,
        migrations: &'static [Migration],
    ) -> Result<(f64, usize), Reason> {
        let connection = open(name, migrations).await?;
        Ok((connection.database.version(), stores(&connection)))
    }

    #[test]
    async fn new_database_has_every_store() {
        assert_eq!(
            version_of("schema new", MIGRATIONS).await,
            Ok((4.0, STORES.len()))
        );
        assert_eq!(
            version_of("schema new", MIGRATIONS).await,
            Ok((4.0, STORES.len()))
        );
    }

    #[test]
    async fn older_database_is_migrated() {
        assert_eq!(
            version_of("schema older", MIGRATIONS).await,
            Ok((4.0, STORES.len()))
        );
        assert_eq!(
            version_of("schema older", NEXT).await,
            Ok((5.0, STORES.len() + 1))
        );
    }

    #[test]
    async fn v1_database_gets_summaries_store() {
        let factory = Factory::new().expect("a browser");
        let first = open_with_timeout(&factory, "schema first", &MIGRATIONS[..1], OPEN_TIMEOUT);
        let first = first.await.expect("it opens");
        assert_eq!(first.store_names().len(), V1_STORES.len());
        first.close();
        let now = open("schema first", MIGRATIONS).await.expect("it opens");
        assert_eq!((now.rebuilt, stores(&now)), (false, STORES.len()));
    }

    #[test]
    async fn v3_database_gets_profiles_store() {
        let factory = Factory::new().expect("a browser");
        let third = open_with_timeout(&factory, "schema third", &MIGRATIONS[..3], OPEN_TIMEOUT);
        let third = third.await.expect("it opens");
        assert_eq!(third.store_names().len(), STORES.len() - 1);
        third.close();
        let now = open("schema third", MIGRATIONS).await.expect("it opens");
        assert_eq!((now.rebuilt, stores(&now)), (false, STORES.len()));
    }

    #[test]
    async fn newer_database_is_left_alone() {
        assert_eq!(
            version_of("schema newer", NEXT).await,
            Ok((5.0, STORES.len() + 1))
        );
        assert_eq!(
            version_of("schema newer", MIGRATIONS).await,
            Err(Reason::NewerVersion)
        );
        assert_eq!(
            version_of("schema newer", NEXT).await,
            Ok((5.0, STORES.len() + 1))
        );
    }

    #[test]
    async fn failed_migration_changes_nothing() {
        assert_eq!(
            version_of("schema broken", MIGRATIONS).await,
            Ok((4.0, STORES.len()))
        );
        assert_eq!(
            version_of("schema broken", BROKEN).await,
            Err(Reason::Blocked)
        );
        assert_eq!(
            version_of("schema broken", MIGRATIONS).await,
            Ok((4.0, STORES.len()))
        );
    }

    #[test]
    async fn open_tab_yields_to_newer_version() {
        let older = open("schema open", MIGRATIONS).await.expect("it opens");
        assert_eq!(older.close_signal.closed(), None);
        assert_eq!(
            version_of("schema open", NEXT).await,
            Ok((5.0, STORES.len() + 1))
        );
        assert_eq!(older.close_signal.closed(), Some(ClosedBy::NewerVersion));
        let stores = Array::of1(&META.into());
        assert!(
            older
                .database
                .transaction_with_str_sequence(&stores)
                .is_err()
        );
    }

    #[test]
    async fn deleted_database_is_noticed_at_once() {
        let open = open("schema deleted", MIGRATIONS).await.expect("it opens");
        let factory = Factory::new().expect("a browser");
        let deleting = factory.delete("schema deleted").expect("a request");
        deleting.await.expect("it is free");
        assert_eq!(open.close_signal.closed(), Some(ClosedBy::Browser));
    }

    #[test]
    async fn database_that_opens_too_late_is_closed() {
        let name = "schema late";
        let factory = Factory::new().expect("a browser");
        // This connection ignores `versionchange`, so the upgrade to a newer version waits.
        let older = open_with_timeout(&factory, name, MIGRATIONS, OPEN_TIMEOUT).await;
        let older = older.expect("it opens");
        let soon = Duration::from_millis(50);
        let late = open_with_timeout(&factory, name, NEXT, soon).await;
        assert_eq!(late.map(drop), Err(Reason::Blocked));
        older.close();
        let now = open_with_timeout(&factory, name, AFTER_NEXT, OPEN_TIMEOUT).await;
        assert!(now.is_ok_and(|database| database.store_names().len() == STORES.len() + 1));
    }

    #[test]
    async fn incomplete_database_is_rebuilt() {
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
        let rebuilt = open("schema half", MIGRATIONS).await.expect("it opens");
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
        assert!(
            !open("schema half", MIGRATIONS)
                .await
                .expect("it opens")
                .rebuilt
        );
    }
}
