//! Which of this browser's tabs in a room this one is: each takes a slot of its own by a Web Lock. A page that was loaded
//! again takes the one that it had; another one the lowest of those that are free and have unshared readings, or else the
//! lowest that is free. The browser gives a lock back
//! when a page is gone, however it went. Never opens a database.

use std::{cell::RefCell, time::Duration};

use chain::hash::RoomId;
use futures::{
    FutureExt,
    channel::oneshot,
    future::{Either, select},
};
use js_sys::{Function, Object, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::AbortController;

use super::{Reason, mirror};
use crate::{clock, config};

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
}

thread_local! {
    /// Slots that nodes of this very page hold, one each: it need not wait for those.
    static HELD: RefCell<Vec<String>> = RefCell::default();
}

/// A slot, held until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) number: u32,
    /// What its lock and its database are called.
    pub(super) name: String,
    release: Option<Function>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        HELD.with_borrow_mut(|held| held.retain(|name| *name != self.name));
        if let Some(release) = self.release.take() {
            // It resolves a promise, which cannot fail.
            let _ = release.call0(&JsValue::NULL);
        }
    }
}

/// Takes a slot. The browser has so long to say of one whether it is free: it says so at once unless it is stuck.
///
/// # Errors
/// If there is none to be had.
pub(super) async fn take(room: RoomId, limit: Duration) -> Result<Slot, Reason> {
    let locks = locks().ok_or(Reason::NoLocks)?;
    let memory = format!("heartchain/{room}/slot");
    if let Some(number) = remembered(&memory) {
        let name = name(room, number);
        let patience =
            HELD.with_borrow(|held| (!held.contains(&name)).then_some(config::SLOT_PATIENCE));
        if let Some(patience) = patience
            && let Some(slot) = request(&locks, number, name, Wanted::InTime(patience)).await?
        {
            return Ok(slot);
        }
    }
    let unshared = |number: &u32| {
        mirror::unconfirmed(&name(room, *number)).is_some_and(|readings| readings > 0)
    };
    // What a closed tab has recorded and not shared is shared again only if somebody is that tab.
    let first = (0..config::MAX_SLOTS).filter(unshared);
    for number in first.chain(0..config::MAX_SLOTS) {
        let wanted = Wanted::AtOnce { limit };
        if let Some(slot) = request(&locks, number, name(room, number), wanted).await? {
            remember(&memory, number);
            return Ok(slot);
        }
    }
    Err(Reason::NoFreeSlot)
}

/// Takes one slot if it is free at once.
///
/// # Errors
/// If the browser has no locks, or does not say.
pub(super) async fn take_free(room: RoomId, number: u32) -> Result<Option<Slot>, Reason> {
    let locks = locks().ok_or(Reason::NoLocks)?;
    let wanted = Wanted::AtOnce {
        limit: config::OPEN_TIMEOUT,
    };
    request(&locks, number, name(room, number), wanted).await
}

/// What a slot's lock and its database are called.
pub(super) fn name(room: RoomId, number: u32) -> String {
    format!("heartchain/{room}/{number}")
}

/// How a slot is asked for.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// If it is free, or becomes so.
    InTime(Duration),
    /// If it is free; no answer by then is a fault.
    AtOnce { limit: Duration },
}

