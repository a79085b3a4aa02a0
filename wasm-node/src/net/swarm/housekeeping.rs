//! Work that is due by time: dialing relays and candidates, peer exchange, expired requests and messages, and
//! connections to close. It never looks at the data that peers send.

use std::time::Duration;

use futures::FutureExt;
use heartchain_chain::time::MonotonicMillis;
use heartchain_sync::{Input, io::RequestFailure};
use libp2p::{
    Multiaddr, PeerId,
    multiaddr::Protocol,
    swarm::dial_opts::{DialOpts, PeerCondition},
};
use libp2p_webrtc_browser::peer::address::direct;

use super::Network;
use crate::{
    clock::{self, millis, random_u64},
    net::{
        connections::{
            IDENTIFY_TIMEOUT, PEER_LIVENESS_TIMEOUT, RELAY_LIVENESS_TIMEOUT, REPLACEMENT_TIMEOUT,
            SURPLUS_CIRCUIT_DELAY, UPGRADED_CIRCUIT_DELAY,
        },
        discovery::{DISCOVERY_INTERVAL, FEW_PEERS, LONELY_DISCOVERY_INTERVAL},
        peer_exchange::Step,
        peer_slots::{self, SlotKind},
        relays::Action,
    },
};

/// Time between two passes over all connections.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(2);
/// If housekeeping is this late, the page was suspended: timeouts that expired meanwhile are not held against a peer.
const SUSPEND_THRESHOLD: Duration = Duration::from_secs(6);

impl Network {
    /// The page is back after it was hidden, frozen or offline.
    pub(crate) fn resumed(&mut self) {
        let now = clock::monotonic();
        self.connections.restart_silence_timers(now);
        self.candidates.reset_backoff();
        self.peer_exchange.retry_soon(now);
        self.relays.resumed(now);
        self.tick();
    }

    pub(super) fn tick(&mut self) {
        let now = clock::monotonic();
        for (peer, id) in self.outbound_requests.take_expired(now) {
            self.emit_input(Input::RequestFailed {
                peer,
                id,
                failure: RequestFailure::Timeout,
            });
        }
        self.expire_gossip(now);
        if self.housekeeping_at <= now {
            self.housekeeping(now);
        }
        if !self.isolated {
            for action in self.relays.tick(now, self.connections.members()) {
                self.perform(action, now);
            }
            self.exchange_peers(now);
            self.dial_candidates(now);
        }
        self.set_alarm();
    }

    pub(super) fn set_alarm(&mut self) {
        let wants_peers = self.exchange_interval().is_some();
        // An isolated tab neither dials nor exchanges peers.
        let due = if self.isolated {
            [None, None]
        } else {
            [self.relays.due(), self.peer_exchange.due(wants_peers)]
        };
        self.alarm.set(
            due.into_iter()
                .chain([self.outbound_requests.due(), self.pending_validation.due()])
                .flatten()
                .fold(self.housekeeping_at, MonotonicMillis::min),
        );
    }

    /// Reports Ignore for gossip messages that got no verdict in time.
    pub(super) fn expire_gossip(&mut self, now: MonotonicMillis) {
        for (message, from) in self.pending_validation.expired(now) {
            self.ignore_gossip(&message, &from);
        }
    }

    /// Schedules the next housekeeping for `time` at the latest.
    pub(super) fn housekeeping_due(&mut self, time: MonotonicMillis) {
        self.housekeeping_at = self.housekeeping_at.min(time);
    }

    fn housekeeping(&mut self, now: MonotonicMillis) {
        // The wall clock counts, too: the monotonic clock may stop while the computer sleeps.
        let wall = clock::now();
        let late = wall
            .since(self.housekept_at)
            .max(now.since(self.housekeeping_at));
        if late > millis(SUSPEND_THRESHOLD + HOUSEKEEPING_INTERVAL) {
            self.connections.restart_silence_timers(now);
        }
        self.housekept_at = wall;
        self.housekeeping_at = now.saturating_add(millis(HOUSEKEEPING_INTERVAL));
        for peer in self.bans.release(now) {
            self.swarm.behaviour_mut().banned.unblock_peer(peer);
        }
        let us = self.local_peer_id();
        let silent = self.connections.silent(
            now,
            RELAY_LIVENESS_TIMEOUT,
            PEER_LIVENESS_TIMEOUT,
            IDENTIFY_TIMEOUT,
        );
        let surplus = self.connections.surplus(
            &us,
            now,
            SURPLUS_CIRCUIT_DELAY,
            UPGRADED_CIRCUIT_DELAY,
            REPLACEMENT_TIMEOUT,
        );
        for connection in silent.into_iter().chain(surplus) {
            self.swarm.close_connection(connection);
        }
    }

