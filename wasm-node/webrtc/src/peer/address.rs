//! Parses and builds the addresses of browser-to-browser connections, which are signalled over a relayed connection.
//! Pure.

use libp2p_core::multiaddr::Protocol;
use libp2p_core::{ConnectedPoint, Multiaddr};
use libp2p_identity::PeerId;

/// A peer, and the circuit over which it can be signalled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// The peer to connect to.
    pub peer: PeerId,
    /// The circuit to the peer: `<relay>/p2p-circuit/p2p/X` for the address `<relay>/p2p-circuit/webrtc/p2p/X`. Without
    /// one, dialling requires an existing relayed connection.
    pub circuit: Option<Multiaddr>,
}

impl PeerAddress {
    /// Parses `/webrtc/p2p/X` and `<relay>/p2p-circuit/webrtc/p2p/X`. Returns `None` for any other address.
    #[must_use]
    pub fn parse(address: &Multiaddr) -> Option<Self> {
        let mut circuit = address.clone();
        let Some(Protocol::P2p(peer)) = circuit.pop() else {
            return None;
        };
        let Some(Protocol::WebRTC) = circuit.pop() else {
            return None;
        };
        if circuit.is_empty() {
            return Some(Self {
                peer,
                circuit: None,
            });
        }
        let relayed = matches!(circuit.iter().last(), Some(Protocol::P2pCircuit));
        relayed.then(|| Self {
            peer,
            circuit: Some(circuit.with(Protocol::P2p(peer))),
        })
    }
}

/// The address of a direct connection to `peer`: `/webrtc/p2p/X`.
#[must_use]
pub fn direct(peer: PeerId) -> Multiaddr {
    Multiaddr::empty()
        .with(Protocol::WebRTC)
        .with(Protocol::P2p(peer))
}

/// The address to advertise for a circuit that ends at this peer: `<relay>/p2p-circuit/webrtc/p2p/us` for
/// `<relay>/p2p-circuit/p2p/us`. Returns `None` for any other address.
#[must_use]
pub fn advertised(circuit: &Multiaddr) -> Option<Multiaddr> {
    let mut relay = circuit.clone();
    let Some(us @ Protocol::P2p(_)) = relay.pop() else {
        return None;
    };
    let relayed = matches!(relay.iter().last(), Some(Protocol::P2pCircuit));
    relayed.then(|| relay.with(Protocol::WebRTC).with(us))
}

/// Whether a connection was made by this crate. A connection that was dialled at `…/p2p-circuit/webrtc/…` is direct
/// although its address looks relayed.
#[must_use]
pub fn is_direct(endpoint: &ConnectedPoint) -> bool {
    PeerAddress::parse(endpoint.get_remote_address()).is_some()
}

/// Whether a connection goes through a relay.
#[must_use]
pub fn is_relayed(endpoint: &ConnectedPoint) -> bool {
    endpoint.is_relayed() && !is_direct(endpoint)
}

#[cfg(test)]
mod tests {
    use libp2p_core::Endpoint;
    use libp2p_core::transport::PortUse;

    use super::*;

    const RELAY: &str =
        "/ip4/192.0.2.1/tcp/8081/ws/p2p/12D3KooWNpDk9w6WrEEcdsEH1y47W71S36yFjw4sd3j7omzgCSMS";
    const PEER: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("valid multiaddr")
    }

    fn dialed(text: &str) -> ConnectedPoint {
        ConnectedPoint::Dialer {
            address: address(text),
            role_override: Endpoint::Dialer,
            port_use: PortUse::Reuse,
        }
    }

    #[test]
    fn short_and_public_addresses_are_parsed() {
        let peer: PeerId = PEER.parse().expect("valid peer id");
        let short = PeerAddress::parse(&direct(peer));
        let circuit = None;
        assert_eq!(short, Some(PeerAddress { peer, circuit }));
        let public = address(&format!("{RELAY}/p2p-circuit/webrtc/p2p/{PEER}"));
        let circuit = Some(address(&format!("{RELAY}/p2p-circuit/p2p/{PEER}")));
        let expected = PeerAddress { peer, circuit };
        assert_eq!(PeerAddress::parse(&public), Some(expected));
    }

    #[test]
    fn other_addresses_are_ignored() {
        for other in [
            "/webrtc".to_owned(),
            format!("/p2p/{PEER}"),
            format!("{RELAY}/p2p-circuit/p2p/{PEER}"),
            format!("{RELAY}/webrtc/p2p/{PEER}"),
            format!("{RELAY}/p2p-circuit/webrtc"),
            format!("/ip4/192.0.2.1/udp/1/webrtc-direct/p2p/{PEER}"),
        ] {
            assert_eq!(PeerAddress::parse(&address(&other)), None, "{other}");
        }
    }

    #[test]
    fn only_circuits_are_advertised() {
        let circuit = address(&format!("{RELAY}/p2p-circuit/p2p/{PEER}"));
        let public = address(&format!("{RELAY}/p2p-circuit/webrtc/p2p/{PEER}"));
        assert_eq!(advertised(&circuit), Some(public.clone()));
        for other in [address(RELAY), public, Multiaddr::empty()] {
            assert_eq!(advertised(&other), None, "{other}");
        }
    }

    #[test]
    fn direct_and_relayed_are_told_apart() {
        let public = dialed(&format!("{RELAY}/p2p-circuit/webrtc/p2p/{PEER}"));
        assert!(is_direct(&public) && !is_relayed(&public));
        let circuit = dialed(&format!("{RELAY}/p2p-circuit/p2p/{PEER}"));
        assert!(!is_direct(&circuit) && is_relayed(&circuit));
        let relay = dialed(RELAY);
        assert!(!is_direct(&relay) && !is_relayed(&relay));
        let incoming = ConnectedPoint::Listener {
            local_addr: address("/webrtc"),
            send_back_addr: address(&format!("/webrtc/p2p/{PEER}")),
        };
        assert!(is_direct(&incoming) && !is_relayed(&incoming));
    }
}
