//! A keeper on a disk that is full. Needs root, to mount a small disk; left out, and said so, without.

#![cfg(target_os = "linux")]

#[path = "support/small_disk.rs"]
mod small_disk;
mod support;

use std::fs;

use keeper::{opening::KeeperOptions, session::KeeperEvent};
use small_disk::SmallDisk;
use support::{Folder, bpm, record_until_refused, run};

#[tokio::test]
async fn full_disk_refuses_and_the_keeper_goes_on() {
    let Some(disk) = SmallDisk::mount(8 * 1024 * 1024) else {
        println!("left out: a small disk can be mounted by root only");
        return;
    };
    let folder = Folder::new();
    let options = KeeperOptions {
        data_folder: disk.path().to_owned(),
        mining: None,
        ..folder.options()
    };
    let (handle, mut events, session) = run(&options);
    let work = async {
        let record = async |number| handle.record(bpm(number)).await.expect("it runs");
        let mut kept = Vec::new();
        kept.push(record(60).await.expect("recorded").id);
        for round in 0..3 {
            disk.fill();
            // The file may have room left inside.
            let filled = record_until_refused(&handle, &mut events, 2_000).await;
            kept.extend(filled.kept);
            let reason = filled.reason;
            assert!(reason.contains("the disk is full"), "{round}: {reason}");
            // What it has is served, and the disk is not needed for that.
            let file = folder.path().join("full.json");
            let exported = keeper::archive::export(&handle, &file).await;
            assert_eq!(exported.expect("exported").found.waiting, kept.len());
            disk.empty();
            kept.push(record(100).await.expect("recorded again").id);
            assert_eq!(events.recv().await, Some(KeeperEvent::StorageRecovered));
        }
        handle.stop().await;
        kept
    };
    let (ended, kept) = tokio::join!(session, work);
    ended.expect("it ends well");

    let (handle, events, session) = run(&options);
    drop(events);
    let file = folder.path().join("all.json");
    let work = async {
        let found = keeper::archive::export(&handle, &file)
            .await
            .expect("exported");
        handle.stop().await;
        found.found.waiting
    };
    let (ended, waiting) = tokio::join!(session, work);
    ended.expect("it ends well");
    let text = fs::read_to_string(&file).expect("the export");
    assert_eq!(waiting, kept.len());
    for id in kept {
        assert!(text.contains(&id.to_string()), "{id}");
    }
}
