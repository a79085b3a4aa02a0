//! A [rendezvous](https://github.com/libp2p/specs/blob/master/rendezvous/README.md) server: peers register in a room (a
//! namespace) and discover the other peers there.
//!
//! It never dials a peer, never interprets the addresses in a peer record, and never lists rooms. docs/protocols.md,
//! "Rendezvous", says what it requires.
//!
//! It replaces the server of libp2p-rendezvous 0.18.0, which
//! - accepts records up to its message limit of 1 MiB, although one of half that size makes every response about a room
//!   too long for tabs;
//! - keeps the registrations of peers that disconnected, and keeps replaced ones until they expire;
//! - lists the peers of all rooms to a peer that names no room.
//!
//! The submodules: [`wire`] has the messages, [`registrations`] the table of registered peers, and
//! [`request_rate_limiter`] the limit on requests per peer.

mod registrations;
mod request_rate_limiter;
mod wire;

use std::{
    iter,
    sync::Arc,
    time::{Duration, Instant},
};

use libp2p::{
    PeerId, StreamProtocol,
    core::{PeerRecord, SignedEnvelope},
    request_response::{self, ProtocolSupport},
};
use rendezvous_messages::{Discover, Kind, Message, PROTOCOL, Register, Status};

use self::{
    registrations::{Added, Full, NewRegistration, Registrations},
    request_rate_limiter::RequestRateLimiter,
    wire::{Page, discover_response, register_response},
};
pub(crate) use self::{request_rate_limiter::RateLimitExceeded, wire::Codec};
use crate::{
    limits::Limits,
    metrics::{Limit, Metrics, Resource},
    network::Network,
};

/// Maximum length of a namespace, in bytes (rendezvous spec, "Interaction").
const MAX_NAMESPACE_LEN: usize = 255;
/// Time to live of a registration that requests none (rendezvous spec, "Registration Lifetime").
const DEFAULT_TTL: Duration = Duration::from_secs(2 * 60 * 60);
/// How long it may take to receive a request and to send its response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Concurrent requests of one connection. A tab has one, or two while it reconnects.
const MAX_CONCURRENT_REQUESTS: usize = 8;

/// The behaviour that receives requests and sends responses.
pub(crate) type Behaviour = request_response::Behaviour<Codec>;

/// Creates the behaviour for the swarm. The event loop passes its requests to [`Rendezvous::handle_request`].
pub(crate) fn behaviour() -> Behaviour {
    let config = request_response::Config::default()
        .with_request_timeout(REQUEST_TIMEOUT)
        .with_max_concurrent_streams(MAX_CONCURRENT_REQUESTS);
    Behaviour::with_codec(
        Codec,
        iter::once((StreamProtocol::new(PROTOCOL), ProtocolSupport::Inbound)),
        config,
    )
}

/// The state of the server. It has entries only for connected peers: call [`Rendezvous::on_disconnected`] for the
/// others.
#[derive(Debug)]
pub(crate) struct Rendezvous {
    registrations: Registrations,
    metrics: Arc<Metrics>,
    request_rate_limiter: RequestRateLimiter,
    max_record_len: usize,
    min_ttl: Duration,
    max_ttl: Duration,
}

impl Rendezvous {
    pub(crate) fn new(limits: &Limits, metrics: &Arc<Metrics>) -> Self {
        Self {
            registrations: Registrations::new(limits),
            metrics: Arc::clone(metrics),
            request_rate_limiter: RequestRateLimiter::new(limits),
            max_record_len: limits.registration_bytes,
            min_ttl: limits.registration_min_ttl,
            max_ttl: limits.registration_max_ttl,
        }
    }

    pub(crate) fn set_limits(&mut self, limits: &Limits) {
        self.registrations.set_share(limits.registration_share());
    }

