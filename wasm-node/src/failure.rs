//! The last words: if this code breaks, the console and the page hear of it once. Never tries to go on.

use std::cell::{Cell, RefCell};

use js_sys::{Object, Reflect};
use wasm_bindgen::JsValue;

use crate::{
    api::{Listeners, dispatch},
    page,
};

thread_local! {
    static REPORTED: Cell<bool> = const { Cell::new(false) };
    static LISTENERS: RefCell<Vec<Listeners>> = const { RefCell::new(Vec::new()) };
    static LAST_STATUS: RefCell<JsValue> = const { RefCell::new(JsValue::UNDEFINED) };
}

/// From now on a panic is reported: on the console, and by a last "status" event with `error` set.
pub(crate) fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        // One panic leads to others, which say nothing new.
        if !REPORTED.replace(true) {
            let words = format!("heartchain broke and must be reloaded: {panic}");
            page::report(&words);
            tell(&words);
        }
    }));
}

/// These listeners hear of it too.
pub(crate) fn watch(listeners: &Listeners) {
    LISTENERS.with_borrow_mut(|all| all.push(listeners.clone()));
}

/// The last status before.
pub(crate) fn remember(status: &JsValue) {
    if !REPORTED.get() {
        LAST_STATUS.set(status.clone());
    }
}

fn tell(words: &str) {
    // What the node knows may be half-changed, so this is the last status told, and why it is the last.
    let status = Object::assign(&Object::new(), &Object::from(LAST_STATUS.take()));
    // A plain object takes any field.
    let _ = Reflect::set(&status, &"error".into(), &words.into());
    for listeners in LISTENERS.take() {
        dispatch(&listeners, "status", &status);
    }
}
