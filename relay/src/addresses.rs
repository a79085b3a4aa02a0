//! The addresses under which the relay can be reached: its multiaddrs, the page's URLs and its STUN URL.
//!
//! They are built for each network interface, or for the host in a request's `Host` header. That header is validated
//! before it becomes part of an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use libp2p_webrtc_direct::Fingerprint;

use crate::{
    announce::Announced,
    authority::{Authority, Host},
    client::Client,
};

/// Where the relay listens, and everything that an address needs besides a host.
#[derive(Debug, Clone)]
pub(crate) struct Endpoints {
    pub(crate) listen_ips: Vec<IpAddr>,
    /// TCP port of the page and of libp2p over WebSocket.
    pub(crate) http_port: u16,
    pub(crate) webrtc_port: u16,
    pub(crate) stun_port: u16,
    /// Whether the port uses TLS.
    pub(crate) tls: bool,
    /// The names in a certificate that is not the relay's own: other addresses would not match it.
    pub(crate) certified: Vec<String>,
    /// What the operator announces instead of the addresses that the relay finds out itself.
    pub(crate) announced: Announced,
    pub(crate) certificate: Fingerprint,
    pub(crate) peer_id: PeerId,
}

/// Where a tab reaches the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reachable {
    pub(crate) multiaddrs: Vec<Multiaddr>,
    /// STUN servers, in the form of `RTCIceServer.urls`. None if the relay listens on a loopback address: STUN would only
    /// report addresses that tabs already know.
    pub(crate) stun_urls: Vec<String>,
}

impl Endpoints {
    /// The page's URLs: first the announced ones, then one for each name in the certificate, or for each interface,
    /// loopback first.
    pub(crate) fn page_urls(&self) -> Vec<String> {
        let (scheme, default) = if self.tls {
            ("https", 443)
        } else {
            ("http", 80)
        };
        let mut urls: Vec<String> = self.announced.urls().map(ToString::to_string).collect();
        for host in self.own_hosts() {
            let port = Some(self.http_port).filter(|port| *port != default);
            let url = format!("{scheme}://{}/", Authority { host, port });
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
        urls
    }

    /// Every multiaddr that tabs can dial.
    pub(crate) fn multiaddrs(&self) -> Vec<Multiaddr> {
        let mut addresses = self.announced_addresses();
        let hosts = self.own_hosts().into_iter();
        let own = hosts.map(|host| self.websocket(&host, self.http_port, self.tls));
        let webrtc = self.listening_ips().into_iter().map(|ip| self.webrtc(ip));
        for address in own.chain(webrtc) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses
    }

    /// The hosts under which a browser accepts the page.
    fn own_hosts(&self) -> Vec<Host> {
        if self.certified.is_empty() {
            self.listening_ips().into_iter().map(Host::Ip).collect()
        } else {
            self.certified.iter().cloned().map(Host::Name).collect()
        }
    }

    /// Where a tab that sent a request reaches the relay.
    pub(crate) fn reachable_for(&self, client: &Client) -> Reachable {
        let udp = self.udp_ips_for(client);
        let mut multiaddrs = self.announced_addresses();
        if self.announced.urls().next().is_none() {
            multiaddrs.push(self.websocket_for(client));
        }
        multiaddrs.extend(udp.iter().map(|ip| self.webrtc(*ip)));

        let mut stun_urls = self.announced.stun_urls();
        if stun_urls.is_empty() && !self.is_loopback() {
            let host = match &client.authority {
                Some(authority) if !self.is_forwarded(client) => Some(authority.host.clone()),
                _ => udp.first().copied().map(Host::Ip),
            };
            stun_urls.extend(host.map(|host| {
                let port = Some(self.stun_port);
                format!("stun:{}", Authority { host, port })
            }));
        }
        Reachable {
            multiaddrs,
            stun_urls,
        }
    }

    /// Whether the relay listens on loopback addresses only.
    pub(crate) fn is_loopback(&self) -> bool {
        self.listen_ips.iter().all(IpAddr::is_loopback)
    }

    fn announced_addresses(&self) -> Vec<Multiaddr> {
        let announced = self.announced.multiaddrs();
        let complete = announced.map(|address| self.with_identity(address));
        complete.collect()
    }

    /// The WebSocket is where the page is.
    fn websocket_for(&self, client: &Client) -> Multiaddr {
        match &client.authority {
            Some(Authority { host, port }) => {
                let default = if client.secure { 443 } else { 80 };
                self.websocket(host, port.unwrap_or(default), client.secure)
            }
            None => {
                let host = Host::Ip(self.local_ip(client));
                self.websocket(&host, self.http_port, self.tls)
            }
        }
    }

    /// The addresses at which a tab that sent a request can reach the UDP ports. Browsers do not resolve DNS names in WebRTC
    /// candidates.
    fn udp_ips_for(&self, client: &Client) -> Vec<IpAddr> {
        if self.is_forwarded(client) {
            // The request says nothing about this computer's own addresses.
            let public = self.listening_ips().into_iter().filter(|ip| is_public(*ip));
            return public.collect();
        }
        let ip = match &client.authority {
            Some(Authority {
                host: Host::Ip(ip), ..
            }) if !self.is_loopback() => *ip,
            _ => self.local_ip(client),
        };
        vec![ip]
    }

    /// Whether clients reach the relay through a proxy, or by another name than that of this computer.
    fn is_forwarded(&self, client: &Client) -> bool {
        client.by_proxy || self.announced.urls().next().is_some()
    }

    fn local_ip(&self, client: &Client) -> IpAddr {
        match self.listen_ips.as_slice() {
            [ip] if !ip.is_unspecified() => *ip,
            _ => client.local,
        }
    }

    fn websocket(&self, host: &Host, port: u16, secure: bool) -> Multiaddr {
        let address = Multiaddr::empty()
            .with(host.to_protocol())
            .with(Protocol::Tcp(port));
        let address = if secure {
            address.with(Protocol::Tls)
        } else {
            address
        };
        self.with_identity(address.with(Protocol::Ws("/".into())))
    }

    fn webrtc(&self, ip: IpAddr) -> Multiaddr {
        self.with_identity(
            Multiaddr::from(ip)
                .with(Protocol::Udp(self.webrtc_port))
                .with(Protocol::WebRTCDirect),
        )
    }

    /// Adds the hash of the certificate, if the address needs one, and the peer ID.
    fn with_identity(&self, address: Multiaddr) -> Multiaddr {
        let is_webrtc = address.iter().last() == Some(Protocol::WebRTCDirect);
        let address = if is_webrtc {
            address.with(Protocol::Certhash(self.certificate.to_multihash()))
        } else {
            address
        };
        address.with(Protocol::P2p(self.peer_id))
    }

    fn listening_ips(&self) -> Vec<IpAddr> {
        listening_ips(&self.listen_ips)
    }
}

/// The IP addresses behind those to listen on: themselves, or every interface's for unspecified ones. Never empty.
pub(crate) fn listening_ips(listen_ips: &[IpAddr]) -> Vec<IpAddr> {
    let given = listen_ips.iter().copied();
    let mut ips: Vec<IpAddr> = given.filter(|ip| !ip.is_unspecified()).collect();
    let unspecified = |is_ipv4| {
        let mut unspecified = listen_ips.iter().filter(|ip| ip.is_unspecified());
        unspecified.any(|ip| ip.is_ipv4() == is_ipv4)
    };
    let (ipv4, ipv6) = (unspecified(true), unspecified(false));
    if ipv4 || ipv6 {
        let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot list the network interfaces");
            Vec::new()
        });
        let found = interfaces.iter().map(if_addrs::Interface::ip);
        ips.extend(
            found.filter(|ip| (if ip.is_ipv4() { ipv4 } else { ipv6 }) && !is_link_local(*ip)),
        );
    }
    if ips.is_empty() {
        ips.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    ips.sort_by_key(|ip| (!ip.is_loopback(), *ip));
    ips.dedup();
    ips
}

