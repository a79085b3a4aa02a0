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
    move_file::MAX_MOVED_KEYS,
    room_access::RoomAccess,
    storage::{
        Opened, delete_room,
        fault_injector::FaultInjector,
        open,
        opening::close,
        rebuilding::{BACKUP_MIGRATIONS, backup_name},
        room_list::ROOM_LIST,
        stored_rooms, suite,
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
        let stored = stored.expect("it can be read");
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
    assert!(!mirror::is_used(&name));
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
    assert!(!mirror::is_used(&slot::name(room.id(), 0)));
    let next = start(&room).await;
    assert_ne!(next.machine.author(), author(5));
    assert_eq!((next.machine.journal_len(), next.health.loss()), (0, None));
    let (hash, _) = suite::small_block(1);
    let bodies = next.store.bodies(&[hash]).await.expect("it is readable");
    assert!(bodies.iter().all(Option::is_some), "the chain stays");
    close(next).await;
    assert_eq!(delete_room(room.id()).await, Ok(()));
}

/// Leaves what a rebuild leaves that a crash has interrupted.
async fn leave_backup(database: &str, seed: u8) {
    let factory = idb::Factory::new().expect("a browser");
    let name = backup_name(database);
    let opening =
        schema::open_with_timeout(&factory, &name, BACKUP_MIGRATIONS, schema::OPEN_TIMEOUT);
    let backup = web_sys::IdbDatabase::from(opening.await.expect("it opens"));
    let write = schema::write_transaction(&backup, &[META, JOURNAL], true).expect("open");
    let meta = write.object_store(META).expect("there");
    for name in FIRST_KEY {
        let record = records::seed(name, &[seed; 32]);
        meta.put(&record, Some(&name.into())).expect("a request");
    }
    let record = records::entry(0, &suite::journal_entry(0));
    let journal = write.object_store(JOURNAL).expect("there");
    journal
        .put(&record, Some(&records::number_key(0)))
        .expect("a request");
    schema::commit(write).await.expect("written");
    backup.close();
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
async fn unreadable_slot_keeps_its_key() {
    let room = room("moved unreadable");
    let own = closed_tab(&room).await;
    let name = slot::name(room.id(), 0);
    let fault = FaultInjector::unreadable(&name, META, &FIRST_KEY[0].into());
    let kept = keep_identity(&identity(&room, 5, 3)).await;
    drop(fault);
    assert_eq!(kept, Ok(()));
    assert_eq!(identities(&room).await, [0, 1]);
    let moved = start_another(&room).await;
    let before = start_another(&room).await;
    assert_eq!(moved.machine.author(), author(5));
    assert_eq!(before.machine.author(), own);
    close(moved).await;
    close(before).await;
    assert_eq!(delete_room(room.id()).await, Ok(()));
}

#[test]
async fn slot_with_a_damaged_key_is_not_free() {
    let room = room("moved damaged");
    closed_tab(&room).await;
    let name = slot::name(room.id(), 0);
    let opened = database::open(&name, schema::MIGRATIONS).await;
    let connection = opened.expect("it opens");
    let write = schema::write_transaction(&connection.database, &[META], true).expect("it writes");
    let meta = write.object_store(META).expect("there");
    for name in FIRST_KEY {
        let damaged = records::to_js(&[1; 40]);
        meta.put(&damaged, Some(&name.into())).expect("a request");
    }
    schema::commit(write).await.expect("written");
    drop(connection);
    assert_eq!(keep_identity(&identity(&room, 5, 3)).await, Ok(()));
    assert_eq!(identities(&room).await, [1]);
    assert_eq!(delete_room(room.id()).await, Ok(()));
}

#[test]
async fn slot_with_a_backup_is_not_free() {
    let room = room("moved rebuilding");
    leave_backup(&slot::name(room.id(), 0), 6).await;
    assert_eq!(keep_identity(&identity(&room, 5, 3)).await, Ok(()));
    assert_eq!(identities(&room).await, [1]);
    let moved = start_another(&room).await;
    let restored = start_another(&room).await;
    assert_eq!(moved.machine.author(), author(5));
    assert_eq!(restored.machine.author(), author(6));
    close(moved).await;
    close(restored).await;
    assert_eq!(delete_room(room.id()).await, Ok(()));
}

/// A crash may leave the backup of a rebuild that has ended.
#[test]
async fn retired_identity_does_not_return_from_a_backup() {
    let room = room("moved backup");
    assert_eq!(keep_identity(&identity(&room, 5, 3)).await, Ok(()));
    let name = slot::name(room.id(), 0);
    leave_backup(&name, 5).await;
    assert_eq!(note_moved(room.id(), 0, 3).await, Ok(()));
    let crash = FaultInjector::undeletable(&name, META, &FIRST_KEY[0].into());
    let retired = retire(room.id(), 0, [5; 32]).await;
    drop(crash);
    let has_failed = matches!(retired, Err(RetireError::Store(_)));
    assert!(has_failed, "{retired:?}");
    let tab = start(&room).await;
    assert_eq!(tab.machine.author(), author(5), "nothing is lost");
    assert_eq!(tab.machine.journal_len(), 3);
    close(tab).await;
    assert_eq!(retire(room.id(), 0, [5; 32]).await, Ok(()));
    let next = start(&room).await;
    assert_ne!(next.machine.author(), author(5));
    assert_eq!(next.machine.journal_len(), 0);
    close(next).await;
    assert_eq!(delete_room(room.id()).await, Ok(()));
}

/// Counts the characters that are written to `localStorage`, until it is called.
fn count_mirrored() -> js_sys::Function {
    let begin = js_sys::Function::new_no_args(
        r#"const { prototype } = Storage;
        const real = prototype.setItem;
        let written = 0;
        prototype.setItem = function (name, value) {
            written += value.length;
            real.call(this, name, value);
        };
        return () => ((prototype.setItem = real), written);"#,
    );
    begin.call0(&JsValue::NULL).expect("it runs").into()
}

#[test]
async fn most_keys_are_mirrored_at_once() {
    let room = room("moved keys");
    let most = MAX_MOVED_KEYS as u64;
    let mut moved = identity(&room, 5, most);
    let seed = |at: u64| std::array::from_fn(|byte| at.to_le_bytes()[byte % 8]);
    moved.keys = (0..most).map(|at| (at, seed(at + 1))).collect();
    let count = count_mirrored();
    let kept = keep_identity(&moved).await;
    let written = count.call0(&JsValue::NULL).expect("it runs").as_f64();
    assert_eq!(kept, Ok(()));
    // A key takes 80 characters.
    let limit = u32::try_from(100 * MAX_MOVED_KEYS).expect("few");
    assert!(written < Some(limit.into()), "{written:?} characters");
    let tab = start(&room).await;
    assert_eq!(tab.machine.signing_keys().len(), moved.keys.len());
    close(tab).await;
    assert_eq!(delete_room(room.id()).await, Ok(()));
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
