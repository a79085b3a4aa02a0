//! All limits of the relay, each with its unit and the reason for its value.
//!
//! libp2p's defaults (128 KiB and two minutes per circuit, 16 circuits, 60 reservations per hour from one address) suit
//! a public relay that only assists hole punching. Here a school class of thirty tabs is behind one address and uses
//! its circuits for a whole lesson. So the limits are generous per circuit and per address, and bounded in total.

use std::{num::NonZeroU32, time::Duration};

use libp2p::relay;

use crate::token_bucket::TokenBucketConfig;

/// Limits on the resources that peers can use.
///
/// The binary runs with [`Limits::default`]. Tests tighten single fields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Concurrent connections over all transports. Two for each reservation: a tab that reconnects is counted twice
    /// until the relay notices that its old connection is dead.
    pub connections: usize,
    /// Concurrent connections from one IPv4 address or IPv6 /64: six classes. Leaves room for other networks.
    pub connections_per_network: usize,
    /// Concurrent connections of one peer. A tab that is reloaded every few seconds leaves some dead ones behind, which
    /// the relay closes after [`Limits::idle_timeout`].
    pub connections_per_peer: usize,
    /// Concurrent handshakes: four classes of thirty tabs that open in the same second, with a margin.
    pub pending_connections: usize,
    /// Concurrent handshakes from one IPv4 address or IPv6 /64: thirty tabs that open in the same second, with a
    /// margin.
    pub pending_connections_per_network: usize,
    /// How long a connection may have no stream and no reservation: many times the time between loading the page and
    /// making a reservation.
    pub idle_connection: Duration,
    /// Bytes of one WebSocket message, which is buffered as a whole. A tab sends at most some 130 KiB at once.
    pub websocket_message_bytes: usize,
    /// Concurrent streams of one WebSocket connection, each of which may buffer 256 KiB. A circuit is one stream, and a
    /// tab is part of at most [`Limits::circuits_per_peer`] circuits.
    pub streams_per_connection: usize,

    /// Concurrent reservations, and so tabs that can be reached through circuits: eight classes.
    pub reservations: usize,
    /// Concurrent reservations of one peer, one per connection.
    pub reservations_per_peer: usize,
    /// Time after which a reservation expires. Clients renew it at half time. It is long because clients compare the
    /// expiry time with their own clock, which may be an hour off; and a reservation ends with its connection anyway.
    pub reservation_duration: Duration,
    /// Reservations that one peer may make in a burst; one more every [`Limits::RATE_REFILL`].
    pub reservation_burst_per_peer: NonZeroU32,
    /// Reservations that one IP address may make in a burst: all tabs of eight classes at once, twice. One more every
    /// [`Limits::RATE_REFILL`].
    pub reservation_burst_per_ip: NonZeroU32,

    /// Concurrent circuits: 128 tabs that dial eight others each.
    pub circuits: usize,
    /// Concurrent circuits with one peer at either end. A tab has at most 24 peers with two circuits each, and as many
    /// again that are being opened, or are dead and not yet noticed.
    pub circuits_per_peer: usize,
    /// Lifetime of a circuit: a school day.
    pub circuit_duration: Duration,
    /// Bytes that one circuit may carry in both directions together: several downloads of a long chain.
    pub circuit_bytes: u64,
    /// Circuits that one peer may open in a burst; one more every [`Limits::RATE_REFILL`].
    pub circuit_burst_per_peer: NonZeroU32,
    /// Circuits that one IP address may open in a burst: 128 tabs that dial eight others each.
    pub circuit_burst_per_ip: NonZeroU32,

    /// Minimum time to live of a registration. A tab that is closed cannot unregister, so registrations must be
    /// short-lived; the minimum of libp2p-rendezvous is two hours.
    pub registration_min_ttl: Duration,
    /// Maximum time to live of a registration; a longer one is shortened to it. Tabs request two minutes. A
    /// registration ends with its peer's last connection anyway.
    pub registration_max_ttl: Duration,
    /// Bytes of the signed record that a peer registers. A tab's record is below 1 KiB, and tabs ignore larger ones.
    pub registration_bytes: usize,
    /// Rooms in which one peer can be registered at the same time.
    pub registrations_per_peer: usize,
    /// Registrations in total: four for each reservation.
    pub registrations: usize,
    /// Bytes of the registrations in one response: some 600 tabs, and below the 512 KiB that a tab reads. The cookie of
    /// a response leads to the rest.
    pub discovery_bytes: usize,
    /// Rendezvous requests that one peer may send within [`Limits::RENDEZVOUS_REQUEST_WINDOW`]. A starting tab sends
    /// one every 1.3 seconds. A peer that sends more is disconnected.
    pub rendezvous_requests_per_window: u32,

    /// STUN responses in a burst: thirty tabs that dial eight others each, with every request sent twice.
    pub stun_burst: u32,
    /// Time after which one more STUN response may be sent.
    pub stun_refill: Duration,

    /// Time between pings. Ping is the only way to notice that the remote end of a WebRTC connection is gone.
    pub ping_interval: Duration,
    /// Time without a ping response after which a connection is closed. A tab that verifies a long chain may not
    /// respond for some seconds.
    pub idle_timeout: Duration,

    /// Concurrent HTTP connections: six for each of eighty browsers.
    pub http_connections: usize,
    /// Concurrent HTTP connections from one IPv4 address or IPv6 /64: sixty browsers. Leaves room for other networks.
    pub http_connections_per_network: usize,
    /// How long the head of an HTTP request may take to arrive, and a kept-alive connection may wait for the next
    /// request.
    pub http_header_timeout: Duration,
    /// Lifetime of an HTTP connection, even if it is busy: the largest file over a bad radio link.
    pub http_connection_duration: Duration,
    /// Bytes of the head of an HTTP request. Browsers send about 1 KiB.
    pub http_header_bytes: usize,
    /// Header lines of an HTTP request. Browsers send about 15.
    pub http_headers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            connections_per_network: 384,
            connections_per_peer: 8,
            pending_connections: 128,
            pending_connections_per_network: 40,
            idle_connection: Duration::from_secs(60),
            websocket_message_bytes: 1 << 20,
            streams_per_connection: 128,

            reservations: 256,
            reservations_per_peer: 4,
            reservation_duration: Duration::from_secs(24 * 60 * 60),
            reservation_burst_per_peer: at_least_one(32),
            reservation_burst_per_ip: at_least_one(512),

            circuits: 1024,
            circuits_per_peer: 96,
            circuit_duration: Duration::from_secs(12 * 60 * 60),
            circuit_bytes: 1 << 30,
            circuit_burst_per_peer: at_least_one(128),
            circuit_burst_per_ip: at_least_one(1024),

            registration_min_ttl: Duration::from_secs(30),
            registration_max_ttl: Duration::from_secs(180),
            registration_bytes: 4 * 1024,
            registrations_per_peer: 8,
            registrations: 1024,
            discovery_bytes: 384 * 1024,
            rendezvous_requests_per_window: 120,

            stun_burst: 1_000,
            stun_refill: Duration::from_millis(4),

            ping_interval: Duration::from_secs(4),
            idle_timeout: Duration::from_secs(12),

            http_connections: 512,
            http_connections_per_network: 384,
            http_header_timeout: Duration::from_secs(15),
            http_connection_duration: Duration::from_secs(120),
            http_header_bytes: 16 * 1024,
            http_headers: 64,
        }
    }
}

