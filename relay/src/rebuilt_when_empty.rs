//! A [`NetworkBehaviour`] that is built again after a crowd has left. The tables of libp2p's behaviours never shrink, so that a
//! relay would keep those of its largest crowd forever.
//!
//! It is exchanged only while there is no connection at all and it has nothing left to say, because it cannot hand over what it
//! knows of connections. It does not know what the behaviour limits either: limits that must outlast a crowd are elsewhere.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{
        Endpoint,
        transport::{ListenerId, PortUse},
    },
    swarm::{
        ConnectionDenied, ConnectionId, ExternalAddresses, FromSwarm, ListenAddresses,
        NetworkBehaviour, NewListenAddr, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        behaviour::ExternalAddrConfirmed,
    },
};

use crate::table_memory::max_capacity;

/// A behaviour, and how another one is built.
pub(crate) struct RebuiltWhenEmpty<B> {
    behaviour: B,
    build: Box<dyn Fn() -> B + Send>,
    connections: usize,
    /// The most connections since it was built.
    most: usize,
    listen_addresses: ListenAddresses,
    external_addresses: ExternalAddresses,
}

impl<B: NetworkBehaviour> RebuiltWhenEmpty<B> {
    pub(crate) fn new(build: impl Fn() -> B + Send + 'static) -> Self {
        Self {
            behaviour: build(),
            build: Box::new(build),
            connections: 0,
            most: 0,
            listen_addresses: ListenAddresses::default(),
            external_addresses: ExternalAddresses::default(),
        }
    }

    /// Whether its tables are empty, and larger than small ones.
    fn is_deserted(&self) -> bool {
        self.connections == 0 && self.most > max_capacity(0)
    }

    /// A new behaviour learns the relay's addresses as the old one did.
    fn rebuild(&mut self) {
        self.behaviour = (self.build)();
        self.most = 0;
        let listener_id = ListenerId::next();
        for addr in self.listen_addresses.iter() {
            let event = NewListenAddr { listener_id, addr };
            self.behaviour
                .on_swarm_event(FromSwarm::NewListenAddr(event));
        }
        // The latest comes first.
        for addr in self.external_addresses.as_slice().iter().rev() {
            let event = ExternalAddrConfirmed { addr };
            self.behaviour
                .on_swarm_event(FromSwarm::ExternalAddrConfirmed(event));
        }
    }
}

impl<B> Deref for RebuiltWhenEmpty<B> {
    type Target = B;

    fn deref(&self) -> &B {
        &self.behaviour
    }
}

impl<B> DerefMut for RebuiltWhenEmpty<B> {
    fn deref_mut(&mut self) -> &mut B {
        &mut self.behaviour
    }
}

