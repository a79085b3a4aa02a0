//! The behaviour half: it sees which relayed connections there are, has their handlers negotiate as `upgrades` decides,
//! and passes finished connections to the transport. Decides nothing by itself, and reads no signal.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::channel::mpsc;
use futures::{FutureExt, StreamExt};
use futures_timer::Delay;
use libp2p_core::transport::PortUse;
use libp2p_core::{ConnectedPoint, Endpoint, Multiaddr};
use libp2p_identity::PeerId;
use libp2p_swarm::behaviour::{ConnectionEstablished, FromSwarm};
use libp2p_swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p_swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, NetworkBehaviour, NotifyHandler, THandler,
    THandlerInEvent, ToSwarm,
};
use litemap::LiteMap;

use super::address::{PeerAddress, advertised, direct, is_direct};
use super::config::{Config, IceServer};
use super::handler::{Failure, Handler, Order, Orphan, Report};
use super::transport::{DialError, Handover, Request};
use super::upgrades::{Caller, MAX_NEGOTIATIONS, Upgrades, Verdict};
use crate::connection::Connection;
use crate::js::monotonic_now;

/// What came of an upgrade.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A direct connection stands.
    Connected {
        /// To whom.
        peer: PeerId,
        /// Which it is.
        connection: ConnectionId,
    },
    /// The direct connection to a peer has fallen silent. If there is a relayed connection to it, another direct one is
    /// offered over that; if not, this is the time to dial one. What is lost is closed by itself.
    Doubtful {
        /// To whom.
        peer: PeerId,
    },
    /// No direct connection came about. What connected the peers before still does.
    Failed {
        /// With whom.
        peer: PeerId,
        /// Why.
        error: Failure,
        /// Whether it will be tried again by itself.
        again: bool,
    },
}

/// Doubts that may wait for the swarm to run: it runs at once.
const MAX_WAITING_DOUBTS: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct Behaviour {
    config: Config,
    handover: Handover,
    upgrades: Upgrades<PeerId, ConnectionId>,
    /// Dials that wait for a connection to their peer.
    waiting: LiteMap<PeerId, Vec<Request>>,
    /// Circuits that are being dialled for them.
    circuits: LiteMap<ConnectionId, PeerId>,
    /// Dials of connections that stand and wait to be taken.
    landing: LiteMap<ConnectionId, (PeerId, ConnectionId)>,
    actions: VecDeque<ToSwarm<Event, Order>>,
    alarm: Option<(Duration, Delay)>,
    /// Which connections have fallen silent, or are heard again.
    doubters: mpsc::Sender<(PeerId, bool)>,
    doubts: mpsc::Receiver<(PeerId, bool)>,
    /// Negotiations whose carrier is gone, on their way here and here.
    orphaned: mpsc::Sender<Orphan>,
    orphans: mpsc::Receiver<Orphan>,
    surviving: Vec<Orphan>,
}

impl Behaviour {
    pub(crate) fn new(config: Config, handover: Handover) -> Self {
        let (doubters, doubts) = mpsc::channel(MAX_WAITING_DOUBTS);
        let (orphaned, orphans) = mpsc::channel(MAX_NEGOTIATIONS);
        Self {
            upgrades: Upgrades::new(config.us, config.automatic),
            config,
            handover,
            waiting: LiteMap::new(),
            circuits: LiteMap::new(),
            landing: LiteMap::new(),
            actions: VecDeque::new(),
            alarm: None,
            doubters,
            doubts,
            orphaned,
            orphans,
            surviving: Vec::new(),
        }
    }

    /// Uses these servers from now on.
    pub fn set_ice_servers(&mut self, servers: Vec<IceServer>) {
        self.config.ice_servers = servers;
    }

    fn order(&mut self, peer: PeerId, connection: ConnectionId, order: Order) {
        self.actions.push_back(ToSwarm::NotifyHandler {
            peer_id: peer,
            handler: NotifyHandler::One(connection),
            event: order,
        });
    }

