//! One data channel that carries one stream: the state shared by the browser's event listeners and the stream handle.
//!
//! It encodes and decodes frames, applies backpressure to writes, and shuts the channel down in the background after
//! the handle is dropped. It never interprets a flag (`state` does) and never waits for the reader: a stream with
//! too much unread data is reset.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{Either, select};
use futures::task::AtomicWaker;
use futures_timer::Delay;
use js_sys::{ArrayBuffer, Uint8Array};
use libp2p_webrtc_streams::StreamConfig;
use libp2p_webrtc_streams::frame::{Flag, encode_flag, encode_payload};
use libp2p_webrtc_streams::receive::{ReceiveBudget, ReceiveBuffer};
use libp2p_webrtc_streams::state::{Dialect, Lifecycle, StreamError};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{MessageEvent, RtcDataChannel, RtcDataChannelState, RtcDataChannelType};

use crate::js::{Listener, describe, monotonic_now};

/// Writes wait once the browser buffers more than this many unsent bytes of a stream. Chromium moves 1.2 to 2.1 times
/// as much as with 1 MiB. Below this mark, a page that draws all the time cannot refill the buffer fast enough: it moves a third
/// with 32 KiB.
const HIGH_WATER: u32 = 256 * 1024;
/// Waiting writes resume once at most this many bytes are unsent.
const LOW_WATER: u32 = 64 * 1024;

/// How long a finished stream waits for the peer's FIN or FIN_ACK. js-libp2p uses the same timeout.
const FIN_ACK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the browser may then take to send the remaining bytes.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the channel to a [`Dialect::Stock`] server stays open after the stream has ended. That server acknowledges
/// nothing, and it discards unread data when the channel closes.
const STOCK_LINGER: Duration = Duration::from_secs(2);

/// What happens to the data channel when its stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnStreamEnd {
    /// The channel is closed, so that its ID can be reused.
    Close,
    /// The channel stays open for the connection's lifetime: ID 0 of the handshake must not be reused.
    Keep,
}

/// A data channel and the stream on it.
pub(crate) struct Channel {
    data_channel: RtcDataChannel,
    config: StreamConfig,
    on_stream_end: OnStreamEnd,
    stream: RefCell<Stream>,
    /// The channel's `close` event has fired, or its connection has ended.
    closed: Cell<bool>,
    reader: AtomicWaker,
    writer: AtomicWaker,
    closer: AtomicWaker,
    /// When the last message arrived on any channel of the connection.
    last_message: Rc<Cell<Duration>>,
    /// The `message` listener, until this side closes the channel.
    messages: RefCell<Option<Listener>>,
    listeners: RefCell<Vec<Listener>>,
}

struct Stream {
    lifecycle: Lifecycle,
    received: ReceiveBuffer,
    /// Encoding buffer, reused between writes.
    frame: Vec<u8>,
}

impl Channel {
    /// Takes over a data channel. Must be called in the same browser task that announced it: later, messages are lost.
    pub(crate) fn new(
        data_channel: RtcDataChannel,
        config: StreamConfig,
        on_stream_end: OnStreamEnd,
        last_message: Rc<Cell<Duration>>,
        budget: Arc<ReceiveBudget>,
    ) -> Rc<Self> {
        data_channel.set_binary_type(RtcDataChannelType::Arraybuffer);
        data_channel.set_buffered_amount_low_threshold(LOW_WATER);
        let channel = Rc::new(Self {
            data_channel,
            config,
            on_stream_end,
            stream: RefCell::new(Stream {
                lifecycle: Lifecycle::new(config.dialect),
                received: ReceiveBuffer::new(budget),
                frame: Vec::new(),
            }),
            closed: Cell::new(false),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
            closer: AtomicWaker::new(),
            last_message,
            messages: RefCell::default(),
            listeners: RefCell::default(),
        });
        let messages = channel.on("message", |channel, event| {
            channel.receive(event.unchecked_ref())
        });
        channel.messages.replace(Some(messages));
        channel.listeners.replace(vec![
            channel.on("open", |channel, _| channel.writer.wake()),
            channel.on("bufferedamountlow", |channel, _| {
                channel.writer.wake();
                channel.closer.wake();
            }),
            channel.on("close", |channel, _| channel.set_closed()),
        ]);
        channel
    }

    fn on(self: &Rc<Self>, event: &'static str, handle: fn(&Self, web_sys::Event)) -> Listener {
        let channel: Weak<Self> = Rc::downgrade(self);
        Listener::new(&self.data_channel, event, move |event| {
            if let Some(channel) = channel.upgrade() {
                handle(&channel, event);
            }
        })
    }

    /// Whether this was the channel of a handshake whose end the peer has acknowledged.
    pub(crate) fn is_acknowledged_handshake(&self) -> bool {
        self.on_stream_end == OnStreamEnd::Keep && self.stream.borrow().lifecycle.has_fin_ack()
    }

    /// Called when the stream gets a reader: from then on it may hold more unread bytes.
    pub(crate) fn accept(&self) {
        self.stream.borrow_mut().received.accept();
    }

