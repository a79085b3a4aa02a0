//! All limits of the relay, each with its unit and the reason for its value.
//!
//! The operator chooses one number, the tabs that the relay serves at the same time (`--max-tabs`). [`Limits::for_tabs`]
//! derives all others from it, by the ratios in docs/operate-relay.md, "Size".
//!
//! libp2p's defaults (128 KiB and two minutes per circuit, 16 circuits, 60 reservations per hour from one address) suit
//! a public relay that only assists hole punching. Here a school class of thirty tabs is behind one address and uses
//! its circuits for a whole lesson. So the limits are generous per circuit and per address, and bounded in total. One
//! network gets at most a quarter of anything, and less when others need it (see `fair_table`).

use std::{num::NonZeroU32, time::Duration};

use libp2p::relay;

use crate::{fair_table::Share, token_bucket::TokenBucketConfig};

/// Limits on the resources that peers can use.
///
/// Tests tighten single fields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Concurrent connections over all transports. Two for each reservation: a tab that reconnects is counted twice
    /// until the relay notices that its old connection is dead.
    pub connections: usize,
    /// Concurrent connections from one IPv4 address or IPv6 /64.
    pub connections_per_network: usize,
    /// Concurrent connections of one peer. A tab that is reloaded every few seconds leaves some dead ones behind, which
    /// the relay closes after [`Limits::idle_timeout`].
    pub connections_per_peer: usize,
    /// Concurrent handshakes. A newcomer evicts the oldest of the largest taker.
    pub pending_connections: usize,
    /// Concurrent handshakes from one IPv4 address or IPv6 /64. At least thirty tabs that open in the same second, with
    /// a margin. A newcomer beyond that evicts the oldest of its own network.
    pub pending_connections_per_network: usize,
    /// How long a connection may have no stream and no reservation: many times the time between loading the page and
    /// making a reservation.
    pub idle_connection: Duration,
    /// Bytes of one WebSocket message, which is buffered as a whole. A tab sends at most some 130 KiB at once.
    pub websocket_message_bytes: usize,
    /// Concurrent streams of one WebSocket connection, each of which may buffer 256 KiB. A circuit is one stream, and a
    /// tab is part of at most [`Limits::circuits_per_peer`] circuits.
    pub streams_per_connection: usize,
    /// Streams that one connection may open in a burst; more are accepted only as fast as
    /// [`Limits::stream_refill`] allows. Every circuit, rendezvous request and identify push is a stream. A tab that
    /// starts opens some 60 within seconds.
    pub stream_burst: u32,
    /// Time after which one connection may open one more stream. A tab that searches peers opens two a second.
    pub stream_refill: Duration,
    /// Reads (of up to 8 KiB) that one connection gets in a burst; more only as fast as [`Limits::read_refill`] allows.
    /// Pings and other small messages cost the relay one read each.
    pub read_burst: u32,
    /// Time after which one connection gets one more read. A circuit still carries 8 MB/s.
    pub read_refill: Duration,

    /// Concurrent reservations, and so tabs that can be reached through circuits.
    pub reservations: usize,
    /// Concurrent reservations of the peers of one IPv4 address or IPv6 /64.
    pub reservations_per_network: usize,
    /// Concurrent reservations of one peer, one per connection.
    pub reservations_per_peer: usize,
    /// Time after which a reservation expires. Clients renew it at half time. It is long because clients compare the
    /// expiry time with their own clock, which may be an hour off; and a reservation ends with its connection anyway.
    pub reservation_duration: Duration,
    /// Reservations that one peer may make in a burst; one more every [`Limits::RATE_REFILL`].
    pub reservation_burst_per_peer: NonZeroU32,
    /// Reservations that one IPv4 address or IPv6 /64 may make in a burst: all that it can hold, twice. One more every
    /// [`Limits::NETWORK_REFILL`].
    pub reservation_burst_per_network: u32,

    /// Concurrent circuits. A tab dials eight others when it starts, and most circuits are replaced by direct
    /// connections within seconds.
    pub circuits: usize,
    /// Concurrent circuits that peers of one IPv4 address or IPv6 /64 opened.
    pub circuits_per_network: usize,
    /// Concurrent circuits with one peer at either end. A tab has at most 24 peers with two circuits each, and as many
    /// again that are being opened, or are dead and not yet noticed.
    pub circuits_per_peer: usize,
    /// Lifetime of a circuit: a school day.
    pub circuit_duration: Duration,
    /// Bytes that one circuit may carry in both directions together: several downloads of a long chain.
    pub circuit_bytes: u64,
    /// Circuits that one peer may open in a burst; one more every [`Limits::RATE_REFILL`].
    pub circuit_burst_per_peer: NonZeroU32,
    /// Circuits that one IPv4 address or IPv6 /64 may open in a burst: all its tabs dial eight others each. One more
    /// every [`Limits::NETWORK_REFILL`].
    pub circuit_burst_per_network: u32,

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
    /// Registrations of the peers of one IPv4 address or IPv6 /64.
    pub registrations_per_network: usize,
    /// Bytes of the registrations in one response: some 600 tabs, and below the 512 KiB that a tab reads. The cookie of
    /// a response leads to the rest.
    pub discovery_bytes: usize,
    /// Rendezvous requests that one peer may send within [`Limits::RENDEZVOUS_REQUEST_WINDOW`]. A starting tab sends
    /// one every 1.3 seconds. A peer that sends more is disconnected.
    pub rendezvous_requests_per_window: u32,

    /// STUN responses in a burst, to all networks together.
    pub stun_burst: u32,
    /// Time after which one more STUN response may be sent.
    pub stun_refill: Duration,
    /// STUN responses to one IPv4 address or IPv6 /64 in a burst: thirty tabs that dial eight others each, with every
    /// request sent twice.
    pub stun_burst_per_network: u32,
    /// Time after which one more STUN response may be sent to the same network.
    pub stun_refill_per_network: Duration,

    /// Time between pings. Ping is the only way to notice that the remote end of a WebRTC connection is gone.
    pub ping_interval: Duration,
    /// Time without a ping response after which a connection is closed. A tab that verifies a long chain may not
    /// respond for some seconds.
    pub idle_timeout: Duration,

    /// Concurrent HTTP connections. A browser opens up to six while it loads the page, and closes them soon after. A
    /// newcomer evicts the oldest of the largest taker.
    pub http_connections: usize,
    /// Concurrent HTTP connections from one IPv4 address or IPv6 /64. A newcomer beyond that evicts the oldest of its
    /// own network.
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
        Self::for_tabs(Self::MIN_DEFAULT_TABS)
    }
}

