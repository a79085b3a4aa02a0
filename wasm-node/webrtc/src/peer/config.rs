//! How peers are met directly: by whose help, which of them, and on what connections signals travel. Choices only.

use std::sync::Arc;
use std::time::Duration;

use libp2p_core::ConnectedPoint;
use libp2p_identity::PeerId;

use super::address::is_relayed;
use crate::config::{DISCONNECTED_GRACE, SILENCE_LIMIT};

/// A server that helps to find a way: STUN, which tells a peer its public address, or TURN, which forwards.
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer {
    /// As browsers take it, such as `stun:192.0.2.1:3478`.
    pub url: String,
    /// User name and password, which TURN servers ask for.
    pub credentials: Option<(String, String)>,
}

impl IceServer {
    /// A STUN server at a `stun:` URL.
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
        // The password is nobody's business.
        f.debug_struct("IceServer")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// How to meet peers directly.
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
    /// For the peer `us`: without servers, meeting everybody, and upgrading every relayed connection that it dials.
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

    /// Uses these servers. One that cannot be reached delays nothing: candidates are sent as they are found.
    #[must_use]
    pub fn with_ice_servers(mut self, servers: Vec<IceServer>) -> Self {
        self.ice_servers = servers;
        self
    }

    /// Takes a direct connection for lost when the browser has called it `disconnected` for `grace`, instead of
    /// [`DISCONNECTED_GRACE`].
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Takes a direct connection for lost when nothing at all has come from its far end for `limit`, instead of
    /// [`SILENCE_LIMIT`]. A page that is merely busy is not silent: its browser goes on answering. At least 4.25 s; with
    /// peers in Firefox, which checks its ways more rarely than Chromium, no less than 8 s.
    #[must_use]
    pub fn with_silence_limit(mut self, limit: Duration) -> Self {
        self.silence_limit = limit;
        self
    }

    /// Offers by itself on the relayed connections that this peer has dialled; otherwise only when an address of this
    /// transport is dialled.
    #[must_use]
    pub fn with_automatic_upgrades(mut self, automatic: bool) -> Self {
        self.automatic = automatic;
        self
    }

    /// Meets only peers for which `policy` is true: an offer or an answer tells a peer this computer's addresses.
    #[must_use]
    pub fn with_policy(mut self, policy: impl Fn(&PeerId) -> bool + Send + Sync + 'static) -> Self {
        self.policy = Arc::new(policy);
        self
    }

    /// Makes offers on the connections for which `carries` is true, instead of relayed ones. They must be authenticated
    /// end to end: the fingerprints that secure the direct connection travel over them.
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
