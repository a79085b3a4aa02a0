//! One data channel that carries one stream: everything that the browser's events and the stream's owner share.
//!
//! Frames in and out, water marks, and the orderly end in the background. It never decides what a flag means
//! (`state.rs` does), and nothing here waits for its owner: what is not read in time resets the stream.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{Either, select};
use futures::task::AtomicWaker;
use futures_timer::Delay;
use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{MessageEvent, RtcDataChannel, RtcDataChannelState, RtcDataChannelType};

use crate::config::StreamConfig;
use crate::frame::{Flag, encode_flag, encode_payload};
use crate::js::{Listener, describe, monotonic_now};
use crate::receive::{ReceiveBudget, ReceiveBuffer};
use crate::state::{Dialect, Lifecycle, StreamError};

/// Writes wait once the browser holds this many unsent bytes of a stream. With 256 KiB as the low mark this moves
/// twice as much as 16 KiB and 0 do.
const HIGH_WATER: u32 = 1024 * 1024;
/// Waiting writes go on once no more than this many bytes are unsent.
const LOW_WATER: u32 = 256 * 1024;

/// How long a finished stream waits for the peer's FIN or FIN_ACK; js-libp2p waits as long.
const FIN_ACK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the last bytes may take to leave the browser after that.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// [`Dialect::Stock`] acknowledges nothing, and that server throws away what it has not read when the channel closes:
/// so it gets this long to read it.
const STOCK_LINGER: Duration = Duration::from_secs(2);

/// What becomes of the data channel after its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Afterwards {
    /// Closed, so that its id can be used again.
    Close,
    /// Left open for the connection's lifetime: the handshake's id 0 must not be used again.
    Keep,
}

/// See the module.
pub(crate) struct Channel {
    data_channel: RtcDataChannel,
    config: StreamConfig,
    afterwards: Afterwards,
    stream: RefCell<Stream>,
    /// The channel's `close` event has come, or its connection is over.
    gone: Cell<bool>,
    reader: AtomicWaker,
    writer: AtomicWaker,
    closer: AtomicWaker,
    /// When the last message came on any channel of the connection.
    heard: Rc<Cell<Duration>>,
    /// Until this side closes the channel.
    messages: RefCell<Option<Listener>>,
    listeners: RefCell<Vec<Listener>>,
}

struct Stream {
    life: Lifecycle,
    received: ReceiveBuffer,
    /// Kept between writes for its allocation.
    frame: Vec<u8>,
}

impl Channel {
    /// Takes a channel over. Must be called in the very task that made it known, or messages are lost.
    pub(crate) fn new(
        data_channel: RtcDataChannel,
        config: StreamConfig,
        afterwards: Afterwards,
        heard: Rc<Cell<Duration>>,
        budget: Rc<ReceiveBudget>,
    ) -> Rc<Self> {
        data_channel.set_binary_type(RtcDataChannelType::Arraybuffer);
        data_channel.set_buffered_amount_low_threshold(LOW_WATER);
        let channel = Rc::new(Self {
            data_channel,
            config,
            afterwards,
            stream: RefCell::new(Stream {
                life: Lifecycle::new(config.dialect),
                received: ReceiveBuffer::new(budget),
                frame: Vec::new(),
            }),
            gone: Cell::new(false),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
            closer: AtomicWaker::new(),
            heard,
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
            channel.on("close", |channel, _| channel.set_gone()),
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
        match stream.life.check_readable()? {
            true => Poll::Pending,
            false => Poll::Ready(Ok(0)),
        }
    }

    /// Hands the browser one frame with as much of `data` as fits.
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
        Poll::Ready(sent.map(|()| payload.len()).map_err(refused))
    }

    /// Sends FIN once; what follows it (acknowledgement, closing the channel) happens after the stream is dropped.
    pub(crate) fn poll_finish(&self, context: &Context<'_>) -> Poll<Result<(), StreamError>> {
        if self.data_channel.ready_state() == RtcDataChannelState::Connecting && !self.gone.get() {
            self.writer.register(context.waker());
            return Poll::Pending;
        }
        let flag = self.stream.borrow_mut().life.finish()?;
        Poll::Ready(flag.map_or(Ok(()), |flag| self.send_flag(flag)))
    }

    fn poll_writable(&self, context: &Context<'_>) -> Poll<Result<(), StreamError>> {
        self.writer.register(context.waker());
        self.stream.borrow().life.check_writable()?;
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
        self.heard.set(monotonic_now());
        let data = event.data();
        let mut stream = self.stream.borrow_mut();
        let Stream { life, received, .. } = &mut *stream;
        let answer = match data.dyn_ref::<ArrayBuffer>() {
            Some(buffer) => received.take_in(life, &Uint8Array::new(buffer).to_vec()),
            None => Err(StreamError::TextMessage),
        };
        let answers = answer.unwrap_or_else(|error| {
            tracing::debug!(%error, "resetting a stream");
            received.fail();
            life.give_up(&error).into_iter().collect()
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
            .map_err(refused)
    }

    /// The connection is over, so that no event will come from the channel any more.
    pub(crate) fn set_gone(&self) {
        self.gone.set(true);
        self.stream.borrow_mut().life.channel_closed();
        self.reader.wake();
        self.writer.wake();
        self.closer.wake();
    }

    /// The stream's owner has dropped it: lets go of all that it held, tells the peer, brings the channel to its end in
    /// the background, and calls `ended` when its id is free again.
    pub(crate) fn release(self: Rc<Self>, ended: impl FnOnce() + 'static) {
        {
            let mut stream = self.stream.borrow_mut();
            stream.received.discard();
            stream.frame = Vec::new();
        }
        if self.afterwards == Afterwards::Keep {
            return;
        }
        let flag = self.stream.borrow_mut().life.abandon();
        if let Some(flag) = flag
            && self.data_channel.ready_state() == RtcDataChannelState::Open
            && let Err(error) = self.send_flag(flag)
        {
            tracing::debug!(?flag, %error, "flag not sent");
        }
        spawn_local(async move {
            self.wind_down().await;
            ended();
        });
    }

    async fn wind_down(&self) {
        if !self.stream.borrow().life.is_over() {
            within(
                FIN_ACK_TIMEOUT,
                self.until(|channel| channel.stream.borrow().life.is_over()),
            )
            .await;
        }
        self.data_channel.set_buffered_amount_low_threshold(0);
        if self.data_channel.buffered_amount() > 0 {
            within(
                DRAIN_TIMEOUT,
                self.until(|channel| channel.data_channel.buffered_amount() == 0),
            )
            .await;
        }
        if self.config.dialect == Dialect::Stock {
            within(STOCK_LINGER, self.until(|_| false)).await;
        }
        // A peer that does not confirm the end can still send.
        self.messages.take();
        self.stream.borrow_mut().received.fail();
        self.data_channel.close();
        // Only the `close` event frees the id; without a peer to confirm it, the connection's end stands in for it.
        self.until(|_| false).await;
        self.listeners.take();
    }

    /// Waits until `condition` holds or the channel is gone.
    fn until(&self, condition: impl Fn(&Self) -> bool) -> impl Future<Output = ()> {
        poll_fn(move |context| {
            self.closer.register(context.waker());
            if self.gone.get() || condition(self) {
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
fn refused(error: JsValue) -> StreamError {
    StreamError::SendRefused(describe(&error))
}

/// Waits for `future`, but no longer than `limit`.
async fn within(limit: Duration, future: impl Future<Output = ()>) {
    if let Either::Right(((), _)) = select(pin!(future), Delay::new(limit)).await {
        tracing::trace!(?limit, "a closing stream's wait ran out");
    }
}
