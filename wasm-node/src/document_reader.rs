//! Fetches the document in which a relay describes itself: its addresses and its STUN servers. Never dials a relay.

use std::{cell::Cell, rc::Rc, time::Duration};

use futures::{
    FutureExt,
    channel::oneshot,
    future::{Either, select},
};
use heartchain_peer::net::{
    IceServer, MAX_DEPLOYMENT, MAX_ICE_SERVERS, ReadDocument, RelayDocument,
};
use js_sys::{JSON, Reflect};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{AbortController, RequestCache, RequestInit, Response, Url};

use crate::{clock, response_body};

/// The longest relay document, in bytes. Documents have some hundred bytes.
const MAX_DOCUMENT_LEN: usize = 64 * 1024;
/// How long fetching the relay document may take.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// The default URL of the relay document, relative to the page.
const RELAY_DOCUMENT: &str = "relay.json";

/// The default URL of the relay document: beside the page. `None` outside of a page.
pub(crate) fn default_document() -> Option<String> {
    let base = web_sys::window()?.document()?.base_uri().ok()??;
    Url::new_with_base(RELAY_DOCUMENT, &base)
        .ok()
        .map(|url| url.href())
}

/// Why the relay document was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DocumentFault {
    /// The server cannot be reached, or does not allow this page to read it (CORS). Browsers do not say which.
    Unreachable,
    /// The server answered with this HTTP status.
    Status(u16),
    /// There was no complete answer within [`DOCUMENT_TIMEOUT`].
    Timeout,
    /// The answer is no relay document, or longer than [`MAX_DOCUMENT_LEN`].
    Unreadable,
}

impl std::fmt::Display for DocumentFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable => f.write_str("unreachable"),
            Self::Status(status) => write!(f, "http-{status}"),
            Self::Timeout => f.write_str("timeout"),
            Self::Unreadable => f.write_str("unreadable"),
        }
    }
}

/// Returns a function that fetches the relay document from `url`, again on each call; without a URL it returns `None`.
/// With `prefetch`, the first fetch starts now, before the first call. `report` is called after each fetch. The function can
/// also fetch the document of another relay, which is not reported.
pub(crate) fn document_reader(
    url: Option<String>,
    prefetch: bool,
    report: impl Fn(Option<DocumentFault>) + 'static,
) -> ReadDocument {
    let report = Rc::new(report);
    let read = move |url: Option<String>| {
        let report = report.clone();
        async move {
            let read = read(&url?).await;
            report(read.as_ref().err().copied());
            read.ok()
        }
    };
    let prefetched = Cell::new(prefetch.then(|| {
        let (sender, receiver) = oneshot::channel();
        let reading = read(url.clone());
        spawn_local(async move {
            // Sending fails if the node has stopped and no caller is left.
            let _ = sender.send(reading.await);
        });
        receiver
    }));
    Rc::new(
        move |other: Option<String>| match (other, prefetched.take()) {
            (Some(other), first) => {
                prefetched.set(first);
                read_other(other).boxed_local()
            }
            (None, Some(receiver)) => async move { receiver.await.ok()? }.boxed_local(),
            (None, None) => read(url.clone()).boxed_local(),
        },
    )
}

/// Fetches the document of the relay whose page is at `url`.
async fn read_other(url: String) -> Option<RelayDocument> {
    match read(&format!("{url}{RELAY_DOCUMENT}")).await {
        Ok(document) => Some(document),
        Err(fault @ (DocumentFault::Timeout | DocumentFault::Unreadable)) => {
            let message = format!("The relay {url} is skipped: its document is no use ({fault}).");
            web_sys::console::warn_1(&message.into());
            None
        }
        // The browser prints these itself.
        Err(DocumentFault::Unreachable | DocumentFault::Status(_)) => None,
    }
}

