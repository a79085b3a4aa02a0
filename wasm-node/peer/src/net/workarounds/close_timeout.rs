//! Workaround: a timeout for closing a connection whose peer is dead.
//!
//! - **Fault**: when the swarm closes a connection, it waits for the muxer's `poll_close` without a timeout, and
//!   reports `ConnectionClosed` only after that. A peer that is dead or frozen never answers the close, so the
//!   connection stays in the swarm's books, and a relay that is gone is not missed.
//! - **Upstream**: libp2p-swarm 0.48.0 (`connection/pool/task.rs`). No issue is known.
//! - **Remove** once libp2p-swarm limits how long closing a muxer may take, or reports the closed connection before.
//!
//! Everything but `poll_close` is passed through unchanged.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, ready};
use futures_timer::Delay;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};

use crate::clock;

/// A muxer that fails `poll_close` with [`io::ErrorKind::TimedOut`] after a limit.
#[derive(Debug)]
pub(crate) struct CloseTimeout {
    inner: StreamMuxerBox,
    limit: Duration,
    timer: Option<Delay>,
}

impl CloseTimeout {
    /// Wraps `inner`, so that closing it takes at most `limit`.
    pub(crate) const fn new(inner: StreamMuxerBox, limit: Duration) -> Self {
        Self {
            inner,
            limit,
            timer: None,
        }
    }

    fn inner(self: Pin<&mut Self>) -> Pin<&mut StreamMuxerBox> {
        Pin::new(&mut self.get_mut().inner)
    }
}

impl StreamMuxer for CloseTimeout {
    type Substream = SubstreamBox;
    type Error = io::Error;

    fn poll_inbound(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<SubstreamBox>> {
        self.inner().poll_inbound(context)
    }

    fn poll_outbound(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<SubstreamBox>> {
        self.inner().poll_outbound(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Poll::Ready(closed) = Pin::new(&mut this.inner).poll_close(context) {
            return Poll::Ready(closed);
        }
        let limit = this.limit;
        let timer = this.timer.get_or_insert_with(|| clock::sleep(limit));
        ready!(timer.poll_unpin(context));
        // A finished delay must not be polled again.
        this.timer = None;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        self.inner().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures::executor::block_on;

    use super::*;

    /// A muxer whose peer is dead, or agrees to close at once.
    struct TestMuxer {
        dead: bool,
    }

    impl StreamMuxer for TestMuxer {
        type Substream = futures::io::Cursor<Vec<u8>>;
        type Error = io::Error;

        fn poll_inbound(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<io::Result<Self::Substream>> {
            Poll::Pending
        }

        fn poll_outbound(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<io::Result<Self::Substream>> {
            Poll::Pending
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.dead {
                Poll::Pending
            } else {
                Poll::Ready(Ok(()))
            }
        }

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
            Poll::Pending
        }
    }

    async fn close(dead: bool) -> io::Result<()> {
        let inner = StreamMuxerBox::new(TestMuxer { dead });
        let mut muxer = CloseTimeout::new(inner, Duration::from_millis(30));
        poll_fn(|context| Pin::new(&mut muxer).poll_close(context)).await
    }

    #[test]
    fn closing_a_dead_connection_times_out() {
        block_on(async {
            let began = clock::monotonic();
            let error = close(true).await.expect_err("the peer is dead");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(clock::monotonic().since(began) >= 30);
        });
    }

    #[test]
    fn orderly_close_is_not_delayed() {
        block_on(async {
            assert!(close(false).await.is_ok());
        });
    }
}
