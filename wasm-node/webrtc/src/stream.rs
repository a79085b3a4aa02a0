//! The stream that libp2p sees: `AsyncRead` and `AsyncWrite` over one data channel. All of its work is in
//! `channel.rs`; this is the handle, and it holds nothing else.

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
/// - Each write becomes one frame, handed to the browser at once: there is nothing to flush, and it is up to the
///   writer to make no tiny writes. Writes wait while more than 1 MiB is unsent.
/// - Closing sends FIN and returns; reading goes on until the peer's FIN. The browser still sends what was written
///   when the stream is dropped after closing.
/// - Dropping it unclosed resets it: the peer gets an error.
/// - With more than [`MAX_UNREAD`](crate::MAX_UNREAD) bytes unread it is reset; with more than
///   [`MAX_UNREAD_PER_CONNECTION`](crate::MAX_UNREAD_PER_CONNECTION) on all streams the connection is closed.
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
