//! A keeper whose stores are as large as they may be.

mod support;

use std::fs;

use heartchain_test_support::named_room;
use keeper::{opening::KeeperOptions, store::DiskLimit};
use support::{Folder, bpm, record_until_refused, run};

/// A limit that some hundred readings reach.
const LIMIT: u64 = 448 * 1_024;
/// Readings of a test: more than fit.
const MANY: u16 = 20_000;

/// Creates the store of the room with this name, for which a new one needs more than it has in the end.
async fn create(options: &KeeperOptions) {
    let larger = KeeperOptions {
        max_disk: DiskLimit::DEFAULT,
        ..options.clone()
    };
    let (handle, events, session) = run(&larger);
    drop(events);
    let (ended, ()) = tokio::join!(session, handle.stop());
    ended.expect("it ends well");
}

#[tokio::test]
async fn keeper_at_its_limit_refuses_and_goes_on() {
    let folder = Folder::new();
    let options = KeeperOptions {
        mining: None,
        max_disk: DiskLimit::new(LIMIT),
        ..folder.options()
    };
    create(&options).await;
    let mut kept = Vec::new();
    // After a restart, too.
    for start in 0..2 {
        let (handle, mut events, session) = run(&options);
        let work = async {
            let filled = record_until_refused(&handle, &mut events, MANY).await;
            kept.extend(filled.kept);
            let reason = filled.reason;
            assert!(reason.contains("that --max-disk allows"), "{reason}");
            // What it has is still served.
            for number in 0..5 {
                let recorded = handle.record(bpm(70 + number)).await.expect("it runs");
                kept.extend(recorded.map(|recorded| recorded.id));
                let file = folder.path().join("at-the-limit.json");
                let exported = keeper::archive::export(&handle, &file).await;
                let exported = exported.expect("exported");
                assert_eq!(exported.found.waiting, kept.len(), "start {start}");
            }
            handle.stop().await;
        };
        let (ended, ()) = tokio::join!(session, work);
        ended.expect("it ends well");
        let len = fs::metadata(folder.file("redb")).expect("a store").len();
        assert!(len <= LIMIT + 4_096, "{len} bytes");
    }
    assert!(kept.len() > 100, "{} readings", kept.len());

    // With a larger limit everything that was reported is there, and more is recorded.
    let larger = KeeperOptions {
        max_disk: DiskLimit::DEFAULT,
        ..options
    };
    let (handle, events, session) = run(&larger);
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

#[tokio::test]
async fn rooms_of_a_folder_share_the_limit() {
    let folder = Folder::new();
    let limit = LIMIT + 192 * 1_024;
    let options = ["first", "second"].map(|name| KeeperOptions {
        room: named_room(name),
        mining: None,
        max_disk: DiskLimit::new(limit),
        ..folder.options()
    });
    for options in &options {
        create(options).await;
    }
    let [
        (first, mut events, session),
        (second, mut others_events, others_session),
    ] = options.each_ref().map(run);
    let work = async {
        let mut kept = record_until_refused(&first, &mut events, MANY).await.kept;
        let others = record_until_refused(&second, &mut others_events, MANY).await;
        kept.extend(others.kept);
        first.stop().await;
        second.stop().await;
        kept.len()
    };
    let (ended, others_ended, kept) = tokio::join!(session, others_session, work);
    ended.expect("it ends well");
    others_ended.expect("it ends well");
    assert!(kept > 500, "{kept} readings");
    let files = fs::read_dir(folder.path()).expect("a folder");
    let files = files.map(|file| file.expect("a file"));
    let total: u64 = files
        .filter(|file| {
            file.path()
                .extension()
                .is_some_and(|ending| ending == "redb")
        })
        .map(|file| file.metadata().expect("a length").len())
        .sum();
    assert!(total <= limit + 2 * 4_096, "{total} bytes");
}
