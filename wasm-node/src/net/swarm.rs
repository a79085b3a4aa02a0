//! The swarm: what libp2p reports becomes [`Event`]s in the machine's words, and what the machine wants is
//! done. Never judges what a peer sent; that a peer speaks another protocol is all it looks at.

use std::{
    collections::{HashMap, VecDeque},
    rc::Rc,
};

use chain::{room::Room, time::UnixMillis};
use futures::{
    FutureExt, StreamExt, future::LocalBoxFuture, select_biased, stream::FuturesUnordered,
};
use libp2p::{
    PeerId, Swarm,
    core::ConnectedPoint,
    gossipsub, identify,
    identity::Keypair,
    ping, relay, rendezvous, request_response,
    swarm::{
        self, ConnectionId, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use sync::seam::{GossipId, InboundId, RequestFailure, RequestId, Topic, Verdict};

use super::{
    NetworkError, Path, PeerLink, RelayDocument, RelayView, Role,
    address::{PageScheme, RelayAddress},
    bans::Bans,
    behaviour::{Happening, Names, Protocols, name_of},
    candidates::Candidates,
    codec::FrameError,
    connections::{Caller, Connections},
    relays::{Action, LinkId, Relays},
    requests::{Asked, Unanswered},
    transport::all_ways,
};
use crate::{
    clock::{self, Alarm, chance, millis},
    config,
};

/// Reads the document about this page's relay; `None` if it could not be read.
pub(crate) type ReadDocument = Rc<dyn Fn() -> LocalBoxFuture<'static, Option<RelayDocument>>>;

/// What a network needs to begin.
pub(crate) struct Setup<'a> {
    pub(crate) seed: [u8; 32],
    pub(crate) room: &'a Room,
    pub(crate) relays: Vec<RelayAddress>,
    pub(crate) scheme: PageScheme,
    pub(crate) read_document: ReadDocument,
}

/// What happened on the network.
#[derive(Debug)]
pub(crate) enum Event {
    /// A peer of this room can be reached.
    PeerConnected(PeerId),
    /// Its last connection is gone.
    PeerDisconnected(PeerId),
    /// A gossip item came, and waits for its verdict.
    Gossip {
        from: PeerId,
        id: GossipId,
        topic: Topic,
        data: Vec<u8>,
    },
    /// A peer asks.
    Request {
        from: PeerId,
        id: InboundId,
        data: Vec<u8>,
    },
    /// A peer answered.
    Response {
        peer: PeerId,
        id: RequestId,
        data: Vec<u8>,
    },
    /// A request of ours got no answer.
    RequestFailed {
        peer: PeerId,
        id: RequestId,
        failure: RequestFailure,
    },
    /// What is shown of peers or relays changed.
    Changed,
}

/// This tab's place in the network.
pub(crate) struct Network {
    swarm: Swarm<Protocols>,
    names: Names,
    relays: Relays,
    connections: Connections<PeerId, ConnectionId>,
    candidates: Candidates<PeerId, PeerId>,
    /// Calls to candidates under way.
    calling: HashMap<ConnectionId, PeerId>,
    bans: Bans<PeerId>,
    asked: Asked,
    unanswered: Unanswered,
    unjudged: HashMap<GossipId, gossipsub::MessageId>,
    next_gossip: u64,
    read_document: ReadDocument,
    reading: FuturesUnordered<LocalBoxFuture<'static, (LinkId, Option<RelayDocument>)>>,
    housekeeping_at: UnixMillis,
    last_tick: UnixMillis,
    alarm: Alarm,
    events: VecDeque<Event>,
}

impl Network {
    /// Sets the network up; nothing is called yet.
    ///
    /// # Errors
    /// If a protocol refuses its configuration.
    pub(crate) fn new(mut setup: Setup<'_>) -> Result<Self, NetworkError> {
        let key = Keypair::ed25519_from_bytes(&mut setup.seed)
            .map_err(|error| NetworkError::Key(error.to_string()))?;
        let names = Names::of(setup.room.id())?;
        let (transport, relay) = all_ways(&key)?;
        let protocols = Protocols::new(&key, relay, &names)?;
        let settings = swarm::Config::with_wasm_executor()
            .with_idle_connection_timeout(config::IDLE_CONNECTION);
        let now = clock::now();
        let mut alarm = Alarm::default();
        alarm.set(now);
        Ok(Self {
            swarm: Swarm::new(transport, protocols, name_of(&key), settings),
            names,
            relays: Relays::new(setup.relays, setup.scheme, now),
            connections: Connections::new(),
            candidates: Candidates::new(config::MAX_CANDIDATES, config::PEER_REDIAL),
            calling: HashMap::new(),
            bans: Bans::new(config::MAX_BANNED),
            asked: Asked::default(),
            unanswered: Unanswered::default(),
            unjudged: HashMap::new(),
            next_gossip: 0,
            read_document: setup.read_document,
            reading: FuturesUnordered::new(),
            housekeeping_at: now,
            last_tick: now,
            alarm,
            events: VecDeque::new(),
        })
    }

    /// This tab's name.
    pub(crate) fn us(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    /// What happens next. May be dropped and called again; nothing is lost.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            select_biased! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
                (link, document) = self.reading.select_next_some() => {
                    self.relays.document(link, document, clock::now());
                    self.events.push_back(Event::Changed);
                }
                () = (&mut self.alarm).fuse() => {}
            }
            self.tick();
        }
    }

    /// Asks a peer.
    pub(crate) fn request(
        &mut self,
        peer: PeerId,
        id: RequestId,
        data: Vec<u8>,
        deadline: UnixMillis,
    ) {
        // Asking somebody who is gone would call them.
        if self.swarm.is_connected(&peer) {
            let sent = self.swarm.behaviour_mut().sync.send_request(&peer, data);
            self.asked.insert(sent, peer, id, deadline);
            self.set_alarm();
        } else {
            self.events.push_back(Event::RequestFailed {
                peer,
                id,
                failure: RequestFailure::Closed,
            });
        }
    }

    /// Answers a peer.
    pub(crate) fn respond(&mut self, id: InboundId, data: Vec<u8>) {
        if let Some(channel) = self.unanswered.take(id) {
            // It fails if the peer is gone or has given up, and then nobody misses the answer.
            let _ = self.swarm.behaviour_mut().sync.send_response(channel, data);
        }
    }

    /// Closes a peer's request without an answer.
    pub(crate) fn refuse(&mut self, id: InboundId) {
        drop(self.unanswered.take(id));
    }

    /// Publishes to the room.
    pub(crate) fn publish(&mut self, topic: Topic, data: Vec<u8>) {
        let topic = match topic {
            Topic::Readings => &self.names.readings,
            Topic::Blocks => &self.names.blocks,
        };
        // It fails when nobody listens, or when it was published before. Either way there is nothing to do:
        // whoever connects later asks.
        let _ = self
            .swarm
            .behaviour_mut()
            .gossip
            .publish(topic.clone(), data);
    }

    /// The verdict on a gossip item: whether it is forwarded, and whether it is held against who sent it.
    pub(crate) fn judge(&mut self, id: GossipId, from: &PeerId, verdict: Verdict) {
        let Some(message) = self.unjudged.remove(&id) else {
            return;
        };
        let acceptance = match verdict {
            Verdict::Accept => gossipsub::MessageAcceptance::Accept,
            Verdict::Reject => gossipsub::MessageAcceptance::Reject,
            Verdict::Ignore => gossipsub::MessageAcceptance::Ignore,
        };
        self.swarm
            .behaviour_mut()
            .gossip
            .report_message_validation_result(&message, from, acceptance);
    }

    /// Closes all connections to a peer; lets it in again only at `until`, if that is named.
    pub(crate) fn drop_peer(&mut self, peer: PeerId, until: Option<UnixMillis>) {
        let now = clock::now();
        if let Some(until) = until {
            self.swarm.behaviour_mut().banned.block_peer(peer);
            if let Some(freed) = self.bans.add(peer, until) {
                self.swarm.behaviour_mut().banned.unblock_peer(freed);
            }
        }
        let rest = now.saturating_add(millis(config::STRANGER_REST));
        self.candidates
            .rest(peer, until.map_or(rest, |until| until.max(rest)));
        // It fails if there is no connection left.
        let _ = self.swarm.disconnect_peer_id(peer);
    }

    /// The page was hidden, frozen or offline and is back.
    pub(crate) fn woke(&mut self) {
        let now = clock::now();
        self.connections.excuse_silence(now);
        self.candidates.forgive();
        self.relays.woke(now);
        self.tick();
    }

    /// The relays, as they are shown.
    pub(crate) fn relay_views(&self) -> Vec<RelayView> {
        self.relays.views()
    }

    /// The peers that have said what they are, as they are shown.
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

    fn tick(&mut self) {
        let now = clock::now();
        // The clock was put back: what was due by the old one would be due too late.
        if now < self.last_tick {
            self.relays.woke(now);
            self.housekeeping_at = now;
        }
        self.last_tick = now;
        for (peer, id) in self.asked.late(now) {
            self.events.push_back(Event::RequestFailed {
                peer,
                id,
                failure: RequestFailure::Timeout,
            });
        }
        if self.housekeeping_at <= now {
            self.keep_house(now);
        }
        for action in self.relays.tick(now, self.connections.members()) {
            self.perform(action, now);
        }
        self.call_candidates(now);
        self.set_alarm();
    }

    fn set_alarm(&mut self) {
        let due = [self.relays.due(), self.asked.due()];
        self.alarm.set(
            due.into_iter()
                .flatten()
                .fold(self.housekeeping_at, UnixMillis::min),
        );
    }

    fn keep_house(&mut self, now: UnixMillis) {
        if now.since(self.housekeeping_at) > millis(config::SLEPT_AFTER) {
            self.connections.excuse_silence(now);
        }
        self.housekeeping_at = now.saturating_add(millis(config::HOUSEKEEPING_INTERVAL));
        for peer in self.bans.release(now) {
            self.swarm.behaviour_mut().banned.unblock_peer(peer);
        }
        let us = self.us();
        let silent = self.connections.silent(
            now,
            config::RELAY_SILENCE,
            config::PEER_SILENCE,
            config::IDENTIFY_TIMEOUT,
        );
        let surplus = self.connections.surplus(&us, now, config::SURPLUS_AFTER);
        for connection in silent.into_iter().chain(surplus) {
            self.swarm.close_connection(connection);
        }
    }

    fn perform(&mut self, action: Action, now: UnixMillis) {
        match action {
            Action::ReadDocument(link) => {
                let document = (self.read_document)();
                self.reading
                    .push(document.map(move |document| (link, document)).boxed_local());
            }
            Action::Dial(link, relay) => {
                let call = match relay.peer {
                    Some(peer) => {
                        self.swarm.behaviour_mut().limits.bypass_peer_id(&peer);
                        DialOpts::peer_id(peer)
                            .condition(PeerCondition::Always)
                            .addresses(vec![relay.address])
                            .build()
                    }
                    None => DialOpts::unknown_peer_id().address(relay.address).build(),
                };
                let connection = call.connection_id();
                // Said first, because a call can fail at once.
                self.relays.dialing(link, connection);
                if self.swarm.dial(call).is_err() {
                    self.relays.not_dialed(link, now);
                }
            }
            Action::Reserve(link, address) => {
                let listener = self.swarm.listen_on(address).ok();
                self.relays.listening(link, listener, now);
            }
            Action::StopListening(listener) => {
                self.swarm.remove_listener(listener);
            }
            Action::Register(relay) => {
                let namespace = self.names.namespace.clone();
                let ttl = Some(config::RENDEZVOUS_TTL.as_secs());
                if self
                    .swarm
                    .behaviour_mut()
                    .rendezvous
                    .register(namespace, relay, ttl)
                    .is_err()
                {
                    self.relays.registered(&relay, None, now);
                }
            }
            Action::Discover(relay, cookie) => {
                let namespace = Some(self.names.namespace.clone());
                let limit = Some(config::MAX_DISCOVERED);
                self.swarm
                    .behaviour_mut()
                    .rendezvous
                    .discover(namespace, cookie, limit, relay);
            }
        }
    }

    fn call_candidates(&mut self, now: UnixMillis) {
        let wanted =
            config::WANTED_PEERS.saturating_sub(self.connections.members() + self.calling.len());
        let (connections, calling, bans, us) =
            (&self.connections, &self.calling, &self.bans, self.us());
        let busy = |peer: &PeerId| {
            *peer == us
                || bans.contains(peer)
                || connections.role(peer).is_some()
                || calling.values().any(|called| called == peer)
        };
        for (peer, relay) in self.candidates.choose(wanted, now, busy, chance) {
            let Some(address) = self.relays.circuit(&relay, peer) else {
                continue;
            };
            let call = DialOpts::peer_id(peer)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(vec![address])
                .build();
            let connection = call.connection_id();
            match self.swarm.dial(call) {
                Ok(()) => {
                    self.calling.insert(connection, peer);
                }
                Err(_) => self.candidates.failed(peer, now, chance()),
            }
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest is told again by what it leads to"
    )]
    fn on_swarm(&mut self, event: SwarmEvent<Happening>) {
        let now = clock::now();
        match event {
            SwarmEvent::Behaviour(happening) => self.on_happening(happening, now),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                self.on_connected(peer_id, connection_id, &endpoint, now);
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                ..
            } => {
                self.on_closed(peer_id, connection_id, now);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, .. } => {
                if let Some(peer) = self.calling.remove(&connection_id) {
                    self.candidates.failed(peer, now, chance());
                } else if self.relays.dial_failed(connection_id, now) {
                    self.events.push_back(Event::Changed);
                }
            }
            SwarmEvent::ListenerClosed { listener_id, .. } => {
                self.relays.listener_closed(listener_id, now);
                self.events.push_back(Event::Changed);
            }
            _ => {}
        }
    }

    fn on_connected(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        endpoint: &ConnectedPoint,
        now: UnixMillis,
    ) {
        let path = if endpoint.is_relayed() {
            Path::Relayed
        } else {
            Path::Direct
        };
        let caller = if endpoint.is_dialer() {
            Caller::Us
        } else {
            Caller::Them
        };
        self.connections.opened(peer, id, path, caller, now);
        if self.calling.remove(&id).is_some() {
            self.candidates.reached(peer);
        }
        if self.relays.connected(id, peer, now) {
            self.swarm.behaviour_mut().limits.bypass_peer_id(&peer);
            self.connections.set_role(&peer, Role::Relay);
        }
        self.events.push_back(Event::Changed);
    }

    fn on_closed(&mut self, peer: PeerId, id: ConnectionId, now: UnixMillis) {
        if let Some(relay) = self.relays.closed(id, now) {
            self.swarm.behaviour_mut().limits.remove_peer_id(&relay);
            self.candidates.forget_relay(relay);
        }
        if self.connections.closed(peer, id) == Some(Role::Member) {
            self.asked.forget(&peer);
            self.relays.be_eager(now);
            self.events.push_back(Event::PeerDisconnected(peer));
        }
        self.events.push_back(Event::Changed);
    }

    fn on_happening(&mut self, happening: Happening, now: UnixMillis) {
        match happening {
            Happening::Relay(event) => self.on_relay(&event, now),
            Happening::Rendezvous(event) => self.on_rendezvous(event, now),
            Happening::Identify(event) => self.on_identify(*event, now),
            Happening::Ping(event) => self.on_ping(&event, now),
            Happening::Gossip(event) => self.on_gossip(event),
            Happening::Sync(event) => self.on_sync(event),
        }
    }

    fn on_relay(&mut self, event: &relay::client::Event, now: UnixMillis) {
        match event {
            relay::client::Event::ReservationReqAccepted { relay_peer_id, .. } => {
                self.relays.reserved(relay_peer_id, now);
                self.events.push_back(Event::Changed);
            }
            relay::client::Event::OutboundCircuitEstablished { .. }
            | relay::client::Event::InboundCircuitEstablished { .. } => {}
        }
    }

    fn on_rendezvous(&mut self, event: rendezvous::client::Event, now: UnixMillis) {
        use rendezvous::client::Event as Rendezvous;
        match event {
            Rendezvous::Discovered {
                rendezvous_node: relay,
                registrations,
                cookie,
            } => {
                self.relays.discovered(&relay, Some(cookie));
                let longest = config::RENDEZVOUS_TTL.as_secs();
                for registration in registrations.iter().take(config::MAX_CANDIDATES) {
                    // Only the name is believed; the way leads through the relay that named it.
                    let ttl = registration.ttl.min(longest).saturating_mul(1_000);
                    self.candidates.seen(
                        registration.record.peer_id(),
                        relay,
                        now.saturating_add(ttl),
                    );
                }
            }
            Rendezvous::DiscoverFailed {
                rendezvous_node: relay,
                ..
            } => self.relays.discovered(&relay, None),
            Rendezvous::Registered {
                rendezvous_node: relay,
                ttl,
                ..
            } => {
                self.relays
                    .registered(&relay, Some(std::time::Duration::from_secs(ttl)), now);
            }
            Rendezvous::RegisterFailed {
                rendezvous_node: relay,
                ..
            } => self.relays.registered(&relay, None, now),
            Rendezvous::Expired { .. } => {}
        }
    }

    fn on_identify(&mut self, event: identify::Event, now: UnixMillis) {
        let identify::Event::Received {
            peer_id: peer,
            info,
            ..
        } = event
        else {
            return;
        };
        if self.connections.role(&peer) != Some(Role::Unknown) {
            return;
        }
        if info.protocols.contains(&self.names.sync) {
            self.welcome(peer);
        } else {
            self.candidates
                .rest(peer, now.saturating_add(millis(config::STRANGER_REST)));
            // It fails if there is no connection left.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    /// The peer takes part in this room: it said so, or acts so.
    fn welcome(&mut self, peer: PeerId) {
        if self.connections.role(&peer) == Some(Role::Unknown)
            && self.connections.set_role(&peer, Role::Member)
        {
            self.events.push_back(Event::PeerConnected(peer));
            self.events.push_back(Event::Changed);
        }
    }

    fn on_ping(&mut self, event: &ping::Event, now: UnixMillis) {
        match &event.result {
            Ok(rtt) => {
                self.connections
                    .answered(&event.peer, event.connection, *rtt, now);
                self.events.push_back(Event::Changed);
            }
            Err(ping::Failure::Unsupported) => {}
            Err(ping::Failure::Timeout | ping::Failure::Other { .. }) => {
                self.swarm.close_connection(event.connection);
            }
        }
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        let gossipsub::Event::Message {
            propagation_source: from,
            message_id,
            message,
        } = event
        else {
            return;
        };
        let topic = if message.topic == self.names.readings.hash() {
            Topic::Readings
        } else if message.topic == self.names.blocks.hash() {
            Topic::Blocks
        } else {
            return;
        };
        self.welcome(from);
        if self.unjudged.len() >= config::MAX_UNJUDGED
            || self.connections.role(&from) != Some(Role::Member)
        {
            let ignore = gossipsub::MessageAcceptance::Ignore;
            self.swarm
                .behaviour_mut()
                .gossip
                .report_message_validation_result(&message_id, &from, ignore);
            return;
        }
        let id = GossipId(self.next_gossip);
        self.next_gossip = self.next_gossip.wrapping_add(1);
        self.unjudged.insert(id, message_id);
        self.events.push_back(Event::Gossip {
            from,
            id,
            topic,
            data: message.data,
        });
    }

    fn on_sync(&mut self, event: request_response::Event<Vec<u8>, Vec<u8>>) {
        use request_response::{Event as Sync, Message};
        match event {
            Sync::Message {
                peer,
                message:
                    Message::Request {
                        request_id,
                        request,
                        channel,
                    },
                ..
            } => {
                self.welcome(peer);
                if self.connections.role(&peer) != Some(Role::Member) {
                    return;
                }
                if let Some(id) = self.unanswered.insert(request_id, channel) {
                    self.events.push_back(Event::Request {
                        from: peer,
                        id,
                        data: request,
                    });
                }
            }
            Sync::Message {
                message:
                    Message::Response {
                        request_id,
                        response,
                    },
                ..
            } => {
                if let Some((peer, id)) = self.asked.take(request_id) {
                    self.events.push_back(Event::Response {
                        peer,
                        id,
                        data: response,
                    });
                }
            }
            Sync::OutboundFailure {
                request_id, error, ..
            } => {
                if let Some((peer, id)) = self.asked.take(request_id) {
                    self.events.push_back(Event::RequestFailed {
                        peer,
                        id,
                        failure: failure(&error),
                    });
                }
            }
            Sync::InboundFailure { request_id, .. } => self.unanswered.forget(request_id),
            Sync::ResponseSent { .. } => {}
        }
    }
}

fn failure(error: &request_response::OutboundFailure) -> RequestFailure {
    use request_response::OutboundFailure as Failure;
    match error {
        Failure::Timeout => RequestFailure::Timeout,
        Failure::UnsupportedProtocols => RequestFailure::Unsupported,
        Failure::DialFailure | Failure::ConnectionClosed => RequestFailure::Closed,
        Failure::Io(error) => match error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<FrameError>())
        {
            Some(FrameError::Oversize { .. }) => RequestFailure::Oversize,
            Some(FrameError::Truncated { .. }) | None => RequestFailure::Closed,
        },
    }
}
