//! What the page may know of where this tab keeps things. Never decides where.

use std::{cell::Cell, pin::pin, rc::Rc};

use chain::time::MonotonicMillis;
use futures::future::{Either, select};
use js_sys::Promise;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{StorageEstimate, StorageManager};

use super::{ClosedBy, StoreError, loading::Loss};
use crate::{clock, config};

/// Why nothing is kept on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The page asked for it.
    Asked,
    /// The browser has no Web Locks here: the page came over plain http from another machine.
    NoLocks,
    /// The browser has no IndexedDB here.
    NoDatabase,
    /// The browser refuses to open it.
    Blocked,
    /// More tabs are open than there are slots.
    NoFreeSlot,
    /// A newer version of this page has been here, whose database this one cannot read.
    NewerVersion,
}

/// Why something is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failing {
    /// A newer version of the page has upgraded the database: this tab has to be reloaded.
    NewerVersion,
    /// The browser has closed the database, and it is not open again yet.
    Closed,
    /// The disk does not answer.
    Stuck,
    /// There is no room.
    Full,
    /// The disk refuses, or the browser does.
    Failed,
}

impl Failing {
    /// What JavaScript calls it.
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

/// Where this tab keeps things, and how that goes.
#[derive(Debug)]
pub(crate) struct Health {
    /// The slot; or why there is none, and all is in memory.
    place: Result<u32, Reason>,
    /// Records that proved damaged, and were dropped, since the tab was started.
    healed: Cell<usize>,
    /// Blocks on disk that are still to be checked.
    unchecked: Cell<usize>,
    /// Why the last write failed, if it did.
    failing: Cell<Option<Failing>>,
    /// Why the store is closed, if it is.
    closed: Cell<Option<Failing>>,
    /// Whether the store has not answered for long.
    stuck: Cell<bool>,
    /// Readings that wait to be written for long.
    saving: Cell<usize>,
    /// What the store had lost of one's own readings when it was opened.
    loss: Cell<Option<Loss>>,
    /// Whether blocks are not written, because what room is left is kept for one's own readings.
    refusing: Cell<bool>,
    /// Whether the browser promised to keep the data when its disk gets full.
    persisted: Cell<Option<bool>>,
    /// Bytes that this origin uses, and may use.
    room: Cell<Option<Room>>,
    /// When the browser was last asked for that.
    asked: Cell<Option<MonotonicMillis>>,
}

#[derive(Clone, Copy, Debug)]
struct Room {
    usage: f64,
    quota: f64,
}

impl Health {
    pub(crate) fn new(place: Result<u32, Reason>) -> Rc<Self> {
        Rc::new(Self {
            place,
            healed: Cell::default(),
            unchecked: Cell::default(),
            failing: Cell::default(),
            closed: Cell::default(),
            stuck: Cell::default(),
            saving: Cell::default(),
            loss: Cell::default(),
            refusing: Cell::default(),
            persisted: Cell::default(),
            room: Cell::default(),
            asked: Cell::default(),
        })
    }

    pub(crate) const fn place(&self) -> Result<u32, Reason> {
        self.place
    }

    pub(crate) fn healed(&self) -> usize {
        self.healed.get()
    }

    pub(super) fn note_healed(&self, records: usize) {
        self.healed.set(self.healed.get().saturating_add(records));
    }

    pub(crate) fn unchecked(&self) -> usize {
        self.unchecked.get()
    }

    pub(super) fn note_unchecked(&self, blocks: usize) {
        self.unchecked.set(blocks);
    }

    /// Whether something was not written.
    pub(crate) fn failing(&self) -> bool {
        self.reason().is_some()
    }

    /// Why something is not written.
    pub(crate) fn reason(&self) -> Option<Failing> {
        let stuck = self.stuck.get().then_some(Failing::Stuck);
        let full = self.refusing.get().then_some(Failing::Full);
        let reasons = [self.closed.get(), stuck, self.failing.get(), full];
        reasons.into_iter().flatten().next()
    }

    /// Notes how a write ended.
    pub(super) fn note_write(&self, failed: Option<&StoreError>) {
        self.failing.set(match failed {
            // What was refused to keep room for one's own readings is noted apart, and a closed store, too.
            None | Some(StoreError::Reserved { .. }) => None,
            Some(StoreError::Closed | StoreError::NewerVersion) => self.failing.get(),
            Some(StoreError::Full) => Some(Failing::Full),
            Some(StoreError::Failed(_) | StoreError::Busy { .. }) => Some(Failing::Failed),
        });
    }

    /// Notes that the store is closed, or open again.
    pub(super) fn note_closed(&self, by: Option<ClosedBy>) {
        self.closed.set(by.map(|by| match by {
            ClosedBy::Browser => Failing::Closed,
            ClosedBy::NewerVersion => Failing::NewerVersion,
        }));
    }

    /// Readings that wait to be written for long.
    pub(crate) fn saving(&self) -> usize {
        self.saving.get()
    }

    /// Notes how many readings wait for long, and whether the store has not answered for longer. Returns whether that is
    /// new.
    pub(crate) fn note_waiting(&self, saving: usize, stuck: bool) -> bool {
        let before = (self.saving.replace(saving), self.stuck.replace(stuck));
        before != (saving, stuck)
    }

