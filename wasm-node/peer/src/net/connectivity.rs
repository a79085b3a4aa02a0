//! The peers that this tab is connected to, and how it gets more. This is the router between the parts that look after
//! connections: [`Connections`] and [`Housekeeping`], [`Relays`] and [`RelayActions`], [`Dialer`] and [`PeerExchange`].
//! It hands each event to a part, and what follows from it to the others; the parts know nothing of each other's
//! state, but [`RelayActions`] reports to [`Relays`].

use std::{
    error::Error,
    io,
    task::{Context, Poll},
    time::Duration,
};

use heartchain_chain::time::{MonotonicMillis, UnixMillis};
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::{ConnectedPoint, transport::ListenerId},
    multiaddr::Protocol,
    ping,
    relay::{self, outbound::hop::ReserveError},
    swarm::ConnectionId,
};

use super::{
    behaviour::Protocols,
    codec::FrameEvent,
    connections::{Connections, Direction, Path, Role, UPGRADED_CIRCUIT_DELAY},
    dialer::Dialer,
    direct_transport::DirectTransport,
    discovery,
    events::Events,
    housekeeping::Housekeeping,
    paths::path_of,
    peer_exchange::PeerExchange,
    peer_link::PeerLink,
    peer_list::PeerList,
    peer_slots,
    relay_actions::RelayActions,
    relay_document::RelayDocument,
    relays::{Arrival, LinkId, RelayView, Relays},
};
use crate::clock::{millis, random_u64};

/// The parts that look after connections.
pub(crate) struct Connectivity {
    /// No peer is dialed while set, and every connection is closed as soon as it is established.
    isolated: bool,
    connections: Connections<PeerId, ConnectionId>,
    housekeeping: Housekeeping,
    relays: Relays,
    relay_actions: RelayActions,
    dialer: Dialer,
    exchange: PeerExchange<PeerId, ListenerId>,
}

impl Connectivity {
    /// No connections yet, and these relays and peers to dial.
    pub(crate) fn new(
        relays: Relays,
        relay_actions: RelayActions,
        dialer: Dialer,
        now: MonotonicMillis,
        wall: UnixMillis,
    ) -> Self {
        Self {
            isolated: false,
            connections: Connections::new(),
            housekeeping: Housekeeping::new(now, wall),
            relays,
            relay_actions,
            dialer,
            exchange: PeerExchange::new(),
        }
    }

    /// The relays, as the page shows them.
    pub(crate) fn relay_views(&self) -> Vec<RelayView> {
        self.relays.views()
    }

    /// The peers with a known role, as the page shows them.
    pub(crate) fn peer_links(&self) -> Vec<PeerLink> {
        self.connections
            .views()
            .filter(|(_, role, _, _)| *role != Role::Unknown)
            .map(|(peer, role, path, rtt)| PeerLink {
                peer,
                role,
                path,
                rtt,
            })
            .collect()
    }

    /// The next document of a relay that was read, or could not be (`None`).
    pub(crate) fn poll_document(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<(LinkId, Option<RelayDocument>)> {
        self.relay_actions.poll_document(context)
    }
}

// What the state machine and the page want.
impl Connectivity {
    /// Closes all connections to a peer, and does not dial it for a while. With `banned_until`, bans it until then.
    pub(crate) fn disconnect<D: DirectTransport>(
        &mut self,
        peer: PeerId,
        banned_until: Option<MonotonicMillis>,
        swarm: &mut Swarm<Protocols<D>>,
        events: &mut Events,
        now: MonotonicMillis,
    ) {
        if let Some(until) = banned_until {
            self.dialer.ban(peer, until, swarm.behaviour_mut());
        }
        if let Some(input) = self.connections.forget_member(peer) {
            events.input(input);
            self.on_neighbour_gone(&peer);
            self.look_for_peers_soon(now);
        }
        // After the end of its neighbourhood, which makes a peer that the user named a candidate again.
        self.dialer.hold_off(peer, banned_until, now);
        // This fails only if there is no connection left.
        let _ = swarm.disconnect_peer_id(peer);
    }

    /// A peer of a private room proved that it has the room's key.
    pub(crate) fn on_proved_member<D: DirectTransport>(
        &mut self,
        peer: &PeerId,
        protocols: &mut Protocols<D>,
    ) {
        protocols.connection_limiter.proved(peer);
    }

    /// Closes all connections and opens no more (`on`), or ends that. Returns whether this is a change.
    pub(crate) fn isolate<D: DirectTransport>(
        &mut self,
        on: bool,
        swarm: &mut Swarm<Protocols<D>>,
    ) -> bool {
        if self.isolated == on {
            return false;
        }
        self.isolated = on;
        if on {
            let peers: Vec<PeerId> = swarm.connected_peers().copied().collect();
            for peer in peers {
                // This fails only if there is no connection left.
                let _ = swarm.disconnect_peer_id(peer);
            }
        }
        true
    }

