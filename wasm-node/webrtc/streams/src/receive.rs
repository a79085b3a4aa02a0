//! The receive buffer of a stream: decodes frames and holds unread bytes, within one limit per stream and one per
//! connection.
//!
//! This module never touches a data channel and never interprets a flag ([`state`](crate::state) does). A data channel gives the
//! receiver no flow control, so these limits are the only thing that stops a flood.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};

use crate::frame::{Decoder, Flag};
use crate::state::{Lifecycle, StreamError};

/// The maximum number of unread bytes on one stream. A stream that exceeds it is reset, to protect the tab's memory.
/// A message of 1 MiB fits, with room for what surrounds it. At full speed, 1 MiB arrives in 30 ms or more, which is how
/// long a busy tab may leave a stream unread.
pub const MAX_UNREAD: usize = (1024 + 64) * 1024;

/// The maximum number of unread bytes on an inbound stream that has not been accepted yet. Beyond it the stream is reset.
/// Streams wait only while 128 others negotiate their protocols, and an honest peer sends little before that is done.
pub const MAX_UNREAD_UNACCEPTED: usize = 64 * 1024;

/// The maximum number of unread bytes on all streams of a connection, incomplete frames included. A connection that
/// exceeds it is closed: libp2p reads as soon as it runs, so a peer that fills four streams is flooding.
/// Without this limit, 1,024 channels could hold 1 GiB. With it, 24 peers occupy at most 96 MiB.
pub const MAX_UNREAD_PER_CONNECTION: usize = 4 * 1024 * 1024;

/// The maximum number of streams of a connection that may be reset because of unread bytes. One more closes the
/// connection: otherwise a peer could flood one new stream after another for as long as it likes.
pub const MAX_OVERFLOWS: usize = 16;

/// Counts the bytes that all streams of one connection hold for their readers.
#[derive(Debug, Default)]
pub struct ReceiveBudget {
    used: AtomicUsize,
    /// Streams that were reset because of unread bytes.
    overflows: AtomicUsize,
    exceeded: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl ReceiveBudget {
    /// The number of bytes held now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether the peer has exceeded a limit of the connection.
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        self.exceeded.load(Ordering::Acquire)
    }

