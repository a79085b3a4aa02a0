//! What the relay counts: for Prometheus, and for the line in the log that says that it is full.
//!
//! Nothing here has a name or an address of a peer in it.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use libp2p::{Multiaddr, multiaddr::Protocol};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::fair_table::Full;

/// Time between two lines in the log about the same kind of refusal.
const FULL_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// All metrics of a relay.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    connections: Family<TransportLabels, Gauge>,
    bytes: Family<ByteLabels, Counter>,
    failed_handshakes: Family<TransportLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    evictions: Family<EvictionLabels, Counter>,
    /// Reservations that are held.
    pub(crate) reservations: Gauge,
    /// Circuits that are open.
    pub(crate) circuits: Gauge,
    /// Circuits that were opened since the start.
    pub(crate) circuits_opened: Counter,
    /// Registrations at the rendezvous.
    pub(crate) registrations: Gauge,
    /// STUN responses that were sent.
    pub(crate) stun_responses: Counter,
    /// When each kind of refusal was logged, and how often it happened since.
    log: Mutex<HashMap<Refusal, (Instant, u64)>>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TransportLabels {
    transport: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByteLabels {
    transport: &'static str,
    direction: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RefusalLabels {
    what: &'static str,
    limit: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EvictionLabels {
    what: &'static str,
}

/// A resource of the relay.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Resource {
    Connections,
    Reservations,
    Circuits,
    Registrations,
    RendezvousRequests,
    StunResponses,
}

impl Resource {
    fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Reservations => "reservations",
            Self::Circuits => "circuits",
            Self::Registrations => "registrations",
            Self::RendezvousRequests => "rendezvous_requests",
            Self::StunResponses => "stun_responses",
        }
    }
}

/// The limit that a refused client met.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Limit {
    /// The relay has no more of it.
    Total,
    /// The network has its share.
    Network,
    /// The peer has its share.
    Peer,
    /// Too many within a short time.
    Rate,
}

impl Limit {
    fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Network => "network",
            Self::Peer => "peer",
            Self::Rate => "rate",
        }
    }
}

impl From<Full> for Limit {
    fn from(full: Full) -> Self {
        match full {
            Full::Network(_) => Self::Network,
            Full::Total(_) => Self::Total,
        }
    }
}

/// What was refused, and why.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
struct Refusal {
    what: Resource,
    limit: Limit,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.what.name().replace('_', " ");
        match self.limit {
            Limit::Total => write!(f, "the relay is full: it has no more {what}"),
            Limit::Network => write!(f, "a network has its share of {what}"),
            Limit::Peer => write!(f, "a peer has its share of {what}"),
            Limit::Rate => write!(f, "too many {what} within a short time"),
        }
    }
}

/// Counts the bytes of one transport.
#[derive(Clone, Debug)]
pub(crate) struct TransportBytes {
    received: Counter,
    sent: Counter,
}

impl TransportBytes {
    pub(crate) fn received(&self, bytes: usize) {
        self.received
            .inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("heartchain_relay"),
            connections: Family::default(),
            bytes: Family::default(),
            failed_handshakes: Family::default(),
            refusals: Family::default(),
            evictions: Family::default(),
            reservations: Gauge::default(),
            circuits: Gauge::default(),
            circuits_opened: Counter::default(),
            registrations: Gauge::default(),
            stun_responses: Counter::default(),
            log: Mutex::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        let connections = self.connections.clone();
        registry.register("connections", "Open libp2p connections", connections);
        let bytes = self.bytes.clone();
        registry.register(
            "bytes",
            "Bytes of all streams, nearly all in circuits",
            bytes,
        );
        let failed = self.failed_handshakes.clone();
        registry.register(
            "failed_handshakes",
            "Handshakes without a connection",
            failed,
        );
        let refusals = self.refusals.clone();
        registry.register("refusals", "What clients were refused, by limit", refusals);
        let evictions = self.evictions.clone();
        let help = "What a network lost because others needed it";
        registry.register("evictions", help, evictions);
        let reservations = self.reservations.clone();
        registry.register("reservations", "Tabs that hold a reservation", reservations);
        registry.register("circuits", "Open circuits", self.circuits.clone());
        let opened = self.circuits_opened.clone();
        registry.register("circuits_opened", "Circuits since the start", opened);
        let registrations = self.registrations.clone();
        registry.register(
            "registrations",
            "Tabs that are listed in rooms",
            registrations,
        );
        let stun = self.stun_responses.clone();
        registry.register("stun_responses", "STUN responses since the start", stun);
    }

    pub(crate) fn opened(&self, remote: &Multiaddr) {
        let transport = transport_of(remote);
        let labels = TransportLabels { transport };
        self.connections.get_or_create(&labels).inc();
    }

