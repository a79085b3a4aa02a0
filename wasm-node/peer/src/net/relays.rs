//! This tab's relays: the addresses of each, and its progress through dialing, reservation, registration and discovery.
//! It never touches the swarm: it returns the actions that are due, and is told their results.

mod action;
mod link;

use std::time::Duration;

use heartchain_chain::{compact_sort, hash::RoomId, time::MonotonicMillis};
use libp2p::{
    Multiaddr, PeerId, core::transport::ListenerId, multiaddr::Protocol, swarm::ConnectionId,
};

pub use self::link::RelayView;
use self::link::{Link, Phase, RENDEZVOUS_RENEW, RESERVATION_TIMEOUT, Source};
pub(crate) use self::{
    action::{Action, LinkId},
    link::Arrival,
};
use super::{
    address::{PageScheme, RelayAddress},
    backoff::jitter,
    discovery::{
        self, EAGER_DISCOVERY_DURATION, EAGER_DISCOVERY_INTERVAL, LONELY_DISCOVERY_INTERVAL,
    },
    relay_choice::{self, MAX_DEPLOYMENT, USED_RELAYS},
    relay_document::RelayDocument,
    rendezvous::{DiscoveredPeer, RendezvousEvent, message::Cookie},
};
use crate::clock::{millis, random_u64};

/// How long a dial to a relay's address may stay unanswered before the next address is tried beside it. The first may
/// still succeed: a dead WebRTC address gives no sign until `DIAL_TIMEOUT`.
const DIAL_FALLBACK_DELAY: Duration = Duration::from_millis(2_500);
/// A reservation that is lost after it stood for this long is requested again at once: in libp2p-relay 0.22, dialing a
/// peer that does not answer for a minute ends the dialer's own reservation. One that is always lost sooner has to
/// wait.
const STEADY_RESERVATION: Duration = Duration::from_secs(10);
/// Relays in the option `relays`.
const MAX_RELAYS: usize = 8;
/// Addresses of one relay: a dozen network interfaces with two transports.
const MAX_RELAY_ADDRESSES: usize = 32;

/// Links in total, those to relays that left the deployment included. Only a tab that is open while its relays are renamed
/// again and again reaches it, and it then keeps to those it knows until it is reloaded.
const MAX_LINKS: usize = 4 * MAX_DEPLOYMENT;
/// How often a tab with several relays reads the page's document again, for changes of their list.
const LIST_INTERVAL: Duration = Duration::from_secs(600);

/// The link to the relay that the page's document describes, if there is one.
const PAGE_RELAY: LinkId = LinkId(0);

/// All relays of this tab.
#[derive(Debug)]
pub(crate) struct Relays {
    links: Vec<Link>,
    room: RoomId,
    /// The deployment's relays, as indices of links, highest rank first. Empty if all links are used, as given ones are.
    ranked: Vec<usize>,
    /// When the list is next read again.
    list_at: Option<MonotonicMillis>,
    scheme: PageScheme,
    eager_until: MonotonicMillis,
}