impl Limits {
    /// The tabs for which the relay is made by default, even on the smallest computer.
    pub const MIN_DEFAULT_TABS: u32 = 1_000;
    /// The most tabs that one relay can be made for. More need several relays.
    pub const MAX_TABS: u32 = 100_000;
    /// Time after which the token buckets of a peer's reservations and circuits gain one token.
    pub const RATE_REFILL: Duration = Duration::from_secs(1);
    /// Time after which the token buckets of a network's reservations and circuits gain one token.
    pub const NETWORK_REFILL: Duration = Duration::from_millis(100);
    /// Window in which [`Limits::rendezvous_requests_per_window`] are counted.
    pub const RENDEZVOUS_REQUEST_WINDOW: Duration = Duration::from_secs(60);

    /// The limits of a relay for `tabs` tabs.
    #[must_use]
    pub fn for_tabs(tabs: u32) -> Self {
        let tabs = tabs.clamp(1, Self::MAX_TABS);
        let count =
            |per_tab: u32| usize::try_from(tabs.saturating_mul(per_tab)).unwrap_or(usize::MAX);
        // One network gets a quarter, but a small relay serves a whole class.
        let quarter = |all: usize, class: usize| (all / 4).max(class).min(all);
        let quarter_burst =
            |per_tab: u32, class: u32| (tabs.saturating_mul(per_tab) / 4).max(class);

        let reservations = count(1);
        let connections = count(2);
        let circuits = count(4);
        let registrations = count(4);
        let pending_connections = (count(1) / 4).max(128);
        let http_connections = count(1).max(256);
        Self {
            connections,
            connections_per_network: quarter(connections, 2 * CLASS),
            connections_per_peer: 8,
            pending_connections,
            pending_connections_per_network: quarter(pending_connections, CLASS + CLASS / 4),
            idle_connection: Duration::from_secs(60),
            websocket_message_bytes: 1 << 20,
            streams_per_connection: 128,
            stream_burst: 256,
            stream_refill: Duration::from_millis(60),
            read_burst: 8_192,
            read_refill: Duration::from_millis(1),

            reservations,
            reservations_per_network: quarter(reservations, CLASS),
            reservations_per_peer: 4,
            reservation_duration: Duration::from_secs(24 * 60 * 60),
            reservation_burst_per_peer: at_least_one(32),
            reservation_burst_per_network: quarter_burst(2, 64),

            circuits,
            circuits_per_network: quarter(circuits, 8 * CLASS),
            circuits_per_peer: 96,
            circuit_duration: Duration::from_secs(12 * 60 * 60),
            circuit_bytes: 1 << 30,
            circuit_burst_per_peer: at_least_one(128),
            circuit_burst_per_network: quarter_burst(8, 8 * 64),

            registration_min_ttl: Duration::from_secs(30),
            registration_max_ttl: Duration::from_secs(180),
            registration_bytes: 4 * 1024,
            registrations_per_peer: 8,
            registrations,
            registrations_per_network: quarter(registrations, 4 * CLASS),
            discovery_bytes: 384 * 1024,
            rendezvous_requests_per_window: 120,

            stun_burst: tabs.saturating_mul(4).max(2_000),
            stun_refill: Duration::from_secs(2) / tabs.max(500),
            stun_burst_per_network: quarter_burst(2, 500),
            stun_refill_per_network: Duration::from_millis(20),

            ping_interval: Duration::from_secs(4),
            idle_timeout: Duration::from_secs(12),

            http_connections,
            http_connections_per_network: quarter(http_connections, 2 * CLASS),
            http_header_timeout: Duration::from_secs(15),
            http_connection_duration: Duration::from_secs(120),
            http_header_bytes: 16 * 1024,
            http_headers: 64,
        }
    }