/// Fetches the document.
///
/// # Errors
/// If that fails or takes longer than [`DOCUMENT_TIMEOUT`].
async fn read(url: &str) -> Result<RelayDocument, DocumentFault> {
    // Every browser that runs this code has `AbortController`.
    let abort = AbortController::new().map_err(|_| DocumentFault::Unreachable)?;
    let reading = std::pin::pin!(fetch(url, &abort));
    match select(reading, clock::sleep(DOCUMENT_TIMEOUT)).await {
        Either::Left((document, _)) => document,
        Either::Right(((), _)) => {
            abort.abort();
            Err(DocumentFault::Timeout)
        }
    }
}

async fn fetch(url: &str, abort: &AbortController) -> Result<RelayDocument, DocumentFault> {
    let options = RequestInit::new();
    options.set_cache(RequestCache::NoStore);
    options.set_signal(Some(&abort.signal()));
    let window = web_sys::window().ok_or(DocumentFault::Unreachable)?;
    let answer: Response = JsFuture::from(window.fetch_with_str_and_init(url, &options))
        .await
        .and_then(JsCast::dyn_into)
        .map_err(|_| DocumentFault::Unreachable)?;
    if !answer.ok() {
        return Err(DocumentFault::Status(answer.status()));
    }
    match response_body::read_text(&answer, MAX_DOCUMENT_LEN).await {
        Ok(text) => parse(&text).ok_or(DocumentFault::Unreadable),
        Err(error) => {
            let message = format!("The relay document {url} was not used: {error}.");
            web_sys::console::warn_1(&message.into());
            Err(DocumentFault::Unreadable)
        }
    }
}

