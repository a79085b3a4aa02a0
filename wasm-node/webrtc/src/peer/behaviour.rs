//! The network behaviour: tracks which carriers exist, makes their handlers negotiate as `upgrades` decides, and passes
//! finished connections to the transport. Decides nothing on its own, and never reads a signalling message.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::channel::mpsc;
use futures::{FutureExt, StreamExt};
use futures_timer::Delay;
use libp2p_core::multiaddr::Protocol;
use libp2p_core::transport::PortUse;
use libp2p_core::{ConnectedPoint, Endpoint, Multiaddr};
use libp2p_identity::PeerId;
use libp2p_swarm::behaviour::{ConnectionEstablished, DialFailure, FromSwarm};
use libp2p_swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p_swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, NetworkBehaviour, NotifyHandler, THandler,
    THandlerInEvent, ToSwarm,
};
use litemap::LiteMap;

use super::address::{PeerAddress, advertised, direct, is_direct};
use super::circuits::{AfterFailure, Circuit, Circuits};
use super::config::{Config, IceServer};
use super::handler::{Command, Handler, Orphan, Report, UpgradeError};
use super::transport::{CircuitError, DialError, DialRequest, Handover};
use super::upgrades::{Initiator, MAX_NEGOTIATIONS, OfferDecision, Upgrades};
use crate::connection::Connection;
use crate::js::monotonic_now;

/// The outcome of an upgrade, or a change of a direct connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A direct connection was established.
    Connected {
        /// The peer that is connected directly.
        peer: PeerId,
        /// The ID of the new connection.
        connection: ConnectionId,
    },
    /// The direct connection to a peer has fallen silent. If a relayed connection to the peer exists, another direct
    /// one is offered over it. Otherwise the application should dial a relayed one now. A lost connection closes
    /// automatically.
    Doubtful {
        /// The peer that has fallen silent.
        peer: PeerId,
    },
    /// An upgrade failed. Existing connections are not affected.
    Failed {
        /// The peer that could not be reached directly.
        peer: PeerId,
        /// The cause of the failure.
        error: Arc<UpgradeError>,
        /// Whether the upgrade will be retried automatically.
        again: bool,
    },
}

/// The maximum number of liveness changes that wait for the swarm, which normally runs at once.
const MAX_QUEUED_DOUBTS: usize = 64;

/// The network behaviour of browser-to-browser WebRTC.
#[derive(Debug)]
pub struct Behaviour {
    config: Config,
    handover: Handover,
    upgrades: Upgrades<PeerId, ConnectionId>,
    /// Dials that wait for a direct connection to their peer.
    pending_dials: LiteMap<PeerId, Vec<DialRequest>>,
    /// Circuits that are being dialled for these dials.
    circuits: Circuits<PeerId, Multiaddr, ConnectionId>,
    /// Swarm dials that pick up an established connection, with its peer and carrier.
    handover_dials: LiteMap<ConnectionId, (PeerId, ConnectionId)>,
    actions: VecDeque<ToSwarm<Event, Command>>,
    retry_timer: Option<(Duration, Delay)>,
    /// Reports of connections that have fallen silent (true) or respond again (false).
    doubt_sender: mpsc::Sender<(PeerId, bool)>,
    doubt_receiver: mpsc::Receiver<(PeerId, bool)>,
    /// Negotiations whose carrier has closed: the channel from the handlers, and those that still run.
    orphan_sender: mpsc::Sender<Orphan>,
    orphan_receiver: mpsc::Receiver<Orphan>,
    orphans: Vec<Orphan>,
}

impl Behaviour {
    pub(crate) fn new(config: Config, handover: Handover) -> Self {
        let (doubt_sender, doubt_receiver) = mpsc::channel(MAX_QUEUED_DOUBTS);
        let (orphan_sender, orphan_receiver) = mpsc::channel(MAX_NEGOTIATIONS);
        Self {
            upgrades: Upgrades::new(config.us, config.automatic),
            config,
            handover,
            pending_dials: LiteMap::new(),
            circuits: Circuits::new(),
            handover_dials: LiteMap::new(),
            actions: VecDeque::new(),
            retry_timer: None,
            doubt_sender,
            doubt_receiver,
            orphan_sender,
            orphan_receiver,
            orphans: Vec::new(),
        }
    }

