//! The wire format of rendezvous: protobuf (proto2) messages with a varint length prefix.
//!
//! Decoding checks only the size. The other fields are validated where they are used.

use std::{io, time::Duration};

use asynchronous_codec::{FramedRead, FramedWrite};
use futures::{AsyncRead, AsyncWrite, SinkExt as _, TryStreamExt as _};
use libp2p::{StreamProtocol, request_response};

/// Maximum length of a request, in bytes: fits a registration with the largest record and the longest namespace.
pub(super) const MAX_REQUEST_LEN: usize = 8 * 1024;
/// Maximum length of a response, in bytes, as in the protocol. [`crate::Limits::discovery_bytes`] keeps them shorter.
const MAX_RESPONSE_LEN: usize = 1024 * 1024;

/// A request or a response; the field of its kind is set.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Message {
    #[prost(int32, optional, tag = "1")]
    pub(super) r#type: Option<i32>,
    #[prost(message, optional, tag = "2")]
    pub(super) register: Option<Register>,
    #[prost(message, optional, tag = "3")]
    pub(super) register_response: Option<RegisterResponse>,
    #[prost(message, optional, tag = "4")]
    pub(super) unregister: Option<Unregister>,
    #[prost(message, optional, tag = "5")]
    pub(super) discover: Option<Discover>,
    #[prost(message, optional, tag = "6")]
    pub(super) discover_response: Option<DiscoverResponse>,
}

/// The type of a message; the numbers are those of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Kind {
    Register = 0,
    RegisterResponse = 1,
    Unregister = 2,
    Discover = 3,
    DiscoverResponse = 4,
}

/// The outcome of a request; the numbers are those of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Status {
    Ok = 0,
    InvalidNamespace = 100,
    InvalidSignedPeerRecord = 101,
    InvalidTtl = 102,
    InvalidCookie = 103,
    NotAuthorized = 200,
    Unavailable = 400,
}

/// A request to register. In a discover response: a registered peer.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Register {
    #[prost(string, optional, tag = "1")]
    pub(super) namespace: Option<String>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(super) signed_peer_record: Option<Vec<u8>>,
    /// Requested (or, in a response, remaining) time to live, in seconds.
    #[prost(uint64, optional, tag = "3")]
    pub(super) ttl: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct RegisterResponse {
    #[prost(enumeration = "Status", optional, tag = "1")]
    pub(super) status: Option<i32>,
    /// Granted time to live, in seconds.
    #[prost(uint64, optional, tag = "3")]
    pub(super) ttl: Option<u64>,
}

/// A request to remove the sender's registration.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Unregister {
    #[prost(string, optional, tag = "1")]
    pub(super) namespace: Option<String>,
}

/// A request for the registrations in a namespace.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Discover {
    #[prost(string, optional, tag = "1")]
    pub(super) namespace: Option<String>,
    #[prost(uint64, optional, tag = "2")]
    pub(super) limit: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(super) cookie: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct DiscoverResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) registrations: Vec<Register>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(super) cookie: Option<Vec<u8>>,
    #[prost(enumeration = "Status", optional, tag = "3")]
    pub(super) status: Option<i32>,
}

/// The registrations in one response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) registrations: Vec<Register>,
    /// Opaque to clients: the position at which the next page starts.
    pub(super) cookie: Vec<u8>,
}

impl Message {
    /// The type of the message, or `None` if it is unknown.
    pub(super) fn kind(&self) -> Option<Kind> {
        // In proto2, a missing enum field has the first value of the enum.
        Kind::try_from(self.r#type.unwrap_or_default()).ok()
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

impl From<DiscoverResponse> for Message {
    fn from(response: DiscoverResponse) -> Self {
        Self {
            r#type: Some(Kind::DiscoverResponse.into()),
            discover_response: Some(response),
            ..Self::default()
        }
    }
}

impl From<Result<Duration, Status>> for RegisterResponse {
    fn from(registered: Result<Duration, Status>) -> Self {
        let (status, ttl) = match registered {
            Ok(ttl) => (Status::Ok, Some(ttl.as_secs())),
            Err(status) => (status, None),
        };
        Self {
            status: Some(status.into()),
            ttl,
        }
    }
}

impl From<Result<Page, Status>> for DiscoverResponse {
    fn from(discovered: Result<Page, Status>) -> Self {
        match discovered {
            Ok(page) => Self {
                registrations: page.registrations,
                cookie: Some(page.cookie),
                status: Some(Status::Ok.into()),
            },
            Err(status) => Self {
                status: Some(status.into()),
                ..Self::default()
            },
        }
    }
}

/// Reads a request and writes a response, one of each per stream. The relay itself never sends requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Codec;

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Message;
    type Response = Message;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Message>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, MAX_REQUEST_LEN).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Message>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, MAX_RESPONSE_LEN).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Message,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, request).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Message,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, response).await
    }
}

async fn read<T: AsyncRead + Unpin>(io: &mut T, max_len: usize) -> io::Result<Message> {
    FramedRead::new(io, prost_codec::Codec::<Message>::new(max_len))
        .try_next()
        .await?
        .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

async fn write<T: AsyncWrite + Unpin>(io: &mut T, message: Message) -> io::Result<()> {
    // The limit applies only to reading.
    let codec = prost_codec::Codec::<Message>::new(MAX_RESPONSE_LEN);
    FramedWrite::new(io, codec).send(message).await?;
    Ok(())
}
