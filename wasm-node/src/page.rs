//! The page around the tab's peer: what it serves about the relay, and when it wakes. Never touches what the
//! page shows.

use std::{cell::Cell, rc::Rc};

use futures::{
    FutureExt,
    channel::oneshot,
    future::{Either, select},
};
use js_sys::{JSON, Reflect};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    AbortController, Document, EventTarget, RequestCache, RequestInit, Response, Url,
    VisibilityState, Window,
};

use crate::{
    clock, config,
    net::{IceServer, PageScheme, ReadDocument, RelayDocument},
};

/// Where the document about the page's relay is, if nobody says otherwise.
const RELAY_DOCUMENT: &str = "relay.json";

/// Whether the page may use connections that are not encrypted.
pub(crate) fn scheme() -> PageScheme {
    let protocol = web_sys::window().and_then(|window| window.location().protocol().ok());
    if protocol.as_deref() == Some("https:") {
        PageScheme::Secure
    } else {
        PageScheme::Plain
    }
}

/// The address of the document about the page's relay, beside the page.
pub(crate) fn default_document() -> Option<String> {
    let base = document()?.base_uri().ok()??;
    Url::new_with_base(RELAY_DOCUMENT, &base)
        .ok()
        .map(|url| url.href())
}

/// Reads the relay document from this address, anew each time; without an address there is nothing to read. `at_once`, the
/// first reading begins before anybody asks for it.
pub(crate) fn document_reader(url: Option<String>, at_once: bool) -> ReadDocument {
    let begun = Cell::new(at_once.then(|| {
        let (tell, told) = oneshot::channel();
        let url = url.clone();
        spawn_local(async move {
            // If it fails nobody asks any more.
            let _ = tell.send(async { read(&url?).await }.await);
        });
        told
    }));
    Rc::new(move || {
        let (begun, url) = (begun.take(), url.clone());
        async move {
            match begun {
                Some(begun) => begun.await.ok()?,
                None => read(&url?).await,
            }
        }
        .boxed_local()
    })
}

/// The document, unless it does not come in time.
async fn read(url: &str) -> Option<RelayDocument> {
    // Where there is no way to give up, there is no need to either.
    let giving_up = AbortController::new().ok()?;
    let reading = std::pin::pin!(fetch(url, &giving_up));
    match select(reading, clock::sleep(config::DOCUMENT_TIMEOUT)).await {
        Either::Left((document, _)) => document,
        Either::Right(((), _)) => {
            giving_up.abort();
            None
        }
    }
}

async fn fetch(url: &str, giving_up: &AbortController) -> Option<RelayDocument> {
    let options = RequestInit::new();
    options.set_cache(RequestCache::NoStore);
    options.set_signal(Some(&giving_up.signal()));
    let answer = JsFuture::from(web_sys::window()?.fetch_with_str_and_init(url, &options))
        .await
        .ok()?;
    let answer: Response = answer.dyn_into().ok()?;
    if !answer.ok() {
        return None;
    }
    let text = JsFuture::from(answer.text().ok()?).await.ok()?;
    parse(&text.dyn_into().ok()?)
}

fn parse(text: &js_sys::JsString) -> Option<RelayDocument> {
    if text.length() > config::MAX_DOCUMENT_LEN {
        return None;
    }
    let document = JSON::parse(&String::from(text)).ok()?;
    let texts = |name: &str| -> Option<Vec<String>> {
        let list: js_sys::Array = Reflect::get(&document, &name.into())
            .ok()?
            .dyn_into()
            .ok()?;
        Some(list.iter().filter_map(|text| text.as_string()).collect())
    };
    Some(RelayDocument {
        addresses: texts("addresses")?,
        // What is no STUN server would make browsers refuse every connection.
        stun: texts("stun")
            .unwrap_or_default()
            .into_iter()
            .filter_map(|url| IceServer::new(&url, None).ok())
            .take(config::MAX_ICE_SERVERS)
            .collect(),
    })
}

/// Tells, for as long as it lives, when the page was hidden, frozen or offline and is back.
#[derive(Debug)]
pub(crate) struct WakeCalls {
    window: Window,
    on_wake: Closure<dyn FnMut()>,
}

impl WakeCalls {
    /// Calls `woke` each time; `None` where there is no page.
    pub(crate) fn new(mut woke: impl FnMut() + 'static) -> Option<Self> {
        let window = web_sys::window()?;
        let on_wake = Closure::new(move || {
            if document()
                .is_none_or(|document| document.visibility_state() == VisibilityState::Visible)
            {
                woke();
            }
        });
        let calls = Self { window, on_wake };
        for (target, event) in calls.sources() {
            // The browser takes any name.
            let _ = target
                .add_event_listener_with_callback(event, calls.on_wake.as_ref().unchecked_ref());
        }
        Some(calls)
    }