impl Relays {
    /// Relays at the given addresses; addresses with the same peer ID are one relay. Without addresses, the only relay
    /// is the one that the document describes.
    pub(crate) fn new(
        given: Vec<RelayAddress>,
        scheme: PageScheme,
        room: RoomId,
        now: MonotonicMillis,
    ) -> Self {
        let mut links: Vec<Link> = Vec::new();
        let is_given = !given.is_empty();
        if !is_given {
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
            } else if links.len() < MAX_RELAYS {
                let mut link = Link::new(Source::Given, now);
                link.addresses.push(address);
                links.push(link);
            }
        }
        for link in &mut links {
            compact_sort::sort_by_key(&mut link.addresses, |address| address.transport);
            link.addresses.truncate(MAX_RELAY_ADDRESSES);
        }
        Self {
            links,
            room,
            ranked: if is_given {
                Vec::new()
            } else {
                vec![PAGE_RELAY.0]
            },
            list_at: None,
            scheme,
            eager_until: now.saturating_add(millis(EAGER_DISCOVERY_DURATION)),
        }
    }

    /// The actions that are due, given how many members of the room are connected.
    pub(crate) fn tick(&mut self, now: MonotonicMillis, members: usize) -> Vec<Action> {
        let interval = discovery::interval(members, now < self.eager_until);
        let mut actions = self.choose(now);
        let links = self.links.iter_mut().enumerate();
        actions.extend(links.flat_map(|(index, link)| link.tick(LinkId(index), now, interval)));
        if self.list_at.is_some_and(|at| at <= now) {
            self.list_at = Some(now.saturating_add(millis(LIST_INTERVAL)));
            actions.push(Action::ReadDocument(PAGE_RELAY, None));
        }
        actions
    }

    /// Uses the relays of the deployment that rank highest and work, and leaves others once these are steady.
    fn choose(&mut self, now: MonotonicMillis) -> Vec<Action> {
        if self.ranked.is_empty() {
            return Vec::new();
        }
        let links = &self.links;
        let ranked = self.ranked.iter().filter_map(|index| links.get(*index));
        let used = relay_choice::used(ranked.map(Link::works));
        let used = self.ranked.get(..used).unwrap_or_default();
        let steady = used.iter().filter_map(|index| links.get(*index));
        let steady = steady.filter(|link| link.is_steady(now)).count();
        let mut actions = Vec::new();
        for (index, link) in self.links.iter_mut().enumerate() {
            if used.contains(&index) {
                link.begin(now);
            } else {
                link.rest();
                if steady >= USED_RELAYS.min(self.ranked.len()) {
                    actions.extend(link.leave());
                }
            }
        }
        actions
    }

    /// Takes over the list of relays in the document of the page's relay. A list that lacks that relay is ignored: the others
    /// do not count it among them.
    fn take_list(&mut self, document: &RelayDocument, now: MonotonicMillis) {
        let https_only = self.scheme == PageScheme::Secure;
        let ranked = relay_choice::rank(self.room, &document.relays, https_only);
        let own = document.url.as_deref();
        if ranked.len() < 2 || !ranked.iter().any(|url| Some(*url) == own) {
            self.ranked = vec![PAGE_RELAY.0];
            self.list_at = None;
            return;
        }
        self.ranked.clear();
        self.list_at = Some(now.saturating_add(millis(LIST_INTERVAL)));
        for url in ranked {
            let known = self.links.iter().position(|link| match &link.source {
                Source::Document => Some(url) == own,
                Source::Other(other) => other == url && Some(url) != own,
                Source::Given => false,
            });
            let index = known.unwrap_or(self.links.len());
            if known.is_none() {
                if self.links.len() >= MAX_LINKS {
                    continue;
                }
                let mut link = Link::new(Source::Other(url.to_owned()), now);
                link.rest();
                self.links.push(link);
            }
            self.ranked.push(index);
        }
    }

    /// When [`Self::tick`] is next due.
    pub(crate) fn due(&self) -> Option<MonotonicMillis> {
        let links = self.links.iter().filter_map(Link::due);
        links.chain(self.list_at).min()
    }

    /// The document was read, or could not be (`None`). Without it, the addresses from before are tried.
    pub(crate) fn document(
        &mut self,
        id: LinkId,
        document: Option<RelayDocument>,
        now: MonotonicMillis,
    ) {
        if let Some(document) = &document
            && matches!(
                self.links.get(id.0).map(|link| &link.source),
                Some(Source::Document)
            )
        {
            self.take_list(document, now);
        }
        let scheme = self.scheme;
        let Some(link) = self.link(id) else { return };
        if !matches!(link.phase, Phase::Reading) {
            return;
        }
        link.full = document.as_ref().is_some_and(|document| document.full);
        let was_read = document.is_some();
        if let Some(document) = document {
            let mut addresses: Vec<RelayAddress> = document
                .addresses
                .iter()
                .take(MAX_RELAY_ADDRESSES)
                .filter_map(|text| RelayAddress::parse(text, scheme).ok())
                .collect();
            compact_sort::sort_by_key(&mut addresses, |address| address.transport);
            if addresses != link.addresses {
                link.addresses = addresses;
                link.next = 0;
            }
        }
        if !was_read || link.addresses.is_empty() {
            link.fails();
        }
        if link.addresses.is_empty() {
            link.wait(now);
        } else {
            link.phase = Phase::Ready;
        }
    }

    /// The relay is being dialed, with this connection.
    pub(crate) fn dialing(&mut self, id: LinkId, connection: ConnectionId, now: MonotonicMillis) {
        if let Some(link) = self.link(id) {
            let until = now.saturating_add(millis(DIAL_FALLBACK_DELAY));
            link.phase = Phase::Dialing { connection, until };
        }
    }

    /// The dial could not be started.
    pub(crate) fn dial_not_started(&mut self, id: LinkId, now: MonotonicMillis) {
        if let Some(link) = self.link(id) {
            link.failed(now);
        }
    }

    /// A dial failed. Returns whether it was to a relay.
    pub(crate) fn dial_failed(&mut self, failed: ConnectionId, now: MonotonicMillis) -> bool {
        self.links
            .iter_mut()
            .any(|link| link.dial_failed(failed, now))
    }

    /// A connection to a peer at this address was established. Returns what it means for the relays.
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
                self.retry_soon(now);
                Arrival::Relay
            }
            (arrived, _) => arrived.map_or(Arrival::Other, |(_, arrival)| arrival),
        }
    }

    /// Merges two links that turned out to lead to one relay, because at least one address had no peer ID. The
    /// connected link gets all addresses, and the other one stays idle.
    fn merge(&mut self, from: usize, into: usize) {
        let Some(link) = self.links.get_mut(from) else {
            return;
        };
        link.phase = Phase::Merged;
        let addresses = std::mem::take(&mut link.addresses);
        if let Some(link) = self.links.get_mut(into) {
            link.addresses.extend(addresses);
            link.addresses.truncate(MAX_RELAY_ADDRESSES);
        }
    }

    /// A connection was closed. Returns the relay if it was a relay's main connection.
    pub(crate) fn closed(&mut self, gone: ConnectionId, now: MonotonicMillis) -> Option<PeerId> {
        let link = self.links.iter_mut().find(
            |link| matches!(&link.phase, Phase::Connected(connected) if connected.connection == gone),
        )?;
        let peer = link.relay()?.peer;
        link.next = 0;
        link.wait(now);
        Some(peer)
    }

    /// A reservation was requested with this listener; `None` if the request could not be started.
    pub(crate) fn listening(
        &mut self,
        id: LinkId,
        listener: Option<ListenerId>,
        now: MonotonicMillis,
    ) {
        let Some(link) = self.link(id) else { return };
        let wait = if listener.is_some() {
            RESERVATION_TIMEOUT
        } else {
            link.reservation.failed(random_u64())
        };
        if let Some(relay) = link.relay_mut() {
            relay.listener = listener;
            relay.reserve_at = now.saturating_add(millis(wait));
        }
    }

    /// The relay granted or renewed the reservation.
    pub(crate) fn reserved(&mut self, peer: &PeerId, now: MonotonicMillis) {
        let Some(link) = self.link_to(peer) else {
            return;
        };
        link.recovered();
        if let Some(relay) = link.relay_mut()
            && !relay.reserved
        {
            relay.reserved = true;
            relay.full = false;
            relay.steady_at = now.saturating_add(millis(STEADY_RESERVATION));
            relay.register_at = Some(now);
            relay.discover_at = now;
        }
    }

    /// The addresses of this tab changed: registers it again at every relay.
    pub(crate) fn addresses_changed(&mut self, now: MonotonicMillis) {
        for relay in self.links.iter_mut().filter_map(Link::relay_mut) {
            if relay.reserved {
                relay.register_at = Some(now);
            }
        }
    }

    /// A listener was closed, because the relay is full or for another reason. If it belonged to a reservation, requests
    /// another: at once if the reservation had been steady, and after a backoff otherwise.
    pub(crate) fn listener_closed(&mut self, gone: ListenerId, full: bool, now: MonotonicMillis) {
        for link in &mut self.links {
            if link
                .relay()
                .is_none_or(|relay| relay.listener != Some(gone))
            {
                continue;
            }
            let wait = if link.is_steady(now) {
                Duration::ZERO
            } else {
                link.fails();
                link.reservation.failed(random_u64())
            };
            if let Some(relay) = link.relay_mut() {
                relay.listener = None;
                relay.reserved = false;
                relay.full = full;
                relay.register_at = None;
                relay.reserve_at = now.saturating_add(millis(wait));
            }
        }
    }

    /// A request to a relay's rendezvous ended. Returns the peers that it reported, each with the lifetime of its
    /// registration.
    pub(crate) fn on_rendezvous(
        &mut self,
        relay: &PeerId,
        outcome: RendezvousEvent,
        now: MonotonicMillis,
    ) -> Vec<DiscoveredPeer> {
        match outcome {
            RendezvousEvent::Registered(ttl) => self.registered(relay, ttl, now),
            RendezvousEvent::Discovered(None) => self.discovered(relay, None),
            RendezvousEvent::Discovered(Some(found)) => {
                self.discovered(relay, found.cookie);
                return found.peers;
            }
        }
        Vec::new()
    }

    /// The relay registered this tab for `ttl`, or refused (`None`).
    pub(crate) fn registered(
        &mut self,
        peer: &PeerId,
        ttl: Option<Duration>,
        now: MonotonicMillis,
    ) {
        let Some(relay) = self.link_to(peer).and_then(Link::relay_mut) else {
            return;
        };
        let again = ttl.map_or(LONELY_DISCOVERY_INTERVAL, |ttl| {
            (ttl / 2).min(RENDEZVOUS_RENEW)
        });
        if relay.reserved {
            // A relay that grants a TTL of seconds must not cause a flood of requests.
            let again = jitter(again.max(LONELY_DISCOVERY_INTERVAL), random_u64());
            relay.register_at = Some(now.saturating_add(millis(again)));
        }
    }

    /// The relay answered a discovery. With the cookie, its next response contains only what is new. `None` if it
    /// refused or gave no cookie.
    pub(crate) fn discovered(&mut self, peer: &PeerId, cookie: Option<Cookie>) {
        if let Some(relay) = self.link_to(peer).and_then(Link::relay_mut) {
            relay.cookie = cookie;
        }
    }

    /// The page resumed or is online again: ends all waits.
    pub(crate) fn resumed(&mut self, now: MonotonicMillis) {
        self.retry_soon(now);
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
                Phase::Ready
                | Phase::Reading
                | Phase::Dialing { .. }
                | Phase::Merged
                | Phase::Spare => {}
            }
        }
    }

    /// Discovers peers more often for a while, because few are left or a relay is back.
    pub(crate) fn retry_soon(&mut self, now: MonotonicMillis) {
        self.eager_until = now.saturating_add(millis(EAGER_DISCOVERY_DURATION));
        let soon = now.saturating_add(millis(EAGER_DISCOVERY_INTERVAL));
        for relay in self.links.iter_mut().filter_map(Link::relay_mut) {
            relay.discover_at = relay.discover_at.min(soon);
        }
    }

    /// The circuit address of a peer behind this relay, if the relay is connected.
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

    /// The peer IDs of connected relays.
    pub(crate) fn connected_peers(&self) -> impl Iterator<Item = PeerId> {
        let relays = self.links.iter().filter_map(Link::relay);
        relays.map(|connected| connected.peer)
    }

    /// The relays, as the page shows them.
    pub(crate) fn views(&self) -> Vec<RelayView> {
        self.links.iter().filter_map(Link::view).collect()
    }

    fn link(&mut self, LinkId(index): LinkId) -> Option<&mut Link> {
        self.links.get_mut(index)
    }

    fn link_to(&mut self, peer: &PeerId) -> Option<&mut Link> {
        self.links
            .iter_mut()
            .find(|link| link.relay().is_some_and(|relay| relay.peer == *peer))
    }
}

#[cfg(test)]
mod tests;
