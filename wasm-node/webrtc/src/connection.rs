//! A libp2p connection over an `RTCPeerConnection`: its streams, and the early and reliable detection of a lost peer.
//!
//! This module never signals and never authenticates. The caller that passes in the peer connection does both.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use futures::task::AtomicWaker;
use futures_timer::Delay;
use libp2p_core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p_webrtc_streams::StreamConfig;
use send_wrapper::SendWrapper;
use wasm_bindgen::JsCast;
use web_sys::{
    EventTarget, RtcDataChannelEvent, RtcDataChannelInit, RtcPeerConnection, RtcPeerConnectionState,
};

use crate::channel::{Channel, OnStreamEnd};
use crate::channels::Channels;
use crate::config::{DISCONNECTED_GRACE, SILENCE_LIMIT};
use crate::js::{
    Listener, SctpTransport, create_data_channel, monotonic_now, received_packet_count,
    sctp_transport,
};
use crate::liveness::{Liveness, LivenessMonitor};
use crate::stream::Stream;

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The peer sent nothing for too long.
    #[error("the peer stopped responding")]
    Disconnected,
    /// The browser reported the connection as failed.
    #[error("the browser reported the connection as failed")]
    Failed,
    /// The peer closed the connection.
    #[error("the peer closed the connection")]
    ClosedByPeer,
    /// The connection was closed on this side, or the page is being unloaded.
    #[error("the connection was closed on this side")]
    Closed,
    /// The peer flooded the connection: its streams held more than [`MAX_UNREAD_PER_CONNECTION`](crate::MAX_UNREAD_PER_CONNECTION) unread bytes in total,
    /// or more than [`MAX_OVERFLOWS`](crate::MAX_OVERFLOWS) of them had to be reset.
    #[error("the peer sent more than its streams may hold unread: the connection was closed")]
    UnreadOverflow,
    /// The browser refused to open another data channel.
    #[error("the browser refused to open a data channel: {0}")]
    OpenRefused(String),
}

impl ConnectionError {
    /// Finds the reason in the error that a swarm reports. Each boxed muxer around the connection wraps it once more.
    #[must_use]
    pub fn find_in(error: &io::Error) -> Option<&Self> {
        let inner = error.get_ref()?;
        inner
            .downcast_ref()
            .or_else(|| Self::find_in(inner.downcast_ref()?))
    }
}

/// A connection whose streams are data channels. Dropping it closes the connection.
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
    liveness: LivenessMonitor,
    /// The timer until the next liveness check, and when it is due.
    check_timer: Option<(Duration, Delay)>,
    /// The liveness check in progress: resolves to the received packet count.
    check: Option<LocalBoxFuture<'static, Option<u64>>>,
    doubtful: bool,
    on_doubt: Option<Box<dyn Fn(bool)>>,
    ended: Option<ConnectionError>,
    _listeners: [Listener; 3],
}

