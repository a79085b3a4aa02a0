//! The relays of one deployment: this one, and those that `--with` names. A tab uses two of them, which follow from its
//! room (docs/protocols.md, "Several relays"), so relays need no connection to each other.

use std::{fmt, str::FromStr};

use crate::announce::PageUrl;

/// Relays of one deployment. Two of them serve each room, so 16 are eight times the size of one.
pub const MAX_RELAYS: usize = 16;

/// The URL of a relay's page, as `--with` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayUrl(PageUrl);

/// The text is no URL of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is no URL of a relay's page, such as https://b.hearts.example; http is for relays on this computer"
)]
pub struct RelayUrlError;

impl RelayUrl {
    /// Whether its page is loaded by https.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.0.secure
    }
}

impl FromStr for RelayUrl {
    type Err = RelayUrlError;

    fn from_str(text: &str) -> Result<Self, RelayUrlError> {
        PageUrl::parse_local(text)
            .map(Self)
            .map_err(|_| RelayUrlError)
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// This relay among the others of its deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deployment {
    own: PageUrl,
    /// Without this relay and without duplicates.
    others: Vec<PageUrl>,
}

impl Deployment {
    /// The deployment of the relay at `own` and the relays of `with`. One file can have the list for all relays, so the
    /// list may name this relay, too. `None` if it is the only one.
    pub(crate) fn new(own: PageUrl, with: &[RelayUrl]) -> Option<Self> {
        let mut others: Vec<PageUrl> = Vec::new();
        for RelayUrl(url) in with {
            if *url == own {
                tracing::info!("--with names this relay, {url}");
            } else if others.contains(url) {
                tracing::warn!("--with names {url} twice");
            } else {
                others.push(url.clone());
            }
        }
        (!others.is_empty()).then_some(Self { own, others })
    }

    /// The URL under which this relay is in the list.
    pub(crate) fn own(&self) -> String {
        self.own.to_string()
    }

    /// The relays beside this one, without duplicates.
    pub(crate) fn others(&self) -> &[PageUrl] {
        &self.others
    }

    /// All relays, in alphabetical order: the list is the same at each of them.
    pub(crate) fn relays(&self) -> Vec<String> {
        let all = self.others.iter().chain([&self.own]);
        let mut relays: Vec<String> = all.map(ToString::to_string).collect();
        relays.sort();
        relays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> RelayUrl {
        text.parse().expect("a URL")
    }

    #[test]
    fn urls_have_one_form() {
        for (text, canonical) in [
            ("https://A.example", "https://a.example/"),
            ("https://a.example:443/x", "https://a.example/x/"),
            ("https://a.example:8443/x/", "https://a.example:8443/x/"),
            ("http://localhost:8081", "http://127.0.0.1:8081/"),
            ("http://[::1]:80", "http://[::1]/"),
        ] {
            assert_eq!(url(text).to_string(), canonical);
        }
    }

    #[test]
    fn unsuitable_urls_are_refused() {
        for text in [
            "",
            "a.example",
            "http://a.example",
            "http://192.168.1.5:8080",
            "ftp://127.0.0.1",
            "https://a.example/?x",
            "https://0.0.0.0",
            "/dns/a.example/tcp/443/tls/ws",
        ] {
            assert!(text.parse::<RelayUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn list_is_the_same_at_each_relay() {
        let all = [
            "https://b.example",
            "https://a.example/x",
            "https://c.example",
        ]
        .map(url);
        let lists = all.clone().map(|RelayUrl(own)| {
            let deployment = Deployment::new(own.clone(), &all).expect("several relays");
            assert_eq!(deployment.others().len(), 2);
            assert!(!deployment.others().contains(&own));
            deployment.relays()
        });
        let expected = [
            "https://a.example/x/",
            "https://b.example/",
            "https://c.example/",
        ];
        assert_eq!(lists, [expected, expected, expected]);
    }

    #[test]
    fn duplicates_and_the_relay_itself_count_once() {
        let RelayUrl(own) = url("https://a.example");
        assert_eq!(Deployment::new(own.clone(), &[]), None);
        let itself = [url("https://a.example:443/"), url("https://A.example")];
        assert_eq!(Deployment::new(own.clone(), &itself), None);
        let twice = [url("https://b.example"), url("https://b.example/")];
        let deployment = Deployment::new(own, &twice).expect("two relays");
        let expected = ["https://a.example/", "https://b.example/"];
        assert_eq!(deployment.relays(), expected);
    }
}
