//! A WebSocket whose writes count as sent once the browser has them, and whose refusal is noticed. Never holds a byte back.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite, FutureExt};
use futures_timer::Delay;

/// How often a socket that has said nothing yet is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A stream `S` that is never waited for when flushed.
///
/// libp2p's WebSocket for browsers says that it is flushed once nothing is unsent, and looks after that ten times a
/// second (once a second in a hidden tab). Each of a handshake's messages would take that long, and all that a relay
/// carries. What the browser has it sends by itself; that too much is unsent still holds writes back.
///
/// Nor does it wake anybody when the browser refuses to connect, so until something has come it is looked at now and then.
#[derive(Debug)]
pub(crate) struct Prompt<S> {
    socket: S,
    /// `None` once something has come.
    look_again: Option<Delay>,
}

impl<S> Prompt<S> {
    pub(crate) fn new(socket: S) -> Self {
        Self {
            socket,
            look_again: Some(Delay::new(LOOK_AGAIN)),
        }
    }

    /// Has the task that waits for the socket look at it again.
    fn look_again(&mut self, context: &mut Context<'_>) {
        if let Some(delay) = &mut self.look_again {
            // It wakes only whoever has polled it since it was set.
            while delay.poll_unpin(context).is_ready() {
                delay.reset(LOOK_AGAIN);
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prompt<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        if read.is_ready() {
            self.look_again = None;
        } else {
            self.look_again(context);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prompt<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, data);
        if written.is_pending() {
            self.look_again(context);
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

    /// Takes up to four bytes, and is flushed when the test says so.
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

    fn prompt(flushed: fn() -> Poll<io::Result<()>>) -> Prompt<Socket> {
        let unsent = Vec::new();
        Prompt::new(Socket { unsent, flushed })
    }

    #[test]
    fn what_the_browser_has_counts_as_sent() {
        let mut socket = prompt(|| Poll::Pending);
        let written = socket.write_all(b"four").now_or_never();
        assert!(matches!(written, Some(Ok(()))));
        assert!(matches!(socket.flush().now_or_never(), Some(Ok(()))));
        assert_eq!(socket.socket.unsent, b"four");
    }

    #[test]
    fn too_much_unsent_holds_writes_back_and_closing_is_waited_for() {
        let mut socket = prompt(|| Poll::Pending);
        assert!(socket.write_all(b"fives").now_or_never().is_none());
        assert!(socket.close().now_or_never().is_none());
    }

    /// A socket that the browser has refused when it is looked at for the third time, and that wakes nobody.
    struct Refused(u32);

    impl AsyncWrite for Refused {
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
    async fn that_the_browser_refuses_is_noticed_though_nobody_is_woken() {
        let mut socket = Prompt::new(Refused(0));
        let write = Box::pin(socket.write_all(b"hello"));
        match select(write, Delay::new(Duration::from_secs(20))).await {
            Either::Left((written, _)) => assert_eq!(
                written.expect_err("refused").kind(),
                io::ErrorKind::BrokenPipe
            ),
            Either::Right(_) => panic!("not noticed"),
        }
    }

    #[test]
    fn a_broken_socket_is_told() {
        let mut socket = prompt(|| Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())));
        let flushed = socket.flush().now_or_never().expect("at once");
        assert_eq!(
            flushed.expect_err("broken").kind(),
            io::ErrorKind::BrokenPipe
        );
    }
}