    fn on_established(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
    ) {
        let caller = if endpoint.is_dialer() {
            Caller::Us
        } else {
            Caller::Them
        };
        if is_direct(endpoint) {
            self.landing.remove(&connection);
            for superfluous in
                self.upgrades
                    .direct_opened(peer, connection, caller, monotonic_now())
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
            self.circuits.remove(&connection);
            self.upgrades.carrier_opened(peer, connection, caller);
            if self.waiting.contains_key(&peer) {
                self.upgrades.want(peer);
            }
        }
    }

    fn on_dial_failure(&mut self, connection: ConnectionId) {
        if let Some(peer) = self.circuits.remove(&connection) {
            self.fail_waiting(peer, DialError::NoCircuit);
        }
        // The swarm denied the dial for a connection that stood. It may have room later.
        if let Some((peer, carrier)) = self.landing.remove(&connection) {
            self.handover.discard(&peer);
            self.upgrades
                .offer_failed(peer, carrier, false, monotonic_now());
        }
    }

    fn on_request(&mut self, request: Request) {
        let peer = request.address.peer;
        if !(self.config.policy)(&peer) {
            reply(request, Err(DialError::Forbidden(peer)));
        } else if self.upgrades.want(peer) {
            self.waiting.entry(peer).or_default().push(request);
        } else if let Some(circuit) = request.address.circuit.clone() {
            let opts = DialOpts::peer_id(peer)
                .condition(PeerCondition::Always)
                .addresses(vec![circuit])
                .build();
            self.circuits.insert(opts.connection_id(), peer);
            self.waiting.entry(peer).or_default().push(request);
            self.actions.push_back(ToSwarm::Dial { opts });
        } else {
            reply(request, Err(DialError::NoCarrier(peer)));
        }
    }

    fn on_asked(&mut self, peer: PeerId, carrier: ConnectionId) {
        let verdict = if (self.config.policy)(&peer) {
            self.upgrades.judge_offer(peer, carrier, monotonic_now())
        } else {
            Verdict::Refuse
        };
        tracing::debug!(%peer, ?verdict, "offer");
        match verdict {
            Verdict::Answer => {}
            Verdict::AnswerInstead(ours) => self.order(peer, ours, Order::GiveUp),
            Verdict::Refuse => return self.order(peer, carrier, Order::Refuse),
        }
        let servers = self.config.ice_servers.clone();
        self.order(peer, carrier, Order::Answer(servers));
    }

    fn on_offered(&mut self, peer: PeerId, carrier: ConnectionId, connection: Connection) {
        let Some(connection) = self.serve_waiting(peer, connection) else {
            return;
        };
        let opts = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(vec![direct(peer)])
            .build();
        self.landing.insert(opts.connection_id(), (peer, carrier));
        self.handover.keep(peer, connection);
        self.actions.push_back(ToSwarm::Dial { opts });
    }

    fn on_answered(&mut self, peer: PeerId, connection: Connection) {
        if let Some(connection) = self.serve_waiting(peer, connection) {
            self.handover.let_in(peer, connection);
        }
    }

    fn on_offer_failed(&mut self, peer: PeerId, carrier: ConnectionId, error: Failure) {
        let for_good = matches!(error, Failure::Unsupported);
        let again = self
            .upgrades
            .offer_failed(peer, carrier, for_good, monotonic_now());
        if !again {
            self.fail_waiting(peer, DialError::Failed);
        }
        tracing::debug!(%peer, %error, again, "no direct connection");
        self.actions
            .push_back(ToSwarm::GenerateEvent(Event::Failed { peer, error, again }));
    }

    /// Gives a connection to the first dial that waits for it; the others fail.
    fn serve_waiting(&mut self, peer: PeerId, connection: Connection) -> Option<Connection> {
        let doubter = RefCell::new(self.doubters.clone());
        let mut connection = Some(
            connection
                .with_grace(self.config.grace)
                .with_silence_limit(self.config.silence_limit)
                .with_doubt(move |doubtful| {
                    // It fails when the swarm is gone, or has so much to doubt that one more does not matter.
                    let _ = doubter.borrow_mut().try_send((peer, doubtful));
                }),
        );
        for request in self.waiting.remove(&peer).into_iter().flatten() {
            match connection.take() {
                Some(ready) => connection = reply(request, Ok(ready)),
                None => {
                    reply(request, Err(DialError::Failed(peer)));
                }
            }
        }
        connection
    }

