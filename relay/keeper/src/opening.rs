//! Opens the files of a room and builds a session from them: lock, key, store, machine.

use std::{
    fs::DirBuilder,
    path::{Path, PathBuf},
};

use heartchain_chain::{hash::RoomId, room::Room};
use heartchain_peer::clock::{self, Alarm};
use tokio::sync::mpsc;

use crate::{
    author_key::{self, KeySource},
    miner::{Miner, MiningShare},
    network::{Network, NetworkOptions, Online},
    room_lock::RoomLock,
    session::{Handle, KeeperEvent, Session, events, handle, replies::Replies},
    store::{DiskLimit, OpenError, Queue, Restored, Start, Storage, Store},
    webrtc_certificate,
};

/// What a session is made of.
#[derive(Clone, Debug)]
pub struct KeeperOptions {
    /// The room that it keeps.
    pub room: Room,
    /// The folder with the files of all rooms.
    pub data_folder: PathBuf,
    /// Where the key of the author comes from.
    pub key: KeySource,
    /// With which share of a core it mines; `None` mines nothing.
    pub mining: Option<MiningShare>,
    /// How large the stores in the folder may become together.
    pub max_disk: DiskLimit,
}

/// A session that is ready to run, its handle, and what it tells.
#[derive(Debug)]
pub struct Opened<N: Network> {
    /// The session, which [`Session::run`] runs.
    pub session: Session<N>,
    /// What others ask of it.
    pub handle: Handle,
    /// Its events. Dropping this ends them.
    pub events: mpsc::Receiver<KeeperEvent>,
}

/// The paths of a room's files in the data folder.
struct RoomFiles {
    store: PathBuf,
    key: PathBuf,
    certificate: PathBuf,
    lock: PathBuf,
}

impl RoomFiles {
    fn new(folder: &Path, room: RoomId) -> Self {
        let file = |extension| folder.join(format!("{room}.{extension}"));
        Self {
            store: file("redb"),
            key: file("key"),
            certificate: file("certificate"),
            lock: file("lock"),
        }
    }
}

/// Opens the files of a room, and creates those that do not exist.
///
/// # Errors
/// If a file is in use, damaged, of a newer version, or cannot be read or created.
pub fn open<N: Network>(options: KeeperOptions, network: N) -> Result<Opened<N>, OpenError> {
    let wrap = |store| -> Box<dyn Storage> { Box::new(store) };
    open_with(options, |_| Ok(network), wrap)
}

/// As [`open`], with the libp2p network of the room.
///
/// # Errors
/// Those of [`open`], and if the network cannot be set up.
pub fn open_online(
    options: KeeperOptions,
    network: NetworkOptions,
) -> Result<Opened<Online>, OpenError> {
    let wrap = |store| -> Box<dyn Storage> { Box::new(store) };
    let online = |start: NetworkStart<'_>| {
        let certificate = webrtc_certificate::load(start.certificate)?;
        Ok(Online::new(start.room, &start.seed, certificate, network)?)
    };
    open_with(options, online, wrap)
}

/// What a network begins with.
pub(crate) struct NetworkStart<'a> {
    room: &'a Room,
    /// Of the author's first key.
    seed: [u8; 32],
    /// The path of the certificate for browsers.
    certificate: &'a Path,
}

/// Whether the data folder has a store of the room.
///
/// # Errors
/// If the folder cannot be read.
pub fn has_store(options: &KeeperOptions) -> Result<bool, OpenError> {
    let path = RoomFiles::new(&options.data_folder, options.room.id()).store;
    path.try_exists().map_err(OpenError::io("open", &path))
}

/// As [`open`], with a store around the one on disk.
pub(crate) fn open_with<N: Network>(
    options: KeeperOptions,
    network: impl FnOnce(NetworkStart<'_>) -> Result<N, OpenError>,
    wrap: impl FnOnce(Store) -> Box<dyn Storage>,
) -> Result<Opened<N>, OpenError> {
    let KeeperOptions {
        room,
        data_folder,
        key,
        mining,
        max_disk,
    } = options;
    create_folder(&data_folder)?;
    let files = RoomFiles::new(&data_folder, room.id());
    let lock = RoomLock::acquire(&files.lock)?;
    let has_store = files.store.try_exists();
    let has_store = has_store.map_err(OpenError::io("open", &files.store))?;
    let first_key = author_key::load(key, &files.key, has_store)?;
    let network = network(NetworkStart {
        room: &room,
        seed: first_key.seed(),
        certificate: &files.certificate,
    })?;
    let store = Store::open(
        &files.store,
        room.id(),
        first_key.author(),
        room.form(),
        max_disk,
    )?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let Restored {
        mut machine,
        damaged,
    } = store.restore(Start {
        room,
        first_key,
        mining: mining.is_some(),
        seed,
        now: clock::both(),
    })?;
    network.identify(&mut machine);
    let (handle, commands) = handle::channel();
    let (mut sender, events) = events::channel();
    if damaged > 0 {
        let records = damaged;
        sender.send(KeeperEvent::Damaged { records });
    }
    let session = Session {
        machine,
        network,
        queue: Queue::new(wrap(store)),
        miner: Miner::new(mining.unwrap_or(MiningShare::DEFAULT)),
        commands,
        events: sender,
        alarm: Alarm::default(),
        replies: Replies::default(),
        known_peers: 0,
        failing: None,
        lock,
    };
    Ok(Opened {
        session,
        handle,
        events,
    })
}

/// Creates the data folder, accessible by its owner only. An existing folder keeps its mode.
fn create_folder(folder: &Path) -> Result<(), OpenError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(folder)
        .map_err(OpenError::io("create the folder", folder))
}

#[cfg(test)]
mod tests;
