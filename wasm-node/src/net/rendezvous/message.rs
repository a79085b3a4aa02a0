//! The messages of [rendezvous](https://github.com/libp2p/specs/blob/master/rendezvous/README.md), as far as a client
//! says and hears them: it leaves by going away. Pure: bytes in, plain values out. Never checks a signature, and believes nothing that is said.

use std::time::Duration;

use prost::Message as _;

/// The longest answer, in bytes. 256 registrations of a tab that is known to several relays are some 250 KiB.
pub(crate) const MAX_ANSWER_LEN: usize = 512 * 1024;

/// The most registrations taken from an answer, whatever was asked for: a tab needs 8 peers, and remembers 512.
pub(crate) const MAX_REGISTRATIONS: usize = 512;

/// The longest signed record that is looked at, in bytes. A tab's is below 1 KiB.
pub(crate) const MAX_RECORD_LEN: usize = 4 * 1024;

/// The longest cookie that is kept for the next question, in bytes. rust-libp2p's are 8 and the namespace.
pub(crate) const MAX_COOKIE_LEN: usize = 512;

/// The longest time that a registration is believed to last; no spec allows more than 72 h.
pub(crate) const MAX_TTL: Duration = Duration::from_secs(72 * 60 * 60);

/// What makes a relay's next answer shorter. It alone knows what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cookie(pub(crate) Vec<u8>);

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// To be named to whoever asks for the namespace.
    Register {
        /// Where.
        namespace: String,
        /// Who and at which addresses, in a signed envelope.
        record: Vec<u8>,
        /// For how long.
        ttl: Duration,
    },
    /// Who is there.
    Discover {
        /// Where.
        namespace: String,
        /// How many at most.
        limit: u64,
        /// Where the last answer ended.
        cookie: Option<Cookie>,
    },
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It names this client for so long.
    Registered(Duration),
    /// It knows these.
    Discovered {
        /// In its order; those that are not to be used are left out.
        found: Vec<Registration>,
        /// For the next question.
        cookie: Option<Cookie>,
    },
    /// It does not do what it was asked to register.
    NotRegistered(Status),
    /// It does not say who is there.
    NotDiscovered(Status),
}

/// A number in place of an answer, as the spec lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) i32);

/// One who is there, as the server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registration {
    /// Where.
    pub(crate) namespace: String,
    /// Who and at which addresses, in a signed envelope that nobody has checked.
    pub(crate) record: Vec<u8>,
    /// For how long yet.
    pub(crate) ttl: Duration,
}

/// Why bytes are no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AnswerError {
    /// More than is read.
    #[error("an answer of {found} bytes where at most {MAX_ANSWER_LEN} are read")]
    TooLong {
        /// Its length.
        found: usize,
    },
    /// No protobuf message.
    #[error("malformed answer: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// A message of another kind.
    #[error("message {0} is no answer")]
    NoAnswer(i32),
    /// A kind of answer without what belongs to it.
    #[error("an answer of kind {0} with nothing in it")]
    Empty(i32),
}

const REGISTER: i32 = 0;
const REGISTERED: i32 = 1;
const DISCOVER: i32 = 3;
const DISCOVERED: i32 = 4;
const OK: i32 = 0;

impl Question {
    /// As it is sent, without its length.
    #[must_use]
    pub(crate) fn encode(self) -> Vec<u8> {
        let message = match self {
            Self::Register {
                namespace,
                record,
                ttl,
            } => wire::Message {
                kind: Some(REGISTER),
                register: Some(wire::Register {
                    namespace: Some(namespace),
                    record: Some(record),
                    ttl: Some(ttl.as_secs()),
                }),
                ..wire::Message::default()
            },
            Self::Discover {
                namespace,
                limit,
                cookie,
            } => wire::Message {
                kind: Some(DISCOVER),
                discover: Some(wire::Discover {
                    namespace: Some(namespace),
                    limit: Some(limit),
                    cookie: cookie.map(|Cookie(bytes)| bytes),
                }),
                ..wire::Message::default()
            },
        };
        message.encode_to_vec()
    }
}