    /// This peer listens at an address of its own.
    pub(crate) fn own_address_changed(&mut self, now: MonotonicMillis) {
        self.relays.addresses_changed(now);
    }

    /// The page is back after it was hidden, frozen or offline.
    pub(crate) fn resumed(&mut self, now: MonotonicMillis) {
        self.connections.restart_silence_timers(now);
        self.dialer.resumed();
        self.exchange.retry_soon(now);
        self.relays.resumed(now);
    }
}

// What libp2p reports.
impl Connectivity {
    pub(crate) fn on_connected<D: DirectTransport>(
        &mut self,
        (peer, id): (PeerId, ConnectionId),
        endpoint: &ConnectedPoint,
        swarm: &mut Swarm<Protocols<D>>,
        events: &mut Events,
        now: MonotonicMillis,
    ) {
        let path = path_of(endpoint);
        let direction = if endpoint.is_dialer() {
            Direction::Outbound
        } else {
            Direction::Inbound
        };
        self.connections.opened(peer, id, path, direction, now);
        self.dialer.on_connected(id);
        if path == Path::Direct {
            // The circuit that it replaces is surplus by then.
            self.housekeeping
                .at_latest(now.saturating_add(millis(UPGRADED_CIRCUIT_DELAY)));
        }
        match self
            .relays
            .connected(id, peer, endpoint.get_remote_address(), now)
        {
            Arrival::Relay => {
                if let Some(input) = self.connections.confirm_relay(peer) {
                    events.input(input);
                }
                self.dialer.on_relay_connected(peer);
            }
            Arrival::Surplus => {
                swarm.close_connection(id);
            }
            Arrival::Other => {}
        }
        if self.isolated {
            // A dial that was in progress succeeded.
            swarm.close_connection(id);
        }
        events.changed();
    }

    /// A connection was closed. Returns the peer if it was a member and this its last connection.
    pub(crate) fn on_closed(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        events: &mut Events,
        now: MonotonicMillis,
    ) -> Option<PeerId> {
        if let Some(relay) = self.relays.closed(id, now) {
            self.dialer.on_source_gone(relay);
            self.look_for_peers_soon(now);
        }
        let was_neighbour = self.connections.is_neighbour(&peer);
        let gone = self.connections.closed(peer, id);
        let role = gone.as_ref().map(|gone| gone.role);
        if let Some(input) = gone.and_then(|gone| gone.input) {
            events.input(input);
        }
        match role {
            Some(Role::Member) => self.look_for_peers_soon(now),
            // The peer has no free slot, or never identified itself: back off.
            Some(Role::Unknown) => self.dialer.on_refused(peer, now),
            Some(Role::Relay) | None => {}
        }
        if was_neighbour && !self.connections.is_neighbour(&peer) {
            self.on_neighbour_gone(&peer);
        }
        events.changed();
        (role == Some(Role::Member)).then_some(peer)
    }

    pub(crate) fn on_dial_failed(
        &mut self,
        id: ConnectionId,
        events: &mut Events,
        now: MonotonicMillis,
    ) {
        if !self.dialer.on_dial_failed(id, now) && self.relays.dial_failed(id, now) {
            events.changed();
        }
    }

    pub(crate) fn on_external_address<D: DirectTransport>(
        &mut self,
        address: &Multiaddr,
        swarm: &mut Swarm<Protocols<D>>,
        now: MonotonicMillis,
    ) {
        let relay = circuit_relay(address);
        if relay.is_some_and(|relay| !self.relays.connected_peers().any(|peer| peer == relay)) {
            // Neighbours know this address already, and registrations must name relays only.
            swarm.remove_external_address(address);
        } else {
            self.relays.addresses_changed(now);
        }
    }

    pub(crate) fn on_listener_closed(
        &mut self,
        (listener, reason): (ListenerId, Result<(), io::Error>),
        events: &mut Events,
        now: MonotonicMillis,
    ) {
        let full = reason.is_err_and(|error| is_relay_full(&error));
        self.relays.listener_closed(listener, full, now);
        self.exchange.listener_closed(listener, now, random_u64());
        events.changed();
    }

    /// A relay's document was read, or could not be.
    pub(crate) fn on_document<D: DirectTransport>(
        &mut self,
        link: LinkId,
        document: Option<RelayDocument>,
        protocols: &mut Protocols<D>,
        events: &mut Events,
        now: MonotonicMillis,
    ) {
        if let Some(servers) = self.relay_actions.stun_servers(document.as_ref()) {
            protocols.direct.set_ice_servers(servers);
        }
        self.relays.document(link, document, now);
        events.changed();
    }

