//! From a signalling stream to a direct connection: description, answer, candidates, connected. Never chooses whom to
//! negotiate with. Dropping a negotiation at any point closes its peer connection and resets its stream.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures::channel::mpsc;
use futures::future::{Either, select};
use futures::io::{ReadHalf, WriteHalf};
use futures::task::AtomicWaker;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use futures_timer::Delay;
use js_sys::{Array, JSON};
use libp2p_swarm::Stream;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{
    RtcConfiguration, RtcDataChannel, RtcDataChannelInit, RtcDataChannelState, RtcIceCandidateInit,
    RtcIceServer, RtcPeerConnection, RtcPeerConnectionIceEvent, RtcPeerConnectionState, RtcSdpType,
    RtcSessionDescriptionInit,
};

use super::config::IceServer;
use super::signalling::{MAX_CANDIDATES, Message, MessageError, read_message, write_message};
use crate::config::StreamConfig;
use crate::connection::Connection;
use crate::js::{INIT_LABEL, Listener, create_labelled_channel, describe, description, settled};

/// How long a negotiation may take, from its first signal until the peers are connected. With the time to open its
/// stream that makes 15 s.
pub const NEGOTIATION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the end of a signalling stream may take to reach the peer.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why two peers did not come to be connected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NegotiationError {
    /// It took too long.
    #[error("not connected within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The browser refused a step.
    #[error("the browser refused to connect: {0}")]
    Browser(String),
    /// What came was not to be understood.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The peer ended the stream before it had answered.
    #[error("the peer ended the negotiation")]
    Ended,
    /// Something else came than was due.
    #[error("{0} came when something else was due")]
    Unexpected(&'static str),
    /// More candidates than a computer can have.
    #[error("the peer sent more than {MAX_CANDIDATES} candidates")]
    TooManyCandidates,
    /// No way led to the peer.
    #[error("no direct way to the peer was found")]
    NoWay,
}

/// Makes an offer over `stream`, and connects.
pub(crate) async fn offer(
    stream: Stream,
    servers: &[IceServer],
) -> Result<Connection, NegotiationError> {
    in_time(async {
        let mut negotiation = Negotiation::new(stream, servers)?;
        // Without a channel an offer offers nothing.
        let init = create_labelled_channel(
            &negotiation.peer_connection,
            INIT_LABEL,
            &RtcDataChannelInit::new(),
        )
        .map_err(NegotiationError::Browser)?;
        let opened = Opening::of(&init);
        let offer = browser(negotiation.peer_connection.create_offer()).await?;
        negotiation
            .describe_ourselves(offer.unchecked_into(), Message::Offer)
            .await?;
        let connection = negotiation
            .connect(|message| match message {
                Message::Answer(sdp) => Ok((RtcSdpType::Answer, sdp)),
                Message::Offer(_) => Err(NegotiationError::Unexpected("an offer")),
                Message::Candidate(_) => Err(NegotiationError::Unexpected("a candidate")),
            })
            .await?;
        // The peer may have closed it already: js-libp2p takes it for a stream. Open or closed, SCTP is up.
        opened.settled().await;
        init.close();
        Ok(connection)
    })
    .await
}

/// Awaits an offer on `stream`, answers it, and connects. The `init` channel is left to the offerer to close:
/// js-libp2p never comes to an end if it is closed early.
pub(crate) async fn answer(
    stream: Stream,
    servers: &[IceServer],
) -> Result<Connection, NegotiationError> {
    in_time(async {
        let mut negotiation = Negotiation::new(stream, servers)?;
        let offer = match read_message(&mut negotiation.reader).await? {
            Some(Message::Offer(sdp)) => sdp,
            Some(Message::Answer(_)) => return Err(NegotiationError::Unexpected("an answer")),
            Some(Message::Candidate(_)) => return Err(NegotiationError::Unexpected("a candidate")),
            None => return Err(NegotiationError::Ended),
        };
        negotiation.describe_peer(RtcSdpType::Offer, &offer).await?;
        let answer = browser(negotiation.peer_connection.create_answer()).await?;
        negotiation
            .describe_ourselves(answer.unchecked_into(), Message::Answer)
            .await?;
        negotiation
            .connect(|_| Err(NegotiationError::Unexpected("a second description")))
            .await
    })
    .await
}

/// One peer connection on its way.
struct Negotiation {
    /// Closed when dropped.
    connection: Connection,
    peer_connection: RtcPeerConnection,
    reader: ReadHalf<Stream>,
    writer: WriteHalf<Stream>,
    candidates: mpsc::UnboundedReceiver<String>,
    state: Rc<AtomicWaker>,
    described: bool,
    _listeners: [Listener; 2],
}

impl Negotiation {
    fn new(stream: Stream, servers: &[IceServer]) -> Result<Self, NegotiationError> {
        let peer_connection = RtcPeerConnection::new_with_configuration(&configuration(servers))
            .map_err(|error| NegotiationError::Browser(describe(&error)))?;
        // All listeners stand before the first description.
        let connection =
            Connection::from_peer_connection(peer_connection.clone(), StreamConfig::SPEC);
        // The browser finds a handful of candidates, and it is not the peer who decides how many.
        let (found, candidates) = mpsc::unbounded();
        let state = Rc::new(AtomicWaker::new());
        let listeners = [
            Listener::new(&peer_connection, "icecandidate", move |event| {
                if let Some(candidate) = candidate(event.unchecked_ref()) {
                    // It fails when nobody needs candidates any more.
                    let _ = found.unbounded_send(candidate);
                }
            }),
            Listener::new(&peer_connection, "connectionstatechange", {
                let state = Rc::clone(&state);
                move |_| state.wake()
            }),
        ];
        let (reader, writer) = stream.split();
        Ok(Self {
            connection,
            peer_connection,
            reader,
            writer,
            candidates,
            state,
            described: false,
            _listeners: listeners,
        })
    }

    async fn describe_ourselves(
        &mut self,
        description: RtcSessionDescriptionInit,
        message: fn(String) -> Message,
    ) -> Result<(), NegotiationError> {
        let message = message(description.get_sdp().unwrap_or_default());
        write_message(&mut self.writer, &message)
            .await
            .map_err(MessageError::Io)?;
        browser(self.peer_connection.set_local_description(&description)).await?;
        Ok(())
    }

    async fn describe_peer(&mut self, kind: RtcSdpType, sdp: &str) -> Result<(), NegotiationError> {
        self.described = true;
        set_description(&self.peer_connection, kind, sdp).await
    }

    /// Exchanges candidates until connected. `description` reads the peer's description, if it is still to come.
    async fn connect(
        mut self,
        description: impl Fn(Message) -> Result<(RtcSdpType, String), NegotiationError>,
    ) -> Result<Connection, NegotiationError> {
        let (peer_connection, state) = (&self.peer_connection, &self.state);
        let sending = async {
            while let Some(candidate) = self.candidates.next().await {
                if let Err(error) =
                    write_message(&mut self.writer, &Message::Candidate(candidate)).await
                {
                    tracing::debug!(%error, "candidate not sent");
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        let receiving = async {
            let mut described = self.described;
            let mut candidates = 0;
            loop {
                let message = match read_message(&mut self.reader).await {
                    Ok(Some(message)) => message,
                    Ok(None) => break,
                    // Who is connected first may close what carried the signals, too.
                    Err(MessageError::Io(error)) if described => {
                        tracing::debug!(%error, "signals broke off");
                        break;
                    }
                    Err(error) => return Err(error.into()),
                };
                match message {
                    Message::Candidate(json) if described => {
                        candidates += 1;
                        if candidates > MAX_CANDIDATES {
                            return Err(NegotiationError::TooManyCandidates);
                        }
                        add_candidate(peer_connection, &json).await;
                    }
                    message if !described => {
                        let (kind, sdp) = description(message)?;
                        set_description(peer_connection, kind, &sdp).await?;
                        described = true;
                    }
                    Message::Offer(_) | Message::Answer(_) | Message::Candidate(_) => {
                        return Err(NegotiationError::Unexpected("a second description"));
                    }
                }
            }
            if described {
                // A peer that is connected first says no more.
                Ok(())
            } else {
                Err(NegotiationError::Ended)
            }
        };
        let connected = poll_fn(|context| {
            state.register(context.waker());
            let state = peer_connection.connection_state();
            if state == RtcPeerConnectionState::Connected {
                Poll::Ready(Ok(()))
            } else if state == RtcPeerConnectionState::Failed
                || state == RtcPeerConnectionState::Closed
            {
                Poll::Ready(Err(NegotiationError::NoWay))
            } else {
                Poll::Pending
            }
        });
        // Signals that break off matter only as long as the peers are not connected.
        let signalling = async {
            match select(pin!(receiving), pin!(sending)).await {
                Either::Left((Err(error), _)) => error,
                Either::Left((Ok(()), sending)) => {
                    sending.await;
                    NegotiationError::Ended
                }
                Either::Right(((), _)) => NegotiationError::Ended,
            }
        };
        match select(pin!(connected), pin!(signalling)).await {
            Either::Left((outcome, _)) => outcome?,
            Either::Right((error, _)) => return Err(error),
        }
        let mut writer = self.writer;
        let reader = self.reader;
        spawn_local(async move {
            if let Either::Left((Err(error), _)) =
                select(writer.close(), Delay::new(FAREWELL)).await
            {
                tracing::trace!(%error, "signalling stream not closed");
            }
            drop(reader);
        });
        Ok(self.connection)
    }
}

/// Tells when a channel has left its first state.
struct Opening {
    channel: RtcDataChannel,
    changed: Rc<AtomicWaker>,
    closed: Rc<Cell<bool>>,
    _listeners: [Listener; 2],
}

impl Opening {
    fn of(channel: &RtcDataChannel) -> Self {
        let changed = Rc::new(AtomicWaker::new());
        let closed = Rc::new(Cell::new(false));
        let listeners = [
            Listener::new(channel, "open", {
                let changed = Rc::clone(&changed);
                move |_| changed.wake()
            }),
            Listener::new(channel, "close", {
                let (changed, closed) = (Rc::clone(&changed), Rc::clone(&closed));
                move |_| {
                    closed.set(true);
                    changed.wake();
                }
            }),
        ];
        Self {
            channel: channel.clone(),
            changed,
            closed,
            _listeners: listeners,
        }
    }

    fn settled(&self) -> impl Future<Output = ()> {
        poll_fn(|context| {
            self.changed.register(context.waker());
            let waits = self.channel.ready_state() == RtcDataChannelState::Connecting;
            if waits && !self.closed.get() {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
    }
}

async fn in_time<T>(
    negotiation: impl Future<Output = Result<T, NegotiationError>>,
) -> Result<T, NegotiationError> {
    match select(pin!(negotiation), Delay::new(NEGOTIATION_TIMEOUT)).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(((), _)) => Err(NegotiationError::TimedOut(NEGOTIATION_TIMEOUT)),
    }
}

fn configuration(servers: &[IceServer]) -> RtcConfiguration {
    let list: Array = servers
        .iter()
        .map(|server| {
            let entry = RtcIceServer::new();
            entry.set_urls(&JsValue::from_str(&server.url));
            if let Some((name, password)) = &server.credentials {
                entry.set_username(name);
                entry.set_credential(password);
            }
            entry
        })
        .collect();
    let configuration = RtcConfiguration::new();
    configuration.set_ice_servers(&list);
    configuration
}

/// The JSON of a candidate that was found; `None` for the end of candidates, which js-libp2p cannot read.
fn candidate(event: &RtcPeerConnectionIceEvent) -> Option<String> {
    let candidate = event
        .candidate()
        .filter(|found| !found.candidate().is_empty())?;
    JSON::stringify(&candidate.to_json()).ok().map(String::from)
}

/// Adds a candidate of the peer. One that the browser cannot use is passed over: others may do.
async fn add_candidate(peer_connection: &RtcPeerConnection, json: &str) {
    let Ok(candidate) = JSON::parse(json) else {
        tracing::debug!("the peer sent a candidate that is not JSON");
        return;
    };
    // "" and null mean the end of candidates, which js-libp2p once sent.
    if !candidate.is_object() {
        return;
    }
    let candidate: RtcIceCandidateInit = candidate.unchecked_into();
    let promise =
        peer_connection.add_ice_candidate_with_opt_rtc_ice_candidate_init(Some(&candidate));
    if let Err(error) = browser(promise).await {
        tracing::debug!(%error, "the peer sent a candidate that is of no use");
    }
}

async fn set_description(
    peer_connection: &RtcPeerConnection,
    kind: RtcSdpType,
    sdp: &str,
) -> Result<(), NegotiationError> {
    let description = description(kind, sdp);
    browser(peer_connection.set_remote_description(&description)).await?;
    Ok(())
}

async fn browser(promise: js_sys::Promise) -> Result<JsValue, NegotiationError> {
    settled(promise).await.map_err(NegotiationError::Browser)
}
