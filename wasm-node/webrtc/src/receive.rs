//! What arrived on one data channel and its reader has not taken yet: the frame decoder and the unread bytes, bounded
//! for each stream and for all streams of a connection.
//!
//! It never touches a data channel and never decides what a flag means (`state.rs` does). A data channel has no flow
//! control towards its sender, so each bound here is the only one that its peer meets.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use futures::task::AtomicWaker;

use crate::frame::{Decoder, Flag};
use crate::state::{Lifecycle, StreamError};

/// The most bytes that wait for their reader on one stream. Beyond this the stream is reset rather than the tab's
/// memory filled. 1 MiB is what a busy tab may leave unread of a stream at full speed for 50 ms and more.
pub const MAX_UNREAD: usize = 1024 * 1024;

/// The most bytes that wait for their readers on all streams of a connection, unfinished frames included. Beyond this
/// the connection is closed: libp2p reads as soon as it runs, so a peer that fills four streams to the brim floods.
/// Without this bound 1,024 channels could hold 1 GiB. 24 peers can hold 96 MiB at the most.
pub const MAX_UNREAD_PER_CONNECTION: usize = 4 * MAX_UNREAD;

/// The bytes that all streams of one connection hold for their readers.
#[derive(Debug, Default)]
pub(crate) struct ReceiveBudget {
    used: Cell<usize>,
    exceeded: Cell<bool>,
    watcher: AtomicWaker,
}

impl ReceiveBudget {
    /// Bytes held now.
    pub(crate) fn used(&self) -> usize {
        self.used.get()
    }

    /// Ready once the peer has sent more than the connection may hold.
    pub(crate) fn poll_exceeded(&self, context: &Context<'_>) -> Poll<()> {
        self.watcher.register(context.waker());
        if self.exceeded.get() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Replaces a stream's share of `before` bytes by one of `after`; false: that is too much, and nothing changed.
    fn exchange(&self, before: usize, after: usize) -> bool {
        let used = self.used.get().saturating_sub(before).saturating_add(after);
        if used > MAX_UNREAD_PER_CONNECTION && after > before {
            self.exceeded.set(true);
            self.watcher.wake();
            return false;
        }
        self.used.set(used);
        true
    }
}

/// The receiving side of one stream. Dropping it gives its share of the budget back.
#[derive(Debug)]
pub(crate) struct ReceiveBuffer {
    decoder: Decoder,
    unread: BytesMut,
    /// No frame is decoded any more: the stream broke here.
    failed: bool,
    /// No reader is left: payload is dropped as it comes, flags still count.
    unwanted: bool,
    budget: Rc<ReceiveBudget>,
    /// This stream's part of the budget.
    share: usize,
}

impl ReceiveBuffer {
    pub(crate) fn new(budget: Rc<ReceiveBudget>) -> Self {
        Self {
            decoder: Decoder::default(),
            unread: BytesMut::new(),
            failed: false,
            unwanted: false,
            budget,
            share: 0,
        }
    }

    /// Whether there is anything to read.
    pub(crate) fn is_empty(&self) -> bool {
        self.unread.is_empty()
    }

    /// Moves as much as fits into `buffer`; returns how many bytes.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> usize {
        let read = buffer.len().min(self.unread.len());
        let (filled, _) = buffer.split_at_mut(read);
        self.unread.copy_to_slice(filled);
        if self.unread.is_empty() {
            // An emptied buffer keeps its allocation, which may be of the whole bound.
            self.unread = BytesMut::new();
        }
        self.settle();
        read
    }

    /// Takes in one message from the peer; returns the flags to answer with.
    ///
    /// # Errors
    /// When the stream cannot go on. Then nothing is held any more, and all later messages are ignored.
    pub(crate) fn take_in(
        &mut self,
        life: &mut Lifecycle,
        message: &[u8],
    ) -> Result<Vec<Flag>, StreamError> {
        if self.failed {
            return Ok(Vec::new());
        }
        let answers = self.decode(life, message);
        if answers.is_err() {
            self.fail();
        }
        answers
    }

    /// The stream broke: lets go of everything, and ignores what else comes.
    pub(crate) fn fail(&mut self) {
        self.failed = true;
        self.decoder = Decoder::default();
        self.discard();
    }

    /// There is no reader any more: lets go of what is unread, and of all payload that is still to come.
    pub(crate) fn discard(&mut self) {
        self.unwanted = true;
        self.unread = BytesMut::new();
        self.settle();
    }

    fn decode(&mut self, life: &mut Lifecycle, message: &[u8]) -> Result<Vec<Flag>, StreamError> {
        let mut answers = Vec::new();
        self.decoder.push(message);
        while let Some(frame) = self.decoder.next_frame()? {
            if life.takes_data() && !self.unwanted {
                self.keep(&frame.payload)?;
            }
            if let Some(flag) = frame.flag {
                answers.extend(life.receive(flag));
            }
            if life.check_readable().is_err() {
                self.discard();
            }
        }
        self.charge(self.unread.len())?;
        Ok(answers)
    }

    fn keep(&mut self, payload: &[u8]) -> Result<(), StreamError> {
        let unread = self.unread.len().saturating_add(payload.len());
        if unread > MAX_UNREAD {
            return Err(StreamError::UnreadOverflow { cap: MAX_UNREAD });
        }
        self.charge(unread)?;
        self.unread.extend_from_slice(payload);
        Ok(())
    }

