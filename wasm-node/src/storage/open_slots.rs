//! Which slots tabs of this browser have open. The answer may be out of date at once: take a slot's lock to be sure.

use heartchain_chain::hash::RoomId;

use super::slot;

/// The slots whose Web Locks are held; without Web Locks, each lock is tried.
#[derive(Debug)]
pub(super) struct OpenSlots(Option<Vec<String>>);

impl OpenSlots {
    /// Asks the browser which Web Locks are held.
    pub(super) async fn look() -> Self {
        Self(slot::held_locks().await)
    }

    /// Whether a tab has any slot of the room open. `numbers` are the slots that are known.
    pub(super) async fn has(&self, room: RoomId, numbers: impl Iterator<Item = u32>) -> bool {
        if let Some(held) = &self.0 {
            let prefix = format!("{}/", slot::prefix(room));
            return held.iter().any(|name| is_slot(name, &prefix));
        }
        for number in numbers {
            if matches!(slot::try_take(room, number).await, Ok(None)) {
                return true;
            }
        }
        false
    }

    /// How many slots of the room are open, as far as Web Locks tell.
    pub(super) fn count(&self, room: RoomId) -> usize {
        let prefix = format!("{}/", slot::prefix(room));
        let held = self.0.iter().flatten();
        held.filter(|name| is_slot(name, &prefix)).count()
    }
}

/// Whether a lock is that of a slot. Miners of a room take turns under another lock.
fn is_slot(name: &str, prefix: &str) -> bool {
    let number = name.strip_prefix(prefix);
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}
