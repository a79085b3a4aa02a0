//! What tabs dial.

use clap::ValueEnum;
use libp2p::Multiaddr;

/// How tabs connect to a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    #[value(name = "websocket")]
    WebSocket,
    #[value(name = "webrtc")]
    WebRtc,
}

impl Transport {
    /// What only addresses of this transport contain.
    pub(crate) const fn part(self) -> &'static str {
        match self {
            Self::WebSocket => "/ws/p2p/",
            Self::WebRtc => "/webrtc-direct/",
        }
    }
}

/// The address of a relay, or of the proxy in front of it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: Multiaddr,
    /// The authority that a proxy's certificate is from, as DER.
    pub(crate) certificate: Option<Vec<u8>>,
}
