//! The configuration of a relay. The command-line flags are parsed in [`crate::cli`], not here.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use crate::{identity::IdentitySource, limits::Limits};

/// Configuration of a [`Relay`](crate::Relay).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// IP address to listen on. An unspecified one (0.0.0.0 or ::) means every interface.
    pub listen_ip: IpAddr,
    /// TCP port of the page; 0 picks a free one.
    pub http_port: u16,
    /// TCP port for libp2p over WebSocket; 0 picks a free one.
    pub ws_port: u16,
    /// UDP port for libp2p over WebRTC-direct; 0 picks a free one.
    pub webrtc_port: u16,
    /// UDP port for STUN; 0 picks a free one.
    pub stun_port: u16,
    /// Folder from which the page is served, for work on it; `None` serves the page that is part of the relay.
    pub page: Option<PathBuf>,
    /// Where the key and the certificate come from.
    pub identity: IdentitySource,
    /// Where metrics are served for Prometheus; `None` serves none.
    pub metrics_listen: Option<SocketAddr>,
    /// Limits on the resources that peers can use.
    pub limits: Limits,
}

impl Config {
    /// Default TCP port of the page.
    pub const HTTP_PORT: u16 = 8080;
    /// Default TCP port for libp2p over WebSocket.
    pub const WS_PORT: u16 = 8081;
    /// Default UDP port for libp2p over WebRTC-direct.
    pub const WEBRTC_PORT: u16 = 8082;
    /// Default UDP port for STUN, as assigned by IANA.
    pub const STUN_PORT: u16 = 3478;

    /// The default configuration: loopback only, default ports, default limits.
    #[must_use]
    pub fn new(identity: IdentitySource) -> Self {
        Self {
            listen_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            http_port: Self::HTTP_PORT,
            ws_port: Self::WS_PORT,
            webrtc_port: Self::WEBRTC_PORT,
            stun_port: Self::STUN_PORT,
            page: None,
            identity,
            metrics_listen: None,
            limits: Limits::default(),
        }
    }

    /// A configuration for tests: free ports of 127.0.0.1, a key derived from `seed`, and nothing on disk.
    #[must_use]
    pub fn for_tests(seed: u64) -> Self {
        Self {
            http_port: 0,
            ws_port: 0,
            webrtc_port: 0,
            stun_port: 0,
            ..Self::new(IdentitySource::Seed { seed, folder: None })
        }
    }
}
