//! The state of a tab's storage, as reported to the page. Never decides where data is stored.

use std::{cell::Cell, pin::pin, rc::Rc, time::Duration};

use futures::future::{Either, select};
use heartchain_chain::time::MonotonicMillis;
use js_sys::Promise;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{StorageEstimate, StorageManager};

use super::{close_signal::ClosedBy, store::StoreError};
use crate::clock;

/// In ms. How long the browser's estimate of the available space stays valid.
const ESTIMATE_AGE_MS: u64 = 10_000;
/// How long the browser may take for the estimate. It takes a few ms; after a timeout it is asked again.
const ESTIMATE_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes that blocks leave free for the tab's own readings, which take a hundred bytes each; at most an eighth of the
/// quota.
pub(crate) const RESERVED_FOR_OWN_READINGS: f64 = 4.0 * 1024.0 * 1024.0;
/// Bytes that other blocks additionally leave free for protected blocks: those with a reading that exists nowhere else.
pub(crate) const RESERVED_FOR_PROTECTED_BLOCKS: f64 = 4.0 * 1024.0 * 1024.0;

/// Why the store is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The page requested it.
    Requested,
    /// The room is being deleted on this device, and the deletion cannot end now. What is written would be deleted with it.
    Deleting,
    /// The browser has no IndexedDB here.
    NoDatabase,
    /// The browser refuses to open it.
    Blocked,
    /// More tabs are open than there are slots.
    NoFreeSlot,
    /// A newer version of this page has upgraded the database, so this version cannot read it.
    NewerVersion,
}

/// Why the store does not write data at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failing {
    /// A newer version of the page has upgraded the database: this tab has to be reloaded.
    NewerVersion,
    /// The browser has closed the database, and it is not reopened yet.
    Closed,
    /// The disk does not respond.
    Stuck,
    /// The disk or the storage quota is full.
    Full,
    /// The disk or the browser reports an error.
    Failed,
}

impl Failing {
    /// The name in the JavaScript API.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NewerVersion => "newer-version",
            Self::Closed => "closed",
            Self::Stuck => "stuck",
            Self::Full => "full",
            Self::Failed => "failed",
        }
    }
}

/// How many own readings a database had lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loss {
    /// Readings that were restored from the mirror.
    pub(crate) saved: usize,
    /// Readings that are in neither copy, and were not confirmed when this computer last had them.
    pub(crate) lost: usize,
}

/// Where a tab stores its data, and how well that works.
#[derive(Debug)]
pub(crate) struct Health {
    /// The slot, or the reason why the store is in memory.
    place: Result<u32, Reason>,
    /// The number of corrupt records that were dropped or restored since the tab was started.
    repaired: Cell<usize>,
    /// The number of blocks on disk that are not checked yet.
    unchecked: Cell<usize>,
    /// Why the last write failed, if it did.
    failing: Cell<Option<Failing>>,
    /// Why the store is closed, if it is.
    closed: Cell<Option<Failing>>,
    /// Whether the store does not respond.
    stuck: Cell<bool>,
    /// The number of readings that have waited to be written for long.
    saving: Cell<usize>,
    /// The own readings that the store had lost when it was opened.
    loss: Cell<Option<Loss>>,
    /// Whether blocks are not written, because the remaining space is reserved for own readings.
    refusing: Cell<bool>,
    /// Whether the browser promised to keep the data when the disk gets full.
    persisted: Cell<Option<bool>>,
    /// The storage usage and quota of this origin, in bytes.
    space: Cell<Option<Space>>,
    /// When the browser was last asked for usage and quota.
    asked: Cell<Option<MonotonicMillis>>,
}

#[derive(Clone, Copy, Debug)]
struct Space {
    usage: f64,
    quota: f64,
}

impl Health {
    pub(crate) fn new(place: Result<u32, Reason>) -> Rc<Self> {
        Rc::new(Self {
            place,
            repaired: Cell::default(),
            unchecked: Cell::default(),
            failing: Cell::default(),
            closed: Cell::default(),
            stuck: Cell::default(),
            saving: Cell::default(),
            loss: Cell::default(),
            refusing: Cell::default(),
            persisted: Cell::default(),
            space: Cell::default(),
            asked: Cell::default(),
        })
    }

    pub(crate) const fn place(&self) -> Result<u32, Reason> {
        self.place
    }

