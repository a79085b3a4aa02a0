//! Notes in `localStorage` which rooms are being deleted: a second copy of the marks in the list of rooms, for a start that the
//! list does not answer. Without it, what such a start records would be deleted with the room.

use heartchain_chain::hash::RoomId;
use web_sys::Storage;

/// Notes that a room is being deleted, before the list is told.
pub(super) fn put(room: RoomId) {
    if let Some(storage) = storage() {
        // If this fails, only a start whose list fails as well is not told.
        let _ = storage.set_item(&item(room), "1");
    }
}

/// Removes the note: the list has no mark.
pub(super) fn remove(room: RoomId) {
    if let Some(storage) = storage() {
        // What stays is removed by the next start.
        let _ = storage.remove_item(&item(room));
    }
}

/// Whether the room is being deleted, or that is not certain.
pub(super) fn is_there(room: RoomId) -> bool {
    let found = storage().and_then(|storage| storage.get_item(&item(room)).ok()?);
    found.is_some()
}

fn item(room: RoomId) -> String {
    format!("heartchain.deleting.{room}")
}

fn storage() -> Option<Storage> {
    web_sys::window()?.local_storage().ok()?
}
