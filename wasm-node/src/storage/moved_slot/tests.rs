//! Identities that come and go, in the browser's real databases.

use heartchain_chain::{
    key::{Author, SecretKey},
    room::{Room, RoomName, RoomParams},
    room_key::RoomKey,
};
use heartchain_sync::{Batch, StoreOperation};
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::{
    room_access::RoomAccess,
    storage::{
        Opened, delete_room, fault_injector::FaultInjector, open, opening::close,
        room_list::ROOM_LIST, stored_rooms, suite,
    },
};

fn room(name: &str) -> Room {
    let name = RoomName::new(name).expect("a name");
    Room::new(RoomParams::with_defaults(name))
}

/// An identity with this many readings, of which the last is not confirmed.
fn identity(room: &Room, seed: u8, readings: u64) -> MovedIdentity {
    MovedIdentity {
        access: RoomAccess::of(room).expect("the key is known"),
        label: "Moved".to_owned(),
        keys: vec![(0, [seed; 32])],
        journal: (0..readings)
            .map(|at| Some(suite::journal_entry(at)))
            .collect(),
        unconfirmed_from: readings.saturating_sub(1),
        profile: None,
    }
}

fn author(seed: u8) -> Author {
    SecretKey::from_seed([seed; 32]).author()
}

async fn start(room: &Room) -> Opened<u8> {
    let opened: Opened<u8> = open(room.clone(), None, false).await.expect("it opens");
    assert!(opened.hold.is_some(), "on disk");
    opened
}

/// Starts as another tab, which does not remember a slot.
async fn start_another(room: &Room) -> Opened<u8> {
    slot::forget(room.id());
    start(room).await
}

async fn write_to(opened: &mut Opened<u8>, operations: Vec<StoreOperation>) {
    let batch = Batch {
        operations,
        strict: true,
    };
    opened.store.write(batch).await.expect("it is written");
}

/// The slots that have a first key.
async fn identities(room: &Room) -> Vec<u32> {
    let mut found = Vec::new();
    for number in 0..4 {
        let stored = read_only::read_identity(&slot::name(room.id(), number)).await;
        if stored.is_some_and(|stored| stored.first_key.is_some()) {
            found.push(number);
        }
    }
    found
}

#[test]
async fn next_tab_is_the_imported_author() {
    let room = room("moved next");
    let before = start(&room).await;
    let own = before.machine.author();
    close(before).await;
    assert_eq!(keep_identity(&identity(&room, 5, 3)).await, Ok(()));
    let stored = stored_rooms().await;
    let listed = stored.iter().find(|stored| stored.room == room.id());
    let listed = listed.expect("it is listed");
    assert_eq!((listed.readings, listed.open), (3, false));
    assert_eq!(listed.label.as_deref(), Some("Moved"));
    let moved = start_another(&room).await;
    assert_eq!(moved.machine.author(), author(5));
    assert_eq!(moved.machine.journal_len(), 3);
    assert_eq!(moved.health.loss(), None, "nothing is missing");
    let second = start_another(&room).await;
    assert_eq!(second.machine.author(), own, "the other identity is kept");
    close(moved).await;
    close(second).await;
    assert_eq!(delete_room(room.id()).await, Ok(()));
}

#[test]
async fn identity_is_imported_beside_open_tabs() {
    let room = room("moved beside");
    let tab = start(&room).await;
    assert_eq!(keep_identity(&identity(&room, 5, 3)).await, Ok(()));
    let moved = start_another(&room).await;
    assert_eq!(moved.machine.author(), author(5));
    close(moved).await;
    close(tab).await;
    assert_eq!(delete_room(room.id()).await, Ok(()));
}

#[test]
async fn second_import_changes_nothing() {
    let room = room("moved twice");
    for _ in 0..2 {
        assert_eq!(keep_identity(&identity(&room, 5, 3)).await, Ok(()));
        assert_eq!(identities(&room).await, [0]);
    }
    // Recorded here since: the file has less than the slot.
    let mut tab = start(&room).await;
    let put = |at| StoreOperation::PutJournal(at, suite::journal_entry(at));
    write_to(&mut tab, (3..5).map(put).collect()).await;
    let beside = keep_identity(&identity(&room, 5, 3)).await;
    assert_eq!(beside, Ok(()), "while it is open");
    close(tab).await;
    let again = start(&room).await;
    assert_eq!(again.machine.journal_len(), 5);
    close(again).await;
    assert_eq!(identities(&room).await, [0]);
    assert_eq!(delete_room(room.id()).await, Ok(()));
}

#[test]
async fn later_file_adds_what_is_missing() {
    let room = room("moved later");
    assert_eq!(keep_identity(&identity(&room, 5, 3)).await, Ok(()));
    let mut later = identity(&room, 5, 6);
    later.keys.push((4, [6; 32]));
    let tab = start(&room).await;
    assert_eq!(keep_identity(&later).await, Err(KeepIdentityError::Open));
    close(tab).await;
    assert_eq!(keep_identity(&later).await, Ok(()));
    assert_eq!(identities(&room).await, [0]);
    let again = start(&room).await;
    assert_eq!(again.machine.journal_len(), 6);
    assert_eq!(again.machine.author(), author(6));
    close(again).await;
    assert_eq!(delete_room(room.id()).await, Ok(()));
}

