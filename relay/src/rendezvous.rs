//! The relay's [rendezvous](https://github.com/libp2p/specs/blob/master/rendezvous/README.md) point: names the peers of a
//! room to one another. Never calls them, never looks at the addresses that they sign, and never says which rooms there are.
//!
//! libp2p's own server takes records of any size up to its 1 MiB a message: one of half of that makes every answer about a
//! room too long for tabs. It also keeps who has left, keeps what was replaced until it expires, and names all rooms to
//! whoever asks for none.
//!
//! - [`wire`]: messages; [`registrations`]: who is where; [`askers`]: who asks without end.

mod askers;
mod registrations;
mod wire;

use std::{
    iter,
    time::{Duration, Instant},
};

use libp2p::{
    PeerId, StreamProtocol,
    core::{PeerRecord, SignedEnvelope},
    request_response::{self, ProtocolSupport},
};

use self::{
    askers::Askers,
    registrations::{NewRegistration, Registrations},
    wire::{Discover, DiscoverResponse, Kind, Page, Register, RegisterResponse, Status},
};
pub(crate) use self::{
    askers::Excess,
    wire::{Codec, Message},
};
use crate::Limits;

/// The protocol's name.
const PROTOCOL: StreamProtocol = StreamProtocol::new("/rendezvous/1.0.0");
/// The longest name of a place where peers meet, in bytes (spec, "Interaction").
const MAX_NAMESPACE_LEN: usize = 255;
/// How long a registration lasts that does not say so (spec, "Registration Lifetime").
const DEFAULT_TTL: Duration = Duration::from_secs(2 * 60 * 60);
/// How long a question may take to arrive, and an answer to leave.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Questions of one connection at one time. A tab has one open, or two when it comes back.
const MAX_OPEN_QUESTIONS: usize = 8;

/// What carries questions and answers.
pub(crate) type Behaviour = request_response::Behaviour<Codec>;

/// Ready to be part of a swarm, which hands the questions to a [`Rendezvous`].
pub(crate) fn behaviour() -> Behaviour {
    let config = request_response::Config::default()
        .with_request_timeout(EXCHANGE_TIMEOUT)
        .with_max_concurrent_streams(MAX_OPEN_QUESTIONS);
    Behaviour::with_codec(
        Codec,
        iter::once((PROTOCOL, ProtocolSupport::Inbound)),
        config,
    )
}

/// Answers questions. It knows connected peers only: [`Rendezvous::forget`] the others.
#[derive(Debug)]
pub(crate) struct Rendezvous {
    registrations: Registrations,
    askers: Askers,
    max_record_len: usize,
    min_ttl: Duration,
    max_ttl: Duration,
}

impl Rendezvous {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            registrations: Registrations::new(limits),
            askers: Askers::new(limits),
            max_record_len: limits.registration_bytes,
            min_ttl: limits.registration_min_ttl,
            max_ttl: limits.registration_max_ttl,
        }
    }

    /// What to answer `peer`, who asked `question` at `now`; `None`: nothing, as the protocol has it for a peer that
    /// unregisters, or because that was no question.
    ///
    /// # Errors
    /// If the peer asks so often that it should be let go.
    pub(crate) fn answer(
        &mut self,
        peer: PeerId,
        question: Message,
        now: Instant,
    ) -> Result<Option<Message>, Excess> {
        self.askers.asked(peer, now)?;
        Ok(match question.kind() {
            Some(Kind::Register) => {
                let registered = self.register(peer, question.register.unwrap_or_default(), now);
                Some(RegisterResponse::from(registered).into())
            }
            Some(Kind::Unregister) => {
                let namespace = question.unregister.unwrap_or_default().namespace;
                self.registrations
                    .remove(&peer, namespace.as_deref().unwrap_or_default());
                None
            }
            Some(Kind::Discover) => {
                let discovered = self.discover(question.discover.unwrap_or_default(), now);
                Some(DiscoverResponse::from(discovered).into())
            }
            Some(Kind::RegisterResponse | Kind::DiscoverResponse) | None => None,
        })
    }

    /// `peer` has no connection any more: nobody can reach it here, whatever time it had left.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.askers.forget(peer);
        self.registrations.forget(peer);
    }

    fn register(
        &mut self,
        peer: PeerId,
        register: Register,
        now: Instant,
    ) -> Result<Duration, Status> {
        let namespace = namespace(register.namespace)?;
        let asked = register.ttl.map_or(DEFAULT_TTL, Duration::from_secs);
        if asked < self.min_ttl {
            return Err(Status::InvalidTtl);
        }
        let ttl = asked.min(self.max_ttl);
        let record = register.signed_peer_record.unwrap_or_default();
        if record.len() > self.max_record_len {
            return Err(Status::InvalidSignedPeerRecord);
        }
        if signer(&record).ok_or(Status::InvalidSignedPeerRecord)? != peer {
            return Err(Status::NotAuthorized);
        }
        let registration = NewRegistration {
            peer,
            namespace,
            record,
            ttl,
        };
        self.registrations
            .add(registration, now)
            .map_err(|_| Status::Unavailable)?;
        Ok(ttl)
    }

    fn discover(&mut self, discover: Discover, now: Instant) -> Result<Page, Status> {
        let namespace = namespace(discover.namespace)?;
        let cookie = discover.cookie.as_deref();
        self.registrations
            .page(&namespace, cookie, discover.limit, now)
            .map_err(|_| Status::InvalidCookie)
    }
}

/// Who names no room is told of none.
fn namespace(given: Option<String>) -> Result<String, Status> {
    given
        .filter(|namespace| (1..=MAX_NAMESPACE_LEN).contains(&namespace.len()))
        .ok_or(Status::InvalidNamespace)
}

/// Who signed this record about himself; `None` if nobody did.
fn signer(record: &[u8]) -> Option<PeerId> {
    let envelope = SignedEnvelope::from_protobuf_encoding(record).ok()?;
    // The domain that the spec names, and the one that rust-libp2p had before.
    let record = PeerRecord::from_signed_envelope_interop(envelope.clone())
        .or_else(|_| PeerRecord::from_signed_envelope(envelope))
        .ok()?;
    Some(record.peer_id())
}

#[cfg(test)]
mod tests;
