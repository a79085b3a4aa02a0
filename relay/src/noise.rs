//! The Noise handshake of libp2p and the encryption after it, for connections by WebSocket. The relay only answers.
//!
//! The cryptography is that of `snow`, and what is sent is the same as by `libp2p-noise`, which keeps two buffers of 8 KiB
//! and two smaller ones for each connection as long as it is open. This keeps none while a connection is silent.
//!
//! Specification: <https://github.com/libp2p/specs/blob/master/noise/README.md>

mod key_exchange;
mod secured;
mod wire;

use std::{io, iter, sync::Arc};

use futures::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, FutureExt as _,
    future::{BoxFuture, Ready, ready},
};
use libp2p::{
    PeerId,
    core::{
        UpgradeInfo,
        upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade},
    },
    identity::{self, Keypair, PublicKey},
};
use prost::Message as _;
use snow::{HandshakeState, types::Dh as _};

pub(crate) use self::secured::Secured;
use self::{
    key_exchange::X25519,
    wire::{LENGTH_BYTES, builder, set_length},
};

/// The name by which both ends choose this handshake.
const PROTOCOL: &str = "/noise";
/// What a peer signs before its key of Diffie and Hellman.
const SIGNED_PREFIX: &[u8] = b"noise-libp2p-static-key:";
/// Bytes of a message of the handshake. That of a tab has some 230, and one with a long RSA key below 2 KiB.
const MAX_HANDSHAKE_BYTES: usize = 4 * 1024;

/// An upgrade that answers handshakes.
#[derive(Clone)]
pub(crate) struct Config(Arc<Keys>);

struct Keys {
    noise: X25519,
    /// The relay's identity, and its signature of the key for Noise.
    payload: Vec<u8>,
}

/// Who a peer is, in a message of the handshake.
#[derive(Clone, PartialEq, prost::Message)]
struct Payload {
    #[prost(bytes = "vec", tag = "1")]
    identity_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    identity_sig: Vec<u8>,
}

/// Why there is no encrypted connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Noise(#[from] snow::Error),
    #[error("a handshake message of {0} bytes")]
    Length(usize),
    #[error("the first handshake message has a payload")]
    EarlyPayload,
    #[error("the peer did not say who it is")]
    Payload(#[from] prost::DecodeError),
    #[error("the key of the peer's identity cannot be used")]
    Key(#[from] identity::DecodingError),
    #[error("cannot sign")]
    Signing(#[from] identity::SigningError),
    #[error("the peer's signature is wrong")]
    Signature,
    #[error("the relay does not dial")]
    Dial,
}

impl Config {
    /// Creates a key for Noise, and signs it.
    pub(crate) fn new(identity: &Keypair) -> Result<Self, Error> {
        let noise = X25519::random();
        let payload = Payload {
            identity_key: identity.public().encode_protobuf(),
            identity_sig: identity.sign(&signed(noise.pubkey()))?,
        };
        Ok(Self(Arc::new(Keys {
            noise,
            payload: payload.encode_to_vec(),
        })))
    }

    async fn respond<S>(self, mut stream: S) -> Result<(PeerId, Secured<S>), Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let keys = &self.0;
        let mut noise = builder()?
            .local_private_key(keys.noise.privkey())?
            .build_responder()?;
        if !receive(&mut stream, &mut noise).await?.is_empty() {
            return Err(Error::EarlyPayload);
        }
        send(&mut stream, &mut noise, &keys.payload).await?;
        let payload = receive(&mut stream, &mut noise).await?;
        let payload = Payload::decode(payload.as_slice())?;

        let peer = PublicKey::try_decode_protobuf(&payload.identity_key)?;
        let proven = noise.get_remote_static().map(signed);
        let proven = proven.ok_or(Error::Signature)?;
        if !peer.verify(&proven, &payload.identity_sig) {
            return Err(Error::Signature);
        }
        let secured = Secured::new(stream, noise.into_transport_mode()?);
        Ok((peer.to_peer_id(), secured))
    }
}

impl UpgradeInfo for Config {
    type Info = &'static str;
    type InfoIter = iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once(PROTOCOL)
    }
}

impl<S> InboundConnectionUpgrade<S> for Config
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Output = (PeerId, Secured<S>);
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Output, Error>>;

    fn upgrade_inbound(self, stream: S, _: &'static str) -> Self::Future {
        self.respond(stream).boxed()
    }
}

