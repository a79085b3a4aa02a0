//! The addresses under which the relay can be reached: its multiaddrs, the page's URLs and its STUN URL.
//!
//! They are built for each network interface, or for the host in a request's `Host` header. That header is validated
//! before it becomes part of an address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use libp2p_webrtc::tokio::Fingerprint;

/// Length of the longest DNS name, in bytes (RFC 1035, 2.3.4).
const MAX_NAME_LEN: usize = 253;
/// Length of the longest label of a DNS name, in bytes (RFC 1035, 2.3.4).
const MAX_LABEL_LEN: usize = 63;

/// Where the relay listens, and everything that an address needs besides a host.
#[derive(Debug, Clone)]
pub(crate) struct Endpoints {
    pub(crate) listen_ip: IpAddr,
    pub(crate) http_port: u16,
    pub(crate) ws_port: u16,
    pub(crate) webrtc_port: u16,
    pub(crate) stun_port: u16,
    pub(crate) certificate: Fingerprint,
    pub(crate) peer_id: PeerId,
}

/// The host part of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Ip(IpAddr),
    /// A well-formed DNS name in lower case.
    Name(String),
}

impl Endpoints {
    /// The page's URLs, loopback first.
    pub(crate) fn page_urls(&self) -> Vec<String> {
        self.listen_ips()
            .into_iter()
            .map(|ip| format!("http://{}/", SocketAddr::new(ip, self.http_port)))
            .collect()
    }

    /// Every multiaddr that tabs can dial.
    pub(crate) fn multiaddrs(&self) -> Vec<Multiaddr> {
        self.listen_ips()
            .into_iter()
            .flat_map(|ip| [self.websocket(ip.into()), self.webrtc(ip)])
            .collect()
    }

    /// The multiaddrs for a tab that requested `host` and whose request arrived at the local address `local`.
    pub(crate) fn multiaddrs_for(&self, host: Option<Host>, local: IpAddr) -> Vec<Multiaddr> {
        let local = if self.listen_ip.is_unspecified() {
            local.to_canonical()
        } else {
            self.listen_ip
        };
        match host {
            // Only this computer can reach a loopback address, whatever host the request names.
            _ if self.listen_ip.is_loopback() => {
                vec![self.websocket(local.into()), self.webrtc(local)]
            }
            Some(Host::Ip(ip)) => vec![self.websocket(ip.into()), self.webrtc(ip)],
            // Browsers do not resolve DNS names in WebRTC candidates.
            Some(Host::Name(name)) => vec![
                self.websocket(Protocol::Dns4(name.into())),
                self.webrtc(local),
            ],
            None => vec![self.websocket(local.into()), self.webrtc(local)],
        }
    }

    /// The STUN servers for a tab that requested `host` and whose request arrived at `local`, in the form of
    /// `RTCIceServer.urls`.
    ///
    /// Empty if the relay listens on a loopback address: STUN would only report addresses that tabs already know.
    pub(crate) fn stun_urls_for(&self, host: Option<Host>, local: IpAddr) -> Vec<String> {
        if self.listen_ip.is_loopback() {
            return Vec::new();
        }
        let local = if self.listen_ip.is_unspecified() {
            local.to_canonical()
        } else {
            self.listen_ip
        };
        let host = match host.unwrap_or(Host::Ip(local)) {
            Host::Ip(ip) => SocketAddr::new(ip, self.stun_port).to_string(),
            Host::Name(name) => format!("{name}:{}", self.stun_port),
        };
        vec![format!("stun:{host}")]
    }

    fn websocket(&self, host: Protocol<'_>) -> Multiaddr {
        Multiaddr::empty()
            .with(host)
            .with(Protocol::Tcp(self.ws_port))
            .with(Protocol::Ws("/".into()))
            .with(Protocol::P2p(self.peer_id))
    }

    fn webrtc(&self, ip: IpAddr) -> Multiaddr {
        Multiaddr::from(ip)
            .with(Protocol::Udp(self.webrtc_port))
            .with(Protocol::WebRTCDirect)
            .with(Protocol::Certhash(self.certificate.to_multihash()))
            .with(Protocol::P2p(self.peer_id))
    }

    /// The IP addresses that the relay listens on: the configured one, or every interface's if that is unspecified.
    fn listen_ips(&self) -> Vec<IpAddr> {
        if !self.listen_ip.is_unspecified() {
            return vec![self.listen_ip];
        }
        let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot list the network interfaces");
            Vec::new()
        });
        let mut ips: Vec<IpAddr> = interfaces
            .iter()
            .map(if_addrs::Interface::ip)
            .filter(|ip| ip.is_ipv4() == self.listen_ip.is_ipv4() && !is_link_local(*ip))
            .collect();
        if ips.is_empty() {
            ips.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        ips.sort_by_key(|ip| (!ip.is_loopback(), *ip));
        ips.dedup();
        ips
    }
}

