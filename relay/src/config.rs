//! Everything that a relay can be told when it starts; no flag is read here.

use std::net::{IpAddr, Ipv4Addr};

use crate::{IdentitySource, Limits};

/// How to run a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Address to listen on; an unspecified one (0.0.0.0 or ::) means every interface.
    pub listen_ip: IpAddr,
    /// TCP port of the page; 0 for any free one.
    pub http_port: u16,
    /// TCP port for libp2p over WebSocket; 0 for any free one.
    pub ws_port: u16,
    /// UDP port for libp2p over WebRTC-direct; 0 for any free one.
    pub webrtc_port: u16,
    /// UDP port for STUN; 0 for any free one.
    pub stun_port: u16,
    /// Where key and certificate come from.
    pub identity: IdentitySource,
    /// How much the relay gives to its peers.
    pub limits: Limits,
}

impl Config {
    /// TCP port of the page, unless told otherwise.
    pub const HTTP_PORT: u16 = 8080;
    /// TCP port for libp2p over WebSocket, unless told otherwise.
    pub const WS_PORT: u16 = 8081;
    /// UDP port for libp2p over WebRTC-direct, unless told otherwise.
    pub const WEBRTC_PORT: u16 = 8082;
    /// UDP port for STUN, unless told otherwise: the one that IANA has assigned to it.
    pub const STUN_PORT: u16 = 3478;

    /// A relay for this computer alone, at the usual ports.
    #[must_use]
    pub fn new(identity: IdentitySource) -> Self {
        Self {
            listen_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            http_port: Self::HTTP_PORT,
            ws_port: Self::WS_PORT,
            webrtc_port: Self::WEBRTC_PORT,
            stun_port: Self::STUN_PORT,
            identity,
            limits: Limits::default(),
        }
    }

    /// A relay for one test: at free ports of 127.0.0.1, with the identity of `seed`, and nothing on disk.
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