    /// Makes failed offers due again: they are sent when the swarm is polled next. Call it when the network may have
    /// changed, for example when a computer is online again.
    pub fn retry_soon(&mut self) {
        self.upgrades.retry_soon(monotonic_now());
    }

    /// Replaces the ICE servers for future upgrades.
    pub fn set_ice_servers(&mut self, servers: Vec<IceServer>) {
        self.config.ice_servers = servers;
    }

    fn send_command(&mut self, peer: PeerId, connection: ConnectionId, command: Command) {
        self.actions.push_back(ToSwarm::NotifyHandler {
            peer_id: peer,
            handler: NotifyHandler::One(connection),
            event: command,
        });
    }

    fn on_established(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
    ) {
        let initiator = if endpoint.is_dialer() {
            Initiator::Us
        } else {
            Initiator::Them
        };
        self.circuits.established(&connection);
        if is_direct(endpoint) {
            self.handover_dials.remove(&connection);
            for superfluous in
                self.upgrades
                    .direct_opened(peer, connection, initiator, monotonic_now())
            {
                self.actions.push_back(ToSwarm::CloseConnection {
                    peer_id: peer,
                    connection: CloseConnection::One(superfluous),
                });
            }
            self.actions
                .push_back(ToSwarm::GenerateEvent(Event::Connected {
                    peer,
                    connection,
                }));
        } else if (self.config.carries_offers)(endpoint) {
            self.upgrades.carrier_opened(peer, connection, initiator);
            if self.pending_dials.contains_key(&peer) {
                self.upgrades.request(peer);
            }
        }
        self.dial_waiting_circuits();
    }

    fn on_dial_failure(&mut self, failure: &DialFailure<'_>) {
        let connection = failure.connection_id;
        match self
            .circuits
            .failed(&connection, || failure.error.to_string())
        {
            AfterFailure::Nothing => {}
            AfterFailure::Repeat(circuit) => self.dial_circuit(circuit),
            AfterFailure::GiveUp(peer, relay_failure) => {
                let source = match relay_failure {
                    Some(cause) => CircuitError::Relay(cause),
                    None => CircuitError::Circuit(failure.error.to_string()),
                };
                self.fail_pending_dials(peer, |peer| DialError::NoCircuit {
                    peer,
                    source: source.clone(),
                });
            }
        }
        self.dial_waiting_circuits();
        // The swarm denied the dial that picks up an established connection. It may accept one later.
        if let Some((peer, carrier)) = self.handover_dials.remove(&connection) {
            self.handover.discard(&peer);
            self.upgrades
                .offer_failed(peer, carrier, false, monotonic_now());
        }
    }

    fn on_request(&mut self, request: DialRequest) {
        let peer = request.address.peer;
        if !(self.config.policy)(&peer) {
            reply(request, Err(DialError::Forbidden(peer)));
        } else if self.upgrades.request(peer) {
            self.pending_dials.entry(peer).or_default().push(request);
        } else if let Some(circuit) = request.address.circuit.clone() {
            self.pending_dials.entry(peer).or_default().push(request);
            self.dial_circuit(Circuit {
                peer,
                relay: relay_of(&circuit),
                address: circuit,
            });
        } else {
            reply(request, Err(DialError::NoCarrier(peer)));
        }
    }

    fn dial_circuit(&mut self, circuit: Circuit<PeerId, Multiaddr>) {
        let opts = DialOpts::peer_id(circuit.peer)
            .condition(PeerCondition::Always)
            .addresses(vec![circuit.address.clone()])
            .build();
        self.circuits.circuit_began(opts.connection_id(), circuit);
        self.actions.push_back(ToSwarm::Dial { opts });
    }

    /// Dials the circuits again that waited for a dial of their relay, unless nothing waits for them any more.
    fn dial_waiting_circuits(&mut self) {
        while let Some(circuit) = self.circuits.next_waiting() {
            if self.pending_dials.contains_key(&circuit.peer) {
                self.dial_circuit(circuit);
            }
        }
    }

