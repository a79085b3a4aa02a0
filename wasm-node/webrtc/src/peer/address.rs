//! Addresses of peers that are reached by WebRTC after signalling over a relayed connection. Pure.

use libp2p_core::multiaddr::Protocol;
use libp2p_core::{ConnectedPoint, Multiaddr};
use libp2p_identity::PeerId;

/// A peer, and where it can be signalled to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// Who.
    pub peer: PeerId,
    /// The circuit to it: `<relay>/p2p-circuit/p2p/X` of `<relay>/p2p-circuit/webrtc/p2p/X`. Without one, a relayed
    /// connection has to be there.
    pub circuit: Option<Multiaddr>,
}

impl PeerAddress {
    /// Reads `/webrtc/p2p/X` and `<relay>/p2p-circuit/webrtc/p2p/X`; other addresses are other transports' business.
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

/// How a connection made by this crate is named: `/webrtc/p2p/X`.
#[must_use]
pub fn direct(peer: PeerId) -> Multiaddr {
    Multiaddr::empty()
        .with(Protocol::WebRTC)
        .with(Protocol::P2p(peer))
}

/// What to tell others of a circuit that ends here: `<relay>/p2p-circuit/webrtc/p2p/us` of
/// `<relay>/p2p-circuit/p2p/us`.
#[must_use]
pub fn advertised(circuit: &Multiaddr) -> Option<Multiaddr> {
    let mut relay = circuit.clone();
    let Some(us @ Protocol::P2p(_)) = relay.pop() else {
        return None;
    };
    let relayed = matches!(relay.iter().last(), Some(Protocol::P2pCircuit));
    relayed.then(|| relay.with(Protocol::WebRTC).with(us))
}

/// Whether a connection is made by this crate. One that was dialled at `…/p2p-circuit/webrtc/…` has an address that
/// looks relayed, and is direct.
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
    fn both_forms_name_the_peer_and_the_public_one_its_circuit() {
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
    fn other_addresses_are_left_to_others() {
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
    fn a_circuit_is_advertised_for_webrtc_and_nothing_else_is() {
        let circuit = address(&format!("{RELAY}/p2p-circuit/p2p/{PEER}"));
        let public = address(&format!("{RELAY}/p2p-circuit/webrtc/p2p/{PEER}"));
        assert_eq!(advertised(&circuit), Some(public.clone()));
        for other in [address(RELAY), public, Multiaddr::empty()] {
            assert_eq!(advertised(&other), None, "{other}");
        }
    }

    #[test]
    fn a_connection_dialled_at_the_public_form_is_not_relayed() {
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
