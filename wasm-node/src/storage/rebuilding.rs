//! Rebuilds a database in which object stores are missing. The data that peers cannot restore is saved in a backup
//! database first, which is deleted only when the rebuilt database has all of it. After a crash at any stage, the next
//! start finds the data in one of the two. Existing records are never overwritten.

use std::{collections::HashSet, future::IntoFuture};

use futures::future::try_join;
use heartchain_chain::hash::ReadingId;
use idb::{Database, Factory, ObjectStoreParams, Transaction};
use js_sys::{Array, Function, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::IdbDatabase;

use super::{
    records,
    schema::{self, Connection, FIRST_KEY, IRREPLACEABLE, META, Migration, OPEN_TIMEOUT},
    store::StoreError,
};

/// The stages of a rebuild. Each is safe against a crash after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// All irreplaceable data is in the backup database.
    Saved,
    /// The incomplete database is deleted.
    Deleted,
    /// The database is created again, empty.
    Created,
    /// The database has all irreplaceable data.
    Restored,
}

/// The rebuild of one database.
#[derive(Debug)]
pub(super) struct Rebuilding<'a> {
    factory: &'a Factory,
    name: &'a str,
    migrations: &'static [Migration],
    /// Called after each stage; an error stops the rebuild. Tests use it to simulate a crash.
    after_stage: StageHook,
}

type StageHook = fn(Stage) -> Result<(), StoreError>;

impl<'a> Rebuilding<'a> {
    pub(super) fn new(
        factory: &'a Factory,
        name: &'a str,
        migrations: &'static [Migration],
    ) -> Self {
        Self {
            factory,
            name,
            migrations,
            after_stage: |_| Ok(()),
        }
    }

    /// Deletes a database that lacks stores, and creates it again with its irreplaceable data.
    ///
    /// # Errors
    /// If the browser reports an error. The data is then in the database or in its backup.
    pub(super) async fn start(&self, database: Database) -> Result<Connection, StoreError> {
        let database = IdbDatabase::from(database);
        let backup = self.open_backup().await?;
        copy_irreplaceable(&database, &backup).await?;
        backup.close();
        database.close();
        (self.after_stage)(Stage::Saved)?;
        self.factory.delete(self.name)?.await?;
        (self.after_stage)(Stage::Deleted)?;
        let opening =
            schema::open_with_timeout(self.factory, self.name, self.migrations, OPEN_TIMEOUT);
        let database = opening.await;
        let failed = |_| StoreError::Failed("the database could not be created again".to_owned());
        let database = database.map_err(failed)?;
        (self.after_stage)(Stage::Created)?;
        self.restore(database.into()).await
    }

    /// Continues a rebuild that a crash has interrupted, if there is one.
    ///
    /// # Errors
    /// If the browser reports an error.
    pub(super) async fn resume(&self, database: Database) -> Result<Connection, StoreError> {
        let database = IdbDatabase::from(database);
        if has_first_key(&database).await? || !self.backup_exists().await {
            return Ok(Connection::new(database.into(), false));
        }
        self.restore(database).await
    }

    async fn restore(&self, database: IdbDatabase) -> Result<Connection, StoreError> {
        let backup = self.open_backup().await?;
        copy_irreplaceable(&backup, &database).await?;
        backup.close();
        (self.after_stage)(Stage::Restored)?;
        delete_backup(self.name).await?;
        Ok(Connection::new(database.into(), true))
    }

    async fn open_backup(&self) -> Result<IdbDatabase, StoreError> {
        let name = self.backup_name();
        let opening =
            schema::open_with_timeout(self.factory, &name, BACKUP_MIGRATIONS, OPEN_TIMEOUT).await;
        let failed = |_| StoreError::Failed("the backup database cannot be opened".to_owned());
        opening.map(IdbDatabase::from).map_err(failed)
    }

    fn backup_name(&self) -> String {
        backup_name(self.name)
    }

    /// Whether there is a backup database. True if the browser cannot list its databases.
    async fn backup_exists(&self) -> bool {
        let name = self.backup_name();
        let listed = database_names().await;
        listed.is_none_or(|names| names.contains(&name))
    }
}

/// The name of the backup of a database.
pub(super) fn backup_name(database: &str) -> String {
    format!("{database}/saved")
}

/// Deletes the backup of a database, if there is one. The caller has made sure that the database has all of it.
///
/// # Errors
/// If the browser reports an error.
pub(super) async fn delete_backup(database: &str) -> Result<(), StoreError> {
    Factory::new()?.delete(&backup_name(database))?.await?;
    Ok(())
}

/// The migration to the only version of the backup database.
pub(super) const BACKUP_MIGRATIONS: &[Migration] = &[create_irreplaceable];

fn create_irreplaceable(database: &Database, _: &Transaction) -> Result<(), idb::Error> {
    for store in IRREPLACEABLE {
        database.create_object_store(store, ObjectStoreParams::new())?;
    }
    Ok(())
}

/// The names of this origin's databases.
pub(super) async fn database_names() -> Option<Vec<String>> {
    let factory = Reflect::get(&web_sys::window()?.into(), &"indexedDB".into()).ok()?;
    let list: Function = Reflect::get(&factory, &"databases".into())
        .ok()?
        .dyn_into()
        .ok()?;
    let promise: Promise = list.call0(&factory).ok()?.dyn_into().ok()?;
    let listed: Array = JsFuture::from(promise).await.ok()?.dyn_into().ok()?;
    let name = |entry: JsValue| Reflect::get(&entry, &"name".into()).ok()?.as_string();
    Some(listed.iter().filter_map(name).collect())
}

