//! Sessions on stores that fail as they are told to.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use heartchain_chain::{bpm::Bpm, hash::BlockHash};
use heartchain_sync::{Batch, io::RecordError};
use heartchain_test_support as support;

use super::*;
use crate::{
    session::{SessionError, Stopped},
    store::{BlockSnapshot, Bodies, DiskLimit, StoreError, StoreLost},
};

const WORKS: u8 = 0;
const FULL: u8 = 1;
const BROKEN: u8 = 2;
const PANICS: u8 = 3;

/// A store that fails while it is told to.
#[derive(Debug)]
struct Failing {
    store: Store,
    mode: Arc<AtomicU8>,
}

impl Failing {
    fn check(&self) -> Result<(), StoreError> {
        match self.mode.load(Ordering::SeqCst) {
            WORKS => Ok(()),
            FULL => Err(StoreError::Full),
            BROKEN => Err(StoreError::Io(std::io::Error::other("a broken disk"))),
            _ => panic!("as told"),
        }
    }
}

impl Storage for Failing {
    fn write(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        self.check()?;
        self.store.write(batches)
    }

    fn bodies(&mut self, hashes: &[BlockHash]) -> Result<Bodies, StoreError> {
        self.check()?;
        self.store.bodies(hashes)
    }

    fn snapshot(&mut self) -> Result<BlockSnapshot, StoreError> {
        self.check()?;
        self.store.snapshot()
    }
}

fn failing(folder: &Path) -> (Opened<crate::network::Offline>, Arc<AtomicU8>) {
    let options = KeeperOptions {
        room: support::room(),
        data_folder: folder.to_owned(),
        key: KeySource::File,
        mining: None,
        max_disk: DiskLimit::DEFAULT,
    };
    let mode = Arc::new(AtomicU8::new(WORKS));
    let told = Arc::clone(&mode);
    let opened = open_with(
        options,
        |_| Ok(crate::network::Offline),
        |store| Box::new(Failing { store, mode: told }),
    );
    (opened.expect("it opens"), mode)
}

#[tokio::test]
async fn failing_disk_refuses_readings_and_is_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    for (round, (broken, reason)) in [(FULL, "the disk is full"), (BROKEN, "a broken disk")]
        .into_iter()
        .enumerate()
    {
        let (opened, mode) = failing(folder.path());
        let (handle, mut events) = (opened.handle, opened.events);
        let work = async {
            let record = async || handle.record(Bpm::MIN).await.expect("it runs");
            let before = record().await.expect("recorded").seq;
            assert_eq!(before, 2 * round as u64);
            mode.store(broken, Ordering::SeqCst);
            for _ in 0..3 {
                assert_eq!(record().await, Err(RecordError::NotStored));
            }
            let status = handle.status().await.expect("it runs");
            assert!(
                status
                    .storage_failing
                    .is_some_and(|found| found.contains(reason))
            );
            mode.store(WORKS, Ordering::SeqCst);
            assert_eq!(record().await.expect("recorded").seq, before + 1);
            let status = handle.status().await.expect("it runs");
            assert_eq!(status.storage_failing, None);
            handle.stop().await;
        };
        let (ended, ()) = tokio::join!(opened.session.run(), work);
        assert_eq!(ended, Ok(()));
        let event = events.recv().await;
        let Some(KeeperEvent::StorageFailing { reason: found }) = event else {
            panic!("{event:?}");
        };
        assert!(found.contains(reason), "{found}");
        assert_eq!(events.recv().await, Some(KeeperEvent::StorageRecovered));
        assert_eq!(events.recv().await, None);
    }
}

#[tokio::test]
async fn lost_store_ends_the_session() {
    let folder = tempfile::tempdir().expect("a folder");
    let (opened, mode) = failing(folder.path());
    mode.store(PANICS, Ordering::SeqCst);
    let record = opened.handle.record(Bpm::MIN);
    let (ended, recorded) = tokio::join!(opened.session.run(), record);
    assert_eq!(ended, Err(SessionError::Store(StoreLost)));
    assert_eq!(recorded, Err(Stopped));
}

#[tokio::test]
async fn commands_wait_while_the_session_is_busy() {
    let folder = tempfile::tempdir().expect("a folder");
    let (opened, _) = failing(folder.path());
    // The session does not run yet.
    let mut asked = Vec::new();
    for _ in 0..=crate::session::MAX_COMMANDS {
        let mut status = Box::pin(opened.handle.status());
        assert!(futures::poll!(&mut status).is_pending());
        asked.push(status);
    }
    let stop = async {
        for status in asked {
            status.await.expect("it runs");
        }
        opened.handle.stop().await;
    };
    let (ended, ()) = tokio::join!(opened.session.run(), stop);
    assert_eq!(ended, Ok(()));
}
