//! Notices that the page resumes: it was hidden, frozen or offline, or its network changed, and its connections may be gone.

use js_sys::Reflect;
use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{Document, EventTarget, VisibilityState, Window};

/// Calls a function whenever the page resumes after it was hidden, frozen, offline or in another network, until it is
/// dropped.
#[derive(Debug)]
pub(crate) struct ResumeListener {
    window: Window,
    closure: Closure<dyn FnMut()>,
}

impl ResumeListener {
    /// Starts listening; `None` outside of a page.
    pub(crate) fn new(mut on_resume: impl FnMut() + 'static) -> Option<Self> {
        let window = web_sys::window()?;
        let closure = Closure::new(move || {
            if document()
                .is_none_or(|document| document.visibility_state() == VisibilityState::Visible)
            {
                on_resume();
            }
        });
        let listener = Self { window, closure };
        for (target, event) in listener.sources() {
            // The browser accepts any event name.
            let _ = target
                .add_event_listener_with_callback(event, listener.closure.as_ref().unchecked_ref());
        }
        Some(listener)
    }

    fn sources(&self) -> impl Iterator<Item = (EventTarget, &'static str)> {
        let window: EventTarget = self.window.clone().into();
        let document = document().map(|document| (EventTarget::from(document), "visibilitychange"));
        // Only some browsers tell that a computer has moved to another network.
        let network = Reflect::get(&self.window.navigator(), &"connection".into()).ok();
        let network = network.and_then(|network| network.dyn_into::<EventTarget>().ok());
        [(window.clone(), "online"), (window, "pageshow")]
            .into_iter()
            .chain(document)
            .chain(network.map(|network| (network, "change")))
    }
}

impl Drop for ResumeListener {
    fn drop(&mut self) {
        for (target, event) in self.sources() {
            let _ = target
                .remove_event_listener_with_callback(event, self.closure.as_ref().unchecked_ref());
        }
    }
}

fn document() -> Option<Document> {
    web_sys::window()?.document()
}