impl Answer {
    /// Reads an answer without its length.
    ///
    /// # Errors
    /// If it is none. Single registrations that are of no use are passed over instead.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, AnswerError> {
        if bytes.len() > MAX_ANSWER_LEN {
            return Err(AnswerError::TooLong { found: bytes.len() });
        }
        let message = wire::Message::decode(bytes)?;
        // Absent, it is the enumeration's first.
        let kind = message.kind.unwrap_or(REGISTER);
        match kind {
            REGISTERED => {
                let answer = message.registered.ok_or(AnswerError::Empty(kind))?;
                Ok(match answer.status.unwrap_or(OK) {
                    OK => Self::Registered(seconds(answer.ttl)),
                    refused => Self::NotRegistered(Status(refused)),
                })
            }
            DISCOVERED => {
                let answer = message.discovered.ok_or(AnswerError::Empty(kind))?;
                Ok(match answer.status.unwrap_or(OK) {
                    OK => Self::Discovered {
                        found: answer
                            .registrations
                            .into_iter()
                            .filter_map(wire::Register::into_registration)
                            .take(MAX_REGISTRATIONS)
                            .collect(),
                        cookie: answer
                            .cookie
                            .filter(|cookie| cookie.len() <= MAX_COOKIE_LEN)
                            .map(Cookie),
                    },
                    refused => Self::NotDiscovered(Status(refused)),
                })
            }
            other => Err(AnswerError::NoAnswer(other)),
        }
    }
}

fn seconds(ttl: Option<u64>) -> Duration {
    Duration::from_secs(ttl.unwrap_or_default()).min(MAX_TTL)
}

/// As it is on the wire (proto2).
mod wire {
    use super::{MAX_RECORD_LEN, Registration, seconds};

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Message {
        #[prost(int32, optional, tag = "1")]
        pub(super) kind: Option<i32>,
        #[prost(message, optional, tag = "2")]
        pub(super) register: Option<Register>,
        #[prost(message, optional, tag = "3")]
        pub(super) registered: Option<Registered>,
        #[prost(message, optional, tag = "5")]
        pub(super) discover: Option<Discover>,
        #[prost(message, optional, tag = "6")]
        pub(super) discovered: Option<Discovered>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Register {
        #[prost(string, optional, tag = "1")]
        pub(super) namespace: Option<String>,
        #[prost(bytes = "vec", optional, tag = "2")]
        pub(super) record: Option<Vec<u8>>,
        #[prost(uint64, optional, tag = "3")]
        pub(super) ttl: Option<u64>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Registered {
        #[prost(int32, optional, tag = "1")]
        pub(super) status: Option<i32>,
        #[prost(uint64, optional, tag = "3")]
        pub(super) ttl: Option<u64>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Discover {
        #[prost(string, optional, tag = "1")]
        pub(super) namespace: Option<String>,
        #[prost(uint64, optional, tag = "2")]
        pub(super) limit: Option<u64>,
        #[prost(bytes = "vec", optional, tag = "3")]
        pub(super) cookie: Option<Vec<u8>>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Discovered {
        #[prost(message, repeated, tag = "1")]
        pub(super) registrations: Vec<Register>,
        #[prost(bytes = "vec", optional, tag = "2")]
        pub(super) cookie: Option<Vec<u8>>,
        #[prost(int32, optional, tag = "3")]
        pub(super) status: Option<i32>,
    }

    impl Register {
        /// `None` if it lacks something, or is too large to be looked at.
        pub(super) fn into_registration(self) -> Option<Registration> {
            Some(Registration {
                namespace: self.namespace?,
                record: self
                    .record
                    .filter(|record| record.len() <= MAX_RECORD_LEN)?,
                ttl: seconds(self.ttl),
            })
        }
    }
}

// Named, because the fuzzed targets include this file from elsewhere.
#[cfg(test)]
#[path = "message/tests.rs"]
mod tests;
