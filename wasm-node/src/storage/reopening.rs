//! A database that was closed under the tab, opened again. What is there then is compared with what was there: if it is
//! less, the first key is written at once, and the rest is for the machine to write again. Decides nothing else.

use idb::{Query, Transaction};
use wasm_bindgen::JsValue;

use super::{
    Reason, Reopened, StoreError,
    indexed_db::{FIRST_KEY, IndexedDb, TIP},
    records,
    schema::{self, JOURNAL, META},
};

impl IndexedDb {
    /// Opens the database again.
    ///
    /// # Errors
    /// If the browser does not open it for now, or never will for this version of the page.
    pub(super) async fn open_again(&mut self) -> Result<Reopened, StoreError> {
        let opened = schema::open(self.name(), schema::STEPS).await;
        self.connection = opened.map_err(|reason| match reason {
            Reason::NewerVersion => StoreError::NewerVersion,
            Reason::Asked
            | Reason::NoLocks
            | Reason::NoDatabase
            | Reason::Blocked
            | Reason::NoFreeSlot => StoreError::Failed("it cannot be opened again".to_owned()),
        })?;
        let before = (
            core::mem::take(&mut self.rows),
            core::mem::take(&mut self.shelves),
        );
        match self.look_again().await {
            Ok(Reopened::Whole) => {
                (self.rows, self.shelves) = before;
                Ok(Reopened::Whole)
            }
            Ok(Reopened::Reset) => Ok(Reopened::Reset),
            Err(error) => {
                // Half-way is not open: it is closed, so that it is tried again as a whole.
                self.connection.database.close();
                (self.rows, self.shelves) = before;
                Err(error)
            }
        }
    }

    async fn look_again(&mut self) -> Result<Reopened, StoreError> {
        if !self.connection.rebuilt && self.is_whole().await? {
            return Ok(Reopened::Whole);
        }
        self.lost.clear();
        if let Some(seed) = self.first_key.get() {
            self.put_first_key(&seed).await?;
        }
        // Where the browser has deleted the database it may have deleted its copy, too.
        self.mirror.write_again();
        self.load_blocks(false, drop).await?;
        // All of the journal is written again, and counted then.
        let Noted { tip, .. } = self.present().await?;
        self.noted.set(Noted { journal: 0, tip });
        self.journal_end.set(0);
        Ok(Reopened::Reset)
    }

    /// Whether the database has what it had. A write that was under way may be there or not.
    async fn is_whole(&self) -> Result<bool, StoreError> {
        let read = self.reading(&[META])?;
        for place in FIRST_KEY {
            let value = read.object_store(META)?.get(JsValue::from(place))?.await?;
            let seed = value.and_then(|value| records::read_seed(place, &value));
            if seed.is_none() || seed != self.first_key.get() {
                return Ok(false);
            }
        }
        let present = self.present().await?;
        let noted = self.noted.get();
        Ok(present.journal >= noted.journal && present.tip >= noted.tip)
    }

    /// How much of what must not be lost there is.
    pub(super) async fn present(&self) -> Result<Noted, StoreError> {
        let read = self.reading(&[META, JOURNAL])?;
        let journal = count(&read, JOURNAL, None).await?;
        let tip = count(&read, META, Some(TIP)).await? > 0;
        Ok(Noted { journal, tip })
    }
}

/// What a database had when it was last looked at or written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Noted {
    /// Entries of the journal.
    pub(super) journal: u32,
    /// Whether there was a best tip.
    pub(super) tip: bool,
}

async fn count(read: &Transaction, store: &str, key: Option<&str>) -> Result<u32, StoreError> {
    let query = key.map(|key| Query::Key(key.into()));
    Ok(read.object_store(store)?.count(query)?.await?)
}

#[cfg(test)]
mod tests {
    use idb::Factory;
    use sync::StoreOperation;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::storage::{ClosedBy, Storage, suite};

    async fn filled(name: &str) -> (IndexedDb, chain::hash::BlockHash) {
        let mut store = IndexedDb::anew(name, suite::room().id()).await;
        store.put_first_key(&[7; 32]).await.expect("there is room");
        let block = suite::small_block(1);
        let entry = StoreOperation::PutJournal(0, suite::journal_entry(0));
        let tip = StoreOperation::PutTip(block.0);
        suite::write(&mut store, vec![suite::put(block.clone()), entry, tip]).await;
        (store, block.0)
    }

    #[test]
    async fn a_closed_database_refuses_and_is_opened_again() {
        let (mut store, hash) = filled("reopening closed").await;
        // As the browser does when it runs out of files, say.
        store.connection.database.close();
        assert_eq!(store.bodies(&[hash]).await, Err(StoreError::Closed));
        let closing = store.closing().expect("it can be closed");
        assert_eq!(closing.closed(), Some(ClosedBy::Browser));
        assert_eq!(store.reopen().await, Ok(Reopened::Whole));
        let bodies = store.bodies(&[hash]).await.expect("it reads");
        assert!(bodies.iter().all(Option::is_some));
    }

