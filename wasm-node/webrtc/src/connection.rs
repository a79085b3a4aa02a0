//! A libp2p connection over an `RTCPeerConnection`: streams in and out, and an early, certain notice of a peer that is
//! gone. Never signals and never authenticates: whoever hands it a peer connection has done that, or does.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use futures::task::AtomicWaker;
use futures_timer::Delay;
use libp2p_core::muxing::{StreamMuxer, StreamMuxerEvent};
use send_wrapper::SendWrapper;
use wasm_bindgen::JsCast;
use web_sys::{
    EventTarget, RtcDataChannelEvent, RtcDataChannelInit, RtcPeerConnection, RtcPeerConnectionState,
};

use crate::channel::Afterwards;
use crate::channels::Channels;
use crate::config::{DISCONNECTED_GRACE, SILENCE_LIMIT, StreamConfig};
use crate::js::{
    Listener, SctpTransport, create_data_channel, monotonic_now, sctp_transport, signs_of_life,
};
use crate::receive::MAX_UNREAD_PER_CONNECTION;
use crate::stream::Stream;
use crate::vigil::{Finding, Vigil};

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// Nothing came from the peer for too long.
    #[error("no sign of life from the peer")]
    Disconnected,
    /// The browser gave it up.
    #[error("the browser gave the connection up")]
    Failed,
    /// The peer closed it.
    #[error("the peer closed the connection")]
    ClosedByPeer,
    /// It was closed on this side, or its page goes away.
    #[error("the connection was closed on this side")]
    Closed,
    /// The peer sent more than may wait for its readers, on all streams together.
    #[error("more than {MAX_UNREAD_PER_CONNECTION} bytes unread: the connection was closed")]
    UnreadOverflow,
    /// The browser would not open another data channel.
    #[error("the browser opens no more data channels: {0}")]
    OpenRefused(String),
}

/// A connection whose streams are data channels. Dropping it closes it.
pub struct Connection {
    inner: SendWrapper<Inner>,
}

struct Inner {
    peer_connection: RtcPeerConnection,
    channels: Rc<Channels>,
    /// Woken whenever the state of the peer connection or of its SCTP transport changes.
    watcher: Rc<AtomicWaker>,
    sctp: Option<(SctpTransport, Listener)>,
    grace: Duration,
    disconnected: Option<Delay>,
    vigil: Vigil,
    /// Until it is time to look, and the look.
    waiting: Option<(Duration, Delay)>,
    look: Option<LocalBoxFuture<'static, Option<u64>>>,
    doubtful: bool,
    on_doubt: Option<Box<dyn Fn(bool)>>,
    ended: Option<ConnectionError>,
    _listeners: [Listener; 3],
}

impl Connection {
    /// Takes a peer connection over: from now on every data channel that the peer opens is a stream.
    ///
    /// Call it before any description is set on `peer_connection`, or channels and their first messages may be missed.
    /// The caller answers for who the peer is.
    #[must_use]
    pub fn from_peer_connection(peer_connection: RtcPeerConnection, config: StreamConfig) -> Self {
        let channels = Channels::new(config);
        let watcher = Rc::new(AtomicWaker::new());
        let listeners = [
            Listener::new(&peer_connection, "datachannel", {
                let channels = Rc::downgrade(&channels);
                move |event| {
                    if let Some(channels) = channels.upgrade() {
                        channels
                            .add_inbound(event.unchecked_ref::<RtcDataChannelEvent>().channel());
                    }
                }
            }),
            Listener::new(&peer_connection, "connectionstatechange", {
                let watcher = Rc::clone(&watcher);
                move |_| watcher.wake()
            }),
            // A tab that closes says goodbye this way: its peers know within 25 ms instead of 6 s.
            Listener::new(
                js_sys::global().unchecked_ref::<EventTarget>(),
                "pagehide",
                {
                    let (peer_connection, watcher) = (peer_connection.clone(), Rc::clone(&watcher));
                    move |_| {
                        peer_connection.close();
                        watcher.wake();
                    }
                },
            ),
        ];
        Self {
            inner: SendWrapper::new(Inner {
                peer_connection,
                channels,
                watcher,
                sctp: None,
                grace: DISCONNECTED_GRACE,
                disconnected: None,
                vigil: Vigil::new(SILENCE_LIMIT, monotonic_now()),
                waiting: None,
                look: None,
                doubtful: false,
                on_doubt: None,
                ended: None,
                _listeners: listeners,
            }),
        }
    }

