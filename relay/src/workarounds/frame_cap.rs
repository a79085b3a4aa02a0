//! A [`StreamMuxer`] wrapper for WebRTC-direct that sends each frame as a data channel message of at most 8 KiB.
//!
//! **Bug:** a libp2p stream over a data channel wraps every write into a frame, and each frame should be one message of
//! the data channel. The stream of libp2p-webrtc-utils 0.5.0 (used by libp2p-webrtc 0.10.0-alpha) buffers frames until
//! it is flushed, so two writes in a row leave as one message. That message may be larger than the remote accepts, and
//! then the connection breaks ([rust-libp2p #6557], [#6560], [#6551]). It may also be larger than the 8 KiB that
//! `webrtc-data` reads at once ([#4049]).
//!
//! **Fix:** a write is cut to what fits into [`MAX_FRAME_LEN`], and the previous frame is flushed first. The bytes that
//! the stream carries stay the same, and reads are passed through.
//!
//! **Remove when** a release of libp2p-webrtc sends each frame as a message of its own, and no longer than the receiver
//! reads: when these issues are closed and their fixes released.
//!
//! [rust-libp2p #6557]: https://github.com/libp2p/rust-libp2p/issues/6557
//! [#6560]: https://github.com/libp2p/rust-libp2p/issues/6560
//! [#6551]: https://github.com/libp2p/rust-libp2p/issues/6551
//! [#4049]: https://github.com/libp2p/rust-libp2p/issues/4049

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};

/// Largest data channel message that is sent, in bytes: the size that `webrtc-data` reads at once.
pub const MAX_FRAME_LEN: usize = 8 * 1024;

/// Overhead of a frame, in bytes: the varint length of the frame (2), the flag field (2), and the key (1) and varint
/// length (2) of the message field.
const FRAME_OVERHEAD: usize = 7;

/// Largest payload of one frame, in bytes.
pub const MAX_PAYLOAD_LEN: usize = MAX_FRAME_LEN - FRAME_OVERHEAD;

/// A muxer whose streams are [`CappedStream`]s.
#[derive(Debug)]
pub struct CappedMuxer<M> {
    inner: M,
}

impl<M> CappedMuxer<M> {
    /// Wraps a muxer, so that all of its streams are capped.
    pub fn new(inner: M) -> Self {
        Self { inner }
    }
}

