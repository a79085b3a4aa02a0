//! Reopens a database that the browser closed. Its contents are compared with the last known inventory: if something is
//! missing, the first key is written at once, and the machine writes the rest again.

use idb::{Query, Transaction};
use wasm_bindgen::JsValue;

use super::{
    database,
    health::Reason,
    indexed_db::{IndexedDb, Inventory},
    records,
    schema::{self, FIRST_KEY, JOURNAL, META, TIP},
    store::{Reopened, StoreError},
};

impl IndexedDb {
    /// Opens the database again.
    ///
    /// # Errors
    /// If the browser does not open it at the moment, or a newer version of the page has upgraded it.
    pub(super) async fn reopen_database(&mut self) -> Result<Reopened, StoreError> {
        let opened = database::open(self.name(), schema::MIGRATIONS).await;
        self.connection = opened.map_err(|reason| match reason {
            Reason::NewerVersion => StoreError::NewerVersion,
            Reason::Requested
            | Reason::Deleting
            | Reason::NoDatabase
            | Reason::Blocked
            | Reason::NoFreeSlot => {
                StoreError::Failed("the database cannot be reopened".to_owned())
            }
        })?;
        let before = (
            core::mem::take(&mut self.rows),
            core::mem::take(&mut self.segments),
        );
        match self.restore_if_reset().await {
            Ok(Reopened::Intact) => {
                (self.rows, self.segments) = before;
                Ok(Reopened::Intact)
            }
            Ok(Reopened::Reset) => Ok(Reopened::Reset),
            Err(error) => {
                // A half-finished reopening is closed again, so that it is repeated as a whole.
                self.connection.database.close();
                (self.rows, self.segments) = before;
                Err(error)
            }
        }
    }

    async fn restore_if_reset(&mut self) -> Result<Reopened, StoreError> {
        if !self.connection.rebuilt && self.is_intact().await? {
            return Ok(Reopened::Intact);
        }
        self.missing.clear();
        if let Some(seed) = self.first_key.get() {
            self.put_first_key(&seed).await?;
        }
        // A browser that deleted the database may have deleted the mirror, too.
        self.mirror.write_again();
        self.load_blocks(false, drop).await?;
        // The machine writes the whole journal again, which counts its entries again.
        let Inventory { tip, .. } = self.read_inventory().await?;
        self.last_inventory.set(Inventory { journal: 0, tip });
        self.journal_end.set(0);
        Ok(Reopened::Reset)
    }

    /// Whether the database has everything of the last inventory. A write in progress may be there or not.
    async fn is_intact(&self) -> Result<bool, StoreError> {
        let read = self.read_transaction(&[META])?;
        for name in FIRST_KEY {
            let value = read.object_store(META)?.get(JsValue::from(name))?.await?;
            let seed = value.and_then(|value| records::read_seed(name, &value));
            if seed.is_none() || seed != self.first_key.get() {
                return Ok(false);
            }
        }
        let present = self.read_inventory().await?;
        let last_inventory = self.last_inventory.get();
        Ok(present.journal >= last_inventory.journal && present.tip >= last_inventory.tip)
    }

    /// The current inventory of the database.
    pub(super) async fn read_inventory(&self) -> Result<Inventory, StoreError> {
        let read = self.read_transaction(&[META, JOURNAL])?;
        let journal = count(&read, JOURNAL, None).await?;
        let tip = count(&read, META, Some(TIP)).await? > 0;
        Ok(Inventory { journal, tip })
    }
}

async fn count(read: &Transaction, store: &str, key: Option<&str>) -> Result<u32, StoreError> {
    let query = key.map(|key| Query::Key(key.into()));
    Ok(read.object_store(store)?.count(query)?.await?)
}

#[cfg(test)]
mod tests {
    use heartchain_sync::StoreOperation;
    use idb::Factory;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::storage::{ClosedBy, Storage, suite};

    async fn filled(name: &str) -> (IndexedDb, heartchain_chain::hash::BlockHash) {
        let mut store = IndexedDb::open_empty(name, &suite::room()).await;
        store.put_first_key(&[7; 32]).await.expect("there is room");
        let block = suite::small_block(1);
        let entry = StoreOperation::PutJournal(0, suite::journal_entry(0));
        let tip = StoreOperation::PutTip(block.0);
        suite::write(&mut store, vec![suite::put(block.clone()), entry, tip]).await;
        (store, block.0)
    }

    #[test]
    async fn closed_database_is_reopened() {
        let (mut store, hash) = filled("reopening closed").await;
        // For instance, the browser does this when it runs out of file handles.
        store.connection.database.close();
        assert_eq!(store.bodies(&[hash]).await, Err(StoreError::Closed));
        let close_signal = store.close_signal().expect("it can be closed");
        assert_eq!(close_signal.closed(), Some(ClosedBy::Browser));
        assert_eq!(store.reopen().await, Ok(Reopened::Intact));
        let bodies = store.bodies(&[hash]).await.expect("it reads");
        assert!(bodies.iter().all(Option::is_some));
    }

    #[test]
    async fn deleted_database_restarts_with_its_key() {
        let name = "reopening deleted";
        let (mut store, hash) = filled(name).await;
        let factory = Factory::new().expect("a browser");
        let deleting = factory.delete(name).expect("a request");
        deleting.await.expect("it is free");
        crate::storage::mirror::delete(name);
        assert_eq!(store.reopen().await, Ok(Reopened::Reset));
        assert_eq!(store.bodies(&[hash]).await, Ok(vec![None]));
        let loaded = store.load().await.expect("it loads");
        assert_eq!(loaded.first_key, Some([7; 32]));
        let contents = crate::storage::mirror::read(name);
        assert_eq!(contents.first_key, Some([7; 32]));
        assert_eq!(contents.journal_len, Some(1));
        // From now on it is intact again.
        store.connection.database.close();
        assert!(store.bodies(&[hash]).await.is_err());
        assert_eq!(store.reopen().await, Ok(Reopened::Intact));
    }

