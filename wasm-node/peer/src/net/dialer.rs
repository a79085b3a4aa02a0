//! Dials the peers that relays and neighbours report, as many as are wanted, and keeps away from banned ones. It never
//! decides which peer to ban, and never dials a relay.

use heartchain_chain::time::MonotonicMillis;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    swarm::{
        ConnectionId,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use litemap::LiteMap;

use super::{
    address::NamedPeer,
    backoff::PEER_REDIAL,
    bans::{Bans, MAX_BANNED},
    behaviour::Protocols,
    candidates::{Candidates, EXCHANGED_PEER_TTL, MAX_WAYS, NON_MEMBER_BACKOFF},
    direct_transport::DirectTransport,
    own_addresses::{OwnAddresses, Reach},
    peer_slots::SlotKind,
    rendezvous::{DiscoveredPeer, RENDEZVOUS_TTL},
};
use crate::clock::{millis, random_u64};

/// Circuits that are replaced at one time. They take no place of other dials.
const MAX_REPLACEMENTS: usize = 2;
/// A time that does not come.
const NEVER: MonotonicMillis = MonotonicMillis::new(u64::MAX);

/// The peers that can be dialed, and the dials in progress.
pub(crate) struct Dialer {
    candidates: Candidates<PeerId, PeerId>,
    /// Peers that the user named.
    named: Vec<NamedPeer>,
    own_addresses: OwnAddresses,
    reach: Reach,
    dialing: LiteMap<ConnectionId, Dial>,
    /// Dials that replace circuits.
    replacing: Vec<ConnectionId>,
    bans: Bans<PeerId>,
}

/// A dial in progress.
#[derive(Clone, Copy, Debug)]
struct Dial {
    peer: PeerId,
    /// The relay or neighbour that reported the peer, and through which it is dialed.
    source: PeerId,
    /// Whether own addresses of the peer take part.
    with_own: bool,
}

impl Dialer {
    /// A dialer that will dial the `named` peers even if no relay reports them.
    pub(crate) fn new(named: Vec<NamedPeer>, reach: Reach) -> Self {
        let mut candidates = Candidates::new(MAX_WAYS, PEER_REDIAL);
        let mut own_addresses = OwnAddresses::default();
        for named in &named {
            if let NamedPeer::Own { peer, address } = named {
                // No relay leads to it, so it is its own way.
                candidates.add(*peer, *peer, NEVER);
                own_addresses.name(*peer, address.clone());
            }
        }
        Self {
            candidates,
            named,
            own_addresses,
            reach,
            dialing: LiteMap::new(),
            replacing: Vec::new(),
            bans: Bans::new(MAX_BANNED),
        }
    }

    /// A relay is connected: the peers that the user named with it are candidates for as long as it stays.
    pub(crate) fn on_relay_connected(&mut self, relay: PeerId) {
        for named in &self.named {
            if let NamedPeer::Circuit(named) = named
                && named.relay.peer == Some(relay)
            {
                self.candidates.add(named.peer, relay, NEVER);
            }
        }
    }

    /// A relay reported registered peers.
    pub(crate) fn on_discovered(
        &mut self,
        relay: PeerId,
        peers: Vec<DiscoveredPeer>,
        now: MonotonicMillis,
    ) {
        for found in peers {
            let expires = now.saturating_add(millis(found.ttl.min(RENDEZVOUS_TTL)));
            // The peer is dialed through the relay that reported it, and at what it signed as its own address.
            self.candidates.add(found.peer, relay, expires);
            let own = self.reach.own_addresses(found.peer, &found.addresses);
            self.own_addresses
                .register(found.peer, own, expires, random_u64());
        }
    }

    /// A neighbour reported its own peers.
    pub(crate) fn on_exchanged(
        &mut self,
        neighbour: PeerId,
        peers: &[PeerId],
        now: MonotonicMillis,
    ) {
        let expires = now.saturating_add(millis(EXCHANGED_PEER_TTL));
        for peer in peers {
            self.candidates
                .add_from_neighbour(*peer, neighbour, expires);
        }
    }

    /// A relay or neighbour is gone, and with it the way to the peers that it reported.
    pub(crate) fn on_source_gone(&mut self, source: PeerId) {
        self.candidates.forget_source(source);
        if self.own_addresses.is_named(&source) {
            // It still is its own way.
            self.candidates.add(source, source, NEVER);
        }
    }

    /// A connection was established.
    pub(crate) fn on_connected(&mut self, id: ConnectionId) {
        self.dialing.remove(&id);
        self.replacing.retain(|replacing| *replacing != id);
    }

    /// A dial failed. Returns whether it was one of this dialer's.
    pub(crate) fn on_dial_failed(&mut self, id: ConnectionId, now: MonotonicMillis) -> bool {
        let dialed = self.dialing.remove(&id);
        if let Some(dial) = dialed {
            self.candidates
                .failed(dial.peer, dial.source, now, random_u64());
            if dial.with_own {
                self.own_addresses.failed(&dial.peer, now, random_u64());
            }
        }
        let replacing = self.replacing.len();
        self.replacing.retain(|replacing| *replacing != id);
        dialed.is_some() || self.replacing.len() < replacing
    }

    /// A connection to a peer ended before it was a member: it has no free slot, or never identified itself.
    pub(crate) fn on_refused(&mut self, peer: PeerId, now: MonotonicMillis) {
        self.candidates.refused(peer, now, random_u64());
    }

    /// A peer turned out to be a member of this room.
    pub(crate) fn on_member(&mut self, peer: PeerId) {
        self.candidates.reached(peer);
    }

    /// A peer turned out to be no member of this room, or is of no use now: it is not dialed for a while.
    pub(crate) fn hold_off(
        &mut self,
        peer: PeerId,
        banned_until: Option<MonotonicMillis>,
        now: MonotonicMillis,
    ) {
        let rest = now.saturating_add(millis(NON_MEMBER_BACKOFF));
        let until = banned_until.map_or(rest, |until| until.max(rest));
        self.candidates.hold_off(peer, until);
    }

    /// Bans a peer. If there are too many bans, another is lifted.
    pub(crate) fn ban<D: DirectTransport>(
        &mut self,
        peer: PeerId,
        until: MonotonicMillis,
        protocols: &mut Protocols<D>,
    ) {
        protocols.banned.block_peer(peer);
        if let Some(unbanned) = self.bans.add(peer, until) {
            protocols.banned.unblock_peer(unbanned);
        }
    }

    /// Lifts the bans that have ended.
    pub(crate) fn release_bans<D: DirectTransport>(
        &mut self,
        protocols: &mut Protocols<D>,
        now: MonotonicMillis,
    ) {
        for peer in self.bans.release(now) {
            protocols.banned.unblock_peer(peer);
        }
    }

    /// The page is back: nothing that failed before counts.
    pub(crate) fn resumed(&mut self) {
        self.candidates.reset_backoff();
    }

    /// Dials candidates until `wanted` dials are in progress. `circuit` is the address of a peer through the relay or
    /// neighbour that reported it, if that is still connected.
    pub(crate) fn poll<D: DirectTransport>(
        &mut self,
        swarm: &mut Swarm<Protocols<D>>,
        now: MonotonicMillis,
        wanted: usize,
        is_connected: impl Fn(&PeerId) -> bool,
        circuit: impl Fn(&PeerId, PeerId) -> Option<Multiaddr>,
    ) {
        let wanted = wanted.saturating_sub(self.dialing.len());
        let (dialing, bans, us) = (&self.dialing, &self.bans, *swarm.local_peer_id());
        let busy = |peer: &PeerId| {
            *peer == us
                || bans.contains(peer)
                || is_connected(peer)
                || dialing.values().any(|dial| dial.peer == *peer)
        };
        for (peer, source) in self.candidates.choose(wanted, now, busy, random_u64) {
            let own = self.own_addresses.take(&peer, now);
            let with_own = !own.is_empty();
            let addresses: Vec<Multiaddr> = own.into_iter().chain(circuit(&source, peer)).collect();
            if addresses.is_empty() {
                self.candidates.failed(peer, source, now, random_u64());
                continue;
            }
            // All are tried at once, and the first that answers is used.
            let dial = DialOpts::peer_id(peer)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(addresses)
                .build();
            let connection = dial.connection_id();
            let connection_limiter = &mut swarm.behaviour_mut().connection_limiter;
            connection_limiter.expect_dial(connection, SlotKind::Outbound);
            match swarm.dial(dial) {
                Ok(()) => {
                    let dial = Dial {
                        peer,
                        source,
                        with_own,
                    };
                    self.dialing.insert(connection, dial);
                }
                Err(_) => self.candidates.failed(peer, source, now, random_u64()),
            }
        }
    }

    /// Replaces a circuit to a peer by a connection to its own address, if it has one.
    pub(crate) fn replace_circuit<D: DirectTransport>(
        &mut self,
        peer: PeerId,
        swarm: &mut Swarm<Protocols<D>>,
        now: MonotonicMillis,
    ) {
        let is_dialing = self.dialing.values().any(|dial| dial.peer == peer);
        if is_dialing || self.replacing.len() >= MAX_REPLACEMENTS {
            return;
        }
        let addresses = self
            .own_addresses
            .take_replacement(&peer, now, random_u64());
        if addresses.is_empty() {
            return;
        }
        let dial = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(addresses)
            .build();
        let connection = dial.connection_id();
        if swarm.dial(dial).is_ok() {
            self.replacing.push(connection);
        }
    }

    /// Opens a circuit to a peer whose direct connection has fallen silent: through a source that reported it, or else
    /// one of the `relays`. A new direct connection is negotiated over the circuit; if that fails, the circuit
    /// carries all traffic.
    pub(crate) fn redial_over_circuit<D: DirectTransport>(
        &mut self,
        peer: PeerId,
        swarm: &mut Swarm<Protocols<D>>,
        relays: impl Iterator<Item = PeerId>,
        circuit: impl Fn(&PeerId, PeerId) -> Option<Multiaddr>,
    ) {
        let sources = self.candidates.sources(&peer).into_iter().chain(relays);
        let Some((source, address)) = sources
            .filter(|source| *source != peer)
            .find_map(|source| Some((source, circuit(&source, peer)?)))
        else {
            return;
        };
        let dial = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(vec![address])
            .build();
        let connection = dial.connection_id();
        if swarm.dial(dial).is_ok() {
            let dial = Dial {
                peer,
                source,
                with_own: false,
            };
            self.dialing.insert(connection, dial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{address::PageScheme, scope::Scope};

    #[test]
    fn failed_circuit_does_not_delay_own_addresses() {
        let reach = Reach {
            scheme: PageScheme::NoPage,
            scope: Scope::Loopback,
        };
        let mut dialer = Dialer::new(Vec::new(), reach);
        let (peer, source) = (PeerId::random(), PeerId::random());
        let own: Vec<Multiaddr> = vec!["/ip4/10.0.0.1/tcp/1/ws".parse().expect("an address")];
        let (now, expires) = (MonotonicMillis::new(1_000), MonotonicMillis::new(3_600_000));
        dialer.own_addresses.register(peer, own.clone(), expires, 0);
        for (with_own, dialed_next) in [(false, own), (true, Vec::new())] {
            let id = ConnectionId::new_unchecked(1);
            let dial = Dial {
                peer,
                source,
                with_own,
            };
            dialer.dialing.insert(id, dial);
            assert!(dialer.on_dial_failed(id, now));
            assert_eq!(dialer.own_addresses.take(&peer, now), dialed_next);
        }
    }
}
