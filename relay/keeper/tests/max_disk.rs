//! A keeper whose store is as large as it may be.

mod support;

use std::fs;

use heartchain_sync::io::RecordError;
use keeper::{opening::KeeperOptions, session::KeeperEvent, store::DiskLimit};
use support::{Folder, bpm, run};

/// Readings of a test: more than a new store has room for inside.
const MANY: u16 = 3_000;

#[tokio::test]
async fn store_at_its_limit_refuses_and_goes_on() {
    let folder = Folder::new();
    let options = KeeperOptions {
        mining: None,
        ..folder.options()
    };
    let (handle, events, session) = run(&options);
    drop(events);
    let work = async {
        let recorded = handle.record(bpm(60)).await.expect("it runs");
        handle.stop().await;
        vec![recorded.expect("recorded").id]
    };
    let (ended, mut kept) = tokio::join!(session, work);
    ended.expect("it ends well");

    let size = fs::metadata(folder.file("redb")).expect("a store").len();
    let limited = KeeperOptions {
        max_disk: DiskLimit::new(size),
        ..options.clone()
    };
    let (handle, mut events, session) = run(&limited);
    let work = async {
        let mut refused = 0;
        for number in 0..MANY {
            match handle
                .record(bpm(61 + number % 300))
                .await
                .expect("it runs")
            {
                Ok(recorded) => kept.push(recorded.id),
                Err(error) => {
                    assert_eq!(error, RecordError::NotStored);
                    refused += 1;
                }
            }
            if refused > 3 {
                break;
            }
        }
        assert!(refused > 3, "{} readings fit", kept.len());
        let event = events.recv().await.expect("an event");
        let KeeperEvent::StorageFailing { reason } = event else {
            panic!("{event:?}");
        };
        assert!(reason.contains("--max-disk"), "{reason}");
        // What it has is still served.
        let file = folder.path().join("at-the-limit.json");
        let exported = keeper::archive::export(&handle, &file).await;
        assert!(exported.expect("exported").waiting > 0);
        let status = handle.status().await.expect("it runs");
        assert_eq!(status.storage_failing, Some(reason));
        handle.stop().await;
    };
    let (ended, ()) = tokio::join!(session, work);
    ended.expect("it ends well");
    let at_limit = fs::metadata(folder.file("redb")).expect("a store").len();
    assert!(at_limit <= size, "{at_limit} bytes, of {size} at most");

    // With a larger limit everything that was reported is there, and more is recorded.
    let (handle, events, session) = run(&options);
    drop(events);
    let work = async {
        let recorded = handle.record(bpm(99)).await.expect("it runs");
        let seq = recorded.expect("recorded").seq;
        handle.stop().await;
        seq
    };
    let (ended, seq) = tokio::join!(session, work);
    ended.expect("it ends well");
    assert_eq!(seq, kept.len() as u64, "nothing that was kept is lost");
}
