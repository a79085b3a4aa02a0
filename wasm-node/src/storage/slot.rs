//! Slots: each tab of a room holds one slot of this browser, protected by a Web Lock, and with it a database of its
//! own. Browsers without Web Locks have a [`DatabaseLock`] instead. A reloaded tab takes its previous slot. A new tab takes
//! the lowest free slot with unshared readings, or else the lowest free slot. The browser releases a lock when its page
//! is gone, even after a crash. docs/storage.md, "Names", has the names. Never opens a database.

use std::{cell::RefCell, time::Duration};

use futures::{
    FutureExt,
    channel::oneshot,
    future::{Either, select},
};
use heartchain_chain::hash::RoomId;
use js_sys::{Array, Function, Object, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::AbortController;

use super::{
    database_lock::{self, DatabaseLock},
    health::Reason,
    mirror,
    schema::OPEN_TIMEOUT,
};
use crate::clock;

/// Tabs of one browser that can store data in one room: enough for a person, and for testing a class. Each tab has a
/// database of its own; further tabs keep their data in memory.
pub(crate) const MAX_SLOTS: u32 = 64;
/// How long a reloaded page waits for its own slot, which the previous page may not have released yet. A duplicated tab
/// waits in vain.
const SLOT_WAIT: Duration = Duration::from_millis(1_000);
/// How long a database lock may take if it is free. Behind other tabs that wait for it, the browser does not say that it is
/// held.
const DATABASE_LOCK_WAIT: Duration = Duration::from_millis(500);
/// How long the browser may take to list its locks.
const QUERY_LIMIT: Duration = Duration::from_secs(2);

#[wasm_bindgen]
extern "C" {
    /// `navigator.locks`, which web-sys has only behind its unstable flag.
    type Locks;
    #[wasm_bindgen(method, catch)]
    fn request(
        this: &Locks,
        name: &str,
        options: &Object,
        granted: &JsValue,
    ) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn query(this: &Locks) -> Result<Promise, JsValue>;
}

thread_local! {
    /// The slots of the nodes in this page. Waiting for one of those would be useless.
    static HELD_BY_PAGE: RefCell<Vec<String>> = RefCell::default();
}

/// A slot; its lock is released on drop.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) number: u32,
    /// The name of both its lock and its database.
    pub(super) name: String,
    hold: Hold,
    released: Option<Released>,
}

/// What keeps other tabs out of a slot.
#[derive(Debug)]
enum Hold {
    /// Calling the function releases the Web Lock.
    WebLock(Option<Function>),
    /// The lock is released when it is dropped.
    Database(Option<DatabaseLock>, Option<oneshot::Sender<()>>),
}

/// Resolves once the browser has released a slot's lock, or is canceled if it has no answer.
pub(crate) type Released = oneshot::Receiver<()>;

impl Slot {
    /// What tells that the lock is free again, after the slot was dropped. `None` if it was taken before.
    pub(super) fn take_released(&mut self) -> Option<Released> {
        self.released.take()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        HELD_BY_PAGE.with_borrow_mut(|held| held.retain(|name| *name != self.name));
        match &mut self.hold {
            Hold::WebLock(release) => {
                if let Some(release) = release.take() {
                    // Resolving a promise cannot fail.
                    let _ = release.call0(&JsValue::NULL);
                }
            }
            Hold::Database(lock, unlock) => {
                drop(lock.take());
                if let Some(unlock) = unlock.take() {
                    // No one may be waiting.
                    let _ = unlock.send(());
                }
            }
        }
    }
}

/// Takes a slot. `limit` is the timeout for each lock request; a browser that is not stuck answers at once.
///
/// # Errors
/// If no slot is free, or the browser refuses or does not answer.
pub(super) async fn take(room: RoomId, limit: Duration) -> Result<Slot, Reason> {
    take_with(locks().as_ref(), room, limit).await
}

