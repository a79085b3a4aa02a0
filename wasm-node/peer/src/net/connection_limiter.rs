//! A network behaviour that refuses connections beyond the limits of `peer_slots`, and closes those of a peer whose slot
//! another one gets. It holds no policy of its own.

use std::{
    collections::VecDeque,
    convert::Infallible,
    task::{Context, Poll},
};

use heartchain_chain::time::MonotonicMillis;
use libp2p::{
    Multiaddr, PeerId,
    core::{ConnectedPoint, Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, dummy::ConnectionHandler,
    },
};

use super::{
    paths::path_of,
    peer_slots::{PeerSlots, SlotKind},
};
use crate::clock;

/// [`PeerSlots`] as a network behaviour.
#[derive(Debug)]
pub(crate) struct ConnectionLimiter {
    slots: PeerSlots<PeerId, ConnectionId>,
    /// Peers whose slots others got. At most one for each connection that was established since the last poll.
    evicted: VecDeque<PeerId>,
}

impl ConnectionLimiter {
    /// A limiter with all slots free. `requires_proof` says whether peers have to prove that they are members.
    pub(crate) const fn new(requires_proof: bool) -> Self {
        Self {
            slots: PeerSlots::new(requires_proof),
            evicted: VecDeque::new(),
        }
    }

    /// A peer proved that it is a member.
    pub(crate) fn proved(&mut self, peer: &PeerId) {
        self.slots.proved(peer);
    }

    /// Whether a connected peer has proved that it is a member, or does not have to.
    pub(crate) fn is_proved(&self, peer: &PeerId) -> bool {
        self.slots.is_proved(peer)
    }

    /// How many of the peers have proved that they are members. `None` if they do not have to.
    pub(crate) fn proved_members(&self) -> Option<usize> {
        self.slots.proved_members()
    }

    /// Announces a dial and the kind of slot it is for. A dial that is not announced takes an inbound slot.
    pub(crate) fn expect_dial(&mut self, id: ConnectionId, kind: SlotKind) {
        self.slots.expect_dial(id, kind);
    }

    /// Whether a connected peer has an outbound slot.
    pub(crate) fn is_outbound(&self, peer: &PeerId) -> bool {
        self.slots.is_outbound(peer)
    }

    /// How many peers have an outbound slot, without strangers that have had the time to prove that they are members.
    pub(crate) fn outbound(&self, now: MonotonicMillis) -> usize {
        self.slots.outbound(now)
    }

    fn admit(
        &self,
        peer: &PeerId,
        id: ConnectionId,
        endpoint: &ConnectedPoint,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let admitted = self.slots.admit(peer, id, path_of(endpoint));
        admitted
            .map(|()| ConnectionHandler)
            .map_err(ConnectionDenied::new)
    }
}

