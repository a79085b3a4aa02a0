//! Hosts with ports, as in URLs and in the `Host` header of a request, which is validated before it becomes part of an
//! address.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use libp2p::multiaddr::Protocol;

/// Length of the longest DNS name, in bytes (RFC 1035, 2.3.4).
const MAX_NAME_LEN: usize = 253;
/// Length of the longest label of a DNS name, in bytes (RFC 1035, 2.3.4).
const MAX_LABEL_LEN: usize = 63;

/// The host part of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Ip(IpAddr),
    /// A well-formed DNS name in lower case.
    Name(String),
}

/// A host and, unless it is the scheme's default, a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    pub(crate) host: Host,
    pub(crate) port: Option<u16>,
}

impl Authority {
    /// Parses the value of an HTTP `Host` header.
    ///
    /// Returns `None` if it is malformed, or names a host that cannot be dialed.
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let (host, port) = match header.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => header
                .find(':')
                .map_or((header, ""), |at| header.split_at(at)),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => Some(port.parse::<u16>().ok()?),
            None if port.is_empty() => None,
            None => return None,
        };
        let host = match host.parse::<IpAddr>() {
            Ok(ip) if ip.is_ipv6() != header.starts_with('[') => return None,
            Ok(ip) if ip.is_unspecified() || ip.is_multicast() || is_broadcast(ip) => return None,
            Ok(ip) => Host::Ip(ip),
            Err(_) if header.starts_with('[') => return None,
            Err(_) => Host::parse_name(host)?,
        };
        Some(Self { host, port })
    }

    /// The URL by https, without a path, of what was requested here by plain http: the relay serves both on one port.
    pub(crate) fn as_https(&self) -> String {
        let (host, port) = (&self.host, self.port.unwrap_or(80));
        format!("https://{host}:{port}")
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Display for Host {
    /// As in a URL, with brackets around an IPv6 address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Host {
    /// The first part of a multiaddr for this host.
    pub(crate) fn to_protocol(&self) -> Protocol<'_> {
        match self {
            Self::Ip(ip) => (*ip).into(),
            Self::Name(name) => Protocol::Dns(name.as_str().into()),
        }
    }

    /// The name, unless it is an IP address.
    pub(crate) fn name(&self) -> Option<String> {
        match self {
            Self::Ip(_) => None,
            Self::Name(name) => Some(name.clone()),
        }
    }

    /// Whether only this computer can reach it.
    pub(crate) fn is_loopback(&self) -> bool {
        match self {
            Self::Ip(ip) => ip.to_canonical().is_loopback(),
            Self::Name(name) => name.ends_with(".localhost"),
        }
    }

    pub(crate) fn parse_name(name: &str) -> Option<Self> {
        let is_label = |label: &str| {
            (1..=MAX_LABEL_LEN).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // A numeric last label would make it an incomplete IP address.
        let last_is_number = name
            .rsplit('.')
            .next()
            .is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
        if name.len() > MAX_NAME_LEN || last_is_number || !name.split('.').all(is_label) {
            return None;
        }
        let name = name.to_ascii_lowercase();
        if name == "localhost" {
            return Some(Self::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        }
        Some(Self::Name(name))
    }
}

fn is_broadcast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_broadcast(),
        IpAddr::V6(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str, port: Option<u16>) -> Option<Authority> {
        let host = Host::Ip(text.parse().expect("an address"));
        Some(Authority { host, port })
    }

    fn name(text: &str, port: Option<u16>) -> Option<Authority> {
        let host = Host::Name(text.to_owned());
        Some(Authority { host, port })
    }

    #[test]
    fn valid_hosts_are_parsed() {
        for (header, authority) in [
            ("192.168.1.5:8080", ip("192.168.1.5", Some(8080))),
            ("192.168.1.5", ip("192.168.1.5", None)),
            ("[fd00::1]:8080", ip("fd00::1", Some(8080))),
            ("[::1]", ip("::1", None)),
            ("localhost:8080", ip("127.0.0.1", Some(8080))),
            ("LocalHost", ip("127.0.0.1", None)),
            ("relay.Example.org:80", name("relay.example.org", Some(80))),
            ("my-laptop", name("my-laptop", None)),
            ("1.example", name("1.example", None)),
        ] {
            let found = Authority::parse(header);
            assert_eq!(found, authority, "{header}");
            let again = found.as_ref().map(ToString::to_string);
            assert_eq!(again.as_deref().and_then(Authority::parse), found);
        }
    }

    #[test]
    fn https_keeps_the_port_of_http() {
        for (header, url) in [
            ("192.168.1.5:8080", "https://192.168.1.5:8080"),
            ("[fd00::1]", "https://[fd00::1]:80"),
        ] {
            let authority = Authority::parse(header).expect("a host");
            assert_eq!(authority.as_https(), url);
        }
    }

    #[test]
    fn malformed_hosts_are_rejected() {
        let long_label = "a".repeat(MAX_LABEL_LEN + 1);
        let long_name = "a.".repeat(MAX_NAME_LEN / 2) + "bc";
        for header in [
            "",
            ":80",
            "0.0.0.0:80",
            "[::]",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "fd00::1",
            "[fd00::1",
            "[fd00::1]x",
            "[127.0.0.1]",
            "[fe80::1%25eth0]",
            "[localhost]",
            "host:port",
            "host:65536",
            "host:80:80",
            "1.2.3",
            "1.2.3.4.5",
            "a..b",
            ".a",
            "a.",
            "-a",
            "a-",
            "a_b",
            "a b",
            "a/tcp/1/ws",
            "a\"},{\"x",
            "<script>",
            "\u{e9}.example",
            &long_label,
            &long_name,
        ] {
            assert_eq!(Authority::parse(header), None, "{header:?}");
        }
    }

    #[test]
    fn longest_names_are_parsed() {
        let label = "a".repeat(MAX_LABEL_LEN);
        assert_eq!(Authority::parse(&label), name(&label, None));
        let longest = "a.".repeat(MAX_NAME_LEN / 2) + "b";
        assert_eq!(longest.len(), MAX_NAME_LEN);
        assert_eq!(Authority::parse(&longest), name(&longest, None));
    }
}
