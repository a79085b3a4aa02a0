//! Moving an author to another device: a file with its keys and its journal, encrypted with a passphrase. The old place
//! keeps working until a person confirms that the import worked. Until then, and after a mistake, the rule for a key that
//! signs in two places protects the readings.

use heartchain_chain::{hash::RoomId, profile::Profile};

use crate::{
    arguments::is_nfc,
    clock,
    move_file::{self, Cost, MoveFileError, MovedIdentity},
    node::{Node, NodeError},
    room_access::RoomAccess,
    storage::{self, KeepIdentityError, RetireError, StoreError},
};

/// Why no move file was made, or it was not imported, or an identity was not retired.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum MoveError {
    /// The node has stopped.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The file cannot be made or opened.
    #[error(transparent)]
    File(#[from] MoveFileError),
    /// The browser has no random number generator.
    #[error("this browser gives no random numbers: {0}")]
    Entropy(#[from] getrandom::Error),
    /// The room is private, and its key is not known here.
    #[error("this room's key is not known here: open the room by its link and try again")]
    NoKey,
    /// The identity was not written.
    #[error(transparent)]
    Keep(#[from] KeepIdentityError),
    /// The identity was not retired.
    #[error(transparent)]
    Retire(#[from] RetireError),
    /// It could not be noted what the file has.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The author and the room of a file that was imported.
#[derive(Debug)]
pub(crate) struct ImportedIdentity {
    pub(crate) room: RoomId,
    pub(crate) access: RoomAccess,
    pub(crate) label: String,
    /// How many readings the file has.
    pub(crate) readings: u64,
}

/// Makes a move file of a tab's author.
///
/// # Errors
/// If the node has failed, or the browser gives no random numbers or not enough memory.
pub(crate) async fn export_identity(node: Node, passphrase: &str) -> Result<Vec<u8>, MoveError> {
    let (mut identity, slot) = node
        .with_state(|state| {
            let machine = &state.machine;
            let access = RoomAccess::of(machine.room())?;
            let len = machine.journal_len();
            let keys = machine.signing_keys();
            let own = keys.last().map(|(_, key)| key.author());
            let profile = machine.profiles().find(|it| Some(it.author) == own);
            let first = machine.unconfirmed_own_entries(1);
            let identity = MovedIdentity {
                access,
                label: String::new(),
                keys: move_file::keys_in_use(keys.iter().map(|(from, key)| (*from, key.seed()))),
                journal: (0..len).map(|at| machine.journal_entry(at)).collect(),
                unconfirmed_from: first.first().map_or(len, |(position, _)| *position),
                profile: profile.map(Profile::encode),
            };
            Some((identity, state.storage.place().ok()))
        })?
        .ok_or(MoveError::NoKey)?;
    let room = identity.access.room().id();
    identity.label = storage::room_label(room).await.unwrap_or_default();
    let (salt, nonce) = (first(clock::entropy()?), first(clock::entropy()?));
    let file = move_file::seal(&identity, passphrase, Cost::DEFAULT, salt, nonce)?;
    let entries = identity.journal.len() as u64;
    match slot {
        Some(slot) => storage::note_moved(room, slot, entries).await?,
        None => node.with_state(|state| state.moved.set(Some(entries)))?,
    }
    Ok(file)
}

/// The first bytes of 32.
fn first<const N: usize>(bytes: [u8; 32]) -> [u8; N] {
    std::array::from_fn(|at| bytes.get(at).copied().unwrap_or_default())
}

/// Imports a move file: the next tab of its room is that author. Importing it again changes nothing.
///
/// # Errors
/// If the passphrase or the file is wrong, or there is no place for the identity. Then nothing has changed.
pub(crate) async fn import_identity(
    file: &[u8],
    passphrase: &str,
) -> Result<ImportedIdentity, MoveError> {
    let identity = move_file::open(file, passphrase, is_nfc)?;
    storage::keep_identity(&identity).await?;
    Ok(ImportedIdentity {
        room: identity.access.room().id(),
        readings: identity.readings(),
        access: identity.access,
        label: identity.label,
    })
}

/// Stops a tab and removes its author from this device.
///
/// # Errors
/// If no move file has all of its readings, or the browser refuses. Then the author stays.
pub(crate) async fn retire(node: Node) -> Result<(), MoveError> {
    let (room, slot, seed, len, in_memory) = node.with_state(|state| {
        let machine = &state.machine;
        let newest = machine.signing_keys().pop().map(|(_, key)| key.seed());
        let (room, len) = (machine.room().id(), machine.journal_len());
        (
            room,
            state.storage.place().ok(),
            newest,
            len,
            state.moved.get(),
        )
    })?;
    let moved = match slot {
        Some(slot) => storage::moved_len(room, slot).await,
        None => in_memory,
    };
    if moved.is_none_or(|moved| moved < len) {
        return Err(RetireError::NotMoved.into());
    }
    node.stop().await;
    match slot.zip(seed) {
        Some((slot, seed)) => Ok(storage::retire(room, slot, seed).await?),
        // Nothing of it is on the disk.
        None => Ok(()),
    }
}