    /// Ready once the peer has exceeded a limit of the connection.
    pub fn poll_exceeded(&self, context: &Context<'_>) -> Poll<()> {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        if self.is_exceeded() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Changes a stream's share from `before` to `after` bytes. Returns false, and changes nothing, if that would
    /// exceed the limit.
    fn set_share(&self, before: usize, after: usize) -> bool {
        let changed = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                let used = used.saturating_sub(before).saturating_add(after);
                (used <= MAX_UNREAD_PER_CONNECTION || after <= before).then_some(used)
            })
            .is_ok();
        if !changed {
            self.exceed();
        }
        changed
    }

    /// Counts a stream with too many unread bytes.
    fn count_overflow(&self) {
        if self.overflows.fetch_add(1, Ordering::Relaxed) >= MAX_OVERFLOWS {
            self.exceed();
        }
    }

    fn exceed(&self) {
        self.exceeded.store(true, Ordering::Release);
        let waker = self
            .waker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The receiving side of one stream. Dropping it returns its share of the budget.
#[derive(Debug)]
pub struct ReceiveBuffer {
    decoder: Decoder,
    unread: BytesMut,
    /// The stream has failed: further messages are ignored.
    failed: bool,
    /// There is no reader any longer: payload is dropped on arrival, but flags still take effect.
    discarding: bool,
    /// The maximum number of unread bytes.
    limit: usize,
    budget: Arc<ReceiveBudget>,
    /// The number of bytes that this stream takes from the budget.
    share: usize,
}

impl ReceiveBuffer {
    /// A buffer with the limit of a stream that has not been accepted.
    #[must_use]
    pub fn new(budget: Arc<ReceiveBudget>) -> Self {
        Self {
            decoder: Decoder::default(),
            unread: BytesMut::new(),
            failed: false,
            discarding: false,
            limit: MAX_UNREAD_UNACCEPTED,
            budget,
            share: 0,
        }
    }

    /// Raises the limit to that of a stream with a reader.
    pub fn accept(&mut self) {
        self.limit = MAX_UNREAD;
    }

    /// Whether the stream has a reader.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.limit == MAX_UNREAD
    }

    /// The number of bytes to read.
    #[must_use]
    pub fn len(&self) -> usize {
        self.unread.len()
    }

    /// Whether there are no bytes to read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unread.is_empty()
    }

    /// Moves as many bytes as fit into `buffer`, and returns their number.
    pub fn read(&mut self, buffer: &mut [u8]) -> usize {
        let read = buffer.len().min(self.unread.len());
        let (filled, _) = buffer.split_at_mut(read);
        self.unread.copy_to_slice(filled);
        if self.unread.is_empty() {
            // Free the allocation of an emptied buffer: it may be as large as the limit.
            self.unread = BytesMut::new();
        }
        self.shrink_share();
        read
    }

    /// Processes one message from the peer, and returns the flags to answer with.
    ///
    /// # Errors
    /// If the stream fails. Its buffers are freed then, and all later messages are ignored.
    pub fn receive(
        &mut self,
        lifecycle: &mut Lifecycle,
        message: &[u8],
    ) -> Result<Vec<Flag>, StreamError> {
        if self.failed {
            return Ok(Vec::new());
        }
        let answers = self.decode(lifecycle, message);
        if answers.is_err() {
            self.fail();
        }
        answers
    }

    /// Marks the stream as failed: frees all buffers and ignores further messages.
    pub fn fail(&mut self) {
        self.failed = true;
        self.decoder = Decoder::default();
        self.discard();
    }

    /// Marks the stream as having no reader: drops unread bytes and all further payload.
    pub fn discard(&mut self) {
        self.discarding = true;
        self.unread = BytesMut::new();
        self.shrink_share();
    }

    fn decode(
        &mut self,
        lifecycle: &mut Lifecycle,
        message: &[u8],
    ) -> Result<Vec<Flag>, StreamError> {
        let mut answers = Vec::new();
        self.decoder.push(message);
        while let Some(frame) = self.decoder.next_frame()? {
            if lifecycle.accepts_data() && !self.discarding {
                self.append(&frame.payload)?;
            }
            if let Some(flag) = frame.flag {
                answers.extend(lifecycle.receive(flag));
            }
            if lifecycle.check_readable().is_err() {
                self.discard();
            }
        }
        self.charge(self.unread.len())?;
        Ok(answers)
    }

    fn append(&mut self, payload: &[u8]) -> Result<(), StreamError> {
        let unread = self.unread.len().saturating_add(payload.len());
        if unread > self.limit {
            self.budget.count_overflow();
            return Err(StreamError::UnreadOverflow { cap: self.limit });
        }
        self.charge(unread)?;
        self.unread.extend_from_slice(payload);
        Ok(())
    }

    /// Sets this stream's share of the budget to `unread` bytes plus the incomplete frame.
    fn charge(&mut self, unread: usize) -> Result<(), StreamError> {
        let share = unread.saturating_add(self.decoder.unfinished());
        if !self.budget.set_share(self.share, share) {
            return Err(StreamError::ConnectionOverflow {
                cap: MAX_UNREAD_PER_CONNECTION,
            });
        }
        self.share = share;
        Ok(())
    }

    /// Lowers this stream's share of the budget after bytes were read or dropped.
    fn shrink_share(&mut self) {
        let share = self
            .unread
            .len()
            .saturating_add(self.decoder.unfinished())
            .min(self.share);
        self.budget.set_share(self.share, share);
        self.share = share;
    }
}

