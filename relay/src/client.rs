//! Who sent a request: the client's address, the name that it asked for, and whether it used TLS. What proxies say about
//! that counts only if they are trusted.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, Uri, header::HOST};
use ipnet::IpNet;

use crate::authority::Authority;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The networks of trusted proxies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TrustedProxies(Vec<IpNet>);

/// A connection to the HTTP server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connection {
    /// The relay's own address.
    pub(crate) local: SocketAddr,
    /// The remote end, or what the PROXY protocol says about it.
    pub(crate) remote: SocketAddr,
    /// Whether the connection uses TLS.
    pub(crate) tls: bool,
}

/// What is known about the sender of a request.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// The client's address. The port is that of the last trusted hop.
    pub(crate) address: SocketAddr,
    /// The relay's own address that the request arrived at.
    pub(crate) local: IpAddr,
    /// Whether the client used TLS.
    pub(crate) secure: bool,
    /// Whether a trusted proxy forwarded the request.
    pub(crate) by_proxy: bool,
    /// The host that the client asked for, if it is well-formed.
    pub(crate) authority: Option<Authority>,
    /// Whether the request names a host at all.
    pub(crate) names_host: bool,
    /// The host that a proxy asked for, if that is another one.
    pub(crate) proxy_authority: Option<Authority>,
}

impl TrustedProxies {
    pub(crate) fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether a proxy at this address is trusted.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| network.contains(&ip))
    }

    /// The sender of a request with these headers.
    pub(crate) fn client(&self, connection: Connection, uri: &Uri, headers: &HeaderMap) -> Client {
        // HTTP/2 sends the host as a part of the URI.
        let requested = uri
            .authority()
            .map(|authority| authority.as_str())
            .or_else(|| headers.get(HOST).and_then(|host| host.to_str().ok()));
        let names_host = uri.authority().is_some() || headers.contains_key(HOST);
        let requested = requested.and_then(Authority::parse);
        let by_proxy = self.contains(connection.remote.ip());
        let forwarded = by_proxy.then(|| last(headers, &FORWARDED_HOST)).flatten();
        let forwarded_proto = by_proxy.then(|| first(headers, &FORWARDED_PROTO)).flatten();
        let secure = match forwarded_proto {
            Some(scheme) => scheme.eq_ignore_ascii_case("https"),
            None => connection.tls,
        };
        let ip = self.client_ip(connection.remote.ip(), headers);
        let (authority, proxy_authority) = match forwarded {
            Some(forwarded) => (Authority::parse(forwarded), requested),
            None => (requested, None),
        };
        Client {
            address: SocketAddr::new(ip, connection.remote.port()),
            local: connection.local.ip().to_canonical(),
            secure,
            by_proxy,
            authority,
            names_host,
            proxy_authority,
        }
    }

    /// The rightmost address that is no trusted proxy: first the remote end itself, then all `X-Forwarded-For` headers
    /// together, from the end. Proxies append there, so a client controls only what is left of its own address.
    fn client_ip(&self, remote: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = remote.to_canonical();
        let entries = headers
            .get_all(FORWARDED_FOR)
            .iter()
            .rev()
            .flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
        for entry in entries {
            if !self.contains(client) {
                break;
            }
            let Some(ip) = parse_forwarded_ip(entry.trim()) else {
                break;
            };
            client = ip.to_canonical();
        }
        client
    }
}

/// An entry of `X-Forwarded-For`: an address, which some proxies write with a port.
fn parse_forwarded_ip(entry: &str) -> Option<IpAddr> {
    entry
        .parse::<IpAddr>()
        .or_else(|_| entry.parse::<SocketAddr>().map(|socket| socket.ip()))
        .or_else(|_| {
            let inner = entry
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'));
            inner.unwrap_or_default().parse()
        })
        .ok()
}

fn first<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let value = headers.get(name)?.to_str().ok()?;
    value.split(',').next().map(str::trim)
}

fn last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    value.rsplit(',').next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value.parse().expect("a header value"));
        }
        headers
    }

    fn client(trusted: &[&str], remote: &str, lines: &[(HeaderName, &str)]) -> Client {
        let networks = trusted.iter().map(|cidr| cidr.parse().expect("a CIDR"));
        let connection = Connection {
            local: "192.0.2.1:8080".parse().expect("an address"),
            remote: SocketAddr::new(remote.parse().expect("an address"), 4711),
            tls: false,
        };
        TrustedProxies::new(networks.collect()).client(
            connection,
            &Uri::from_static("/"),
            &headers(lines),
        )
    }

    #[test]
    fn client_is_the_rightmost_untrusted_address() {
        let trusted = ["127.0.0.1/32", "::1/128", "10.0.0.0/8"];
        let cases: [(&str, &[&str], &str); 12] = [
            ("203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:127.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::1", &["198.51.100.1:5678"], "198.51.100.1"),
            ("127.0.0.1", &["[2001:db8::1]:80"], "2001:db8::1"),
            ("127.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            // What the client itself sent is left of its address.
            ("127.0.0.1", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            (
                "127.0.0.1",
                &["1.1.1.1, 198.51.100.1, 10.0.0.7"],
                "198.51.100.1",
            ),
            // Several headers are one list.
            (
                "127.0.0.1",
                &["1.1.1.1", "198.51.100.1", "10.0.0.7, 10.0.0.8"],
                "198.51.100.1",
            ),
            ("127.0.0.1", &["198.51.100.1, unknown"], "127.0.0.1"),
            ("127.0.0.1", &["10.0.0.7"], "10.0.0.7"),
        ];
        for (remote, lines, expected) in cases {
            let lines: Vec<_> = lines.iter().map(|line| (FORWARDED_FOR, *line)).collect();
            let found = client(&trusted, remote, &lines).address.ip();
            assert_eq!(found.to_string(), expected, "{remote} {lines:?}");
        }
    }

    #[test]
    fn untrusted_headers_change_nothing() {
        let lines = [
            (HOST, "relay.example"),
            (FORWARDED_FOR, "198.51.100.1"),
            (FORWARDED_PROTO, "https"),
            (FORWARDED_HOST, "evil.example"),
        ];
        let found = client(&[], "127.0.0.1", &lines);
        assert_eq!(found.address.ip().to_string(), "127.0.0.1");
        assert!(!found.secure && !found.by_proxy);
        assert_eq!(found.authority, Authority::parse("relay.example"));
        assert_eq!(found.proxy_authority, None);

        let trusted = client(&["127.0.0.0/8"], "127.0.0.1", &lines);
        assert!(trusted.secure && trusted.by_proxy);
        assert_eq!(trusted.authority, Authority::parse("evil.example"));
        assert_eq!(trusted.proxy_authority, Authority::parse("relay.example"));
    }
}
