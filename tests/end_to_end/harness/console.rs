//! Console output of a tab and its workers: calls of `console`, uncaught exceptions and rejections, the browser's log,
//! and its issues (such as Content-Security-Policy reports).

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use serde_json::Value;

use super::devtools::Event;

/// Everything that one tab and its workers printed, in order.
#[derive(Debug, Default)]
pub(crate) struct Console(Mutex<Vec<Entry>>);

/// One console message, exception, log entry or issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Source and severity: `console.warning`, `exception`, `log.network`, `issue`.
    pub(crate) kind: String,
    pub(crate) text: String,
    /// URL of the resource that it is about; often empty.
    pub(crate) url: String,
}

impl Console {
    /// Records an event if it is console output.
    pub(crate) fn record(&self, event: &Event) {
        if let Some(entry) = Entry::of(event) {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(entry);
        }
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Entry {
    fn of(event: &Event) -> Option<Self> {
        let Event { method, params, .. } = event;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match method.as_str() {
            "Runtime.consoleAPICalled" => Some(Self {
                kind: format!("console.{}", text(&params["type"])),
                text: joined_arguments(&params["args"]),
                url: text(&params["stackTrace"]["callFrames"][0]["url"]),
            }),
            "Runtime.exceptionThrown" => {
                let details = &params["exceptionDetails"];
                let description = text(&details["exception"]["description"]);
                Some(Self {
                    kind: "exception".to_owned(),
                    text: format!("{} {description}", text(&details["text"])),
                    url: text(&details["url"]),
                })
            }
            "Log.entryAdded" => {
                let entry = &params["entry"];
                Some(Self {
                    kind: format!("log.{}", text(&entry["source"])),
                    text: text(&entry["text"]),
                    url: text(&entry["url"]),
                })
            }
            "Audits.issueAdded" => Some(Self {
                kind: "issue".to_owned(),
                text: params["issue"].to_string(),
                url: String::new(),
            }),
            _ => None,
        }
    }

    /// Whether Chromium reports that it cannot reach one of `stopped` (each `host:port`). A page cannot suppress these
    /// messages.
    pub(crate) fn is_network_error_at(&self, stopped: &[String]) -> bool {
        let Self { kind, text, url } = self;
        let about = |host: &String| text.contains(host.as_str()) || url.contains(host.as_str());
        let is_network = kind == "log.network" || text.starts_with("WebSocket connection to");
        kind.starts_with("log.") && is_network && stopped.iter().any(about)
    }
}

impl Entry {
    /// Whether this is a message of Chromium that a page cannot suppress: that Web Bluetooth is behind a flag on this
    /// platform, or that a page was closed while it was opening a WebSocket.
    pub(crate) fn is_platform_message(&self) -> bool {
        let Self { kind, text, .. } = self;
        match kind.as_str() {
            "log.javascript" => text.starts_with("Web Bluetooth is experimental on this platform"),
            "log.network" => {
                text.ends_with("WebSocket is closed before the connection is established.")
            }
            _ => false,
        }
    }

    /// Whether Chromium reports that it could not cache the page; it retries automatically. A service worker cannot be
    /// denied its files without this message.
    pub(crate) fn is_failed_caching(&self) -> bool {
        let Self { kind, text, url } = self;
        match kind.as_str() {
            "log.network" => text == "An unknown error occurred when fetching the script.",
            "exception" => url.ends_with("/service-worker.js") && text.contains("Failed to fetch"),
            _ => false,
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.kind, self.text, self.url)
    }
}

fn joined_arguments(arguments: &Value) -> String {
    let arguments = arguments.as_array().map_or(&[][..], Vec::as_slice);
    let words = arguments.iter().map(|argument| {
        let plain = argument
            .get("value")
            .or_else(|| argument.get("description"));
        plain.map_or_else(|| argument.to_string(), |plain| plain.to_string())
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entries_of(method: &str, params: Value) -> Vec<Entry> {
        let console = Console::default();
        console.record(&Event {
            session: None,
            method: method.to_owned(),
            params,
        });
        console.entries()
    }

    #[test]
    fn network_errors_of_stopped_relays_are_allowed() {
        let stopped = ["127.0.0.1:4000".to_owned()];
        let entry = |kind: &str, text: &str, url: &str| Entry {
            kind: kind.to_owned(),
            text: text.to_owned(),
            url: url.to_owned(),
        };
        let refused = "Failed to load resource: net::ERR_CONNECTION_REFUSED";
        let there = "http://127.0.0.1:4000/relay.json";
        assert!(entry("log.network", refused, there).is_network_error_at(&stopped));

        let elsewhere = "http://127.0.0.1:4001/relay.json";
        assert!(!entry("log.network", refused, elsewhere).is_network_error_at(&stopped));
        assert!(!entry("console.error", refused, there).is_network_error_at(&stopped));
        assert!(!entry("exception", refused, there).is_network_error_at(&stopped));
        assert!(!entry("log.security", refused, there).is_network_error_at(&stopped));

        let worker = "http://127.0.0.1:4000/service-worker.js";
        let failed = "Uncaught (in promise) TypeError: Failed to fetch";
        assert!(entry("exception", failed, worker).is_failed_caching());
        assert!(!entry("exception", failed, there).is_failed_caching());
        assert!(!entry("exception", "TypeError: no function", worker).is_failed_caching());
    }

    #[test]
    fn every_kind_of_entry_is_recorded() {
        let args =
            json!({ "type": "warning", "args": [{ "value": "look" }, { "description": "out" }] });
        let entries = entries_of("Runtime.consoleAPICalled", args);
        assert_eq!(entries[0].kind, "console.warning");
        assert_eq!(entries[0].text, "\"look\" \"out\"");

        let thrown = json!({ "exceptionDetails": { "text": "Uncaught (in promise)", "exception": { "description": "Error: no" } } });
        let entries = entries_of("Runtime.exceptionThrown", thrown);
        assert_eq!(entries[0].text, "Uncaught (in promise) Error: no");

        let entries = entries_of(
            "Log.entryAdded",
            json!({ "entry": { "source": "security", "text": "CSP" } }),
        );
        assert_eq!(entries[0].kind, "log.security");
        assert_eq!(
            entries_of("Audits.issueAdded", json!({ "issue": {} })).len(),
            1
        );
        assert_eq!(entries_of("Page.loadEventFired", json!({})), []);
    }
}