    pub(crate) fn on_relay(
        &mut self,
        event: &relay::client::Event,
        events: &mut Events,
        now: MonotonicMillis,
    ) {
        match event {
            relay::client::Event::ReservationReqAccepted { relay_peer_id, .. } => {
                self.relays.reserved(relay_peer_id, now);
                self.exchange.reserved(relay_peer_id);
                events.changed();
            }
            relay::client::Event::OutboundCircuitEstablished { .. }
            | relay::client::Event::InboundCircuitEstablished { .. } => {}
        }
    }

    pub(crate) fn on_rendezvous(&mut self, event: FrameEvent, now: MonotonicMillis) {
        if let Some((relay, outcome)) = self.relay_actions.on_rendezvous(event) {
            let found = self.relays.on_rendezvous(&relay, outcome, now);
            self.dialer.on_discovered(relay, found, now);
        }
    }

    /// The direct connection to a peer has fallen silent.
    pub(crate) fn on_doubtful<D: DirectTransport>(
        &mut self,
        peer: PeerId,
        swarm: &mut Swarm<Protocols<D>>,
    ) {
        if !self.isolated {
            let (relays, exchange) = (&self.relays, &self.exchange);
            self.dialer.redial_over_circuit(
                peer,
                swarm,
                relays.connected_peers(),
                |source, peer| circuit_through(relays, exchange, source, peer),
            );
        }
    }

    /// A peer told which protocols it speaks: `speaks_sync` is whether this room's are among them.
    pub(crate) fn on_identified<D: DirectTransport>(
        &mut self,
        peer: PeerId,
        speaks_sync: bool,
        swarm: &mut Swarm<Protocols<D>>,
        events: &mut Events,
        now: MonotonicMillis,
    ) {
        if self.isolated || self.connections.role(&peer) != Some(Role::Unknown) {
            return;
        }
        if speaks_sync {
            self.confirm_member(peer, events);
        } else {
            self.disconnect(peer, None, swarm, events, now);
        }
    }

    /// Makes a peer a member: it announced this room's sync protocol, or uses a protocol of the room. Returns whether it
    /// is one.
    pub(crate) fn confirm_member(&mut self, peer: PeerId, events: &mut Events) -> bool {
        if let Some(input) = self.connections.confirm_member(peer) {
            self.dialer.on_member(peer);
            events.input(input);
            events.changed();
        }
        self.connections.role(&peer) == Some(Role::Member)
    }

    pub(crate) fn on_ping<D: DirectTransport>(
        &mut self,
        event: &ping::Event,
        swarm: &mut Swarm<Protocols<D>>,
        events: &mut Events,
        now: MonotonicMillis,
    ) {
        let (peer, id) = (&event.peer, event.connection);
        match &event.result {
            Ok(rtt) => {
                if self.connections.on_pong(peer, id, *rtt, now) {
                    events.changed();
                }
            }
            Err(ping::Failure::Unsupported) => {}
            Err(ping::Failure::Timeout | ping::Failure::Other { .. }) => {
                if self.connections.needs_pings(peer) {
                    swarm.close_connection(id);
                }
            }
        }
    }

    pub(crate) fn on_exchange<D: DirectTransport>(
        &mut self,
        event: FrameEvent,
        protocols: &mut Protocols<D>,
        now: MonotonicMillis,
    ) {
        let connections = &self.connections;
        // Only members get the list, with other members.
        let limiter = &protocols.connection_limiter;
        let is_member =
            |peer: &PeerId| connections.role(peer) == Some(Role::Member) && limiter.is_proved(peer);
        let list = |peer: PeerId| {
            let others = connections.neighbours();
            let others = others.filter(|other| *other != peer && limiter.is_proved(other));
            is_member(&peer).then(|| PeerList::new(others))
        };
        let protocol = &mut protocols.neighbours;
        if let Some(learned) = self.exchange.on_event(event, protocol, list) {
            self.dialer
                .on_exchanged(learned.from, learned.peers.peers(), now);
        }
    }

    /// This peer names no others any more, and carries no circuits.
    fn on_neighbour_gone(&mut self, peer: &PeerId) {
        if self.exchange.remove(peer) {
            self.dialer.on_source_gone(*peer);
        }
    }

    fn look_for_peers_soon(&mut self, now: MonotonicMillis) {
        self.relays.retry_soon(now);
        self.exchange.retry_soon(now);
    }
}

// What is due by time.
impl Connectivity {
    /// Does what is due: first what closes connections, then what opens some.
    pub(crate) fn poll<D: DirectTransport>(
        &mut self,
        swarm: &mut Swarm<Protocols<D>>,
        now: MonotonicMillis,
        wall: UnixMillis,
    ) {
        if let Some(pass) = self.housekeeping.poll(now, wall) {
            if pass.was_suspended {
                self.connections.restart_silence_timers(now);
            }
            self.dialer.release_bans(swarm.behaviour_mut(), now);
            for connection in self.connections.to_close(swarm.local_peer_id(), now) {
                swarm.close_connection(connection);
            }
        }
        if !self.isolated {
            self.poll_relays(swarm, now);
            self.poll_exchange(swarm, now);
            self.poll_dialer(swarm, now);
        }
    }

