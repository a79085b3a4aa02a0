//! Handles swarm events: updates the tab's view of peers and relays, and emits inputs for the sync state machine.
//! Only peer lists are answered here; all other requests go to the state machine.

use heartchain_chain::time::MonotonicMillis;
use heartchain_sync::{
    Input,
    io::{RequestFailure, Topic},
};
use libp2p::{
    Multiaddr, PeerId,
    core::ConnectedPoint,
    gossipsub, identify,
    multiaddr::Protocol,
    ping, relay, request_response,
    swarm::{ConnectionId, SwarmEvent},
};
use libp2p_webrtc_browser::peer;

use super::{Network, NetworkEvent};
use crate::{
    clock::{self, millis, random_u64},
    net::{
        behaviour::ProtocolsEvent,
        candidates::{EXCHANGED_PEER_TTL, NON_MEMBER_BACKOFF},
        codec::{FrameError, FrameEvent},
        connection_limiter::path_of,
        connections::{Direction, Path, Role, UPGRADED_CIRCUIT_DELAY},
        peer_list::PeerList,
        relays::Arrival,
        rendezvous::{RENDEZVOUS_TTL, RendezvousEvent},
    },
};

impl Network {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "other events are followed by one that is handled"
    )]
    pub(super) fn on_swarm_event(&mut self, event: SwarmEvent<ProtocolsEvent>) {
        let now = clock::monotonic();
        match event {
            SwarmEvent::Behaviour(event) => self.on_protocol_event(event, now),
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
                if let Some(peer) = self.dialing.remove(&connection_id) {
                    self.candidates.failed(peer, now, random_u64());
                } else if self.relays.dial_failed(connection_id, now) {
                    self.events.push_back(NetworkEvent::Changed);
                }
            }
            SwarmEvent::ExternalAddrConfirmed { address } if is_tab_circuit(&address) => {
                // Neighbours know this address already, and registrations must name relays only.
                self.swarm.remove_external_address(&address);
            }
            SwarmEvent::ExternalAddrConfirmed { .. } => self.relays.addresses_changed(now),
            SwarmEvent::ListenerClosed { listener_id, .. } => {
                self.relays.listener_closed(listener_id, now);
                self.peer_exchange
                    .listener_closed(listener_id, now, random_u64());
                self.events.push_back(NetworkEvent::Changed);
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
        let direction = if endpoint.is_dialer() {
            Direction::Outbound
        } else {
            Direction::Inbound
        };
        self.connections.opened(peer, id, path, direction, now);
        self.dialing.remove(&id);
        if path == Path::Direct {
            self.housekeeping_due(now.saturating_add(millis(UPGRADED_CIRCUIT_DELAY)));
        }
        match self
            .relays
            .connected(id, peer, endpoint.get_remote_address(), now)
        {
            Arrival::Relay => {
                self.connections.set_role(&peer, Role::Relay);
                self.add_named_candidates(peer);
            }
            Arrival::Surplus => {
                self.swarm.close_connection(id);
            }
            Arrival::Other => {}
        }
        if self.isolated {
            // A dial that was in progress succeeded.
            self.swarm.close_connection(id);
        }
        self.events.push_back(NetworkEvent::Changed);
    }

    /// Adds the peers that the user named with this relay as candidates, for as long as the relay is connected.
    fn add_named_candidates(&mut self, relay: PeerId) {
        for named in &self.named {
            if named.relay.peer == Some(relay) {
                let never = MonotonicMillis::new(u64::MAX);
                self.candidates.add(named.peer, relay, never);
            }
        }
    }

    fn on_closed(&mut self, peer: PeerId, id: ConnectionId, now: MonotonicMillis) {
        if let Some(relay) = self.relays.closed(id, now) {
            self.candidates.forget_relay(relay);
            // Peers that other relays report as well may have been forgotten with this relay.
            for other in self.relays.forget_cookies() {
                self.add_named_candidates(other);
            }
            self.relays.retry_soon(now);
            self.peer_exchange.retry_soon(now);
        }
        let is_neighbour = self.connections.neighbours().any(|other| other == peer);
        match self.connections.closed(peer, id) {
            Some(Role::Member) => {
                self.outbound_requests.forget(&peer);
                self.relays.retry_soon(now);
                self.peer_exchange.retry_soon(now);
                self.emit_input(Input::PeerDisconnected { peer });
            }
            // The peer has no free slot, or never identified itself: back off.
            Some(Role::Unknown) => self.candidates.failed(peer, now, random_u64()),
            Some(Role::Relay) | None => {}
        }
        if is_neighbour
            && !self.connections.neighbours().any(|other| other == peer)
            && self.peer_exchange.remove(&peer)
        {
            self.candidates.forget_relay(peer);
        }
        self.events.push_back(NetworkEvent::Changed);
    }

    fn on_protocol_event(&mut self, event: ProtocolsEvent, now: MonotonicMillis) {
        match event {
            ProtocolsEvent::Relay(event) => self.on_relay(&event, now),
            ProtocolsEvent::Webrtc(peer::Event::Doubtful { peer }) => {
                self.redial_over_circuit(peer);
            }
            // The swarm reports established connections, and failed ones are retried.
            ProtocolsEvent::Webrtc(
                peer::Event::Connected { .. } | peer::Event::Failed { .. } | _,
            ) => {}
            ProtocolsEvent::Rendezvous(event) => self.on_rendezvous(event, now),
            ProtocolsEvent::Identify(event) => self.on_identify(event, now),
            ProtocolsEvent::Ping(event) => self.on_ping(&event, now),
            ProtocolsEvent::Gossip(event) => self.on_gossip(event, now),
            ProtocolsEvent::Sync(event) => self.on_sync(event),
            ProtocolsEvent::Neighbours(event) => self.on_neighbours(event, now),
            // Reservations and circuits of neighbours at this tab need no handling.
            ProtocolsEvent::Hop(_) => {}
            ProtocolsEvent::Banned(never) | ProtocolsEvent::ConnectionLimiter(never) => {
                match never {}
            }
        }
    }

    fn on_relay(&mut self, event: &relay::client::Event, now: MonotonicMillis) {
        match event {
            relay::client::Event::ReservationReqAccepted { relay_peer_id, .. } => {
                self.relays.reserved(relay_peer_id, now);
                self.peer_exchange.reserved(relay_peer_id);
                self.events.push_back(NetworkEvent::Changed);
            }
            relay::client::Event::OutboundCircuitEstablished { .. }
            | relay::client::Event::InboundCircuitEstablished { .. } => {}
        }
    }

    fn on_rendezvous(&mut self, event: FrameEvent, now: MonotonicMillis) {
        match self.rendezvous.on_event(event) {
            Some((relay, RendezvousEvent::Registered(ttl))) => {
                self.relays.registered(&relay, ttl, now);
            }
            Some((relay, RendezvousEvent::Discovered(None))) => {
                self.relays.discovered(&relay, None);
            }
            Some((relay, RendezvousEvent::Discovered(Some(found)))) => {
                self.relays.discovered(&relay, found.cookie);
                for (peer, ttl) in found.peers {
                    // Only the peer ID is believed; the peer is dialed through the relay that reported it.
                    let ttl = millis(ttl.min(RENDEZVOUS_TTL));
                    self.candidates.add(peer, relay, now.saturating_add(ttl));
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
            self.confirm_member(peer);
        } else {
            self.candidates
                .hold_off(peer, now.saturating_add(millis(NON_MEMBER_BACKOFF)));
            // This fails only if there is no connection left.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    /// Makes a peer a member: it announced this room's sync protocol, or uses a protocol of the room.
    fn confirm_member(&mut self, peer: PeerId) {
        if self.connections.role(&peer) == Some(Role::Unknown)
            && self.connections.set_role(&peer, Role::Member)
        {
            self.candidates.reached(peer);
            self.emit_input(Input::PeerConnected { peer });
            self.events.push_back(NetworkEvent::Changed);
        }
    }

    fn on_ping(&mut self, event: &ping::Event, now: MonotonicMillis) {
        match &event.result {
            Ok(rtt) => {
                self.connections
                    .on_pong(&event.peer, event.connection, *rtt, now);
                self.events.push_back(NetworkEvent::Changed);
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
        self.confirm_member(from);
        if self.connections.role(&from) != Some(Role::Member) {
            self.ignore_gossip(&message_id, &from);
            return;
        }
        self.expire_gossip(now);
        let (id, kept) = self.pending_validation.insert(message_id, from, now);
        // A full table must not make this tab deaf: a message that is not forwarded can still be of use here.
        if let Err(message_id) = kept {
            self.ignore_gossip(&message_id, &from);
        }
        self.emit_input(Input::Gossip {
            from,
            id,
            topic,
            data: message.data,
        });
    }

    fn on_neighbours(&mut self, event: FrameEvent, now: MonotonicMillis) {
        use request_response::{Event as Exchange, Message};
        match event {
            Exchange::Message {
                peer,
                message:
                    Message::Request {
                        request, channel, ..
                    },
                ..
            } => {
                // Only members get the list, and only for an empty request, as the protocol requires.
                let is_member = self.connections.role(&peer) == Some(Role::Member);
                let others = self.connections.neighbours().filter(|other| *other != peer);
                let list = PeerList::new(others).encode();
                if let Ok(list) = list
                    && is_member
                    && request.is_empty()
                {
                    // This fails only if the peer is gone, and then the response is not missed.
                    let _ = self
                        .swarm
                        .behaviour_mut()
                        .neighbours
                        .send_response(channel, list);
                }
            }
            Exchange::Message {
                peer,
                message: Message::Response { response, .. },
                ..
            } => {
                if self.peer_exchange.is_neighbour(&peer)
                    && let Ok(list) = PeerList::decode(&response)
                {
                    let expires = now.saturating_add(millis(EXCHANGED_PEER_TTL));
                    for learned in list.peers() {
                        self.candidates.add_from_neighbour(*learned, peer, expires);
                    }
                }
            }
            // A neighbour that does not respond is asked again at the next interval.
            Exchange::OutboundFailure { .. }
            | Exchange::InboundFailure { .. }
            | Exchange::ResponseSent { .. } => {}
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
                self.confirm_member(peer);
                if self.connections.role(&peer) != Some(Role::Member) {
                    return;
                }
                if let Some(id) = self.inbound_requests.insert(request_id, channel) {
                    self.emit_input(Input::Request {
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
                if let Some((peer, id)) = self.outbound_requests.take(request_id) {
                    self.emit_input(Input::Response {
                        peer,
                        id,
                        data: response,
                    });
                }
            }
            Sync::OutboundFailure {
                request_id, error, ..
            } => {
                if let Some((peer, id)) = self.outbound_requests.take(request_id) {
                    self.emit_input(Input::RequestFailed {
                        peer,
                        id,
                        failure: failure(&error),
                    });
                }
            }
            Sync::InboundFailure { request_id, .. } => self.inbound_requests.forget(request_id),
            Sync::ResponseSent { .. } => {}
        }
    }
}

/// Whether an address is a reservation at a neighbour: a circuit through another tab.
fn is_tab_circuit(address: &Multiaddr) -> bool {
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
