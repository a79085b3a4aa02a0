//! Keeps identify from reporting an observed address on direct browser-to-browser connections. Changes nothing else
//! about the wrapped behaviour.
//!
//! - **Fault:** identify sends each peer the address from which it observes the connection. For a connection of this
//!   crate that is `/webrtc/p2p/X`, which identifies a peer but contains no host. js-libp2p aborts the whole identify
//!   exchange on an observed address that does not begin with a host: `addObservedAddr` throws, and it never learns the
//!   peer's protocols. js-libp2p itself sends no observed address for such a connection.
//! - **Affected:** `libp2p-identify` 0.48.0, which always sends an observed address, together with `@libp2p/identify`
//!   4.1, which cannot handle this one. No upstream issue is recorded here.
//! - **Remove when** js-libp2p ignores an observed address without a host, or `libp2p-identify` stops sending one.

use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll};

use libp2p_core::transport::PortUse;
use libp2p_core::{Endpoint, Multiaddr};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};

use crate::peer::address::PeerAddress;

/// Wraps a behaviour, normally identify, and replaces the remote address of every direct connection between browsers by
/// an empty one. Implementations treat an empty observed address like a missing one.
#[derive(Debug)]
pub struct HideObservedAddr<B>(B);

impl<B> HideObservedAddr<B> {
    /// Wraps a behaviour, normally `identify::Behaviour`.
    pub fn new(behaviour: B) -> Self {
        Self(behaviour)
    }
}

impl<B> Deref for HideObservedAddr<B> {
    type Target = B;

    fn deref(&self) -> &B {
        &self.0
    }
}

impl<B> DerefMut for HideObservedAddr<B> {
    fn deref_mut(&mut self) -> &mut B {
        &mut self.0
    }
}

/// Returns the remote address as the wrapped behaviour sees it.
fn visible_address(address: &Multiaddr) -> Multiaddr {
    match PeerAddress::parse(address) {
        Some(_) => Multiaddr::empty(),
        None => address.clone(),
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for HideObservedAddr<B> {
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
        self.0.handle_established_inbound_connection(
            connection,
            peer,
            local,
            &visible_address(remote),
        )
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
            &visible_address(address),
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
