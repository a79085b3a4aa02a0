//! Messages of the [rendezvous protocol](https://github.com/libp2p/specs/blob/master/rendezvous/README.md) that a
//! client sends and receives. It never sends UNREGISTER: a tab leaves by disconnecting. The code is pure, from bytes to
//! plain values and back. It never checks a signature, so nothing in a response can be trusted yet.

use std::time::Duration;

use prost::Message as _;
use rendezvous_messages::{self as wire, Discover, Kind, Message, Register};

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

impl Question {
    /// Encodes the request, without the length prefix.
    #[must_use]
    pub(crate) fn encode(self) -> Vec<u8> {
        let message: Message = match self {
            Self::Register {
                namespace,
                record,
                ttl,
            } => Register {
                namespace: Some(namespace),
                signed_peer_record: Some(record),
                ttl: Some(ttl.as_secs()),
            }
            .into(),
            Self::Discover {
                namespace,
                limit,
                cookie,
            } => Discover {
                namespace: Some(namespace),
                limit: Some(limit),
                cookie: cookie.map(|Cookie(bytes)| bytes),
            }
            .into(),
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
        const OK: i32 = wire::Status::Ok as i32;
        if bytes.len() > MAX_MESSAGE_LEN {
            return Err(ResponseError::TooLong { found: bytes.len() });
        }
        let message = Message::decode(bytes)?;
        let number = message.r#type.unwrap_or_default();
        match message.kind() {
            Some(Kind::RegisterResponse) => {
                let answer = message.register_response;
                let answer = answer.ok_or(ResponseError::Empty(number))?;
                Ok(match answer.status.unwrap_or(OK) {
                    OK => Self::Registered(seconds(answer.ttl)),
                    refused => Self::NotRegistered(Status(refused)),
                })
            }
            Some(Kind::DiscoverResponse) => {
                let answer = message.discover_response;
                let answer = answer.ok_or(ResponseError::Empty(number))?;
                Ok(match answer.status.unwrap_or(OK) {
                    OK => Self::Discovered {
                        found: answer
                            .registrations
                            .into_iter()
                            .filter_map(registration)
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
            Some(Kind::Register | Kind::Unregister | Kind::Discover) | None => {
                Err(ResponseError::NotAResponse(number))
            }
        }
    }
}

fn seconds(ttl: Option<u64>) -> Duration {
    Duration::from_secs(ttl.unwrap_or_default()).min(MAX_TTL)
}

/// Converts to a registration; `None` if a field is missing, or the record is too long.
fn registration(found: Register) -> Option<Registration> {
    Some(Registration {
        namespace: found.namespace?,
        record: found
            .signed_peer_record
            .filter(|record| record.len() <= MAX_RECORD_LEN)?,
        ttl: seconds(found.ttl),
    })
}

// With an explicit path, because the fuzz targets include this file from elsewhere.
#[cfg(test)]
#[path = "message/tests.rs"]
mod tests;