impl<M: StreamMuxer + Unpin> StreamMuxer for CappedMuxer<M>
where
    M::Substream: Unpin,
{
    type Substream = CappedStream<M::Substream>;
    type Error = M::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        Pin::new(&mut self.inner)
            .poll_inbound(cx)
            .map_ok(CappedStream::new)
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        Pin::new(&mut self.inner)
            .poll_outbound(cx)
            .map_ok(CappedStream::new)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

/// A stream that writes at most [`MAX_PAYLOAD_LEN`] bytes to the inner stream between two flushes.
#[derive(Debug)]
pub struct CappedStream<S> {
    inner: S,
    /// Whether `inner` may buffer a frame that is not sent yet.
    frame_buffered: bool,
}

impl<S> CappedStream<S> {
    fn new(inner: S) -> Self {
        Self {
            inner,
            frame_buffered: false,
        }
    }
}

impl<S: AsyncWrite + Unpin> CappedStream<S> {
    /// Flushes the buffered frame, if there is one.
    fn poll_frame_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.frame_buffered {
            ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
            self.frame_buffered = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CappedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CappedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_frame_sent(cx))?;
        let payload = buf.get(..MAX_PAYLOAD_LEN).unwrap_or(buf);
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, payload))?;
        self.frame_buffered = written > 0;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        self.frame_buffered = false;
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Closing sends another frame.
        ready!(self.poll_frame_sent(cx))?;
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{Arc, Mutex},
    };

    use futures::{AsyncWriteExt, executor::block_on, future::poll_fn};

    use super::*;

    /// Mimics the stream of libp2p-webrtc-utils: writes are buffered, and a flush sends them as one message. Every
    /// other flush is pending first, as with a full send queue.
    #[derive(Debug, Default)]
    struct BufferingStream {
        buffered: Vec<u8>,
        sent: Arc<Mutex<Vec<Vec<u8>>>>,
        flush_was_pending: bool,
    }

    impl AsyncRead for BufferingStream {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(0))
        }
    }

    impl AsyncWrite for BufferingStream {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.buffered.extend_from_slice(buf);
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.buffered.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.flush_was_pending = !self.flush_was_pending;
            if self.flush_was_pending {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let message = std::mem::take(&mut self.buffered);
            self.sent
                .lock()
                .expect("no test thread panics")
                .push(message);
            Poll::Ready(Ok(()))
        }

        fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.buffered.extend_from_slice(b"FIN");
            while self.as_mut().poll_flush(cx).is_pending() {}
            Poll::Ready(Ok(()))
        }
    }

    /// A muxer whose streams are [`BufferingStream`]s.
    #[derive(Debug, Default)]
    struct InMemoryMuxer {
        sent: Arc<Mutex<Vec<Vec<u8>>>>,
    }

    impl StreamMuxer for InMemoryMuxer {
        type Substream = BufferingStream;
        type Error = Infallible;

        fn poll_inbound(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Result<BufferingStream, Infallible>> {
            Poll::Ready(Ok(BufferingStream {
                sent: Arc::clone(&self.sent),
                ..BufferingStream::default()
            }))
        }

        fn poll_outbound(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Result<BufferingStream, Infallible>> {
            self.poll_inbound(cx)
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn poll(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Result<StreamMuxerEvent, Infallible>> {
            Poll::Pending
        }
    }

    type Sent = Arc<Mutex<Vec<Vec<u8>>>>;

    fn messages(sent: &Sent) -> Vec<Vec<u8>> {
        sent.lock().expect("no test thread panics").clone()
    }

    fn stream(inbound: bool) -> (CappedStream<BufferingStream>, Sent) {
        let muxer = InMemoryMuxer::default();
        let sent = Arc::clone(&muxer.sent);
        let mut muxer = CappedMuxer::new(muxer);
        let stream = block_on(poll_fn(|cx| {
            let muxer = Pin::new(&mut muxer);
            if inbound {
                muxer.poll_inbound(cx)
            } else {
                muxer.poll_outbound(cx)
            }
        }));
        let Ok(stream) = stream;
        (stream, sent)
    }

    #[test]
    fn large_write_is_split_in_order() {
        for inbound in [true, false] {
            let (mut stream, sent) = stream(inbound);
            let data: Vec<u8> = (0..100_000_u32).map(|i| i.to_le_bytes()[0]).collect();

            block_on(async {
                stream.write_all(&data).await?;
                stream.flush().await
            })
            .expect("memory does not fail");

            let sent = messages(&sent);
            assert!(sent.iter().all(|message| message.len() <= MAX_PAYLOAD_LEN));
            assert_eq!(sent.len(), data.len().div_ceil(MAX_PAYLOAD_LEN));
            assert_eq!(sent.concat(), data);
        }
    }

    #[test]
    fn writes_are_never_merged() {
        let (mut stream, sent) = stream(true);
        block_on(async {
            stream.write_all(&[1; MAX_PAYLOAD_LEN]).await?;
            stream.write_all(&[2; MAX_PAYLOAD_LEN]).await?;
            stream.write_all(&[3]).await?;
            stream.flush().await
        })
        .expect("memory does not fail");

        let lengths: Vec<usize> = messages(&sent).iter().map(Vec::len).collect();
        assert_eq!(lengths, [MAX_PAYLOAD_LEN, MAX_PAYLOAD_LEN, 1]);
    }

    #[test]
    fn close_frame_is_not_merged_with_data() {
        let (mut stream, sent) = stream(true);
        block_on(async {
            stream.write_all(&[1; MAX_PAYLOAD_LEN]).await?;
            stream.close().await
        })
        .expect("memory does not fail");

        assert_eq!(messages(&sent), [vec![1; MAX_PAYLOAD_LEN], b"FIN".to_vec()]);
    }
}