    pub(crate) fn repaired(&self) -> usize {
        self.repaired.get()
    }

    pub(super) fn note_repaired(&self, records: usize) {
        self.repaired
            .set(self.repaired.get().saturating_add(records));
    }

    pub(crate) fn unchecked(&self) -> usize {
        self.unchecked.get()
    }

    pub(super) fn note_unchecked(&self, blocks: usize) {
        self.unchecked.set(blocks);
    }

    /// Whether writes fail.
    pub(crate) fn failing(&self) -> bool {
        self.reason().is_some()
    }

    /// Why writes fail: the most urgent reason.
    pub(crate) fn reason(&self) -> Option<Failing> {
        let stuck = self.stuck.get().then_some(Failing::Stuck);
        let full = self.refusing.get().then_some(Failing::Full);
        let reasons = [self.closed.get(), stuck, self.failing.get(), full];
        reasons.into_iter().flatten().next()
    }

    /// Records the outcome of a write.
    pub(super) fn note_write(&self, failed: Option<&StoreError>) {
        self.failing.set(match failed {
            // Refused blocks and a closed store are recorded separately.
            None | Some(StoreError::Reserved { .. }) => None,
            Some(StoreError::Closed | StoreError::NewerVersion) => self.failing.get(),
            Some(StoreError::Full) => Some(Failing::Full),
            Some(StoreError::Failed(_) | StoreError::Busy { .. }) => Some(Failing::Failed),
        });
    }

    /// Records that the store is closed, or open again.
    pub(super) fn note_closed(&self, by: Option<ClosedBy>) {
        self.closed.set(by.map(|by| match by {
            ClosedBy::Browser => Failing::Closed,
            ClosedBy::NewerVersion => Failing::NewerVersion,
        }));
    }

    /// The number of readings that have waited to be written for long.
    pub(crate) fn saving(&self) -> usize {
        self.saving.get()
    }

    /// Records how many readings have waited for long, and whether the store does not respond. Returns whether either
    /// has changed.
    pub(crate) fn note_waiting(&self, saving: usize, stuck: bool) -> bool {
        let before = (self.saving.replace(saving), self.stuck.replace(stuck));
        before != (saving, stuck)
    }

    /// The own readings that the store had lost when it was opened.
    pub(crate) fn loss(&self) -> Option<Loss> {
        self.loss.get()
    }

    pub(super) fn note_loss(&self, loss: Option<Loss>) {
        self.loss.set(loss);
    }

    /// Records whether blocks are refused. Own readings have reserved space, so their writes do not change this.
    pub(super) fn note_refused(&self, refused: bool) {
        self.refusing.set(refused);
    }

    pub(crate) fn persisted(&self) -> Option<bool> {
        self.persisted.get()
    }

    /// The storage usage and quota of this origin, in bytes.
    pub(crate) fn usage_and_quota(&self) -> Option<(f64, f64)> {
        self.space.get().map(|space| (space.usage, space.quota))
    }

    /// The remaining bytes, if writing this many more would leave less than the reserve. The reserve for own readings
    /// is at most an eighth of the quota; other reserves scale accordingly.
    pub(super) fn space_left_if_short(&self, more: usize, reserve: f64) -> Option<u64> {
        let space = self.space.get()?;
        let left = (space.quota - space.usage).max(0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and saturates"
        )]
        (left - bytes(more) < reserve.min(space.quota * reserve / RESERVED_FOR_OWN_READINGS / 8.0))
            .then_some(left as u64)
    }

    /// Adds written bytes to the last estimate, because a tab that catches up can write a hundred megabytes before the
    /// browser is asked again.
    pub(super) fn note_written(&self, more: usize) {
        let space = self.space.get();
        self.space.set(space.map(|space| Space {
            usage: space.usage + bytes(more),
            ..space
        }));
    }

    /// Asks the browser for usage and quota if the last estimate is old, or if `now`.
    pub(super) async fn refresh_estimate(&self, now: bool) {
        let time = clock::monotonic();
        let recent = |asked: MonotonicMillis| time.since(asked) < ESTIMATE_AGE_MS;
        if self.place.is_err() || (!now && self.asked.get().is_some_and(recent)) {
            return;
        }
        self.asked.set(Some(time));
        let response = query_with_timeout(StorageManager::estimate).await;
        let estimate = response
            .as_ref()
            .and_then(|response| response.dyn_ref::<js_sys::Object>());
        let estimate = estimate.map(JsCast::unchecked_ref::<StorageEstimate>);
        let numbers =
            estimate.and_then(|response| Some((response.get_usage()?, response.get_quota()?)));
        if let Some((usage, quota)) = numbers {
            self.space.set(Some(Space { usage, quota }));
        }
        if self.persisted.get().is_none() {
            let response = query_with_timeout(StorageManager::persisted).await;
            self.persisted
                .set(response.and_then(|response| response.as_bool()));
        }
    }

    /// Asks the browser to keep the data when the disk gets full; the browser may ask the user. Returns whether it
    /// agreed.
    pub(crate) async fn request_persistence(&self) -> bool {
        if self.place.is_err() {
            return false;
        }
        let response = query(StorageManager::persist).await;
        let granted = response
            .and_then(|response| response.as_bool())
            .unwrap_or(false);
        self.persisted.set(Some(granted));
        granted
    }
}

