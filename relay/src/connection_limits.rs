//! Limits the number of connections: in total, per network (one IPv4 address, or one IPv6 /64), and per peer. Closes the
//! connections that a network loses because others need them. Refuses to dial.
//!
//! A full relay admits a newcomer whose network holds less than the one that holds the most; see `fair_table`.
//!
//! It replaces `libp2p-connection-limits`, which has no limits per network. That crate also keeps an entry for every peer
//! that was ever connected, so its memory grows without bound.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
    },
};

use crate::{
    fair_table::{FairTable, Full},
    hop_limits::{EvictedPeer, HopLimits},
    limits::Limits,
    metrics::{Limit, Metrics, Resource},
    network::{Network, network_of_address},
    table_memory::shrink,
};

/// The behaviour that counts and closes connections.
#[derive(Debug)]
pub(crate) struct Behaviour {
    /// Connections that are established, or about to be.
    table: FairTable<ConnectionId>,
    /// The same connections, with their peers and the addresses they come from.
    connections: HashMap<ConnectionId, (PeerId, Multiaddr)>,
    /// The same connections, by peer.
    peers: HashMap<PeerId, Vec<ConnectionId>>,
    max_per_peer: usize,
    hop_limits: HopLimits,
    /// Connections to close.
    evicted: VecDeque<(PeerId, CloseConnection)>,
    metrics: Arc<Metrics>,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("connections: {0}")]
    Full(#[from] Full),
    #[error("already {0} connections with the same peer")]
    Peer(usize),
    #[error("the relay does not dial")]
    Dial,
}

impl Behaviour {
    pub(crate) fn new(limits: &Limits, hop_limits: &HopLimits, metrics: &Arc<Metrics>) -> Self {
        Self {
            table: FairTable::new(limits.connection_share()),
            connections: HashMap::new(),
            peers: HashMap::new(),
            max_per_peer: limits.connections_per_peer,
            hop_limits: hop_limits.clone(),
            evicted: VecDeque::new(),
            metrics: Arc::clone(metrics),
        }
    }

    pub(crate) fn set_limits(&mut self, limits: &Limits) {
        self.table.set_share(limits.connection_share());
        self.hop_limits.set_limits(limits);
    }

    /// The network that a connected peer belongs to.
    pub(crate) fn network_of(&self, peer: &PeerId) -> Network {
        let connection = self.peers.get(peer)?.last()?;
        let (_, remote) = self.connections.get(connection)?;
        network_of_address(remote)
    }

    /// Decides whether a completed handshake may become a connection.
    fn admit(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
    ) -> Result<(), Refusal> {
        if self.peers.get(&peer).map_or(0, Vec::len) >= self.max_per_peer {
            self.metrics.refused(Resource::Connections, Limit::Peer);
            return Err(Refusal::Peer(self.max_per_peer));
        }
        let evicted = self
            .table
            .try_insert(connection, network_of_address(remote))
            .inspect_err(|full| self.metrics.refused(Resource::Connections, (*full).into()))?;
        if let Some(evicted) = evicted {
            self.metrics.evicted(Resource::Connections);
            if let Some((peer, _)) = self.connections.get(&evicted) {
                self.evicted
                    .push_back((*peer, CloseConnection::One(evicted)));
            }
        }
        self.connections.insert(connection, (peer, remote.clone()));
        self.peers.entry(peer).or_default().push(connection);
        Ok(())
    }

    /// The handshake failed or the connection closed.
    fn remove(&mut self, connection: ConnectionId) {
        self.table.remove(&connection);
        let Some((peer, remote)) = self.connections.remove(&connection) else {
            return;
        };
        if let Some(of_peer) = self.peers.get_mut(&peer) {
            of_peer.retain(|other| *other != connection);
            if of_peer.is_empty() {
                self.peers.remove(&peer);
            }
        }
        shrink(&mut self.connections);
        shrink(&mut self.peers);
        self.hop_limits.on_connection_closed(peer, &remote);
    }