impl Limits {
    /// Time after which the token buckets of reservations and circuits gain one token.
    pub const RATE_REFILL: Duration = Duration::from_secs(1);
    /// Window in which [`Limits::rendezvous_requests_per_window`] are counted.
    pub const RENDEZVOUS_REQUEST_WINDOW: Duration = Duration::from_secs(60);

    pub(crate) fn stun_token_bucket(&self) -> TokenBucketConfig {
        TokenBucketConfig {
            burst: self.stun_burst,
            refill: self.stun_refill,
        }
    }

    /// The limits of each listener for WebRTC-direct. It counts connections from the moment at which a peer has proved
    /// its address; before that, it forgets the oldest handshake for a new one.
    pub(crate) fn webrtc(&self) -> libp2p_webrtc_direct::Limits {
        let mut limits = libp2p_webrtc_direct::Limits::default();
        limits.connections = self.connections;
        limits.connections_per_network = self.connections_per_network;
        limits.pending_incoming = self.pending_connections;
        // A channel that is closing still counts.
        limits.channels = self.streams_per_connection.saturating_mul(2);
        limits
    }

    pub(crate) fn relay(&self) -> relay::Config {
        let mut config = relay::Config {
            max_reservations: self.reservations,
            // libp2p-relay 0.22.0 refuses a peer that has more than this number, so it must be one less than the number
            // allowed.
            max_reservations_per_peer: self.reservations_per_peer.saturating_sub(1),
            reservation_duration: self.reservation_duration,
            max_circuits: self.circuits,
            max_circuits_per_peer: self.circuits_per_peer.saturating_sub(1),
            max_circuit_duration: self.circuit_duration,
            max_circuit_bytes: self.circuit_bytes,
            ..relay::Config::default()
        };
        // The `*_rate_per_*` methods add limiters to the default ones, which would remain in force.
        config.reservation_rate_limiters.clear();
        config.circuit_src_rate_limiters.clear();
        config
            .reservation_rate_per_peer(self.reservation_burst_per_peer, Self::RATE_REFILL)
            .reservation_rate_per_ip(self.reservation_burst_per_ip, Self::RATE_REFILL)
            .circuit_src_per_peer(self.circuit_burst_per_peer, Self::RATE_REFILL)
            .circuit_src_per_ip(self.circuit_burst_per_ip, Self::RATE_REFILL)
    }
}

/// `n`, or 1 if `n` is 0: a bucket without tokens would refuse all peers.
const fn at_least_one(n: u32) -> NonZeroU32 {
    match NonZeroU32::new(n) {
        Some(n) => n,
        None => NonZeroU32::MIN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_rate_limiters_are_replaced() {
        let config = Limits::default().relay();
        assert_eq!(config.reservation_rate_limiters.len(), 2);
        assert_eq!(config.circuit_src_rate_limiters.len(), 2);
    }

    #[test]
    fn limits_fit_two_school_classes() {
        let limits = Limits::default();
        let (tabs, dials) = (30, 8);
        assert!(limits.reservations >= 2 * tabs);
        assert!(limits.circuits >= 2 * tabs * dials);
        assert!(limits.reservation_burst_per_ip.get() as usize >= 2 * tabs);
        assert!(limits.circuit_burst_per_ip.get() as usize >= 2 * tabs * dials);
        assert!(limits.connections >= 2 * tabs);
    }
}
