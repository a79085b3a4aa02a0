//! A rendezvous client: registers this tab at its relays, and asks them who else is in the room. Never believes more
//! than a name with its owner's signature, and never calls whom it hears of.
//!
//! libp2p's own client ends its process when a server answers with a question, and keeps the addresses of all it hears
//! of; a tab needs neither.

pub(crate) mod message;

#[cfg(target_arch = "wasm32")]
pub(crate) use client::{Errands, News, PROTOCOL};

#[cfg(target_arch = "wasm32")]
mod client {
    use std::time::Duration;

    use libp2p::{
        Multiaddr, PeerId, StreamProtocol,
        core::{PeerRecord, SignedEnvelope},
        identity::{Keypair, SigningError},
        request_response::{self, Message, OutboundRequestId},
    };
    use litemap::LiteMap;

    use super::message::{Answer, Cookie, Question};
    use crate::{
        config,
        net::codec::{FrameCodec, FrameEvent},
    };

    /// The protocol's name.
    pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/rendezvous/1.0.0");

    /// What a relay made of a question.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) enum News {
        /// It names this tab for so long; `None`: it does not.
        Registered(Option<Duration>),
        /// It knows these; `None`: it does not say.
        Discovered(Option<Found>),
    }

    /// Who is in the room, as a relay says.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Found {
        /// Each, and for how long yet.
        pub(crate) peers: Vec<(PeerId, Duration)>,
        /// For the next question.
        pub(crate) cookie: Option<Cookie>,
    }

    /// What a relay was asked.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Errand {
        Register,
        Discover,
    }

    impl Errand {
        const fn unanswered(self) -> News {
            match self {
                Self::Register => News::Registered(None),
                Self::Discover => News::Discovered(None),
            }
        }
    }

    /// Questions that wait for an answer: each ends in one, or in a failure after [`config::REQUEST_TIMEOUT`].
    #[derive(Debug)]
    pub(crate) struct Errands {
        namespace: String,
        open: LiteMap<OutboundRequestId, Errand>,
    }

    impl Errands {
        /// For the room whose peers meet at `namespace`.
        pub(crate) fn new(namespace: String) -> Self {
            Self {
                namespace,
                open: LiteMap::new(),
            }
        }

        /// Asks `relay` to name this tab.
        ///
        /// # Errors
        /// If the key does not sign.
        pub(crate) fn register(
            &mut self,
            behaviour: &mut request_response::Behaviour<FrameCodec>,
            relay: &PeerId,
            key: &Keypair,
            addresses: Vec<Multiaddr>,
        ) -> Result<(), SigningError> {
            let record = PeerRecord::new(key, addresses)?;
            let question = Question::Register {
                namespace: self.namespace.clone(),
                record: record.into_signed_envelope().into_protobuf_encoding(),
                ttl: config::RENDEZVOUS_TTL,
            };
            let sent = behaviour.send_request(relay, question.encode());
            self.open.insert(sent, Errand::Register);
            Ok(())
        }

        /// Asks `relay` who is in the room.
        pub(crate) fn discover(
            &mut self,
            behaviour: &mut request_response::Behaviour<FrameCodec>,
            relay: &PeerId,
            cookie: Option<Cookie>,
        ) {
            let question = Question::Discover {
                namespace: self.namespace.clone(),
                limit: config::MAX_DISCOVERED,
                cookie,
            };
            let sent = behaviour.send_request(relay, question.encode());
            self.open.insert(sent, Errand::Discover);
        }

        /// What an event means, and which relay it comes from.
        pub(crate) fn hear(&mut self, event: FrameEvent) -> Option<(PeerId, News)> {
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
                    let errand = self.open.remove(&request_id)?;
                    let news = match Answer::decode(&response) {
                        Ok(answer) => self.understand(errand, answer),
                        Err(_) => errand.unanswered(),
                    };
                    Some((peer, news))
                }
                request_response::Event::OutboundFailure {
                    peer, request_id, ..
                } => Some((peer, self.open.remove(&request_id)?.unanswered())),
                // A tab asks, and is not asked.
                request_response::Event::Message {
                    message: Message::Request { .. },
                    ..
                }
                | request_response::Event::InboundFailure { .. }
                | request_response::Event::ResponseSent { .. } => None,
            }
        }

        /// An answer to another question is none.
        fn understand(&self, errand: Errand, answer: Answer) -> News {
            match (errand, answer) {
                (Errand::Register, Answer::Registered(ttl)) => News::Registered(Some(ttl)),
                (Errand::Discover, Answer::Discovered { found, cookie }) => {
                    let here = found
                        .into_iter()
                        .filter(|registration| registration.namespace == self.namespace);
                    let named = here.filter_map(|registration| {
                        let name = signer(&registration.record)?;
                        Some((name, registration.ttl))
                    });
                    News::Discovered(Some(Found {
                        peers: named.collect(),
                        cookie,
                    }))
                }
                (errand, _) => errand.unanswered(),
            }
        }
    }

    /// Who signed this record about himself; `None` if nobody did.
    fn signer(record: &[u8]) -> Option<PeerId> {
        let envelope = SignedEnvelope::from_protobuf_encoding(record).ok()?;
        let record = PeerRecord::from_signed_envelope(envelope).ok()?;
        Some(record.peer_id())
    }

    #[cfg(test)]
    mod tests {
        use wasm_bindgen_test::wasm_bindgen_test as test;

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
        fn only_names_of_the_room_with_their_owners_signature_are_heard() {
            let errands = Errands::new("room".to_owned());
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
            let here = Found {
                peers: vec![(key.public().to_peer_id(), MINUTE)],
                cookie: None,
            };
            assert_eq!(
                errands.understand(Errand::Discover, answer),
                News::Discovered(Some(here))
            );
        }

        #[test]
        fn an_answer_to_another_question_is_a_refusal() {
            let errands = Errands::new("room".to_owned());
            let found = Answer::Discovered {
                found: Vec::new(),
                cookie: None,
            };
            for answer in [found, Answer::NotRegistered(Status(200))] {
                let news = errands.understand(Errand::Register, answer);
                assert_eq!(news, News::Registered(None));
            }
            for answer in [
                Answer::Registered(MAX_TTL),
                Answer::NotDiscovered(Status(1)),
            ] {
                let news = errands.understand(Errand::Discover, answer);
                assert_eq!(news, News::Discovered(None));
            }
        }
    }
}
