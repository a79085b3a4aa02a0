//! The connection handle that libp2p uses, and the Noise handshake that authenticates the peer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::AsyncWriteExt;
use libp2p_core::UpgradeInfo;
use libp2p_core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p_core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p_identity::{Keypair, PeerId};

use crate::certificate::Fingerprint;
use crate::channels::{HANDSHAKE_STREAM, Shared};
use crate::error::{ConnectionError, Error};
use crate::stream::Stream;

/// What binds the certificates of both sides to the handshake; fixed by the specification.
const PROLOGUE: &[u8] = b"libp2p-webrtc-noise:";

/// A connection whose streams are data channels. Dropping it closes the connection.
#[derive(Debug)]
pub struct Connection {
    shared: Arc<Shared>,
}

/// The certificates of both ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fingerprints {
    pub(crate) client: Fingerprint,
    pub(crate) server: Fingerprint,
}

impl Connection {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The number of channels of the connection, open or closing.
    #[must_use]
    pub fn channel_count(&self) -> usize {
        self.shared.lock().len()
    }

    /// The number of unread bytes on all streams, incomplete frames included.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.shared.lock().unread()
    }

    /// Authenticates both sides on channel 0. The server begins, so that it may send data half a round trip earlier.
    pub(crate) async fn authenticate(
        &self,
        keypair: &Keypair,
        fingerprints: Fingerprints,
        is_client: bool,
    ) -> Result<PeerId, Error> {
        let Fingerprints { client, server } = fingerprints;
        let mut prologue = PROLOGUE.to_vec();
        prologue.extend(client.to_multihash_bytes());
        prologue.extend(server.to_multihash_bytes());
        let noise = libp2p_noise::Config::new(keypair)?.with_prologue(prologue);
        let stream = Stream::new(Arc::clone(&self.shared), HANDSHAKE_STREAM);
        // The name of the protocol is negotiated elsewhere, or, as here, given.
        let name = noise.protocol_info().next().unwrap_or_default();
        let (peer, mut channel) = if is_client {
            noise.upgrade_inbound(stream, name).await?
        } else {
            noise.upgrade_outbound(stream, name).await?
        };
        channel.close().await?;
        self.shared.set_authenticated();
        Ok(peer)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl StreamMuxer for Connection {
    type Substream = Stream;
    type Error = ConnectionError;

    fn poll_inbound(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Stream, ConnectionError>> {
        let key = ready!(self.shared.poll_inbound(context))?;
        Poll::Ready(Ok(Stream::new(Arc::clone(&self.shared), key)))
    }

    fn poll_outbound(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Stream, ConnectionError>> {
        let key = ready!(self.shared.poll_outbound(context))?;
        Poll::Ready(Ok(Stream::new(Arc::clone(&self.shared), key)))
    }

    fn poll_close(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ConnectionError>> {
        self.shared.close();
        self.shared.poll_ended(context).map(|_| Ok(()))
    }

    fn poll(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, ConnectionError>> {
        self.shared.poll_ended(context).map(Err)
    }
}
