//! What the peer asks of the transport that connects it to other peers directly, over a circuit that both already have:
//! WebRTC in a browser. A platform without one uses libp2p's [`dummy::Behaviour`].

use std::{fmt::Debug, io};

use libp2p::{PeerId, identify, swarm::NetworkBehaviour, swarm::dummy};

use super::ice::IceServer;

/// A direct transport's behaviour, which makes direct connections beside circuits.
pub trait DirectTransport: NetworkBehaviour<ToSwarm: Debug> {
    /// Identify, changed in whatever way connections of this transport need.
    type Identify: NetworkBehaviour<ToSwarm = identify::Event>;

    /// Wraps the behaviour of identify.
    fn identify(behaviour: identify::Behaviour) -> Self::Identify;

    /// Sets the STUN and TURN servers.
    fn set_ice_servers(&mut self, servers: &[IceServer]);

    /// The computer is back after sleep, or online again: tries soon what has failed before.
    fn retry_soon(&mut self);

    /// The peer whose direct connection has fallen silent, if that is what the event says. It may be replaced over a
    /// new circuit.
    fn silent_peer(event: &Self::ToSwarm) -> Option<PeerId>;

    /// Whether a connection was closed with this error because its peer sent more than was read.
    fn is_flood(error: &io::Error) -> bool;
}

impl DirectTransport for dummy::Behaviour {
    type Identify = identify::Behaviour;

    fn identify(behaviour: identify::Behaviour) -> identify::Behaviour {
        behaviour
    }

    fn set_ice_servers(&mut self, _: &[IceServer]) {}

    fn retry_soon(&mut self) {}

    fn silent_peer(event: &Self::ToSwarm) -> Option<PeerId> {
        match *event {}
    }

    fn is_flood(_: &io::Error) -> bool {
        false
    }
}
