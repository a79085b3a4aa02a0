//! Parses `/webrtc-direct` addresses: host and port of a server, and the hash of the certificate that authenticates it.
//! Pure.

use std::net::IpAddr;

use libp2p_core::Multiaddr;
use libp2p_core::multiaddr::Protocol;
use libp2p_identity::PeerId;
use libp2p_webrtc_utils::Fingerprint;

/// A server that can be dialled without signalling, as in `/ip4/…/udp/…/webrtc-direct/certhash/…/p2p/…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectAddress {
    /// The IP address or host name of the server.
    pub host: Host,
    /// The server's UDP port; never 0.
    pub port: u16,
    /// The SHA-256 hash of the server's certificate.
    pub fingerprint: Fingerprint,
    /// The server's peer ID, if the address names one.
    pub peer: Option<PeerId>,
}

/// The host part of an address, as it is passed to the browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An IP address; never the unspecified one.
    Ip(IpAddr),
    /// A host name, which the browser resolves.
    Name(String),
}

/// Why an address cannot be dialled as `/webrtc-direct`. Another transport may still support it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The address does not have the form `/ip4|ip6|dns/…/udp/…/webrtc-direct/certhash/…`.
    #[error("not an address of the form /ip4|ip6|dns/…/udp/…/webrtc-direct/certhash/…: {0}")]
    UnsupportedFormat(Multiaddr),
    /// The certificate hash is not a SHA-256 hash.
    #[error("certificate hash of {0} is not SHA-256")]
    UnsupportedHash(Multiaddr),
    /// No server can listen there: the port is 0 or the IP address is unspecified.
    #[error("{0} has no usable host and port")]
    InvalidEndpoint(Multiaddr),
    /// The host name contains characters that do not belong in a session description.
    #[error("{0:?} is not a host name")]
    InvalidHostName(String),
}

impl TryFrom<&Multiaddr> for DirectAddress {
    type Error = AddressError;

    fn try_from(address: &Multiaddr) -> Result<Self, Self::Error> {
        let unsupported = || AddressError::UnsupportedFormat(address.clone());
        let mut parts = address.iter();
        let host = match parts.next() {
            Some(Protocol::Ip4(ip)) => Host::Ip(ip.into()),
            Some(Protocol::Ip6(ip)) => Host::Ip(ip.into()),
            Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name)) => {
                host_name(&name)?
            }
            _ => return Err(unsupported()),
        };
        let (
            Some(Protocol::Udp(port)),
            Some(Protocol::WebRTCDirect),
            Some(Protocol::Certhash(hash)),
        ) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(unsupported());
        };
        let peer = match parts.next() {
            None => None,
            Some(Protocol::P2p(peer)) => Some(peer),
            Some(_) => return Err(unsupported()),
        };
        if parts.next().is_some() {
            return Err(unsupported());
        }
        if port == 0 || matches!(&host, Host::Ip(ip) if ip.is_unspecified()) {
            return Err(AddressError::InvalidEndpoint(address.clone()));
        }
        let fingerprint = Fingerprint::try_from_multihash(hash)
            .ok_or_else(|| AddressError::UnsupportedHash(address.clone()))?;
        Ok(Self {
            host,
            port,
            fingerprint,
            peer,
        })
    }
}

/// Validates a host name strictly, because it is inserted into a session description.
fn host_name(name: &str) -> Result<Host, AddressError> {
    let is_name = (1..=253).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    if is_name {
        Ok(Host::Name(name.to_owned()))
    } else {
        Err(AddressError::InvalidHostName(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTHASH: &str = "uEiDikp5KVUgkLta1EjUN-IKbHk-dUBg8VzKgf5nXxLK46w";
    const PEER: &str = "12D3KooWNpDk9w6WrEEcdsEH1y47W71S36yFjw4sd3j7omzgCSMS";

    fn parse(address: &str) -> Result<DirectAddress, AddressError> {
        DirectAddress::try_from(&address.parse::<Multiaddr>().expect("valid multiaddr"))
    }

    #[test]
    fn ip_and_dns_addresses_are_parsed() {
        let full = parse(&format!(
            "/ip4/192.0.2.7/udp/4001/webrtc-direct/certhash/{CERTHASH}/p2p/{PEER}"
        ));
        let full = full.expect("full address");
        assert_eq!(full.host, Host::Ip([192, 0, 2, 7].into()));
        assert_eq!(full.port, 4001);
        assert_eq!(full.peer, Some(PEER.parse().expect("valid peer id")));
        assert!(full.fingerprint.to_sdp_format().starts_with("E2:92:9E:4A"));

        let ip6 = parse(&format!("/ip6/::1/udp/1/webrtc-direct/certhash/{CERTHASH}"))
            .expect("IPv6, no peer");
        assert_eq!(
            (ip6.host, ip6.peer),
            (Host::Ip("::1".parse().expect("valid IP")), None)
        );

        for form in ["dns", "dns4", "dns6"] {
            let named = parse(&format!(
                "/{form}/relay.example/udp/1/webrtc-direct/certhash/{CERTHASH}"
            ));
            assert_eq!(
                named.expect("named host").host,
                Host::Name("relay.example".to_owned())
            );
        }
    }

    #[test]
    fn addresses_of_other_transports_are_refused() {
        for address in [
            "/ip4/127.0.0.1/tcp/1/ws".to_owned(),
            "/ip4/127.0.0.1/udp/1/webrtc-direct".to_owned(),
            "/ip4/127.0.0.1/udp/1/quic-v1".to_owned(),
            format!(
                "/ip4/127.0.0.1/udp/1/webrtc-direct/certhash/{CERTHASH}/p2p/{PEER}/p2p-circuit"
            ),
            format!("/dnsaddr/x.example/udp/1/webrtc-direct/certhash/{CERTHASH}"),
        ] {
            assert!(
                matches!(parse(&address), Err(AddressError::UnsupportedFormat(_))),
                "{address}"
            );
        }
    }

    #[test]
    fn unusable_host_or_port_is_refused() {
        for endpoint in [
            "/ip4/127.0.0.1/udp/0",
            "/ip4/0.0.0.0/udp/1",
            "/ip6/::/udp/1",
        ] {
            let address = format!("{endpoint}/webrtc-direct/certhash/{CERTHASH}");
            assert!(
                matches!(parse(&address), Err(AddressError::InvalidEndpoint(_))),
                "{address}"
            );
        }
    }

    #[test]
    fn other_hash_functions_are_refused() {
        let sha3 = "uFiCH_tkkzpAwkoIDbE4I7QtQksFMYs5nQ4MyYrkgCJYi4A";
        let address = format!("/ip4/127.0.0.1/udp/1/webrtc-direct/certhash/{sha3}");
        assert!(matches!(
            parse(&address),
            Err(AddressError::UnsupportedHash(_))
        ));
    }

    #[test]
    fn host_name_cannot_inject_sdp_lines() {
        let address = Multiaddr::empty()
            .with(Protocol::Dns("a.example\r\na=x".into()))
            .with(Protocol::Udp(1))
            .with(Protocol::WebRTCDirect);
        assert!(matches!(
            DirectAddress::try_from(&address),
            Err(AddressError::InvalidHostName(_))
        ));
    }
}
