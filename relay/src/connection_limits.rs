//! Limits the number of handshakes and connections: in total, per network (one IPv4 address, or one IPv6 /64), and per
//! peer.
//!
//! It refuses new connections, and never closes an established one.
//!
//! It replaces `libp2p-connection-limits`, which has no limits per network: a single host that opens connections and
//! sends nothing could occupy all slots until the handshakes time out. That crate also keeps an entry for every peer
//! that was ever connected, so its memory grows without bound.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    multiaddr::Protocol,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm, dummy,
    },
};

use crate::limits::Limits;

/// Age at which a handshake without an outcome counts as failed. libp2p itself gives up after 10 s.
const HANDSHAKE_LIFETIME: Duration = Duration::from_secs(15);

/// Mask of a /64, the part of an IPv6 address that a single subscriber cannot choose (RFC 6177).
const IPV6_SUBSCRIBER_MASK: u128 = u128::MAX << 64;

/// The behaviour that counts handshakes and connections.
#[derive(Debug)]
pub(crate) struct Behaviour {
    /// Handshakes in progress.
    handshakes: HashMap<ConnectionId, Handshake>,
    /// Established connections, with their peer and network.
    connections: HashMap<ConnectionId, (PeerId, Network)>,
    limits: ConnectionLimits,
}

#[derive(Clone, Copy, Debug)]
struct Handshake {
    network: Network,
    started: Instant,
}

/// The network that a connection comes from: an IPv4 address, or the /64 prefix of an IPv6 address.
///
/// `None` is exempt from the limits per network. It stands for loopback, where a local reverse proxy may forward the
/// connections of all clients, and for multiaddrs without an IP address.
pub(crate) type Network = Option<IpAddr>;

/// Maximum numbers of handshakes and connections.
#[derive(Clone, Copy, Debug)]
struct ConnectionLimits {
    handshakes: usize,
    handshakes_per_network: usize,
    connections: usize,
    connections_per_network: usize,
    connections_per_peer: usize,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("already {0} handshakes")]
    Handshakes(usize),
    #[error("already {0} handshakes with the same network")]
    HandshakesPerNetwork(usize),
    #[error("already {0} connections")]
    Connections(usize),
    #[error("already {0} connections with the same network")]
    ConnectionsPerNetwork(usize),
    #[error("already {0} connections with the same peer")]
    ConnectionsPerPeer(usize),
    #[error("the relay does not dial")]
    Dial,
}

impl Behaviour {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            handshakes: HashMap::new(),
            connections: HashMap::new(),
            limits: ConnectionLimits {
                handshakes: limits.pending_connections,
                handshakes_per_network: limits.pending_connections_per_network,
                connections: limits.connections,
                connections_per_network: limits.connections_per_network,
                connections_per_peer: limits.connections_per_peer,
            },
        }
    }

    fn start_handshake(
        &mut self,
        connection: ConnectionId,
        remote: &Multiaddr,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.handshakes
            .retain(|_, other| now.saturating_duration_since(other.started) < HANDSHAKE_LIFETIME);
        let network = network_of_address(remote);
        if network.is_some() {
            let others = self.handshakes.values();
            let of_network = others.filter(|other| other.network == network);
            let max = self.limits.handshakes_per_network;
            check_below(of_network.count(), max, Refusal::HandshakesPerNetwork)?;
        }
        let max = self.limits.handshakes;
        check_below(self.handshakes.len(), max, Refusal::Handshakes)?;
        let handshake = Handshake {
            network,
            started: now,
        };
        self.handshakes.insert(connection, handshake);
        Ok(())
    }

    /// Decides whether a completed handshake may become a connection.
    fn admit(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
    ) -> Result<(), Refusal> {
        self.handshakes.remove(&connection);
        let others = || self.connections.values();
        let of_peer = others().filter(|(other, _)| *other == peer).count();
        let max = self.limits.connections_per_peer;
        check_below(of_peer, max, Refusal::ConnectionsPerPeer)?;
        let network = network_of_address(remote);
        if network.is_some() {
            let of_network = others().filter(|(_, other)| *other == network).count();
            let max = self.limits.connections_per_network;
            check_below(of_network, max, Refusal::ConnectionsPerNetwork)?;
        }
        check_below(
            self.connections.len(),
            self.limits.connections,
            Refusal::Connections,
        )
    }
}

