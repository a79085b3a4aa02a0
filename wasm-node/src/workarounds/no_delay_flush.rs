//! Workaround: a WebSocket that is flushed without delay, and whose failure to connect is noticed.
//!
//! - **Faults**: `poll_flush` waits until the browser's send buffer is empty, and polls that with a timer of 100 ms,
//!   which browsers throttle to one second in hidden tabs. Every message of a handshake, and everything that a relay
//!   carries, would be delayed by that. And when the browser fails to connect, no task that waits for the connection is
//!   woken.
//! - **Upstream**: libp2p-websocket-websys 0.6.0. No issue is known.
//! - **Remove** once its `poll_flush` does not wait for a timer, and its `onerror` and `onclose` handlers wake the
//!   tasks that wait to open, read or write.
//!
//! It never buffers: the browser sends written bytes on its own, and back-pressure of `poll_write` is unchanged.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite, FutureExt};
use futures_timer::Delay;

/// Time between two polls of a socket that has received nothing yet.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// A browser WebSocket `S` whose `poll_flush` never waits, and which is polled periodically until it has received
/// something.
#[derive(Debug)]
pub(crate) struct NoDelayFlush<S> {
    socket: S,
    /// `None` once something has been received.
    poll_timer: Option<Delay>,
}

impl<S> NoDelayFlush<S> {
    pub(crate) fn new(socket: S) -> Self {
        Self {
            socket,
            poll_timer: Some(Delay::new(POLL_INTERVAL)),
        }
    }

    /// Schedules another poll of a socket that may still be connecting.
    fn poll_again_later(&mut self, context: &mut Context<'_>) {
        if let Some(delay) = &mut self.poll_timer {
            // A timer wakes only a task that has polled it since it was set.
            while delay.poll_unpin(context).is_ready() {
                delay.reset(POLL_INTERVAL);
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for NoDelayFlush<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        if read.is_ready() {
            self.poll_timer = None;
        } else {
            self.poll_again_later(context);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for NoDelayFlush<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, data);
        if written.is_pending() {
            self.poll_again_later(context);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.socket).poll_flush(context) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(context)
    }
}

#[cfg(test)]
mod tests {
    use futures::AsyncWriteExt;
    use futures::future::{Either, select};
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// A socket that accepts up to four bytes. The test decides the result of a flush.
    struct Socket {
        unsent: Vec<u8>,
        flushed: fn() -> Poll<io::Result<()>>,
    }

    impl AsyncWrite for Socket {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            data: &[u8],
        ) -> Poll<io::Result<usize>> {
            if self.unsent.len() + data.len() > 4 {
                return Poll::Pending;
            }
            self.unsent.extend_from_slice(data);
            Poll::Ready(Ok(data.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            (self.flushed)()
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    fn no_delay(flushed: fn() -> Poll<io::Result<()>>) -> NoDelayFlush<Socket> {
        let unsent = Vec::new();
        NoDelayFlush::new(Socket { unsent, flushed })
    }

    #[test]
    fn written_bytes_count_as_flushed() {
        let mut socket = no_delay(|| Poll::Pending);
        let written = socket.write_all(b"four").now_or_never();
        assert!(matches!(written, Some(Ok(()))));
        assert!(matches!(socket.flush().now_or_never(), Some(Ok(()))));
        assert_eq!(socket.socket.unsent, b"four");
    }

    #[test]
    fn back_pressure_and_close_are_unchanged() {
        let mut socket = no_delay(|| Poll::Pending);
        assert!(socket.write_all(b"fives").now_or_never().is_none());
        assert!(socket.close().now_or_never().is_none());
    }

    /// A socket that fails to connect without waking a task: the third poll finds the failure.
    struct FailsSilently(u32);

    impl AsyncWrite for FailsSilently {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0 += 1;
            if self.0 < 3 {
                return Poll::Pending;
            }
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[test]
    async fn failed_connect_is_noticed_without_a_wake() {
        let mut socket = NoDelayFlush::new(FailsSilently(0));
        let write = Box::pin(socket.write_all(b"hello"));
        match select(write, Delay::new(Duration::from_secs(20))).await {
            Either::Left((written, _)) => assert_eq!(
                written.expect_err("failed to connect").kind(),
                io::ErrorKind::BrokenPipe
            ),
            Either::Right(_) => panic!("not noticed"),
        }
    }

    #[test]
    fn broken_socket_fails_to_flush() {
        let mut socket = no_delay(|| Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())));
        let flushed = socket.flush().now_or_never().expect("at once");
        assert_eq!(
            flushed.expect_err("broken").kind(),
            io::ErrorKind::BrokenPipe
        );
    }
}