/// A number of bytes as a JavaScript number.
#[expect(clippy::cast_precision_loss, reason = "no batch comes near 2^53 bytes")]
const fn bytes(len: usize) -> f64 {
    len as f64
}

/// Queries the browser's storage manager with a timeout, so that it cannot delay requests to the store for long.
async fn query_with_timeout(
    method: impl Fn(&StorageManager) -> Result<Promise, JsValue>,
) -> Option<JsValue> {
    let answer = pin!(query(method));
    match select(answer, clock::sleep(ESTIMATE_TIMEOUT)).await {
        Either::Left((response, _)) => response,
        Either::Right(_) => None,
    }
}

/// Queries the browser's storage manager; `None` if the browser has none or reports an error.
async fn query(method: impl Fn(&StorageManager) -> Result<Promise, JsValue>) -> Option<JsValue> {
    let manager = web_sys::window()?.navigator().storage();
    // Pages loaded from another machine over plain HTTP have none.
    if manager.is_undefined() {
        return None;
    }
    JsFuture::from(method(&manager).ok()?).await.ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::storage::fault_injector::FaultInjector;

    #[test]
    async fn unresponsive_quota_query_is_awaited_once() {
        let health = Health::new(Ok(0));
        let fault = FaultInjector::unresponsive("StorageManager", "estimate");
        for _ in 0..3 {
            health.refresh_estimate(false).await;
        }
        assert_eq!(fault.calls(), Some(1.0));
        assert_eq!(health.usage_and_quota(), None);
        health.refresh_estimate(true).await;
        assert!(health.usage_and_quota().is_some());
    }

    #[test]
    async fn clock_change_does_not_age_the_estimate() {
        let health = Health::new(Ok(0));
        health.refresh_estimate(false).await;
        let earlier = FaultInjector::clock_set_back(Duration::from_secs(3_600));
        let fault = FaultInjector::unresponsive("StorageManager", "estimate");
        health.refresh_estimate(false).await;
        assert_eq!(fault.calls(), Some(0.0));
        drop(earlier);
    }

    #[test]
    fn most_urgent_failure_is_reported() {
        let health = Health::new(Ok(0));
        assert_eq!(health.reason(), None);
        health.note_write(Some(&StoreError::Failed("so".to_owned())));
        assert_eq!(health.reason(), Some(Failing::Failed));
        health.note_write(Some(&StoreError::Full));
        assert_eq!(health.reason(), Some(Failing::Full));
        assert!(health.note_waiting(1, true));
        assert!(!health.note_waiting(1, true));
        assert_eq!(
            (health.reason(), health.saving()),
            (Some(Failing::Stuck), 1)
        );
        health.note_closed(Some(ClosedBy::Browser));
        assert_eq!(health.reason(), Some(Failing::Closed));
        health.note_closed(Some(ClosedBy::NewerVersion));
        assert_eq!(health.reason(), Some(Failing::NewerVersion));
        health.note_closed(None);
        health.note_waiting(0, false);
        // A closed store tells nothing about the disk.
        health.note_write(Some(&StoreError::Closed));
        assert_eq!(health.reason(), Some(Failing::Full));
        health.note_write(None);
        assert_eq!(health.reason(), None);
        health.note_refused(true);
        assert_eq!(health.reason(), Some(Failing::Full));
    }
}