impl<B> fmt::Debug for RebuiltWhenEmpty<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RebuiltWhenEmpty")
            .field("connections", &self.connections)
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for RebuiltWhenEmpty<B> {
    type ConnectionHandler = B::ConnectionHandler;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.behaviour
            .handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.behaviour
            .handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.behaviour
            .handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.behaviour
            .handle_established_outbound_connection(connection, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.listen_addresses.on_swarm_event(&event);
        self.external_addresses.on_swarm_event(&event);
        if let FromSwarm::ConnectionEstablished(_) = event {
            self.connections = self.connections.saturating_add(1);
            self.most = self.most.max(self.connections);
        }
        if let FromSwarm::ConnectionClosed(_) = event {
            self.connections = self.connections.saturating_sub(1);
        }
        self.behaviour.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.behaviour
            .on_connection_handler_event(peer, connection, event);
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        let polled = self.behaviour.poll(context);
        if polled.is_pending() && self.is_deserted() {
            self.rebuild();
            return self.behaviour.poll(context);
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        convert::Infallible,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use libp2p::{
        core::ConnectedPoint,
        swarm::{ConnectionClosed, ExternalAddrExpired, behaviour::ConnectionEstablished, dummy},
    };

    use super::*;

    /// Says the name of each peer that has left, and notes the addresses that it was told.
    #[derive(Default)]
    struct Guestbook {
        said: VecDeque<PeerId>,
        addresses: Vec<Multiaddr>,
    }

    impl NetworkBehaviour for Guestbook {
        type ConnectionHandler = dummy::ConnectionHandler;
        type ToSwarm = PeerId;

        fn handle_established_inbound_connection(
            &mut self,
            _: ConnectionId,
            _: PeerId,
            _: &Multiaddr,
            _: &Multiaddr,
        ) -> Result<THandler<Self>, ConnectionDenied> {
            Ok(dummy::ConnectionHandler)
        }

        fn handle_established_outbound_connection(
            &mut self,
            _: ConnectionId,
            _: PeerId,
            _: &Multiaddr,
            _: Endpoint,
            _: PortUse,
        ) -> Result<THandler<Self>, ConnectionDenied> {
            Ok(dummy::ConnectionHandler)
        }

        fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
            if let FromSwarm::ConnectionClosed(closed) = event {
                self.said.push_back(closed.peer_id);
            }
            if let FromSwarm::NewListenAddr(NewListenAddr { addr, .. })
            | FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr }) = event
            {
                self.addresses.push(addr.clone());
            }
        }

        fn on_connection_handler_event(
            &mut self,
            _: PeerId,
            _: ConnectionId,
            event: THandlerOutEvent<Self>,
        ) {
            libp2p::core::util::unreachable(event)
        }

        fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<PeerId, Infallible>> {
            match self.said.pop_front() {
                Some(peer) => Poll::Ready(ToSwarm::GenerateEvent(peer)),
                None => Poll::Pending,
            }
        }
    }

    /// A behaviour, and how many were built for it.
    fn counted() -> (RebuiltWhenEmpty<Guestbook>, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let built = Arc::clone(&count);
        let behaviour = RebuiltWhenEmpty::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
            Guestbook::default()
        });
        (behaviour, built)
    }

    fn endpoint() -> ConnectedPoint {
        ConnectedPoint::Listener {
            local_addr: Multiaddr::empty(),
            send_back_addr: Multiaddr::empty(),
        }
    }

    fn connect(behaviour: &mut RebuiltWhenEmpty<Guestbook>, number: usize) {
        behaviour.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id: PeerId::random(),
            connection_id: ConnectionId::new_unchecked(number),
            endpoint: &endpoint(),
            failed_addresses: &[],
            other_established: 0,
        }));
    }

    fn close(behaviour: &mut RebuiltWhenEmpty<Guestbook>, number: usize) {
        behaviour.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id: PeerId::random(),
            connection_id: ConnectionId::new_unchecked(number),
            endpoint: &endpoint(),
            cause: None,
            remaining_established: 0,
        }));
    }

    /// Polls it until it has nothing to say. Returns how often it said something.
    fn listen_to(behaviour: &mut RebuiltWhenEmpty<Guestbook>) -> usize {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut times = 0;
        while behaviour.poll(&mut context).is_ready() {
            times += 1;
        }
        times
    }

    #[test]
    fn crowd_that_has_left_leaves_nothing_behind() {
        let (mut behaviour, built) = counted();
        let crowd = max_capacity(0) + 1;
        for round in 1..=3 {
            (0..crowd).for_each(|number| connect(&mut behaviour, number));
            (1..crowd).for_each(|number| close(&mut behaviour, number));
            assert_eq!(listen_to(&mut behaviour), crowd - 1);
            // One is still there.
            assert_eq!(built.load(Ordering::Relaxed), round);
            close(&mut behaviour, 0);
            // What it has to say is not lost.
            assert_eq!(listen_to(&mut behaviour), 1);
            assert_eq!(built.load(Ordering::Relaxed), round + 1);
            assert_eq!(listen_to(&mut behaviour), 0);
            assert_eq!(built.load(Ordering::Relaxed), round + 1);
        }
    }

    #[test]
    fn few_connections_change_nothing() {
        let (mut behaviour, built) = counted();
        let few = max_capacity(0);
        for _ in 0..3 {
            (0..few).for_each(|number| connect(&mut behaviour, number));
            (0..few).for_each(|number| close(&mut behaviour, number));
            assert_eq!(listen_to(&mut behaviour), few);
        }
        assert_eq!(built.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn addresses_outlast_a_crowd() {
        let (mut behaviour, _) = counted();
        let [listen, first, gone, last]: [Multiaddr; 4] = [1, 2, 3, 4].map(|port| {
            let address = format!("/ip4/192.0.2.1/tcp/{port}");
            address.parse().expect("an address")
        });
        behaviour.on_swarm_event(FromSwarm::NewListenAddr(NewListenAddr {
            listener_id: ListenerId::next(),
            addr: &listen,
        }));
        for addr in [&first, &gone, &last] {
            let event = ExternalAddrConfirmed { addr };
            behaviour.on_swarm_event(FromSwarm::ExternalAddrConfirmed(event));
        }
        let expired = ExternalAddrExpired { addr: &gone };
        behaviour.on_swarm_event(FromSwarm::ExternalAddrExpired(expired));
        let crowd = max_capacity(0) + 1;
        (0..crowd).for_each(|number| connect(&mut behaviour, number));
        (0..crowd).for_each(|number| close(&mut behaviour, number));
        assert_eq!(listen_to(&mut behaviour), crowd);
        assert_eq!(behaviour.addresses, [listen, first, last]);
    }
}