    fn on_offer_received(&mut self, peer: PeerId, carrier: ConnectionId) {
        let decision = if (self.config.policy)(&peer) {
            self.upgrades.offer_received(peer, carrier, monotonic_now())
        } else {
            OfferDecision::Refuse
        };
        tracing::debug!(%peer, ?decision, "offer");
        match decision {
            OfferDecision::Answer => {}
            OfferDecision::AnswerInstead(ours) => {
                self.send_command(peer, ours, Command::CancelOffer)
            }
            OfferDecision::Refuse => return self.send_command(peer, carrier, Command::Refuse),
        }
        let servers = self.config.ice_servers.clone();
        self.send_command(peer, carrier, Command::Answer(servers));
    }

    fn on_offer_succeeded(&mut self, peer: PeerId, carrier: ConnectionId, connection: Connection) {
        let Some(connection) = self.complete_pending_dial(peer, connection) else {
            return;
        };
        let opts = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(vec![direct(peer)])
            .build();
        self.handover_dials
            .insert(opts.connection_id(), (peer, carrier));
        self.handover.hold_for_dial(peer, connection);
        self.actions.push_back(ToSwarm::Dial { opts });
    }

    fn on_answer_succeeded(&mut self, peer: PeerId, connection: Connection) {
        if let Some(connection) = self.complete_pending_dial(peer, connection) {
            self.handover.push_incoming(peer, connection);
        }
    }

    fn on_offer_failed(&mut self, peer: PeerId, carrier: ConnectionId, error: UpgradeError) {
        let is_permanent = matches!(error, UpgradeError::Unsupported);
        let again = self
            .upgrades
            .offer_failed(peer, carrier, is_permanent, monotonic_now());
        let error = Arc::new(error);
        if !again {
            self.fail_pending_dials(peer, |peer| DialError::Failed {
                peer,
                source: Arc::clone(&error),
            });
        }
        tracing::debug!(%peer, %error, again, "no direct connection");
        self.actions
            .push_back(ToSwarm::GenerateEvent(Event::Failed { peer, error, again }));
    }

    /// Passes a connection to the first dial that waits for it; other waiting dials fail. Returns the connection if no
    /// dial takes it.
    fn complete_pending_dial(
        &mut self,
        peer: PeerId,
        connection: Connection,
    ) -> Option<Connection> {
        let doubt_sender = RefCell::new(self.doubt_sender.clone());
        let mut connection = Some(
            connection
                .with_grace(self.config.grace)
                .with_silence_limit(self.config.silence_limit)
                .with_doubt_listener(move |doubtful| {
                    // Fails if the swarm was dropped, or if so many reports are queued that one more does not matter.
                    let _ = doubt_sender.borrow_mut().try_send((peer, doubtful));
                }),
        );
        for request in self.pending_dials.remove(&peer).into_iter().flatten() {
            match connection.take() {
                Some(ready) => connection = reply(request, Ok(ready)),
                None => {
                    reply(request, Err(DialError::Superseded(peer)));
                }
            }
        }
        connection
    }

    fn fail_pending_dials(&mut self, peer: PeerId, error: impl Fn(PeerId) -> DialError) {
        for request in self.pending_dials.remove(&peer).into_iter().flatten() {
            reply(request, Err(error(peer)));
        }
    }

    /// Drives negotiations whose carrier has closed. They can complete if the peers have exchanged all they need.
    fn poll_orphans(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some(orphan)) = self.orphan_receiver.poll_next_unpin(context) {
            let same_side = |other: &&Orphan| other.offered == orphan.offered;
            if self.orphans.iter().filter(same_side).count() < MAX_NEGOTIATIONS {
                self.orphans.push(orphan);
            }
        }
        let mut index = 0;
        while let Some(orphan) = self.orphans.get_mut(index) {
            let Poll::Ready(outcome) = orphan.negotiation.poll_unpin(context) else {
                index += 1;
                continue;
            };
            let Orphan {
                peer,
                carrier,
                offered,
                ..
            } = self.orphans.swap_remove(index);
            match outcome {
                Ok(connection) if offered => self.on_offer_succeeded(peer, carrier, connection),
                Ok(connection) => self.on_answer_succeeded(peer, connection),
                // The closing of the carrier was already reported.
                Err(error) => tracing::debug!(%peer, %error, "no direct connection"),
            }
        }
    }

    fn start_offers(&mut self, now: Duration) {
        let policy = Arc::clone(&self.config.policy);
        while let Some((peer, carrier)) = self.upgrades.start_offer(now, |peer| policy(peer)) {
            let servers = self.config.ice_servers.clone();
            self.send_command(peer, carrier, Command::Offer(servers));
        }
    }

    fn poll_retry_timer(&mut self, context: &mut Context<'_>, now: Duration) {
        let Some(due) = self.upgrades.next_due().filter(|due| *due > now) else {
            self.retry_timer = None;
            return;
        };
        if self.retry_timer.as_ref().is_none_or(|(at, _)| *at != due) {
            self.retry_timer = Some((due, Delay::new(due.saturating_sub(now))));
        }
        if let Some((_, delay)) = &mut self.retry_timer
            && delay.poll_unpin(context).is_ready()
        {
            self.retry_timer = None;
            context.waker().wake_by_ref();
        }
    }
}

