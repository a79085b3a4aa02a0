//! Panic reporting: the first panic is printed on the console and sent to the page as a last "status" event. Never
//! tries to recover.

use std::cell::{Cell, RefCell};

use js_sys::{Object, Reflect};
use wasm_bindgen::JsValue;

use crate::listeners::{Listeners, dispatch};

thread_local! {
    static REPORTED: Cell<bool> = const { Cell::new(false) };
    static LISTENERS: RefCell<Vec<Listeners>> = const { RefCell::new(Vec::new()) };
    static LAST_STATUS: RefCell<JsValue> = const { RefCell::new(JsValue::UNDEFINED) };
}

/// Installs a panic hook that reports on the console, and by a last "status" event with `error` set.
pub(crate) fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        // One panic causes others, which add nothing.
        if !REPORTED.replace(true) {
            let message = format!("heartchain broke and must be reloaded: {panic}");
            web_sys::console::error_1(&JsValue::from_str(&message));
            emit_last_status(&message);
        }
    }));
}

/// Also sends the last "status" event to these listeners.
pub(crate) fn notify_also(listeners: &Listeners) {
    LISTENERS.with_borrow_mut(|all| all.push(listeners.clone()));
}

/// Remembers the newest status, on which the last "status" event is based.
pub(crate) fn remember_status(status: &JsValue) {
    if !REPORTED.get() {
        LAST_STATUS.set(status.clone());
    }
}

fn emit_last_status(message: &str) {
    // The node's state may be half-changed, so the last status that was sent is sent again, with the error.
    let status = Object::assign(&Object::new(), &Object::from(LAST_STATUS.take()));
    // A plain object takes any field.
    let _ = Reflect::set(&status, &"error".into(), &message.into());
    for listeners in LISTENERS.take() {
        dispatch(&listeners, "status", &status);
    }
}
