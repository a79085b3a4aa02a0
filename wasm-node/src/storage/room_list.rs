//! The list of rooms on this device: a small database beside those of the rooms. A start adds its room before it writes
//! to the room's database, so that no room is forgotten. The list is a convenience: without it, rooms work as before, and
//! most of it can be found again from the databases.
//!
//! It also says which rooms are being deleted. The mark and the slots of a room are in one record, so either a start sees
//! the mark, or the deletion sees the slot of the start.

use std::{rc::Rc, time::Duration};

use heartchain_chain::{compact_sort, hash::RoomId, time::UnixMillis};
use idb::{Database, Factory, ObjectStoreParams, Transaction};
use wasm_bindgen::JsValue;

use super::{
    deletion_note,
    health::Reason,
    records,
    room_record::{MAX_ROOM_RECORD_LEN, RoomRecord, SlotUse},
    schema::{self, Connection, Migration, open_with_timeout},
    store::StoreError,
};
use crate::{clock, room_access::RoomAccess};

/// The name of the database.
pub(super) const ROOM_LIST: &str = "heartchain-rooms";
/// Its object store: one record for each room, by the room's ID.
pub(super) const ROOMS: &str = "rooms";
/// Rooms in the list: more than a person opens. At the bound, the room that was opened longest ago leaves it, first one
/// in which nothing was recorded here. Its data stays.
pub(super) const MAX_LISTED_ROOMS: usize = 1_024;
/// When a room was opened last, if that is not known.
pub(super) const NEVER_OPENED: UnixMillis = UnixMillis::new(0);
/// How long opening the list may take, so that a start does not wait long for a browser that is stuck.
const LIST_TIMEOUT: Duration = Duration::from_secs(2);

/// The migration to the only version of the database.
const MIGRATIONS: &[Migration] = &[create];

fn create(database: &Database, _: &Transaction) -> Result<(), idb::Error> {
    database
        .create_object_store(ROOMS, ObjectStoreParams::new())
        .map(drop)
}

/// The list, open until all clones are dropped or it is deleted.
#[derive(Clone, Debug)]
pub(super) struct RoomList(Rc<Connection>);

/// What a start does after it has told the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// The room is in the list.
    Added,
    /// The room is being deleted: the deletion must end first.
    Deleting,
}

/// A change of a record.
enum Change {
    Keep,
    Put(RoomRecord),
    Remove,
}

impl RoomList {
    /// Opens or creates the list.
    ///
    /// # Errors
    /// If the browser refuses, or a newer version of this page has upgraded the list.
    pub(super) async fn open() -> Result<Self, Reason> {
        let factory = Factory::new().map_err(|_| Reason::NoDatabase)?;
        let open = || open_with_timeout(&factory, ROOM_LIST, MIGRATIONS, LIST_TIMEOUT);
        let mut database = open().await?;
        if !database.store_names().iter().any(|name| name == ROOMS) {
            // Damaged: nothing in it can be read.
            database.close();
            let deleting = factory.delete(ROOM_LIST).map_err(|_| Reason::Blocked)?;
            deleting.await.map_err(|_| Reason::Blocked)?;
            database = open().await?;
        }
        Ok(Self(Rc::new(Connection::new(database, false))))
    }

    /// All rooms. Corrupt records are left out.
    pub(super) async fn all(&self) -> Result<Vec<(RoomId, RoomRecord)>, StoreError> {
        let read = schema::read_transaction(&self.0.database, &[ROOMS])?;
        read_all(&read).await
    }

    /// Whether the room is being deleted, or its deletion was interrupted.
    pub(super) async fn is_deleting(&self, room: RoomId) -> Result<bool, StoreError> {
        self.change(room, false, |record| {
            let is_deleting = record.is_some_and(|record| record.deleting);
            (Change::Keep, is_deleting)
        })
        .await
    }

    /// The slots in which tabs have opened the room.
    pub(super) async fn slots(&self, room: RoomId) -> Result<Vec<u32>, StoreError> {
        self.change(room, false, |record| {
            let record = record.unwrap_or_default();
            let numbers = record.slots.keys().map(|number| u32::from(*number));
            (Change::Keep, numbers.collect())
        })
        .await
    }

    /// Notes that a tab opens the room in this slot. A label is taken only if the room has none.
    pub(super) async fn opened(
        &self,
        room: RoomId,
        slot: u32,
        access: Option<RoomAccess>,
        label: Option<&str>,
    ) -> Result<Listed, StoreError> {
        let now = clock::now();
        let changing = self.change(room, false, |record| {
            let mut record = record.unwrap_or_default();
            if record.deleting {
                return (Change::Keep, Listed::Deleting);
            }
            record.access = access.or(record.access);
            record.label = record.label.or_else(|| label.map(str::to_owned));
            record.last_opened = now;
            if let Ok(number) = u8::try_from(slot) {
                record.slots.entry(number).or_insert_with(SlotUse::default);
            }
            (Change::Put(record), Listed::Added)
        });
        let listed = changing.await?;
        if listed == Listed::Added {
            // A deletion ended before its mark, or was refused.
            deletion_note::remove(room);
        }
        Ok(listed)
    }

