//! How far an address reaches: this computer, its networks, or everyone. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::{Multiaddr, multiaddr::Protocol};
use url::{Host, Url};

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
            IpAddr::V6(ip) => match ip4_in(ip) {
                Some(ip) => Self::of_ip4(ip),
                None => Self::of_ip6(ip),
            },
        }
    }

    /// The scope of a host in an address: an IP address in any spelling that the URL standard knows, in brackets if it is version 6,
    /// or a name. Names without a domain and those of `.local`, `.internal` and `.home.arpa` are private. `None` if it is no
    /// host, or has characters that something may take for others.
    #[must_use]
    pub fn of_host(host: &str) -> Option<Self> {
        let inner = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Some(ip) = inner {
            return Self::of_ip6_text(ip);
        }
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_digits = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
        if is_digits || number(last).is_some() {
            return Self::of_ip4(ip4_of(&name)?);
        }
        let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if last.is_empty() || !name.bytes().all(is_name_byte) {
            return None;
        }
        let ends = |suffix: &str| name == suffix[1..] || name.ends_with(suffix);
        if ends(".localhost") {
            Some(Self::Loopback)
        } else if !name.contains('.') || ends(".local") || ends(".internal") || ends(".home.arpa") {
            Some(Self::Private)
        } else {
            Some(Self::Public)
        }
    }

    /// The scope of the host of a URL, such as `http://192.168.1.5:8080/`; `None` if it is no URL of a host. Not for tabs: it
    /// brings the tables of international names with it.
    #[must_use]
    pub fn of_url(url: &str) -> Option<Self> {
        match Url::parse(url).ok()?.host()? {
            Host::Domain(name) => Self::of_host(name),
            Host::Ipv4(ip) => Self::of_ip(ip.into()),
            Host::Ipv6(ip) => Self::of_ip(ip.into()),
        }
    }

    fn of_ip6_text(text: &str) -> Option<Self> {
        match text.split_once('%') {
            None => Self::of_ip(IpAddr::V6(text.parse().ok()?)),
            // Only addresses of one network have a zone.
            Some((ip, _)) => {
                let ip: Ipv6Addr = ip.parse().ok()?;
                ip.is_unicast_link_local().then_some(Self::Private)
            }
        }
    }

    fn of_ip4(ip: Ipv4Addr) -> Option<Self> {
        let [first, second, ..] = ip.octets();
        // 100.64.0.0/10 is shared between the customers of one provider (RFC 6598).
        let is_shared = first == 100 && second & 0xc0 == 64;
        // All of 0.0.0.0/8 means this computer at most (RFC 1122).
        if first == 0 || ip.is_broadcast() || ip.is_multicast() {
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
        // fec0::/10 was for sites (RFC 3879), 64:ff9b:1::/48 is for translators of one network (RFC 8215).
        let [first, second, third, ..] = ip.segments();
        let is_site_local = first & 0xffc0 == 0xfec0;
        let is_local_nat64 = (first, second, third) == (0x64, 0xff9b, 1);
        let is_local = ip.is_unique_local() || ip.is_unicast_link_local();
        if ip.is_unspecified() || ip.is_multicast() {
            None
        } else if ip.is_loopback() {
            Some(Self::Loopback)
        } else if is_local || is_site_local || is_local_nat64 {
            Some(Self::Private)
        } else {
            Some(Self::Public)
        }
    }
}

/// The IPv4 address that is reached at an IPv6 address: mapped and compatible addresses (RFC 4291), NAT64 (RFC 6052), 6to4
/// (RFC 3056).
fn ip4_in(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let (high, low) = match ip.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => (high, low),
        // Not :: and ::1.
        [0, 0, 0, 0, 0, 0, high, low] if (high, low) > (0, 1) => (high, low),
        [0x2002, high, low, ..] => (high, low),
        _ => return None,
    };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

/// The IPv4 address in any spelling that the URL standard knows: up to four numbers, of which the last fills what the others leave.
fn ip4_of(text: &str) -> Option<Ipv4Addr> {
    let numbers: Option<Vec<u64>> = text.split('.').map(number).collect();
    let numbers = numbers?;
    let (last, octets) = numbers.split_last()?;
    if octets.len() > 3 || octets.iter().any(|octet| *octet > 255) {
        return None;
    }
    let free = 32 - 8 * octets.len();
    let high = octets.iter().fold(0, |high, octet| high << 8 | octet);
    let low = Some(*last).filter(|last| last >> free == 0)?;
    u32::try_from(high << free | low)
        .ok()
        .map(Ipv4Addr::from_bits)
}

