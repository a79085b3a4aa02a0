//! Opens the storage of a tab and restores the machine as it was when the tab closed. If no database is available, the
//! store is in memory, and the status reports the reason.

use std::{any::Any, fmt::Debug, rc::Rc};

use heartchain_chain::{header::Header, key::SecretKey, room::Room};
use heartchain_sync::{Config, Machine, Restore, StoredBlock};

use super::{
    health::{Health, Reason},
    indexed_db::IndexedDb,
    listed_slot::{self, Taken},
    loading::Loaded,
    memory::MemoryStore,
    mirror::Mirror,
    room_use::RoomUse,
    slot::{Released, Slot},
    store::{Storage, StoreError},
};
use crate::clock;

/// A restored or new peer, and its store.
pub(crate) struct Opened<P> {
    pub(crate) machine: Machine<P>,
    pub(crate) store: Box<dyn Storage>,
    /// The seed of the current signing key. The key of the network is derived from it.
    pub(crate) seed: [u8; 32],
    pub(crate) health: Rc<Health>,
    /// A second copy of the data that peers cannot restore.
    pub(crate) mirror: Option<Rc<Mirror>>,
    /// The lock that keeps other tabs out of the store. Drop it after the last write.
    pub(crate) hold: Option<Box<dyn Any>>,
    /// Resolves once that lock is free again.
    pub(crate) released: Option<Released>,
}

/// Closes the storage as a node that stops does, and waits until its lock is free.
#[cfg(test)]
pub(super) async fn close<P>(opened: Opened<P>) {
    let Opened {
        store,
        hold,
        released,
        ..
    } = opened;
    drop(store);
    drop(hold);
    if let Some(released) = released {
        released.await.expect("it is released");
    }
}

/// Opens the storage of this tab for a room. `label` is what the room's link calls it. The storage is on disk, unless the page requests `in_memory` or no database is available.
///
/// # Errors
/// If the browser has no random number generator.
pub(crate) async fn open<P: Copy + Ord + Debug>(
    room: Room,
    label: Option<&str>,
    in_memory: bool,
) -> Result<Opened<P>, getrandom::Error> {
    let taken = if in_memory {
        Err(Reason::Requested)
    } else {
        listed_slot::take(&room, label, async |slot| load(&room, slot).await).await
    };
    let reason = match taken {
        Ok(taken) => match on_disk(&room, taken).await {
            Ok(opened) => return Ok(opened),
            Err(Failure::Entropy(error)) => return Err(error),
            Err(Failure::Unavailable(reason)) => reason,
            Err(Failure::Store(_)) => Reason::Blocked,
        },
        Err(reason) => reason,
    };
    let seed = clock::entropy()?;
    let key = SecretKey::from_seed(seed);
    Ok(Opened {
        machine: Machine::new(
            Config::default(),
            room,
            key,
            clock::entropy()?,
            clock::both(),
        ),
        store: Box::new(MemoryStore::default()),
        seed,
        health: Health::new(Err(reason)),
        mirror: None,
        hold: None,
        released: None,
    })
}

/// Why the storage of a slot could not be opened.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Entropy(#[from] getrandom::Error),
    #[error("no database is available: {0:?}")]
    Unavailable(Reason),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An open database, and all that was loaded from it but the blocks.
type Found = (IndexedDb, Rc<Health>, Loaded);

/// Opens the database of a slot and loads all but its blocks.
async fn load(room: &Room, slot: &Slot) -> Result<Found, Failure> {
    let health = Health::new(Ok(slot.number));
    let opening = IndexedDb::open(&slot.name, room, health.clone()).await;
    let store = opening.map_err(Failure::Unavailable)?;
    let loaded = store.load().await?;
    Ok((store, health, loaded))
}

async fn on_disk<P: Copy + Ord + Debug>(
    room: &Room,
    taken: Taken<Result<Found, Failure>>,
) -> Result<Opened<P>, Failure> {
    let Taken {
        mut slot,
        list,
        opened,
    } = taken;
    let (mut store, health, loaded) = opened?;
    let released = slot.take_released();
    store.usage = RoomUse::new(list, room.id(), slot.number);
    health.note_loss(loaded.loss);
    let first_key = match loaded.first_key {
        Some(seed) => seed,
        None => {
            // The key must be on disk before it signs anything.
            let seed = clock::entropy()?;
            store.put_first_key(&seed).await?;
            seed
        }
    };
    let newest = loaded.keys.iter().max_by_key(|(from, _)| *from);
    let seed = newest.map_or(first_key, |(_, seed)| *seed);
    let keys = loaded.keys.iter();
    let mut restore = Restore::new(
        Config::default(),
        room.clone(),
        SecretKey::from_seed(first_key),
        keys.map(|(from, seed)| (*from, SecretKey::from_seed(*seed))),
        clock::entropy()?,
        clock::both(),
    );
    if let Some(len) = loaded.journal_len {
        restore.journal_len(len);
    }
    let readings = recorded(&loaded);
    restore.journal(loaded.journal);
    restore.tip(loaded.tip);
    restore.confirmed(loaded.confirmed);
    let with_bodies = restore.needs_bodies();
    let mut bytes = 0;
    store
        .load_blocks(with_bodies, |blocks| {
            let each = blocks.iter().map(|block| stored_len(room, block));
            bytes += each.sum::<usize>();
            restore.stored(blocks);
        })
        .await?;
    store.usage.found(readings, bytes as u64);
    // Without this copy, the list of rooms has the only one.
    let _ = store.keep_access().await;
    restore.recovery(loaded.recovery);
    restore.adopted(loaded.adopted);
    restore.profiles(loaded.profiles);
    let mirror = store.mirror.clone();
    health.note_repaired(restore.damaged());
    health.refresh_estimate(true).await;
    Ok(Opened {
        machine: restore.finish(),
        store: Box::new(store),
        seed,
        health,
        mirror: Some(mirror),
        hold: Some(Box::new(slot)),
        released,
    })
}

/// How many readings were recorded in this slot, lost ones included. An entry that was signed again counts once.
fn recorded(loaded: &Loaded) -> u64 {
    let end = loaded.journal.last().map_or(0, |(last, _)| last + 1);
    let len = loaded.journal_len.unwrap_or_default().max(end);
    let again = loaded.journal.iter();
    let again = again.filter(|(_, entry)| entry.replaces.is_some()).count();
    len.saturating_sub(again as u64)
}

/// Length of a block in bytes, as it is stored.
fn stored_len(room: &Room, block: &StoredBlock) -> usize {
    match block {
        StoredBlock::Full(_, block) => block.encoded_len(),
        StoredBlock::Indexed(block) => {
            Header::LEN + 4 + block.entries.len() * room.form().reading_len()
        }
    }
}