impl Host {
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
        if !port.is_empty() {
            port.strip_prefix(':')?.parse::<u16>().ok()?;
        }
        match host.parse::<IpAddr>() {
            Ok(ip) if ip.is_ipv6() != header.starts_with('[') => None,
            Ok(ip) if ip.is_unspecified() || ip.is_multicast() || is_broadcast(ip) => None,
            Ok(ip) => Some(Self::Ip(ip)),
            Err(_) if header.starts_with('[') => None,
            Err(_) => Self::parse_name(host),
        }
    }

    fn parse_name(name: &str) -> Option<Self> {
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

/// Whether an address needs a zone (interface name), which our multiaddrs do not carry.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
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

    const LAN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 5));

    fn endpoints(listen_ip: &str) -> Endpoints {
        Endpoints {
            listen_ip: listen_ip.parse().expect("an address"),
            http_port: 8080,
            ws_port: 8081,
            webrtc_port: 8082,
            stun_port: 3478,
            certificate: Fingerprint::from_certificate(b"any"),
            peer_id: PeerId::random(),
        }
    }

    #[test]
    fn stun_url_uses_the_requested_host() {
        let stun = |listen: &str, host| endpoints(listen).stun_urls_for(host, LAN);
        assert_eq!(stun("0.0.0.0", ip("192.0.2.9")), ["stun:192.0.2.9:3478"]);
        assert_eq!(stun("::", ip("fd00::1")), ["stun:[fd00::1]:3478"]);
        assert_eq!(
            stun("0.0.0.0", name("relay.example")),
            ["stun:relay.example:3478"]
        );
        assert_eq!(stun("0.0.0.0", None), ["stun:192.168.1.5:3478"]);
        assert!(stun("127.0.0.1", ip("127.0.0.1")).is_empty());
    }

    fn ip(text: &str) -> Option<Host> {
        Some(Host::Ip(text.parse().expect("an address")))
    }

    fn name(text: &str) -> Option<Host> {
        Some(Host::Name(text.to_owned()))
    }

    #[test]
    fn valid_hosts_are_parsed() {
        for (header, host) in [
            ("192.168.1.5:8080", ip("192.168.1.5")),
            ("192.168.1.5", ip("192.168.1.5")),
            ("[fd00::1]:8080", ip("fd00::1")),
            ("[::1]", ip("::1")),
            ("localhost:8080", ip("127.0.0.1")),
            ("LocalHost", ip("127.0.0.1")),
            ("relay.Example.org:80", name("relay.example.org")),
            ("my-laptop", name("my-laptop")),
            ("1.example", name("1.example")),
        ] {
            assert_eq!(Host::parse(header), host, "{header}");
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
            assert_eq!(Host::parse(header), None, "{header:?}");
        }
    }

    #[test]
    fn longest_names_are_parsed() {
        let label = "a".repeat(MAX_LABEL_LEN);
        assert_eq!(Host::parse(&label), name(&label));
        let longest = "a.".repeat(MAX_NAME_LEN / 2) + "b";
        assert_eq!(longest.len(), MAX_NAME_LEN);
        assert_eq!(Host::parse(&longest), name(&longest));
    }

    #[test]
    fn loopback_relay_ignores_the_host_header() {
        let endpoints = endpoints("127.0.0.1");
        for host in [None, ip("127.0.0.1"), ip("10.0.0.1"), name("evil.example")] {
            let addresses = endpoints.multiaddrs_for(host, IpAddr::V4(Ipv4Addr::LOCALHOST));
            assert_eq!(addresses, endpoints.multiaddrs());
        }
        let peer_id = endpoints.peer_id;
        let [websocket, webrtc] = &endpoints.multiaddrs()[..] else {
            panic!("one address for each transport");
        };
        assert_eq!(
            websocket.to_string(),
            format!("/ip4/127.0.0.1/tcp/8081/ws/p2p/{peer_id}")
        );
        let webrtc = webrtc.to_string();
        assert!(
            webrtc.starts_with("/ip4/127.0.0.1/udp/8082/webrtc-direct/certhash/uEi"),
            "{webrtc}"
        );
        assert!(webrtc.ends_with(&format!("/p2p/{peer_id}")), "{webrtc}");
    }

    #[test]
    fn open_relay_uses_the_requested_host() {
        let endpoints = endpoints("0.0.0.0");
        let starts = |host, expected: [&str; 2]| {
            let addresses = endpoints.multiaddrs_for(host, LAN);
            assert_eq!(addresses.len(), 2);
            for (address, expected) in addresses.iter().zip(expected) {
                assert!(address.to_string().starts_with(expected), "{address}");
            }
        };
        starts(
            ip("10.0.0.7"),
            ["/ip4/10.0.0.7/tcp/8081/ws/p2p/", "/ip4/10.0.0.7/udp/8082/"],
        );
        starts(
            name("lab.example"),
            [
                "/dns4/lab.example/tcp/8081/ws/p2p/",
                "/ip4/192.168.1.5/udp/8082/",
            ],
        );
        starts(
            None,
            [
                "/ip4/192.168.1.5/tcp/8081/ws/p2p/",
                "/ip4/192.168.1.5/udp/8082/",
            ],
        );
    }

    #[test]
    fn loopback_is_the_first_listed_interface() {
        let endpoints = endpoints("0.0.0.0");
        let urls = endpoints.page_urls();
        assert_eq!(urls[0], "http://127.0.0.1:8080/");
        assert_eq!(endpoints.multiaddrs().len(), 2 * urls.len());
        assert!(urls.iter().all(|url| !url.contains("0.0.0.0")));
    }
}
