//! The stream handle that libp2p uses: `AsyncRead` and `AsyncWrite` over one data channel. The handle holds no state of
//! its own; `channel.rs` does the work.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures::{AsyncRead, AsyncWrite};
use send_wrapper::SendWrapper;

use crate::channel::Channel;
use crate::channels::Channels;

/// A libp2p stream over a WebRTC data channel.
///
/// - Each write becomes one frame and is passed to the browser immediately. There is nothing to flush, and the writer
///   should avoid tiny writes. Writes wait while more than 256 KiB is unsent.
/// - Closing sends FIN and returns; reading continues until the peer's FIN. If the stream is dropped after closing, the
///   browser still sends all written data.
/// - Dropping a stream without closing it resets it: the peer gets an error.
/// - A stream with more than [`MAX_UNREAD`](crate::MAX_UNREAD) unread bytes is reset, and one that has not been accepted
///   with more than [`MAX_UNREAD_UNACCEPTED`](crate::MAX_UNREAD_UNACCEPTED). A connection with more than
///   [`MAX_UNREAD_PER_CONNECTION`](crate::MAX_UNREAD_PER_CONNECTION) unread bytes on all streams is closed, and so is one
///   on which more than [`MAX_OVERFLOWS`](crate::MAX_OVERFLOWS) streams were reset for that reason.
pub struct Stream {
    channel: SendWrapper<Rc<Channel>>,
    channels: SendWrapper<Rc<Channels>>,
}

impl Stream {
    pub(crate) fn new(channel: Rc<Channel>, channels: Rc<Channels>) -> Self {
        Self {
            channel: SendWrapper::new(channel),
            channels: SendWrapper::new(channels),
        }
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let channels = Rc::clone(&self.channels);
        let channel = Rc::clone(&self.channel);
        let ended = Rc::clone(&self.channel);
        channel.release(move || channels.remove(&ended));
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.channel.poll_read(context, buffer).map_err(Into::into)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.channel.poll_write(context, data).map_err(Into::into)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.channel.poll_finish(context).map_err(Into::into)
    }
}
