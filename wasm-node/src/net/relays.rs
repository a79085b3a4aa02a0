//! This tab's relays: where each is looked for, and how far along it is: called, reserved, registered, asked.
//! Never touches the swarm: it says what to do next, and is told how that went.

mod link;

use std::time::Duration;

use chain::time::MonotonicMillis;
use libp2p::{
    Multiaddr, PeerId, core::transport::ListenerId, multiaddr::Protocol, swarm::ConnectionId,
};

use self::link::{Connected, Link, Phase, Source};
use super::{
    address::{PageScheme, RelayAddress},
    backoff::jitter,
    ice::IceServer,
    rendezvous::message::Cookie,
};
use crate::{
    clock::{chance, millis},
    config,
};

/// Names a relay of this tab, for as long as the tab lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkId(usize);

/// What the document about a relay says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RelayDocument {
    /// Its addresses, each as a multiaddr that names it.
    pub(crate) addresses: Vec<String>,
    /// Its STUN servers, as browsers take them.
    pub(crate) stun: Vec<IceServer>,
}

/// What is shown of a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RelayView {
    pub(crate) address: String,
    pub(crate) peer: Option<PeerId>,
    pub(crate) connected: bool,
    pub(crate) reserved: bool,
}

/// What a new connection is to this tab's relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// A relay is connected now.
    Relay,
    /// A call to a relay that came through after another had: one too many.
    Surplus,
    /// Nothing.
    Other,
}

/// What is to be done for a relay.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Read its document; answer with [`Relays::document`].
    ReadDocument(LinkId),
    /// Call it; answer with [`Relays::dialing`] or [`Relays::dial_failed`].
    Dial(LinkId, RelayAddress),
    /// Ask it for a reservation by listening here; answer with [`Relays::listening`].
    Reserve(LinkId, Multiaddr),
    /// Stop listening.
    StopListening(ListenerId),
    /// Tell it that this tab is in the room.
    Register(PeerId),
    /// Ask it who else is.
    Discover(PeerId, Option<Cookie>),
}

/// All relays of this tab.
#[derive(Debug)]
pub(crate) struct Relays {
    links: Vec<Link>,
    scheme: PageScheme,
    eager_until: MonotonicMillis,
}

impl Relays {
    /// Relays at these addresses; those that name the same peer are one. With none given, the one relay that
    /// the document is about.
    pub(crate) fn new(given: Vec<RelayAddress>, scheme: PageScheme, now: MonotonicMillis) -> Self {
        let mut links: Vec<Link> = Vec::new();
        if given.is_empty() {
            links.push(Link::new(Source::Document, now));
        }
        for address in given {
            let known = links.iter_mut().find(|link| {
                address.peer.is_some()
                    && link
                        .addresses
                        .iter()
                        .any(|other| other.peer == address.peer)
            });
            if let Some(link) = known {
                link.addresses.push(address);
            } else if links.len() < config::MAX_RELAYS {
                let mut link = Link::new(Source::Given, now);
                link.addresses.push(address);
                links.push(link);
            }
        }
        for link in &mut links {
            link.addresses.sort_by_key(|address| address.way);
            link.addresses.truncate(config::MAX_RELAY_ADDRESSES);
        }
        Self {
            links,
            scheme,
            eager_until: now.saturating_add(millis(config::EAGER_FOR)),
        }
    }

    /// What is to be done now, given how many peers of the room are connected.
    pub(crate) fn tick(&mut self, now: MonotonicMillis, members: usize) -> Vec<Action> {
        let every = self.discovery_interval(now, members);
        self.links
            .iter_mut()
            .enumerate()
            .flat_map(|(index, link)| link.tick(LinkId(index), now, every))
            .collect()
    }

    /// When [`Self::tick`] is next due.
    pub(crate) fn due(&self) -> Option<MonotonicMillis> {
        self.links.iter().filter_map(Link::due).min()
    }

    /// The document was read, or could not be. If not, the addresses known from before are tried.
    pub(crate) fn document(
        &mut self,
        id: LinkId,
        document: Option<RelayDocument>,
        now: MonotonicMillis,
    ) {
        let scheme = self.scheme;
        let Some(link) = self.link(id) else { return };
        if !matches!(link.phase, Phase::Reading) {
            return;
        }
        if let Some(document) = document {
            let mut addresses: Vec<RelayAddress> = document
                .addresses
                .iter()
                .take(config::MAX_RELAY_ADDRESSES)
                .filter_map(|text| RelayAddress::parse(text, scheme).ok())
                .collect();
            addresses.sort_by_key(|address| address.way);
            if addresses != link.addresses {
                link.addresses = addresses;
                link.next = 0;
            }
        }
        if link.addresses.is_empty() {
            link.wait(now);
        } else {
            link.phase = Phase::Ready;
        }
    }

