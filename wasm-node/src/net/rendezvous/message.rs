//! Messages of the [rendezvous protocol](https://github.com/libp2p/specs/blob/master/rendezvous/README.md) that a
//! client sends and receives. It never sends UNREGISTER: a tab leaves by disconnecting. The code is pure, from bytes to
//! plain values and back. It never checks a signature, so nothing in a response can be trusted yet.

use std::time::Duration;

use prost::Message as _;

/// Longest response, in bytes. 256 registrations of tabs that are registered at several relays are about 250 KiB.
pub(crate) const MAX_MESSAGE_LEN: usize = 512 * 1024;

/// Registrations accepted from one response, whatever limit was requested: a tab needs 8 peers, and remembers 512.
pub(crate) const MAX_REGISTRATIONS: usize = 512;

/// Longest signed record that is accepted, in bytes. A tab's is below 1 KiB.
pub(crate) const MAX_RECORD_LEN: usize = 4 * 1024;

/// Longest cookie that is kept for the next discovery, in bytes. rust-libp2p's are 8 bytes and the namespace.
pub(crate) const MAX_COOKIE_LEN: usize = 512;

/// Longest lifetime of a registration; the specification allows no more than 72 h.
pub(crate) const MAX_TTL: Duration = Duration::from_secs(72 * 60 * 60);

/// An opaque value from a discovery. Sent with the next one, it makes the relay return only new registrations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cookie(pub(crate) Vec<u8>);

/// A request of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Registers the client in a namespace.
    Register {
        namespace: String,
        /// Peer ID and addresses of the client, in a signed envelope.
        record: Vec<u8>,
        /// Requested lifetime of the registration.
        ttl: Duration,
    },
    /// Discovers the peers registered in a namespace.
    Discover {
        namespace: String,
        /// Registrations to return at most.
        limit: u64,
        /// The cookie of the last discovery; `None` returns all registrations.
        cookie: Option<Cookie>,
    },
}

/// A response of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The client is registered for this long.
    Registered(Duration),
    /// The registrations found.
    Discovered {
        /// In the order of the response, without those that are incomplete or too large.
        found: Vec<Registration>,
        /// For the next discovery.
        cookie: Option<Cookie>,
    },
    /// The server refused the registration.
    NotRegistered(Status),
    /// The server refused the discovery.
    NotDiscovered(Status),
}

/// The error code of a refusal, as listed in the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(pub(crate) i32);

/// A registration as returned by the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registration {
    pub(crate) namespace: String,
    /// Peer ID and addresses of the registered peer, in a signed envelope that is not verified yet.
    pub(crate) record: Vec<u8>,
    /// Remaining lifetime, at most [`MAX_TTL`].
    pub(crate) ttl: Duration,
}

/// Why bytes are not a valid response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ResponseError {
    /// The response is longer than [`MAX_MESSAGE_LEN`].
    #[error("a response of {found} bytes where at most {MAX_MESSAGE_LEN} are allowed")]
    TooLong { found: usize },
    /// The bytes are not a valid protobuf message.
    #[error("malformed response: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// The message is not a response.
    #[error("message type {0} is not a response")]
    NotAResponse(i32),
    /// The response lacks the body of its type.
    #[error("a response of type {0} without a body")]
    Empty(i32),
}

const REGISTER: i32 = 0;
const REGISTERED: i32 = 1;
const DISCOVER: i32 = 3;
const DISCOVERED: i32 = 4;
const OK: i32 = 0;

impl Question {
    /// Encodes the request, without the length prefix.
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
    /// Decodes a response without its length prefix. Incomplete or oversize registrations are skipped.
    ///
    /// # Errors
    /// If the bytes are not a valid response.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, ResponseError> {
        if bytes.len() > MAX_MESSAGE_LEN {
            return Err(ResponseError::TooLong { found: bytes.len() });
        }
        let message = wire::Message::decode(bytes)?;
        // The default of a proto2 enumeration is its first value.
        let kind = message.kind.unwrap_or(REGISTER);
        match kind {
            REGISTERED => {
                let answer = message.registered.ok_or(ResponseError::Empty(kind))?;
                Ok(match answer.status.unwrap_or(OK) {
                    OK => Self::Registered(seconds(answer.ttl)),
                    refused => Self::NotRegistered(Status(refused)),
                })
            }
            DISCOVERED => {
                let answer = message.discovered.ok_or(ResponseError::Empty(kind))?;
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
            other => Err(ResponseError::NotAResponse(other)),
        }
    }
}

fn seconds(ttl: Option<u64>) -> Duration {
    Duration::from_secs(ttl.unwrap_or_default()).min(MAX_TTL)
}

/// The messages as they are on the wire (proto2).
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
        /// Converts to a registration; `None` if a field is missing, or the record is too long.
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

// With an explicit path, because the fuzz targets include this file from elsewhere.
#[cfg(test)]
#[path = "message/tests.rs"]
mod tests;
