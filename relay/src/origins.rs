//! Which names the relay answers to, and which pages may open WebSockets to it.
//!
//! A page of another site could otherwise use the browsers of its visitors: it could point its own name at an address of
//! the local network (DNS rebinding), and read what is served there. So a request must name the relay by an IP address,
//! by a name of this computer, or by one that the operator has allowed.

use std::str::FromStr;

use url::{Origin, Url};

use crate::{
    announce::PageUrl,
    authority::{Authority, Host},
    client::Client,
};

/// Allowed origins and relays of one deployment. More would be better served by `*`.
pub(crate) const MAX_ORIGINS: usize = 64;

/// An origin that `--allow-origin` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedOrigin(Option<Site>);

/// An origin with a host: scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Site {
    scheme: String,
    host: Host,
    port: u16,
}

/// The text is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an origin is a scheme and a host, such as https://hearts.example, or * for every page")]
pub struct OriginError;

/// Decides about hosts and origins.
#[derive(Debug, Clone)]
pub(crate) struct Origins {
    any: bool,
    allowed: Vec<Site>,
    /// Names of this computer, in lower case.
    names: Vec<String>,
}

impl FromStr for AllowedOrigin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        if text == "*" {
            return Ok(Self(None));
        }
        let site = Site::parse(text).ok_or(OriginError)?;
        Ok(Self(Some(site)))
    }
}

impl Site {
    fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let has_more = url.path() != "/" || url.query().is_some() || url.fragment().is_some();
        match url.origin() {
            Origin::Tuple(scheme, host, port) if !has_more && url.username().is_empty() => {
                let host = Authority::parse(&host.to_string())?.host;
                Some(Self { scheme, host, port })
            }
            Origin::Tuple(..) | Origin::Opaque(_) => None,
        }
    }

    fn of_page(url: &PageUrl) -> Self {
        Self {
            scheme: if url.secure { "https" } else { "http" }.to_owned(),
            host: url.authority.host.clone(),
            port: url
                .authority
                .port
                .unwrap_or(if url.secure { 443 } else { 80 }),
        }
    }
}

impl Origins {
    /// Allows the pages at `announced` (those of other relays included), the origins of `allowed`, and the names of this computer.
    pub(crate) fn new<'a>(
        announced: impl Iterator<Item = &'a PageUrl>,
        allowed: &[AllowedOrigin],
        names: Vec<String>,
    ) -> Self {
        let named = allowed.iter().filter_map(|origin| origin.0.clone());
        Self {
            any: allowed.iter().any(|origin| origin.0.is_none()),
            allowed: announced.map(Site::of_page).chain(named).collect(),
            names,
        }
    }

    /// Whether the relay answers a request for this host. `certified` are the names in its certificate.
    pub(crate) fn allows_host(&self, client: &Client, certified: &[String]) -> bool {
        let is_ours = |authority: &Authority| match &authority.host {
            // Only the owner of an address can serve a page there, so no other site's page has such a host.
            Host::Ip(_) => true,
            Host::Name(name) => {
                authority.host.is_loopback()
                    || self.names.contains(name)
                    || self.allowed.iter().any(|site| site.host == authority.host)
                    || certified.iter().any(|pattern| matches(pattern, name))
            }
        };
        let proxy = client.proxy_authority.as_ref();
        // A client of HTTP/1.0 need not name a host. Browsers always do.
        let requested = match &client.authority {
            Some(authority) => is_ours(authority),
            None => !client.names_host,
        };
        self.any || (requested && proxy.is_none_or(is_ours))
    }

    /// Whether a page of `origin` may open a WebSocket with a request whose host is allowed.
    ///
    /// Programs other than browsers send no origin, and could send any.
    pub(crate) fn allows_origin(&self, client: &Client, origin: Option<&[u8]>) -> bool {
        let Some(origin) = origin else {
            return true;
        };
        if self.any {
            return true;
        }
        let Some(site) = std::str::from_utf8(origin).ok().and_then(Site::parse) else {
            return false;
        };
        let scheme_port = if client.secure { 443 } else { 80 };
        let is_own = client.authority.as_ref().is_some_and(|authority| {
            authority.host == site.host && authority.port.unwrap_or(scheme_port) == site.port
        });
        let is_local = site.host.is_loopback()
            && client.local.is_loopback()
            && client.address.ip().is_loopback();
        is_own || is_local || self.allowed.contains(&site)
    }
}