async fn has_first_key(database: &IdbDatabase) -> Result<bool, StoreError> {
    let read = schema::read_transaction(database, &[META])?;
    let store = read.object_store(META)?;
    let keys = store.get_all_keys(None, None)?.await?;
    let is_first =
        |key: &JsValue| FIRST_KEY.contains(&key.as_string().unwrap_or_default().as_str());
    Ok(keys.iter().any(is_first))
}

/// Copies irreplaceable records that the target lacks. Returns when they are on the disk.
async fn copy_irreplaceable(from: &IdbDatabase, to: &IdbDatabase) -> Result<(), StoreError> {
    let present = from.object_store_names();
    let mut records = Vec::new();
    for store in IRREPLACEABLE {
        if present.contains(store) {
            let all = all_records(from, store).await?;
            let known = all_records(to, store).await?;
            let known: HashSet<RecordKey> = known
                .iter()
                .filter_map(|(key, _)| RecordKey::read(key))
                .collect();
            records.push((store, all, known));
        }
    }
    let write = schema::write_transaction(to, &IRREPLACEABLE, true)?;
    for (store, all, known) in records {
        let store = write.object_store(store)?;
        for (key, value) in all {
            if !RecordKey::read(&key).is_some_and(|key| known.contains(&key)) {
                store.put(&value, Some(&key))?;
            }
        }
    }
    schema::commit(write).await
}

/// A record's key in a form that can be compared.
#[derive(Debug, PartialEq, Eq, Hash)]
enum RecordKey {
    /// A position in the journal.
    Number(u64),
    /// The name of a record in `meta`.
    Text(String),
    /// The ID of an adopted reading.
    Bytes(Vec<u8>),
}

impl RecordKey {
    fn read(key: &JsValue) -> Option<Self> {
        records::number(key)
            .map(Self::Number)
            .or_else(|| key.as_string().map(Self::Text))
            .or_else(|| records::from_js(key, ReadingId::LEN).map(Self::Bytes))
    }
}

async fn all_records(
    database: &IdbDatabase,
    store: &str,
) -> Result<Vec<(JsValue, JsValue)>, StoreError> {
    let read = schema::read_transaction(database, &[store])?;
    let store = read.object_store(store)?;
    let (keys, values) = (store.get_all_keys(None, None)?, store.get_all(None, None)?);
    let (keys, values) = try_join(keys.into_future(), values.into_future()).await?;
    Ok(keys.into_iter().zip(values).collect())
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::storage::{
        database,
        schema::{JOURNAL, MIGRATIONS},
    };

    /// Creates a database with only two of its stores, which hold irreplaceable data.
    async fn half_made(name: &str) {
        let factory = Factory::new().expect("a browser");
        for name in [name.to_owned(), format!("{name}/saved")] {
            factory
                .delete(&name)
                .expect("a request")
                .await
                .expect("gone");
        }
        let half: &'static [Migration] = &[|database, _| {
            for store in [META, JOURNAL] {
                let records = database.create_object_store(store, ObjectStoreParams::new())?;
                records.put(&"kept".into(), Some(&FIRST_KEY[0].into()))?;
            }
            Ok(())
        }];
        let opened = schema::open_with_timeout(&factory, name, half, OPEN_TIMEOUT).await;
        opened.expect("it opens").close();
    }

    /// The record under the first key's name in a store.
    async fn kept(connection: &Connection, store: &str) -> Option<JsValue> {
        let names = Array::of1(&store.into());
        let read = connection
            .database
            .transaction_with_str_sequence(&names)
            .expect("open");
        let records = Transaction::from(read).object_store(store).expect("there");
        let request = records.get(JsValue::from(FIRST_KEY[0]));
        request.expect("a request").await.expect("an answer")
    }

    #[test]
    async fn crash_at_any_stage_loses_nothing() {
        let factory = Factory::new().expect("a browser");
        let stages: [(&str, StageHook); 4] = [
            ("saved", |at| stop(at == Stage::Saved)),
            ("deleted", |at| stop(at == Stage::Deleted)),
            ("created", |at| stop(at == Stage::Created)),
            ("restored", |at| stop(at == Stage::Restored)),
        ];
        for (stage, after_stage) in stages {
            let name = format!("rebuilding {stage}");
            half_made(&name).await;
            let migrations = MIGRATIONS;
            // Open it at its present version, without any migration.
            let database =
                schema::open_with_timeout(&factory, &name, &MIGRATIONS[..1], OPEN_TIMEOUT).await;
            let crashing = Rebuilding {
                after_stage,
                ..Rebuilding::new(&factory, &name, migrations)
            };
            let crashed = crashing.start(database.expect("it opens")).await;
            assert!(crashed.is_err(), "{stage}");
            let again = database::open(&name, migrations).await.expect("it opens");
            for store in [META, JOURNAL] {
                let kept = kept(&again, store).await;
                assert_eq!(kept, Some("kept".into()), "{stage}: {store}");
            }
        }
    }

    fn stop(here: bool) -> Result<(), StoreError> {
        match here {
            true => Err(StoreError::Failed("a crash".to_owned())),
            false => Ok(()),
        }
    }

    #[test]
    async fn rebuild_overwrites_nothing() {
        let name = "rebuilding over";
        half_made(name).await;
        let first = database::open(name, MIGRATIONS).await.expect("it opens");
        assert!(first.rebuilt);
        drop(first);
        let again = database::open(name, MIGRATIONS).await.expect("it opens");
        assert!(!again.rebuilt);
        assert_eq!(kept(&again, META).await, Some("kept".into()));
        let names = database_names().await.expect("a list");
        assert!(!names.contains(&format!("{name}/saved")));
    }
}
