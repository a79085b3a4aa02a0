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

#[cfg(test)]
mod tests {
    use js_sys::Array;
    use wasm_bindgen::closure::Closure;
    use wasm_bindgen_test::wasm_bindgen_test as test;
    use web_sys::CustomEvent;

    use super::*;

    /// A node in this room, whose status events go to `heard`.
    fn node_in(room: &str, heard: &Array) -> PanicReport {
        let listeners = Listeners::new().expect("a browser has EventTarget");
        let heard = heard.clone();
        let listener = Closure::<dyn Fn(CustomEvent)>::new(move |event: CustomEvent| {
            heard.push(&event.detail());
        });
        listeners
            .add(&"status".into(), listener.as_ref(), &JsValue::UNDEFINED)
            .expect("a listener can be added");
        listener.forget();
        let report = report_to(listeners);
        let status = Object::new();
        Reflect::set(&status, &"room".into(), &room.into()).expect("it takes any field");
        report.remember_status(&status);
        report
    }

    #[test]
    fn each_node_reports_a_panic_with_its_own_status() {
        let heard = Array::new();
        let (_first, _second) = (node_in("a", &heard), node_in("b", &heard));
        drop(node_in("stopped", &heard));
        emit_last_status("it broke");
        let field = |status: JsValue, name: &str| {
            let value = Reflect::get(&status, &name.into()).ok();
            value.and_then(|value| value.as_string())
        };
        let rooms: Vec<_> = heard.iter().map(|status| field(status, "room")).collect();
        assert_eq!(rooms, [Some("a".to_owned()), Some("b".to_owned())]);
        assert!(
            heard
                .iter()
                .all(|status| field(status, "error").as_deref() == Some("it broke"))
        );
        emit_last_status("it broke again");
        assert_eq!(heard.length(), 2, "a node is told once");
    }
}
