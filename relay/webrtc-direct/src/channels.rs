//! The streams of a connection: what the handles that libp2p holds and the connection's task share.
//!
//! The handles read and write buffers here, and the task moves data between these buffers and the channels of the
//! [`Stack`]. So libraries that process what a peer sends run in the task only, where a panic ends one connection.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use libp2p_webrtc_streams::StreamConfig;
use libp2p_webrtc_streams::frame::{Flag, encode_flag, encode_payload};
use libp2p_webrtc_streams::receive::{
    MAX_UNREAD, MAX_UNREAD_PER_CONNECTION, ReceiveBudget, ReceiveBuffer,
};
use libp2p_webrtc_streams::state::{Lifecycle, StreamError};
use tokio::sync::Notify;

use crate::error::ConnectionError;
use crate::queue::pop;
use crate::stack::{Message, MessageKind, Stack};

/// The channel of the Noise handshake; fixed by the specification.
pub(crate) const HANDSHAKE_CHANNEL: u16 = 0;

/// Bytes that a stream may hold for the task. A write waits beyond them.
const MAX_UNSENT: usize = 64 * 1024;

/// Unread bytes of a stream above which no more messages are taken from SCTP, so that its window closes and the peer waits.
/// Another message fits into the rest of the limit. A stream that libp2p has not accepted yet waits with one message.
const PAUSE_ABOVE: usize = MAX_UNREAD / 2;
/// The same for all streams of a connection.
const PAUSE_ALL_ABOVE: usize = MAX_UNREAD_PER_CONNECTION / 2;

/// How long a stream may be paused without being read. Its unread messages fill the window that it shares with all other
/// streams, so it is reset then.
pub(crate) const MAX_PAUSE: Duration = Duration::from_secs(5);

/// How long a finished stream waits for the peer's FIN or FIN_ACK, and then for the acknowledgement of its data.
/// js-libp2p uses the same limit.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the side that did not open a channel leaves it to the other one to close it, once both are done. If both close a
/// channel at once, its number is blocked for longer.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// Channels that may be closing, for each that may be open: SCTP keeps them until the peer has confirmed their end. A peer
/// does so within a round trip. With the default limit that makes 1,024 channels, all that Chromium has.
const CLOSING_PER_CHANNEL: usize = 3;

/// Numbers that a side uses for its channels before it reuses the one that is free for the longest time. Chromium has no
/// channels above 1,023, of which each side has one half.
const FRESH_NUMBERS: u32 = 512;

/// Bytes in flight on all channels. sctp-proto looks at all of them for each packet, so more of them make it slower, except
/// where the round trip is long; it does not tell how long that is.
const WINDOW: usize = 64 * 1024;

