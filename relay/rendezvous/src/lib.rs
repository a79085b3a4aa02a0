//! The messages of the [rendezvous protocol](https://github.com/libp2p/specs/blob/master/rendezvous/README.md), as they are
//! on the wire: protobuf (proto2). The relay and its clients share them. On a stream, each follows its length as a varint.
//!
//! Decoding checks nothing but the encoding: who uses a field validates it, and nothing is signed but the record.

/// The name of the protocol on the wire.
pub const PROTOCOL: &str = "/rendezvous/1.0.0";

/// Maximum length of a request, in bytes: fits a registration with the longest record and namespace that the relay accepts.
pub const MAX_REQUEST_LEN: usize = 8 * 1024;

/// A request or a response; the field of its kind is set.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Message {
    /// The number of a [`Kind`]; a missing one is the first.
    #[prost(int32, optional, tag = "1")]
    pub r#type: Option<i32>,
    /// The request of [`Kind::Register`].
    #[prost(message, optional, tag = "2")]
    pub register: Option<Register>,
    /// The response to it.
    #[prost(message, optional, tag = "3")]
    pub register_response: Option<RegisterResponse>,
    /// The request of [`Kind::Unregister`], which has no response.
    #[prost(message, optional, tag = "4")]
    pub unregister: Option<Unregister>,
    /// The request of [`Kind::Discover`].
    #[prost(message, optional, tag = "5")]
    pub discover: Option<Discover>,
    /// The response to it.
    #[prost(message, optional, tag = "6")]
    pub discover_response: Option<DiscoverResponse>,
}

/// The type of a message; the numbers are those of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// A request to be registered.
    Register = 0,
    /// The outcome of a registration.
    RegisterResponse = 1,
    /// A request to be registered no longer.
    Unregister = 2,
    /// A request for registered peers.
    Discover = 3,
    /// The registered peers that were found.
    DiscoverResponse = 4,
}

/// The outcome of a request; the numbers are those of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Status {
    /// The server did what was requested.
    Ok = 0,
    /// The namespace is missing or too long.
    InvalidNamespace = 100,
    /// The record is not one that its sender signed.
    InvalidSignedPeerRecord = 101,
    /// The time to live is too long.
    InvalidTtl = 102,
    /// The cookie is not one that the server gave.
    InvalidCookie = 103,
    /// The server does not allow it.
    NotAuthorized = 200,
    /// The server is full, or asked too often.
    Unavailable = 400,
}

/// A request to register. In a discover response: a registered peer.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Register {
    /// Where to register, such as a room.
    #[prost(string, optional, tag = "1")]
    pub namespace: Option<String>,
    /// The peer ID and addresses of the registered peer, in an envelope that it signed (libp2p RFC 0003).
    #[prost(bytes = "vec", optional, tag = "2")]
    pub signed_peer_record: Option<Vec<u8>>,
    /// Requested (or, in a response, remaining) time to live, in seconds.
    #[prost(uint64, optional, tag = "3")]
    pub ttl: Option<u64>,
}

/// The outcome of a registration.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RegisterResponse {
    /// The number of a [`Status`]; a missing one is the first.
    #[prost(enumeration = "Status", optional, tag = "1")]
    pub status: Option<i32>,
    /// Granted time to live, in seconds.
    #[prost(uint64, optional, tag = "3")]
    pub ttl: Option<u64>,
}

/// A request to remove the sender's registration.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Unregister {
    /// Where it is registered.
    #[prost(string, optional, tag = "1")]
    pub namespace: Option<String>,
}

/// A request for the registrations in a namespace.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Discover {
    /// Where they are registered.
    #[prost(string, optional, tag = "1")]
    pub namespace: Option<String>,
    /// How many registrations to return at most.
    #[prost(uint64, optional, tag = "2")]
    pub limit: Option<u64>,
    /// The cookie of the last response; without one, all registrations are returned.
    #[prost(bytes = "vec", optional, tag = "3")]
    pub cookie: Option<Vec<u8>>,
}

/// The registrations that were found.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DiscoverResponse {
    /// Each with its remaining time to live.
    #[prost(message, repeated, tag = "1")]
    pub registrations: Vec<Register>,
    /// Opaque to clients: the position at which the next response starts.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub cookie: Option<Vec<u8>>,
    /// The number of a [`Status`]; a missing one is the first.
    #[prost(enumeration = "Status", optional, tag = "3")]
    pub status: Option<i32>,
}

impl Message {
    /// The type of the message, or `None` if it is unknown.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        // In proto2, a missing enum field has the first value of the enum.
        Kind::try_from(self.r#type.unwrap_or_default()).ok()
    }
}

impl From<Register> for Message {
    fn from(request: Register) -> Self {
        Self {
            r#type: Some(Kind::Register.into()),
            register: Some(request),
            ..Self::default()
        }
    }
}

impl From<RegisterResponse> for Message {
    fn from(response: RegisterResponse) -> Self {
        Self {
            r#type: Some(Kind::RegisterResponse.into()),
            register_response: Some(response),
            ..Self::default()
        }
    }
}

impl From<Discover> for Message {
    fn from(request: Discover) -> Self {
        Self {
            r#type: Some(Kind::Discover.into()),
            discover: Some(request),
            ..Self::default()
        }
    }
}

impl From<DiscoverResponse> for Message {
    fn from(response: DiscoverResponse) -> Self {
        Self {
            r#type: Some(Kind::DiscoverResponse.into()),
            discover_response: Some(response),
            ..Self::default()
        }
    }
}