async fn take_with(locks: Option<&Locks>, room: RoomId, limit: Duration) -> Result<Slot, Reason> {
    let storage_key = format!("{}/slot", prefix(room));
    if let Some(number) = remembered(&storage_key) {
        let name = name(room, number);
        let patience =
            HELD_BY_PAGE.with_borrow(|held| (!held.contains(&name)).then_some(SLOT_WAIT));
        if let Some(patience) = patience
            && let Some(slot) =
                request(locks, number, name, LockRequest::WaitUpTo(patience)).await?
        {
            return Ok(slot);
        }
    }
    let unshared = |number: &u32| {
        mirror::unconfirmed(&name(room, *number)).is_some_and(|readings| readings > 0)
    };
    // Slots with unshared readings first: their readings are shared under their own key once a tab takes the slot.
    let unshared = (0..MAX_SLOTS).filter(unshared);
    let first = preferred(room).into_iter().chain(unshared);
    for number in first.chain(0..MAX_SLOTS) {
        let wanted = LockRequest::IfAvailable { limit };
        if let Some(slot) = request(locks, number, name(room, number), wanted).await? {
            remember(&storage_key, number);
            return Ok(slot);
        }
    }
    Err(Reason::NoFreeSlot)
}

/// Takes one slot if it is free at the moment.
///
/// # Errors
/// If the browser refuses, or does not answer.
pub(super) async fn try_take(room: RoomId, number: u32) -> Result<Option<Slot>, Reason> {
    let wanted = LockRequest::IfAvailable {
        limit: OPEN_TIMEOUT,
    };
    request(locks().as_ref(), number, name(room, number), wanted).await
}

/// The name of both a slot's lock and its database.
pub(super) fn name(room: RoomId, number: u32) -> String {
    format!("{}/{number}", prefix(room))
}

/// What the names of all databases and items of a room begin with, before a slash.
pub(super) fn prefix(room: RoomId) -> String {
    format!("heartchain/{room}")
}

/// The name of the database that serves as a slot's lock where there are no Web Locks.
pub(super) fn lock_database(room: RoomId, number: u32) -> String {
    database_lock::database_of(&name(room, number))
}

pub(super) fn has_web_locks() -> bool {
    locks().is_some()
}

/// The names of all Web Locks that pages of this origin hold. `None` if the browser has no Web Locks, or does not answer.
pub(super) async fn held_locks() -> Option<Vec<String>> {
    let asked = JsFuture::from(locks()?.query().ok()?);
    let answer = match select(asked, clock::sleep(QUERY_LIMIT)).await {
        Either::Left((answer, _)) => answer.ok()?,
        Either::Right(_) => return None,
    };
    let held = Reflect::get(&answer, &"held".into()).ok()?;
    let name = |lock: JsValue| Reflect::get(&lock, &"name".into()).ok()?.as_string();
    Some(Array::from(&held).iter().filter_map(name).collect())
}

/// Lets the next tab of the room take this slot, if it is free: an identity was moved there. This tab takes it when it is
/// loaded again.
pub(super) fn prefer(room: RoomId, number: u32) {
    let storage = web_sys::window().and_then(|window| window.local_storage().ok()?);
    if let Some(storage) = storage {
        // If this fails, a tab takes the slot when those below it are taken.
        let _ = storage.set_item(&preference(room), &number.to_string());
    }
    remember(&format!("{}/slot", prefix(room)), number);
}

fn preferred(room: RoomId) -> Option<u32> {
    let storage = web_sys::window()?.local_storage().ok()??;
    let number: u32 = storage.get_item(&preference(room)).ok()??.parse().ok()?;
    (number < MAX_SLOTS).then_some(number)
}

fn preference(room: RoomId) -> String {
    format!("{}/preferred", prefix(room))
}

/// Forgets which slot this tab had in the room.
pub(super) fn forget(room: RoomId) {
    let storage = web_sys::window().and_then(|window| window.session_storage().ok()?);
    if let Some(storage) = storage {
        // A tab that remembers a slot that is gone gets a new one with its number.
        let _ = storage.remove_item(&format!("{}/slot", prefix(room)));
    }
}

/// How a lock is requested.
#[derive(Clone, Copy, Debug)]
enum LockRequest {
    /// Waits until the lock is free, at most this long.
    WaitUpTo(Duration),
    /// Takes the lock only if it is free; no answer within the timeout is an error.
    IfAvailable { limit: Duration },
}

