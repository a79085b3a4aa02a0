//! What the page may know of where this tab keeps things. Never decides where.

use std::{cell::Cell, pin::pin, rc::Rc};

use futures::future::{Either, select};
use js_sys::Promise;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{StorageEstimate, StorageManager};

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

/// Where this tab keeps things, and how that goes.
#[derive(Debug)]
pub(crate) struct Health {
    /// The slot; or why there is none, and all is in memory.
    place: Result<u32, Reason>,
    /// Records that proved damaged, and were dropped, since the tab was started.
    healed: Cell<usize>,
    /// Blocks on disk that are still to be checked.
    unchecked: Cell<usize>,
    /// Whether the last write failed.
    failing: Cell<bool>,
    /// Whether blocks are not written, because what room is left is kept for one's own readings.
    refusing: Cell<bool>,
    /// Whether the browser promised to keep the data when its disk gets full.
    persisted: Cell<Option<bool>>,
    /// Bytes that this origin uses, and may use.
    room: Cell<Option<Room>>,
    /// When the browser was last asked for that, by this computer's clock.
    asked: Cell<Option<u64>>,
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
        self.failing.get() || self.refusing.get()
    }

    pub(super) fn note_write(&self, failed: bool) {
        self.failing.set(failed);
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

    /// Bytes left, if with so many more written there would be so few that these are kept for one's own readings.
    pub(super) fn tight(&self, more: usize) -> Option<u64> {
        let room = self.room.get()?;
        let left = (room.quota - room.usage).max(0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and saturates"
        )]
        (left - bytes(more) < config::RESERVED_FOR_OWN.min(room.quota / 8.0)).then_some(left as u64)
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
        let time = clock::now().get();
        // The clock may be put back, by more than that.
        let recent = |asked: u64| time.abs_diff(asked) < config::ESTIMATE_AGE_MS;
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
    async fn what_was_said_before_the_clock_was_put_back_is_old() {
        let health = Health::new(Ok(0));
        health.look(false).await;
        let earlier = Misfortune::clock_put_back(Duration::from_secs(3_600));
        let silence = Misfortune::silence("StorageManager", "estimate");
        health.look(false).await;
        assert_eq!(silence.calls(), Some(1.0));
        drop(earlier);
    }
}
