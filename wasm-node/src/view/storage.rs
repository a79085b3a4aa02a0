//! What JavaScript gets to know of where this tab keeps things.

use serde::Serialize;

use crate::storage::{Failing, Health, Reason};

/// `status().storage`
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StorageView {
    pub(crate) kind: &'static str,
    pub(crate) slot: Option<u32>,
    pub(crate) reason: Option<&'static str>,
    pub(crate) persisted: Option<bool>,
    pub(crate) usage: Option<f64>,
    pub(crate) quota: Option<f64>,
    pub(crate) failing: bool,
    pub(crate) saving: usize,
    pub(crate) lost: Option<usize>,
    pub(crate) healed: usize,
    pub(crate) unchecked: usize,
}

impl From<&Health> for StorageView {
    fn from(health: &Health) -> Self {
        let place = health.place();
        let room = health.usage_and_quota();
        Self {
            kind: if place.is_ok() { "disk" } else { "memory" },
            slot: place.ok(),
            reason: place
                .err()
                .map(kept_in_memory)
                .or(health.reason().map(Failing::name)),
            persisted: health.persisted(),
            usage: room.map(|(usage, _)| usage),
            quota: room.map(|(_, quota)| quota),
            failing: health.failing(),
            saving: health.saving(),
            lost: health.loss().map(|loss| loss.lost),
            healed: health.healed(),
            unchecked: health.unchecked(),
        }
    }
}

/// Why all is in memory.
const fn kept_in_memory(reason: Reason) -> &'static str {
    match reason {
        Reason::Asked => "asked",
        Reason::NoLocks => "no-locks",
        Reason::NoDatabase => "no-database",
        Reason::Blocked => "blocked",
        Reason::NoFreeSlot => "no-free-slot",
        Reason::NewerVersion => "newer-version",
    }
}
