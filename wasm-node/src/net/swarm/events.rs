//! What libp2p reports, put into the machine's words or into this tab's own books. Never answers anybody.

use chain::time::MonotonicMillis;
use libp2p::{
    Multiaddr, PeerId,
    core::ConnectedPoint,
    gossipsub, identify,
    multiaddr::Protocol,
    ping, relay, request_response,
    swarm::{ConnectionId, SwarmEvent},
};
use libp2p_webrtc_browser::peer;
use sync::seam::{RequestFailure, Topic};

use super::{Event, Network};
use crate::{
    clock::{self, chance, millis},
    config,
    net::{
        Path, Role,
        behaviour::ProtocolsEvent as Happening,
        codec::{FrameError, FrameEvent},
        connections::Caller,
        gate::path_of,
        names::PeerNames,
        relays::Arrival,
        rendezvous::News,
    },
};

impl Network {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest is told again by what it leads to"
    )]
    pub(super) fn on_swarm(&mut self, event: SwarmEvent<Happening>) {
        let now = clock::monotonic();
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
            SwarmEvent::ExternalAddrConfirmed { address } if leads_through_a_tab(&address) => {
                // Neighbours know the way already, and others are to be told of relays only.
                self.swarm.remove_external_address(&address);
            }
            SwarmEvent::ExternalAddrConfirmed { .. } => self.relays.readdressed(now),
            SwarmEvent::ListenerClosed { listener_id, .. } => {
                self.relays.listener_closed(listener_id, now);
                self.introductions
                    .listener_closed(listener_id, now, chance());
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
        now: MonotonicMillis,
    ) {
        let path = path_of(endpoint);
        let caller = if endpoint.is_dialer() {
            Caller::Us
        } else {
            Caller::Them
        };
        self.connections.opened(peer, id, path, caller, now);
        self.calling.remove(&id);
        if path == Path::Direct {
            self.keep_house_by(now.saturating_add(millis(config::UPGRADED_AFTER)));
        }
        match self
            .relays
            .connected(id, peer, endpoint.get_remote_address(), now)
        {
            Arrival::Relay => {
                self.connections.set_role(&peer, Role::Relay);
                self.call_named_by(peer);
            }
            Arrival::Surplus => {
                self.swarm.close_connection(id);
            }
            Arrival::Other => {}
        }
        if self.isolated {
            // A call that was under way came through.
            self.swarm.close_connection(id);
        }
        self.events.push_back(Event::Changed);
    }

    /// A relay is there: whoever was named as reached through it is worth a call for as long as it stays.
    fn call_named_by(&mut self, relay: PeerId) {
        for named in &self.named {
            if named.relay.peer == Some(relay) {
                let always = MonotonicMillis::new(u64::MAX);
                self.candidates.seen(named.peer, relay, always);
            }
        }
    }

    fn on_closed(&mut self, peer: PeerId, id: ConnectionId, now: MonotonicMillis) {
        if let Some(relay) = self.relays.closed(id, now) {
            self.candidates.forget_relay(relay);
            // It may have been the last to name peers that the others name as well.
            for other in self.relays.ask_anew() {
                self.call_named_by(other);
            }
            self.relays.be_eager(now);
            self.introductions.hurry(now);
        }
        let is_neighbour = self.connections.neighbours().any(|other| other == peer);
        match self.connections.closed(peer, id) {
            Some(Role::Member) => {
                self.asked.forget(&peer);
                self.relays.be_eager(now);
                self.introductions.hurry(now);
                self.events.push_back(Event::PeerDisconnected(peer));
            }
            // It has no place for us, or is a stranger: not at once again.
            Some(Role::Unknown) => self.candidates.failed(peer, now, chance()),
            Some(Role::Relay) | None => {}
        }
        if is_neighbour
            && !self.connections.neighbours().any(|other| other == peer)
            && self.introductions.lost(&peer)
        {
            self.candidates.forget_relay(peer);
        }
        self.events.push_back(Event::Changed);
    }

    fn on_happening(&mut self, happening: Happening, now: MonotonicMillis) {
        match happening {
            Happening::Relay(event) => self.on_relay(&event, now),
            Happening::Webrtc(peer::Event::Doubtful { peer }) => self.call_anew(peer),
            // That a connection stands is told by the swarm, and one that does not is tried again.
            Happening::Webrtc(peer::Event::Connected { .. } | peer::Event::Failed { .. } | _) => {}
            Happening::Rendezvous(event) => self.on_rendezvous(event, now),
            Happening::Identify(event) => self.on_identify(event, now),
            Happening::Ping(event) => self.on_ping(&event, now),
            Happening::Gossip(event) => self.on_gossip(event, now),
            Happening::Sync(event) => self.on_sync(event),
            Happening::Neighbours(event) => self.on_neighbours(event, now),
            // A neighbour keeps a place here, or a circuit led through: whom it connects is their business.
            Happening::Hop(_) => {}
            Happening::Banned(never) | Happening::Gate(never) => match never {},
        }
    }

    fn on_relay(&mut self, event: &relay::client::Event, now: MonotonicMillis) {
        match event {
            relay::client::Event::ReservationReqAccepted { relay_peer_id, .. } => {
                self.relays.reserved(relay_peer_id, now);
                self.introductions.reserved(relay_peer_id);
                self.events.push_back(Event::Changed);
            }
            relay::client::Event::OutboundCircuitEstablished { .. }
            | relay::client::Event::InboundCircuitEstablished { .. } => {}
        }
    }

    fn on_rendezvous(&mut self, event: FrameEvent, now: MonotonicMillis) {
        match self.errands.hear(event) {
            Some((relay, News::Registered(ttl))) => self.relays.registered(&relay, ttl, now),
            Some((relay, News::Discovered(None))) => self.relays.discovered(&relay, None),
            Some((relay, News::Discovered(Some(found)))) => {
                self.relays.discovered(&relay, found.cookie);
                for (peer, ttl) in found.peers {
                    // Only the name is believed; the way leads through the relay that named it.
                    let ttl = millis(ttl.min(config::RENDEZVOUS_TTL));
                    self.candidates.seen(peer, relay, now.saturating_add(ttl));
                }
            }
            None => {}
        }
    }

    fn on_identify(&mut self, event: identify::Event, now: MonotonicMillis) {
        let identify::Event::Received {
            peer_id: peer,
            info,
            ..
        } = event
        else {
            return;
        };
        if self.isolated || self.connections.role(&peer) != Some(Role::Unknown) {
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
            self.candidates.reached(peer);
            self.events.push_back(Event::PeerConnected(peer));
            self.events.push_back(Event::Changed);
        }
    }

    fn on_ping(&mut self, event: &ping::Event, now: MonotonicMillis) {
        match &event.result {
            Ok(rtt) => {
                self.connections
                    .answered(&event.peer, event.connection, *rtt, now);
                self.events.push_back(Event::Changed);
            }
            Err(ping::Failure::Unsupported) => {}
            Err(ping::Failure::Timeout | ping::Failure::Other { .. }) => {
                if self.connections.needs_pings(&event.peer) {
                    self.swarm.close_connection(event.connection);
                }
            }
        }
    }

    fn on_gossip(&mut self, event: gossipsub::Event, now: MonotonicMillis) {
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
        if self.connections.role(&from) != Some(Role::Member) {
            self.ignore_gossip(&message_id, &from);
            return;
        }
        self.expire_gossip(now);
        let (id, kept) = self.unjudged.insert(message_id, from, now);
        // A full table must not make this tab deaf: what is not forwarded can still be of use here.
        if let Err(message_id) = kept {
            self.ignore_gossip(&message_id, &from);
        }
        self.events.push_back(Event::Gossip {
            from,
            id,
            topic,
            data: message.data,
        });
    }

    fn on_neighbours(&mut self, event: FrameEvent, now: MonotonicMillis) {
        use request_response::{Event as Asked, Message};
        match event {
            Asked::Message {
                peer,
                message:
                    Message::Request {
                        request, channel, ..
                    },
                ..
            } => {
                // Names are told to members only, and only who says nothing asks for them.
                let is_member = self.connections.role(&peer) == Some(Role::Member);
                let others = self.connections.neighbours().filter(|other| *other != peer);
                let names = PeerNames::new(others).encode();
                if let Ok(names) = names
                    && is_member
                    && request.is_empty()
                {
                    // It fails if the peer is gone, and then nobody misses the answer.
                    let _ = self
                        .swarm
                        .behaviour_mut()
                        .neighbours
                        .send_response(channel, names);
                }
            }
            Asked::Message {
                peer,
                message: Message::Response { response, .. },
                ..
            } => {
                if self.introductions.is_neighbour(&peer)
                    && let Ok(names) = PeerNames::decode(&response)
                {
                    let expires = now.saturating_add(millis(config::INTRODUCTION_TTL));
                    for named in names.peers() {
                        self.candidates.introduced(*named, peer, expires);
                    }
                }
            }
            // A neighbour that does not answer is asked again when it is time.
            Asked::OutboundFailure { .. }
            | Asked::InboundFailure { .. }
            | Asked::ResponseSent { .. } => {}
        }
    }

    fn on_sync(&mut self, event: FrameEvent) {
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

/// Whether an address is one of a place at a neighbour.
fn leads_through_a_tab(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    matches!(parts.next(), Some(Protocol::WebRTC))
        && parts.any(|part| matches!(part, Protocol::P2pCircuit))
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