    fn fail_waiting(&mut self, peer: PeerId, error: fn(PeerId) -> DialError) {
        for request in self.waiting.remove(&peer).into_iter().flatten() {
            reply(request, Err(error(peer)));
        }
    }

    /// Lets negotiations go on whose carrier is gone: the peers have told each other what they need.
    fn poll_surviving(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some(orphan)) = self.orphans.poll_next_unpin(context) {
            let alike = |other: &&Orphan| other.offered == orphan.offered;
            if self.surviving.iter().filter(alike).count() < MAX_NEGOTIATIONS {
                self.surviving.push(orphan);
            }
        }
        let mut at = 0;
        while let Some(orphan) = self.surviving.get_mut(at) {
            let Poll::Ready(outcome) = orphan.negotiation.poll_unpin(context) else {
                at += 1;
                continue;
            };
            let Orphan {
                peer,
                carrier,
                offered,
                ..
            } = self.surviving.swap_remove(at);
            match outcome {
                Ok(connection) if offered => self.on_offered(peer, carrier, connection),
                Ok(connection) => self.on_answered(peer, connection),
                // That the carrier is gone has been told.
                Err(error) => tracing::debug!(%peer, %error, "no direct connection"),
            }
        }
    }

    fn begin_offers(&mut self, now: Duration) {
        let policy = std::sync::Arc::clone(&self.config.policy);
        while let Some((peer, carrier)) = self.upgrades.begin_offer(now, |peer| policy(peer)) {
            let servers = self.config.ice_servers.clone();
            self.order(peer, carrier, Order::Offer(servers));
        }
    }

    fn set_alarm(&mut self, context: &mut Context<'_>, now: Duration) {
        let Some(due) = self.upgrades.due().filter(|due| *due > now) else {
            self.alarm = None;
            return;
        };
        if self.alarm.as_ref().is_none_or(|(at, _)| *at != due) {
            self.alarm = Some((due, Delay::new(due.saturating_sub(now))));
        }
        if let Some((_, delay)) = &mut self.alarm
            && delay.poll_unpin(context).is_ready()
        {
            self.alarm = None;
            context.waker().wake_by_ref();
        }
    }
}

/// Answers a dial; gives the connection back if nobody waits for it any more.
fn reply(request: Request, outcome: Result<Connection, DialError>) -> Option<Connection> {
    match request.reply.send(outcome) {
        Ok(()) | Err(Err(_)) => None,
        Err(Ok(connection)) => Some(connection),
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(peer, connection, self.orphaned.clone()))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(peer, connection, self.orphaned.clone()))
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "nothing else that a swarm tells changes who can be reached how"
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
                    self.fail_waiting(closed.peer_id, DialError::NoCarrier);
                }
            }
            FromSwarm::DialFailure(failure) => self.on_dial_failure(failure.connection_id),
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
            Report::Asked => self.on_asked(peer, carrier),
            Report::Offered(connection) => self.on_offered(peer, carrier, connection),
            Report::Answered(connection) => self.on_answered(peer, connection),
            Report::OfferFailed(error) => self.on_offer_failed(peer, carrier, error),
            Report::AnswerFailed(error) => {
                self.upgrades.answer_failed(peer, monotonic_now());
                // They offered, so they will try again.
                self.actions
                    .push_back(ToSwarm::GenerateEvent(Event::Failed {
                        peer,
                        error,
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
            self.poll_surviving(context);
            let now = monotonic_now();
            while let Poll::Ready(Some((peer, doubtful))) = self.doubts.poll_next_unpin(context) {
                self.upgrades.doubt(peer, doubtful, now);
                if doubtful {
                    self.actions
                        .push_back(ToSwarm::GenerateEvent(Event::Doubtful { peer }));
                }
            }
            self.begin_offers(now);
            if self.actions.is_empty() {
                self.set_alarm(context, now);
                return Poll::Pending;
            }
        }
    }
}

#[cfg(test)]
mod tests;
