//! Traces what libp2p reports, for developers. Like all traces, compiled out of a release.

use libp2p::{relay::client::Event as Relay, swarm::SwarmEvent};
use libp2p_webrtc_browser::peer::Event as Webrtc;
use tracing::debug;

use super::{behaviour::ProtocolsEvent, connection_limiter::path_of};

/// The target of network events.
const NETWORK: &str = "heartchain::net";

/// Traces an event of the swarm, if it says how well a tab is connected.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "libp2p traces the other events itself"
)]
pub(crate) fn swarm_event(event: &SwarmEvent<ProtocolsEvent>) {
    match event {
        SwarmEvent::ConnectionEstablished {
            peer_id: peer,
            connection_id: id,
            endpoint,
            ..
        } => {
            let (path, dialed) = (path_of(endpoint), endpoint.is_dialer());
            debug!(target: NETWORK, %peer, %id, ?path, dialed, "connected");
        }
        SwarmEvent::ConnectionClosed {
            peer_id: peer,
            connection_id: id,
            cause,
            ..
        } => debug!(target: NETWORK, %peer, %id, ?cause, "connection closed"),
        SwarmEvent::OutgoingConnectionError {
            peer_id: peer,
            connection_id: id,
            error,
        } => debug!(target: NETWORK, ?peer, %id, %error, "dial failed"),
        SwarmEvent::IncomingConnectionError {
            connection_id: id,
            error,
            ..
        } => debug!(target: NETWORK, %id, %error, "connection refused"),
        SwarmEvent::ListenerClosed { addresses, .. } => {
            debug!(target: NETWORK, ?addresses, "reservation ended");
        }
        SwarmEvent::Behaviour(event) => protocol_event(event),
        _ => {}
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "libp2p traces the other events itself"
)]
fn protocol_event(event: &ProtocolsEvent) {
    match event {
        ProtocolsEvent::Relay(Relay::ReservationReqAccepted { relay_peer_id, .. }) => {
            debug!(target: NETWORK, relay = %relay_peer_id, "reserved");
        }
        ProtocolsEvent::Webrtc(Webrtc::Doubtful { peer }) => {
            debug!(target: NETWORK, %peer, "direct connection is silent");
        }
        ProtocolsEvent::Webrtc(Webrtc::Failed { peer, error, again }) => {
            debug!(target: NETWORK, %peer, %error, again, "no direct connection");
        }
        _ => {}
    }
}
