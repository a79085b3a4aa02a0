//! What is due: relays and peers to call, connections to close, requests that are late. Never looks at what
//! anybody sent.

use std::time::Duration;

use chain::time::MonotonicMillis;
use futures::FutureExt;
use libp2p::{
    Multiaddr, PeerId,
    multiaddr::Protocol,
    swarm::dial_opts::{DialOpts, PeerCondition},
};
use libp2p_webrtc_browser::peer::address::direct;
use sync::seam::RequestFailure;

use super::{Event, Network};
use crate::{
    clock::{self, chance, millis},
    config,
    net::{
        introductions::Step,
        places::{self, Place},
        relays::Action,
    },
};

impl Network {
    /// The page was hidden, frozen or offline and is back.
    pub(crate) fn woke(&mut self) {
        let now = clock::monotonic();
        self.connections.excuse_silence(now);
        self.candidates.forgive();
        self.introductions.hurry(now);
        self.relays.woke(now);
        self.tick();
    }

    pub(super) fn tick(&mut self) {
        let now = clock::monotonic();
        for (peer, id) in self.asked.late(now) {
            self.events.push_back(Event::RequestFailed {
                peer,
                id,
                failure: RequestFailure::Timeout,
            });
        }
        self.expire_gossip(now);
        if self.housekeeping_at <= now {
            self.keep_house(now);
        }
        if !self.isolated {
            for action in self.relays.tick(now, self.connections.members()) {
                self.perform(action, now);
            }
            self.call_introductions(now);
            self.call_candidates(now);
        }
        self.set_alarm();
    }

    pub(super) fn set_alarm(&mut self) {
        let asks = self.introduction_interval().is_some();
        // What a tab that is cut off does not do is not due either.
        let due = if self.isolated {
            [None, None]
        } else {
            [self.relays.due(), self.introductions.due(asks)]
        };
        self.alarm.set(
            due.into_iter()
                .chain([self.asked.due(), self.unjudged.due()])
                .flatten()
                .fold(self.housekeeping_at, MonotonicMillis::min),
        );
    }

    /// Answers for gossip items on which no verdict came in time.
    pub(super) fn expire_gossip(&mut self, now: MonotonicMillis) {
        for (message, from) in self.unjudged.expired(now) {
            self.ignore_gossip(&message, &from);
        }
    }

    /// Looks at all connections at this time, or sooner.
    pub(super) fn keep_house_by(&mut self, time: MonotonicMillis) {
        self.housekeeping_at = self.housekeeping_at.min(time);
    }

