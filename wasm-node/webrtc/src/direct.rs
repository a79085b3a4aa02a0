//! The transport that dials servers on `/webrtc-direct`, without signalling.
//!
//! The address contains the hash of the server's self-signed certificate. A Noise handshake over channel 0 then binds
//! the certificates of both sides to their peer IDs, as in the
//! [spec](https://github.com/libp2p/specs/blob/master/webrtc/webrtc-direct.md). The transport never listens, because a
//! browser cannot.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use futures_timer::Delay;
use libp2p_core::Multiaddr;
use libp2p_core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p_identity::{Keypair, PeerId};
use libp2p_webrtc_streams::StreamConfig;
use libp2p_webrtc_utils::{noise, sdp::random_ufrag};
use send_wrapper::SendWrapper;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{RtcPeerConnection, RtcSdpType, RtcSessionDescriptionInit};

use crate::address::DirectAddress;
use crate::connection::{Connection, ConnectionError};
use crate::js::{await_promise, describe, description};
use crate::sdp;

/// The default time limit of a dial. An unreachable server causes no error, so only a timeout ends the dial.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// ID of the channel that carries the Noise handshake; fixed by the spec.
const HANDSHAKE_CHANNEL: u16 = 0;

/// Settings of the [`Transport`].
#[derive(Clone)]
pub struct Config {
    keypair: Keypair,
    timeout: Duration,
    streams: StreamConfig,
}

impl Config {
    /// Authenticates with `keypair`, and uses [`DIAL_TIMEOUT`] and streams that a stock rust-libp2p server supports. A server
    /// that acknowledges the end of the handshake, as the current spec requires, gets [`StreamConfig::SPEC`] from then on.
    #[must_use]
    pub fn new(keypair: &Keypair) -> Self {
        Self {
            keypair: keypair.clone(),
            timeout: DIAL_TIMEOUT,
            streams: StreamConfig::STOCK_SERVER,
        }
    }

    /// Sets the time limit of a dial.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the stream settings, for instance [`StreamConfig::SPEC`] for servers that support FIN_ACK.
    #[must_use]
    pub fn with_streams(mut self, streams: StreamConfig) -> Self {
        self.streams = streams;
        self
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("timeout", &self.timeout)
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}

/// Why a dial of a server failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The server did not respond, or the handshake did not complete in time.
    #[error("no connection within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The browser rejected a step of the connection setup.
    #[error("the browser refused to connect: {0}")]
    Browser(String),
    /// The browser's own description has no SHA-256 fingerprint.
    #[error("the browser's session description has no SHA-256 fingerprint")]
    NoFingerprint,
    /// The browser's own description has no ICE password.
    #[error("the browser's session description has no ICE password")]
    NoPassword,
    /// The connection ended before the handshake was complete.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The Noise handshake failed.
    #[error("authentication failed: {0}")]
    Authentication(#[from] noise::Error),
    /// The server authenticated with another peer ID than the address names.
    #[error("{found} answered instead of {expected}")]
    WrongPeer {
        /// The peer ID in the address.
        expected: PeerId,
        /// The peer ID that the server proved to own.
        found: PeerId,
    },
}

/// A transport that dials `/webrtc-direct` servers.
#[derive(Clone, Debug)]
pub struct Transport {
    config: Config,
}

impl Transport {
    /// Creates a transport with these settings.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config }
    }
}

impl libp2p_core::Transport for Transport {
    type Output = (PeerId, Connection);
    type Error = DialError;
    type ListenerUpgrade = BoxFuture<'static, Result<Self::Output, Self::Error>>;
    type Dial = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn listen_on(
        &mut self,
        _: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        let server = match DirectAddress::try_from(&address) {
            Ok(server) if !options.role.is_listener() => server,
            Ok(_) | Err(_) => return Err(TransportError::MultiaddrNotSupported(address)),
        };
        let config = self.config.clone();
        Ok(SendWrapper::new(async move {
            let timeout = Delay::new(config.timeout);
            match select(Box::pin(connect(&server, &config)), timeout).await {
                Either::Left((connected, _)) => connected,
                Either::Right(((), _)) => Err(DialError::TimedOut(config.timeout)),
            }
        })
        .boxed())
    }

    fn poll(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Poll::Pending
    }
}

/// Connects and authenticates. Dropping the future at any point closes the peer connection.
async fn connect(
    server: &DirectAddress,
    config: &Config,
) -> Result<(PeerId, Connection), DialError> {
    let peer_connection =
        RtcPeerConnection::new().map_err(|error| DialError::Browser(describe(&error)))?;
    let connection = Connection::from_peer_connection(peer_connection.clone(), config.streams);
    // The channel must exist before the offer: without one, the offer contains no data channel section.
    let handshake = connection.open_negotiated(HANDSHAKE_CHANNEL)?;

    let (local, ufrag) = describe_locally(&peer_connection).await?;
    let local = sdp::fingerprint(&local).ok_or(DialError::NoFingerprint)?;
    let answer = description(RtcSdpType::Answer, &sdp::answer(server, &ufrag));
    browser_step(peer_connection.set_remote_description(&answer)).await?;

    let found =
        noise::outbound(config.keypair.clone(), handshake, server.fingerprint, local).await?;
    match server.peer {
        Some(expected) if expected != found => Err(DialError::WrongPeer { expected, found }),
        Some(_) | None => Ok((found, connection)),
    }
}

/// Sets the browser's own description. Returns it, and the user name and password of the server that follow from it.
///
/// In version 1 of the protocol, which all servers know, the page writes the server's user name into the description.
/// Chromium is about to refuse that, and version 2 works without.
async fn describe_locally(
    peer_connection: &RtcPeerConnection,
) -> Result<(String, String), DialError> {
    let offer = browser_step(peer_connection.create_offer()).await?;
    let offer = offer
        .unchecked_into::<RtcSessionDescriptionInit>()
        .get_sdp()
        .unwrap_or_default();
    let ufrag = random_ufrag();
    let rewritten = description(RtcSdpType::Offer, &sdp::with_credentials(&offer, &ufrag));
    let accepted = browser_step(peer_connection.set_local_description(&rewritten)).await;
    if let Err(refusal) = &accepted {
        tracing::debug!(%refusal, "using version 2 of WebRTC-direct");
        let offer = description(RtcSdpType::Offer, &offer);
        browser_step(peer_connection.set_local_description(&offer)).await?;
    }
    let local = peer_connection
        .local_description()
        .map(|description| description.sdp())
        .unwrap_or_default();
    if accepted.is_ok() {
        return Ok((local, ufrag));
    }
    let ufrag = sdp::server_ufrag(&local).ok_or(DialError::NoPassword)?;
    Ok((local, ufrag))
}

async fn browser_step(promise: js_sys::Promise) -> Result<JsValue, DialError> {
    await_promise(promise).await.map_err(DialError::Browser)
}
