//! The task of a connection: moves data between its queue of datagrams, the [`Stack`], the buffers of its streams, and
//! the socket.
//!
//! A panic in here ends this connection and nothing else: what has to be undone is undone when the task is dropped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::time::sleep_until;

use crate::certificate::Fingerprint;
use crate::channels::Shared;
use crate::counters::Counters;
use crate::error::ConnectionError;
use crate::queue::QueueReceiver;
use crate::stack::{Stack, StackEvent};

/// Datagrams that are processed before what they cause is sent.
const BATCH: usize = 64;
/// Time between two looks at the deadlines of streams.
const DEADLINE_CHECK: Duration = Duration::from_millis(250);

/// The listener's or the dialer's side of a connection.
pub(crate) trait Host: Send + Sync + 'static {
    /// When the peer last showed that it is alive, other than by data.
    fn last_sign_of_life(&self) -> Option<Instant>;
    /// Called when the task has ended.
    fn on_ended(&mut self);
}

/// A connection that is being driven.
pub(crate) struct Driver<H: Host> {
    pub(crate) socket: Arc<UdpSocket>,
    pub(crate) peer: SocketAddr,
    pub(crate) queue: QueueReceiver,
    pub(crate) shared: Arc<Shared>,
    /// Resolves with the peer's certificate.
    pub(crate) connected: Option<oneshot::Sender<Fingerprint>>,
    pub(crate) host: H,
    pub(crate) counters: Arc<Counters>,
    pub(crate) times: Times,
}

/// Time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) handshake: Duration,
    pub(crate) silence: Duration,
}

impl<H: Host> Driver<H> {
    /// Drives the connection until it ends. On the heap, because a task has room for its arguments twice.
    pub(crate) async fn run(
        mut self: Box<Self>,
        stack: impl FnOnce() -> Result<Stack, ConnectionError>,
    ) {
        let started = Instant::now();
        // The task has room for the stack wherever it may be, so it is on the heap. It has some 6 KiB.
        let ended = match stack().map(Box::new) {
            Ok(mut stack) => {
                let ended = self.drive(&mut stack, started).await;
                stack.close();
                self.transmit(&mut stack).await;
                ended
            }
            Err(error) => error,
        };
        tracing::debug!(peer = %self.peer, %ended, "connection ended");
        self.shared.lock().end(ended);
    }

    async fn drive(&mut self, stack: &mut Stack, started: Instant) -> ConnectionError {
        loop {
            if let Err(error) = self.process(stack, Instant::now()) {
                return error;
            }
            self.transmit(stack).await;
            let now = Instant::now();
            let due = match self.next_deadline(stack, started) {
                Ok(due) if due > now => due,
                // What is due and was not done is due again a little later.
                Ok(_) => now + Duration::from_millis(1),
                Err(error) => return error,
            };
            tokio::select! {
                datagram = self.queue.recv() => {
                    let Some(datagram) = datagram else {
                        return ConnectionError::Dropped;
                    };
                    if let Err(error) = self.receive(stack, &datagram) {
                        return error;
                    }
                }
                () = self.shared.task.notified() => {}
                () = sleep_until(due.into()) => {}
            }
        }
    }

    /// Processes a datagram, and those that wait behind it.
    fn receive(&mut self, stack: &mut Stack, first: &[u8]) -> Result<(), ConnectionError> {
        let now = Instant::now();
        stack.handle_datagram(now, first)?;
        for _ in 1..BATCH {
            let Some(datagram) = self.queue.try_recv() else {
                break;
            };
            stack.handle_datagram(now, &datagram)?;
        }
        Ok(())
    }

    /// Does what is due, and moves data between the stack and the buffers of the streams.
    fn process(&mut self, stack: &mut Stack, now: Instant) -> Result<(), ConnectionError> {
        // Here and not after a pause, because a peer that sends all the time leaves none.
        if stack.next_timeout().is_some_and(|due| due <= now) {
            stack.handle_timeout(now)?;
        }
        loop {
            while let Some(event) = stack.next_event() {
                self.on_event(stack, &event, now)?;
            }
            let mut channels = self.shared.lock();
            if channels.is_closing() {
                return Err(ConnectionError::Closed);
            }
            if channels.is_flooded() {
                return Err(ConnectionError::UnreadOverflow);
            }
            channels.resume(stack, now);
            channels.send(stack);
            channels.check_deadlines(stack, now);
            drop(channels);
            stack.flush(now)?;
            if !stack.has_events() {
                return Ok(());
            }
        }
    }

