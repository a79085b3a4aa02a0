//! The addresses at which this peer itself listens, as a keeper does. They are registered at rendezvous and given to
//! neighbours. A tab has none.

use std::cmp::Reverse;

use heartchain_chain::compact_sort;
use libp2p::{Multiaddr, PeerId, Swarm, core::transport::ListenerId, multiaddr::Protocol};
use litemap::LiteMap;

use super::{
    address::{PageScheme, TransportKind, transport_of},
    behaviour::Protocols,
    direct_transport::DirectTransport,
    scope::{Scope, ip_of},
};

/// Own addresses that are registered, so that a record stays short: three transports on a few networks.
pub(crate) const MAX_REGISTERED_ADDRESSES: usize = 12;
/// Own addresses that are known; those of further networks are left out.
const MAX_LISTEN_ADDRESSES: usize = 64;

/// The listeners of this peer, without those for reservations, and what they listen at.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    open: Vec<ListenerId>,
    addresses: Vec<(ListenerId, Multiaddr)>,
    registered: Vec<Multiaddr>,
}

impl Listeners {
    /// A listener was created.
    pub(crate) fn add(&mut self, listener: ListenerId) {
        self.open.push(listener);
    }

    /// Whether this is one of them.
    pub(crate) fn contains(&self, listener: ListenerId) -> bool {
        self.open.contains(&listener)
    }

    /// A listener listens at another address. Returns it with the peer ID, if it is one of these listeners.
    pub(crate) fn opened<D: DirectTransport>(
        &mut self,
        listener: ListenerId,
        address: Multiaddr,
        swarm: &mut Swarm<Protocols<D>>,
    ) -> Option<String> {
        if !self.contains(listener) {
            return None;
        }
        let shown = with_peer(address.clone(), *swarm.local_peer_id());
        if self.addresses.len() < MAX_LISTEN_ADDRESSES {
            self.addresses.push((listener, address));
        }
        self.register(swarm);
        Some(shown.to_string())
    }

    /// A listener no longer listens at an address. Returns whether it is one of these listeners.
    pub(crate) fn expired<D: DirectTransport>(
        &mut self,
        listener: ListenerId,
        address: &Multiaddr,
        swarm: &mut Swarm<Protocols<D>>,
    ) -> bool {
        self.addresses
            .retain(|(of, other)| *of != listener || other != address);
        self.register(swarm);
        self.contains(listener)
    }

    /// A listener has ended.
    pub(crate) fn closed<D: DirectTransport>(
        &mut self,
        listener: ListenerId,
        swarm: &mut Swarm<Protocols<D>>,
    ) {
        self.addresses.retain(|(of, _)| *of != listener);
        self.open.retain(|open| *open != listener);
        self.register(swarm);
    }

    /// Makes the best of the addresses known to the swarm, from which registrations take them.
    fn register<D: DirectTransport>(&mut self, swarm: &mut Swarm<Protocols<D>>) {
        let best = best(self.addresses.iter().map(|(_, address)| address));
        for gone in self.registered.iter().filter(|old| !best.contains(old)) {
            swarm.remove_external_address(gone);
        }
        for new in best.iter().filter(|new| !self.registered.contains(new)) {
            swarm.add_external_address(new.clone());
        }
        self.registered = best;
    }
}

/// The addresses to register: of each transport the one that reaches furthest, then of each the next one.
fn best<'a>(addresses: impl Iterator<Item = &'a Multiaddr>) -> Vec<Multiaddr> {
    let scoped = addresses.filter_map(|address| {
        let (transport, _) = transport_of(address, PageScheme::NoPage)?;
        Some((Scope::of_ip(ip_of(address)?)?, transport, address))
    });
    let mut scoped: Vec<_> = scoped.collect();
    compact_sort::sort_by_key(&mut scoped, |(scope, _, _)| Reverse(*scope));
    let mut turns: LiteMap<TransportKind, usize> = LiteMap::new();
    let ranked = scoped.into_iter().map(|(_, transport, address)| {
        let turn = turns.entry(transport).or_insert(0);
        *turn += 1;
        (*turn, transport, address)
    });
    let mut ranked: Vec<_> = ranked.collect();
    compact_sort::sort_by_key(&mut ranked, |(turn, transport, _)| (*turn, *transport));
    let best = ranked.into_iter().map(|(_, _, address)| address.clone());
    let mut best: Vec<Multiaddr> = best.take(MAX_REGISTERED_ADDRESSES).collect();
    best.dedup();
    best
}

/// The address, ending in the peer ID.
fn with_peer(address: Multiaddr, peer: PeerId) -> Multiaddr {
    match address.iter().last() {
        Some(Protocol::P2p(_)) => address,
        _ => address.with(Protocol::P2p(peer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_transport_and_the_widest_net_is_registered() {
        let mut listened: Vec<Multiaddr> = Vec::new();
        for host in 0..20 {
            for text in [
                format!("/ip4/172.17.{host}.1/tcp/4001/ws"),
                format!("/ip4/172.17.{host}.1/tcp/4002"),
            ] {
                listened.push(text.parse().expect("an address"));
            }
        }
        let late = [
            "/ip4/127.0.0.1/udp/1/webrtc-direct/certhash/uEiAsGPzpiPGQzSlVHRXrUCT5EkTV7YFrV4VZ3hpEKTd_zg",
            "/ip4/93.184.216.34/tcp/4001/ws",
        ];
        listened.extend(late.map(|text| text.parse().expect("an address")));
        let best = best(listened.iter());
        assert_eq!(best.len(), MAX_REGISTERED_ADDRESSES);
        assert_eq!(best[0].to_string(), late[1]);
        assert_eq!(best[1].to_string(), late[0]);
    }
}
