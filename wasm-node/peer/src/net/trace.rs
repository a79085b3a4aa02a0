//! Traces what libp2p reports, for developers. Like all traces, compiled out of a release.

use libp2p::{relay::client::Event as Relay, swarm::SwarmEvent};
use tracing::debug;

use super::{behaviour::ProtocolsEvent, direct_transport::DirectTransport, paths::path_of};

/// The target of network events.
const NETWORK: &str = "heartchain::net";

/// Traces an event of the swarm, if it says how well a tab is connected.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "libp2p traces the other events itself"
)]
pub(crate) fn swarm_event<D: DirectTransport>(event: &SwarmEvent<ProtocolsEvent<D>>) {
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
fn protocol_event<D: DirectTransport>(event: &ProtocolsEvent<D>) {
    match event {
        ProtocolsEvent::Relay(Relay::ReservationReqAccepted { relay_peer_id, .. }) => {
            debug!(target: NETWORK, relay = %relay_peer_id, "reserved");
        }
        ProtocolsEvent::Direct(event) => debug!(target: NETWORK, ?event, "direct transport"),
        _ => {}
    }
}
