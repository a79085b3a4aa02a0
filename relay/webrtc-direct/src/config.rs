//! The settings and limits of a transport. Data only.

use std::time::Duration;

use libp2p_identity::Keypair;
use libp2p_webrtc_streams::StreamConfig;
use libp2p_webrtc_streams::frame::FrameLimit;
use libp2p_webrtc_streams::state::Dialect;

use crate::certificate::Certificate;
use crate::credentials::Version;

/// The settings of a [`Transport`](crate::Transport).
#[derive(Clone)]
pub struct Config {
    pub(crate) keypair: Keypair,
    pub(crate) certificate: Certificate,
    pub(crate) limits: Limits,
    pub(crate) streams: StreamConfig,
    pub(crate) dial_version: Version,
}

/// What peers can make a listener hold. Each listener has these limits for itself.
///
/// Addresses of UDP packets can be forged until a peer has echoed the DTLS cookie that was sent to it. Before that only its
/// address is kept, and the oldest is forgotten first, so that a flood never keeps others out; what comes after it is
/// bounded by refusing the newest, for each network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Addresses whose STUN request was correct, and that may therefore begin DTLS. The oldest is forgotten first.
    pub addresses: usize,
    /// How long such an address is remembered. Browsers begin DTLS within milliseconds, and repeat their requests.
    pub address_lifetime: Duration,
    /// Connections, in progress or established, whose peer has proved its address.
    pub connections: usize,
    /// The same of one network: an IPv4 address or an IPv6 /64. Loopback addresses are exempt, because a local proxy may
    /// forward the packets of all peers.
    pub connections_per_network: usize,
    /// How long a handshake may take from the first packet of DTLS until the peer is authenticated.
    pub handshake: Duration,
    /// How long a peer may send neither STUN requests nor data. Browsers send a request at least every 5 s.
    pub silence: Duration,
    /// Datagrams that wait for the task of one connection; more are dropped, as a network does. One second of 3 Mbit/s,
    /// or what a sender has in flight with a window of 256 KiB.
    pub queued_datagrams: usize,
    /// Channels of one connection, open or closing. Beyond it channels of the peer are reset, and opening one waits.
    pub channels: usize,
    /// Accepted connections that the application has not taken yet; more are refused.
    pub pending_incoming: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            addresses: 65_536,
            address_lifetime: Duration::from_secs(10),
            connections: 1_024,
            connections_per_network: 384,
            handshake: Duration::from_secs(15),
            silence: Duration::from_secs(15),
            queued_datagrams: 256,
            channels: 256,
            pending_incoming: 128,
        }
    }
}

impl Config {
    /// Authenticates with `keypair`, and identifies itself in addresses by `certificate`.
    #[must_use]
    pub fn new(keypair: Keypair, certificate: Certificate) -> Self {
        Self {
            keypair,
            certificate,
            limits: Limits::default(),
            streams: StreamConfig {
                frame_limit: FrameLimit::SPEC,
                dialect: Dialect::LateFinAck,
            },
            dial_version: Version::V1,
        }
    }

    /// Sets what peers can make the transport hold.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how streams are framed and closed. By default frames have up to 16 KiB, and FIN is acknowledged late
    /// ([`Dialect::LateFinAck`]), which all known implementations understand.
    #[must_use]
    pub fn with_streams(mut self, streams: StreamConfig) -> Self {
        self.streams = streams;
        self
    }

    /// Sets the version for dialling; by default version 1, which all servers support. Listeners support both.
    #[must_use]
    pub fn with_dial_version(mut self, version: Version) -> Self {
        self.dial_version = version;
        self
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("peer", &self.keypair.public().to_peer_id())
            .field("certificate", &self.certificate)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
