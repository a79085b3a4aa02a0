//! [`Network`]: the libp2p swarm of a tab, reporting inputs of the sync state machine. It never judges the data that a
//! peer sends; all it checks is whether the peer speaks this room's protocols.
//!
//! Three parts share the swarm: [`Connectivity`], [`Requests`] and [`Gossip`]. This file hands each event of libp2p and
//! each command of the state machine to one of them, and what follows from it to the others.

use std::{
    fmt,
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use heartchain_chain::{room::Room, time::MonotonicMillis};
use heartchain_sync::{
    Input, driver,
    io::{GossipId, InboundId, RequestFailure, RequestId, Verdict},
    message::{GossipItem, Request, Response},
};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm,
    core::{muxing::StreamMuxerBox, transport::Boxed},
    identify,
    identity::Keypair,
    multiaddr, relay,
    swarm::{self, SwarmEvent},
};

use super::{
    address::{NamedPeer, PageScheme, RelayAddress},
    behaviour::{Protocols, ProtocolsEvent, RoomNames},
    codec::FrameEvent,
    connectivity::Connectivity,
    dialer::Dialer,
    direct_transport::DirectTransport,
    error::NetworkError,
    events::{Events, NetworkEvent},
    flood_strikes::FloodStrikes,
    gossip::Gossip,
    gossip_limiter,
    ice::IceServer,
    identity::peer_id_of,
    listeners::Listeners,
    own_addresses::Reach,
    paths::neighbour_address,
    peer_link::PeerLink,
    relay_actions::RelayActions,
    relay_document::ReadDocument,
    relays::{RelayView, Relays},
    requests::{self, Requests},
    scope::Scope,
    trace,
    turn::{TaskTurns, Turn},
};
use crate::clock::{self, Alarm};

/// An unused connection is closed after this time. Gossip and relaying use theirs all the time.
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(600);

/// A platform's transports, and the behaviours that belong to them.
pub struct Transports<D> {
    /// Everything that the peer dials with and listens on, with handshake and muxer.
    pub transport: Boxed<(PeerId, StreamMuxerBox)>,
    /// Runs the futures of connections.
    pub swarm: swarm::Config,
    /// Of the transport for circuits in `transport`.
    pub relay: relay::client::Behaviour,
    /// Of the direct transport in `transport`.
    pub direct: D,
    /// When others get their turn.
    pub turns: Box<dyn TaskTurns>,
}

/// The configuration of a [`Network`].
pub struct NetworkConfig<'a> {
    /// The key that the peer ID is derived from, see [`network_key`](super::network_key).
    pub key: Keypair,
    /// The room to take part in.
    pub room: &'a Room,
    /// All relays, including those that lead to the `named` peers.
    pub relays: Vec<RelayAddress>,
    /// Peers to dial even if no relay reports them.
    pub named: Vec<NamedPeer>,
    /// STUN and TURN servers for direct connections; `None` uses those that the relay documents name.
    pub ice_servers: Option<Vec<IceServer>>,
    /// What addresses may be dialed.
    pub scheme: PageScheme,
    /// Where this peer is: addresses of other peers that are closer are not dialed.
    pub scope: Scope,
    /// Reads the documents of relays.
    pub read_document: ReadDocument,
}

impl<D> fmt::Debug for Transports<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transports").finish_non_exhaustive()
    }
}

impl fmt::Debug for NetworkConfig<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key must not reach a log.
        f.debug_struct("NetworkConfig").finish_non_exhaustive()
    }
}

impl<D: DirectTransport> fmt::Debug for Network<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = self.swarm.local_peer_id();
        f.debug_struct("Network")
            .field("peer", peer)
            .finish_non_exhaustive()
    }
}

/// The network side of a peer.
pub struct Network<D: DirectTransport> {
    swarm: Swarm<Protocols<D>>,
    /// The protocol that members of this room announce.
    sync_protocol: StreamProtocol,
    connectivity: Connectivity,
    requests: Requests,
    gossip: Gossip,
    flood_strikes: FloodStrikes<PeerId>,
    /// Fires when a part has something to do.
    alarm: Alarm,
    /// What has been done since the browser had its last turn.
    turn: Turn,
    turns: Box<dyn TaskTurns>,
    /// Whether something has happened since the parts were last polled.
    must_poll_parts: bool,
    events: Events,
    listeners: Listeners,
}

