//! The connection to one relay as a state machine: its phase, and the next action. It never touches the swarm.

use std::time::Duration;

use heartchain_chain::time::MonotonicMillis;
use libp2p::{
    Multiaddr, PeerId, core::transport::ListenerId, multiaddr::Protocol, swarm::ConnectionId,
};

use super::action::{Action, LinkId};
use crate::{
    clock::{millis, random_u64},
    net::{
        address::RelayAddress,
        backoff::{Backoff, jitter},
        rendezvous::message::Cookie,
    },
};

/// Dials to one relay that are past `DIAL_FALLBACK_DELAY` and still pending, at one time.
pub(crate) const MAX_LATE_DIALS: usize = 4;
/// A reservation that a relay has not granted after this time is requested again.
pub(crate) const RESERVATION_TIMEOUT: Duration = Duration::from_secs(15);
/// Waits before a lost relay is dialed again, and before a refused reservation is requested again. The first is short
/// because most relays are back at once; the last keeps thirty tabs from overloading a dead relay.
const RELAY_REDIAL: &[Duration] = &[
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
];
/// A registration is renewed after this time: twice in its lifetime, with time for one late renewal.
pub(crate) const RENDEZVOUS_RENEW: Duration = Duration::from_secs(40);

/// A relay, as the page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayView {
    /// The address that is dialed, or was.
    pub address: String,
    /// Its peer ID, if known.
    pub peer: Option<PeerId>,
    /// Whether there is a connection to it.
    pub connected: bool,
    /// Whether it has granted a reservation, so that peers reach us through it.
    pub reserved: bool,
    /// Whether it refused a reservation because it has no more.
    pub full: bool,
}

/// What a new connection means for this tab's relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It connects a relay.
    Relay,
    /// It leads to a relay that is connected already, and is redundant.
    Surplus,
    /// It does not belong to a relay.
    Other,
}

#[derive(Debug)]
pub(super) enum Source {
    /// The user or the page configured the addresses.
    Given,
    /// The document of the page's relay, which is read before every dial.
    Document,
    /// The document of another relay of the deployment, which is at this URL.
    Other(String),
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Backing off before the next try.
    Waiting {
        until: MonotonicMillis,
    },
    /// The document is being read.
    Reading,
    /// An address is known and can be dialed.
    Ready,
    /// Dialing; without an answer at `until`, another address gets its turn.
    Dialing {
        connection: ConnectionId,
        until: MonotonicMillis,
    },
    Connected(Box<Connected>),
    /// Another link to the same relay has taken over the addresses.
    Merged,
    /// Not used, because relays that rank higher work.
    Spare,
}

#[derive(Debug)]
pub(super) struct Connected {
    pub(super) connection: ConnectionId,
    pub(super) peer: PeerId,
    /// The dialed address, ending in the peer ID.
    pub(super) address: Multiaddr,
    pub(super) listener: Option<ListenerId>,
    pub(super) reserved: bool,
    /// Whether it refused the last reservation because it has no more.
    pub(super) full: bool,
    /// From when on the reservation counts as steady: if it is lost later, another is requested at once.
    pub(super) steady_at: MonotonicMillis,
    /// When to request a reservation, or when to give up on a requested one.
    pub(super) reserve_at: MonotonicMillis,
    pub(super) register_at: Option<MonotonicMillis>,
    pub(super) discover_at: MonotonicMillis,
    pub(super) cookie: Option<Cookie>,
    /// Whether its connection is being closed, because better relays are back.
    leaving: bool,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) source: Source,
    pub(super) addresses: Vec<RelayAddress>,
    /// Index of the address to dial next. It advances after a failure, so that both transports get their turn.
    pub(super) next: usize,
    pub(super) phase: Phase,
    /// Whether its document said that it is full, when it was last read.
    pub(super) full: bool,
    /// Whether it has failed since it last granted a reservation: no address answered, or it refused.
    failing: bool,
    /// Abandoned dials, which may still succeed.
    late: Vec<ConnectionId>,
    pub(super) redial: Backoff,
    pub(super) reservation: Backoff,
}

impl Link {
    pub(super) const fn new(source: Source, now: MonotonicMillis) -> Self {
        Self {
            source,
            addresses: Vec::new(),
            next: 0,
            phase: Phase::Waiting { until: now },
            full: false,
            failing: false,
            late: Vec::new(),
            redial: Backoff::new(RELAY_REDIAL),
            reservation: Backoff::new(RELAY_REDIAL),
        }
    }

