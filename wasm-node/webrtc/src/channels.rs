//! The set of data channels of one connection, the queue of inbound ones, and the limits on both.
//!
//! A channel stays in the set until the browser has freed its ID. That may be long after its stream was dropped,
//! because the shutdown runs in the background. This module never opens a channel on its own.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::task::AtomicWaker;
use libp2p_webrtc_streams::StreamConfig;
use libp2p_webrtc_streams::receive::ReceiveBudget;
use web_sys::RtcDataChannel;

use crate::channel::{Channel, OnStreamEnd};
use crate::js::{INIT_LABEL, monotonic_now};

/// The maximum number of channels of a connection, open or closing. Chromium handled 2,000 in our measurements. No
/// libp2p protocol needs nearly as many, so a peer that opens more is broken or hostile.
pub const MAX_CHANNELS: usize = 1_024;

/// The maximum number of inbound channels that wait to be accepted. libp2p's swarm accepts them as soon as it runs, and
/// pauses while 128 are being negotiated.
pub const MAX_PENDING_INBOUND: usize = 256;

/// All data channels of a connection.
pub(crate) struct Channels {
    config: StreamConfig,
    all: RefCell<Vec<Rc<Channel>>>,
    inbound: RefCell<VecDeque<Rc<Channel>>>,
    /// The channel that the offerer created its offer with. Only the offerer closes it. The reference is kept because
    /// the browser closes a channel once it is garbage-collected.
    init: RefCell<Option<RtcDataChannel>>,
    inbound_waker: AtomicWaker,
    capacity_waker: AtomicWaker,
    /// When the last message arrived on any of the channels.
    last_message: Rc<Cell<Duration>>,
    /// Bytes that all channels together hold for their readers.
    budget: Arc<ReceiveBudget>,
}

impl Channels {
    pub(crate) fn new(config: StreamConfig) -> Rc<Self> {
        Rc::new(Self {
            config,
            all: RefCell::default(),
            inbound: RefCell::default(),
            init: RefCell::default(),
            inbound_waker: AtomicWaker::new(),
            capacity_waker: AtomicWaker::new(),
            last_message: Rc::new(Cell::new(monotonic_now())),
            budget: Arc::default(),
        })
    }

    /// When the peer's last message arrived; before the first one, when the connection was created.
    pub(crate) fn last_message(&self) -> Duration {
        self.last_message.get()
    }

    /// The unread bytes of all streams, and their limit.
    pub(crate) fn budget(&self) -> &ReceiveBudget {
        &self.budget
    }

    /// The settings of a new stream. A peer that has acknowledged the end of the handshake follows the current spec, which
    /// allows larger frames than those that every server understands.
    fn config(&self) -> StreamConfig {
        let all = self.all.borrow();
        match all.first() {
            Some(first) if first.is_acknowledged_handshake() => StreamConfig::SPEC,
            Some(_) | None => self.config,
        }
    }

    /// The number of channels, open or closing.
    pub(crate) fn len(&self) -> usize {
        self.all.borrow().len()
    }

    /// Adds a channel that this side opened.
    pub(crate) fn add(
        &self,
        data_channel: RtcDataChannel,
        on_stream_end: OnStreamEnd,
    ) -> Rc<Channel> {
        let channel = Channel::new(
            data_channel,
            self.config(),
            on_stream_end,
            Rc::clone(&self.last_message),
            Arc::clone(&self.budget),
        );
        channel.accept();
        self.all.borrow_mut().push(Rc::clone(&channel));
        channel
    }

    /// Adds a channel that the peer opened, or closes it if there are too many. Must be called while its `datachannel`
    /// event is being handled.
    pub(crate) fn add_inbound(&self, data_channel: RtcDataChannel) {
        if data_channel.label() == INIT_LABEL && self.init.borrow().is_none() {
            self.init.replace(Some(data_channel));
            return;
        }
        if self.len() >= MAX_CHANNELS || self.inbound.borrow().len() >= MAX_PENDING_INBOUND {
            tracing::debug!("refusing a data channel: the peer has opened too many");
            data_channel.close();
            return;
        }
        let channel = Channel::new(
            data_channel,
            self.config(),
            OnStreamEnd::Close,
            Rc::clone(&self.last_message),
            Arc::clone(&self.budget),
        );
        self.all.borrow_mut().push(Rc::clone(&channel));
        self.inbound.borrow_mut().push_back(channel);
        self.inbound_waker.wake();
    }

    /// Returns the next channel that the peer opened.
    pub(crate) fn poll_inbound(&self, context: &Context<'_>) -> Poll<Rc<Channel>> {
        self.inbound_waker.register(context.waker());
        match self.inbound.borrow_mut().pop_front() {
            Some(channel) => {
                channel.accept();
                Poll::Ready(channel)
            }
            None => Poll::Pending,
        }
    }

    /// Ready while another channel may be opened.
    pub(crate) fn poll_capacity(&self, context: &Context<'_>) -> Poll<()> {
        self.capacity_waker.register(context.waker());
        if self.len() < MAX_CHANNELS {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Removes a channel whose ID is free again.
    pub(crate) fn remove(&self, channel: &Rc<Channel>) {
        self.all
            .borrow_mut()
            .retain(|kept| !Rc::ptr_eq(kept, channel));
        self.capacity_waker.wake();
    }

    /// Called when the connection has ended: every stream fails, and no shutdown waits for the peer any longer.
    pub(crate) fn close_all(&self) {
        self.inbound.take();
        self.init.take();
        for channel in self.all.take() {
            channel.set_closed();
        }
        self.inbound_waker.wake();
        self.capacity_waker.wake();
    }
}