/// The relay of a circuit, if its address names one.
fn relay_of(circuit: &Multiaddr) -> Option<PeerId> {
    let before = circuit
        .iter()
        .take_while(|part| *part != Protocol::P2pCircuit);
    match before.last() {
        Some(Protocol::P2p(relay)) => Some(relay),
        Some(_) | None => None,
    }
}

/// Completes a dial. Returns the connection if the dial was cancelled.
fn reply(request: DialRequest, outcome: Result<Connection, DialError>) -> Option<Connection> {
    match request.reply.send(outcome) {
        Ok(()) | Err(Err(_)) => None,
        Err(Ok(connection)) => Some(connection),
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if let Some(peer) = peer {
            self.circuits.dial_began(connection, peer);
        }
        Ok(Vec::new())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(peer, connection, self.orphan_sender.clone()))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(peer, connection, self.orphan_sender.clone()))
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "no other swarm event affects which connections exist"
    )]
    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            }) => self.on_established(peer_id, connection_id, endpoint),
            FromSwarm::ConnectionClosed(closed) => {
                self.upgrades
                    .closed(closed.peer_id, closed.connection_id, monotonic_now());
                if closed.remaining_established == 0 {
                    self.fail_pending_dials(closed.peer_id, DialError::NoCarrier);
                }
            }
            FromSwarm::DialFailure(failure) => self.on_dial_failure(&failure),
            FromSwarm::ListenFailure(failure) => {
                if let Some(address) = PeerAddress::parse(failure.send_back_addr) {
                    self.upgrades.answer_failed(address.peer, monotonic_now());
                }
            }
            FromSwarm::ExternalAddrConfirmed(confirmed) => {
                if let Some(address) = advertised(confirmed.addr) {
                    self.actions
                        .push_back(ToSwarm::ExternalAddrConfirmed(address));
                }
            }
            FromSwarm::ExternalAddrExpired(expired) => {
                if let Some(address) = advertised(expired.addr) {
                    self.actions
                        .push_back(ToSwarm::ExternalAddrExpired(address));
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, carrier: ConnectionId, report: Report) {
        match report {
            Report::OfferReceived => self.on_offer_received(peer, carrier),
            Report::OfferSucceeded(connection) => {
                self.on_offer_succeeded(peer, carrier, connection)
            }
            Report::AnswerSucceeded(connection) => self.on_answer_succeeded(peer, connection),
            Report::OfferFailed(error) => self.on_offer_failed(peer, carrier, error),
            Report::AnswerFailed(error) => {
                self.upgrades.answer_failed(peer, monotonic_now());
                // The peer made the offer, so retrying is up to the peer.
                self.actions
                    .push_back(ToSwarm::GenerateEvent(Event::Failed {
                        peer,
                        error: Arc::new(error),
                        again: false,
                    }));
            }
        }
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Poll::Ready(action);
            }
            while let Poll::Ready(Some(request)) = self.handover.requests.poll_next_unpin(context) {
                self.on_request(request);
            }
            self.poll_orphans(context);
            let now = monotonic_now();
            while let Poll::Ready(Some((peer, doubtful))) =
                self.doubt_receiver.poll_next_unpin(context)
            {
                self.upgrades.set_doubtful(peer, doubtful, now);
                if doubtful {
                    self.actions
                        .push_back(ToSwarm::GenerateEvent(Event::Doubtful { peer }));
                }
            }
            self.start_offers(now);
            if self.actions.is_empty() {
                self.poll_retry_timer(context, now);
                return Poll::Pending;
            }
        }
    }
}

#[cfg(test)]
mod tests;