    /// The call is under way, by this connection.
    pub(crate) fn dialing(&mut self, id: LinkId, connection: ConnectionId, now: MonotonicMillis) {
        if let Some(link) = self.link(id) {
            let until = now.saturating_add(millis(config::DIAL_PATIENCE));
            link.phase = Phase::Dialing { connection, until };
        }
    }

    /// The call could not even begin.
    pub(crate) fn not_dialed(&mut self, id: LinkId, now: MonotonicMillis) {
        if let Some(link) = self.link(id) {
            link.failed(now);
        }
    }

    /// A call failed. Says whether it was to a relay.
    pub(crate) fn dial_failed(&mut self, failed: ConnectionId, now: MonotonicMillis) -> bool {
        self.links
            .iter_mut()
            .any(|link| link.dial_failed(failed, now))
    }

    /// A connection to this peer is there, at this address. Says whether it is to a relay.
    pub(crate) fn connected(
        &mut self,
        opened: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        now: MonotonicMillis,
    ) -> Arrival {
        let connected = |link: &Link| link.relay().is_some_and(|relay| relay.peer == peer);
        let known = self.links.iter().position(connected);
        let mut links = self.links.iter_mut().enumerate();
        let arrived = links
            .find_map(|(index, link)| Some((index, link.connected(opened, peer, address, now)?)));
        match (arrived, known) {
            (Some((index, Arrival::Relay)), Some(known)) => {
                self.merge(index, known);
                Arrival::Surplus
            }
            (Some((_, Arrival::Relay)), None) => {
                self.be_eager(now);
                Arrival::Relay
            }
            (arrived, _) => arrived.map_or(Arrival::Other, |(_, arrival)| arrival),
        }
    }

    /// Two links lead to one relay, of which at least one address did not say so: the one that is connected gets all
    /// addresses, and the other rests.
    fn merge(&mut self, from: usize, into: usize) {
        let Some(link) = self.links.get_mut(from) else {
            return;
        };
        link.phase = Phase::Merged;
        let addresses = std::mem::take(&mut link.addresses);
        if let Some(link) = self.links.get_mut(into) {
            link.addresses.extend(addresses);
            link.addresses.truncate(config::MAX_RELAY_ADDRESSES);
        }
    }

    /// A connection is gone. If it was a relay's, which relay's.
    pub(crate) fn closed(&mut self, gone: ConnectionId, now: MonotonicMillis) -> Option<PeerId> {
        let link = self.links.iter_mut().find(
            |link| matches!(&link.phase, Phase::Connected(connected) if connected.connection == gone),
        )?;
        let peer = link.relay()?.peer;
        link.next = 0;
        link.wait(now);
        Some(peer)
    }

    /// A reservation is asked for by this listener; `None` if that could not even begin.
    pub(crate) fn listening(
        &mut self,
        id: LinkId,
        listener: Option<ListenerId>,
        now: MonotonicMillis,
    ) {
        let Some(link) = self.link(id) else { return };
        let wait = if listener.is_some() {
            config::RESERVATION_TIMEOUT
        } else {
            link.reservation.failed(chance())
        };
        if let Some(relay) = link.relay_mut() {
            relay.listener = listener;
            relay.reserve_at = now.saturating_add(millis(wait));
        }
    }

    /// The relay granted a reservation, or renewed it.
    pub(crate) fn reserved(&mut self, peer: &PeerId, now: MonotonicMillis) {
        let Some(link) = self.of_peer(peer) else {
            return;
        };
        link.reservation.reset();
        link.redial.reset();
        if let Some(relay) = link.relay_mut()
            && !relay.reserved
        {
            relay.reserved = true;
            relay.steady_at = now.saturating_add(millis(config::STEADY_RESERVATION));
            relay.register_at = Some(now);
            relay.discover_at = now;
        }
    }

    /// The addresses of this tab changed: every relay that names it is to know.
    pub(crate) fn readdressed(&mut self, now: MonotonicMillis) {
        for relay in self.links.iter_mut().filter_map(Link::relay_mut) {
            if relay.reserved {
                relay.register_at = Some(now);
            }
        }
    }

