//! Takes a slot for a tab, opens it, and adds the room to the list of rooms before anything is written to it. If the room
//! is being deleted, the deletion ends first. A start that cannot ask the list goes by the note in `localStorage`.

use std::time::Duration;

use futures::future::join;
use heartchain_chain::room::Room;

use super::{
    deletion_note,
    health::Reason,
    patience::within,
    room_deletion::finish_deletion,
    room_list::{Listed, RoomList},
    schema::OPEN_TIMEOUT,
    slot::{self, Slot},
};
use crate::{clock, room_access::RoomAccess};

/// Attempts to open a room that is being deleted, and the pause between two of them: longer than a deletion takes.
const MAX_ATTEMPTS: usize = 50;
const RETRY: Duration = Duration::from_millis(100);
/// How long the list may take to add a room. After that, the room is opened without it, unless it is being deleted.
const LIST_TIMEOUT: Duration = Duration::from_secs(2);

/// A slot that a start has taken.
pub(super) struct Taken<T> {
    pub(super) slot: Slot,
    /// `None` if the list cannot be opened.
    pub(super) list: Option<RoomList>,
    /// What opening the slot gave.
    pub(super) opened: T,
}

/// Takes a slot. `open` opens its database while the list is asked, and reads it, but must not add anything: its result is
/// dropped if the room is being deleted.
///
/// # Errors
/// If no slot is free, the browser does not answer, or the room is being deleted and that cannot end.
pub(super) async fn take<T>(
    room: &Room,
    label: Option<&str>,
    open: impl AsyncFn(&Slot) -> T,
) -> Result<Taken<T>, Reason> {
    let mut known = None;
    for _ in 0..MAX_ATTEMPTS {
        let mut slot = slot::take(room.id(), OPEN_TIMEOUT).await?;
        let asking = async {
            let list = match known.take() {
                Some(list) => list,
                None => RoomList::open().await.ok()?,
            };
            let listed = add(&list, room, &slot, label).await;
            Some((list, listed))
        };
        let (asked, opened) = join(asking, open(&slot)).await;
        let list = match asked {
            Some((list, Some(Listed::Deleting))) => list,
            Some((list, Some(Listed::Added))) => {
                let list = Some(list);
                return Ok(Taken { slot, list, opened });
            }
            // What is written to a room that is being deleted would be lost.
            Some((_, None)) | None if deletion_note::is_there(room.id()) => {
                return Err(Reason::Deleting);
            }
            unanswered => {
                let list = unanswered.map(|(list, _)| list);
                return Ok(Taken { slot, list, opened });
            }
        };
        // A database that is open cannot be deleted.
        drop(opened);
        let released = slot.take_released();
        drop(slot);
        if let Some(released) = released {
            let _ = released.await;
        }
        // The tab that deletes the room may still be at work.
        if finish_deletion(room.id(), &list).await.is_err() {
            clock::sleep(RETRY).await;
        }
        known = Some(list);
    }
    Err(Reason::Deleting)
}

/// Adds the room to the list. `None` if the list does not answer.
async fn add(list: &RoomList, room: &Room, slot: &Slot, label: Option<&str>) -> Option<Listed> {
    let (list, label) = (list.clone(), label.map(str::to_owned));
    let (room, slot, access) = (room.id(), slot.number, RoomAccess::of(room));
    let adding = async move { list.opened(room, slot, access, label.as_deref()).await };
    within(LIST_TIMEOUT, adding, drop).await?.ok()
}
