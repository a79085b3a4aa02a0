//! A [`Transport`] wrapper that turns a panic during a handshake into an error.
//!
//! **Bug:** libp2p-webrtc 0.10.0-alpha inserts the user name of a STUN packet into its SDP offer, and unwraps the
//! result of parsing that offer (`tokio/sdp.rs`). So a single UDP packet, whose user name contains a line break for
//! example, makes the handshake panic. The panic ends the task of the connection without an event. The swarm never
//! learns that the handshake failed, and keeps the pending connection forever.
//!
//! **Fix:** the upgrade future is polled within `catch_unwind`. A future that panicked is dropped and never polled
//! again.
//!
//! **Remove when** libp2p-webrtc returns an error for an offer that does not parse. The test
//! `malformed_webrtc_packets_free_their_slots` in `tests/connection_limits.rs` must pass without this module.

use std::{
    any::Any,
    error::Error,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{
    FutureExt as _, TryFutureExt as _,
    future::{BoxFuture, MapErr},
};
use libp2p::{
    Multiaddr, Transport,
    core::transport::{DialOpts, ListenerId, TransportError, TransportEvent},
};

/// A transport whose inbound handshakes fail instead of panicking.
pub(crate) struct CatchPanic<T>(pub(crate) T);

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError<E: Error + 'static> {
    #[error(transparent)]
    Transport(E),
    #[error("the handshake panicked")]
    Panicked,
}

impl<E: Error + 'static> HandshakeError<E> {
    #[allow(clippy::needless_pass_by_value)] // The payload of a panic is owned.
    fn from_panic(_: Box<dyn Any + Send>) -> Self {
        Self::Panicked
    }
}

impl<T> Transport for CatchPanic<T>
where
    T: Transport + Unpin,
    T::Error: 'static,
    T::Output: 'static,
    T::ListenerUpgrade: Send + 'static,
    T::Dial: Send + 'static,
{
    type Output = T::Output;
    type Error = HandshakeError<T::Error>;
    type ListenerUpgrade = BoxFuture<'static, Result<T::Output, Self::Error>>;
    type Dial = MapErr<T::Dial, fn(T::Error) -> Self::Error>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        self.0
            .listen_on(id, address)
            .map_err(|error| error.map(HandshakeError::Transport))
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.0.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        let dial = self.0.dial(address, options);
        let dial = dial.map_err(|error| error.map(HandshakeError::Transport))?;
        Ok(dial.map_err(HandshakeError::Transport))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        let event = Pin::new(&mut self.0).poll(context);
        event.map(|event| {
            event
                .map_upgrade(|upgrade| {
                    let outcome = AssertUnwindSafe(upgrade).catch_unwind();
                    outcome
                        .map(|outcome| match outcome {
                            Ok(outcome) => outcome.map_err(HandshakeError::Transport),
                            Err(panic) => Err(HandshakeError::from_panic(panic)),
                        })
                        .boxed()
                })
                .map_err(HandshakeError::Transport)
        })
    }
}