    fn perform(&mut self, action: Action, now: MonotonicMillis) {
        match action {
            Action::ReadDocument(link) => {
                let document = (self.read_document)();
                self.reading
                    .push(document.map(move |document| (link, document)).boxed_local());
            }
            Action::Dial(link, relay) => {
                let dial = match relay.peer {
                    Some(peer) => DialOpts::peer_id(peer)
                        .condition(PeerCondition::Always)
                        .addresses(vec![relay.address])
                        .build(),
                    None => DialOpts::unknown_peer_id().address(relay.address).build(),
                };
                let connection = dial.connection_id();
                let connection_limiter = &mut self.swarm.behaviour_mut().connection_limiter;
                connection_limiter.expect_dial(connection, SlotKind::Relay);
                // Before the dial, because it can fail at once.
                self.relays.dialing(link, connection, now);
                if self.swarm.dial(dial).is_err() {
                    self.relays.dial_not_started(link, now);
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
                let addresses = self.swarm.external_addresses().cloned().collect();
                let behaviour = &mut self.swarm.behaviour_mut().rendezvous;
                let sent = self
                    .rendezvous
                    .register(behaviour, &relay, &self.key, addresses);
                if sent.is_err() {
                    self.relays.registered(&relay, None, now);
                }
            }
            Action::Discover(relay, cookie) => {
                let behaviour = &mut self.swarm.behaviour_mut().rendezvous;
                self.rendezvous.discover(behaviour, &relay, cookie);
            }
        }
    }

    /// Opens a circuit to a peer whose direct connection has fallen silent. A new direct connection is negotiated over
    /// the circuit; if that fails, the circuit carries all traffic.
    pub(super) fn redial_over_circuit(&mut self, peer: PeerId) {
        if self.isolated {
            return;
        }
        let sources = self
            .candidates
            .source(&peer)
            .into_iter()
            .chain(self.relays.connected_peers());
        let Some(address) = sources
            .filter(|source| *source != peer)
            .find_map(|source| self.circuit_through(&source, peer))
        else {
            return;
        };
        let dial = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(vec![address])
            .build();
        let connection = dial.connection_id();
        if self.swarm.dial(dial).is_ok() {
            self.dialing.insert(connection, peer);
        }
    }

    /// Requests reservations and peer lists from neighbours, where due.
    fn exchange_peers(&mut self, now: MonotonicMillis) {
        for peer in self.connections.neighbours() {
            let is_outbound = self.swarm.behaviour().connection_limiter.is_outbound(&peer);
            self.peer_exchange.add_neighbour(peer, is_outbound, now);
        }
        let interval = self.exchange_interval();
        for step in self.peer_exchange.tick(now, interval.map(millis)) {
            match step {
                Step::Reserve(peer) => {
                    let address = direct(peer).with(Protocol::P2pCircuit);
                    let listener = self.swarm.listen_on(address).ok();
                    self.peer_exchange
                        .reserving(&peer, listener, now, random_u64());
                }
                Step::RequestPeers(peer) => {
                    self.swarm
                        .behaviour_mut()
                        .neighbours
                        .send_request(&peer, Vec::new());
                }
            }
        }
    }

    /// Time between two peer list requests to a neighbour; `None` while there are enough peers.
    fn exchange_interval(&self) -> Option<Duration> {
        if self.wanted() == 0 {
            None
        } else if self.connections.members() >= FEW_PEERS {
            Some(DISCOVERY_INTERVAL)
        } else {
            Some(LONELY_DISCOVERY_INTERVAL)
        }
    }

    /// How many more peers this tab wants to dial.
    fn wanted(&self) -> usize {
        let outbound = self.swarm.behaviour().connection_limiter.outbound();
        peer_slots::wanted(self.connections.members(), outbound)
    }

    /// The circuit address of a peer through the relay or neighbour that reported it, if that is still connected.
    fn circuit_through(&self, source: &PeerId, peer: PeerId) -> Option<Multiaddr> {
        let neighbour = || {
            self.peer_exchange.is_neighbour(source).then(|| {
                direct(*source)
                    .with(Protocol::P2pCircuit)
                    .with(Protocol::P2p(peer))
            })
        };
        self.relays.circuit(source, peer).or_else(neighbour)
    }

    /// Dials as many candidates as there are peers wanted.
    fn dial_candidates(&mut self, now: MonotonicMillis) {
        let wanted = self.wanted().saturating_sub(self.dialing.len());
        let (connections, dialing, bans, us) = (
            &self.connections,
            &self.dialing,
            &self.bans,
            self.local_peer_id(),
        );
        let busy = |peer: &PeerId| {
            *peer == us
                || bans.contains(peer)
                || connections.role(peer).is_some()
                || dialing.values().any(|dialed| dialed == peer)
        };
        for (peer, relay) in self.candidates.choose(wanted, now, busy, random_u64) {
            let Some(address) = self.circuit_through(&relay, peer) else {
                continue;
            };
            let dial = DialOpts::peer_id(peer)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(vec![address])
                .build();
            let connection = dial.connection_id();
            let connection_limiter = &mut self.swarm.behaviour_mut().connection_limiter;
            connection_limiter.expect_dial(connection, SlotKind::Outbound);
            match self.swarm.dial(dial) {
                Ok(()) => {
                    self.dialing.insert(connection, peer);
                }
                Err(_) => self.candidates.failed(peer, now, random_u64()),
            }
        }
    }
}
