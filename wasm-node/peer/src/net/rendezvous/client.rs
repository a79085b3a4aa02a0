//! The client for one room: its open requests, and what their responses mean.

use std::time::Duration;

use libp2p::{
    Multiaddr, PeerId,
    core::{PeerRecord, SignedEnvelope},
    identity::{Keypair, SigningError},
    request_response::{self, Message, OutboundRequestId},
};
use litemap::LiteMap;

use super::message::{Answer, Cookie, Question};
use crate::net::codec::{FrameCodec, FrameEvent};

/// How long a registration lasts, and so the longest time for which others find a closed tab. Longer than a minute,
/// because browsers wake hidden tabs only once a minute.
pub(crate) const RENDEZVOUS_TTL: Duration = Duration::from_secs(120);
/// Registrations that one discovery asks for: about 64 KiB; the next answer continues where this one ended.
const MAX_DISCOVERED: u64 = 256;

/// The outcome of a request to a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RendezvousEvent {
    /// The relay registered this tab for this long; `None` if it refused or did not answer.
    Registered(Option<Duration>),
    /// The peers registered at the relay; `None` if it refused or did not answer.
    Discovered(Option<DiscoveredPeers>),
}

/// Peers registered in the room's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DiscoveredPeers {
    /// In the order of the response.
    pub(crate) peers: Vec<DiscoveredPeer>,
    /// For the next discovery at this relay.
    pub(crate) cookie: Option<Cookie>,
}

/// A peer that is registered, with what it signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DiscoveredPeer {
    pub(crate) peer: PeerId,
    /// The remaining lifetime of its registration.
    pub(crate) ttl: Duration,
    /// The addresses that it signed: circuits of its relays, and a keeper's own.
    pub(crate) addresses: Vec<Multiaddr>,
}

/// The kind of an open request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestKind {
    Register,
    Discover,
}

impl RequestKind {
    const fn failed(self) -> RendezvousEvent {
        match self {
            Self::Register => RendezvousEvent::Registered(None),
            Self::Discover => RendezvousEvent::Discovered(None),
        }
    }
}

/// The client for one room, with its open requests: each ends with a response, or fails after a while.
#[derive(Debug)]
pub(crate) struct RendezvousClient {
    namespace: String,
    open: LiteMap<OutboundRequestId, RequestKind>,
}

impl RendezvousClient {
    /// A client for the room with this `namespace`.
    pub(crate) fn new(namespace: String) -> Self {
        Self {
            namespace,
            open: LiteMap::new(),
        }
    }

    /// Registers this tab at `relay`.
    ///
    /// # Errors
    /// If the record cannot be signed.
    pub(crate) fn register(
        &mut self,
        behaviour: &mut request_response::Behaviour<FrameCodec>,
        relay: &PeerId,
        key: &Keypair,
        addresses: Vec<Multiaddr>,
    ) -> Result<(), SigningError> {
        let record = PeerRecord::new(key, addresses)?;
        let request = Question::Register {
            namespace: self.namespace.clone(),
            record: record.into_signed_envelope().into_protobuf_encoding(),
            ttl: RENDEZVOUS_TTL,
        };
        let sent = behaviour.send_request(relay, request.encode());
        self.open.insert(sent, RequestKind::Register);
        Ok(())
    }

    /// Discovers the peers in the room that are registered at `relay`.
    pub(crate) fn discover(
        &mut self,
        behaviour: &mut request_response::Behaviour<FrameCodec>,
        relay: &PeerId,
        cookie: Option<Cookie>,
    ) {
        let request = Question::Discover {
            namespace: self.namespace.clone(),
            limit: MAX_DISCOVERED,
            cookie,
        };
        let sent = behaviour.send_request(relay, request.encode());
        self.open.insert(sent, RequestKind::Discover);
    }

