//! Negotiates a direct connection over a signalling stream: exchanges the offer, the answer and the ICE candidates, and
//! waits until the peers are connected.
//!
//! The caller chooses the peer. Dropping a negotiation at any point closes its peer connection and resets its stream.

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
use libp2p_webrtc_streams::StreamConfig;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{
    RtcConfiguration, RtcDataChannel, RtcDataChannelInit, RtcDataChannelState, RtcIceCandidateInit,
    RtcIceServer, RtcPeerConnection, RtcPeerConnectionIceEvent, RtcPeerConnectionState, RtcSdpType,
    RtcSessionDescriptionInit,
};

use super::config::IceServer;
use super::signalling::{MAX_CANDIDATES, Message, MessageError, read_message, write_message};
use crate::connection::Connection;
use crate::js::{
    INIT_LABEL, Listener, await_promise, create_labelled_channel, describe, description,
};

/// The time limit of a negotiation, from its first message until the peers are connected. Together with the 5 s for
/// opening the signalling stream this makes 15 s.
pub const NEGOTIATION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long closing the signalling stream may take after the peers are connected.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a negotiation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NegotiationError {
    /// The negotiation exceeded its time limit.
    #[error("not connected within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The browser rejected a step of the connection setup.
    #[error("the browser refused to connect: {0}")]
    Browser(String),
    /// A signalling message could not be read.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The peer ended the stream before it had answered.
    #[error("the peer ended the negotiation")]
    Ended,
    /// The peer sent a message that is not allowed at this point.
    #[error("the peer sent {0} at the wrong time")]
    Unexpected(&'static str),
    /// The peer sent more candidates than any computer has.
    #[error("the peer sent more than {MAX_CANDIDATES} candidates")]
    TooManyCandidates,
    /// The browser found no network path to the peer.
    #[error("no direct path to the peer was found")]
    NoPath,
}

/// Sends an offer over `stream`, and connects.
pub(crate) async fn offer(
    stream: Stream,
    servers: &[IceServer],
) -> Result<Connection, NegotiationError> {
    with_time_limit(async {
        let mut negotiation = Negotiation::new(stream, servers)?;
        // An offer needs at least one data channel; otherwise it has nothing to negotiate.
        let init = create_labelled_channel(
            &negotiation.peer_connection,
            INIT_LABEL,
            &RtcDataChannelInit::new(),
        )
        .map_err(NegotiationError::Browser)?;
        let opening = Opening::of(&init);
        let offer = browser_step(negotiation.peer_connection.create_offer()).await?;
        negotiation
            .set_local_description(offer.unchecked_into(), Message::Offer)
            .await?;
        let connection = negotiation
            .connect(|message| match message {
                Message::Answer(sdp) => Ok((RtcSdpType::Answer, sdp)),
                Message::Offer(_) => Err(NegotiationError::Unexpected("an offer")),
                Message::Candidate(_) => Err(NegotiationError::Unexpected("a candidate")),
            })
            .await?;
        // js-libp2p treats the channel as a stream, and may have closed it already. Either way, SCTP is connected.
        opening.opened_or_closed().await;
        init.close();
        Ok(connection)
    })
    .await
}

/// Waits for an offer on `stream`, answers it, and connects. Only the offerer closes the `init` channel: js-libp2p
/// never completes its negotiation if the channel is closed early.
pub(crate) async fn answer(
    stream: Stream,
    servers: &[IceServer],
) -> Result<Connection, NegotiationError> {
    with_time_limit(async {
        let mut negotiation = Negotiation::new(stream, servers)?;
        let offer = match read_message(&mut negotiation.reader).await? {
            Some(Message::Offer(sdp)) => sdp,
            Some(Message::Answer(_)) => return Err(NegotiationError::Unexpected("an answer")),
            Some(Message::Candidate(_)) => return Err(NegotiationError::Unexpected("a candidate")),
            None => return Err(NegotiationError::Ended),
        };
        negotiation
            .set_remote_description(RtcSdpType::Offer, &offer)
            .await?;
        let answer = browser_step(negotiation.peer_connection.create_answer()).await?;
        negotiation
            .set_local_description(answer.unchecked_into(), Message::Answer)
            .await?;
        negotiation
            .connect(|_| Err(NegotiationError::Unexpected("a second description")))
            .await
    })
    .await
}

/// A peer connection that is being established.
struct Negotiation {
    /// Closes the peer connection when dropped.
    connection: Connection,
    peer_connection: RtcPeerConnection,
    reader: ReadHalf<Stream>,
    writer: WriteHalf<Stream>,
    candidates: mpsc::UnboundedReceiver<String>,
    state: Rc<AtomicWaker>,
    remote_is_set: bool,
    _listeners: [Listener; 2],
}

impl Negotiation {
    fn new(stream: Stream, servers: &[IceServer]) -> Result<Self, NegotiationError> {
        let peer_connection =
            RtcPeerConnection::new_with_configuration(&rtc_configuration(servers))
                .map_err(|error| NegotiationError::Browser(describe(&error)))?;
        // All listeners have to be in place before the first description is set.
        let connection =
            Connection::from_peer_connection(peer_connection.clone(), StreamConfig::SPEC);
        // Unbounded, because the local browser produces a handful of candidates and the peer cannot influence how many.
        let (found, candidates) = mpsc::unbounded();
        let state = Rc::new(AtomicWaker::new());
        let listeners = [
            Listener::new(&peer_connection, "icecandidate", move |event| {
                if let Some(candidate) = candidate(event.unchecked_ref()) {
                    // Fails once the negotiation no longer needs candidates.
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
            remote_is_set: false,
            _listeners: listeners,
        })
    }

    async fn set_local_description(
        &mut self,
        description: RtcSessionDescriptionInit,
        message: fn(String) -> Message,
    ) -> Result<(), NegotiationError> {
        let message = message(description.get_sdp().unwrap_or_default());
        write_message(&mut self.writer, &message)
            .await
            .map_err(MessageError::Io)?;
        browser_step(self.peer_connection.set_local_description(&description)).await?;
        Ok(())
    }

    async fn set_remote_description(
        &mut self,
        kind: RtcSdpType,
        sdp: &str,
    ) -> Result<(), NegotiationError> {
        self.remote_is_set = true;
        set_remote_description(&self.peer_connection, kind, sdp).await
    }

    /// Exchanges candidates until the peers are connected. `description` extracts the peer's description from its first
    /// message, if it has not been received yet.
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
            let mut remote_is_set = self.remote_is_set;
            let mut candidates = 0;
            loop {
                let message = match read_message(&mut self.reader).await {
                    Ok(Some(message)) => message,
                    Ok(None) => break,
                    // A peer that is connected first may close the carrier at once.
                    Err(MessageError::Io(error)) if remote_is_set => {
                        tracing::debug!(%error, "signalling stream failed");
                        break;
                    }
                    Err(error) => return Err(error.into()),
                };
                match message {
                    Message::Candidate(json) if remote_is_set => {
                        candidates += 1;
                        if candidates > MAX_CANDIDATES {
                            return Err(NegotiationError::TooManyCandidates);
                        }
                        add_candidate(peer_connection, &json).await;
                    }
                    message if !remote_is_set => {
                        let (kind, sdp) = description(message)?;
                        set_remote_description(peer_connection, kind, &sdp).await?;
                        remote_is_set = true;
                    }
                    Message::Offer(_) | Message::Answer(_) | Message::Candidate(_) => {
                        return Err(NegotiationError::Unexpected("a second description"));
                    }
                }
            }
            if remote_is_set {
                // A peer that is connected first sends no more messages.
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
                Poll::Ready(Err(NegotiationError::NoPath))
            } else {
                Poll::Pending
            }
        });
        // A failed signalling stream matters only while the peers are not connected.
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
                select(writer.close(), Delay::new(CLOSE_TIMEOUT)).await
            {
                tracing::trace!(%error, "signalling stream not closed");
            }
            drop(reader);
        });
        Ok(self.connection)
    }
}

