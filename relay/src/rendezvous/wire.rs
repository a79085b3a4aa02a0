//! Messages of rendezvous as they are on the wire (proto2, a varint length before each). Judges nothing but their size.

use std::{io, time::Duration};

use asynchronous_codec::{FramedRead, FramedWrite};
use futures::{AsyncRead, AsyncWrite, SinkExt as _, TryStreamExt as _};
use libp2p::{StreamProtocol, request_response};

/// The longest question, in bytes: a registration with the greatest record and name, and some to spare.
pub(super) const MAX_QUESTION_LEN: usize = 8 * 1024;
/// The longest answer, in bytes: what the protocol allows. [`crate::Limits::discovery_bytes`] keeps them shorter.
const MAX_ANSWER_LEN: usize = 1024 * 1024;

/// A question, an answer, or anything else.
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

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Kind {
    Register = 0,
    RegisterResponse = 1,
    Unregister = 2,
    Discover = 3,
    DiscoverResponse = 4,
}

/// How it went.
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

/// "Name me", and in answers: one who is there.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Register {
    #[prost(string, optional, tag = "1")]
    pub(super) namespace: Option<String>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(super) signed_peer_record: Option<Vec<u8>>,
    /// In seconds.
    #[prost(uint64, optional, tag = "3")]
    pub(super) ttl: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct RegisterResponse {
    #[prost(enumeration = "Status", optional, tag = "1")]
    pub(super) status: Option<i32>,
    /// In seconds.
    #[prost(uint64, optional, tag = "3")]
    pub(super) ttl: Option<u64>,
}

/// "Name me no more".
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Unregister {
    #[prost(string, optional, tag = "1")]
    pub(super) namespace: Option<String>,
}

/// "Who is there?"
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

/// Who is there, as far as one answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) registrations: Vec<Register>,
    /// Where the next page starts.
    pub(super) cookie: Vec<u8>,
}

impl Message {
    /// `None` if no version of the protocol that is known has it.
    pub(super) fn kind(&self) -> Option<Kind> {
        // Absent, it is the enumeration's first.
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

/// Reads questions and writes answers, one each a stream. The relay asks nobody.
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
        read(io, MAX_QUESTION_LEN).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Message>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, MAX_ANSWER_LEN).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        question: Message,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, question).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        answer: Message,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, answer).await
    }
}

async fn read<T: AsyncRead + Unpin>(io: &mut T, max_len: usize) -> io::Result<Message> {
    FramedRead::new(io, prost_codec::Codec::<Message>::new(max_len))
        .try_next()
        .await?
        .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

async fn write<T: AsyncWrite + Unpin>(io: &mut T, message: Message) -> io::Result<()> {
    // The limit is one of reading alone.
    let codec = prost_codec::Codec::<Message>::new(MAX_ANSWER_LEN);
    FramedWrite::new(io, codec).send(message).await?;
    Ok(())
}
