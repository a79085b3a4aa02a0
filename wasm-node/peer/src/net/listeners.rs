//! The addresses at which this peer itself listens, as a keeper does. They are registered at rendezvous and given to
//! neighbours. A tab has none.

use libp2p::{Multiaddr, PeerId, Swarm, core::transport::ListenerId, multiaddr::Protocol};

use super::{behaviour::Protocols, direct_transport::DirectTransport};

/// Own addresses that are registered, so that a record stays short: three transports on a few networks.
pub(crate) const MAX_REGISTERED_ADDRESSES: usize = 12;

/// The listeners of this peer, without those for reservations, and what they listen at.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    open: Vec<ListenerId>,
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
        if self.registered.len() < MAX_REGISTERED_ADDRESSES && !self.registered.contains(&address) {
            swarm.add_external_address(address.clone());
            self.registered.push(address);
        }
        Some(shown.to_string())
    }

    /// A listener no longer listens at an address. Returns whether that changes what is registered.
    pub(crate) fn expired<D: DirectTransport>(
        &mut self,
        listener: ListenerId,
        address: &Multiaddr,
        swarm: &mut Swarm<Protocols<D>>,
    ) -> bool {
        let before = self.registered.len();
        if self.contains(listener) {
            self.registered.retain(|registered| registered != address);
        }
        let changes = self.registered.len() < before;
        if changes {
            swarm.remove_external_address(address);
        }
        changes
    }
}

/// The address, ending in the peer ID.
fn with_peer(address: Multiaddr, peer: PeerId) -> Multiaddr {
    match address.iter().last() {
        Some(Protocol::P2p(_)) => address,
        _ => address.with(Protocol::P2p(peer)),
    }
}
