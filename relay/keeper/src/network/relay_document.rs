//! Reads the document in which a relay describes itself, over HTTP. Never dials a relay.

use std::{cell::RefCell, rc::Rc, time::Duration};

use futures::FutureExt as _;
use heartchain_peer::net::{IceServer, MAX_DEPLOYMENT, ReadDocument, RelayDocument, Scope};
use serde::Deserialize;
use tokio::{sync::mpsc, task::spawn_blocking};

/// The longest relay document, in bytes, as in a tab. Documents have some hundred bytes.
const MAX_DOCUMENT_LEN: u64 = 64 * 1024;
/// How long reading a document may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The document's name, beside the page.
const RELAY_DOCUMENT: &str = "relay.json";

#[derive(Debug, Deserialize)]
struct Document {
    addresses: Vec<String>,
    #[serde(default)]
    full: bool,
    #[serde(default)]
    relays: Vec<String>,
    #[serde(default)]
    url: Option<String>,
}

/// Returns a function that reads the document of another relay, if it is not closer than `scope`, or of the first of the relays
/// at `urls` that answers. A sentence is sent when none of them does, and not again until one did.
pub(super) fn document_reader(
    urls: Vec<String>,
    scope: Scope,
    fault: mpsc::Sender<String>,
) -> ReadDocument {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        // A relay must not lead this computer to another place.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .build()
        .into();
    let said = Rc::new(RefCell::new(false));
    Rc::new(move |other: Option<String>| {
        let (agent, urls) = (agent.clone(), urls.clone());
        let (fault, said) = (fault.clone(), said.clone());
        async move {
            let is_other = other.is_some();
            if other.as_deref().is_some_and(|url| is_closer(url, scope)) {
                return None;
            }
            let urls = other.map_or(urls, |url| vec![url]);
            let first = urls.first().cloned();
            // ureq blocks.
            let read = spawn_blocking(move || read_first(&agent, &urls)).await.ok()?;
            if is_other {
                return read.ok();
            }
            if let (Err(reason), Some(url)) = (&read, first)
                && !said.replace(true)
            {
                // A full channel has a sentence that was not read yet.
                let _ = fault.try_send(format!(
                    "no relay answers at {url} ({reason}): start it with `cargo run -p relay`, or name another with --relay; the \
                     keeper tries again"
                ));
            } else if read.is_ok() {
                said.replace(false);
            }
            read.ok()
        }
        .boxed_local()
    })
}

/// Whether a URL leads to what is closer than `scope`, or may do so.
fn is_closer(url: &str, scope: Scope) -> bool {
    Scope::of_url(url).is_none_or(|found| found < scope)
}

/// The document of the first relay that answers, or why the last one did not.
fn read_first(agent: &ureq::Agent, urls: &[String]) -> Result<RelayDocument, String> {
    let mut last = "there is no URL".to_owned();
    for url in urls {
        match read(agent, url) {
            Ok(document) => return Ok(document),
            Err(reason) => last = reason,
        }
    }
    Err(last)
}

fn read(agent: &ureq::Agent, url: &str) -> Result<RelayDocument, String> {
    let answer = agent.get(format!("{url}{RELAY_DOCUMENT}")).call();
    let mut answer = answer.map_err(|error| error.to_string())?;
    let body = answer.body_mut().with_config().limit(MAX_DOCUMENT_LEN);
    let text = body.read_to_string().map_err(|error| error.to_string())?;
    parse(&text)
}

fn parse(text: &str) -> Result<RelayDocument, String> {
    let found: Document = serde_json::from_str(text)
        .map_err(|_| format!("its {RELAY_DOCUMENT} is no relay document"))?;
    Ok(RelayDocument {
        addresses: found.addresses,
        stun: Vec::<IceServer>::new(),
        full: found.full,
        relays: found.relays.into_iter().take(MAX_DEPLOYMENT).collect(),
        url: found.url,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_has_addresses_and_a_list() {
        let text = r#"{ "peerId": "12D3", "addresses": ["/ip4/127.0.0.1/tcp/1/ws"], "full": true,
            "relays": ["https://a.example/"], "url": "https://a.example/", "stun": ["stun:x"], "new": 1 }"#;
        let document = parse(text).expect("a document");
        assert_eq!(document.addresses, ["/ip4/127.0.0.1/tcp/1/ws"]);
        assert!(document.full);
        assert_eq!(document.relays, ["https://a.example/"]);
        let many = vec!["https://a.example/"; MAX_DEPLOYMENT + 1];
        let text = serde_json::json!({ "addresses": [], "relays": many }).to_string();
        assert_eq!(
            parse(&text).expect("a document").relays.len(),
            MAX_DEPLOYMENT
        );
    }

    #[test]
    fn other_documents_are_refused() {
        for text in ["", "<html>", "null", "[]", "{}", r#"{"addresses":"x"}"#] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn strangers_lead_to_no_closer_page() {
        for url in [
            "http://127.0.0.1:8080/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://localhost./",
            "http://[::ffff:7f00:1]/",
            "http://0.0.0.0/",
            "http://teacher.local/",
        ] {
            assert!(is_closer(url, Scope::Public), "{url}");
        }
        assert!(!is_closer("https://relay.example/", Scope::Public));
        assert!(!is_closer("http://teacher.local/", Scope::Private));
        assert!(!is_closer("http://127.1/", Scope::Loopback));
        assert!(is_closer("http://0.0.0.0/", Scope::Loopback));
    }
}
