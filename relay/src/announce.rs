//! The addresses that an operator announces with `--announce`: URLs of the page, and multiaddrs for WebRTC-direct,
//! WebSocket and STUN. A relay behind a proxy or NAT cannot find them out itself.

use std::{fmt, str::FromStr};

use libp2p::{Multiaddr, multiaddr::Protocol};
use url::Url;

use crate::authority::{Authority, Host};

/// Announced addresses. A tab reads at most 32 addresses of a relay.
pub const MAX_ANNOUNCED: usize = 16;

/// One announced address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announce(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Page(PageUrl),
    /// An address that tabs dial, without the relay's identity.
    Dial(Multiaddr),
    /// A STUN server, as `host:port`.
    Stun(Authority),
}

/// The URL of a page, with a path that ends with a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageUrl {
    /// Whether it begins with https.
    pub(crate) secure: bool,
    pub(crate) authority: Authority,
    pub(crate) path: String,
}

/// All announced addresses of a relay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Announced(Vec<Announce>);

/// Why an address cannot be announced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnnounceError {
    /// It is neither a URL nor a multiaddr.
    #[error("it is neither an https URL, such as https://hearts.example, nor a multiaddr")]
    Malformed,
    /// Browsers only give a page over https what it needs.
    #[error("the URL must begin with https://")]
    NotHttps,
    /// The URL has a part that the page's address never has.
    #[error("the URL may only have a host, a port and a path")]
    ExtraParts,
    /// A host that tabs cannot dial, such as 0.0.0.0.
    #[error("the URL has no host that tabs can dial")]
    BadHost,
    /// The multiaddr has another form.
    #[error(
        "a multiaddr must end with /udp/PORT/webrtc-direct, /udp/PORT (for STUN) or /tcp/PORT/tls/ws"
    )]
    UnknownMultiaddr,
}

impl FromStr for Announce {
    type Err = AnnounceError;

    fn from_str(text: &str) -> Result<Self, AnnounceError> {
        let kind = if text.starts_with('/') {
            parse_multiaddr(text)?
        } else {
            Kind::Page(PageUrl::parse(text)?)
        };
        Ok(Self(kind))
    }
}

impl Announce {
    /// Whether it is the URL of the page.
    pub(crate) fn is_page(&self) -> bool {
        match self.0 {
            Kind::Page(_) => true,
            Kind::Dial(_) | Kind::Stun(_) => false,
        }
    }
}

impl PageUrl {
    /// Parses the URL of a page by https.
    pub(crate) fn parse(text: &str) -> Result<Self, AnnounceError> {
        let url = Self::parse_local(text)?;
        if url.secure {
            Ok(url)
        } else {
            Err(AnnounceError::NotHttps)
        }
    }

    /// Parses the URL of a page by https or, on this computer, by http.
    pub(crate) fn parse_local(text: &str) -> Result<Self, AnnounceError> {
        let url = Url::parse(text).map_err(|_| AnnounceError::Malformed)?;
        let secure = url.scheme() == "https";
        if !secure && url.scheme() != "http" {
            return Err(AnnounceError::NotHttps);
        }
        let is_plain = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !is_plain {
            return Err(AnnounceError::ExtraParts);
        }
        let host = url.host_str().ok_or(AnnounceError::BadHost)?;
        let host = Authority::parse(host).ok_or(AnnounceError::BadHost)?.host;
        if !secure && !host.is_loopback() {
            return Err(AnnounceError::NotHttps);
        }
        let port = url.port();
        let mut path = url.path().to_owned();
        if !path.ends_with('/') {
            path.push('/');
        }
        let authority = Authority { host, port };
        Ok(Self {
            secure,
            authority,
            path,
        })
    }

    fn to_multiaddr(&self) -> Multiaddr {
        Multiaddr::empty()
            .with(self.authority.host.to_protocol())
            .with(Protocol::Tcp(self.authority.port.unwrap_or(443)))
            .with(Protocol::Tls)
            .with(Protocol::Ws(self.path.as_str().into()))
    }
}

impl fmt::Display for PageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

impl Announced {
    pub(crate) fn new(announced: Vec<Announce>) -> Self {
        Self(announced)
    }

    /// The announced URLs of the page.
    pub(crate) fn urls(&self) -> impl Iterator<Item = &PageUrl> {
        self.0.iter().filter_map(|announce| match &announce.0 {
            Kind::Page(url) => Some(url),
            Kind::Dial(_) | Kind::Stun(_) => None,
        })
    }

    /// The addresses that tabs dial, without the relay's identity.
    pub(crate) fn multiaddrs(&self) -> impl Iterator<Item = Multiaddr> {
        self.0.iter().filter_map(|announce| match &announce.0 {
            Kind::Page(url) => Some(url.to_multiaddr()),
            Kind::Dial(address) => Some(address.clone()),
            Kind::Stun(_) => None,
        })
    }

    /// The STUN servers, in the form of `RTCIceServer.urls`.
    pub(crate) fn stun_urls(&self) -> Vec<String> {
        let servers = self.0.iter().filter_map(|announce| match &announce.0 {
            Kind::Stun(server) => Some(format!("stun:{server}")),
            Kind::Page(_) | Kind::Dial(_) => None,
        });
        servers.collect()
    }

