//! A database that no version leaves so, made again around what no peer could give back. That is saved in a second
//! database first, which goes only when the first one has all of it: a crash at any step leaves it where the next start
//! finds it. Nothing that is there is ever overwritten.

use std::{collections::HashSet, future::IntoFuture};

use chain::hash::ReadingId;
use futures::future::try_join;
use idb::{Database, Factory, ObjectStoreParams, Transaction};
use js_sys::{Array, Function, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::IdbDatabase;

use super::{
    StoreError,
    indexed_db::FIRST_KEY,
    records,
    schema::{self, Connection, META, PRECIOUS, Step},
};
use crate::config;

/// What is done at a time; a crash falls between two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// All that is precious is in the second database.
    Saved,
    /// The database that was not as it should be is deleted.
    Deleted,
    /// It is there again, empty.
    Created,
    /// It has what is precious.
    Restored,
}

/// How one database is rebuilt.
#[derive(Debug)]
pub(super) struct Rebuilding<'a> {
    factory: &'a Factory,
    name: &'a str,
    steps: &'static [Step],
    /// Asked after each stage whether to go on. Tests end here, as a crash would.
    goes_on: GoesOn,
}

type GoesOn = fn(Stage) -> Result<(), StoreError>;

impl<'a> Rebuilding<'a> {
    pub(super) fn new(factory: &'a Factory, name: &'a str, steps: &'static [Step]) -> Self {
        Self {
            factory,
            name,
            steps,
            goes_on: |_| Ok(()),
        }
    }

    /// Deletes a database that lacks stores, and makes it again with what is precious.
    ///
    /// # Errors
    /// If the browser does not do it. What was there is then in the first database or in the second one.
    pub(super) async fn start(&self, database: Database) -> Result<Connection, StoreError> {
        let database = IdbDatabase::from(database);
        let saved = self.open_saved().await?;
        copy(&database, &saved).await?;
        saved.close();
        database.close();
        (self.goes_on)(Stage::Saved)?;
        self.factory.delete(self.name)?.await?;
        (self.goes_on)(Stage::Deleted)?;
        let opening = schema::open_once(self.factory, self.name, self.steps, config::OPEN_TIMEOUT);
        let database = opening.await;
        let failed = |_| StoreError::Failed("it could not be made again".to_owned());
        let database = database.map_err(failed)?;
        (self.goes_on)(Stage::Created)?;
        self.restore(database.into()).await
    }

    /// Goes on where a crash has stopped it, if one has.
    ///
    /// # Errors
    /// If the browser does not do it.
    pub(super) async fn resume(&self, database: Database) -> Result<Connection, StoreError> {
        let database = IdbDatabase::from(database);
        if has_first_key(&database).await? || !self.was_saved().await {
            return Ok(Connection::over(database.into(), false));
        }
        self.restore(database).await
    }

    async fn restore(&self, database: IdbDatabase) -> Result<Connection, StoreError> {
        let saved = self.open_saved().await?;
        copy(&saved, &database).await?;
        saved.close();
        (self.goes_on)(Stage::Restored)?;
        self.factory.delete(&self.saved_name())?.await?;
        Ok(Connection::over(database.into(), true))
    }

    async fn open_saved(&self) -> Result<IdbDatabase, StoreError> {
        let name = self.saved_name();
        let opening = schema::open_once(self.factory, &name, SAVED, config::OPEN_TIMEOUT).await;
        let failed = |_| StoreError::Failed("there is no second database".to_owned());
        opening.map(IdbDatabase::from).map_err(failed)
    }

    fn saved_name(&self) -> String {
        format!("{}/saved", self.name)
    }

    /// Whether there is a second database. A browser that does not list its databases is taken to have one.
    async fn was_saved(&self) -> bool {
        let name = self.saved_name();
        let listed = databases().await;
        listed.is_none_or(|names| names.contains(&name))
    }
}

/// The step to the one version of the second database.
const SAVED: &[Step] = &[create_precious];

fn create_precious(database: &Database, _: &Transaction) -> Result<(), idb::Error> {
    for store in PRECIOUS {
        database.create_object_store(store, ObjectStoreParams::new())?;
    }
    Ok(())
}

/// The names of this origin's databases.
pub(super) async fn databases() -> Option<Vec<String>> {
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
    let read = schema::reading(database, &[META])?;
    let store = read.object_store(META)?;
    let keys = store.get_all_keys(None, None)?.await?;
    let is_first =
        |key: &JsValue| FIRST_KEY.contains(&key.as_string().unwrap_or_default().as_str());
    Ok(keys.iter().any(is_first))
}

