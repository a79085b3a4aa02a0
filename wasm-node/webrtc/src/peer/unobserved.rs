//! For identify: connections made here show no address that could be told as observed. Never touches what else a
//! behaviour does.

use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll};

use libp2p_core::transport::PortUse;
use libp2p_core::{Endpoint, Multiaddr};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};

use super::address::PeerAddress;

/// A behaviour to which direct connections between browsers come from nowhere.
///
/// libp2p's identify tells each peer the address that its connection is seen to come from. `/webrtc/p2p/X` is a name
/// and no place, and js-libp2p (`@libp2p/identify` 4.1) gives the whole exchange up over an observed address that does
/// not begin with a host. So it is told an empty one, which everybody takes for none: wrap identify in this.
#[derive(Debug)]
pub struct Unobserved<B>(B);

impl<B> Unobserved<B> {
    /// Wraps `behaviour`.
    pub fn new(behaviour: B) -> Self {
        Self(behaviour)
    }
}

impl<B> Deref for Unobserved<B> {
    type Target = B;

    fn deref(&self) -> &B {
        &self.0
    }
}

impl<B> DerefMut for Unobserved<B> {
    fn deref_mut(&mut self) -> &mut B {
        &mut self.0
    }
}

/// What a connection's far end may be told of where it is.
fn observed(address: &Multiaddr) -> Multiaddr {
    match PeerAddress::parse(address) {
        Some(_) => Multiaddr::empty(),
        None => address.clone(),
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Unobserved<B> {
    type ConnectionHandler = B::ConnectionHandler;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.0
            .handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.0
            .handle_established_inbound_connection(connection, peer, local, &observed(remote))
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.0
            .handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.0.handle_established_outbound_connection(
            connection,
            peer,
            &observed(address),
            role,
            port,
        )
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.0.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.0.on_connection_handler_event(peer, connection, event);
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.0.poll(context)
    }
}
