//! Settings for direct connections: ICE servers, timeouts, allowed peers, and the connections to signal over. Data
//! only.

use std::sync::Arc;
use std::time::Duration;

use libp2p_core::ConnectedPoint;
use libp2p_identity::PeerId;

use super::address::is_relayed;
use crate::config::{DISCONNECTED_GRACE, SILENCE_LIMIT};

/// An ICE server: STUN, which tells a peer its public address, or TURN, which forwards traffic.
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer {
    /// The URL in the format of browsers, such as `stun:192.0.2.1:3478`.
    pub url: String,
    /// User name and password, which TURN servers require.
    pub credentials: Option<(String, String)>,
}

impl IceServer {
    /// Creates a STUN server with a `stun:` URL.
    #[must_use]
    pub fn stun(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            credentials: None,
        }
    }
}

impl std::fmt::Debug for IceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Leaves out the password, which must not end up in logs.
        f.debug_struct("IceServer")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// Settings of the transport and the behaviour that `peer::new` creates.
#[derive(Clone)]
pub struct Config {
    pub(crate) us: PeerId,
    pub(crate) ice_servers: Vec<IceServer>,
    pub(crate) grace: Duration,
    pub(crate) silence_limit: Duration,
    pub(crate) automatic: bool,
    pub(crate) policy: Arc<dyn Fn(&PeerId) -> bool + Send + Sync>,
    pub(crate) carries_offers: fn(&ConnectedPoint) -> bool,
}

impl Config {
    /// The defaults for the local peer `us`: no ICE servers, every peer is allowed, and every relayed connection that
    /// this peer dials is upgraded.
    #[must_use]
    pub fn new(us: PeerId) -> Self {
        Self {
            us,
            ice_servers: Vec::new(),
            grace: DISCONNECTED_GRACE,
            silence_limit: SILENCE_LIMIT,
            automatic: true,
            policy: Arc::new(|_| true),
            carries_offers: is_relayed,
        }
    }

    /// Sets the ICE servers. An unreachable server causes no delay, because candidates are sent as they are found.
    #[must_use]
    pub fn with_ice_servers(mut self, servers: Vec<IceServer>) -> Self {
        self.ice_servers = servers;
        self
    }

    /// Sets how long the browser may report a direct connection as `disconnected` before it counts as lost; default:
    /// [`DISCONNECTED_GRACE`].
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets how long a peer may send no packet at all before a direct connection counts as lost; default:
    /// [`SILENCE_LIMIT`]. A busy page is not silent, because its browser keeps answering. The effective minimum is
    /// 6.5 s. With peers in Firefox, which sends STUN checks less often than Chromium, use at least 10.5 s.
    #[must_use]
    pub fn with_silence_limit(mut self, limit: Duration) -> Self {
        self.silence_limit = limit;
        self
    }

    /// Whether to upgrade relayed connections that this peer has dialled automatically (the default). Otherwise an
    /// upgrade starts only when an address of this transport is dialled.
    #[must_use]
    pub fn with_automatic_upgrades(mut self, automatic: bool) -> Self {
        self.automatic = automatic;
        self
    }

    /// Restricts direct connections to peers for which `policy` returns true. An offer or an answer reveals the IP
    /// addresses of this computer to the peer.
    #[must_use]
    pub fn with_policy(mut self, policy: impl Fn(&PeerId) -> bool + Send + Sync + 'static) -> Self {
        self.policy = Arc::new(policy);
        self
    }

    /// Signals over the connections for which `carries` returns true, instead of relayed ones. They must be
    /// authenticated end to end, because the certificate fingerprints of the direct connection are sent over them.
    #[must_use]
    pub fn with_offers_on(mut self, carries: fn(&ConnectedPoint) -> bool) -> Self {
        self.carries_offers = carries;
        self
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("us", &self.us)
            .field("ice_servers", &self.ice_servers)
            .field("automatic", &self.automatic)
            .finish_non_exhaustive()
    }
}
