//! An encrypted stream. What waits in it is bounded, and it holds no memory while nothing waits.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};
use snow::TransportState;

use super::wire::{LENGTH_BYTES, TAG_BYTES, set_length};

/// Bytes that may wait to be encrypted. The WebSocket keeps a buffer of that size, and less costs more calls of the system
/// for each byte of a circuit.
const MAX_UNSENT_BYTES: usize = 2 * 1024;
/// Bytes by which the room for a message grows while it arrives. So a peer that announces a long one and sends nothing
/// costs no more than a short one.
const READ_STEP_BYTES: usize = 4 * 1024;
/// Empty messages that one call reads. Behind these, other tasks run first.
const MAX_EMPTY_MESSAGES: usize = 64;

/// A stream that encrypts what is written, and decrypts what is read.
pub(crate) struct Secured<S> {
    inner: S,
    noise: Box<TransportState>,
    arriving: Arriving,
    /// Decrypted bytes, and how many of them were read.
    opened: Vec<u8>,
    read: usize,
    /// What was written and is not encrypted yet.
    unsent: Vec<u8>,
    /// An encrypted message, and how much of it was written.
    sealed: Vec<u8>,
    written: usize,
    /// Whether a message could not be encrypted or decrypted. The stream is of no use then.
    has_failed: bool,
}

/// The message that arrives.
#[derive(Debug)]
enum Arriving {
    /// The first byte of its length, when that has arrived alone.
    Length(Option<u8>),
    /// What has arrived of the message so far.
    Message { length: usize, bytes: Vec<u8> },
}

impl<S> Secured<S> {
    pub(super) fn new(inner: S, noise: TransportState) -> Self {
        Self {
            inner,
            noise: Box::new(noise),
            arriving: Arriving::Length(None),
            opened: Vec::new(),
            read: 0,
            unsent: Vec::new(),
            sealed: Vec::new(),
            written: 0,
            has_failed: false,
        }
    }