/// Requests the lock of one slot. `None` if another tab holds it.
async fn request(
    locks: Option<&Locks>,
    number: u32,
    name: String,
    wanted: LockRequest,
) -> Result<Option<Slot>, Reason> {
    let Some(locks) = locks else {
        return request_database_lock(number, name, wanted).await;
    };
    let mut release = None;
    // The browser holds the lock until this promise resolves.
    let held = Promise::new(&mut |resolve, _| release = Some(resolve));
    let (sender, receiver) = oneshot::channel();
    let granted = Closure::once_into_js(move |lock: JsValue| {
        let free = !lock.is_null();
        // After the timeout, the lock is released at once.
        let wanted = sender.send(free).is_ok();
        if free && wanted {
            held.into()
        } else {
            JsValue::UNDEFINED
        }
    });
    let abort_request = AbortController::new().map_err(|_| Reason::Blocked)?;
    let options = Object::new();
    let (option, value, patience) = match wanted {
        LockRequest::WaitUpTo(patience) => {
            ("signal", JsValue::from(abort_request.signal()), patience)
        }
        LockRequest::IfAvailable { limit } => ("ifAvailable", JsValue::TRUE, limit),
    };
    // Setting a field of a new object cannot fail.
    let _ = Reflect::set(&options, &option.into(), &value);
    let requested = locks
        .request(&name, &options, &granted)
        .map_err(|_| Reason::Blocked)?;
    let (reject, rejected) = oneshot::channel::<()>();
    let (unlock, released) = oneshot::channel::<()>();
    spawn_local(async move {
        // The promise settles when the lock is released. It rejects if the request is not allowed or was aborted.
        let waiting = match JsFuture::from(requested).await {
            Ok(_) => unlock,
            Err(_) => reject,
        };
        let _ = waiting.send(());
    });
    let mut receiver = receiver.fuse();
    let free = match select(&mut receiver, select(rejected, clock::sleep(patience))).await {
        Either::Left((granted, _)) => granted.unwrap_or(false),
        Either::Right((Either::Left((Ok(()), _)), _)) => return Err(Reason::Blocked),
        Either::Right((Either::Left((Err(_), _)) | Either::Right(_), _)) => {
            abort_request.abort();
            // The lock may have been granted just before the abort, but not after it.
            match (receiver.now_or_never().and_then(Result::ok), wanted) {
                (Some(free), _) => free,
                (None, LockRequest::WaitUpTo(_)) => false,
                // The browser is stuck: further requests would time out, too, one after the other.
                (None, LockRequest::IfAvailable { .. }) => return Err(Reason::Blocked),
            }
        }
    };
    if !free {
        return Ok(None);
    }
    HELD_BY_PAGE.with_borrow_mut(|held| held.push(name.clone()));
    Ok(Some(Slot {
        number,
        name,
        hold: Hold::WebLock(release),
        released: Some(released),
    }))
}

async fn request_database_lock(
    number: u32,
    name: String,
    wanted: LockRequest,
) -> Result<Option<Slot>, Reason> {
    let (wait, limit) = match wanted {
        LockRequest::WaitUpTo(patience) => (true, patience),
        LockRequest::IfAvailable { limit } => (false, limit.min(DATABASE_LOCK_WAIT)),
    };
    let Some(lock) = database_lock::take(&name, wait, limit).await? else {
        return Ok(None);
    };
    HELD_BY_PAGE.with_borrow_mut(|held| held.push(name.clone()));
    let (unlock, released) = oneshot::channel();
    Ok(Some(Slot {
        number,
        name,
        hold: Hold::Database(Some(lock), Some(unlock)),
        released: Some(released),
    }))
}

fn locks() -> Option<Locks> {
    let navigator = web_sys::window()?.navigator();
    let locks = Reflect::get(&navigator, &"locks".into()).ok()?;
    locks.is_object().then(|| locks.unchecked_into())
}

/// The slot that this tab had before it was reloaded. A duplicated tab has the slot of its original here.
fn remembered(storage_key: &str) -> Option<u32> {
    let storage = web_sys::window()?.session_storage().ok()??;
    let number: u32 = storage.get_item(storage_key).ok()??.parse().ok()?;
    (number < MAX_SLOTS).then_some(number)
}