    /// What the store had lost of one's own readings when it was opened.
    pub(crate) fn loss(&self) -> Option<Loss> {
        self.loss.get()
    }

    pub(super) fn note_loss(&self, loss: Option<Loss>) {
        self.loss.set(loss);
    }

    /// Notes whether blocks were refused: one's own readings, which have room, say nothing of that.
    pub(super) fn note_refused(&self, refused: bool) {
        self.refusing.set(refused);
    }

    pub(crate) fn persisted(&self) -> Option<bool> {
        self.persisted.get()
    }

    /// Bytes that this origin uses, and may use.
    pub(crate) fn usage_and_quota(&self) -> Option<(f64, f64)> {
        self.room.get().map(|room| (room.usage, room.quota))
    }

    /// Bytes left, if with so many more written less than this reserve would be left. Of a small quota an eighth is as good.
    pub(super) fn tight(&self, more: usize, reserve: f64) -> Option<u64> {
        let room = self.room.get()?;
        let left = (room.quota - room.usage).max(0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and saturates"
        )]
        (left - bytes(more) < reserve.min(room.quota * reserve / config::RESERVED_FOR_OWN / 8.0))
            .then_some(left as u64)
    }

    /// Notes that so many bytes were written since the browser was asked: a tab that catches up writes a hundred megabytes
    /// before it is asked again.
    pub(super) fn note_written(&self, more: usize) {
        let room = self.room.get();
        self.room.set(room.map(|room| Room {
            usage: room.usage + bytes(more),
            ..room
        }));
    }

    /// Asks the browser about its room again if what it said is old, or `now`.
    pub(super) async fn look(&self, now: bool) {
        let time = clock::monotonic();
        let recent = |asked: MonotonicMillis| time.since(asked) < config::ESTIMATE_AGE_MS;
        if self.place.is_err() || (!now && self.asked.get().is_some_and(recent)) {
            return;
        }
        self.asked.set(Some(time));
        let said = answer(StorageManager::estimate).await;
        let estimate = said
            .as_ref()
            .and_then(|said| said.dyn_ref::<js_sys::Object>());
        let estimate = estimate.map(JsCast::unchecked_ref::<StorageEstimate>);
        let numbers = estimate.and_then(|said| Some((said.get_usage()?, said.get_quota()?)));
        if let Some((usage, quota)) = numbers {
            self.room.set(Some(Room { usage, quota }));
        }
        if self.persisted.get().is_none() {
            let said = answer(StorageManager::persisted).await;
            self.persisted.set(said.and_then(|said| said.as_bool()));
        }
    }

    /// Asks the browser, and it perhaps the person, to keep the data when its disk gets full. Returns whether it will.
    pub(crate) async fn request_persistence(&self) -> bool {
        if self.place.is_err() {
            return false;
        }
        let said = ask(StorageManager::persist).await;
        let granted = said.and_then(|said| said.as_bool()).unwrap_or(false);
        self.persisted.set(Some(granted));
        granted
    }
}

/// Bytes as the browser counts them.
#[expect(clippy::cast_precision_loss, reason = "no batch comes near 2^53 bytes")]
const fn bytes(len: usize) -> f64 {
    len as f64
}

/// What the browser's storage manager answers in time: nothing that is ordered of the store waits for longer.
async fn answer(question: impl Fn(&StorageManager) -> Result<Promise, JsValue>) -> Option<JsValue> {
    let answer = pin!(ask(question));
    match select(answer, clock::sleep(config::ESTIMATE_TIMEOUT)).await {
        Either::Left((said, _)) => said,
        Either::Right(_) => None,
    }
}

/// What the browser's storage manager answers; `None` where there is none, or it refuses.
async fn ask(question: impl Fn(&StorageManager) -> Result<Promise, JsValue>) -> Option<JsValue> {
    let manager = web_sys::window()?.navigator().storage();
    // Pages that came over plain http from another machine have none.
    if manager.is_undefined() {
        return None;
    }
    JsFuture::from(question(&manager).ok()?).await.ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::storage::misfortune::Misfortune;

    #[test]
    async fn a_browser_that_says_nothing_of_its_room_is_waited_for_once() {
        let health = Health::new(Ok(0));
        let silence = Misfortune::silence("StorageManager", "estimate");
        for _ in 0..3 {
            health.look(false).await;
        }
        assert_eq!(silence.calls(), Some(1.0));
        assert_eq!(health.usage_and_quota(), None);
        health.look(true).await;
        assert!(health.usage_and_quota().is_some());
    }

    #[test]
    async fn a_set_clock_does_not_age_what_was_said() {
        let health = Health::new(Ok(0));
        health.look(false).await;
        let earlier = Misfortune::clock_put_back(Duration::from_secs(3_600));
        let silence = Misfortune::silence("StorageManager", "estimate");
        health.look(false).await;
        assert_eq!(silence.calls(), Some(0.0));
        drop(earlier);
    }

    #[test]
    fn the_most_pressing_reason_for_failing_is_told() {
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
        // A store that was closed says nothing of the disk.
        health.note_write(Some(&StoreError::Closed));
        assert_eq!(health.reason(), Some(Failing::Full));
        health.note_write(None);
        assert_eq!(health.reason(), None);
        health.note_refused(true);
        assert_eq!(health.reason(), Some(Failing::Full));
    }
}
