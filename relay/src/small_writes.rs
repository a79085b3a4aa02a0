//! Flushes a stream whenever a few KiB wait in it. Noise and the WebSocket collect everything until they are flushed, each
//! in a buffer of its own that never shrinks. So one large message would cost a connection four times its size for the
//! rest of its life.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::{
    UpgradeInfo,
    upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade},
};

/// Bytes that may wait in the stream. Less costs more calls of the system for each byte of a circuit.
pub(crate) const MAX_UNFLUSHED_BYTES: usize = 2 * 1024;

/// An upgrade, such as to a multiplexer, whose stream is flushed often.
#[derive(Debug, Clone)]
pub(crate) struct WithSmallWrites<U>(pub(crate) U);

impl<U: UpgradeInfo> UpgradeInfo for WithSmallWrites<U> {
    type Info = U::Info;
    type InfoIter = U::InfoIter;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.protocol_info()
    }
}

impl<S, U: InboundConnectionUpgrade<SmallWrites<S>>> InboundConnectionUpgrade<S>
    for WithSmallWrites<U>
{
    type Output = U::Output;
    type Error = U::Error;
    type Future = U::Future;

    fn upgrade_inbound(self, stream: S, info: U::Info) -> U::Future {
        self.0.upgrade_inbound(SmallWrites::new(stream), info)
    }
}

impl<S, U: OutboundConnectionUpgrade<SmallWrites<S>>> OutboundConnectionUpgrade<S>
    for WithSmallWrites<U>
{
    type Output = U::Output;
    type Error = U::Error;
    type Future = U::Future;

    fn upgrade_outbound(self, stream: S, info: U::Info) -> U::Future {
        self.0.upgrade_outbound(SmallWrites::new(stream), info)
    }
}

/// A stream that is flushed often.
#[derive(Debug)]
pub(crate) struct SmallWrites<S> {
    inner: S,
    unflushed: usize,
}

impl<S> SmallWrites<S> {
    pub(crate) const fn new(inner: S) -> Self {
        Self {
            inner,
            unflushed: 0,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SmallWrites<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SmallWrites<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.unflushed >= MAX_UNFLUSHED_BYTES {
            ready!(self.as_mut().poll_flush(context))?;
        }
        let room = MAX_UNFLUSHED_BYTES.saturating_sub(self.unflushed);
        let bytes = &bytes[..bytes.len().min(room)];
        let written = ready!(Pin::new(&mut self.inner).poll_write(context, bytes))?;
        self.unflushed = self.unflushed.saturating_add(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(context))?;
        self.unflushed = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(context)
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncWriteExt as _, FutureExt as _};

    use super::*;

    /// Collects bytes until it is flushed, as Noise does.
    #[derive(Debug, Default)]
    struct Collector {
        waiting: usize,
        most: usize,
        flushed: Vec<u8>,
        /// A flush has to be polled twice.
        is_slow: bool,
        polled: bool,
    }

    impl AsyncWrite for Collector {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.waiting += bytes.len();
            self.most = self.most.max(self.waiting);
            self.flushed.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.polled = !self.polled;
            if self.is_slow && self.polled {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.waiting = 0;
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_flush(context)
        }
    }

    #[tokio::test]
    async fn large_messages_wait_in_small_parts() {
        for is_slow in [false, true] {
            let mut stream = SmallWrites::new(Collector {
                is_slow,
                ..Collector::default()
            });
            let message: Vec<u8> = (0..=255).cycle().take(100_000).collect();
            for part in message.chunks(4_999) {
                stream.write_all(part).await.expect("it never fails");
            }
            stream.flush().await.expect("it never fails");
            assert_eq!(stream.inner.flushed, message);
            assert_eq!(
                (stream.inner.most, stream.inner.waiting),
                (MAX_UNFLUSHED_BYTES, 0)
            );
        }
    }

    #[test]
    fn small_messages_are_not_flushed_early() {
        let mut stream = SmallWrites::new(Collector::default());
        for _ in 0..2 {
            let written = stream
                .write_all(&[7; MAX_UNFLUSHED_BYTES / 2])
                .now_or_never();
            written.expect("there is room").expect("it never fails");
        }
        assert_eq!(stream.inner.waiting, MAX_UNFLUSHED_BYTES);
    }
}
