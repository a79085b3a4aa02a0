//! A muxer that does not wait long for goodbye: a far end that is dead never says it, and until it does
//! libp2p tells nobody that the connection is gone. Changes nothing else.

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

/// The muxer, and how long a goodbye may take.
#[derive(Debug)]
pub(crate) struct BriefGoodbye {
    inner: StreamMuxerBox,
    limit: Duration,
    left: Option<Delay>,
}

impl BriefGoodbye {
    /// This muxer, closed after `limit` whether the far end says goodbye or not.
    pub(crate) const fn new(inner: StreamMuxerBox, limit: Duration) -> Self {
        Self {
            inner,
            limit,
            left: None,
        }
    }

    fn inner(self: Pin<&mut Self>) -> Pin<&mut StreamMuxerBox> {
        Pin::new(&mut self.get_mut().inner)
    }
}

impl StreamMuxer for BriefGoodbye {
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
        let left = this.left.get_or_insert_with(|| clock::sleep(limit));
        ready!(left.poll_unpin(context));
        // A finished delay must not be polled again.
        this.left = None;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        self.inner().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// A muxer whose far end is dead, or says goodbye at once.
    struct Far {
        dead: bool,
    }

    impl StreamMuxer for Far {
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
        let far = StreamMuxerBox::new(Far { dead });
        let mut muxer = BriefGoodbye::new(far, Duration::from_millis(30));
        poll_fn(|context| Pin::new(&mut muxer).poll_close(context)).await
    }

    #[test]
    async fn a_dead_far_end_is_not_waited_for() {
        let began = clock::monotonic();
        let error = close(true).await.expect_err("nobody said goodbye");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(clock::monotonic().since(began) >= 30);
    }

    #[test]
    async fn a_goodbye_ends_it_at_once() {
        assert!(close(false).await.is_ok());
    }
}
