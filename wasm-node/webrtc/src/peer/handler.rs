//! One connection's signalling streams: at most one offer of ours and one of theirs. Decides nothing: it asks the
//! behaviour before it answers, and offers when told. What is not finished when the connection ends goes to the behaviour:
//! a peer that is connected directly before we are may close the relayed connection at once.

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

/// What the behaviour orders.
#[derive(Debug)]
pub enum Order {
    /// Make an offer, with these servers.
    Offer(Vec<IceServer>),
    /// Give the offer up.
    GiveUp,
    /// Answer the stream that waits, with these servers.
    Answer(Vec<IceServer>),
    /// Reset the stream that waits.
    Refuse,
}

/// What the behaviour is told.
#[derive(Debug)]
pub enum Report {
    /// The peer has opened a stream, which waits to be answered or refused.
    Asked,
    /// Our offer led to a connection.
    Offered(Connection),
    /// Their offer led to a connection.
    Answered(Connection),
    /// Our offer came to nothing.
    OfferFailed(Failure),
    /// Their offer came to nothing.
    AnswerFailed(Failure),
}

/// Why an offer or an answer came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The peer does not know the signalling protocol.
    #[error("the peer does not know {PROTOCOL}")]
    Unsupported,
    /// No stream could be opened.
    #[error("no signalling stream: {0}")]
    Stream(String),
    /// The peers did not come to be connected.
    #[error(transparent)]
    Negotiation(#[from] NegotiationError),
}

pub(crate) type Negotiation =
    SendWrapper<LocalBoxFuture<'static, Result<Connection, NegotiationError>>>;

/// A negotiation whose carrier is gone.
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

/// See the module.
pub struct Handler {
    peer: PeerId,
    carrier: ConnectionId,
    orphans: mpsc::Sender<Orphan>,
    /// Servers for the offer whose stream is being opened.
    opening: Option<Vec<IceServer>>,
    asking: Option<Stream>,
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
            // If the behaviour is gone, or has too many, the negotiation ends here.
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
            asking: None,
            offering: None,
            answering: None,
            events: VecDeque::new(),
        }
    }

    fn report(&mut self, report: Report) {
        self.events
            .push_back(ConnectionHandlerEvent::NotifyBehaviour(report));
    }

    fn asked(&mut self, stream: Stream) {
        // A second stream is reset by being dropped; the behaviour allows one answer at a time anyway.
        if self.asking.is_none() {
            self.asking = Some(stream);
            self.report(Report::Asked);
        }
    }

    fn failed(&mut self, error: StreamUpgradeError<std::convert::Infallible>) {
        if self.opening.take().is_none() {
            return;
        }
        let failure = match error {
            StreamUpgradeError::NegotiationFailed => Failure::Unsupported,
            StreamUpgradeError::Timeout => Failure::Stream("timed out".to_owned()),
            StreamUpgradeError::Io(error) => Failure::Stream(error.to_string()),
            StreamUpgradeError::Apply(never) => match never {},
        };
        self.report(Report::OfferFailed(failure));
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Order;
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
            || self.asking.is_some()
            || self.offering.is_some()
            || self.answering.is_some()
    }

    fn on_behaviour_event(&mut self, order: Order) {
        match order {
            Order::Offer(servers) => {
                self.offering = None;
                self.opening = Some(servers);
                self.events
                    .push_back(ConnectionHandlerEvent::OutboundSubstreamRequest {
                        protocol: protocol(),
                    });
            }
            Order::GiveUp => {
                self.opening = None;
                self.offering = None;
            }
            Order::Answer(servers) => {
                self.answering = self.asking.take().map(|stream| {
                    SendWrapper::new(async move { answer(stream, &servers).await }.boxed_local())
                });
            }
            Order::Refuse => self.asking = None,
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the peer's own failures to open a stream are its business, and addresses are the swarm's"
    )]
    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: stream,
                ..
            }) => self.asked(stream),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                ..
            }) => {
                // One that was given up comes too late, and leaves the offer that runs alone.
                if let Some(servers) = self.opening.take() {
                    self.offering = Some(SendWrapper::new(
                        async move { offer(stream, &servers).await }.boxed_local(),
                    ));
                }
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => self.failed(error),
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
                Ok(connection) => Report::Offered(connection),
                Err(error) => Report::OfferFailed(error.into()),
            }));
        }
        if let Some(negotiation) = &mut self.answering
            && let Poll::Ready(outcome) = negotiation.poll_unpin(context)
        {
            self.answering = None;
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(match outcome {
                Ok(connection) => Report::Answered(connection),
                Err(error) => Report::AnswerFailed(error.into()),
            }));
        }
        Poll::Pending
    }
}
