//! Lets connections in as far as there are `places`. Decides nothing by itself, and closes nothing that stands.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm, dummy::ConnectionHandler,
    },
};

use super::places::{Place, Places};

/// The places, as a protocol of the swarm.
#[derive(Debug)]
pub(crate) struct Gate {
    places: Places<PeerId, ConnectionId>,
}

impl Gate {
    /// Nobody is in.
    pub(crate) const fn new() -> Self {
        Self {
            places: Places::new(),
        }
    }

    /// Says before a call what place it is for. Without that it is a guest's.
    pub(crate) fn will_call(&mut self, call: ConnectionId, place: Place) {
        self.places.will_call(call, place);
    }

    /// Whether a peer is connected by this tab's choice.
    pub(crate) fn is_chosen(&self, peer: &PeerId) -> bool {
        self.places.is_chosen(peer)
    }

    /// How many peers are.
    pub(crate) fn chosen(&self) -> usize {
        self.places.chosen()
    }

    fn admit(&self, peer: &PeerId, call: ConnectionId) -> Result<THandler<Self>, ConnectionDenied> {
        let admitted = self.places.admit(peer, call);
        admitted
            .map(|()| ConnectionHandler)
            .map_err(ConnectionDenied::new)
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        call: ConnectionId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.places.arriving(call).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        call: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(&peer, call)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        call: ConnectionId,
        _: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let begun = self.places.calling(call);
        begun.map(|()| Vec::new()).map_err(ConnectionDenied::new)
    }

    fn handle_established_outbound_connection(
        &mut self,
        call: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(&peer, call)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "nothing else that a swarm tells takes or frees a place"
    )]
    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(opened) => {
                self.places.opened(opened.peer_id, opened.connection_id);
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.places
                    .closed(&closed.peer_id, closed.remaining_established);
            }
            FromSwarm::DialFailure(failure) => self.places.ended(failure.connection_id),
            FromSwarm::ListenFailure(failure) => self.places.ended(failure.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}