    fn check(&self) -> io::Result<()> {
        if self.has_failed {
            return Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "an earlier message could not be encrypted or decrypted",
            ));
        }
        Ok(())
    }

    /// Encrypts what waits.
    fn seal(&mut self) -> io::Result<()> {
        let unsent = std::mem::take(&mut self.unsent);
        let mut sealed = vec![0; LENGTH_BYTES + unsent.len() + TAG_BYTES];
        let length = self
            .noise
            .write_message(&unsent, &mut sealed[LENGTH_BYTES..])
            .inspect_err(|_| self.has_failed = true)
            .map_err(io::Error::other)?;
        sealed.truncate(LENGTH_BYTES + length);
        set_length(&mut sealed)?;
        (self.sealed, self.written) = (sealed, 0);
        Ok(())
    }

    /// Decrypts a message.
    fn open(&mut self, message: &[u8]) -> io::Result<()> {
        let mut opened = vec![0; message.len()];
        let length = self
            .noise
            .read_message(message, &mut opened)
            .inspect_err(|_| self.has_failed = true)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        opened.truncate(length);
        (self.opened, self.read) = (opened, 0);
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> Secured<S> {
    /// The next message, still encrypted; `None` at the end of the stream.
    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
        loop {
            match &mut self.arriving {
                Arriving::Length(first) => {
                    let mut bytes = [0; LENGTH_BYTES];
                    let have = usize::from(first.is_some());
                    let wanted = &mut bytes[have..];
                    let count = ready!(Pin::new(&mut self.inner).poll_read(context, wanted))?;
                    let [one, other] = bytes;
                    match (*first, count) {
                        (None, 0) => return Poll::Ready(Ok(None)),
                        (Some(_), 0) => return Poll::Ready(Err(cut_off())),
                        (None, 1) => *first = Some(one),
                        (first, _) => {
                            let length = u16::from_be_bytes([first.unwrap_or(one), other]);
                            self.arriving = Arriving::Message {
                                length: usize::from(length),
                                bytes: Vec::new(),
                            };
                        }
                    }
                }
                Arriving::Message { length, bytes } => {
                    let have = bytes.len();
                    let missing = length.saturating_sub(have);
                    if missing == 0 {
                        let message = std::mem::take(bytes);
                        self.arriving = Arriving::Length(None);
                        return Poll::Ready(Ok(Some(message)));
                    }
                    bytes.resize(have + missing.min(READ_STEP_BYTES), 0);
                    let outcome = Pin::new(&mut self.inner).poll_read(context, &mut bytes[have..]);
                    let count = match &outcome {
                        Poll::Ready(Ok(count)) => *count,
                        Poll::Ready(Err(_)) | Poll::Pending => 0,
                    };
                    bytes.truncate(have + count);
                    if ready!(outcome)? == 0 {
                        return Poll::Ready(Err(cut_off()));
                    }
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Secured<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check()?;
        // A message may be empty.
        let mut empty = 0;
        while this.opened.is_empty() {
            if empty == MAX_EMPTY_MESSAGES {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            empty += 1;
            match ready!(this.poll_message(context))? {
                Some(message) => this.open(&message)?,
                None => return Poll::Ready(Ok(0)),
            }
        }
        let unread = &this.opened[this.read..];
        let count = unread.len().min(buffer.len());
        buffer[..count].copy_from_slice(&unread[..count]);
        this.read += count;
        if this.read == this.opened.len() {
            (this.opened, this.read) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncWrite + Unpin> Secured<S> {
    /// Encrypts what waits, and writes it to the inner stream.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        loop {
            while self.written < self.sealed.len() {
                let rest = &self.sealed[self.written..];
                let count = ready!(Pin::new(&mut self.inner).poll_write(context, rest))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.written += count;
            }
            (self.sealed, self.written) = (Vec::new(), 0);
            if self.unsent.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.seal()?;
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Secured<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        if self.unsent.len() >= MAX_UNSENT_BYTES {
            ready!(self.as_mut().poll_flush(context))?;
        }
        let room = MAX_UNSENT_BYTES.saturating_sub(self.unsent.len());
        let count = bytes.len().min(room);
        self.unsent.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.inner).poll_close(context)
    }
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "a message was cut off")
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _};
    use snow::HandshakeState;

    use super::*;
    use crate::noise::wire::builder;

    impl<S> Secured<S> {
        /// Bytes of memory for what waits.
        pub(in crate::noise) fn held_bytes(&self) -> usize {
            let arriving = match &self.arriving {
                Arriving::Length(_) => 0,
                Arriving::Message { bytes, .. } => bytes.capacity(),
            };
            [&self.opened, &self.unsent, &self.sealed]
                .iter()
                .fold(arriving, |sum, bytes| sum + bytes.capacity())
        }
    }

    /// Keeps what is written, and has to be polled again when it has nothing to read.
    #[derive(Debug, Default)]
    struct Kept {
        written: Vec<u8>,
        readable: VecDeque<u8>,
        is_closed: bool,
    }

    impl AsyncRead for Kept {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            if self.readable.is_empty() && !self.is_closed {
                return Poll::Pending;
            }
            let count = self.readable.len().min(buffer.len());
            for (byte, read) in buffer.iter_mut().zip(self.readable.drain(..count)) {
                *byte = read;
            }
            Poll::Ready(Ok(count))
        }
    }

    impl AsyncWrite for Kept {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.written.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Both ends of an encrypted stream.
    fn ends() -> [Secured<Kept>; 2] {
        let noise = |keys: &snow::Keypair| {
            let builder = builder().expect("the pattern is known");
            let private = keys.private.clone();
            (builder, private)
        };
        let keys = builder().and_then(|builder| builder.generate_keypair());
        let keys = keys.expect("a key");
        let (initiating, private) = noise(&keys);
        let initiating = initiating.local_private_key(&private).expect("a key");
        let mut one = initiating.build_initiator().expect("all is given");
        let (responding, private) = noise(&keys);
        let responding = responding.local_private_key(&private).expect("a key");
        let mut other = responding.build_responder().expect("all is given");
        let pass = |from: &mut HandshakeState, to: &mut HandshakeState| {
            let (mut message, mut payload) = ([0; 256], [0; 256]);
            let length = from.write_message(&[], &mut message).expect("its turn");
            to.read_message(&message[..length], &mut payload)
                .expect("a valid message");
        };
        pass(&mut one, &mut other);
        pass(&mut other, &mut one);
        pass(&mut one, &mut other);
        [one, other].map(|noise| {
            let noise = noise.into_transport_mode().expect("it is finished");
            Secured::new(Kept::default(), noise)
        })
    }

    /// Lengths of the messages in an encrypted stream.
    fn lengths(mut stream: &[u8]) -> Vec<usize> {
        let mut lengths = Vec::new();
        while let Some((length, rest)) = stream.split_first_chunk() {
            let length = usize::from(u16::from_be_bytes(*length));
            lengths.push(length - TAG_BYTES);
            stream = &rest[length..];
        }
        lengths
    }

    fn write(stream: &mut Secured<Kept>, bytes: &[u8]) {
        let written = stream.write_all(bytes).now_or_never();
        written.expect("there is room").expect("it never fails");
    }

    fn flush(stream: &mut Secured<Kept>) {
        let flushed = stream.flush().now_or_never();
        flushed.expect("there is room").expect("it never fails");
    }

    #[test]
    fn large_writes_become_small_messages() {
        let [mut from, _] = ends();
        write(&mut from, &[7; 2 * MAX_UNSENT_BYTES + 5]);
        assert_eq!(lengths(&from.inner.written), [MAX_UNSENT_BYTES; 2]);
        flush(&mut from);
        let sent = [MAX_UNSENT_BYTES, MAX_UNSENT_BYTES, 5];
        assert_eq!(lengths(&from.inner.written), sent);
        assert_eq!(from.held_bytes(), 0);
    }

    #[test]
    fn small_writes_become_one_message() {
        let [mut from, _] = ends();
        for _ in 0..2 {
            write(&mut from, &[7; MAX_UNSENT_BYTES / 2]);
        }
        assert!(from.inner.written.is_empty());
        flush(&mut from);
        flush(&mut from);
        assert_eq!(lengths(&from.inner.written), [MAX_UNSENT_BYTES]);
    }

    #[test]
    fn changed_and_cut_messages_are_refused() {
        for (position, cut) in [(0, true), (1, true), (2, true), (2, false), (9, false)] {
            let [mut from, mut to] = ends();
            write(&mut from, &[7; 10]);
            flush(&mut from);
            let mut bytes = std::mem::take(&mut from.inner.written);
            if cut {
                bytes.truncate(position + 1);
            } else {
                bytes[position] ^= 1;
            }
            to.inner.readable.extend(bytes);
            to.inner.is_closed = true;
            let read = to.read(&mut [0; 10]).now_or_never().expect("at once");
            let kind = if cut {
                io::ErrorKind::UnexpectedEof
            } else {
                io::ErrorKind::InvalidData
            };
            assert_eq!(read.map_err(|error| error.kind()), Err(kind));
            if cut {
                continue;
            }
            // What follows a changed message is not read, and no answer is sent.
            from.inner.written.clear();
            write(&mut from, b"next");
            flush(&mut from);
            to.inner.readable.extend(&from.inner.written);
            let read = to.read(&mut [0; 10]).now_or_never().expect("at once");
            let written = to.write(b"answer").now_or_never().expect("at once");
            let flushed = to.flush().now_or_never().expect("at once");
            for outcome in [read.map(drop), written.map(drop), flushed] {
                let kind = outcome.map_err(|error| error.kind());
                assert_eq!(kind, Err(io::ErrorKind::BrokenPipe));
            }
        }
    }

    #[test]
    fn empty_messages_let_other_tasks_run() {
        let [mut from, mut to] = ends();
        for _ in 0..MAX_EMPTY_MESSAGES {
            from.seal().expect("it encrypts");
            flush(&mut from);
        }
        write(&mut from, b"all");
        flush(&mut from);
        to.inner.readable.extend(&from.inner.written);
        let mut read = [0; 10];
        assert!(to.read(&mut read).now_or_never().is_none());
        let count = to.read(&mut read).now_or_never().expect("at once");
        assert_eq!(count.expect("valid messages"), 3);
    }

    #[test]
    fn empty_messages_are_skipped() {
        let [mut from, mut to] = ends();
        from.seal().expect("it encrypts");
        flush(&mut from);
        write(&mut from, b"all");
        flush(&mut from);
        assert_eq!(lengths(&from.inner.written), [0, 3]);
        to.inner.readable.extend(&from.inner.written);
        let mut read = [0; 10];
        let count = to.read(&mut read).now_or_never().expect("at once");
        assert_eq!(&read[..count.expect("valid messages")], b"all");
    }

    #[test]
    fn announced_messages_cost_little() {
        let [_, mut to] = ends();
        to.inner.readable.extend(u16::MAX.to_be_bytes());
        to.inner.readable.push_back(7);
        assert!(to.read(&mut [0]).now_or_never().is_none());
        assert!(to.held_bytes() <= 2 * READ_STEP_BYTES);
    }
}