    pub(crate) fn closed(&self, remote: &Multiaddr) {
        let transport = transport_of(remote);
        let labels = TransportLabels { transport };
        self.connections.get_or_create(&labels).dec();
    }

    pub(crate) fn handshake_failed(&self, remote: &Multiaddr) {
        let transport = transport_of(remote);
        let labels = TransportLabels { transport };
        self.failed_handshakes.get_or_create(&labels).inc();
    }

    pub(crate) fn bytes_of(&self, transport: &'static str) -> TransportBytes {
        let counter = |direction| {
            let labels = ByteLabels {
                transport,
                direction,
            };
            self.bytes.get_or_create(&labels).clone()
        };
        TransportBytes {
            received: counter("received"),
            sent: counter("sent"),
        }
    }

    pub(crate) fn evicted(&self, what: Resource) {
        let what = what.name();
        self.evictions.get_or_create(&EvictionLabels { what }).inc();
    }

    /// Counts a refusal, and logs it unless the same kind was logged within the last minute.
    pub(crate) fn refused(&self, what: Resource, limit: Limit) {
        let labels = RefusalLabels {
            what: what.name(),
            limit: limit.name(),
        };
        self.refusals.get_or_create(&labels).inc();
        let refusal = Refusal { what, limit };
        if let Some(more) = self.due_in_log(refusal, Instant::now()) {
            tracing::warn!(what = labels.what, limit = labels.limit, more, "{refusal}");
        }
    }

    /// How many refusals of this kind were not logged since the last one that was, or `None` if this one should not be.
    fn due_in_log(&self, refusal: Refusal, now: Instant) -> Option<u64> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        match log.get_mut(&refusal) {
            Some((logged, more)) if now.saturating_duration_since(*logged) < FULL_LOG_INTERVAL => {
                *more = more.saturating_add(1);
                None
            }
            entry => {
                let more = entry.map_or(0, |(_, more)| *more);
                log.insert(refusal, (now, 0));
                Some(more)
            }
        }
    }

    /// All metrics in the OpenMetrics text format, without its last line.
    ///
    /// # Errors
    /// Fails only if the encoder does.
    pub(crate) fn encode(&self, out: &mut String) -> Result<(), fmt::Error> {
        text::encode_registry(out, &self.registry)
    }
}

/// The transport that a client's address belongs to.
fn transport_of(remote: &Multiaddr) -> &'static str {
    let is_webrtc = remote.iter().any(|part| part == Protocol::WebRTCDirect);
    if is_webrtc { WEBRTC } else { WEBSOCKET }
}

/// Label of the transport WebRTC-direct.
pub(crate) const WEBRTC: &str = "webrtc-direct";
/// Label of the transport WebSocket.
pub(crate) const WEBSOCKET: &str = "websocket";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_logged_once_a_minute() {
        let metrics = Metrics::new();
        let full = Refusal {
            what: Resource::Reservations,
            limit: Limit::Total,
        };
        let rate = Refusal {
            limit: Limit::Rate,
            ..full
        };
        let start = Instant::now();
        assert_eq!(metrics.due_in_log(full, start), Some(0));
        assert_eq!(metrics.due_in_log(rate, start), Some(0));
        for second in 1..60 {
            let now = start + Duration::from_secs(second);
            assert_eq!(metrics.due_in_log(full, now), None);
        }
        assert_eq!(
            metrics.due_in_log(full, start + FULL_LOG_INTERVAL),
            Some(59)
        );
    }

    #[test]
    fn encoding_has_all_labels() {
        let metrics = Metrics::new();
        let remote = |text: &str| text.parse::<Multiaddr>().expect("an address");
        let websocket = remote("/ip4/192.0.2.1/tcp/1/ws");
        metrics.opened(&websocket);
        metrics.opened(&remote("/ip4/192.0.2.1/udp/1/webrtc-direct"));
        metrics.closed(&websocket);
        metrics.bytes_of(WEBSOCKET).sent(3);
        metrics.evicted(Resource::Circuits);
        metrics.refused(Resource::Reservations, Limit::Total);
        let mut text = String::new();
        metrics.encode(&mut text).expect("encodes");
        for line in [
            "heartchain_relay_connections{transport=\"websocket\"} 0",
            "heartchain_relay_connections{transport=\"webrtc-direct\"} 1",
            "heartchain_relay_bytes_total{transport=\"websocket\",direction=\"sent\"} 3",
            "heartchain_relay_evictions_total{what=\"circuits\"} 1",
            "heartchain_relay_refusals_total{what=\"reservations\",limit=\"total\"} 1",
            "heartchain_relay_reservations 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
