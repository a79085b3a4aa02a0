//! Every limit of the relay, by name, with its unit and its reason; never a decision about a single peer.
//!
//! The library's defaults (128 KiB and two minutes a circuit, 16 circuits, 60 reservations an hour from one
//! address) suit a public relay that only helps to punch holes. Here a school class of thirty tabs sits behind
//! one address and lives on its circuits for a whole lesson. So: generous per circuit and per address, bounded
//! in total.

use std::{num::NonZeroU32, time::Duration};

use libp2p::relay;

use crate::allowance::Allowance;

/// How much the relay gives to its peers. [`Limits::default`] is what the binary runs with; tests tighten
/// single fields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at one time, over all transports. Two for each reservation: a tab that comes back is there
    /// twice until its old connection is noticed to be dead.
    pub connections: usize,
    /// Connections of one IPv4 address, or one /64 of IPv6: six classes, and room for somebody else.
    pub connections_per_network: usize,
    /// Connections of one peer at one time: a tab that is loaded again every few seconds leaves some behind, which are
    /// noticed to be dead after [`Limits::silence`].
    pub connections_per_peer: usize,
    /// Handshakes at one time. Thirty tabs that open in the same second, four times over.
    pub pending_connections: usize,
    /// Handshakes at one time with one IPv4 address, or one /64 of IPv6: thirty tabs behind one address that open in the
    /// same second, and some to spare.
    pub pending_connections_per_network: usize,
    /// Handshakes of WebRTC that may come to nothing at once: libp2p-webrtc keeps a socket and some 100 kB of each, for
    /// ever. A class over bad radio, several times.
    pub unfinished_webrtc: u32,
    /// Time after which one more may.
    pub unfinished_webrtc_refill: Duration,
    /// How long a connection may carry nothing at all, not even a reservation: the time between loading the
    /// page and reserving a slot, many times over.
    pub idle_connection: Duration,
    /// Bytes of one WebSocket message, which is held in memory whole: a tab sends at most some 130 KiB at once.
    pub websocket_message_bytes: usize,
    /// Streams of one WebSocket connection at one time, each of which may keep 256 KiB waiting: a circuit is one stream, and
    /// a tab is part of [`Limits::circuits_per_peer`] at the most.
    pub streams_per_connection: usize,

    /// Tabs that may wait for calls at one time. Eight classes.
    pub reservations: usize,
    /// Reservations of one peer, one a connection.
    pub reservations_per_peer: usize,
    /// How long a reservation holds before the tab must renew it (clients do so at half time). It ends with the connection
    /// anyway; and clients hold the time that they are told of against their own clock, which may be an hour wrong.
    pub reservation_duration: Duration,
    /// Reservations one peer may make in a burst; one more every [`Limits::RATE_REFILL`].
    pub reservation_burst_per_peer: NonZeroU32,
    /// Reservations one IP address may make in a burst: every tab of eight classes behind one address at once,
    /// twice. One more every [`Limits::RATE_REFILL`].
    pub reservation_burst_per_ip: NonZeroU32,

    /// Circuits at one time: 128 tabs that call eight others each.
    pub circuits: usize,
    /// Circuits that one peer is part of, at either end: a tab has at most 24 peers with two circuits each, and as many
    /// again that are being made or that the relay has not yet noticed to be dead.
    pub circuits_per_peer: usize,
    /// How long one circuit may live: a school day.
    pub circuit_duration: Duration,
    /// Bytes that one circuit may carry, both ways together: a long chain to a newcomer, several times.
    pub circuit_bytes: u64,
    /// Circuits one peer may open in a burst; one more every [`Limits::RATE_REFILL`].
    pub circuit_burst_per_peer: NonZeroU32,
    /// Circuits one IP address may open in a burst: 128 tabs that call eight others each.
    pub circuit_burst_per_ip: NonZeroU32,

    /// The shortest time a registration may be asked to last. A tab that is closed cannot unregister, so
    /// registrations must be short-lived; the library's least is two hours.
    pub registration_min_ttl: Duration,
    /// The longest time a registration lasts, whatever is asked for, with room above the two minutes that tabs ask for. It
    /// ends with its peer's last connection anyway.
    pub registration_max_ttl: Duration,
    /// Bytes of the record that a peer registers. A tab's is below 1 KiB, and tabs look at no larger one.
    pub registration_bytes: usize,
    /// Rooms in which one peer may be registered at one time.
    pub registrations_per_peer: usize,
    /// Registrations at one time: four for each reservation.
    pub registrations: usize,
    /// Bytes of the registrations in one answer, below the 512 KiB that a tab reads: some 600 tabs. The next answer goes on.
    pub discovery_bytes: usize,
    /// What one peer may ask the rendezvous within [`Limits::QUESTION_WINDOW`]: a tab that starts asks every 1.3 seconds.
    /// A peer that asks more is disconnected.
    pub questions_per_window: u32,

    /// Answers of STUN in a burst: thirty tabs that call eight others each, with every request twice.
    pub stun_burst: u32,
    /// Time in which one more answer of STUN may be given.
    pub stun_refill: Duration,

    /// Time between pings. Ping is the only way to notice that the far end of a WebRTC connection is gone.
    pub ping_interval: Duration,
    /// How long a connection may answer no ping before it is closed. A tab that checks a long stretch of chain
    /// may be silent for some seconds.
    pub silence: Duration,

    /// HTTP connections at one time: six for each of eighty browsers.
    pub http_connections: usize,
    /// The same of one IPv4 address, or one /64 of IPv6: sixty browsers, and room for somebody else.
    pub http_connections_per_network: usize,
    /// How long the head of an HTTP request may take, and a kept-alive connection may wait for the next one.
    pub http_header_timeout: Duration,
    /// How long one HTTP connection may last, however busy: the largest file over a bad radio link.
    pub http_connection_duration: Duration,
    /// Bytes that the head of an HTTP request may take. Browsers send about 1 KiB.
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
            unfinished_webrtc: 256,
            unfinished_webrtc_refill: Duration::from_secs(5 * 60),
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
            questions_per_window: 120,

            stun_burst: 1_000,
            stun_refill: Duration::from_millis(4),

            ping_interval: Duration::from_secs(4),
            silence: Duration::from_secs(12),

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
    /// Time after which a spent bucket of reservations or circuits gains one more.
    pub const RATE_REFILL: Duration = Duration::from_secs(1);
    /// Time in which [`Limits::questions_per_window`] are counted.
    pub const QUESTION_WINDOW: Duration = Duration::from_secs(60);

    pub(crate) fn stun_allowance(&self) -> Allowance {
        Allowance {
            burst: self.stun_burst,
            refill: self.stun_refill,
        }
    }

    pub(crate) fn unfinished_webrtc(&self) -> Allowance {
        Allowance {
            burst: self.unfinished_webrtc,
            refill: self.unfinished_webrtc_refill,
        }
    }

    pub(crate) fn relay(&self) -> relay::Config {
        let mut config = relay::Config {
            max_reservations: self.reservations,
            // The library compares with "more than", so its limit is one below the number allowed.
            max_reservations_per_peer: self.reservations_per_peer.saturating_sub(1),
            reservation_duration: self.reservation_duration,
            max_circuits: self.circuits,
            max_circuits_per_peer: self.circuits_per_peer.saturating_sub(1),
            max_circuit_duration: self.circuit_duration,
            max_circuit_bytes: self.circuit_bytes,
            ..relay::Config::default()
        };
        // The `*_rate_per_*` methods add to the default limiters, which would stay in force.
        config.reservation_rate_limiters.clear();
        config.circuit_src_rate_limiters.clear();
        config
            .reservation_rate_per_peer(self.reservation_burst_per_peer, Self::RATE_REFILL)
            .reservation_rate_per_ip(self.reservation_burst_per_ip, Self::RATE_REFILL)
            .circuit_src_per_peer(self.circuit_burst_per_peer, Self::RATE_REFILL)
            .circuit_src_per_ip(self.circuit_burst_per_ip, Self::RATE_REFILL)
    }
}

/// `n`, or 1 where `n` is 0: a bucket of no tokens would refuse everybody.
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
    fn default_rate_limiters_of_the_library_are_replaced() {
        let config = Limits::default().relay();
        assert_eq!(config.reservation_rate_limiters.len(), 2);
        assert_eq!(config.circuit_src_rate_limiters.len(), 2);
    }

    #[test]
    fn a_class_fits_with_room_to_spare() {
        let limits = Limits::default();
        let (tabs, calls) = (30, 8);
        assert!(limits.reservations >= 2 * tabs);
        assert!(limits.circuits >= 2 * tabs * calls);
        assert!(limits.reservation_burst_per_ip.get() as usize >= 2 * tabs);
        assert!(limits.circuit_burst_per_ip.get() as usize >= 2 * tabs * calls);
        assert!(limits.connections >= 2 * tabs);
    }
}