    #[test]
    async fn shorter_journal_counts_as_reset() {
        let name = "reopening shorter";
        let (mut store, hash) = filled(name).await;
        let write = store
            .write_transaction(&[JOURNAL], true)
            .expect("it writes");
        let records = write.object_store(JOURNAL).expect("it is there");
        let deleting = records.delete(records::number_key(0));
        deleting.expect("a request");
        schema::commit(write).await.expect("it is kept");
        store.connection.database.close();
        assert!(store.bodies(&[hash]).await.is_err());
        assert_eq!(store.reopen().await, Ok(Reopened::Reset));
        let bodies = store.bodies(&[hash]).await.expect("it reads");
        assert!(bodies.iter().all(Option::is_some), "what is there stays");
    }

    #[test]
    async fn rewritten_database_is_intact_next_time() {
        let name = "reopening twice";
        let (mut store, hash) = filled(name).await;
        let entry = |at| StoreOperation::PutJournal(at, suite::journal_entry(at));
        suite::write(&mut store, vec![entry(1)]).await;
        let write = store
            .write_transaction(&[JOURNAL], true)
            .expect("it writes");
        let records = write.object_store(JOURNAL).expect("it is there");
        let deleting = records.delete(records::number_key(0));
        deleting.expect("a request");
        schema::commit(write).await.expect("it is kept");
        store.connection.database.close();
        assert!(store.bodies(&[hash]).await.is_err());
        assert_eq!(store.reopen().await, Ok(Reopened::Reset));
        // The machine does this after a reset.
        let tip = StoreOperation::PutTip(hash);
        suite::write(&mut store, vec![entry(0), entry(1), tip]).await;
        store.connection.database.close();
        assert!(store.bodies(&[hash]).await.is_err());
        assert_eq!(store.reopen().await, Ok(Reopened::Intact));
    }

    #[test]
    async fn half_failed_reopening_stays_closed() {
        let name = "reopening half";
        let (mut store, hash) = filled(name).await;
        let write = store
            .write_transaction(&[JOURNAL], true)
            .expect("it writes");
        let records = write.object_store(JOURNAL).expect("it is there");
        let deleting = records.delete(records::number_key(0));
        deleting.expect("a request");
        schema::commit(write).await.expect("it is kept");
        store.connection.database.close();
        assert!(store.bodies(&[hash]).await.is_err());
        let refusing = crate::storage::fault_injector::FaultInjector::unwritable(
            name,
            META,
            &FIRST_KEY[0].into(),
        );
        assert!(store.reopen().await.is_err());
        let bodies = store.bodies(&[hash]).await;
        let batch = heartchain_sync::Batch {
            operations: vec![StoreOperation::PutJournal(1, suite::journal_entry(1))],
            strict: true,
        };
        let written = store.write(batch).await;
        drop(refusing);
        assert_eq!(
            (bodies, written),
            (Err(StoreError::Closed), Err(StoreError::Closed)),
            "the block is on disk; entry 0 is not, and the machine was not told"
        );
    }

    #[test]
    async fn start_mirrors_later_keys() {
        let name = "reopening keys";
        let (mut store, _) = filled(name).await;
        suite::write(&mut store, vec![StoreOperation::PutKey([8; 32], 1)]).await;
        drop(store);
        crate::storage::mirror::delete(name);
        let health = crate::storage::Health::new(Ok(0));
        let opened = IndexedDb::open(name, &suite::room(), health).await;
        let store = opened.expect("it opens");
        let loaded = store.load().await.expect("it loads");
        assert_eq!(loaded.keys, [(1, [8; 32])]);
        let contents = crate::storage::mirror::read(name);
        assert_eq!(contents.first_key, Some([7; 32]));
        assert_eq!(contents.keys, litemap::LiteMap::from_iter([(1, [8; 32])]));
    }

    #[test]
    async fn mirror_of_another_key_is_ignored() {
        let name = "reopening other";
        let (store, _) = filled(name).await;
        drop(store);
        crate::storage::mirror::delete(name);
        let other = crate::storage::Mirror::open(name);
        other.keep_first_key(&[9; 32]);
        other.keep_entries(&[(5, suite::journal_entry(5))]);
        let health = crate::storage::Health::new(Ok(0));
        let opened = IndexedDb::open(name, &suite::room(), health).await;
        let store = opened.expect("it opens");
        let loaded = store.load().await.expect("it loads");
        assert_eq!(loaded.first_key, Some([7; 32]));
        let positions: Vec<u64> = loaded.journal.iter().map(|(at, _)| *at).collect();
        assert_eq!(positions, [0]);
    }

    #[test]
    async fn newer_version_is_not_reopened() {
        let name = "reopening newer";
        let (mut store, hash) = filled(name).await;
        let factory = Factory::new().expect("a browser");
        let version = u32::try_from(schema::MIGRATIONS.len()).expect("few") + 1;
        let newer = factory.open(name, Some(version)).expect("a request");
        let newer = newer.await.expect("it is free");
        assert_eq!(store.bodies(&[hash]).await, Err(StoreError::NewerVersion));
        assert_eq!(store.reopen().await, Err(StoreError::NewerVersion));
        newer.close();
    }
}