    /// The path of a request below the announced path that it begins with, if any: `/a/b` is `/b` below `/a/`.
    ///
    /// A proxy may forward the whole path, or only what is below its own prefix.
    pub(crate) fn strip_prefix<'a>(&self, path: &'a str) -> Option<&'a str> {
        let prefixes = self.urls().filter(|url| url.path != "/");
        prefixes
            .filter_map(|url| path.strip_prefix(url.path.trim_end_matches('/')))
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
            .min_by_key(|rest| rest.len())
    }
}

fn parse_multiaddr(text: &str) -> Result<Kind, AnnounceError> {
    let address: Multiaddr = text.parse().map_err(|_| AnnounceError::Malformed)?;
    let parts: Vec<Protocol<'_>> = address.iter().collect();
    let host_of = |part: &Protocol<'_>| {
        if let Protocol::Ip4(ip) = part {
            return Authority::parse(&ip.to_string());
        }
        if let Protocol::Ip6(ip) = part {
            return Authority::parse(&format!("[{ip}]"));
        }
        if let Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) = part {
            let host = Host::parse_name(name)?;
            return Some(Authority { host, port: None });
        }
        None
    };
    let (host, rest) = parts.split_first().ok_or(AnnounceError::UnknownMultiaddr)?;
    let Authority { host, .. } = host_of(host).ok_or(AnnounceError::BadHost)?;
    match rest {
        [Protocol::Udp(port)] => Ok(Kind::Stun(Authority {
            host,
            port: Some(*port),
        })),
        [Protocol::Udp(_), Protocol::WebRTCDirect] if matches!(host, Host::Ip(_)) => {
            Ok(Kind::Dial(address))
        }
        [Protocol::Tcp(_), Protocol::Ws(_) | Protocol::Wss(_)]
        | [Protocol::Tcp(_), Protocol::Tls, Protocol::Ws(_)] => Ok(Kind::Dial(address)),
        _ => Err(AnnounceError::UnknownMultiaddr),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announced_urls_and_multiaddrs_are_parsed() {
        for (text, address) in [
            (
                "https://hearts.example",
                "/dns/hearts.example/tcp/443/tls/ws",
            ),
            (
                "https://Hearts.Example:8443/",
                "/dns/hearts.example/tcp/8443/tls/ws",
            ),
            ("https://192.0.2.1", "/ip4/192.0.2.1/tcp/443/tls/ws"),
            ("https://[2001:db8::1]:1", "/ip6/2001:db8::1/tcp/1/tls/ws"),
            (
                "https://a.example/x",
                "/dns/a.example/tcp/443/tls/x-parity-ws/%2Fx%2F",
            ),
            (
                "/ip4/192.0.2.1/udp/1/webrtc-direct",
                "/ip4/192.0.2.1/udp/1/webrtc-direct",
            ),
            ("/dns4/a.example/tcp/443/wss", "/dns4/a.example/tcp/443/wss"),
        ] {
            let announced = Announced::new(vec![text.parse().expect("an address")]);
            let found: Vec<_> = announced.multiaddrs().map(|a| a.to_string()).collect();
            assert_eq!(found, [address], "{text}");
        }
        let stun = Announced::new(vec!["/ip6/2001:db8::1/udp/7".parse().expect("STUN")]);
        assert_eq!(stun.stun_urls(), ["stun:[2001:db8::1]:7"]);
        assert_eq!(stun.multiaddrs().count(), 0);
    }

    #[test]
    fn unsuitable_addresses_are_refused() {
        for (text, error) in [
            ("", AnnounceError::Malformed),
            ("hearts.example", AnnounceError::Malformed),
            ("http://hearts.example", AnnounceError::NotHttps),
            ("wss://hearts.example", AnnounceError::NotHttps),
            ("https://user@hearts.example", AnnounceError::ExtraParts),
            ("https://hearts.example/?a", AnnounceError::ExtraParts),
            ("https://hearts.example/#room=a", AnnounceError::ExtraParts),
            ("https://0.0.0.0", AnnounceError::BadHost),
            ("/ip4/0.0.0.0/udp/1/webrtc-direct", AnnounceError::BadHost),
            ("/nonsense", AnnounceError::Malformed),
            ("/ip4/192.0.2.1/tcp/1", AnnounceError::UnknownMultiaddr),
            // Browsers do not resolve names in WebRTC candidates.
            (
                "/dns4/a.example/udp/1/webrtc-direct",
                AnnounceError::UnknownMultiaddr,
            ),
        ] {
            assert_eq!(text.parse::<Announce>(), Err(error), "{text}");
        }
    }

    #[test]
    fn announced_path_is_stripped_once() {
        let urls = [
            "https://a.example/hearts",
            "https://b.example",
            "https://c.example/h/2/",
        ];
        let urls = urls.map(|url| url.parse().expect("a URL"));
        let announced = Announced::new(urls.into());
        for (path, rest) in [
            ("/", None),
            ("/hearts", Some("")),
            ("/hearts/", Some("/")),
            ("/hearts/relay.json", Some("/relay.json")),
            ("/hearts/hearts/", Some("/hearts/")),
            ("/heartsbeat", None),
            ("/h/2/v/1", Some("/v/1")),
            ("/h/", None),
        ] {
            assert_eq!(announced.strip_prefix(path), rest, "{path}");
        }
    }
}