impl NetworkBehaviour for ConnectionLimiter {
    type ConnectionHandler = ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.slots.begin_inbound(id).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let endpoint = ConnectedPoint::Listener {
            local_addr: local.clone(),
            send_back_addr: remote.clone(),
        };
        self.admit(&peer, id, &endpoint)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        _: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let begun = self.slots.begin_dial(id);
        begun.map(|()| Vec::new()).map_err(ConnectionDenied::new)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
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
        self.admit(&peer, id, &endpoint)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "no other swarm event takes or frees a slot"
    )]
    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(opened) => {
                let path = path_of(opened.endpoint);
                let (peer, id) = (opened.peer_id, opened.connection_id);
                let evicted = self.slots.opened(peer, id, path, clock::monotonic());
                self.evicted.extend(evicted);
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.slots.closed(&closed.peer_id, path_of(closed.endpoint));
            }
            FromSwarm::DialFailure(failure) => self.slots.end_pending(failure.connection_id),
            FromSwarm::ListenFailure(failure) => self.slots.end_pending(failure.connection_id),
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
        self.evicted.pop_front().map_or(Poll::Pending, |peer_id| {
            Poll::Ready(ToSwarm::CloseConnection {
                peer_id,
                connection: CloseConnection::All,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use libp2p::swarm::{
        DialError, ListenError,
        behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure, ListenFailure},
    };

    use super::*;
    use crate::net::paths::neighbour_address;
    use crate::net::peer_slots::{MAX_CIRCUITS_PER_PEER, MAX_INBOUND_PEERS, MAX_PENDING_INBOUND};

    fn connection(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    fn endpoint(local: &Multiaddr) -> ConnectedPoint {
        ConnectedPoint::Listener {
            local_addr: local.clone(),
            send_back_addr: Multiaddr::empty(),
        }
    }

    fn opened(
        limiter: &mut ConnectionLimiter,
        peer_id: PeerId,
        connection_id: ConnectionId,
        local: &Multiaddr,
    ) {
        limiter.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id,
            connection_id,
            endpoint: &endpoint(local),
            failed_addresses: &[],
            other_established: 0,
        }));
    }

    fn connects(
        limiter: &mut ConnectionLimiter,
        peer: PeerId,
        number: usize,
        local: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let remote = Multiaddr::empty();
        limiter.handle_pending_inbound_connection(connection(number), local, &remote)?;
        limiter.handle_established_inbound_connection(connection(number), peer, local, &remote)?;
        opened(limiter, peer, connection(number), local);
        Ok(())
    }

    fn disconnects(
        limiter: &mut ConnectionLimiter,
        peer_id: PeerId,
        number: usize,
        local: &Multiaddr,
    ) {
        limiter.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id,
            connection_id: connection(number),
            endpoint: &endpoint(local),
            cause: None,
            remaining_established: 0,
        }));
    }

    #[test]
    fn swarm_events_take_and_free_slots() {
        let (mut limiter, here) = (ConnectionLimiter::new(false), Multiaddr::empty());
        let inbound: Vec<PeerId> = (0..MAX_INBOUND_PEERS).map(|_| PeerId::random()).collect();
        for (number, peer) in inbound.iter().enumerate() {
            connects(&mut limiter, *peer, number, &here).expect("an inbound slot");
        }
        assert!(connects(&mut limiter, PeerId::random(), 100, &here).is_err());
        let outbound = PeerId::random();
        limiter.expect_dial(connection(101), SlotKind::Outbound);
        limiter
            .handle_pending_outbound_connection(
                connection(101),
                Some(outbound),
                &[],
                Endpoint::Dialer,
            )
            .expect("few dials");
        limiter
            .handle_established_outbound_connection(
                connection(101),
                outbound,
                &Multiaddr::empty(),
                Endpoint::Dialer,
                PortUse::New,
            )
            .expect("a reserved outbound slot");
        opened(&mut limiter, outbound, connection(101), &here);
        assert!(limiter.is_outbound(&outbound) && !limiter.is_outbound(&inbound[0]));
        disconnects(&mut limiter, inbound[0], 0, &here);
        assert!(connects(&mut limiter, PeerId::random(), 102, &here).is_ok());
    }

    #[test]
    fn circuits_have_a_limit_of_their_own() {
        let (mut limiter, peer) = (ConnectionLimiter::new(false), PeerId::random());
        let relay = format!("/ip4/192.0.2.1/tcp/8081/ws/p2p/{peer}/p2p-circuit");
        let relay: Multiaddr = relay.parse().expect("an address");
        let max = usize::try_from(MAX_CIRCUITS_PER_PEER).expect("small");
        for number in 0..max {
            connects(&mut limiter, peer, number, &relay).expect("few circuits");
        }
        assert!(connects(&mut limiter, peer, 10, &relay).is_err());
        connects(&mut limiter, peer, 11, &neighbour_address(peer)).expect("a direct connection");
        disconnects(&mut limiter, peer, 11, &neighbour_address(peer));
        assert!(connects(&mut limiter, peer, 12, &relay).is_err());
        disconnects(&mut limiter, peer, 0, &relay);
        connects(&mut limiter, peer, 13, &relay).expect("one circuit fewer");
    }

    #[test]
    fn failed_connections_free_their_slots() {
        let mut limiter = ConnectionLimiter::new(false);
        let nowhere = Multiaddr::empty();
        for number in 0..3 * MAX_PENDING_INBOUND {
            limiter
                .handle_pending_inbound_connection(connection(number), &nowhere, &nowhere)
                .expect("no other inbound connection");
            limiter.on_swarm_event(FromSwarm::ListenFailure(ListenFailure {
                local_addr: &nowhere,
                send_back_addr: &nowhere,
                error: &ListenError::Aborted,
                connection_id: connection(number),
                peer_id: None,
            }));
            let dial = connection(1_000 + number);
            limiter
                .handle_pending_outbound_connection(dial, None, &[], Endpoint::Dialer)
                .expect("no other dial");
            limiter.on_swarm_event(FromSwarm::DialFailure(DialFailure {
                peer_id: None,
                error: &DialError::Aborted,
                connection_id: dial,
            }));
        }
    }
}
