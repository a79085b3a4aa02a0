//! Addresses of neighbours, peers with a direct connection, and what an address says of a connection's path. As in
//! docs/protocols.md, "Connections". Pure.

use libp2p::{Multiaddr, PeerId, core::ConnectedPoint, multiaddr::Protocol};

use super::connections::Path;

/// The address under which a neighbour is dialed and reserves, whatever connects it: `/webrtc/p2p/X`.
pub(crate) fn neighbour_address(peer: PeerId) -> Multiaddr {
    Multiaddr::empty()
        .with(Protocol::WebRTC)
        .with(Protocol::P2p(peer))
}

/// The path of a connection. One that was dialed at `…/p2p-circuit/webrtc/p2p/X` is direct: the circuit only carried its
/// signaling.
pub(crate) fn path_of(endpoint: &ConnectedPoint) -> Path {
    if endpoint.is_relayed() && !is_webrtc(endpoint.get_remote_address()) {
        Path::Relayed
    } else {
        Path::Direct
    }
}

/// Whether an address ends in `/webrtc/p2p/X`.
fn is_webrtc(address: &Multiaddr) -> bool {
    let mut address = address.clone();
    matches!(address.pop(), Some(Protocol::P2p(_)))
        && matches!(address.pop(), Some(Protocol::WebRTC))
}

#[cfg(test)]
mod tests {
    use libp2p::core::{Endpoint, transport::PortUse};

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
    fn circuits_are_told_from_direct_connections() {
        let circuit = format!("{RELAY}/p2p-circuit/p2p/{PEER}");
        assert_eq!(path_of(&dialed(&circuit)), Path::Relayed);
        for direct in [
            RELAY.to_owned(),
            format!("{RELAY}/p2p-circuit/webrtc/p2p/{PEER}"),
            format!("/ip4/192.0.2.1/udp/1/webrtc-direct/p2p/{PEER}"),
        ] {
            assert_eq!(path_of(&dialed(&direct)), Path::Direct, "{direct}");
        }
        let inbound = |local: &str, remote: &str| ConnectedPoint::Listener {
            local_addr: address(local),
            send_back_addr: address(remote),
        };
        let webrtc = inbound("/webrtc", &format!("/webrtc/p2p/{PEER}"));
        assert_eq!(path_of(&webrtc), Path::Direct);
        let circuit = inbound(&format!("{RELAY}/p2p-circuit"), &format!("/p2p/{PEER}"));
        assert_eq!(path_of(&circuit), Path::Relayed);
    }

    #[test]
    fn neighbour_address_names_the_peer_only() {
        let peer: PeerId = PEER.parse().expect("a peer ID");
        let expected = format!("/webrtc/p2p/{PEER}");
        assert_eq!(neighbour_address(peer).to_string(), expected);
    }
}