    fn on_event(
        &mut self,
        stack: &mut Stack,
        event: &StackEvent,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        let mut channels = self.shared.lock();
        match event {
            StackEvent::Connected(fingerprint) => {
                channels.on_connected(stack);
                drop(channels);
                self.counters.connected.increment();
                // The receiver is gone if the handshake was given up, which closes the connection.
                if let Some(connected) = self.connected.take() {
                    let _ = connected.send(*fingerprint);
                }
            }
            StackEvent::Opened(id) => {
                channels.on_opened(stack, *id)?;
                channels.on_readable(stack, *id, now);
            }
            StackEvent::Readable(id) => channels.on_readable(stack, *id, now),
            StackEvent::Finished(id) => channels.on_finished(*id),
            StackEvent::Freed(id) => channels.on_freed(*id),
        }
        Ok(())
    }

    async fn transmit(&self, stack: &mut Stack) {
        while let Some(datagram) = stack.next_datagram() {
            // A datagram that cannot be sent is lost, and repeated like any other.
            if let Err(error) = self.socket.send_to(&datagram, self.peer).await {
                tracing::trace!(peer = %self.peer, %error, "datagram not sent");
            }
        }
    }

    /// When to look at the connection again, or why it has to end.
    fn next_deadline(&self, stack: &Stack, started: Instant) -> Result<Instant, ConnectionError> {
        let now = Instant::now();
        let handshake = started + self.times.handshake;
        let is_handshaking = self.shared.lock().is_handshaking();
        if is_handshaking && now >= handshake {
            return Err(ConnectionError::HandshakeTimeout);
        }
        let mut silent = stack.last_data() + self.times.silence;
        if now >= silent {
            // The answer is in a table that all connections share, so it is only asked for when it matters.
            let alive = self.host.last_sign_of_life();
            silent = alive.map_or(silent, |alive| silent.max(alive + self.times.silence));
        }
        if now >= silent {
            return Err(ConnectionError::Silent);
        }
        let deadlines = self.shared.lock().needs_deadlines();
        Ok([
            is_handshaking.then_some(handshake),
            Some(silent),
            stack.next_timeout(),
            deadlines.then(|| now + DEADLINE_CHECK),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(silent))
    }
}

impl<H: Host> Drop for Driver<H> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.counters.panicked.increment();
        }
        self.counters.ended.increment();
        // Has no effect after an orderly end.
        self.shared.lock().end(if std::thread::panicking() {
            ConnectionError::Panicked
        } else {
            ConnectionError::Dropped
        });
        self.host.on_ended();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Waker;

    use libp2p_webrtc_streams::StreamConfig;

    use super::*;
    use crate::channels::HANDSHAKE_STREAM;
    use crate::queue::queue;
    use crate::socket;
    use crate::stack::tests::Pair;

    /// A host that counts the questions for signs of life, and has seen none.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Host for Counting {
        fn last_sign_of_life(&self) -> Option<Instant> {
            self.0.fetch_add(1, Ordering::Relaxed);
            None
        }

        fn on_ended(&mut self) {}
    }

    fn driver(silence: Duration) -> Driver<Counting> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let shared = Shared::new(StreamConfig::SPEC, 2, false);
        shared.open_handshake();
        let (_, queue) = queue(1);
        Driver {
            socket: Arc::new(socket::bind(any).expect("a port")),
            peer: any,
            queue,
            shared,
            connected: None,
            host: Counting::default(),
            counters: Arc::default(),
            times: Times {
                handshake: Duration::from_secs(15),
                silence,
            },
        }
    }

    /// A peer that sends all the time leaves no pause, so what is due is done before its next datagram.
    #[tokio::test]
    async fn lost_datagram_is_repeated_without_a_pause() {
        let Pair {
            server: mut stack,
            now,
            ..
        } = Pair::connected();
        let mut driver = driver(Duration::from_secs(15));
        driver.shared.lock().on_connected(&mut stack);
        let context = std::task::Context::from_waker(Waker::noop());
        let written = driver
            .shared
            .poll_write(HANDSHAKE_STREAM, &context, b"hello");
        assert!(written.is_ready());
        driver.process(&mut stack, now).expect("alive");
        assert!(std::iter::from_fn(|| stack.next_datagram()).count() > 0);
        driver.process(&mut stack, now).expect("alive");
        assert_eq!(stack.next_datagram(), None, "nothing is due yet");
        let later = now + Duration::from_secs(1);
        driver.process(&mut stack, later).expect("alive");
        assert!(stack.next_datagram().is_some(), "it is due");
    }

    #[tokio::test]
    async fn signs_of_life_are_asked_for_when_silent() {
        let Pair {
            server: stack, now, ..
        } = Pair::connected();
        let speaking = driver(Duration::from_secs(15));
        assert!(speaking.next_deadline(&stack, now).is_ok());
        assert_eq!(speaking.host.0.load(Ordering::Relaxed), 0);
        let silent = driver(Duration::ZERO);
        let outcome = silent.next_deadline(&stack, now);
        assert_eq!(outcome, Err(ConnectionError::Silent));
        assert_eq!(silent.host.0.load(Ordering::Relaxed), 1);
    }
}
