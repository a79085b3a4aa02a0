//! What a keeper has after a restart, and which files it refuses to open.

mod support;

use std::fs;

use heartchain_chain::bpm::Bpm;
use keeper::{
    author_key::KeySource,
    network::Offline,
    opening::open,
    session::KeeperEvent,
    store::{OpenError, STORE_VERSION},
};
use redb::{Database, TableDefinition};
use support::{Folder, bpm, run, wait_for_blocks};

#[tokio::test]
async fn restart_gives_the_same_tip_and_readings() {
    let folder = Folder::new();
    let (handle, mut events, session) = run(&folder.options());
    let before = {
        let work = async {
            for number in 60..70 {
                handle
                    .record(bpm(number))
                    .await
                    .expect("it runs")
                    .expect("recorded");
            }
            wait_for_blocks(&mut events, 10).await;
            let status = handle.status().await.expect("it runs");
            handle.stop().await;
            status
        };
        let (ended, status) = tokio::join!(session, work);
        ended.expect("it ends well");
        status
    };
    assert!(before.machine.index >= 1);
    assert_eq!(before.machine.mempool, 0);

    let mut options = folder.options();
    options.mining = None;
    let (handle, _events, session) = run(&options);
    let work = async {
        let status = handle.status().await.expect("it runs");
        handle.stop().await;
        status
    };
    let (ended, after) = tokio::join!(session, work);
    ended.expect("it ends well");
    assert_eq!(after.machine.tip, before.machine.tip);
    assert_eq!(after.machine.total_work, before.machine.total_work);
    assert_eq!(after.author, before.author);
}

#[tokio::test]
async fn unmined_readings_wait_again_after_a_restart() {
    let folder = Folder::new();
    let mut options = folder.options();
    options.mining = None;
    for start in 0..3 {
        let (handle, events, session) = run(&options);
        drop(events);
        let work = async {
            let recorded = handle.record(Bpm::MIN).await.expect("it runs");
            assert_eq!(recorded.map(|recorded| recorded.seq), Ok(start));
            let status = handle.status().await.expect("it runs");
            assert_eq!(
                status.machine.mempool,
                usize::try_from(start).expect("small") + 1
            );
            // Dropping the last handle stops the session as well.
            drop(handle);
        };
        let (ended, ()) = tokio::join!(session, work);
        ended.expect("it ends well");
    }
}

#[tokio::test]
async fn room_in_use_is_refused_until_it_is_free() {
    let folder = Folder::new();
    let first = open(folder.options(), Offline).expect("it opens");
    let second = open(folder.options(), Offline);
    let error = second.expect_err("in use");
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("--data-dir"), "{error}");
    drop(first);
    open(folder.options(), Offline).expect("it opens again");
}

#[tokio::test]
async fn store_of_a_newer_version_is_left_alone() {
    let folder = Folder::new();
    drop(open(folder.options(), Offline).expect("it opens"));
    let path = folder.file("redb");
    let meta: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
    let database = Database::open(&path).expect("a database");
    let write = database.begin_write().expect("a transaction");
    let newer = (STORE_VERSION + 1).to_le_bytes();
    write
        .open_table(meta)
        .expect("meta")
        .insert("version", newer.as_slice())
        .expect("inserted");
    write.commit().expect("committed");
    drop(database);
    let error = open(folder.options(), Offline).expect_err("newer");
    assert!(
        matches!(error, OpenError::NewerVersion { found: 2, .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("use the newest keeper"),
        "{error}"
    );
}

#[tokio::test]
async fn store_of_another_room_or_author_is_refused() {
    let folder = Folder::new();
    drop(open(folder.options(), Offline).expect("it opens"));
    let mut other = folder.options();
    other.key = KeySource::Seed(7);
    let error = open(other.clone(), Offline).expect_err("another author");
    assert!(matches!(error, OpenError::OtherAuthor { .. }), "{error}");
    other.room = heartchain_test_support::named_room("another");
    let moved = other.data_folder.join(format!("{}.redb", other.room.id()));
    fs::copy(folder.file("redb"), moved).expect("copied");
    let error = open(other, Offline).expect_err("another room");
    assert!(matches!(error, OpenError::OtherRoom { .. }), "{error}");
}

#[tokio::test]
async fn missing_key_beside_a_store_is_an_error() {
    let folder = Folder::new();
    drop(open(folder.options(), Offline).expect("it opens"));
    let (key, aside) = (folder.file("key"), folder.file("aside"));
    fs::rename(&key, &aside).expect("moved");
    let error = open(folder.options(), Offline).expect_err("no key");
    assert!(matches!(error, OpenError::KeyMissing { .. }), "{error}");
    assert!(!key.exists(), "no other key took its place");
    fs::rename(&aside, &key).expect("moved back");
    open(folder.options(), Offline).expect("it opens again");
}

#[tokio::test]
async fn damaged_store_is_an_error_or_is_repaired() {
    let folder = Folder::new();
    let (handle, mut events, session) = run(&folder.options());
    let work = async {
        for number in 0..8 {
            handle
                .record(bpm(60 + number))
                .await
                .expect("it runs")
                .expect("recorded");
        }
        wait_for_blocks(&mut events, 8).await;
        handle.stop().await;
    };
    let (ended, ()) = tokio::join!(session, work);
    ended.expect("it ends well");
    let path = folder.file("redb");
    let bytes = fs::read(&path).expect("the store");
    let mut refused = 0;
    // Each case flips a byte in another part of the file, or cuts it.
    let step = bytes.len() / 97;
    for at in (0..bytes.len()).step_by(step.max(1)) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x55;
        fs::write(&path, &damaged).expect("written");
        refused += usize::from(opens(&folder, at).await);
    }
    for len in [0, 1, 100, 4_096, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..len]).expect("written");
        assert!(opens(&folder, len).await, "a file of {len} bytes");
    }
    fs::write(&path, "this is a text, and no store of a keeper").expect("written");
    assert!(opens(&folder, 0).await, "a text");
    assert!(refused > 0, "most of the file is covered by checksums");
    fs::write(&path, &bytes).expect("written");
    assert!(!opens(&folder, 0).await, "the undamaged store");
}

/// Whether the store is refused, in words. A store that opens runs.
async fn opens(folder: &Folder, case: usize) -> bool {
    let mut options = folder.options();
    options.mining = None;
    match open(options, Offline) {
        Ok(opened) => {
            let stop = opened.handle.clone();
            let stop = async move { stop.stop().await };
            let (ended, ()) = tokio::join!(opened.session.run(), stop);
            ended.expect("it ends well");
            false
        }
        Err(error) => {
            assert!(
                matches!(error, OpenError::Damaged { .. }),
                "case {case}: {error}"
            );
            assert!(
                error.to_string().contains("restore it from a backup"),
                "{error}"
            );
            true
        }
    }
}

#[tokio::test]
async fn chain_events_are_shown_block_by_block() {
    let folder = Folder::new();
    let (handle, mut events, session) = run(&folder.options());
    let work = async {
        let recorded = handle
            .record(bpm(72))
            .await
            .expect("it runs")
            .expect("recorded");
        let event = events.recv().await.expect("an event");
        let KeeperEvent::Block(block) = event else {
            panic!("{event:?}");
        };
        let [reading] = block.readings.as_slice() else {
            panic!("{block:?}");
        };
        assert_eq!((block.index, reading.seq), (1, recorded.seq));
        assert_eq!(reading.content.map(|(_, bpm)| bpm), Some(72));
        handle.stop().await;
    };
    let (ended, ()) = tokio::join!(session, work);
    ended.expect("it ends well");
}