impl Drop for ReceiveBuffer {
    fn drop(&mut self) {
        self.budget.set_share(self.share, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::frame::{FrameLimit, encode_flag, encode_payload};
    use crate::state::Dialect;

    struct Subject {
        lifecycle: Lifecycle,
        received: ReceiveBuffer,
    }

    impl Subject {
        /// A stream that has been accepted.
        fn new(budget: &Arc<ReceiveBudget>) -> Self {
            let mut stream = Self::unaccepted(budget);
            stream.received.accept();
            stream
        }

        fn unaccepted(budget: &Arc<ReceiveBudget>) -> Self {
            Self {
                lifecycle: Lifecycle::new(Dialect::FinAck),
                received: ReceiveBuffer::new(Arc::clone(budget)),
            }
        }

        fn receive(&mut self, message: &[u8]) -> Result<Vec<Flag>, StreamError> {
            self.received.receive(&mut self.lifecycle, message)
        }

        /// Receives this many bytes of payload, in frames of maximum length.
        fn fill(&mut self, bytes: usize) -> Result<(), StreamError> {
            let mut left = bytes;
            while left > 0 {
                let part = left.min(FrameLimit::SPEC.max_payload());
                self.receive(&payload(part))?;
                left -= part;
            }
            Ok(())
        }
    }

    fn payload(bytes: usize) -> Vec<u8> {
        let mut frame = Vec::new();
        encode_payload(&vec![7; bytes], &mut frame);
        frame
    }

    fn is_exceeded(budget: &ReceiveBudget) -> bool {
        let context = Context::from_waker(Waker::noop());
        budget.poll_exceeded(&context).is_ready()
    }

    #[test]
    fn stream_is_reset_beyond_its_limit() {
        let budget = Arc::default();
        let mut stream = Subject::new(&budget);
        stream.fill(MAX_UNREAD).expect("fits");
        assert_eq!(budget.used(), MAX_UNREAD);
        let overflow = StreamError::UnreadOverflow { cap: MAX_UNREAD };
        assert_eq!(stream.fill(1), Err(overflow));
        assert_eq!(budget.used(), 0, "a broken stream holds nothing");
        assert!(!is_exceeded(&budget));
    }

    #[test]
    fn unaccepted_stream_is_reset_beyond_its_limit() {
        let budget = Arc::default();
        let mut stream = Subject::unaccepted(&budget);
        stream.fill(MAX_UNREAD_UNACCEPTED).expect("fits");
        assert_eq!(budget.used(), MAX_UNREAD_UNACCEPTED);
        let cap = MAX_UNREAD_UNACCEPTED;
        assert_eq!(stream.fill(1), Err(StreamError::UnreadOverflow { cap }));
        assert_eq!(budget.used(), 0);
        assert!(!is_exceeded(&budget));
    }

    #[test]
    fn accepted_stream_may_hold_more() {
        let budget = Arc::default();
        let mut stream = Subject::unaccepted(&budget);
        stream.fill(MAX_UNREAD_UNACCEPTED).expect("fits");
        stream.received.accept();
        let rest = MAX_UNREAD - MAX_UNREAD_UNACCEPTED;
        stream.fill(rest).expect("fits");
        let overflow = StreamError::UnreadOverflow { cap: MAX_UNREAD };
        assert_eq!(stream.fill(1), Err(overflow));
    }

    #[test]
    fn connection_is_closed_after_many_overflows() {
        let budget = Arc::default();
        for _ in 0..MAX_OVERFLOWS {
            let mut stream = Subject::unaccepted(&budget);
            assert!(stream.fill(MAX_UNREAD_UNACCEPTED + 1).is_err());
            assert!(stream.fill(MAX_UNREAD).is_ok(), "a reset stream is ignored");
        }
        assert!(!is_exceeded(&budget));
        let mut one_more = Subject::unaccepted(&budget);
        assert!(one_more.fill(MAX_UNREAD_UNACCEPTED + 1).is_err());
        assert!(is_exceeded(&budget), "the connection has to be closed");
    }

    #[test]
    fn connection_is_closed_beyond_its_limit() {
        let budget = Arc::default();
        let mut full = [(); 4].map(|()| Subject::new(&budget));
        for stream in &mut full {
            stream.fill(MAX_UNREAD_PER_CONNECTION / 4).expect("fits");
        }
        assert_eq!(budget.used(), MAX_UNREAD_PER_CONNECTION);
        assert!(!is_exceeded(&budget));
        let cap = MAX_UNREAD_PER_CONNECTION;
        let error = Subject::new(&budget).fill(1);
        assert_eq!(error, Err(StreamError::ConnectionOverflow { cap }));
        assert!(is_exceeded(&budget), "the connection has to be closed");
        assert_eq!(budget.used(), MAX_UNREAD_PER_CONNECTION);
    }

    #[test]
    fn reading_returns_the_budget() {
        let budget = Arc::default();
        let mut stream = Subject::new(&budget);
        for _ in 0..10 {
            stream.fill(MAX_UNREAD).expect("fits");
            assert_eq!(stream.received.read(&mut [0; 1]), 1);
            assert_eq!(budget.used(), MAX_UNREAD - 1);
            let mut rest = vec![0; MAX_UNREAD];
            assert_eq!(stream.received.read(&mut rest), MAX_UNREAD - 1);
            assert_eq!(budget.used(), 0);
        }
        assert_eq!(stream.received.unread.capacity(), 0, "and the memory");
    }

    #[test]
    fn dropped_stream_holds_nothing() {
        let budget = Arc::default();
        let mut stream = Subject::new(&budget);
        stream.fill(MAX_UNREAD).expect("fits");
        stream.lifecycle.finish().expect("open stream");
        stream.receive(&encode_flag(Flag::Fin)).expect("a flag");
        assert_eq!(budget.used(), MAX_UNREAD, "a reader may still read it");
        stream.lifecycle.abandon();
        stream.received.discard();
        assert_eq!(budget.used(), 0);
        assert_eq!(stream.received.unread.capacity(), 0);
        drop(stream);
        assert_eq!(budget.used(), 0, "returned only once");
    }

    #[test]
    fn payload_without_a_reader_is_dropped() {
        let budget = Arc::default();
        // The channel of a handshake stays open, and the peer is not notified that it has no reader.
        let mut stream = Subject::new(&budget);
        stream.received.discard();
        stream.fill(MAX_UNREAD * 2).expect("nothing overflows");
        assert_eq!(budget.used(), 0);
        let answer = stream.receive(&encode_flag(Flag::Fin));
        assert_eq!(answer, Ok(vec![Flag::FinAck]), "flags still take effect");
    }

    #[test]
    fn reset_drops_unread_bytes() {
        let budget = Arc::default();
        let mut stream = Subject::new(&budget);
        stream.fill(MAX_UNREAD).expect("fits");
        stream.receive(&encode_flag(Flag::Reset)).expect("a flag");
        assert_eq!(budget.used(), 0);
        assert_eq!(stream.received.unread.capacity(), 0);
    }

    #[test]
    fn failed_stream_ignores_further_messages() {
        let budget = Arc::default();
        let mut stream = Subject::new(&budget);
        assert!(stream.receive(&[0xFF; 11]).is_err());
        for _ in 0..100 {
            assert_eq!(stream.receive(&[0xFF; 65_536]), Ok(Vec::new()));
        }
        assert_eq!(stream.received.decoder.unfinished(), 0);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn incomplete_frames_count_against_the_budget() {
        let budget = Arc::default();
        let frame = payload(FrameLimit::SPEC.max_payload());
        let (_, part) = frame.split_last().expect("not empty");
        let mut streams = Vec::new();
        while (streams.len() + 1) * part.len() <= MAX_UNREAD_PER_CONNECTION {
            let mut stream = Subject::new(&budget);
            stream.receive(part).expect("fits");
            streams.push(stream);
        }
        assert_eq!(budget.used(), streams.len() * part.len());
        let error = Subject::new(&budget).receive(part);
        let cap = MAX_UNREAD_PER_CONNECTION;
        assert_eq!(error, Err(StreamError::ConnectionOverflow { cap }));
        drop(streams);
        assert_eq!(budget.used(), 0);
    }
}
