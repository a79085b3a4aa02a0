//! The place where a tab keeps things, found and opened, and the machine as it was when the tab last closed. Where there
//! is no such place, everything is in memory, and the status says why.

use std::{any::Any, fmt::Debug, rc::Rc};

use chain::{key::SecretKey, room::Room};
use sync::{Config, Machine, Restore};

use super::{
    Health, IndexedDb, MemoryStore, Mirror, Reason, Storage, StoreError,
    slot::{self, Slot},
};
use crate::{clock, config};

/// A peer, as it was or new.
pub(crate) struct Opened<P> {
    pub(crate) machine: Machine<P>,
    pub(crate) store: Box<dyn Storage>,
    /// The seed of the key that signs: the peer's name on the network is made of it, too.
    pub(crate) seed: [u8; 32],
    pub(crate) health: Rc<Health>,
    /// A copy of what no peer could give back.
    pub(crate) mirror: Option<Rc<Mirror>>,
    /// Keeps others from the store; to be dropped when nothing more is written.
    pub(crate) hold: Option<Box<dyn Any>>,
}

/// Opens what this tab keeps of a room; on disk, unless the page asks `in_memory`, or the browser has no place.
///
/// # Errors
/// If the browser has no chance.
pub(crate) async fn open<P: Copy + Ord + Debug>(
    room: Room,
    in_memory: bool,
) -> Result<Opened<P>, getrandom::Error> {
    let slot = if in_memory {
        Err(Reason::Asked)
    } else {
        slot::take(room.id(), config::OPEN_TIMEOUT).await
    };
    let reason = match slot {
        Ok(slot) => match on_disk(&room, slot).await {
            Ok(opened) => return Ok(opened),
            Err(Failure::Entropy(error)) => return Err(error),
            Err(Failure::Place(reason)) => reason,
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
    })
}

/// Why nothing can be kept in a slot.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Entropy(#[from] getrandom::Error),
    #[error("there is no database to be had: {0:?}")]
    Place(Reason),
    #[error(transparent)]
    Store(#[from] StoreError),
}

async fn on_disk<P: Copy + Ord + Debug>(room: &Room, slot: Slot) -> Result<Opened<P>, Failure> {
    let health = Health::new(Ok(slot.number));
    let opening = IndexedDb::open(&slot.name, room.id(), health.clone()).await;
    let mut store = opening.map_err(Failure::Place)?;
    let loaded = store.load().await?;
    health.note_loss(loaded.loss);
    let first = match loaded.first_key {
        Some(seed) => seed,
        None => {
            // On disk before anything is signed with it.
            let seed = clock::entropy()?;
            store.put_first_key(&seed).await?;
            seed
        }
    };
    let newest = loaded.keys.iter().max_by_key(|(from, _)| *from);
    let seed = newest.map_or(first, |(_, seed)| *seed);
    let keys = loaded.keys.iter();
    let mut restore = Restore::new(
        Config::default(),
        room.clone(),
        SecretKey::from_seed(first),
        keys.map(|(from, seed)| (*from, SecretKey::from_seed(*seed))),
        clock::entropy()?,
        clock::both(),
    );
    if let Some(len) = loaded.journal_len {
        restore.journal_len(len);
    }
    restore.journal(loaded.journal);
    restore.tip(loaded.tip);
    restore.confirmed(loaded.confirmed);
    let whole = restore.needs_bodies();
    store
        .load_blocks(whole, |blocks| restore.stored(blocks))
        .await?;
    restore.rescue(loaded.rescue);
    restore.adopted(loaded.adopted);
    let mirror = store.mirror.clone();
    health.note_healed(restore.damaged());
    health.look(true).await;
    Ok(Opened {
        machine: restore.finish(),
        store: Box::new(store),
        seed,
        health,
        mirror: Some(mirror),
        hold: Some(Box::new(slot)),
    })
}
