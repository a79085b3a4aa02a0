//! The page's listeners to the events of a node. Never decides what is an event.

use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};

#[wasm_bindgen]
extern "C" {
    /// The browser's `EventTarget`. Listeners are passed to it unchanged.
    #[wasm_bindgen(js_name = EventTarget)]
    #[derive(Clone, Debug)]
    pub(crate) type Listeners;
    #[wasm_bindgen(constructor, js_class = "EventTarget", catch)]
    pub(crate) fn new() -> Result<Listeners, JsValue>;
    #[wasm_bindgen(method, js_class = "EventTarget", js_name = addEventListener, catch)]
    pub(crate) fn add(
        this: &Listeners,
        name: &JsValue,
        listener: &JsValue,
        options: &JsValue,
    ) -> Result<(), JsValue>;
    #[wasm_bindgen(method, js_class = "EventTarget", js_name = removeEventListener, catch)]
    pub(crate) fn remove(
        this: &Listeners,
        name: &JsValue,
        listener: &JsValue,
        options: &JsValue,
    ) -> Result<(), JsValue>;
}

/// Sends an event to the page's listeners.
pub(crate) fn dispatch(listeners: &Listeners, name: &str, detail: &JsValue) {
    let fields = web_sys::CustomEventInit::new();
    fields.set_detail(detail);
    if let Ok(event) = web_sys::CustomEvent::new_with_event_init_dict(name, &fields) {
        let target: &web_sys::EventTarget = listeners.unchecked_ref();
        // The browser reports what a listener throws to the page.
        let _ = target.dispatch_event(&event);
    }
}
