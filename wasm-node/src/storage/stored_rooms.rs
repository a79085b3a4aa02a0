//! The rooms on this device, for a person who wants to open, rename or delete one.

use heartchain_chain::{compact_sort, hash::RoomId, time::UnixMillis};
use litemap::LiteMap;

use super::{
    mirror,
    open_slots::OpenSlots,
    read_only,
    room_deletion::finish_deletion,
    room_list::{NEVER_OPENED, RoomList},
    room_record::{RoomRecord, SlotUse},
    rooms_on_disk::slots_on_disk,
    slot,
    store::StoreError,
};
use crate::room_access::RoomAccess;

/// A room of which this device has something.
#[derive(Clone, Debug)]
pub(crate) struct StoredRoom {
    pub(crate) room: RoomId,
    /// What opens the room; `None` if that is not known.
    pub(crate) access: Option<RoomAccess>,
    pub(crate) label: Option<String>,
    /// Readings that were recorded on this device.
    pub(crate) readings: u64,
    /// Length of the stored blocks, all tabs together.
    pub(crate) bytes: Option<u64>,
    /// 0 if it is not known.
    pub(crate) last_opened: UnixMillis,
    /// Whether a tab of this browser has the room open.
    pub(crate) open: bool,
}

/// All rooms on this device, the one that was opened last first. Finishes deletions that a crash has interrupted.
pub(crate) async fn stored_rooms() -> Vec<StoredRoom> {
    let list = RoomList::open().await.ok();
    if let Some(list) = &list {
        finish_deletions(list).await;
    }
    // A start adds its room to the list before it creates a database, so the list is read second.
    let on_disk = slots_on_disk().await;
    let mut rooms: LiteMap<RoomId, RoomRecord> = LiteMap::new();
    if let Some(list) = &list {
        for (room, record) in list.all().await.unwrap_or_default() {
            rooms.insert(room, record);
        }
    }
    for (room, numbers) in on_disk {
        if rooms.contains_key(&room) {
            continue;
        }
        let found = read_slots(room, numbers.keys().copied()).await;
        if let Some(list) = &list {
            // Without the list the room is found again the next time.
            let _ = list.found(room, found.clone()).await;
        }
        rooms.insert(room, found);
    }
    let open = OpenSlots::look().await;
    let mut stored = Vec::new();
    for (room, record) in rooms {
        // A room whose deletion waits for a tab is not shown as one that could be opened.
        if !record.deleting {
            stored.push(stored_room(room, record, &open).await);
        }
    }
    compact_sort::sort_by_key(&mut stored, |room| std::cmp::Reverse(room.last_opened));
    stored
}

/// Changes what people call a room on this device. Returns whether the room is known here.
///
/// # Errors
/// If the label cannot be stored.
pub(crate) async fn label_room(room: RoomId, label: Option<String>) -> Result<bool, StoreError> {
    let list = RoomList::open().await;
    let list =
        list.map_err(|_| StoreError::Failed("the list of rooms cannot be opened".to_owned()))?;
    list.label(room, label).await
}

/// What people call a room on this device.
pub(crate) async fn room_label(room: RoomId) -> Option<String> {
    let rooms = RoomList::open().await.ok()?.all().await.ok()?;
    let (_, record) = rooms.into_iter().find(|(other, _)| *other == room)?;
    record.label
}

async fn stored_room(room: RoomId, record: RoomRecord, open: &OpenSlots) -> StoredRoom {
    let numbers = record.slots.keys().map(|number| u32::from(*number));
    StoredRoom {
        room,
        readings: record.readings(),
        bytes: record.bytes(),
        open: open.has(room, numbers).await,
        access: record.access,
        label: record.label,
        last_opened: record.last_opened,
    }
}

async fn finish_deletions(list: &RoomList) {
    for (room, record) in list.all().await.unwrap_or_default() {
        if record.deleting {
            // What cannot be deleted now is deleted the next time.
            let _ = finish_deletion(room, list).await;
        }
    }
}

/// What the slots of a room tell of it, which the list does not know.
async fn read_slots(room: RoomId, numbers: impl Iterator<Item = u32>) -> RoomRecord {
    let mut record = RoomRecord {
        last_opened: NEVER_OPENED,
        ..RoomRecord::default()
    };
    for number in numbers {
        let name = slot::name(room, number);
        if record.access.is_none() {
            let access = read_only::read_access(&name).await;
            // A record of another room would open that one.
            record.access = access.filter(|access| access.room().id() == room);
        }
        let readings = mirror::journal_len(&name).unwrap_or_default();
        if let Ok(number) = u8::try_from(number) {
            let bytes = None;
            record.slots.insert(number, SlotUse { readings, bytes });
        }
    }
    record
}

#[cfg(test)]
mod tests;
