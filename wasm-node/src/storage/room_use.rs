//! Tells the list of rooms what this tab's slot holds, a moment after it changed: a strap records every few seconds, and
//! each record would be a write.

use std::{cell::Cell, rc::Rc, time::Duration};

use heartchain_chain::hash::RoomId;
use wasm_bindgen_futures::spawn_local;

use super::{room_list::RoomList, room_record::SlotUse};
use crate::clock;

/// How long changes are collected before they are written.
const USE_DELAY: Duration = Duration::from_secs(2);
/// Bytes of blocks that are written before the list is told.
const TOLD_BYTES: u64 = 256 * 1024;

/// What a slot holds, and the list to tell.
#[derive(Debug)]
pub(super) struct RoomUse {
    list: Option<RoomList>,
    room: RoomId,
    slot: u32,
    used: Cell<SlotUse>,
    /// What the list was told last.
    told: Cell<SlotUse>,
    is_scheduled: Cell<bool>,
}

impl RoomUse {
    /// Without a list, nothing is told.
    pub(super) fn new(list: Option<RoomList>, room: RoomId, slot: u32) -> Rc<Self> {
        Rc::new(Self {
            list,
            room,
            slot,
            used: Cell::default(),
            told: Cell::default(),
            is_scheduled: Cell::default(),
        })
    }

    /// What the slot holds after a start.
    pub(super) fn found(self: &Rc<Self>, readings: u64, bytes: u64) {
        let bytes = Some(bytes);
        self.used.set(SlotUse { readings, bytes });
        self.schedule();
    }

    /// This many more readings were recorded.
    pub(super) fn recorded(self: &Rc<Self>, more: u64) {
        if more > 0 {
            let used = self.used.get();
            let readings = used.readings.saturating_add(more);
            self.used.set(SlotUse { readings, ..used });
            self.schedule();
        }
    }

    /// This many more bytes of blocks were written. What is deleted is subtracted at the next start.
    pub(super) fn wrote_blocks(self: &Rc<Self>, more: usize) {
        let used = self.used.get();
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        let bytes = used.bytes.unwrap_or_default().saturating_add(more);
        self.used.set(SlotUse {
            bytes: Some(bytes),
            ..used
        });
        let told = self.told.get().bytes.unwrap_or_default();
        if bytes.saturating_sub(told) >= TOLD_BYTES {
            self.schedule();
        }
    }

    fn schedule(self: &Rc<Self>) {
        if self.list.is_none() || self.is_scheduled.replace(true) {
            return;
        }
        let this = self.clone();
        spawn_local(async move {
            clock::sleep(USE_DELAY).await;
            this.is_scheduled.set(false);
            let used = this.used.get();
            this.told.set(used);
            if let Some(list) = &this.list {
                // The list is a convenience. The next start tells it again.
                let _ = list.used(this.room, this.slot, used).await;
            }
        });
    }
}
