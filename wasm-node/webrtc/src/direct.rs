//! Dials servers on `/webrtc-direct`: no signalling, a self-signed certificate named by the address, and a Noise
//! handshake over channel 0 that ties both certificates to both peers.
//!
//! Only dials; a browser cannot listen. See the
//! [spec](https://github.com/libp2p/specs/blob/master/webrtc/webrtc-direct.md).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use futures_timer::Delay;
use libp2p_core::Multiaddr;
use libp2p_core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p_identity::{Keypair, PeerId};
use libp2p_webrtc_utils::{noise, sdp::random_ufrag};
use send_wrapper::SendWrapper;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{RtcPeerConnection, RtcSdpType, RtcSessionDescriptionInit};

use crate::address::DirectAddress;
use crate::config::StreamConfig;
use crate::connection::{Connection, ConnectionError};
use crate::js::{describe, description, settled};
use crate::sdp;

/// How long a dial may take unless the [`Config`] says otherwise: a server that does not answer says nothing at all.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// The channel of the Noise handshake, by the spec.
const HANDSHAKE_CHANNEL: u16 = 0;

/// How to dial.
#[derive(Clone)]
pub struct Config {
    keypair: Keypair,
    timeout: Duration,
    streams: StreamConfig,
}

impl Config {
    /// Dials as the owner of `keypair`, with [`DIAL_TIMEOUT`] and streams that a stock rust-libp2p server understands.
    #[must_use]
    pub fn new(keypair: &Keypair) -> Self {
        Self {
            keypair: keypair.clone(),
            timeout: DIAL_TIMEOUT,
            streams: StreamConfig::STOCK_SERVER,
        }
    }

    /// Gives up a dial after `timeout`.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Uses `streams` with the servers, for instance [`StreamConfig::SPEC`] with those that speak FIN_ACK.
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

/// Why a dial failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The server did not answer, or not to the end.
    #[error("no connection within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The browser refused a step.
    #[error("the browser refused to connect: {0}")]
    Browser(String),
    /// The browser's own description has no SHA-256 fingerprint.
    #[error("the browser's session description names no SHA-256 certificate")]
    NoFingerprint,
    /// The connection broke before the handshake was over.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The server could not prove who it is.
    #[error("authentication failed: {0}")]
    Authentication(#[from] noise::Error),
    /// Somebody else answered.
    #[error("{found} answered instead of {expected}")]
    WrongPeer {
        /// Whom the address names.
        expected: PeerId,
        /// Who proved to be there.
        found: PeerId,
    },
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Transport {
    config: Config,
}

impl Transport {
    /// A transport that dials by `config`.
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
    // It must exist before the offer, which has nothing to negotiate otherwise.
    let handshake = connection.open_negotiated(HANDSHAKE_CHANNEL)?;

    let ufrag = random_ufrag();
    let offer = browser(peer_connection.create_offer()).await?;
    let offer = offer
        .unchecked_into::<RtcSessionDescriptionInit>()
        .get_sdp()
        .unwrap_or_default();
    let offer = description(RtcSdpType::Offer, &sdp::with_credentials(&offer, &ufrag));
    browser(peer_connection.set_local_description(&offer)).await?;
    let local = peer_connection
        .local_description()
        .and_then(|description| sdp::fingerprint(&description.sdp()))
        .ok_or(DialError::NoFingerprint)?;
    let answer = description(RtcSdpType::Answer, &sdp::answer(server, &ufrag));
    browser(peer_connection.set_remote_description(&answer)).await?;

    let found =
        noise::outbound(config.keypair.clone(), handshake, server.fingerprint, local).await?;
    match server.peer {
        Some(expected) if expected != found => Err(DialError::WrongPeer { expected, found }),
        Some(_) | None => Ok((found, connection)),
    }
}

async fn browser(promise: js_sys::Promise) -> Result<JsValue, DialError> {
    settled(promise).await.map_err(DialError::Browser)
}