    /// Puts `unread` bytes and the unfinished frame on the connection's account.
    fn charge(&mut self, unread: usize) -> Result<(), StreamError> {
        let share = unread.saturating_add(self.decoder.unfinished());
        if !self.budget.exchange(self.share, share) {
            return Err(StreamError::ConnectionOverflow {
                cap: MAX_UNREAD_PER_CONNECTION,
            });
        }
        self.share = share;
        Ok(())
    }

    /// Puts what is held, which became less, on the connection's account.
    fn settle(&mut self) {
        let share = self
            .unread
            .len()
            .saturating_add(self.decoder.unfinished())
            .min(self.share);
        self.budget.exchange(self.share, share);
        self.share = share;
    }
}

impl Drop for ReceiveBuffer {
    fn drop(&mut self) {
        self.budget.exchange(self.share, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::frame::{FrameLimit, encode_flag, encode_payload};
    use crate::state::Dialect;

    struct Subject {
        life: Lifecycle,
        received: ReceiveBuffer,
    }

    impl Subject {
        fn new(budget: &Rc<ReceiveBudget>) -> Self {
            Self {
                life: Lifecycle::new(Dialect::FinAck),
                received: ReceiveBuffer::new(Rc::clone(budget)),
            }
        }

        fn take_in(&mut self, message: &[u8]) -> Result<Vec<Flag>, StreamError> {
            self.received.take_in(&mut self.life, message)
        }

        /// Takes in so many bytes of payload, in frames as they come.
        fn fill(&mut self, bytes: usize) -> Result<(), StreamError> {
            let mut left = bytes;
            while left > 0 {
                let part = left.min(FrameLimit::SPEC.max_payload());
                self.take_in(&payload(part))?;
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
    fn stream_holds_up_to_its_bound() {
        let budget = Rc::default();
        let mut stream = Subject::new(&budget);
        stream.fill(MAX_UNREAD).expect("fits");
        assert_eq!(budget.used(), MAX_UNREAD);
        let overflow = StreamError::UnreadOverflow { cap: MAX_UNREAD };
        assert_eq!(stream.fill(1), Err(overflow));
        assert_eq!(budget.used(), 0, "a broken stream holds nothing");
        assert!(!is_exceeded(&budget));
    }

    #[test]
    fn connection_holds_up_to_its_bound() {
        let budget = Rc::default();
        let mut full = [(); 4].map(|()| Subject::new(&budget));
        for stream in &mut full {
            stream.fill(MAX_UNREAD).expect("fits");
        }
        assert_eq!(budget.used(), MAX_UNREAD_PER_CONNECTION);
        assert!(!is_exceeded(&budget));
        let cap = MAX_UNREAD_PER_CONNECTION;
        let error = Subject::new(&budget).fill(1);
        assert_eq!(error, Err(StreamError::ConnectionOverflow { cap }));
        assert!(is_exceeded(&budget), "the connection is to be closed");
        assert_eq!(budget.used(), MAX_UNREAD_PER_CONNECTION);
    }

    #[test]
    fn reading_gives_the_budget_back() {
        let budget = Rc::default();
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
        let budget = Rc::default();
        let mut stream = Subject::new(&budget);
        stream.fill(MAX_UNREAD).expect("fits");
        stream.life.finish().expect("open stream");
        stream.take_in(&encode_flag(Flag::Fin)).expect("a flag");
        assert_eq!(budget.used(), MAX_UNREAD, "its reader may still come");
        stream.life.abandon();
        stream.received.discard();
        assert_eq!(budget.used(), 0);
        assert_eq!(stream.received.unread.capacity(), 0);
        drop(stream);
        assert_eq!(budget.used(), 0, "given back once");
    }

    #[test]
    fn data_without_a_reader_is_dropped_as_it_comes() {
        let budget = Rc::default();
        // A handshake's channel stays open without telling the peer anything.
        let mut stream = Subject::new(&budget);
        stream.received.discard();
        stream.fill(MAX_UNREAD * 2).expect("nothing overflows");
        assert_eq!(budget.used(), 0);
        let answer = stream.take_in(&encode_flag(Flag::Fin));
        assert_eq!(answer, Ok(vec![Flag::FinAck]), "flags still count");
    }

    #[test]
    fn reset_lets_go_of_what_is_unread() {
        let budget = Rc::default();
        let mut stream = Subject::new(&budget);
        stream.fill(MAX_UNREAD).expect("fits");
        stream.take_in(&encode_flag(Flag::Reset)).expect("a flag");
        assert_eq!(budget.used(), 0);
        assert_eq!(stream.received.unread.capacity(), 0);
    }

    #[test]
    fn malformed_stream_keeps_nothing_of_what_follows() {
        let budget = Rc::default();
        let mut stream = Subject::new(&budget);
        assert!(stream.take_in(&[0xFF; 11]).is_err());
        for _ in 0..100 {
            assert_eq!(stream.take_in(&[0xFF; 65_536]), Ok(Vec::new()));
        }
        assert_eq!(stream.received.decoder.unfinished(), 0);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn unfinished_frames_count() {
        let budget = Rc::default();
        let frame = payload(FrameLimit::SPEC.max_payload());
        let (_, part) = frame.split_last().expect("not empty");
        let mut streams = Vec::new();
        while (streams.len() + 1) * part.len() <= MAX_UNREAD_PER_CONNECTION {
            let mut stream = Subject::new(&budget);
            stream.take_in(part).expect("fits");
            streams.push(stream);
        }
        assert_eq!(budget.used(), streams.len() * part.len());
        let error = Subject::new(&budget).take_in(part);
        let cap = MAX_UNREAD_PER_CONNECTION;
        assert_eq!(error, Err(StreamError::ConnectionOverflow { cap }));
        drop(streams);
        assert_eq!(budget.used(), 0);
    }
}
