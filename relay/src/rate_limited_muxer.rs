//! A [`StreamMuxer`] wrapper that limits how many streams and reads one connection gets, and counts its bytes.
//!
//! A connection over its rate is slowed down, not closed: its streams wait in the multiplexer, whose own limits stop the
//! remote. So a busy tab comes to no harm, and a peer that floods the relay with identify pushes or pings costs it no
//! more than a busy tab.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Instant,
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use tokio::time::{Sleep, sleep};

use crate::{limits::Limits, metrics::TransportBytes, token_bucket::TokenBucket};

/// A muxer whose inbound streams and reads are limited.
#[derive(Debug)]
pub(crate) struct RateLimitedMuxer<M> {
    inner: M,
    streams: Pacer,
    reads: SharedBucket,
    bytes: TransportBytes,
}

/// A stream of a [`RateLimitedMuxer`].
#[derive(Debug)]
pub(crate) struct RateLimitedStream<S> {
    inner: S,
    reads: Pacer,
    bytes: TransportBytes,
}

type SharedBucket = Arc<Mutex<TokenBucket>>;

/// Makes a task wait while its bucket is empty.
#[derive(Debug)]
struct Pacer {
    bucket: SharedBucket,
    /// Set while the bucket is empty. Boxed, because most streams never wait.
    wait: Option<Pin<Box<Sleep>>>,
}

impl Pacer {
    fn new(bucket: SharedBucket) -> Self {
        Self { bucket, wait: None }
    }

    /// Ready if there is a token. Takes none.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(wait) = &mut self.wait {
                ready!(wait.as_mut().poll(context));
                self.wait = None;
            }
            let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
            match bucket.wait(Instant::now()) {
                None => return Poll::Ready(()),
                Some(wait) => self.wait = Some(Box::pin(sleep(wait))),
            }
        }
    }

    fn take(&self) {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.try_take(Instant::now());
    }
}

impl<M> RateLimitedMuxer<M> {
    pub(crate) fn new(inner: M, limits: &Limits, bytes: TransportBytes) -> Self {
        let now = Instant::now();
        let bucket = |config| Arc::new(Mutex::new(TokenBucket::new(config, now)));
        Self {
            inner,
            streams: Pacer::new(bucket(limits.stream_bucket())),
            reads: bucket(limits.read_bucket()),
            bytes,
        }
    }

    fn stream<S>(&self, inner: S) -> RateLimitedStream<S> {
        RateLimitedStream {
            inner,
            reads: Pacer::new(Arc::clone(&self.reads)),
            bytes: self.bytes.clone(),
        }
    }
}

impl<M: StreamMuxer + Unpin> StreamMuxer for RateLimitedMuxer<M>
where
    M::Substream: Unpin,
{
    type Substream = RateLimitedStream<M::Substream>;
    type Error = M::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        ready!(self.streams.poll_ready(context));
        let stream = ready!(Pin::new(&mut self.inner).poll_inbound(context))?;
        self.streams.take();
        Poll::Ready(Ok(self.stream(stream)))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let stream = ready!(Pin::new(&mut self.inner).poll_outbound(context))?;
        Poll::Ready(Ok(self.stream(stream)))
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.inner).poll_close(context)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Pin::new(&mut self.inner).poll(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for RateLimitedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.reads.poll_ready(context));
        let read = ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        self.reads.take();
        self.bytes.received(read);
        Poll::Ready(Ok(read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for RateLimitedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(context, buffer))?;
        self.bytes.sent(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{
        AsyncReadExt as _, FutureExt as _,
        future::poll_fn,
        io::{Cursor, repeat},
    };

    use super::*;
    use crate::metrics::{Metrics, WEBSOCKET};

    const REFILL: Duration = Duration::from_millis(50);

    /// A remote end that opens streams as fast as it can.
    struct Flood;

    impl StreamMuxer for Flood {
        type Substream = Cursor<Vec<u8>>;
        type Error = io::Error;

        fn poll_inbound(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<io::Result<Self::Substream>> {
            Poll::Ready(Ok(Cursor::new(Vec::new())))
        }

        fn poll_outbound(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<io::Result<Self::Substream>> {
            Poll::Pending
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
            Poll::Pending
        }
    }

    fn limits() -> Limits {
        let mut limits = Limits::default();
        (limits.stream_burst, limits.stream_refill) = (3, REFILL);
        (limits.read_burst, limits.read_refill) = (3, REFILL);
        limits
    }

    fn muxer() -> RateLimitedMuxer<Flood> {
        RateLimitedMuxer::new(Flood, &limits(), Metrics::new().bytes_of(WEBSOCKET))
    }

    async fn next_stream(
        muxer: &mut RateLimitedMuxer<Flood>,
    ) -> io::Result<RateLimitedStream<Cursor<Vec<u8>>>> {
        poll_fn(|context| Pin::new(&mut *muxer).poll_inbound(context)).await
    }

    #[tokio::test]
    async fn streams_beyond_the_burst_wait_for_tokens() {
        let mut muxer = muxer();
        let start = Instant::now();
        for _ in 0..3 {
            next_stream(&mut muxer).await.expect("a stream");
        }
        assert!(next_stream(&mut muxer).now_or_never().is_none());
        for _ in 0..3 {
            next_stream(&mut muxer).await.expect("a stream");
        }
        assert!(start.elapsed() >= 2 * REFILL, "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn reads_of_all_streams_share_tokens() {
        let muxer = muxer();
        let (mut one, mut other) = (muxer.stream(repeat(7)), muxer.stream(repeat(7)));
        let start = Instant::now();
        let mut ping = [0; 32];
        one.read_exact(&mut ping).await.expect("bytes");
        other.read_exact(&mut ping).await.expect("bytes");
        one.read_exact(&mut ping).await.expect("bytes");
        assert!(other.read(&mut ping).now_or_never().is_none());
        assert_eq!(other.read(&mut ping).await.expect("bytes"), ping.len());
        assert_eq!(one.read(&mut ping).await.expect("bytes"), ping.len());
        assert!(start.elapsed() >= REFILL, "{:?}", start.elapsed());
    }
}
