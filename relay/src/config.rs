//! The configuration of a relay. The command-line flags are parsed in [`crate::cli`], not here.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use disk_limit::DiskLimit;
use ipnet::IpNet;

use crate::{
    announce::Announce, deployment::RelayUrl, identity::IdentitySource, kept_room::KeptRoom,
    limits::Limits, origins::AllowedOrigin, tls::TlsSource,
};

/// Configuration of a [`Relay`](crate::Relay).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// IP addresses to listen on. 0.0.0.0 means every interface with IPv4, and :: every interface with IPv4 or IPv6.
    pub listen_ips: Vec<IpAddr>,
    /// TCP port of the page and of libp2p over WebSocket; 0 picks a free one.
    pub http_port: u16,
    /// UDP port for libp2p over WebRTC-direct; 0 picks a free one.
    pub webrtc_port: u16,
    /// UDP port for STUN; 0 picks a free one.
    pub stun_port: u16,
    /// Folder from which the page is served, for work on it; `None` serves the page that is part of the relay.
    pub page: Option<PathBuf>,
    /// Addresses to announce instead of those that the relay finds out itself.
    pub announce: Vec<Announce>,
    /// The other relays of the deployment. A tab uses two relays of it, which follow from its room.
    pub with: Vec<RelayUrl>,
    /// Rooms that are kept on this computer, each by a process of the program `keeper`.
    pub keep: Vec<KeptRoom>,
    /// The most that kept rooms may take on the disk together; `None` leaves it to the keepers.
    pub max_disk: Option<DiskLimit>,
    /// Networks of proxies that are trusted to say who a client is.
    pub trusted_proxies: Vec<IpNet>,
    /// Pages of other origins that may connect to the relay.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// Where the TLS certificate comes from; `None` serves plain http.
    pub tls: Option<TlsSource>,
    /// Where the key and the certificate come from.
    pub identity: IdentitySource,
    /// Where metrics are served for Prometheus; `None` serves none.
    pub metrics_listen: Option<SocketAddr>,
    /// Limits on the resources that peers can use.
    pub limits: Limits,
}

impl Config {
    /// Default TCP port of the page and of libp2p over WebSocket.
    pub const HTTP_PORT: u16 = 8080;
    /// Default UDP port for libp2p over WebRTC-direct.
    pub const WEBRTC_PORT: u16 = 8082;
    /// Default UDP port for STUN, as assigned by IANA.
    pub const STUN_PORT: u16 = 3478;

    /// The default configuration: loopback only, default ports, default limits.
    #[must_use]
    pub fn new(identity: IdentitySource) -> Self {
        Self {
            listen_ips: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            http_port: Self::HTTP_PORT,
            webrtc_port: Self::WEBRTC_PORT,
            stun_port: Self::STUN_PORT,
            page: None,
            announce: Vec::new(),
            with: Vec::new(),
            keep: Vec::new(),
            max_disk: None,
            trusted_proxies: Vec::new(),
            allowed_origins: Vec::new(),
            tls: None,
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
            webrtc_port: 0,
            stun_port: 0,
            ..Self::new(IdentitySource::Seed { seed, folder: None })
        }
    }
}
