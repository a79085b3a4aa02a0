//! The codec of the server: reads and writes the messages of [`rendezvous_messages`], each with its length as a varint before it.

use std::{io, time::Duration};

use asynchronous_codec::{FramedRead, FramedWrite};
use futures::{AsyncRead, AsyncWrite, SinkExt as _, TryStreamExt as _};
use libp2p::{StreamProtocol, request_response};
use rendezvous_messages::{
    DiscoverResponse, MAX_REQUEST_LEN, Message, Register, RegisterResponse, Status,
};

/// Maximum length of a response, in bytes, as in the protocol. [`crate::Limits::discovery_bytes`] keeps them shorter.
const MAX_RESPONSE_LEN: usize = 1024 * 1024;

/// The registrations in one response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) registrations: Vec<Register>,
    /// Opaque to clients: the position at which the next page starts.
    pub(super) cookie: Vec<u8>,
}

/// The response to a registration.
pub(super) fn register_response(registered: Result<Duration, Status>) -> RegisterResponse {
    let (status, ttl) = match registered {
        Ok(ttl) => (Status::Ok, Some(ttl.as_secs())),
        Err(status) => (status, None),
    };
    RegisterResponse {
        status: Some(status.into()),
        ttl,
    }
}

/// The response to a discovery.
pub(super) fn discover_response(discovered: Result<Page, Status>) -> DiscoverResponse {
    match discovered {
        Ok(page) => DiscoverResponse {
            registrations: page.registrations,
            cookie: Some(page.cookie),
            status: Some(Status::Ok.into()),
        },
        Err(status) => DiscoverResponse {
            status: Some(status.into()),
            ..DiscoverResponse::default()
        },
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