    fn poll_relays<D: DirectTransport>(
        &mut self,
        swarm: &mut Swarm<Protocols<D>>,
        now: MonotonicMillis,
    ) {
        let members = self.members(swarm.behaviour());
        for action in self.relays.tick(now, members) {
            self.relay_actions
                .perform(action, &mut self.relays, swarm, now);
        }
    }

    fn poll_exchange<D: DirectTransport>(
        &mut self,
        swarm: &mut Swarm<Protocols<D>>,
        now: MonotonicMillis,
    ) {
        let limiter = &swarm.behaviour().connection_limiter;
        for peer in self.connections.neighbours() {
            // A stranger would take the place of a member.
            if limiter.is_proved(&peer) {
                self.exchange
                    .add_neighbour(peer, limiter.is_outbound(&peer), now);
            }
        }
        let interval = self.exchange_interval(swarm.behaviour(), now);
        self.exchange.poll(swarm, now, interval);
    }

    fn poll_dialer<D: DirectTransport>(
        &mut self,
        swarm: &mut Swarm<Protocols<D>>,
        now: MonotonicMillis,
    ) {
        let wanted = self.wanted_peers(swarm.behaviour(), now);
        let (relays, exchange, connections) = (&self.relays, &self.exchange, &self.connections);
        self.dialer.poll(
            swarm,
            now,
            wanted,
            |peer| connections.role(peer).is_some(),
            |source, peer| circuit_through(relays, exchange, source, peer),
        );
        for peer in self.connections.relayed_members() {
            self.dialer.replace_circuit(peer, swarm, now);
        }
    }

    /// When [`Self::poll`] is next due.
    pub(crate) fn next_deadline<D: DirectTransport>(
        &self,
        protocols: &Protocols<D>,
        now: MonotonicMillis,
    ) -> MonotonicMillis {
        // An isolated tab neither dials nor exchanges peers.
        let due = if self.isolated {
            [None, None]
        } else {
            let wants_peers = self.exchange_interval(protocols, now).is_some();
            [self.relays.due(), self.exchange.due(wants_peers)]
        };
        due.into_iter()
            .flatten()
            .fold(self.housekeeping.next_deadline(), MonotonicMillis::min)
    }

    /// Time between two peer list requests to a neighbour; `None` while there are enough peers.
    fn exchange_interval<D: DirectTransport>(
        &self,
        protocols: &Protocols<D>,
        now: MonotonicMillis,
    ) -> Option<Duration> {
        let interval = discovery::interval(self.members(protocols), false);
        (self.wanted_peers(protocols, now) > 0).then_some(interval)
    }

    /// How many more peers this tab wants to dial.
    fn wanted_peers<D: DirectTransport>(
        &self,
        protocols: &Protocols<D>,
        now: MonotonicMillis,
    ) -> usize {
        let outbound = protocols.connection_limiter.outbound(now);
        peer_slots::wanted(self.members(protocols), outbound)
    }

    /// How many connected peers are known as members. In a private room these have proved that they have its key.
    fn members<D: DirectTransport>(&self, protocols: &Protocols<D>) -> usize {
        let proved = protocols.connection_limiter.proved_members();
        proved.unwrap_or_else(|| self.connections.members())
    }
}

/// The circuit address of a peer through the relay or neighbour that reported it, if that is still connected.
fn circuit_through(
    relays: &Relays,
    exchange: &PeerExchange<PeerId, ListenerId>,
    source: &PeerId,
    peer: PeerId,
) -> Option<Multiaddr> {
    relays
        .circuit(source, peer)
        .or_else(|| exchange.circuit(source, peer))
}

/// Whether a relay refused a reservation because it has no more.
fn is_relay_full(error: &io::Error) -> bool {
    let mut next = error.get_ref().map(|inner| inner as &(dyn Error + 'static));
    while let Some(error) = next {
        if let Some(refusal) = error.downcast_ref() {
            return matches!(refusal, ReserveError::ResourceLimitExceeded);
        }
        next = match error.downcast_ref::<io::Error>() {
            // `io::Error::source` skips the error that it wraps.
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    false
}

/// The relay or neighbour of an address that is a reservation.
fn circuit_relay(address: &Multiaddr) -> Option<PeerId> {
    let mut relay = None;
    for part in address {
        if let Protocol::P2p(peer) = part {
            relay = Some(peer);
        } else if part == Protocol::P2pCircuit {
            return relay;
        }
    }
    None
}