fn parse(text: &str) -> Option<RelayDocument> {
    let document = JSON::parse(text).ok()?;
    let texts = |name: &str| -> Option<Vec<String>> {
        let list: js_sys::Array = Reflect::get(&document, &name.into())
            .ok()?
            .dyn_into()
            .ok()?;
        Some(list.iter().filter_map(|text| text.as_string()).collect())
    };
    Some(RelayDocument {
        addresses: texts("addresses")?,
        // A URL that is not a STUN server would make browsers refuse every connection, so it is skipped.
        stun: texts("stun")
            .unwrap_or_default()
            .into_iter()
            .filter_map(|url| IceServer::new(&url, None).ok())
            .take(MAX_ICE_SERVERS)
            .collect(),
        // Other relays do not say it.
        full: Reflect::get(&document, &"full".into()).is_ok_and(|full| full == true),
        relays: texts("relays")
            .unwrap_or_default()
            .into_iter()
            .take(MAX_DEPLOYMENT)
            .collect(),
        url: Reflect::get(&document, &"url".into())
            .ok()
            .and_then(|url| url.as_string()),
    })
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn parsed(text: &str) -> Option<Vec<String>> {
        parse(text).map(|document| document.addresses)
    }

    #[test]
    fn addresses_are_read_and_unknown_fields_ignored() {
        let text = r#"{ "peerId": "12D3", "addresses": ["/ip4/127.0.0.1/tcp/1/ws", 7, "/dns4/x/tcp/2/ws"], "new": 1 }"#;
        let expected = vec![
            "/ip4/127.0.0.1/tcp/1/ws".to_owned(),
            "/dns4/x/tcp/2/ws".to_owned(),
        ];
        assert_eq!(parsed(text), Some(expected));
    }

    #[test]
    fn invalid_stun_servers_are_skipped() {
        let text = r#"{ "addresses": [], "stun": ["stun:192.0.2.1:3478", "stun:[fd00::1]:1", "stun:relay.example",
            "turn:192.0.2.1", "stun:", "stun::1", "stun:a b:1", "stun:x:0", "stun:x:99999", "stun:x?transport=tcp", 7] }"#;
        let document = parse(text).expect("a document");
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
            assert!(parse(text).expect("a document").stun.is_empty());
        }
    }

    #[test]
    fn relay_is_full_only_if_it_says_so() {
        for (text, full) in [
            (r#"{ "addresses": [] }"#, false),
            (r#"{ "addresses": [], "full": false }"#, false),
            (r#"{ "addresses": [], "full": "yes" }"#, false),
            (r#"{ "addresses": [], "full": true }"#, true),
        ] {
            assert_eq!(parse(text).expect("a document").full, full, "{text}");
        }
    }

    #[test]
    fn list_of_relays_is_optional_and_bounded() {
        let document = parse(r#"{ "addresses": [] }"#).expect("a document");
        assert_eq!((document.relays, document.url), (Vec::new(), None));
        let wrong = r#"{ "addresses": [], "relays": "https://a.example/", "url": 7 }"#;
        let document = parse(wrong).expect("a document");
        assert_eq!((document.relays, document.url), (Vec::new(), None));
        let many = "\"https://a.example/\",".repeat(MAX_DEPLOYMENT);
        let text = format!(r#"{{ "addresses": [], "relays": [{many} "b"], "url": "u" }}"#);
        let document = parse(&text).expect("a document");
        assert_eq!(document.relays.len(), MAX_DEPLOYMENT);
        assert_eq!(document.url.as_deref(), Some("u"));
    }

    #[test]
    async fn document_of_another_relay_is_not_reported() {
        let reported = Rc::new(Cell::new(false));
        let report = reported.clone();
        let read = document_reader(None, true, move |_| report.set(true));
        let page = "data:application/json,{}".to_owned();
        reported.set(false);
        assert_eq!(read(Some(page)).await, None);
        assert_eq!(read(Some("/no-such-relay/".to_owned())).await, None);
        assert!(!reported.get());
    }

    #[test]
    fn invalid_document_is_none() {
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
    }

    #[test]
    async fn document_may_have_the_maximum_length() {
        let document = |length: usize| {
            let filler = "x".repeat(length - r#"{"addresses":[""]}"#.len());
            format!(r#"data:application/json,{{"addresses":["{filler}"]}}"#)
        };
        let fits = document_reader(Some(document(MAX_DOCUMENT_LEN)), false, |_| ());
        assert!(fits(None).await.is_some());
        let longer = document_reader(Some(document(MAX_DOCUMENT_LEN + 1)), false, |_| ());
        assert_eq!(longer(None).await, None);
    }

    #[test]
    async fn unreachable_document_is_none() {
        for prefetch in [false, true] {
            assert_eq!(document_reader(None, prefetch, |_| ())(None).await, None);
            let empty = Some("data:application/json,{}".to_owned());
            assert_eq!(document_reader(empty, prefetch, |_| ())(None).await, None);
        }
    }

    #[test]
    async fn fault_of_the_document_is_reported() {
        for (url, fault) in [
            ("data:application/json,{}", Some(DocumentFault::Unreadable)),
            (r#"data:application/json,{"addresses":[]}"#, None),
            (
                "http://[::1]:1/relay.json",
                Some(DocumentFault::Unreachable),
            ),
            (
                "/there-is-no-such-document.json",
                Some(DocumentFault::Status(404)),
            ),
        ] {
            let reported = Rc::new(Cell::new(Some(DocumentFault::Timeout)));
            let report = reported.clone();
            let read = document_reader(Some(url.to_owned()), false, move |fault| report.set(fault));
            assert_eq!(read(None).await.is_none(), fault.is_some(), "{url}");
            assert_eq!(reported.get(), fault, "{url}");
        }
        assert_eq!(DocumentFault::Status(404).to_string(), "http-404");
    }

    #[test]
    async fn document_is_fetched_again_on_each_call() {
        for prefetch in [false, true] {
            let text = js_sys::Array::of1(&r#"{"addresses":["a"]}"#.into());
            let blob = web_sys::Blob::new_with_str_sequence(&text).expect("a blob");
            let url = Url::create_object_url_with_blob(&blob).expect("a URL");
            let read = document_reader(Some(url.clone()), prefetch, |_| ());
            for _ in 0..2 {
                let document = read(None).await.expect("a document");
                assert_eq!(document.addresses, ["a"]);
            }
            Url::revoke_object_url(&url).expect("a URL of ours");
            assert_eq!(read(None).await, None);
        }
    }
}
