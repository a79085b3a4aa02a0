//! Takes a slot for a tab, and adds the room to the list of rooms before anything of it is on the disk. If the room is
//! being deleted, the deletion ends first. A start that cannot ask the list goes by the note in `localStorage`.

use std::time::Duration;

use futures::future::{Either, join, select};
use heartchain_chain::room::Room;

use super::{
    deletion_note,
    health::Reason,
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

/// Takes a slot. Also returns the list, unless it cannot be opened.
///
/// # Errors
/// If no slot is free, the browser does not answer, or the room is being deleted and that cannot end.
pub(super) async fn take(
    room: &Room,
    label: Option<&str>,
) -> Result<(Slot, Option<RoomList>), Reason> {
    let taking = slot::take(room.id(), OPEN_TIMEOUT);
    let (slot, list) = join(taking, RoomList::open()).await;
    let mut slot = slot?;
    let Ok(list) = list else {
        return unless_deleting(room, slot, None);
    };
    for _ in 0..MAX_ATTEMPTS {
        let access = RoomAccess::of(room);
        let adding = Box::pin(list.opened(room.id(), slot.number, access, label));
        let listed = match select(adding, clock::sleep(LIST_TIMEOUT)).await {
            Either::Left((listed, _)) => listed.ok(),
            Either::Right(_) => None,
        };
        match listed {
            Some(Listed::Added) => return Ok((slot, Some(list))),
            Some(Listed::Deleting) => {}
            None => return unless_deleting(room, slot, Some(list)),
        }
        let released = slot.take_released();
        drop(slot);
        if let Some(released) = released {
            let _ = released.await;
        }
        // The tab that deletes the room may still be at work.
        if finish_deletion(room.id(), &list).await.is_err() {
            clock::sleep(RETRY).await;
        }
        slot = slot::take(room.id(), OPEN_TIMEOUT).await?;
    }
    Err(Reason::Deleting)
}

/// What a start does that the list has not answered: what is written to a room that is being deleted would be lost.
fn unless_deleting(
    room: &Room,
    slot: Slot,
    list: Option<RoomList>,
) -> Result<(Slot, Option<RoomList>), Reason> {
    match deletion_note::is_there(room.id()) {
        true => Err(Reason::Deleting),
        false => Ok((slot, list)),
    }
}