impl<D: DirectTransport> Network<D> {
    /// Sets up the network. It dials nothing until [`Self::next`] is polled.
    ///
    /// # Errors
    /// If a protocol refuses its configuration.
    pub fn new(setup: NetworkConfig<'_>, transports: Transports<D>) -> Result<Self, NetworkError> {
        let key = setup.key;
        let names = RoomNames::of(setup.room.id())?;
        let form = setup.room.form();
        let requires_proof = setup.room.requires_proof();
        let (relay, direct) = (transports.relay, transports.direct);
        let protocols = Protocols::new(&key, relay, direct, &names, requires_proof)?;
        let settings = transports
            .swarm
            .with_idle_connection_timeout(IDLE_CONNECTION_TIMEOUT);
        let mut swarm = Swarm::new(transports.transport, protocols, peer_id_of(&key), settings);
        // Neighbours reach this tab at this address, and circuits through it start with it.
        swarm.add_external_address(neighbour_address(peer_id_of(&key)));
        let wants_stun = setup.ice_servers.is_none();
        let servers = setup.ice_servers.unwrap_or_default();
        swarm.behaviour_mut().direct.set_ice_servers(&servers);
        let (now, gossip) = (clock::monotonic(), Gossip::new(form, &names));
        let mut alarm = Alarm::default();
        alarm.set(now);
        let connectivity = Connectivity::new(
            Relays::new(setup.relays, setup.scheme, setup.room.id(), now),
            RelayActions::new(key, names.namespace, setup.read_document, wants_stun),
            Dialer::new(
                setup.named,
                Reach {
                    scheme: setup.scheme,
                    scope: setup.scope,
                },
            ),
            now,
            clock::now(),
        );
        Ok(Self {
            swarm,
            sync_protocol: names.sync,
            connectivity,
            requests: Requests::new(form),
            gossip,
            flood_strikes: FloodStrikes::new(),
            alarm,
            turn: Turn::default(),
            turns: transports.turns,
            must_poll_parts: false,
            events: Events::default(),
            listeners: Listeners::default(),
        })
    }

    /// Listens at an address of the platform's transports, and registers it for other peers. Reports
    /// [`NetworkEvent::Listening`] for each address at which this peer can be reached then.
    ///
    /// # Errors
    /// If it is no address, or one that cannot be listened on.
    pub fn listen_on(&mut self, address: &str) -> Result<(), NetworkError> {
        let refused = |reason: String| NetworkError::Listen {
            address: address.to_owned(),
            reason,
        };
        let parsed: Multiaddr = address
            .parse()
            .map_err(|error: multiaddr::Error| refused(error.to_string()))?;
        let listener = self
            .swarm
            .listen_on(parsed)
            .map_err(|error| refused(error.to_string()))?;
        self.listeners.add(listener);
        Ok(())
    }