    /// Counts as lost after `grace` of being `disconnected`, instead of [`DISCONNECTED_GRACE`].
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.inner.grace = grace;
        self
    }

    /// Counts as lost when its far end has been altogether silent for `limit`, instead of [`SILENCE_LIMIT`].
    #[must_use]
    pub fn with_silence_limit(mut self, limit: Duration) -> Self {
        self.inner.vigil.set_limit(limit);
        self
    }

    /// Calls `on_doubt` with true when the far end falls silent, so that another connection can be offered before this
    /// one counts as lost, and with false when it is heard again.
    pub(crate) fn with_doubt(mut self, on_doubt: impl Fn(bool) + 'static) -> Self {
        self.inner.on_doubt = Some(Box::new(on_doubt));
        self
    }

    /// How many data channels the connection has, open or closing.
    #[must_use]
    pub fn channel_count(&self) -> usize {
        self.inner.channels.len()
    }

    /// How many bytes wait for the readers of its streams, unfinished frames included.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.inner.channels.budget().used()
    }

    /// A stream on a channel that both sides open with the same `id`, without announcing it. Its channel stays open
    /// for the connection's lifetime, so that the id is not used again.
    ///
    /// # Errors
    /// When the browser refuses.
    pub(crate) fn open_negotiated(&self, id: u16) -> Result<Stream, ConnectionError> {
        let init = RtcDataChannelInit::new();
        init.set_negotiated(true);
        init.set_id(id);
        self.inner.open(&init, Afterwards::Keep)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("channels", &self.inner.channels.len())
            .field("ended", &self.inner.ended)
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn open(
        &self,
        init: &RtcDataChannelInit,
        afterwards: Afterwards,
    ) -> Result<Stream, ConnectionError> {
        create_data_channel(&self.peer_connection, init)
            .map(|data_channel| self.channels.add(data_channel, afterwards))
            .map_err(ConnectionError::OpenRefused)
    }

    /// Ready with the reason once the connection is over.
    fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<ConnectionError> {
        self.watcher.register(context.waker());
        if let Some(error) = &self.ended {
            return Poll::Ready(error.clone());
        }
        let error = ready!(self.poll_state(context));
        tracing::debug!(%error, "connection over");
        self.end(error.clone());
        Poll::Ready(error)
    }

    fn poll_state(&mut self, context: &mut Context<'_>) -> Poll<ConnectionError> {
        if self.channels.budget().poll_exceeded(context).is_ready() {
            return Poll::Ready(ConnectionError::UnreadOverflow);
        }
        self.watch_sctp();
        if let Some((sctp, _)) = &self.sctp
            && sctp.state() == "closed"
        {
            return Poll::Ready(ConnectionError::ClosedByPeer);
        }
        let state = self.peer_connection.connection_state();
        if state == RtcPeerConnectionState::Failed {
            return Poll::Ready(ConnectionError::Failed);
        }
        if state == RtcPeerConnectionState::Closed {
            return Poll::Ready(ConnectionError::Closed);
        }
        if state == RtcPeerConnectionState::Disconnected {
            let grace = self
                .disconnected
                .get_or_insert_with(|| Delay::new(self.grace));
            if grace.poll_unpin(context).is_ready() {
                return Poll::Ready(ConnectionError::Disconnected);
            }
            self.set_doubtful(true);
        } else if state == RtcPeerConnectionState::Connected {
            // What is not yet connected owes nobody a sign of life.
            if self.disconnected.take().is_some() {
                self.set_doubtful(false);
            }
            ready!(self.poll_vigil(context));
            return Poll::Ready(ConnectionError::Disconnected);
        }
        Poll::Pending
    }

    /// Ready when the far end has been silent for too long.
    fn poll_vigil(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            self.vigil.heard(self.channels.heard());
            if let Some(look) = &mut self.look {
                let signs = ready!(look.poll_unpin(context));
                self.look = None;
                self.vigil.heard(self.channels.heard());
                match self.vigil.look(monotonic_now(), signs) {
                    Finding::Alive => self.set_doubtful(false),
                    Finding::Doubtful => self.set_doubtful(true),
                    Finding::Lost => return Poll::Ready(()),
                }
            }
            let due = self.vigil.due();
            let left = due.saturating_sub(monotonic_now());
            if left.is_zero() {
                self.waiting = None;
                self.look = Some(signs_of_life(self.peer_connection.clone()).boxed_local());
                continue;
            }
            // A delay that is under way is left to end: messages only put the look off.
            let (_, delay) = match &mut self.waiting {
                Some(waiting) if waiting.0 <= due => waiting,
                late => late.insert((due, Delay::new(left))),
            };
            ready!(delay.poll_unpin(context));
            self.waiting = None;
        }
    }

    fn set_doubtful(&mut self, doubtful: bool) {
        if self.doubtful != doubtful {
            self.doubtful = doubtful;
            tracing::debug!(doubtful, "the far end is silent, or heard again");
            if let Some(on_doubt) = &self.on_doubt {
                on_doubt(doubtful);
            }
        }
    }

    /// The SCTP transport knows within milliseconds that the peer has closed; the connection's own state takes 6 s.
    fn watch_sctp(&mut self) {
        if self.sctp.is_none()
            && let Some(sctp) = sctp_transport(&self.peer_connection)
        {
            let watcher = Rc::clone(&self.watcher);
            let listener = Listener::new(&sctp, "statechange", move |_| watcher.wake());
            self.sctp = Some((sctp, listener));
        }
    }

    fn end(&mut self, error: ConnectionError) {
        self.ended.get_or_insert(error);
        self.peer_connection.close();
        self.channels.end();
        self.watcher.wake();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end(ConnectionError::Closed);
    }
}

impl StreamMuxer for Connection {
    type Substream = Stream;
    type Error = ConnectionError;

    fn poll_inbound(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        match &self.inner.ended {
            Some(error) => Poll::Ready(Err(error.clone())),
            None => self.inner.channels.poll_take(context).map(Ok),
        }
    }

    fn poll_outbound(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        if let Some(error) = &self.inner.ended {
            return Poll::Ready(Err(error.clone()));
        }
        ready!(self.inner.channels.poll_room(context));
        Poll::Ready(
            self.inner
                .open(&RtcDataChannelInit::new(), Afterwards::Close),
        )
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.end(ConnectionError::Closed);
        Poll::Ready(Ok(()))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        self.inner.poll_ended(context).map(Err)
    }
}
