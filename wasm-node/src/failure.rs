//! Panic reporting: the first panic is printed on the console and sent to the listeners of every node as a last "status"
//! event. Never tries to recover.

use std::cell::{Cell, RefCell};

use js_sys::{Object, Reflect};
use wasm_bindgen::JsValue;

use crate::listeners::{Listeners, dispatch};

thread_local! {
    static REPORTED: Cell<bool> = const { Cell::new(false) };
    static NODES: RefCell<Vec<Reported>> = const { RefCell::new(Vec::new()) };
    static NEXT_ID: Cell<u64> = const { Cell::new(0) };
}

/// A running node that is told of a panic.
struct Reported {
    id: u64,
    listeners: Listeners,
    last_status: JsValue,
}

/// Reports panics to one node, until it is dropped.
#[derive(Debug)]
pub(crate) struct PanicReport {
    id: u64,
}

impl Drop for PanicReport {
    fn drop(&mut self) {
        NODES.with_borrow_mut(|nodes| nodes.retain(|node| node.id != self.id));
    }
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

/// Whether a panic has ended all nodes.
pub(crate) fn has_panicked() -> bool {
    REPORTED.get()
}

/// Also sends the last "status" event to these listeners, based on the newest status of their node.
pub(crate) fn report_to(listeners: Listeners) -> PanicReport {
    let id = NEXT_ID.replace(NEXT_ID.get().wrapping_add(1));
    NODES.with_borrow_mut(|nodes| {
        nodes.push(Reported {
            id,
            listeners,
            last_status: JsValue::UNDEFINED,
        });
    });
    PanicReport { id }
}

impl PanicReport {
    /// Remembers the newest status of the node.
    pub(crate) fn remember_status(&self, status: &JsValue) {
        if REPORTED.get() {
            return;
        }
        NODES.with_borrow_mut(|nodes| {
            if let Some(node) = nodes.iter_mut().find(|node| node.id == self.id) {
                node.last_status = status.clone();
            }
        });
    }
}

fn emit_last_status(message: &str) {
    // A node's state may be half-changed, so the last status that was sent is sent again, with the error.
    for Reported {
        listeners,
        last_status,
        ..
    } in NODES.take()
    {
        let status = Object::assign(&Object::new(), &Object::from(last_status));
        // A plain object takes any field.
        let _ = Reflect::set(&status, &"error".into(), &message.into());
        dispatch(&listeners, "status", &status);
    }
}