    /// Handles a request of `peer`, which is connected from `network`, and returns the response.
    ///
    /// Returns `None` for an unregister request, which has no response in the protocol, and for messages that are not
    /// requests.
    ///
    /// # Errors
    /// Fails if the peer exceeds its rate limit and should be disconnected.
    pub(crate) fn handle_request(
        &mut self,
        (peer, network): (PeerId, Network),
        request: Message,
        now: Instant,
    ) -> Result<Option<Message>, RateLimitExceeded> {
        self.request_rate_limiter
            .record(peer, now)
            .inspect_err(|_| {
                self.metrics
                    .refused(Resource::RendezvousRequests, Limit::Peer);
            })?;
        let response = match request.kind() {
            Some(Kind::Register) => {
                let register = request.register.unwrap_or_default();
                let registered = self.register((peer, network), register, now);
                Some(register_response(registered).into())
            }
            Some(Kind::Unregister) => {
                let namespace = request.unregister.unwrap_or_default().namespace;
                self.registrations
                    .remove(&peer, namespace.as_deref().unwrap_or_default());
                None
            }
            Some(Kind::Discover) => {
                let discovered = self.discover(request.discover.unwrap_or_default(), now);
                Some(discover_response(discovered).into())
            }
            Some(Kind::RegisterResponse | Kind::DiscoverResponse) | None => None,
        };
        self.update_metrics();
        Ok(response)
    }

    /// Removes a peer that has no connection left. Other peers cannot reach it through this relay anymore, even if its
    /// registration has not expired.
    pub(crate) fn on_disconnected(&mut self, peer: &PeerId) {
        self.request_rate_limiter.remove(peer);
        self.registrations.remove_peer(peer);
        self.update_metrics();
    }

    fn register(
        &mut self,
        (peer, network): (PeerId, Network),
        register: Register,
        now: Instant,
    ) -> Result<Duration, Status> {
        let namespace = namespace(register.namespace)?;
        let requested = register.ttl.map_or(DEFAULT_TTL, Duration::from_secs);
        if requested < self.min_ttl {
            return Err(Status::InvalidTtl);
        }
        let ttl = requested.min(self.max_ttl);
        let record = register.signed_peer_record.unwrap_or_default();
        if record.len() > self.max_record_len {
            return Err(Status::InvalidSignedPeerRecord);
        }
        if signer(&record).ok_or(Status::InvalidSignedPeerRecord)? != peer {
            return Err(Status::NotAuthorized);
        }
        let registration = NewRegistration {
            peer,
            network,
            namespace,
            record,
            ttl,
        };
        match self.registrations.add(registration, now) {
            Ok(Added::Free) => {}
            Ok(Added::Evicted) => self.metrics.evicted(Resource::Registrations),
            Err(Full(limit)) => {
                self.metrics.refused(Resource::Registrations, limit);
                return Err(Status::Unavailable);
            }
        }
        Ok(ttl)
    }

    fn update_metrics(&self) {
        let count = i64::try_from(self.registrations.len()).unwrap_or(i64::MAX);
        self.metrics.registrations.set(count);
    }

    fn discover(&mut self, discover: Discover, now: Instant) -> Result<Page, Status> {
        let namespace = namespace(discover.namespace)?;
        let cookie = discover.cookie.as_deref();
        self.registrations
            .page(&namespace, cookie, discover.limit, now)
            .map_err(|_| Status::InvalidCookie)
    }
}

/// Validates a namespace. A missing or empty one is an error, so no request can list the peers of all rooms.
fn namespace(given: Option<String>) -> Result<String, Status> {
    given
        .filter(|namespace| (1..=MAX_NAMESPACE_LEN).contains(&namespace.len()))
        .ok_or(Status::InvalidNamespace)
}

/// The peer that signed this record about itself, or `None` if the record is invalid.
fn signer(record: &[u8]) -> Option<PeerId> {
    let envelope = SignedEnvelope::from_protobuf_encoding(record).ok()?;
    // Two domain strings are in use: the spec's, and an older one of rust-libp2p.
    let record = PeerRecord::from_signed_envelope_interop(envelope.clone())
        .or_else(|_| PeerRecord::from_signed_envelope(envelope))
        .ok()?;
    Some(record.peer_id())
}

#[cfg(test)]
mod tests;
