//! What tests of keepers share.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::PathBuf;

use heartchain_chain::{bpm::Bpm, room::Room};
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
