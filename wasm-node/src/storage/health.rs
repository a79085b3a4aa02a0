//! What the page may know of where this tab keeps things. Never decides where.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

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
    /// Whether the browser promised to keep the data when its disk gets full.
    persisted: Cell<Option<bool>>,
    /// Bytes that this origin uses, and may use.
    room: RefCell<Option<Room>>,
}

#[derive(Clone, Copy, Debug)]
struct Room {
    usage: f64,
    quota: f64,
    /// When the browser said so, by this computer's clock.
    as_of: u64,
}

impl Health {
    pub(crate) fn new(place: Result<u32, Reason>) -> Rc<Self> {
        Rc::new(Self {
            place,
            healed: Cell::default(),
            unchecked: Cell::default(),
            failing: Cell::default(),
            persisted: Cell::default(),
            room: RefCell::default(),
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

    pub(crate) fn failing(&self) -> bool {
        self.failing.get()
    }

    pub(super) fn note_write(&self, failed: bool) {
        self.failing.set(failed);
    }

    pub(crate) fn persisted(&self) -> Option<bool> {
        self.persisted.get()
    }

    /// Bytes that this origin uses, and may use.
    pub(crate) fn usage_and_quota(&self) -> Option<(f64, f64)> {
        self.room.borrow().map(|room| (room.usage, room.quota))
    }

    /// Bytes left, if they are so few that they are kept for one's own readings.
    pub(super) fn tight(&self) -> Option<u64> {
        let room = (*self.room.borrow())?;
        let left = (room.quota - room.usage).max(0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and saturates"
        )]
        (left < config::RESERVED_FOR_OWN.min(room.quota / 8.0)).then_some(left as u64)
    }

    /// Asks the browser about its room again if what it said is old, or `now`.
    pub(super) async fn look(&self, now: bool) {
        let time = clock::now().get();
        let fresh = |room: &Room| time.saturating_sub(room.as_of) < config::ESTIMATE_AGE_MS;
        if self.place.is_err() || (!now && self.room.borrow().as_ref().is_some_and(fresh)) {
            return;
        }
        let said = ask(StorageManager::estimate).await;
        let estimate = said
            .as_ref()
            .and_then(|said| said.dyn_ref::<js_sys::Object>());
        let estimate = estimate.map(JsCast::unchecked_ref::<StorageEstimate>);
        let numbers = estimate.and_then(|said| Some((said.get_usage()?, said.get_quota()?)));
        if let Some((usage, quota)) = numbers {
            self.room.replace(Some(Room {
                usage,
                quota,
                as_of: time,
            }));
        }
        if self.persisted.get().is_none() {
            let said = ask(StorageManager::persisted).await;
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

/// What the browser's storage manager answers; `None` where there is none, or it refuses.
async fn ask(question: impl Fn(&StorageManager) -> Result<Promise, JsValue>) -> Option<JsValue> {
    let manager = web_sys::window()?.navigator().storage();
    // Pages that came over plain http from another machine have none.
    if manager.is_undefined() {
        return None;
    }
    JsFuture::from(question(&manager).ok()?).await.ok()
}