    fn keep_house(&mut self, now: MonotonicMillis) {
        // By the wall clock, too: the other one may stand still while the computer sleeps.
        let wall = clock::now();
        let late = wall
            .since(self.housekept_at)
            .max(now.since(self.housekeeping_at));
        if late > millis(config::SLEPT_AFTER + config::HOUSEKEEPING_INTERVAL) {
            self.connections.excuse_silence(now);
        }
        self.housekept_at = wall;
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
        let surplus = self.connections.surplus(
            &us,
            now,
            config::SURPLUS_AFTER,
            config::UPGRADED_AFTER,
            config::REPLACED_WITHIN,
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
                let call = match relay.peer {
                    Some(peer) => DialOpts::peer_id(peer)
                        .condition(PeerCondition::Always)
                        .addresses(vec![relay.address])
                        .build(),
                    None => DialOpts::unknown_peer_id().address(relay.address).build(),
                };
                let connection = call.connection_id();
                let gate = &mut self.swarm.behaviour_mut().gate;
                gate.will_call(connection, Place::Relay);
                // Said first, because a call can fail at once.
                self.relays.dialing(link, connection, now);
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
                let addresses = self.swarm.external_addresses().cloned().collect();
                let rendezvous = &mut self.swarm.behaviour_mut().rendezvous;
                let sent = self
                    .errands
                    .register(rendezvous, &relay, &self.key, addresses);
                if sent.is_err() {
                    self.relays.registered(&relay, None, now);
                }
            }
            Action::Discover(relay, cookie) => {
                let rendezvous = &mut self.swarm.behaviour_mut().rendezvous;
                self.errands.discover(rendezvous, &relay, cookie);
            }
        }
    }

    /// The direct connection to a peer has fallen silent: opens a circuit to it, over which another direct one is
    /// offered, or which carries everything if that fails.
    pub(super) fn call_anew(&mut self, peer: PeerId) {
        if self.isolated {
            return;
        }
        let ways = self
            .candidates
            .introducer(&peer)
            .into_iter()
            .chain(self.relays.connected_peers());
        let Some(address) = ways
            .filter(|way| *way != peer)
            .find_map(|way| self.way_through(&way, peer))
        else {
            return;
        };
        let call = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(vec![address])
            .build();
        let connection = call.connection_id();
        if self.swarm.dial(call).is_ok() {
            self.calling.insert(connection, peer);
        }
    }

    /// Asks neighbours for places and for names, where that is due.
    fn call_introductions(&mut self, now: MonotonicMillis) {
        for peer in self.connections.neighbours() {
            let is_chosen = self.swarm.behaviour().gate.is_chosen(&peer);
            self.introductions.met(peer, is_chosen, now);
        }
        let every = self.introduction_interval();
        for step in self.introductions.tick(now, every.map(millis)) {
            match step {
                Step::Reserve(peer) => {
                    let place = direct(peer).with(Protocol::P2pCircuit);
                    let listener = self.swarm.listen_on(place).ok();
                    self.introductions.reserving(&peer, listener, now, chance());
                }
                Step::Ask(peer) => {
                    self.swarm
                        .behaviour_mut()
                        .neighbours
                        .send_request(&peer, Vec::new());
                }
            }
        }
    }

    /// How often neighbours are asked whom they know; `None` while there are peers enough.
    fn introduction_interval(&self) -> Option<Duration> {
        if self.wanted() == 0 {
            None
        } else if self.connections.members() >= config::FEW_PEERS {
            Some(config::DISCOVERY_INTERVAL)
        } else {
            Some(config::LONELY_DISCOVERY_INTERVAL)
        }
    }

    /// How many peers more this tab would like to choose.
    fn wanted(&self) -> usize {
        let chosen = self.swarm.behaviour().gate.chosen();
        places::wanted(self.connections.members(), chosen)
    }

    /// The way to a peer through whoever named it, if that one is still there.
    fn way_through(&self, introducer: &PeerId, peer: PeerId) -> Option<Multiaddr> {
        let neighbour = || {
            self.introductions.is_neighbour(introducer).then(|| {
                direct(*introducer)
                    .with(Protocol::P2pCircuit)
                    .with(Protocol::P2p(peer))
            })
        };
        self.relays.circuit(introducer, peer).or_else(neighbour)
    }

    fn call_candidates(&mut self, now: MonotonicMillis) {
        let wanted = self.wanted().saturating_sub(self.calling.len());
        let (connections, calling, bans, us) =
            (&self.connections, &self.calling, &self.bans, self.us());
        let busy = |peer: &PeerId| {
            *peer == us
                || bans.contains(peer)
                || connections.role(peer).is_some()
                || calling.values().any(|called| called == peer)
        };
        for (peer, relay) in self.candidates.choose(wanted, now, busy, chance) {
            let Some(address) = self.way_through(&relay, peer) else {
                continue;
            };
            let call = DialOpts::peer_id(peer)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(vec![address])
                .build();
            let connection = call.connection_id();
            let gate = &mut self.swarm.behaviour_mut().gate;
            gate.will_call(connection, Place::Chosen);
            match self.swarm.dial(call) {
                Ok(()) => {
                    self.calling.insert(connection, peer);
                }
                Err(_) => self.candidates.failed(peer, now, chance()),
            }
        }
    }
}
