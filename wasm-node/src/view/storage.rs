//! The storage status for JavaScript.

use serde::Serialize;

use crate::storage::{Failing, Health, Reason};

/// The value of `status().storage`.
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
    pub(crate) repaired: usize,
    pub(crate) unchecked: usize,
}

impl From<&Health> for StorageView {
    fn from(health: &Health) -> Self {
        let slot = health.place();
        let space = health.usage_and_quota();
        Self {
            kind: if slot.is_ok() { "disk" } else { "memory" },
            slot: slot.ok(),
            reason: slot
                .err()
                .map(in_memory_reason)
                .or(health.reason().map(Failing::name)),
            persisted: health.persisted(),
            usage: space.map(|(usage, _)| usage),
            quota: space.map(|(_, quota)| quota),
            failing: health.failing(),
            saving: health.saving(),
            lost: health.loss().map(|loss| loss.lost),
            repaired: health.repaired(),
            unchecked: health.unchecked(),
        }
    }
}

/// The JavaScript name of the reason why this tab stores nothing on disk.
const fn in_memory_reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Requested => "asked",
        Reason::Deleting => "deleting",
        Reason::NoDatabase => "no-database",
        Reason::Blocked => "blocked",
        Reason::NoFreeSlot => "no-free-slot",
        Reason::NewerVersion => "newer-version",
    }
}