/// Copies what is precious, as far as the target lacks it; the disk has all of it when this is done.
async fn copy(from: &IdbDatabase, to: &IdbDatabase) -> Result<(), StoreError> {
    let present = from.object_store_names();
    let mut records = Vec::new();
    for store in PRECIOUS {
        if present.contains(store) {
            let all = all_records(from, store).await?;
            let known = all_records(to, store).await?;
            let known: HashSet<Key> = known.iter().filter_map(|(key, _)| Key::read(key)).collect();
            records.push((store, all, known));
        }
    }
    let write = schema::writing(to, &PRECIOUS, true)?;
    for (store, all, known) in records {
        let store = write.object_store(store)?;
        for (key, value) in all {
            if !Key::read(&key).is_some_and(|key| known.contains(&key)) {
                store.put(&value, Some(&key))?;
            }
        }
    }
    schema::committed(write).await
}

/// A record's key, as one that can be compared.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Key {
    /// A journal's position, or where a key begins to sign.
    Number(u64),
    /// What is in `meta`.
    Name(String),
    /// A hash.
    Bytes(Vec<u8>),
}

impl Key {
    fn read(key: &JsValue) -> Option<Self> {
        records::number(key)
            .map(Self::Number)
            .or_else(|| key.as_string().map(Self::Name))
            .or_else(|| records::from_js(key, ReadingId::LEN).map(Self::Bytes))
    }
}

async fn all_records(
    database: &IdbDatabase,
    store: &str,
) -> Result<Vec<(JsValue, JsValue)>, StoreError> {
    let read = schema::reading(database, &[store])?;
    let store = read.object_store(store)?;
    let (keys, values) = (store.get_all_keys(None, None)?, store.get_all(None, None)?);
    let (keys, values) = try_join(keys.into_future(), values.into_future()).await?;
    Ok(keys.into_iter().zip(values).collect())
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::storage::schema::{JOURNAL, STEPS};

    /// The one in which a migration has stopped half-way: two stores, with what no peer could give back.
    async fn half_made(name: &str) {
        let factory = Factory::new().expect("a browser");
        for name in [name.to_owned(), format!("{name}/saved")] {
            factory
                .delete(&name)
                .expect("a request")
                .await
                .expect("gone");
        }
        let half: &'static [Step] = &[|database, _| {
            for store in [META, JOURNAL] {
                let records = database.create_object_store(store, ObjectStoreParams::new())?;
                records.put(&"kept".into(), Some(&FIRST_KEY[0].into()))?;
            }
            Ok(())
        }];
        let opened = schema::open_once(&factory, name, half, config::OPEN_TIMEOUT).await;
        opened.expect("it opens").close();
    }

    /// What is under one key of a store.
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
    async fn a_crash_at_any_stage_loses_nothing() {
        let factory = Factory::new().expect("a browser");
        let stages: [(&str, GoesOn); 4] = [
            ("saved", |at| stop(at == Stage::Saved)),
            ("deleted", |at| stop(at == Stage::Deleted)),
            ("created", |at| stop(at == Stage::Created)),
            ("restored", |at| stop(at == Stage::Restored)),
        ];
        for (stage, goes_on) in stages {
            let name = format!("rebuilding {stage}");
            half_made(&name).await;
            let steps = STEPS;
            // A database in its second version is what the last step left.
            let database =
                schema::open_once(&factory, &name, &STEPS[..1], config::OPEN_TIMEOUT).await;
            let crashing = Rebuilding {
                goes_on,
                ..Rebuilding::new(&factory, &name, steps)
            };
            let crashed = crashing.start(database.expect("it opens")).await;
            assert!(crashed.is_err(), "{stage}");
            let again = schema::open(&name, steps).await.expect("it opens");
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
    async fn what_is_there_is_never_overwritten() {
        let name = "rebuilding over";
        half_made(name).await;
        let first = schema::open(name, STEPS).await.expect("it opens");
        assert!(first.rebuilt);
        drop(first);
        let again = schema::open(name, STEPS).await.expect("it opens");
        assert!(!again.rebuilt);
        assert_eq!(kept(&again, META).await, Some("kept".into()));
        let names = databases().await.expect("a list");
        assert!(!names.contains(&format!("{name}/saved")));
    }
}
