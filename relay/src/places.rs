//! Who may connect: bounds handshakes and connections, in all and for each. Refuses connections, and never closes one that
//! is established.
//!
//! libp2p's own limits know no networks, so that whoever opens connections and says nothing can hold all the places for as
//! long as handshakes may last; and they remember every peer that was ever connected.

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

use crate::{Limits, allowance::Bucket};

/// A handshake of which nothing is heard for so long has come to nothing. The library gives up after 10 s.
const HANDSHAKE_LIFETIME: Duration = Duration::from_secs(15);

/// The bits of an IPv6 address that a single customer cannot choose: a /64 (RFC 6177).
const IPV6_CUSTOMER: u128 = u128::MAX << 64;

/// Everybody who is here or about to be.
#[derive(Debug)]
pub(crate) struct Behaviour {
    /// Under way.
    handshakes: HashMap<ConnectionId, Handshake>,
    /// Established, and whose, and where from.
    connections: HashMap<ConnectionId, (PeerId, Network)>,
    most: Most,
    /// Of WebRTC, those under way and those that came to nothing: each of them keeps a socket and some 100 kB in the
    /// library for ever.
    webrtc: Bucket,
}

#[derive(Clone, Copy, Debug)]
struct Handshake {
    network: Network,
    is_webrtc: bool,
    begun: Instant,
}

/// An IPv4 address, or what a customer has of IPv6. `None` has no share of its own: this machine, behind whose proxy
/// everybody may stand, and what names no address.
pub(crate) type Network = Option<IpAddr>;

/// The limits, each a number of connections.
#[derive(Clone, Copy, Debug)]
struct Most {
    handshakes: usize,
    handshakes_of_network: usize,
    connections: usize,
    connections_of_network: usize,
    connections_of_peer: usize,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("already {0} handshakes")]
    Handshakes(usize),
    #[error("already {0} handshakes with the same network")]
    HandshakesOfNetwork(usize),
    #[error("too many handshakes of WebRTC came to nothing lately")]
    WebRtc,
    #[error("already {0} connections")]
    Connections(usize),
    #[error("already {0} connections with the same network")]
    ConnectionsOfNetwork(usize),
    #[error("already {0} connections of the same peer")]
    ConnectionsOfPeer(usize),
    #[error("the relay calls nobody")]
    Call,
}

impl Behaviour {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            handshakes: HashMap::new(),
            connections: HashMap::new(),
            most: Most {
                handshakes: limits.pending_connections,
                handshakes_of_network: limits.pending_connections_per_network,
                connections: limits.connections,
                connections_of_network: limits.connections_per_network,
                connections_of_peer: limits.connections_per_peer,
            },
            webrtc: Bucket::new(limits.unfinished_webrtc(), Instant::now()),
        }
    }

    fn start(
        &mut self,
        connection: ConnectionId,
        remote: &Multiaddr,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.handshakes
            .retain(|_, other| now.saturating_duration_since(other.begun) < HANDSHAKE_LIFETIME);
        let network = network_of(remote);
        if network.is_some() {
            let others = self.handshakes.values();
            let of_network = others.filter(|other| other.network == network);
            let most = self.most.handshakes_of_network;
            below(of_network.count(), most, Refusal::HandshakesOfNetwork)?;
        }
        let most = self.most.handshakes;
        below(self.handshakes.len(), most, Refusal::Handshakes)?;
        let is_webrtc = remote.iter().any(|part| part == Protocol::WebRTCDirect);
        if is_webrtc && !self.webrtc.take(now) {
            return Err(Refusal::WebRtc);
        }
        let handshake = Handshake {
            network,
            is_webrtc,
            begun: now,
        };
        self.handshakes.insert(connection, handshake);
        Ok(())
    }

    /// Whether a handshake that went well may become a connection.
    fn admit(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
    ) -> Result<(), Refusal> {
        let handshake = self.handshakes.remove(&connection);
        if handshake.is_some_and(|handshake| handshake.is_webrtc) {
            self.webrtc.give_back();
        }
        let others = || self.connections.values();
        let of_peer = others().filter(|(other, _)| *other == peer).count();
        let most = self.most.connections_of_peer;
        below(of_peer, most, Refusal::ConnectionsOfPeer)?;
        let network = network_of(remote);
        if network.is_some() {
            let of_network = others().filter(|(_, other)| *other == network).count();
            let most = self.most.connections_of_network;
            below(of_network, most, Refusal::ConnectionsOfNetwork)?;
        }
        below(
            self.connections.len(),
            self.most.connections,
            Refusal::Connections,
        )
    }
}