    fn sources(&self) -> impl Iterator<Item = (EventTarget, &'static str)> {
        let window: EventTarget = self.window.clone().into();
        let document = document().map(|document| (EventTarget::from(document), "visibilitychange"));
        [(window.clone(), "online"), (window, "pageshow")]
            .into_iter()
            .chain(document)
    }
}

impl Drop for WakeCalls {
    fn drop(&mut self) {
        for (target, event) in self.sources() {
            let _ = target
                .remove_event_listener_with_callback(event, self.on_wake.as_ref().unchecked_ref());
        }
    }
}

/// Reports on the console, as an error.
pub(crate) fn report(words: &str) {
    web_sys::console::error_1(&JsValue::from_str(words));
}

fn document() -> Option<Document> {
    web_sys::window()?.document()
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn parsed(text: &str) -> Option<Vec<String>> {
        parse(&text.into()).map(|document| document.addresses)
    }

    #[test]
    fn a_document_names_its_addresses_and_may_say_more() {
        let text = r#"{ "peerId": "12D3", "addresses": ["/ip4/127.0.0.1/tcp/1/ws", 7, "/dns4/x/tcp/2/ws"], "new": 1 }"#;
        let expected = vec![
            "/ip4/127.0.0.1/tcp/1/ws".to_owned(),
            "/dns4/x/tcp/2/ws".to_owned(),
        ];
        assert_eq!(parsed(text), Some(expected));
    }

    #[test]
    fn only_stun_servers_that_a_browser_takes_are_read_from_a_document() {
        let text = r#"{ "addresses": [], "stun": ["stun:192.0.2.1:3478", "stun:[fd00::1]:1", "stun:relay.example",
            "turn:192.0.2.1", "stun:", "stun::1", "stun:a b:1", "stun:x:0", "stun:x:99999", "stun:x?transport=tcp", 7] }"#;
        let document = parse(&text.into()).expect("a document");
        assert_eq!(
            document.stun.iter().map(IceServer::url).collect::<Vec<_>>(),
            [
                "stun:192.0.2.1:3478",
                "stun:[fd00::1]:1",
                "stun:relay.example"
            ]
        );
        for text in [
            r#"{ "addresses": [] }"#,
            r#"{ "addresses": [], "stun": 7 }"#,
        ] {
            assert!(parse(&text.into()).expect("a document").stun.is_empty());
        }
    }

    #[test]
    fn what_is_no_document_is_none() {
        for text in [
            "",
            "<html>",
            "null",
            "[]",
            "7",
            "{}",
            r#"{"addresses": "x"}"#,
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
        let long = format!(r#"{{"addresses": ["{}"]}}"#, "x".repeat(70_000));
        assert_eq!(parsed(&long), None);
    }

    #[test]
    async fn a_document_that_cannot_be_read_is_none() {
        for at_once in [false, true] {
            assert_eq!(document_reader(None, at_once)().await, None);
            let empty = Some("data:application/json,{}".to_owned());
            assert_eq!(document_reader(empty, at_once)().await, None);
        }
    }

    #[test]
    async fn a_document_is_read_anew_each_time_whenever_the_first_time_began() {
        for at_once in [false, true] {
            let text = js_sys::Array::of1(&r#"{"addresses":["a"]}"#.into());
            let blob = web_sys::Blob::new_with_str_sequence(&text).expect("a blob");
            let url = Url::create_object_url_with_blob(&blob).expect("a URL");
            let read = document_reader(Some(url.clone()), at_once);
            for _ in 0..2 {
                let document = read().await.expect("a document");
                assert_eq!(document.addresses, ["a"]);
            }
            Url::revoke_object_url(&url).expect("a URL of ours");
            assert_eq!(read().await, None);
        }
    }
}

/// A file in the making: text goes in, a blob comes out. What was put in is the browser's to keep, on disk if it likes.
#[derive(Debug)]
pub(crate) struct FileParts {
    parts: js_sys::Array,
    text: String,
}

impl FileParts {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            parts: js_sys::Array::new(),
            text: String::new(),
        }
    }

    /// Adds text.
    pub(crate) fn add(&mut self, text: &str) {
        self.text.push_str(text);
        if self.text.len() >= config::EXPORT_PIECE_LEN {
            self.hand_over();
        }
    }

    /// The file. `None` if the browser makes none.
    pub(crate) fn finish(mut self, media_type: &str) -> Option<web_sys::Blob> {
        self.hand_over();
        let options = web_sys::BlobPropertyBag::new();
        options.set_type(media_type);
        web_sys::Blob::new_with_blob_sequence_and_options(&self.parts, &options).ok()
    }

    fn hand_over(&mut self) {
        let text = js_sys::Array::of1(&self.text.as_str().into());
        self.text.clear();
        // Should the browser make no blob of it, the text itself is as good.
        let part = web_sys::Blob::new_with_str_sequence(&text).map_or(text.get(0), JsValue::from);
        self.parts.push(&part);
    }
}
