//! Rooms on this device, from their start to their deletion, in the browser's real databases.

use std::time::Duration;

use heartchain_chain::{
    room::{Room, RoomName, RoomParams},
    room_key::RoomKey,
};
use heartchain_sync::StoreOperation;
use idb::Factory;
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::{
    clock,
    storage::{
        DeleteRoomError, IndexedDb, Opened, delete_room,
        fault_injector::FaultInjector,
        open,
        opening::close,
        rebuilding::database_names,
        records,
        room_list::{ROOM_LIST, ROOMS},
        suite,
    },
};

fn open_room(name: &str) -> Room {
    let name = RoomName::new(name).expect("a name");
    Room::new(RoomParams::with_defaults(name))
}

/// Opens a room as a tab does.
async fn start(room: &Room, label: Option<&str>) -> Opened<u8> {
    let opened: Opened<u8> = open(room.clone(), label, false).await.expect("it opens");
    assert!(opened.hold.is_some(), "on disk");
    opened
}

async fn find(room: &Room) -> Option<StoredRoom> {
    let stored = stored_rooms().await;
    stored.into_iter().find(|stored| stored.room == room.id())
}

/// What is left of a room in databases and in `localStorage`.
async fn traces(room: &Room) -> Vec<String> {
    let id = room.id().to_string();
    let databases = database_names().await.expect("Chromium lists them");
    let names = databases.into_iter().chain(mirror::item_names());
    names.filter(|name| name.contains(&id)).collect()
}

async fn record_in(opened: &mut Opened<u8>, readings: u64) {
    let put = |at| StoreOperation::PutJournal(at, suite::journal_entry(at));
    let batch = heartchain_sync::Batch {
        operations: (0..readings).map(put).collect(),
        strict: true,
    };
    opened.store.write(batch).await.expect("it is written");
}

#[test]
async fn opened_room_is_listed_with_its_readings() {
    let room = Room::private(RoomKey::new([0x31; 32]));
    let mut tab = start(&room, Some("Family")).await;
    record_in(&mut tab, 3).await;
    // The list is told after two seconds.
    clock::sleep(Duration::from_millis(2_500)).await;
    let listed = find(&room).await.expect("it is listed");
    assert!(listed.open);
    assert_eq!(listed.access, RoomAccess::of(&room));
    assert_eq!(
        (listed.label.as_deref(), listed.readings),
        (Some("Family"), 3)
    );
    assert_eq!(listed.bytes, Some(0));
    assert!(clock::now().since(listed.last_opened) < 60_000);
    close(tab).await;
    assert!(!find(&room).await.expect("it is listed").open);
    assert_eq!(
        label_room(room.id(), Some("Home".to_owned())).await,
        Ok(true)
    );
    let label = find(&room).await.and_then(|found| found.label);
    assert_eq!(label.as_deref(), Some("Home"));
    assert_eq!(delete_room(room.id()).await, Ok(()));
    assert_eq!(label_room(room.id(), None).await, Ok(false));
}

#[test]
async fn lost_list_is_found_again() {
    let (named, private) = (
        open_room("rooms lost list"),
        Room::private(RoomKey::new([0x32; 32])),
    );
    for room in [&named, &private] {
        let mut tab = start(room, None).await;
        record_in(&mut tab, 2).await;
        close(tab).await;
    }
    let list = RoomList::open().await.expect("it opens");
    for room in [&named, &private] {
        list.mark_deleting(room.id()).await.expect("it is marked");
        list.remove_deleted(room.id()).await.expect("it is removed");
    }
    for room in [&named, &private] {
        for _ in 0..2 {
            let found = find(room).await.expect("it is found");
            assert_eq!(found.access, RoomAccess::of(room));
            assert_eq!((found.readings, found.open), (2, false));
            assert_eq!(found.last_opened, NEVER_OPENED);
        }
        assert_eq!(delete_room(room.id()).await, Ok(()));
        assert_eq!(traces(room).await, Vec::<String>::new());
    }
}

