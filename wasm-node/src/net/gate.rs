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

#[cfg(test)]
mod tests {
    use libp2p::{
        core::ConnectedPoint,
        swarm::{
            DialError, ListenError,
            behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure, ListenFailure},
        },
    };
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::config;

    fn call(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    fn endpoint() -> ConnectedPoint {
        ConnectedPoint::Listener {
            local_addr: Multiaddr::empty(),
            send_back_addr: Multiaddr::empty(),
        }
    }

    fn opened(gate: &mut Gate, peer_id: PeerId, connection_id: ConnectionId) {
        gate.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id,
            connection_id,
            endpoint: &endpoint(),
            failed_addresses: &[],
            other_established: 0,
        }));
    }

    fn arrives(gate: &mut Gate, peer: PeerId, number: usize) -> Result<(), ConnectionDenied> {
        let nowhere = Multiaddr::empty();
        gate.handle_pending_inbound_connection(call(number), &nowhere, &nowhere)?;
        gate.handle_established_inbound_connection(call(number), peer, &nowhere, &nowhere)?;
        opened(gate, peer, call(number));
        Ok(())
    }

    #[test]
    fn places_are_taken_and_freed_as_the_swarm_tells() {
        let mut gate = Gate::new();
        let guests: Vec<PeerId> = (0..config::MAX_GUESTS).map(|_| PeerId::random()).collect();
        for (number, guest) in guests.iter().enumerate() {
            arrives(&mut gate, *guest, number).expect("a guest's place");
        }
        assert!(arrives(&mut gate, PeerId::random(), 100).is_err());
        let chosen = PeerId::random();
        gate.will_call(call(101), Place::Chosen);
        gate.handle_pending_outbound_connection(call(101), Some(chosen), &[], Endpoint::Dialer)
            .expect("few calls");
        gate.handle_established_outbound_connection(
            call(101),
            chosen,
            &Multiaddr::empty(),
            Endpoint::Dialer,
            PortUse::New,
        )
        .expect("a place that was kept");
        opened(&mut gate, chosen, call(101));
        assert!(gate.is_chosen(&chosen) && !gate.is_chosen(&guests[0]));
        gate.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id: guests[0],
            connection_id: call(0),
            endpoint: &endpoint(),
            cause: None,
            remaining_established: 0,
        }));
        assert!(arrives(&mut gate, PeerId::random(), 102).is_ok());
    }

    #[test]
    fn calls_that_fail_leave_room_for_others() {
        let mut gate = Gate::new();
        let nowhere = Multiaddr::empty();
        for number in 0..3 * config::MAX_PENDING_CONNECTIONS {
            gate.handle_pending_inbound_connection(call(number), &nowhere, &nowhere)
                .expect("nobody else calls");
            gate.on_swarm_event(FromSwarm::ListenFailure(ListenFailure {
                local_addr: &nowhere,
                send_back_addr: &nowhere,
                error: &ListenError::Aborted,
                connection_id: call(number),
                peer_id: None,
            }));
            let ours = call(1_000 + number);
            gate.handle_pending_outbound_connection(ours, None, &[], Endpoint::Dialer)
                .expect("no other call");
            gate.on_swarm_event(FromSwarm::DialFailure(DialFailure {
                peer_id: None,
                error: &DialError::Aborted,
                connection_id: ours,
            }));
        }
    }
}