/// Whether a name of a certificate, which may begin with a wildcard, covers a host name (RFC 9525, 6.3).
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => name
            .split_once('.')
            .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
        None => pattern.eq_ignore_ascii_case(name),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn client(host: &str, from: &str) -> Client {
        let address: SocketAddr = from.parse().expect("an address");
        Client {
            address,
            local: address.ip(),
            secure: false,
            by_proxy: false,
            authority: Authority::parse(host),
            names_host: !host.is_empty(),
            proxy_authority: None,
        }
    }

    fn origins(announced: &[&str], allowed: &[&str]) -> Origins {
        let announced: Vec<_> = announced
            .iter()
            .map(|url| PageUrl::parse(url).expect("a URL"))
            .collect();
        let allowed: Vec<_> = allowed
            .iter()
            .map(|origin| origin.parse().expect("an origin"))
            .collect();
        let names = vec!["laptop".to_owned(), "laptop.local".to_owned()];
        Origins::new(announced.iter(), &allowed, names)
    }

    #[test]
    fn rebound_names_are_refused() {
        let own = origins(&["https://hearts.example"], &["http://lan.example:8080"]);
        let certified = ["*.club.example".to_owned(), "Club.example".to_owned()];
        for (host, allowed) in [
            ("", true),
            ("127.0.0.1:8080", true),
            ("192.168.1.5", true),
            ("[fd00::1]:1", true),
            ("localhost:8080", true),
            ("app.localhost", true),
            ("laptop:8080", true),
            ("laptop.local", true),
            ("hearts.example", true),
            ("lan.example", true),
            ("club.example", true),
            ("a.club.example", true),
            ("a.b.club.example", false),
            ("evil.example", false),
            ("laptop.evil.example", false),
            ("hearts.example.evil.example", false),
            ("a b", false),
        ] {
            let client = client(host, "192.168.1.9:1");
            assert_eq!(own.allows_host(&client, &certified), allowed, "{host}");
            assert!(origins(&[], &["*"]).allows_host(&client, &[]), "{host}");
        }
    }

    #[test]
    fn both_hosts_of_a_proxied_request_are_checked() {
        let own = origins(&["https://hearts.example"], &[]);
        let mut client = client("hearts.example", "192.168.1.9:1");
        client.proxy_authority = Authority::parse("127.0.0.1:8080");
        assert!(own.allows_host(&client, &[]));
        client.proxy_authority = Authority::parse("evil.example");
        assert!(!own.allows_host(&client, &[]));
    }

    #[test]
    fn only_own_and_allowed_pages_open_websockets() {
        let own = origins(&["https://hearts.example"], &["https://friend.example:1"]);
        let lan = client("192.168.1.5:8080", "192.168.1.9:1");
        for (origin, allowed) in [
            ("http://192.168.1.5:8080", true),
            ("http://192.168.1.5:8081", false),
            ("https://hearts.example", true),
            ("http://hearts.example", false),
            ("https://friend.example:1", true),
            ("https://friend.example", false),
            ("https://evil.example", false),
            ("http://127.0.0.1:8080", false),
            ("null", false),
            ("", false),
            ("file://", false),
        ] {
            let found = own.allows_origin(&lan, Some(origin.as_bytes()));
            assert_eq!(found, allowed, "{origin}");
            let any = origins(&[], &["*"]);
            assert!(any.allows_origin(&lan, Some(origin.as_bytes())), "{origin}");
        }
        assert!(own.allows_origin(&lan, None), "a native client");
        assert!(!own.allows_origin(&lan, Some(b"\xFF")));

        let local = client("127.0.0.1:8080", "127.0.0.1:1");
        for page in [
            "http://localhost:9000",
            "http://127.0.0.1:9000",
            "http://[::1]:1",
        ] {
            assert!(own.allows_origin(&local, Some(page.as_bytes())), "{page}");
        }
        assert!(!own.allows_origin(&local, Some(b"https://evil.example")));
    }

    #[test]
    fn malformed_origins_are_refused() {
        for text in [
            "",
            "hearts.example",
            "https://",
            "https://a.example/path",
            "**",
            "data:x",
        ] {
            assert_eq!(text.parse::<AllowedOrigin>(), Err(OriginError), "{text}");
        }
    }
}