    /// File descriptors that the relay needs when everything is used, with 64 for its listeners and files.
    #[must_use]
    pub fn files(&self) -> u64 {
        let sockets = [
            self.connections,
            self.pending_connections,
            self.http_connections,
            64,
        ];
        sockets.iter().fold(0_u64, |sum, count| {
            sum.saturating_add(u64::try_from(*count).unwrap_or(u64::MAX))
        })
    }

    pub(crate) fn handshake_share(&self) -> Share {
        Share {
            total: self.pending_connections,
            per_network: self.pending_connections_per_network,
        }
    }

    pub(crate) fn connection_share(&self) -> Share {
        Share {
            total: self.connections,
            per_network: self.connections_per_network,
        }
    }

    pub(crate) fn reservation_share(&self) -> Share {
        Share {
            total: self.reservations,
            per_network: self.reservations_per_network,
        }
    }

    pub(crate) fn circuit_share(&self) -> Share {
        Share {
            total: self.circuits,
            per_network: self.circuits_per_network,
        }
    }

    pub(crate) fn registration_share(&self) -> Share {
        Share {
            total: self.registrations,
            per_network: self.registrations_per_network,
        }
    }

    pub(crate) fn http_share(&self) -> Share {
        Share {
            total: self.http_connections,
            per_network: self.http_connections_per_network,
        }
    }

    pub(crate) fn stream_bucket(&self) -> TokenBucketConfig {
        TokenBucketConfig {
            burst: self.stream_burst,
            refill: self.stream_refill,
        }
    }

    pub(crate) fn read_bucket(&self) -> TokenBucketConfig {
        TokenBucketConfig {
            burst: self.read_burst,
            refill: self.read_refill,
        }
    }

    pub(crate) fn reservation_bucket(&self) -> TokenBucketConfig {
        TokenBucketConfig {
            burst: self.reservation_burst_per_network,
            refill: Self::NETWORK_REFILL,
        }
    }

    pub(crate) fn circuit_bucket(&self) -> TokenBucketConfig {
        TokenBucketConfig {
            burst: self.circuit_burst_per_network,
            refill: Self::NETWORK_REFILL,
        }
    }

    /// STUN responses to all networks together, and to one network.
    pub(crate) fn stun_buckets(&self) -> (TokenBucketConfig, TokenBucketConfig) {
        (
            TokenBucketConfig {
                burst: self.stun_burst,
                refill: self.stun_refill,
            },
            TokenBucketConfig {
                burst: self.stun_burst_per_network,
                refill: self.stun_refill_per_network,
            },
        )
    }