    /// Notes what a slot holds, unless the room was deleted meanwhile.
    pub(super) async fn used(
        &self,
        room: RoomId,
        slot: u32,
        used: SlotUse,
    ) -> Result<(), StoreError> {
        self.change(room, false, |record| {
            let number = u8::try_from(slot);
            let (Some(mut record), Ok(number)) = (record, number) else {
                return (Change::Keep, ());
            };
            if record.deleting {
                return (Change::Keep, ());
            }
            record.slots.insert(number, used);
            (Change::Put(record), ())
        })
        .await
    }

    /// Adds a room that was found on the disk, unless it is in the list.
    pub(super) async fn found(&self, room: RoomId, found: RoomRecord) -> Result<(), StoreError> {
        self.change(room, false, |record| match record {
            Some(_) => (Change::Keep, ()),
            None => (Change::Put(found), ()),
        })
        .await
    }

    /// Changes the label of a room. Returns whether the room is in the list.
    pub(super) async fn label(
        &self,
        room: RoomId,
        label: Option<String>,
    ) -> Result<bool, StoreError> {
        self.change(room, true, |record| {
            let Some(mut record) = record.filter(|record| !record.deleting) else {
                return (Change::Keep, false);
            };
            record.label = label;
            (Change::Put(record), true)
        })
        .await
    }

    /// Marks a room for deletion. Returns what was known of it before.
    pub(super) async fn mark_deleting(&self, room: RoomId) -> Result<RoomRecord, StoreError> {
        // First, so that there is no mark without a note.
        deletion_note::put(room);
        self.change(room, true, |record| {
            let before = record.unwrap_or_default();
            let marked = RoomRecord {
                deleting: true,
                ..before.clone()
            };
            (Change::Put(marked), before)
        })
        .await
    }

    /// Undoes the mark: nothing was deleted. Puts back what was known of the room.
    pub(super) async fn unmark(&self, room: RoomId, before: RoomRecord) -> Result<(), StoreError> {
        let was_listed = before != RoomRecord::default();
        self.change(room, true, |record| match record {
            Some(record) if record.deleting && was_listed => (Change::Put(before), ()),
            Some(record) if record.deleting => (Change::Remove, ()),
            Some(_) | None => (Change::Keep, ()),
        })
        .await?;
        deletion_note::remove(room);
        Ok(())
    }

    /// Removes a room whose data is deleted. A room that was opened again meanwhile stays.
    pub(super) async fn remove_deleted(&self, room: RoomId) -> Result<(), StoreError> {
        self.change(room, true, |record| match record {
            Some(record) if record.deleting => (Change::Remove, ()),
            Some(_) | None => (Change::Keep, ()),
        })
        .await?;
        deletion_note::remove(room);
        Ok(())
    }

    /// Reads and changes one record in one transaction.
    async fn change<T>(
        &self,
        room: RoomId,
        strict: bool,
        change: impl FnOnce(Option<RoomRecord>) -> (Change, T),
    ) -> Result<T, StoreError> {
        let write = schema::write_transaction(&self.0.database, &[ROOMS], strict)?;
        let changed = apply(&write, room, change).await;
        schema::commit_or_abort(write, changed).await
    }
}

async fn apply<T>(
    write: &Transaction,
    room: RoomId,
    change: impl FnOnce(Option<RoomRecord>) -> (Change, T),
) -> Result<T, idb::Error> {
    let store = write.object_store(ROOMS)?;
    let found = store.get(room_key(room))?.await?;
    let known = found.and_then(|value| read_record(room, &value));
    let is_new = known.is_none();
    let (change, result) = change(known);
    match change {
        Change::Keep => {}
        Change::Put(record) => {
            if is_new {
                make_room(write).await?;
            }
            let record = records::checksummed_record(&location(room), &record.encode());
            store.put(&record, Some(&room_key(room)))?;
        }
        Change::Remove => drop(store.delete(room_key(room))?),
    }
    Ok(result)
}

/// Keeps the list within its bound before a room is added.
async fn make_room(write: &Transaction) -> Result<(), idb::Error> {
    let store = write.object_store(ROOMS)?;
    let count = store.count(None)?.await?;
    if usize::try_from(count).is_ok_and(|count| count < MAX_LISTED_ROOMS) {
        return Ok(());
    }
    let mut all = read_all(write).await.unwrap_or_default();
    all.retain(|(_, record)| !record.deleting);
    compact_sort::sort_by_key(&mut all, |(_, record)| {
        (record.readings() > 0, record.last_opened)
    });
    if let Some((oldest, _)) = all.first() {
        store.delete(room_key(*oldest))?;
    }
    Ok(())
}

async fn read_all(transaction: &Transaction) -> Result<Vec<(RoomId, RoomRecord)>, StoreError> {
    let store = transaction.object_store(ROOMS)?;
    // Bounded by `MAX_LISTED_ROOMS`.
    let keys = store.get_all_keys(None, None)?.await?;
    let values = store.get_all(None, None)?.await?;
    let each = keys.iter().zip(&values);
    Ok(each
        .filter_map(|(key, value)| {
            let bytes = records::from_js(key, RoomId::LEN)?;
            let room = RoomId::new(bytes.try_into().ok()?);
            Some((room, read_record(room, value)?))
        })
        .collect())
}