    /// Handles an event of the protocol. Returns the outcome of a request that ended, and its relay.
    pub(crate) fn on_event(&mut self, event: FrameEvent) -> Option<(PeerId, RendezvousEvent)> {
        match event {
            request_response::Event::Message {
                peer,
                message:
                    Message::Response {
                        request_id,
                        response,
                    },
                ..
            } => {
                let kind = self.open.remove(&request_id)?;
                let event = match Answer::decode(&response) {
                    Ok(answer) => self.interpret(kind, answer),
                    Err(_) => kind.failed(),
                };
                Some((peer, event))
            }
            request_response::Event::OutboundFailure {
                peer, request_id, ..
            } => Some((peer, self.open.remove(&request_id)?.failed())),
            // This tab is only a client.
            request_response::Event::Message {
                message: Message::Request { .. },
                ..
            }
            | request_response::Event::InboundFailure { .. }
            | request_response::Event::ResponseSent { .. } => None,
        }
    }

    /// The outcome of a request with this response. A response of another kind counts as a refusal.
    fn interpret(&self, kind: RequestKind, answer: Answer) -> RendezvousEvent {
        match (kind, answer) {
            (RequestKind::Register, Answer::Registered(ttl)) => {
                RendezvousEvent::Registered(Some(ttl))
            }
            (RequestKind::Discover, Answer::Discovered { found, cookie }) => {
                let in_room = found
                    .into_iter()
                    .filter(|registration| registration.namespace == self.namespace);
                let signed = in_room.filter_map(|registration| {
                    let record = signed_record(&registration.record)?;
                    Some(DiscoveredPeer {
                        peer: record.peer_id(),
                        ttl: registration.ttl,
                        addresses: record.addresses().to_vec(),
                    })
                });
                RendezvousEvent::Discovered(Some(DiscoveredPeers {
                    peers: signed.collect(),
                    cookie,
                }))
            }
            (kind, _) => kind.failed(),
        }
    }
}

/// What a peer signed about itself; `None` if the signature is invalid.
fn signed_record(record: &[u8]) -> Option<PeerRecord> {
    let envelope = SignedEnvelope::from_protobuf_encoding(record).ok()?;
    PeerRecord::from_signed_envelope(envelope).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::rendezvous::message::{MAX_TTL, Registration, Status};

    const MINUTE: Duration = Duration::from_secs(60);

    fn record_of(key: &Keypair) -> Vec<u8> {
        PeerRecord::new(key, vec![Multiaddr::empty()])
            .expect("signs")
            .into_signed_envelope()
            .into_protobuf_encoding()
    }

    fn registration(namespace: &str, record: Vec<u8>) -> Registration {
        Registration {
            namespace: namespace.to_owned(),
            record,
            ttl: MINUTE,
        }
    }

    #[test]
    fn only_signed_registrations_of_the_room_count() {
        let client = RendezvousClient::new("room".to_owned());
        let key = Keypair::generate_ed25519();
        let mut forged = record_of(&key);
        if let Some(last) = forged.last_mut() {
            *last ^= 1;
        }
        let answer = Answer::Discovered {
            found: vec![
                registration("room", forged),
                registration("room", vec![1, 2, 3]),
                registration("elsewhere", record_of(&key)),
                registration("room", record_of(&key)),
            ],
            cookie: None,
        };
        let expected = DiscoveredPeers {
            peers: vec![DiscoveredPeer {
                peer: key.public().to_peer_id(),
                ttl: MINUTE,
                addresses: vec![Multiaddr::empty()],
            }],
            cookie: None,
        };
        assert_eq!(
            client.interpret(RequestKind::Discover, answer),
            RendezvousEvent::Discovered(Some(expected))
        );
    }

    #[test]
    fn response_of_another_kind_is_a_refusal() {
        let client = RendezvousClient::new("room".to_owned());
        let found = Answer::Discovered {
            found: Vec::new(),
            cookie: None,
        };
        for answer in [found, Answer::NotRegistered(Status(200))] {
            let event = client.interpret(RequestKind::Register, answer);
            assert_eq!(event, RendezvousEvent::Registered(None));
        }
        for answer in [
            Answer::Registered(MAX_TTL),
            Answer::NotDiscovered(Status(1)),
        ] {
            let event = client.interpret(RequestKind::Discover, answer);
            assert_eq!(event, RendezvousEvent::Discovered(None));
        }
    }
}
