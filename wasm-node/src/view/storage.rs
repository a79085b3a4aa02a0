//! What JavaScript gets to know of where this tab keeps things.

use serde::Serialize;

use crate::storage::{Health, Reason};

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
            reason: place.err().map(|reason| match reason {
                Reason::Asked => "asked",
                Reason::NoLocks => "no-locks",
                Reason::NoDatabase => "no-database",
                Reason::Blocked => "blocked",
                Reason::NoFreeSlot => "no-free-slot",
                Reason::NewerVersion => "newer-version",
            }),
            persisted: health.persisted(),
            usage: room.map(|(usage, _)| usage),
            quota: room.map(|(_, quota)| quota),
            failing: health.failing(),
            healed: health.healed(),
            unchecked: health.unchecked(),
        }
    }
}
