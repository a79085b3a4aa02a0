//! The connection handler of one carrier, the relayed connection that carries the signalling: it owns the signalling
//! streams, at most one offer in each direction.
//!
//! It decides nothing. It sends an offer on command, and asks the behaviour before it answers one. When the carrier
//! closes, unfinished negotiations move to the behaviour and continue there, because a peer that sees the direct
//! connection first may close the carrier at once.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::channel::mpsc;
use futures::future::LocalBoxFuture;
use libp2p_core::upgrade::ReadyUpgrade;
use libp2p_identity::PeerId;
use libp2p_swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p_swarm::{
    ConnectionHandler, ConnectionHandlerEvent, ConnectionId, Stream, StreamProtocol,
    StreamUpgradeError, SubstreamProtocol,
};
use send_wrapper::SendWrapper;

use super::config::IceServer;
use super::negotiation::{NegotiationError, answer, offer};
use super::signalling::PROTOCOL;
use crate::connection::Connection;

/// How long the peer may take to accept a signalling stream.
const STREAM_TIMEOUT: Duration = Duration::from_secs(5);

/// A command from the behaviour.
#[derive(Debug)]
pub enum Command {
    /// Send an offer, using these ICE servers.
    Offer(Vec<IceServer>),
    /// Cancel the offer that is in progress.
    CancelOffer,
    /// Answer the pending inbound stream, using these ICE servers.
    Answer(Vec<IceServer>),
    /// Reset the pending inbound stream.
    Refuse,
}

/// A report to the behaviour.
#[derive(Debug)]
pub enum Report {
    /// The peer has opened a signalling stream, which is pending until it is answered or refused.
    OfferReceived,
    /// Our offer resulted in a connection.
    OfferSucceeded(Connection),
    /// The peer's offer resulted in a connection.
    AnswerSucceeded(Connection),
    /// Our offer failed; this includes the opening of its stream.
    OfferFailed(UpgradeError),
    /// The peer's offer failed.
    AnswerFailed(UpgradeError),
}

/// Why an upgrade to a direct connection failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// The peer does not support the signalling protocol.
    #[error("the peer does not support {PROTOCOL}")]
    Unsupported,
    /// The signalling stream could not be opened.
    #[error("no signalling stream: {0}")]
    Stream(String),
    /// The negotiation failed.
    #[error(transparent)]
    Negotiation(#[from] NegotiationError),
}

pub(crate) type Negotiation =
    SendWrapper<LocalBoxFuture<'static, Result<Connection, NegotiationError>>>;

/// A negotiation whose carrier has closed.
pub(crate) struct Orphan {
    pub(crate) peer: PeerId,
    pub(crate) carrier: ConnectionId,
    pub(crate) offered: bool,
    pub(crate) negotiation: Negotiation,
}

impl std::fmt::Debug for Orphan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Orphan")
            .field("peer", &self.peer)
            .field("offered", &self.offered)
            .finish_non_exhaustive()
    }
}

type HandlerEvent = ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, (), Report>;

/// The handler of one connection.
pub struct Handler {
    peer: PeerId,
    carrier: ConnectionId,
    orphans: mpsc::Sender<Orphan>,
    /// ICE servers of the offer whose stream is being opened.
    opening: Option<Vec<IceServer>>,
    inbound: Option<Stream>,
    offering: Option<Negotiation>,
    answering: Option<Negotiation>,
    events: VecDeque<HandlerEvent>,
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handler")
            .field("offering", &self.offering.is_some())
            .field("answering", &self.answering.is_some())
            .finish_non_exhaustive()
    }
}

fn protocol() -> SubstreamProtocol<ReadyUpgrade<StreamProtocol>> {
    SubstreamProtocol::new(ReadyUpgrade::new(StreamProtocol::new(PROTOCOL)), ())
        .with_timeout(STREAM_TIMEOUT)
}