/// Whether an address needs a zone (interface name), which our multiaddrs do not carry.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Whether computers on the internet may be able to reach the address.
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let is_shared = a == 100 && b & 0xC0 == 64;
            !(ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || ip.is_unspecified()
                || is_shared)
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || ip == Ipv6Addr::UNSPECIFIED)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::announce::Announce;

    const LAN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 5));

    fn endpoints(listen_ip: &str) -> Endpoints {
        Endpoints {
            listen_ips: vec![listen_ip.parse().expect("an address")],
            http_port: 8080,
            webrtc_port: 8082,
            stun_port: 3478,
            tls: false,
            certified: Vec::new(),
            announced: Announced::default(),
            certificate: Fingerprint::of(b"any"),
            peer_id: PeerId::random(),
        }
    }

    fn announcing(listen_ip: &str, announced: &[&str]) -> Endpoints {
        let announced = announced
            .iter()
            .map(|text| text.parse::<Announce>().expect("can be announced"));
        Endpoints {
            announced: Announced::new(announced.collect()),
            ..endpoints(listen_ip)
        }
    }

    fn client(host: &str) -> Client {
        Client {
            address: SocketAddr::new(LAN, 4711),
            local: LAN,
            secure: false,
            by_proxy: false,
            authority: Authority::parse(host),
            names_host: !host.is_empty(),
            proxy_authority: None,
        }
    }

    /// The addresses for a client, without the relay's identity.
    fn addresses(endpoints: &Endpoints, client: &Client) -> Vec<String> {
        let addresses = endpoints.reachable_for(client).multiaddrs.into_iter();
        addresses
            .map(|address| {
                let text = address.to_string();
                let (address, peer) = text.rsplit_once("/p2p/").expect("a peer ID");
                assert_eq!(peer, endpoints.peer_id.to_string());
                let end = address.find("/certhash/uEi").unwrap_or(address.len());
                address.get(..end).unwrap_or_default().to_owned()
            })
            .collect()
    }

    #[test]
    fn stun_url_uses_the_requested_host() {
        let stun = |listen: &str, host| endpoints(listen).reachable_for(&client(host)).stun_urls;
        assert_eq!(stun("0.0.0.0", "192.0.2.9"), ["stun:192.0.2.9:3478"]);
        assert_eq!(stun("::", "[fd00::1]:8080"), ["stun:[fd00::1]:3478"]);
        assert_eq!(
            stun("0.0.0.0", "relay.example"),
            ["stun:relay.example:3478"]
        );
        assert_eq!(stun("0.0.0.0", ""), ["stun:192.168.1.5:3478"]);
        assert!(stun("127.0.0.1", "127.0.0.1").is_empty());
    }

    #[test]
    fn loopback_relay_is_where_its_page_is() {
        let endpoints = endpoints("127.0.0.1");
        let local = |host| addresses(&endpoints, &client(host));
        let own = [
            "/ip4/127.0.0.1/tcp/8080/ws",
            "/ip4/127.0.0.1/udp/8082/webrtc-direct",
        ];
        assert_eq!(local(""), own);
        assert_eq!(local("localhost:8080"), own);
        // For example through `ssh -L 9000:localhost:8080`.
        let [forwarded, _] = own.map(|address| address.replace("8080", "9000"));
        assert_eq!(local("localhost:9000"), [forwarded.as_str(), own[1]]);
    }

    #[test]
    fn open_relay_uses_the_requested_host() {
        let endpoints = endpoints("0.0.0.0");
        for (host, websocket, webrtc) in [
            (
                "10.0.0.7:8080",
                "/ip4/10.0.0.7/tcp/8080/ws",
                "/ip4/10.0.0.7/udp/8082",
            ),
            (
                "10.0.0.7",
                "/ip4/10.0.0.7/tcp/80/ws",
                "/ip4/10.0.0.7/udp/8082",
            ),
            (
                "lab.example:81",
                "/dns/lab.example/tcp/81/ws",
                "/ip4/192.168.1.5/udp/8082",
            ),
            (
                "",
                "/ip4/192.168.1.5/tcp/8080/ws",
                "/ip4/192.168.1.5/udp/8082",
            ),
        ] {
            let webrtc = format!("{webrtc}/webrtc-direct");
            let expected = [websocket, webrtc.as_str()];
            assert_eq!(addresses(&endpoints, &client(host)), expected, "{host}");
        }
    }

    #[test]
    fn secure_page_gets_a_secure_websocket() {
        let secure = |host, by_proxy| Client {
            secure: true,
            by_proxy,
            ..client(host)
        };
        let own = Endpoints {
            tls: true,
            ..endpoints("0.0.0.0")
        };
        for (client, expected) in [
            (
                secure("10.0.0.7:8443", false),
                vec![
                    "/ip4/10.0.0.7/tcp/8443/tls/ws",
                    "/ip4/10.0.0.7/udp/8082/webrtc-direct",
                ],
            ),
            (
                secure("hearts.example", true),
                vec!["/dns/hearts.example/tcp/443/tls/ws"],
            ),
            (
                secure("hearts.example:4443", true),
                vec!["/dns/hearts.example/tcp/4443/tls/ws"],
            ),
        ] {
            let found: Vec<_> = addresses(&own, &client)
                .into_iter()
                // A public address of this computer may follow.
                .take(expected.len())
                .collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn announced_addresses_replace_derived_ones() {
        let announced = [
            "https://hearts.example",
            "https://hearts.example:8443/a/b/",
            "/ip4/192.0.2.1/udp/9000/webrtc-direct",
            "/dns4/stun.example/udp/3479",
        ];
        let endpoints = announcing("127.0.0.1", &announced);
        let client = client("127.0.0.1:8080");
        assert_eq!(
            addresses(&endpoints, &client),
            [
                "/dns/hearts.example/tcp/443/tls/ws",
                "/dns/hearts.example/tcp/8443/tls/x-parity-ws/%2Fa%2Fb%2F",
                "/ip4/192.0.2.1/udp/9000/webrtc-direct",
            ]
        );
        let stun = endpoints.reachable_for(&client).stun_urls;
        assert_eq!(stun, ["stun:stun.example:3479"]);
        let urls = endpoints.page_urls();
        let expected = [
            "https://hearts.example/",
            "https://hearts.example:8443/a/b/",
            "http://127.0.0.1:8080/",
        ];
        assert_eq!(urls, expected);
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
