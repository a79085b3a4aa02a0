//! How far an address reaches: this computer, its networks, or everyone. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::{Multiaddr, multiaddr::Protocol};

/// How far an address reaches, and for a peer: what addresses it dials that strangers name. A page of the internet must not
/// make a browser dial the networks at home, and browsers ask or refuse when it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// This computer alone reaches it.
    Loopback,
    /// The networks that it is connected to.
    Private,
    /// Everyone on the internet may reach it.
    Public,
}

impl Scope {
    /// The scope of an IP address; `None` if no single computer has it.
    #[must_use]
    pub fn of_ip(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V4(ip) => Self::of_ip4(ip),
            IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
                Some(ip) => Self::of_ip4(ip),
                None => Self::of_ip6(ip),
            },
        }
    }

    /// The scope of a host in a URL: an IP address, the latter in brackets if it is version 6, or a name. Names without a
    /// domain and those of `.local`, `.internal` and `.home.arpa` are private.
    #[must_use]
    pub fn of_host(host: &str) -> Self {
        let ip = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        if let Ok(ip) = ip.parse() {
            return Self::of_ip(ip).unwrap_or(Self::Public);
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        let ends = |suffix: &str| name == suffix[1..] || name.ends_with(suffix);
        if ends(".localhost") {
            Self::Loopback
        } else if !name.contains('.') || ends(".local") || ends(".internal") || ends(".home.arpa") {
            Self::Private
        } else {
            Self::Public
        }
    }

    /// The scope of the host of a URL, such as `http://192.168.1.5:8080/`.
    #[must_use]
    pub fn of_url(url: &str) -> Self {
        let rest = url.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            Some(_) | None => authority,
        };
        Self::of_host(host)
    }

    fn of_ip4(ip: Ipv4Addr) -> Option<Self> {
        let [first, second, ..] = ip.octets();
        // 100.64.0.0/10 is shared between the customers of one provider (RFC 6598).
        let is_shared = first == 100 && second & 0xc0 == 64;
        if ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast() {
            None
        } else if ip.is_loopback() {
            Some(Self::Loopback)
        } else if ip.is_private() || ip.is_link_local() || is_shared {
            Some(Self::Private)
        } else {
            Some(Self::Public)
        }
    }

    fn of_ip6(ip: Ipv6Addr) -> Option<Self> {
        if ip.is_unspecified() || ip.is_multicast() {
            None
        } else if ip.is_loopback() {
            Some(Self::Loopback)
        } else if ip.is_unique_local() || ip.is_unicast_link_local() {
            Some(Self::Private)
        } else {
            Some(Self::Public)
        }
    }
}

/// The IP address that an address begins with; `None` if it begins with a name.
pub(super) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    let host = address.iter().next()?;
    if let Protocol::Ip4(ip) = host {
        return Some(ip.into());
    }
    if let Protocol::Ip6(ip) = host {
        return Some(ip.into());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_of_a_host_is_known() {
        for (host, scope) in [
            ("127.0.0.1", Scope::Loopback),
            ("127.8.0.1", Scope::Loopback),
            ("[::1]", Scope::Loopback),
            ("[::ffff:127.0.0.1]", Scope::Loopback),
            ("localhost", Scope::Loopback),
            ("room.LOCALHOST.", Scope::Loopback),
            ("10.1.2.3", Scope::Private),
            ("192.168.0.7", Scope::Private),
            ("169.254.1.1", Scope::Private),
            ("100.64.0.1", Scope::Private),
            ("[fd00::1]", Scope::Private),
            ("[fe80::1]", Scope::Private),
            ("teacher", Scope::Private),
            ("teacher.local", Scope::Private),
            ("nas.home.arpa", Scope::Private),
            ("93.184.216.34", Scope::Public),
            ("[2606:2800::1]", Scope::Public),
            ("relay.example", Scope::Public),
            ("localhost.example", Scope::Public),
            ("100.128.0.1", Scope::Public),
        ] {
            assert_eq!(Scope::of_host(host), scope, "{host}");
        }
    }

    #[test]
    fn address_of_many_computers_has_no_scope() {
        for ip in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1"] {
            assert_eq!(Scope::of_ip(ip.parse().expect(ip)), None, "{ip}");
        }
    }
}