/// Watches a data channel until it has opened or closed.
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

    fn opened_or_closed(&self) -> impl Future<Output = ()> {
        poll_fn(|context| {
            self.changed.register(context.waker());
            let is_connecting = self.channel.ready_state() == RtcDataChannelState::Connecting;
            if is_connecting && !self.closed.get() {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
    }
}

async fn with_time_limit<T>(
    negotiation: impl Future<Output = Result<T, NegotiationError>>,
) -> Result<T, NegotiationError> {
    match select(pin!(negotiation), Delay::new(NEGOTIATION_TIMEOUT)).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right(((), _)) => Err(NegotiationError::TimedOut(NEGOTIATION_TIMEOUT)),
    }
}

fn rtc_configuration(servers: &[IceServer]) -> RtcConfiguration {
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

/// The JSON of a local candidate. `None` at the end of candidates, which must not be sent: js-libp2p cannot parse it.
fn candidate(event: &RtcPeerConnectionIceEvent) -> Option<String> {
    let candidate = event
        .candidate()
        .filter(|found| !found.candidate().is_empty())?;
    JSON::stringify(&candidate.to_json()).ok().map(String::from)
}

/// Adds a candidate of the peer. A candidate that the browser rejects is skipped, because others may work.
async fn add_candidate(peer_connection: &RtcPeerConnection, json: &str) {
    let Ok(candidate) = JSON::parse(json) else {
        tracing::debug!("the peer sent a candidate that is not JSON");
        return;
    };
    // "" and null signal the end of candidates, which older versions of js-libp2p send.
    if !candidate.is_object() {
        return;
    }
    let candidate: RtcIceCandidateInit = candidate.unchecked_into();
    let promise =
        peer_connection.add_ice_candidate_with_opt_rtc_ice_candidate_init(Some(&candidate));
    if let Err(error) = browser_step(promise).await {
        tracing::debug!(%error, "the peer sent an unusable candidate");
    }
}

async fn set_remote_description(
    peer_connection: &RtcPeerConnection,
    kind: RtcSdpType,
    sdp: &str,
) -> Result<(), NegotiationError> {
    let description = description(kind, sdp);
    browser_step(peer_connection.set_remote_description(&description)).await?;
    Ok(())
}

async fn browser_step(promise: js_sys::Promise) -> Result<JsValue, NegotiationError> {
    await_promise(promise)
        .await
        .map_err(NegotiationError::Browser)
}