/// The message that opens an ordered and reliable channel without a label
/// ([RFC 8832](https://www.rfc-editor.org/rfc/rfc8832#section-5.1)): its type, and eleven fields of zero.
const CHANNEL_OPEN: [u8; 12] = [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// The answer to [`CHANNEL_OPEN`].
const CHANNEL_ACK: [u8; 1] = [2];

/// Identifies a stream of a connection. The numbers of channels are reused, also while the handle of the stream before is
/// still held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamKey(u64);

/// The stream of the handshake, which is created before all others.
pub(crate) const HANDSHAKE_STREAM: StreamKey = StreamKey(0);

/// The buffers of a connection, and what wakes its task.
#[derive(Debug)]
pub(crate) struct Shared {
    channels: Mutex<Channels>,
    /// Notified when a handle has something for the task.
    pub(crate) task: Notify,
}

#[derive(Debug)]
pub(crate) struct Channels {
    streams: StreamConfig,
    max: usize,
    is_client: bool,
    /// Boxed, because the table has room for twice as many.
    all: HashMap<StreamKey, Box<Channel>>,
    next_key: u64,
    /// The streams whose channels are not closed.
    ids: HashMap<u16, StreamKey>,
    /// Channels that have ended on this side, until the peer has confirmed it.
    closing: HashSet<u16>,
    budget: Arc<ReceiveBudget>,
    /// Channels of the peer that libp2p has not accepted yet.
    inbound: VecDeque<StreamKey>,
    /// Channels with something to send, each once, in turn.
    ready: VecDeque<StreamKey>,
    /// Channels whose reader has made room.
    resumed: Vec<StreamKey>,
    /// The next number for a channel of this side that was never used.
    next: u32,
    /// Numbers of this side that may be used again.
    free: VecDeque<u16>,
    /// A number cannot be used yet, although a stream waits with it.
    is_blocked: bool,
    muxer: Option<Waker>,
    opener: Option<Waker>,
    acceptor: Option<Waker>,
    /// The handle of the connection was dropped or closed.
    is_closing: bool,
    is_authenticated: bool,
    ended: Option<ConnectionError>,
}

#[derive(Debug)]
struct Channel {
    id: u16,
    /// Both halves of the channel have ended in SCTP; its number may belong to another stream.
    is_gone: bool,
    lifecycle: Lifecycle,
    received: ReceiveBuffer,
    unsent: VecDeque<(MessageKind, Vec<u8>)>,
    unsent_len: usize,
    is_ready: bool,
    /// Messages wait in SCTP because this reader or others are behind: when this one last read, or since when they wait.
    paused: Option<Instant>,
    /// The handle was dropped: until when the task waits for the peer.
    released: Option<Release>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// The peer may send messages: its channel was opened, or this side opened it.
    is_open: bool,
}

#[derive(Clone, Copy, Debug)]
struct Release {
    /// When the task no longer waits; none until it sees the stream for the first time.
    deadline: Option<Instant>,
    /// Both halves of the stream have ended, and what was written is being sent.
    is_draining: bool,
    /// Since when all of it is acknowledged.
    sent: Option<Instant>,
}

impl Shared {
    pub(crate) fn new(streams: StreamConfig, max: usize, is_client: bool) -> Arc<Self> {
        Arc::new(Self {
            channels: Mutex::new(Channels {
                streams,
                max,
                is_client,
                all: HashMap::new(),
                next_key: 0,
                ids: HashMap::new(),
                closing: HashSet::new(),
                budget: Arc::default(),
                inbound: VecDeque::new(),
                ready: VecDeque::new(),
                resumed: Vec::new(),
                // The side that is the client in DTLS uses even numbers. 0 is the handshake.
                next: if is_client { 2 } else { 1 },
                free: VecDeque::new(),
                is_blocked: false,
                muxer: None,
                opener: None,
                acceptor: None,
                is_closing: false,
                is_authenticated: false,
                ended: None,
            }),
            task: Notify::new(),
        })
    }

    /// The buffers. A panic elsewhere leaves them usable: every change is complete before anything can panic.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the task to end the connection.
    pub(crate) fn close(&self) {
        self.lock().is_closing = true;
        self.task.notify_one();
    }

    /// Adds the channel of the handshake. It stays open for the lifetime of the connection.
    pub(crate) fn open_handshake(&self) {
        let mut channels = self.lock();
        let key = channels.add(HANDSHAKE_CHANNEL);
        channels.accept(key);
    }

    /// Called when the peer is authenticated: no time limit of the handshake applies any longer.
    pub(crate) fn set_authenticated(&self) {
        self.lock().is_authenticated = true;
    }

    pub(crate) fn poll_outbound(
        &self,
        context: &Context<'_>,
    ) -> Poll<Result<StreamKey, ConnectionError>> {
        let mut channels = self.lock();
        if let Some(error) = &channels.ended {
            return Poll::Ready(Err(error.clone()));
        }
        let Some(id) = channels.next_free() else {
            channels.opener = Some(context.waker().clone());
            return Poll::Pending;
        };
        let key = channels.add(id);
        channels.accept(key);
        channels.queue(key, MessageKind::Control, CHANNEL_OPEN.to_vec());
        self.task.notify_one();
        Poll::Ready(Ok(key))
    }

    pub(crate) fn poll_inbound(
        &self,
        context: &Context<'_>,
    ) -> Poll<Result<StreamKey, ConnectionError>> {
        let mut channels = self.lock();
        if let Some(error) = &channels.ended {
            return Poll::Ready(Err(error.clone()));
        }
        if let Some(key) = pop(&mut channels.inbound) {
            channels.accept(key);
            channels.resumed.push(key);
            self.task.notify_one();
            return Poll::Ready(Ok(key));
        }
        channels.acceptor = Some(context.waker().clone());
        Poll::Pending
    }

    /// Ready with the reason once the connection has ended.
    pub(crate) fn poll_ended(&self, context: &Context<'_>) -> Poll<ConnectionError> {
        let mut channels = self.lock();
        match &channels.ended {
            Some(error) => Poll::Ready(error.clone()),
            None => {
                channels.muxer = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(crate) fn poll_read(
        &self,
        key: StreamKey,
        context: &Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, StreamError>> {
        let mut channels = self.lock();
        let Channels { all, resumed, .. } = &mut *channels;
        let channel = all.get_mut(&key).ok_or(StreamError::ChannelClosed)?;
        if channel.received.is_empty() {
            return match channel.lifecycle.check_readable()? {
                false => Poll::Ready(Ok(0)),
                true => {
                    channel.reader = Some(context.waker().clone());
                    Poll::Pending
                }
            };
        }
        let read = channel.received.read(buffer);
        if channel.paused.is_some() {
            channel.paused = Some(Instant::now());
            if !channel.is_full() {
                channel.paused = None;
                resumed.push(key);
                self.task.notify_one();
            }
        }
        Poll::Ready(Ok(read))
    }

    /// Queues one frame with as much of `data` as fits.
    pub(crate) fn poll_write(
        &self,
        key: StreamKey,
        context: &Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, StreamError>> {
        let mut channels = self.lock();
        let limit = channels.streams.frame_limit.max_payload();
        let channel = channels
            .all
            .get_mut(&key)
            .ok_or(StreamError::ChannelClosed)?;
        channel.lifecycle.check_writable()?;
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if channel.unsent_len >= MAX_UNSENT {
            channel.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let (payload, _) = data.split_at(data.len().min(limit));
        let mut frame = Vec::new();
        encode_payload(payload, &mut frame);
        channels.queue(key, MessageKind::Binary, frame);
        self.task.notify_one();
        Poll::Ready(Ok(payload.len()))
    }

    /// Queues FIN, the first time.
    pub(crate) fn finish(&self, key: StreamKey) -> Result<(), StreamError> {
        let mut channels = self.lock();
        let channel = channels
            .all
            .get_mut(&key)
            .ok_or(StreamError::ChannelClosed)?;
        let flag = channel.lifecycle.finish()?;
        let owed = channel.lifecycle.take_owed_fin_ack();
        channels.queue_flags(key, flag.into_iter().chain(owed));
        self.task.notify_one();
        Ok(())
    }

    /// Called when the handle of a stream is dropped.
    pub(crate) fn release(&self, key: StreamKey) {
        let mut channels = self.lock();
        let has_ended = channels.ended.is_some();
        let Some(channel) = channels.all.get_mut(&key) else {
            return;
        };
        channel.received.discard();
        if key == HANDSHAKE_STREAM {
            return;
        }
        let flag = channel.lifecycle.abandon();
        if has_ended || channel.is_gone {
            channels.remove(key);
            return;
        }
        channel.released = Some(Release {
            deadline: None,
            is_draining: false,
            sent: None,
        });
        // What SCTP holds is of no use to anyone, so it makes room for others.
        channel.paused = None;
        channels.resumed.push(key);
        channels.queue_flags(key, flag);
        self.task.notify_one();
    }
}

impl Channels {
    /// Whether the handle of the connection was dropped or closed.
    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// Whether something waits for a deadline: a paused reader, or a stream that closes.
    pub(crate) fn needs_deadlines(&self) -> bool {
        self.is_blocked
            || self
                .all
                .values()
                .any(|channel| channel.paused.is_some() || channel.released.is_some())
    }

    /// The bytes that all streams hold for their readers.
    pub(crate) fn unread(&self) -> usize {
        self.budget.used()
    }

    /// The number of channels, open or closing.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Called when the connection has ended: every stream fails, and every waiting task is woken.
    pub(crate) fn end(&mut self, error: ConnectionError) {
        self.ended.get_or_insert(error);
        self.ready.clear();
        let wakers = [self.muxer.take(), self.opener.take(), self.acceptor.take()];
        wakers.into_iter().flatten().for_each(Waker::wake);
        self.all.values_mut().for_each(|channel| channel.close());
        // A stream that was closed and dropped needs nothing any longer.
        self.all.retain(|_, channel| channel.released.is_none());
    }

    /// Whether the time limit of the handshake still applies.
    pub(crate) fn is_handshaking(&self) -> bool {
        !self.is_authenticated
    }

    /// Whether the peer has exceeded a limit of the connection.
    pub(crate) fn is_flooded(&self) -> bool {
        self.budget.is_exceeded()
    }

    /// Opens the channel of the handshake in SCTP.
    pub(crate) fn on_connected(&mut self, stack: &mut Stack) {
        stack.open(HANDSHAKE_CHANNEL);
        self.resumed.push(HANDSHAKE_STREAM);
    }

    /// Adds a channel of the peer, or resets it if there are too many or its number belongs to this side.
    pub(crate) fn on_opened(&mut self, stack: &mut Stack, id: u16) -> Result<(), ConnectionError> {
        if self.ids.contains_key(&id) {
            return Ok(());
        }
        if !self.has_room() {
            return Err(ConnectionError::TooManyChannels);
        }
        if self.all.len() < self.max && !self.is_ours(id) {
            self.add(id);
        } else {
            self.reset(stack, id);
        }
        Ok(())
    }

    /// Takes the messages of a channel from SCTP while there is room for them.
    pub(crate) fn on_readable(&mut self, stack: &mut Stack, id: u16, now: Instant) {
        match self.ids.get(&id) {
            Some(key) => self.read(stack, *key, now),
            // A channel that was refused or has ended: nothing must stay in SCTP.
            None => while stack.read(id).is_some() {},
        }
    }

    fn read(&mut self, stack: &mut Stack, key: StreamKey, now: Instant) {
        while let Some(channel) = self.all.get_mut(&key)
            && !channel.is_gone
        {
            let must_wait = channel.is_full() || self.budget.used() > PAUSE_ALL_ABOVE;
            if must_wait && channel.released.is_none() {
                channel.paused.get_or_insert(now);
                return;
            }
            let Some(message) = stack.read(channel.id) else {
                return;
            };
            self.on_message(key, &message);
        }
    }

    /// Reads the channels whose reader has made room.
    pub(crate) fn resume(&mut self, stack: &mut Stack, now: Instant) {
        for key in std::mem::take(&mut self.resumed) {
            self.read(stack, key, now);
        }
        if self.budget.used() <= PAUSE_ALL_ABOVE {
            let paused = self
                .all
                .iter()
                .filter(|(_, channel)| channel.paused.is_some() && !channel.is_full());
            let paused: Vec<StreamKey> = paused.map(|(key, _)| *key).collect();
            for key in paused {
                if let Some(channel) = self.all.get_mut(&key) {
                    channel.paused = None;
                }
                self.read(stack, key, now);
            }
        }
    }

    /// Called when both halves of a channel have ended.
    pub(crate) fn on_finished(&mut self, id: u16) {
        self.closing.insert(id);
        let Some(key) = self.ids.remove(&id) else {
            return;
        };
        if let Some(channel) = self.all.get_mut(&key) {
            channel.close();
            if channel.released.is_some() {
                self.remove(key);
            }
        }
    }

    /// Called when a number of a channel may be used again.
    pub(crate) fn on_freed(&mut self, id: u16) {
        self.closing.remove(&id);
        if self.is_ours(id) && u32::from(id) < self.next && !self.free.contains(&id) {
            self.free.push_back(id);
        }
        if let Some(waker) = self.opener.take() {
            waker.wake();
        }
    }

    /// Hands frames to SCTP, one stream after the other, until enough is in flight.
    pub(crate) fn send(&mut self, stack: &mut Stack) {
        self.is_blocked = false;
        if self.ready.is_empty() {
            return;
        }
        let mut blocked = Vec::new();
        let mut in_flight: usize = self.ids.keys().map(|id| stack.unacknowledged(*id)).sum();
        while in_flight < WINDOW
            && let Some(key) = pop(&mut self.ready)
        {
            let Some(channel) = self.all.get_mut(&key) else {
                continue;
            };
            channel.is_ready = false;
            let Some((kind, data)) = pop(&mut channel.unsent) else {
                continue;
            };
            if !stack.open(channel.id) {
                // The peer has not confirmed the end of the stream that had this number before.
                channel.unsent.push_front((kind, data));
                channel.is_ready = true;
                blocked.push(key);
                continue;
            }
            channel.unsent_len = channel.unsent_len.saturating_sub(data.len());
            if !stack.write(channel.id, kind, &data) {
                channel.close();
                continue;
            }
            in_flight = in_flight.saturating_add(data.len());
            if channel.unsent_len < MAX_UNSENT
                && let Some(waker) = channel.writer.take()
            {
                waker.wake();
            }
            channel.is_ready = !channel.unsent.is_empty();
            if channel.is_ready {
                self.ready.push_back(key);
            }
        }
        self.is_blocked = !blocked.is_empty();
        self.ready.extend(blocked);
    }

    /// Closes channels whose stream has ended, and resets those whose reader is too slow.
    pub(crate) fn check_deadlines(&mut self, stack: &mut Stack, now: Instant) {
        let waiting = self
            .all
            .iter()
            .filter(|(_, channel)| channel.paused.is_some() || channel.released.is_some());
        let waiting: Vec<StreamKey> = waiting.map(|(key, _)| *key).collect();
        for key in waiting {
            self.check_pause(key, now);
            self.check_release(stack, key, now);
        }
    }

    fn check_pause(&mut self, key: StreamKey, now: Instant) {
        if let Some(channel) = self.all.get_mut(&key)
            && let Some(paused) = channel.paused
            && now.saturating_duration_since(paused) >= MAX_PAUSE
            && !channel.received.is_empty()
        {
            channel.paused = None;
            self.fail(key, &StreamError::UnreadOverflow { cap: PAUSE_ABOVE });
            self.resumed.push(key);
        }
    }

    fn check_release(&mut self, stack: &mut Stack, key: StreamKey, now: Instant) {
        let is_client = self.is_client;
        let Some(channel) = self.all.get_mut(&key) else {
            return;
        };
        let Some(release) = &mut channel.released else {
            return;
        };
        let mut is_late = now >= *release.deadline.get_or_insert(now + CLOSE_TIMEOUT);
        if !release.is_draining && (is_late || channel.lifecycle.is_over()) {
            release.is_draining = true;
            release.deadline = Some(now + CLOSE_TIMEOUT);
            is_late = false;
        }
        if !release.is_draining {
            return;
        }
        let mut may_close = is_late;
        if channel.unsent.is_empty() && stack.unacknowledged(channel.id) == 0 {
            let sent = *release.sent.get_or_insert(now);
            may_close |= is_of_client(channel.id) == is_client || now >= sent + CLOSE_GRACE;
        }
        if may_close {
            let id = channel.id;
            self.reset(stack, id);
            self.remove(key);
        }
    }

    fn on_message(&mut self, key: StreamKey, message: &Message) {
        let Some(channel) = self.all.get_mut(&key) else {
            return;
        };
        match message.kind {
            MessageKind::Control => {
                let [open, ..] = CHANNEL_OPEN;
                if message.data.first() == Some(&open) && !channel.is_open {
                    channel.is_open = true;
                    self.queue(key, MessageKind::Control, CHANNEL_ACK.to_vec());
                    self.inbound.push_back(key);
                    if let Some(waker) = self.acceptor.take() {
                        waker.wake();
                    }
                }
            }
            MessageKind::Text => self.fail(key, &StreamError::TextMessage),
            MessageKind::Binary => {
                let Channel {
                    lifecycle,
                    received,
                    ..
                } = &mut **channel;
                match received.receive(lifecycle, &message.data) {
                    Ok(flags) => {
                        channel.wake();
                        self.queue_flags(key, flags);
                    }
                    Err(error) => self.fail(key, &error),
                }
            }
        }
    }

    fn fail(&mut self, key: StreamKey, error: &StreamError) {
        tracing::debug!(?key, %error, "resetting a stream");
        if let Some(channel) = self.all.get_mut(&key) {
            channel.received.fail();
            let flag = channel.lifecycle.fail(error);
            channel.wake();
            self.queue_flags(key, flag);
        }
    }

    fn queue_flags(&mut self, key: StreamKey, flags: impl IntoIterator<Item = Flag>) {
        for flag in flags {
            self.queue(key, MessageKind::Binary, encode_flag(flag).to_vec());
        }
    }

    fn queue(&mut self, key: StreamKey, kind: MessageKind, data: Vec<u8>) {
        if let Some(channel) = self.all.get_mut(&key)
            && !channel.is_gone
        {
            channel.unsent_len = channel.unsent_len.saturating_add(data.len());
            channel.unsent.push_back((kind, data));
            if !channel.is_ready {
                channel.is_ready = true;
                self.ready.push_back(key);
            }
        }
    }

    fn add(&mut self, id: u16) -> StreamKey {
        let key = StreamKey(self.next_key);
        self.next_key += 1;
        let channel = Channel {
            id,
            is_gone: false,
            lifecycle: Lifecycle::new(self.streams.dialect),
            received: ReceiveBuffer::new(Arc::clone(&self.budget)),
            unsent: VecDeque::new(),
            unsent_len: 0,
            is_ready: false,
            paused: None,
            released: None,
            reader: None,
            writer: None,
            is_open: false,
        };
        self.all.insert(key, Box::new(channel));
        self.ids.insert(id, key);
        key
    }

    /// Gives a stream its reader.
    fn accept(&mut self, key: StreamKey) {
        if let Some(channel) = self.all.get_mut(&key) {
            channel.is_open = true;
            channel.received.accept();
        }
    }

    fn remove(&mut self, key: StreamKey) {
        if let Some(channel) = self.all.remove(&key)
            && self.ids.get(&channel.id) == Some(&key)
        {
            self.ids.remove(&channel.id);
        }
        self.ready.retain(|ready| *ready != key);
        self.inbound.retain(|waiting| *waiting != key);
        if let Some(waker) = self.opener.take() {
            waker.wake();
        }
    }

    fn reset(&mut self, stack: &mut Stack, id: u16) {
        if stack.reset(id) {
            self.closing.insert(id);
        }
    }

    /// Whether SCTP may hold another channel.
    fn has_room(&self) -> bool {
        let held = self.ids.len().saturating_add(self.closing.len());
        held < self.max.saturating_mul(1 + CLOSING_PER_CHANNEL)
    }

    /// Whether this side assigns the number.
    fn is_ours(&self, id: u16) -> bool {
        is_of_client(id) == self.is_client
    }

    /// The number for another channel of this side.
    fn next_free(&mut self) -> Option<u16> {
        if self.all.len() >= self.max || !self.has_room() {
            return None;
        }
        if self.next >= 2 * FRESH_NUMBERS
            && let Some(id) = self.free.pop_front()
        {
            return Some(id);
        }
        // 65,535 is not a channel.
        let id = u16::try_from(self.next).ok().filter(|id| *id < u16::MAX)?;
        self.next += 2;
        Some(id)
    }
}

impl Channel {
    /// Whether no more messages should be taken from SCTP until the reader has made room.
    fn is_full(&self) -> bool {
        let limit = if self.received.is_accepted() {
            PAUSE_ABOVE
        } else {
            0
        };
        self.received.len() > limit
    }

    /// Called when the channel has ended in SCTP, or was never there.
    fn close(&mut self) {
        self.is_gone = true;
        self.lifecycle.channel_closed();
        self.unsent.clear();
        self.unsent_len = 0;
        self.paused = None;
        self.wake();
    }

    fn wake(&mut self) {
        let wakers = [self.reader.take(), self.writer.take()];
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

/// Whether the side that is the client in DTLS opens channels with this number.
fn is_of_client(id: u16) -> bool {
    id.is_multiple_of(2)
}

#[cfg(test)]
mod tests;