    /// The next connections that have to be closed.
    fn next_evicted(&mut self) -> Option<(PeerId, CloseConnection)> {
        for evicted in self.hop_limits.take_evicted() {
            match evicted {
                EvictedPeer::Everywhere(peer) => {
                    self.evicted.push_back((peer, CloseConnection::All));
                }
                EvictedPeer::From(peer, from) => {
                    let of_peer = self.peers.get(&peer).into_iter().flatten();
                    let mut connections = of_peer.filter_map(|id| {
                        let (_, remote) = self.connections.get(id)?;
                        (*remote == from).then_some(*id)
                    });
                    if let Some(connection) = connections.next() {
                        self.evicted
                            .push_back((peer, CloseConnection::One(connection)));
                    }
                }
            }
        }
        self.evicted.pop_front()
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(connection, peer, remote)
            .map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        Err(ConnectionDenied::new(Refusal::Dial))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Err(ConnectionDenied::new(Refusal::Dial))
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        if let FromSwarm::ListenFailure(failure) = event {
            self.metrics.handshake_failed(failure.send_back_addr);
            self.remove(failure.connection_id);
        }
        if let FromSwarm::ConnectionEstablished(established) = event {
            self.metrics
                .opened(established.endpoint.get_remote_address());
        }
        if let FromSwarm::ConnectionClosed(closed) = event {
            self.metrics.closed(closed.endpoint.get_remote_address());
            self.remove(closed.connection_id);
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
        // The swarm polls after every event that can lead to an eviction.
        match self.next_evicted() {
            Some((peer_id, connection)) => Poll::Ready(ToSwarm::CloseConnection {
                peer_id,
                connection,
            }),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use libp2p::{core::ConnectedPoint, swarm::behaviour};

    use super::*;
    use crate::table_memory::max_capacity;

    fn limiter(change: impl FnOnce(&mut Limits)) -> Behaviour {
        let mut limits = Limits::default();
        change(&mut limits);
        let metrics = Arc::new(Metrics::new());
        Behaviour::new(&limits, &HopLimits::new(&limits, &metrics), &metrics)
    }

    fn ids<const N: usize>() -> [ConnectionId; N] {
        std::array::from_fn(ConnectionId::new_unchecked)
    }

    fn address(address: &str) -> Multiaddr {
        address.parse().expect("an address")
    }

    fn close(limiter: &mut Behaviour, connection: ConnectionId, peer: PeerId) {
        let endpoint = ConnectedPoint::Listener {
            local_addr: Multiaddr::empty(),
            send_back_addr: Multiaddr::empty(),
        };
        let closed = behaviour::ConnectionClosed {
            peer_id: peer,
            connection_id: connection,
            endpoint: &endpoint,
            cause: None,
            remaining_established: 0,
        };
        limiter.on_swarm_event(FromSwarm::ConnectionClosed(closed));
    }

    #[test]
    fn connections_are_limited_in_total_and_per_peer() {
        let mut limiter = limiter(|limits| {
            limits.connections = 3;
            limits.connections_per_network = 3;
            limits.connections_per_peer = 2;
        });
        let (peer, other) = (PeerId::random(), PeerId::random());
        let from = address("/ip4/192.0.2.1/tcp/1");
        let [first, second, third, fourth, fifth] = ids();
        for connection in [first, second] {
            assert_eq!(limiter.admit(connection, peer, &from), Ok(()));
        }
        assert_eq!(limiter.admit(third, peer, &from), Err(Refusal::Peer(2)));
        assert_eq!(limiter.network_of(&peer), network_of_address(&from));
        // Another network may have its part, but no more than that.
        let elsewhere = address("/ip4/192.0.2.2/tcp/1");
        assert_eq!(limiter.admit(fourth, other, &elsewhere), Ok(()));
        let stranger = PeerId::random();
        let refusal = Err(Refusal::Full(Full::Total(3)));
        assert_eq!(limiter.admit(fifth, stranger, &elsewhere), refusal);
        close(&mut limiter, first, peer);
        assert_eq!(limiter.admit(fifth, stranger, &elsewhere), Ok(()));
        for (connection, peer) in [(second, peer), (fourth, other), (fifth, stranger)] {
            close(&mut limiter, connection, peer);
        }
        assert!(limiter.connections.is_empty() && limiter.peers.is_empty());
        assert_eq!(limiter.table.len(), 0);
        assert!(limiter.next_evicted().is_none());
    }

    #[test]
    fn full_relay_closes_newest_of_largest_network() {
        let mut limiter = limiter(|limits| {
            limits.connections = 3;
            limits.connections_per_network = 3;
        });
        let from = address("/ip4/192.0.2.1/tcp/1");
        let [first, second, third, fourth] = ids();
        let peers: [PeerId; 3] = std::array::from_fn(|_| PeerId::random());
        for (connection, peer) in [first, second, third].into_iter().zip(peers) {
            assert_eq!(limiter.admit(connection, peer, &from), Ok(()));
        }
        let elsewhere = address("/ip4/192.0.2.2/tcp/1");
        assert_eq!(limiter.admit(fourth, PeerId::random(), &elsewhere), Ok(()));
        let evicted = limiter.next_evicted();
        assert!(
            matches!(evicted, Some((peer, CloseConnection::One(id))) if peer == peers[2] && id == third)
        );
        assert!(limiter.next_evicted().is_none());
        close(&mut limiter, third, peers[2]);
        assert_eq!(limiter.table.len(), 3);
    }

    #[test]
    fn memory_follows_the_connections() {
        let mut limiter = limiter(|limits| limits.connections = 5_000);
        let from = address("/ip4/127.0.0.1/tcp/1");
        let opened: Vec<_> = (0..5_000).map(|id| (id, PeerId::random())).collect();
        for (id, peer) in &opened {
            let id = ConnectionId::new_unchecked(*id);
            assert_eq!(limiter.admit(id, *peer, &from), Ok(()));
        }
        assert!(limiter.connections.capacity() >= 5_000);
        for (id, peer) in opened {
            close(&mut limiter, ConnectionId::new_unchecked(id), peer);
        }
        assert!(limiter.connections.capacity() <= max_capacity(0));
        assert!(limiter.peers.capacity() <= max_capacity(0));
    }

    #[test]
    fn connections_are_limited_per_network() {
        let mut limiter = limiter(|limits| limits.connections_per_network = 1);
        let (crowded, other) = (
            address("/ip4/192.0.2.1/tcp/1"),
            address("/ip4/192.0.2.2/tcp/1"),
        );
        let [first, second, third] = ids();
        let peer = PeerId::random();
        assert_eq!(limiter.admit(first, peer, &crowded), Ok(()));
        let refusal = Err(Refusal::Full(Full::Network(1)));
        assert_eq!(limiter.admit(second, PeerId::random(), &crowded), refusal);
        assert_eq!(limiter.admit(third, PeerId::random(), &other), Ok(()));
        close(&mut limiter, first, peer);
        assert_eq!(limiter.admit(second, PeerId::random(), &crowded), Ok(()));
    }
}