    /// The limits of each listener for WebRTC-direct. It counts connections from the moment at which a peer has proved its
    /// address; before that, it forgets the oldest handshake for a new one. The relay's own limits evict the oldest
    /// connections for new ones, so those of the listener leave room for both.
    ///
    /// A listener keeps its limits as long as it lives, and the relay's own may be raised in the meantime. So these are
    /// the ones of the largest relay. They reserve no memory.
    pub(crate) fn webrtc(&self) -> libp2p_webrtc_direct::Limits {
        let most = Self::for_tabs(Self::MAX_TABS);
        let mut limits = libp2p_webrtc_direct::Limits::default();
        let room = most.pending_connections.saturating_mul(2);
        limits.connections = most.connections.saturating_add(room);
        limits.connections_per_network = most.connections_per_network.saturating_add(room);
        limits.pending_incoming = most.pending_connections;
        // A channel that is closing still counts.
        limits.channels = self.streams_per_connection.saturating_mul(2);
        limits
    }

    /// The configuration of libp2p's relay. Totals and shares of networks are limited by `hop_limits`, which replaces an
    /// old reservation where libp2p would refuse a new one. So libp2p's own totals are out of the way: it counts what is
    /// being evicted, and would refuse to renew a reservation at its limit.
    pub(crate) fn relay(&self) -> relay::Config {
        let mut config = relay::Config {
            max_reservations: usize::MAX,
            // libp2p-relay 0.22.0 refuses a peer that has more than this number, so it must be one less than the number
            // allowed.
            max_reservations_per_peer: self.reservations_per_peer.saturating_sub(1),
            reservation_duration: self.reservation_duration,
            max_circuits: usize::MAX,
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
            .circuit_src_per_peer(self.circuit_burst_per_peer, Self::RATE_REFILL)
    }
}

/// Tabs of a school class, with a margin.
const CLASS: usize = 32;

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
        assert_eq!(config.reservation_rate_limiters.len(), 1);
        assert_eq!(config.circuit_src_rate_limiters.len(), 1);
    }

    #[test]
    fn smallest_relay_serves_a_school_class() {
        let limits = Limits::for_tabs(32);
        let (tabs, dials) = (30, 8);
        assert!(limits.reservations_per_network >= tabs);
        assert!(limits.connections_per_network >= 2 * tabs);
        assert!(limits.pending_connections_per_network >= tabs);
        assert!(limits.circuits >= 4 * tabs);
        assert!(limits.reservation_burst_per_network as usize >= 2 * tabs);
        assert!(limits.circuit_burst_per_network as usize >= tabs * dials);
        assert!(limits.stun_burst_per_network as usize >= 2 * tabs * dials);
        assert!(limits.http_connections_per_network >= 2 * tabs);
    }

    #[test]
    fn one_network_gets_a_quarter_at_most() {
        for tabs in [1_000, 2_000, 5_000, Limits::MAX_TABS] {
            let limits = Limits::for_tabs(tabs);
            for share in [
                limits.handshake_share(),
                limits.connection_share(),
                limits.reservation_share(),
                limits.circuit_share(),
                limits.registration_share(),
                limits.http_share(),
            ] {
                assert!(share.per_network * 4 <= share.total, "{tabs}: {share:?}");
            }
            assert!(
                limits.stun_burst_per_network * 4 <= limits.stun_burst,
                "{tabs}"
            );
        }
    }

    #[test]
    fn webrtc_listener_has_room_for_the_largest_relay() {
        let (small, largest) = (Limits::for_tabs(1), Limits::for_tabs(Limits::MAX_TABS));
        let webrtc = small.webrtc();
        let pending = largest.pending_connections;
        assert!(webrtc.connections >= largest.connections + pending);
        assert!(webrtc.connections_per_network >= largest.connections_per_network + pending);
        assert!(webrtc.pending_incoming >= pending);
        assert_eq!(webrtc.channels, 2 * small.streams_per_connection);
    }

    #[test]
    fn limits_follow_from_the_number_of_tabs() {
        let limits = Limits::for_tabs(2_000);
        assert_eq!(limits.reservations, 2_000);
        assert_eq!(
            (limits.connections, limits.connections_per_network),
            (4_000, 1_000)
        );
        assert_eq!((limits.circuits, limits.registrations), (8_000, 8_000));
        assert_eq!(limits.files(), 4_000 + 500 + 2_000 + 64);
        assert_eq!(Limits::for_tabs(0), Limits::for_tabs(1));
        assert_eq!(
            Limits::for_tabs(u32::MAX),
            Limits::for_tabs(Limits::MAX_TABS)
        );
    }
}