#[test]
async fn open_room_is_not_deleted() {
    let room = open_room("rooms open");
    let mut first = start(&room, None).await;
    record_in(&mut first, 1).await;
    let second = start(&room, None).await;
    let (before, author) = (traces(&room).await, first.machine.author());
    assert_eq!(delete_room(room.id()).await, Err(DeleteRoomError::Open));
    close(first).await;
    // One of two tabs is closed, and its slot is free.
    assert_eq!(delete_room(room.id()).await, Err(DeleteRoomError::Open));
    assert_eq!(traces(&room).await, before);
    close(second).await;
    slot::forget(room.id());
    let again = start(&room, None).await;
    assert_eq!(again.machine.author(), author, "it is the same author");
    assert!(find(&room).await.is_some());
    close(again).await;
    assert_eq!(delete_room(room.id()).await, Ok(()));
}

#[test]
async fn deleted_room_leaves_nothing() {
    let (room, other) = (open_room("rooms deleted"), open_room("rooms kept"));
    let kept = start(&other, None).await;
    let first = start(&room, None).await;
    let second = start(&room, None).await;
    let author = first.machine.author();
    close(first).await;
    close(second).await;
    close(kept).await;
    let others = traces(&other).await;
    assert_eq!(delete_room(room.id()).await, Ok(()));
    assert_eq!(traces(&room).await, Vec::<String>::new());
    assert!(find(&room).await.is_none());
    assert_eq!(traces(&other).await, others);
    assert_eq!(delete_room(room.id()).await, Ok(()), "again");
    let again = start(&room, None).await;
    assert_ne!(again.machine.author(), author);
    close(again).await;
    for room in [room, other] {
        assert_eq!(delete_room(room.id()).await, Ok(()));
    }
}

#[test]
async fn interrupted_deletion_is_finished_by_a_start() {
    let room = open_room("rooms interrupted start");
    let author = crashed_deletion(&room).await;
    let again = start(&room, None).await;
    assert_ne!(again.machine.author(), author, "the key is gone");
    assert!(find(&room).await.is_some_and(|found| found.open));
    close(again).await;
    assert_eq!(delete_room(room.id()).await, Ok(()));
}

#[test]
async fn interrupted_deletion_is_finished_by_the_list() {
    let room = open_room("rooms interrupted list");
    crashed_deletion(&room).await;
    assert!(find(&room).await.is_none());
    assert_eq!(traces(&room).await, Vec::<String>::new());
}

#[test]
async fn room_that_is_not_marked_is_not_deleted() {
    let room = open_room("rooms unmarked");
    let tab = start(&room, None).await;
    let author = tab.machine.author();
    close(tab).await;
    let list = RoomList::open().await.expect("it opens");
    // Another tab has taken the mark back.
    assert_eq!(finish_deletion(room.id(), &list).await, Ok(()));
    let tab = start(&room, None).await;
    assert_eq!(tab.machine.author(), author);
    assert_eq!(delete_room(room.id()).await, Err(DeleteRoomError::Open));
    assert_eq!(
        list.is_deleting(room.id()).await,
        Ok(false),
        "no mark is left"
    );
    close(tab).await;
    assert_eq!(delete_room(room.id()).await, Ok(()));
}

/// What is recorded in a room that is marked is deleted with it, so a start that cannot know must not write to the disk.
#[test]
async fn marked_room_without_its_list_stays_in_memory() {
    type Fault = fn(&Room) -> FaultInjector;
    let faults: [(&str, Fault); 3] = [
        ("unopenable", |_| FaultInjector::unopenable(ROOM_LIST)),
        ("unreadable", |room| {
            let key = records::to_js(room.id().as_bytes());
            FaultInjector::unreadable(ROOM_LIST, ROOMS, &key)
        }),
        ("busy", |_| FaultInjector::busy(ROOM_LIST, ROOMS)),
    ];
    for (name, fault) in faults {
        let room = open_room(&format!("rooms {name}"));
        crashed_deletion(&room).await;
        let fault = fault(&room);
        let tab: Opened<u8> = open(room.clone(), None, false).await.expect("it opens");
        drop(fault);
        assert!(tab.hold.is_none(), "{name}: on disk");
        close(tab).await;
        assert!(find(&room).await.is_none(), "{name}: the deletion ends");
        assert_eq!(traces(&room).await, Vec::<String>::new(), "{name}");
        let again = start(&room, None).await;
        close(again).await;
        assert_eq!(delete_room(room.id()).await, Ok(()));
    }
}