    /// A listener is gone. If it was a reservation, ask for another: at once, if that stood for some time.
    pub(crate) fn listener_closed(&mut self, gone: ListenerId, now: MonotonicMillis) {
        for link in &mut self.links {
            if link
                .relay()
                .is_none_or(|relay| relay.listener != Some(gone))
            {
                continue;
            }
            let steady = |relay: &Connected| relay.reserved && relay.steady_at <= now;
            let wait = if link.relay().is_some_and(steady) {
                Duration::ZERO
            } else {
                link.reservation.failed(chance())
            };
            if let Some(relay) = link.relay_mut() {
                relay.listener = None;
                relay.reserved = false;
                relay.register_at = None;
                relay.reserve_at = now.saturating_add(millis(wait));
            }
        }
    }

    /// The relay has this tab in its list for `ttl`; or it refused (`None`).
    pub(crate) fn registered(
        &mut self,
        peer: &PeerId,
        ttl: Option<Duration>,
        now: MonotonicMillis,
    ) {
        let Some(relay) = self.of_peer(peer).and_then(Link::relay_mut) else {
            return;
        };
        let again = ttl.map_or(config::LONELY_DISCOVERY_INTERVAL, |ttl| {
            (ttl / 2).min(config::RENDEZVOUS_RENEW)
        });
        if relay.reserved {
            // A relay that grants seconds must not be asked without end.
            let again = jitter(again.max(config::LONELY_DISCOVERY_INTERVAL), chance());
            relay.register_at = Some(now.saturating_add(millis(again)));
        }
    }

    /// The relay answered who is there; the cookie makes its next answer shorter. `None` if it refused.
    pub(crate) fn discovered(&mut self, peer: &PeerId, cookie: Option<Cookie>) {
        if let Some(relay) = self.of_peer(peer).and_then(Link::relay_mut) {
            relay.cookie = cookie;
        }
    }

    /// Every relay is to name all whom it knows again, not only the new ones. Says which are connected.
    pub(crate) fn ask_anew(&mut self) -> Vec<PeerId> {
        let relays = self.links.iter_mut().filter_map(Link::relay_mut);
        relays
            .map(|relay| {
                relay.cookie = None;
                relay.peer
            })
            .collect()
    }

    /// The page woke, or is online again: nothing waits any longer.
    pub(crate) fn woke(&mut self, now: MonotonicMillis) {
        self.be_eager(now);
        for link in &mut self.links {
            link.redial.reset();
            link.reservation.reset();
            match &mut link.phase {
                Phase::Waiting { until } => *until = now,
                Phase::Connected(relay) => {
                    relay.discover_at = now;
                    if relay.listener.is_none() {
                        relay.reserve_at = now;
                    }
                }
                Phase::Ready | Phase::Reading | Phase::Dialing { .. } | Phase::Merged => {}
            }
        }
    }

    /// Few peers are left, or a relay is back: look around more often for a while.
    pub(crate) fn be_eager(&mut self, now: MonotonicMillis) {
        self.eager_until = now.saturating_add(millis(config::EAGER_FOR));
        let soon = now.saturating_add(millis(config::EAGER_DISCOVERY_INTERVAL));
        for relay in self.links.iter_mut().filter_map(Link::relay_mut) {
            relay.discover_at = relay.discover_at.min(soon);
        }
    }

    /// The way to a peer through this relay, if it is connected.
    pub(crate) fn circuit(&self, relay: &PeerId, peer: PeerId) -> Option<Multiaddr> {
        let relay = self
            .links
            .iter()
            .filter_map(Link::relay)
            .find(|connected| connected.peer == *relay)?;
        Some(
            relay
                .address
                .clone()
                .with(Protocol::P2pCircuit)
                .with(Protocol::P2p(peer)),
        )
    }

    /// The relays that are connected.
    pub(crate) fn connected_peers(&self) -> impl Iterator<Item = PeerId> {
        let relays = self.links.iter().filter_map(Link::relay);
        relays.map(|connected| connected.peer)
    }

    /// What is shown of the relays.
    pub(crate) fn views(&self) -> Vec<RelayView> {
        self.links.iter().filter_map(Link::view).collect()
    }

    fn link(&mut self, LinkId(index): LinkId) -> Option<&mut Link> {
        self.links.get_mut(index)
    }

    fn of_peer(&mut self, peer: &PeerId) -> Option<&mut Link> {
        self.links
            .iter_mut()
            .find(|link| link.relay().is_some_and(|relay| relay.peer == *peer))
    }

    fn discovery_interval(&self, now: MonotonicMillis, members: usize) -> Duration {
        if members >= config::FEW_PEERS {
            config::DISCOVERY_INTERVAL
        } else if now < self.eager_until {
            config::EAGER_DISCOVERY_INTERVAL
        } else {
            config::LONELY_DISCOVERY_INTERVAL
        }
    }
}

#[cfg(test)]
mod tests;
