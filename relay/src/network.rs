//! The network that a client belongs to, as the limits see it: one IPv4 address, or one IPv6 /64.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::{Multiaddr, multiaddr::Protocol};

/// Mask of a /64, the part of an IPv6 address that a single subscriber cannot choose (RFC 6177).
const IPV6_SUBSCRIBER_MASK: u128 = u128::MAX << 64;

/// An IPv4 address, or the /64 prefix of an IPv6 address.
///
/// `None` is exempt from the limits per network. It stands for loopback, where a local reverse proxy may forward the
/// connections of all clients, and for multiaddrs without an IP address. It still counts as one taker when a table is
/// full.
pub(crate) type Network = Option<IpAddr>;

/// The network that a multiaddr belongs to.
pub(crate) fn network_of_address(address: &Multiaddr) -> Network {
    let ip = address.iter().find_map(|part| {
        if let Protocol::Ip4(ip) = part {
            return Some(IpAddr::V4(ip));
        }
        if let Protocol::Ip6(ip) = part {
            return Some(IpAddr::V6(ip));
        }
        None
    });
    ip.and_then(network_of_ip)
}

/// The network that an IP address belongs to.
pub(crate) fn network_of_ip(ip: IpAddr) -> Network {
    match ip.to_canonical() {
        IpAddr::V4(Ipv4Addr::LOCALHOST) | IpAddr::V6(Ipv6Addr::LOCALHOST) => None,
        IpAddr::V4(ip) => Some(IpAddr::V4(ip)),
        IpAddr::V6(ip) => Some(IpAddr::V6(Ipv6Addr::from(
            u128::from(ip) & IPV6_SUBSCRIBER_MASK,
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_ipv4_addresses_or_ipv6_prefixes() {
        let from = |text: &str| network_of_address(&text.parse().expect("an address"));
        let v4 = from("/ip4/192.0.2.1/tcp/1/ws");
        assert_ne!(v4, from("/ip4/192.0.2.2/tcp/1/ws"));
        assert_eq!(v4, from("/ip4/192.0.2.1/udp/2/webrtc-direct"));
        assert_eq!(v4, from("/ip6/::ffff:192.0.2.1/tcp/1"));
        let v6 = from("/ip6/2001:db8::1/tcp/1");
        assert_eq!(v6, from("/ip6/2001:db8::ffff:2/tcp/9"));
        assert_ne!(v6, from("/ip6/2001:db8:0:1::1/tcp/1"));
        for exempt in ["/memory/1", "/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1"] {
            assert_eq!(from(exempt), None, "{exempt}");
        }
    }
}