    pub(super) fn tick(
        &mut self,
        id: LinkId,
        now: MonotonicMillis,
        discovery_interval: Duration,
    ) -> Vec<Action> {
        self.abandon_slow_dial(now);
        if matches!(self.phase, Phase::Waiting { until } if until <= now) {
            let url = match &self.source {
                Source::Document => Some(None),
                Source::Other(url) => Some(Some(url.clone())),
                Source::Given => None,
            };
            if let Some(url) = url {
                self.phase = Phase::Reading;
                return vec![Action::ReadDocument(id, url)];
            }
            self.phase = Phase::Ready;
        }
        match &mut self.phase {
            Phase::Connected(relay) => {
                self.failing |= relay.is_overdue(now);
                relay.tick(id, now, discovery_interval)
            }
            Phase::Ready => {
                let address = self.current().cloned();
                address
                    .map(|address| Action::Dial(id, address))
                    .into_iter()
                    .collect()
            }
            Phase::Waiting { .. }
            | Phase::Reading
            | Phase::Dialing { .. }
            | Phase::Merged
            | Phase::Spare => Vec::new(),
        }
    }

    /// Whether the relay works, as far as is known; `None` if another link leads to it.
    pub(super) fn works(&self) -> Option<bool> {
        match &self.phase {
            Phase::Merged => None,
            Phase::Connected(relay) => Some(relay.reserved || !(self.failing || relay.full)),
            Phase::Waiting { .. }
            | Phase::Reading
            | Phase::Ready
            | Phase::Dialing { .. }
            | Phase::Spare => Some(!self.failing && !self.full),
        }
    }

    /// Whether it has a reservation that has stood for a while.
    pub(super) fn is_steady(&self, now: MonotonicMillis) -> bool {
        let relay = self.relay();
        relay.is_some_and(|relay| relay.reserved && relay.steady_at <= now)
    }

    /// Begins to use the relay, if it is spare.
    pub(super) fn begin(&mut self, now: MonotonicMillis) {
        if matches!(self.phase, Phase::Spare) {
            self.phase = Phase::Waiting { until: now };
        }
    }

    /// Makes the relay spare, unless it is connected.
    pub(super) fn rest(&mut self) {
        match self.phase {
            Phase::Waiting { .. } | Phase::Reading | Phase::Ready => self.phase = Phase::Spare,
            Phase::Dialing { connection, .. } if self.late.len() < MAX_LATE_DIALS => {
                self.late.push(connection);
                self.phase = Phase::Spare;
            }
            Phase::Dialing { .. } | Phase::Connected(_) | Phase::Merged | Phase::Spare => {}
        }
    }

    /// Closes the connection, if there is one.
    pub(super) fn leave(&mut self) -> Option<Action> {
        let relay = self.relay_mut()?;
        let leaves = !std::mem::replace(&mut relay.leaving, true);
        leaves.then_some(Action::Leave(relay.connection))
    }

    pub(super) fn due(&self) -> Option<MonotonicMillis> {
        match &self.phase {
            Phase::Waiting { until } => Some(*until),
            Phase::Ready => Some(MonotonicMillis::new(0)),
            Phase::Dialing { until, .. } => self.may_abandon_dial().then_some(*until),
            Phase::Connected(relay) => Some(relay.due()),
            Phase::Reading | Phase::Merged | Phase::Spare => None,
        }
    }

    /// A dial failed. Returns whether it was to this relay.
    pub(super) fn dial_failed(&mut self, failed: ConnectionId, now: MonotonicMillis) -> bool {
        if matches!(self.phase, Phase::Dialing { connection, .. } if connection == failed) {
            self.failed(now);
            return true;
        }
        self.remove_late(failed)
    }

