//! Lets connections in as far as there are `places`. Decides nothing by itself, and closes nothing that stands.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{ConnectedPoint, Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm, dummy::ConnectionHandler,
    },
};

use libp2p_webrtc_browser::peer::address::is_relayed;

use super::{
    Path,
    places::{Place, Places},
};

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

    fn admit(
        &self,
        peer: &PeerId,
        call: ConnectionId,
        endpoint: &ConnectedPoint,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let admitted = self.places.admit(peer, call, path_of(endpoint));
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
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let endpoint = ConnectedPoint::Listener {
            local_addr: local.clone(),
            send_back_addr: remote.clone(),
        };
        self.admit(&peer, call, &endpoint)
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
        address: &Multiaddr,
        role_override: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let endpoint = ConnectedPoint::Dialer {
            address: address.clone(),
            role_override,
            port_use,
        };
        self.admit(&peer, call, &endpoint)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "nothing else that a swarm tells takes or frees a place"
    )]
    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(opened) => {
                let path = path_of(opened.endpoint);
                self.places
                    .opened(opened.peer_id, opened.connection_id, path);
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.places
                    .closed(&closed.peer_id, path_of(closed.endpoint));
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

/// How a connection reaches its peer.
pub(crate) fn path_of(endpoint: &ConnectedPoint) -> Path {
    if is_relayed(endpoint) {
        Path::Relayed
    } else {
        Path::Direct
    }
}

#[cfg(test)]
mod tests {
    use libp2p::swarm::{
        DialError, ListenError,
        behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure, ListenFailure},
    };
    use libp2p_webrtc_browser::peer::address::direct;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::config;

    fn call(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    fn endpoint(local: &Multiaddr) -> ConnectedPoint {
        ConnectedPoint::Listener {
            local_addr: local.clone(),
            send_back_addr: Multiaddr::empty(),
        }
    }

    fn opened(gate: &mut Gate, peer_id: PeerId, connection_id: ConnectionId, local: &Multiaddr) {
        gate.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id,
            connection_id,
            endpoint: &endpoint(local),
            failed_addresses: &[],
            other_established: 0,
        }));
    }

    fn arrives(
        gate: &mut Gate,
        peer: PeerId,
        number: usize,
        local: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let remote = Multiaddr::empty();
        gate.handle_pending_inbound_connection(call(number), local, &remote)?;
        gate.handle_established_inbound_connection(call(number), peer, local, &remote)?;
        opened(gate, peer, call(number), local);
        Ok(())
    }

    fn leaves(gate: &mut Gate, peer_id: PeerId, number: usize, local: &Multiaddr) {
        gate.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id,
            connection_id: call(number),
            endpoint: &endpoint(local),
            cause: None,
            remaining_established: 0,
        }));
    }

    #[test]
    fn places_are_taken_and_freed_as_the_swarm_tells() {
        let (mut gate, here) = (Gate::new(), Multiaddr::empty());
        let guests: Vec<PeerId> = (0..config::MAX_GUESTS).map(|_| PeerId::random()).collect();
        for (number, guest) in guests.iter().enumerate() {
            arrives(&mut gate, *guest, number, &here).expect("a guest's place");
        }
        assert!(arrives(&mut gate, PeerId::random(), 100, &here).is_err());
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
        opened(&mut gate, chosen, call(101), &here);
        assert!(gate.is_chosen(&chosen) && !gate.is_chosen(&guests[0]));
        leaves(&mut gate, guests[0], 0, &here);
        assert!(arrives(&mut gate, PeerId::random(), 102, &here).is_ok());
    }

    #[test]
    fn circuits_are_told_from_direct_connections() {
        let (mut gate, peer) = (Gate::new(), PeerId::random());
        let relay = format!("/ip4/192.0.2.1/tcp/8081/ws/p2p/{peer}/p2p-circuit");
        let relay: Multiaddr = relay.parse().expect("an address");
        let most = usize::try_from(config::MAX_CIRCUITS_A_PEER).expect("small");
        for number in 0..most {
            arrives(&mut gate, peer, number, &relay).expect("few circuits");
        }
        assert!(arrives(&mut gate, peer, 10, &relay).is_err());
        arrives(&mut gate, peer, 11, &direct(peer)).expect("a direct one");
        leaves(&mut gate, peer, 11, &direct(peer));
        assert!(arrives(&mut gate, peer, 12, &relay).is_err());
        leaves(&mut gate, peer, 0, &relay);
        arrives(&mut gate, peer, 13, &relay).expect("one less");
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