/// Opens and closes a room in two tabs, and deletes one slot only. Returns the author of the other slot.
async fn crashed_deletion(room: &Room) -> heartchain_chain::key::Author {
    let (first, second) = (start(room, None).await, start(room, None).await);
    let author = second.machine.author();
    close(first).await;
    close(second).await;
    let list = RoomList::open().await.expect("it opens");
    list.mark_deleting(room.id()).await.expect("it is marked");
    let name = slot::name(room.id(), 0);
    let deleting = Factory::new().expect("a browser").delete(&name);
    deleting.expect("a request").await.expect("it is deleted");
    assert!(!traces(room).await.is_empty());
    author
}

#[test]
async fn deletion_forgets_what_the_page_computed() {
    let room = open_room("rooms history");
    let tab = start(&room, None).await;
    close(tab).await;
    let add = js_sys::Function::new_with_args(
        "mine, other",
        r#"return new Promise((resolve, reject) => {
            const opening = indexedDB.open("heartchain-history", 1);
            opening.onupgradeneeded = () =>
                opening.result.createObjectStore("rooms", { keyPath: ["genesis", "author"] });
            opening.onsuccess = () => {
                const write = opening.result.transaction("rooms", "readwrite");
                for (const genesis of [mine, other]) {
                    for (const author of ["", "ab"]) write.objectStore("rooms").put({ genesis, author });
                }
                const left = write.objectStore("rooms").getAllKeys();
                write.oncomplete = () => (opening.result.close(), resolve(left.result.map(([room]) => room).join()));
                write.onerror = reject;
            };
        });"#,
    );
    let read = js_sys::Function::new_no_args(
        r#"return new Promise((resolve, reject) => {
            const opening = indexedDB.open("heartchain-history", 1);
            opening.onsuccess = () => {
                const left = opening.result.transaction("rooms").objectStore("rooms").getAllKeys();
                left.onsuccess = () => (opening.result.close(), resolve(left.result.map(([room]) => room).join()));
                left.onerror = reject;
            };
        });"#,
    );
    let other = "ff".repeat(32);
    let null = wasm_bindgen::JsValue::NULL;
    let added = add.call2(&null, &room.id().to_string().into(), &other.clone().into());
    settled(added).await;
    assert_eq!(delete_room(room.id()).await, Ok(()));
    assert_eq!(settled(read.call0(&null)).await, format!("{other},{other}"));
}

async fn settled(promise: Result<wasm_bindgen::JsValue, wasm_bindgen::JsValue>) -> String {
    let promise = js_sys::Promise::from(promise.expect("a promise"));
    let settled = wasm_bindgen_futures::JsFuture::from(promise).await;
    settled.expect("it succeeds").as_string().expect("a text")
}

#[test]
async fn damaged_list_is_made_again() {
    let room = open_room("rooms damaged list");
    let factory = Factory::new().expect("a browser");
    let deleting = factory.delete(ROOM_LIST).expect("a request");
    deleting.await.expect("it is deleted");
    let opening = factory.open(ROOM_LIST, Some(1)).expect("a request");
    opening.await.expect("it opens, without stores").close();
    let tab = start(&room, None).await;
    assert!(find(&room).await.is_some_and(|found| found.open));
    close(tab).await;
    assert_eq!(delete_room(room.id()).await, Ok(()));
}

#[test]
async fn room_of_an_older_version_is_found_without_a_link() {
    let room = open_room("rooms older");
    let name = slot::name(room.id(), 0);
    let store = IndexedDb::open_empty(&name, &room).await;
    store.put_first_key(&[7; 32]).await.expect("there is room");
    drop(store);
    let found = find(&room).await.expect("it is found");
    assert_eq!((found.access, found.readings), (None, 0));
    assert_eq!(delete_room(room.id()).await, Ok(()));
    assert_eq!(traces(&room).await, Vec::<String>::new());
}