/// Takes one slot if it is free, or becomes so in time.
async fn request(
    locks: &Locks,
    number: u32,
    name: String,
    wanted: Wanted,
) -> Result<Option<Slot>, Reason> {
    let mut release = None;
    // The lock is held until this is resolved.
    let held = Promise::new(&mut |resolve, _| release = Some(resolve));
    let (tell, told) = oneshot::channel();
    let granted = Closure::once_into_js(move |lock: JsValue| {
        let free = !lock.is_null();
        // If nobody waits any longer the lock is given back at once.
        let wanted = tell.send(free).is_ok();
        if free && wanted {
            held.into()
        } else {
            JsValue::UNDEFINED
        }
    });
    let giving_up = AbortController::new().map_err(|_| Reason::NoLocks)?;
    let options = Object::new();
    let (option, value, patience) = match wanted {
        Wanted::InTime(patience) => ("signal", JsValue::from(giving_up.signal()), patience),
        Wanted::AtOnce { limit } => ("ifAvailable", JsValue::TRUE, limit),
    };
    Reflect::set(&options, &option.into(), &value).map_err(|_| Reason::NoLocks)?;
    let requested = locks
        .request(&name, &options, &granted)
        .map_err(|_| Reason::Blocked)?;
    let (refuse, refused) = oneshot::channel::<()>();
    spawn_local(async move {
        // It ends when the lock is given back, or at once if it may not be asked for, or was not waited for.
        if JsFuture::from(requested).await.is_err() {
            let _ = refuse.send(());
        }
    });
    let mut told = told.fuse();
    let free = match select(&mut told, select(refused, clock::sleep(patience))).await {
        Either::Left((told, _)) => told.unwrap_or(false),
        Either::Right((Either::Left((Ok(()), _)), _)) => return Err(Reason::Blocked),
        Either::Right((Either::Left((Err(_), _)) | Either::Right(_), _)) => {
            giving_up.abort();
            // It may have come at the last moment; from now on it cannot.
            match (told.now_or_never().and_then(Result::ok), wanted) {
                (Some(free), _) => free,
                (None, Wanted::InTime(_)) => false,
                // The others would be waited for in vain, too, one after the other.
                (None, Wanted::AtOnce { .. }) => return Err(Reason::Blocked),
            }
        }
    };
    if !free {
        return Ok(None);
    }
    HELD.with_borrow_mut(|held| held.push(name.clone()));
    Ok(Some(Slot {
        number,
        name,
        release,
    }))
}

fn locks() -> Option<Locks> {
    let navigator = web_sys::window()?.navigator();
    let locks = Reflect::get(&navigator, &"locks".into()).ok()?;
    locks.is_object().then(|| locks.unchecked_into())
}

/// The slot that this tab had before it was loaded anew. A duplicate remembers its original's.
fn remembered(memory: &str) -> Option<u32> {
    let storage = web_sys::window()?.session_storage().ok()??;
    let number: u32 = storage.get_item(memory).ok()??.parse().ok()?;
    (number < config::MAX_SLOTS).then_some(number)
}

fn remember(memory: &str, number: u32) {
    let storage = web_sys::window().and_then(|window| window.session_storage().ok()?);
    if let Some(storage) = storage {
        // Without it a tab that is loaded anew takes the lowest free slot.
        let _ = storage.set_item(memory, &number.to_string());
    }
}

#[cfg(test)]
mod tests {
    use chain::room::{Room, RoomName, RoomParams};
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::storage::misfortune::Misfortune;

    async fn take(room: RoomId) -> Result<Slot, Reason> {
        super::take(room, config::OPEN_TIMEOUT).await
    }

    fn room(name: &str) -> RoomId {
        let name = RoomName::new(name).expect("a name");
        Room::new(RoomParams::with_defaults(name)).id()
    }

    #[test]
    async fn each_takes_the_lowest_free_slot() {
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
    async fn a_slot_with_unshared_readings_is_taken_first() {
        let room = room("slots unshared");
        let mirror = mirror::Mirror::open(&name(room, 5));
        mirror.keep_entries(&[(0, crate::storage::suite::journal_entry(0))]);
        let first = take(room).await.expect("a slot");
        let second = take(room).await.expect("a slot");
        assert_eq!([first.number, second.number], [5, 0]);
        drop((first, second));
        mirror.keep_unconfirmed(1, &[]);
        forget_slot(room);
        // The browser gives a lock back a moment later.
        clock::sleep(Duration::from_millis(100)).await;
        assert_eq!(take(room).await.expect("a slot").number, 0);
    }

    /// As another tab: only this one remembers its slot.
    fn forget_slot(room: RoomId) {
        let storage = web_sys::window().and_then(|window| window.session_storage().ok()?);
        let storage = storage.expect("a browser");
        let memory = format!("heartchain/{room}/slot");
        storage.remove_item(&memory).expect("it forgets");
    }

    #[test]
    async fn when_all_are_taken_there_is_none() {
        let room = room("slots all at once");
        let mut slots = Vec::new();
        for number in 0..config::MAX_SLOTS {
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
        assert_eq!(last.number, config::MAX_SLOTS - 1);
    }

    #[test]
    async fn a_browser_that_says_nothing_of_its_locks_is_not_asked_for_one_after_the_other() {
        let silence = Misfortune::silence("LockManager", "request");
        let taken = super::take(room("slots of a stuck browser"), Duration::from_millis(50));
        let reason = taken.await.map(|slot| slot.number);
        assert_eq!((reason, silence.calls()), (Err(Reason::Blocked), Some(1.0)));
    }
}