impl Drop for Handler {
    fn drop(&mut self) {
        let left = [(true, self.offering.take()), (false, self.answering.take())];
        for (offered, negotiation) in left {
            let Some(negotiation) = negotiation else {
                continue;
            };
            // Fails if the behaviour was dropped or has too many; the negotiation then ends here.
            let _ = self.orphans.try_send(Orphan {
                peer: self.peer,
                carrier: self.carrier,
                offered,
                negotiation,
            });
        }
    }
}

impl Handler {
    pub(crate) fn new(peer: PeerId, carrier: ConnectionId, orphans: mpsc::Sender<Orphan>) -> Self {
        Self {
            peer,
            carrier,
            orphans,
            opening: None,
            inbound: None,
            offering: None,
            answering: None,
            events: VecDeque::new(),
        }
    }

    fn report(&mut self, report: Report) {
        self.events
            .push_back(ConnectionHandlerEvent::NotifyBehaviour(report));
    }

    fn on_inbound_stream(&mut self, stream: Stream) {
        // Dropping a second stream resets it; the behaviour allows only one answer at a time anyway.
        if self.inbound.is_none() {
            self.inbound = Some(stream);
            self.report(Report::OfferReceived);
        }
    }

    fn on_open_failed(&mut self, error: StreamUpgradeError<std::convert::Infallible>) {
        if self.opening.take().is_none() {
            return;
        }
        let failure = match error {
            StreamUpgradeError::NegotiationFailed => UpgradeError::Unsupported,
            StreamUpgradeError::Timeout => UpgradeError::Stream("timed out".to_owned()),
            StreamUpgradeError::Io(error) => UpgradeError::Stream(error.to_string()),
            StreamUpgradeError::Apply(never) => match never {},
        };
        self.report(Report::OfferFailed(failure));
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Command;
    type ToBehaviour = Report;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        protocol()
    }

    fn connection_keep_alive(&self) -> bool {
        self.opening.is_some()
            || self.inbound.is_some()
            || self.offering.is_some()
            || self.answering.is_some()
    }

    fn on_behaviour_event(&mut self, command: Command) {
        match command {
            Command::Offer(servers) => {
                self.offering = None;
                self.opening = Some(servers);
                self.events
                    .push_back(ConnectionHandlerEvent::OutboundSubstreamRequest {
                        protocol: protocol(),
                    });
            }
            Command::CancelOffer => {
                self.opening = None;
                self.offering = None;
            }
            Command::Answer(servers) => {
                self.answering = self.inbound.take().map(|stream| {
                    SendWrapper::new(async move { answer(stream, &servers).await }.boxed_local())
                });
            }
            Command::Refuse => self.inbound = None,
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "inbound failures need no action, and address changes are handled by the swarm"
    )]
    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: stream,
                ..
            }) => self.on_inbound_stream(stream),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                ..
            }) => {
                // The stream of a cancelled offer arrives too late and must not disturb a running offer.
                if let Some(servers) = self.opening.take() {
                    self.offering = Some(SendWrapper::new(
                        async move { offer(stream, &servers).await }.boxed_local(),
                    ));
                }
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => {
                self.on_open_failed(error)
            }
            _ => {}
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<HandlerEvent> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(event);
        }
        if let Some(negotiation) = &mut self.offering
            && let Poll::Ready(outcome) = negotiation.poll_unpin(context)
        {
            self.offering = None;
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(match outcome {
                Ok(connection) => Report::OfferSucceeded(connection),
                Err(error) => Report::OfferFailed(error.into()),
            }));
        }
        if let Some(negotiation) = &mut self.answering
            && let Poll::Ready(outcome) = negotiation.poll_unpin(context)
        {
            self.answering = None;
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(match outcome {
                Ok(connection) => Report::AnswerSucceeded(connection),
                Err(error) => Report::AnswerFailed(error.into()),
            }));
        }
        Poll::Pending
    }
}