    /// The peer ID of this tab.
    pub fn local_peer_id(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    /// The relays, as the page shows them.
    pub fn relay_views(&self) -> Vec<RelayView> {
        self.connectivity.relay_views()
    }

    /// The peers with a known role, as the page shows them.
    pub fn peer_links(&self) -> Vec<PeerLink> {
        self.connectivity.peer_links()
    }

    /// Waits for the next event. The future is cancel safe: dropping it loses no event.
    pub async fn next(&mut self) -> NetworkEvent {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Handles what is ready, within the bounds of a [`Turn`].
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<NetworkEvent> {
        loop {
            if let Some(event) = self.events.next() {
                return Poll::Ready(event);
            }
            if self.turns.has_begun() {
                self.turn = Turn::default();
            }
            if self.turn.is_fresh() {
                self.turns.request();
            }
            if self.turn.take_poll(clock::monotonic()) && self.poll_once(context) {
                self.must_poll_parts = true;
            } else if self.must_poll_parts && self.turn.take_tick() {
                self.must_poll_parts = false;
                // Then the swarm is polled again: it may have something to do for them.
                self.poll_parts();
            } else {
                if self.must_poll_parts || self.turn.is_over(clock::monotonic()) {
                    self.turns.wake(context);
                }
                return Poll::Pending;
            }
        }
    }

    /// Handles one thing that is ready. Returns whether one was.
    fn poll_once(&mut self, context: &mut Context<'_>) -> bool {
        if let Poll::Ready(Some(event)) = self.swarm.poll_next_unpin(context) {
            self.on_swarm_event(event);
            return true;
        }
        if let Poll::Ready((link, document)) = self.connectivity.poll_document(context) {
            let protocols = self.swarm.behaviour_mut();
            let (events, now) = (&mut self.events, clock::monotonic());
            self.connectivity
                .on_document(link, document, protocols, events, now);
            return true;
        }
        (&mut self.alarm).poll_unpin(context).is_ready()
    }
}

// What the state machine wants. Each command is carried out once.
impl<D: DirectTransport> driver::Network for Network<D> {
    type Peer = PeerId;

    fn request(
        &mut self,
        peer: PeerId,
        id: RequestId,
        request: &Request,
        deadline: MonotonicMillis,
    ) {
        // libp2p would dial a peer that is not connected.
        if self.swarm.is_connected(&peer) {
            let protocol = &mut self.swarm.behaviour_mut().sync;
            self.requests.send(protocol, peer, id, request, deadline);
            self.set_alarm();
        } else {
            let failure = RequestFailure::Closed;
            self.events
                .input(Input::RequestFailed { peer, id, failure });
        }
    }

    fn respond(&mut self, id: InboundId, response: &Response) {
        let protocol = &mut self.swarm.behaviour_mut().sync;
        self.requests.respond(protocol, id, response);
    }

    fn refuse(&mut self, id: InboundId) {
        self.requests.refuse(id);
    }

    fn publish(&mut self, item: &GossipItem) {
        let gossipsub = self.swarm.behaviour_mut().gossip.gossip();
        self.gossip.publish(gossipsub, item);
    }

    fn report_verdict(&mut self, id: GossipId, from: &PeerId, verdict: Verdict) {
        let gossipsub = self.swarm.behaviour_mut().gossip.gossip();
        self.gossip.apply(gossipsub, id, from, verdict);
    }

    fn on_proved_member(&mut self, peer: PeerId) {
        self.connectivity
            .on_proved_member(&peer, self.swarm.behaviour_mut());
        self.events.changed();
        // It is asked for its neighbours and a reservation at once.
        self.poll_parts();
    }

    fn disconnect(&mut self, peer: PeerId, until: Option<MonotonicMillis>) {
        let now = clock::monotonic();
        self.connectivity
            .disconnect(peer, until, &mut self.swarm, &mut self.events, now);
        self.requests.forget(&peer);
    }
}

// What the page wants.
impl<D: DirectTransport> Network<D> {
    /// Closes all connections and opens no more (`on`), or rejoins the network at once.
    pub fn isolate(&mut self, on: bool) {
        if self.connectivity.isolate(on, &mut self.swarm) {
            if !on {
                self.resumed();
            }
            self.events.changed();
        }
    }

    /// The page is back after it was hidden, frozen or offline.
    pub fn resumed(&mut self) {
        self.connectivity.resumed(clock::monotonic());
        self.swarm.behaviour_mut().direct.retry_soon();
        self.poll_parts();
    }
}

// What libp2p reports.
impl<D: DirectTransport> Network<D> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "other events are followed by one that is handled"
    )]
    fn on_swarm_event(&mut self, event: SwarmEvent<ProtocolsEvent<D>>) {
        trace::swarm_event(&event);
        let now = clock::monotonic();
        let (swarm, events) = (&mut self.swarm, &mut self.events);
        match event {
            SwarmEvent::Behaviour(event) => self.on_protocol_event(event, now),
            SwarmEvent::ConnectionEstablished {
                peer_id: peer,
                connection_id: id,
                endpoint,
                ..
            } => {
                self.connectivity
                    .on_connected((peer, id), &endpoint, swarm, events, now);
            }
            SwarmEvent::ConnectionClosed {
                peer_id: peer,
                connection_id: id,
                cause,
                ..
            } => {
                if let Some(gone) = self.connectivity.on_closed(peer, id, events, now) {
                    self.requests.forget(&gone);
                }
                if is_flood::<D>(cause.as_ref()) && self.flood_strikes.record(peer, now) {
                    events.input(Input::PeerFlooded { peer });
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, .. } => {
                self.connectivity.on_dial_failed(connection_id, events, now);
            }
            SwarmEvent::ExternalAddrConfirmed { address } => {
                self.connectivity.on_external_address(&address, swarm, now);
            }
            SwarmEvent::NewListenAddr {
                listener_id,
                address,
            } => {
                if let Some(address) = self.listeners.opened(listener_id, address, swarm) {
                    events.listening(NetworkEvent::Listening(address));
                    self.connectivity.own_address_changed(now);
                }
            }
            SwarmEvent::ExpiredListenAddr {
                listener_id,
                address,
            } => {
                let was_ours = self.listeners.expired(listener_id, &address, swarm);
                if was_ours {
                    self.connectivity.own_address_changed(now);
                }
            }
            SwarmEvent::ListenerClosed {
                listener_id,
                reason,
                ..
            } if self.listeners.contains(listener_id) => {
                self.listeners.closed(listener_id, swarm);
                self.connectivity.own_address_changed(now);
                let reason = reason
                    .err()
                    .map_or_else(|| "it was closed".to_owned(), |error| error.to_string());
                events.listening(NetworkEvent::ListeningFailed(reason));
            }
            SwarmEvent::ListenerClosed {
                listener_id: listener,
                reason,
                ..
            } => {
                self.connectivity
                    .on_listener_closed((listener, reason), events, now);
            }
            _ => {}
        }
    }

    fn on_protocol_event(&mut self, event: ProtocolsEvent<D>, now: MonotonicMillis) {
        let (swarm, events) = (&mut self.swarm, &mut self.events);
        match event {
            ProtocolsEvent::Relay(event) => self.connectivity.on_relay(&event, events, now),
            ProtocolsEvent::Rendezvous(event) => self.connectivity.on_rendezvous(event, now),
            ProtocolsEvent::Direct(event) => {
                if let Some(peer) = D::silent_peer(&event) {
                    self.connectivity.on_doubtful(peer, swarm);
                }
            }
            ProtocolsEvent::Identify(identify::Event::Received {
                peer_id: peer,
                info,
                ..
            }) => {
                let speaks_sync = info.protocols.contains(&self.sync_protocol);
                self.connectivity
                    .on_identified(peer, speaks_sync, swarm, events, now);
            }
            ProtocolsEvent::Identify(
                identify::Event::Sent { .. }
                | identify::Event::Pushed { .. }
                | identify::Event::Error { .. },
            ) => {}
            ProtocolsEvent::Ping(event) => self.connectivity.on_ping(&event, swarm, events, now),
            ProtocolsEvent::Neighbours(event) => {
                let protocols = swarm.behaviour_mut();
                self.connectivity.on_exchange(event, protocols, now);
            }
            ProtocolsEvent::Gossip(event) => self.on_gossip(event, now),
            ProtocolsEvent::Sync(event) => self.on_sync(event),
            // Reservations and circuits of neighbours at this tab need no handling.
            ProtocolsEvent::Hop(_) => {}
            ProtocolsEvent::Banned(never) | ProtocolsEvent::ConnectionLimiter(never) => {
                match never {}
            }
        }
    }

    fn on_gossip(&mut self, event: gossip_limiter::Event, now: MonotonicMillis) {
        let event = match event {
            gossip_limiter::Event::Gossip(event) => event,
            gossip_limiter::Event::Flood(peer) => {
                return self.events.input(Input::PeerFlooded { peer });
            }
        };
        let Some(message) = self.gossip.arrived(event) else {
            return;
        };
        let gossipsub = self.swarm.behaviour_mut().gossip.gossip();
        if self
            .connectivity
            .confirm_member(message.from, &mut self.events)
        {
            let input = self.gossip.accept(gossipsub, message, now);
            self.events.input(input);
        } else {
            Gossip::refuse(gossipsub, &message);
        }
    }

    fn on_sync(&mut self, event: FrameEvent) {
        let from = requests::requester(&event);
        if from.is_some_and(|peer| !self.connectivity.confirm_member(peer, &mut self.events)) {
            return;
        }
        if let Some(input) = self.requests.on_event(event) {
            self.events.input(input);
        }
    }
}

// What is due by time.
impl<D: DirectTransport> Network<D> {
    fn poll_parts(&mut self) {
        let now = clock::monotonic();
        for input in self.requests.poll(now) {
            self.events.input(input);
        }
        let gossipsub = self.swarm.behaviour_mut().gossip.gossip();
        self.gossip.poll(gossipsub, now);
        self.connectivity.poll(&mut self.swarm, now, clock::now());
        self.set_alarm();
    }

    fn set_alarm(&mut self) {
        let traffic = [self.requests.next_deadline(), self.gossip.next_deadline()];
        let protocols = self.swarm.behaviour();
        let connectivity = self
            .connectivity
            .next_deadline(protocols, clock::monotonic());
        self.alarm.set(
            traffic
                .into_iter()
                .flatten()
                .fold(connectivity, MonotonicMillis::min),
        );
    }
}

/// Whether a connection was closed because its peer sent more than was read.
fn is_flood<D: DirectTransport>(cause: Option<&swarm::ConnectionError>) -> bool {
    match cause {
        Some(swarm::ConnectionError::IO(error)) => D::is_flood(error),
        Some(swarm::ConnectionError::KeepAliveTimeout) | None => false,
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