fn check_below(found: usize, max: usize, refusal: fn(usize) -> Refusal) -> Result<(), Refusal> {
    if found < max {
        Ok(())
    } else {
        Err(refusal(max))
    }
}

fn network_of_address(address: &Multiaddr) -> Network {
    let ip = address.iter().find_map(|part| {
        if let Protocol::Ip4(ip) = part {
            return Some(IpAddr::V4(ip));
        }
        if let Protocol::Ip6(ip) = part {
            return Some(IpAddr::V6(ip));
        }
        None
    });
    ip.and_then(network_of_ip)
}

/// The network that an IP address belongs to.
pub(crate) fn network_of_ip(ip: IpAddr) -> Network {
    match ip.to_canonical() {
        IpAddr::V4(Ipv4Addr::LOCALHOST) | IpAddr::V6(Ipv6Addr::LOCALHOST) => None,
        IpAddr::V4(ip) => Some(IpAddr::V4(ip)),
        IpAddr::V6(ip) => Some(IpAddr::V6(Ipv6Addr::from(
            u128::from(ip) & IPV6_SUBSCRIBER_MASK,
        ))),
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.start_handshake(connection, remote, Instant::now())
            .map_err(ConnectionDenied::new)
    }

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
            self.handshakes.remove(&failure.connection_id);
        }
        if let FromSwarm::ConnectionEstablished(established) = event {
            let network = network_of_address(established.endpoint.get_remote_address());
            let connection = (established.peer_id, network);
            self.connections
                .insert(established.connection_id, connection);
        }
        if let FromSwarm::ConnectionClosed(closed) = event {
            self.connections.remove(&closed.connection_id);
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
    use libp2p::{core::ConnectedPoint, swarm::behaviour};

    use super::*;

    fn limiter(change: impl FnOnce(&mut Limits)) -> Behaviour {
        let mut limits = Limits::default();
        change(&mut limits);
        Behaviour::new(&limits)
    }

    fn ids<const N: usize>() -> [ConnectionId; N] {
        std::array::from_fn(ConnectionId::new_unchecked)
    }

    fn address(address: &str) -> Multiaddr {
        address.parse().expect("an address")
    }

    fn endpoint(remote: &Multiaddr) -> ConnectedPoint {
        ConnectedPoint::Listener {
            local_addr: Multiaddr::empty(),
            send_back_addr: remote.clone(),
        }
    }

    fn establish(
        limiter: &mut Behaviour,
        connection: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
    ) {
        let established = behaviour::ConnectionEstablished {
            peer_id: peer,
            connection_id: connection,
            endpoint: &endpoint(remote),
            failed_addresses: &[],
            other_established: 0,
        };
        limiter.on_swarm_event(FromSwarm::ConnectionEstablished(established));
    }

    fn close(limiter: &mut Behaviour, connection: ConnectionId, peer: PeerId) {
        let closed = behaviour::ConnectionClosed {
            peer_id: peer,
            connection_id: connection,
            endpoint: &endpoint(&Multiaddr::empty()),
            cause: None,
            remaining_established: 0,
        };
        limiter.on_swarm_event(FromSwarm::ConnectionClosed(closed));
    }

    #[test]
    fn handshakes_are_limited_per_network() {
        let mut limiter = limiter(|limits| {
            limits.pending_connections = 3;
            limits.pending_connections_per_network = 2;
        });
        let now = Instant::now();
        let (crowded, other) = (
            address("/ip4/192.0.2.1/tcp/1"),
            address("/ip4/192.0.2.2/tcp/1"),
        );
        let [first, second, third, fourth, fifth] = ids();
        assert_eq!(limiter.start_handshake(first, &crowded, now), Ok(()));
        assert_eq!(limiter.start_handshake(second, &crowded, now), Ok(()));
        let refusal = Err(Refusal::HandshakesPerNetwork(2));
        assert_eq!(limiter.start_handshake(third, &crowded, now), refusal);
        assert_eq!(limiter.start_handshake(fourth, &other, now), Ok(()));
        let refusal = Err(Refusal::Handshakes(3));
        assert_eq!(limiter.start_handshake(fifth, &other, now), refusal);
        assert_eq!(limiter.admit(first, PeerId::random(), &crowded), Ok(()));
        assert_eq!(limiter.start_handshake(third, &crowded, now), Ok(()));
        assert_eq!(limiter.handshakes.len(), 3);
    }

    #[test]
    fn loopback_is_exempt_from_network_limits() {
        let mut limiter = limiter(|limits| limits.pending_connections_per_network = 1);
        let now = Instant::now();
        let [first, second, third] = ids();
        for (id, proxy) in [
            (first, "/ip4/127.0.0.1/tcp/1"),
            (second, "/ip4/127.0.0.1/tcp/2"),
            (third, "/ip6/::1/tcp/1"),
        ] {
            assert_eq!(limiter.start_handshake(id, &address(proxy), now), Ok(()));
        }
    }

    #[test]
    fn stale_handshakes_free_their_slots() {
        let mut limiter = limiter(|limits| limits.pending_connections = 1);
        let (from, now) = (address("/ip4/192.0.2.1/tcp/1"), Instant::now());
        let [first, second, third] = ids();
        assert_eq!(limiter.start_handshake(first, &from, now), Ok(()));
        let refusal = Err(Refusal::Handshakes(1));
        let almost = now + HANDSHAKE_LIFETIME - Duration::from_millis(1);
        assert_eq!(limiter.start_handshake(second, &from, almost), refusal);
        let later = now + HANDSHAKE_LIFETIME;
        assert_eq!(limiter.start_handshake(third, &from, later), Ok(()));
    }

    #[test]
    fn connections_are_limited_in_total_and_per_peer() {
        let mut limiter = limiter(|limits| {
            limits.connections = 3;
            limits.connections_per_peer = 2;
        });
        let (peer, other) = (PeerId::random(), PeerId::random());
        let from = address("/ip4/192.0.2.1/tcp/1");
        let [first, second, third, fourth, fifth] = ids();
        for connection in [first, second] {
            assert_eq!(limiter.admit(connection, peer, &from), Ok(()));
            establish(&mut limiter, connection, peer, &from);
        }
        let refusal = Err(Refusal::ConnectionsPerPeer(2));
        assert_eq!(limiter.admit(third, peer, &from), refusal);
        assert_eq!(limiter.admit(fourth, other, &from), Ok(()));
        establish(&mut limiter, fourth, other, &from);
        let stranger = PeerId::random();
        let refusal = Err(Refusal::Connections(3));
        assert_eq!(limiter.admit(fifth, stranger, &from), refusal);
        close(&mut limiter, first, peer);
        assert_eq!(limiter.admit(fifth, stranger, &from), Ok(()));
        close(&mut limiter, second, peer);
        close(&mut limiter, fourth, other);
        assert!(limiter.connections.is_empty() && limiter.handshakes.is_empty());
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
        establish(&mut limiter, first, peer, &crowded);
        let refusal = Err(Refusal::ConnectionsPerNetwork(1));
        assert_eq!(limiter.admit(second, PeerId::random(), &crowded), refusal);
        assert_eq!(limiter.admit(third, PeerId::random(), &other), Ok(()));
        close(&mut limiter, first, peer);
        assert_eq!(limiter.admit(second, PeerId::random(), &crowded), Ok(()));
    }

    #[test]
    fn networks_are_ipv4_addresses_or_ipv6_prefixes() {
        let from = |text| network_of_address(&address(text));
        let v4 = from("/ip4/192.0.2.1/tcp/1/ws");
        assert_ne!(v4, from("/ip4/192.0.2.2/tcp/1/ws"));
        assert_eq!(v4, from("/ip4/192.0.2.1/udp/2/webrtc-direct"));
        assert_eq!(v4, from("/ip6/::ffff:192.0.2.1/tcp/1"));
        let v6 = from("/ip6/2001:db8::1/tcp/1");
        assert_eq!(v6, from("/ip6/2001:db8::ffff:2/tcp/9"));
        assert_ne!(v6, from("/ip6/2001:db8:0:1::1/tcp/1"));
        for exempt in ["/memory/1", "/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1"] {
            assert_eq!(from(exempt), None, "{exempt}");
        }
    }
}
