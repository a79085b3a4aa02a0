//! Addresses of WebRTC-direct. Pure.

use std::net::{IpAddr, SocketAddr};

use libp2p_core::Multiaddr;
use libp2p_core::multiaddr::Protocol;
use libp2p_identity::PeerId;

use crate::certificate::Fingerprint;

/// A server that can be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    pub(crate) socket: SocketAddr,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) peer: Option<PeerId>,
}

/// Parses `/ip4|ip6/…/udp/…/webrtc-direct`.
pub(crate) fn parse_listen(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let socket = parse_socket(&mut parts)?;
    parts.next().is_none().then_some(socket)
}

/// Parses `/ip4|ip6/…/udp/…/webrtc-direct/certhash/…`, with or without a peer ID.
pub(crate) fn parse_dial(address: &Multiaddr) -> Option<ServerAddress> {
    let mut parts = address.iter();
    let socket = parse_socket(&mut parts)?;
    let Some(Protocol::Certhash(hash)) = parts.next() else {
        return None;
    };
    let peer = match parts.next() {
        None => None,
        Some(Protocol::P2p(peer)) => Some(peer),
        Some(_) => return None,
    };
    let is_usable = socket.port() != 0 && !socket.ip().is_unspecified();
    if parts.next().is_some() || !is_usable {
        return None;
    }
    Some(ServerAddress {
        socket,
        fingerprint: Fingerprint::from_multihash(&hash)?,
        peer,
    })
}

/// The address of a peer, or of a listener with its certificate.
pub(crate) fn multiaddr(socket: SocketAddr, fingerprint: Option<Fingerprint>) -> Multiaddr {
    let address = Multiaddr::from(socket.ip().to_canonical())
        .with(Protocol::Udp(socket.port()))
        .with(Protocol::WebRTCDirect);
    match fingerprint {
        Some(fingerprint) => address.with(Protocol::Certhash(fingerprint.to_multihash())),
        None => address,
    }
}

fn parse_socket<'a>(parts: &mut impl Iterator<Item = Protocol<'a>>) -> Option<SocketAddr> {
    let host = parts.next()?;
    let ip: IpAddr = if let Protocol::Ip4(ip) = host {
        ip.into()
    } else if let Protocol::Ip6(ip) = host {
        ip.into()
    } else {
        return None;
    };
    let (Some(Protocol::Udp(port)), Some(Protocol::WebRTCDirect)) = (parts.next(), parts.next())
    else {
        return None;
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("a multiaddr")
    }

    #[test]
    fn addresses_round_trip() {
        let fingerprint = Fingerprint::of(b"certificate");
        for socket in ["192.0.2.1:4001", "[2001:db8::1]:1"] {
            let socket: SocketAddr = socket.parse().expect("an address");
            let listen = multiaddr(socket, None);
            assert_eq!(parse_listen(&listen), Some(socket));
            assert_eq!(parse_dial(&listen), None, "the certificate is missing");
            let dial = multiaddr(socket, Some(fingerprint));
            assert_eq!(parse_listen(&dial), None);
            let peer = PeerId::random();
            for (address, peer) in [
                (dial.clone(), None),
                (dial.with(Protocol::P2p(peer)), Some(peer)),
            ] {
                let server = ServerAddress {
                    socket,
                    fingerprint,
                    peer,
                };
                assert_eq!(parse_dial(&address), Some(server));
            }
        }
    }

    #[test]
    fn other_addresses_are_refused() {
        for other in [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/127.0.0.1/udp/1/quic-v1",
            "/ip4/127.0.0.1/udp/1/webrtc-direct/p2p-circuit",
            "/dns4/a.example/udp/1/webrtc-direct",
        ] {
            assert_eq!(parse_listen(&address(other)), None, "{other}");
            assert_eq!(parse_dial(&address(other)), None, "{other}");
        }
        let any = SocketAddr::from(([0, 0, 0, 0], 1));
        let fingerprint = Some(Fingerprint::of(b""));
        assert_eq!(parse_dial(&multiaddr(any, fingerprint)), None);
    }
}
