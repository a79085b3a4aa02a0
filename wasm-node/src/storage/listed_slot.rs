//! Takes a slot for a tab, and adds the room to the list of rooms before anything of it is on the disk. If the room is
//! being deleted, the deletion ends first.

use std::time::Duration;

use futures::future::{Either, join, select};
use heartchain_chain::room::Room;

use super::{
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
/// How long the list may take to add a room. After that, the room is opened without it.
const LIST_TIMEOUT: Duration = Duration::from_secs(2);

/// Takes a slot. Also returns the list, unless it cannot be opened.
///
/// # Errors
/// If no slot is free, or the browser has no locks or does not answer.
pub(super) async fn take(
    room: &Room,
    label: Option<&str>,
) -> Result<(Slot, Option<RoomList>), Reason> {
    let taking = slot::take(room.id(), OPEN_TIMEOUT);
    let (slot, list) = join(taking, RoomList::open()).await;
    let mut slot = slot?;
    let Ok(list) = list else {
        return Ok((slot, None));
    };
    for _ in 0..MAX_ATTEMPTS {
        let access = RoomAccess::of(room);
        let adding = Box::pin(list.opened(room.id(), slot.number, access, label));
        let is_deleting = match select(adding, clock::sleep(LIST_TIMEOUT)).await {
            Either::Left((added, _)) => added == Ok(Listed::Deleting),
            Either::Right(_) => false,
        };
        if !is_deleting {
            return Ok((slot, Some(list)));
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
    Err(Reason::Blocked)
}
