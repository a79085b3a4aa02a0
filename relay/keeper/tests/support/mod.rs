//! What tests of keepers share.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::PathBuf;

use heartchain_chain::{bpm::Bpm, hash::ReadingId, room::Room};
use heartchain_sync::io::RecordError;
use keeper::{
    author_key::KeySource,
    cli::{FilesArgs, PlaceArgs},
    miner::MiningShare,
    network::Offline,
    opening::{KeeperOptions, Opened, open},
    session::{Handle, KeeperEvent, SessionError},
    store::DiskLimit,
};
use tokio::sync::mpsc;

/// A data folder that is removed at the end.
pub(crate) struct Folder {
    folder: tempfile::TempDir,
    pub(crate) room: Room,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self::of(heartchain_test_support::room())
    }

    /// A data folder for keepers of this room.
    pub(crate) fn of(room: Room) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            room,
        }
    }

    pub(crate) fn options(&self) -> KeeperOptions {
        KeeperOptions {
            room: self.room.clone(),
            data_folder: self.folder.path().to_owned(),
            key: KeySource::File,
            mining: Some(MiningShare::new(100).expect("a share")),
            max_disk: DiskLimit::DEFAULT,
        }
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The room's file with this extension.
    pub(crate) fn file(&self, extension: &str) -> PathBuf {
        let name = format!("{}.{extension}", self.room.id());
        self.folder.path().join(name)
    }
}

/// What a command is told of the folder. The room is the default one.
pub(crate) fn place(folder: &Folder) -> PlaceArgs {
    PlaceArgs {
        files: FilesArgs {
            max_disk: None,
            data_dir: Some(folder.path().to_owned()),
            seed: None,
        },
        ..PlaceArgs::default()
    }
}

pub(crate) fn bpm(number: u16) -> Bpm {
    Bpm::new(number).expect("a heart rate")
}

/// What a store that takes no more readings has.
pub(crate) struct Filled {
    /// The readings that were recorded.
    pub(crate) kept: Vec<ReadingId>,
    /// Why the others were refused.
    pub(crate) reason: String,
}

/// Refusals in a row after which a test believes that a disk takes no more readings.
const REFUSALS: usize = 4;

/// Records readings, at most `most`, until several in a row are refused. Takes the events until then.
pub(crate) async fn record_until_refused(
    handle: &Handle,
    events: &mut mpsc::Receiver<KeeperEvent>,
    most: u16,
) -> Filled {
    let mut kept = Vec::new();
    let mut refused = 0;
    for number in 0..most {
        let recorded = handle.record(bpm(61 + number % 300)).await;
        match recorded.expect("it runs") {
            Ok(recorded) => {
                kept.push(recorded.id);
                refused = 0;
            }
            Err(error) => {
                assert_eq!(error, RecordError::NotStored);
                refused += 1;
            }
        }
        if refused == REFUSALS {
            break;
        }
    }
    assert_eq!(refused, REFUSALS, "{} readings fit", kept.len());
    while let Ok(event) = events.try_recv() {
        let is_expected = matches!(
            event,
            KeeperEvent::StorageFailing { .. } | KeeperEvent::StorageRecovered
        );
        assert!(is_expected, "{event:?}");
    }
    let status = handle.status().await.expect("it runs");
    let reason = status.storage_failing.expect("the disk refuses writes");
    Filled { kept, reason }
}

/// Opens a keeper without network.
pub(crate) fn run(
    options: &KeeperOptions,
) -> (
    Handle,
    mpsc::Receiver<KeeperEvent>,
    impl Future<Output = Result<(), SessionError>> + use<>,
) {
    let Opened {
        session,
        handle,
        events,
    } = open(options.clone(), Offline).expect("it opens");
    (handle, events, session.run())
}

/// Waits until blocks with this many readings were shown.
pub(crate) async fn wait_for_blocks(events: &mut mpsc::Receiver<KeeperEvent>, readings: usize) {
    let mut found = 0;
    while found < readings {
        if let KeeperEvent::Block(block) = events.recv().await.expect("an event") {
            found += block.readings.len();
        }
    }
}
