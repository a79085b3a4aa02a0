//! Deletes all that this device has of a room: the databases of every slot, the second copies of keys and readings, and
//! what the page computed from them. What other devices have stays there.
//!
//! The locks of all slots are held meanwhile, so no tab writes what is being deleted. Once they are held, the room is marked in the
//! list of rooms; the mark goes last. A deletion that a crash has interrupted is finished before the room is opened or the list is
//! shown.

use std::time::Duration;

use futures::future::select;
use heartchain_chain::hash::RoomId;
use idb::{Factory, KeyRange};
use js_sys::Array;

use super::{
    mirror,
    open_slots::OpenSlots,
    patience::within,
    read_only,
    rebuilding::{backup_name, database_names},
    room_list::RoomList,
    rooms_on_disk::slots_on_disk,
    schema::{self, OPEN_TIMEOUT},
    slot::{self, Slot},
    store::StoreError,
};
use crate::clock;

/// The page's own database, with the lowest, highest and average heart rates of each room. See `www/history.js`.
const HISTORY: &str = "heartchain-history";
/// Its object store. The keys are lists that begin with a room's ID.
const HISTORY_STORE: &str = "rooms";
/// How long the browser may take to give back a lock that was dropped.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);

/// Why a room was not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeleteRoomError {
    /// A tab has the room open. Nothing was deleted.
    #[error(
        "this room is open in a tab of this browser: close it there, then delete the room again"
    )]
    Open,
    /// The browser refuses, or does not answer. The rest is deleted the next time.
    #[error("not all of the room could be deleted: {0}; close all tabs of this page and try again")]
    Store(#[from] StoreError),
}

/// Deletes a room. Deleting one that is not there succeeds.
///
/// # Errors
/// If a tab has the room open, or the browser refuses.
pub(crate) async fn delete_room(room: RoomId) -> Result<(), DeleteRoomError> {
    let list = RoomList::open().await.ok();
    // Before the room is marked, so that a deletion that is refused leaves no mark after a crash.
    let (numbers, held) = hold_all(room, list.as_ref()).await?;
    if let Some(list) = &list {
        let before = list.mark_deleting(room).await?;
        // A tab that has started meanwhile is in the list.
        let is_held = |number: &u8| numbers.contains(&u32::from(*number));
        if !before.slots.keys().all(is_held) {
            if !before.deleting {
                list.unmark(room, before).await?;
            }
            return Err(DeleteRoomError::Open);
        }
    }
    delete_held(room, list.as_ref(), &numbers, held).await
}

/// Finishes a deletion that was interrupted. Another tab may have finished it, and a person may have opened the room again.
///
/// # Errors
/// If a tab has the room open, or the browser refuses.
pub(super) async fn finish_deletion(room: RoomId, list: &RoomList) -> Result<(), DeleteRoomError> {
    let (numbers, held) = hold_all(room, Some(list)).await?;
    if list.is_deleting(room).await? {
        delete_held(room, Some(list), &numbers, held).await
    } else {
        release(held).await;
        Ok(())
    }
}

/// Takes the locks of all slots of a room. Also returns their numbers.
async fn hold_all(
    room: RoomId,
    list: Option<&RoomList>,
) -> Result<(Vec<u32>, Vec<Slot>), DeleteRoomError> {
    let mut numbers = slots_on_disk().await.remove(&room).unwrap_or_default();
    if let Some(list) = list {
        let listed = list.slots(room).await?;
        for number in listed {
            numbers.insert(number, ());
        }
    }
    let numbers: Vec<u32> = numbers.keys().copied().collect();
    let mut held = Vec::new();
    for number in &numbers {
        match slot::try_take(room, *number).await {
            Ok(Some(slot)) => held.push(slot),
            Ok(None) | Err(_) => return Err(DeleteRoomError::Open),
        }
    }
    // A tab may have a slot that is not known here, because the list could not be written.
    if OpenSlots::look().await.count(room) > held.len() {
        return Err(DeleteRoomError::Open);
    }
    Ok((numbers, held))
}

async fn delete_held(
    room: RoomId,
    list: Option<&RoomList>,
    numbers: &[u32],
    held: Vec<Slot>,
) -> Result<(), DeleteRoomError> {
    delete_data(room, numbers).await?;
    release(held).await;
    delete_locks(room, numbers).await?;
    if let Some(list) = list {
        list.remove_deleted(room).await?;
    }
    Ok(())
}

async fn delete_data(room: RoomId, numbers: &[u32]) -> Result<(), StoreError> {
    let existing = database_names().await;
    for number in numbers {
        let name = slot::name(room, *number);
        for name in [backup_name(&name), name] {
            if existing.as_ref().is_none_or(|all| all.contains(&name)) {
                delete_database(&name).await?;
            }
        }
    }
    delete_history(room).await?;
    mirror::delete(&slot::prefix(room));
    slot::forget(room);
    Ok(())
}

/// Gives the locks back, and waits until they are free.
async fn release(held: Vec<Slot>) {
    for mut slot in held {
        let released = slot.take_released();
        drop(slot);
        if let Some(released) = released {
            select(released, clock::sleep(RELEASE_LIMIT)).await;
        }
    }
}

/// Deletes the databases that serve as locks where there are no Web Locks.
async fn delete_locks(room: RoomId, numbers: &[u32]) -> Result<(), StoreError> {
    let existing = database_names().await;
    for number in numbers {
        let name = slot::lock_database(room, *number);
        let is_there = match &existing {
            Some(names) => names.contains(&name),
            None => !slot::has_web_locks(),
        };
        if is_there {
            delete_database(&name).await?;
        }
    }
    Ok(())
}

/// Deletes a database. Waits until no tab is connected to it; a deletion that is late goes on.
async fn delete_database(name: &str) -> Result<(), StoreError> {
    let name = name.to_owned();
    let deleting = async move { Factory::new()?.delete(&name)?.await };
    match within(OPEN_TIMEOUT, deleting, drop).await {
        Some(deleted) => Ok(deleted?),
        None => Err(StoreError::unanswered()),
    }
}

/// Deletes what the page computed from the room's readings.
async fn delete_history(room: RoomId) -> Result<(), StoreError> {
    let Some(database) = read_only::open_existing(HISTORY).await? else {
        return Ok(());
    };
    let deleted = if database.object_store_names().contains(HISTORY_STORE) {
        delete_rows(&database, room).await
    } else {
        Ok(())
    };
    database.close();
    deleted
}

async fn delete_rows(database: &web_sys::IdbDatabase, room: RoomId) -> Result<(), StoreError> {
    let write = schema::write_transaction(database, &[HISTORY_STORE], true)?;
    let first = Array::of1(&room.to_string().into());
    // A list comes after every text.
    let last = Array::of2(&room.to_string().into(), &Array::new());
    let range = KeyRange::bound(&first, &last, None, None)?;
    write.object_store(HISTORY_STORE)?.delete(range)?;
    schema::commit(write).await
}
