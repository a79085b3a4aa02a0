//! One relay: how far along it is, and what is next. Never touches the swarm.

use std::time::Duration;

use chain::time::UnixMillis;
use libp2p::{
    Multiaddr, PeerId, core::transport::ListenerId, multiaddr::Protocol, rendezvous::Cookie,
    swarm::ConnectionId,
};

use super::{Action, LinkId, RelayView};
use crate::{
    clock::{chance, millis},
    config,
    net::{
        address::RelayAddress,
        backoff::{Backoff, jitter},
    },
};

#[derive(Debug)]
pub(super) enum Source {
    /// Addresses that a person gave.
    Given,
    /// A document that is read before every call.
    Document,
}

#[derive(Debug)]
pub(super) enum Phase {
    Waiting { until: UnixMillis },
    Reading,
    Dialing { connection: Option<ConnectionId> },
    Connected(Box<Connected>),
}

#[derive(Debug)]
pub(super) struct Connected {
    pub(super) connection: ConnectionId,
    pub(super) peer: PeerId,
    /// Where it was reached, ending in its name.
    pub(super) address: Multiaddr,
    pub(super) listener: Option<ListenerId>,
    pub(super) reserved: bool,
    /// When to ask for a reservation, or, with one asked for, when to give up on the answer.
    pub(super) reserve_at: UnixMillis,
    pub(super) register_at: Option<UnixMillis>,
    pub(super) discover_at: UnixMillis,
    pub(super) cookie: Option<Cookie>,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) source: Source,
    pub(super) addresses: Vec<RelayAddress>,
    /// Which address is tried next: after a failure the following one, so that both ways get their turn.
    pub(super) next: usize,
    pub(super) phase: Phase,
    pub(super) redial: Backoff,
    pub(super) reservation: Backoff,
}

impl Link {
    pub(super) const fn new(source: Source, now: UnixMillis) -> Self {
        Self {
            source,
            addresses: Vec::new(),
            next: 0,
            phase: Phase::Waiting { until: now },
            redial: Backoff::new(config::RELAY_REDIAL),
            reservation: Backoff::new(config::RELAY_REDIAL),
        }
    }

    pub(super) fn tick(
        &mut self,
        id: LinkId,
        now: UnixMillis,
        discover_every: Duration,
    ) -> Vec<Action> {
        let current = self.current().cloned();
        match &mut self.phase {
            Phase::Waiting { until } if *until <= now => match (&self.source, current) {
                (Source::Document, _) => {
                    self.phase = Phase::Reading;
                    vec![Action::ReadDocument(id)]
                }
                (Source::Given, Some(address)) => {
                    self.phase = Phase::Dialing { connection: None };
                    vec![Action::Dial(id, address)]
                }
                (Source::Given, None) => Vec::new(),
            },
            Phase::Dialing { connection: None } => current
                .map(|address| Action::Dial(id, address))
                .into_iter()
                .collect(),
            Phase::Connected(relay) => relay.tick(id, now, discover_every),
            Phase::Waiting { .. }
            | Phase::Reading
            | Phase::Dialing {
                connection: Some(_),
            } => Vec::new(),
        }
    }

    pub(super) fn due(&self) -> Option<UnixMillis> {
        match &self.phase {
            Phase::Waiting { until } => Some(*until),
            Phase::Dialing { connection: None } => Some(UnixMillis::new(0)),
            Phase::Connected(relay) => Some(relay.due()),
            Phase::Reading
            | Phase::Dialing {
                connection: Some(_),
            } => None,
        }
    }

    pub(super) fn current(&self) -> Option<&RelayAddress> {
        self.addresses
            .get(self.next.checked_rem(self.addresses.len())?)
    }

    /// This address failed: the next one, after a wait.
    pub(super) fn failed(&mut self, now: UnixMillis) {
        self.next = self.next.wrapping_add(1);
        self.wait(now);
    }

    pub(super) fn wait(&mut self, now: UnixMillis) {
        let wait = self.redial.failed(chance());
        self.phase = Phase::Waiting {
            until: now.saturating_add(millis(wait)),
        };
    }

    pub(super) fn relay(&self) -> Option<&Connected> {
        if let Phase::Connected(relay) = &self.phase {
            Some(relay)
        } else {
            None
        }
    }

    pub(super) fn relay_mut(&mut self) -> Option<&mut Connected> {
        if let Phase::Connected(relay) = &mut self.phase {
            Some(relay)
        } else {
            None
        }
    }

    pub(super) fn view(&self) -> Option<RelayView> {
        if let Some(relay) = self.relay() {
            return Some(RelayView {
                address: relay.address.to_string(),
                peer: Some(relay.peer),
                connected: true,
                reserved: relay.reserved,
            });
        }
        let address = self.current()?;
        Some(RelayView {
            address: address.address.to_string(),
            peer: address.peer,
            connected: false,
            reserved: false,
        })
    }
}

impl Connected {
    pub(super) fn tick(
        &mut self,
        id: LinkId,
        now: UnixMillis,
        discover_every: Duration,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        if !self.reserved && self.reserve_at <= now {
            if let Some(late) = self.listener.take() {
                actions.push(Action::StopListening(late));
            }
            self.reserve_at = now.saturating_add(millis(config::RESERVATION_TIMEOUT));
            actions.push(Action::Reserve(
                id,
                self.address.clone().with(Protocol::P2pCircuit),
            ));
        }
        if self.register_at.is_some_and(|at| at <= now) {
            // Again after this long, should no answer come.
            self.register_at = Some(now.saturating_add(millis(config::RENDEZVOUS_RENEW)));
            actions.push(Action::Register(self.peer));
        }
        if self.discover_at <= now {
            self.discover_at = now.saturating_add(millis(jitter(discover_every, chance())));
            actions.push(Action::Discover(self.peer, self.cookie.clone()));
        }
        actions
    }

    pub(super) fn due(&self) -> UnixMillis {
        let reserve = (!self.reserved).then_some(self.reserve_at);
        [reserve, self.register_at]
            .into_iter()
            .flatten()
            .fold(self.discover_at, UnixMillis::min)
    }
}