    /// A connection was established. `None` if it does not belong to this relay.
    pub(super) fn connected(
        &mut self,
        opened: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        now: MonotonicMillis,
    ) -> Option<Arrival> {
        let late = self.remove_late(opened);
        match self.phase {
            Phase::Dialing { connection, .. } if connection == opened => {}
            // An abandoned dial succeeded before the current one.
            Phase::Dialing { connection, .. } if late => self.late.push(connection),
            Phase::Connected(_) | Phase::Merged | Phase::Spare => {
                return late.then_some(Arrival::Surplus);
            }
            Phase::Waiting { .. } | Phase::Reading | Phase::Ready | Phase::Dialing { .. } => {
                if !late {
                    return None;
                }
            }
        }
        let mut address = address.clone();
        if !address.iter().any(|part| matches!(part, Protocol::P2p(_))) {
            address.push(Protocol::P2p(peer));
        }
        self.phase = Phase::Connected(Box::new(Connected {
            connection: opened,
            peer,
            address,
            listener: None,
            reserved: false,
            full: false,
            steady_at: now,
            reserve_at: now,
            register_at: None,
            discover_at: now,
            cookie: None,
            leaving: false,
        }));
        Some(Arrival::Relay)
    }

    /// Moves on to the next address when a dial takes too long. The first of the dials to succeed is used.
    fn abandon_slow_dial(&mut self, now: MonotonicMillis) {
        if let Phase::Dialing { connection, until } = self.phase
            && until <= now
            && self.may_abandon_dial()
        {
            self.late.push(connection);
            self.advance();
            self.phase = Phase::Waiting { until: now };
        }
    }

    const fn may_abandon_dial(&self) -> bool {
        self.addresses.len() > 1 && self.late.len() < MAX_LATE_DIALS
    }

    fn remove_late(&mut self, id: ConnectionId) -> bool {
        let before = self.late.len();
        self.late.retain(|late| *late != id);
        self.late.len() < before
    }

    fn current(&self) -> Option<&RelayAddress> {
        self.addresses
            .get(self.next.checked_rem(self.addresses.len())?)
    }

    /// The current address failed: backs off, then tries the next one.
    pub(super) fn failed(&mut self, now: MonotonicMillis) {
        self.advance();
        self.wait(now);
    }

    /// Gives the next address its turn. Once all have had theirs, the relay counts as failing.
    fn advance(&mut self) {
        self.next = self.next.wrapping_add(1);
        self.failing |= self.next.is_multiple_of(self.addresses.len().max(1));
    }

    /// There is no document, or it names no address, or the relay refused a reservation.
    pub(super) const fn fails(&mut self) {
        self.failing = true;
    }

    /// The relay granted a reservation.
    pub(super) const fn recovered(&mut self) {
        self.failing = false;
        self.full = false;
        self.redial.reset();
        self.reservation.reset();
    }

    pub(super) fn wait(&mut self, now: MonotonicMillis) {
        let wait = self.redial.failed(random_u64());
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
                full: relay.full,
            });
        }
        if matches!(self.phase, Phase::Spare) {
            return None;
        }
        let address = self.current()?;
        Some(RelayView {
            address: address.address.to_string(),
            peer: address.peer,
            connected: false,
            reserved: false,
            full: self.full,
        })
    }
}

impl Connected {
    /// Whether the relay has not granted a reservation in time.
    fn is_overdue(&self, now: MonotonicMillis) -> bool {
        !self.reserved && self.listener.is_some() && self.reserve_at <= now
    }

    pub(super) fn tick(
        &mut self,
        id: LinkId,
        now: MonotonicMillis,
        discovery_interval: Duration,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        if !self.reserved && self.reserve_at <= now {
            if let Some(late) = self.listener.take() {
                actions.push(Action::StopListening(late));
            }
            self.reserve_at = now.saturating_add(millis(RESERVATION_TIMEOUT));
            actions.push(Action::Reserve(
                id,
                self.address.clone().with(Protocol::P2pCircuit),
            ));
        }
        if self.register_at.is_some_and(|at| at <= now) {
            // Registers again after this time if there is no response.
            self.register_at = Some(now.saturating_add(millis(RENDEZVOUS_RENEW)));
            actions.push(Action::Register(self.peer));
        }
        if self.discover_at <= now {
            self.discover_at = now.saturating_add(millis(jitter(discovery_interval, random_u64())));
            actions.push(Action::Discover(self.peer, self.cookie.clone()));
        }
        actions
    }

    pub(super) fn due(&self) -> MonotonicMillis {
        let reserve = (!self.reserved).then_some(self.reserve_at);
        [reserve, self.register_at]
            .into_iter()
            .flatten()
            .fold(self.discover_at, MonotonicMillis::min)
    }
}