/// The rule for a key that signs in two places then gives one of them a fresh key.
#[test]
async fn file_that_differs_gets_its_own_slot() {
    let room = room("moved apart");
    assert_eq!(keep_identity(&identity(&room, 5, 3)).await, Ok(()));
    let mut other = identity(&room, 5, 4);
    other.journal[2] = Some(suite::journal_entry(9));
    for _ in 0..2 {
        assert_eq!(keep_identity(&other).await, Ok(()));
        assert_eq!(identities(&room).await, [0, 1]);
    }
    assert_eq!(delete_room(room.id()).await, Ok(()));
}

#[test]
async fn lost_entries_use_up_their_numbers() {
    let room = Room::private(RoomKey::new([0x41; 32]));
    let mut moved = identity(&room, 5, 4);
    moved.journal[1] = None;
    moved.journal[3] = None;
    moved.unconfirmed_from = 2;
    assert_eq!(keep_identity(&moved).await, Ok(()));
    let tab = start(&room).await;
    assert_eq!(tab.machine.journal_len(), 4);
    assert_eq!(tab.machine.journal_entry(3), None);
    assert!(tab.machine.journal_entry(2).is_some());
    close(tab).await;
    assert_eq!(delete_room(room.id()).await, Ok(()));
}

#[test]
async fn refused_write_leaves_nothing() {
    let room = room("moved refused");
    let name = slot::name(room.id(), 0);
    let fault = FaultInjector::unwritable(&name, JOURNAL, &records::number_key(2));
    let refused = keep_identity(&identity(&room, 5, 3)).await;
    drop(fault);
    let is_refused = matches!(refused, Err(KeepIdentityError::Store(_)));
    assert!(is_refused, "{refused:?}");
    assert_eq!(identities(&room).await, Vec::<u32>::new());
    assert!(!mirror::has_key(&name));
    let tab = start(&room).await;
    assert_ne!(tab.machine.author(), author(5));
    close(tab).await;
    assert_eq!(delete_room(room.id()).await, Ok(()));
}

#[test]
async fn retired_identity_is_gone_and_its_chain_stays() {
    let room = room("moved retired");
    assert_eq!(keep_identity(&identity(&room, 5, 3)).await, Ok(()));
    let mut tab = start(&room).await;
    write_to(&mut tab, vec![suite::put(suite::small_block(1))]).await;
    close(tab).await;
    let retire = |seed| retire(room.id(), 0, [seed; 32]);
    assert_eq!(retire(5).await, Err(RetireError::NotMoved));
    assert_eq!(note_moved(room.id(), 0, 2).await, Ok(()));
    assert_eq!(retire(5).await, Err(RetireError::NotMoved));
    assert_eq!(note_moved(room.id(), 0, 3).await, Ok(()));
    assert_eq!(retire(6).await, Err(RetireError::Open));
    assert_eq!(identities(&room).await, [0]);
    let open = start(&room).await;
    assert_eq!(retire(5).await, Err(RetireError::Open));
    close(open).await;
    assert_eq!(retire(5).await, Ok(()));
    assert_eq!(identities(&room).await, Vec::<u32>::new());
    assert!(!mirror::has_key(&slot::name(room.id(), 0)));
    let next = start(&room).await;
    assert_ne!(next.machine.author(), author(5));
    assert_eq!((next.machine.journal_len(), next.health.loss()), (0, None));
    let (hash, _) = suite::small_block(1);
    let bodies = next.store.bodies(&[hash]).await.expect("it is readable");
    assert!(bodies.iter().all(Option::is_some), "the chain stays");
    close(next).await;
    assert_eq!(delete_room(room.id()).await, Ok(()));
}

/// Starts a tab in slot 0, closes it, and takes its second copy away. Returns the author.
async fn closed_tab(room: &Room) -> Author {
    let tab = start(room).await;
    let own = tab.machine.author();
    close(tab).await;
    mirror::delete(&slot::name(room.id(), 0));
    own
}

#[test]
async fn import_waits_for_the_list_of_a_marked_room() {
    let room = room("moved marked");
    closed_tab(&room).await;
    let list = RoomList::open().await.expect("it opens");
    list.mark_deleting(room.id()).await.expect("it is marked");
    let fault = FaultInjector::unopenable(ROOM_LIST);
    let refused = keep_identity(&identity(&room, 5, 3)).await;
    drop(fault);
    let is_refused = matches!(refused, Err(KeepIdentityError::Deleting(_)));
    assert!(is_refused, "{refused:?}");
    assert_eq!(keep_identity(&identity(&room, 5, 3)).await, Ok(()));
    let tab = start(&room).await;
    assert_eq!(tab.machine.author(), author(5));
    close(tab).await;
    assert_eq!(delete_room(room.id()).await, Ok(()));
}