fn below(found: usize, most: usize, refusal: fn(usize) -> Refusal) -> Result<(), Refusal> {
    if found < most {
        Ok(())
    } else {
        Err(refusal(most))
    }
}

fn network_of(address: &Multiaddr) -> Network {
    let ip = address.iter().find_map(|part| {
        if let Protocol::Ip4(ip) = part {
            return Some(IpAddr::V4(ip));
        }
        if let Protocol::Ip6(ip) = part {
            return Some(IpAddr::V6(ip));
        }
        None
    });
    ip.and_then(network)
}

/// Where an address belongs to.
pub(crate) fn network(ip: IpAddr) -> Network {
    match ip.to_canonical() {
        IpAddr::V4(Ipv4Addr::LOCALHOST) | IpAddr::V6(Ipv6Addr::LOCALHOST) => None,
        IpAddr::V4(ip) => Some(IpAddr::V4(ip)),
        IpAddr::V6(ip) => Some(IpAddr::V6(Ipv6Addr::from(u128::from(ip) & IPV6_CUSTOMER))),
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
        self.start(connection, remote, Instant::now())
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
        Err(ConnectionDenied::new(Refusal::Call))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Err(ConnectionDenied::new(Refusal::Call))
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        if let FromSwarm::ListenFailure(failure) = event {
            self.handshakes.remove(&failure.connection_id);
        }
        if let FromSwarm::ConnectionEstablished(established) = event {
            let network = network_of(established.endpoint.get_remote_address());
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

    fn places(change: impl FnOnce(&mut Limits)) -> Behaviour {
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
        places: &mut Behaviour,
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
        places.on_swarm_event(FromSwarm::ConnectionEstablished(established));
    }

    fn close(places: &mut Behaviour, connection: ConnectionId, peer: PeerId) {
        let closed = behaviour::ConnectionClosed {
            peer_id: peer,
            connection_id: connection,
            endpoint: &endpoint(&Multiaddr::empty()),
            cause: None,
            remaining_established: 0,
        };
        places.on_swarm_event(FromSwarm::ConnectionClosed(closed));
    }

    #[test]
    fn one_network_has_its_share_of_handshakes_and_another_its_own() {
        let mut places = places(|limits| {
            limits.pending_connections = 3;
            limits.pending_connections_per_network = 2;
        });
        let now = Instant::now();
        let (crowd, other) = (
            address("/ip4/192.0.2.1/tcp/1"),
            address("/ip4/192.0.2.2/tcp/1"),
        );
        let [first, second, third, fourth, fifth] = ids();
        assert_eq!(places.start(first, &crowd, now), Ok(()));
        assert_eq!(places.start(second, &crowd, now), Ok(()));
        let refusal = Err(Refusal::HandshakesOfNetwork(2));
        assert_eq!(places.start(third, &crowd, now), refusal);
        assert_eq!(places.start(fourth, &other, now), Ok(()));
        let refusal = Err(Refusal::Handshakes(3));
        assert_eq!(places.start(fifth, &other, now), refusal);
        assert_eq!(places.admit(first, PeerId::random(), &crowd), Ok(()));
        assert_eq!(places.start(third, &crowd, now), Ok(()));
        assert_eq!(places.handshakes.len(), 3);
    }

    #[test]
    fn who_stands_behind_a_proxy_of_this_machine_shares_no_share() {
        let mut places = places(|limits| limits.pending_connections_per_network = 1);
        let now = Instant::now();
        let [first, second, third] = ids();
        for (id, proxy) in [
            (first, "/ip4/127.0.0.1/tcp/1"),
            (second, "/ip4/127.0.0.1/tcp/2"),
            (third, "/ip6/::1/tcp/1"),
        ] {
            assert_eq!(places.start(id, &address(proxy), now), Ok(()));
        }
    }

    #[test]
    fn a_handshake_that_ended_in_silence_keeps_no_place() {
        let mut places = places(|limits| limits.pending_connections = 1);
        let (from, now) = (address("/ip4/192.0.2.1/tcp/1"), Instant::now());
        let [first, second, third] = ids();
        assert_eq!(places.start(first, &from, now), Ok(()));
        let refusal = Err(Refusal::Handshakes(1));
        let almost = now + HANDSHAKE_LIFETIME - Duration::from_millis(1);
        assert_eq!(places.start(second, &from, almost), refusal);
        let later = now + HANDSHAKE_LIFETIME;
        assert_eq!(places.start(third, &from, later), Ok(()));
    }

    #[test]
    fn handshakes_of_webrtc_that_come_to_nothing_are_few() {
        let mut places = places(|limits| {
            limits.unfinished_webrtc = 2;
            limits.unfinished_webrtc_refill = Duration::from_secs(60);
        });
        let now = Instant::now();
        let webrtc = address("/ip4/192.0.2.1/udp/1/webrtc-direct");
        let [first, second, third, fourth, fifth] = ids();
        assert_eq!(places.start(first, &webrtc, now), Ok(()));
        assert_eq!(places.start(second, &webrtc, now), Ok(()));
        places.handshakes.remove(&first);
        assert_eq!(places.start(third, &webrtc, now), Err(Refusal::WebRtc));
        // A WebSocket costs nothing that stays, and a connection is none that came to nothing.
        let websocket = address("/ip4/192.0.2.1/tcp/1/ws");
        assert_eq!(places.start(fourth, &websocket, now), Ok(()));
        assert_eq!(places.admit(second, PeerId::random(), &webrtc), Ok(()));
        assert_eq!(places.start(third, &webrtc, now), Ok(()));
        assert_eq!(places.start(fifth, &webrtc, now), Err(Refusal::WebRtc));
        let later = now + Duration::from_secs(61);
        assert_eq!(places.start(fifth, &webrtc, later), Ok(()));
    }

    #[test]
    fn connections_are_bounded_in_all_and_for_each_peer_and_no_peer_is_remembered() {
        let mut places = places(|limits| {
            limits.connections = 3;
            limits.connections_per_peer = 2;
        });
        let (peer, other) = (PeerId::random(), PeerId::random());
        let from = address("/ip4/192.0.2.1/tcp/1");
        let [first, second, third, fourth, fifth] = ids();
        for connection in [first, second] {
            assert_eq!(places.admit(connection, peer, &from), Ok(()));
            establish(&mut places, connection, peer, &from);
        }
        let refusal = Err(Refusal::ConnectionsOfPeer(2));
        assert_eq!(places.admit(third, peer, &from), refusal);
        assert_eq!(places.admit(fourth, other, &from), Ok(()));
        establish(&mut places, fourth, other, &from);
        let stranger = PeerId::random();
        let refusal = Err(Refusal::Connections(3));
        assert_eq!(places.admit(fifth, stranger, &from), refusal);
        close(&mut places, first, peer);
        assert_eq!(places.admit(fifth, stranger, &from), Ok(()));
        close(&mut places, second, peer);
        close(&mut places, fourth, other);
        assert!(places.connections.is_empty() && places.handshakes.is_empty());
    }

    #[test]
    fn one_network_has_its_share_of_connections_and_another_its_own() {
        let mut places = places(|limits| limits.connections_per_network = 1);
        let (crowd, other) = (
            address("/ip4/192.0.2.1/tcp/1"),
            address("/ip4/192.0.2.2/tcp/1"),
        );
        let [first, second, third] = ids();
        let peer = PeerId::random();
        assert_eq!(places.admit(first, peer, &crowd), Ok(()));
        establish(&mut places, first, peer, &crowd);
        let refusal = Err(Refusal::ConnectionsOfNetwork(1));
        assert_eq!(places.admit(second, PeerId::random(), &crowd), refusal);
        assert_eq!(places.admit(third, PeerId::random(), &other), Ok(()));
        close(&mut places, first, peer);
        assert_eq!(places.admit(second, PeerId::random(), &crowd), Ok(()));
    }

    #[test]
    fn a_network_is_an_ipv4_address_or_a_customers_part_of_ipv6() {
        let from = |text| network_of(&address(text));
        let v4 = from("/ip4/192.0.2.1/tcp/1/ws");
        assert_ne!(v4, from("/ip4/192.0.2.2/tcp/1/ws"));
        assert_eq!(v4, from("/ip4/192.0.2.1/udp/2/webrtc-direct"));
        assert_eq!(v4, from("/ip6/::ffff:192.0.2.1/tcp/1"));
        let v6 = from("/ip6/2001:db8::1/tcp/1");
        assert_eq!(v6, from("/ip6/2001:db8::ffff:2/tcp/9"));
        assert_ne!(v6, from("/ip6/2001:db8:0:1::1/tcp/1"));
        for nobody in ["/memory/1", "/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1"] {
            assert_eq!(from(nobody), None, "{nobody}");
        }
    }
}