impl Connection {
    /// Takes over a peer connection: from now on every data channel that the peer opens is a stream.
    ///
    /// Call this before any description is set on `peer_connection`. Otherwise channels and their first messages may be
    /// missed. The caller is responsible for authenticating the peer.
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
            // Closing the connection on `pagehide` lets peers notice within 25 ms instead of 6 s that the tab is gone.
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
                liveness: LivenessMonitor::new(SILENCE_LIMIT, monotonic_now()),
                check_timer: None,
                check: None,
                doubtful: false,
                on_doubt: None,
                ended: None,
                _listeners: listeners,
            }),
        }
    }

    /// Sets how long the connection may be `disconnected` before it counts as lost; default: [`DISCONNECTED_GRACE`].
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.inner.grace = grace;
        self
    }

    /// Sets how long the peer may send no packet at all before the connection counts as lost; default:
    /// [`SILENCE_LIMIT`].
    #[must_use]
    pub fn with_silence_limit(mut self, limit: Duration) -> Self {
        self.inner.liveness.set_limit(limit);
        self
    }

    /// Calls `on_doubt` with true when the peer falls silent, so that another connection can be offered before this one
    /// counts as lost, and with false when the peer responds again.
    pub(crate) fn with_doubt_listener(mut self, on_doubt: impl Fn(bool) + 'static) -> Self {
        self.inner.on_doubt = Some(Box::new(on_doubt));
        self
    }

    /// The number of data channels of the connection, open or closing.
    #[must_use]
    pub fn channel_count(&self) -> usize {
        self.inner.channels.len()
    }

    /// The number of unread bytes on all streams, incomplete frames included.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.inner.channels.budget().used()
    }

    /// Opens a stream on a pre-negotiated channel, which both sides open with the same `id` and without announcing it.
    /// The channel stays open for the connection's lifetime, so that the ID is never reused.
    ///
    /// # Errors
    /// If the browser refuses to open the channel.
    pub(crate) fn open_negotiated(&self, id: u16) -> Result<Stream, ConnectionError> {
        let init = RtcDataChannelInit::new();
        init.set_negotiated(true);
        init.set_id(id);
        self.inner.open(&init, OnStreamEnd::Keep)
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
        on_stream_end: OnStreamEnd,
    ) -> Result<Stream, ConnectionError> {
        create_data_channel(&self.peer_connection, init)
            .map(|data_channel| self.stream(self.channels.add(data_channel, on_stream_end)))
            .map_err(ConnectionError::OpenRefused)
    }

    fn stream(&self, channel: Rc<Channel>) -> Stream {
        Stream::new(channel, Rc::clone(&self.channels))
    }

    /// Ready with the reason once the connection has ended.
    fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<ConnectionError> {
        self.watcher.register(context.waker());
        if let Some(error) = &self.ended {
            return Poll::Ready(error.clone());
        }
        let error = ready!(self.poll_state(context));
        tracing::debug!(%error, "connection ended");
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
            // Liveness counts only from here on: a connection that is still being established sends nothing yet.
            if self.disconnected.take().is_some() {
                self.set_doubtful(false);
            }
            ready!(self.poll_liveness(context));
            return Poll::Ready(ConnectionError::Disconnected);
        }
        Poll::Pending
    }

    /// Ready when the peer has been silent for too long.
    fn poll_liveness(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            self.liveness.record_message(self.channels.last_message());
            if let Some(check) = &mut self.check {
                let packets = ready!(check.poll_unpin(context));
                self.check = None;
                self.liveness.record_message(self.channels.last_message());
                match self.liveness.check(monotonic_now(), packets) {
                    Liveness::Alive => self.set_doubtful(false),
                    Liveness::Doubtful => self.set_doubtful(true),
                    Liveness::Lost => return Poll::Ready(()),
                }
            }
            let due = self.liveness.next_check();
            let left = due.saturating_sub(monotonic_now());
            if left.is_zero() {
                self.check_timer = None;
                self.check =
                    Some(received_packet_count(self.peer_connection.clone()).boxed_local());
                continue;
            }
            // A running timer is left to expire: messages only postpone the check.
            let (_, delay) = match &mut self.check_timer {
                Some(timer) if timer.0 <= due => timer,
                absent_or_late => absent_or_late.insert((due, Delay::new(left))),
            };
            ready!(delay.poll_unpin(context));
            self.check_timer = None;
        }
    }

    fn set_doubtful(&mut self, doubtful: bool) {
        if self.doubtful != doubtful {
            self.doubtful = doubtful;
            tracing::debug!(doubtful, "liveness of the peer changed");
            if let Some(on_doubt) = &self.on_doubt {
                on_doubt(doubtful);
            }
        }
    }

    /// Watches the SCTP transport, which reports within milliseconds that the peer has closed. The state of the peer
    /// connection takes 6 s to do so.
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
        self.channels.close_all();
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
            None => {
                let inbound = self.inner.channels.poll_inbound(context);
                inbound.map(|channel| Ok(self.inner.stream(channel)))
            }
        }
    }

    fn poll_outbound(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        if let Some(error) = &self.inner.ended {
            return Poll::Ready(Err(error.clone()));
        }
        ready!(self.inner.channels.poll_capacity(context));
        let opened = self
            .inner
            .open(&RtcDataChannelInit::new(), OnStreamEnd::Close);
        match opened {
            // Browsers have fewer numbers for channels than `MAX_CHANNELS`, or need one for longer. The next channel that
            // is gone wakes this task.
            Err(ConnectionError::OpenRefused(error)) if self.inner.channels.len() > 0 => {
                tracing::debug!(error, "the browser has no channel left");
                Poll::Pending
            }
            opened => Poll::Ready(opened),
        }
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
