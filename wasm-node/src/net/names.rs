//! Whom a neighbour knows: `/heartchain/1/{room}/neighbours`. An empty request, and an answer of at most
//! [`config::MAX_INTRODUCED`] names, as borsh writes a list of byte strings; both framed as sync's messages are.
//! Never believes more than names: the way to a peer leads through the neighbour that named it.

use std::io;

use borsh::BorshDeserialize;
use futures::{AsyncRead, AsyncWrite};
use libp2p::{PeerId, StreamProtocol, request_response};

use super::codec::{FrameError, read_length, read_message, write_frame};
use crate::config;

/// Names of peers, no more than may be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PeerNames(Vec<PeerId>);

impl PeerNames {
    /// The first of these peers that fit.
    pub(crate) fn new(peers: impl IntoIterator<Item = PeerId>) -> Self {
        Self(peers.into_iter().take(config::MAX_INTRODUCED).collect())
    }

    /// Who is named.
    pub(crate) fn peers(&self) -> &[PeerId] {
        &self.0
    }

    fn encode(&self) -> io::Result<Vec<u8>> {
        let names: Vec<Vec<u8>> = self.0.iter().map(|peer| peer.to_bytes()).collect();
        borsh::to_vec(&names).map_err(invalid)
    }

    /// Reads an answer. What is no name in it is passed over.
    fn decode(answer: &[u8]) -> io::Result<Self> {
        let names = Vec::<Vec<u8>>::try_from_slice(answer).map_err(invalid)?;
        Ok(Self::new(
            names
                .iter()
                .filter_map(|name| PeerId::from_bytes(name).ok()),
        ))
    }
}

/// borsh has an error of its own where there may be no `std`.
#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function for map_err"
)]
fn invalid(error: borsh::io::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

/// Reads and writes questions and answers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NamesCodec;

impl request_response::Codec for NamesCodec {
    type Protocol = StreamProtocol;
    type Request = ();
    type Response = PeerNames;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<()>
    where
        T: AsyncRead + Unpin + Send,
    {
        match read_length(io).await? {
            Some(0) => Ok(()),
            Some(_) | None => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<PeerNames>
    where
        T: AsyncRead + Unpin + Send,
    {
        let limit = config::MAX_INTRODUCTION_LEN;
        let announced = read_length(io).await?.unwrap_or_default();
        if announced > limit {
            return Err(FrameError::Oversize { announced, limit }.into());
        }
        PeerNames::decode(&read_message(io, announced).await?)
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, (): ()) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &[], 0).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        names: PeerNames,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &names.encode()?, config::MAX_INTRODUCTION_LEN).await
    }
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;
    use libp2p::request_response::Codec;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const PROTOCOL: StreamProtocol = StreamProtocol::new("/test");

    async fn read(bytes: &[u8]) -> io::Result<PeerNames> {
        NamesCodec
            .read_response(&PROTOCOL, &mut Cursor::new(bytes))
            .await
    }

    async fn written(names: PeerNames) -> Vec<u8> {
        let mut wire = Cursor::new(Vec::new());
        NamesCodec
            .write_response(&PROTOCOL, &mut wire, names)
            .await
            .expect("within the bound");
        wire.into_inner()
    }

    #[test]
    async fn names_survive_the_wire_and_no_more_are_told_than_may_be() {
        for (given, told) in [(0, 0), (1, 1), (24, 24), (25, 24), (1_000, 24)] {
            let peers: Vec<PeerId> = (0..given).map(|_| PeerId::random()).collect();
            let names = PeerNames::new(peers.clone());
            let back = read(&written(names.clone()).await)
                .await
                .expect("as written");
            assert_eq!(back, names);
            assert_eq!(back.peers(), &peers[..told]);
        }
    }

    #[test]
    async fn what_is_no_list_of_names_is_refused_and_what_is_no_name_passed_over() {
        for garbage in [&[][..], &[3, 1, 2, 3], &[9, 1], &[0xFF; 12]] {
            assert!(read(garbage).await.is_err(), "{garbage:?}");
        }
        let peer = PeerId::random();
        let mixed = borsh::to_vec(&vec![vec![1, 2, 3], peer.to_bytes()]).expect("memory");
        let mut wire = Cursor::new(Vec::new());
        write_frame(&mut wire, &mixed, mixed.len())
            .await
            .expect("memory");
        let names = read(&wire.into_inner()).await.expect("a list");
        assert_eq!(names.peers(), [peer]);
    }

    #[test]
    async fn an_answer_over_the_bound_is_refused_unread() {
        let mut buffer = unsigned_varint::encode::usize_buffer();
        let length = config::MAX_INTRODUCTION_LEN + 1;
        let wire = unsigned_varint::encode::usize(length, &mut buffer).to_vec();
        let error = read(&wire).await.expect_err("too long");
        assert!(error.to_string().contains("2049"), "{error}");
    }

    #[test]
    async fn a_question_says_nothing() {
        let mut wire = Cursor::new(Vec::new());
        NamesCodec
            .write_request(&PROTOCOL, &mut wire, ())
            .await
            .expect("memory");
        assert_eq!(wire.into_inner(), [0]);
        let mut more = Cursor::new([1, 7]);
        assert!(NamesCodec.read_request(&PROTOCOL, &mut more).await.is_err());
    }
}