/// A part of an IPv4 address in lower case: hexadecimal after `0x`, octal after `0`, or decimal.
fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match (text.strip_prefix("0x"), text.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        (None, _) => (text, 10),
    };
    if digits.is_empty() {
        return (radix == 16).then_some(0);
    }
    // A sign would be accepted otherwise.
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric();
    let digits = Some(digits).filter(|digits| digits.bytes().all(is_digit))?;
    u64::from_str_radix(digits, radix).ok()
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
            assert_eq!(Scope::of_host(host), Some(scope), "{host}");
        }
    }

    #[test]
    fn spelling_does_not_change_the_scope() {
        for (host, scope) in [
            ("0x7f.1", Scope::Loopback),
            ("0X7F000001", Scope::Loopback),
            ("2130706433", Scope::Loopback),
            ("017700000001", Scope::Loopback),
            ("127.1", Scope::Loopback),
            ("127.0.1", Scope::Loopback),
            ("0177.0.0.1", Scope::Loopback),
            ("127.0.0.1.", Scope::Loopback),
            ("localhost.", Scope::Loopback),
            ("192.168.1287", Scope::Private),
            ("0xa.1", Scope::Private),
            ("0x5db8d822", Scope::Public),
            ("[::ffff:7f00:1]", Scope::Loopback),
            ("[::127.0.0.1]", Scope::Loopback),
            ("[64:ff9b::127.0.0.1]", Scope::Loopback),
            ("[64:ff9b::a01:203]", Scope::Private),
            ("[64:ff9b::5db8:d822]", Scope::Public),
            ("[64:ff9b:1::1]", Scope::Private),
            ("[2002:7f00:1::1]", Scope::Loopback),
            ("[2002:c0a8:105::1]", Scope::Private),
            ("[2002:5db8:d822::1]", Scope::Public),
            ("[fec0::1]", Scope::Private),
            ("[fe80::1%eth0]", Scope::Private),
            ("[fe80::1%25eth0]", Scope::Private),
            ("1.2.3.4.example", Scope::Public),
            ("0x7f.1.example", Scope::Public),
            ("0xg", Scope::Private),
        ] {
            assert_eq!(Scope::of_host(host), Some(scope), "{host}");
        }
    }

    #[test]
    fn text_that_is_no_host_has_no_scope() {
        for host in [
            "",
            ".",
            "localhost..",
            "[::1",
            "::1",
            "[127.0.0.1]",
            "[2001:db8::1%eth0]",
            "[64:ff9b::0.0.0.0]",
            "[::2]",
            "0.0.0.0",
            "0",
            "0x",
            "256.0.0.1",
            "127.0.0.256",
            "127.0.65536",
            "4294967296",
            "127.0.0.08",
            "127.0.0.0.1",
            "127..1",
            "127.+1",
            "name.1",
            "%31%32%37.0.0.1",
            "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
            "127\u{3002}0.0.1",
            "relay.example@127.0.0.1",
            "127.0.0.1:80",
        ] {
            assert_eq!(Scope::of_host(host), None, "{host}");
        }
    }

    #[test]
    fn scope_of_a_url_is_that_of_its_host() {
        for (url, scope) in [
            ("http://127.0.0.1:8080/", Some(Scope::Loopback)),
            ("http://0x7f.1/", Some(Scope::Loopback)),
            ("http://2130706433:8080/", Some(Scope::Loopback)),
            ("http://LOCALHOST./", Some(Scope::Loopback)),
            ("http://[::ffff:127.0.0.1]/", Some(Scope::Loopback)),
            ("http://relay.example@127.0.0.1/", Some(Scope::Loopback)),
            ("http://127.0.0.1?relay.example/", Some(Scope::Loopback)),
            ("http://127.0.0.1#.example", Some(Scope::Loopback)),
            ("http://127.0.0.1\\.example/", Some(Scope::Loopback)),
            ("http://%31%32%37.0.0.1/", Some(Scope::Loopback)),
            ("http://127\u{3002}0.0.1/", Some(Scope::Loopback)),
            ("http://[2002:c0a8:105::1]/", Some(Scope::Private)),
            ("https://127.0.0.1.example/", Some(Scope::Public)),
            ("https://relay.example/127.0.0.1", Some(Scope::Public)),
            ("https://b\u{fc}cher.example/", Some(Scope::Public)),
            ("http://0.0.0.0/", None),
            ("http://[fe80::1%25eth0]/", None),
            ("relay.example", None),
            ("data:text/plain,x", None),
        ] {
            assert_eq!(Scope::of_url(url), scope, "{url}");
        }
    }

    #[test]
    fn address_of_many_computers_has_no_scope() {
        for ip in [
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "224.0.0.1",
            "::",
            "ff02::1",
            "::ffff:0.0.0.0",
        ] {
            assert_eq!(Scope::of_ip(ip.parse().expect(ip)), None, "{ip}");
        }
    }
}
