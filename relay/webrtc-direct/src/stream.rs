//! The stream handle that libp2p uses. It holds no state of its own; `channels` does the work.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{AsyncRead, AsyncWrite};

use crate::channels::{Shared, StreamKey};

/// A libp2p stream over a WebRTC data channel.
///
/// - Each write becomes one frame. There is nothing to flush, and the writer should avoid tiny writes. Writes wait while
///   64 KiB are unsent.
/// - Closing sends FIN and returns; reading continues until the peer's FIN. If the stream is dropped after closing, all
///   written data is still sent.
/// - Dropping a stream without closing it resets it: the peer gets an error.
/// - While more than 544 KiB are unread, the peer has to wait. A stream that is not read for 5 s then is reset, because
///   it blocks all others of its connection.
#[derive(Debug)]
pub struct Stream {
    shared: Arc<Shared>,
    key: StreamKey,
}

impl Stream {
    pub(crate) fn new(shared: Arc<Shared>, key: StreamKey) -> Self {
        Self { shared, key }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.release(self.key);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = self.shared.poll_read(self.key, context, buffer);
        read.map_err(Into::into)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.shared.poll_write(self.key, context, data);
        written.map_err(Into::into)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shared.finish(self.key).map_err(Into::into))
    }
}
