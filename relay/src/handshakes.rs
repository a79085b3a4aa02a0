//! Keeps one network from taking all the places for handshakes: whoever opens connections and says nothing holds each for
//! as long as a handshake may last. Refuses connections, and never closes one that is established.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::{IpAddr, Ipv6Addr},
    task::{Context, Poll},
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

/// The bits of an IPv6 address that a single customer cannot choose: a /64 (RFC 6177).
const IPV6_CUSTOMER: u128 = u128::MAX << 64;

/// Where each handshake comes from. It holds handshakes under way only, so what bounds those bounds it, too.
#[derive(Debug)]
pub(crate) struct Behaviour {
    pending: HashMap<ConnectionId, Network>,
    most: usize,
}

/// An IPv4 address, or what a customer has of IPv6; `None` where an address names neither.
type Network = Option<IpAddr>;

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("already {most} handshakes with the same network")]
struct TooMany {
    most: usize,
}

impl Behaviour {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            pending: HashMap::new(),
            most,
        }
    }

    fn start(&mut self, connection: ConnectionId, network: Network) -> Result<(), TooMany> {
        let pending = self.pending.values().filter(|other| **other == network);
        if pending.count() >= self.most {
            return Err(TooMany { most: self.most });
        }
        self.pending.insert(connection, network);
        Ok(())
    }

    fn end(&mut self, connection: ConnectionId) {
        self.pending.remove(&connection);
    }
}

fn network_of(address: &Multiaddr) -> Network {
    address.iter().find_map(|part| {
        if let Protocol::Ip4(ip) = part {
            return Some(IpAddr::V4(ip));
        }
        if let Protocol::Ip6(ip) = part {
            let customer = || IpAddr::V6(Ipv6Addr::from(u128::from(ip) & IPV6_CUSTOMER));
            return Some(ip.to_ipv4_mapped().map_or_else(customer, IpAddr::V4));
        }
        None
    })
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
        self.start(connection, network_of(remote))
            .map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.end(connection);
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

    fn on_swarm_event(&mut self, event: FromSwarm) {
        if let FromSwarm::ListenFailure(failure) = event {
            self.end(failure.connection_id);
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
    use super::*;

    fn from(address: &str) -> Network {
        network_of(&address.parse().expect("an address"))
    }

    #[test]
    fn one_network_has_its_share_and_another_its_own() {
        let mut handshakes = Behaviour::new(2);
        let (crowd, other) = (from("/ip4/192.0.2.1/tcp/1"), from("/ip4/192.0.2.2/tcp/1"));
        let ids: Vec<_> = (0..5).map(ConnectionId::new_unchecked).collect();
        assert_eq!(handshakes.start(ids[0], crowd), Ok(()));
        assert_eq!(handshakes.start(ids[1], crowd), Ok(()));
        assert_eq!(handshakes.start(ids[2], crowd), Err(TooMany { most: 2 }));
        assert_eq!(handshakes.start(ids[3], other), Ok(()));
        handshakes.end(ids[0]);
        assert_eq!(handshakes.start(ids[4], crowd), Ok(()));
        assert_eq!(handshakes.pending.len(), 3);
    }

    #[test]
    fn a_network_is_an_ipv4_address_or_a_customers_part_of_ipv6() {
        assert_ne!(
            from("/ip4/192.0.2.1/tcp/1/ws"),
            from("/ip4/192.0.2.2/tcp/1/ws")
        );
        assert_eq!(
            from("/ip4/192.0.2.1/tcp/1/ws"),
            from("/ip4/192.0.2.1/udp/2/webrtc-direct")
        );
        assert_eq!(
            from("/ip6/2001:db8::1/tcp/1"),
            from("/ip6/2001:db8::ffff:2/tcp/9")
        );
        assert_ne!(
            from("/ip6/2001:db8::1/tcp/1"),
            from("/ip6/2001:db8:0:1::1/tcp/1")
        );
        assert_eq!(
            from("/ip6/::ffff:192.0.2.1/tcp/1"),
            from("/ip4/192.0.2.1/tcp/1")
        );
        assert_eq!(from("/memory/1"), None);
    }
}