    #[test]
    async fn a_deleted_database_begins_again_with_its_key() {
        let name = "reopening deleted";
        let (mut store, hash) = filled(name).await;
        let factory = Factory::new().expect("a browser");
        let deleting = factory.delete(name).expect("a request");
        deleting.await.expect("it is free");
        crate::storage::mirror::forget(name);
        assert_eq!(store.reopen().await, Ok(Reopened::Reset));
        assert_eq!(store.bodies(&[hash]).await, Ok(vec![None]));
        let loaded = store.load().await.expect("it loads");
        assert_eq!(loaded.first_key, Some([7; 32]));
        let copied = crate::storage::mirror::read(name);
        assert_eq!(copied.first_key, Some([7; 32]));
        assert_eq!(copied.journal_len, Some(1));
        // From now on it is whole again.
        store.connection.database.close();
        assert!(store.bodies(&[hash]).await.is_err());
        assert_eq!(store.reopen().await, Ok(Reopened::Whole));
    }

    #[test]
    async fn a_journal_that_got_shorter_is_not_whole() {
        let name = "reopening shorter";
        let (mut store, hash) = filled(name).await;
        let write = store.writing(&[JOURNAL], true).expect("it writes");
        let records = write.object_store(JOURNAL).expect("it is there");
        let deleting = records.delete(records::number_key(0));
        deleting.expect("a request");
        schema::committed(write).await.expect("it is kept");
        store.connection.database.close();
        assert!(store.bodies(&[hash]).await.is_err());
        assert_eq!(store.reopen().await, Ok(Reopened::Reset));
        let bodies = store.bodies(&[hash]).await.expect("it reads");
        assert!(bodies.iter().all(Option::is_some), "what is there stays");
    }

    #[test]
    async fn what_was_reset_once_and_written_again_is_whole_the_next_time() {
        let name = "reopening twice";
        let (mut store, hash) = filled(name).await;
        let entry = |at| StoreOperation::PutJournal(at, suite::journal_entry(at));
        suite::write(&mut store, vec![entry(1)]).await;
        let write = store.writing(&[JOURNAL], true).expect("it writes");
        let records = write.object_store(JOURNAL).expect("it is there");
        let deleting = records.delete(records::number_key(0));
        deleting.expect("a request");
        schema::committed(write).await.expect("it is kept");
        store.connection.database.close();
        assert!(store.bodies(&[hash]).await.is_err());
        assert_eq!(store.reopen().await, Ok(Reopened::Reset));
        // As the machine does.
        let tip = StoreOperation::PutTip(hash);
        suite::write(&mut store, vec![entry(0), entry(1), tip]).await;
        store.connection.database.close();
        assert!(store.bodies(&[hash]).await.is_err());
        assert_eq!(store.reopen().await, Ok(Reopened::Whole));
    }

    #[test]
    async fn a_reopening_that_failed_half_way_takes_and_says_nothing() {
        let name = "reopening half";
        let (mut store, hash) = filled(name).await;
        let write = store.writing(&[JOURNAL], true).expect("it writes");
        let records = write.object_store(JOURNAL).expect("it is there");
        let deleting = records.delete(records::number_key(0));
        deleting.expect("a request");
        schema::committed(write).await.expect("it is kept");
        store.connection.database.close();
        assert!(store.bodies(&[hash]).await.is_err());
        let refusing =
            crate::storage::misfortune::Misfortune::unwritable(name, META, &FIRST_KEY[0].into());
        assert!(store.reopen().await.is_err());
        let bodies = store.bodies(&[hash]).await;
        let batch = sync::Batch {
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
    async fn later_keys_are_in_the_copy_after_a_start() {
        let name = "reopening keys";
        let (mut store, _) = filled(name).await;
        suite::write(&mut store, vec![StoreOperation::PutKey([8; 32], 1)]).await;
        drop(store);
        crate::storage::mirror::forget(name);
        let health = crate::storage::Health::new(Ok(0));
        let opened = IndexedDb::open(name, suite::room().id(), health).await;
        let store = opened.expect("it opens");
        let loaded = store.load().await.expect("it loads");
        assert_eq!(loaded.keys, [(1, [8; 32])]);
        let copied = crate::storage::mirror::read(name);
        assert_eq!(copied.first_key, Some([7; 32]));
        assert_eq!(copied.keys, [(1, [8; 32])].into());
    }

    #[test]
    async fn a_copy_of_another_key_is_not_taken_for_ones_own() {
        let name = "reopening other";
        let (store, _) = filled(name).await;
        drop(store);
        crate::storage::mirror::forget(name);
        let other = crate::storage::Mirror::open(name);
        other.keep_first_key(&[9; 32]);
        other.keep_entries(&[(5, suite::journal_entry(5))]);
        let health = crate::storage::Health::new(Ok(0));
        let opened = IndexedDb::open(name, suite::room().id(), health).await;
        let store = opened.expect("it opens");
        let loaded = store.load().await.expect("it loads");
        assert_eq!(loaded.first_key, Some([7; 32]));
        let positions: Vec<u64> = loaded.journal.iter().map(|(at, _)| *at).collect();
        assert_eq!(positions, [0]);
    }

    #[test]
    async fn a_newer_version_is_not_opened_again() {
        let name = "reopening newer";
        let (mut store, hash) = filled(name).await;
        let factory = Factory::new().expect("a browser");
        let version = u32::try_from(schema::STEPS.len()).expect("few") + 1;
        let newer = factory.open(name, Some(version)).expect("a request");
        let newer = newer.await.expect("it is free");
        assert_eq!(store.bodies(&[hash]).await, Err(StoreError::NewerVersion));
        assert_eq!(store.reopen().await, Err(StoreError::NewerVersion));
        newer.close();
    }
}