fn remember(storage_key: &str, number: u32) {
    let storage = web_sys::window().and_then(|window| window.session_storage().ok()?);
    if let Some(storage) = storage {
        // If this fails, the tab takes the lowest free slot after a reload.
        let _ = storage.set_item(storage_key, &number.to_string());
    }
}

#[cfg(test)]
mod tests {
    use heartchain_chain::room::{Room, RoomName, RoomParams};
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::storage::fault_injector::FaultInjector;

    async fn take(room: RoomId) -> Result<Slot, Reason> {
        super::take(room, OPEN_TIMEOUT).await
    }

    fn room(name: &str) -> RoomId {
        let name = RoomName::new(name).expect("a name");
        Room::new(RoomParams::with_defaults(name)).id()
    }

    #[test]
    async fn lowest_free_slot_is_taken() {
        let room = room("slots one by one");
        let first = take(room).await.expect("a slot");
        let second = take(room).await.expect("a slot");
        let third = take(room).await.expect("a slot");
        assert_eq!([first.number, second.number, third.number], [0, 1, 2]);
        drop(second);
        let again = take(room).await.expect("a slot");
        assert_eq!(again.number, 1);
        let other = take(self::room("another room's slots"))
            .await
            .expect("a slot");
        assert_eq!(other.number, 0);
    }

    #[test]
    async fn slot_with_unshared_readings_is_taken_first() {
        let room = room("slots unshared");
        let mirror = mirror::Mirror::open(&name(room, 5));
        mirror.keep_entries(&[(0, crate::storage::suite::journal_entry(0))]);
        let first = take(room).await.expect("a slot");
        let second = take(room).await.expect("a slot");
        assert_eq!([first.number, second.number], [5, 0]);
        drop((first, second));
        mirror.keep_unconfirmed(1, &[]);
        forget_slot(room);
        // The browser releases a lock a moment later.
        clock::sleep(Duration::from_millis(100)).await;
        assert_eq!(take(room).await.expect("a slot").number, 0);
    }

    /// Acts as another tab, which has no previous slot.
    fn forget_slot(room: RoomId) {
        let storage = web_sys::window().and_then(|window| window.session_storage().ok()?);
        let storage = storage.expect("a browser");
        let storage_key = format!("heartchain/{room}/slot");
        storage
            .remove_item(&storage_key)
            .expect("the item is removed");
    }

    #[test]
    async fn preferred_slot_is_taken_first() {
        let room = room("slots preferred");
        prefer(room, 3);
        let first = take(room).await.expect("a slot");
        forget(room);
        let second = take(room).await.expect("a slot");
        assert_eq!([first.number, second.number], [3, 0]);
    }

    #[test]
    async fn slots_without_web_locks_are_kept_apart() {
        let room = room("slots by database");
        let take = || take_with(None, room, OPEN_TIMEOUT);
        let first = take().await.expect("a slot");
        let second = take().await.expect("a slot");
        assert_eq!([first.number, second.number], [0, 1]);
        forget_slot(room);
        drop(first);
        let mut again = take().await.expect("a slot");
        assert_eq!(again.number, 0, "a reloaded tab has its identity again");
        let released = again.take_released().expect("it was not taken");
        drop(again);
        released.await.expect("the lock is free");
    }

    #[test]
    async fn no_slot_when_all_are_taken() {
        let room = room("slots all at once");
        let mut slots = Vec::new();
        for number in 0..MAX_SLOTS {
            let slot = take(room).await.expect("a slot");
            assert_eq!(slot.number, number);
            slots.push(slot);
        }
        assert_eq!(
            take(room).await.map(|slot| slot.number),
            Err(Reason::NoFreeSlot)
        );
        slots.pop();
        let last = take(room).await.expect("a slot");
        assert_eq!(last.number, MAX_SLOTS - 1);
    }

    #[test]
    async fn unresponsive_lock_manager_is_asked_once() {
        let fault = FaultInjector::unresponsive("LockManager", "request");
        let taken = super::take(room("slots of a stuck browser"), Duration::from_millis(50));
        let reason = taken.await.map(|slot| slot.number);
        assert_eq!((reason, fault.calls()), (Err(Reason::Blocked), Some(1.0)));
    }
}