fn room_key(room: RoomId) -> JsValue {
    records::to_js(room.as_bytes())
}

fn location(room: RoomId) -> String {
    format!("room {room}")
}

fn read_record(room: RoomId, value: &JsValue) -> Option<RoomRecord> {
    let body = records::read_checksummed(&location(room), value, MAX_ROOM_RECORD_LEN)?;
    RoomRecord::decode(&body)
}

#[cfg(test)]
mod tests {
    use litemap::LiteMap;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn id(number: u16) -> RoomId {
        let mut bytes = [0xee; 32];
        let [high, low] = number.to_be_bytes();
        [bytes[0], bytes[1]] = [high, low];
        RoomId::new(bytes)
    }

    async fn record(list: &RoomList, room: RoomId) -> Option<RoomRecord> {
        let all = list.all().await.expect("it is readable");
        all.into_iter()
            .find_map(|(other, record)| (other == room).then_some(record))
    }

    #[test]
    async fn label_of_a_link_does_not_replace_an_own_one() {
        let list = RoomList::open().await.expect("it opens");
        let room = id(1);
        for label in [None, Some("Family"), Some("Other")] {
            let added = list.opened(room, 3, None, label).await;
            assert_eq!(added, Ok(Listed::Added));
        }
        let used = SlotUse {
            readings: 7,
            bytes: Some(9),
        };
        assert_eq!(list.used(room, 3, used).await, Ok(()));
        let found = record(&list, room).await.expect("it is there");
        assert_eq!(found.label.as_deref(), Some("Family"));
        assert_eq!(found.slots, LiteMap::from_iter([(3, used)]));
        assert_eq!(list.label(room, None).await, Ok(true));
        assert_eq!(list.label(id(2), None).await, Ok(false));
        let found = record(&list, room).await.expect("it is there");
        assert_eq!(found.label, None);
    }

    #[test]
    async fn deleted_room_is_not_listed_by_a_late_tab() {
        let list = RoomList::open().await.expect("it opens");
        let room = id(3);
        assert_eq!(list.opened(room, 0, None, None).await, Ok(Listed::Added));
        let before = list.mark_deleting(room).await.expect("it is marked");
        assert!(!before.deleting);
        let late = list.opened(room, 1, None, None).await;
        assert_eq!(late, Ok(Listed::Deleting));
        let used = SlotUse::default();
        assert_eq!(list.used(room, 1, used).await, Ok(()));
        assert_eq!(list.remove_deleted(room).await, Ok(()));
        assert_eq!(list.used(room, 0, used).await, Ok(()));
        assert_eq!(record(&list, room).await, None);
        // A room that was opened again after its deletion stays.
        assert_eq!(list.opened(room, 0, None, None).await, Ok(Listed::Added));
        assert_eq!(list.remove_deleted(room).await, Ok(()));
        assert!(record(&list, room).await.is_some());
    }

    #[test]
    async fn corrupt_record_is_replaced() {
        let list = RoomList::open().await.expect("it opens");
        let room = id(4);
        assert_eq!(list.opened(room, 0, None, None).await, Ok(Listed::Added));
        let write = schema::write_transaction(&list.0.database, &[ROOMS], true).expect("open");
        let store = write.object_store(ROOMS).expect("there");
        // The record of another room.
        let moved = records::checksummed_record(&location(id(5)), &RoomRecord::default().encode());
        store.put(&moved, Some(&room_key(room))).expect("a request");
        schema::commit(write).await.expect("written");
        assert_eq!(record(&list, room).await, None);
        assert_eq!(list.opened(room, 2, None, None).await, Ok(Listed::Added));
        let found = record(&list, room).await.expect("it is there");
        assert_eq!(found.slots.len(), 1);
    }

    /// Runs with all other tests in one list, which this one leaves nearly empty.
    #[test]
    async fn full_list_forgets_rooms_without_readings() {
        let list = RoomList::open().await.expect("it opens");
        let with_readings = id(6);
        assert_eq!(
            list.opened(with_readings, 0, None, None).await,
            Ok(Listed::Added)
        );
        let used = SlotUse {
            readings: 1,
            bytes: None,
        };
        assert_eq!(list.used(with_readings, 0, used).await, Ok(()));
        let many = u16::try_from(MAX_LISTED_ROOMS).expect("few");
        let mine = (1_000..1_000 + many).map(id);
        for room in mine.clone() {
            assert_eq!(list.opened(room, 0, None, None).await, Ok(Listed::Added));
        }
        let all = list.all().await.expect("it is readable");
        assert_eq!(all.len(), MAX_LISTED_ROOMS);
        assert!(record(&list, with_readings).await.is_some());
        assert!(record(&list, id(999 + many)).await.is_some(), "the newest");
        for room in mine {
            list.mark_deleting(room).await.expect("it is marked");
            list.remove_deleted(room).await.expect("it is removed");
        }
    }
}