    pub(crate) fn poll_read(
        &self,
        context: &Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, StreamError>> {
        self.reader.register(context.waker());
        let mut stream = self.stream.borrow_mut();
        if !stream.received.is_empty() {
            return Poll::Ready(Ok(stream.received.read(buffer)));
        }
        match stream.lifecycle.check_readable()? {
            true => Poll::Pending,
            false => Poll::Ready(Ok(0)),
        }
    }

    /// Passes one frame to the browser, with as much of `data` as fits.
    pub(crate) fn poll_write(
        &self,
        context: &Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, StreamError>> {
        match self.poll_writable(context) {
            Poll::Ready(Ok(())) if self.data_channel.buffered_amount() > HIGH_WATER => {
                return Poll::Pending;
            }
            Poll::Ready(Ok(())) if data.is_empty() => return Poll::Ready(Ok(0)),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
        let (payload, _) = data.split_at(data.len().min(self.config.frame_limit.max_payload()));
        let mut stream = self.stream.borrow_mut();
        encode_payload(payload, &mut stream.frame);
        let sent = self.data_channel.send_with_u8_array(&stream.frame);
        Poll::Ready(sent.map(|()| payload.len()).map_err(send_refused))
    }

    /// Sends FIN once. The acknowledgement and the closing of the channel follow after the stream is dropped.
    pub(crate) fn poll_finish(&self, context: &Context<'_>) -> Poll<Result<(), StreamError>> {
        if self.data_channel.ready_state() == RtcDataChannelState::Connecting && !self.closed.get()
        {
            self.writer.register(context.waker());
            return Poll::Pending;
        }
        let flag = self.stream.borrow_mut().lifecycle.finish()?;
        Poll::Ready(flag.map_or(Ok(()), |flag| self.send_flag(flag)))
    }

    fn poll_writable(&self, context: &Context<'_>) -> Poll<Result<(), StreamError>> {
        self.writer.register(context.waker());
        self.stream.borrow().lifecycle.check_writable()?;
        let state = self.data_channel.ready_state();
        if state == RtcDataChannelState::Connecting {
            Poll::Pending
        } else if state == RtcDataChannelState::Open {
            Poll::Ready(Ok(()))
        } else {
            Poll::Ready(Err(StreamError::ChannelClosed))
        }
    }

    fn receive(&self, event: &MessageEvent) {
        self.last_message.set(monotonic_now());
        let data = event.data();
        let mut stream = self.stream.borrow_mut();
        let Stream {
            lifecycle,
            received,
            ..
        } = &mut *stream;
        let answer = match data.dyn_ref::<ArrayBuffer>() {
            Some(buffer) => received.receive(lifecycle, &Uint8Array::new(buffer).to_vec()),
            None => Err(StreamError::TextMessage),
        };
        let answers = answer.unwrap_or_else(|error| {
            tracing::debug!(%error, "resetting a stream");
            received.fail();
            // The peer may go on sending: nothing more of it is copied.
            self.messages.take();
            lifecycle.fail(&error).into_iter().collect()
        });
        drop(stream);
        for flag in answers {
            if let Err(error) = self.send_flag(flag) {
                tracing::debug!(?flag, %error, "flag not sent");
            }
        }
        self.reader.wake();
        self.writer.wake();
        self.closer.wake();
    }

    fn send_flag(&self, flag: Flag) -> Result<(), StreamError> {
        self.data_channel
            .send_with_u8_array(&encode_flag(flag))
            .map_err(send_refused)
    }

    /// Marks the channel as closed: its `close` event has fired, or the connection has ended and no event will follow.
    pub(crate) fn set_closed(&self) {
        self.closed.set(true);
        self.stream.borrow_mut().lifecycle.channel_closed();
        self.reader.wake();
        self.writer.wake();
        self.closer.wake();
    }

    /// Called when the stream handle is dropped. Frees its buffers, notifies the peer, shuts the channel down in the
    /// background, and calls `ended` once the channel's ID is free again.
    pub(crate) fn release(self: Rc<Self>, ended: impl FnOnce() + 'static) {
        {
            let mut stream = self.stream.borrow_mut();
            stream.received.discard();
            stream.frame = Vec::new();
        }
        if self.on_stream_end == OnStreamEnd::Keep {
            return;
        }
        let flag = self.stream.borrow_mut().lifecycle.abandon();
        if let Some(flag) = flag
            && self.data_channel.ready_state() == RtcDataChannelState::Open
            && let Err(error) = self.send_flag(flag)
        {
            tracing::debug!(?flag, %error, "flag not sent");
        }
        spawn_local(async move {
            self.shut_down().await;
            ended();
        });
    }

    async fn shut_down(&self) {
        if !self.stream.borrow().lifecycle.is_over() {
            timeout(
                FIN_ACK_TIMEOUT,
                self.wait_until(|channel| channel.stream.borrow().lifecycle.is_over()),
            )
            .await;
        }
        self.data_channel.set_buffered_amount_low_threshold(0);
        if self.data_channel.buffered_amount() > 0 {
            timeout(
                DRAIN_TIMEOUT,
                self.wait_until(|channel| channel.data_channel.buffered_amount() == 0),
            )
            .await;
        }
        if self.config.dialect == Dialect::Stock {
            timeout(STOCK_LINGER, self.wait_until(|_| false)).await;
        }
        // A peer that does not acknowledge the end can still send.
        self.messages.take();
        self.stream.borrow_mut().received.fail();
        self.data_channel.close();
        // Only the `close` event frees the ID. If the peer never confirms, the end of the connection does.
        self.wait_until(|_| false).await;
        self.listeners.take();
    }

    /// Waits until `condition` holds or the channel is closed.
    fn wait_until(&self, condition: impl Fn(&Self) -> bool) -> impl Future<Output = ()> {
        poll_fn(move |context| {
            self.closer.register(context.waker());
            if self.closed.get() || condition(self) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function for map_err"
)]
fn send_refused(error: JsValue) -> StreamError {
    StreamError::SendRefused(describe(&error))
}

/// Waits for `future`, but for no longer than `limit`.
async fn timeout(limit: Duration, future: impl Future<Output = ()>) {
    if let Either::Right(((), _)) = select(pin!(future), Delay::new(limit)).await {
        tracing::trace!(?limit, "timed out while closing a stream");
    }
}
