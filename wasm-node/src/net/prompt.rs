//! A WebSocket whose writes count as sent once the browser has them. Never holds a byte back.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{AsyncRead, AsyncWrite};

/// A stream `S` that is never waited for when flushed.
///
/// libp2p's WebSocket for browsers says that it is flushed once nothing is unsent, and looks after that ten times a
/// second (once a second in a hidden tab). Each of a handshake's messages would take that long, and all that a relay
/// carries. What the browser has it sends by itself; that too much is unsent still holds writes back.
#[derive(Debug)]
pub(crate) struct Prompt<S>(pub(crate) S);

impl<S: AsyncRead + Unpin> AsyncRead for Prompt<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prompt<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.0).poll_flush(context) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncWriteExt, FutureExt};
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
        Prompt(Socket { unsent, flushed })
    }

    #[test]
    fn what_the_browser_has_counts_as_sent() {
        let mut socket = prompt(|| Poll::Pending);
        let written = socket.write_all(b"four").now_or_never();
        assert!(matches!(written, Some(Ok(()))));
        assert!(matches!(socket.flush().now_or_never(), Some(Ok(()))));
        assert_eq!(socket.0.unsent, b"four");
    }

    #[test]
    fn too_much_unsent_holds_writes_back_and_closing_is_waited_for() {
        let mut socket = prompt(|| Poll::Pending);
        assert!(socket.write_all(b"fives").now_or_never().is_none());
        assert!(socket.close().now_or_never().is_none());
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
