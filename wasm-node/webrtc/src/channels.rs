//! The data channels of one connection: which there are, which wait to be taken, and how many there may be.
//!
//! A channel stays here from its creation until its id is free again, long after its stream was dropped, so that its
//! end can be awaited. Never opens a channel by itself.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::task::AtomicWaker;
use web_sys::RtcDataChannel;

use crate::channel::{Afterwards, Channel};
use crate::config::StreamConfig;
use crate::js::{INIT_LABEL, monotonic_now};
use crate::receive::ReceiveBudget;
use crate::stream::Stream;

/// The most channels of a connection, open or closing. Chromium bore 2,000; no protocol of libp2p comes near it, so a
/// peer that does is broken or hostile.
pub const MAX_CHANNELS: usize = 1_024;

/// The most channels opened by the peer that wait for this side to take them. libp2p's swarm takes them as soon as it
/// runs and stops at 128 that are being negotiated.
pub const MAX_UNTAKEN: usize = 256;

/// See the module.
pub(crate) struct Channels {
    config: StreamConfig,
    all: RefCell<Vec<Rc<Channel>>>,
    untaken: RefCell<VecDeque<Rc<Channel>>>,
    /// The channel that the offerer made its offer with. It is for the offerer to close; held here, because the browser
    /// closes a channel that nobody holds.
    init: RefCell<Option<RtcDataChannel>>,
    taker: AtomicWaker,
    opener: AtomicWaker,
    /// When the last message came, on any of them.
    heard: Rc<Cell<Duration>>,
    /// What all of them hold for their readers.
    budget: Rc<ReceiveBudget>,
}

impl Channels {
    pub(crate) fn new(config: StreamConfig) -> Rc<Self> {
        Rc::new(Self {
            config,
            all: RefCell::default(),
            untaken: RefCell::default(),
            init: RefCell::default(),
            taker: AtomicWaker::new(),
            opener: AtomicWaker::new(),
            heard: Rc::new(Cell::new(monotonic_now())),
            budget: Rc::default(),
        })
    }

    /// When the peer's last message came, or this began.
    pub(crate) fn heard(&self) -> Duration {
        self.heard.get()
    }

    /// The bytes that wait for their readers, and when they are too many.
    pub(crate) fn budget(&self) -> &ReceiveBudget {
        &self.budget
    }

    /// How many there are, open or closing.
    pub(crate) fn len(&self) -> usize {
        self.all.borrow().len()
    }

    /// Adds a channel that this side opened.
    pub(crate) fn add(
        self: &Rc<Self>,
        data_channel: RtcDataChannel,
        afterwards: Afterwards,
    ) -> Stream {
        let channel = Channel::new(
            data_channel,
            self.config,
            afterwards,
            Rc::clone(&self.heard),
            Rc::clone(&self.budget),
        );
        self.all.borrow_mut().push(Rc::clone(&channel));
        Stream::new(channel, Rc::clone(self))
    }

    /// Adds a channel that the peer opened, in the task of its event, or refuses it by closing it.
    pub(crate) fn add_inbound(&self, data_channel: RtcDataChannel) {
        if data_channel.label() == INIT_LABEL && self.init.borrow().is_none() {
            self.init.replace(Some(data_channel));
            return;
        }
        if self.len() >= MAX_CHANNELS || self.untaken.borrow().len() >= MAX_UNTAKEN {
            tracing::debug!("refusing a data channel: the peer has opened too many");
            data_channel.close();
            return;
        }
        let channel = Channel::new(
            data_channel,
            self.config,
            Afterwards::Close,
            Rc::clone(&self.heard),
            Rc::clone(&self.budget),
        );
        self.all.borrow_mut().push(Rc::clone(&channel));
        self.untaken.borrow_mut().push_back(channel);
        self.taker.wake();
    }

    /// The next stream that the peer opened.
    pub(crate) fn poll_take(self: &Rc<Self>, context: &Context<'_>) -> Poll<Stream> {
        self.taker.register(context.waker());
        match self.untaken.borrow_mut().pop_front() {
            Some(channel) => Poll::Ready(Stream::new(channel, Rc::clone(self))),
            None => Poll::Pending,
        }
    }

    /// Ready while one more may be opened.
    pub(crate) fn poll_room(&self, context: &Context<'_>) -> Poll<()> {
        self.opener.register(context.waker());
        if self.len() < MAX_CHANNELS {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// The channel's id is free again.
    pub(crate) fn remove(&self, channel: &Rc<Channel>) {
        self.all
            .borrow_mut()
            .retain(|kept| !Rc::ptr_eq(kept, channel));
        self.opener.wake();
    }

    /// The connection is over: every stream fails, and nothing waits for its peer any more.
    pub(crate) fn end(&self) {
        self.untaken.take();
        self.init.take();
        for channel in self.all.take() {
            channel.set_gone();
        }
        self.taker.wake();
        self.opener.wake();
    }
}