impl<S> OutboundConnectionUpgrade<S> for Config
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Output = (PeerId, Secured<S>);
    type Error = Error;
    type Future = Ready<Result<Self::Output, Error>>;

    fn upgrade_outbound(self, _: S, _: &'static str) -> Self::Future {
        ready(Err(Error::Dial))
    }
}

/// What proves that a peer has this key for Noise.
fn signed(noise_key: &[u8]) -> Vec<u8> {
    [SIGNED_PREFIX, noise_key].concat()
}

/// Sends a message of the handshake.
async fn send<S>(stream: &mut S, noise: &mut HandshakeState, payload: &[u8]) -> Result<(), Error>
where
    S: AsyncWrite + Unpin,
{
    let mut message = vec![0; MAX_HANDSHAKE_BYTES];
    let length = noise.write_message(payload, &mut message[LENGTH_BYTES..])?;
    message.truncate(LENGTH_BYTES + length);
    set_length(&mut message)?;
    stream.write_all(&message).await?;
    stream.flush().await?;
    Ok(())
}

/// The payload of the next message of the handshake. Reads no byte of what follows it.
async fn receive<S>(stream: &mut S, noise: &mut HandshakeState) -> Result<Vec<u8>, Error>
where
    S: AsyncRead + Unpin,
{
    let mut length = [0; LENGTH_BYTES];
    stream.read_exact(&mut length).await?;
    let length = usize::from(u16::from_be_bytes(length));
    if length > MAX_HANDSHAKE_BYTES {
        return Err(Error::Length(length));
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    let mut payload = vec![0; length];
    let length = noise.read_message(&message, &mut payload)?;
    payload.truncate(length);
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use futures::{
        StreamExt as _,
        future::{join, try_join},
        io::Cursor,
    };
    use libp2p::{
        Transport as _,
        core::{
            Endpoint,
            transport::{DialOpts, ListenerId, MemoryTransport, PortUse},
        },
        noise,
    };

    use super::*;

    type Memory = rw_stream_sink::RwStreamSink<libp2p::core::transport::memory::Chan>;

    /// The two ends of a stream in memory.
    async fn pair() -> (Memory, Memory) {
        let mut transport = MemoryTransport::default().boxed();
        let any = "/memory/0".parse().expect("an address");
        transport
            .listen_on(ListenerId::next(), any)
            .expect("memory is there");
        let started = transport.next().await.expect("an event");
        let address = started.into_new_address().expect("it listens");
        let role = DialOpts {
            role: Endpoint::Dialer,
            port_use: PortUse::Reuse,
        };
        let dialed = MemoryTransport::default().dial(address, role);
        let dialed = dialed.expect("a dial");
        let accepted = async {
            let incoming = transport.next().await.expect("an event");
            let (upgrade, _) = incoming.into_incoming().expect("a connection");
            upgrade.await.expect("memory works")
        };
        let (dialed, accepted) = join(dialed, accepted).await;
        (dialed.expect("memory works"), accepted)
    }

    /// Reads one byte and writes three at most, and has to be polled again for every third call.
    struct Slow<S> {
        inner: S,
        calls: u32,
    }

    impl<S> Slow<S> {
        fn is_late(&mut self, context: &Context<'_>) -> bool {
            self.calls += 1;
            context.waker().wake_by_ref();
            self.calls.is_multiple_of(3)
        }
    }

    impl<S: AsyncRead + Unpin> AsyncRead for Slow<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            if self.is_late(context) {
                return Poll::Pending;
            }
            let few = buffer.len().min(1);
            Pin::new(&mut self.inner).poll_read(context, &mut buffer[..few])
        }
    }

    impl<S: AsyncWrite + Unpin> AsyncWrite for Slow<S> {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            if self.is_late(context) {
                return Poll::Pending;
            }
            let few = bytes.len().min(3);
            Pin::new(&mut self.inner).poll_write(context, &bytes[..few])
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.is_late(context) {
                return Poll::Pending;
            }
            Pin::new(&mut self.inner).poll_flush(context)
        }

        fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.inner).poll_close(context)
        }
    }

    /// Connects a client of libp2p-noise, and sends as many bytes in both directions, in parts of different lengths.
    async fn talk<S>(here: S, there: S, bytes: usize) -> Secured<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (relay, client) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let config = Config::new(&relay).expect("a key");
        let accepting = config.upgrade_inbound(here, PROTOCOL);
        let dialing = noise::Config::new(&client)
            .expect("a key")
            .upgrade_outbound(there, PROTOCOL);
        let (accepted, dialed) = join(accepting, dialing).await;
        let ((found_client, mut here), (found_relay, mut there)) =
            (accepted.expect("a client"), dialed.expect("a relay"));
        assert_eq!(found_client, client.public().to_peer_id());
        assert_eq!(found_relay, relay.public().to_peer_id());

        let message: Vec<u8> = (0..=255).cycle().take(bytes).collect();
        for length in [bytes, 4_999, 1] {
            let sending = async {
                for part in message.chunks(length) {
                    here.write_all(part).await?;
                }
                here.flush().await
            };
            let mut received = vec![0; bytes];
            let receiving = there.read_exact(&mut received);
            try_join(sending, receiving).await.expect("they agree");
            assert_eq!(received, message);

            let answering = async {
                there.write_all(&received).await?;
                there.flush().await
            };
            let mut answer = vec![0; bytes];
            let reading = here.read_exact(&mut answer);
            try_join(answering, reading).await.expect("they agree");
            assert_eq!(answer, message);
        }
        there.close().await.expect("it is open");
        // Only this ends a stream in memory.
        drop(there);
        assert_eq!(here.read(&mut [0]).await.expect("the end"), 0);
        here
    }

    #[tokio::test]
    async fn clients_of_libp2p_noise_are_understood() {
        for bytes in [1, 100, 200_000] {
            let (there, here) = pair().await;
            let silent = talk(here, there, bytes).await;
            assert_eq!(silent.held_bytes(), 0);
        }
    }

    #[tokio::test]
    async fn streams_may_be_slow() {
        let (there, here) = pair().await;
        let [here, there] = [here, there].map(|inner| Slow { inner, calls: 0 });
        let silent = talk(here, there, 9_000).await;
        assert_eq!(silent.held_bytes(), 0);
    }

    /// A client that sends this in the first message, claims an identity, and signs with the other.
    async fn client(
        stream: &mut Memory,
        early: &[u8],
        (claimed, signing): (&Keypair, &Keypair),
    ) -> Result<(), Error> {
        let keys = builder()?.generate_keypair()?;
        let mut noise = builder()?
            .local_private_key(&keys.private)?
            .build_initiator()?;
        send(stream, &mut noise, early).await?;
        receive(stream, &mut noise).await?;
        let payload = Payload {
            identity_key: claimed.public().encode_protobuf(),
            identity_sig: signing.sign(&signed(&keys.public))?,
        };
        send(stream, &mut noise, &payload.encode_to_vec()).await
    }

    async fn answer(early: &[u8], keys: (&Keypair, &Keypair)) -> Result<PeerId, Error> {
        let (mut there, here) = pair().await;
        let config = Config::new(&Keypair::generate_ed25519())?;
        let (answered, _) = join(config.respond(here), client(&mut there, early, keys)).await;
        answered.map(|(peer, _)| peer)
    }

    #[tokio::test]
    async fn identity_of_another_peer_is_refused() {
        let [own, other] = [(); 2].map(|()| Keypair::generate_ed25519());
        let peer = answer(&[], (&own, &own)).await.expect("a peer");
        assert_eq!(peer, own.public().to_peer_id());
        let stolen = answer(&[], (&other, &own)).await;
        assert!(matches!(stolen, Err(Error::Signature)), "{stolen:?}");
        let early = answer(b"!", (&own, &own)).await;
        assert!(matches!(early, Err(Error::EarlyPayload)), "{early:?}");
    }

    #[tokio::test]
    async fn malformed_handshakes_are_refused() {
        let config = Config::new(&Keypair::generate_ed25519()).expect("a key");
        let long = u16::try_from(MAX_HANDSHAKE_BYTES + 1).expect("a length");
        let announced = Cursor::new(long.to_be_bytes().to_vec());
        let length = config.clone().respond(announced).await;
        let length = length.map(|(peer, _)| peer);
        assert!(matches!(length, Err(Error::Length(_))), "{length:?}");
        for length in 0..100_u8 {
            for missing in [0, 1] {
                let mut bytes = vec![0, length];
                bytes.resize(2 + usize::from(length.saturating_sub(missing)), 7);
                let refused = config.clone().respond(Cursor::new(bytes)).await;
                assert!(refused.is_err(), "{length} bytes, {missing} missing");
            }
        }
    }

    #[tokio::test]
    async fn relay_does_not_dial() {
        let config = Config::new(&Keypair::generate_ed25519()).expect("a key");
        let (stream, _) = pair().await;
        let dialed = config.upgrade_outbound(stream, PROTOCOL).await;
        assert!(matches!(dialed, Err(Error::Dial)));
    }
}
